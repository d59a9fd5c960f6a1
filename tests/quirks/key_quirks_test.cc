// How programs bring, tie together and recognise keys; like quirks_test.cc, each test is named after its program.
#include "tests/quirks/quirks_fixture.h"

namespace cmkd::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// The key of RFC 6979 appendix A.2.5.
const Bytes kP256Scalar = {0xC9, 0xAF, 0xA9, 0xD8, 0x45, 0xBA, 0x75, 0x16, 0x6B, 0x5C, 0x21,
                           0x57, 0x67, 0xB1, 0xD6, 0x93, 0x4E, 0x50, 0xC3, 0xDB, 0x36, 0xE8,
                           0x9B, 0x12, 0x7B, 0x8A, 0x62, 0x2B, 0x12, 0x0F, 0x67, 0x21};
const Bytes kP256Point = {0x04, 0x41, 0x04, 0x60, 0xFE, 0xD4, 0xBA, 0x25, 0x5A, 0x9D, 0x31, 0xC9, 0x61, 0xEB,
                          0x74, 0xC6, 0x35, 0x6D, 0x68, 0xC0, 0x49, 0xB8, 0x92, 0x3B, 0x61, 0xFA, 0x6C, 0xE6,
                          0x69, 0x62, 0x2E, 0x60, 0xF2, 0x9F, 0xB6, 0x79, 0x03, 0xFE, 0x10, 0x08, 0xB8, 0xBC,
                          0x99, 0xA4, 0x1A, 0xE9, 0xE9, 0x56, 0x28, 0xBC, 0x64, 0xF2, 0xF1, 0xB2, 0x0C, 0x2D,
                          0x7E, 0x9F, 0x51, 0x77, 0xA3, 0xC2, 0x94, 0xD4, 0x46, 0x22, 0x99};

class KeyQuirk : public Quirk {
 protected:
  CK_OBJECT_HANDLE CreateCertificate(const Bytes& id, const std::string& label) {
    Template certificate;
    certificate.Ulong(CKA_CLASS, CKO_CERTIFICATE).Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509).Bool(CKA_TOKEN, true);
    certificate.Bool(CKA_PRIVATE, false).Raw(CKA_SUBJECT, {0x30, 0x00}).Raw(CKA_ID, id).Text(CKA_LABEL, label);
    return Create(certificate.Raw(CKA_VALUE, Bytes(300, 0x30)));
  }
  CK_FLAGS FlagsOf(CK_MECHANISM_TYPE type) {
    CK_MECHANISM_INFO info{};
    return p11_->C_GetMechanismInfo(slot_, type, &info) == CKR_OK ? info.flags : 0;
  }
};

// `--test` tries mechanisms with CKF_HW, or all with `--allow-sw`: a token whose device is in the daemon says no more
// than it is, and has all that `--test` looks for.
TEST_F(KeyQuirk, Pkcs11ToolAsksWhatIsDoneInHardware) {
  for (const CK_MECHANISM_TYPE type : {CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_ECDSA, CKM_AES_CBC}) {
    EXPECT_NE(FlagsOf(type), 0u);
    EXPECT_EQ(FlagsOf(type) & CKF_HW, 0u);
  }
}

// The engine looks before it logs in, and logs in when it found no private key.
TEST_F(KeyQuirk, Libp11LooksBeforeItLogsIn) {
  const Pair key = GenerateRsa(true, "tls", {7});
  ASSERT_EQ(p11_->C_Logout(session_), CKR_OK);
  const Template private_keys = Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY);
  EXPECT_THAT(p11_.Find(session_, private_keys), SizeIs(0));
  ASSERT_EQ(p11_.Login(session_, kUserPin), CKR_OK);
  EXPECT_THAT(p11_.Find(session_, private_keys), ElementsAre(key.private_key));
}

TEST_F(KeyQuirk, Libp11TiesCertificateAndKeyById) {
  const Pair key = GenerateRsa(true, "tls", {7, 8}), other = GenerateRsa(true, "tls", {7});
  const CK_OBJECT_HANDLE certificate = CreateCertificate({7, 8}, "another label");
  const auto id = Read(certificate, CKA_ID);
  ASSERT_TRUE(id.has_value());
  EXPECT_THAT(p11_.Find(session_, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Raw(CKA_ID, *id)),
              ElementsAre(key.private_key));
  EXPECT_NE(key.private_key, other.private_key);
}

// It takes a hashed ECDSA only if it can feed it in parts.
TEST_F(KeyQuirk, Pkcs11ProviderSignsEcdsaInParts) {
  const Pair key = GenerateP256(true, "k");
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  Bytes text(5000, 0x41), signature(64);
  CK_ULONG length = signature.size();
  ASSERT_EQ(p11_->C_SignInit(session_, &mechanism, key.private_key), CKR_OK);
  for (std::size_t at = 0; at < text.size(); at += 1000) {
    ASSERT_EQ(p11_->C_SignUpdate(session_, text.data() + at, 1000), CKR_OK);
  }
  ASSERT_EQ(p11_->C_SignFinal(session_, signature.data(), &length), CKR_OK);
  EXPECT_EQ(Verify(mechanism, key.public_key, text, signature), CKR_OK);
}

// p11-kit passes on what is in the list of C_GetFunctionList, which is 2.40's: a newer list there would be misread.
TEST_F(KeyQuirk, P11KitPassesOnAListOf240) {
  EXPECT_EQ(p11_.operator->()->version.major, 2);
  EXPECT_EQ(p11_.operator->()->version.minor, 40);
  CK_INFO info{};
  ASSERT_EQ(p11_->C_GetInfo(&info), CKR_OK);
  EXPECT_GE(info.cryptokiVersion.major, 2);
  CK_FUNCTION_LIST* again = nullptr;
  ASSERT_EQ(p11_->C_GetFunctionList(&again), CKR_OK);
  EXPECT_EQ(again, p11_.operator->());
  CK_SESSION_INFO session{};
  EXPECT_EQ(p11_->C_GetSessionInfo(session_, &session), CKR_OK);
}

// p11-kit's remoting asks for attributes of types that no standard has, among others (pkcs11-dump and softhsm2-util,
// too).
TEST_F(KeyQuirk, P11KitRemotingReadsWhatNobodyKnows) {
  const Pair key = GenerateP256(true, "k");
  CK_KEY_TYPE type = 0;
  CK_BYTE unknown[8];
  Bytes label(8);
  CK_ATTRIBUTE all[] = {{CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_VENDOR_DEFINED | 0x7777, unknown, sizeof unknown},
                        {CKA_LABEL, label.data(), label.size()}};
  EXPECT_EQ(p11_->C_GetAttributeValue(session_, key.private_key, all, 3), CKR_ATTRIBUTE_TYPE_INVALID);
  EXPECT_EQ(type, static_cast<CK_KEY_TYPE>(CKK_EC));
  EXPECT_EQ(all[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(all[2].ulValueLen, 1u);
  EXPECT_EQ(label[0], 'k');
}

// It brings private keys as PKCS #8 under AES-CBC-PAD.
TEST_F(KeyQuirk, NssUnwrapsPrivateKeysUnderCbcPad) {
  CK_OBJECT_HANDLE wrapping = 0, came = 0;
  ASSERT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false).Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true),
                             wrapping),
            CKR_OK);
  const Pair pair = Generate(CKM_EC_KEY_PAIR_GEN, Template().Bool(CKA_TOKEN, false).Raw(CKA_EC_PARAMS, kP256),
                             Template().Bool(CKA_TOKEN, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_SENSITIVE, false));
  Bytes iv(16, 9), wrapped(1000);
  CK_ULONG length = wrapped.size();
  CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv.data(), iv.size()};
  ASSERT_EQ(p11_->C_WrapKey(session_, &mechanism, wrapping, pair.private_key, wrapped.data(), &length), CKR_OK);
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_EC).Bool(CKA_TOKEN, true).Bool(CKA_SIGN, true);
  ASSERT_EQ(
      p11_->C_UnwrapKey(session_, &mechanism, wrapping, wrapped.data(), length, wanted.data(), wanted.size(), &came),
      CKR_OK);
  Bytes signature;
  ASSERT_EQ(Sign({CKM_ECDSA, nullptr, 0}, came, kHash, signature), CKR_OK);
  EXPECT_EQ(Verify({CKM_ECDSA, nullptr, 0}, pair.public_key, kHash, signature), CKR_OK);
}

// Plain `keytool -genkeypair` makes the key in the JVM and brings it with C_CreateObject.
TEST_F(KeyQuirk, SunPkcs11ImportsPrivateKeys) {
  Template first, second;
  second.Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_EC).Bool(CKA_TOKEN, true).Raw(CKA_ID, {5});
  const CK_OBJECT_HANDLE key = Create(second.Raw(CKA_EC_PARAMS, kP256).Raw(CKA_VALUE, kP256Scalar));
  first.Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_EC).Bool(CKA_TOKEN, false);
  const CK_OBJECT_HANDLE half = Create(first.Raw(CKA_EC_PARAMS, kP256).Raw(CKA_EC_POINT, kP256Point));
  Bytes signature;
  ASSERT_EQ(Sign({CKM_ECDSA, nullptr, 0}, key, kHash, signature), CKR_OK);
  EXPECT_EQ(Verify({CKM_ECDSA, nullptr, 0}, half, kHash, signature), CKR_OK);
}

// MessageDigest.clone() is C_GetOperationState and C_SetOperationState.
TEST_F(KeyQuirk, SunPkcs11ClonesADigest) {
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  Bytes state(8192), first(32), second(32), text(100, 0x41);
  CK_ULONG length = state.size();
  ASSERT_EQ(p11_->C_DigestInit(session_, &mechanism), CKR_OK);
  ASSERT_EQ(p11_->C_DigestUpdate(session_, text.data(), text.size()), CKR_OK);
  ASSERT_EQ(p11_->C_GetOperationState(session_, state.data(), &length), CKR_OK);
  CK_SESSION_HANDLE clone = 0;
  ASSERT_EQ(p11_.Open(slot_, clone), CKR_OK);
  ASSERT_EQ(p11_->C_SetOperationState(clone, state.data(), length, 0, 0), CKR_OK);
  CK_ULONG n = 32;
  ASSERT_EQ(p11_->C_DigestFinal(session_, first.data(), &n), CKR_OK);
  n = 32;
  ASSERT_EQ(p11_->C_DigestFinal(clone, second.data(), &n), CKR_OK);
  EXPECT_EQ(first, second);
}

// RSA without padding is "decrypted" with the public key by C_VerifyRecover.
TEST_F(KeyQuirk, SunPkcs11RecoversWithRawRsa) {
  const Pair key = Generate(CKM_RSA_PKCS_KEY_PAIR_GEN,
                            Template()
                                .Bool(CKA_TOKEN, false)
                                .Ulong(CKA_MODULUS_BITS, 2048)
                                .Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1})
                                .Bool(CKA_VERIFY_RECOVER, true),
                            Template().Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true));
  Bytes block(256, 0x17), signature, back(256);
  block[0] = 0;
  ASSERT_EQ(Sign({CKM_RSA_X_509, nullptr, 0}, key.private_key, block, signature), CKR_OK);
  CK_MECHANISM raw{CKM_RSA_X_509, nullptr, 0};
  CK_ULONG length = back.size();
  ASSERT_EQ(p11_->C_VerifyRecoverInit(session_, &raw, key.public_key), CKR_OK);
  ASSERT_EQ(p11_->C_VerifyRecover(session_, signature.data(), signature.size(), back.data(), &length), CKR_OK);
  back.resize(length);
  EXPECT_EQ(back, block);
}

// It makes its pool of sessions as large as the token says, and needs two at least; 0 means as many as one likes.
TEST_F(KeyQuirk, Crypto11TakesThePoolSizeFromTheToken) {
  CK_TOKEN_INFO info{};
  ASSERT_EQ(p11_->C_GetTokenInfo(slot_, &info), CKR_OK);
  const bool many = info.ulMaxSessionCount == CK_EFFECTIVELY_INFINITE || info.ulMaxSessionCount > 1500;
  EXPECT_TRUE(many) << info.ulMaxSessionCount;
  EXPECT_EQ(info.ulMaxRwSessionCount, info.ulMaxSessionCount);
}

// pkcs11-helper takes certificate and key for a pair when both have one CKA_ID, also after a restart.
TEST_F(KeyQuirk, OpenvpnFindsTheKeyOfACertificateAfterARestart) {
  const Pair key = GenerateRsa(true, "vpn", {0xAA, 0xBB});
  const CK_OBJECT_HANDLE certificate = CreateCertificate({0xAA, 0xBB}, "vpn");
  ASSERT_TRUE(daemon_.Stop(SIGTERM));
  ASSERT_TRUE(daemon_.Start());
  const Template id = Template().Raw(CKA_ID, {0xAA, 0xBB});
  EXPECT_THAT(p11_.Find(session_, Template(id).Ulong(CKA_CLASS, CKO_CERTIFICATE)), ElementsAre(certificate));
  EXPECT_THAT(p11_.Find(session_, Template(id).Ulong(CKA_CLASS, CKO_PRIVATE_KEY)), ElementsAre(key.private_key));
}

}  // namespace
}  // namespace cmkd::tests
