// cmkctl audit verify on logs as the daemon writes them, and on logs that somebody has touched.
#include <gmock/gmock.h>

#include "daemon/audit/audit_log.h"
#include "daemon/system/system_clock.h"
#include "tests/tools/cmkctl_fixture.h"
#include "tools/cmkctl/document.h"

namespace cmkd::tests {
namespace {

using testing::HasSubstr;
using tools::Value;

class AuditVerify : public CmkctlTest {
 protected:
  // Writes `events` records and closes the log.
  void WriteLog(int events) const {
    daemon::AuditLog::Options options;
    options.directory = In("state/audit");
    options.segment_bytes = daemon::AuditLog::kSegmentBytesMin;
    std::filesystem::create_directories(In("state"));
    const daemon::SystemClock clock;
    auto log = daemon::AuditLog::Open(options, clock);
    ASSERT_TRUE(log) << log.error();
    daemon::AuditRecord record;
    record.text = "a use that somebody made";
    for (int i = 0; i < events; ++i) ASSERT_NE((*log)->Append(record), 0u);
  }
  std::string Segment() const { return In("state/audit/audit-00000001.log"); }
  Printed Verify(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"audit", "verify", "--directory", In("state")});
    return RunPlain(more);
  }
};

TEST_F(AuditVerify, AWholeLogIsProved) {
  WriteLog(20);
  const Printed printed = Verify();
  EXPECT_EQ(printed.status, 0) << printed.err;
  EXPECT_THAT(printed.out, HasSubstr("closed by a clean stop"));
  EXPECT_THAT(printed.out, HasSubstr("every record is right and in its place"));
}

TEST_F(AuditVerify, AChangedRecordIsFound) {
  WriteLog(20);
  std::string bytes = ReadFile(Segment());
  bytes[bytes.find("somebody", bytes.size() / 2)] = 'S';
  std::ofstream(Segment()) << bytes;
  const Printed printed = Verify();
  EXPECT_EQ(printed.status, 1);
  EXPECT_THAT(printed.err, HasSubstr("AUDIT_BAD"));
}

TEST_F(AuditVerify, AnOldCopyIsFoundByTheAnchor) {
  WriteLog(20);
  std::filesystem::copy(In("state"), In("old"), std::filesystem::copy_options::recursive);
  WriteLog(20);
  const Value report = *Value::Parse(Verify({"--json"}).out);
  const std::string anchor = report.Text("last_sequence") + ":" + report.Text("chain");
  EXPECT_EQ(Verify({"--anchor", anchor}).status, 0);
  // An old copy is whole by itself; only what was noted elsewhere shows that it is not the newest.
  std::filesystem::remove_all(In("state"));
  std::filesystem::rename(In("old"), In("state"));
  EXPECT_EQ(Verify().status, 0);
  const Printed printed = Verify({"--anchor", anchor});
  EXPECT_EQ(printed.status, 1);
  EXPECT_THAT(printed.err, HasSubstr("is not in this log"));
}

TEST_F(AuditVerify, AnotherRecordInTheAnchorsPlaceIsFound) {
  WriteLog(5);
  const Value report = *Value::Parse(Verify({"--json"}).out);
  std::string chain = report.Text("chain");
  chain.back() = chain.back() == '0' ? '1' : '0';
  const Printed changed = Verify({"--anchor", report.Text("last_sequence") + ":" + chain});
  EXPECT_EQ(changed.status, 1);
  EXPECT_THAT(changed.err, HasSubstr("AUDIT_ANCHOR"));
}

TEST_F(AuditVerify, ADirectoryWithoutALogIsNotProved) {
  const Printed printed = Verify();
  EXPECT_EQ(printed.status, 1);
  EXPECT_THAT(printed.err, HasSubstr("AUDIT_UNREADABLE"));
}

}  // namespace
}  // namespace cmkd::tests
