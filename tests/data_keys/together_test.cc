// Several programs at once, each with several threads, on one token: data keys of both kinds, MACs, random bytes, and
// keys of their own that come and go, while an operator rotates what they all use and gives the token new wrapping
// keys. Nothing that was answered may be lost or be another's. The sanitizers find more here than the checks do.
#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

#include "tests/data_keys/data_keys_fixture.h"

namespace cmkd::tests {
namespace {

constexpr int kPrograms = 3;
constexpr int kThreads = 3;
constexpr int kRoundsMin = 12;
// Fewer than the versions that are tried, so that the first thing wrapped opens at the end.
constexpr int kRotations = 6;
constexpr CK_KEY_TYPE kAes = CKK_AES;

// One thread of one program. Its first failure is its last step; what it was goes to standard error.
class Worker {
 public:
  Worker(const LoadedModule& p11, CK_SLOT_ID slot, std::string keys, std::string name)
      : p11_(p11), own_(p11.Own()), slot_(slot), keys_(std::move(keys)), name_(std::move(name)) {}

  // Works until the operator is done.
  bool Run(const std::atomic<bool>& over) {
    bool good = Is(p11_.Open(slot_, session_), "C_OpenSession") && FindKeys() && SignOnce(first_mac_) &&
                DataKey(first_data_key_);
    for (int round = 0; good && (round < kRoundsMin || !over); ++round) {
      good = DrawDataKey() && ThrowawayKey(round) && OwnKey(round) && MacHolds() && Random() && NewSession();
    }
    // What was made before the first rotation still opens after the last.
    return good && Opens(first_data_key_) && MacHolds() && Is(p11_->C_CloseSession(session_), "C_CloseSession");
  }

 private:
  struct Sealed {
    Bytes plain, sealed;
  };

  bool Is(CK_RV rv, const char* what, CK_RV wanted = CKR_OK) {
    if (rv == wanted) return true;
    std::fprintf(stderr, "%s: %s gave 0x%lX\n", name_.c_str(), what, rv);
    return false;
  }
  bool Holds(bool condition, const char* what) {
    if (!condition) std::fprintf(stderr, "%s: %s\n", name_.c_str(), what);
    return condition;
  }

  bool FindKeys() {
    const auto find = [&](const char* which, CK_OBJECT_HANDLE& key) {
      const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, keys_ + which));
      if (!Holds(found.size() == 1, "a shared key is not found")) return false;
      key = found.front();
      return true;
    };
    return find("-encrypt", encrypt_) && find("-wrap", wrap_) && find("-mac", mac_);
  }

  // ---- Keys of the interface CMKD
  bool DataKey(Sealed& made) {
    made = {Bytes(32), Bytes(32 + CMKD_MANAGED_OVERHEAD)};
    CK_ULONG plain = made.plain.size(), sealed = made.sealed.size();
    return Is(own_->GenerateDataKey(session_, &managed_.mechanism, encrypt_, 32, made.plain.data(), &plain,
                                    made.sealed.data(), &sealed),
              "GenerateDataKey");
  }
  bool Opens(const Sealed& made) {
    Bytes plain(64);
    CK_ULONG length = plain.size();
    if (!Is(own_->DecryptManaged(session_, &managed_.mechanism, CK_INVALID_HANDLE, BytePtr(made.sealed),
                                 made.sealed.size(), plain.data(), &length),
            "DecryptManaged")) {
      return false;
    }
    plain.resize(length);
    return Holds(plain == made.plain, "a data key opens as another");
  }
  bool DrawDataKey() {
    Sealed made;
    return DataKey(made) && Opens(made);
  }

  // ---- Session keys that are wrapped, thrown away and unwrapped
  bool Encrypted(CK_OBJECT_HANDLE key, Bytes& out) {
    const Bytes text(48, 0x2A);
    Gcm gcm;
    CK_ULONG length = 128;
    out.resize(length);
    if (!Is(p11_->C_EncryptInit(session_, &gcm.mechanism, key), "C_EncryptInit")) return false;
    if (!Is(p11_->C_Encrypt(session_, BytePtr(text), text.size(), out.data(), &length), "C_Encrypt")) return false;
    out.resize(length);
    return true;
  }
  bool ThrowawayKey(int round) {
    CK_OBJECT_HANDLE key = 0, again = 0;
    Template wanted;
    wanted.Bool(CKA_TOKEN, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
    // Now and then by another template, so that what is remembered of templates changes.
    if (round % 3 == 0) wanted.Text(CKA_LABEL, name_);
    if (!Is(p11_.GenerateAes(session_, wanted, key), "C_GenerateKey")) return false;
    Bytes before, after, wrapped(64);
    CK_ULONG length = wrapped.size();
    CK_MECHANISM kw{CKM_AES_KEY_WRAP, nullptr, 0};
    if (round % 2 == 0 && !Encrypted(key, before)) return false;
    if (!Is(p11_->C_WrapKey(session_, &kw, wrap_, key, wrapped.data(), &length), "C_WrapKey")) return false;
    if (round % 2 != 0 && !Encrypted(key, before)) return false;
    if (!Is(p11_->C_DestroyObject(session_, key), "C_DestroyObject")) return false;
    Template opened;
    opened.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, kAes).Bool(CKA_TOKEN, false);
    opened.Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
    if (!Is(p11_->C_UnwrapKey(session_, &kw, wrap_, wrapped.data(), length, opened.data(), opened.size(), &again),
            "C_UnwrapKey")) {
      return false;
    }
    Gcm gcm;
    return Encrypted(again, after) && Holds(before == after, "a wrapped key comes back as another") &&
           Is(p11_->C_EncryptInit(session_, &gcm.mechanism, key), "C_EncryptInit of a destroyed key",
              CKR_KEY_HANDLE_INVALID) &&
           Is(p11_->C_DestroyObject(session_, again), "C_DestroyObject");
  }

  // ---- A key on the token, this thread's own
  bool OwnKey(int round) {
    if (round % 4 != 0) return true;
    const std::string label = name_ + '.' + std::to_string(round);
    CK_OBJECT_HANDLE key = 0;
    if (!Is(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, label), key),
            "C_GenerateKey on the token")) {
      return false;
    }
    Bytes sealed;
    return Encrypted(key, sealed) &&
           Holds(p11_.Find(session_, Template().Text(CKA_LABEL, label)).size() == 1, "a new key is not found") &&
           Is(p11_->C_DestroyObject(session_, key), "C_DestroyObject on the token") &&
           Holds(p11_.Find(session_, Template().Text(CKA_LABEL, label)).empty(), "a destroyed key is found") &&
           Is(UseOf(key), "C_EncryptInit of a destroyed token key", CKR_KEY_HANDLE_INVALID);
  }
  CK_RV UseOf(CK_OBJECT_HANDLE key) {
    Gcm gcm;
    return p11_->C_EncryptInit(session_, &gcm.mechanism, key);
  }

  // ---- MACs over rotations
  bool SignOnce(Bytes& mac) {
    CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
    mac.resize(32);
    CK_ULONG length = mac.size();
    return Is(p11_->C_SignInit(session_, &hmac, mac_), "C_SignInit") &&
           Is(p11_->C_Sign(session_, BytePtr(text_), text_.size(), mac.data(), &length), "C_Sign");
  }
  bool MacHolds() {
    CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
    return Is(p11_->C_VerifyInit(session_, &hmac, mac_), "C_VerifyInit") &&
           Is(p11_->C_Verify(session_, BytePtr(text_), text_.size(), first_mac_.data(), first_mac_.size()), "C_Verify");
  }

  bool Random() {
    Bytes one(32), two(32);
    return Is(p11_->C_GenerateRandom(session_, one.data(), one.size()), "C_GenerateRandom") &&
           Is(p11_->C_GenerateRandom(session_, two.data(), two.size()), "C_GenerateRandom") &&
           Holds(one != two, "the same random bytes twice");
  }
  bool NewSession() {
    CK_SESSION_HANDLE next = 0;
    if (!Is(p11_.Open(slot_, next), "C_OpenSession")) return false;
    return Is(p11_->C_CloseSession(std::exchange(session_, next)), "C_CloseSession");
  }

  const LoadedModule& p11_;
  CK_CMKD_FUNCTION_LIST* const own_;
  const CK_SLOT_ID slot_;
  const std::string keys_;
  const std::string name_;
  const Bytes text_ = Bytes(64, 0x5C);
  Managed managed_;
  CK_SESSION_HANDLE session_ = 0;
  CK_OBJECT_HANDLE encrypt_ = 0, wrap_ = 0, mac_ = 0;
  Bytes first_mac_;
  Sealed first_data_key_;
};

class TogetherTest : public DataKeysTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(DataKeysTest::SetUp());
    void* shared = ::mmap(nullptr, sizeof *over_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    over_ = new (shared) std::atomic<bool>(false);
  }
  void TearDown() override { ::munmap(over_, sizeof *over_); }

  // A program of its own: initialises, logs in, and lets its threads work.
  bool Program(const std::string& name) {
    CK_SESSION_HANDLE session = 0;
    if (p11_->C_Initialize(nullptr) != CKR_OK || p11_.Open(slot_, session) != CKR_OK) return false;
    if (p11_.Login(session, std::getenv("P11_PIN")) != CKR_OK) return false;
    std::atomic<int> good{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        if (Worker(p11_, slot_, name_, name + '.' + std::to_string(i)).Run(*over_)) ++good;
      });
    }
    for (std::thread& thread : threads) thread.join();
    return good == kThreads && p11_->C_Finalize(nullptr) == CKR_OK;
  }
  pid_t InChild(const std::string& name) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(Program(name) ? 0 : 1);
    return child;
  }

  std::atomic<bool>* over_ = nullptr;  // shared with the programs
};

TEST_F(TogetherTest, NothingIsLostAndNothingIsAnothers) {
  Make(name_ + "-encrypt");
  Make(name_ + "-wrap", "AES-256", "wrap");
  Make(name_ + "-mac", "HMAC-256", "sign");
  std::vector<pid_t> programs;
  for (int i = 0; i < kPrograms; ++i) programs.push_back(InChild(name_ + '-' + std::to_string(i)));
  for (int i = 0; i < kRotations; ++i) {
    for (const char* which : {"-encrypt", "-wrap", "-mac"}) Operator("key rotate " + name_ + which);
    if (i == kRotations / 2) Operator("token new-epoch " + std::string(std::getenv("P11_TOKEN")));
  }
  *over_ = true;
  for (const pid_t program : programs) {
    int status = -1;
    ASSERT_EQ(::waitpid(program, &status, 0), program);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  Operator("hsm reconcile");
}

}  // namespace
}  // namespace cmkd::tests
