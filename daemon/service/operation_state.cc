// C_GetOperationState and C_SetOperationState (PKCS#11 section 5.6). No device gives its state away, so a saved state
// says how to come to it again: the mechanism, the key's handle and what was fed, sealed by the daemon and bound to
// application, token, login and session type. It holds no key, and the key's rules are asked anew when it is set.
//
//   state := kind:u8  sealed bytes          (PROTOCOL.md, "Saved states")
#include "daemon/service/handlers.h"
#include "daemon/service/operation_run.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::daemon {

using spec::CallId;
using spec::OperationKind;

namespace {

constexpr std::uint8_t kStateVersion = 1;

bool IsSavable(OperationKind kind) {
  return kind == OperationKind::kDigest || kind == OperationKind::kSign || kind == OperationKind::kVerify ||
         kind == OperationKind::kVerifySignature;
}

// Kinds that the standard lets be saved, but whose state here is a cipher's: a second encryption from the middle would
// use its key stream twice.
bool IsCipher(OperationKind kind) { return kind == OperationKind::kEncrypt || kind == OperationKind::kDecrypt; }

Failure<Error> Unsaveable(const char* why) { return Fail(CKR_STATE_UNSAVEABLE, why); }
Failure<Error> Invalid(const char* why) { return Fail(CKR_SAVED_STATE_INVALID, why); }

// The one operation whose state is asked for.
Fallible<const Operation*> OperationToSave(const Session& session) {
  const Operation* found = nullptr;
  bool several = false;
  for (const auto& operation : session.operations) {
    if (operation == nullptr || (!IsSavable(operation->kind) && !IsCipher(operation->kind))) continue;
    several = found != nullptr;
    found = operation.get();
  }
  if (found == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no operation that could be saved is active");
  if (several) return Unsaveable("two operations are active");
  if (IsCipher(found->kind)) return Unsaveable("the state of a cipher does not leave the HSM");
  if (found->pending) return Unsaveable("the operation has ended but for its output");
  if (!found->history_is_whole) return Unsaveable("too much was fed");
  if (found->key != nullptr && found->key->attributes.Bool(CKA_ALWAYS_AUTHENTICATE))
    return Unsaveable("the key asks for a login before each use");
  return found;
}

// What a state is bound to.
Bytes BoundTo(const Invocation& invocation, OperationKind kind) {
  const auto token = TokenOf(invocation);
  const auto user = token.ok() ? LoggedIn(invocation, **token) : std::nullopt;
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Blob(AsBytes("operation state"));
  w.Raw(invocation.application->id());
  w.Raw(invocation.session->token.view());
  w.U8(user ? 1 : 0);
  w.U64(user.value_or(0));
  w.U8(invocation.session->read_write() ? 1 : 0);
  w.U8(static_cast<std::uint8_t>(kind));
  return ToBytes(buffer.view());
}

struct SavedState {
  OperationKind kind = OperationKind::kNoOperation;
  spec::Mechanism mechanism;
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  ByteView unique_id;
  ByteView signature;
  ByteView history;
};

void Write(wire::Writer& w, const Operation& operation) {
  w.U8(kStateVersion);
  wire::EncodeRequest(w, spec::Mechanism{operation.mechanism->pointer()});
  w.U64(operation.key == nullptr ? CK_INVALID_HANDLE : operation.key->handle);
  w.Blob(operation.key == nullptr ? ByteView{} : operation.key->attributes.View(CKA_UNIQUE_ID));
  w.Blob(operation.signature);
  w.Blob(operation.history.view());
}

bool Read(wire::Reader& r, wire::Arena& arena, SavedState& state) {
  if (r.U8() != kStateVersion) return false;
  if (wire::DecodeRequest(r, arena, state.mechanism) != CKR_OK || state.mechanism.value == nullptr) return false;
  state.key = r.U64();
  state.unique_id = r.Blob();
  state.signature = r.Blob();
  state.history = r.Blob();
  return r.AtEnd();
}

Status CheckKeys(const SavedState& state, CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key) {
  if (encryption_key != CK_INVALID_HANDLE) return Fail(CKR_KEY_NOT_NEEDED, "no cipher is in the state");
  if (authentication_key == CK_INVALID_HANDLE || authentication_key == state.key) return {};
  if (state.key == CK_INVALID_HANDLE) return Fail(CKR_KEY_NOT_NEEDED, "the operation has no key");
  return Fail(CKR_KEY_CHANGED, "the state was made with another key");
}

Status Resume(Invocation& invocation, const SavedState& state) {
  Session& session = *invocation.session;
  if (const Status begun = BeginOperation(invocation, state.kind, state.mechanism.value, state.key); !begun.ok())
    return Fail(CKR_SAVED_STATE_INVALID, begun.error().why, begun.error().detail);
  Operation& operation = *session.operation(state.kind);
  if (operation.key != nullptr && !Equal(operation.key->attributes.View(CKA_UNIQUE_ID), state.unique_id))
    return Invalid("the handle is another key's now");
  operation.signature = ToBytes(state.signature);
  return state.history.empty() ? Status{} : FeedPart(invocation, operation, state.history);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetOperationState>& call) {
  ASSIGN_OR_RETURN(const Operation* operation, OperationToSave(*invocation.session));
  RecordUse(invocation, *operation, 0);
  wire::Buffer plain;
  wire::Writer w(plain);
  Write(w, *operation);
  const auto sealed = invocation.daemon.object_sealer.Seal(BoundTo(invocation, operation->kind), plain.view());
  if (!sealed.ok()) return Fail(CKR_FUNCTION_FAILED, "the state could not be sealed");
  Bytes state{static_cast<std::uint8_t>(operation->kind)};
  state.insert(state.end(), sealed->begin(), sealed->end());
  if (const CK_RV rv = call.output.Put(state); rv != CKR_OK) return TooSmall();
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_SetOperationState>& call) {
  if (call.state.length == 0) return Invalid("an empty state");
  SavedState state;
  state.kind = static_cast<OperationKind>(call.state.data[0]);
  if (!IsSavable(state.kind)) return Invalid("no state of this daemon");
  const auto plain =
      invocation.daemon.object_sealer.Open(BoundTo(invocation, state.kind), call.state.view().subspan(1));
  if (!plain.ok()) return Invalid("not a state of this application, token, login and kind of session");
  wire::Reader r(*plain);
  if (!Read(r, invocation.arena, state)) return Invalid("a state of another version of the daemon");
  RETURN_IF_ERROR(CheckKeys(state, call.encryption_key.value, call.authentication_key.value));
  // What is active is cancelled, as the standard has it.
  Session& session = *invocation.session;
  for (auto& operation : session.operations) operation.reset();
  session.search.reset();
  const Status resumed = Resume(invocation, state);
  if (!resumed.ok()) session.operation(state.kind).reset();
  return resumed;
}

}  // namespace cmkd::daemon
