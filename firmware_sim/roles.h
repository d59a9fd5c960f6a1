// Who may do what: the device's roles and services, a pure table. A role is an identity: it proves itself with a PIN of
// its own, or, for the custodians, with signatures (ISO/IEC 19790 section 7.4; PKCS#11 3.2 section 5.6).
#pragma once

#include <cstdint>
#include <string_view>

#include "pkcs11/spec/call_table.h"

namespace cmkd::sim {

enum class Identity : std::uint8_t {
  kNobody,  // no one is logged in
  kUser,
  kSecurityOfficer,
  kAuditor,     // reads the audit; uses no key and makes no object
  kCustodians,  // a quorum of them (approvals.h); never logged in
};
inline constexpr std::size_t kIdentityCount = 5;

enum class Service : std::uint8_t {
  kInformation,      // on slot, token, mechanisms and sessions
  kSessions,         // opening, closing, logging in and out, ending operations
  kInitialiseToken,  // C_InitToken, which asks for the SO's PIN itself
  kSetUserPin,       // C_InitPIN
  kSetAuditorPin,
  kChangeOwnPin,  // C_SetPIN; the user's, which it asks for, when nobody is logged in
  kSearch,        // finding objects and reading attributes: of what the identity may see
  kWork,          // objects, keys and random numbers that are not private
  kPrivateWork,   // private objects and keys
  kTrust,         // CKA_TRUSTED
  kReadAudit,
  kEraseAudit,
  kTestOrAttest,  // at the connector (cmkd-sim): status, self-tests, attestation
  kZeroize,
  kUpdate,  // firmware
  kBackup,
  kRestore,
  kSetQuorum,
};
inline constexpr std::size_t kServiceCount = 18;

// Whether the table of roles has the service for who is logged in. Pure.
bool May(Identity identity, Service service);

// What a call asks for before anything is known of the objects that it names.
Service ServiceOf(const spec::CallRow& row);

// As they stand in the audit.
std::string_view NameOf(Identity identity);
std::string_view NameOf(Service service);

}  // namespace cmkd::sim
