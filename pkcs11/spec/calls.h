// The call structs: each names its parameters in C order. A family of functions with one meaning shares one template.
#pragma once

#include <tuple>

#include "pkcs11/spec/call_table.h"
#include "pkcs11/spec/shapes.h"

namespace cmkd::spec {

// Never crosses the wire: answered where the function list is.
template <CallId id>
struct Local {
  static constexpr CallId kId = id;
  auto Fields() { return std::tie(); }
};

// C_GetInfo.
template <CallId id>
struct Info {
  static constexpr CallId kId = id;
  StructOut<CK_INFO> info;
  auto Fields() { return std::tie(info); }
};

// C_GetSlotList.
template <CallId id>
struct SlotList {
  static constexpr CallId kId = id;
  Bool8 token_present;
  UlongListOut slots;
  auto Fields() { return std::tie(token_present, slots); }
};

// C_GetSlotInfo.
template <CallId id>
struct SlotInfo {
  static constexpr CallId kId = id;
  Ulong slot;
  StructOut<CK_SLOT_INFO> info;
  auto Fields() { return std::tie(slot, info); }
};

// C_GetTokenInfo.
template <CallId id>
struct TokenInfo {
  static constexpr CallId kId = id;
  Ulong slot;
  StructOut<CK_TOKEN_INFO> info;
  auto Fields() { return std::tie(slot, info); }
};

// C_GetMechanismList.
template <CallId id>
struct MechanismList {
  static constexpr CallId kId = id;
  Ulong slot;
  UlongListOut mechanisms;
  auto Fields() { return std::tie(slot, mechanisms); }
};

// C_GetMechanismInfo.
template <CallId id>
struct MechanismInfo {
  static constexpr CallId kId = id;
  Ulong slot;
  Ulong type;
  StructOut<CK_MECHANISM_INFO> info;
  auto Fields() { return std::tie(slot, type, info); }
};

// C_InitToken.
template <CallId id>
struct InitToken {
  static constexpr CallId kId = id;
  Ulong slot;
  SecretIn so_pin;
  Label32 label;
  auto Fields() { return std::tie(slot, so_pin, label); }
};

// C_InitPIN.
template <CallId id>
struct InitPin {
  static constexpr CallId kId = id;
  Ulong session;
  SecretIn pin;
  auto Fields() { return std::tie(session, pin); }
};

// C_SetPIN.
template <CallId id>
struct SetPin {
  static constexpr CallId kId = id;
  Ulong session;
  SecretIn old_pin;
  SecretIn new_pin;
  auto Fields() { return std::tie(session, old_pin, new_pin); }
};

// C_OpenSession.
template <CallId id>
struct OpenSession {
  static constexpr CallId kId = id;
  Ulong slot;
  Ulong flags;
  Unused unused;
  UlongOut session;
  auto Fields() { return std::tie(slot, flags, unused, session); }
};

// A call with a session and nothing else: C_CloseSession, C_Logout, the …Final calls without data.
template <CallId id>
struct SessionOnly {
  static constexpr CallId kId = id;
  Ulong session;
  auto Fields() { return std::tie(session); }
};

// C_CloseAllSessions.
template <CallId id>
struct SlotOnly {
  static constexpr CallId kId = id;
  Ulong slot;
  auto Fields() { return std::tie(slot); }
};

// C_GetSessionInfo.
template <CallId id>
struct SessionInfo {
  static constexpr CallId kId = id;
  Ulong session;
  StructOut<CK_SESSION_INFO> info;
  auto Fields() { return std::tie(session, info); }
};

// C_SetOperationState.
template <CallId id>
struct SetOperationState {
  static constexpr CallId kId = id;
  Ulong session;
  BytesIn state;
  Ulong encryption_key;
  Ulong authentication_key;
  auto Fields() { return std::tie(session, state, encryption_key, authentication_key); }
};

// C_Login.
template <CallId id>
struct Login {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong user_type;
  SecretIn pin;
  auto Fields() { return std::tie(session, user_type, pin); }
};

// C_LoginUser.
template <CallId id>
struct LoginUser {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong user_type;
  SecretIn pin;
  BytesIn user_name;
  auto Fields() { return std::tie(session, user_type, pin, user_name); }
};

// C_CreateObject.
template <CallId id>
struct CreateObject {
  static constexpr CallId kId = id;
  Ulong session;
  TemplateIn attributes;
  UlongOut object;
  auto Fields() { return std::tie(session, attributes, object); }
};

// C_CopyObject.
template <CallId id>
struct CopyObject {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong object;
  TemplateIn attributes;
  UlongOut new_object;
  auto Fields() { return std::tie(session, object, attributes, new_object); }
};

// A session and an object: C_DestroyObject, C_DigestKey.
template <CallId id>
struct ObjectOnly {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong object;
  auto Fields() { return std::tie(session, object); }
};

// C_GetObjectSize.
template <CallId id>
struct ObjectSize {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong object;
  UlongOut size;
  auto Fields() { return std::tie(session, object, size); }
};

// C_GetAttributeValue.
template <CallId id>
struct GetAttributeValue {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong object;
  TemplateInOut attributes;
  auto Fields() { return std::tie(session, object, attributes); }
};

// C_SetAttributeValue.
template <CallId id>
struct SetAttributeValue {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong object;
  TemplateIn attributes;
  auto Fields() { return std::tie(session, object, attributes); }
};

// C_FindObjectsInit.
template <CallId id>
struct FindObjectsInit {
  static constexpr CallId kId = id;
  Ulong session;
  TemplateIn attributes;
  auto Fields() { return std::tie(session, attributes); }
};

// C_FindObjects.
template <CallId id>
struct FindObjects {
  static constexpr CallId kId = id;
  Ulong session;
  HandlesOut objects;
  auto Fields() { return std::tie(session, objects); }
};

// C_DigestInit: an operation without a key begins.
template <CallId id>
struct Begin {
  static constexpr CallId kId = id;
  Ulong session;
  MechanismOrCancel mechanism;
  auto Fields() { return std::tie(session, mechanism); }
};

// C_EncryptInit and its family: an operation with a key begins, or is cancelled.
template <CallId id>
struct BeginWithKey {
  static constexpr CallId kId = id;
  Ulong session;
  MechanismOrCancel mechanism;
  Ulong key;
  auto Fields() { return std::tie(session, mechanism, key); }
};

// C_MessageEncryptInit and C_MessageDecryptInit: each message will bring its own parameter.
template <CallId id>
struct BeginMessages {
  static constexpr CallId kId = id;
  Ulong session;
  MessageMechanismOrCancel mechanism;
  Ulong key;
  auto Fields() { return std::tie(session, mechanism, key); }
};

// One input, one output: C_Encrypt, C_Sign, C_Digest, C_DecryptVerifyUpdate and their families.
template <CallId id>
struct Transform {
  static constexpr CallId kId = id;
  Ulong session;
  BytesIn input;
  BytesOut output;
  auto Fields() { return std::tie(session, input, output); }
};

// Input only: C_SignUpdate, C_VerifyFinal, C_SeedRandom and their families.
template <CallId id>
struct Feed {
  static constexpr CallId kId = id;
  Ulong session;
  BytesIn input;
  auto Fields() { return std::tie(session, input); }
};

// Output only: C_EncryptFinal, C_GetOperationState and their families.
template <CallId id>
struct Drain {
  static constexpr CallId kId = id;
  Ulong session;
  BytesOut output;
  auto Fields() { return std::tie(session, output); }
};

// C_Verify.
template <CallId id>
struct Verify {
  static constexpr CallId kId = id;
  Ulong session;
  BytesIn input;
  BytesIn signature;
  auto Fields() { return std::tie(session, input, signature); }
};

// C_GenerateKey.
template <CallId id>
struct GenerateKey {
  static constexpr CallId kId = id;
  Ulong session;
  DerivingMechanism mechanism;
  TemplateIn attributes;
  UlongOut key;
  auto Fields() { return std::tie(session, mechanism, attributes, key); }
};

// C_GenerateKeyPair.
template <CallId id>
struct GenerateKeyPair {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  TemplateIn public_attributes;
  TemplateIn private_attributes;
  UlongOut public_key;
  UlongOut private_key;
  auto Fields() { return std::tie(session, mechanism, public_attributes, private_attributes, public_key, private_key); }
};

// C_WrapKey.
template <CallId id>
struct WrapKey {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong wrapping_key;
  Ulong key;
  BytesOut output;
  auto Fields() { return std::tie(session, mechanism, wrapping_key, key, output); }
};

// C_UnwrapKey.
template <CallId id>
struct UnwrapKey {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong unwrapping_key;
  BytesIn input;
  TemplateIn attributes;
  UlongOut key;
  auto Fields() { return std::tie(session, mechanism, unwrapping_key, input, attributes, key); }
};

// C_DeriveKey.
template <CallId id>
struct DeriveKey {
  static constexpr CallId kId = id;
  Ulong session;
  DerivingMechanism mechanism;
  Ulong base_key;
  TemplateIn attributes;
  UlongOutOrNull key;
  auto Fields() { return std::tie(session, mechanism, base_key, attributes, key); }
};

// C_GenerateRandom.
template <CallId id>
struct GenerateRandom {
  static constexpr CallId kId = id;
  Ulong session;
  FillOut output;
  auto Fields() { return std::tie(session, output); }
};

// C_SessionCancel.
template <CallId id>
struct SessionCancel {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong flags;
  auto Fields() { return std::tie(session, flags); }
};

// C_EncryptMessage, C_DecryptMessage.
template <CallId id>
struct TransformMessage {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn associated_data;
  BytesIn input;
  BytesOut output;
  auto Fields() { return std::tie(session, parameter, associated_data, input, output); }
};

// C_EncryptMessageBegin, C_DecryptMessageBegin.
template <CallId id>
struct BeginMessageAead {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn associated_data;
  auto Fields() { return std::tie(session, parameter, associated_data); }
};

// C_EncryptMessageNext, C_DecryptMessageNext.
template <CallId id>
struct NextMessageAead {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn input;
  BytesOut output;
  Ulong flags;
  auto Fields() { return std::tie(session, parameter, input, output, flags); }
};

// C_SignMessageBegin, C_VerifyMessageBegin.
template <CallId id>
struct BeginMessage {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  auto Fields() { return std::tie(session, parameter); }
};

// C_SignMessage.
template <CallId id>
struct SignMessage {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn input;
  BytesOut signature;
  auto Fields() { return std::tie(session, parameter, input, signature); }
};

// C_SignMessageNext.
template <CallId id>
struct SignMessageNext {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn input;
  BytesOutOrMore signature;
  auto Fields() { return std::tie(session, parameter, input, signature); }
};

// C_VerifyMessage; C_VerifyMessageNext, whose signature is NULL while more parts come.
template <CallId id>
struct VerifyMessage {
  static constexpr CallId kId = id;
  Ulong session;
  ParameterInOut parameter;
  BytesIn input;
  BytesIn signature;
  auto Fields() { return std::tie(session, parameter, input, signature); }
};

// C_EncapsulateKey.
template <CallId id>
struct EncapsulateKey {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong public_key;
  TemplateIn attributes;
  BytesOut ciphertext;
  UlongOut key;
  auto Fields() { return std::tie(session, mechanism, public_key, attributes, ciphertext, key); }
};

// C_DecapsulateKey.
template <CallId id>
struct UnwrapWithTemplate {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong private_key;
  TemplateIn attributes;
  BytesIn ciphertext;
  UlongOut key;
  auto Fields() { return std::tie(session, mechanism, private_key, attributes, ciphertext, key); }
};

// C_VerifySignatureInit.
template <CallId id>
struct BeginWithSignature {
  static constexpr CallId kId = id;
  Ulong session;
  MechanismOrCancel mechanism;
  Ulong key;
  BytesIn signature;
  auto Fields() { return std::tie(session, mechanism, key, signature); }
};

// C_GetSessionValidationFlags.
template <CallId id>
struct ValidationFlags {
  static constexpr CallId kId = id;
  Ulong session;
  Ulong type;
  UlongOut flags;
  auto Fields() { return std::tie(session, type, flags); }
};

// C_WrapKeyAuthenticated.
template <CallId id>
struct WrapKeyAuthenticated {
  static constexpr CallId kId = id;
  Ulong session;
  MechanismInOut mechanism;
  Ulong wrapping_key;
  Ulong key;
  BytesIn associated_data;
  BytesOut output;
  auto Fields() { return std::tie(session, mechanism, wrapping_key, key, associated_data, output); }
};

// C_UnwrapKeyAuthenticated.
template <CallId id>
struct UnwrapKeyAuthenticated {
  static constexpr CallId kId = id;
  Ulong session;
  MechanismInOut mechanism;
  Ulong unwrapping_key;
  BytesIn input;
  TemplateIn attributes;
  BytesIn associated_data;
  UlongOut key;
  auto Fields() { return std::tie(session, mechanism, unwrapping_key, input, attributes, associated_data, key); }
};

// How a connection begins: who the application is and, after a restart of the daemon, what it had (PROTOCOL.md,
// "Hello").
template <CallId id>
struct Hello {
  static constexpr CallId kId = id;
  Ulong version;
  BytesIn application;
  BytesIn resumption;
  Document answer;
  auto Fields() { return std::tie(version, application, resumption, answer); }
};

// The operator's door: a request and its answer as JSON (PROTOCOL.md, "Administration").
template <CallId id>
struct Admin {
  static constexpr CallId kId = id;
  BytesIn request;
  Document answer;
  auto Fields() { return std::tie(request, answer); }
};

// A key for the caller's own use, and the same under a key of the token. Without a length for the plaintext there is
// none.
template <CallId id>
struct GenerateDataKey {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong key;
  Ulong bytes;
  BytesOutOrMore plaintext;
  BytesOut ciphertext;
  auto Fields() { return std::tie(session, mechanism, key, bytes, plaintext, ciphertext); }
};

// The same with a key pair, whose private half is the plaintext.
template <CallId id>
struct GenerateDataKeyPair {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong key;
  Mechanism generator;
  TemplateIn attributes;
  BytesOut public_key;
  BytesOutOrMore plaintext;
  BytesOut ciphertext;
  auto Fields() { return std::tie(session, mechanism, key, generator, attributes, public_key, plaintext, ciphertext); }
};

// EncryptManaged and DecryptManaged: Init and the operation at once.
template <CallId id>
struct CryptManaged {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism mechanism;
  Ulong key;
  BytesIn input;
  BytesOut output;
  auto Fields() { return std::tie(session, mechanism, key, input, output); }
};

// Out of one managed ciphertext into another.
template <CallId id>
struct ReEncrypt {
  static constexpr CallId kId = id;
  Ulong session;
  Mechanism from_mechanism;
  Ulong from_key;
  Mechanism to_mechanism;
  Ulong to_key;
  BytesIn input;
  BytesOut output;
  auto Fields() { return std::tie(session, from_mechanism, from_key, to_mechanism, to_key, input, output); }
};

// The call struct of a row.
template <CallId id>
struct CallOf;

#define CMKD_CALL_OF(name, arity, shape, ...) \
  template <>                                 \
  struct CallOf<CallId::name> {               \
    using Type = shape<CallId::name>;         \
  };
CMKD_STANDARD_CALLS(CMKD_CALL_OF)
#undef CMKD_CALL_OF
#define CMKD_CALL_OF(name, shape, ...) \
  template <>                          \
  struct CallOf<CallId::name> {        \
    using Type = shape<CallId::name>;  \
  };
CMKD_OWN_CALLS(CMKD_CALL_OF)
#undef CMKD_CALL_OF

template <CallId id>
using Call = typename CallOf<id>::Type;

}  // namespace cmkd::spec
