// The call table: one row for each C function of PKCS#11 2.40, 3.0 and 3.2, in the order of the standard's function
// lists. Entry point, encoder, decoder, dispatch, log line, function lists, protocol document and fuzz seeds are
// derived from it.
//
// X(name, arity, shape, since, gate, replay, operation, phase)
//   arity   number of C parameters, checked against the prototype at compile time (pkcs11/entry/entry.h)
//   shape   the call struct of pkcs11/spec/calls.h; Local means that the call never crosses the wire
//   since   version of the standard whose function list has it first
//   gate    what must be true before a handler looks at the call (struct Gate)
//   replay  what the module may do when the daemon goes away before it answers (enum Replay)
//   operation, phase   the operation of the session that the call begins, feeds or ends, if any
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

// clang-format off
#define CMKD_STANDARD_CALLS(X) \
  X(C_Initialize,                 1, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_Finalize,                   1, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_GetInfo,                    1, Info,                   kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetFunctionList,            1, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_GetSlotList,                3, SlotList,               kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetSlotInfo,                2, SlotInfo,               kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetTokenInfo,               2, TokenInfo,              kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetMechanismList,           3, MechanismList,          kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetMechanismInfo,           3, MechanismInfo,          kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_InitToken,                  4, InitToken,              kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_InitPIN,                    3, InitPin,                kV240, kReadWriteSession, kNever,     kNoOperation,     kNoPhase) \
  X(C_SetPIN,                     5, SetPin,                 kV240, kReadWriteSession, kNever,     kNoOperation,     kNoPhase) \
  X(C_OpenSession,                5, OpenSession,            kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_CloseSession,               1, SessionOnly,            kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_CloseAllSessions,           1, SlotOnly,               kV240, kOpen,             kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetSessionInfo,             2, SessionInfo,            kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetOperationState,          3, Drain,                  kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_SetOperationState,          5, SetOperationState,      kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_Login,                      4, Login,                  kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_Logout,                     1, SessionOnly,            kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_CreateObject,               4, CreateObject,           kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_CopyObject,                 5, CopyObject,             kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_DestroyObject,              2, ObjectOnly,             kV240, kSession,          kNever,     kNoOperation,     kNoPhase) \
  X(C_GetObjectSize,              3, ObjectSize,             kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetAttributeValue,          4, GetAttributeValue,      kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_SetAttributeValue,          4, SetAttributeValue,      kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_FindObjectsInit,            3, FindObjectsInit,        kV240, kSession,          kAlways,    kFind,            kBegin) \
  X(C_FindObjects,                4, FindObjects,            kV240, kSession,          kOperation, kFind,            kPart) \
  X(C_FindObjectsFinal,           1, SessionOnly,            kV240, kSession,          kOperation, kFind,            kFinal) \
  X(C_EncryptInit,                3, BeginWithKey,           kV240, kSession,          kAlways,    kEncrypt,         kBegin) \
  X(C_Encrypt,                    5, Transform,              kV240, kSession,          kOperation, kEncrypt,         kSingle) \
  X(C_EncryptUpdate,              5, Transform,              kV240, kSession,          kOperation, kEncrypt,         kPart) \
  X(C_EncryptFinal,               3, Drain,                  kV240, kSession,          kOperation, kEncrypt,         kFinal) \
  X(C_DecryptInit,                3, BeginWithKey,           kV240, kSession,          kAlways,    kDecrypt,         kBegin) \
  X(C_Decrypt,                    5, Transform,              kV240, kSession,          kOperation, kDecrypt,         kSingle) \
  X(C_DecryptUpdate,              5, Transform,              kV240, kSession,          kOperation, kDecrypt,         kPart) \
  X(C_DecryptFinal,               3, Drain,                  kV240, kSession,          kOperation, kDecrypt,         kFinal) \
  X(C_DigestInit,                 2, Begin,                  kV240, kSession,          kAlways,    kDigest,          kBegin) \
  X(C_Digest,                     5, Transform,              kV240, kSession,          kOperation, kDigest,          kSingle) \
  X(C_DigestUpdate,               3, Feed,                   kV240, kSession,          kOperation, kDigest,          kPart) \
  X(C_DigestKey,                  2, ObjectOnly,             kV240, kSession,          kOperation, kDigest,          kPart) \
  X(C_DigestFinal,                3, Drain,                  kV240, kSession,          kOperation, kDigest,          kFinal) \
  X(C_SignInit,                   3, BeginWithKey,           kV240, kSession,          kAlways,    kSign,            kBegin) \
  X(C_Sign,                       5, Transform,              kV240, kSession,          kOperation, kSign,            kSingle) \
  X(C_SignUpdate,                 3, Feed,                   kV240, kSession,          kOperation, kSign,            kPart) \
  X(C_SignFinal,                  3, Drain,                  kV240, kSession,          kOperation, kSign,            kFinal) \
  X(C_SignRecoverInit,            3, BeginWithKey,           kV240, kSession,          kAlways,    kSignRecover,     kBegin) \
  X(C_SignRecover,                5, Transform,              kV240, kSession,          kOperation, kSignRecover,     kSingle) \
  X(C_VerifyInit,                 3, BeginWithKey,           kV240, kSession,          kAlways,    kVerify,          kBegin) \
  X(C_Verify,                     5, Verify,                 kV240, kSession,          kOperation, kVerify,          kSingle) \
  X(C_VerifyUpdate,               3, Feed,                   kV240, kSession,          kOperation, kVerify,          kPart) \
  X(C_VerifyFinal,                3, Feed,                   kV240, kSession,          kOperation, kVerify,          kFinal) \
  X(C_VerifyRecoverInit,          3, BeginWithKey,           kV240, kSession,          kAlways,    kVerifyRecover,   kBegin) \
  X(C_VerifyRecover,              5, Transform,              kV240, kSession,          kOperation, kVerifyRecover,   kSingle) \
  X(C_DigestEncryptUpdate,        5, Transform,              kV240, kSession,          kOperation, kEncrypt,         kPart) \
  X(C_DecryptDigestUpdate,        5, Transform,              kV240, kSession,          kOperation, kDecrypt,         kPart) \
  X(C_SignEncryptUpdate,          5, Transform,              kV240, kSession,          kOperation, kEncrypt,         kPart) \
  X(C_DecryptVerifyUpdate,        5, Transform,              kV240, kSession,          kOperation, kDecrypt,         kPart) \
  X(C_GenerateKey,                5, GenerateKey,            kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_GenerateKeyPair,            8, GenerateKeyPair,        kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_WrapKey,                    6, WrapKey,                kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_UnwrapKey,                  8, UnwrapKey,              kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_DeriveKey,                  6, DeriveKey,              kV240, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_SeedRandom,                 3, Feed,                   kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_GenerateRandom,             3, GenerateRandom,         kV240, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_GetFunctionStatus,          1, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_CancelFunction,             1, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_WaitForSlotEvent,           3, Local,                  kV240, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_GetInterfaceList,           2, Local,                  kV300, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_GetInterface,               4, Local,                  kV300, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_LoginUser,                  6, LoginUser,              kV300, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_SessionCancel,              2, SessionCancel,          kV300, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_MessageEncryptInit,         3, BeginMessages,          kV300, kSession,          kAlways,    kMessageEncrypt,  kBegin) \
  X(C_EncryptMessage,             9, TransformMessage,       kV300, kSession,          kOperation, kMessageEncrypt,  kMessage) \
  X(C_EncryptMessageBegin,        5, BeginMessageAead,       kV300, kSession,          kOperation, kMessageEncrypt,  kMessageBegin) \
  X(C_EncryptMessageNext,         8, NextMessageAead,        kV300, kSession,          kOperation, kMessageEncrypt,  kMessageNext) \
  X(C_MessageEncryptFinal,        1, SessionOnly,            kV300, kSession,          kOperation, kMessageEncrypt,  kFinal) \
  X(C_MessageDecryptInit,         3, BeginMessages,          kV300, kSession,          kAlways,    kMessageDecrypt,  kBegin) \
  X(C_DecryptMessage,             9, TransformMessage,       kV300, kSession,          kOperation, kMessageDecrypt,  kMessage) \
  X(C_DecryptMessageBegin,        5, BeginMessageAead,       kV300, kSession,          kOperation, kMessageDecrypt,  kMessageBegin) \
  X(C_DecryptMessageNext,         8, NextMessageAead,        kV300, kSession,          kOperation, kMessageDecrypt,  kMessageNext) \
  X(C_MessageDecryptFinal,        1, SessionOnly,            kV300, kSession,          kOperation, kMessageDecrypt,  kFinal) \
  X(C_MessageSignInit,            3, BeginWithKey,           kV300, kSession,          kAlways,    kMessageSign,     kBegin) \
  X(C_SignMessage,                7, SignMessage,            kV300, kSession,          kOperation, kMessageSign,     kMessage) \
  X(C_SignMessageBegin,           3, BeginMessage,           kV300, kSession,          kOperation, kMessageSign,     kMessageBegin) \
  X(C_SignMessageNext,            7, SignMessageNext,        kV300, kSession,          kOperation, kMessageSign,     kMessageNext) \
  X(C_MessageSignFinal,           1, SessionOnly,            kV300, kSession,          kOperation, kMessageSign,     kFinal) \
  X(C_MessageVerifyInit,          3, BeginWithKey,           kV300, kSession,          kAlways,    kMessageVerify,   kBegin) \
  X(C_VerifyMessage,              7, VerifyMessage,          kV300, kSession,          kOperation, kMessageVerify,   kMessage) \
  X(C_VerifyMessageBegin,         3, BeginMessage,           kV300, kSession,          kOperation, kMessageVerify,   kMessageBegin) \
  X(C_VerifyMessageNext,          7, VerifyMessage,          kV300, kSession,          kOperation, kMessageVerify,   kMessageNext) \
  X(C_MessageVerifyFinal,         1, SessionOnly,            kV300, kSession,          kOperation, kMessageVerify,   kFinal) \
  X(C_EncapsulateKey,             8, EncapsulateKey,         kV320, kSession,          kNever,     kNoOperation,     kNoPhase) \
  X(C_DecapsulateKey,             8, UnwrapWithTemplate,     kV320, kSession,          kTagged,    kNoOperation,     kNoPhase) \
  X(C_VerifySignatureInit,        5, BeginWithSignature,     kV320, kSession,          kAlways,    kVerifySignature, kBegin) \
  X(C_VerifySignature,            3, Feed,                   kV320, kSession,          kOperation, kVerifySignature, kSingle) \
  X(C_VerifySignatureUpdate,      3, Feed,                   kV320, kSession,          kOperation, kVerifySignature, kPart) \
  X(C_VerifySignatureFinal,       1, SessionOnly,            kV320, kSession,          kOperation, kVerifySignature, kFinal) \
  X(C_GetSessionValidationFlags,  3, ValidationFlags,        kV320, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_AsyncComplete,              3, Local,                  kV320, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_AsyncGetID,                 3, Local,                  kV320, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_AsyncJoin,                  5, Local,                  kV320, kOpen,             kNever,     kNoOperation,     kNoPhase) \
  X(C_WrapKeyAuthenticated,       8, WrapKeyAuthenticated,   kV320, kSession,          kAlways,    kNoOperation,     kNoPhase) \
  X(C_UnwrapKeyAuthenticated,    10, UnwrapKeyAuthenticated, kV320, kSession,          kTagged,    kNoOperation,     kNoPhase)

// Calls of our own wire, which the standard does not have: how a connection begins, the operator's door, and the
// functions of the interface "CMKD" (cmkd_pkcs11.h).
// X(name, shape, gate, replay)
#define CMKD_OWN_CALLS(X) \
  X(Hello,               Hello,               kNoHello, kNever) \
  X(Admin,               Admin,               kOpen,    kNever) \
  X(GenerateDataKey,     GenerateDataKey,     kSession, kAlways) \
  X(GenerateDataKeyPair, GenerateDataKeyPair, kSession, kAlways) \
  X(EncryptManaged,      CryptManaged,        kSession, kAlways) \
  X(DecryptManaged,      CryptManaged,        kSession, kAlways) \
  X(ReEncrypt,           ReEncrypt,           kSession, kAlways)
// clang-format on

enum class CallId : std::uint16_t {
#define CMKD_ID(name, ...) name,
  CMKD_STANDARD_CALLS(CMKD_ID) CMKD_OWN_CALLS(CMKD_ID)
#undef CMKD_ID
      kCount
};

inline constexpr std::size_t kCallCount = static_cast<std::size_t>(CallId::kCount);
inline constexpr std::size_t Index(CallId id) { return static_cast<std::size_t>(id); }

enum class Since : std::uint8_t { kV240, kV300, kV320 };

// Checked by the dispatcher, from the row, before the handler sees the call.
enum class Gate : std::uint8_t {
  kNoHello,           // only as the first call of a connection
  kOpen,              // after hello
  kSession,           // the first field is the handle of an open session
  kReadWriteSession,  // and that session is read/write
};

// What may be done when a connection ends before the answer came.
enum class Replay : std::uint8_t {
  kNever,      // the caller gets CKR_FUNCTION_FAILED: it may or may not have happened
  kAlways,     // doing it twice is the same as doing it once
  kTagged,     // the frame's request id lets the daemon find what the first attempt made
  kOperation,  // repeated when the operation's Init, and what it was fed since, can be repeated first
};

// A session can have one operation of each kind active (PKCS#11, "Session events" and 5.x function descriptions).
enum class OperationKind : std::uint8_t {
  kNoOperation,
  kFind,
  kEncrypt,
  kDecrypt,
  kDigest,
  kSign,
  kSignRecover,
  kVerify,
  kVerifyRecover,
  kVerifySignature,
  kMessageEncrypt,
  kMessageDecrypt,
  kMessageSign,
  kMessageVerify,
  kCount
};

// The flag by which C_SessionCancel names an operation (3.0); 0 for those it cannot name.
constexpr CK_FLAGS CancelFlag(OperationKind kind) {
  switch (kind) {
    case OperationKind::kFind: return CKF_FIND_OBJECTS;
    case OperationKind::kEncrypt: return CKF_ENCRYPT;
    case OperationKind::kDecrypt: return CKF_DECRYPT;
    case OperationKind::kDigest: return CKF_DIGEST;
    case OperationKind::kSign: return CKF_SIGN;
    case OperationKind::kSignRecover: return CKF_SIGN_RECOVER;
    case OperationKind::kVerify: return CKF_VERIFY;
    case OperationKind::kVerifyRecover: return CKF_VERIFY_RECOVER;
    case OperationKind::kVerifySignature: return CKF_VERIFY;
    case OperationKind::kMessageEncrypt: return CKF_MESSAGE_ENCRYPT;
    case OperationKind::kMessageDecrypt: return CKF_MESSAGE_DECRYPT;
    case OperationKind::kMessageSign: return CKF_MESSAGE_SIGN;
    case OperationKind::kMessageVerify: return CKF_MESSAGE_VERIFY;
    default: return 0;
  }
}

// Operations whose parts return nothing, so that doing all of them again gives one whole result.
constexpr bool HasOutputOnlyAtItsEnd(OperationKind kind) {
  return kind == OperationKind::kDigest || kind == OperationKind::kSign || kind == OperationKind::kVerify ||
         kind == OperationKind::kVerifySignature;
}

// The operation that a dual function (PKCS#11, "Dual-function cryptographic functions") feeds beside the one of its
// row.
constexpr OperationKind SecondOperation(CallId id) {
  switch (id) {
    case CallId::C_DigestEncryptUpdate:
    case CallId::C_DecryptDigestUpdate: return OperationKind::kDigest;
    case CallId::C_SignEncryptUpdate: return OperationKind::kSign;
    case CallId::C_DecryptVerifyUpdate: return OperationKind::kVerify;
    default: return OperationKind::kNoOperation;
  }
}

enum class Phase : std::uint8_t {
  kNoPhase,
  kBegin,         // starts the operation
  kSingle,        // does all of it and ends it
  kPart,          // feeds or fetches a part; the operation goes on
  kFinal,         // ends it
  kMessage,       // one message of a message operation, which goes on
  kMessageBegin,  // begins a message that comes in parts
  kMessageNext,   // its next part, or its last
};

struct CallRow {
  CallId id;
  std::string_view name;
  std::string_view shape;
  std::uint8_t arity;  // 0 for calls of our own
  Since since;
  Gate gate;
  Replay replay;
  OperationKind operation;
  Phase phase;
  bool local;  // never crosses the wire
};

inline constexpr std::array<CallRow, kCallCount> kCalls = {{
#define CMKD_ROW(name, arity, shape, since, gate, replay, operation, phase) \
  {CallId::name,   #name,                                                   \
   #shape,         arity,                                                   \
   Since::since,   Gate::gate,                                              \
   Replay::replay, OperationKind::operation,                                \
   Phase::phase,   std::string_view(#shape) == "Local"},
    CMKD_STANDARD_CALLS(CMKD_ROW)
#undef CMKD_ROW
#define CMKD_ROW(name, shape, gate, replay)                                                                  \
  {CallId::name,    #name, #shape, 0, Since::kV240, Gate::gate, Replay::replay, OperationKind::kNoOperation, \
   Phase::kNoPhase, false},
        CMKD_OWN_CALLS(CMKD_ROW)
#undef CMKD_ROW
}};

constexpr const CallRow& Row(CallId id) { return kCalls[Index(id)]; }

// The first call of the table that does this to that kind of operation: the Init, Update or Final of a family; kCount
// when the kind has none.
constexpr CallId CallFor(OperationKind kind, Phase phase) {
  for (const CallRow& row : kCalls) {
    if (row.operation == kind && row.phase == phase) return row.id;
  }
  return CallId::kCount;
}

// The number of a call on the wire: the standard's calls by their place in the function list, ours from 0x8000, so that
// a later version of the standard moves nothing.
inline constexpr std::size_t kStandardCallCount = Index(CallId::C_UnwrapKeyAuthenticated) + 1;
constexpr bool IsOwn(CallId id) { return Index(id) >= kStandardCallCount; }
constexpr std::uint16_t WireId(CallId id) {
  const auto index = Index(id);
  return static_cast<std::uint16_t>(index < kStandardCallCount ? index : 0x8000 + (index - kStandardCallCount));
}
// The call with that number, or kCount.
constexpr CallId FromWireId(std::uint16_t wire) {
  const std::size_t index = wire < 0x8000 ? wire : wire - 0x8000 + kStandardCallCount;
  if (index >= kCallCount || (wire < 0x8000 && index >= kStandardCallCount)) return CallId::kCount;
  return static_cast<CallId>(index);
}

}  // namespace cmkd::spec

// The newest function list. Each version of the standard appends, so a list of 2.40 or 3.0 is a prefix of this one
// under an older version number (pkcs11/entry/function_lists.h).
extern "C" {
#define CMKD_MEMBER(name, ...) decltype(&::name) name;
struct CK_FUNCTION_LIST_3_2 {
  CK_VERSION version;
  CMKD_STANDARD_CALLS(CMKD_MEMBER)
};
#undef CMKD_MEMBER
}
