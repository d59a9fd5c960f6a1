// The files of an audit log: their names, one segment mapped for writing, and the walk over a segment's bytes that both
// the recovery and the offline proof use.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/bytes.h"
#include "common/result.h"
#include "daemon/audit/audit_record.h"

namespace cmkd::daemon {

inline constexpr char kSpareSegment[] = "audit-spare.log";
inline constexpr char kLockFile[] = "audit.lock";

// "audit-00000001.log".
std::string SegmentName(std::uint64_t number);

// The segments present in `directory`, number to file name. Nothing when the directory cannot be read.
std::optional<std::map<std::uint64_t, std::string>> FindSegments(const std::string& directory);

// Whether some process has the log in `directory` open for writing.
bool IsBeingWritten(const std::string& directory);

// The whole file; nothing when it cannot be read.
std::optional<Bytes> ReadFileBytes(const std::string& path);

// Walks over the records of one segment's bytes, checking the chain as it goes.
class SegmentWalk {
 public:
  enum class Step {
    kRecord,  // `record()` is right
    kEnd,     // nothing but zero bytes, or nothing at all, follows
    kBroken,  // something else follows: `offset()` is where, `problem()` why
  };

  // `previous` is the chain value before the segment and `sequence` the first record's; with nothing, the segment's own
  // first record says so.
  SegmentWalk(ByteView bytes, std::optional<ChainValue> previous, std::optional<std::uint64_t> sequence);

  Step Next();
  const StoredRecord& record() const { return record_; }
  const char* problem() const { return problem_; }
  // Where the next record is, or was expected.
  std::size_t offset() const { return offset_; }
  const std::optional<ChainValue>& chain() const { return chain_; }
  std::optional<std::uint64_t> next_sequence() const { return next_sequence_; }
  // After kBroken: whether an intact record stands further on. A kill or a power cut tears the end; records that are
  // whole behind a broken one mean that something was changed (or that the disk wrote a later page first).
  bool IntactRecordFollows() const;

 private:
  Step Broken(const char* problem);

  ByteView bytes_;
  std::optional<ChainValue> chain_;
  std::optional<std::uint64_t> next_sequence_;
  std::size_t offset_ = 0;
  StoredRecord record_;
  const char* problem_ = "";
};

// One segment, preallocated and mapped: what is stored in the mapping belongs to the kernel at once and survives this
// process. One thread at a time writes; any thread may sync.
class Segment {
 public:
  using Allocate = std::function<int(int file, std::uint64_t bytes)>;

  // Maps `file` (owned from now on) after giving it at least `bytes` bytes on disk that are really there, so that
  // writing to the mapping cannot meet a full disk. Nothing, and errno, when the disk has no room.
  static std::shared_ptr<Segment> Map(int file, std::uint64_t bytes, const Allocate& allocate);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  int file() const { return file_; }
  std::uint64_t size() const { return size_; }
  std::uint64_t used() const { return used_; }
  // How far whole records reach in a file that was there before.
  void set_used(std::uint64_t used) { used_ = used; }
  // Fills a new, empty segment with records that were read elsewhere.
  void Restore(ByteView records);
  ByteView written() const { return {memory_, used_}; }

  // Has what was written up to `used` on disk, as fdatasync would: 0, or -1 and errno. Only the pages that are new
  // since the last success, so that those of MakeReady stay as they are. One thread at a time, any.
  int Sync(std::uint64_t used);
  // Has the kernel map the next `bytes` behind `used` for writing. The first store into a page of a file is a fault in
  // which the kernel may make the writer wait for the disk: better whoever calls this than whoever records a use.
  void MakeReady(std::uint64_t used, std::uint64_t bytes) const;

  // Copies the record (without chain value) and its chain value behind the last one. The length goes in last: a process
  // that is killed in between leaves no record rather than half of one.
  void Put(ByteView record, const ChainValue& chain);

 private:
  Segment(int file, std::uint8_t* memory, std::uint64_t size) : file_(file), memory_(memory), size_(size) {}

  int file_;
  std::uint8_t* memory_;
  std::uint64_t size_;
  std::uint64_t used_ = 0;
  std::uint64_t synced_ = 0;
};

}  // namespace cmkd::daemon
