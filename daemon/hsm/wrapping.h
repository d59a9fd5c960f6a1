// How key material leaves a device and comes back: the mechanism, the wrapping key, and what the blob says about both.
//
//   blob := format:u8  length:u8  CKA_ID of the wrapping key (length bytes)  wrapped key
//
// The blob names its wrapping key because epochs are counted for each token of the daemon, and several tokens share a
// device. It names the format because a device may learn a better one while old blobs live on.
#pragma once

#include <optional>
#include <shared_mutex>
#include <vector>

#include "daemon/hsm/device.h"

namespace cmkd::daemon {

// Stored in blobs: never renumber.
enum class WrapFormat : std::uint8_t {
  kKwp = 1,     // CKM_AES_KEY_WRAP_KWP: RFC 5649
  kKwpOld = 2,  // CKM_AES_KEY_WRAP_PAD: RFC 5649 in most devices, but theirs to know
  kKw = 3,      // CKM_AES_KEY_WRAP: RFC 3394, for keys of a multiple of 8 bytes
};

// The mechanism that wraps so.
CK_MECHANISM_TYPE MechanismOf(WrapFormat format);

struct WrappedBlob {
  WrapFormat format = WrapFormat::kKwp;
  ByteView reference;  // CKA_ID of the wrapping key
  ByteView wrapped;
};

// The bytes that the store keeps of a wrapped key.
Bytes EncodeBlob(const WrappedBlob& blob);
// Nothing when the bytes are no blob. The views point into `bytes`.
std::optional<WrappedBlob> DecodeBlob(ByteView bytes);

// The handles of wrapping keys, each looked for once in a generation. Any thread.
class WrappingKeys {
 public:
  explicit WrappingKeys(const Device& device) : device_(device) {}
  // Errors: CKR_UNWRAPPING_KEY_HANDLE_INVALID when the device does not have the key; the device's own.
  Fallible<CK_OBJECT_HANDLE> Find(CK_SESSION_HANDLE session, std::uint64_t generation, ByteView reference);
  void Forget(ByteView reference);
  void Clear();

 private:
  struct Known {
    Bytes reference;
    std::uint64_t generation;
    CK_OBJECT_HANDLE handle;
  };
  const Device& device_;
  std::shared_mutex mutex_;
  std::vector<Known> known_;  // one for each epoch in use: few
};

}  // namespace cmkd::daemon
