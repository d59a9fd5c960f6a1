// Recovery of the last segment.
#include "daemon/audit/audit_recovery.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/file.h"
#include "daemon/audit/audit_segment.h"

namespace cmkd::daemon {
namespace {

using Outcome = Result<void, std::string>;

Failure<std::string> Trouble(const std::string& path, const char* what) {
  return Failure{WithReason(path + ": " + what)};
}

ByteView WithoutZeroTail(ByteView bytes) {
  while (!bytes.empty() && bytes.back() == 0) bytes = bytes.first(bytes.size() - 1);
  return bytes;
}

Outcome SetAside(const std::string& directory, std::uint64_t offset, ByteView torn, LogEnd& end, std::uint64_t number) {
  std::string name = SegmentName(number);
  name.replace(name.size() - 4, 4, "-at-" + std::to_string(offset) + ".torn");
  const std::string path = directory + "/" + name;
  if (!ReplaceFile(path, torn)) return Trouble(path, "the torn end of the audit log cannot be set aside");
  end.set_aside = name;
  end.set_aside_bytes += torn.size();
  return {};
}

Outcome CutTo(const std::string& path, std::uint64_t size) {
  if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0)
    return Trouble(path, "cannot be cut to its whole records");
  return {};
}

// Walks to the end of one segment. True when it has at least one whole record; otherwise it has been taken out of the
// log.
Result<bool, std::string> RecoverSegment(const std::string& directory, std::uint64_t number, LogEnd& end) {
  const std::string path = directory + "/" + SegmentName(number);
  const std::optional<Bytes> bytes = ReadFileBytes(path);
  if (!bytes) return Trouble(path, "cannot be read");
  SegmentWalk walk(*bytes, std::nullopt, std::nullopt);
  SegmentWalk::Step step;
  while ((step = walk.Next()) == SegmentWalk::Step::kRecord) {
    const StoredRecord& record = walk.record();
    if (record.type == AuditType::kSegment) end.log_id = record.segment.log_id;
    if (record.type == AuditType::kSegment && record.segment.number != number) {
      return Failure{path + ": the file has the name of another segment; put the audit log's files back in order"};
    }
    if (record.type == AuditType::kEvent) end.store_generation = record.event.store_generation;
    end.last_sequence = record.sequence;
    end.chain = record.chain;
  }
  end.number = number;
  end.used = walk.offset();
  if (step == SegmentWalk::Step::kBroken) {
    end.intact_behind = end.intact_behind || walk.IntactRecordFollows();
    RETURN_IF_ERROR(SetAside(directory, end.used, WithoutZeroTail(ByteView(*bytes).subspan(end.used)), end, number));
    RETURN_IF_ERROR(CutTo(path, end.used));
  }
  if (end.used > 0) return true;
  if (::unlink(path.c_str()) != 0) return Trouble(path, "cannot be removed");
  return false;
}

}  // namespace

Result<LogEnd, std::string> RecoverLogEnd(const std::string& directory) {
  const auto segments = FindSegments(directory);
  if (!segments) return Trouble(directory, "cannot be read");
  LogEnd end;
  for (auto segment = segments->rbegin(); segment != segments->rend(); ++segment) {
    ASSIGN_OR_RETURN(const bool found, RecoverSegment(directory, segment->first, end));
    if (found) return end;
  }
  end.number = 0;
  return end;
}

}  // namespace cmkd::daemon
