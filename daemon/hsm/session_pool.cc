// Taking and giving back.
#include "daemon/hsm/session_pool.h"

#include <chrono>
#include <utility>

#include "daemon/hsm/loss.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

// Operations in several parts keep their session between calls; a short wait is enough for the others.
constexpr std::chrono::seconds kWait{5};

}  // namespace

Fallible<PooledSession> SessionPool::Take() {
  for (int attempt = 0;; ++attempt) {
    ASSIGN_OR_RETURN(const std::uint64_t generation, link_.WaitUntilUp());
    std::vector<PooledSession> stale;
    Fallible<PooledSession> session = TakeIdleOrRoom(generation, stale);
    for (const PooledSession& old : stale) link_.device().CloseSession(old.handle);
    if (!session.ok() || session->handle != CK_INVALID_HANDLE) return session;
    session = Open(generation);
    if (session.ok()) return session;
    if (session.error().detail != 0) return session;
    // Why the device opens none is between it and us.
    if (ClassifyLoss(session.error().rv) == Loss::kNone)
      return Fail(CKR_DEVICE_ERROR, std::move(session.error().why), spec::kHsmRefused);
    RETURN_IF_ERROR(link_.Recover(generation));
    if (attempt > 0)
      return Fail(CKR_DEVICE_ERROR, "the device opens no session: " + session.error().why, spec::kHsmUnavailable);
  }
}

// An idle session of this generation, or leave to open one (an invalid handle).
Fallible<PooledSession> SessionPool::TakeIdleOrRoom(std::uint64_t generation, std::vector<PooledSession>& stale) {
  const auto deadline = std::chrono::steady_clock::now() + kWait;
  std::unique_lock lock(mutex_);
  for (;;) {
    while (!idle_.empty()) {
      const PooledSession last = idle_.back();
      idle_.pop_back();
      if (last.generation == generation) return last;
      stale.push_back(last);
      --open_;
    }
    if (open_ < sessions_max_) {
      ++open_;
      return PooledSession{};
    }
    if (came_back_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return Fail(CKR_FUNCTION_FAILED, "all sessions of the device are in use", spec::kThrottled);
    }
  }
}

Fallible<PooledSession> SessionPool::Open(std::uint64_t generation) {
  Fallible<CK_SESSION_HANDLE> handle = link_.device().OpenSession(link_.slot());
  // The device may have been rebuilt between the question and the answer; then nobody knows whose session this is.
  if (handle.ok() && link_.generation() == generation) return PooledSession{*handle, generation};
  if (handle.ok()) {
    link_.device().CloseSession(*handle);
    handle = Fail(CKR_SESSION_CLOSED, "the device was lost meanwhile");
  }
  {
    const std::lock_guard lock(mutex_);
    --open_;
  }
  came_back_.notify_one();
  if (handle.error().rv == CKR_SESSION_COUNT) {
    return Fail(CKR_FUNCTION_FAILED, "the device opens no more sessions", spec::kThrottled);
  }
  return Failure<Error>{std::move(handle.error())};
}

void SessionPool::GiveBack(PooledSession session, bool broken) {
  {
    const std::lock_guard lock(mutex_);
    if (!broken && session.generation == link_.generation() && idle_.size() < idle_max_) {
      idle_.push_back(session);
      session.handle = CK_INVALID_HANDLE;
    }
  }
  if (session.handle != CK_INVALID_HANDLE) Close(session);
  came_back_.notify_one();
}

void SessionPool::Close(const PooledSession& session) {
  link_.device().CloseSession(session.handle);
  const std::lock_guard lock(mutex_);
  --open_;
}

void SessionPool::CloseIdle() {
  std::vector<PooledSession> idle;
  {
    const std::lock_guard lock(mutex_);
    idle.swap(idle_);
    open_ -= idle.size();
  }
  for (const PooledSession& session : idle) link_.device().CloseSession(session.handle);
}

}  // namespace cmkd::daemon
