// Threads and processes: what the standard promises to applications that have several (PKCS#11 3.2 sections 5.4
// and 6.7).
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "conformance/keys.h"
#include "conformance/output_operation.h"
#include "conformance/samples.h"

namespace cmkd::conformance {
namespace {

// Whether `action` holds in a child process; -1 when a signal ended it or it took too long.
int InChild(const std::function<bool()>& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(action() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Runs `action` in several threads, each with a session of its own; how many times it was true.
int InThreads(Trial& t, int count, const std::function<bool(CK_SESSION_HANDLE)>& action) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      CK_SESSION_HANDLE own = 0;
      if (t.p11->C_OpenSession(t.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &own) != CKR_OK) return;
      if (action(own)) ++good;
      (void)t.p11->C_CloseSession(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return good;
}

CK_RV DigestOf(const Module& p11, CK_SESSION_HANDLE session, Bytes& out) {
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_BYTE text[] = "abc";
  out.assign(32, 0);
  CK_ULONG length = out.size();
  const CK_RV rv = p11->C_DigestInit(session, &sha);
  return rv == CKR_OK ? p11->C_Digest(session, text, 3, out.data(), &length) : rv;
}

constexpr int kThreads = 8;
constexpr int kRounds = 40;

void AddThreads(Plan& plan) {
  plan.Chapter("threads", Stage::kLoaded);
  plan.Add("C_Initialize", "one-of-many-threads-wins", [](Trial& t) {
    for (int round = 0; round < 5; ++round) {
      std::atomic<int> won{0}, late{0};
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
          const CK_RV rv = Initialise(t.p11, t.settings);
          if (rv == CKR_OK) ++won;
          if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) ++late;
        });
      }
      for (std::thread& thread : threads) thread.join();
      t.Check(won == 1 && late == kThreads - 1, "one thread initialises, the others are told so");
      WANT(t, CKR_OK, t.p11->C_Finalize(nullptr));
    }
  });
  plan.Chapter("threads", Stage::kUser);
  plan.Add("C_Digest", "in-many-threads", [](Trial& t) {
    Bytes right;
    if (!t.Expect(DigestOf(t.p11, t.session, right), {CKR_OK}, "C_Digest")) return;
    const int good = InThreads(t, kThreads, [&](CK_SESSION_HANDLE own) {
      Bytes out;
      for (int i = 0; i < kRounds; ++i) {
        if (DigestOf(t.p11, own, out) != CKR_OK || out != right) return false;
      }
      return true;
    });
    t.Check(good == kThreads, "every thread has its digest");
  });
  plan.Add("C_GenerateKey", "in-many-threads", [](Trial& t) {
    const int good = InThreads(t, kThreads, [&](CK_SESSION_HANDLE own) {
      for (int i = 0; i < 10; ++i) {
        const auto key = t.keys.Make(own, CKK_AES, Purpose::kCipher);
        if (!key.ok() || t.p11->C_DestroyObject(own, key->first) != CKR_OK) return false;
      }
      return true;
    });
    t.Check(good == kThreads, "every thread makes and destroys its keys");
  });
  plan.Add("C_Encrypt", "with-one-key-in-many-threads", [](Trial& t) {
    const auto key = t.keys.Get(CKK_AES, Purpose::kCipher);
    if (!key.ok()) return t.NotOffered(key.error());
    const int good = InThreads(t, kThreads, [&](CK_SESSION_HANDLE own) {
      CK_BYTE iv[16] = {}, out[64];
      CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv, sizeof iv};
      for (int i = 0; i < kRounds; ++i) {
        CK_ULONG length = sizeof out;
        if (t.p11->C_EncryptInit(own, &mechanism, key->first) != CKR_OK) return false;
        if (t.p11->C_Encrypt(own, iv, sizeof iv, out, &length) != CKR_OK || length != 32) return false;
      }
      return true;
    });
    t.Check(good == kThreads, "every thread encrypts");
  });
  plan.Add("C_FindObjects", "while-others-make-objects", [](Trial& t) {
    const int good = InThreads(t, kThreads, [&](CK_SESSION_HANDLE own) {
      for (int i = 0; i < 10; ++i) {
        Template data;
        data.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, false).Bool(CKA_PRIVATE, false).Text(CKA_VALUE, "x");
        CK_OBJECT_HANDLE made = 0, found[50];
        CK_ULONG count = 0;
        if (t.p11->C_CreateObject(own, data.data(), data.size(), &made) != CKR_OK) return false;
        if (t.p11->C_FindObjectsInit(own, nullptr, 0) != CKR_OK) return false;
        if (t.p11->C_FindObjects(own, found, 50, &count) != CKR_OK || count == 0) return false;
        if (t.p11->C_FindObjectsFinal(own) != CKR_OK || t.p11->C_DestroyObject(own, made) != CKR_OK) return false;
      }
      return true;
    });
    t.Check(good == kThreads, "every thread finds objects");
  });
  plan.Add("C_OpenSession", "opened-and-closed-by-many-threads", [](Trial& t) {
    const int good = InThreads(t, kThreads, [&](CK_SESSION_HANDLE) {
      for (int i = 0; i < kRounds; ++i) {
        CK_SESSION_HANDLE one = 0;
        if (t.p11->C_OpenSession(t.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &one) != CKR_OK) return false;
        if (t.p11->C_CloseSession(one) != CKR_OK) return false;
      }
      return true;
    });
    t.Check(good == kThreads, "every thread opens and closes");
  });
}

void AddFork(Plan& plan) {
  plan.Chapter("fork", Stage::kUser);
  plan.Add("C_Initialize", "in-a-forked-child", [](Trial& t) {
    const int status = InChild([&] {
      if (Initialise(t.p11, t.settings) != CKR_OK) return false;
      const auto slot = FindSlot(t.p11, t.settings.token);
      CK_SESSION_HANDLE own = 0;
      if (!slot.ok() || t.p11->C_OpenSession(*slot, CKF_SERIAL_SESSION, nullptr, nullptr, &own) != CKR_OK) return false;
      return t.p11->C_Login(own, CKU_USER, Ptr(t.settings.pin), t.settings.pin.size()) == CKR_OK &&
             t.p11->C_Finalize(nullptr) == CKR_OK;
    });
    t.Check(status == 0, "a child initialises for itself and logs in");
    CK_SESSION_INFO info{};
    NEED(t, CKR_OK, t.p11->C_GetSessionInfo(t.session, &info));
    t.Check(info.state == CKS_RW_USER_FUNCTIONS, "the parent goes on");
  });
  plan.Add("C_GetSessionInfo", "of-the-parent-in-a-forked-child", [](Trial& t) {
    const int status = InChild([&] {
      CK_SESSION_INFO info{};
      return t.p11->C_GetSessionInfo(t.session, &info) == CKR_CRYPTOKI_NOT_INITIALIZED;
    });
    t.Check(status == 0, "a child that did not initialise is told so");
  });
  plan.Add("C_Initialize", "forked-while-threads-call", [](Trial& t) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        CK_SESSION_INFO info{};
        while (!stop) (void)t.p11->C_GetSessionInfo(t.session, &info);
      });
    }
    for (int round = 0; round < 5; ++round) {
      t.Check(InChild([&] {
                return Initialise(t.p11, t.settings) == CKR_OK && FindSlot(t.p11, t.settings.token).ok();
              }) == 0,
              "a child of a busy process initialises for itself");
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
  });
  plan.Add("C_Finalize", "a-process-that-ends-without-it", [](Trial& t) {
    t.Check(
        InChild([&] { return Initialise(t.p11, t.settings) == CKR_OK && FindSlot(t.p11, t.settings.token).ok(); }) == 0,
        "a child may end without C_Finalize");
    CK_SESSION_INFO info{};
    WANT(t, CKR_OK, t.p11->C_GetSessionInfo(t.session, &info));
  });
}

}  // namespace

void AddProcesses(Plan& plan) {
  AddThreads(plan);
  AddFork(plan);
}

}  // namespace cmkd::conformance
