// Finds where a log goes on after the last daemon ended, however it ended.
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "daemon/audit/audit_record.h"

namespace cmkd::daemon {

// The end of a log: what the next record follows. number 0: there is no log yet.
struct LogEnd {
  std::uint64_t number = 0;  // of the last segment
  std::uint64_t used = 0;    // bytes of whole records in it
  std::uint64_t last_sequence = 0;
  std::uint64_t store_generation = 0;  // of the last event in it
  ChainValue chain{};
  AuditId log_id{};
  std::uint64_t set_aside_bytes = 0;  // bytes behind the last whole record, now in `set_aside`
  std::string set_aside;              // file name in the directory; empty: nothing was torn
  bool intact_behind = false;         // and whole records stood among them: somebody should look
};

// Reads the last segment. Bytes behind its last whole record are copied to a file of their own (audit-N-at-OFFSET.torn)
// and only then cut off: recovery never destroys evidence. The error is a sentence for the operator.
Result<LogEnd, std::string> RecoverLogEnd(const std::string& directory);

}  // namespace cmkd::daemon
