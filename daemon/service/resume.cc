// Hello, tickets and sealed session objects.
#include "daemon/service/resume.h"

#include "common/limits.h"
#include "daemon/crypto/random.h"
#include "daemon/dispatch/invocation.h"
#include "daemon/service/access.h"
#include "daemon/service/translate.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

namespace {

enum class Outcome : std::uint8_t { kJoined = 0, kRestored = 1, kFresh = 2 };

struct Ticket {
  ApplicationId application{};
  Peer peer;
  std::map<cmk::TokenId, Login> logins;
};

// A ticket is bound to application, user and process: another process that got hold of it gains nothing.
std::optional<Ticket> OpenTicket(const Daemon& daemon, ByteView sealed) {
  const auto plain = daemon.ticket_sealer.Open(AsBytes("ticket"), sealed);
  if (!plain.ok()) return std::nullopt;
  wire::Reader r(*plain);
  Ticket ticket;
  const ByteView id = r.Raw(ticket.application.size());
  ticket.peer.uid = r.U32();
  ticket.peer.gid = r.U32();
  ticket.peer.pid = static_cast<std::int32_t>(r.U32());
  const std::uint32_t count = r.U32();
  for (std::uint32_t i = 0; i < count && r.ok(); ++i) {
    const auto token = cmk::TokenId::FromBytes(r.Raw(16));
    Login login;
    login.user = r.U64();
    login.pin_generation = r.U32();
    if (token) ticket.logins[*token] = login;
  }
  if (!r.AtEnd()) return std::nullopt;
  std::copy(id.begin(), id.end(), ticket.application.begin());
  return ticket;
}

void RestoreSessions(Daemon& daemon, Application& application, wire::Reader& r) {
  const std::uint32_t sessions = r.U32();
  for (std::uint32_t i = 0; i < sessions && r.ok() && i < limits::kResumedSessionsMax; ++i) {
    const CK_SESSION_HANDLE handle = r.U64();
    const CK_SLOT_ID slot = r.U64();
    const CK_FLAGS flags = r.U64();
    const auto token = daemon.records.GetTokenBySlot(slot);
    // What C_OpenSession would not have given is not given back: handles are counted up from 1, flags are these two.
    constexpr CK_FLAGS kKnown = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    const bool possible = handle != CK_INVALID_HANDLE && handle < kSessionObjectBase &&
                          (flags & CKF_SERIAL_SESSION) != 0 && (flags & ~kKnown) == 0;
    if (r.ok() && possible && token.ok() && IsInitialised(**token)) {
      (void)application.OpenSession(slot, (*token)->id, flags, daemon.config.limits.sessions_per_application, handle);
    }
  }
}

void RestoreObjects(Daemon& daemon, Application& application, wire::Reader& r) {
  const std::uint32_t objects = r.U32();
  for (std::uint32_t i = 0; i < objects && r.ok() && i < limits::kResumedObjectsMax; ++i) {
    (void)r.U64();  // session and handle are in the sealed bytes, too, and those are believed
    (void)r.U64();
    const ByteView sealed = r.Blob();
    const auto plain = daemon.object_sealer.Open({application.id().data(), application.id().size()}, sealed);
    if (!plain.ok()) continue;
    auto object = UnpackObject(*plain);
    if (!object || object->handle <= kSessionObjectBase || application.FindSession(object->session) == nullptr)
      continue;
    (void)application.AddObject(std::make_shared<const Object>(std::move(*object)),
                                daemon.config.limits.objects_per_application);
  }
}

// True when the application was given back what its ticket and list say.
ApplicationPtr Restore(Daemon& daemon, const Peer& peer, ByteView resumption) {
  wire::Reader r(resumption);
  const auto ticket = OpenTicket(daemon, r.Blob());
  if (!ticket || ticket->peer != peer) return nullptr;
  ApplicationPtr application = daemon.registry.Begin(ticket->application, peer);
  if (application == nullptr) return nullptr;
  try {
    RestoreSessions(daemon, *application, r);
    for (const auto& [token, login] : ticket->logins) {
      const auto record = daemon.records.GetToken(token);
      if (!record.ok() || application->CountSessions(token).all == 0) continue;
      const store::PinRecord& pin = login.user == CKU_SO ? (*record)->so_pin : (*record)->user_pin;
      if (pin.generation == login.pin_generation) application->SetLogin(token, login);
    }
    RestoreObjects(daemon, *application, r);
  } catch (...) {
    // Out of memory: nobody else would take the new application out of the registry.
    daemon.registry.Leave(application);
    throw;
  }
  return application;
}

}  // namespace

Bytes SealTicket(const Daemon& daemon, const Application& application) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Raw(application.id());
  w.U32(application.peer().uid);
  w.U32(application.peer().gid);
  w.U32(static_cast<std::uint32_t>(application.peer().pid));
  const auto logins = application.Logins();
  w.U32(static_cast<std::uint32_t>(logins.size()));
  for (const auto& [token, login] : logins) {
    w.Raw(token.view());
    w.U64(login.user);
    w.U32(login.pin_generation);
  }
  auto sealed = daemon.ticket_sealer.Seal(AsBytes("ticket"), buffer.view());
  return sealed.ok() ? std::move(*sealed) : Bytes{};
}

void RenewTicket(Invocation& invocation) {
  invocation.trailers.push_back(
      {wire::TrailerKind::kTicket, 0, 0, SealTicket(invocation.daemon, *invocation.application)});
}

void SendSealed(Invocation& invocation, const Object& object) {
  // Answers may overtake each other, so the newest that the client has need not be the last: brought back, the key
  // would make a password again.
  if (object.object_class == CKO_OTP_KEY) return;
  const ApplicationId& id = invocation.application->id();
  auto sealed = invocation.daemon.object_sealer.Seal({id.data(), id.size()}, PackObject(object));
  if (!sealed.ok()) return;
  invocation.trailers.push_back({wire::TrailerKind::kSessionObject, object.session, object.handle, std::move(*sealed)});
}

Fallible<ApplicationPtr> Greet(Daemon& daemon, const Peer& peer, spec::Call<spec::CallId::Hello>& hello) {
  if (hello.version.value == 0) return Fail(CKR_ARGUMENTS_BAD, "protocol version 0");
  const std::uint32_t version =
      static_cast<std::uint32_t>(std::min<CK_ULONG>(hello.version.value, wire::kProtocolVersion));
  Outcome outcome = Outcome::kFresh;
  ApplicationPtr application;
  ApplicationId id{};
  if (hello.application.length == id.size()) {
    std::memcpy(id.data(), hello.application.data, id.size());
    application = daemon.registry.Join(id, peer);
    if (application != nullptr) {
      outcome = Outcome::kJoined;
    } else if ((application = Restore(daemon, peer, hello.resumption.view())) != nullptr) {
      outcome = Outcome::kRestored;
    }
  }
  if (application == nullptr) application = daemon.registry.Begin(RandomId(), peer);
  if (application == nullptr) return Fail(CKR_GENERAL_ERROR, "no application id is free");
  try {
    wire::Buffer buffer;
    wire::Writer w(buffer);
    w.U32(version);
    w.U8(static_cast<std::uint8_t>(outcome));
    w.Raw(application->id());
    w.Blob(outcome == Outcome::kJoined ? Bytes{} : SealTicket(daemon, *application));
    hello.answer.value = ToBytes(buffer.view());
  } catch (...) {
    daemon.registry.Leave(application);
    throw;
  }
  return application;
}

// Greet answers hellos before there is an invocation.
Status Handle(Invocation&, spec::Call<spec::CallId::Hello>&) { return Fail(CKR_GENERAL_ERROR, "a second hello"); }

}  // namespace cmkd::daemon
