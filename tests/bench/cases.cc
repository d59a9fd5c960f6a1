// The calls of each case.
#include "tests/bench/cases.h"

#include <cstring>
#include <iterator>
#include <random>

namespace cmkd::bench {

namespace {

// A session, and the key with this label; the case is left out where the key could not be made.
class KeyRun : public Run {
 public:
  KeyRun(const Token& token, CK_OBJECT_CLASS object_class, std::string_view label)
      : token_(token), session_(token.OpenSession()) {
    if (label.empty()) return;
    key_ = FindByLabel(token, session_, object_class, label);
    if (key_ == CK_INVALID_HANDLE) throw NotOffered("the module makes no such key");
  }
  ~KeyRun() override { token_->C_CloseSession(session_); }

 protected:
  const Token& token_;
  const CK_SESSION_HANDLE session_;
  CK_OBJECT_HANDLE key_ = CK_INVALID_HANDLE;
};

template <std::size_t bytes>
class Gcm final : public KeyRun {
 public:
  explicit Gcm(const Token& token) : KeyRun(token, CKO_SECRET_KEY, kAesLabel), plain_(bytes), sealed_(bytes + 16) {}
  void Once() override {
    // A fresh IV each time, as a careful caller does; what one costs is not the module's.
    ++counter_;
    std::memcpy(iv_, &counter_, sizeof counter_);
    CK_GCM_PARAMS parameter{};
    parameter.pIv = iv_;
    parameter.ulIvLen = sizeof iv_;
    parameter.ulIvBits = 8 * sizeof iv_;
    parameter.ulTagBits = 128;
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
    CK_ULONG length = sealed_.size();
    Check(token_->C_EncryptInit(session_, &mechanism, key_), "C_EncryptInit");
    Check(token_->C_Encrypt(session_, plain_.data(), plain_.size(), sealed_.data(), &length), "C_Encrypt");
  }

 private:
  std::vector<CK_BYTE> plain_;
  std::vector<CK_BYTE> sealed_;
  CK_BYTE iv_[12] = {};
  std::uint64_t counter_ = std::random_device{}();
};

template <CK_MECHANISM_TYPE type, std::size_t bytes>
class Signing final : public KeyRun {
 public:
  Signing(const Token& token, CK_OBJECT_CLASS object_class, std::string_view label)
      : KeyRun(token, object_class, label) {}
  void Once() override {
    CK_MECHANISM mechanism{type, nullptr, 0};
    CK_ULONG length = sizeof signature_;
    Check(token_->C_SignInit(session_, &mechanism, key_), "C_SignInit");
    Check(token_->C_Sign(session_, data_, bytes, signature_, &length), "C_Sign");
  }

 private:
  CK_BYTE data_[bytes] = {1, 2, 3};
  CK_BYTE signature_[512];
};

// A data key as envelope encryption has it: made, wrapped under the token's key, destroyed.
class DataKey final : public KeyRun {
 public:
  explicit DataKey(const Token& token) : KeyRun(token, CKO_SECRET_KEY, kWrapLabel) {}
  void Once() override {
    CK_MECHANISM generation{CKM_AES_KEY_GEN, nullptr, 0};
    CK_ULONG bytes = 32;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE attributes[] = {{CKA_VALUE_LEN, &bytes, sizeof bytes}, {CKA_TOKEN, &no, sizeof no},
                                 {CKA_ENCRYPT, &yes, sizeof yes},       {CKA_DECRYPT, &yes, sizeof yes},
                                 {CKA_SENSITIVE, &yes, sizeof yes},     {CKA_EXTRACTABLE, &yes, sizeof yes}};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    Check(token_->C_GenerateKey(session_, &generation, attributes, std::size(attributes), &made), "C_GenerateKey");
    CK_MECHANISM wrapping{CKM_AES_KEY_WRAP, nullptr, 0};
    CK_BYTE wrapped[64];
    CK_ULONG length = sizeof wrapped;
    Check(token_->C_WrapKey(session_, &wrapping, key_, made, wrapped, &length), "C_WrapKey");
    Check(token_->C_DestroyObject(session_, made), "C_DestroyObject");
  }
};

class Random final : public KeyRun {
 public:
  explicit Random(const Token& token) : KeyRun(token, 0, {}) {}
  void Once() override { Check(token_->C_GenerateRandom(session_, bytes_, sizeof bytes_), "C_GenerateRandom"); }

 private:
  CK_BYTE bytes_[32];
};

class Find final : public KeyRun {
 public:
  Find(const Token& token, std::size_t keys) : KeyRun(token, 0, {}), keys_(keys) {
    if (keys == 0) throw NotOffered("no keys were made to be found (--keys)");
  }
  void Once() override {
    const std::string label = FillLabel(random_() % keys_);
    if (FindByLabel(token_, session_, CKO_SECRET_KEY, label) == CK_INVALID_HANDLE)
      throw Trouble("the key " + label + " was not found");
  }

 private:
  const std::size_t keys_;
  std::minstd_rand random_;
};

// A key with many versions, as an operator's rotations make it (compare.sh); what its first version sealed is in a
// file.
class Rotated : public KeyRun {
 public:
  Rotated(const Token& token, const CaseOptions& options) : KeyRun(token, 0, {}) {
    if (options.versions == 0) throw NotOffered("no key was rotated (--versions)");
    const std::string label = RotatedLabel(options.versions);
    key_ = FindByLabel(token, session_, CKO_SECRET_KEY, label);
    if (key_ == CK_INVALID_HANDLE) throw Trouble("there is no key " + label);
  }
};

class ManagedEncrypt final : public Rotated {
 public:
  using Rotated::Rotated;
  void Once() override { SealManaged(token_, session_, key_); }
};

class ManagedDecrypt final : public Rotated {
 public:
  ManagedDecrypt(const Token& token, const CaseOptions& options, bool oldest) : Rotated(token, options) {
    sealed_ = oldest ? ReadWhole(options.old_ciphertext) : SealManaged(token, session_, key_);
  }
  void Once() override {
    CK_MECHANISM mechanism{CKM_CMKD_AES_MANAGED, nullptr, 0};
    CK_BYTE plain[128];
    CK_ULONG length = sizeof plain;
    Check(token_->C_DecryptInit(session_, &mechanism, key_), "C_DecryptInit");
    Check(token_->C_Decrypt(session_, sealed_.data(), sealed_.size(), plain, &length), "C_Decrypt");
  }

 private:
  std::vector<CK_BYTE> sealed_;
};

class Create final : public KeyRun {
 public:
  explicit Create(const Token& token) : KeyRun(token, 0, {}) {}
  void Once() override { made_ = MakeAesKey(token_, session_, "bench-made-" + std::to_string(random_())); }
  void After() override { Check(token_->C_DestroyObject(session_, made_), "C_DestroyObject"); }

 private:
  std::random_device random_;
  CK_OBJECT_HANDLE made_ = CK_INVALID_HANDLE;
};

class OpenSession final : public KeyRun {
 public:
  explicit OpenSession(const Token& token) : KeyRun(token, 0, {}) {}
  void Once() override { token_->C_CloseSession(token_.OpenSession()); }
};

template <class Made, auto... arguments>
std::unique_ptr<Run> Prepare(const Token& token, const CaseOptions&) {
  return std::make_unique<Made>(token, arguments...);
}

constexpr Case kCases[] = {
    {"gcm-32", "AES-256-GCM, 32 bytes, with Init", 32, 0, "", Prepare<Gcm<32>>},
    {"gcm-4k", "AES-256-GCM, 4 KiB, with Init", 4096, 0, "", Prepare<Gcm<4096>>},
    {"gcm-1m", "AES-256-GCM, 1 MiB, with Init", std::size_t{1} << 20, 0, "", Prepare<Gcm<std::size_t{1} << 20>>},
    {"hmac-64", "HMAC-SHA-256, 64 bytes, with Init", 64, 0, "",
     [](const Token& token, const CaseOptions&) -> std::unique_ptr<Run> {
       return std::make_unique<Signing<CKM_SHA256_HMAC, 64>>(token, CKO_SECRET_KEY, kHmacLabel);
     }},
    {"ecdsa-p256", "ECDSA P-256, sign a digest", 32, 0, "",
     [](const Token& token, const CaseOptions&) -> std::unique_ptr<Run> {
       return std::make_unique<Signing<CKM_ECDSA, 32>>(token, CKO_PRIVATE_KEY, kEcLabel);
     }},
    {"rsa-2048", "RSA-2048 PKCS #1, sign with SHA-256", 32, 0, "",
     [](const Token& token, const CaseOptions&) -> std::unique_ptr<Run> {
       return std::make_unique<Signing<CKM_SHA256_RSA_PKCS, 32>>(token, CKO_PRIVATE_KEY, kRsaLabel);
     }},
    {"data-key", "data key: generate, wrap, destroy", 0, 0, "", Prepare<DataKey>},
    {"random-32", "random, 32 bytes", 32, 0, "", Prepare<Random>},
    {"find-label", "find a key by its label", 0, 0, "keys",
     [](const Token& token, const CaseOptions& options) -> std::unique_ptr<Run> {
       return std::make_unique<Find>(token, options.keys);
     }},
    {"create", "create an AES key on the token", 0, 400, "", Prepare<Create>},
    {"session", "open and close a session", 0, 0, "", Prepare<OpenSession>},
    {"managed-encrypt", "managed mechanism, encrypt 32 bytes with Init", 32, 0, "versions",
     [](const Token& token, const CaseOptions& options) -> std::unique_ptr<Run> {
       return std::make_unique<ManagedEncrypt>(token, options);
     }},
    {"managed-decrypt-newest", "managed mechanism, what the newest version encrypted", 32, 0, "versions",
     [](const Token& token, const CaseOptions& options) -> std::unique_ptr<Run> {
       return std::make_unique<ManagedDecrypt>(token, options, false);
     }},
    {"managed-decrypt-oldest", "managed mechanism, what the first version encrypted", 32, 0, "versions",
     [](const Token& token, const CaseOptions& options) -> std::unique_ptr<Run> {
       return std::make_unique<ManagedDecrypt>(token, options, true);
     }},
};

}  // namespace

std::span<const Case> Cases() { return kCases; }

}  // namespace cmkd::bench
