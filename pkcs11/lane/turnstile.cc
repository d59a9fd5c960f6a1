// The queue of lanes that wait for their turn.
#include "pkcs11/lane/turnstile.h"

#include <algorithm>

namespace cmkd::lane {

bool Turnstile::WouldWait(const Pass& pass) const {
  if (waiting_.load(std::memory_order_relaxed) == 0 || pass.exempt_ != 0) return false;
  return !pass.inside_ || Clock::now() >= pass.until_;
}

// With the mutex held.
void Turnstile::Grant() {
  while (taken_ < places_ && !queue_.empty()) {
    Pass& next = *queue_.front();
    queue_.pop_front();
    next.granted_ = true;
    ++taken_;
    ++grants_;
    next.wake_.notify_one();
  }
}

void Turnstile::Enter(Pass& pass) {
  const bool others_wait = waiting_.load(std::memory_order_relaxed) != 0;
  if (pass.exempt_ != 0) {
    --pass.exempt_;
    return Leave(pass);
  }
  if (pass.inside_) {
    if (!others_wait) return;
    pass.began_ = Clock::now();
    if (pass.began_ < pass.until_) return;
  }
  std::unique_lock lock(mutex_);
  if (pass.inside_) {
    --taken_;
    Grant();
  }
  if (taken_ < places_ && queue_.empty()) {
    ++taken_;
  } else {
    ++pass.waits_;
    pass.granted_ = false;
    queue_.push_back(&pass);
    waiting_.fetch_add(1, std::memory_order_relaxed);
    while (!pass.granted_) {
      const std::uint64_t before = grants_;
      // The turns in front of this one, twice, and some: if all who wait looked every few milliseconds, a hundred of
      // them would take more of the processors than those whose turn it is.
      const auto ahead = std::find(queue_.begin(), queue_.end(), &pass) - queue_.begin();
      pass.wake_.wait_for(lock, (4 + 2 * ahead / places_) * turn_);
      // Nobody's turn has ended for so long: those inside sleep in their calls, so there is a processor for this one.
      if (!pass.granted_ && grants_ == before) {
        queue_.erase(std::find(queue_.begin(), queue_.end(), &pass));
        ++taken_;
        ++grants_;
        break;
      }
    }
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
  pass.inside_ = true;
  pass.began_ = Clock::now();
  pass.until_ = pass.began_ + turn_;
}

void Turnstile::Answered(Pass& pass) {
  if (!pass.inside_ || waiting_.load(std::memory_order_relaxed) == 0) return;
  if (Clock::now() - pass.began_ < kLong) return;
  pass.exempt_ = kExemptFor;
  Leave(pass);
}

void Turnstile::Leave(Pass& pass) {
  if (!pass.inside_) return;
  const std::lock_guard lock(mutex_);
  pass.inside_ = false;
  --taken_;
  Grant();
}

}  // namespace cmkd::lane
