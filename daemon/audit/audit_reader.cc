// The offline proof: each segment's records in order, each checkpoint against the record it speaks of.
#include "daemon/audit/audit_reader.h"

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <thread>

#include "daemon/audit/audit_segment.h"

namespace cmkd::daemon {
namespace {

using Verdict = AuditReport::Verdict;

class LogReader {
 public:
  LogReader(const std::string& directory, const AuditReadOptions& options) : directory_(directory), options_(options) {}

  AuditReport Read() {
    report_.live = IsBeingWritten(directory_);
    const auto segments = FindSegments(directory_);
    if (!segments || segments->empty()) return End(Verdict::kUnreadable, "there is no audit log in " + directory_);
    std::uint64_t expected = segments->begin()->first;
    if (expected != 1 && !options_.allow_pruned) {
      return End(Verdict::kBad, "the segments before number " + std::to_string(expected) + " are missing");
    }
    for (const auto& [number, name] : *segments) {
      if (number != expected++) return End(Verdict::kBad, "segment " + std::to_string(expected - 1) + " is missing");
      if (!ReadSegment(number, name, number == segments->rbegin()->first)) return report_;
    }
    return End(Verdict::kWhole, "");
  }

 private:
  AuditReport End(Verdict verdict, std::string problem) {
    report_.verdict = verdict;
    report_.problem = std::move(problem);
    return report_;
  }

  // True: go on with the next segment.
  bool ReadSegment(std::uint64_t number, const std::string& name, bool last) {
    report_.file = name;
    std::size_t done = 0;
    // The end of a log that is being written may look torn, or a later page newer than an earlier one: look again
    // first.
    for (int attempt = 0;; ++attempt) {
      const std::optional<Bytes> bytes = ReadFileBytes(directory_ + "/" + name);
      if (!bytes) return Stop(Verdict::kUnreadable, 0, name + " cannot be read");
      SegmentWalk walk(*bytes, chain_, next_sequence_);
      const SegmentWalk::Step step = Walk(walk, number, done);
      done = walk.offset();
      if (stopped_) return false;
      if (step == SegmentWalk::Step::kEnd) return Finish(walk, last);
      if (!last || !report_.live || attempt == 5) {
        const bool torn = last && !walk.IntactRecordFollows();
        return Stop(torn ? Verdict::kTornTail : Verdict::kBad, done, walk.problem());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  // Records before `done` were taken in by an earlier attempt.
  SegmentWalk::Step Walk(SegmentWalk& walk, std::uint64_t number, std::size_t done) {
    SegmentWalk::Step step;
    std::size_t at = 0;
    while ((step = walk.Next()) == SegmentWalk::Step::kRecord) {
      const bool is_new = at >= done;
      if (is_new && !Accept(walk.record(), number, at)) break;
      at = walk.offset();
    }
    return step;
  }

  bool Finish(const SegmentWalk& walk, bool last) {
    // An empty file is a segment that had just been begun; nothing can follow it.
    if (walk.offset() == 0 && !last) return Stop(Verdict::kBad, 0, "a segment without records");
    chain_ = walk.chain();
    next_sequence_ = walk.next_sequence();
    return true;
  }

  bool Stop(Verdict verdict, std::uint64_t offset, std::string problem) {
    report_.offset = offset;
    End(verdict, std::move(problem));
    stopped_ = true;
    return false;
  }

  bool Accept(const StoredRecord& record, std::uint64_t number, std::size_t offset) {
    if (record.type == AuditType::kSegment && !AcceptSegment(record.segment, number)) {
      return Stop(Verdict::kBad, offset, "a segment in the place of another, or of another log");
    }
    if (record.type == AuditType::kCheckpoint && !AcceptCheckpoint(record)) {
      return Stop(Verdict::kBad, offset, "a checkpoint that does not agree with the log");
    }
    if (record.type == AuditType::kEvent) ++report_.events;
    if (report_.first_sequence == 0) report_.first_sequence = record.sequence;
    report_.last_sequence = record.sequence;
    report_.chain = record.chain;
    report_.closed = record.type == AuditType::kCheckpoint && record.checkpoint.closing;
    recent_.push_back(record.chain);
    if (recent_.size() > kCheckpointReach) recent_.pop_front();
    if (!options_.on_record || options_.on_record(record)) return true;
    return Stop(Verdict::kWhole, offset, "");
  }

  bool AcceptSegment(const SegmentStart& start, std::uint64_t number) {
    if (report_.first_sequence == 0) report_.log_id = start.log_id;
    if (number == 1 && start.previous != ChainValue{}) return false;
    return start.number == number && start.log_id == report_.log_id;
  }

  bool AcceptCheckpoint(const StoredRecord& record) {
    const Checkpoint& checkpoint = record.checkpoint;
    ++report_.checkpoints;
    const std::optional<ChainValue> chain = RecentChain(record.sequence, checkpoint.sequence);
    // Of a pruned log the first records may be out of sight; all others must be there and agree.
    const bool pruned = checkpoint.sequence < report_.first_sequence && report_.first_sequence > 1;
    if (!pruned && (!chain || *chain != checkpoint.chain)) return false;
    if (checkpoint.signature.empty()) return true;
    ++report_.signed_checkpoints;
    if (options_.verifier != nullptr) {
      const Bytes statement = CheckpointStatement(report_.log_id, checkpoint);
      if (!options_.verifier->Verify(checkpoint.key_id, statement, checkpoint.signature)) return false;
      ++report_.verified_checkpoints;
    }
    report_.covered_sequence = checkpoint.sequence;
    return true;
  }

  // The chain value of record `sequence`, seen from a checkpoint whose own number is `own`.
  std::optional<ChainValue> RecentChain(std::uint64_t own, std::uint64_t sequence) const {
    if (sequence >= own || own - sequence > recent_.size()) return std::nullopt;
    return recent_[recent_.size() - static_cast<std::size_t>(own - sequence)];
  }

  const std::string directory_;
  const AuditReadOptions& options_;
  AuditReport report_;
  std::optional<ChainValue> chain_;
  std::optional<std::uint64_t> next_sequence_;
  std::deque<ChainValue> recent_;
  bool stopped_ = false;
};

}  // namespace

AuditReport ReadAuditLog(const std::string& directory, const AuditReadOptions& options) {
  return LogReader(directory, options).Read();
}

}  // namespace cmkd::daemon
