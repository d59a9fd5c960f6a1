// Times on the wire and on the screen.
#include "tools/cmkctl/times.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace cmkd::tools {
namespace {

TEST(Times, ReadsRfc3339InUtc) {
  EXPECT_EQ(ParseUtc("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(ParseUtc("2026-11-22T06:08:15Z"), 1795327695);
  EXPECT_EQ(ParseUtc("2026-11-22T06:08:15.250Z"), 1795327695);
}

TEST(Times, RefusesEverythingElse) {
  for (const char* text :
       {"", "Z", "2026-11-22", "2026-11-22T06:08:15", "2026-11-22T06:08:15+01:00", "2026-11-22 06:08:15Z",
        "2026-11-22T06:08:15.Z5", "2026-11-22T06:08:15xZ", "2026-1a-22T06:08:15Z"}) {
    EXPECT_EQ(ParseUtc(text), std::nullopt) << text;
  }
}

TEST(Times, AreShownInTheZoneOfTheProcess) {
  ::setenv("TZ", "CET-1", 1);
  ::tzset();
  EXPECT_EQ(LocalTime("2026-11-22T06:08:15Z"), "2026-11-22 07:08");
  EXPECT_EQ(LocalTimeWithSeconds("2026-11-22T06:08:15Z"), "2026-11-22 07:08:15");
  EXPECT_EQ(LocalTime(""), "");
  EXPECT_EQ(LocalTime("soon"), "soon");
  ::setenv("TZ", "UTC", 1);
  ::tzset();
}

TEST(Times, SpansHaveTwoUnitsAtMost) {
  EXPECT_EQ(Span(0), "0 s");
  EXPECT_EQ(Span(59), "59 s");
  EXPECT_EQ(Span(60), "1 min");
  EXPECT_EQ(Span(3 * 86400 + 4 * 3600 + 59), "3 d 4 h");
  EXPECT_EQ(Span(86400 + 59 * 60), "1 d");
}

}  // namespace
}  // namespace cmkd::tools
