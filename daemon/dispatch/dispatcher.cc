// The conversation with one client connection.
#include "daemon/dispatch/dispatcher.h"

#include <array>
#include <new>

#include "daemon/dispatch/invocation.h"
#include "daemon/hsm/device_answer.h"
#include "daemon/service/handlers.h"
#include "daemon/service/resume.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/listed_returns.h"
#include "pkcs11/spec/return_values.h"
#include "pkcs11/wire/bulk.h"
#include "pkcs11/wire/codec.h"
#include "pkcs11/wire/trailer.h"

namespace cmkd::daemon {

namespace {

using spec::CallId;
using spec::Gate;

// Where bulk calls write a long output: into the answer itself, behind the head of an output. Zeroed first: a device
// that answers without having written gives nothing away.
class OutputInPlace {
 public:
  OutputInPlace(wire::Buffer& response, wire::Arena& arena) : response_(response), arena_(arena) {}
  void OfferTo(spec::BytesOut& output) {
    if (output.make == nullptr) return;
    output.make = [](void* self, std::size_t bytes) { return static_cast<OutputInPlace*>(self)->Make(bytes); };
    output.maker = this;
  }
  // When the answer is written: true when the output and what is before it are there; otherwise the answer is empty.
  bool Settle(const spec::BytesOut& output, CK_RV rv) {
    if (made_ == nullptr) return false;
    if (rv != CKR_OK || output.data != made_ || *output.length > bytes_) {
      response_.Shrink(begin_);
      return false;
    }
    const wire::OutputHead head{CKR_OK, *output.length};
    head.Rewrite({response_.data() + begin_, wire::OutputHead::kBytes});
    response_.Shrink(response_.size() - (bytes_ - head.length));
    return true;
  }

 private:
  CK_BYTE_PTR Make(std::size_t bytes) {
    if (bytes < wire::kBulkBytesMin) return arena_.Allocate(bytes);
    begin_ = response_.size();
    bytes_ = bytes;
    wire::Writer writer(response_);
    wire::OutputHead{CKR_OK, bytes}.Write(writer);
    made_ = response_.Extend(bytes);
    Wipe({made_, bytes});
    return made_;
  }

  wire::Buffer& response_;
  wire::Arena& arena_;
  std::size_t begin_ = 0;
  std::size_t bytes_ = 0;
  CK_BYTE_PTR made_ = nullptr;
};

class ClientConversation final : public Conversation {
 public:
  ClientConversation(Daemon& daemon, const Peer& peer) : daemon_(daemon), peer_(peer) {}
  ~ClientConversation() override {
    try {
      if (application_ != nullptr) daemon_.registry.Leave(application_);
    } catch (const std::exception& e) {
      LogError(std::string("what a client left behind is not all cleaned up: ") + e.what());
    }
  }
  ClientConversation(const ClientConversation&) = delete;
  ClientConversation& operator=(const ClientConversation&) = delete;

  bool Answer(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) override;

  template <CallId id>
  bool Serve(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response);
  bool ServeHello(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response);

 private:
  template <CallId id>
  Status Run(Invocation& invocation, spec::Call<id>& call, OutputInPlace& in_place);
  Status PassGate(Invocation& invocation, const spec::CallRow& row) const;
  // False when the call cannot be recorded and so must not be answered as done.
  bool Record(Invocation& invocation, const spec::CallRow& row, CK_RV rv, CK_ULONG detail);

  Daemon& daemon_;
  Peer peer_;
  ApplicationPtr application_;
  wire::Arena arena_;
};

using ServeFunction = bool (ClientConversation::*)(const wire::FrameHeader&, ByteView, wire::Buffer&);

template <CallId id>
constexpr ServeFunction ServeOrNothing() {
  if constexpr (spec::Row(id).local)
    return nullptr;
  else if constexpr (id == CallId::Hello)
    return &ClientConversation::ServeHello;
  else
    return &ClientConversation::Serve<id>;
}

constexpr std::array<ServeFunction, spec::kCallCount> kServe = {
#define CMKD_SERVE(name, ...) ServeOrNothing<CallId::name>(),
    CMKD_STANDARD_CALLS(CMKD_SERVE) CMKD_OWN_CALLS(CMKD_SERVE)
#undef CMKD_SERVE
};

bool ClientConversation::Answer(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) {
  const CallId id = spec::FromWireId(header.call);
  if (id == CallId::kCount || header.flags != 0) return false;
  const ServeFunction serve = kServe[spec::Index(id)];
  // Nothing is answered before a hello, and there is one hello.
  if (serve == nullptr || (id == CallId::Hello) != (application_ == nullptr)) return false;
  const bool go_on = (this->*serve)(header, payload, response);
  arena_.Reset();
  return go_on;
}

Status ClientConversation::PassGate(Invocation& invocation, const spec::CallRow& row) const {
  if (row.gate == Gate::kOpen || row.gate == Gate::kNoHello) return {};
  // The session's handle is the first field of every call that needs one.
  wire::Reader reader(invocation.payload);
  const CK_SESSION_HANDLE handle = reader.U64();
  invocation.session = application_->FindSession(handle);
  if (!reader.ok() || invocation.session == nullptr) return Fail(CKR_SESSION_HANDLE_INVALID, "no such session");
  invocation.session_lock = std::unique_lock(invocation.session->mutex);
  // It may have been closed while this call waited for its turn.
  if (application_->FindSession(handle) != invocation.session)
    return Fail(CKR_SESSION_CLOSED, "the session was closed");
  if (row.gate == Gate::kReadWriteSession && !invocation.session->read_write()) {
    return Fail(CKR_SESSION_READ_ONLY, "the session is read-only");
  }
  return {};
}

// "A call … always terminates the active operation unless it returns CKR_BUFFER_TOO_SMALL" (PKCS#11, each function):
// also when the call never came to its handler.
void EndOperation(Session& session, const spec::CallRow& row) {
  if (row.operation == spec::OperationKind::kFind) return;
  const auto end = [&](spec::OperationKind kind) {
    if (kind != spec::OperationKind::kNoOperation) session.operation(kind).reset();
  };
  if (row.phase == spec::Phase::kSingle || row.phase == spec::Phase::kPart || row.phase == spec::Phase::kFinal) {
    end(row.operation);
    end(spec::SecondOperation(row.id));
  } else if (row.phase == spec::Phase::kMessageNext) {
    if (Operation* operation = session.operation(row.operation).get(); operation != nullptr) operation->message.reset();
  }
}

template <CallId id>
Status ClientConversation::Run(Invocation& invocation, spec::Call<id>& call, OutputInPlace& in_place) {
  constexpr const spec::CallRow& row = spec::Row(id);
  RETURN_IF_ERROR(PassGate(invocation, row));
  wire::Reader reader(invocation.payload);
  if (const CK_RV rv = wire::DecodeCall(reader, arena_, call); rv != CKR_OK)
    return Fail(rv, "the request cannot be read");
  if constexpr (wire::IsBulk(id)) in_place.OfferTo(call.output);
  if (const CK_RV rv = CheckArgumentsOf(call); rv != CKR_OK) return Fail(rv, "a parameter is missing");
  if (!daemon_.audit.Healthy() && id != CallId::Hello && id != CallId::Admin) {
    return Fail(CKR_FUNCTION_FAILED, "the audit log cannot be written", spec::kAuditBlocked);
  }
  return Handle(invocation, call);
}

// A hello that cannot be believed ends the connection.
bool ClientConversation::ServeHello(const wire::FrameHeader&, ByteView payload, wire::Buffer& response) {
  spec::Call<CallId::Hello> call;
  wire::Reader reader(payload);
  if (wire::DecodeCall(reader, arena_, call) != CKR_OK) return false;
  auto greeted = Greet(daemon_, peer_, call);
  if (!greeted.ok()) {
    LogWarning("a hello was refused: " + greeted.error().why);
    return false;
  }
  application_ = *greeted;
  wire::Writer writer(response);
  writer.U64(CKR_OK);
  wire::EncodeResults(writer, call, CKR_OK);
  return true;
}

// No program can be prepared for what a device says beyond the standard's list.
void LimitToList(CallId id, CK_RV& rv, CK_ULONG& detail) {
  if (spec::IsOwn(id) || !DeviceAnswer::Was(rv) || spec::IsListedHere(id, rv)) return;
  rv = CKR_DEVICE_ERROR;
  detail = spec::kHsmRefused;
}

template <CallId id>
bool ClientConversation::Serve(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) {
  constexpr const spec::CallRow& row = spec::Row(id);
  Invocation invocation{.daemon = daemon_,
                        .application = application_,
                        .id = id,
                        .request_id = header.request_id,
                        .payload = payload,
                        .arena = arena_,
                        .session = nullptr,
                        .session_lock = {},
                        .trailers = {},
                        .audit = {},
                        .audit_text = {},
                        .alarm = false,
                        .changed = false,
                        .urgency = AuditLog::Urgency::kNormal};
  spec::Call<id> call;
  CK_RV rv = CKR_OK;
  CK_ULONG detail = 0;
  OutputInPlace in_place(response, arena_);
  try {
    DeviceAnswer::Forget();
    const Status status = Run<id>(invocation, call, in_place);
    if (!status.ok()) {
      rv = status.error().rv;
      detail = status.error().detail;
      LimitToList(id, rv, detail);
      if (rv != CKR_BUFFER_TOO_SMALL && LogEnabled(LogLevel::kDebug)) {
        LogDebug(std::string(row.name) + ": " + spec::ReturnValueName(rv) + ": " + status.error().why);
      }
    }
  } catch (const std::bad_alloc&) {
    rv = CKR_DEVICE_MEMORY;
  }
  if (invocation.session != nullptr && rv != CKR_OK) {
    invocation.session->device_error = detail;
    if (rv != CKR_BUFFER_TOO_SMALL) EndOperation(*invocation.session, row);
  }
  if (!Record(invocation, row, rv, detail)) rv = CKR_FUNCTION_FAILED;
  bool encoded = false;
  if constexpr (wire::IsBulk(id)) encoded = in_place.Settle(call.output, rv);
  wire::Writer writer(response);
  if (!encoded) {
    writer.U64(rv);
    wire::EncodeResults(writer, call, rv);
  }
  for (const Trailer& trailer : invocation.trailers) {
    wire::WriteTrailer(writer, {trailer.kind, trailer.session, trailer.object, trailer.sealed});
  }
  return !writer.overflow();
}

bool ClientConversation::Record(Invocation& invocation, const spec::CallRow& row, CK_RV rv, CK_ULONG detail) {
  AuditRecord& record = invocation.audit;
  record.kind = invocation.changed ? AuditKind::kChange : AuditKind::kUse;
  if (row.id == CallId::C_Login || row.id == CallId::C_Logout || row.id == CallId::C_SetPIN ||
      row.id == CallId::C_InitPIN) {
    record.kind = AuditKind::kAccess;
  }
  // An attempt that somebody should look at: whoever wants a key that waits for its deletion will miss it.
  const auto refusal = cmk::RefusalFromNumber(detail);
  if (invocation.alarm || (rv != CKR_OK && refusal && cmk::RaisesAlarm(*refusal))) record.kind = AuditKind::kAlarm;
  record.store_generation = daemon_.store.Generation();
  record.uid = peer_.uid;
  record.gid = peer_.gid;
  record.pid = static_cast<std::uint32_t>(peer_.pid);
  std::memcpy(&record.application_id, application_->id().data(), sizeof record.application_id);
  record.request_id = invocation.request_id;
  record.call = spec::WireId(row.id);
  if (invocation.session != nullptr) record.token_id = invocation.session->token.bytes;
  // An administrative request that was refused is answered all the same; what it came to is in the record already.
  if (row.id != CallId::Admin || rv != CKR_OK) {
    record.rv = rv;
    record.detail = detail;
  }
  record.text = invocation.audit_text;
  if (daemon_.audit.Append(record, invocation.urgency) == 0) return false;
  // A change that may use the reserved room must go on while the disk is full: it is in the log, on disk when there is
  // room.
  return !invocation.changed || daemon_.audit.Flush() || invocation.urgency == AuditLog::Urgency::kReserved;
}

}  // namespace

std::unique_ptr<Conversation> Dispatcher::Begin(const Peer& peer) {
  return std::make_unique<ClientConversation>(daemon_, peer);
}

}  // namespace cmkd::daemon
