// Decodes what cmkctl sends and answers it.
#include "tests/tools/fake_daemon.h"

#include <stdexcept>

#include "pkcs11/wire/codec.h"

namespace cmkd::tests {

namespace {

using spec::CallId;

std::string Text(ByteView bytes) { return std::string(AsText(bytes)); }

// The sessions that the fake hands out all have this handle.
constexpr CK_SESSION_HANDLE kSession = 77;

daemon::ServerOptions ListenOn(std::string socket) {
  daemon::ServerOptions options;
  options.socket_path = std::move(socket);
  return options;
}

template <CallId id>
bool Decode(ByteView payload, wire::Arena& arena, spec::Call<id>& call) {
  wire::Reader reader(payload);
  return wire::DecodeCall(reader, arena, call) == CKR_OK;
}

template <CallId id>
void Encode(wire::Buffer& response, spec::Call<id>& call, CK_RV rv) {
  wire::Writer writer(response);
  writer.U64(rv);
  wire::EncodeResults(writer, call, rv);
}

}  // namespace

class FakeDaemon::Talk final : public daemon::Conversation {
 public:
  explicit Talk(FakeDaemon& fake) : fake_(fake) {}

  bool Answer(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) override {
    switch (spec::FromWireId(header.call)) {
      case CallId::Hello: return Serve<CallId::Hello>(payload, response);
      case CallId::Admin: return !fake_.hang_up_ && Serve<CallId::Admin>(payload, response);
      case CallId::C_InitToken: return Serve<CallId::C_InitToken>(payload, response);
      case CallId::C_OpenSession: return Serve<CallId::C_OpenSession>(payload, response);
      case CallId::C_Login: return Serve<CallId::C_Login>(payload, response);
      case CallId::C_InitPIN: return Serve<CallId::C_InitPIN>(payload, response);
      case CallId::C_Logout: return Serve<CallId::C_Logout>(payload, response);
      case CallId::C_CloseSession: return Serve<CallId::C_CloseSession>(payload, response);
      default: return false;
    }
  }

 private:
  template <CallId id>
  bool Serve(ByteView payload, wire::Buffer& response) {
    wire::Arena arena;
    spec::Call<id> call;
    if (!Decode<id>(payload, arena, call)) return false;
    const CK_RV rv = Handle(call);
    Encode<id>(response, call, rv);
    wire::Writer(response).U8(static_cast<std::uint8_t>(wire::TrailerKind::kEnd));
    return true;
  }

  CK_RV Handle(spec::Call<CallId::Hello>& call) {
    wire::Buffer answer;
    wire::Writer writer(answer);
    writer.U32(wire::kProtocolVersion);
    writer.U8(2);  // a fresh application
    writer.Raw(Bytes(16, 0x5A));
    writer.Blob(ByteView{});
    call.answer.value = ToBytes(answer.view());
    return CKR_OK;
  }
  CK_RV Handle(spec::Call<CallId::Admin>& call) {
    call.answer.value = ToBytes(AsBytes(fake_.Answer(Text(call.request.view()))));
    return CKR_OK;
  }
  CK_RV Handle(spec::Call<CallId::C_InitToken>& call) {
    std::string label = Text(call.label.view());
    label.erase(label.find_last_not_of(' ') + 1);
    return fake_.Take("C_InitToken", "C_InitToken slot " + std::to_string(call.slot.value) + " label '" + label +
                                         "' pin " + Text(call.so_pin.view()));
  }
  CK_RV Handle(spec::Call<CallId::C_OpenSession>& call) {
    *call.session.value = kSession;
    const bool writes = (call.flags.value & CKF_RW_SESSION) != 0;
    return fake_.Take("C_OpenSession", "C_OpenSession slot " + std::to_string(call.slot.value) +
                                           (writes ? " read/write" : " read-only"));
  }
  CK_RV Handle(spec::Call<CallId::C_Login>& call) {
    const std::string user = call.user_type.value == CKU_SO ? "SO" : "user";
    return OnSession("C_Login", call.session.value, " " + user + " pin " + Text(call.pin.view()));
  }
  CK_RV Handle(spec::Call<CallId::C_InitPIN>& call) {
    return OnSession("C_InitPIN", call.session.value, " pin " + Text(call.pin.view()));
  }
  CK_RV Handle(spec::Call<CallId::C_Logout>& call) { return OnSession("C_Logout", call.session.value, ""); }
  CK_RV Handle(spec::Call<CallId::C_CloseSession>& call) { return OnSession("C_CloseSession", call.session.value, ""); }

  CK_RV OnSession(const std::string& name, CK_SESSION_HANDLE session, const std::string& more) {
    if (session != kSession) return CKR_SESSION_HANDLE_INVALID;
    return fake_.Take(name, name + more);
  }

  FakeDaemon& fake_;
};

FakeDaemon::FakeDaemon(std::string socket, Respond respond)
    : respond_(std::move(respond)), server_(ListenOn(std::move(socket)), *this) {
  if (const auto listening = server_.Listen(); !listening) throw std::runtime_error(listening.error());
  thread_ = std::thread([this] { server_.Serve(); });
}

FakeDaemon::~FakeDaemon() {
  server_.Stop();
  thread_.join();
}

std::vector<std::string> FakeDaemon::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<std::string> FakeDaemon::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

void FakeDaemon::Fail(const std::string& call, CK_RV rv) {
  const std::lock_guard lock(mutex_);
  failing_ = call;
  failure_ = rv;
}

std::unique_ptr<daemon::Conversation> FakeDaemon::Begin(const daemon::Peer&) { return std::make_unique<Talk>(*this); }

std::string FakeDaemon::Answer(const std::string& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  return respond_(request);
}

CK_RV FakeDaemon::Take(const std::string& name, const std::string& line) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(line);
  return name == failing_ ? failure_ : CKR_OK;
}

}  // namespace cmkd::tests
