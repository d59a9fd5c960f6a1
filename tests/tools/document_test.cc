// JSON without trust.
#include "tools/cmkctl/document.h"

#include <gtest/gtest.h>

namespace cmkd::tools {
namespace {

TEST(Value, RefusesWhatIsNotOneValue) {
  for (const char* text : {"", "{", "{}x", "nul", "{\"a\":}"}) EXPECT_FALSE(Value::Parse(text).has_value()) << text;
  EXPECT_TRUE(Value::Parse(" {} ").has_value());
}

TEST(Value, ReadsWhatIsMissingOrOfAnotherTypeAsNothing) {
  const Value value =
      *Value::Parse(R"({"text":"t","number":-3,"flag":true,"null":null,"list":[1,"b"],"object":{"x":"y"}})");
  EXPECT_EQ(value.Text("text"), "t");
  EXPECT_EQ(value.Text("number"), "-3");
  EXPECT_EQ(value.Text("flag"), "yes");
  EXPECT_EQ(value.Text("null"), "");
  EXPECT_EQ(value.Text("list"), "");
  EXPECT_EQ(value.Text("missing"), "");
  EXPECT_EQ(value.Number("number"), -3);
  EXPECT_EQ(value.Number("text"), 0);
  EXPECT_TRUE(value.Flag("flag"));
  EXPECT_FALSE(value.Flag("text"));
  EXPECT_TRUE(value.Has("text"));
  EXPECT_FALSE(value.Has("null"));
  EXPECT_EQ(value.At("object").Text("x"), "y");
  EXPECT_EQ(value.At("missing").At("deeper").Text("x"), "");
  EXPECT_EQ(value.Items("list").size(), 2u);
  EXPECT_TRUE(value.Items("text").empty());
  EXPECT_EQ(value.Texts("list"), (std::vector<std::string>{"1", "b"}));
  EXPECT_EQ(Value::Parse("[1]")->Text("x"), "");
}

TEST(Object, KeepsItsOrderAndBuildsValues) {
  Object inner;
  inner.Set("x", std::uint64_t{18446744073709551615u});
  Object object;
  object.Set("b", "text").Set("a", std::int64_t{-1}).Set("flag", false).Set("inner", inner).SetIfAny("none", "");
  EXPECT_EQ(object.Line(), R"({"b":"text","a":-1,"flag":false,"inner":{"x":18446744073709551615}})");
  EXPECT_EQ(object.ToValue().At("inner").Text("x"), "18446744073709551615");
}

TEST(Object, BytesThatAreNotUtf8DoNotEndTheProgram) {
  EXPECT_EQ(Object().Set("x", "a\xFF").Line(), "{\"x\":\"a\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace cmkd::tools
