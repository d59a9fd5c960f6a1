// The contract of Backend, held against every kind of device: the simulator inside the process, and SoftHSM, NSS's
// softoken, opencryptoki's soft token and the simulator behind host processes.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "daemon/hsm/examination.h"
#include "daemon/hsm/pkcs11_backend.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/vendor.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

const ByteView kDigest = AsBytes("thirty-two bytes, like a digest.");
const ByteView kMessage = AsBytes("The quick brown fox jumps over the lazy dog, again and again.");

#define ASSERT_GOOD(result) ASSERT_TRUE((result).ok()) << (result).error().why
#define EXPECT_GOOD(result) EXPECT_TRUE((result).ok()) << (result).error().why

class BackendTest : public testing::TestWithParam<RigKind> {
 protected:
  void SetUp() override {
    rig_ = std::make_unique<HsmRig>(GetParam());
    // Its package starts a service, so it is installed only where nobody lives; and only root may move it.
    if (GetParam() == RigKind::kOpencryptokiHosted && !rig_->missing().empty() && std::getenv("CI") == nullptr)
      GTEST_SKIP() << rig_->missing();
    ASSERT_TRUE(rig_->missing().empty()) << rig_->missing();
    Restart();
  }
  void Restart() {
    bench_.reset();
    backend_.reset();
    backend_ = rig_->Start();
    ASSERT_NE(backend_, nullptr);
    bench_ = std::make_unique<KeyBench>(*backend_);
  }
  bool Has(CK_MECHANISM_TYPE mechanism) const { return backend_->FindMechanism(mechanism) != nullptr; }
  // Devices do not lack a thing in silence: each that a test does without is known here.
  bool Lacks(CK_MECHANISM_TYPE mechanism) const {
    if (Has(mechanism)) return false;
    EXPECT_EQ(GetParam(), RigKind::kOpencryptokiHosted) << spec::FindMechanism(mechanism)->name;
    return true;
  }
  // A signing pair of the kind that this device is least able to wrap.
  TestKey Signer() {
    if (!curves()) return bench_->Rsa();
    return edwards() ? bench_->Curve(CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, "Ed25519")
                     : bench_->Curve(CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256");
  }
  CK_MECHANISM Signing() const { return Plain(edwards() ? CKM_EDDSA : curves() ? CKM_ECDSA : CKM_RSA_PKCS); }
  std::size_t signature_bytes() const { return curves() ? 64 : 256; }
  bool edwards() const { return Has(CKM_EC_EDWARDS_KEY_PAIR_GEN); }
  bool curves() const { return !Lacks(CKM_EC_KEY_PAIR_GEN); }
  // Whether secret keys live in the store, wrapped, or each in the device.
  bool wraps() const { return !Lacks(CKM_AES_KEY_WRAP); }
  std::size_t CachedKeys() const { return static_cast<Pkcs11Backend&>(*backend_).cached_keys(); }

  std::unique_ptr<HsmRig> rig_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<KeyBench> bench_;
};

// What only a device in a process of its own can go through.
class HostedBackendTest : public BackendTest {
 protected:
  // Signer's pair, and the failure if there is one.
  Fallible<MadePair> MakeSigner() {
    spec::Attributes parameters;
    if (!curves()) {
      parameters.SetUlong(CKA_MODULUS_BITS, 1024);
      parameters.SetBytes(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
      return backend_->GenerateKeyPair(Plain(CKM_RSA_PKCS_KEY_PAIR_GEN), CKK_RSA, parameters, bench_->under());
    }
    parameters.Set(CKA_EC_PARAMS, AsBytes(spec::FindCurveByName(edwards() ? "Ed25519" : "P-256")->oid));
    return backend_->GenerateKeyPair(Plain(edwards() ? CKM_EC_EDWARDS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN),
                                     edwards() ? CKK_EC_EDWARDS : CKK_EC, parameters, bench_->under());
  }
};

TEST_P(BackendTest, SaysWhatItIs) {
  EXPECT_EQ(backend_->name(), "test");
  EXPECT_TRUE(backend_->available());
  EXPECT_EQ(backend_->software(), GetParam() == RigKind::kSimulatorInside);
  ASSERT_TRUE(Has(CKM_AES_CBC_PAD));
  EXPECT_NE(backend_->FindMechanism(CKM_AES_CBC_PAD)->flags & CKF_ENCRYPT, 0u);
  EXPECT_FALSE(Has(CKM_VENDOR_DEFINED + 1));
}

TEST_P(BackendTest, MaterialOfASecretKeyIsWrappedUnderTheEpochThatWasAsked) {
  const TestKey key = bench_->Aes();
  EXPECT_EQ(key.material.material.kind, wraps() ? cmk::Material::Kind::kWrapped : cmk::Material::Kind::kResident);
  EXPECT_EQ(key.material.material.epoch, wraps() ? 1u : 0u);
  EXPECT_EQ(key.computed.Ulong(CKA_VALUE_LEN), 32u);
  EXPECT_EQ(key.computed.View(CKA_CHECK_VALUE).size(), 3u);
}

TEST_P(BackendTest, AesGcmComesBack) {
  if (Lacks(CKM_AES_GCM)) return;
  const TestKey key = bench_->Aes();
  CK_BYTE iv[12] = {1, 2, 3};
  CK_BYTE aad[5] = {9, 8, 7, 6, 5};
  CK_GCM_PARAMS gcm{iv, sizeof iv, 96, aad, sizeof aad, 128};
  const auto sealed = bench_->Encrypt(key, With(CKM_AES_GCM, gcm), kMessage);
  ASSERT_GOOD(sealed);
  EXPECT_EQ(sealed->size(), kMessage.size() + 16);
  const auto opened = bench_->Decrypt(key, With(CKM_AES_GCM, gcm), *sealed);
  ASSERT_GOOD(opened);
  EXPECT_TRUE(Equal(*opened, kMessage));
}

TEST_P(BackendTest, AesCbcPadComesBack) {
  const TestKey key = bench_->Aes(16);
  CK_BYTE iv[16] = {4};
  CK_MECHANISM cbc{CKM_AES_CBC_PAD, iv, sizeof iv};
  const auto sealed = bench_->Encrypt(key, cbc, kMessage);
  ASSERT_GOOD(sealed);
  const auto opened = bench_->Decrypt(key, cbc, *sealed);
  ASSERT_GOOD(opened);
  EXPECT_TRUE(Equal(*opened, kMessage));
}

TEST_P(BackendTest, HmacVerifiesAndTellsAForgery) {
  const TestKey key = bench_->Generic(37);
  EXPECT_EQ(key.computed.Ulong(CKA_VALUE_LEN), 37u);
  auto mac = bench_->Sign(key, Plain(CKM_SHA256_HMAC), kMessage);
  ASSERT_GOOD(mac);
  EXPECT_EQ(mac->size(), 32u);
  EXPECT_GOOD(bench_->Verify(key, Plain(CKM_SHA256_HMAC), kMessage, *mac, false));
  (*mac)[0] ^= 1;
  const Status forged = bench_->Verify(key, Plain(CKM_SHA256_HMAC), kMessage, *mac, false);
  ASSERT_FALSE(forged.ok());
  EXPECT_EQ(forged.error().rv, CKR_SIGNATURE_INVALID);
  EXPECT_TRUE(backend_->IsWrongKey(CKM_SHA256_HMAC, forged.error().rv));
}

TEST_P(BackendTest, RsaSignsAndDecrypts) {
  const TestKey key = bench_->Rsa();
  EXPECT_EQ(key.public_attributes->View(CKA_MODULUS).size(), 256u);
  EXPECT_TRUE(Equal(key.public_attributes->View(CKA_PUBLIC_EXPONENT), Bytes{1, 0, 1}));
  EXPECT_TRUE(Equal(key.computed.View(CKA_MODULUS), key.public_attributes->View(CKA_MODULUS)));
  const CK_MECHANISM signing = Plain(Lacks(CKM_SHA256_RSA_PKCS) ? CKM_SHA1_RSA_PKCS : CKM_SHA256_RSA_PKCS);
  const auto signature = bench_->Sign(key, signing, kMessage);
  ASSERT_GOOD(signature);
  EXPECT_GOOD(bench_->Verify(key, signing, kMessage, *signature, true));
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  const auto sealed = bench_->Encrypt(key, With(CKM_RSA_PKCS_OAEP, oaep), kMessage, true);
  ASSERT_GOOD(sealed);
  const auto opened = bench_->Decrypt(key, With(CKM_RSA_PKCS_OAEP, oaep), *sealed);
  ASSERT_GOOD(opened);
  EXPECT_TRUE(Equal(*opened, kMessage));
}

TEST_P(BackendTest, EcdsaVerifiesWithThePublicHalf) {
  if (Lacks(CKM_EC_KEY_PAIR_GEN)) return;
  const TestKey key = bench_->Curve(CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256");
  const ByteView point = key.public_attributes->View(CKA_EC_POINT);
  ASSERT_EQ(point.size(), 67u);
  EXPECT_EQ(point[0], 0x04);
  EXPECT_EQ(point[1], 65);
  const Bytes digest(32, 7);
  const auto signature = bench_->Sign(key, Plain(CKM_ECDSA), digest);
  ASSERT_GOOD(signature);
  EXPECT_EQ(signature->size(), 64u);
  EXPECT_GOOD(bench_->Verify(key, Plain(CKM_ECDSA), digest, *signature, true));
}

TEST_P(BackendTest, APairIsKeptAsTheDeviceCan) {
  const TestKey key = Signer();
  const bool wraps = GetParam() == RigKind::kSimulatorInside || GetParam() == RigKind::kSimulatorHosted;
  EXPECT_EQ(key.material.material.kind, wraps ? cmk::Material::Kind::kWrapped : cmk::Material::Kind::kResident);
  const auto signature = bench_->Sign(key, Signing(), kDigest);
  ASSERT_GOOD(signature);
  EXPECT_EQ(signature->size(), signature_bytes());
  EXPECT_GOOD(bench_->Verify(key, Signing(), kDigest, *signature, true));
}

TEST_P(BackendTest, ResidentMaterialIsDestroyedInTheDevice) {
  const std::size_t before = bench_->CountObjects();
  const TestKey key = Signer();
  EXPECT_GOOD(backend_->DestroyMaterial(key.material.material));
  EXPECT_EQ(bench_->CountObjects(), before);
  EXPECT_GOOD(backend_->DestroyMaterial(key.material.material)) << "twice is once";
  if (key.material.material.kind == cmk::Material::Kind::kResident) {
    EXPECT_FALSE(bench_->Sign(key, Signing(), kDigest).ok());
  }
}

TEST_P(BackendTest, EcdhGivesBothSidesTheSameKey) {
  if (Lacks(CKM_EC_KEY_PAIR_GEN)) return;
  const TestKey mine = bench_->Curve(CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256");
  const TestKey yours = bench_->Curve(CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256");
  const auto derive = [&](const TestKey& key, const TestKey& other) {
    const ByteView point = other.public_attributes->View(CKA_EC_POINT).subspan(2);
    CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, point.size(), const_cast<CK_BYTE_PTR>(point.data())};
    auto made = backend_->DeriveKey(With(CKM_ECDH1_DERIVE, ecdh), key.name, key.material, {}, CKK_AES, 32,
                                    bench_->under());
    EXPECT_GOOD(made);
    return bench_->Keep(CKO_SECRET_KEY, CKK_AES, made.ok() ? std::move(*made) : Made{}, false);
  };
  const auto one = bench_->Fingerprint(derive(mine, yours));
  const auto two = bench_->Fingerprint(derive(yours, mine));
  ASSERT_GOOD(one);
  ASSERT_GOOD(two);
  EXPECT_TRUE(Equal(*one, *two));
}

TEST_P(BackendTest, AWrappedKeyComesBackTheSame) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  const TestKey wrapping = bench_->Aes();
  const TestKey key = bench_->Aes(32, true);
  const auto wrapped =
      backend_->WrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, key.name, key.material);
  ASSERT_GOOD(wrapped);
  EXPECT_EQ(wrapped->size(), 40u);
  auto back = backend_->UnwrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, *wrapped, CKO_SECRET_KEY,
                                  CKK_AES, 0, bench_->under());
  ASSERT_GOOD(back);
  EXPECT_EQ(back->computed.Ulong(CKA_VALUE_LEN), 32u);
  const TestKey again = bench_->Keep(CKO_SECRET_KEY, CKK_AES, std::move(*back), false);
  EXPECT_TRUE(Equal(*bench_->Fingerprint(key), *bench_->Fingerprint(again)));
}

// A data key: it is there under the name that comes with it, and is the same key when it has been loaded anew.
TEST_P(BackendTest, AKeyThatStaysLoadedIsTheOneThatIsWrapped) {
  const TestKey wrapping = bench_->Aes();
  ASSERT_GOOD(bench_->Fingerprint(wrapping));
  const std::size_t before = CachedKeys();
  WrappingKey under = bench_->under();
  under.stays_loaded = true;
  auto made = backend_->GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, under);
  ASSERT_GOOD(made);
  ASSERT_EQ(made->loaded_as.has_value(), wraps());
  if (!wraps()) return;
  EXPECT_EQ(CachedKeys(), before + 1);
  const auto loaded_as = *made->loaded_as;
  TestKey key = bench_->Keep(CKO_SECRET_KEY, CKK_AES, std::move(*made), true);
  key.name = {};
  key.name.id = loaded_as;
  const auto wrap = [&] {
    return backend_->WrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, key.name, key.material);
  };
  const auto wrapped = wrap();
  ASSERT_GOOD(wrapped);
  EXPECT_EQ(CachedKeys(), before + 1) << "it was loaded a second time";
  backend_->Forget(key.name);
  EXPECT_EQ(CachedKeys(), before);
  const auto again = wrap();
  ASSERT_GOOD(again);
  EXPECT_EQ(*again, *wrapped);
  backend_->Forget(key.name);
}

TEST_P(BackendTest, AKeyThatIsNotExtractableIsNotWrappedForOthers) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  const TestKey wrapping = bench_->Aes();
  const TestKey key = bench_->Aes(32, false);
  const auto wrapped =
      backend_->WrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, key.name, key.material);
  ASSERT_FALSE(wrapped.ok());
  EXPECT_EQ(wrapped.error().rv, CKR_KEY_UNEXTRACTABLE);
}

TEST_P(BackendTest, UnwrappingWithTheWrongKeySaysSo) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  const TestKey wrapping = bench_->Aes();
  const TestKey other = bench_->Aes();
  const TestKey key = bench_->Aes(32, true);
  const auto wrapped =
      backend_->WrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, key.name, key.material);
  ASSERT_GOOD(wrapped);
  const auto back = backend_->UnwrapKey(Plain(CKM_AES_KEY_WRAP), other.name, other.material, *wrapped, CKO_SECRET_KEY,
                                        CKK_AES, 0, bench_->under());
  ASSERT_FALSE(back.ok());
  EXPECT_EQ(back.error().rv, CKR_WRAPPED_KEY_INVALID);
  EXPECT_TRUE(backend_->IsWrongKey(CKM_AES_KEY_WRAP, back.error().rv));
}

TEST_P(BackendTest, AnAesKeyOfNoAesLengthIsNotTakenIn) {
  const TestKey rsa = bench_->Rsa();
  const auto five = bench_->Encrypt(rsa, Plain(CKM_RSA_PKCS), AsBytes("12345"), true);
  ASSERT_GOOD(five);
  const std::size_t before = bench_->CountObjects();
  const auto back = backend_->UnwrapKey(Plain(CKM_RSA_PKCS), rsa.name, rsa.material, *five, CKO_SECRET_KEY, CKK_AES, 0,
                                        bench_->under());
  EXPECT_FALSE(back.ok());
  EXPECT_LE(bench_->CountObjects(), before + 1) << "the unwrapping key is cached now";
}

TEST_P(BackendTest, AnRsaKeyTravelsUnderAnotherKey) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  TestKey rsa = bench_->Rsa();
  rsa.material.extractable = true;
  const TestKey wrapping = bench_->Aes();
  const CK_MECHANISM mechanism = Plain(Has(CKM_AES_KEY_WRAP_KWP) ? CKM_AES_KEY_WRAP_KWP : CKM_AES_KEY_WRAP_PAD);
  const auto wrapped = backend_->WrapKey(mechanism, wrapping.name, wrapping.material, rsa.name, rsa.material);
  ASSERT_GOOD(wrapped);
  auto back = backend_->UnwrapKey(mechanism, wrapping.name, wrapping.material, *wrapped, CKO_PRIVATE_KEY, CKK_RSA, 0,
                                  bench_->under());
  ASSERT_GOOD(back);
  EXPECT_TRUE(Equal(back->computed.View(CKA_MODULUS), rsa.public_attributes->View(CKA_MODULUS)));
  TestKey again = bench_->Keep(CKO_PRIVATE_KEY, CKK_RSA, std::move(*back), false);
  const auto signature = bench_->Sign(again, Plain(CKM_SHA256_RSA_PKCS), kMessage);
  ASSERT_GOOD(signature);
  EXPECT_GOOD(bench_->Verify(rsa, Plain(CKM_SHA256_RSA_PKCS), kMessage, *signature, true));
}

TEST_P(BackendTest, AnImportedKeyIsTheKeyThatWasGiven) {
  spec::Attributes given;
  given.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  given.SetUlong(CKA_KEY_TYPE, CKK_AES);
  const Bytes value(16, 0x42);
  given.Set(CKA_VALUE, value);
  auto made = backend_->Import(given, bench_->under());
  ASSERT_GOOD(made);
  EXPECT_EQ(made->computed.Ulong(CKA_VALUE_LEN), 16u);
  const TestKey key = bench_->Keep(CKO_SECRET_KEY, CKK_AES, std::move(*made), true);
  const CK_ATTRIBUTE_TYPE types[] = {CKA_VALUE};
  const auto read = backend_->ReadSecret(key.name, key.material, types);
  if (!wraps()) {  // it lives in the device, which never shows it
    EXPECT_FALSE(read.ok());
    EXPECT_GOOD(bench_->Fingerprint(key));
    return;
  }
  ASSERT_GOOD(read);
  EXPECT_TRUE(Equal(read->View(CKA_VALUE), value));
}

TEST_P(BackendTest, ATypedHmacKeyWorksInADeviceThatHasNoSuchType) {
  spec::Attributes given;
  given.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  given.SetUlong(CKA_KEY_TYPE, CKK_SHA256_HMAC);
  given.Set(CKA_VALUE, Bytes(32, 0x42));
  auto made = backend_->Import(given, bench_->under());
  ASSERT_GOOD(made);
  const TestKey key = bench_->Keep(CKO_SECRET_KEY, CKK_SHA256_HMAC, std::move(*made), false);
  EXPECT_GOOD(bench_->Sign(key, Plain(CKM_SHA256_HMAC), kMessage));
}

TEST_P(BackendTest, MaterialOutlivesTheBackend) {
  const TestKey aes = bench_->Aes();
  const TestKey signer = Signer();
  const auto before = bench_->Fingerprint(aes);
  ASSERT_GOOD(before);
  Restart();
  const auto after = bench_->Fingerprint(aes);
  ASSERT_GOOD(after);
  EXPECT_TRUE(Equal(*before, *after));
  const auto signature = bench_->Sign(signer, Signing(), kDigest);
  ASSERT_GOOD(signature);
  EXPECT_GOOD(bench_->Verify(signer, Signing(), kDigest, *signature, true));
}

TEST_P(BackendTest, MakingKeysLeavesNothingButResidentsInTheDevice) {
  const std::size_t before = bench_->CountObjects();
  std::size_t residents = 0;
  // 24 bytes: a length that every device wraps whole.
  std::vector<TestKey> keys = {bench_->Aes(), bench_->Generic(24), bench_->Rsa()};
  if (curves()) keys.push_back(bench_->Curve(CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256"));
  for (const TestKey& key : keys) {
    residents += key.material.material.kind == cmk::Material::Kind::kResident ? 1 : 0;
  }
  // opencryptoki makes an object for each half of a pair.
  EXPECT_EQ(bench_->CountObjects(), before + residents);
  EXPECT_LE(residents, GetParam() == RigKind::kNssHosted ? 1u : wraps() ? 0u : keys.size());
}

TEST_P(BackendTest, FailuresLeaveNothingInTheDevice) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  const TestKey wrapping = bench_->Aes();
  ASSERT_GOOD(bench_->Fingerprint(wrapping));  // cached from here on
  const std::size_t before = bench_->CountObjects();
  const Bytes garbage(40, 0x55);
  EXPECT_FALSE(backend_
                   ->UnwrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, garbage, CKO_SECRET_KEY,
                               CKK_AES, 0, bench_->under())
                   .ok());
  EXPECT_FALSE(backend_
                   ->UnwrapKey(Plain(CKM_AES_KEY_WRAP), wrapping.name, wrapping.material, garbage, CKO_PRIVATE_KEY,
                               CKK_EC, 0, bench_->under())
                   .ok());
  const WrappingKey nowhere{7, Bytes(16, 9)};
  EXPECT_FALSE(backend_->GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, nowhere).ok());
  spec::Attributes parameters;
  parameters.Set(CKA_EC_PARAMS, AsBytes("no curve"));
  EXPECT_FALSE(backend_->GenerateKeyPair(Plain(CKM_EC_KEY_PAIR_GEN), CKK_EC, parameters, bench_->under()).ok());
  EXPECT_EQ(bench_->CountObjects(), before);
}

TEST_P(BackendTest, DecryptionWithAnotherKeyIsToldFromAFault) {
  if (Lacks(CKM_AES_GCM)) return;
  const TestKey key = bench_->Aes();
  const TestKey other = bench_->Aes();
  CK_BYTE iv[12] = {};
  CK_GCM_PARAMS gcm{iv, sizeof iv, 96, nullptr, 0, 128};
  const auto sealed = bench_->Fingerprint(key);
  ASSERT_GOOD(sealed);
  const auto opened = bench_->Decrypt(other, With(CKM_AES_GCM, gcm), *sealed);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().rv, CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_TRUE(backend_->IsWrongKey(CKM_AES_GCM, opened.error().rv));
  EXPECT_FALSE(backend_->IsWrongKey(CKM_AES_GCM, CKR_DEVICE_ERROR));
}

TEST_P(BackendTest, ACacheOfTwoServesManyKeys) {
  rig_->surroundings().cache_entries = 2;
  Restart();
  std::vector<TestKey> keys;
  std::vector<Bytes> fingerprints;
  for (int i = 0; i < 6; ++i) keys.push_back(bench_->Aes());
  const std::size_t empty = bench_->CountObjects();
  for (const TestKey& key : keys) fingerprints.push_back(*bench_->Fingerprint(key));
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto again = bench_->Fingerprint(keys[i]);
      ASSERT_GOOD(again);
      EXPECT_TRUE(Equal(*again, fingerprints[i]));
      EXPECT_LE(CachedKeys(), 2u);
    }
  }
  EXPECT_LE(bench_->CountObjects(), empty + 2);
}

TEST_P(BackendTest, ALeaseKeepsItsKeyWhateverTheCacheDoes) {
  rig_->surroundings().cache_entries = 2;
  Restart();
  const TestKey kept = bench_->Aes();
  auto lease = backend_->Acquire();
  ASSERT_GOOD(lease);
  const auto handle = (*lease)->Load(kept.name, kept.material);
  ASSERT_GOOD(handle);
  backend_->Forget(kept.name);
  for (int i = 0; i < 5; ++i) ASSERT_GOOD(bench_->Fingerprint(bench_->Aes()));
  CK_MECHANISM ecb = Plain(CKM_AES_ECB);
  EXPECT_EQ((*lease)->functions()->C_EncryptInit((*lease)->session(), &ecb, *handle), CKR_OK);
  (*lease)->Break();
}

TEST_P(BackendTest, AnOperationThatWasBegunGoesOnInItsLease) {
  const TestKey key = bench_->Generic(32);
  auto lease = backend_->Begin([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& session) -> CK_RV {
    const auto handle = session.Load(key.name, key.material);
    if (!handle.ok()) return handle.error().rv;
    CK_MECHANISM hmac = Plain(CKM_SHA256_HMAC);
    return f->C_SignInit(session.session(), &hmac, *handle);
  });
  ASSERT_GOOD(lease);
  Bytes message = ToBytes(kMessage);
  CK_BYTE mac[32];
  CK_ULONG length = sizeof mac;
  CK_FUNCTION_LIST_PTR f = (*lease)->functions();
  ASSERT_EQ(f->C_SignUpdate((*lease)->session(), message.data(), message.size()), CKR_OK);
  ASSERT_EQ(f->C_SignFinal((*lease)->session(), mac, &length), CKR_OK);
  EXPECT_GOOD(bench_->Verify(key, Plain(CKM_SHA256_HMAC), kMessage, {mac, length}, false));
}

TEST_P(BackendTest, ASessionWithAnOperationLeftInItIsNotTheNextOnesTrouble) {
  const TestKey key = bench_->Generic(32);
  {
    auto lease = backend_->Acquire();
    ASSERT_GOOD(lease);
    const auto handle = (*lease)->Load(key.name, key.material);
    ASSERT_GOOD(handle);
    CK_MECHANISM hmac = Plain(CKM_SHA256_HMAC);
    ASSERT_EQ((*lease)->functions()->C_SignInit((*lease)->session(), &hmac, *handle), CKR_OK);
  }
  EXPECT_GOOD(bench_->Sign(key, Plain(CKM_SHA256_HMAC), kMessage));
}

TEST_P(BackendTest, AForgottenKeyLeavesTheDevice) {
  const TestKey key = bench_->Aes();
  const std::size_t before = bench_->CountObjects();
  ASSERT_GOOD(bench_->Fingerprint(key));
  EXPECT_EQ(bench_->CountObjects(), before + (wraps() ? 1 : 0));
  backend_->Forget(key.name);
  EXPECT_EQ(bench_->CountObjects(), before);
  EXPECT_GOOD(bench_->Fingerprint(key));
}

TEST_P(BackendTest, ThreadsUseManyKeysAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kKeys = 24;
  rig_->surroundings().cache_entries = 8;
  Restart();
  std::vector<TestKey> keys;
  std::vector<Bytes> fingerprints;
  for (int i = 0; i < kKeys; ++i) {
    keys.push_back(bench_->Aes());
    fingerprints.push_back(*bench_->Fingerprint(keys.back()));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto which = static_cast<std::size_t>((i * 7 + t * 5) % kKeys);
        const auto got = bench_->Fingerprint(keys[which]);
        if (!got.ok() || !Equal(*got, fingerprints[which])) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(CachedKeys(), 8u);
}

TEST_P(BackendTest, ThreadsThatMissTogetherUnwrapOnce) {
  const TestKey key = bench_->Aes();
  const std::size_t before = bench_->CountObjects();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] { failed += bench_->Fingerprint(key).ok() ? 0 : 1; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(bench_->CountObjects(), before + (wraps() ? 1 : 0));
}

TEST_P(BackendTest, SessionsLostBehindItsBackAreMadeAgain) {
  const TestKey key = bench_->Aes();
  const auto before = bench_->Fingerprint(key);
  ASSERT_GOOD(before);
  CK_FUNCTION_LIST_PTR f = (*backend_->Acquire())->functions();
  CK_SLOT_ID slots[8];
  CK_ULONG count = std::size(slots);
  ASSERT_EQ(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
  for (CK_ULONG i = 0; i < count; ++i) (void)f->C_CloseAllSessions(slots[i]);
  const auto after = bench_->Fingerprint(key);
  ASSERT_GOOD(after);
  EXPECT_TRUE(Equal(*before, *after));
  (void)bench_->Aes();
}

TEST_P(BackendTest, ALoginLostBehindItsBackIsMadeAgain) {
  const TestKey key = bench_->Aes();
  ASSERT_GOOD(bench_->Fingerprint(key));
  {
    auto lease = backend_->Acquire();
    ASSERT_GOOD(lease);
    ASSERT_EQ((*lease)->functions()->C_Logout((*lease)->session()), CKR_OK);
  }
  EXPECT_GOOD(bench_->Fingerprint(key));
  (void)bench_->Aes();
}

TEST_P(BackendTest, ACachedKeyThatTheDevicePurgedIsLoadedAgain) {
  if (!wraps()) return;  // what is cached is the key itself
  const TestKey key = bench_->Aes();
  const auto before = bench_->Fingerprint(key);
  {
    auto lease = backend_->Acquire();
    ASSERT_GOOD(lease);
    const auto handle = (*lease)->Load(key.name, key.material);
    ASSERT_GOOD(handle);
    ASSERT_EQ((*lease)->functions()->C_DestroyObject((*lease)->session(), *handle), CKR_OK);
  }
  const auto after = bench_->Fingerprint(key);
  ASSERT_GOOD(after);
  EXPECT_TRUE(Equal(*before, *after));
}

TEST_P(BackendTest, ANewEpochTakesTheKeyOverAndTheOldOneIsFinal) {
  if (Lacks(CKM_AES_KEY_WRAP)) return;
  const TestKey key = bench_->Aes();
  const auto before = bench_->Fingerprint(key);
  const auto next = backend_->MakeWrappingKey(2);
  ASSERT_GOOD(next);
  auto moved = backend_->Rewrap(key.name, key.material, *next);
  ASSERT_GOOD(moved);
  EXPECT_EQ(moved->epoch, 2u);
  ASSERT_GOOD(backend_->DestroyWrappingKey(bench_->under()));
  const auto gone = bench_->Fingerprint(key);
  ASSERT_FALSE(gone.ok()) << "nothing that was cached may serve it either";
  EXPECT_EQ(gone.error().rv, CKR_FUNCTION_FAILED);
  TestKey again = key;
  again.material.material = *moved;
  backend_->Forget(key.name);
  const auto after = bench_->Fingerprint(again);
  ASSERT_GOOD(after);
  EXPECT_TRUE(Equal(*before, *after));
  EXPECT_GOOD(backend_->DestroyWrappingKey(bench_->under())) << "gone is gone";
}

TEST_P(BackendTest, AResidentKeyIsCopiedForAnotherName) {
  const TestKey key = Signer();
  const auto copied = backend_->Rewrap(key.name, key.material, bench_->under());
  ASSERT_GOOD(copied);
  TestKey copy = key;
  copy.name.version = 2;
  copy.material.material = *copied;
  ASSERT_GOOD(backend_->DestroyMaterial(key.material.material));
  backend_->Forget(key.name);
  const auto signature = bench_->Sign(copy, Signing(), kDigest);
  ASSERT_GOOD(signature);
  EXPECT_GOOD(bench_->Verify(key, Signing(), kDigest, *signature, true));
}

TEST_P(BackendTest, AnExaminationFindsItUsableAndLeavesNothingBehind) {
  const std::size_t before = bench_->CountObjects();
  const Examination found = Examine(*backend_);
  EXPECT_TRUE(found.usable());
  EXPECT_EQ(bench_->CountObjects(), before);
  EXPECT_FALSE(found.manufacturer.empty());
  EXPECT_FALSE(found.mechanisms.empty());
  std::set<std::string> handled;
  for (const Finding& finding : found.findings) {
    EXPECT_NE(finding.verdict, Verdict::kFault) << finding.subject << ": " << finding.detail;
    const bool missing = finding.verdict == Verdict::kMissing;
    if (GetParam() != RigKind::kOpencryptokiHosted) {
      EXPECT_EQ(missing, finding.subject == "Edwards keys" && !edwards()) << finding.subject;
    }
    if (finding.verdict == Verdict::kHandled) handled.insert(finding.subject);
  }
  EXPECT_EQ(handled.contains("secrets of odd lengths"), GetParam() == RigKind::kSoftHsmHosted || !wraps());
  EXPECT_EQ(handled.contains("AES keys"), !wraps());
  EXPECT_EQ(handled.contains("EC keys"), GetParam() == RigKind::kNssHosted);
}

TEST_P(BackendTest, RandomBytesOfAnyLengthDiffer) {
  Bytes one(3001);
  Bytes two(3001);
  ASSERT_GOOD(backend_->FillRandom(one));
  ASSERT_GOOD(backend_->FillRandom(two));
  EXPECT_NE(one, two);
  EXPECT_LT(std::count(one.begin(), one.end(), 0), 100);
}

TEST_P(HostedBackendTest, AKilledHostCostsAThreadAtMostOneError) {
  constexpr int kThreads = 4;
  std::vector<TestKey> keys;
  std::vector<Bytes> fingerprints;
  for (int i = 0; i < 8; ++i) {
    keys.push_back(bench_->Aes());
    fingerprints.push_back(*bench_->Fingerprint(keys.back()));
  }
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::atomic<int>> errors(kThreads);
  std::vector<std::atomic<int>> served(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto me = static_cast<std::size_t>(t);
      for (std::size_t i = me; !stop; ++i) {
        const auto got = bench_->Fingerprint(keys[i % keys.size()]);
        if (!got.ok())
          ++errors[me];
        else if (!Equal(*got, fingerprints[i % keys.size()]))
          ++wrong;
        else
          ++served[me];
      }
    });
  }
  const char* asked = std::getenv("CMKD_HOST_KILLS");  // a campaign: 1000
  const int kills = asked == nullptr ? 3 : std::atoi(asked);
  ASSERT_GT(kills, 0);
  for (int i = 0; i < kills; ++i) {
    std::this_thread::sleep_for(milliseconds(300));
    int pid = HsmRig::HostPid();
    for (int look = 0; pid == 0 && look < 500; ++look) {
      std::this_thread::sleep_for(milliseconds(10));
      pid = HsmRig::HostPid();
    }
    ASSERT_GT(pid, 0);
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    // Until the new host has served everybody.
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    for (std::atomic<int>& count : served) {
      const int before = count;
      while (count < before + 3 && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0) << "a handle of the old host was used in the new one";
  for (int t = 0; t < kThreads; ++t) {
    EXPECT_LE(errors[static_cast<std::size_t>(t)], kills) << "thread " << t;
    EXPECT_GT(served[static_cast<std::size_t>(t)], 0);
  }
}

// Token objects, for SoftHSM 2.6.1 that is killed may leave the file of an object that it had just begun: it has a
// class and defaults, but no id, no CKA_TOKEN and no key, and belongs to nobody. Seen once in twenty kills of a loaded
// machine.
// opencryptoki writes its soft token's own file anew in place, at a login for one; a kill in the middle of that loses
// the token, as seen once in some sixty of these runs. That is not what is tried here: the file comes back as from a
// backup. (For SoftHSM, which does the same, the host sees to that: daemon/hsm_host.)
class TokensOwnFiles {
 public:
  explicit TokensOwnFiles(const HsmRig& rig) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(rig.memory())) {
      if (entry.path().filename() != "NVTOK.DAT") continue;
      std::ifstream file(entry.path(), std::ios::binary);
      kept_[entry.path()] = {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
  }
  // Only those that are damaged: shorter than they were.
  void Restore() const {
    for (const auto& [path, content] : kept_) {
      if (std::filesystem::exists(path) && std::filesystem::file_size(path) >= content.size()) continue;
      std::ofstream(path, std::ios::binary) << content;
    }
  }

 private:
  std::map<std::filesystem::path, std::string> kept_;
};

TEST_P(HostedBackendTest, AKilledHostLeavesNoOrphansOfKeysBeingMade) {
  (void)Signer();  // learns how it is kept
  const TokensOwnFiles token_files(*rig_);
  const std::optional<std::size_t> before = bench_->CountTokenObjects();
  ASSERT_TRUE(before.has_value());
  std::atomic<bool> stop{false}, stopped{false};
  std::thread maker([&] {
    while (!stop) {
      const auto made = MakeSigner();
      if (!made.ok()) continue;
      while (!backend_->DestroyMaterial(made->material).ok()) std::this_thread::sleep_for(milliseconds(10));
    }
    stopped = true;
  });
  for (int i = 0; i < 4; ++i) {
    std::this_thread::sleep_for(milliseconds(100 + i * 13));
    if (const int pid = HsmRig::HostPid(); pid > 0) ::kill(pid, SIGKILL);
  }
  std::this_thread::sleep_for(milliseconds(300));
  stop = true;
  for (; !stopped; std::this_thread::sleep_for(milliseconds(100))) {
    if (!bench_->CountTokenObjects()) token_files.Restore();
  }
  maker.join();
  // Work after a failure clears up; on a loaded machine the host may still be on its way back.
  const auto deadline = steady_clock::now() + std::chrono::seconds(60);
  for (auto count = bench_->CountTokenObjects(); count != before && steady_clock::now() < deadline;
       count = bench_->CountTokenObjects()) {
    if (!count) token_files.Restore();
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(bench_->CountTokenObjects(), before);
}

TEST_P(HostedBackendTest, ADeviceThatIsAwayIsToldQuicklyAndComesBack) {
  // A host program of our own that can be taken away.
  const std::string program = rig_->folder() + "/cmkd-hsm-host";
  std::filesystem::copy_file(HsmRig::HostProgram(), program);
  rig_->config().host_program = program;
  Restart();
  const TestKey key = bench_->Aes();
  std::filesystem::rename(program, program + ".away");
  ASSERT_EQ(::kill(HsmRig::HostPid(), SIGKILL), 0);
  const auto first = bench_->Fingerprint(key);
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().rv, CKR_DEVICE_ERROR);
  EXPECT_EQ(first.error().detail, spec::kHsmUnavailable);
  EXPECT_FALSE(backend_->available());
  // The quickest of some: who waited for a host that cannot come would do so each time, a busy machine does not.
  auto quickest = steady_clock::duration::max();
  for (int i = 0; i < 5 && quickest > std::chrono::seconds(2); ++i) {
    const auto asked = steady_clock::now();
    EXPECT_FALSE(bench_->Fingerprint(key).ok());
    quickest = std::min(quickest, steady_clock::now() - asked);
  }
  EXPECT_LT(quickest, std::chrono::seconds(2)) << "no waiting for a host that cannot come";
  std::filesystem::rename(program + ".away", program);
  const auto deadline = steady_clock::now() + std::chrono::seconds(60);
  while (!backend_->available() && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_GOOD(bench_->Fingerprint(key));
}

TEST_P(BackendTest, ACachedKeyIsFoundFast) {
  const TestKey key = bench_->Aes();
  auto lease = backend_->Acquire();
  ASSERT_GOOD(lease);
  ASSERT_GOOD((*lease)->Load(key.name, key.material));
  // The best of many short rounds: what a look-up takes when nobody else takes the processor meanwhile.
  constexpr int kLoads = 100;
  auto best = std::chrono::nanoseconds::max();
  for (int round = 0; round < 200; ++round) {
    const auto begun = steady_clock::now();
    for (int i = 0; i < kLoads; ++i) (void)(*lease)->Load(key.name, key.material);
    best = std::min(best, std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - begun) / kLoads);
  }
  RecordProperty("load_nanoseconds", static_cast<int>(best.count()));
#ifndef CMKD_SANITIZED
  EXPECT_LT(best.count(), 2000) << "the aim is 200 ns; this bound only tells a look-up from a trip to the device";
#endif
}

INSTANTIATE_TEST_SUITE_P(Every, HostedBackendTest,
                         testing::Values(RigKind::kSoftHsmHosted, RigKind::kSimulatorHosted, RigKind::kNssHosted,
                                         RigKind::kOpencryptokiHosted),
                         [](const auto& tested) { return NameOf(tested.param); });
INSTANTIATE_TEST_SUITE_P(Every, BackendTest,
                         testing::Values(RigKind::kSimulatorInside, RigKind::kSoftHsmHosted, RigKind::kSimulatorHosted,
                                         RigKind::kNssHosted, RigKind::kOpencryptokiHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

TEST(SimulatedBackend, ThereIsOneInAProcess) {
  HsmRig rig(RigKind::kSimulatorInside);
  const auto first = rig.Start();
  ASSERT_NE(first, nullptr);
  HsmConfig other = rig.config();
  other.name = "second";
  const auto second = StartBackend(other, rig.surroundings());
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().find("one simulated device"), std::string::npos) << second.error();
}

TEST(SimulatedBackend, LosesNothingWhenItsPinFileIsThere) {
  HsmRig rig(RigKind::kSimulatorInside);
  TestKey key;
  {
    const auto backend = rig.Start();
    ASSERT_NE(backend, nullptr);
    key = KeyBench(*backend).Aes();
  }
  std::filesystem::remove(rig.folder() + "/hsm-test.pin");
  const auto backend = StartBackend(rig.config(), rig.surroundings());
  ASSERT_FALSE(backend.ok()) << "another PIN cannot open the token";
}

TEST(HostedBackend, SaysWhyAModuleIsNone) {
  HsmRig rig(RigKind::kSoftHsmHosted);
  ASSERT_TRUE(rig.missing().empty()) << rig.missing();
  rig.config().module = "/dev/null";
  const auto backend = StartBackend(rig.config(), rig.surroundings());
  ASSERT_FALSE(backend.ok());
  EXPECT_NE(backend.error().find("cannot load the module"), std::string::npos) << backend.error();
}

TEST(HostedBackend, SaysWhenTheTokenIsNotThere) {
  HsmRig rig(RigKind::kSoftHsmHosted);
  ASSERT_TRUE(rig.missing().empty()) << rig.missing();
  rig.config().token_label = "another";
  const auto backend = StartBackend(rig.config(), rig.surroundings());
  ASSERT_FALSE(backend.ok());
  EXPECT_NE(backend.error().find("no token with label \"another\""), std::string::npos) << backend.error();
}

}  // namespace
}  // namespace cmkd::daemon
