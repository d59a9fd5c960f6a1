// Commands against a daemon that answers what a test says: requests on the wire, text and JSON on the screen.
#include <gmock/gmock.h>

#include "tests/tools/cmkctl_fixture.h"
#include "tests/tools/fake_daemon.h"
#include "tools/cmkctl/document.h"

namespace cmkd::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using tools::Value;
using DaemonCommands = CmkctlTest;

FakeDaemon::Respond Always(std::string answer) {
  return [answer = std::move(answer)](const std::string&) { return answer; };
}

std::string Done(const std::string& result) { return R"({"ok":true,"result":)" + result + "}"; }

constexpr char kKey[] =
    R"({"id":"0a1b","token":"orders","name":"payments","spec":"AES-256","state":"Enabled","current_version":2,"versions":2,)"
    R"("created":"2026-11-22T06:00:00Z","next_rotation":"2027-11-22T06:00:00Z","deletion_date":null,"rotatable":true,)"
    R"("origin":"hsm","handle":17,"description":"for tests","version_list":[)"
    R"({"number":2,"state":"Current","created":"2026-11-22T06:08:15Z","retired":null,"uses":3,"protection":"software"},)"
    R"({"number":1,"state":"Retired","created":"2026-11-22T06:00:00Z","retired":"2026-11-22T06:08:15Z","uses":9,)"
    R"("protection":"software"}]})";

// The arguments of the last request, without the id that differs each time.
Value LastRequest(const FakeDaemon& daemon) {
  const std::vector<std::string> requests = daemon.requests();
  return *Value::Parse(requests.empty() ? "null" : requests.back());
}

TEST_F(DaemonCommands, StatusIsShownAsFactsAndAsJson) {
  const std::string result =
      R"({"version":"0.1","pid":42,"uptime_seconds":90,"generation":7,"connections":2,"applications":1,"tokens":3,"keys":12,)"
      R"("hsms":[{"name":"software","kind":"firmware_sim","available":true}],"audit":{"healthy":true,"records":99}})";
  const FakeDaemon daemon(socket(), Always(Done(result)));
  const Printed text = Run({"status"});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("up for        1 min 30 s\n"));
  EXPECT_THAT(text.out, HasSubstr("audit         healthy, 99 records\n"));
  EXPECT_THAT(text.out, HasSubstr("software  firmware_sim  yes\n"));
  const Printed json = Run({"status", "--json"});
  EXPECT_EQ(json.out, Value::Parse(result)->Print() + '\n');
  EXPECT_THAT(daemon.requests(),
              ElementsAre(R"({"verb":"status","arguments":{}})", R"({"verb":"status","arguments":{}})"));
}

TEST_F(DaemonCommands, ARefusalIsPrintedWithRuleAndRemedy) {
  const FakeDaemon daemon(socket(),
                          Always(R"({"ok":false,"error":{"code":"KEY_PENDING_DELETION","message":"It waits.",)"
                                 R"("rule":"No use.","remedy":"Cancel it."}})"));
  const Printed text = Run({"key", "rotate", "payments"});
  EXPECT_EQ(text.status, 1);
  EXPECT_EQ(text.out, "");
  EXPECT_EQ(text.err, "cmkctl: KEY_PENDING_DELETION: It waits.\n  rule    No use.\n  remedy  Cancel it.\n");
  const Printed json = Run({"--json", "key", "rotate", "payments"});
  EXPECT_EQ(json.status, 1);
  EXPECT_EQ(Value::Parse(json.err)->At("error").Text("remedy"), "Cancel it.");
}

TEST_F(DaemonCommands, AnAnswerThatIsNoJsonIsRefused) {
  for (const char* answer : {"", "hello", "[]", "{}"}) {
    const FakeDaemon daemon(socket(), Always(answer));
    const Printed printed = Run({"status"});
    EXPECT_EQ(printed.status, 1) << answer;
    EXPECT_NE(printed.err, "") << answer;
  }
}

TEST_F(DaemonCommands, ADaemonThatHangsUpIsNotReachedOrNotBelieved) {
  FakeDaemon daemon(socket(), Always(Done("{}")));
  daemon.HangUp();
  const Printed printed = Run({"key", "disable", "payments"});
  EXPECT_EQ(printed.status, 1);
  EXPECT_THAT(printed.err, HasSubstr("CKR_FUNCTION_FAILED"));
  EXPECT_THAT(printed.err, HasSubstr("before repeating a change"));
}

TEST_F(DaemonCommands, KeyChangesSendTheirVerbAndAnIdOfTheirOwn) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"key":)" + std::string(kKey) + "}")));
  const std::vector<std::pair<std::vector<std::string>, std::string>> changes = {
      {{"disable"}, "key.disable"},
      {{"enable"}, "key.enable"},
      {{"archive"}, "key.archive"},
      {{"unarchive"}, "key.unarchive"},
      {{"activate"}, "key.activate"},
      {{"rotate"}, "key.rotate"},
      {{"schedule-deletion", "--days", "9"}, "key.schedule-deletion"},
      {{"cancel-deletion"}, "key.cancel-deletion"},
  };
  std::string id;
  for (auto [arguments, verb] : changes) {
    arguments.insert(arguments.begin(), "key");
    arguments.emplace_back("orders/payments");
    const Printed printed = Run(arguments);
    EXPECT_EQ(printed.status, 0) << printed.err;
    EXPECT_THAT(printed.out, testing::StartsWith("Key payments ")) << verb;
    const Value request = LastRequest(daemon);
    EXPECT_EQ(request.Text("verb"), verb);
    EXPECT_EQ(request.At("arguments").Text("key"), "orders/payments");
    EXPECT_EQ(request.At("arguments").Text("days"), verb == "key.schedule-deletion" ? "9" : "");
    EXPECT_EQ(request.Text("request").size(), 32u);
    EXPECT_NE(request.Text("request"), id);
    id = request.Text("request");
  }
}

TEST_F(DaemonCommands, ADeletionWithoutWaitingPeriodPromisesNoWayBack) {
  const auto answer = [](const std::string& date) {
    return Always(
        Done(R"({"key":{"id":"0a1b","name":"k","state":"PendingDeletion","deletion_date":")" + date + "\"}}"));
  };
  {
    const FakeDaemon daemon(socket(), answer("2126-11-22T06:00:00Z"));
    EXPECT_THAT(Run({"key", "schedule-deletion", "k"}).out, HasSubstr("on 2126-11-22 06:00; until then: "));
  }
  const FakeDaemon daemon(socket(), answer("2026-01-01T00:00:00Z"));
  EXPECT_EQ(Run({"key", "schedule-deletion", "k"}).out, "Key k is being destroyed now: it had no waiting period.\n");
}

TEST_F(DaemonCommands, ATokenBesideTheKeyQualifiesItsName) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"key":)" + std::string(kKey) + "}")));
  EXPECT_EQ(Run({"key", "rotate", "--token", "orders", "payments"}).status, 0);
  EXPECT_EQ(LastRequest(daemon).At("arguments").Text("key"), "orders/payments");
  const std::string id = "000102030405060708090a0b0c0d0e0f";
  EXPECT_EQ(Run({"key", "rotate", "--token", "orders", id}).status, 0);
  EXPECT_EQ(LastRequest(daemon).At("arguments").Text("key"), id);
}

TEST_F(DaemonCommands, KeyShowHasFactsAndVersions) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"key":)" + std::string(kKey) + "}")));
  const Printed printed = Run({"key", "show", "payments"});
  EXPECT_THAT(printed.out, HasSubstr("next rotation  2027-11-22 06:00\n"));
  EXPECT_THAT(printed.out,
              HasSubstr("      2  Current  2026-11-22 06:08  -                    3  -          software\n"));
  EXPECT_THAT(printed.out, Not(HasSubstr("deletion")));
}

TEST_F(DaemonCommands, KeyCreateSendsWhatWasGivenAndNothingElse) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"key":)" + std::string(kKey) + "}")));
  EXPECT_EQ(Run({"key", "create", "--token", "orders", "--label", "payments", "--type", "ec-p256", "--usage", "sign",
                 "--id", "0A", "--rotation-days", "90"})
                .status,
            0);
  EXPECT_EQ(LastRequest(daemon).At("arguments").Print(),
            Value::Parse(
                R"({"token":"orders","name":"payments","spec":"EC-P256","usage":"sign","id":"0A","rotation_days":90})")
                ->Print());
  EXPECT_EQ(Run({"key", "create", "--token", "orders", "--name", "x", "--id", "abc"}).status, 2);
}

TEST_F(DaemonCommands, TheOnlyTokenNeedNotBeNamed) {
  const auto respond = [](const std::string& tokens) {
    return [tokens](const std::string& request) {
      const bool list = Value::Parse(request)->Text("verb") == "token.list";
      return Done(list ? R"({"tokens":[)" + tokens + "]}" : R"({"key":)" + std::string(kKey) + "}");
    };
  };
  const std::string one = R"({"id":"t1","label":"orders","initialized":true})";
  {
    const FakeDaemon daemon(socket(), respond(one + R"(,{"id":"t9","initialized":false})"));
    EXPECT_EQ(Run({"key", "create", "--name", "x"}).status, 0);
    EXPECT_EQ(LastRequest(daemon).At("arguments").Text("token"), "t1");
  }
  {
    const FakeDaemon daemon(socket(), respond(one + "," + one));
    EXPECT_EQ(Run({"key", "create", "--name", "x"}).status, 2);
  }
  const FakeDaemon daemon(socket(), respond(""));
  EXPECT_THAT(Run({"key", "create", "--name", "x"}).err, HasSubstr("cmkctl token create"));
}

// Keys k1 to k5, two a page.
std::string Pages(const std::string& request) {
  const Value arguments = Value::Parse(request)->At("arguments");
  const std::string after = arguments.Text("after");
  const int first = after.empty() ? 1 : after[1] - '0' + 1;
  const int last = std::min(first + static_cast<int>(std::min<std::int64_t>(arguments.Number("limit"), 2)) - 1, 5);
  std::string keys;
  for (int i = first; i <= last; ++i) {
    const std::string name = "k" + std::to_string(i);
    keys += (keys.empty() ? "" : ",") + (R"({"id":")" + name + R"(","name":")" + name + R"(","state":"Enabled"})");
  }
  return Done(R"({"keys":[)" + keys + R"(],"next":")" + (last < 5 ? "k" + std::to_string(last) : "") + "\"}");
}

TEST_F(DaemonCommands, KeyListGoesThroughPagesAndSaysWhenThereIsMore) {
  const FakeDaemon daemon(socket(), Pages);
  EXPECT_EQ(Value::Parse(Run({"--json", "key", "list", "--all"}).out)->Items("keys").size(), 5u);
  const Value part = *Value::Parse(Run({"--json", "key", "list", "--limit", "3"}).out);
  EXPECT_EQ(part.Items("keys").size(), 3u);
  EXPECT_EQ(part.Text("next"), "k3");
  const Printed text = Run({"key", "list", "--limit", "3", "--after", "k1"});
  EXPECT_THAT(text.out, HasSubstr("k4"));
  EXPECT_THAT(text.err, HasSubstr("--after k4"));
  EXPECT_EQ(Run({"key", "list", "--after", "k4"}).err, "");
}

TEST_F(DaemonCommands, KeyStatesAreKnownInAnyCase) {
  const FakeDaemon daemon(socket(), Pages);
  EXPECT_EQ(Run({"key", "list", "--state", "pendingdeletion"}).status, 0);
  EXPECT_EQ(LastRequest(daemon).At("arguments").Text("state"), "PendingDeletion");
  const Printed wrong = Run({"key", "list", "--state", "gone"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("Archived"));
}

TEST_F(DaemonCommands, NamesOfOthersDoNotReachTheTerminalAsTheyAre) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"keys":[{"name":"\u001b[2Jx","state":"Enabled"}],"next":""})")));
  EXPECT_THAT(Run({"key", "list"}).out, Not(HasSubstr("\033")));
}

TEST_F(DaemonCommands, AuditShowIsATable) {
  const FakeDaemon daemon(
      socket(),
      Always(Done(R"({"records":[{"sequence":5,"time":"2026-11-22T06:08:15Z","call":"C_EncryptInit","uid":1000,)"
                  R"("pid":12,"token":"orders","key":"payments","version":2,"mechanism":"CKM_AES_GCM",)"
                  R"("result":"CKR_KEY_FUNCTION_NOT_PERMITTED","detail":"KEY_DISABLED","text":""}]})")));
  const Printed printed = Run({"audit", "show", "--last", "8", "--key", "payments"});
  EXPECT_THAT(printed.out,
              HasSubstr("     5  2026-11-22 06:08:15  1000/12  C_EncryptInit  orders  payments@v2  CKM_AES_GCM  "
                        "CKR_KEY_FUNCTION_NOT_PERMITTED KEY_DISABLED  -\n"));
  EXPECT_EQ(LastRequest(daemon).At("arguments").Text("limit"), "8");
}

// ---- Tokens

std::string TokenAnswers(const std::string& request) {
  const bool list = Value::Parse(request)->Text("verb") == "token.list";
  return Done(list ? R"({"tokens":[{"id":"t1","slot":3,"label":"orders","profile":"managed","initialized":true}]})"
                   : R"({"token":{"id":"t1","slot":3,"profile":"managed"}})");
}

TEST_F(DaemonCommands, TokenCreateSetsThePinsByTheStandardsCalls) {
  const FakeDaemon daemon(socket(), TokenAnswers);
  const std::string pin = WriteFile("pin", "1234\r\nsecond line\n");
  ::setenv("CMKD_SO_PIN", "87654321", 1);
  const Printed printed = Run({"token", "create", "--label", "orders", "--profile", "managed", "--pin-file", pin});
  ::unsetenv("CMKD_SO_PIN");
  EXPECT_EQ(printed.status, 0) << printed.err;
  EXPECT_EQ(printed.out, "Token orders is made and initialised, on slot 3 (managed).\n");
  EXPECT_THAT(daemon.calls(),
              ElementsAre("C_InitToken slot 3 label 'orders' pin 87654321", "C_OpenSession slot 3 read/write",
                          "C_Login SO pin 87654321", "C_InitPIN pin 1234", "C_Logout", "C_CloseSession"));
  for (const std::string& request : daemon.requests()) {
    EXPECT_THAT(request, Not(HasSubstr("1234")));
    EXPECT_THAT(request, Not(HasSubstr("87654321")));
  }
}

TEST_F(DaemonCommands, TokenCreateMakesNothingWithoutPins) {
  const FakeDaemon daemon(socket(), TokenAnswers);
  const std::string pin = WriteFile("pin", "1234\n");
  const std::string empty = WriteFile("empty", "\n1234\n");
  const std::string endless = WriteFile("endless", std::string(1000, 'x'));
  EXPECT_EQ(Run({"token", "create", "--label", "a", "--pin-file", pin, "--so-pin-file", In("missing")}).status, 1);
  EXPECT_EQ(Run({"token", "create", "--label", "a", "--pin-file", empty, "--so-pin-file", pin}).status, 2);
  EXPECT_EQ(Run({"token", "create", "--label", "a", "--pin-file", endless, "--so-pin-file", pin}).status, 2);
  EXPECT_EQ(Run({"token", "create", "--label", std::string(33, 'a'), "--pin-file", pin, "--so-pin-file", pin}).status,
            2);
  EXPECT_TRUE(daemon.requests().empty());
}

TEST_F(DaemonCommands, ATokenThatIsNotInitialisedSaysHowToGoOn) {
  FakeDaemon daemon(socket(), TokenAnswers);
  daemon.Fail("C_InitToken", CKR_PIN_LEN_RANGE);
  const std::string pin = WriteFile("pin", "1\n");
  const Printed printed = Run({"token", "create", "--label", "a", "--pin-file", pin, "--so-pin-file", pin});
  EXPECT_EQ(printed.status, 1);
  EXPECT_THAT(printed.err, HasSubstr("CKR_PIN_LEN_RANGE"));
  EXPECT_THAT(printed.err, HasSubstr("on slot 3"));
}

TEST_F(DaemonCommands, APinFileThatOthersCanReadIsRemarkedUpon) {
  const FakeDaemon daemon(socket(), TokenAnswers);
  const std::string pin = WriteFile("pin", "1234");
  std::filesystem::permissions(pin, std::filesystem::perms(0644));
  EXPECT_THAT(Run({"token", "create", "--label", "a", "--pin-file", pin, "--so-pin-file", pin}).err,
              HasSubstr("chmod 600"));
}

TEST_F(DaemonCommands, TokenListShowsWhatIsNotInitialised) {
  const FakeDaemon daemon(socket(), Always(Done(R"({"tokens":[{"label":"orders","slot":1,"initialized":true,"keys":2,)"
                                                R"("deletion_window_days":30},{"slot":2,"initialized":false}]})")));
  const std::string text = Run({"token", "list"}).out;
  EXPECT_THAT(text, HasSubstr("30 d"));
  EXPECT_THAT(text, HasSubstr("(not initialised)"));
}

}  // namespace
}  // namespace cmkd::tests
