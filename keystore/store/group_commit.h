// One commit for many changes. LMDB takes one change at a time and makes it durable with two waits for the disk; those
// who come while one waits would each wait twice more. Here the first one's LMDB transaction stays open for those who
// are already waiting: each makes its change in a transaction inside it, which can be undone alone, and all of them are
// answered when the one commit is on disk, or told that it failed.
#pragma once

#include <lmdb.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>

#include "keystore/store/sealed_table.h"

namespace cmkd::store {

// Changes that are made and not yet on disk.
struct Group {
  MDB_txn* txn = nullptr;  // of the leader, whose thread commits it
  Books books;             // after the changes so far
  std::size_t changes = 0;
  bool ended = false;
  std::optional<StoreError> failure;  // once ended
};

class GroupCommit {
 public:
  using GroupPtr = std::shared_ptr<Group>;

  // Waits for this thread's turn to change something. The group that it joins; nullptr: there is none, and it leads
  // the next.
  GroupPtr TakeTurn() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    moved_.wait(lock, [&] { return !busy_ && (group_ == nullptr || group_->changes < kChangesMax); });
    --waiting_;
    busy_ = true;
    return group_;
  }
  // Gives the turn back without a change.
  void EndTurn() {
    {
      const std::lock_guard lock(mutex_);
      busy_ = false;
    }
    moved_.notify_all();
  }

  // The leader: its change is made. Returns when all that were waiting have made theirs; nobody has a turn until
  // EndGroup.
  void Lead(const GroupPtr& group) {
    std::unique_lock lock(mutex_);
    group_ = group;
    ++group->changes;
    busy_ = false;
    if (waiting_ > 0) moved_.notify_all();
    moved_.wait(lock, [&] { return !busy_ && (waiting_ == 0 || group->changes >= kChangesMax); });
    busy_ = true;
  }
  void EndGroup(const GroupPtr& group, std::optional<StoreError> failure) {
    {
      const std::lock_guard lock(mutex_);
      group->ended = true;
      group->failure = std::move(failure);
      group_.reset();
      busy_ = false;
    }
    moved_.notify_all();
  }

  // One of the others: its change, if it made one, is part of the group's transaction. What became of all of them.
  StoreResult<void> Follow(const GroupPtr& group, bool changed) {
    std::unique_lock lock(mutex_);
    if (changed) ++group->changes;
    busy_ = false;
    moved_.notify_all();
    moved_.wait(lock, [&] { return group->ended; });
    return group->failure ? StoreResult<void>(Failure{*group->failure}) : StoreResult<void>();
  }

  // How many wait for their turn.
  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  // So that the first is not kept for ever by those who come after.
  static constexpr std::size_t kChangesMax = 64;

  mutable std::mutex mutex_;
  std::condition_variable moved_;
  bool busy_ = false;  // somebody is making a change, or the group is being committed
  std::size_t waiting_ = 0;
  GroupPtr group_;
};

}  // namespace cmkd::store
