// Dual control: a dangerous command is carried out when M of N custodians have signed exactly it, for exactly this
// device, before it expires, and once. Pure: what is checked, not where it is kept.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

inline constexpr std::size_t kCustodiansMax = 16;
inline constexpr std::size_t kNonceBytes = 16;
// No approval is good for longer, so that what was used need not be remembered for longer.
inline constexpr std::uint64_t kApprovalSecondsMax = 7 * 24 * 3600;

// Who may approve, and how many of them it takes. Nobody: then nothing needs approval.
struct Quorum {
  std::uint32_t needed = 0;
  std::vector<Bytes> custodians;  // SubjectPublicKeyInfo of Ed25519 keys, all different
  bool operator==(const Quorum&) const = default;
};
// Errors: CKR_ARGUMENTS_BAD.
Status CheckQuorum(const Quorum& quorum);

struct Request {
  std::string serial;         // of the device
  std::string command;        // "update", "backup", "restore", "quorum"
  Bytes argument;             // SHA-256 of what the command is given
  std::uint64_t expires = 0;  // seconds since 1970
  Bytes nonce;                // kNonceBytes, never used before
};
// What the custodians sign.
std::string TextOf(const Request& request);

struct Approval {
  Bytes custodian;  // the public key
  Bytes signature;
};

// What was used already: a nonce and until when it would have been good.
struct Used {
  Bytes nonce;
  std::uint64_t expires = 0;
};

using Verify = std::function<bool(ByteView public_key, ByteView text, ByteView signature)>;

// Errors: CKR_ACTION_PROHIBITED, with what is missing.
Status CheckApprovals(const Quorum& quorum, const Request& request, const std::vector<Approval>& approvals,
                      const std::vector<Used>& used, std::uint64_t now, const Verify& verify);

}  // namespace cmkd::sim
