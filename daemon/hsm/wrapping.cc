// Blobs and wrapping keys.
#include "daemon/hsm/wrapping.h"

#include <algorithm>
#include <mutex>

namespace cmkd::daemon {

CK_MECHANISM_TYPE MechanismOf(WrapFormat format) {
  switch (format) {
    case WrapFormat::kKwp: return CKM_AES_KEY_WRAP_KWP;
    case WrapFormat::kKwpOld: return CKM_AES_KEY_WRAP_PAD;
    case WrapFormat::kKw: return CKM_AES_KEY_WRAP;
  }
  return CKM_AES_KEY_WRAP_KWP;
}

Bytes EncodeBlob(const WrappedBlob& blob) {
  Bytes bytes;
  bytes.reserve(2 + blob.reference.size() + blob.wrapped.size());
  bytes.push_back(static_cast<std::uint8_t>(blob.format));
  bytes.push_back(static_cast<std::uint8_t>(blob.reference.size()));
  bytes.insert(bytes.end(), blob.reference.begin(), blob.reference.end());
  bytes.insert(bytes.end(), blob.wrapped.begin(), blob.wrapped.end());
  return bytes;
}

std::optional<WrappedBlob> DecodeBlob(ByteView bytes) {
  if (bytes.size() < 2 || bytes[0] < 1 || bytes[0] > 3) return std::nullopt;
  const std::size_t reference_bytes = bytes[1];
  if (reference_bytes == 0 || bytes.size() <= 2 + reference_bytes) return std::nullopt;
  return WrappedBlob{static_cast<WrapFormat>(bytes[0]), bytes.subspan(2, reference_bytes),
                     bytes.subspan(2 + reference_bytes)};
}

Fallible<CK_OBJECT_HANDLE> WrappingKeys::Find(CK_SESSION_HANDLE session, std::uint64_t generation, ByteView reference) {
  {
    const std::shared_lock lock(mutex_);
    for (const Known& known : known_) {
      if (known.generation == generation && Equal(known.reference, reference)) return known.handle;
    }
  }
  const Fallible<CK_OBJECT_HANDLE> found = device_.FindOne(session, CKO_SECRET_KEY, reference);
  if (!found.ok()) {
    if (found.error().rv != CKR_OBJECT_HANDLE_INVALID) return found;
    return Fail(CKR_UNWRAPPING_KEY_HANDLE_INVALID, "wrapping key not usable: " + found.error().why);
  }
  const std::unique_lock lock(mutex_);
  std::erase_if(known_, [&](const Known& known) { return Equal(known.reference, reference); });
  known_.push_back({ToBytes(reference), generation, *found});
  return *found;
}

void WrappingKeys::Forget(ByteView reference) {
  const std::unique_lock lock(mutex_);
  std::erase_if(known_, [&](const Known& known) { return Equal(known.reference, reference); });
}

void WrappingKeys::Clear() {
  const std::unique_lock lock(mutex_);
  known_.clear();
}

}  // namespace cmkd::daemon
