// A secret of the device that exists for the length of one call, from which keys are cut there, one after another.
#pragma once

#include <utility>
#include <vector>

#include "daemon/service/derived_bytes.h"
#include "daemon/service/new_object.h"
#include "pkcs11/spec/key_facts.h"

namespace cmkd::daemon {

class KeyBlock {
 public:
  KeyBlock(Backend& backend, const cmk::Material& material, const WrappingKey& under)
      : backend_(backend), block_(backend, material), under_(under) {}

  // The next `bytes` bytes as a key of the device, kept under `under`. Keys of types that have one length are asked for
  // without it.
  Fallible<Made> NextKey(CK_KEY_TYPE type, std::size_t bytes, const WrappingKey& under) {
    CK_ULONG bit = Skip(bytes);
    const CK_ULONG asked = spec::FixedSecretBytes(type) != 0 ? 0 : bytes;
    return backend_.DeriveKey(Extract(bit), block_.name(), Whole(), {}, type, asked, under);
  }
  // The next ones for all to read.
  Fallible<Bytes> NextBytes(std::size_t bytes) {
    CK_ULONG bit = Skip(bytes);
    return DeriveBytes(backend_, Extract(bit), block_.name(), Whole(), {}, bytes, under_);
  }
  // The next `bytes` bytes go to nobody. Gives the first bit of them.
  CK_ULONG Skip(std::size_t bytes) { return 8 * std::exchange(at_, at_ + bytes); }

 private:
  static CK_MECHANISM Extract(CK_ULONG& bit) { return {CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit}; }
  KeyMaterial Whole() const { return Temporary(CKO_SECRET_KEY, CKK_GENERIC_SECRET, block_.material(), under_); }

  Backend& backend_;
  ShortLived block_;
  const WrappingKey& under_;
  std::size_t at_ = 0;
};

// Keys that were cut and belong to nobody yet: gone from the device again unless all of them are taken.
class CutKeys {
 public:
  explicit CutKeys(Backend& backend) : backend_(backend) {}
  ~CutKeys() {
    for (const NewKey& key : keys_) Discard(backend_, key.made);
  }
  CutKeys(const CutKeys&) = delete;
  CutKeys& operator=(const CutKeys&) = delete;
  void Add(NewKey key) { keys_.push_back(std::move(key)); }
  std::vector<NewKey> Take() { return std::exchange(keys_, {}); }

 private:
  Backend& backend_;
  std::vector<NewKey> keys_;
};

}  // namespace cmkd::daemon
