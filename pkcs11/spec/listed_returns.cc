// The table, from the "Return values" of each function (PKCS#11 3.2, section 5): which sets of values that many
// functions have in common, and which others.
#include "pkcs11/spec/listed_returns.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace cmkd::spec {
namespace {

// Every function may give these (3.2, "Universal Cryptoki function return values").
constexpr CK_RV kUniversal[] = {CKR_OK, CKR_GENERAL_ERROR, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED};

// What a function has to do with.
enum Concern : std::uint32_t {
  kDevice = 1u << 0,       // a device is asked
  kSlot = 1u << 1,         // a slot is named
  kSession = 1u << 2,      // a session is named
  kInTheWay = 1u << 3,     // another operation, or an asynchronous call, may be in the way
  kBegins = 1u << 4,       // an operation begins
  kGoesOn = 1u << 5,       // an operation goes on
  kPointers = 1u << 6,     // pointers are given
  kOutput = 1u << 7,       // there is an output with a length
  kLoggedIn = 1u << 8,     // somebody must be logged in
  kMechanism = 1u << 9,    // a mechanism is named
  kKey = 1u << 10,         // a key is named that must suit the mechanism
  kWrites = 1u << 11,      // the token is changed
  kTemplate = 1u << 12,    // a template says what an object shall be
  kNewKey = 1u << 13,      // a key is made
  kNewPin = 1u << 14,      // a PIN is set
  kPin = 1u << 15,         // a PIN is checked
  kLogin = 1u << 16,       // somebody logs in
  kData = 1u << 17,        // data must suit the mechanism
  kCiphertext = 1u << 18,  // a ciphertext must
  kSignature = 1u << 19,   // a signature must
  kWrapping = 1u << 20,    // a key is wrapped
  kUnwrapping = 1u << 21,  // a wrapped key is brought
  kWork = kDevice | kSession | kInTheWay,
  kMakesKey = kMechanism | kWrites | kTemplate | kNewKey,
};

// clang-format off
// What may go wrong with it. This list and those of the functions end with CKR_OK, which is universal.
struct ConcernRow {
  Concern concern;
  CK_RV values[7];
};
constexpr ConcernRow kConcerns[] = {
  {kDevice, {CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED}},
  {kSlot, {CKR_SLOT_ID_INVALID, CKR_TOKEN_NOT_PRESENT}},
  {kSession, {CKR_SESSION_CLOSED, CKR_SESSION_HANDLE_INVALID}},
  {kInTheWay, {CKR_OPERATION_ACTIVE, CKR_PENDING}},
  {kBegins, {CKR_FUNCTION_CANCELED, CKR_OPERATION_CANCEL_FAILED, CKR_PIN_EXPIRED}},
  {kGoesOn, {CKR_FUNCTION_CANCELED, CKR_OPERATION_NOT_INITIALIZED}},
  {kPointers, {CKR_ARGUMENTS_BAD}},
  {kOutput, {CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL}},
  {kLoggedIn, {CKR_USER_NOT_LOGGED_IN}},
  {kMechanism, {CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID}},
  {kKey, {CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT}},
  {kWrites, {CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED}},
  {kTemplate, {
      CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT}},
  {kNewKey, {CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID, CKR_TEMPLATE_INCOMPLETE}},
  {kNewPin, {CKR_PIN_INVALID, CKR_PIN_LEN_RANGE}},
  {kPin, {CKR_PIN_INCORRECT, CKR_PIN_LOCKED}},
  {kLogin, {
      CKR_SESSION_READ_ONLY_EXISTS, CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
      CKR_USER_PIN_NOT_INITIALIZED, CKR_USER_TOO_MANY_TYPES, CKR_USER_TYPE_INVALID}},
  {kData, {CKR_DATA_INVALID, CKR_DATA_LEN_RANGE}},
  {kCiphertext, {CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE}},
  {kSignature, {CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE}},
  {kWrapping, {
      CKR_KEY_NOT_WRAPPABLE, CKR_KEY_UNEXTRACTABLE, CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_SIZE_RANGE,
      CKR_WRAPPING_KEY_TYPE_INCONSISTENT}},
  {kUnwrapping, {
      CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_UNWRAPPING_KEY_SIZE_RANGE, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
      CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE}},
};

struct ListedRow {
  CallId call;
  std::uint32_t concerns;
  CK_RV others[9];
};
// C_AsyncComplete has those of the function that it completes; it never leaves the module.
constexpr ListedRow kRows[] = {
  {CallId::C_Initialize, kPointers, {CKR_CANT_LOCK, CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_NEED_TO_CREATE_THREADS}},
  {CallId::C_Finalize, kPointers, {CKR_CRYPTOKI_NOT_INITIALIZED}},
  {CallId::C_GetInfo, kPointers, {CKR_CRYPTOKI_NOT_INITIALIZED}},
  {CallId::C_GetFunctionList, kPointers, {}},
  {CallId::C_GetSlotList, kOutput, {CKR_CRYPTOKI_NOT_INITIALIZED}},
  {CallId::C_GetSlotInfo, kPointers, {CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_SLOT_ID_INVALID}},
  {CallId::C_GetTokenInfo, kDevice | kSlot | kPointers, {CKR_TOKEN_NOT_RECOGNIZED}},
  {CallId::C_GetMechanismList, kDevice | kSlot | kOutput, {CKR_TOKEN_NOT_RECOGNIZED}},
  {CallId::C_GetMechanismInfo, kDevice | kSlot | kPointers, {CKR_MECHANISM_INVALID, CKR_TOKEN_NOT_RECOGNIZED}},
  {CallId::C_InitToken, kDevice | kSlot | kPointers | kPin, {
      CKR_FUNCTION_CANCELED, CKR_SESSION_EXISTS, CKR_TOKEN_NOT_RECOGNIZED, CKR_TOKEN_WRITE_PROTECTED}},
  {CallId::C_InitPIN, kWork | kPointers | kLoggedIn | kWrites | kNewPin, {CKR_FUNCTION_CANCELED}},
  {CallId::C_SetPIN, kWork | kPointers | kWrites | kNewPin | kPin, {CKR_FUNCTION_CANCELED}},
  {CallId::C_OpenSession, kDevice | kSlot | kPointers, {
      CKR_SESSION_ASYNC_NOT_SUPPORTED, CKR_SESSION_COUNT, CKR_SESSION_PARALLEL_NOT_SUPPORTED,
      CKR_SESSION_READ_WRITE_SO_EXISTS, CKR_TOKEN_NOT_RECOGNIZED, CKR_TOKEN_WRITE_PROTECTED}},
  {CallId::C_CloseSession, kWork, {}},
  {CallId::C_CloseAllSessions, kDevice | kSlot, {}},
  {CallId::C_GetSessionInfo, kWork | kPointers, {}},
  {CallId::C_GetOperationState, kWork | kOutput, {CKR_OPERATION_NOT_INITIALIZED, CKR_STATE_UNSAVEABLE}},
  {CallId::C_SetOperationState, kWork | kPointers, {
      CKR_KEY_CHANGED, CKR_KEY_NEEDED, CKR_KEY_NOT_NEEDED, CKR_SAVED_STATE_INVALID}},
  {CallId::C_Login, kWork | kGoesOn | kPointers | kPin | kLogin, {}},
  {CallId::C_Logout, kWork | kLoggedIn, {}},
  {CallId::C_CreateObject, kWork | kPointers | kLoggedIn | kWrites | kTemplate | kNewKey, {
      CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED, CKR_PUBLIC_KEY_INVALID}},
  {CallId::C_CopyObject, kWork | kPointers | kLoggedIn | kWrites | kTemplate, {
      CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_DestroyObject, kWork | kWrites, {CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_GetObjectSize, kWork | kPointers, {CKR_INFORMATION_SENSITIVE, CKR_OBJECT_HANDLE_INVALID}},
  {CallId::C_GetAttributeValue, kWork | kOutput, {
      CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_OBJECT_HANDLE_INVALID}},
  {CallId::C_SetAttributeValue, kWork | kPointers | kLoggedIn | kWrites | kTemplate, {
      CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID}},
  {CallId::C_FindObjectsInit, kWork | kPointers, {
      CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_FindObjects, kWork | kPointers, {CKR_OPERATION_NOT_INITIALIZED}},
  {CallId::C_FindObjectsFinal, kWork, {CKR_OPERATION_NOT_INITIALIZED}},
  {CallId::C_EncryptInit, kWork | kBegins | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_Encrypt, kWork | kGoesOn | kOutput | kData, {}},
  {CallId::C_EncryptUpdate, kWork | kGoesOn | kOutput, {CKR_DATA_LEN_RANGE}},
  {CallId::C_EncryptFinal, kWork | kGoesOn | kOutput, {CKR_DATA_LEN_RANGE}},
  {CallId::C_DecryptInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_Decrypt, kWork | kGoesOn | kOutput | kLoggedIn | kCiphertext, {}},
  {CallId::C_DecryptUpdate, kWork | kGoesOn | kOutput | kLoggedIn | kCiphertext, {}},
  {CallId::C_DecryptFinal, kWork | kGoesOn | kOutput | kLoggedIn | kCiphertext, {}},
  {CallId::C_DigestInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism, {}},
  {CallId::C_Digest, kWork | kGoesOn | kOutput, {}},
  {CallId::C_DigestUpdate, kWork | kGoesOn | kPointers, {}},
  {CallId::C_DigestKey, kWork | kGoesOn, {CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE, CKR_KEY_SIZE_RANGE}},
  {CallId::C_DigestFinal, kWork | kGoesOn | kOutput, {}},
  {CallId::C_SignInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_Sign, kWork | kGoesOn | kOutput | kLoggedIn | kData, {CKR_FUNCTION_REJECTED, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_SignUpdate, kWork | kGoesOn | kPointers | kLoggedIn, {CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_SignFinal, kWork | kGoesOn | kOutput | kLoggedIn, {
      CKR_DATA_LEN_RANGE, CKR_FUNCTION_REJECTED, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_SignRecoverInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_SignRecover, kWork | kGoesOn | kOutput | kLoggedIn | kData, {CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifyInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {CKR_PUBLIC_KEY_INVALID}},
  {CallId::C_Verify, kWork | kGoesOn | kPointers | kData | kSignature, {CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifyUpdate, kWork | kGoesOn | kPointers, {CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifyFinal, kWork | kGoesOn | kPointers | kSignature, {CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifyRecoverInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {CKR_PUBLIC_KEY_INVALID}},
  {CallId::C_VerifyRecover, kWork | kGoesOn | kOutput | kData | kSignature, {CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_DigestEncryptUpdate, kWork | kGoesOn | kOutput, {CKR_DATA_LEN_RANGE}},
  {CallId::C_DecryptDigestUpdate, kWork | kGoesOn | kOutput | kCiphertext, {}},
  {CallId::C_SignEncryptUpdate, kWork | kGoesOn | kOutput | kLoggedIn, {CKR_DATA_LEN_RANGE}},
  {CallId::C_DecryptVerifyUpdate, kWork | kGoesOn | kOutput | kCiphertext, {CKR_DATA_LEN_RANGE}},
  {CallId::C_GenerateKey, kWork | kPointers | kLoggedIn | kMechanism | kWrites | kTemplate, {
      CKR_CURVE_NOT_SUPPORTED, CKR_FUNCTION_CANCELED, CKR_PIN_EXPIRED, CKR_TEMPLATE_INCOMPLETE}},
  {CallId::C_GenerateKeyPair, kWork | kPointers | kLoggedIn | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED}},
  {CallId::C_WrapKey, kWork | kOutput | kLoggedIn | kMechanism | kWrapping, {
      CKR_FUNCTION_CANCELED, CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_PIN_EXPIRED}},
  {CallId::C_UnwrapKey, kWork | kOutput | kLoggedIn | kUnwrapping | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED}},
  {CallId::C_DeriveKey, kWork | kPointers | kLoggedIn | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT, CKR_PIN_EXPIRED,
      CKR_PUBLIC_KEY_INVALID}},
  {CallId::C_SeedRandom, kWork | kPointers | kLoggedIn, {
      CKR_FUNCTION_CANCELED, CKR_RANDOM_NO_RNG, CKR_RANDOM_SEED_NOT_SUPPORTED}},
  {CallId::C_GenerateRandom, kWork | kPointers | kLoggedIn, {
      CKR_FUNCTION_CANCELED, CKR_RANDOM_NO_RNG, CKR_SEED_RANDOM_REQUIRED}},
  {CallId::C_GetFunctionStatus, kSession | kInTheWay, {CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_PARALLEL}},
  {CallId::C_CancelFunction, kSession | kInTheWay, {CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_PARALLEL}},
  {CallId::C_WaitForSlotEvent, kPointers, {CKR_CRYPTOKI_NOT_INITIALIZED, CKR_NO_EVENT}},
  {CallId::C_GetInterfaceList, kOutput, {}},
  {CallId::C_GetInterface, kOutput, {}},
  {CallId::C_LoginUser, kWork | kGoesOn | kPointers | kPin | kLogin, {}},
  {CallId::C_SessionCancel, kDevice | kInTheWay, {CKR_OPERATION_CANCEL_FAILED, CKR_TOKEN_NOT_PRESENT}},
  {CallId::C_MessageEncryptInit, kWork | kBegins | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_EncryptMessage, kWork | kGoesOn | kOutput | kData, {CKR_MECHANISM_PARAM_INVALID}},
  {CallId::C_EncryptMessageBegin, kWork | kGoesOn | kLoggedIn, {CKR_MECHANISM_PARAM_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_EncryptMessageNext, kWork | kGoesOn | kOutput, {CKR_DATA_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID}},
  {CallId::C_MessageEncryptFinal, kWork | kGoesOn | kPointers, {}},
  {CallId::C_MessageDecryptInit, kWork | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {}},
  {CallId::C_DecryptMessage, kWork | kGoesOn | kOutput | kLoggedIn | kCiphertext, {
      CKR_AEAD_DECRYPT_FAILED, CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_CANCEL_FAILED}},
  {CallId::C_DecryptMessageBegin, kWork | kGoesOn | kPointers | kLoggedIn, {
      CKR_MECHANISM_PARAM_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_DecryptMessageNext, kWork | kGoesOn | kOutput | kLoggedIn | kCiphertext, {
      CKR_AEAD_DECRYPT_FAILED, CKR_MECHANISM_PARAM_INVALID}},
  {CallId::C_MessageDecryptFinal, kWork | kGoesOn | kPointers | kLoggedIn, {}},
  {CallId::C_MessageSignInit, kWork | kPointers | kLoggedIn | kMechanism | kKey, {
      CKR_FUNCTION_CANCELED, CKR_PIN_EXPIRED}},
  {CallId::C_SignMessage, kWork | kGoesOn | kOutput | kLoggedIn | kData, {
      CKR_FUNCTION_REJECTED, CKR_MECHANISM_PARAM_INVALID, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_SignMessageBegin, kWork | kGoesOn | kPointers | kLoggedIn, {
      CKR_MECHANISM_PARAM_INVALID, CKR_PIN_EXPIRED, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_SignMessageNext, kWork | kGoesOn | kOutput | kLoggedIn, {
      CKR_DATA_LEN_RANGE, CKR_FUNCTION_REJECTED, CKR_MECHANISM_PARAM_INVALID, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_MessageSignFinal, kWork | kGoesOn | kPointers | kLoggedIn, {
      CKR_FUNCTION_REJECTED, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_MessageVerifyInit, kWork | kPointers | kLoggedIn | kMechanism | kKey, {
      CKR_FUNCTION_CANCELED, CKR_PIN_EXPIRED}},
  {CallId::C_VerifyMessage, kWork | kGoesOn | kPointers | kData | kSignature, {
      CKR_MECHANISM_PARAM_INVALID, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifyMessageBegin, kWork | kGoesOn | kPointers | kLoggedIn, {
      CKR_MECHANISM_PARAM_INVALID, CKR_PIN_EXPIRED}},
  {CallId::C_VerifyMessageNext, kWork | kGoesOn | kPointers | kSignature, {
      CKR_DATA_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_MessageVerifyFinal, kWork | kGoesOn | kPointers, {CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_EncapsulateKey, kDevice | kSession | kPointers | kLoggedIn | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT,
      CKR_OPERATION_ACTIVE, CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED, CKR_PUBLIC_KEY_INVALID}},
  {CallId::C_DecapsulateKey, kDevice | kSession | kOutput | kLoggedIn | kUnwrapping | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_OPERATION_ACTIVE, CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED}},
  {CallId::C_VerifySignatureInit, kDevice | kSession | kBegins | kPointers | kLoggedIn | kMechanism | kKey, {
      CKR_OPERATION_ACTIVE, CKR_SIGNATURE_LEN_RANGE}},
  {CallId::C_VerifySignature, kDevice | kSession | kGoesOn | kPointers | kData | kSignature, {
      CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifySignatureUpdate, kDevice | kSession | kGoesOn | kPointers, {
      CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_VerifySignatureFinal, kDevice | kSession | kGoesOn | kPointers | kSignature, {
      CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED}},
  {CallId::C_GetSessionValidationFlags, kWork, {}},
  {CallId::C_AsyncGetID, kDevice | kSession | kPointers, {CKR_STATE_UNSAVEABLE, CKR_TOKEN_NOT_PRESENT}},
  {CallId::C_AsyncJoin, kDevice | kSession | kOutput, {CKR_SAVED_STATE_INVALID, CKR_TOKEN_NOT_PRESENT}},
  {CallId::C_WrapKeyAuthenticated, kDevice | kSession | kOutput | kLoggedIn | kMechanism | kWrapping, {
      CKR_FUNCTION_CANCELED, CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED}},
  {CallId::C_UnwrapKeyAuthenticated, kDevice | kSession | kOutput | kLoggedIn | kUnwrapping | kMakesKey, {
      CKR_FUNCTION_CANCELED, CKR_OPERATION_ACTIVE, CKR_PARAMETER_SET_NOT_SUPPORTED, CKR_PIN_EXPIRED}},
};
// clang-format on

static_assert(std::ranges::all_of(kConcerns, [](const ConcernRow& row) { return *std::rbegin(row.values) == CKR_OK; }));
static_assert(std::ranges::all_of(kRows, [](const ListedRow& row) { return *std::rbegin(row.others) == CKR_OK; }));

struct Listed {
  std::uint32_t concerns = 0;
  const CK_RV* others = kUniversal;  // which begins with CKR_OK: none
};
constexpr std::array<Listed, kCallCount> kByCall = [] {
  std::array<Listed, kCallCount> by_call{};
  for (const ListedRow& row : kRows) by_call[Index(row.call)] = {row.concerns, row.others};
  return by_call;
}();

bool Has(const CK_RV* values, CK_RV rv) {
  for (; *values != CKR_OK; ++values) {
    if (*values == rv) return true;
  }
  return false;
}

}  // namespace

bool IsListed(CallId call, CK_RV rv) {
  if (std::find(std::begin(kUniversal), std::end(kUniversal), rv) != std::end(kUniversal)) return true;
  const Listed& listed = kByCall[Index(call)];
  if (Has(listed.others, rv)) return true;
  return std::any_of(std::begin(kConcerns), std::end(kConcerns), [&](const ConcernRow& row) {
    return (listed.concerns & row.concern) != 0 && Has(row.values, rv);
  });
}

bool IsListedHere(CallId call, CK_RV rv) {
  if (IsListed(call, rv)) return true;
  const OperationKind operation = Row(call).operation;
  if (operation == OperationKind::kNoOperation || operation == OperationKind::kFind) return false;
  return IsListed(CallFor(operation, Phase::kBegin), rv);
}

}  // namespace cmkd::spec
