// The thread and the first touches check the same regions; whoever comes first marks them.
#include "keystore/store/first_touch.h"

#include <sys/resource.h>
#include <unistd.h>

#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

constexpr int kBackgroundNice = 10;

}  // namespace

FirstTouch::~FirstTouch() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

StoreError FirstTouch::damage() const {
  const std::lock_guard lock(guard_);
  return damage_.value_or(StoreError{StoreErrorKind::kCorrupt, {}});
}

void FirstTouch::Condemn(const StoreError& error) {
  {
    const std::lock_guard lock(guard_);
    if (damage_) return;
    damage_ = error;
  }
  damaged_.store(true, std::memory_order_release);
  if (report_) report_(Failure{error});
}

StoreResult<void> FirstTouch::Admit(ByteView from, std::optional<ByteView> to) {
  const std::size_t last = to ? regions_.IndexOf(*to) : regions_.size() - 1;
  for (std::size_t index = regions_.IndexOf(from); index <= last; ++index)
    if (!right_[index].load(std::memory_order_acquire)) RETURN_IF_ERROR(AdmitRegion(index));
  return {};
}

StoreResult<void> FirstTouch::AdmitRegion(std::size_t index) {
  StoreResult<void> checked;
  {
    const std::lock_guard lock(checking_[index]);
    if (right_[index]) return {};
    if (damaged()) return Failure{damage()};
    checked = CheckRegion(*file_, seals_, regions_, index);
    if (checked.ok()) right_[index].store(true, std::memory_order_release);
  }
  if (!checked.ok()) Condemn(checked.error());
  return checked;
}

StoreResult<void> FirstTouch::CheckAll() {
  Census census(seals_, regions_);
  std::size_t marked = 0;
  RETURN_IF_ERROR(file_->Walk([&](ByteView key, ByteView value) -> StoreResult<void> {
    if (stop_.load(std::memory_order_relaxed)) return Refuse(StoreErrorKind::kIo, "the store is being closed");
    RETURN_IF_ERROR(census.Visit(key, value));
    for (; marked < census.region(); ++marked) right_[marked].store(true, std::memory_order_release);
    return {};
  }));
  return census.Finish();
}

void FirstTouch::Start(std::function<void()> released) {
  thread_ = std::thread([this, released = std::move(released)] {
    // Beside what is asked of the daemon meanwhile. Of this thread only, and no matter if it is refused.
    (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kBackgroundNice);
    const StoreResult<void> checked = CheckAll();
    released();
    if (stop_) return;
    if (!checked.ok()) return Condemn(checked.error());
    pending_.store(false, std::memory_order_release);
    if (report_) report_(checked);
  });
}

}  // namespace cmkd::store
