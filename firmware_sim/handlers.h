// The handlers: one for each call or family of calls, by chapter of the standard. The gate (target.h) has found the
// session and holds its mutex before a handler of a session call runs. Pointers of a call have passed the shapes' own
// checks.
#pragma once

#include "firmware_sim/device.h"
#include "pkcs11/spec/calls.h"

namespace cmkd::sim {

struct Context {
  Device& device;
  Session* session;  // nullptr for calls without one
};

using spec::CallId;
using spec::OperationKind;
using spec::Phase;

// handlers_general.cc
Status Handle(Context&, spec::Call<CallId::C_GetInfo>&);
Status Handle(Context&, spec::Call<CallId::C_GetSlotList>&);
Status Handle(Context&, spec::Call<CallId::C_GetSlotInfo>&);
Status Handle(Context&, spec::Call<CallId::C_GetTokenInfo>&);
Status Handle(Context&, spec::Call<CallId::C_GetMechanismList>&);
Status Handle(Context&, spec::Call<CallId::C_GetMechanismInfo>&);
Status Handle(Context&, spec::Call<CallId::C_InitToken>&);
Status Handle(Context&, spec::Call<CallId::C_SeedRandom>&);
Status Handle(Context&, spec::Call<CallId::C_GenerateRandom>&);

// handlers_sessions.cc
Status Handle(Context&, spec::Call<CallId::C_OpenSession>&);
Status Handle(Context&, spec::Call<CallId::C_CloseSession>&);
Status Handle(Context&, spec::Call<CallId::C_CloseAllSessions>&);
Status Handle(Context&, spec::Call<CallId::C_GetSessionInfo>&);
Status Handle(Context&, spec::Call<CallId::C_InitPIN>&);
Status Handle(Context&, spec::Call<CallId::C_SetPIN>&);
Status Handle(Context&, spec::Call<CallId::C_Login>&);
Status Handle(Context&, spec::Call<CallId::C_LoginUser>&);
Status Handle(Context&, spec::Call<CallId::C_Logout>&);
Status Handle(Context&, spec::Call<CallId::C_SessionCancel>&);
Status Handle(Context&, spec::Call<CallId::C_GetSessionValidationFlags>&);

// handlers_objects.cc
Status Handle(Context&, spec::Call<CallId::C_CreateObject>&);
Status Handle(Context&, spec::Call<CallId::C_CopyObject>&);
Status Handle(Context&, spec::Call<CallId::C_DestroyObject>&);
Status Handle(Context&, spec::Call<CallId::C_GetObjectSize>&);
Status Handle(Context&, spec::Call<CallId::C_GetAttributeValue>&);
Status Handle(Context&, spec::Call<CallId::C_SetAttributeValue>&);
Status Handle(Context&, spec::Call<CallId::C_FindObjectsInit>&);
Status Handle(Context&, spec::Call<CallId::C_FindObjects>&);
Status Handle(Context&, spec::Call<CallId::C_FindObjectsFinal>&);

// handlers_keys.cc
Status Handle(Context&, spec::Call<CallId::C_GenerateKey>&);
Status Handle(Context&, spec::Call<CallId::C_GenerateKeyPair>&);
Status Handle(Context&, spec::Call<CallId::C_WrapKey>&);
Status Handle(Context&, spec::Call<CallId::C_UnwrapKey>&);
Status Handle(Context&, spec::Call<CallId::C_DeriveKey>&);
Status Handle(Context&, spec::Call<CallId::C_WrapKeyAuthenticated>&);
Status Handle(Context&, spec::Call<CallId::C_UnwrapKeyAuthenticated>&);

// handlers_operations.cc
Status BeginOperation(Context&, OperationKind kind, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key);
Status TransformWhole(Context&, OperationKind kind, ByteView in, const spec::BytesOut& out);
Status TransformPart(Context&, OperationKind kind, ByteView in, const spec::BytesOut& out);
Status DrainFinal(Context&, OperationKind kind, const spec::BytesOut& out);
Status FeedPart(Context&, OperationKind kind, ByteView in);
Status FinishVerify(Context&, OperationKind kind, ByteView signature);
Status Handle(Context&, spec::Call<CallId::C_Verify>&);
Status Handle(Context&, spec::Call<CallId::C_DigestKey>&);

// handlers_messages.cc
Status WholeMessage(Context&, OperationKind kind, const spec::ParameterInOut& parameter, ByteView aad, ByteView in,
                    const spec::BytesOut& out);
Status BeginMessage(Context&, OperationKind kind, const spec::ParameterInOut& parameter, ByteView aad);
Status NextMessage(Context&, OperationKind kind, const spec::ParameterInOut& parameter, ByteView in,
                   const spec::BytesOut& out, CK_FLAGS flags);
Status EndMessages(Context&, OperationKind kind);

// handlers_dual.cc
Status Handle(Context&, spec::Call<CallId::C_DigestEncryptUpdate>&);
Status Handle(Context&, spec::Call<CallId::C_DecryptDigestUpdate>&);
Status Handle(Context&, spec::Call<CallId::C_SignEncryptUpdate>&);
Status Handle(Context&, spec::Call<CallId::C_DecryptVerifyUpdate>&);

// The families: what a call does to which operation is in its row of the call table.
template <CallId id>
Status Handle(Context& context, spec::BeginWithKey<id>& call) {
  return BeginOperation(context, spec::Row(id).operation, call.mechanism.value, call.key.value);
}
template <CallId id>
Status Handle(Context& context, spec::BeginMessages<id>& call) {
  return BeginOperation(context, spec::Row(id).operation, call.mechanism.value, call.key.value);
}
template <CallId id>
Status Handle(Context& context, spec::Begin<id>& call) {
  return BeginOperation(context, spec::Row(id).operation, call.mechanism.value, CK_INVALID_HANDLE);
}
template <CallId id>
Status Handle(Context& context, spec::Transform<id>& call) {
  constexpr OperationKind kKind = spec::Row(id).operation;
  if constexpr (spec::Row(id).phase == Phase::kSingle)
    return TransformWhole(context, kKind, call.input.view(), call.output);
  else
    return TransformPart(context, kKind, call.input.view(), call.output);
}
template <CallId id>
Status Handle(Context& context, spec::Drain<id>& call) {
  return DrainFinal(context, spec::Row(id).operation, call.output);
}
template <CallId id>
Status Handle(Context& context, spec::Feed<id>& call) {
  constexpr OperationKind kKind = spec::Row(id).operation;
  if constexpr (spec::Row(id).phase == Phase::kFinal)
    return FinishVerify(context, kKind, call.input.view());
  else
    return FeedPart(context, kKind, call.input.view());
}

template <CallId id>
Status Handle(Context& context, spec::TransformMessage<id>& call) {
  return WholeMessage(context, spec::Row(id).operation, call.parameter, call.associated_data.view(), call.input.view(),
                      call.output);
}
template <CallId id>
Status Handle(Context& context, spec::BeginMessageAead<id>& call) {
  return BeginMessage(context, spec::Row(id).operation, call.parameter, call.associated_data.view());
}
template <CallId id>
Status Handle(Context& context, spec::NextMessageAead<id>& call) {
  return NextMessage(context, spec::Row(id).operation, call.parameter, call.input.view(), call.output,
                     call.flags.value);
}
template <CallId id>
Status Handle(Context& context, spec::SessionOnly<id>&) {
  return EndMessages(context, spec::Row(id).operation);
}

// Everything else the device does not have.
template <class Call>
Status Handle(Context&, Call&) {
  return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
}

}  // namespace cmkd::sim
