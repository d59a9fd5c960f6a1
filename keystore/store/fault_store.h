// A store with faults on purpose: wraps another one and fails, or loses power, at a chosen step. For tests.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "keystore/store/store.h"

namespace cmkd::store {

// A step is one call that changes something: each Next…, Raise…, Put…, Delete… and Commit of a WriteTxn.
enum class Fault : std::uint8_t {
  kNone,
  kFailBefore,       // the step is refused (kIo) and has not happened
  kFailAfter,        // the step has happened, and is answered with kIo nevertheless
  kPowerLossBefore,  // everything from this step on fails until Restart; what was not committed is gone
  kPowerLossAfter,   // likewise, but this step still happened: a commit is durable and never answered
};

class FaultStore : public Store {
 public:
  // Borrows `inner`.
  explicit FaultStore(Store& inner) : inner_(inner) {}

  // Arms the fault for the `step`-th step from now, counted from 1; with `repeat`, every step from there on.
  void Arm(Fault fault, std::uint64_t step, bool repeat = false);
  // Ends the power loss and disarms.
  void Restart();
  // Steps taken since the last Arm or Restart.
  std::uint64_t steps() const { return steps_.load(); }
  bool power_lost() const { return power_lost_.load(); }
  // The label of the transaction in which the fault struck; empty when it has not.
  std::string struck_label() const;

  StoreResult<std::unique_ptr<ReadTxn>> BeginRead() const override;
  StoreResult<std::unique_ptr<WriteTxn>> BeginWrite(const char* label) override;
  std::uint64_t Generation() const override { return inner_.Generation(); }
  const StoreId& id() const override { return inner_.id(); }

  // For the transactions of this store: what is to happen at the next step.
  enum class Verdict : std::uint8_t { kGoOn, kRefuse, kDoAndRefuse };
  Verdict NextStep(const char* label);

 private:
  Store& inner_;
  std::atomic<Fault> fault_{Fault::kNone};
  std::atomic<std::uint64_t> strike_at_{0};
  std::atomic<bool> repeat_{false};
  std::atomic<std::uint64_t> steps_{0};
  std::atomic<bool> power_lost_{false};
  std::atomic<const char*> struck_label_{nullptr};
};

}  // namespace cmkd::store
