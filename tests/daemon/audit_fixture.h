// What the audit tests share: a directory that goes away, a clock that stands still, a log with records in it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "daemon/audit/audit_log.h"
#include "daemon/audit/audit_reader.h"
#include "daemon/audit/audit_segment.h"
#include "daemon/system/system_clock.h"

namespace cmkd::daemon {

class StillClock final : public PreciseClock {
 public:
  std::chrono::nanoseconds WallTime() const override { return wall; }
  std::chrono::nanoseconds Monotonic() const override { return monotonic; }
  // The log's own thread asks while a test sets them.
  std::atomic<std::chrono::nanoseconds> wall{std::chrono::nanoseconds(1'700'000'000'123'456'789)};
  std::atomic<std::chrono::nanoseconds> monotonic{std::chrono::nanoseconds(1000)};
};

class AuditTest : public ::testing::Test {
 protected:
  AuditTest() {
    std::string name = (std::filesystem::temp_directory_path() / "cmkd-audit-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    options_.directory = root_ + "/log";
    options_.segment_bytes = AuditLog::kSegmentBytesMin;
  }
  ~AuditTest() override { std::filesystem::remove_all(root_); }

  std::unique_ptr<AuditLog> Open() {
    auto log = AuditLog::Open(options_, clock_);
    if (log.ok()) return std::move(log).value();
    ADD_FAILURE() << log.error();
    std::abort();
  }

  static AuditRecord Use(std::uint64_t number) {
    AuditRecord record;
    record.uid = 1000;
    record.request_id = number;
    record.text = "payroll";
    return record;
  }

  static void AppendMany(AuditLog& log, std::uint64_t count) {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_NE(log.Append(Use(i)), 0u) << i;
  }

  AuditReport Verify(const AuditReadOptions& options = {}) const { return ReadAuditLog(options_.directory, options); }
  std::string Path(const std::string& name) const { return options_.directory + "/" + name; }
  std::string SegmentPath(std::uint64_t number) const { return Path(SegmentName(number)); }
  Bytes ReadSegment(std::uint64_t number) const { return ReadFileBytes(SegmentPath(number)).value(); }
  void WriteSegment(std::uint64_t number, ByteView bytes) const {
    std::ofstream(SegmentPath(number), std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  std::string root_;
  AuditLog::Options options_;
  StillClock clock_;
};

}  // namespace cmkd::daemon
