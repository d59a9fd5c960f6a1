// libcmkd-pkcs11.so as a host process meets it: initialising, forking, unloading, and a daemon that is down, killed or
// back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <set>
#include <thread>

#include "tests/module/own_daemon_test.h"

namespace cmkd::tests {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

const Bytes kMessage = ToBytes(AsBytes("a message of some length"));

class ModuleTest : public OwnDaemonTest {
 protected:
  CK_OBJECT_HANDLE Make(bool token, const std::string& label) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(
        p11_.GenerateAes(
            session_,
            Template().Bool(CKA_TOKEN, token).Text(CKA_LABEL, label).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true),
            key),
        CKR_OK);
    return key;
  }
  Bytes Encrypted(CK_OBJECT_HANDLE key) {
    Gcm gcm;
    EXPECT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK);
    Bytes out(256);
    CK_ULONG length = out.size();
    EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
    out.resize(length);
    return out;
  }
  CK_STATE SessionState() {
    CK_SESSION_INFO info{};
    EXPECT_EQ(p11_->C_GetSessionInfo(session_, &info), CKR_OK);
    return info.state;
  }
  // The exit status of `action`'s result in a child process; -1 when a signal ended it.
  static int InChild(const std::function<bool()>& action) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(action() ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

// ---- C_Initialize and C_Finalize

CK_RV NoMutex(void**) { return CKR_OK; }
CK_RV NoLock(void*) { return CKR_OK; }

TEST_F(ModuleTest, TakesEveryLawfulFormOfInitialiseArguments) {
  CK_C_INITIALIZE_ARGS arguments{};
  const auto form = [&](CK_FLAGS flags, bool callbacks) {
    arguments = {};
    arguments.flags = flags;
    if (callbacks) {
      arguments.CreateMutex = NoMutex;
      arguments.DestroyMutex = NoLock;
      arguments.LockMutex = NoLock;
      arguments.UnlockMutex = NoLock;
    }
    const CK_RV rv = p11_->C_Initialize(&arguments);
    if (rv == CKR_OK) {
      EXPECT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
    }
    return rv;
  };
  EXPECT_EQ(form(0, false), CKR_OK);
  EXPECT_EQ(form(CKF_OS_LOCKING_OK, false), CKR_OK);
  EXPECT_EQ(form(CKF_OS_LOCKING_OK, true), CKR_OK);
  EXPECT_EQ(form(CKF_LIBRARY_CANT_CREATE_OS_THREADS, false), CKR_OK);
}

TEST_F(ModuleTest, RefusesUnlawfulInitialiseArguments) {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.CreateMutex = NoMutex;  // all four or none
  EXPECT_EQ(p11_->C_Initialize(&arguments), CKR_ARGUMENTS_BAD);
  arguments = {};
  int something = 0;
  arguments.pReserved = &something;
  EXPECT_EQ(p11_->C_Initialize(&arguments), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(p11_->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(ModuleTest, InitialisesOnceAtATime) {
  CK_INFO info{};
  EXPECT_EQ(p11_->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
  Initialise();
  EXPECT_EQ(p11_->C_Initialize(nullptr), CKR_CRYPTOKI_ALREADY_INITIALIZED);
  EXPECT_EQ(p11_->C_GetInfo(&info), CKR_OK);
  int something = 0;
  EXPECT_EQ(p11_->C_Finalize(&something), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  EXPECT_EQ(p11_->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(p11_->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(ModuleTest, OneOfManyInitialisingThreadsWins) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> won{0}, late{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        const CK_RV rv = p11_->C_Initialize(nullptr);
        if (rv == CKR_OK) ++won;
        if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) ++late;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(late, 7);
    EXPECT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  }
}

TEST_F(ModuleTest, UnloadsAndLoadsAgain) {
  for (int round = 0; round < 5; ++round) {
    Begin();
    (void)Encrypted(Make(false, "k"));
    p11_.Unload();
    p11_.Load();
    ASSERT_TRUE(p11_.loaded());
  }
  EXPECT_TRUE(daemon_.StatusBecomes("applications", 1));  // cmkctl itself
}

// ---- A daemon that is not there

TEST_F(ModuleTest, ADaemonThatIsDownIsAnEmptySlotList) {
  ASSERT_TRUE(daemon_.Stop(SIGTERM));
  ASSERT_EQ(p11_->C_Initialize(nullptr), CKR_OK);
  CK_ULONG count = 99;
  EXPECT_EQ(p11_->C_GetSlotList(CK_TRUE, nullptr, &count), CKR_OK);
  EXPECT_EQ(count, 0u);
  CK_SESSION_HANDLE session = 0;
  EXPECT_NE(p11_.Open(1, session), CKR_OK);
  ASSERT_TRUE(daemon_.Start());
  EXPECT_TRUE(p11_.FindToken(kTokenLabel).has_value());
}

TEST_F(ModuleTest, TheHostGetsNoSigpipe) {
  Begin();
  static volatile sig_atomic_t pipes = 0;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { pipes = pipes + 1; };
  ::sigaction(SIGPIPE, &action, &before);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(daemon_.KillAndStart());
    EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_USER_FUNCTIONS});
  }
  EXPECT_EQ(static_cast<int>(pipes), 0);
  ::sigaction(SIGPIPE, &before, nullptr);
}

// ---- A daemon that is killed and comes back

TEST_F(ModuleTest, SessionsLoginAndHandlesGoOn) {
  Begin();
  const CK_OBJECT_HANDLE stored = Make(true, "stored");
  const CK_OBJECT_HANDLE in_session = Make(false, "in-session");
  const Bytes first = Encrypted(stored);
  const Bytes second = Encrypted(in_session);
  for (const int signal : {SIGKILL, SIGTERM}) {
    ASSERT_TRUE(daemon_.Stop(signal));
    ASSERT_TRUE(daemon_.Start());
    EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_USER_FUNCTIONS});
    EXPECT_EQ(Encrypted(stored), first);
    EXPECT_EQ(Encrypted(in_session), second);
    EXPECT_THAT(p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_SECRET_KEY)),
                ::testing::UnorderedElementsAre(stored, in_session));
  }
  CK_SESSION_HANDLE another = 0;
  EXPECT_EQ(p11_.Open(slot_, another), CKR_OK);
  EXPECT_NE(another, session_);
  EXPECT_EQ(p11_->C_Logout(session_), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_PUBLIC_SESSION});
}

TEST_F(ModuleTest, ACallWaitsForADaemonThatIsOnItsWay) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  const Bytes sealed = Encrypted(key);
  ASSERT_TRUE(daemon_.Stop(SIGKILL));
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    EXPECT_TRUE(daemon_.Start());
  });
  EXPECT_EQ(Encrypted(key), sealed);
  later.join();
}

TEST_F(ModuleTest, AnOperationWithoutPartsGoesOn) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  const Bytes sealed = Encrypted(key);
  Gcm gcm;
  ASSERT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  Bytes out(256);
  CK_ULONG length = out.size();
  ASSERT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
  out.resize(length);
  EXPECT_EQ(out, sealed);
}

TEST_F(ModuleTest, ASearchGoesOnWhereItWas) {
  Begin();
  std::set<CK_OBJECT_HANDLE> made;
  for (int i = 0; i < 7; ++i) made.insert(Make(i % 2 == 0, "many"));
  Template wanted;
  wanted.Text(CKA_LABEL, "many");
  ASSERT_EQ(p11_->C_FindObjectsInit(session_, wanted.data(), wanted.size()), CKR_OK);
  std::multiset<CK_OBJECT_HANDLE> found;
  for (;;) {
    CK_OBJECT_HANDLE handles[2];
    CK_ULONG count = 0;
    ASSERT_EQ(p11_->C_FindObjects(session_, handles, 2, &count), CKR_OK);
    if (count == 0) break;
    found.insert(handles, handles + count);
    ASSERT_TRUE(daemon_.KillAndStart());
  }
  EXPECT_EQ(p11_->C_FindObjectsFinal(session_), CKR_OK);
  EXPECT_EQ(found, std::multiset<CK_OBJECT_HANDLE>(made.begin(), made.end()));
}

TEST_F(ModuleTest, AnOperationThatReturnsNothingBeforeItsEndGoesOn) {
  Begin();
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true), key), CKR_OK);
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_MECHANISM cmac{CKM_AES_CMAC, nullptr, 0};
  const auto digested = [&](const std::function<void()>& between) {
    Bytes digest(32);
    Bytes mac(16);
    CK_ULONG length = digest.size();
    CK_ULONG mac_length = mac.size();
    EXPECT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
    EXPECT_EQ(p11_->C_SignInit(session_, &cmac, key), CKR_OK);
    for (int part = 0; part < 3; ++part) {
      EXPECT_EQ(p11_->C_DigestUpdate(session_, BytePtr(kMessage), kMessage.size()), CKR_OK);
      EXPECT_EQ(p11_->C_SignUpdate(session_, BytePtr(kMessage), kMessage.size()), CKR_OK);
      between();
    }
    EXPECT_EQ(p11_->C_DigestFinal(session_, digest.data(), &length), CKR_OK);
    EXPECT_EQ(p11_->C_SignFinal(session_, mac.data(), &mac_length), CKR_OK);
    digest.insert(digest.end(), mac.begin(), mac.end());
    return digest;
  };
  EXPECT_EQ(digested([&] { ASSERT_TRUE(daemon_.KillAndStart()); }), digested([] {}));
}

TEST_F(ModuleTest, AnOperationThatCannotBeRepeatedFailsOnceAndTheSessionGoesOn) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  Gcm gcm;
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes out(256);
  CK_ULONG length = out.size();
  ASSERT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK);
  ASSERT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
  ASSERT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
  const Bytes much(100'000);  // more than is kept on this side
  ASSERT_EQ(p11_->C_DigestUpdate(session_, BytePtr(much), much.size()), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  length = out.size();
  EXPECT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length),
            CKR_FUNCTION_FAILED);
  length = out.size();
  EXPECT_EQ(p11_->C_EncryptFinal(session_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  length = out.size();
  EXPECT_EQ(p11_->C_DigestFinal(session_, out.data(), &length), CKR_FUNCTION_FAILED);
  (void)Encrypted(key);
  ASSERT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
  length = out.size();
  EXPECT_EQ(p11_->C_Digest(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
}

TEST_F(ModuleTest, ALostOperationMayBeBegunAnew) {
  Begin();
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes out(64);
  const Bytes much(100'000);
  CK_ULONG length = out.size();
  ASSERT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
  ASSERT_EQ(p11_->C_DigestUpdate(session_, BytePtr(much), much.size()), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  ASSERT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
  ASSERT_EQ(p11_->C_DigestUpdate(session_, BytePtr(kMessage), kMessage.size()), CKR_OK);
  EXPECT_EQ(p11_->C_DigestFinal(session_, out.data(), &length), CKR_OK);
  EXPECT_EQ(length, 32u);
}

// ---- Processes

TEST_F(ModuleTest, AForkedChildInitialisesForItselfAndTheParentGoesOn) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  const Bytes sealed = Encrypted(key);
  EXPECT_EQ(InChild([&] {
              CK_SESSION_INFO info{};
              if (p11_->C_GetSessionInfo(session_, &info) != CKR_CRYPTOKI_NOT_INITIALIZED) return false;
              if (p11_->C_Finalize(nullptr) != CKR_CRYPTOKI_NOT_INITIALIZED) return false;
              if (p11_->C_Initialize(nullptr) != CKR_OK) return false;
              // The parent's session and login are not the child's.
              if (p11_->C_GetSessionInfo(session_, &info) != CKR_SESSION_HANDLE_INVALID) return false;
              CK_SESSION_HANDLE own = 0;
              if (p11_.Open(slot_, own) != CKR_OK || p11_->C_GetSessionInfo(own, &info) != CKR_OK) return false;
              if (info.state != CKS_RW_PUBLIC_SESSION || p11_.Login(own, kUserPin) != CKR_OK) return false;
              return p11_.Find(own, Template().Text(CKA_LABEL, "k")).size() == 1 && p11_->C_Finalize(nullptr) == CKR_OK;
            }),
            0);
  EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_USER_FUNCTIONS});
  EXPECT_EQ(Encrypted(key), sealed);
}

TEST_F(ModuleTest, AForkWhileOtherThreadsCallLeavesTheChildUsable) {
  Begin();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      CK_SESSION_INFO info{};
      while (!stop) p11_->C_GetSessionInfo(session_, &info);
    });
  }
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(InChild([&] {
                ::alarm(20);
                return p11_->C_Initialize(nullptr) == CKR_OK && p11_.FindToken(kTokenLabel).has_value() &&
                       p11_->C_Finalize(nullptr) == CKR_OK;
              }),
              0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_USER_FUNCTIONS});
}

TEST_F(ModuleTest, AProcessThatEndsWithoutFinaliseLeavesNothing) {
  ASSERT_EQ(daemon_.Status("applications"), 1);  // cmkctl itself
  EXPECT_EQ(InChild([&] {
              Begin();
              (void)Make(false, "k");
              return !HasFailure();
            }),
            0);
  const pid_t child = ::fork();
  if (child == 0) {
    Begin();
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(daemon_.StatusBecomes("applications", 1));
  EXPECT_TRUE(daemon_.StatusBecomes("connections", 1));
}

TEST_F(ModuleTest, FinaliseEndsSessionsAndLogin) {
  Begin();
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  EXPECT_TRUE(daemon_.StatusBecomes("applications", 1));
  Initialise();
  CK_SESSION_INFO info{};
  EXPECT_EQ(p11_->C_GetSessionInfo(session_, &info), CKR_SESSION_HANDLE_INVALID);
  ASSERT_EQ(p11_.Open(slot_, session_), CKR_OK);
  EXPECT_EQ(SessionState(), CK_STATE{CKS_RW_PUBLIC_SESSION});
}

TEST_F(ModuleTest, ThreadsShareTheApplication) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  const Bytes sealed = Encrypted(key);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      CK_SESSION_HANDLE own = 0;
      if (p11_.Open(slot_, own) != CKR_OK) return;
      for (int round = 0; round < 50; ++round) {
        Gcm gcm;
        Bytes out(256);
        CK_ULONG length = out.size();
        if (p11_->C_EncryptInit(own, &gcm.mechanism, key) != CKR_OK) return;
        if (p11_->C_Encrypt(own, BytePtr(kMessage), kMessage.size(), out.data(), &length) != CKR_OK) return;
        out.resize(length);
        if (out != sealed) return;
      }
      if (p11_->C_CloseSession(own) == CKR_OK) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
}

// ---- The two-call convention

TEST_F(ModuleTest, AskingForTheLengthAndShortBuffersKeepTheOperation) {
  Begin();
  const CK_OBJECT_HANDLE key = Make(true, "k");
  const Bytes sealed = Encrypted(key);
  Gcm gcm;
  Bytes out(256, 0xEE);
  ASSERT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK);
  CK_ULONG length = 0;
  EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), nullptr, &length), CKR_OK);
  EXPECT_EQ(length, sealed.size());
  for (const CK_ULONG room : {CK_ULONG{0}, CK_ULONG{1}, static_cast<CK_ULONG>(sealed.size() - 1)}) {
    length = room;
    EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(length, sealed.size());
  }
  EXPECT_EQ(out, Bytes(256, 0xEE));
  EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length)), sealed);
  EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length),
            CKR_OPERATION_NOT_INITIALIZED);

  ASSERT_EQ(p11_->C_DecryptInit(session_, &gcm.mechanism, key), CKR_OK);
  length = 1;
  EXPECT_EQ(p11_->C_Decrypt(session_, BytePtr(sealed), sealed.size(), out.data(), &length), CKR_BUFFER_TOO_SMALL);
  length = out.size();
  EXPECT_EQ(p11_->C_Decrypt(session_, BytePtr(sealed), sealed.size(), out.data(), &length), CKR_OK);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length)), kMessage);
}

TEST_F(ModuleTest, ARestartBetweenLengthAndAnswerChangesNothing) {
  Begin();
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes out(32);
  CK_ULONG length = 0;
  ASSERT_EQ(p11_->C_DigestInit(session_, &sha), CKR_OK);
  ASSERT_EQ(p11_->C_Digest(session_, BytePtr(kMessage), kMessage.size(), nullptr, &length), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  ASSERT_EQ(length, 32u);
  EXPECT_EQ(p11_->C_Digest(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
}

}  // namespace
}  // namespace cmkd::tests
