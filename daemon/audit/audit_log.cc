// The writing side of the audit log: one lock around "next sequence, next chain value, copy"; one sync at a time for
// everybody who waits; one thread that syncs, keeps a spare segment ready and writes checkpoints.
#include "daemon/audit/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/file.h"
#include "daemon/audit/audit_recovery.h"
#include "daemon/audit/audit_segment.h"
#include "daemon/crypto/random.h"
#include "daemon/system/system_clock.h"

namespace cmkd::daemon {
namespace {

using std::chrono::nanoseconds;
using Lock = std::unique_lock<std::mutex>;

constexpr std::chrono::milliseconds kGather{50};  // half of the 100 ms we promise; the other half is for the disk
constexpr std::chrono::seconds kRetry{1};
constexpr std::chrono::seconds kCheckpointEvery{60};
// So many bytes behind the last record are mapped for writing: few when little is recorded, for the disk is given them.
constexpr std::uint64_t kReadyMin = std::uint64_t{64} << 10;
constexpr std::uint64_t kReadyMax = std::uint64_t{8} << 20;
constexpr char kRepairFile[] = "audit-repair.tmp";

}  // namespace

class AuditLog::Impl {
 public:
  Impl(const Options& options, const Clock& clock)
      : options_(options), clock_(clock), precise_(dynamic_cast<const PreciseClock*>(&clock)) {}
  ~Impl();

  Result<void, std::string> Start();
  std::uint64_t Append(const AuditRecord& record, Urgency urgency);
  bool SyncUpTo(std::uint64_t sequence);
  bool Flush() { return SyncUpTo(sequence_.load(std::memory_order_acquire)); }
  bool Healthy() const { return healthy_.load(std::memory_order_relaxed); }
  State GetState() const;
  void SetSigner(CheckpointSigner* signer);
  bool WriteCheckpoint(bool closing);

 private:
  // A full segment that waits for its last sync.
  struct Retired {
    std::shared_ptr<Segment> segment;
    std::uint64_t number;
  };

  std::string Path(const std::string& name) const { return options_.directory + "/" + name; }
  std::int64_t WallTime() const {
    return precise_ ? precise_->WallTime().count() : clock_.Now().seconds * 1'000'000'000;
  }
  int Sync(int file) const { return options_.sync ? options_.sync(file) : ::fdatasync(file); }
  int Sync(Segment& segment, std::uint64_t used) const {
    return options_.sync ? options_.sync(segment.file()) : segment.Sync(used);
  }

  Result<void, std::string> OpenDirectory();
  Result<void, std::string> Continue(const LogEnd& end);

  // All below: `mutex_` is held.
  std::uint64_t Put(MutableBytes record, Urgency urgency);
  bool MakeRoom(std::uint64_t bytes, Urgency urgency);
  bool StartNextSegment();
  void MakeSpare();
  void Write(MutableBytes record);
  void Repair();
  std::shared_ptr<Segment> Rewrite(const Segment& segment, std::uint64_t number, ChainValue& chain);
  void UpdateHealth() { healthy_ = io_trouble_.empty() && !full_; }
  bool IsDirty() const { return sequence_ != durable_; }
  bool IsCheckpointDue() const;
  bool WantsSpare() const { return spare_ == nullptr && spare_trouble_.empty(); }

  bool SyncOnce(std::uint64_t& reached);
  void MakeReady(Lock& lock);
  void Run();
  void WaitForWork(Lock& lock);

  const Options options_;
  const Clock& clock_;
  const PreciseClock* const precise_;
  int directory_ = -1;
  int lock_ = -1;  // held as long as this log is open: one writer, and readers can ask whether there is one

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool idle_ = false;  // the thread sleeps without an end: whoever brings work wakes it
  bool stop_ = false;
  std::shared_ptr<Segment> current_;
  std::shared_ptr<Segment> spare_;
  std::vector<Retired> retired_;
  bool directory_dirty_ = false;
  std::uint64_t number_ = 0;
  ChainValue chain_{};
  AuditId log_id_{};
  std::uint64_t store_generation_ = 0;
  std::uint64_t since_checkpoint_ = 0;
  nanoseconds last_checkpoint_{};
  std::string io_trouble_;     // the disk failed: nothing is served until the segments are written anew
  std::string spare_trouble_;  // no room for the next segment; serious only when this one is full
  bool full_ = false;
  std::uint64_t recovered_bytes_ = 0;
  std::uint64_t lost_signatures_ = 0;

  std::atomic<std::uint64_t> sequence_{0};
  std::atomic<std::uint64_t> durable_{0};
  std::atomic<bool> healthy_{false};

  std::mutex sync_mutex_;
  std::condition_variable sync_done_;
  bool sync_running_ = false;

  std::mutex signer_mutex_;  // held while a checkpoint is made, so never taken with `mutex_` held
  CheckpointSigner* signer_ = nullptr;

  // The thread's own: where it made pages ready last.
  std::shared_ptr<Segment> ready_in_;
  std::uint64_t ready_from_ = 0;

  std::thread thread_;
};

// ---- Opening and closing

Result<void, std::string> AuditLog::Impl::OpenDirectory() {
  const std::string& path = options_.directory;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Failure{WithReason(path + " cannot be made")};
  directory_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_ < 0) return Failure{WithReason(path + " cannot be opened")};
  lock_ = ::openat(directory_, kLockFile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0) return Failure{WithReason(Path(kLockFile) + " cannot be opened")};
  struct flock whole {};
  whole.l_type = F_WRLCK;
  if (::fcntl(lock_, F_OFD_SETLK, &whole) != 0) return Failure{path + ": another process writes this audit log"};
  return {};
}

Result<void, std::string> AuditLog::Impl::Continue(const LogEnd& end) {
  const std::string path = Path(SegmentName(end.number));
  // Room for a whole segment if the disk has it; otherwise what the file has: what is left of it may do for a cancel.
  for (const std::uint64_t size : {options_.segment_bytes, end.used}) {
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return Failure{WithReason(path + " cannot be opened")};
    current_ = Segment::Map(file, size, options_.allocate);
    if (current_) break;
  }
  if (!current_) return Failure{WithReason(path + " cannot be mapped")};
  current_->set_used(end.used);
  // The last process may have ended between the start of this segment and the sync of the one before.
  const int before = ::open(Path(SegmentName(end.number - 1)).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (before >= 0) {
    const int synced = Sync(before);
    ::close(before);
    if (synced != 0) return Failure{WithReason(path + ": the segment before cannot be synced")};
  }
  directory_dirty_ = true;
  number_ = end.number;
  chain_ = end.chain;
  log_id_ = end.log_id;
  store_generation_ = end.store_generation;
  sequence_ = end.last_sequence;
  return {};
}

Result<void, std::string> AuditLog::Impl::Start() {
  if (options_.segment_bytes < kSegmentBytesMin) return Failure{std::string("audit segments are too small")};
  RETURN_IF_ERROR(OpenDirectory());
  ASSIGN_OR_RETURN(const LogEnd end, RecoverLogEnd(options_.directory));
  if (end.number > 0) RETURN_IF_ERROR(Continue(end));
  recovered_bytes_ = end.set_aside_bytes;
  last_checkpoint_ = clock_.Monotonic();
  {
    const Lock lock(mutex_);
    MakeSpare();
    if (end.number == 0) {
      log_id_ = RandomId();
      if (spare_ == nullptr) return Failure{Path("") + ": no room for the audit log: " + spare_trouble_};
      if (!StartNextSegment()) return Failure{io_trouble_};
      MakeSpare();
    }
    UpdateHealth();
  }
  // What the last process left in the kernel's memory may not be on disk yet; from here on it is.
  if (!Flush()) return Failure{GetState().trouble};
  if (!end.set_aside.empty()) {
    const std::string text =
        "audit log recovered, " + std::to_string(end.set_aside_bytes) + " bytes in " + end.set_aside;
    AuditRecord record;
    record.kind = end.intact_behind ? AuditKind::kAlarm : AuditKind::kService;
    record.store_generation = end.store_generation;
    record.text = text;
    Append(record, Urgency::kNormal);
  }
  thread_ = std::thread([this] { Run(); });
  return {};
}

AuditLog::Impl::~Impl() {
  if (thread_.joinable()) {
    {
      const Lock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    if (WriteCheckpoint(true) && ::ftruncate(current_->file(), static_cast<off_t>(current_->used())) == 0) {
      (void)Sync(current_->file());
    }
  }
  if (directory_ >= 0) ::close(directory_);
  if (lock_ >= 0) ::close(lock_);
}

// ---- Appending

std::uint64_t AuditLog::Impl::Append(const AuditRecord& record, Urgency urgency) {
  std::uint8_t buffer[kAuditRecordBytesMax];
  const std::size_t size = EncodeEvent(record, buffer);
  std::uint64_t sequence = 0;
  bool wake = false;
  {
    const Lock lock(mutex_);
    sequence = Put({buffer, size}, urgency);
    if (sequence != 0) {
      store_generation_ = record.store_generation;
      ++since_checkpoint_;
    }
    wake = std::exchange(idle_, false);
  }
  if (wake) wake_.notify_one();
  if (options_.strict && sequence != 0 && !SyncUpTo(sequence)) return 0;
  return sequence;
}

std::uint64_t AuditLog::Impl::Put(MutableBytes record, Urgency urgency) {
  if (!MakeRoom(record.size() + kAuditChainBytes, urgency)) return 0;
  Write(record);
  return sequence_.load(std::memory_order_relaxed);
}

bool AuditLog::Impl::MakeRoom(std::uint64_t bytes, Urgency urgency) {
  const bool fits = current_->used() + bytes <= current_->size();
  if (!io_trouble_.empty()) return urgency == Urgency::kReserved && fits;
  // With a spare behind it, this segment needs no reserve: the spare has one.
  if (spare_ != nullptr) return fits || StartNextSegment();
  if (current_->used() + bytes + options_.reserve_bytes <= current_->size()) return true;
  if (WantsSpare()) {
    MakeSpare();
    if (spare_ != nullptr) return fits || StartNextSegment();
  }
  full_ = true;
  UpdateHealth();
  return urgency == Urgency::kReserved && fits;
}

void AuditLog::Impl::Write(MutableBytes record) {
  const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed) + 1;
  StampRecord(record, sequence, WallTime(), clock_.Monotonic().count());
  chain_ = ChainOf(chain_, record);
  current_->Put(record, chain_);
  sequence_.store(sequence, std::memory_order_release);
}

bool AuditLog::Impl::StartNextSegment() {
  const std::string name = SegmentName(number_ + 1);
  if (::renameat2(directory_, kSpareSegment, directory_, name.c_str(), RENAME_NOREPLACE) != 0) {
    io_trouble_ = WithReason(Path(name) + " cannot be made");
    UpdateHealth();
    return false;
  }
  if (current_) retired_.push_back({std::move(current_), number_});
  current_ = std::move(spare_);
  directory_dirty_ = true;
  ++number_;
  std::uint8_t buffer[kAuditRecordBytesMax];
  const std::size_t size = EncodeSegmentStart({log_id_, number_, chain_, BootIdBytes()}, buffer);
  Write({buffer, size});
  return true;
}

void AuditLog::Impl::MakeSpare() {
  const std::string path = Path(kSpareSegment);
  int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  // One that is left from before keeps its room on a full disk, but only if nothing was ever written to it.
  if (file >= 0 && ::lseek(file, 0, SEEK_DATA) >= 0 && ::ftruncate(file, 0) != 0) {
    ::close(file);
    file = -1;
  }
  if (file >= 0) spare_ = Segment::Map(file, options_.segment_bytes, options_.allocate);
  if (spare_ == nullptr) {
    spare_trouble_ = WithReason("no room for the next audit segment of " + std::to_string(options_.segment_bytes) +
                                " bytes (audit.segment_bytes in cmkd.toml)");
    // Half a spare would only take the room from what is still being written.
    if (file >= 0) ::unlink(path.c_str());
    return;
  }
  spare_trouble_.clear();
  full_ = false;
  UpdateHealth();
}

// ---- Syncing

bool AuditLog::Impl::SyncUpTo(std::uint64_t sequence) {
  Lock lock(sync_mutex_);
  while (durable_ < sequence && sync_running_) sync_done_.wait(lock);
  if (durable_ >= sequence) return true;
  // This caller syncs for everybody who comes until it is done.
  sync_running_ = true;
  lock.unlock();
  std::uint64_t reached = 0;
  const bool synced = SyncOnce(reached);
  lock.lock();
  sync_running_ = false;
  if (synced && durable_ < reached) durable_ = reached;
  lock.unlock();
  sync_done_.notify_all();
  return synced;
}

bool AuditLog::Impl::SyncOnce(std::uint64_t& reached) {
  std::vector<Retired> retired;  // goes, and with it the mappings, only after the lock
  Lock lock(mutex_);
  // After a failed sync the kernel may call the lost pages clean: the next sync of that file would say "done" (4.5 of
  // the security catalogue), so nobody asks again before Repair.
  if (!io_trouble_.empty()) return false;
  reached = sequence_;
  const std::shared_ptr<Segment> current = current_;
  const std::uint64_t used = current->used();
  retired = retired_;
  const bool directory_dirty = std::exchange(directory_dirty_, false);
  lock.unlock();

  bool synced = true;
  for (const Retired& old : retired) {
    const int file = old.segment->file();
    synced = synced && Sync(file) == 0;
    synced = synced && ::ftruncate(file, static_cast<off_t>(old.segment->used())) == 0 && Sync(file) == 0;
  }
  synced = synced && Sync(*current, used) == 0;
  synced = synced && (!directory_dirty || ::fsync(directory_) == 0);
  const std::string trouble = synced ? "" : WithReason("the audit log cannot be written to disk");

  lock.lock();
  if (synced) {
    retired_.erase(retired_.begin(), retired_.begin() + static_cast<std::ptrdiff_t>(retired.size()));
  } else {
    directory_dirty_ = directory_dirty_ || directory_dirty;
    io_trouble_ = trouble;
    UpdateHealth();
  }
  return synced;
}

void AuditLog::Impl::Repair() {
  // The mapping still has every byte, unless the kernel dropped pages and read old ones back; the chain tells.
  for (Retired& old : retired_) {
    ChainValue end{};
    std::shared_ptr<Segment> anew = Rewrite(*old.segment, old.number, end);
    if (anew == nullptr) return;
    old.segment = std::move(anew);
  }
  ChainValue end{};
  std::shared_ptr<Segment> anew = Rewrite(*current_, number_, end);
  if (anew == nullptr || end != chain_) return;
  current_ = std::move(anew);
  if (::fsync(directory_) != 0) return;
  io_trouble_.clear();
  UpdateHealth();
}

std::shared_ptr<Segment> AuditLog::Impl::Rewrite(const Segment& segment, std::uint64_t number, ChainValue& chain) {
  const Bytes bytes = ToBytes(segment.written());
  SegmentWalk walk(bytes, std::nullopt, std::nullopt);
  while (walk.Next() == SegmentWalk::Step::kRecord) chain = walk.record().chain;
  if (walk.offset() != bytes.size()) return nullptr;
  const int file = ::openat(directory_, kRepairFile, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return nullptr;
  std::shared_ptr<Segment> anew = Segment::Map(file, segment.size(), options_.allocate);
  if (anew == nullptr) return nullptr;
  anew->Restore(bytes);
  const bool moved =
      Sync(file) == 0 && ::renameat(directory_, kRepairFile, directory_, SegmentName(number).c_str()) == 0;
  return moved ? anew : nullptr;
}

// ---- The log's own thread

void AuditLog::Impl::Run() {
  Lock lock(mutex_);
  while (!stop_) {
    if (spare_ == nullptr) MakeSpare();
    if (!io_trouble_.empty()) Repair();
    if (IsCheckpointDue()) {
      lock.unlock();
      WriteCheckpoint(false);
      lock.lock();
    } else if (IsDirty() && io_trouble_.empty()) {
      MakeReady(lock);
      wake_.wait_for(lock, kGather, [this] { return stop_; });
      lock.unlock();
      Flush();
      lock.lock();
    } else {
      WaitForWork(lock);
    }
  }
}

// Pages for as much as the last round wrote, and as much again.
void AuditLog::Impl::MakeReady(Lock& lock) {
  const std::shared_ptr<Segment> current = current_;
  const std::uint64_t used = current->used();
  const std::uint64_t written = current == ready_in_ && used > ready_from_ ? used - ready_from_ : 0;
  ready_in_ = current;
  ready_from_ = used;
  lock.unlock();
  current->MakeReady(used, std::clamp(2 * written, kReadyMin, kReadyMax));
  lock.lock();
}

void AuditLog::Impl::WaitForWork(Lock& lock) {
  const bool troubled = !io_trouble_.empty() || !spare_trouble_.empty();
  const auto has_work = [this, troubled] {
    return stop_ || WantsSpare() || (IsDirty() && io_trouble_.empty()) || (!troubled && !healthy_);
  };
  idle_ = true;
  if (troubled) {
    wake_.wait_for(lock, kRetry, has_work);
  } else if (since_checkpoint_ > 0) {
    wake_.wait_for(lock, kCheckpointEvery, has_work);
  } else {
    wake_.wait(lock, has_work);
  }
  idle_ = false;
}

bool AuditLog::Impl::IsCheckpointDue() const {
  if (since_checkpoint_ == 0 || !healthy_) return false;
  return since_checkpoint_ >= options_.checkpoint_records || clock_.Monotonic() - last_checkpoint_ >= kCheckpointEvery;
}

bool AuditLog::Impl::WriteCheckpoint(bool closing) {
  const Lock signing(signer_mutex_);
  Checkpoint checkpoint;
  checkpoint.closing = closing;
  const auto take = [&] {
    checkpoint.sequence = sequence_;
    checkpoint.chain = chain_;
    checkpoint.store_generation = store_generation_;
    checkpoint.wall_ns = WallTime();
  };
  {
    const Lock lock(mutex_);
    take();
    since_checkpoint_ = 0;
    last_checkpoint_ = clock_.Monotonic();
  }
  if (signer_ != nullptr) {
    checkpoint.signature = signer_->Sign(CheckpointStatement(log_id_, checkpoint));
    checkpoint.key_id = signer_->KeyId();
  }
  std::uint64_t sequence = 0;
  {
    const Lock lock(mutex_);
    // A signer that was very slow has signed something a reader no longer remembers.
    const bool too_late = sequence_ - checkpoint.sequence >= kCheckpointReach;
    if (checkpoint.signature.size() > kAuditSignatureMax || too_late) checkpoint.signature.clear();
    if (checkpoint.signature.empty()) {
      checkpoint.key_id = {};
      if (signer_ != nullptr) ++lost_signatures_;
      if (too_late) take();
    }
    std::uint8_t buffer[kAuditRecordBytesMax];
    sequence = Put({buffer, EncodeCheckpoint(checkpoint, buffer)}, Urgency::kNormal);
  }
  return sequence != 0 && SyncUpTo(sequence);
}

void AuditLog::Impl::SetSigner(CheckpointSigner* signer) {
  const Lock signing(signer_mutex_);
  signer_ = signer;
}

AuditLog::State AuditLog::Impl::GetState() const {
  const Lock lock(mutex_);
  State state;
  state.healthy = healthy_;
  state.trouble = io_trouble_.empty() ? spare_trouble_ : io_trouble_;
  state.sequence = sequence_;
  state.durable_sequence = durable_;
  state.segment = number_;
  state.store_generation = store_generation_;
  state.recovered_bytes = recovered_bytes_;
  state.lost_signatures = lost_signatures_;
  return state;
}

AuditLog::AuditLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditLog::~AuditLog() = default;

Result<std::unique_ptr<AuditLog>, std::string> AuditLog::Open(const Options& options, const Clock& clock) {
  auto impl = std::make_unique<Impl>(options, clock);
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<AuditLog>(new AuditLog(std::move(impl)));
}

std::uint64_t AuditLog::Append(const AuditRecord& record, Urgency urgency) { return impl_->Append(record, urgency); }
bool AuditLog::Flush() { return impl_->Flush(); }
bool AuditLog::Healthy() const { return impl_->Healthy(); }
AuditLog::State AuditLog::GetState() const { return impl_->GetState(); }
void AuditLog::SetSigner(CheckpointSigner* signer) { impl_->SetSigner(signer); }
bool AuditLog::WriteCheckpoint() { return impl_->WriteCheckpoint(false); }

}  // namespace cmkd::daemon
