// The writing side: nothing that Append returned is lost, whatever ends the process, and a full or failing disk is
// said.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <latch>
#include <random>
#include <thread>

#include "tests/daemon/audit_fixture.h"

namespace cmkd::daemon {
namespace {

using Urgency = AuditLog::Urgency;
using Verdict = AuditReport::Verdict;

class AuditLogTest : public AuditTest {
 protected:
  bool WaitFor(const std::function<bool()>& condition) const {
    for (int i = 0; i < 6000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
};

TEST_F(AuditLogTest, SequenceNumbersHaveNoGaps) {
  const auto log = Open();
  for (std::uint64_t i = 2; i < 12; ++i) EXPECT_EQ(log->Append(Use(i)), i);
}

TEST_F(AuditLogTest, GoesOnAfterACleanEnd) {
  AppendMany(*Open(), 10);
  AppendMany(*Open(), 10);
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.events, 20u);
  EXPECT_EQ(report.checkpoints, 2u);
}

TEST_F(AuditLogTest, FilesAreForTheOwnerOnly) {
  const auto log = Open();
  namespace fs = std::filesystem;
  EXPECT_EQ(fs::status(options_.directory).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(SegmentPath(1)).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AuditLogTest, ASecondWriterIsRefused) {
  const auto log = Open();
  EXPECT_FALSE(AuditLog::Open(options_, clock_).ok());
}

TEST_F(AuditLogTest, ALogBeingWrittenCanBeRead) {
  const auto log = Open();
  AppendMany(*log, 10);
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.last_sequence, 11u);
  EXPECT_TRUE(report.live);
  EXPECT_FALSE(report.closed);
}

TEST_F(AuditLogTest, ReadingWhileWritingNeverAccusesTheWriter) {
  const auto log = Open();
  // Enough records for several segments; however slow the machine, both sides have an end.
  constexpr std::uint64_t kRecords = 4'000;
  std::atomic<bool> done{false};
  std::jthread writer([&] {
    for (std::uint64_t i = 0; i < kRecords; ++i) log->Append(Use(i));
    done = true;
  });
  int readings = 0;
  do {
    const AuditReport report = Verify();
    ASSERT_EQ(report.verdict, Verdict::kWhole) << report.problem << " at " << report.offset;
    ++readings;
  } while (!done && readings < 200);
  writer.join();
  // A checkpoint may still come by itself.
  const std::uint64_t last = log->GetState().sequence;
  EXPECT_GE(last, kRecords);
  EXPECT_GE(Verify().last_sequence, last);
}

TEST_F(AuditLogTest, RecordsBecomeDurableByThemselves) {
  const auto log = Open();
  const std::uint64_t sequence = log->Append(Use(1));
  EXPECT_TRUE(WaitFor([&] { return log->GetState().durable_sequence >= sequence; }));
}

TEST_F(AuditLogTest, FlushMakesDurableAtOnce) {
  const auto log = Open();
  const std::uint64_t sequence = log->Append(Use(1));
  EXPECT_TRUE(log->Flush());
  EXPECT_GE(log->GetState().durable_sequence, sequence);
}

TEST_F(AuditLogTest, StrictIsDurableWhenAppendReturns) {
  options_.strict = true;
  const auto log = Open();
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t sequence = log->Append(Use(1));
    EXPECT_GE(log->GetState().durable_sequence, sequence);
  }
}

TEST_F(AuditLogTest, ConcurrentFlushesShareSyncs) {
  std::atomic<int> syncs{0};
  options_.sync = [&](int) {
    ++syncs;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long enough for the others to ask meanwhile
    return 0;
  };
  const auto log = Open();
  const int before = syncs;
  std::latch everybody(8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      everybody.arrive_and_wait();
      for (int j = 0; j < 5; ++j) {
        const std::uint64_t sequence = log->Append(Use(1));
        EXPECT_TRUE(log->Flush());
        EXPECT_GE(log->GetState().durable_sequence, sequence);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LT(syncs - before, 20) << "40 flushes";
}

TEST_F(AuditLogTest, ThreadsShareOneChain) {
  constexpr std::uint64_t kEach = 4000;
  {
    const auto log = Open();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { AppendMany(*log, kEach); });
    for (auto& thread : threads) thread.join();
    EXPECT_GT(log->GetState().segment, 5u);
  }
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.file << ": " << report.problem;
  EXPECT_EQ(report.events, 4 * kEach);
}

TEST_F(AuditLogTest, ClosedSegmentsAreCutToTheirLength) {
  AppendMany(*Open(), 3000);
  const auto segments = FindSegments(options_.directory);
  ASSERT_GT(segments->size(), 2u);
  for (const auto& [number, name] : *segments) {
    const Bytes bytes = ReadSegment(number);
    EXPECT_LE(bytes.size(), options_.segment_bytes);
    std::size_t at = 0;
    while (const std::size_t size = PeekRecordBytes(ByteView(bytes).subspan(at))) at += size;
    EXPECT_EQ(at, bytes.size()) << name;
  }
}

TEST_F(AuditLogTest, CheckpointsComeByThemselves) {
  options_.checkpoint_records = 100;
  const auto log = Open();
  AppendMany(*log, 150);
  EXPECT_TRUE(WaitFor([&] { return Verify().checkpoints >= 1; }));
  const std::uint64_t quiet = log->GetState().sequence;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(log->GetState().sequence, quiet) << "no checkpoint of nothing but a checkpoint";
}

TEST_F(AuditLogTest, ACheckpointComesAfterAMinuteWithAnyRecord) {
  const auto log = Open();
  AppendMany(*log, 1);
  clock_.monotonic = clock_.Monotonic() + std::chrono::seconds(61);
  AppendMany(*log, 1);
  EXPECT_TRUE(WaitFor([&] { return Verify().checkpoints == 1; }));
}

// ---- Killing

TEST_F(AuditLogTest, KillNineLosesNothingThatAppendReturned) {
  auto* const acknowledged = static_cast<std::atomic<std::uint64_t>*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::mt19937 random(1);
  std::uint64_t before = 0;
  for (int round = 0; round < 25; ++round) {
    *acknowledged = 0;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto log = AuditLog::Open(options_, clock_);
      if (!log.ok()) ::_exit(1);
      for (std::uint64_t i = 0;; ++i) {
        const std::uint64_t sequence = (*log)->Append(Use(i));
        if (sequence == 0) ::_exit(2);
        acknowledged->store(sequence);
      }
    }
    while (*acknowledged == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 10000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself: " << WEXITSTATUS(status);

    const AuditReport found = Verify();
    ASSERT_NE(found.verdict, Verdict::kBad) << found.problem;
    ASSERT_GE(found.last_sequence, acknowledged->load());
    ASSERT_LE(found.last_sequence, acknowledged->load() + 3)
        << "one unacknowledged record, a checkpoint, a segment's start";
    ASSERT_GT(found.last_sequence, before);
    before = found.last_sequence;
  }
  Open().reset();
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_TRUE(report.closed);
  ::munmap(acknowledged, 4096);
}

TEST_F(AuditLogTest, ATornTailIsSetAsideAndRecorded) {
  AppendMany(*Open(), 10);
  Bytes bytes = ReadSegment(1);
  const std::size_t whole = bytes.size();
  const std::string torn = "half a record";
  bytes.resize(whole + 5);
  bytes.insert(bytes.end(), torn.begin(), torn.end());
  bytes.resize(options_.segment_bytes);
  WriteSegment(1, bytes);
  EXPECT_EQ(Verify().verdict, Verdict::kTornTail);

  const auto log = Open();
  EXPECT_EQ(log->GetState().recovered_bytes, 5 + torn.size());
  const std::string aside = Path("audit-00000001-at-" + std::to_string(whole) + ".torn");
  EXPECT_EQ(std::filesystem::file_size(aside), 5 + torn.size());
  AuditReadOptions options;
  AuditRecord last;
  std::string text;
  options.on_record = [&](const StoredRecord& stored) {
    if (stored.type == AuditType::kEvent) {
      last = stored.event;
      text = stored.event.text;
    }
    return true;
  };
  EXPECT_EQ(Verify(options).verdict, Verdict::kWhole);
  EXPECT_EQ(last.kind, AuditKind::kService);
  EXPECT_NE(text.find("recovered, 18 bytes in audit-00000001-at-"), std::string::npos) << text;
}

TEST_F(AuditLogTest, ADamagedRecordBeforeWholeOnesIsAnAlarmAndNothingIsThrownAway) {
  AppendMany(*Open(), 10);
  Bytes bytes = ReadSegment(1);
  const std::size_t size = bytes.size();
  bytes[400] ^= 1;
  WriteSegment(1, bytes);
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
  const auto log = Open();
  const std::uint64_t aside = log->GetState().recovered_bytes;
  EXPECT_GT(aside, size / 2);
  AuditReadOptions options;
  bool alarm = false;
  options.on_record = [&](const StoredRecord& stored) {
    alarm = alarm || (stored.type == AuditType::kEvent && stored.event.kind == AuditKind::kAlarm);
    return true;
  };
  EXPECT_EQ(Verify(options).verdict, Verdict::kWhole);
  EXPECT_TRUE(alarm);
}

TEST_F(AuditLogTest, GoesOnFromEveryCutOfTheLastSegment) {
  AppendMany(*Open(), 3);
  const Bytes bytes = ReadSegment(1);
  for (std::size_t size = 0; size <= bytes.size(); size += 7) {
    std::filesystem::remove_all(options_.directory);
    std::filesystem::create_directory(options_.directory);
    WriteSegment(1, ByteView(bytes).first(size));
    AppendMany(*Open(), 2);
    const AuditReport report = Verify();
    ASSERT_EQ(report.verdict, Verdict::kWhole) << size << ": " << report.problem;
    ASSERT_TRUE(report.closed);
  }
}

TEST_F(AuditLogTest, GoesOnWhenTheLastSegmentWasOnlyJustBegun) {
  AppendMany(*Open(), 10);
  WriteSegment(2, Bytes(options_.segment_bytes));
  EXPECT_EQ(Verify().verdict, Verdict::kWhole) << "a daemon killed between the rename and the first record";
  AppendMany(*Open(), 10);
  EXPECT_EQ(Verify().verdict, Verdict::kWhole);
  EXPECT_EQ(Verify().events, 20u);
  EXPECT_EQ(FindSegments(options_.directory)->size(), 1u);
}

TEST_F(AuditLogTest, ASpareThatWasWrittenToIsMadeAnew) {
  AppendMany(*Open(), 10);
  std::ofstream(Path(kSpareSegment), std::ios::binary) << "old bytes";
  AppendMany(*Open(), 3000);
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_GT(FindSegments(options_.directory)->size(), 2u);
}

// ---- Full and failing disks

TEST_F(AuditLogTest, AFullDiskRefusesUseButKeepsRoomForReservedRecords) {
  std::atomic<bool> full{false};
  options_.allocate = [&](int file, std::uint64_t bytes) {
    return full ? ENOSPC : ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  };
  auto log = Open();
  full = true;
  std::uint64_t accepted = 0;
  while (log->Append(Use(1)) != 0) ++accepted;
  EXPECT_GT(accepted, 1500u) << "the rest of this segment and the spare, which was there";
  EXPECT_FALSE(log->Healthy());
  EXPECT_NE(log->GetState().trouble.find("No space left"), std::string::npos) << log->GetState().trouble;
  EXPECT_EQ(log->Append(Use(1)), 0u);

  std::uint64_t reserved = 0;
  while (log->Append(Use(1), Urgency::kReserved) != 0) ++reserved;
  EXPECT_GE(reserved, 250u);
  EXPECT_TRUE(log->Flush()) << "the room was allocated before";

  full = false;
  EXPECT_TRUE(WaitFor([&] { return log->Healthy(); })) << "comes back by itself";
  EXPECT_NE(log->Append(Use(1)), 0u);
  log.reset();
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.events, accepted + reserved + 1);
}

TEST_F(AuditLogTest, AFullDiskAtStartIsSurvivedWithWhatIsThere) {
  AppendMany(*Open(), 10);
  options_.allocate = [](int, std::uint64_t) { return ENOSPC; };
  EXPECT_FALSE(AuditLog::Open(options_, clock_).ok()) << "not one byte to be had";
  options_.allocate = nullptr;
  AppendMany(*Open(), 1);
  EXPECT_EQ(Verify().verdict, Verdict::kWhole);
}

TEST_F(AuditLogTest, AFailedSyncStopsServiceUntilTheSegmentIsWrittenAnew) {
  std::atomic<bool> fail{false};
  options_.sync = [&](int file) {
    if (!fail) return ::fdatasync(file);
    errno = EIO;
    return -1;
  };
  auto log = Open();
  AppendMany(*log, 10);
  fail = true;
  EXPECT_FALSE(log->Flush());
  EXPECT_FALSE(log->Healthy());
  EXPECT_EQ(log->Append(Use(1)), 0u);
  EXPECT_NE(log->Append(Use(1), Urgency::kReserved), 0u) << "disable and cancel are still recorded";
  EXPECT_FALSE(log->Flush()) << "and a second sync of the same file is not believed";
  fail = false;
  EXPECT_TRUE(WaitFor([&] { return log->Healthy(); }));
  AppendMany(*log, 5);
  EXPECT_TRUE(log->Flush());
  log.reset();
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.events, 16u);
}

TEST_F(AuditLogTest, AStrictLogWithoutADiskServesNothing) {
  std::atomic<bool> fail{false};
  options_.strict = true;
  options_.sync = [&](int file) { return fail ? -1 : ::fdatasync(file); };
  const auto log = Open();
  EXPECT_NE(log->Append(Use(1)), 0u);
  fail = true;
  EXPECT_EQ(log->Append(Use(1)), 0u);
  fail = false;
  EXPECT_TRUE(WaitFor([&] { return log->Healthy(); }));
}

TEST_F(AuditLogTest, IsCheap) {
  options_.segment_bytes = 64 << 20;
  SystemClock clock;
  auto log = AuditLog::Open(options_, clock);
  ASSERT_TRUE(log.ok());
  // The quickest of some rounds: others want the processor and the disk, too.
  constexpr int kCount = 10'000;
  auto each = std::chrono::nanoseconds::max();
  for (int round = 0; round < 10; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCount; ++i) (*log)->Append(Use(1));
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
    each = std::min(each, took / kCount);
  }
  RecordProperty("ns_per_append", std::to_string(each.count()));
  EXPECT_LT(each, std::chrono::microseconds(200)) << "1 µs is the aim; this catches a sync or a copy too many";
  std::printf("[          ] %lld ns an Append\n", static_cast<long long>(each.count()));
}

}  // namespace
}  // namespace cmkd::daemon
