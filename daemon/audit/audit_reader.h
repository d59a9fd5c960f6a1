// Reads and proves an audit log offline: needs the files and, for signatures, the public key; no daemon, no HSM, no
// secret.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/audit/audit_record.h"
#include "daemon/audit/checkpoint_key.h"

namespace cmkd::daemon {

struct AuditReadOptions {
  // Called for each record whose chain value is right, in order; false stops the reading. May be empty.
  std::function<bool(const StoredRecord&)> on_record;
  // Checks signed checkpoints; null: signatures are counted, not checked.
  CheckpointVerifier* verifier = nullptr;
  // Segments before the first one present were put away on purpose: begin with the chain value it names.
  bool allow_pruned = false;
};

// What the reading found.
struct AuditReport {
  enum class Verdict {
    kWhole,     // every record is right
    kTornTail,  // right up to `last_sequence`; the bytes after it are part of a record, as after a kill or a power cut
    kBad,       // something was changed, taken out, put in or moved: see `problem`
    kUnreadable,  // no log there, or a file that cannot be read
  };
  Verdict verdict = Verdict::kUnreadable;
  std::string problem;  // one sentence; empty when whole
  std::string file;     // where the problem is
  std::uint64_t offset = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;  // of the last record that is right
  ChainValue chain{};               // its chain value: compare with a copy kept elsewhere
  AuditId log_id{};
  std::uint64_t events = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t signed_checkpoints = 0;    // carry a signature
  std::uint64_t verified_checkpoints = 0;  // and `verifier` accepted it
  std::uint64_t covered_sequence = 0;  // last record under an accepted (or, without verifier, any signed) checkpoint
  bool live = false;                   // a daemon has it open
  bool closed =
      false;  // ends with a closing checkpoint; if not, and not live, the daemon was killed or the end was cut off
};

// Reads all segments of the log in `directory`, oldest first. A log that is being written may be read.
AuditReport ReadAuditLog(const std::string& directory, const AuditReadOptions& options = {});

}  // namespace cmkd::daemon
