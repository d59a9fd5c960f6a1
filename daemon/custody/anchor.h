// Anchor: the store's generation, noted in the HSM, so that an old copy of the store is not taken for the store.
//
// The note says "the store has been here", never where it will be: it is written after the commit, so a crash in
// between leaves a store that is further than its note, which is right. It follows within seconds what must not be
// undone, and everything else after a bounded number of commits or minutes; a copy that is no older than the note
// passes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

// Used by one thread at a time.
class Anchor {
 public:
  // `name` is the store's alone: several stores share a device.
  Anchor(Backend& home, std::string name) : home_(home), name_(std::move(name)) {}

  // The generation that the HSM remembers; 0 when there is no note, or the device keeps none.
  Fallible<std::uint64_t> Read();
  // Notes `generation`, which must be durable in the store.
  Status Write(std::uint64_t generation);

  // Writes when it is time to. `urgent`: something has changed that must not be undone.
  Status Follow(std::uint64_t generation, bool urgent, std::chrono::nanoseconds now);
  // What the HSM remembers, as far as this daemon knows.
  std::uint64_t noted() const { return noted_; }

 private:
  Backend& home_;
  const std::string name_;
  std::uint64_t noted_ = 0;
  bool urgent_ = false;
  std::optional<std::chrono::nanoseconds> looked_at_;
};

}  // namespace cmkd::daemon
