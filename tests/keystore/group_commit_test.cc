// Who leads, who joins, and what all of them are told.
#include "keystore/store/group_commit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace cmkd::store {
namespace {

// A leader, and followers who were waiting when its change was made; the last of them changes nothing. How the
// followers' commits ended.
struct Outcome {
  std::size_t changes = 0;
  int answered_before_the_end = 0;
  int succeeded = 0;
  int failed = 0;
};
Outcome Share(std::size_t followers, std::optional<StoreError> failure) {
  GroupCommit commits;
  Outcome outcome;
  std::atomic<bool> ended = false;
  std::atomic<int> early = 0, succeeded = 0, failed = 0;
  EXPECT_EQ(commits.TakeTurn(), nullptr) << "the first leads";
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < followers; ++i) {
    threads.emplace_back([&, i] {
      const auto group = commits.TakeTurn();
      ASSERT_NE(group, nullptr) << "who was waiting joins";
      const auto result = commits.Follow(group, i + 1 != followers);
      early += !ended;
      (result.ok() ? succeeded : failed) += 1;
    });
  }
  while (commits.waiting() != followers) std::this_thread::yield();
  const auto group = std::make_shared<Group>();
  commits.Lead(group);
  outcome.changes = group->changes;
  ended = true;
  commits.EndGroup(group, std::move(failure));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(commits.TakeTurn(), nullptr) << "the next one leads again";
  commits.EndTurn();
  outcome.answered_before_the_end = early;
  outcome.succeeded = succeeded;
  outcome.failed = failed;
  return outcome;
}

TEST(GroupCommit, OneAloneDoesNotWait) { EXPECT_EQ(Share(0, std::nullopt).changes, 1u); }

TEST(GroupCommit, WhoWasWaitingJoinsAndIsAnsweredAtTheEnd) {
  const Outcome outcome = Share(5, std::nullopt);
  EXPECT_EQ(outcome.changes, 5u) << "one of the followers changed nothing";
  EXPECT_EQ(outcome.answered_before_the_end, 0);
  EXPECT_EQ(outcome.succeeded, 5);
}

TEST(GroupCommit, AFailureIsEverybodysAlsoOfWhoOnlyRead) {
  const Outcome outcome = Share(5, StoreError{StoreErrorKind::kFull, "the disk is full"});
  EXPECT_EQ(outcome.failed, 5);
  EXPECT_EQ(outcome.succeeded, 0);
}

}  // namespace
}  // namespace cmkd::store
