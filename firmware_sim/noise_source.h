// The device's noise source and its health tests (NIST SP 800-90B section 4.4): the repetition count test and the
// adaptive proportion test see every sample before it is used, and 1,024 of them before the first is.
//
// The noise itself is the operating system's; a script of faults can make it unsound. The samples are stirred into the
// generator that all random bytes come from, again and again.
#pragma once

#include <array>
#include <atomic>
#include <mutex>

#include "common/bytes.h"
#include "firmware_sim/faults/script.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// A claim of 4 bits of entropy for each sample of 8, and a false alarm in 2^40.
inline constexpr std::uint32_t kRepetitionCutoff = 11;  // 1 + ceil(40 / 4)
inline constexpr std::uint32_t kProportionWindow = 512;
inline constexpr std::uint32_t kProportionCutoff = 78;  // 1 + CRITBINOM(512, 2^-4, 1 - 2^-40)
inline constexpr std::size_t kStartupSamples = 1024;

// The two tests over a stream of samples. Pure.
class HealthTests {
 public:
  // False: this sample raises the alarm.
  bool Accept(std::uint8_t sample);

 private:
  bool first_ = true;
  std::uint8_t last_ = 0;
  std::uint32_t repeated_ = 0;
  std::uint8_t counted_ = 0;  // the first sample of the window
  std::uint32_t seen_ = 0;    // of the window
  std::uint32_t equal_ = 0;
};

// The one of this process. Any thread.
class NoiseSource {
 public:
  static NoiseSource& Get();

  // Power-on: forgets an alarm and examines the first samples. Errors: CKR_DEVICE_ERROR.
  Status Start();
  // Stirs fresh samples into the generator. Errors: CKR_DEVICE_ERROR, from then on until the next Start().
  Status Refresh();
  bool alarmed() const { return alarmed_.load(std::memory_order_relaxed); }
  Status Alarm() const;

 private:
  // Fills with samples that passed.
  Status Sample(MutableBytes out);

  std::mutex mutex_;
  HealthTests tests_;
  std::atomic<bool> alarmed_{false};
};

}  // namespace cmkd::sim
