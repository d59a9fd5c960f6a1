// Client: turns a call into one frame to a daemon (or HSM host) and back. A call borrows a connection, writes one
// frame, reads one frame and gives the connection back; there are no threads here and no callbacks. When the other side
// was restarted in between, the client connects again, gives back what the application had (Resumption) and repeats
// what may be repeated.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkcs11/lane/link.h"
#include "pkcs11/remote/resumption.h"
#include "pkcs11/spec/calls.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/wire/bulk.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::remote {

struct Options {
  std::string socket_path;
  // Whether what was open is to survive a restart of the other side. An HSM host keeps nothing, so the daemon says
  // false.
  bool resumes = true;
  // Of one send or receive. Calls that make keys get the slow one.
  std::chrono::milliseconds deadline{60'000};
  std::chrono::milliseconds slow_deadline{300'000};
  // How long a call waits for a daemon that was there before to come back.
  std::chrono::milliseconds wait{10'000};
  // How long the first call of a process waits when a daemon's socket is there but nobody listens: it is being
  // restarted.
  std::chrono::milliseconds first_wait{2'000};
  // Calls on one connection after which it gets a lane: programs that make a few calls and go are not worth one.
  // 0: never.
  std::uint32_t calls_before_lane = 16;
};

// One connection with its buffers; used by one thread at a time.
struct Connection {
  lane::ClientLink link;
  std::uint32_t calls = 0;
  wire::Buffer request;
  wire::Buffer response;
  // A long input of the call, which is not copied into `request`: it belongs there at `bulk_at`.
  ByteView bulk;
  std::size_t bulk_at = 0;
  // Where a long output goes without a stay in `response`; null for most calls.
  lane::Landing* landing = nullptr;
};

// Safe from any thread. Never throws but std::bad_alloc.
class Client {
 public:
  explicit Client(Options options) : options_(std::move(options)) {}
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends the call, waits, decodes the results into it.
  template <class Call>
  CK_RV Answer(Call& call);

  // Closes all connections and forgets the application; the next call begins a new one.
  void Close();

  // True once the other side has answered a hello.
  bool connected_before() const { return known_.load(std::memory_order_acquire); }

 private:
  using ConnectionPtr = std::unique_ptr<Connection>;

  // CKR_OK with a connection, or CKR_DEVICE_REMOVED. Waits for a daemon that was there before.
  CK_RV Borrow(ConnectionPtr& connection);
  void Return(ConnectionPtr connection);
  // All idle connections are of a daemon that is gone.
  void DropIdle();

  ConnectionPtr TryConnect();
  bool SayHello(Connection& connection);
  bool BeginAgain(Connection& connection);

  // The request of `call` into the connection: a large input beside it, and where there is room for a large output.
  // CKR_DATA_LEN_RANGE when it is longer than a frame: such data goes in parts.
  template <class Call>
  static CK_RV Compose(Connection& connection, Call& call, lane::Landing& landing);
  // Reads the response into `call`, and its trailers. False when it is malformed.
  template <class Call>
  bool TakeResults(Connection& connection, Call& call, const lane::Landing& landing, CK_RV answer);
  // Notes what a new daemon would have to know of this call. `asked`: it only asked for a length.
  template <class Call>
  void Follow(const Connection& connection, CK_SESSION_HANDLE session, const Call& call, bool asked, CK_RV answer);

  // One round trip of the frame in connection->request; on success the response's rv and a reader behind it. Reconnects
  // and repeats as the row allows.
  CK_RV Transact(ConnectionPtr& connection, const spec::CallRow& row, CK_SESSION_HANDLE session, CK_RV& answer);
  // One frame out, one frame in. kSent: the other side may have done it.
  enum class Trip { kDone, kNotSent, kSent, kTimeout };
  Trip RoundTrip(Connection& connection, const spec::CallRow& row, std::uint64_t request_id);

  Options options_;
  std::atomic<bool> lanes_fit_{true};
  Resumption resumption_;
  std::mutex mutex_;          // idle_
  std::mutex connect_mutex_;  // application_, and that one thread at a time says hello
  std::vector<ConnectionPtr> idle_;
  std::array<std::uint8_t, 16> application_{};
  std::atomic<bool> known_{false};
  std::atomic<std::uint64_t> next_request_{1};
};

// Whether the two have no byte in common. PKCS#11 lets them be the same memory.
inline bool AreApart(ByteView a, ByteView b) {
  const auto begin = [](ByteView view) { return reinterpret_cast<std::uintptr_t>(view.data()); };
  return begin(a) + a.size() <= begin(b) || begin(b) + b.size() <= begin(a);
}

// Room for the output that follows `head`: the application's, if the answer is one that fits there.
inline MutableBytes RoomForOutput(const spec::BytesOut& output, ByteView head, std::size_t payload_bytes) {
  const auto told = wire::OutputHead::Read(head);
  const bool fits = told && told->rv == CKR_OK && output.data != nullptr && told->length <= *output.length &&
                    told->length >= wire::kBulkBytesMin / 2 && told->length <= payload_bytes - head.size();
  return fits ? MutableBytes{output.data, told->length} : MutableBytes{};
}

// Shows the caller which additional key was in the way of all (3.2, "Deriving Additional Keys"). False when the call
// succeeded or there is no such key.
inline bool MarkRefused(const CK_MECHANISM& mechanism, std::uint64_t index, CK_RV answer) {
  const spec::MechanismRow* row = spec::FindMechanism(mechanism.mechanism);
  if (row == nullptr || answer == CKR_OK) return false;
  const std::span<const CK_DERIVED_KEY> keys = spec::AdditionalKeysIn(*row, mechanism);
  if (index >= keys.size() || keys[index].phKey == nullptr) return false;
  *keys[index].phKey = CK_INVALID_HANDLE;
  return true;
}

// The handle in front of every call that needs a session.
template <class Call>
CK_SESSION_HANDLE SessionOf(const Call& call) {
  constexpr const spec::CallRow& row = spec::Row(Call::kId);
  if constexpr (row.gate == spec::Gate::kSession || row.gate == spec::Gate::kReadWriteSession)
    return call.session.value;
  return CK_INVALID_HANDLE;
}

// Whether the call only asks how long its output would be.
template <class Call>
bool OnlyAsks(const Call& call) {
  if constexpr (requires { call.signature.query(); }) {
    return call.signature.length != nullptr && call.signature.query();
  } else if constexpr (requires { call.output.query(); }) {
    return call.output.query();
  } else {
    return false;
  }
}

// Whether the call brings the last part of a message.
template <class Call>
bool IsLastPart(const Call& call) {
  if constexpr (requires { call.flags; }) {
    return (call.flags.value & CKF_END_OF_MESSAGE) != 0;
  } else if constexpr (requires { call.signature.length; }) {
    // C_SignMessageNext, C_VerifyMessageNext: the part that comes with room for a signature, or with one.
    if constexpr (std::is_pointer_v<decltype(call.signature.length)>) return call.signature.length != nullptr;
    return call.signature.data != nullptr;
  } else {
    return false;
  }
}

template <class Call>
CK_RV Client::Compose(Connection& connection, Call& call, [[maybe_unused]] lane::Landing& landing) {
  wire::BeginFrame(connection.request);
  wire::Writer writer(connection.request);
  bool beside = false;
  if constexpr (wire::IsBulk(Call::kId)) {
    const ByteView input{call.input.data, call.input.length};
    // An answer that breaks off in the middle is asked for again: it must not have been written over the input.
    if (call.output.data != nullptr && *call.output.length >= wire::kBulkBytesMin &&
        AreApart(input, {call.output.data, *call.output.length})) {
      landing.place = [](void* context, ByteView head, std::size_t payload_bytes) {
        return RoomForOutput(static_cast<Call*>(context)->output, head, payload_bytes);
      };
      landing.context = &call;
      connection.landing = &landing;
    }
    beside = call.input.data != nullptr && call.input.length >= wire::kBulkBytesMin &&
             call.input.length <= limits::kFrameBytesMax;
    if (beside) {
      connection.bulk_at = wire::EncodeRequestBeside(writer, call);
      connection.bulk = input;
    }
  }
  if (!beside) wire::EncodeCall(writer, call);
  const bool fits = !writer.overflow() && connection.request.size() + connection.bulk.size() <= limits::kFrameBytesMax;
  return fits ? CKR_OK : CKR_DATA_LEN_RANGE;
}

template <class Call>
bool Client::TakeResults(Connection& connection, Call& call, const lane::Landing& landing, CK_RV answer) {
  wire::Reader reader(connection.response.view());
  (void)reader.U64();  // the return value, which Transact has read
  bool decoded = false;
  if constexpr (wire::IsBulk(Call::kId)) {
    if (landing.landed != 0) {
      *call.output.length = reader.U64();
      decoded = reader.ok() && *call.output.length == landing.landed;
    }
  }
  if (landing.landed == 0) decoded = wire::DecodeResults(reader, call, answer);
  if (!decoded) return false;
  const std::optional<wire::TrailerKinds> trailers = resumption_.ReadTrailers(reader);
  if (!trailers) return false;
  if constexpr (Call::kId == spec::CallId::C_Sign || Call::kId == spec::CallId::C_SignFinal) {
    const bool otp = trailers->Has(wire::TrailerKind::kOtpSignature);
    const bool given = otp && answer == CKR_OK && call.output.data != nullptr;
    return !given || spec::PointIntoOtpSignature({call.output.data, *call.output.length});
  }
  if constexpr (Call::kId == spec::CallId::C_DeriveKey) {
    const auto refused = trailers->refused_key();
    return !refused || MarkRefused(*call.mechanism.value, *refused, answer);
  }
  return true;
}

template <class Call>
void Client::Follow(const Connection& connection, CK_SESSION_HANDLE session, const Call& call, bool asked,
                    CK_RV answer) {
  constexpr spec::CallRow row = spec::Row(Call::kId);
  const ByteView payload = connection.request.view().subspan(sizeof(wire::FrameHeader));
  if constexpr (Call::kId == spec::CallId::C_OpenSession) {
    if (answer == CKR_OK) resumption_.Opened(*call.session.value, call.slot.value, call.flags.value);
  } else if constexpr (Call::kId == spec::CallId::C_CloseSession) {
    if (answer == CKR_OK) resumption_.Closed(session);
  } else if constexpr (Call::kId == spec::CallId::C_CloseAllSessions) {
    if (answer == CKR_OK) resumption_.ClosedAll(call.slot.value);
  } else if constexpr (Call::kId == spec::CallId::C_SetOperationState) {
    // The first byte of a saved state says of what kind it is (PROTOCOL.md, "Saved states").
    if (answer == CKR_OK) resumption_.StateSet(session, static_cast<spec::OperationKind>(call.state.data[0]), payload);
  } else if constexpr (Call::kId == spec::CallId::C_SessionCancel) {
    if (answer == CKR_OK) resumption_.Cancelled(session, call.flags.value);
  } else if constexpr (row.operation != spec::OperationKind::kNoOperation) {
    Resumption::Deed deed{.payload = payload, .rv = answer, .asked = asked, .last = IsLastPart(call)};
    if constexpr (row.phase == spec::Phase::kBegin && requires { call.mechanism; }) {
      deed.cancel = call.mechanism.value == nullptr;
    }
    if constexpr (requires { call.objects.count; }) deed.fetched = answer == CKR_OK ? *call.objects.count : 0;
    resumption_.Followed(row, session, deed);
  }
}

template <class Call>
CK_RV Client::Answer(Call& call) {
  constexpr spec::CallRow row = spec::Row(Call::kId);
  const CK_SESSION_HANDLE session = SessionOf(call);
  if (options_.resumes && resumption_.TakeLost(row, session)) return CKR_FUNCTION_FAILED;
  // Without an answer, too, the call ends its operation where an error does: the daemon that comes next must not begin
  // again what the application takes for ended.
  const auto unanswered = [&](CK_RV rv) {
    Resumption::Deed deed;
    deed.rv = rv;
    if (options_.resumes) resumption_.Followed(row, session, deed);
    return rv;
  };
  ConnectionPtr connection;
  if (const CK_RV rv = Borrow(connection); rv != CKR_OK) return unanswered(rv);
  lane::Landing landing{wire::OutputHead::kBytes, nullptr, nullptr};
  if (const CK_RV rv = Compose(*connection, call, landing); rv != CKR_OK) {
    Return(std::move(connection));
    return rv;
  }
  const bool asked = OnlyAsks(call);
  CK_RV answer = CKR_OK;
  if (const CK_RV rv = Transact(connection, row, session, answer); rv != CKR_OK) return unanswered(rv);
  if (!TakeResults(*connection, call, landing, answer)) return CKR_DEVICE_ERROR;
  if (options_.resumes) Follow(*connection, session, call, asked, answer);
  Return(std::move(connection));
  return answer;
}

}  // namespace cmkd::remote
