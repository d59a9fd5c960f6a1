// The audit log while the daemon writes it: append-only, hash-chained (format: audit_record.h), in memory that outlives
// a killed daemon the moment Append returns, and on disk within 100 ms.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/time.h"
#include "daemon/audit/audit_record.h"
#include "daemon/audit/checkpoint_key.h"

namespace cmkd::daemon {

class AuditLog {
 public:
  struct Options {
    std::string directory;                    // made (0700) when it is not there
    std::uint64_t segment_bytes = 64 << 20;   // at least kSegmentBytesMin
    bool strict = false;                      // every Append is on disk before it returns
    std::uint64_t checkpoint_records = 1000;  // a checkpoint after so many records, and after 60 s with any
    std::uint64_t reserve_bytes = 64 << 10;   // end of the last segment, kept for Urgency::kReserved
    // The system calls that fail when a disk does, for tests; empty: fdatasync and posix_fallocate.
    std::function<int(int file)> sync;
    std::function<int(int file, std::uint64_t bytes)> allocate;
  };
  static constexpr std::uint64_t kSegmentBytesMin = 256 << 10;

  // Who may use the room set aside for the day when nothing else fits.
  enum class Urgency { kNormal, kReserved };

  struct State {
    bool healthy = false;
    std::string trouble;                 // what is wrong, for the operator; with healthy, what will soon be
    std::uint64_t sequence = 0;          // of the newest record
    std::uint64_t durable_sequence = 0;  // all records up to here are on disk
    std::uint64_t segment = 0;           // number of the segment being written
    std::uint64_t store_generation = 0;  // of the newest event, also of an earlier daemon's
    std::uint64_t recovered_bytes = 0;   // torn bytes that Open set aside (file audit-N.torn)
    std::uint64_t lost_signatures = 0;   // checkpoints that should have been signed and are not
  };

  // Opens the log in `options.directory` or starts a new one. A tail that was being written when the machine stopped is
  // set aside in a file of its own, never thrown away, and the recovery is itself recorded. `clock` outlives the log.
  // The error is a sentence for the operator.
  static Result<std::unique_ptr<AuditLog>, std::string> Open(const Options& options, const Clock& clock);

  // Writes a closing checkpoint, makes everything durable, cuts the last segment to its length.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Records one event. When it returns its sequence number, the record survives the end of this process (and with
  // `strict` the end of the machine); 0: it could not be recorded, so the request must not be served
  // (CKR_FUNCTION_FAILED, kms-semantics C.6). Urgency::kReserved is for disable and cancel-deletion only. Any thread;
  // about 0.5 µs.
  std::uint64_t Append(const AuditRecord& record, Urgency urgency = Urgency::kNormal);

  // Returns when everything appended before the call is on disk; false when that failed. Concurrent callers share one
  // sync. Management changes call it before they are answered. Any thread.
  bool Flush();

  // One atomic load: false means that Append with kNormal will be refused. It comes back by itself when there is room
  // again or a failed segment could be written anew.
  bool Healthy() const;
  State GetState() const;

  // Who signs checkpoints from now on; null for nobody. Waits for a signature in progress, so the old signer may be
  // destroyed afterwards. Not from within Sign.
  void SetSigner(CheckpointSigner* signer);

  // Writes a checkpoint of everything recorded so far, signed if there is a signer; true when it is durable.
  bool WriteCheckpoint();

 private:
  class Impl;
  explicit AuditLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cmkd::daemon
