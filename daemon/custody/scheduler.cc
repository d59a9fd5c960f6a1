// The look at what is due.
#include "daemon/custody/scheduler.h"

#include "daemon/system/log.h"
#include "keystore/cmk/brown_out.h"

namespace cmkd::daemon {

namespace {

using std::chrono::seconds;

constexpr seconds kLookEvery{1};
constexpr seconds kSaveEvery{60};
constexpr seconds kRetryAfter{60};
constexpr std::chrono::milliseconds kEpochTurn{200};
constexpr std::size_t kDueAtOnce = 4096;
// Keys that became due while no daemon ran are rotated one by one over this time, not all in the first second.
constexpr std::int64_t kSpreadSeconds = 600;

// Always the same for a key, evenly spread over keys: their ids are random.
Duration JitterOf(const cmk::CmkId& id) { return {(id.bytes[1] * 256 + id.bytes[2]) % kSpreadSeconds}; }

bool IsQuietRefusal(const Error& error) {
  const auto refusal = cmk::RefusalFromNumber(error.detail);
  return refusal == cmk::Refusal::kNothingDue || refusal == cmk::Refusal::kClockSuspect;
}

std::string WhatHappened(const Custodian::Ticked& ticked) {
  switch (ticked.effect) {
    case cmk::Effect::kNewVersion: return "scheduled rotation";
    case cmk::Effect::kDestroyMaterial:
      return ticked.key.state == cmk::CmkState::kDestroyed ? "destroyed at the end of its waiting period"
                                                           : "its destruction has begun";
    case cmk::Effect::kWarn:
      if (const auto brown_out = cmk::BrownOutAt(ticked.key.dates, *ticked.key.dates.warned_at))
        return "refused until " + std::to_string(brown_out->ends.seconds) + ": a brown-out before its deletion";
      if (ticked.key.state == cmk::CmkState::kEnabled) return "a brown-out before its deletion was missed";
      return "will be destroyed at " + std::to_string(ticked.key.dates.deletion_date->seconds) + " unless cancelled";
    case cmk::Effect::kWipeImported: return "imported material expired and was wiped";
    case cmk::Effect::kNone: break;
  }
  if (ticked.key.state == cmk::CmkState::kPendingDeletion)
    return "its announced deletion waits until " + std::to_string(ticked.key.dates.deletion_date->seconds);
  return ticked.key.state == cmk::CmkState::kEnabled ? "its activation date has come" : "a destroyed version is gone";
}

}  // namespace

Scheduler::Scheduler(store::Store& store, TimeKeeper& clock, Custodian& custodian, UseCounter& counter, AuditLog& audit,
                     Anchor* anchor)
    : store_(store),
      clock_(clock),
      custodian_(custodian),
      counter_(counter),
      audit_(audit),
      anchor_(anchor),
      started_(clock.Now()),
      saved_at_(clock.Monotonic()) {}

void Scheduler::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Scheduler::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Scheduler::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    try {
      Tick();
    } catch (const std::exception& e) {
      LogError(std::string("the scheduler met an exception: ") + e.what());
    }
    lock.lock();
    wake_.wait_for(lock, kLookEvery, [this] { return stop_ || more_to_do_ || !asked_.empty(); });
  }
}

void Scheduler::Tick() {
  if (const auto glance = clock_.Look(); !glance.ok()) {
    LogWarning("the time could not be remembered: " + glance.error().why);
  } else if (glance->jumped) {
    Record(AuditKind::kAlarm, {}, {}, "the clock jumped: nothing is destroyed until it has run a day without a jump");
  }
  if (clock_.Monotonic() - saved_at_ >= kSaveEvery) {
    saved_at_ = clock_.Monotonic();
    if (const Status saved = counter_.Save(false); !saved.ok())
      LogWarning("the times of last use could not be written: " + saved.error().why);
  }
  RotateAsked();
  for (const cmk::Cmk& key : custodian_.PutOffWanted())
    Record(AuditKind::kAlarm, key.id, key.token,
           "wanted while it waits for its deletion, which is put off to " +
               std::to_string(key.dates.deletion_date->seconds));
  std::vector<store::DueCmk> due;
  if (const auto read = store_.BeginRead(); read.ok()) {
    if (auto found = (*read)->DueBefore(clock_.Now(), kDueAtOnce); found.ok()) due = std::move(*found);
  }
  for (const store::DueCmk& each : due) Serve(each);
  more_to_do_ = CarryEpochsOn();
  FollowWithAnchor();
}

void Scheduler::FollowWithAnchor() {
  if (anchor_ == nullptr) return;
  const std::uint64_t generation = store_.Generation();
  const Status noted = anchor_->Follow(generation, custodian_.TakeUrgent(), clock_.Monotonic());
  // A device that keeps no notes says so each time; once is enough.
  if (!noted.ok() && !anchor_fails_) LogWarning("the HSM does not note the store's generation: " + noted.error().why);
  anchor_fails_ = !noted.ok();
}

bool Scheduler::CarryEpochsOn() {
  std::vector<store::TokenRecord> tokens;
  if (const auto read = store_.BeginRead(); read.ok()) {
    if (auto found = (*read)->ListTokens(); found.ok()) tokens = std::move(*found);
  }
  bool more = false;
  for (const store::TokenRecord& token : tokens) {
    LookAfterMirrors(token);
    if (const auto retry = retry_epoch_at_.find(token.id); retry != retry_epoch_at_.end()) {
      if (clock_.Monotonic() < retry->second) continue;
      retry_epoch_at_.erase(retry);
    }
    // What is due for keys is looked at between the turns of a long epoch.
    const auto until = clock_.Monotonic() + kEpochTurn;
    auto step = custodian_.StepEpoch(token.id);
    while (step.ok() && (*step == Custodian::EpochStep::kWorked || *step == Custodian::EpochStep::kBegun)) {
      if (*step == Custodian::EpochStep::kBegun)
        Record(AuditKind::kChange, {}, token.id, "a new wrapping key follows, so that destroyed keys stay destroyed");
      if (clock_.Monotonic() >= until) {
        more = true;
        break;
      }
      step = custodian_.StepEpoch(token.id);
    }
    if (step.ok() && *step == Custodian::EpochStep::kDone)
      Record(AuditKind::kChange, {}, token.id, "the old wrapping key is destroyed");
    if (step.ok()) continue;
    retry_epoch_at_[token.id] = clock_.Monotonic() + kRetryAfter;
    LogWarning("the wrapping key of token " + token.label + " could not be replaced yet: " + step.error().why);
    Record(AuditKind::kAlarm, {}, token.id, "the wrapping key could not be replaced yet", &step.error());
  }
  return more;
}

void Scheduler::LookAfterMirrors(const store::TokenRecord& token) {
  if (token.mirrors.empty()) return;
  const auto begun = custodian_.LookAfterMirrors(token.id);
  if (begun.ok() && *begun)
    Record(AuditKind::kChange, {}, token.id, "an HSM lags: a new wrapping key brings it into step");
  if (!begun.ok()) LogWarning("the mirrors of token " + token.label + ": " + begun.error().why);
}

void Scheduler::Serve(const store::DueCmk& due) {
  if (const auto retry = retry_at_.find(due.id); retry != retry_at_.end()) {
    if (clock_.Monotonic() < retry->second) return;
    retry_at_.erase(retry);
  }
  const bool overdue = due.at < started_;
  if (overdue && clock_.Now() < started_ + JitterOf(due.id)) return;
  const Fallible<Custodian::Ticked> ticked = custodian_.Tick(due.id);
  if (ticked.ok()) {
    const bool alarm = ticked->effect == cmk::Effect::kWarn || ticked->effect == cmk::Effect::kDestroyMaterial ||
                       ticked->key.state == cmk::CmkState::kPendingDeletion;
    Record(alarm ? AuditKind::kAlarm : AuditKind::kChange, due.id, ticked->key.token, WhatHappened(*ticked));
    return;
  }
  if (IsQuietRefusal(ticked.error())) return;
  retry_at_[due.id] = clock_.Monotonic() + kRetryAfter;
  LogWarning("what is due for key " + due.id.ToHex() + " could not be done: " + ticked.error().why);
  Record(AuditKind::kAlarm, due.id, {}, "what is due could not be done", &ticked.error());
}

void Scheduler::NearLimit(const cmk::CmkId& id, cmk::KeyVersionNumber version, cmk::UsageVerdict verdict) {
  const std::string number = "version " + std::to_string(version.value);
  const bool stopped = verdict == cmk::UsageVerdict::kStop;
  Record(AuditKind::kAlarm, id, {},
         number + (stopped ? " has reached its usage limit" : " comes near its usage limit"));
  if (verdict < cmk::UsageVerdict::kRotate) return;
  {
    const std::lock_guard lock(mutex_);
    asked_.insert(id);
  }
  wake_.notify_all();
}

void Scheduler::RotateAsked() {
  std::set<cmk::CmkId> asked;
  {
    const std::lock_guard lock(mutex_);
    asked.swap(asked_);
  }
  for (const cmk::CmkId& id : asked) {
    const auto rotated = custodian_.Rotate(id);
    if (rotated.ok()) {
      Record(AuditKind::kChange, id, rotated->token, "rotated at its usage limit");
    } else {
      Record(AuditKind::kAlarm, id, {}, "could not be rotated at its usage limit", &rotated.error());
    }
  }
}

void Scheduler::Record(AuditKind kind, const cmk::CmkId& id, const cmk::TokenId& token, const std::string& text,
                       const Error* error) {
  AuditRecord record;
  record.kind = kind;
  record.store_generation = store_.Generation();
  record.token_id = token.bytes;
  record.cmk_id = id.bytes;
  record.text = text;
  if (error != nullptr) {
    record.rv = error->rv;
    record.detail = error->detail;
  }
  audit_.Append(record);
  audit_.Flush();
}

}  // namespace cmkd::daemon
