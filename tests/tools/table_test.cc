// Tables and facts as text.
#include "tools/cmkctl/table.h"

#include <gtest/gtest.h>

namespace cmkd::tools {
namespace {

TEST(Table, AlignsColumnsAndEndsLinesWithoutBlanks) {
  Table table({{"NAME"}, {"KEYS", true}, {"STATE"}});
  table.Add({"a", "1", "Enabled"});
  table.Add({"longer", "1000", "x"});
  EXPECT_EQ(table.Print(false),
            "NAME    KEYS  STATE\n"
            "a          1  Enabled\n"
            "longer  1000  x\n");
}

TEST(Table, ShowsADashWhereThereIsNothing) {
  Table table({{"A"}, {"B"}});
  table.Add({"", "x"});
  table.Add({"y"});
  EXPECT_EQ(table.Print(false), "A  B\n-  x\ny  -\n");
}

TEST(Table, ColoursDoNotCountAsWidth) {
  Table table({{"A"}, {"B"}});
  table.Add({{"ok", Tone::kGood}, "x"});
  EXPECT_EQ(table.Print(true), "\033[1mA\033[0m   \033[1mB\033[0m\n\033[32mok\033[0m  x\n");
}

TEST(Table, WideAndCombiningCharactersKeepTheColumns) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("密钥"), 4u);
  EXPECT_EQ(DisplayWidth("e\xCC\x81"), 1u);
  Table table({{"NAME"}, {"X"}});
  table.Add({"密钥", "1"});
  EXPECT_EQ(table.Print(false), "NAME  X\n密钥  1\n");
}

TEST(Table, NothingThatATerminalWouldObeyGetsThrough) {
  EXPECT_EQ(Harmless("plain, ü and 密"), "plain, ü and 密");
  EXPECT_EQ(Harmless("\033[2Jx\n\x7F"), "?[2Jx??");
  EXPECT_EQ(Harmless("\xC2\x9B"
                     "31m"),
            "?31m");                                     // the one-byte form of ESC [
  EXPECT_EQ(Harmless("\xE2\x80\xAEtxt"), "?txt");        // right-to-left override
  EXPECT_EQ(Harmless("\xFF\xC0\x80\xE2\x82"), "?????");  // broken, overlong, cut off
  EXPECT_EQ(Harmless("\xED\xA0\x80"), "???");            // half of a surrogate pair
  EXPECT_EQ(Harmless(std::string_view("\0", 1)), "?");
  Table table({{"A"}});
  table.Add({"\033[31mred"});
  EXPECT_EQ(table.Print(true).find("\033[31m"), std::string::npos);
}

TEST(Facts, AlignValuesAndLeaveOutEmptyOnes) {
  Facts facts;
  facts.Add("name", "x");
  facts.Add("a longer name", "");
  facts.Add("state", "y");
  EXPECT_EQ(facts.Print(false, "  "), "  name   x\n  state  y\n");
}

}  // namespace
}  // namespace cmkd::tools
