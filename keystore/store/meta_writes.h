// How a change of the store's own record (numbers given out, time, generation) goes: the same rules for every store.
#pragma once

#include <algorithm>

#include "keystore/store/store.h"

namespace cmkd::store {

// Under the write transaction of a store; says through OwnMeta() where its draft of the record lies.
class MetaWrites : public WriteTxn {
 public:
  StoreResult<cmk::ObjectSerial> NextObjectSerial() final {
    RETURN_IF_ERROR(CheckLive());
    changed_ = true;
    return cmk::ObjectSerial{OwnMeta().next_object_serial++};
  }
  StoreResult<std::uint64_t> NextSlot() final {
    RETURN_IF_ERROR(CheckLive());
    changed_ = true;
    return OwnMeta().next_slot++;
  }
  StoreResult<void> PutTime(const cmk::TimeRecord& time) final {
    RETURN_IF_ERROR(CheckLive());
    cmk::TimeRecord after = time;
    after.highest = std::max(time.highest, OwnMeta().time.highest);
    if (after == OwnMeta().time) return {};
    OwnMeta().time = after;
    changed_ = true;
    return {};
  }
  StoreResult<void> RaiseGeneration(std::uint64_t generation) final {
    RETURN_IF_ERROR(CheckLive());
    OwnMeta().generation = std::max(OwnMeta().generation, generation);
    changed_ = true;
    return {};
  }

 protected:
  virtual Meta& OwnMeta() = 0;
  // kInvalid once the transaction is over; what else may keep it from going on is the store's own.
  virtual StoreResult<void> CheckLive() const = 0;

  // Whether Commit has anything to do.
  bool changed_ = false;
};

}  // namespace cmkd::store
