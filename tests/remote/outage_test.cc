// A daemon that stays away for longer than a call waits: the call fails, and what it would have ended has ended.
#include <gtest/gtest.h>

#include "pkcs11/remote/client.h"
#include "tests/module/own_daemon.h"

namespace cmkd::remote {
namespace {

using spec::CallId;

class OutageTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(daemon_.Start());
    ASSERT_TRUE(daemon_.MakeToken());
    Options options;
    options.socket_path = daemon_.socket_path();
    options.wait = std::chrono::milliseconds(20);
    client_ = std::make_unique<Client>(options);
    spec::Call<CallId::C_OpenSession> open;
    open.flags.value = CKF_SERIAL_SESSION;
    open.session.value = &session_;
    CK_RV rv = CKR_SLOT_ID_INVALID;
    for (CK_SLOT_ID slot = 0; slot < 16 && rv != CKR_OK; ++slot) {
      open.slot.value = slot;
      rv = client_->Answer(open);
    }
    ASSERT_EQ(rv, CKR_OK);
  }
  CK_RV Init() {
    CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
    spec::Call<CallId::C_DigestInit> call;
    call.session.value = session_;
    call.mechanism.value = &sha;
    return client_->Answer(call);
  }
  CK_RV Digest() {
    CK_BYTE input[3] = {1, 2, 3}, output[32];
    CK_ULONG length = sizeof output;
    spec::Call<CallId::C_Digest> call;
    call.session.value = session_;
    call.input = {input, sizeof input};
    call.output = {output, &length};
    return client_->Answer(call);
  }

  tests::OwnDaemon daemon_;
  std::unique_ptr<Client> client_;
  CK_SESSION_HANDLE session_ = 0;
};

TEST_F(OutageTest, AnOperationWhoseEndFailedDoesNotComeBack) {
  ASSERT_EQ(Init(), CKR_OK);
  ASSERT_TRUE(daemon_.Stop(SIGKILL));
  EXPECT_NE(Digest(), CKR_OK) << "the daemon dies under the call";
  EXPECT_NE(Digest(), CKR_OK) << "there is none";
  ASSERT_TRUE(daemon_.Start());
  EXPECT_EQ(Init(), CKR_OK) << "the operation that failed is active again";
  EXPECT_EQ(Digest(), CKR_OK);
}

TEST_F(OutageTest, OneThatNobodyEndedGoesOn) {
  ASSERT_EQ(Init(), CKR_OK);
  ASSERT_TRUE(daemon_.Stop(SIGKILL));
  spec::Call<CallId::C_GetSessionInfo> info;
  CK_SESSION_INFO answer{};
  info.session.value = session_;
  info.info.value = &answer;
  EXPECT_NE(client_->Answer(info), CKR_OK);
  ASSERT_TRUE(daemon_.Start());
  EXPECT_EQ(Digest(), CKR_OK);
}

}  // namespace
}  // namespace cmkd::remote
