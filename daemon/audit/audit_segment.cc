// Files, mappings and the walk over records.
#include "daemon/audit/audit_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

namespace cmkd::daemon {

std::string SegmentName(std::uint64_t number) {
  char name[48];
  (void)std::snprintf(name, sizeof name, "audit-%08llu.log", static_cast<unsigned long long>(number));
  return name;
}

std::optional<std::map<std::uint64_t, std::string>> FindSegments(const std::string& directory) {
  DIR* const listing = ::opendir(directory.c_str());
  if (listing == nullptr) return std::nullopt;
  std::map<std::uint64_t, std::string> found;
  while (const dirent* entry = ::readdir(listing)) {
    unsigned long long number = 0;
    // Only the name that we would give: "audit-1.log" or "audit-00000001.log.bak" is somebody's copy.
    if (std::sscanf(entry->d_name, "audit-%llu.log", &number) == 1 && SegmentName(number) == entry->d_name) {
      found.emplace(number, entry->d_name);
    }
  }
  ::closedir(listing);
  return found;
}

bool IsBeingWritten(const std::string& directory) {
  const int file = ::open((directory + "/" + kLockFile).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;
  // Asks without taking the lock, so that reading never keeps a daemon from starting.
  struct flock whole {};
  whole.l_type = F_RDLCK;
  const bool held = ::fcntl(file, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
  ::close(file);
  return held;
}

std::optional<Bytes> ReadFileBytes(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct stat status {};
  Bytes bytes;
  bool whole = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  if (whole) bytes.resize(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (whole && done < bytes.size()) {
    const ssize_t got = ::read(file, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  whole = whole && (done == bytes.size() || ::lseek(file, 0, SEEK_END) == static_cast<off_t>(done));
  ::close(file);
  if (!whole) return std::nullopt;
  bytes.resize(done);
  return bytes;
}

SegmentWalk::SegmentWalk(ByteView bytes, std::optional<ChainValue> previous, std::optional<std::uint64_t> sequence)
    : bytes_(bytes), chain_(previous), next_sequence_(sequence) {}

SegmentWalk::Step SegmentWalk::Broken(const char* problem) {
  problem_ = problem;
  return Step::kBroken;
}

SegmentWalk::Step SegmentWalk::Next() {
  const ByteView rest = bytes_.subspan(offset_);
  if (std::all_of(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(rest.size(), 4)),
                  [](std::uint8_t byte) { return byte == 0; })) {
    const bool zero = std::all_of(rest.begin(), rest.end(), [](std::uint8_t byte) { return byte == 0; });
    return zero ? Step::kEnd : Broken("bytes that are not part of a record");
  }
  const std::size_t size = PeekRecordBytes(rest);
  if (size == 0) return Broken("a record that is not whole");
  const ByteView bytes = rest.first(size);
  if (!DecodeRecord(bytes, record_)) return Broken("a record that is not well formed");
  if ((record_.type == AuditType::kSegment) != (offset_ == 0)) return Broken("a record in the wrong place");
  if (!chain_) chain_ = record_.segment.previous;
  if (!next_sequence_) next_sequence_ = record_.sequence;
  if (offset_ == 0 && record_.segment.previous != *chain_)
    return Broken("a segment that does not follow the one before");
  if (ChainOf(*chain_, bytes.first(size - kAuditChainBytes)) != record_.chain) {
    return Broken("a record that was changed, or that does not follow the one before");
  }
  // Numbers begin at 1; a 0 would be taken for "none yet" by whoever counts them.
  if (record_.sequence == 0 || record_.sequence != *next_sequence_)
    return Broken("a record with the wrong sequence number");
  chain_ = record_.chain;
  next_sequence_ = record_.sequence + 1;
  offset_ += size;
  return Step::kRecord;
}

bool SegmentWalk::IntactRecordFollows() const {
  // Any record's chain value stands right before the next record, so each place can be judged by itself.
  for (std::size_t at = offset_ / 8 * 8 + 8; at + kAuditHeaderBytes < bytes_.size(); at += 8) {
    const std::size_t size = PeekRecordBytes(bytes_.subspan(at));
    StoredRecord record;
    if (size == 0 || at < kAuditChainBytes || !DecodeRecord(bytes_.subspan(at, size), record)) continue;
    ChainValue before;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at - kAuditChainBytes), kAuditChainBytes, before.begin());
    if (ChainOf(before, bytes_.subspan(at, size - kAuditChainBytes)) == record.chain) return true;
  }
  return false;
}

std::shared_ptr<Segment> Segment::Map(int file, std::uint64_t bytes, const Allocate& allocate) {
  struct stat status {};
  bool usable = ::fstat(file, &status) == 0;
  if (usable) bytes = std::max(bytes, static_cast<std::uint64_t>(status.st_size));
  if (usable) {
    errno = allocate ? allocate(file, bytes) : ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
    usable = errno == 0;
  }
  void* memory = MAP_FAILED;
  if (usable) memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) {
    const int reason = errno;
    ::close(file);
    errno = reason;
    return nullptr;
  }
  return std::shared_ptr<Segment>(new Segment(file, static_cast<std::uint8_t*>(memory), bytes));
}

Segment::~Segment() {
  ::munmap(memory_, size_);
  ::close(file_);
}

void Segment::Restore(ByteView records) {
  std::memcpy(memory_, records.data(), records.size());
  used_ = records.size();
}

namespace {

std::uint64_t PageOf(std::uint64_t offset) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return offset / page * page;
}

}  // namespace

int Segment::Sync(std::uint64_t used) {
  const std::uint64_t from = PageOf(synced_);
  if (used > from && ::msync(memory_ + from, used - from, MS_SYNC) != 0) return -1;
  synced_ = used;
  return 0;
}

void Segment::MakeReady(std::uint64_t used, std::uint64_t bytes) const {
  const std::uint64_t from = PageOf(used);
  const std::uint64_t end = std::min(used + bytes, size_);
  // A kernel that does not know it (before 5.14) leaves the faults where they were.
  if (end > from) (void)::madvise(memory_ + from, end - from, MADV_POPULATE_WRITE);
}

void Segment::Put(ByteView record, const ChainValue& chain) {
  std::uint8_t* const at = memory_ + used_;
  std::memcpy(at + 4, record.data() + 4, record.size() - 4);
  std::memcpy(at + record.size(), chain.data(), chain.size());
  std::uint32_t length = 0;
  std::memcpy(&length, record.data(), 4);
  std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at)).store(length, std::memory_order_release);
  used_ += record.size() + chain.size();
}

}  // namespace cmkd::daemon
