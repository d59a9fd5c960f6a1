// See noise_source.h.
#include "firmware_sim/noise_source.h"

#include <sys/random.h>

#include <cerrno>

#include "firmware_sim/primitives.h"
#include "firmware_sim/rehearsal.h"

namespace cmkd::sim {
namespace {

// Enough for a seed of 256 bits at 4 bits a sample.
constexpr std::size_t kRefreshSamples = 64;

bool ReadNoise(MutableBytes out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

// What an unsound source would have given in the place of these samples.
bool Spoil(MutableBytes samples, faults::Noise noise) {
  switch (noise) {
    case faults::Noise::kSound: break;
    case faults::Noise::kDead: return false;
    case faults::Noise::kStuck:
      for (std::uint8_t& sample : samples) sample = 0x5a;
      break;
    case faults::Noise::kBiased:
      // Seven of eight the same: start-up samples and a second window of readings cannot miss it by luck.
      for (std::uint8_t& sample : samples) {
        if ((sample & 7) != 0) sample = 0;
      }
  }
  return true;
}

}  // namespace

bool HealthTests::Accept(std::uint8_t sample) {
  repeated_ = !first_ && sample == last_ ? repeated_ + 1 : 1;
  first_ = false;
  last_ = sample;
  if (seen_ == 0) {
    counted_ = sample;
    equal_ = 0;
  }
  if (sample == counted_) ++equal_;
  const bool accepted = repeated_ < kRepetitionCutoff && equal_ < kProportionCutoff;
  seen_ = (seen_ + 1) % kProportionWindow;
  return accepted;
}

NoiseSource& NoiseSource::Get() {
  static NoiseSource* const source = new NoiseSource;
  return *source;
}

Status NoiseSource::Alarm() const { return Fail(CKR_DEVICE_ERROR, "the noise source failed its health tests"); }

Status NoiseSource::Sample(MutableBytes out) {
  Rehearsal* const rehearsal = Rehearsal::Current();
  const faults::Noise noise = rehearsal == nullptr ? faults::Noise::kSound : rehearsal->AtEntropy();
  bool good = ReadNoise(out) && Spoil(out, noise);
  for (const std::uint8_t sample : out) good = good && tests_.Accept(sample);
  if (good) return {};
  Wipe(out);
  alarmed_.store(true, std::memory_order_relaxed);
  return Alarm();
}

Status NoiseSource::Start() {
  const std::lock_guard lock(mutex_);
  tests_ = {};
  alarmed_.store(false, std::memory_order_relaxed);
  std::array<std::uint8_t, kStartupSamples> samples{};
  RETURN_IF_ERROR(Sample(samples));
  Wipe(samples);
  return {};
}

Status NoiseSource::Refresh() {
  const std::lock_guard lock(mutex_);
  if (alarmed()) return Alarm();
  std::array<std::uint8_t, kRefreshSamples> samples{};
  RETURN_IF_ERROR(Sample(samples));
  SeedRandom(samples);
  Wipe(samples);
  return {};
}

}  // namespace cmkd::sim
