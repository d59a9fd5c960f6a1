// Makers: who is making a key right now, from choosing the wrapping key to the commit of the record that names the
// material. What wants to destroy something that no record names waits until those who began before have ended.
#pragma once

#include <memory>
#include <mutex>

namespace cmkd::daemon {

// Safe from any thread.
class Makers {
  struct Crowd {
    // A later crowd lives as long as this one, so that its end is also the end of all before it.
    std::shared_ptr<Crowd> next;
  };

 public:
  using Hold = std::shared_ptr<const void>;
  using Mark = std::weak_ptr<const void>;

  Makers() : now_(std::make_shared<Crowd>()) {}

  // Held by a maker until its record is committed or given up.
  Hold Begin() {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  // Expires when every maker that began before has ended.
  Mark MarkNow() {
    const std::lock_guard lock(mutex_);
    const auto before = now_;
    now_ = before->next = std::make_shared<Crowd>();
    return Mark(before);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Crowd> now_;
};

}  // namespace cmkd::daemon
