// The sets of mirrors, made when a token is first asked for.
#include "daemon/custody/backends.h"

#include <algorithm>
#include <mutex>

#include "daemon/crypto/digest.h"

namespace cmkd::daemon {

Bytes TransportIdOf(const cmk::TokenId& token) {
  const Digest digest = Sha256({AsBytes("cmkd transport key"), token.view()});
  return {digest.begin(), digest.begin() + 16};
}

MirrorSet* Backends::MirrorsOf(const store::TokenRecord& token) const {
  if (token.mirrors.empty()) return nullptr;
  {
    const std::shared_lock lock(sets_->mutex);
    const auto known = sets_->by_token.find(token.id);
    if (known != sets_->by_token.end() && known->second.mirrors == token.mirrors) return known->second.set;
  }
  std::vector<MirrorMember> members;
  for (const store::TokenMirror& mirror : token.mirrors) {
    MirrorMember member;
    member.name = mirror.hsm;
    if (const auto found = by_name_.find(mirror.hsm); found != by_name_.end()) member.backend = found->second.get();
    std::copy_n(mirror.fingerprint.begin(), std::min(mirror.fingerprint.size(), member.fingerprint.size()),
                member.fingerprint.begin());
    members.push_back(std::move(member));
  }
  auto set = std::make_unique<MirrorSet>(std::move(members), TransportIdOf(token.id));
  const std::unique_lock lock(sets_->mutex);
  Mirrored& known = sets_->by_token[token.id];
  // Another thread was as fast.
  if (known.mirrors == token.mirrors) return known.set;
  known = {token.mirrors, set.get()};
  sets_->all.push_back(std::move(set));
  return known.set;
}

}  // namespace cmkd::daemon
