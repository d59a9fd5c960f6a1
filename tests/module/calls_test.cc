// What the module does by itself beside carrying calls: the three function lists, waiting for slots, and calls of 3.x
// over a daemon that is killed in between.
#include <gmock/gmock.h>

#include <thread>

#include "tests/module/own_daemon_test.h"

namespace cmkd::tests {
namespace {

const Bytes kText = ToBytes(AsBytes("said before and after"));

class ModuleCallsTest : public OwnDaemonTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(OwnDaemonTest::SetUp());
    f_ = p11_.newest();
    ASSERT_NE(f_, nullptr);
  }
  CK_OBJECT_HANDLE Aes() {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false), key), CKR_OK);
    return key;
  }

  CK_FUNCTION_LIST_3_2* f_ = nullptr;
};

// ---- Function lists

TEST_F(ModuleCallsTest, ThreeFunctionListsComeThroughGetInterface) {
  CK_FUNCTION_LIST* old = p11_.operator->();
  EXPECT_EQ(old->version.major, 2);
  EXPECT_EQ(old->version.minor, 40);
  struct Expected {
    CK_BYTE major, minor;
    std::size_t functions;
  };
  constexpr std::size_t kAll =
      (sizeof(CK_FUNCTION_LIST_3_2) - offsetof(CK_FUNCTION_LIST_3_2, C_Initialize)) / sizeof(void*);
  constexpr std::size_t kOf240 =
      (offsetof(CK_FUNCTION_LIST_3_2, C_GetInterfaceList) - offsetof(CK_FUNCTION_LIST_3_2, C_Initialize)) /
      sizeof(void*);
  constexpr std::size_t kOf300 =
      (offsetof(CK_FUNCTION_LIST_3_2, C_EncapsulateKey) - offsetof(CK_FUNCTION_LIST_3_2, C_Initialize)) / sizeof(void*);
  EXPECT_EQ(kOf240, 68u);
  EXPECT_EQ(kOf300, 92u);
  for (const Expected& expected : {Expected{2, 40, kOf240}, Expected{3, 0, kOf300}, Expected{3, 2, kAll}}) {
    CK_FUNCTION_LIST_3_2* list = p11_.Interface(expected.major, expected.minor);
    ASSERT_NE(list, nullptr);
    EXPECT_EQ(list->version.major, expected.major);
    EXPECT_EQ(list->version.minor, expected.minor);
    // Every function of the version is there, and leads where the exported one leads: to the same answer.
    const auto* functions = reinterpret_cast<void* const*>(&list->C_Initialize);
    for (std::size_t i = 0; i < expected.functions; ++i) EXPECT_NE(functions[i], nullptr) << i;
    CK_INFO info{};
    EXPECT_EQ(list->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
  }
  EXPECT_EQ(p11_.Interface(3, 1), nullptr);
  EXPECT_EQ(p11_.Interface(2, 30), nullptr);
}

TEST_F(ModuleCallsTest, InterfacesAreListedAndChosenAsTheStandardSays) {
  CK_ULONG count = 0;
  ASSERT_EQ(f_->C_GetInterfaceList(nullptr, &count), CKR_OK);
  ASSERT_EQ(count, 4u);
  CK_INTERFACE interfaces[4];
  count = 3;
  EXPECT_EQ(f_->C_GetInterfaceList(interfaces, &count), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(count, 4u);
  ASSERT_EQ(f_->C_GetInterfaceList(interfaces, &count), CKR_OK);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_STREQ(reinterpret_cast<const char*>(interfaces[i].pInterfaceName), "PKCS 11");
  }
  EXPECT_STREQ(reinterpret_cast<const char*>(interfaces[3].pInterfaceName), CMKD_INTERFACE);
  EXPECT_EQ(f_->C_GetInterfaceList(nullptr, nullptr), CKR_ARGUMENTS_BAD);
  CK_INTERFACE_PTR found = nullptr;
  ASSERT_EQ(f_->C_GetInterface(nullptr, nullptr, &found, 0), CKR_OK);
  EXPECT_EQ(static_cast<CK_VERSION*>(found->pFunctionList)->minor, 2) << "the newest comes first";
  CK_VERSION version{1, 0};
  EXPECT_NE(f_->C_GetInterface(nullptr, &version, &found, 0), CKR_OK) << "without a name only the standard's";
  CK_UTF8CHAR other[] = "Vendor extensions";
  EXPECT_NE(f_->C_GetInterface(other, nullptr, &found, 0), CKR_OK);
  EXPECT_NE(f_->C_GetInterface(nullptr, nullptr, &found, CKF_INTERFACE_FORK_SAFE), CKR_OK);
  EXPECT_EQ(f_->C_GetInterface(nullptr, nullptr, nullptr, 0), CKR_ARGUMENTS_BAD);
}

// ---- C_WaitForSlotEvent

TEST_F(ModuleCallsTest, ANewTokenIsASlotEventForWhoAsksAndForWhoWaits) {
  CK_SLOT_ID slot = 0;
  EXPECT_EQ(f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  Begin();
  EXPECT_EQ(f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, nullptr, nullptr), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr), CKR_NO_EVENT);
  ASSERT_EQ(Cmkctl("token create --label another --profile general"), 0);
  ASSERT_EQ(f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr), CKR_OK);
  CK_SLOT_INFO info{};
  EXPECT_EQ(f_->C_GetSlotInfo(slot, &info), CKR_OK);
  while (f_->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr) == CKR_OK) {
  }
  CK_RV rv = CKR_GENERAL_ERROR;
  std::thread waiting([&] { rv = f_->C_WaitForSlotEvent(0, &slot, nullptr); });
  ASSERT_EQ(Cmkctl("token create --label third --profile general"), 0);
  waiting.join();
  EXPECT_EQ(rv, CKR_OK);
}

TEST_F(ModuleCallsTest, FinaliseEndsAWaitForASlotEvent) {
  Begin();
  CK_SLOT_ID slot = 0;
  CK_RV rv = CKR_OK;
  std::thread waiting([&] { rv = f_->C_WaitForSlotEvent(0, &slot, nullptr); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(f_->C_Finalize(nullptr), CKR_OK);
  waiting.join();
  EXPECT_EQ(rv, CKR_CRYPTOKI_NOT_INITIALIZED);
}

// ---- A daemon that is killed in between

struct Message {
  CK_BYTE iv[12] = {};
  CK_BYTE tag[16] = {};
  CK_GCM_MESSAGE_PARAMS parameter{iv, sizeof iv, 0, CKG_GENERATE, tag, 128};
};

TEST_F(ModuleCallsTest, MessagesGoOnAndOneThatWasUnderWayFailsOnce) {
  Begin();
  CK_MECHANISM gcm{CKM_AES_GCM, nullptr, 0};
  Message m;
  Bytes out(64);
  CK_ULONG length = out.size();
  const auto whole = [&] {
    length = out.size();
    return f_->C_EncryptMessage(session_, &m.parameter, sizeof m.parameter, nullptr, 0, BytePtr(kText), kText.size(),
                                out.data(), &length);
  };
  ASSERT_EQ(f_->C_MessageEncryptInit(session_, &gcm, Aes()), CKR_OK);
  ASSERT_EQ(whole(), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  ASSERT_EQ(whole(), CKR_OK);
  ASSERT_EQ(f_->C_EncryptMessageBegin(session_, &m.parameter, sizeof m.parameter, nullptr, 0), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  length = out.size();
  EXPECT_EQ(f_->C_EncryptMessageNext(session_, &m.parameter, sizeof m.parameter, BytePtr(kText), kText.size(),
                                     out.data(), &length, CKF_END_OF_MESSAGE),
            CKR_FUNCTION_FAILED);
  EXPECT_EQ(whole(), CKR_OK) << "the next message is another one";
  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(f_->C_MessageEncryptFinal(session_), CKR_OK);
}

TEST_F(ModuleCallsTest, ASetStateAndASignatureThatCameFirstGoOn) {
  Begin();
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes state(4096), digest(32), again(32);
  CK_ULONG length = state.size();
  ASSERT_EQ(f_->C_DigestInit(session_, &sha), CKR_OK);
  ASSERT_EQ(f_->C_DigestUpdate(session_, BytePtr(kText), kText.size()), CKR_OK);
  ASSERT_EQ(f_->C_GetOperationState(session_, state.data(), &length), CKR_OK);
  CK_ULONG digest_length = 32;
  ASSERT_EQ(f_->C_DigestFinal(session_, digest.data(), &digest_length), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  ASSERT_EQ(f_->C_SetOperationState(session_, state.data(), length, 0, 0), CKR_OK) << "a state outlives the daemon";
  ASSERT_TRUE(daemon_.KillAndStart());
  ASSERT_EQ(f_->C_DigestFinal(session_, again.data(), &digest_length), CKR_OK);
  EXPECT_EQ(again, digest);

  CK_MECHANISM cmac{CKM_AES_CMAC, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(
      p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, true).Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true), key),
      CKR_OK);
  Bytes mac(16);
  length = mac.size();
  ASSERT_EQ(f_->C_SignInit(session_, &cmac, key), CKR_OK);
  ASSERT_EQ(f_->C_Sign(session_, BytePtr(kText), kText.size(), mac.data(), &length), CKR_OK);
  ASSERT_EQ(f_->C_VerifySignatureInit(session_, &cmac, key, mac.data(), mac.size()), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(f_->C_VerifySignature(session_, BytePtr(kText), kText.size()), CKR_OK);
}

}  // namespace
}  // namespace cmkd::tests
