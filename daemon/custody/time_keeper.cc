// One reading after another.
#include "daemon/custody/time_keeper.h"

#include <algorithm>

#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

constexpr std::int64_t kSaveEverySeconds = 60;

cmk::TimeRecord Remembered(store::Store& store) {
  const auto read = store.BeginRead();
  if (!read.ok()) return {};
  const auto meta = (*read)->ReadMeta();
  return meta.ok() ? meta->time : cmk::TimeRecord{};
}

}  // namespace

TimeKeeper::TimeKeeper(store::Store& store, const Clock& system, const cmk::BootId& boot)
    : store_(store), system_(system), boot_(boot), record_(Remembered(store)) {
  highest_ = record_.highest.seconds;
}

cmk::TimeReading TimeKeeper::Read() const {
  return {system_.Now(), {std::chrono::floor<std::chrono::seconds>(system_.Monotonic()).count()}, boot_};
}

Timestamp TimeKeeper::Now() const {
  return {std::max(system_.Now().seconds, highest_.load(std::memory_order_relaxed))};
}

cmk::Instant TimeKeeper::NowWithDoubt() const {
  const std::lock_guard lock(mutex_);
  return cmk::Instant(cmk::Observe(record_, Read()));
}

Fallible<TimeKeeper::Glance> TimeKeeper::Look() {
  cmk::TimeRecord record;
  Glance glance;
  {
    const std::lock_guard lock(mutex_);
    const cmk::TimeRecord before = record_;
    record_ = cmk::Observe(before, Read());
    highest_ = record_.highest.seconds;
    glance.jumped = record_.jumped && (!before.jumped || record_.jumped_at != before.jumped_at);
    glance.trusted = cmk::IsTrusted(record_);
    const bool due = record_.boot_time.seconds - saved_at_.seconds >= kSaveEverySeconds || before.boot != record_.boot;
    if (!due && !glance.jumped) return glance;
    saved_at_ = record_.boot_time;
    record = record_;
  }
  STORE_OR_RETURN(const auto txn, store_.BeginWrite("time"));
  RETURN_IF_STORE_ERROR(txn->PutTime(record));
  RETURN_IF_STORE_ERROR(txn->Commit());
  return glance;
}

Status TimeKeeper::Save() {
  cmk::TimeRecord record;
  {
    const std::lock_guard lock(mutex_);
    record_ = cmk::Observe(record_, Read());
    record = record_;
  }
  STORE_OR_RETURN(const auto txn, store_.BeginWrite("time"));
  RETURN_IF_STORE_ERROR(txn->PutTime(record));
  RETURN_IF_STORE_ERROR(txn->Commit());
  return {};
}

}  // namespace cmkd::daemon
