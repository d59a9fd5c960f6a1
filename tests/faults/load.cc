// What the program does, piece by piece. Each piece can be asked again from its beginning.
#include "tests/faults/load.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <utility>

#include "pkcs11/spec/listed_returns.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::tests {
namespace {

using spec::CallId;

constexpr std::size_t kKeptMax = 3;
constexpr std::size_t kGoneMax = 3;
// Generous: a loaded machine, and a device that is told to be away for as long as the daemon is patient with it.
constexpr std::chrono::seconds kPatience{60};

// Whole blocks, for the ciphers that want them.
const Bytes kMessage = [] {
  Bytes message = ToBytes(AsBytes("what goes in must come out again, whatever the device does"));
  message.resize(64, '.');
  return message;
}();
const Bytes kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

}  // namespace

// A call through the function list, noted.
#define CALL(name, ...) Say(CallId::name, p11_->name(__VA_ARGS__))
#define CALL_OR_RETURN(name, ...) \
  if (const CK_RV rv_of_call = CALL(name, __VA_ARGS__); rv_of_call != CKR_OK) return rv_of_call

std::string Describe(const Told& told) {
  const bool operators = told.call == CallId::Admin;
  return (operators ? std::string("cmkctl") : std::string(spec::Row(told.call).name)) + ": " +
         spec::ReturnValueName(told.rv);
}

bool IsDefined(const Told& told) { return told.call == CallId::Admin || spec::IsListedHere(told.call, told.rv); }

Client::Client(LoadedModule& p11, CK_SLOT_ID slot, std::string name, std::string token)
    : p11_(p11), slot_(slot), name_(std::move(name)), token_(std::move(token)) {
  EXPECT_EQ(p11_.Open(slot_, session_), CKR_OK);
}

CK_RV Client::Say(CallId call, CK_RV rv) {
  if (rv != CKR_OK) last_ = {call, rv};
  return rv;
}

void Client::Until(const char* what, const std::function<CK_RV()>& work) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::chrono::milliseconds pause{2};; pause = std::min(pause * 2, std::chrono::milliseconds(50))) {
    if (work() == CKR_OK) break;
    errors_.push_back(last_);
    ++error_count_;
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << name_ << ": " << what << " does not work again: " << Describe(last_);
      return;
    }
    std::this_thread::sleep_for(pause);
  }
  ++done_;
}

void Client::Prepare() {
  const auto token_key = [&](const char* label) {
    return Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, name_ + label);
  };
  const auto session_key = [] { return Template().Bool(CKA_TOKEN, false); };
  ASSERT_EQ(Generate(token_key("aes").Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true), aes_), CKR_OK);
  ASSERT_EQ(Generate(token_key("cbc").Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true), cbc_), CKR_OK);
  ASSERT_EQ(Generate(token_key("wrap").Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true), wrap_), CKR_OK);
  ASSERT_EQ(Generate(token_key("seal").Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true), seal_wrap_), CKR_OK);
  ASSERT_EQ(
      Generate(token_key("base").Bool(CKA_EXTRACTABLE, true).Bool(CKA_DERIVE, true).Bool(CKA_ENCRYPT, false), base_),
      CKR_OK);
  ASSERT_EQ(Generate(session_key().Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true).Bool(CKA_EXTRACTABLE, true), plain_),
            CKR_OK);
  Template mac = token_key("mac").Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true).Ulong(CKA_VALUE_LEN, 32);
  CK_MECHANISM generate{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  ASSERT_EQ(CALL(C_GenerateKey, session_, &generate, mac.data(), mac.size(), &mac_), CKR_OK);
  ASSERT_EQ(MacInParts(mac_value_), CKR_OK);
  ASSERT_EQ(Seal(aes_, sealed_), CKR_OK);
  ASSERT_EQ(Seal(plain_, plain_sealed_), CKR_OK);
  ASSERT_EQ(CbcInParts(true, kMessage, cbc_sealed_), CKR_OK);
  ASSERT_EQ(DigestInParts(digest_), CKR_OK);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(Derive(key), CKR_OK);
  ASSERT_EQ(Seal(key, derived_), CKR_OK);
  ASSERT_EQ(Destroy(key), CKR_OK);
  ASSERT_EQ(Import(key), CKR_OK);
  ASSERT_EQ(Seal(key, imported_), CKR_OK);
  ASSERT_EQ(Destroy(key), CKR_OK);
  ASSERT_EQ(WrapPlain(wrapped_), CKR_OK);
  CK_MECHANISM_INFO info{};
  wraps_authenticated_ = p11_->C_GetMechanismInfo(slot_, CKM_AES_GCM, &info) == CKR_OK && (info.flags & CKF_WRAP) != 0;
}

void Client::ReadRound(bool parts) {
  Macs();
  Ciphers();
  Digests();
  Random();
  if (!parts) return;
  MacsInParts();
  Parts();
  DigestsInParts();
}

void Client::Round(bool rotate) {
  ReadRound(true);
  Pairs();
  Wrapping();
  if (wraps_authenticated_) AuthenticatedWrapping();
  Deriving();
  Importing();
  Copying();
  Life(rotate);
}

void Client::CheckKept() {
  for (const Kept& kept : kept_) {
    EXPECT_EQ(p11_.Find(session_, Template().Text(CKA_LABEL, kept.label)).size(), 1u) << kept.label;
    Bytes opened;
    EXPECT_EQ(Open(kept.key, kept.sealed, opened), CKR_OK) << kept.label;
    EXPECT_EQ(opened, kMessage) << kept.label;
  }
  for (const Kept& gone : gone_) EXPECT_EQ(Gone(gone), CKR_OK) << gone.label;
}

// ---- The calls

CK_RV Client::Whole(CK_RV init, CallId call, CK_C_Encrypt function, const Bytes& in, Bytes& out) {
  if (init != CKR_OK) return init;
  out.assign(in.size() + 256, 0);
  CK_ULONG length = out.size();
  const CK_RV rv = Say(call, function(session_, BytePtr(in), in.size(), out.data(), &length));
  EXPECT_TRUE(rv != CKR_OK || length <= out.size()) << "more than there was room for";
  out.resize(rv == CKR_OK ? std::min<std::size_t>(length, out.size()) : 0);
  return rv;
}

CK_RV Client::Seal(CK_OBJECT_HANDLE key, Bytes& out) {
  Gcm gcm;
  return Whole(CALL(C_EncryptInit, session_, &gcm.mechanism, key), CallId::C_Encrypt, p11_->C_Encrypt, kMessage, out);
}

CK_RV Client::Open(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& out) {
  Gcm gcm;
  return Whole(CALL(C_DecryptInit, session_, &gcm.mechanism, key), CallId::C_Decrypt, p11_->C_Decrypt, sealed, out);
}

CK_RV Client::Same(CK_OBJECT_HANDLE key, const Bytes& sealed, const char* what) {
  Bytes again;
  const CK_RV rv = Seal(key, again);
  EXPECT_TRUE(rv != CKR_OK || again == sealed) << name_ << ": " << what << " is another key";
  return rv;
}

CK_RV Client::Generate(Template wanted, CK_OBJECT_HANDLE& key) {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  wanted.Ulong(CKA_VALUE_LEN, 32);
  return CALL(C_GenerateKey, session_, &mechanism, wanted.data(), wanted.size(), &key);
}

// An error does not say whether it is gone; asking again does.
CK_RV Client::Destroy(CK_OBJECT_HANDLE key) {
  const CK_RV rv = p11_->C_DestroyObject(session_, key);
  return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_OK : Say(CallId::C_DestroyObject, rv);
}

// ---- Uses

void Client::Macs() {
  Until("a MAC", [&] {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    Bytes value;
    const CK_RV rv = Whole(CALL(C_SignInit, session_, &mechanism, mac_), CallId::C_Sign, p11_->C_Sign, kMessage, value);
    EXPECT_TRUE(rv != CKR_OK || value == mac_value_) << "a wrong MAC";
    return rv;
  });
  Until("checking a MAC", [&] {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    CALL_OR_RETURN(C_VerifyInit, session_, &mechanism, mac_);
    return CALL(C_Verify, session_, BytePtr(kMessage), kMessage.size(), BytePtr(mac_value_), mac_value_.size());
  });
  Until("a false MAC", [&]() -> CK_RV {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    Bytes wrong = mac_value_;
    wrong[0] ^= 1;
    CALL_OR_RETURN(C_VerifyInit, session_, &mechanism, mac_);
    const CK_RV rv = CALL(C_Verify, session_, BytePtr(kMessage), kMessage.size(), wrong.data(), wrong.size());
    EXPECT_NE(rv, CKR_OK) << "a false MAC is accepted";
    return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
  });
}

void Client::MacsInParts() {
  Until("a MAC in parts", [&] {
    Bytes value;
    const CK_RV rv = MacInParts(value);
    EXPECT_TRUE(rv != CKR_OK || value == mac_value_) << "a wrong MAC";
    return rv;
  });
  Until("checking a MAC in parts", [&]() -> CK_RV {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    CALL_OR_RETURN(C_VerifyInit, session_, &mechanism, mac_);
    CALL_OR_RETURN(C_VerifyUpdate, session_, BytePtr(kMessage), kMessage.size());
    return CALL(C_VerifyFinal, session_, BytePtr(mac_value_), mac_value_.size());
  });
}

CK_RV Client::MacInParts(Bytes& out) {
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  CALL_OR_RETURN(C_SignInit, session_, &mechanism, mac_);
  CALL_OR_RETURN(C_SignUpdate, session_, BytePtr(kMessage), 10);
  CALL_OR_RETURN(C_SignUpdate, session_, BytePtr(kMessage) + 10, kMessage.size() - 10);
  out.assign(64, 0);
  CK_ULONG length = out.size();
  CALL_OR_RETURN(C_SignFinal, session_, out.data(), &length);
  out.resize(length);
  return CKR_OK;
}

void Client::Ciphers() {
  Until("encrypting", [&] { return Same(aes_, sealed_, "the key"); });
  Until("decrypting", [&] {
    Bytes opened;
    const CK_RV rv = Open(aes_, sealed_, opened);
    EXPECT_TRUE(rv != CKR_OK || opened == kMessage) << "a wrong plaintext";
    return rv;
  });
}

void Client::Parts() {
  Until("encrypting in parts", [&] {
    Bytes sealed;
    const CK_RV rv = CbcInParts(true, kMessage, sealed);
    EXPECT_TRUE(rv != CKR_OK || sealed == cbc_sealed_) << "a wrong ciphertext";
    return rv;
  });
  Until("decrypting in parts", [&] {
    Bytes opened;
    const CK_RV rv = CbcInParts(false, cbc_sealed_, opened);
    EXPECT_TRUE(rv != CKR_OK || opened == kMessage) << "a wrong plaintext";
    return rv;
  });
}

CK_RV Client::CbcInParts(bool encrypt, const Bytes& in, Bytes& out) {
  CK_BYTE iv[16] = {7};
  CK_MECHANISM mechanism{CKM_AES_CBC, iv, sizeof iv};
  const auto init =
      encrypt ? CALL(C_EncryptInit, session_, &mechanism, cbc_) : CALL(C_DecryptInit, session_, &mechanism, cbc_);
  if (init != CKR_OK) return init;
  out.assign(in.size() + 64, 0);
  std::size_t made = 0;
  for (std::size_t at = 0; at < in.size(); at += 32) {
    CK_ULONG length = out.size() - made;
    if (encrypt) {
      CALL_OR_RETURN(C_EncryptUpdate, session_, BytePtr(in) + at, 32, out.data() + made, &length);
    } else {
      CALL_OR_RETURN(C_DecryptUpdate, session_, BytePtr(in) + at, 32, out.data() + made, &length);
    }
    made += length;
  }
  CK_ULONG length = out.size() - made;
  if (encrypt) {
    CALL_OR_RETURN(C_EncryptFinal, session_, out.data() + made, &length);
  } else {
    CALL_OR_RETURN(C_DecryptFinal, session_, out.data() + made, &length);
  }
  out.resize(made + length);
  return CKR_OK;
}

void Client::Digests() {
  Until("a digest", [&] {
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    Bytes digest;
    const CK_RV rv =
        Whole(CALL(C_DigestInit, session_, &mechanism), CallId::C_Digest, p11_->C_Digest, kMessage, digest);
    EXPECT_TRUE(rv != CKR_OK || digest == digest_) << "a wrong digest";
    return rv;
  });
}

void Client::DigestsInParts() {
  Until("a digest in parts", [&] {
    Bytes digest;
    const CK_RV rv = DigestInParts(digest);
    EXPECT_TRUE(rv != CKR_OK || digest == digest_) << "a wrong digest";
    return rv;
  });
}

CK_RV Client::DigestInParts(Bytes& out) {
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  CALL_OR_RETURN(C_DigestInit, session_, &mechanism);
  CALL_OR_RETURN(C_DigestUpdate, session_, BytePtr(kMessage), 10);
  CALL_OR_RETURN(C_DigestUpdate, session_, BytePtr(kMessage) + 10, kMessage.size() - 10);
  out.assign(64, 0);
  CK_ULONG length = out.size();
  CALL_OR_RETURN(C_DigestFinal, session_, out.data(), &length);
  out.resize(length);
  return CKR_OK;
}

void Client::Random() {
  Until("random bytes", [&] {
    CK_BYTE random[16] = {};
    const CK_RV rv = CALL(C_GenerateRandom, session_, random, sizeof random);
    const CK_BYTE zeros[16] = {};
    EXPECT_TRUE(rv != CKR_OK || std::memcmp(random, zeros, sizeof zeros) != 0) << "no random bytes";
    return rv;
  });
}

// ---- Keys that are made

void Client::Pairs() {
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  Until("a key pair", [&] {
    Template first, second;
    first.Bool(CKA_TOKEN, false).Raw(CKA_EC_PARAMS, kP256).Bool(CKA_VERIFY, true);
    second.Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true);
    CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
    return CALL(C_GenerateKeyPair, session_, &mechanism, first.data(), first.size(), second.data(), second.size(), &pub,
                &priv);
  });
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  Bytes signature;
  Until("signing", [&] {
    return Whole(CALL(C_SignInit, session_, &mechanism, priv), CallId::C_Sign, p11_->C_Sign, kMessage, signature);
  });
  // A signature that was answered with CKR_OK verifies, or it was none.
  Until("verifying", [&]() -> CK_RV {
    CALL_OR_RETURN(C_VerifyInit, session_, &mechanism, pub);
    return CALL(C_Verify, session_, BytePtr(kMessage), kMessage.size(), BytePtr(signature), signature.size());
  });
  Until("destroying a public key", [&] { return Destroy(pub); });
  Until("destroying a private key", [&] { return Destroy(priv); });
}

CK_RV Client::WrapPlain(Bytes& out) {
  CK_MECHANISM mechanism{CKM_AES_KEY_WRAP, nullptr, 0};
  out.assign(256, 0);
  CK_ULONG length = out.size();
  CALL_OR_RETURN(C_WrapKey, session_, &mechanism, wrap_, plain_, out.data(), &length);
  out.resize(std::min<std::size_t>(length, out.size()));
  return CKR_OK;
}

namespace {
// A key that is as secret as what it comes of.
Template SecretTemplate() {
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
  return wanted.Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
}
}  // namespace

void Client::Wrapping() {
  Until("wrapping", [&] {
    Bytes wrapped;
    const CK_RV rv = WrapPlain(wrapped);
    EXPECT_TRUE(rv != CKR_OK || wrapped == wrapped_) << "a wrong wrapped key";
    return rv;
  });
  CK_OBJECT_HANDLE key = 0;
  Until("unwrapping", [&] {
    CK_MECHANISM mechanism{CKM_AES_KEY_WRAP, nullptr, 0};
    Template wanted = SecretTemplate();
    return CALL(C_UnwrapKey, session_, &mechanism, wrap_, BytePtr(wrapped_), wrapped_.size(), wanted.data(),
                wanted.size(), &key);
  });
  Until("using what was unwrapped", [&] { return Same(key, plain_sealed_, "the unwrapped key"); });
  Until("destroying it", [&] { return Destroy(key); });
}

void Client::AuthenticatedWrapping() {
  Bytes iv(12), tag(16), wrapped;
  CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_GENERATE, tag.data(), 128};
  CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
  Until("authenticated wrapping", [&]() -> CK_RV {
    wrapped.assign(256, 0);
    CK_ULONG length = wrapped.size();
    const CK_RV rv = Say(CallId::C_WrapKeyAuthenticated,
                         p11_.newest()->C_WrapKeyAuthenticated(session_, &mechanism, seal_wrap_, plain_, nullptr, 0,
                                                               wrapped.data(), &length));
    if (rv == CKR_OK) wrapped.resize(std::min<std::size_t>(length, wrapped.size()));
    return rv;
  });
  CK_OBJECT_HANDLE key = 0;
  parameter.ivGenerator = CKG_NO_GENERATE;
  Until("authenticated unwrapping", [&] {
    Template wanted = SecretTemplate();
    return Say(CallId::C_UnwrapKeyAuthenticated,
               p11_.newest()->C_UnwrapKeyAuthenticated(session_, &mechanism, seal_wrap_, wrapped.data(), wrapped.size(),
                                                       wanted.data(), wanted.size(), nullptr, 0, &key));
  });
  Until("using what was unwrapped", [&] { return Same(key, plain_sealed_, "the unwrapped key"); });
  Until("destroying it", [&] { return Destroy(key); });
}

CK_RV Client::Derive(CK_OBJECT_HANDLE& key) {
  CK_BYTE data[32] = {3};
  CK_KEY_DERIVATION_STRING_DATA parameter{data, sizeof data};
  CK_MECHANISM mechanism{CKM_AES_ECB_ENCRYPT_DATA, &parameter, sizeof parameter};
  Template wanted = SecretTemplate().Ulong(CKA_VALUE_LEN, 32);
  return CALL(C_DeriveKey, session_, &mechanism, base_, wanted.data(), wanted.size(), &key);
}

void Client::Deriving() {
  CK_OBJECT_HANDLE key = 0;
  Until("deriving", [&] { return Derive(key); });
  Until("using what was derived", [&] { return Same(key, derived_, "the derived key"); });
  Until("destroying it", [&] { return Destroy(key); });
}

CK_RV Client::Import(CK_OBJECT_HANDLE& key) {
  Template wanted = SecretTemplate().Raw(CKA_VALUE, Bytes(32, 0x5a));
  wanted.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  return CALL(C_CreateObject, session_, wanted.data(), wanted.size(), &key);
}

void Client::Importing() {
  CK_OBJECT_HANDLE key = 0;
  Until("importing", [&] { return Import(key); });
  Until("using what was imported", [&] { return Same(key, imported_, "the imported key"); });
  Until("reading it", [&] {
    CK_BYTE value[64] = {};
    CK_ATTRIBUTE wanted{CKA_VALUE, value, sizeof value};
    const CK_RV rv = CALL(C_GetAttributeValue, session_, key, &wanted, 1);
    EXPECT_TRUE(rv != CKR_OK || Bytes(value, value + std::min<CK_ULONG>(wanted.ulValueLen, 64)) == Bytes(32, 0x5a))
        << "a wrong value";
    return rv;
  });
  Until("destroying it", [&] { return Destroy(key); });
}

void Client::Copying() {
  CK_OBJECT_HANDLE copy = 0;
  Until("copying", [&] {
    Template changed = Template().Text(CKA_LABEL, name_ + "copy");
    return CALL(C_CopyObject, session_, plain_, changed.data(), changed.size(), &copy);
  });
  Until("using the copy", [&] { return Same(copy, plain_sealed_, "the copy"); });
  Until("destroying it", [&] { return Destroy(copy); });
}

// ---- Keys that stay

void Client::Life(bool rotate) {
  Kept kept;
  Until("making a key", [&] {
    // Under a name of its own: an error may leave a key behind, which is not what was acknowledged.
    kept.label = name_ + std::to_string(++keys_);
    CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    Bytes allowed(sizeof gcm);
    std::memcpy(allowed.data(), &gcm, sizeof gcm);
    return Generate(Template()
                        .Bool(CKA_TOKEN, true)
                        .Text(CKA_LABEL, kept.label)
                        .Bool(CKA_ENCRYPT, true)
                        .Bool(CKA_DECRYPT, true)
                        .Raw(CKA_ALLOWED_MECHANISMS, allowed),
                    kept.key);
  });
  Until("encrypting with it", [&] { return Seal(kept.key, kept.sealed); });
  if (rotate) {
    Until("rotating it", [&] {
      const int status = Cmkctl("key rotate '" + token_ + "/" + kept.label + "'");
      return Say(CallId::Admin, status == 0 ? CKR_OK : CKR_FUNCTION_FAILED);
    });
  }
  kept_.push_back(std::move(kept));
  if (kept_.size() <= kKeptMax) return;
  End(kept_.front());
  kept_.pop_front();
}

void Client::End(const Kept& kept) {
  Until("decrypting what it encrypted", [&] {
    Bytes opened;
    const CK_RV rv = Open(kept.key, kept.sealed, opened);
    EXPECT_TRUE(rv != CKR_OK || opened == kMessage) << "a wrong plaintext of " << kept.label;
    return rv;
  });
  Until("destroying it", [&] { return Destroy(kept.key); });
  Until("seeing it gone", [&] { return Gone(kept); });
  gone_.push_back(kept);
  if (gone_.size() > kGoneMax) gone_.pop_front();
}

CK_RV Client::Gone(const Kept& gone) {
  Template wanted = Template().Text(CKA_LABEL, gone.label);
  CK_OBJECT_HANDLE found = 0;
  CK_ULONG count = 0;
  CALL_OR_RETURN(C_FindObjectsInit, session_, wanted.data(), wanted.size());
  const CK_RV rv = CALL(C_FindObjects, session_, &found, 1, &count);
  (void)CALL(C_FindObjectsFinal, session_);
  if (rv != CKR_OK) return rv;
  EXPECT_EQ(count, 0u) << gone.label << " was destroyed and is there";
  Gcm gcm;
  const CK_RV begun = p11_->C_DecryptInit(session_, &gcm.mechanism, gone.key);
  EXPECT_NE(begun, CKR_OK) << gone.label << " was destroyed and can be used";
  if (begun == CKR_OK) (void)p11_->C_DecryptInit(session_, nullptr, 0);
  return CKR_OK;
}

}  // namespace cmkd::tests
