// The device's monotonic counter: each reading gives a greater number than all before, also across power cuts. A host
// anchors its own store in it (PKCS#11 3.2 section 4.3.3, CKH_MONOTONIC_COUNTER).
#pragma once

#include <array>
#include <mutex>

#include "firmware_sim/flash.h"

namespace cmkd::sim {

// Any thread.
class Counter {
 public:
  using Value = std::array<std::uint8_t, 8>;  // big-endian

  explicit Counter(Flash& flash) : flash_(flash) {}
  // Errors: CKR_DEVICE_ERROR for a record that is damaged.
  Status Load();
  // The next number, which the flash has before the caller does. Errors: those of Flash::Write; the number is then
  // spent.
  Fallible<Value> Next();
  // What the last reading gave; 0: none yet.
  std::uint64_t last() const;

 private:
  Flash& flash_;
  mutable std::mutex mutex_;
  std::uint64_t last_ = 0;
};

}  // namespace cmkd::sim
