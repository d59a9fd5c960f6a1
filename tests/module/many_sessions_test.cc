// An application with a hundred thousand sessions: opened, brought back after a killed daemon, closed; none lost, none
// lent to another. How long it takes is asked by tests/bench.
#include "tests/module/own_daemon_test.h"

namespace cmkd::tests {
namespace {

constexpr CK_ULONG kMany = 100'000;

class ManySessionsTest : public OwnDaemonTest {
 protected:
  ManySessionsTest() : OwnDaemonTest("[limits]\nsessions_per_application = " + std::to_string(kMany) + "\n") {}
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(OwnDaemonTest::SetUp());
    Initialise();
  }
  CK_ULONG OpenAtTheToken() {
    CK_TOKEN_INFO info{};
    EXPECT_EQ(p11_->C_GetTokenInfo(slot_, &info), CKR_OK);
    return info.ulSessionCount;
  }
  // CKR_OK and the state of a session, or why there is none.
  CK_RV StateOf(CK_SESSION_HANDLE session, CK_STATE& state) {
    CK_SESSION_INFO info{};
    const CK_RV rv = p11_->C_GetSessionInfo(session, &info);
    state = info.state;
    return rv;
  }
};

TEST_F(ManySessionsTest, AHundredThousandGoOnAfterAKilledDaemon) {
  std::vector<CK_SESSION_HANDLE> sessions(kMany);
  for (CK_SESSION_HANDLE& session : sessions) ASSERT_EQ(p11_.Open(slot_, session), CKR_OK);
  ASSERT_EQ(p11_.Login(sessions.front(), kUserPin), CKR_OK);
  CK_SESSION_HANDLE beyond = 0;
  EXPECT_EQ(p11_.Open(slot_, beyond), CKR_SESSION_COUNT);

  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(OpenAtTheToken(), kMany);
  EXPECT_EQ(p11_.Open(slot_, beyond), CKR_SESSION_COUNT);
  CK_STATE state = 0;
  for (const std::size_t one : {std::size_t{0}, sessions.size() / 2, sessions.size() - 1}) {
    ASSERT_EQ(StateOf(sessions[one], state), CKR_OK);
    EXPECT_EQ(state, CKS_RW_USER_FUNCTIONS);
  }

  for (std::size_t i = 1; i < sessions.size(); ++i) ASSERT_EQ(p11_->C_CloseSession(sessions[i]), CKR_OK);
  EXPECT_EQ(OpenAtTheToken(), 1u);
  EXPECT_EQ(StateOf(sessions.back(), state), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(StateOf(sessions.front(), state), CKR_OK);
  EXPECT_EQ(state, CKS_RW_USER_FUNCTIONS);

  // What was closed does not come back either.
  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(OpenAtTheToken(), 1u);
}

// Each session's objects are its own: they end with it, those of the others come back with the daemon.
TEST_F(ManySessionsTest, ObjectsEndWithTheirSession) {
  CK_SESSION_HANDLE sessions[3] = {};
  CK_OBJECT_HANDLE keys[3][2] = {};
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(p11_.Open(slot_, sessions[i]), CKR_OK);
    if (i == 0) {
      ASSERT_EQ(p11_.Login(sessions[i], kUserPin), CKR_OK);
    }
    for (CK_OBJECT_HANDLE& key : keys[i])
      ASSERT_EQ(p11_.GenerateAes(sessions[i], Template().Bool(CKA_TOKEN, false), key), CKR_OK);
  }
  ASSERT_EQ(p11_->C_DestroyObject(sessions[2], keys[2][0]), CKR_OK);
  ASSERT_EQ(p11_->C_CloseSession(sessions[1]), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  const auto size_of = [&](CK_OBJECT_HANDLE key) {
    CK_ULONG bytes = 0;
    return p11_->C_GetObjectSize(sessions[0], key, &bytes);
  };
  EXPECT_EQ(size_of(keys[0][0]), CKR_OK);
  EXPECT_EQ(size_of(keys[0][1]), CKR_OK);
  EXPECT_EQ(size_of(keys[1][0]), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_EQ(size_of(keys[1][1]), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_EQ(size_of(keys[2][0]), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_EQ(size_of(keys[2][1]), CKR_OK);
}

}  // namespace
}  // namespace cmkd::tests
