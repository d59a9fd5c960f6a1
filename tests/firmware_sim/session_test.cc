// Token, sessions, login and PINs.
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "firmware_sim/primitives.h"
#include "pkcs11/spec/call_table.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

CK_UTF8CHAR_PTR Chars(std::string_view text) {
  return reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(text.data()));
}

class SessionTest : public DeviceTest {
 protected:
  CK_RV Login(CK_SESSION_HANDLE on, CK_USER_TYPE type, std::string_view pin) {
    return f->C_Login(on, type, Chars(pin), pin.size());
  }
  CK_STATE State(CK_SESSION_HANDLE on) {
    CK_SESSION_INFO info{};
    EXPECT_EQ(f->C_GetSessionInfo(on, &info), CKR_OK);
    return info.state;
  }
  CK_TOKEN_INFO Info() {
    CK_TOKEN_INFO info{};
    EXPECT_EQ(f->C_GetTokenInfo(0, &info), CKR_OK);
    return info;
  }
};

TEST_F(SessionTest, NothingWorksBeforeInitialize) {
  Stop();
  CK_INFO info{};
  EXPECT_EQ(f->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(f->C_CloseSession(session), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(f->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  Start();
  EXPECT_EQ(f->C_Initialize(nullptr), CKR_CRYPTOKI_ALREADY_INITIALIZED);
  EXPECT_EQ(f->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
}

TEST_F(SessionTest, ForkedChildMustInitializeItself) {
  const pid_t child = ::fork();
  if (child == 0) {
    CK_INFO info{};
    ::_exit(f->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SessionTest, DeviceSaysThatItIsASimulation) {
  CK_INFO info{};
  ASSERT_EQ(f->C_GetInfo(&info), CKR_OK);
  EXPECT_NE(AsText({info.libraryDescription, 32}).find("simulated HSM, not validated"), std::string_view::npos);
  const CK_TOKEN_INFO token = Info();
  EXPECT_EQ(AsText({token.model, 16}), "firmware-sim    ");
  EXPECT_EQ(AsText({token.label, 32}), "test                            ");
  EXPECT_NE(token.flags & CKF_TOKEN_INITIALIZED, 0u);
  EXPECT_NE(token.flags & CKF_USER_PIN_INITIALIZED, 0u);
}

TEST_F(SessionTest, MechanismInfoIsTheTable) {
  CK_ULONG count = 0;
  ASSERT_EQ(f->C_GetMechanismList(0, nullptr, &count), CKR_OK);
  std::vector<CK_MECHANISM_TYPE> types(count);
  ASSERT_EQ(f->C_GetMechanismList(0, types.data(), &count), CKR_OK);
  EXPECT_GT(count, 40u);
  CK_MECHANISM_INFO info{};
  ASSERT_EQ(f->C_GetMechanismInfo(0, CKM_AES_GCM, &info), CKR_OK);
  EXPECT_EQ(info.ulMinKeySize, 16u);  // bytes for AES
  ASSERT_EQ(f->C_GetMechanismInfo(0, CKM_RSA_PKCS, &info), CKR_OK);
  EXPECT_EQ(info.ulMinKeySize, 2048u);  // bits for RSA
  EXPECT_EQ(f->C_GetMechanismInfo(0, CKM_RC4, &info), CKR_MECHANISM_INVALID);
  EXPECT_EQ(f->C_GetMechanismInfo(1, CKM_AES_GCM, &info), CKR_SLOT_ID_INVALID);
}

TEST_F(SessionTest, LoginIsTheApplications) {
  const CK_SESSION_HANDLE other = OpenSession(0);
  EXPECT_EQ(State(session), CKS_RW_USER_FUNCTIONS);
  EXPECT_EQ(State(other), CKS_RO_USER_FUNCTIONS);
  EXPECT_EQ(Login(other, CKU_USER, kUserPin), CKR_USER_ALREADY_LOGGED_IN);
  EXPECT_EQ(Login(other, CKU_SO, kSoPin), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
  ASSERT_EQ(f->C_Logout(other), CKR_OK);
  EXPECT_EQ(State(session), CKS_RW_PUBLIC_SESSION);
  EXPECT_EQ(f->C_Logout(other), CKR_USER_NOT_LOGGED_IN);
}

TEST_F(SessionTest, SecurityOfficerAndReadOnlySessionsExcludeEachOther) {
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  const CK_SESSION_HANDLE read_only = OpenSession(0);
  EXPECT_EQ(Login(session, CKU_SO, kSoPin), CKR_SESSION_READ_ONLY_EXISTS);
  ASSERT_EQ(f->C_CloseSession(read_only), CKR_OK);
  ASSERT_EQ(Login(session, CKU_SO, kSoPin), CKR_OK);
  EXPECT_EQ(State(session), CKS_RW_SO_FUNCTIONS);
  CK_SESSION_HANDLE none = 0;
  EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &none), CKR_SESSION_READ_WRITE_SO_EXISTS);
}

TEST_F(SessionTest, LastSessionTakesTheLoginWithIt) {
  ASSERT_EQ(f->C_CloseAllSessions(0), CKR_OK);
  EXPECT_EQ(State(OpenSession()), CKS_RW_PUBLIC_SESSION);
}

TEST_F(SessionTest, OpenSessionChecksItsArguments) {
  CK_SESSION_HANDLE none = 0;
  EXPECT_EQ(f->C_OpenSession(0, CKF_RW_SESSION, nullptr, nullptr, &none), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
  EXPECT_EQ(f->C_OpenSession(7, CKF_SERIAL_SESSION, nullptr, nullptr, &none), CKR_SLOT_ID_INVALID);
  EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, nullptr), CKR_ARGUMENTS_BAD);
}

TEST_F(SessionTest, LogoutDestroysPrivateSessionObjectsAndRenamesPrivateTokenObjects) {
  const auto session_key = GenerateAes();
  const auto public_key = GenerateAes(32, T().Bool(CKA_PRIVATE, false));
  const auto token_key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "kept"));
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), token_key), CKR_OK);
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  Bytes block(16);
  CK_ULONG n = 16;
  EXPECT_EQ(f->C_Encrypt(session, block.data(), 16, block.data(), &n), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_TRUE(Find(T().Text(CKA_LABEL, "kept")).empty());
  EXPECT_EQ(AttributeError(public_key, CKA_CLASS), CKR_OK);
  ASSERT_EQ(Login(session, CKU_USER, kUserPin), CKR_OK);
  EXPECT_EQ(AttributeError(session_key, CKA_CLASS), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_EQ(AttributeError(token_key, CKA_CLASS), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_EQ(Find(T().Text(CKA_LABEL, "kept")).size(), 1u);
}

TEST_F(SessionTest, SessionObjectsGoWithTheirSession) {
  const CK_SESSION_HANDLE home = session;
  session = OpenSession();
  const auto key = GenerateAes();
  const CK_SESSION_HANDLE own = session;
  session = home;
  EXPECT_EQ(AttributeError(key, CKA_CLASS), CKR_OK);  // seen by all sessions
  ASSERT_EQ(f->C_CloseSession(own), CKR_OK);
  EXPECT_EQ(AttributeError(key, CKA_CLASS), CKR_OBJECT_HANDLE_INVALID);
}

TEST_F(SessionTest, TenWrongPinsLockAndTheCountSurvivesARestart) {
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Login(session, CKU_USER, "wrong"), CKR_PIN_INCORRECT);
  EXPECT_NE(Info().flags & CKF_USER_PIN_COUNT_LOW, 0u);
  Stop();
  Start();
  session = OpenSession();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Login(session, CKU_USER, "wrong"), CKR_PIN_INCORRECT);
  EXPECT_NE(Info().flags & CKF_USER_PIN_FINAL_TRY, 0u);
  EXPECT_EQ(Login(session, CKU_USER, "wrong"), CKR_PIN_INCORRECT);
  EXPECT_EQ(Login(session, CKU_USER, kUserPin), CKR_PIN_LOCKED);
  EXPECT_NE(Info().flags & CKF_USER_PIN_LOCKED, 0u);
  // The security officer sets a new one.
  ASSERT_EQ(Login(session, CKU_SO, kSoPin), CKR_OK);
  ASSERT_EQ(f->C_InitPIN(session, Chars("new pin"), 7), CKR_OK);
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  EXPECT_EQ(Login(session, CKU_USER, "new pin"), CKR_OK);
}

TEST_F(SessionTest, RightPinClearsTheCount) {
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Login(session, CKU_USER, "wrong"), CKR_PIN_INCORRECT);
  ASSERT_EQ(Login(session, CKU_USER, kUserPin), CKR_OK);
  EXPECT_EQ(Info().flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY), 0u);
}

TEST_F(SessionTest, SetPinChangesThePinOfWhoIsLoggedIn) {
  EXPECT_EQ(f->C_SetPIN(session, Chars("wrong"), 5, Chars("other pin"), 9), CKR_PIN_INCORRECT);
  EXPECT_EQ(f->C_SetPIN(session, Chars(kUserPin), kUserPin.size(), Chars("abc"), 3), CKR_PIN_LEN_RANGE);
  EXPECT_EQ(f->C_SetPIN(session, Chars(kUserPin), kUserPin.size(), Chars("other pin"), 9), CKR_OK);
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  EXPECT_EQ(Login(session, CKU_USER, kUserPin), CKR_PIN_INCORRECT);
  EXPECT_EQ(Login(session, CKU_USER, "other pin"), CKR_OK);
  const CK_SESSION_HANDLE read_only = OpenSession(0);
  EXPECT_EQ(f->C_SetPIN(read_only, Chars("other pin"), 9, Chars(kUserPin), kUserPin.size()), CKR_SESSION_READ_ONLY);
}

TEST_F(SessionTest, InitPinNeedsTheSecurityOfficer) {
  EXPECT_EQ(f->C_InitPIN(session, Chars("new pin"), 7), CKR_USER_NOT_LOGGED_IN);
}

TEST_F(SessionTest, InitTokenNeedsItsPinAndNoSessions) {
  CK_UTF8CHAR label[32];
  std::memset(label, ' ', 32);
  EXPECT_EQ(f->C_InitToken(0, Chars(kSoPin), kSoPin.size(), label), CKR_SESSION_EXISTS);
  GenerateAes(32, T().Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false));
  ASSERT_EQ(f->C_CloseAllSessions(0), CKR_OK);
  EXPECT_EQ(f->C_InitToken(0, Chars("wrong"), 5, label), CKR_PIN_INCORRECT);
  EXPECT_EQ(f->C_InitToken(0, Chars(kSoPin), kSoPin.size(), label), CKR_OK);
  session = OpenSession();
  EXPECT_TRUE(Find(T()).empty());
  EXPECT_EQ(Login(session, CKU_USER, kUserPin), CKR_USER_PIN_NOT_INITIALIZED);
}

TEST_F(SessionTest, AlwaysAuthenticateKeyWantsThePinEachTime) {
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", T().Bool(CKA_ALWAYS_AUTHENTICATE, true));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Login(session, CKU_CONTEXT_SPECIFIC, kUserPin), CKR_OPERATION_NOT_INITIALIZED);
  const Bytes hash(32, 1);
  Sign(M(CKM_ECDSA), pair.private_key, hash);
  EXPECT_EQ(rv, CKR_USER_NOT_LOGGED_IN);
  ASSERT_EQ(f->C_SignInit(session, M(CKM_ECDSA), pair.private_key), CKR_OK);
  EXPECT_EQ(Login(session, CKU_CONTEXT_SPECIFIC, "wrong"), CKR_PIN_INCORRECT);
  EXPECT_EQ(Login(session, CKU_CONTEXT_SPECIFIC, kUserPin), CKR_OK);
  Bytes signature(64);
  CK_ULONG n = 64;
  EXPECT_EQ(f->C_Sign(session, const_cast<CK_BYTE*>(hash.data()), 32, signature.data(), &n), CKR_OK);
}

TEST_F(SessionTest, SessionCancelEndsTheNamedOperations) {
  const auto key = GenerateAes();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  // The list behind the 2.40 pointer is that of 3.2 under an older number (entry/function_lists.h).
  auto* all = reinterpret_cast<CK_FUNCTION_LIST_3_2*>(f);
  ASSERT_EQ(all->C_SessionCancel(session, CKF_ENCRYPT), CKR_OK);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  EXPECT_EQ(f->C_DecryptInit(session, M(CKM_AES_ECB), key), CKR_OPERATION_ACTIVE);
}

TEST_F(SessionTest, RandomBytesDiffer) {
  Bytes a(64), b(64);
  EXPECT_EQ(f->C_GenerateRandom(session, a.data(), a.size()), CKR_OK);
  EXPECT_EQ(f->C_SeedRandom(session, a.data(), a.size()), CKR_OK);
  EXPECT_EQ(f->C_GenerateRandom(session, b.data(), b.size()), CKR_OK);
  EXPECT_NE(a, b);
}

// Small requests share what was made ahead; none gets what another one got, in whatever order their sizes come, and a
// forked child does not go on with what its parent has.
TEST_F(SessionTest, SmallRandomRequestsNeverRepeat) {
  std::set<Bytes> seen;
  std::size_t made = 0;
  for (int round = 0; round < 200; ++round) {
    for (const std::size_t size : {16, 17, 64, 33, 200}) {
      Bytes bytes(size);
      ASSERT_EQ(f->C_GenerateRandom(session, bytes.data(), bytes.size()), CKR_OK);
      EXPECT_NE(bytes, Bytes(size));
      bytes.resize(16);
      seen.insert(bytes);
      ++made;
    }
  }
  EXPECT_EQ(seen.size(), made);
}

TEST_F(SessionTest, AForkedChildGetsOtherRandomBytes) {
  Bytes first(16);
  ASSERT_EQ(RandomBytesForCaller(first).ok(), true);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Bytes bytes(16);
    const bool made = RandomBytesForCaller(bytes).ok();
    ::_exit(made && ::write(ends[1], bytes.data(), bytes.size()) == 16 ? 0 : 1);
  }
  Bytes of_parent(16), of_child(16);
  ASSERT_TRUE(RandomBytesForCaller(of_parent).ok());
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(::read(ends[0], of_child.data(), of_child.size()), 16);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_NE(of_parent, of_child);
}

}  // namespace
}  // namespace cmkd::sim
