// The offline proof: whatever is done to a log's bytes shows.
#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/crypto/digest.h"
#include "tests/daemon/audit_fixture.h"

namespace cmkd::daemon {
namespace {

using Verdict = AuditReport::Verdict;

// Signs with a shared key; stands in for the HSM's.
class TestKey final : public CheckpointSigner, public CheckpointVerifier {
 public:
  AuditId KeyId() const override { return {7}; }
  Bytes Sign(ByteView statement) override {
    return broken ? Bytes{} : ToBytes(HmacSha256(AsBytes("key"), {statement}));
  }
  bool Verify(const AuditId& key_id, ByteView statement, ByteView signature) override {
    return key_id == KeyId() && Equal(HmacSha256(AsBytes("key"), {statement}), signature);
  }
  bool broken = false;
};

// A closed log in one segment, and where its records begin.
class AuditReaderTest : public AuditTest {
 protected:
  void MakeLog(std::uint64_t records) {
    AppendMany(*Open(), records);
    bytes_ = ReadSegment(1);
    for (std::size_t at = 0; at < bytes_.size(); at += PeekRecordBytes(ByteView(bytes_).subspan(at)))
      starts_.push_back(at);
    starts_.push_back(bytes_.size());
  }

  // The verdict on these bytes as the only segment, without files.
  static bool IsWhole(ByteView bytes) {
    SegmentWalk walk(bytes, ChainValue{}, 1);
    SegmentWalk::Step step;
    while ((step = walk.Next()) == SegmentWalk::Step::kRecord) {
    }
    return step == SegmentWalk::Step::kEnd;
  }

  ByteView RecordAt(std::size_t index) const {
    return ByteView(bytes_).subspan(starts_[index], starts_[index + 1] - starts_[index]);
  }

  Bytes Assemble(const std::vector<std::size_t>& order) const {
    Bytes result;
    for (const std::size_t index : order) {
      const ByteView record = RecordAt(index);
      result.insert(result.end(), record.begin(), record.end());
    }
    return result;
  }

  std::vector<std::size_t> Order() const {
    std::vector<std::size_t> order(starts_.size() - 1);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    return order;
  }

  Bytes bytes_;
  std::vector<std::size_t> starts_;
};

TEST_F(AuditReaderTest, TellsEveryFieldAsItWasAppended) {
  AuditRecord record;
  record.kind = AuditKind::kAlarm;
  record.store_generation = 0x1122334455667788;
  record.uid = 1000;
  record.gid = 1001;
  record.pid = 4711;
  record.application_id = 12;
  record.request_id = 0xffffffffffffffff;
  record.call = 30;
  record.token_id = {1, 2, 3};
  record.cmk_id = {4, 5, 6};
  record.version = 9;
  record.object_handle = 77;
  record.mechanism = 0x1087;
  record.rv = 0x68;
  record.detail = 5;
  record.input_bytes = 1 << 20;
  record.output_bytes = 28;
  record.text = "payroll";
  Open()->Append(record);

  AuditReadOptions options;
  int seen = 0;
  options.on_record = [&](const StoredRecord& stored) {
    if (stored.type != AuditType::kEvent) return true;
    ++seen;
    EXPECT_EQ(stored.sequence, 2u) << "the segment's start is record 1";
    EXPECT_EQ(stored.wall_ns, clock_.WallTime().count());
    EXPECT_EQ(stored.monotonic_ns, clock_.Monotonic().count());
    const AuditRecord& event = stored.event;
    EXPECT_EQ(event.kind, record.kind);
    EXPECT_EQ(event.store_generation, record.store_generation);
    EXPECT_EQ(event.uid, record.uid);
    EXPECT_EQ(event.gid, record.gid);
    EXPECT_EQ(event.pid, record.pid);
    EXPECT_EQ(event.application_id, record.application_id);
    EXPECT_EQ(event.request_id, record.request_id);
    EXPECT_EQ(event.call, record.call);
    EXPECT_EQ(event.token_id, record.token_id);
    EXPECT_EQ(event.cmk_id, record.cmk_id);
    EXPECT_EQ(event.version, record.version);
    EXPECT_EQ(event.object_handle, record.object_handle);
    EXPECT_EQ(event.mechanism, record.mechanism);
    EXPECT_EQ(event.rv, record.rv);
    EXPECT_EQ(event.detail, record.detail);
    EXPECT_EQ(event.input_bytes, record.input_bytes);
    EXPECT_EQ(event.output_bytes, record.output_bytes);
    EXPECT_EQ(event.text, record.text);
    return true;
  };
  EXPECT_EQ(Verify(options).verdict, Verdict::kWhole);
  EXPECT_EQ(seen, 1);
}

TEST_F(AuditReaderTest, CutsTextAtItsBound) {
  for (const std::size_t size : {0u, 1u, 254u, 255u, 256u, 5000u}) {
    const std::string text(size, 'x');
    AuditRecord record;
    record.text = text;
    Open()->Append(record);
    std::size_t longest = 0;
    AuditReadOptions options;
    options.on_record = [&](const StoredRecord& stored) {
      if (stored.type == AuditType::kEvent) longest = stored.event.text.size();
      return true;
    };
    EXPECT_EQ(Verify(options).verdict, Verdict::kWhole);
    EXPECT_EQ(longest, std::min<std::size_t>(size, 255));
  }
}

TEST_F(AuditReaderTest, AClosedLogIsWholeAndSaysSo) {
  MakeLog(200);
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.first_sequence, 1u);
  EXPECT_EQ(report.last_sequence, 202u);
  EXPECT_EQ(report.events, 200u);
  EXPECT_EQ(report.checkpoints, 1u);
  EXPECT_EQ(report.signed_checkpoints, 0u);
  EXPECT_TRUE(report.closed);
  EXPECT_FALSE(report.live);
}

TEST_F(AuditReaderTest, FindsEveryFlippedByte) {
  MakeLog(200);
  ASSERT_TRUE(IsWhole(bytes_));
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    const auto bit = static_cast<std::uint8_t>(1 << at % 8);
    bytes_[at] ^= bit;
    ASSERT_FALSE(IsWhole(bytes_)) << "byte " << at;
    if (at % 1999 == 0) {
      WriteSegment(1, bytes_);
      ASSERT_NE(Verify().verdict, Verdict::kWhole) << "byte " << at;
    }
    bytes_[at] ^= bit;
  }
}

TEST_F(AuditReaderTest, CallsAChangeInTheMiddleBadAndNamesThePlace) {
  MakeLog(20);
  bytes_[starts_[10] + 60] ^= 1;
  WriteSegment(1, bytes_);
  const AuditReport report = Verify();
  EXPECT_EQ(report.verdict, Verdict::kBad);
  EXPECT_EQ(report.offset, starts_[10]);
  EXPECT_EQ(report.file, "audit-00000001.log");
  EXPECT_EQ(report.last_sequence, 10u) << "what is before it still stands";
}

TEST_F(AuditReaderTest, FindsEveryDeletedRecordButTheLast) {
  MakeLog(50);
  for (std::size_t gone = 0; gone + 2 < starts_.size(); ++gone) {
    std::vector<std::size_t> order = Order();
    order.erase(order.begin() + static_cast<std::ptrdiff_t>(gone));
    ASSERT_FALSE(IsWhole(Assemble(order))) << gone;
  }
}

TEST_F(AuditReaderTest, FindsEveryDoubledRecord) {
  MakeLog(50);
  for (std::size_t twice = 0; twice + 1 < starts_.size(); ++twice) {
    std::vector<std::size_t> order = Order();
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(twice), twice);
    ASSERT_FALSE(IsWhole(Assemble(order))) << twice;
  }
}

TEST_F(AuditReaderTest, FindsEveryPairOfSwappedRecords) {
  MakeLog(30);
  for (std::size_t a = 0; a + 1 < starts_.size(); ++a) {
    for (std::size_t b = a + 1; b + 1 < starts_.size(); ++b) {
      std::vector<std::size_t> order = Order();
      std::swap(order[a], order[b]);
      ASSERT_FALSE(IsWhole(Assemble(order))) << a << " and " << b;
    }
  }
}

TEST_F(AuditReaderTest, ATailCutAtAnyLengthLeavesTheLastWholeRecord) {
  MakeLog(6);
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    WriteSegment(1, ByteView(bytes_).first(size));
    const AuditReport report = Verify();
    const auto next = std::upper_bound(starts_.begin(), starts_.end(), size);
    const auto whole = static_cast<std::uint64_t>(next - starts_.begin()) - 1;
    const bool on_border = starts_[whole] == size;
    ASSERT_EQ(report.verdict, on_border ? Verdict::kWhole : Verdict::kTornTail) << size;
    ASSERT_EQ(report.last_sequence, whole) << size;
    ASSERT_FALSE(report.closed) << "a cut at a border shows at least in this, at " << size;
  }
}

TEST_F(AuditReaderTest, NonzeroBytesBehindTheEndAreFound) {
  MakeLog(5);
  bytes_.resize(bytes_.size() + 4096);
  EXPECT_TRUE(IsWhole(bytes_)) << "room not yet used";
  for (const std::size_t at : {1u, 4u, 4095u}) {
    bytes_[bytes_.size() - at] = 1;
    EXPECT_FALSE(IsWhole(bytes_));
    bytes_[bytes_.size() - at] = 0;
  }
}

TEST_F(AuditReaderTest, SegmentsGoneSwappedOrFromAnotherLogAreFound) {
  AppendMany(*Open(), 5000);
  const std::uint64_t segments = FindSegments(options_.directory)->size();
  ASSERT_GE(segments, 4u);
  ASSERT_EQ(Verify().verdict, Verdict::kWhole);

  const auto expect_bad_without = [&](std::uint64_t number) {
    std::filesystem::rename(SegmentPath(number), Path("aside"));
    EXPECT_EQ(Verify().verdict, Verdict::kBad) << number;
    std::filesystem::rename(Path("aside"), SegmentPath(number));
  };
  expect_bad_without(1);
  expect_bad_without(2);
  expect_bad_without(segments - 1);

  const Bytes second = ReadSegment(2), third = ReadSegment(3);
  WriteSegment(2, third);
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
  WriteSegment(3, second);
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
  WriteSegment(2, second);
  WriteSegment(3, third);
  EXPECT_EQ(Verify().verdict, Verdict::kWhole);

  const std::string mine = options_.directory;
  options_.directory = root_ + "/other";
  AppendMany(*Open(), 5000);
  std::filesystem::copy_file(SegmentPath(2), mine + "/" + SegmentName(2),
                             std::filesystem::copy_options::overwrite_existing);
  options_.directory = mine;
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
}

TEST_F(AuditReaderTest, AnEarlierSegmentCutAtARecordIsFound) {
  AppendMany(*Open(), 3000);
  Bytes first = ReadSegment(1);
  std::size_t at = 0;
  for (std::size_t next = 0; next < first.size(); next += PeekRecordBytes(ByteView(first).subspan(next))) at = next;
  first.resize(at);
  WriteSegment(1, first);
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
}

TEST_F(AuditReaderTest, PrunedSegmentsAreAcceptedOnlyWhenAskedFor) {
  AppendMany(*Open(), 3000);
  std::filesystem::remove(SegmentPath(1));
  EXPECT_EQ(Verify().verdict, Verdict::kBad);
  AuditReadOptions options;
  options.allow_pruned = true;
  const AuditReport report = Verify(options);
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_GT(report.first_sequence, 1u);
}

TEST_F(AuditReaderTest, NothingThereIsNotAWholeLog) {
  EXPECT_EQ(Verify().verdict, Verdict::kUnreadable);
  std::filesystem::create_directory(options_.directory);
  EXPECT_EQ(Verify().verdict, Verdict::kUnreadable);
}

TEST_F(AuditReaderTest, SignedCheckpointsCoverWhatIsBeforeThem) {
  TestKey key;
  {
    const auto log = Open();
    log->SetSigner(&key);
    AppendMany(*log, 10);
    ASSERT_TRUE(log->WriteCheckpoint());
    AppendMany(*log, 5);
    log->SetSigner(nullptr);
  }
  AuditReadOptions options;
  options.verifier = &key;
  const AuditReport report = Verify(options);
  EXPECT_EQ(report.verdict, Verdict::kWhole) << report.problem;
  EXPECT_EQ(report.verified_checkpoints, 1u);
  EXPECT_EQ(report.covered_sequence, 11u);
  EXPECT_EQ(report.checkpoints, 2u) << "the closing one is not signed, and says so";
  EXPECT_EQ(Verify().verified_checkpoints, 0u);
  EXPECT_EQ(Verify().signed_checkpoints, 1u);
}

TEST_F(AuditReaderTest, ARewrittenHistoryFailsAtTheSignature) {
  TestKey key;
  {
    const auto log = Open();
    log->SetSigner(&key);
    AppendMany(*log, 10);
    log->WriteCheckpoint();
  }
  // Somebody with the right to write the files makes a chain that is right in itself.
  Bytes forged = ReadSegment(1);
  ChainValue chain{};
  std::map<std::uint64_t, ChainValue> chains;
  for (std::size_t at = 0; at < forged.size();) {
    const std::size_t size = PeekRecordBytes(ByteView(forged).subspan(at));
    StoredRecord stored;
    ASSERT_TRUE(DecodeRecord(ByteView(forged).subspan(at, size), stored));
    if (stored.sequence == 5) forged[at + 32 + 6] ^= 1;  // the application
    if (stored.type == AuditType::kCheckpoint) {
      std::copy_n(chains.at(stored.checkpoint.sequence).begin(), 32,
                  forged.begin() + static_cast<std::ptrdiff_t>(at) + 40);
    }
    chain = ChainOf(chain, ByteView(forged).subspan(at, size - 32));
    std::copy_n(chain.begin(), 32, forged.begin() + static_cast<std::ptrdiff_t>(at + size - 32));
    chains[stored.sequence] = chain;
    at += size;
  }
  WriteSegment(1, forged);
  EXPECT_EQ(Verify().verdict, Verdict::kWhole) << "without a key a whole forgery cannot be told";
  AuditReadOptions options;
  options.verifier = &key;
  EXPECT_EQ(Verify(options).verdict, Verdict::kBad);
}

TEST_F(AuditReaderTest, ASignerThatFailsLeavesAnUnsignedCheckpointAndACount) {
  TestKey key;
  key.broken = true;
  const auto log = Open();
  log->SetSigner(&key);
  AppendMany(*log, 3);
  EXPECT_TRUE(log->WriteCheckpoint());
  EXPECT_EQ(log->GetState().lost_signatures, 1u);
  EXPECT_EQ(Verify().checkpoints, 1u);
  EXPECT_EQ(Verify().signed_checkpoints, 0u);
}

TEST_F(AuditReaderTest, StopsWhenTheReaderHasSeenEnough) {
  MakeLog(10);
  int seen = 0;
  AuditReadOptions options;
  options.on_record = [&](const StoredRecord&) { return ++seen < 3; };
  EXPECT_EQ(Verify(options).verdict, Verdict::kWhole);
  EXPECT_EQ(seen, 3);
}

}  // namespace
}  // namespace cmkd::daemon
