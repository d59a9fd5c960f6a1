// One-time passwords while the daemon is killed again and again: values may be skipped, none is given twice, and the
// counter in the store is past all of them.
#include <atomic>
#include <cstring>
#include <thread>

#include "tests/module/own_daemon_test.h"

namespace cmkd::tests {
namespace {

class HotpKillTest : public OwnDaemonTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(OwnDaemonTest::SetUp());
    Begin();
  }
  CK_OBJECT_HANDLE Make(bool token) {
    CK_MECHANISM mechanism{CKM_HOTP_KEY_GEN, nullptr, 0};
    Template t = Template().Bool(CKA_TOKEN, token);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(p11_->C_GenerateKey(session_, &mechanism, t.data(), t.size(), &key), CKR_OK);
    return key;
  }
  // The counter of the next password.
  CK_RV Next(CK_OBJECT_HANDLE key, std::uint64_t& counter) {
    CK_OTP_PARAMS none{nullptr, 0};
    CK_MECHANISM mechanism{CKM_HOTP, &none, sizeof none};
    alignas(8) CK_BYTE output[128];
    CK_ULONG length = sizeof output;
    if (const CK_RV rv = p11_->C_SignInit(session_, &mechanism, key); rv != CKR_OK) return rv;
    if (const CK_RV rv = p11_->C_Sign(session_, nullptr, 0, output, &length); rv != CKR_OK) return rv;
    CK_OTP_SIGNATURE_INFO info;
    std::memcpy(&info, output, sizeof info);
    counter = 0;
    for (CK_ULONG i = 0; i < 8; ++i) counter = counter << 8 | static_cast<CK_BYTE*>(info.pParams[1].pValue)[i];
    return CKR_OK;
  }
};

TEST_F(HotpKillTest, NoPasswordIsGivenTwice) {
  const CK_OBJECT_HANDLE key = Make(true);
  constexpr int kKills = 8;
  std::atomic<int> killed{0};
  std::thread killer([&] {
    while (killed < kKills && daemon_.KillAndStart()) ++killed;
  });
  std::vector<std::uint64_t> counters;
  int failed = 0;
  do {
    std::uint64_t counter = 0;
    if (Next(key, counter) == CKR_OK) {
      counters.push_back(counter);
    } else {
      ++failed;  // an operation may die with the daemon; the next one begins anew
    }
  } while (killed < kKills && failed < 10000);
  killer.join();
  EXPECT_EQ(killed, kKills);
  std::uint64_t last = 0;
  ASSERT_EQ(Next(key, last), CKR_OK);
  counters.push_back(last);
  for (std::size_t i = 1; i < counters.size(); ++i) ASSERT_GT(counters[i], counters[i - 1]) << i;
  CK_BYTE kept[8] = {};
  CK_ATTRIBUTE wanted{CKA_OTP_COUNTER, kept, sizeof kept};
  ASSERT_EQ(p11_->C_GetAttributeValue(session_, key, &wanted, 1), CKR_OK);
  std::uint64_t next = 0;
  for (const CK_BYTE byte : kept) next = next << 8 | byte;
  EXPECT_EQ(next, last + 1);
}

// What the client keeps of session objects could be older than the last password.
TEST_F(HotpKillTest, ASessionKeyDoesNotComeBackWithAnOlderCounter) {
  const CK_OBJECT_HANDLE key = Make(false);
  std::uint64_t counter = 0;
  ASSERT_EQ(Next(key, counter), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(Next(key, counter), CKR_KEY_HANDLE_INVALID);
}

}  // namespace
}  // namespace cmkd::tests
