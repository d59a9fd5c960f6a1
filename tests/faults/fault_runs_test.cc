// Every function of the device × what can go wrong × before and after the effect, while two threads work: nothing that
// was acknowledged is lost, no answer is wrong, the daemon lives, and one fault is at most one defined error. Runs
// inside `cmkctl sandbox --hsm firmware_sim --faults FILE`.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "pkcs11/spec/return_values.h"
#include "tests/module/loaded_module.h"

namespace cmkd::tests {
namespace {

const Bytes kMessage = ToBytes(AsBytes("what goes in must come out again, whatever the device does"));

// What a program may be told when the device failed under it: something that it can report or try again.
bool IsDefined(CK_RV rv) {
  return rv == CKR_DEVICE_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_GENERAL_ERROR || rv == CKR_DEVICE_MEMORY ||
         rv == CKR_DEVICE_REMOVED;
}

// One thread of the program: its session and what it asks of the device.
class Worker {
 public:
  Worker(LoadedModule& p11, CK_SLOT_ID slot, const std::string& name) : p11_(p11), name_(name) {
    EXPECT_EQ(p11_.Open(slot, session_), CKR_OK);
  }

  // Keys and reference answers, before anything goes wrong.
  void Prepare() {
    Template more;
    more.Bool(CKA_TOKEN, true).Text(CKA_LABEL, name_ + "-aes").Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
    ASSERT_EQ(p11_.GenerateAes(session_, more, aes_), CKR_OK);
    Template mac;
    mac.Bool(CKA_TOKEN, true).Text(CKA_LABEL, name_ + "-mac").Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true);
    mac.Ulong(CKA_VALUE_LEN, 32);
    CK_MECHANISM generate{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
    ASSERT_EQ(p11_->C_GenerateKey(session_, &generate, mac.data(), mac.size(), &mac_), CKR_OK);
    Template pub, priv;
    pub.Bool(CKA_TOKEN, false).Raw(CKA_EC_PARAMS, {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07});
    pub.Bool(CKA_VERIFY, true);
    priv.Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true);
    CK_MECHANISM pair{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
    ASSERT_EQ(
        p11_->C_GenerateKeyPair(session_, &pair, pub.data(), pub.size(), priv.data(), priv.size(), &public_, &private_),
        CKR_OK);
    ASSERT_EQ(Mac(mac_value_), CKR_OK);
    ASSERT_EQ(Encrypt(sealed_), CKR_OK);
  }

  // One round of everything. Each failure is told of, and the same is then asked again until it works.
  void Work(bool with_new_key) {
    Until([&] {
      Bytes value;
      const CK_RV rv = Mac(value);
      EXPECT_TRUE(rv != CKR_OK || value == mac_value_) << "a wrong MAC";
      return rv;
    });
    Until([&] {
      Bytes sealed;
      const CK_RV rv = Encrypt(sealed);
      EXPECT_TRUE(rv != CKR_OK || sealed == sealed_) << "a wrong ciphertext";
      return rv;
    });
    Until([&] {
      Bytes opened;
      const CK_RV rv = Decrypt(opened);
      EXPECT_TRUE(rv != CKR_OK || opened == kMessage) << "a wrong plaintext";
      return rv;
    });
    Bytes signature;
    Until([&] { return Sign(signature); });
    Until([&] { return VerifySignature(signature); });
    Until([&] {
      CK_BYTE random[16] = {};
      return p11_->C_GenerateRandom(session_, random, sizeof random);
    });
    if (with_new_key) Until([&] { return MakeKey(); });
  }

  // Everything that was acknowledged is there and works.
  void CheckKept() {
    for (const std::string& label : acknowledged_) {
      const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, label));
      ASSERT_EQ(found.size(), 1u) << label;
      Bytes sealed;
      EXPECT_EQ(EncryptWith(found.front(), sealed), CKR_OK) << label;
    }
  }

  std::vector<CK_RV> TakeErrors() { return std::exchange(errors_, {}); }

 private:
  template <class Work>
  void Until(Work work) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      const CK_RV rv = work();
      if (rv == CKR_OK) return;
      errors_.push_back(rv);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "it does not work again";
  }

  CK_RV Transform(CK_RV init, CK_C_Encrypt function, const Bytes& in, Bytes& out) {
    if (init != CKR_OK) return init;
    out.assign(256, 0);
    CK_ULONG length = out.size();
    const CK_RV rv = function(session_, BytePtr(in), in.size(), out.data(), &length);
    EXPECT_TRUE(rv != CKR_OK || length <= out.size()) << "more than there was room for";
    out.resize(rv == CKR_OK ? std::min<std::size_t>(length, out.size()) : 0);
    return rv;
  }
  CK_RV EncryptWith(CK_OBJECT_HANDLE key, Bytes& out) {
    Gcm gcm;
    return Transform(p11_->C_EncryptInit(session_, &gcm.mechanism, key), p11_->C_Encrypt, kMessage, out);
  }
  CK_RV Encrypt(Bytes& out) { return EncryptWith(aes_, out); }
  CK_RV Decrypt(Bytes& out) {
    Gcm gcm;
    return Transform(p11_->C_DecryptInit(session_, &gcm.mechanism, aes_), p11_->C_Decrypt, sealed_, out);
  }
  CK_RV Mac(Bytes& out) {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    return Transform(p11_->C_SignInit(session_, &mechanism, mac_), p11_->C_Sign, kMessage, out);
  }
  CK_RV Sign(Bytes& out) {
    CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
    return Transform(p11_->C_SignInit(session_, &mechanism, private_), p11_->C_Sign, kMessage, out);
  }
  CK_RV VerifySignature(const Bytes& signature) {
    CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
    if (const CK_RV rv = p11_->C_VerifyInit(session_, &mechanism, public_); rv != CKR_OK) return rv;
    return p11_->C_Verify(session_, BytePtr(kMessage), kMessage.size(), BytePtr(signature), signature.size());
  }
  // Under a name of its own: an error may leave a key behind, which is not what was acknowledged.
  CK_RV MakeKey() {
    const std::string label = name_ + '-' + std::to_string(++keys_);
    CK_OBJECT_HANDLE key = 0;
    Template more;
    more.Bool(CKA_TOKEN, true).Text(CKA_LABEL, label).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
    const CK_RV rv = p11_.GenerateAes(session_, more, key);
    if (rv == CKR_OK) acknowledged_.push_back(label);
    return rv;
  }

  LoadedModule& p11_;
  const std::string name_;
  CK_SESSION_HANDLE session_ = 0;
  CK_OBJECT_HANDLE aes_ = 0, mac_ = 0, public_ = 0, private_ = 0;
  Bytes mac_value_, sealed_;
  std::vector<std::string> acknowledged_;
  std::vector<CK_RV> errors_;
  int keys_ = 0;
};

class FaultRuns : public ::testing::Test {
 protected:
  static constexpr int kWorkers = 2;

  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN", "CMKD_FAULTS", "CMKD_SANDBOX_DIR"}) {
      ASSERT_NE(std::getenv(name), nullptr) << "run it in cmkctl sandbox --hsm firmware_sim --faults FILE";
    }
    Script("");
    ASSERT_TRUE(p11_.loaded());
    CK_C_INITIALIZE_ARGS threads{};
    threads.flags = CKF_OS_LOCKING_OK;
    ASSERT_EQ(p11_->C_Initialize(&threads), CKR_OK);
    const auto slot = p11_.FindToken(std::getenv("P11_TOKEN"));
    ASSERT_TRUE(slot.has_value());
    CK_SESSION_HANDLE session = 0;
    ASSERT_EQ(p11_.Open(*slot, session), CKR_OK);
    ASSERT_EQ(p11_.Login(session, std::getenv("P11_PIN")), CKR_OK);
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    for (int i = 0; i < kWorkers; ++i) {
      workers_.push_back(std::make_unique<Worker>(p11_, *slot, test + std::to_string(i)));
      workers_.back()->Prepare();
      if (HasFatalFailure()) return;
    }
  }
  void TearDown() override {
    Script("");
    for (auto& worker : workers_) worker->CheckKept();
    EXPECT_EQ(::kill(std::stoi(std::getenv("CMKD_DAEMON_PID")), 0), 0) << "the daemon is gone";
  }

  // Replaced as a whole, so that the device never reads half of it.
  static void Script(const std::string& text) {
    const std::string path = std::getenv("CMKD_FAULTS");
    std::ofstream(path + ".new", std::ios::trunc) << "# " << ++serial_ << '\n' << text << '\n';
    ASSERT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
  }
  // How many faults the device has told of.
  static int Told() {
    std::ifstream log(std::string(std::getenv("CMKD_SANDBOX_DIR")) + "/cmkd.log");
    int told = 0;
    for (std::string line; std::getline(log, line);) told += line.find("firmware_sim: fault:") != line.npos ? 1 : 0;
    return told;
  }

  // Both workers at work under the script; whether it did anything, and the errors that they saw.
  struct Outcome {
    int faults = 0;
    std::vector<CK_RV> errors;
  };
  Outcome Run(const std::string& script, int rounds = 1, bool with_new_keys = true) {
    const int before = Told();
    Script(script);
    std::vector<std::thread> threads;
    for (auto& worker : workers_) {
      threads.emplace_back([&worker, rounds, with_new_keys] {
        for (int i = 0; i < rounds; ++i) worker->Work(with_new_keys);
      });
    }
    for (std::thread& thread : threads) thread.join();
    Outcome outcome{Told() - before, {}};
    for (auto& worker : workers_) {
      for (const CK_RV rv : worker->TakeErrors()) outcome.errors.push_back(rv);
    }
    return outcome;
  }
  // The same, held to what one fault may cost.
  int RunAndJudge(const std::string& script, std::size_t errors_max) {
    const Outcome outcome = Run(script);
    EXPECT_LE(outcome.errors.size(), errors_max) << script;
    for (const CK_RV rv : outcome.errors) EXPECT_TRUE(IsDefined(rv)) << script << ": " << spec::ReturnValueName(rv);
    return outcome.faults;
  }

  LoadedModule p11_;
  std::vector<std::unique_ptr<Worker>> workers_;

 private:
  static inline int serial_ = 0;
};

constexpr const char* kCodes[] = {"CKR_DEVICE_ERROR",   "CKR_GENERAL_ERROR",          "CKR_FUNCTION_FAILED",
                                  "CKR_DEVICE_MEMORY",  "CKR_SESSION_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID",
                                  "CKR_DEVICE_REMOVED", "CKR_USER_NOT_LOGGED_IN",     "CKR_OPERATION_ACTIVE"};

TEST_F(FaultRuns, OneErrorOfAnyFunctionIsAtMostOneErrorOfTheProgram) {
  std::map<std::string_view, int> hit;
  for (const spec::CallRow& row : spec::kCalls) {
    if (row.arity == 0) continue;
    for (const char* code : kCodes) {
      int faults = 0;
      for (const char* when : {"before", "after"}) {
        const std::string rule = "on " + std::string(row.name) + " times 1 return " + code + ' ' + when;
        faults += RunAndJudge(rule, 1);
        if (HasFatalFailure()) return;
      }
      hit[row.name] += faults;
      // The daemon does not use this function at such work.
      if (faults == 0) break;
    }
  }
  std::erase_if(hit, [](const auto& each) { return each.second == 0; });
  EXPECT_GE(hit.size(), 12u) << "the faults reach few functions";
}

TEST_F(FaultRuns, LostSessionsAndLoginsAreNotNoticed) {
  int faults = 0;
  for (const char* call : {"C_Encrypt", "C_EncryptInit", "C_Sign", "C_Decrypt", "C_GenerateKey", "C_UnwrapKey"}) {
    for (const char* action : {"drop-sessions before", "drop-sessions after", "logout before", "logout after"}) {
      faults += RunAndJudge("on " + std::string(call) + " times 1 " + action, 1);
    }
  }
  EXPECT_GE(faults, 16);
}

TEST_F(FaultRuns, WrongLengthsAreNoWrongAnswers) {
  int faults = 0;
  for (const char* call : {"C_Encrypt", "C_Decrypt", "C_Sign", "C_WrapKey", "C_GetAttributeValue", "C_FindObjects"}) {
    for (const char* length : {"+1", "-1", "=0", "+100000"}) {
      faults += RunAndJudge("on " + std::string(call) + " times 1 length " + length, 1);
    }
  }
  EXPECT_GE(faults, 8);
}

TEST_F(FaultRuns, APowerCutInAnyFunctionCostsAtMostOneErrorEach) {
  // A host that ends again and again is started with longer and longer pauses; so few cuts are within the daemon's
  // patience.
  int faults = 0;
  for (const char* call : {"C_Encrypt", "C_GenerateKey", "C_WrapKey"}) {
    for (const char* when : {"before", "after"}) {
      faults += RunAndJudge("on " + std::string(call) + " times 1 power-cut " + when, kWorkers);
    }
  }
  EXPECT_EQ(faults, 6);
}

TEST_F(FaultRuns, ManyErrorsUnderLoadLoseNothing) {
  const Outcome outcome =
      Run("seed 11\n"
          "on C_Encrypt*,C_Decrypt*,C_Sign*,C_UnwrapKey,C_WrapKey chance 3% return CKR_DEVICE_ERROR\n"
          "on C_Sign chance 3% return CKR_FUNCTION_FAILED after\n"
          "on C_* chance 0.3% drop-sessions\n"
          "on * chance 10% delay exponential 500us",
          60);
  EXPECT_GE(outcome.faults, 10);
  EXPECT_LE(outcome.errors.size(), static_cast<std::size_t>(outcome.faults));
  for (const CK_RV rv : outcome.errors) EXPECT_TRUE(IsDefined(rv)) << spec::ReturnValueName(rv);
}

TEST_F(FaultRuns, ASlowDeviceIsOnlySlow) {
  const Outcome outcome = Run("on * delay uniform 1ms 5ms", 2);
  EXPECT_TRUE(outcome.errors.empty());
}

}  // namespace
}  // namespace cmkd::tests
