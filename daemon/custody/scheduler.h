// Scheduler: does what time alone brings: activations, rotations, warnings, destructions, expiries. One thread; every
// act is the custodian's, decided anew inside its transaction.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "daemon/audit/audit_log.h"
#include "daemon/custody/anchor.h"
#include "daemon/custody/custodian.h"
#include "daemon/custody/time_keeper.h"
#include "daemon/custody/use_counter.h"

namespace cmkd::daemon {

class Scheduler {
 public:
  // `anchor`: the note in the HSM that follows the store; nullptr: there is none.
  Scheduler(store::Store& store, TimeKeeper& clock, Custodian& custodian, UseCounter& counter, AuditLog& audit,
            Anchor* anchor = nullptr);
  ~Scheduler() { Stop(); }

  // Looks every second until Stop.
  void Start();
  void Stop();

  // One look, as the thread does it. Not while the thread runs.
  void Tick();

  // A version comes near its usage limit: alarms, and makes a new one with the next look. Any thread.
  void NearLimit(const cmk::CmkId& id, cmk::KeyVersionNumber version, cmk::UsageVerdict verdict);

 private:
  void Run();
  void Serve(const store::DueCmk& due);
  void RotateAsked();
  // Carries new epochs on, for a moment; true when there is more to do at once.
  bool CarryEpochsOn();
  void LookAfterMirrors(const store::TokenRecord& token);
  void FollowWithAnchor();
  void Record(AuditKind kind, const cmk::CmkId& id, const cmk::TokenId& token, const std::string& text,
              const Error* error = nullptr);

  store::Store& store_;
  TimeKeeper& clock_;
  Custodian& custodian_;
  UseCounter& counter_;
  AuditLog& audit_;
  Anchor* const anchor_;
  bool anchor_fails_ = false;
  const Timestamp started_;
  std::chrono::nanoseconds saved_at_;
  std::map<cmk::CmkId, std::chrono::nanoseconds> retry_at_;  // after a failure that was not the key's own
  std::map<cmk::TokenId, std::chrono::nanoseconds> retry_epoch_at_;
  bool more_to_do_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::set<cmk::CmkId> asked_;
  std::thread thread_;
};

}  // namespace cmkd::daemon
