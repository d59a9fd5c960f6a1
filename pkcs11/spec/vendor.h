// What this project adds to the standard within the vendor range: attributes that show a CMK's lifecycle, and the
// detail codes that C_GetSessionInfo shows in ulDeviceError after a refusal. No program needs any of them to create,
// find or use a key.
#pragma once

#include <array>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"
// After what it builds on.
#include "pkcs11/spec/cmkd_pkcs11.h"

// The attributes are computed by the token and can never be set. Times are ASCII, as utcTime of CK_TOKEN_INFO without
// the two last characters (YYYYMMDDhhmmss); empty when there is none.
#define CKA_CMKD_BASE (CKA_VENDOR_DEFINED | 0x434D4B00UL)
#define CKA_CMKD_STATE (CKA_CMKD_BASE + 1)          // text: the key state's name
#define CKA_CMKD_VERSION (CKA_CMKD_BASE + 2)        // CK_ULONG: number of the version this object stands for
#define CKA_CMKD_VERSION_COUNT (CKA_CMKD_BASE + 3)  // CK_ULONG: versions that the key has had
#define CKA_CMKD_ORIGIN (CKA_CMKD_BASE + 4)         // text: where the material came from
#define CKA_CMKD_NEXT_ROTATION (CKA_CMKD_BASE + 5)  // time
#define CKA_CMKD_DELETION_DATE (CKA_CMKD_BASE + 6)  // time
#define CKA_CMKD_LAST_USED (CKA_CMKD_BASE + 7)      // time
#define CKA_CMKD_PROTECTION (CKA_CMKD_BASE + 8)     // text: software or hsm
#define CKA_CMKD_ROLE (CKA_CMKD_BASE + 9)           // text: undecided or wrapping (key_role.h); absent on keys for data
// Limits of a key in the simulated device, set by the template that makes it (docs/firmware_sim.md), and its counters.
// A token of the daemon takes none of them.
#define CKA_CMKD_LIMIT_USES (CKA_CMKD_BASE + 10)      // CK_ULONG
#define CKA_CMKD_LIMIT_BYTES (CKA_CMKD_BASE + 11)     // CK_ULONG: of input
#define CKA_CMKD_LIMIT_SECONDS (CKA_CMKD_BASE + 12)   // CK_ULONG: from its making
#define CKA_CMKD_USES_PER_LOGIN (CKA_CMKD_BASE + 13)  // CK_ULONG: then the user authenticates again
#define CKA_CMKD_USES (CKA_CMKD_BASE + 14)            // CK_ULONG
#define CKA_CMKD_BYTES (CKA_CMKD_BASE + 15)           // CK_ULONG
#define CKA_CMKD_CLONE_OF (CKA_CMKD_BASE + 16)        // text: serial number of the device whose backup it came from

// The Chinese algorithms, which OASIS has not numbered. The two key types, SM3, its HMAC and the generation of SM4 keys
// have the numbers that Luna and Trustonic devices use; the others follow on.
#define CKK_SM4 (CKK_VENDOR_DEFINED + 0x15UL)
#define CKK_SM2 (CKK_VENDOR_DEFINED + 0x16UL)
#define CKM_SM3 (CKM_VENDOR_DEFINED + 0xB01UL)
#define CKM_SM3_HMAC (CKM_VENDOR_DEFINED + 0xB02UL)
#define CKM_SM3_HMAC_GENERAL (CKM_VENDOR_DEFINED + 0xB03UL)
#define CKM_SM3_KEY_DERIVATION (CKM_VENDOR_DEFINED + 0xB04UL)
#define CKM_SM4_KEY_GEN (CKM_VENDOR_DEFINED + 0xB10UL)
#define CKM_SM4_ECB (CKM_VENDOR_DEFINED + 0xB11UL)
#define CKM_SM4_CBC (CKM_VENDOR_DEFINED + 0xB12UL)
#define CKM_SM4_CBC_PAD (CKM_VENDOR_DEFINED + 0xB13UL)
#define CKM_SM4_CTR (CKM_VENDOR_DEFINED + 0xB14UL)
#define CKM_SM4_CFB128 (CKM_VENDOR_DEFINED + 0xB15UL)
#define CKM_SM4_OFB (CKM_VENDOR_DEFINED + 0xB16UL)
#define CKM_SM2_KEY_PAIR_GEN (CKM_VENDOR_DEFINED + 0xB20UL)
#define CKM_SM2 (CKM_VENDOR_DEFINED + 0xB21UL)          // signs a digest that the caller made
#define CKM_SM2_SM3 (CKM_VENDOR_DEFINED + 0xB22UL)      // signs a message (GB/T 32918.2, with the usual identity)
#define CKM_SM2_ENCRYPT (CKM_VENDOR_DEFINED + 0xB23UL)  // encrypts (GB/T 32918.4): C1, C3, C2

namespace cmkd::spec {

// Why a call was refused, for refusals that are not the CMK's own. Numbers below 64 are those of cmk::Refusal
// (keystore/cmk/state.h), where the lifecycle's refusals have their names and sentences. The numbers are shown to
// programs and kept in the audit: never renumber, only append.
enum Detail : CK_ULONG {
  kNoDetail = 0,
  kVersionExhausted = 64,
  kNotFound = 65,
  kDenied = 66,
  kMechanismNotAllowed = 67,
  kThrottled = 68,
  kBudgetSpent = 69,
  kApprovalNeeded = 70,
  kAuthenticationFailed = 71,
  kCredentialExpired = 72,
  kCredentialLocked = 73,
  kRoleLatched = 74,
  kIvRefused = 75,
  kHsmUnavailable = 76,
  kHsmRefused = 77,
  kAuditBlocked = 78,
  kStoreFailed = 79,
  kStoreFull = 80,
  kShuttingDown = 81,
  kInternal = 82,
  kNameTaken = 83,
  kLimitReached = 84,
  kCiphertextUnreadable = 85,
  kOtherKeysCiphertext = 86,
  kNoSuchVersion = 87,
  kVersionsNotTried = 88,
};

struct DetailRow {
  Detail code;
  std::string_view name;      // stable: scripts may match it
  std::string_view sentence;  // for a person
};

inline constexpr std::array kDetails = {
    DetailRow{kNoDetail, "NONE", "There is nothing to add to the return value."},
    DetailRow{kVersionExhausted, "VERSION_EXHAUSTED",
              "The key's version has reached its usage limit and could not be rotated; rotate the key."},
    DetailRow{kNotFound, "NOT_FOUND", "There is no such key, or the caller may not know of it."},
    DetailRow{kDenied, "DENIED", "No permission of the caller's access point allows this operation on this key."},
    DetailRow{kMechanismNotAllowed, "MECH_NOT_ALLOWED",
              "The key, or the token's policy, does not allow this mechanism."},
    DetailRow{kThrottled, "THROTTLED", "The caller's rate limit is reached; the same call may succeed in a moment."},
    DetailRow{kBudgetSpent, "BUDGET_SPENT", "The caller's budget of calls or bytes for today is spent."},
    DetailRow{kApprovalNeeded, "APPROVAL_NEEDED", "This needs the approval of other operators first."},
    DetailRow{kAuthenticationFailed, "AUTH_FAILED", "The tag, MAC or signature fits no live version of the key."},
    DetailRow{kCredentialExpired, "CREDENTIAL_EXPIRED", "The access point's credential is outside its validity dates."},
    DetailRow{kCredentialLocked, "CREDENTIAL_LOCKED", "The access point is locked after too many wrong PINs."},
    DetailRow{kRoleLatched, "ROLE_LATCHED",
              "The key has been used in another role before; a key that wraps does not decrypt."},
    DetailRow{kIvRefused, "IV_REFUSED", "This token makes the IV itself; the caller may not choose it."},
    DetailRow{kHsmUnavailable, "HSM_UNAVAILABLE", "The HSM does not answer; the daemon keeps trying."},
    DetailRow{kHsmRefused, "HSM_REFUSED", "The HSM refused the operation with an error of its own; the log has it."},
    DetailRow{kAuditBlocked, "AUDIT_BLOCKED", "The audit log cannot be written, so nothing is served."},
    DetailRow{kStoreFailed, "STORE_FAILED", "The store could not be read or written."},
    DetailRow{kStoreFull, "STORE_FULL", "The store or its disk is full."},
    DetailRow{kShuttingDown, "SHUTTING_DOWN", "The daemon is going down; the call was not carried out."},
    DetailRow{kInternal, "INTERNAL", "A fault in cmkd itself; please report it with the request id."},
    DetailRow{kNameTaken, "NAME_TAKEN", "Another key of this token has this name; choose another or rename that key."},
    DetailRow{kLimitReached, "LIMIT_REACHED", "The application has as many sessions or objects as it may have."},
    DetailRow{kCiphertextUnreadable, "CIPHERTEXT_UNREADABLE",
              "It does not begin with the header of a managed ciphertext; docs/ciphertext.md says what that is."},
    DetailRow{kOtherKeysCiphertext, "OTHER_KEYS_CIPHERTEXT",
              "The ciphertext's header names another key; cmkctl ciphertext show says which."},
    DetailRow{kNoSuchVersion, "NO_SUCH_VERSION", "The key never had the version that the ciphertext's header names."},
    DetailRow{
        kVersionsNotTried, "VERSIONS_NOT_TRIED",
        "No version that was tried fits, and the key has older ones: raise limits.trial_versions, and protect the "
        "data again with the current version."},
};

// The row of a code, or nullptr.
constexpr const DetailRow* FindDetail(CK_ULONG code) {
  for (const DetailRow& row : kDetails) {
    if (row.code == code) return &row;
  }
  return nullptr;
}

// The row of a name such as NOT_FOUND, or nullptr.
constexpr const DetailRow* FindDetail(std::string_view name) {
  for (const DetailRow& row : kDetails) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace cmkd::spec
