// See approvals.h.
#include "firmware_sim/approvals.h"

#include <algorithm>
#include <set>

namespace cmkd::sim {

Status CheckQuorum(const Quorum& quorum) {
  const std::set<Bytes> different(quorum.custodians.begin(), quorum.custodians.end());
  const bool empty = quorum.needed == 0 && quorum.custodians.empty();
  const bool good = quorum.needed >= 1 && quorum.needed <= quorum.custodians.size() &&
                    quorum.custodians.size() <= kCustodiansMax && different.size() == quorum.custodians.size();
  if (empty || good) return {};
  return Fail(CKR_ARGUMENTS_BAD, "a quorum is M of N different custodians, at most 16");
}

std::string TextOf(const Request& request) {
  return "cmkd-sim approval 1\nserial " + request.serial + "\ncommand " + request.command + "\nargument " +
         Hex(request.argument) + "\nexpires " + std::to_string(request.expires) + "\nnonce " + Hex(request.nonce) +
         '\n';
}

Status CheckApprovals(const Quorum& quorum, const Request& request, const std::vector<Approval>& approvals,
                      const std::vector<Used>& used, std::uint64_t now, const Verify& verify) {
  if (quorum.needed == 0) return {};
  const auto refuse = [](std::string why) { return Fail(CKR_ACTION_PROHIBITED, std::move(why)); };
  if (request.nonce.size() != kNonceBytes) return refuse("the approval has no nonce");
  if (request.expires <= now) return refuse("the approval has expired");
  if (request.expires - now > kApprovalSecondsMax) return refuse("the approval is for too long");
  const auto same = [&](const Used& each) { return each.nonce == request.nonce; };
  if (std::any_of(used.begin(), used.end(), same)) return refuse("the approval was used before");
  const std::string text = TextOf(request);
  std::set<Bytes> agreed;
  for (const Approval& approval : approvals) {
    const bool known =
        std::find(quorum.custodians.begin(), quorum.custodians.end(), approval.custodian) != quorum.custodians.end();
    if (known && !agreed.contains(approval.custodian) && verify(approval.custodian, AsBytes(text), approval.signature))
      agreed.insert(approval.custodian);
  }
  if (agreed.size() >= quorum.needed) return {};
  return refuse(std::to_string(agreed.size()) + " of " + std::to_string(quorum.needed) + " custodians approve");
}

}  // namespace cmkd::sim
