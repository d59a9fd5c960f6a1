// One test for each way in which real programs use a PKCS#11 module and others fail them. Each is named after the
// program that it protects.
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "tests/quirks/quirks_fixture.h"

namespace cmkd::tests {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::SizeIs;

const CK_MECHANISM kEcdsa{CKM_ECDSA, nullptr, 0};
const CK_MECHANISM kRsaPkcs{CKM_RSA_PKCS, nullptr, 0};

// ---- pkcs11-tool

// It reads CKA_ALWAYS_AUTHENTICATE of the key between C_SignInit and C_Sign.
TEST_F(Quirk, Pkcs11ToolReadsTheKeyBetweenInitAndSign) {
  const Pair key = GenerateP256(true, "k");
  CK_MECHANISM mechanism = kEcdsa;
  ASSERT_EQ(p11_->C_SignInit(session_, &mechanism, key.private_key), CKR_OK);
  EXPECT_EQ(Read(key.private_key, CKA_ALWAYS_AUTHENTICATE), Bytes{CK_FALSE});
  Bytes signature(64);
  CK_ULONG length = signature.size();
  EXPECT_EQ(p11_->C_Sign(session_, BytePtr(kHash), kHash.size(), signature.data(), &length), CKR_OK);
}

TEST_F(Quirk, Pkcs11ToolLogsTheSecurityOfficerInBesideNoReadOnlySession) {
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  CK_SESSION_HANDLE read_only = 0;
  ASSERT_EQ(p11_->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &read_only), CKR_OK);
  const std::string pin = kSoPin;
  const auto so = [&] {
    return p11_->C_Login(session_, CKU_SO, reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data())),
                         pin.size());
  };
  EXPECT_EQ(so(), CKR_SESSION_READ_ONLY_EXISTS);
  ASSERT_EQ(p11_->C_CloseSession(read_only), CKR_OK);
  EXPECT_EQ(so(), CKR_OK);
}

TEST_F(Quirk, Pkcs11ToolInitialisesInAForkedChild) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(p11_->C_Initialize(nullptr) == CKR_OK ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST_F(Quirk, Pkcs11ToolInitialisesInTwoThreadsAtOnce) {
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  std::atomic<int> won{0}, late{0};
  const auto initialise = [&] {
    const CK_RV rv = p11_->C_Initialize(nullptr);
    ++(rv == CKR_OK ? won : late);
  };
  std::thread one(initialise), other(initialise);
  one.join();
  other.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(late, 1);
}

// ---- libp11 (the OpenSSL engine): nginx, Apache, curl, stunnel

// It looks before login, logs in when nothing is found, and walks every key with five or six reads while the search is
// open.
TEST_F(Quirk, Libp11WalksAllKeysWithTheSearchOpen) {
  for (int i = 0; i < 5; ++i) GenerateP256(true, "k" + std::to_string(i), {static_cast<std::uint8_t>(i)});
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_PRIVATE_KEY);
  EXPECT_THAT(p11_.Find(session_, wanted), SizeIs(0));
  ASSERT_EQ(p11_.Login(session_, kUserPin), CKR_OK);
  ASSERT_EQ(p11_->C_FindObjectsInit(session_, wanted.data(), wanted.size()), CKR_OK);
  std::size_t walked = 0;
  for (;; ++walked) {
    CK_OBJECT_HANDLE key = 0;
    CK_ULONG count = 0;
    ASSERT_EQ(p11_->C_FindObjects(session_, &key, 1, &count), CKR_OK);
    if (count == 0) break;
    for (const CK_ATTRIBUTE_TYPE type :
         {CKA_KEY_TYPE, CKA_LABEL, CKA_ID, CKA_ALWAYS_AUTHENTICATE, CKA_EC_PARAMS, CKA_PRIVATE})
      EXPECT_TRUE(Read(key, type).has_value()) << type;
  }
  EXPECT_EQ(p11_->C_FindObjectsFinal(session_), CKR_OK);
  EXPECT_EQ(walked, 5u);
}

TEST_F(Quirk, Libp11SignsInAReadOnlySession) {
  const Pair key = GenerateRsa(true, "k");
  CK_SESSION_HANDLE read_only = 0;
  ASSERT_EQ(p11_->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &read_only), CKR_OK);
  std::swap(session_, read_only);
  Bytes signature;
  EXPECT_EQ(Sign(kRsaPkcs, key.private_key, kHash, signature), CKR_OK);
}

// Workers of a web server are forked children: each initialises for itself and uses the key; none finalises.
TEST_F(Quirk, NginxWorkersUseTheKeyAfterFork) {
  GenerateP256(true, "server", {7});
  for (int worker = 0; worker < 3; ++worker) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(30);
      CK_SESSION_HANDLE own = 0;
      if (p11_->C_Initialize(nullptr) != CKR_OK || p11_.Open(slot_, own) != CKR_OK) ::_exit(1);
      if (p11_.Login(own, kUserPin) != CKR_OK) ::_exit(2);
      const auto found = p11_.Find(own, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Raw(CKA_ID, {7}));
      session_ = own;
      Bytes signature;
      ::_exit(found.size() == 1 && Sign(kEcdsa, found[0], kHash, signature) == CKR_OK ? 0 : 3);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  EXPECT_EQ(StateOf(session_), CK_STATE{CKS_RW_USER_FUNCTIONS});
}

TEST_F(Quirk, OpensslEndsWithoutFinalise) {
  const pid_t child = ::fork();
  if (child == 0) {
    CK_SESSION_HANDLE own = 0;
    ::_exit(p11_->C_Initialize(nullptr) == CKR_OK && p11_.Open(slot_, own) == CKR_OK ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(daemon_.StatusBecomes("applications", 2));  // this program and cmkctl
}

// ---- pkcs11-provider

TEST_F(Quirk, Pkcs11ProviderTakesInterfacesWithAndWithoutName) {
  void* library = ::dlopen(BuiltFile("lib/libcmkd-pkcs11.so").c_str(), RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr);
  const auto get = reinterpret_cast<decltype(&C_GetInterface)>(::dlsym(library, "C_GetInterface"));
  ASSERT_NE(get, nullptr);
  CK_INTERFACE* found = nullptr;
  CK_UTF8CHAR name[] = "PKCS 11";
  CK_VERSION three{3, 0};
  EXPECT_EQ(get(nullptr, nullptr, &found, 0), CKR_OK);
  EXPECT_EQ(get(name, &three, &found, 0), CKR_OK);
  ::dlclose(library);
}

// It copies a key into the session for each use, and destroys the copy.
TEST_F(Quirk, Pkcs11ProviderCachesAKeyByCopyingIt) {
  const Pair key = GenerateRsa(true, "k");
  for (int use = 0; use < 3; ++use) {
    Template in_session;
    in_session.Bool(CKA_TOKEN, false);
    CK_OBJECT_HANDLE copy = 0;
    ASSERT_EQ(p11_->C_CopyObject(session_, key.private_key, in_session.data(), in_session.size(), &copy), CKR_OK);
    Bytes signature;
    EXPECT_EQ(Sign(kRsaPkcs, copy, kHash, signature), CKR_OK);
    EXPECT_EQ(Verify(kRsaPkcs, key.public_key, kHash, signature), CKR_OK);
    EXPECT_EQ(p11_->C_DestroyObject(session_, copy), CKR_OK);
  }
}

// It asks for the state of a signature in parts, and takes a refusal, if the signature only goes on.
TEST_F(Quirk, Pkcs11ProviderAsksForTheOperationState) {
  const Pair key = GenerateRsa(true, "k");
  CK_MECHANISM mechanism{CKM_SHA256_RSA_PKCS, nullptr, 0};
  ASSERT_EQ(p11_->C_SignInit(session_, &mechanism, key.private_key), CKR_OK);
  ASSERT_EQ(p11_->C_SignUpdate(session_, BytePtr(kHash), kHash.size()), CKR_OK);
  CK_ULONG length = 0;
  EXPECT_THAT(p11_->C_GetOperationState(session_, nullptr, &length),
              AnyOf(CK_RV{CKR_OK}, CK_RV{CKR_FUNCTION_NOT_SUPPORTED}, CK_RV{CKR_STATE_UNSAVEABLE}));
  Bytes signature(256);
  length = signature.size();
  EXPECT_EQ(p11_->C_SignFinal(session_, signature.data(), &length), CKR_OK);
  EXPECT_EQ(Verify(mechanism, key.public_key, kHash, signature), CKR_OK);
}

// ---- GnuTLS, Knot

TEST_F(Quirk, GnutlsForbidsThreadsOfOurs) {
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK;
  EXPECT_EQ(p11_->C_Initialize(&arguments), CKR_OK);
}

TEST_F(Quirk, GnutlsAsksForTheLengthOfASignatureFirst) {
  const Pair key = GenerateP256(true, "k");
  CK_MECHANISM mechanism = kEcdsa;
  ASSERT_EQ(p11_->C_SignInit(session_, &mechanism, key.private_key), CKR_OK);
  CK_ULONG length = 0;
  ASSERT_EQ(p11_->C_Sign(session_, BytePtr(kHash), kHash.size(), nullptr, &length), CKR_OK);
  Bytes signature(length);
  ASSERT_EQ(p11_->C_Sign(session_, BytePtr(kHash), kHash.size(), signature.data(), &length), CKR_OK);
  EXPECT_EQ(Verify(kEcdsa, key.public_key, kHash, ByteView(signature).first(length)), CKR_OK);
}

// Also on the slot whose token is not initialised yet: an error is fine, a crash or a hang is not.
TEST_F(Quirk, GnutlsOpensSessionsOnEverySlot) {
  CK_SLOT_ID slots[16];
  CK_ULONG count = 16;
  ASSERT_EQ(p11_->C_GetSlotList(CK_FALSE, slots, &count), CKR_OK);
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_SESSION_HANDLE opened = 0;
    if (p11_.Open(slots[i], opened) == CKR_OK) {
      EXPECT_EQ(p11_->C_CloseSession(opened), CKR_OK);
    }
  }
}

// It asks C_GenerateKeyPair for CKM_EDDSA: a clean refusal.
TEST_F(Quirk, GnutlsAsksForAKeyPairWithASignatureMechanism) {
  CK_MECHANISM mechanism{CKM_EDDSA, nullptr, 0};
  Template first, second;
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  EXPECT_EQ(p11_->C_GenerateKeyPair(session_, &mechanism, first.data(), 0, second.data(), 0, &public_key, &private_key),
            CKR_MECHANISM_INVALID);
}

// ---- NSS

TEST_F(Quirk, NssCopiesObjectsWithAnEmptyTemplate) {
  const Pair key = GenerateRsa(false, "k");
  CK_OBJECT_HANDLE copy = 0;
  ASSERT_EQ(p11_->C_CopyObject(session_, key.private_key, nullptr, 0, &copy), CKR_OK);
  Bytes signature;
  EXPECT_EQ(Sign(kRsaPkcs, copy, kHash, signature), CKR_OK);
}

TEST_F(Quirk, NssSetsTheIdAfterGeneration) {
  const Pair key = GenerateRsa(true, "k", {1});
  const Bytes id(20, 0x77);
  Template change;
  change.Raw(CKA_ID, id);
  for (const CK_OBJECT_HANDLE half : {key.public_key, key.private_key}) {
    EXPECT_EQ(p11_->C_SetAttributeValue(session_, half, change.data(), change.size()), CKR_OK);
    EXPECT_EQ(Read(half, CKA_ID), id);
  }
  EXPECT_THAT(p11_.Find(session_, Template().Raw(CKA_ID, id)), SizeIs(2));
}

TEST_F(Quirk, NssSeedsTheGeneratorAtEveryStart) {
  Bytes bytes(32);
  EXPECT_EQ(p11_->C_GenerateRandom(session_, bytes.data(), bytes.size()), CKR_OK);
  EXPECT_THAT(p11_->C_SeedRandom(session_, bytes.data(), bytes.size()),
              AnyOf(CK_RV{CKR_OK}, CK_RV{CKR_RANDOM_SEED_NOT_SUPPORTED}));
}

TEST_F(Quirk, NssFindsCertificatesByIssuerAndSerialNumber) {
  const Bytes issuer = {0x30, 0x03, 0x31, 0x01, 0x00}, serial = {0x02, 0x01, 0x05};
  Template certificate;
  certificate.Ulong(CKA_CLASS, CKO_CERTIFICATE)
      .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
      .Bool(CKA_TOKEN, true)
      .Bool(CKA_PRIVATE, false);
  certificate.Raw(CKA_SUBJECT, issuer)
      .Raw(CKA_ISSUER, issuer)
      .Raw(CKA_SERIAL_NUMBER, serial)
      .Raw(CKA_VALUE, Bytes(50, 0x30));
  const CK_OBJECT_HANDLE made = Create(certificate);
  EXPECT_THAT(p11_.Find(session_, Template()
                                      .Bool(CKA_TOKEN, true)
                                      .Ulong(CKA_CLASS, CKO_CERTIFICATE)
                                      .Raw(CKA_ISSUER, issuer)
                                      .Raw(CKA_SERIAL_NUMBER, serial)),
              ::testing::ElementsAre(made));
}

// Its parameter of PBKDF2 is 2.20's: a pointer to the password's length where later versions have the length.
TEST_F(Quirk, NssPointsToTheLengthOfThePassword) {
  Bytes password = {'p', 'w'}, salt(8, 1);
  CK_ULONG length = password.size();
  CK_PKCS5_PBKD2_PARAMS2 parameter{
      CKZ_SALT_SPECIFIED, salt.data(), salt.size(), 1000, CKP_PKCS5_PBKD2_HMAC_SHA256, nullptr, 0,
      password.data(),    length};
  CK_MECHANISM mechanism{CKM_PKCS5_PBKD2, &parameter, sizeof parameter};
  const auto make = [&]() -> std::optional<Bytes> {
    Template key;
    key.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Ulong(CKA_VALUE_LEN, 32).Bool(CKA_TOKEN, false);
    key.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    CK_OBJECT_HANDLE made = 0;
    const CK_RV rv = p11_->C_GenerateKey(session_, &mechanism, key.data(), key.size(), &made);
    if (rv == CKR_OK) return Read(made, CKA_VALUE);
    EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID);
    return std::nullopt;
  };
  const auto as_length = make();
  ASSERT_TRUE(as_length.has_value());
  parameter.ulPasswordLen = reinterpret_cast<CK_ULONG>(&length);
  EXPECT_EQ(make(), as_length);
  parameter.ulPasswordLen = ~CK_ULONG{0} - 7;  // neither a length nor an address
  EXPECT_EQ(make(), std::nullopt);
}

// Its own class of trust objects: a refusal is tolerated.
TEST_F(Quirk, NssTriesTrustObjectsOfItsOwnClass) {
  constexpr CK_ULONG kNss = 0x80000000UL | 0x4E534350UL;
  Template trust;
  trust.Ulong(CKA_CLASS, kNss + 3)
      .Bool(CKA_TOKEN, true)
      .Raw(CKA_ISSUER, {0x30, 0x00})
      .Raw(CKA_SERIAL_NUMBER, {0x02, 0x01, 0x05});
  CK_OBJECT_HANDLE made = 0;
  EXPECT_NE(p11_->C_CreateObject(session_, trust.data(), trust.size(), &made), CKR_GENERAL_ERROR);
  EXPECT_EQ(StateOf(session_), CK_STATE{CKS_RW_USER_FUNCTIONS});
}

// ---- SunPKCS11

TEST_F(Quirk, SunPkcs11CopiesSessionKeysToTheToken) {
  const Pair key = GenerateP256(false, "made in the session");
  Template stored;
  stored.Bool(CKA_TOKEN, true).Raw(CKA_ID, {5, 5});
  CK_OBJECT_HANDLE copy = 0;
  ASSERT_EQ(p11_->C_CopyObject(session_, key.private_key, stored.data(), stored.size(), &copy), CKR_OK);
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  Begin();
  const auto found = p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Raw(CKA_ID, {5, 5}));
  ASSERT_THAT(found, SizeIs(1));
  Bytes signature;
  EXPECT_EQ(Sign(kEcdsa, found[0], kHash, signature), CKR_OK);
}

// A SecretKeySpec becomes a session object without CKA_EXTRACTABLE, and is still wrapped and read.
TEST_F(Quirk, SunPkcs11WrapsAndReadsSecretKeySpecs) {
  const Bytes value(16, 0x21);
  Template spec;
  spec.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false).Raw(CKA_VALUE, value);
  const CK_OBJECT_HANDLE key = Create(spec);
  EXPECT_EQ(Read(key, CKA_VALUE), value);
  const Pair wrapping = GenerateRsa(false, "wraps");
  CK_MECHANISM mechanism = kRsaPkcs;
  Bytes wrapped(256);
  CK_ULONG length = wrapped.size();
  EXPECT_EQ(p11_->C_WrapKey(session_, &mechanism, wrapping.public_key, key, wrapped.data(), &length), CKR_OK);
}

// BigIntegers lose their leading zeros, so both halves of a signature may be shorter than the curve: one in four on
// P-521.
TEST_F(Quirk, SunPkcs11VerifiesShortEcdsaSignatures) {
  const Bytes p521 = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
  const Pair key = Generate(CKM_EC_KEY_PAIR_GEN, Template().Bool(CKA_TOKEN, false).Raw(CKA_EC_PARAMS, p521),
                            Template().Bool(CKA_TOKEN, false));
  constexpr std::ptrdiff_t kHalf = 66;
  Bytes signature;
  do {
    ASSERT_EQ(Sign(kEcdsa, key.private_key, kHash, signature), CKR_OK);
    ASSERT_THAT(signature, SizeIs(2 * kHalf));
  } while (signature[0] != 0 || signature[kHalf] != 0);
  Bytes cut(signature.begin() + 1, signature.begin() + kHalf);
  cut.insert(cut.end(), signature.begin() + kHalf + 1, signature.end());
  EXPECT_EQ(Verify(kEcdsa, key.public_key, kHash, cut), CKR_OK);
}

TEST_F(Quirk, SunPkcs11TriesBothLayoutsOfGcmParameters) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_,
                             Template().Bool(CKA_TOKEN, false).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true), key),
            CKR_OK);
  Gcm gcm;
  Bytes first, second;
  EXPECT_EQ(Encrypt(gcm.mechanism, key, kHash, first), CKR_OK);
  // As in 2.20: no ulIvBits.
  struct {
    CK_BYTE_PTR iv;
    CK_ULONG iv_bytes;
    CK_BYTE_PTR aad;
    CK_ULONG aad_bytes;
    CK_ULONG tag_bits;
  } older{gcm.nonce, sizeof gcm.nonce, nullptr, 0, 128};
  EXPECT_EQ(Encrypt({CKM_AES_GCM, &older, sizeof older}, key, kHash, second), CKR_OK);
  EXPECT_EQ(first, second);
}

TEST_F(Quirk, SunPkcs11AsksForEveryMechanismAtStart) {
  CK_ULONG count = 0;
  ASSERT_EQ(p11_->C_GetMechanismList(slot_, nullptr, &count), CKR_OK);
  std::vector<CK_MECHANISM_TYPE> list(count);
  ASSERT_EQ(p11_->C_GetMechanismList(slot_, list.data(), &count), CKR_OK);
  for (const CK_MECHANISM_TYPE type : list) {
    CK_MECHANISM_INFO info{};
    EXPECT_EQ(p11_->C_GetMechanismInfo(slot_, type, &info), CKR_OK) << type;
  }
}

// ---- OpenSSH

TEST_F(Quirk, OpensshReadsPublicKeysBeforeLogin) {
  GenerateP256(true, "ssh", {3});
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  const auto found = p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY));
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(Read(found[0], CKA_ID), Bytes{3});
  EXPECT_TRUE(Read(found[0], CKA_EC_POINT).has_value());
  EXPECT_EQ(Read(found[0], CKA_EC_PARAMS), kP256);
}

TEST_F(Quirk, OpensshFindsThePrivateKeyByIdAndSign) {
  const Pair key = GenerateP256(true, "ssh", {3});
  EXPECT_THAT(p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Raw(CKA_ID, {3}).Bool(CKA_SIGN, true)),
              ::testing::ElementsAre(key.private_key));
}

// ---- OpenDNSSEC

// SkipPublicKey destroys the public half at once, so the private one must show the public parts.
TEST_F(Quirk, OpendnssecReadsTheModulusOfThePrivateKey) {
  const Pair key = GenerateRsa(true, "0123456789abcdef", Bytes(16, 0xAB));
  ASSERT_EQ(p11_->C_DestroyObject(session_, key.public_key), CKR_OK);
  const auto modulus = Read(key.private_key, CKA_MODULUS);
  ASSERT_TRUE(modulus.has_value());
  EXPECT_THAT(*modulus, SizeIs(256));
  EXPECT_EQ(Read(key.private_key, CKA_PUBLIC_EXPONENT), (Bytes{1, 0, 1}));
  Bytes signature;
  EXPECT_EQ(Sign(kRsaPkcs, key.private_key, kHash, signature), CKR_OK);
}

TEST_F(Quirk, OdsHsmspeedSignsInEightThreads) {
  const Pair key = GenerateP256(true, "k");
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      CK_SESSION_HANDLE own = 0;
      if (p11_.Open(slot_, own) != CKR_OK) return;
      for (int round = 0; round < 20; ++round) {
        CK_MECHANISM mechanism = kEcdsa;
        CK_BYTE signature[64];
        CK_ULONG length = sizeof signature;
        if (p11_->C_SignInit(own, &mechanism, key.private_key) != CKR_OK) return;
        if (p11_->C_Sign(own, BytePtr(kHash), kHash.size(), signature, &length) != CKR_OK) return;
      }
      ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
}

// ---- Go: crypto11, miekg/pkcs11

TEST_F(Quirk, Crypto11OpensSessionsByTheThousand) {
  CK_TOKEN_INFO info{};
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &info), CKR_OK);
  EXPECT_TRUE(info.ulMaxSessionCount == CK_EFFECTIVELY_INFINITE || info.ulMaxSessionCount >= 1500)
      << info.ulMaxSessionCount;
  std::set<CK_SESSION_HANDLE> open;
  for (int i = 0; i < 1500; ++i) {
    CK_SESSION_HANDLE one = 0;
    ASSERT_EQ(p11_.Open(slot_, one), CKR_OK) << i;
    open.insert(one);
  }
  EXPECT_THAT(open, SizeIs(1500));
  for (const CK_SESSION_HANDLE one : open) ASSERT_EQ(p11_->C_CloseSession(one), CKR_OK);
  EXPECT_EQ(StateOf(session_), CK_STATE{CKS_RW_USER_FUNCTIONS});
}

TEST_F(Quirk, Crypto11LogsInMoreThanOnce) {
  CK_SESSION_HANDLE other = 0;
  ASSERT_EQ(p11_.Open(slot_, other), CKR_OK);
  EXPECT_EQ(p11_.Login(other, kUserPin), CKR_USER_ALREADY_LOGGED_IN);
}

// ---- graphene, pkcs11js

TEST_F(Quirk, GrapheneComparesTheTokenBeforeAndAfterLogin) {
  CK_TOKEN_INFO before{}, after{};
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &before), CKR_OK);
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &after), CKR_OK);
  EXPECT_EQ(before.flags, after.flags);
  EXPECT_EQ(std::memcmp(before.label, after.label, sizeof before.label), 0);
  EXPECT_EQ(std::memcmp(before.serialNumber, after.serialNumber, sizeof before.serialNumber), 0);
  EXPECT_EQ(before.ulSessionCount, after.ulSessionCount);
}

TEST_F(Quirk, GrapheneNamesTheErrorOfAKeyOfTheWrongType) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true), key), CKR_OK);
  CK_MECHANISM mechanism{CKM_SHA256_RSA_PKCS, nullptr, 0};
  EXPECT_EQ(p11_->C_SignInit(session_, &mechanism, key), CKR_KEY_TYPE_INCONSISTENT);
}

// ---- OpenVPN, gnupg-pkcs11-scd

// An identity is model, label, manufacturer, serial number and CKA_ID; certificate and key are tied by CKA_ID.
TEST_F(Quirk, OpenvpnKnowsTheTokenAgainAfterARestart) {
  GenerateRsa(true, "vpn", {0x0A, 0x0B});
  CK_TOKEN_INFO before{}, after{};
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &before), CKR_OK);
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  Begin();
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &after), CKR_OK);
  EXPECT_EQ(std::memcmp(before.label, after.label, sizeof before.label), 0);
  EXPECT_EQ(std::memcmp(before.model, after.model, sizeof before.model), 0);
  EXPECT_EQ(std::memcmp(before.manufacturerID, after.manufacturerID, sizeof before.manufacturerID), 0);
  EXPECT_EQ(std::memcmp(before.serialNumber, after.serialNumber, sizeof before.serialNumber), 0);
  EXPECT_THAT(p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Raw(CKA_ID, {0x0A, 0x0B})), SizeIs(1));
}

// ---- strongSwan

TEST_F(Quirk, StrongswanReadsManyAttributesAtOnceWithoutLogin) {
  Template certificate;
  certificate.Ulong(CKA_CLASS, CKO_CERTIFICATE)
      .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
      .Bool(CKA_TOKEN, true)
      .Bool(CKA_PRIVATE, false);
  certificate.Raw(CKA_SUBJECT, {0x30, 0x00}).Raw(CKA_ID, {1}).Text(CKA_LABEL, "ca").Raw(CKA_VALUE, Bytes(700, 0x30));
  const CK_OBJECT_HANDLE made = Create(certificate);
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  Bytes value(2000), subject(100), id(100), label(100);
  CK_BBOOL trusted = CK_TRUE;
  CK_ATTRIBUTE all[] = {{CKA_VALUE, value.data(), value.size()},
                        {CKA_SUBJECT, subject.data(), subject.size()},
                        {CKA_ID, id.data(), id.size()},
                        {CKA_LABEL, label.data(), label.size()},
                        {CKA_TRUSTED, &trusted, 1}};
  EXPECT_EQ(p11_->C_GetAttributeValue(session_, made, all, 5), CKR_OK);
  EXPECT_EQ(all[0].ulValueLen, 700u);
  EXPECT_EQ(all[3].ulValueLen, 2u);
  EXPECT_EQ(trusted, CK_FALSE);
}

// ---- pkcs11-dump, p11-kit remoting

TEST_F(Quirk, Pkcs11DumpReadsUnknownAttributesInTheMiddle) {
  const Pair key = GenerateP256(true, "k", {9});
  Bytes id(100), label(100), nothing(100);
  CK_ATTRIBUTE three[] = {{CKA_ID, id.data(), id.size()},
                          {CKA_VENDOR_DEFINED | 0x7654321, nothing.data(), nothing.size()},
                          {CKA_LABEL, label.data(), label.size()}};
  EXPECT_EQ(p11_->C_GetAttributeValue(session_, key.private_key, three, 3), CKR_ATTRIBUTE_TYPE_INVALID);
  EXPECT_EQ(three[0].ulValueLen, 1u);
  EXPECT_EQ(three[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(three[2].ulValueLen, 1u);
}

// ---- Whoever calls again after an error: JCA, libp11

TEST_F(Quirk, JavaBeginsAnewAfterAFailedCall) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_,
                             Template().Bool(CKA_TOKEN, false).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true), key),
            CKR_OK);
  CK_BYTE iv[16] = {};
  const CK_MECHANISM cbc{CKM_AES_CBC, iv, sizeof iv};
  Bytes out;
  EXPECT_EQ(Encrypt(cbc, key, Bytes(17), out), CKR_DATA_LEN_RANGE);
  EXPECT_EQ(Encrypt(cbc, key, Bytes(16), out), CKR_OK) << "the failed call has ended the operation";
  Gcm gcm;
  EXPECT_NE(Decrypt(gcm.mechanism, key, Bytes(40, 1), out), CKR_OK);
  EXPECT_EQ(Encrypt(gcm.mechanism, key, Bytes(16), out), CKR_OK);
}

// ---- Sizes and parameters: JCA, Go, PKCS#11 clients of databases

TEST_F(Quirk, JavaUsesHmacKeysOfAnyLength) {
  for (const std::size_t size : {1, 14, 20, 32, 63, 64, 65, 100, 128, 129, 200}) {
    Template secret;
    secret.Ulong(CKA_CLASS, CKO_SECRET_KEY)
        .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .Bool(CKA_TOKEN, false)
        .Bool(CKA_SIGN, true);
    secret.Bool(CKA_VERIFY, true).Raw(CKA_VALUE, Bytes(size, 0x2F));
    const CK_OBJECT_HANDLE key = Create(secret);
    for (const CK_MECHANISM_TYPE type : {CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_SHA512_HMAC}) {
      Bytes mac;
      EXPECT_EQ(Sign({type, nullptr, 0}, key, kHash, mac), CKR_OK) << size;
      EXPECT_EQ(Verify({type, nullptr, 0}, key, kHash, mac), CKR_OK) << size;
    }
  }
}

TEST_F(Quirk, JavaUsesGcmNoncesOfAnyLength) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_,
                             Template().Bool(CKA_TOKEN, false).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true), key),
            CKR_OK);
  for (const std::size_t size : {1, 8, 11, 12, 13, 16, 20, 64, 256}) {
    Bytes iv(size, 0x31), sealed, opened;
    CK_GCM_PARAMS parameter{iv.data(), size, size * 8, nullptr, 0, 128};
    const CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
    EXPECT_EQ(Encrypt(mechanism, key, kHash, sealed), CKR_OK) << size;
    EXPECT_EQ(Decrypt(mechanism, key, sealed, opened), CKR_OK) << size;
    EXPECT_EQ(opened, kHash) << size;
  }
}

struct Hash {
  CK_MECHANISM_TYPE type;
  CK_RSA_PKCS_MGF_TYPE mgf;
  std::size_t bytes;
};
constexpr Hash kHashes[] = {{CKM_SHA_1, CKG_MGF1_SHA1, 20},
                            {CKM_SHA224, CKG_MGF1_SHA224, 28},
                            {CKM_SHA256, CKG_MGF1_SHA256, 32},
                            {CKM_SHA384, CKG_MGF1_SHA384, 48},
                            {CKM_SHA512, CKG_MGF1_SHA512, 64}};

TEST_F(Quirk, JavaUsesOaepWithAnyHashesAndLabel) {
  const Pair key = GenerateRsa(false, "k");
  CK_BYTE label[] = "a label";
  for (const Hash& hash : kHashes) {
    for (const Hash& mask : kHashes) {
      CK_RSA_PKCS_OAEP_PARAMS parameter{hash.type, mask.mgf, CKZ_DATA_SPECIFIED, label, sizeof label - 1};
      const CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &parameter, sizeof parameter};
      Bytes sealed, opened;
      EXPECT_EQ(Encrypt(mechanism, key.public_key, kHash, sealed), CKR_OK) << hash.bytes << ' ' << mask.bytes;
      EXPECT_EQ(Decrypt(mechanism, key.private_key, sealed, opened), CKR_OK) << hash.bytes << ' ' << mask.bytes;
      EXPECT_EQ(opened, kHash);
      parameter.ulSourceDataLen = 1;
      EXPECT_NE(Decrypt(mechanism, key.private_key, sealed, opened), CKR_OK) << "another label";
    }
  }
}

TEST_F(Quirk, JavaUsesPssWithAnyHashes) {
  const Pair key = GenerateRsa(false, "k");
  for (const Hash& hash : kHashes) {
    for (const Hash& mask : kHashes) {
      CK_RSA_PKCS_PSS_PARAMS parameter{hash.type, mask.mgf, hash.bytes};
      const CK_MECHANISM mechanism{CKM_RSA_PKCS_PSS, &parameter, sizeof parameter};
      const Bytes digest(hash.bytes, 0x19);
      Bytes signature;
      EXPECT_EQ(Sign(mechanism, key.private_key, digest, signature), CKR_OK) << hash.bytes << ' ' << mask.bytes;
      EXPECT_EQ(Verify(mechanism, key.public_key, digest, signature), CKR_OK) << hash.bytes << ' ' << mask.bytes;
    }
  }
}

// ---- Many keys: libp11, OpenDNSSEC, SoftHSM's users

// CMKD_QUIRK_KEYS: how many.
TEST_F(Quirk, OpendnssecKeepsManyKeysWithoutASlowStart) {
  const char* wanted = std::getenv("CMKD_QUIRK_KEYS");
  const int count = wanted != nullptr ? std::atoi(wanted) : 1000;
  for (int i = 0; i < count; ++i) {
    CK_OBJECT_HANDLE key = 0;
    ASSERT_EQ(
        p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "key " + std::to_string(i)), key),
        CKR_OK);
  }
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  const auto begin = std::chrono::steady_clock::now();
  Begin();
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, "key " + std::to_string(count / 2))), SizeIs(1));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  // Login and its PIN included. SoftHSM2 reads every file first: seconds for some hundred keys.
  EXPECT_LT(took.count(), 20.0);
}

}  // namespace
}  // namespace cmkd::tests
