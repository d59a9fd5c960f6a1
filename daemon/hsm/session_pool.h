// SessionPool: open sessions of a device that wait for work. A session belongs to the generation in which it was opened
// and is closed when it comes back in another.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "daemon/hsm/device_link.h"

namespace cmkd::daemon {

struct PooledSession {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  std::uint64_t generation = 0;
};

class SessionPool {
 public:
  // `link` is borrowed.
  SessionPool(DeviceLink& link, std::size_t sessions_max, std::size_t idle_max)
      : link_(link), sessions_max_(sessions_max), idle_max_(idle_max) {}
  // All sessions must have come back.
  ~SessionPool() { CloseIdle(); }
  SessionPool(const SessionPool&) = delete;
  SessionPool& operator=(const SessionPool&) = delete;

  std::size_t sessions_max() const { return sessions_max_; }
  // A device that takes fewer sessions than was thought. Before the first Take.
  void Bound(std::size_t sessions_max) { sessions_max_ = sessions_max; }

  // An idle session, or a new one; waits a moment when all are taken. Any thread. Errors: CKR_DEVICE_ERROR with
  // kHsmUnavailable; CKR_FUNCTION_FAILED with kThrottled when no session came free.
  Fallible<PooledSession> Take();
  // A broken session is closed: an operation is active in it, or an object is left behind.
  void GiveBack(PooledSession session, bool broken);
  // Closes what waits.
  void CloseIdle();

 private:
  Fallible<PooledSession> TakeIdleOrRoom(std::uint64_t generation, std::vector<PooledSession>& stale);
  Fallible<PooledSession> Open(std::uint64_t generation);
  void Close(const PooledSession& session);

  DeviceLink& link_;
  std::size_t sessions_max_;
  const std::size_t idle_max_;
  std::mutex mutex_;
  std::condition_variable came_back_;
  std::vector<PooledSession> idle_;
  std::size_t open_ = 0;  // idle and taken
};

}  // namespace cmkd::daemon
