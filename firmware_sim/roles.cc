// See roles.h.
#include "firmware_sim/roles.h"

#include <array>

namespace cmkd::sim {
namespace {

using S = Service;
using spec::CallId;

struct Row {
  Service service;
  std::string_view name;
  std::array<bool, kIdentityCount> may;
};
constexpr bool o = false, X = true;
constexpr std::array<Row, kServiceCount> kRows = {{
    // service                                        nobody user SO auditor custodians
    {S::kInformation, "information", {X, X, X, X, o}},
    {S::kSessions, "sessions", {X, X, X, X, o}},
    {S::kInitialiseToken, "initialise the token", {X, o, o, o, o}},
    {S::kSetUserPin, "set the user's PIN", {o, o, X, o, o}},
    {S::kSetAuditorPin, "set the auditor's PIN", {o, o, X, o, o}},
    {S::kChangeOwnPin, "change a PIN", {X, X, X, X, o}},
    {S::kSearch, "search", {X, X, X, X, o}},
    {S::kWork, "work", {X, X, X, o, o}},
    {S::kPrivateWork, "private work", {o, X, o, o, o}},
    {S::kTrust, "trust a key", {o, o, X, o, o}},
    {S::kReadAudit, "read the audit", {o, o, o, X, o}},
    {S::kEraseAudit, "erase the audit", {o, o, o, o, o}},
    {S::kTestOrAttest, "test or attest", {X, X, X, X, o}},
    {S::kZeroize, "zeroize", {X, X, X, X, o}},
    {S::kUpdate, "update", {o, o, o, o, X}},
    {S::kBackup, "backup", {o, o, o, o, X}},
    {S::kRestore, "restore", {o, o, o, o, X}},
    {S::kSetQuorum, "set the quorum", {o, o, o, o, X}},
}};

constexpr bool IsInOrder() {
  for (std::size_t i = 0; i < kServiceCount; ++i) {
    if (static_cast<std::size_t>(kRows[i].service) != i) return false;
  }
  return true;
}
static_assert(IsInOrder());

}  // namespace

bool May(Identity identity, Service service) {
  return kRows[static_cast<std::size_t>(service)].may[static_cast<std::size_t>(identity)];
}

Service ServiceOf(const spec::CallRow& row) {
  switch (row.id) {
    case CallId::C_InitToken: return S::kInitialiseToken;
    case CallId::C_InitPIN: return S::kSetUserPin;
    case CallId::C_SetPIN: return S::kChangeOwnPin;
    case CallId::C_OpenSession:
    case CallId::C_CloseSession:
    case CallId::C_CloseAllSessions:
    case CallId::C_Login:
    case CallId::C_LoginUser:
    case CallId::C_Logout:
    case CallId::C_SessionCancel: return S::kSessions;
    case CallId::C_GetSessionInfo:
    case CallId::C_GetSessionValidationFlags: return S::kInformation;
    case CallId::C_FindObjectsInit:
    case CallId::C_FindObjects:
    case CallId::C_FindObjectsFinal:
    case CallId::C_GetAttributeValue:
    case CallId::C_GetObjectSize: return S::kSearch;
    default: break;
  }
  const bool in_session = row.gate == spec::Gate::kSession || row.gate == spec::Gate::kReadWriteSession;
  return in_session ? S::kWork : S::kInformation;
}

std::string_view NameOf(Identity identity) {
  static constexpr std::array<std::string_view, kIdentityCount> kNames = {"nobody", "user", "so", "auditor",
                                                                          "custodians"};
  return kNames[static_cast<std::size_t>(identity)];
}

std::string_view NameOf(Service service) { return kRows[static_cast<std::size_t>(service)].name; }

}  // namespace cmkd::sim
