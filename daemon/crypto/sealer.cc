// Nonces and keys of AesGcmSealer; the cipher itself is in xaes.
#include "daemon/crypto/sealer.h"

#include <algorithm>
#include <string>

#include "daemon/crypto/digest.h"
#include "daemon/crypto/xaes.h"

namespace cmkd::daemon {

AesGcmSealer::AesGcmSealer(ByteView root, std::string_view label)
    : seal_key_(DeriveKey(root, label)), tag_key_(DeriveKey(root, std::string(label) + ", tag")), prefix_(RandomId()) {}

Result<Bytes, store::SealError> AesGcmSealer::Seal(ByteView associated, ByteView plain) const {
  // The counter stands first, among the bytes that make the record's key: no two records share one.
  std::uint64_t count = counter_.fetch_add(1, std::memory_order_relaxed);
  Bytes sealed(kOverheadBytes + plain.size());
  for (std::size_t i = 0; i < 8; ++i, count >>= 8) sealed[i] = static_cast<std::uint8_t>(count);
  std::copy(prefix_.begin(), prefix_.end(), sealed.begin() + 8);
  XaesSeal(seal_key_.view(), ByteView(sealed).first(kNonceBytes), associated, plain, sealed.data() + kNonceBytes);
  return sealed;
}

Result<Bytes, store::SealError> AesGcmSealer::Open(ByteView associated, ByteView sealed) const {
  if (sealed.size() < kOverheadBytes) return Failure{store::SealError::kDamaged};
  Bytes plain(sealed.size() - kOverheadBytes);
  if (!XaesOpen(seal_key_.view(), sealed.first(kNonceBytes), associated, sealed.subspan(kNonceBytes), plain.data())) {
    return Failure{store::SealError::kDamaged};
  }
  return plain;
}

store::Sealer::KeyedTag AesGcmSealer::Tag(ByteView message) const {
  const Digest mac = HmacSha256(tag_key_.view(), {message});
  KeyedTag tag;
  std::copy_n(mac.begin(), tag.size(), tag.begin());
  return tag;
}

}  // namespace cmkd::daemon
