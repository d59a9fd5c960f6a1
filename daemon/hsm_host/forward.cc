// One function for each row of the call table, made from the row: decode, call, encode.
#include "daemon/hsm_host/forward.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "common/file.h"
#include "daemon/crypto/random.h"
#include "daemon/system/log.h"
#include "pkcs11/entry/entry.h"
#include "pkcs11/spec/template_codec.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::daemon {

namespace {

using spec::CallId;
using spec::OperationKind;

// The member of the function list that belongs to a row.
template <CallId id>
struct MemberOf;
#define CMKD_MEMBER_OF(name, ...)                                 \
  template <>                                                     \
  struct MemberOf<CallId::name> {                                 \
    static constexpr auto kPointer = &CK_FUNCTION_LIST_3_2::name; \
  };
CMKD_STANDARD_CALLS(CMKD_MEMBER_OF)
#undef CMKD_MEMBER_OF

// ---- Lengths. What a module says it wrote is held against the room that it had: the encoder believes it.

CK_ULONG RoomIn(const spec::BytesOut& s) { return s.length == nullptr || s.data == nullptr ? 0 : *s.length; }
CK_ULONG RoomIn(const spec::UlongListOut& s) { return s.list == nullptr ? 0 : *s.count; }
CK_ULONG RoomIn(const spec::HandlesOut& s) { return s.max; }
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) CK_ULONG RoomIn(const Shape&) { return 0; }

bool Fits(const spec::BytesOut& s, CK_ULONG room) {
  return s.length == nullptr || s.data == nullptr || *s.length <= room;
}
bool Fits(const spec::UlongListOut& s, CK_ULONG room) { return s.list == nullptr || *s.count <= room; }
bool Fits(const spec::HandlesOut& s, CK_ULONG room) { return *s.count <= room; }
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) bool Fits(const Shape&, CK_ULONG) { return true; }

// The daemon asks for no more room than it needs, so all of it is made before the module is called.
void MakeRoom(spec::BytesOut& s) {
  if (!s.query() && s.length != nullptr) s.Room(*s.length);
}
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) void MakeRoom(Shape&) {}

template <class Call>
auto Rooms(Call& call) {
  return std::apply([](auto&... field) { return std::array<CK_ULONG, sizeof...(field)>{RoomIn(field)...}; },
                    call.Fields());
}

template <class Call, std::size_t n>
bool AllFit(Call& call, const std::array<CK_ULONG, n>& rooms) {
  std::size_t i = 0;
  return std::apply([&](auto&... field) { return (Fits(field, rooms[i++]) && ...); }, call.Fields());
}

// The same for C_GetAttributeValue, whose rooms are in its template.
class AttributeRooms {
 public:
  explicit AttributeRooms(const spec::TemplateInOut& s) {
    for (const CK_ATTRIBUTE& attribute : s.view()) rooms_.push_back(attribute.ulValueLen);
  }
  bool Hold(const spec::TemplateInOut& s) const {
    for (std::size_t i = 0; i < rooms_.size(); ++i) {
      const CK_ATTRIBUTE& attribute = s.list[i];
      const bool written = attribute.pValue != nullptr && attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION;
      // The daemon keeps templates itself and never asks a module for one; what is in it could not be held against
      // anything.
      if (written && spec::IsTemplateAttribute(attribute.type)) return false;
      if (written && attribute.ulValueLen > rooms_[i]) return false;
    }
    return true;
  }
  // An attribute that did not fit has its length in some modules and CK_UNAVAILABLE_INFORMATION in the standard.
  void Mark(spec::TemplateInOut& s) const {
    for (std::size_t i = 0; i < rooms_.size(); ++i) {
      CK_ATTRIBUTE& attribute = s.list[i];
      if (attribute.pValue != nullptr && attribute.ulValueLen > rooms_[i])
        attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    }
  }

 private:
  std::vector<CK_ULONG> rooms_;
};

// ---- Calls

template <class Call>
CK_MECHANISM_TYPE MechanismOf(const Call& call, const HostSession* session) {
  if constexpr (requires { call.mechanism; }) {
    return call.mechanism.value == nullptr ? kEveryMechanism : call.mechanism.value->mechanism;
  }
  constexpr OperationKind kOperation = spec::Row(Call::kId).operation;
  if (kOperation == OperationKind::kNoOperation || session == nullptr) return kEveryMechanism;
  return session->mechanisms[static_cast<std::size_t>(kOperation)].load(std::memory_order_relaxed);
}

template <class Call>
CK_RV CallModule(Forwarder& forwarder, Call& call) {
  if (spec::Row(Call::kId).since > forwarder.module().newest) return CKR_FUNCTION_NOT_SUPPORTED;
  const auto function = forwarder.module().functions->*MemberOf<Call::kId>::kPointer;
  if (function == nullptr) return CKR_FUNCTION_NOT_SUPPORTED;
  std::unique_lock<std::mutex> alone;
  if (forwarder.module().serialise) alone = std::unique_lock(forwarder.one_at_a_time());
  return std::apply(function, entry::Arguments(call));
}

// Calls the module and holds it to the room that it was given.
template <class Call>
CK_RV CallChecked(Forwarder& forwarder, Call& call) {
  std::apply([](auto&... field) { (MakeRoom(field), ...); }, call.Fields());
  const auto rooms = Rooms(call);
  if constexpr (Call::kId == CallId::C_GetAttributeValue) {
    const AttributeRooms attribute_rooms(call.attributes);
    const CK_RV rv = CallModule(forwarder, call);
    if (rv == CKR_BUFFER_TOO_SMALL) attribute_rooms.Mark(call.attributes);
    return attribute_rooms.Hold(call.attributes) ? rv : CKR_DEVICE_ERROR;
  } else {
    const CK_RV rv = CallModule(forwarder, call);
    return rv != CKR_OK || AllFit(call, rooms) ? rv : CKR_DEVICE_ERROR;
  }
}

// Puts the module's session in place of ours, and follows what the call does to it.
template <class Call>
CK_RV CallInSession(Forwarder& forwarder, Call& call) {
  const CK_SESSION_HANDLE ours = call.session.value;
  const std::shared_ptr<HostSession> session = forwarder.sessions().Find(ours);
  if (session == nullptr) return CKR_SESSION_HANDLE_INVALID;
  call.session.value = session->handle;
  const CK_MECHANISM_TYPE mechanism = MechanismOf(call, session.get());
  const CK_RV rv = forwarder.quirks().Correct(Call::kId, mechanism, CallChecked(forwarder, call));
  constexpr const spec::CallRow& kRow = spec::Row(Call::kId);
  if constexpr (kRow.phase == spec::Phase::kBegin && kRow.operation != OperationKind::kNoOperation) {
    if (rv == CKR_OK)
      session->mechanisms[static_cast<std::size_t>(kRow.operation)].store(mechanism, std::memory_order_relaxed);
  }
  if (Call::kId == CallId::C_CloseSession && rv == CKR_OK) forwarder.sessions().Remove(ours);
  return rv;
}

template <class Call>
CK_RV Forward(Forwarder& forwarder, Call& call) {
  constexpr spec::Gate kGate = spec::Row(Call::kId).gate;
  if constexpr (kGate == spec::Gate::kSession || kGate == spec::Gate::kReadWriteSession) {
    return CallInSession(forwarder, call);
  } else {
    const CK_RV rv = forwarder.quirks().Correct(Call::kId, MechanismOf(call, nullptr), CallChecked(forwarder, call));
    if constexpr (Call::kId == CallId::C_OpenSession) {
      if (rv == CKR_OK) *call.session.value = forwarder.sessions().Add(*call.session.value, call.slot.value);
    } else if constexpr (Call::kId == CallId::C_CloseAllSessions) {
      if (rv == CKR_OK) forwarder.sessions().RemoveAll(call.slot.value);
    }
    return rv;
  }
}

// ---- Files of a module that leaves it to others when its files are on the disk.

template <class Shape>
bool AsksForToken(const Shape&) {
  return false;
}
bool AsksForToken(const spec::TemplateIn& s) {
  return std::ranges::any_of(s.view(), [](const CK_ATTRIBUTE& attribute) {
    return attribute.type == CKA_TOKEN && attribute.ulValueLen == sizeof(CK_BBOOL) &&
           *static_cast<const CK_BBOOL*>(attribute.pValue) != CK_FALSE;
  });
}

// A token object is there when a power cut does not take it away: the daemon puts keys under it next.
template <class Call>
CK_RV ForwardDurably(Forwarder& forwarder, Call& call) {
  const bool lasts = forwarder.module().files && spec::Row(Call::kId).replay == spec::Replay::kTagged &&
                     std::apply([](auto&... field) { return (AsksForToken(field) || ...); }, call.Fields());
  const timespec before = lasts ? SoftHsmStore::Now() : timespec{};
  const CK_RV rv = Forward(forwarder, call);
  if (!lasts || rv != CKR_OK || forwarder.module().files->SyncSince(before)) return rv;
  LogError(WithReason("what the module has made is not on the disk"));
  return CKR_DEVICE_ERROR;
}

using Handler = void (*)(Forwarder&, ByteView, wire::Arena&, wire::Writer&);

template <class Call>
void Handle(Forwarder& forwarder, ByteView payload, wire::Arena& arena, wire::Writer& writer) {
  Call call;
  wire::Reader reader(payload);
  CK_RV rv = wire::DecodeCall(reader, arena, call);
  if (rv == CKR_OK) rv = entry::CheckArguments(call);
  if (rv != CKR_OK) return writer.U64(rv);  // nothing was filled in that could be sent
  rv = ForwardDurably(forwarder, call);
  // A module that forgot that it was initialised has lost all it had. Only a new process helps, and the daemon starts
  // one.
  if (rv == CKR_CRYPTOKI_NOT_INITIALIZED) {
    LogError("the module says that it is not initialised; this host ends");
    ::_exit(4);
  }
  writer.U64(rv);
  wire::EncodeResults(writer, call, rv);
}

// PROTOCOL.md, "Hello". A host keeps nothing, so every application is fresh.
void AnswerHello(Forwarder&, ByteView payload, wire::Arena& arena, wire::Writer& writer) {
  constexpr std::uint8_t kFresh = 2;
  spec::Call<CallId::Hello> hello;
  wire::Reader reader(payload);
  CK_RV rv = wire::DecodeCall(reader, arena, hello);
  if (rv == CKR_OK && hello.version.value < 1) rv = CKR_ARGUMENTS_BAD;
  writer.U64(rv);
  if (rv != CKR_OK) return;
  wire::Buffer answer;
  wire::Writer w(answer);
  w.U32(wire::kProtocolVersion);
  w.U8(kFresh);
  const Id16 application{};
  w.Raw(application);
  w.Blob(ByteView{});
  hello.answer.value = ToBytes(answer.view());
  wire::EncodeResults(writer, hello, CKR_OK);
}

template <CallId id>
constexpr Handler HandlerOf() {
  if constexpr (id == CallId::Hello)
    return &AnswerHello;
  else if constexpr (spec::IsOwn(id) || spec::Row(id).local)
    return nullptr;
  else
    return &Handle<spec::Call<id>>;
}

constexpr std::array<Handler, spec::kCallCount> kHandlers = [] {
  std::array<Handler, spec::kCallCount> handlers{};
#define CMKD_HANDLER(name, ...) handlers[spec::Index(CallId::name)] = HandlerOf<CallId::name>();
  CMKD_STANDARD_CALLS(CMKD_HANDLER)
  CMKD_OWN_CALLS(CMKD_HANDLER)
#undef CMKD_HANDLER
  return handlers;
}();

class HostConversation final : public Conversation {
 public:
  explicit HostConversation(Forwarder& forwarder) : forwarder_(forwarder) {}
  bool Answer(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) override {
    const CallId id = spec::FromWireId(header.call);
    if (id == CallId::kCount || kHandlers[spec::Index(id)] == nullptr) return false;
    if (greeted_ == (id == CallId::Hello)) return false;  // hello comes first, and once
    greeted_ = true;
    wire::Writer writer(response);
    forwarder_.Answer(id, payload, arena_, writer);
    arena_.Reset();
    return true;
  }

 private:
  Forwarder& forwarder_;
  wire::Arena arena_;
  bool greeted_ = false;
};

std::uint64_t RandomTag() {
  const Id16 random = RandomId();
  std::uint32_t tag = 0;
  std::memcpy(&tag, random.data(), sizeof tag);
  return std::uint64_t{tag | 1u} << 32;  // never 0: CK_INVALID_HANDLE
}

}  // namespace

HostSessions::HostSessions() : tag_(RandomTag()) {}

CK_SESSION_HANDLE HostSessions::Add(CK_SESSION_HANDLE handle, CK_SLOT_ID slot) {
  auto session = std::make_shared<HostSession>();
  session->handle = handle;
  session->slot = slot;
  for (auto& mechanism : session->mechanisms) mechanism.store(kEveryMechanism, std::memory_order_relaxed);
  const std::unique_lock lock(mutex_);
  while (sessions_.contains(tag_ | next_)) ++next_;
  const CK_SESSION_HANDLE ours = tag_ | next_++;
  sessions_.emplace(ours, std::move(session));
  return ours;
}

std::shared_ptr<HostSession> HostSessions::Find(CK_SESSION_HANDLE ours) const {
  const std::shared_lock lock(mutex_);
  const auto found = sessions_.find(ours);
  return found == sessions_.end() ? nullptr : found->second;
}

void HostSessions::Remove(CK_SESSION_HANDLE ours) {
  const std::unique_lock lock(mutex_);
  sessions_.erase(ours);
}

void HostSessions::RemoveAll(CK_SLOT_ID slot) {
  const std::unique_lock lock(mutex_);
  std::erase_if(sessions_, [&](const auto& session) { return session.second->slot == slot; });
}

std::unique_ptr<Conversation> Forwarder::Begin(const Peer& peer) {
  if (peer.uid != allowed_uid_ && peer.uid != 0) {
    LogWarning("connection refused: user " + std::to_string(peer.uid) + " is not the one this host works for");
    return nullptr;
  }
  return std::make_unique<HostConversation>(*this);
}

void Forwarder::Answer(CallId id, ByteView payload, wire::Arena& arena, wire::Writer& writer) {
  kHandlers[spec::Index(id)](*this, payload, arena, writer);
}

}  // namespace cmkd::daemon
