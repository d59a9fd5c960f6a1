// The table of slips. Each row was measured against the module that it names; tests/daemon/hsm_quirks_test.cc measures
// again.
#include "daemon/hsm/quirks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "daemon/hsm/loss.h"

namespace cmkd::daemon {
namespace {

using spec::CallId;

constexpr std::string_view kSoftHsm = "SoftHSM";
constexpr std::string_view kNss = "Mozilla Foundation";

// A wrong tag, wrong padding and a wrong key wrap all come as CKR_GENERAL_ERROR, and so does a refused public point.
// NULL or unfitting parameters come as CKR_ARGUMENTS_BAD, though no pointer of the call is at fault. NSS says of an
// HMAC that does not fit whatever went wrong last in the same thread: mostly that the device is at fault, which would
// have the daemon look after the device.
constexpr std::array kQuirks = {
    Quirk{kSoftHsm, 2, CallId::C_Decrypt, CKM_AES_GCM, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_DecryptFinal, CKM_AES_GCM, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Decrypt, CKM_AES_CBC_PAD, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_DecryptFinal, CKM_AES_CBC_PAD, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Decrypt, CKM_RSA_PKCS, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Decrypt, CKM_RSA_PKCS_OAEP, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Decrypt, CKM_RSA_X_509, CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Encrypt, CKM_RSA_PKCS, CKR_GENERAL_ERROR, CKR_DATA_LEN_RANGE},
    Quirk{kSoftHsm, 2, CallId::C_Encrypt, CKM_RSA_PKCS_OAEP, CKR_GENERAL_ERROR, CKR_DATA_LEN_RANGE},
    Quirk{kSoftHsm, 2, CallId::C_Encrypt, CKM_RSA_X_509, CKR_GENERAL_ERROR, CKR_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_Sign, CKM_RSA_PKCS, CKR_GENERAL_ERROR, CKR_DATA_LEN_RANGE},
    Quirk{kSoftHsm, 2, CallId::C_Sign, CKM_RSA_X_509, CKR_GENERAL_ERROR, CKR_DATA_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_UnwrapKey, CKM_AES_KEY_WRAP, CKR_GENERAL_ERROR, CKR_WRAPPED_KEY_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_UnwrapKey, CKM_AES_KEY_WRAP_PAD, CKR_GENERAL_ERROR, CKR_WRAPPED_KEY_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_UnwrapKey, CKM_RSA_PKCS, CKR_GENERAL_ERROR, CKR_WRAPPED_KEY_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_UnwrapKey, CKM_RSA_PKCS_OAEP, CKR_GENERAL_ERROR, CKR_WRAPPED_KEY_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_UnwrapKey, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_WrapKey, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_DeriveKey, CKM_ECDH1_DERIVE, CKR_GENERAL_ERROR, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_DeriveKey, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_EncryptInit, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_DecryptInit, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_SignInit, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kSoftHsm, 2, CallId::C_VerifyInit, kEveryMechanism, CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID},
    Quirk{kNss, 3, CallId::C_Verify, CKM_SHA_1_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_Verify, CKM_SHA224_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_Verify, CKM_SHA256_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_Verify, CKM_SHA384_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_Verify, CKM_SHA512_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_VerifyFinal, CKM_SHA_1_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_VerifyFinal, CKM_SHA224_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_VerifyFinal, CKM_SHA256_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_VerifyFinal, CKM_SHA384_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
    Quirk{kNss, 3, CallId::C_VerifyFinal, CKM_SHA512_HMAC, kEveryFailure, CKR_SIGNATURE_INVALID},
};

// OpenSSL 3 has single DES in its legacy provider only, which nothing loads.
constexpr std::array kLacks = {
    Lack{kSoftHsm, 2, CKM_DES_KEY_GEN},
    Lack{kSoftHsm, 2, CKM_DES_ECB},
    Lack{kSoftHsm, 2, CKM_DES_CBC},
    Lack{kSoftHsm, 2, CKM_DES_CBC_PAD},
    Lack{kSoftHsm, 2, CKM_DES_ECB_ENCRYPT_DATA},
    Lack{kSoftHsm, 2, CKM_DES_CBC_ENCRYPT_DATA},
};

// What the standard has for "not this key's": PKCS#11 3.2, "C_Decrypt", "C_DecryptMessage", "C_Verify", "C_UnwrapKey".
// Wrong lengths are not among them: no other key would make them right.
constexpr std::array<CK_RV, 4> kWrongKey = {CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED, CKR_SIGNATURE_INVALID,
                                            CKR_WRAPPED_KEY_INVALID};

// What a failed check cannot be: the session or the memory is at fault, or the length.
bool IsSomethingElse(CK_RV rv) {
  return (ClassifyLoss(rv) != Loss::kNone && rv != CKR_DEVICE_ERROR) || rv == CKR_HOST_MEMORY ||
         rv == CKR_SIGNATURE_LEN_RANGE || rv == CKR_FUNCTION_CANCELED || rv == CKR_CANCEL;
}

bool SaysWrongKey(CK_RV rv) { return std::find(kWrongKey.begin(), kWrongKey.end(), rv) != kWrongKey.end(); }

template <class Row>
bool IsOf(const Row& row, const CK_INFO& module) {
  const std::string_view manufacturer(reinterpret_cast<const char*>(module.manufacturerID),
                                      sizeof module.manufacturerID);
  return manufacturer.starts_with(row.manufacturer) && module.libraryVersion.major == row.major;
}

// The run of a table's rows that are of this module.
template <class Row>
std::span<const Row> RowsOf(std::span<const Row> table, const CK_INFO& module) {
  const auto is = [&](const Row& row) { return IsOf(row, module); };
  const auto first = std::find_if(table.begin(), table.end(), is);
  return {first, std::find_if_not(first, table.end(), is)};
}

}  // namespace

std::span<const Quirk> Quirks() { return kQuirks; }

QuirkSet::QuirkSet(const CK_INFO& module)
    : rows_(RowsOf(std::span<const Quirk>(kQuirks), module)), lacks_(RowsOf(std::span<const Lack>(kLacks), module)) {}

bool QuirkSet::Lacks(CK_MECHANISM_TYPE mechanism) const {
  return std::any_of(lacks_.begin(), lacks_.end(), [&](const Lack& row) { return row.mechanism == mechanism; });
}

CK_RV QuirkSet::Correct(CallId call, CK_MECHANISM_TYPE mechanism, CK_RV rv) const {
  if (rv == CKR_OK) return rv;
  for (const Quirk& row : rows_) {
    const bool says = row.says == rv || (row.says == kEveryFailure && !IsSomethingElse(rv));
    if (row.call == call && says && (row.mechanism == mechanism || row.mechanism == kEveryMechanism)) {
      return row.means;
    }
  }
  return rv;
}

bool MeansWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv, const QuirkSet& quirks) {
  if (SaysWrongKey(rv)) return true;
  for (const CallId call : {CallId::C_Decrypt, CallId::C_DecryptFinal, CallId::C_UnwrapKey, CallId::C_Verify}) {
    if (const CK_RV meant = quirks.Correct(call, mechanism, rv); meant != rv) return SaysWrongKey(meant);
  }
  return false;
}

}  // namespace cmkd::daemon
