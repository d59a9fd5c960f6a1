// Published answers through the function list, for the rows of the mechanism table that have no file of vectors.
// Numbers are from NIST publications and RFCs, each named beside them.
#include <set>

#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "tests/firmware_sim/device_fixture.h"
#include "tests/firmware_sim/field_answers.h"
#include "tests/firmware_sim/rsa_answers.h"
#include "tests/firmware_sim/second_source_answers.h"

namespace cmkd::sim {
namespace {

struct Answer {
  CK_MECHANISM_TYPE mechanism;
  CK_KEY_TYPE key_type;
  std::string_view key, parameter, input, output;
};

// NIST SP 800-38A, appendix F: the four blocks that all its examples encrypt.
constexpr std::string_view kBlocks =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
constexpr std::string_view kAes128 = "2b7e151628aed2a6abf7158809cf4f3c";
constexpr std::string_view kAes192 = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b";
constexpr std::string_view kAes256 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
constexpr std::string_view kIv = "000102030405060708090a0b0c0d0e0f";
constexpr std::string_view kCounter = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

constexpr Answer kCiphers[] = {
    {CKM_AES_ECB, CKK_AES, kAes128, "", kBlocks,  // F.1.1
     "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
     "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"},
    {CKM_AES_ECB, CKK_AES, kAes192, "", kBlocks,  // F.1.3
     "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
     "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e"},
    {CKM_AES_ECB, CKK_AES, kAes256, "", kBlocks,  // F.1.5
     "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
     "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"},
    {CKM_AES_CBC, CKK_AES, kAes128, kIv, kBlocks,  // F.2.1
     "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
     "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"},
    {CKM_AES_CBC, CKK_AES, kAes256, kIv, kBlocks,  // F.2.5
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
     "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"},
    {CKM_AES_CTR, CKK_AES, kAes128, kCounter, kBlocks,  // F.5.1
     "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
     "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"},
    {CKM_AES_CTR, CKK_AES, kAes256, kCounter, kBlocks,  // F.5.5
     "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
     "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"},
};

// RFC 2202 section 3 and RFC 4231 sections 4.2 and 4.3.
constexpr std::string_view kHiThere = "4869205468657265";
constexpr std::string_view kTwentyBytes = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
constexpr std::string_view kJefe = "4a656665";
constexpr std::string_view kQuestion = "7768617420646f2079612077616e7420666f72206e6f7468696e673f";
constexpr Answer kMacs[] = {
    {CKM_SHA_1_HMAC, CKK_GENERIC_SECRET, kTwentyBytes, "", kHiThere, "b617318655057264e28bc0b6fb378c8ef146be00"},
    {CKM_SHA_1_HMAC, CKK_SHA_1_HMAC, kJefe, "", kQuestion, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {CKM_SHA224_HMAC, CKK_GENERIC_SECRET, kTwentyBytes, "", kHiThere,
     "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22"},
    {CKM_SHA256_HMAC, CKK_SHA256_HMAC, kTwentyBytes, "", kHiThere,
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {CKM_SHA384_HMAC, CKK_GENERIC_SECRET, kTwentyBytes, "", kHiThere,
     "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
    {CKM_SHA512_HMAC, CKK_GENERIC_SECRET, kTwentyBytes, "", kHiThere,
     "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
     "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
    // RFC 4493 section 4.
    {CKM_AES_CMAC, CKK_AES, kAes128, "", "", "bb1d6929e95937287fa37d129b756746"},
    {CKM_AES_CMAC, CKK_AES, kAes128, "", kBlocks, "51f0bebf7e3b9d92fc49741779363cfe"},
};

// FIPS 180-4 examples (NIST's cryptographic toolkit): "abc".
constexpr Answer kDigests[] = {
    {CKM_SHA_1, 0, "", "", "616263", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {CKM_SHA224, 0, "", "", "616263", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {CKM_SHA256, 0, "", "", "616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {CKM_SHA384, 0, "", "", "616263",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {CKM_SHA512, 0, "", "", "616263",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {CKM_SHA512_224, 0, "", "", "616263", "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"},
    {CKM_SHA512_256, 0, "", "", "616263", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"},
};

// RFC 6979 appendix A.2.5: P-256, message "sample"; only verification has a fixed answer.
constexpr std::string_view kP256Point =
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
constexpr std::string_view kSample = "73616d706c65";
constexpr Answer kEcdsa[] = {
    {CKM_ECDSA_SHA1, CKK_EC, kP256Point, "", kSample,
     "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32"
     "6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb"},
    {CKM_ECDSA_SHA224, CKK_EC, kP256Point, "", kSample,
     "53b2fff5d1752b2c689df257c04c40a587fababb3f6fc2702f1343af7ca9aa3f"
     "b9afb64fdc03dc1a131c7d2386d11e349f070aa432a4acc918bea988bf75c74c"},
    {CKM_ECDSA_SHA256, CKK_EC, kP256Point, "", kSample,
     "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
     "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
    {CKM_ECDSA_SHA384, CKK_EC, kP256Point, "", kSample,
     "0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef7719"
     "4861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954"},
    {CKM_ECDSA_SHA512, CKK_EC, kP256Point, "", kSample,
     "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00"
     "2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe"},
    // The same signature as above, given the hash (SHA-256 of "sample").
    {CKM_ECDSA, CKK_EC, kP256Point, "", "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
     "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
     "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
};

class KnownAnswerTest : public DeviceTest {
 protected:
  static std::string Name(CK_MECHANISM_TYPE type) { return std::string(spec::FindMechanism(type)->name); }
  CK_OBJECT_HANDLE Key(const Answer& answer) { return SecretKey(answer.key_type, FromHex(answer.key)); }
};

TEST_F(KnownAnswerTest, Ciphers) {
  for (const Answer& answer : kCiphers) {
    SCOPED_TRACE(Name(answer.mechanism));
    const auto key = Key(answer);
    const Bytes parameter = FromHex(answer.parameter);
    CK_AES_CTR_PARAMS ctr{128, {}};
    if (answer.mechanism == CKM_AES_CTR) std::copy(parameter.begin(), parameter.end(), ctr.cb);
    M plain(answer.mechanism), flat(answer.mechanism, parameter), counted(answer.mechanism, ctr);
    CK_MECHANISM* mechanism = answer.mechanism == CKM_AES_CTR ? counted : parameter.empty() ? plain : flat;
    EXPECT_EQ(Hex(Encrypt(mechanism, key, FromHex(answer.input))), answer.output);
    EXPECT_EQ(Hex(Decrypt(mechanism, key, FromHex(answer.output))), answer.input);
  }
}

TEST_F(KnownAnswerTest, Macs) {
  for (const Answer& answer : kMacs) {
    SCOPED_TRACE(Name(answer.mechanism));
    const auto key = Key(answer);
    EXPECT_EQ(Hex(Sign(M(answer.mechanism), key, FromHex(answer.input))), answer.output);
    EXPECT_EQ(Verify(M(answer.mechanism), key, FromHex(answer.input), FromHex(answer.output)), CKR_OK);
  }
}

TEST_F(KnownAnswerTest, Digests) {
  for (const Answer& answer : kDigests) {
    EXPECT_EQ(Hex(Digest(answer.mechanism, FromHex(answer.input))), answer.output) << Name(answer.mechanism);
  }
}

TEST_F(KnownAnswerTest, Ecdsa) {
  const auto key = Create(T().Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
                              .Ulong(CKA_KEY_TYPE, CKK_EC)
                              .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName("P-256")->oid)))
                              .Raw(CKA_EC_POINT, FromHex(kP256Point)));
  ASSERT_EQ(rv, CKR_OK);
  for (const Answer& answer : kEcdsa) {
    EXPECT_EQ(Verify(M(answer.mechanism), key, FromHex(answer.input), FromHex(answer.output)), CKR_OK)
        << Name(answer.mechanism);
    EXPECT_EQ(Verify(M(answer.mechanism), key, FromHex("00"), FromHex(answer.output)), CKR_SIGNATURE_INVALID);
  }
}

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 4 to 6: the same text with IVs of 12, 8 and 60
// bytes.
TEST_F(KnownAnswerTest, GcmWithIvsOfSeveralLengths) {
  const auto key = SecretKey(CKK_AES, FromHex("feffe9928665731c6d6a8f9467308308"));
  const Bytes aad = FromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const Bytes text = FromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
      "b16aedf5aa0de657ba637b39");
  const std::string_view tags[][2] = {{"cafebabefacedbaddecaf888", "5bc94fbc3221a5db94fae95ae7121a47"},
                                      {"cafebabefacedbad", "3612d2e79e3b0785561be14aaca2fccb"},
                                      {"9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728"
                                       "c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
                                       "619cc5aefffe0bfa462af43c1699d050"}};
  for (const auto& [iv_hex, tag] : tags) {
    const Bytes iv = FromHex(iv_hex);
    const CK_GCM_PARAMS gcm = Gcm(iv, aad);
    const Bytes sealed = Encrypt(M(CKM_AES_GCM, gcm), key, text);
    ASSERT_EQ(sealed.size(), text.size() + 16);
    EXPECT_EQ(Hex(ByteView(sealed).last(16)), tag);
    EXPECT_EQ(Decrypt(M(CKM_AES_GCM, gcm), key, sealed), text);
  }
}

// RFC 8032 section 7.1, test 3; RFC 7748 section 6.1 is in the self-test.
TEST_F(KnownAnswerTest, Ed25519) {
  const auto key =
      Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
                 .Ulong(CKA_KEY_TYPE, CKK_EC_EDWARDS)
                 .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName("Ed25519")->oid)))
                 .Raw(CKA_VALUE, FromHex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Hex(Sign(M(CKM_EDDSA), key, FromHex("af82"))),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");
}

TEST(KnownAnswers, RowsWithoutAFileAreAllHere) {
  std::set<CK_MECHANISM_TYPE> covered;
  const auto cover = [&](const auto& table) {
    for (const auto& answer : table) covered.insert(answer.mechanism);
  };
  cover(kCiphers);
  cover(kMacs);
  cover(kDigests);
  cover(kEcdsa);
  cover(second_source::kCiphers);
  cover(second_source::kMacs);
  cover(second_source::kDigests);
  cover(second_source::kDerivations);
  cover(field::kSigned);
  cover(rsa::kSigned);
  cover(rsa::kSalted);
  cover(rsa::kEcdsa);
  // In rsa_answers_test.cc, derivation_test.cc, envelope_test.cc, field_test.cc and sm2_test.cc.
  for (const CK_MECHANISM_TYPE type :
       {CKM_RSA_AES_KEY_WRAP, CKM_CONCATENATE_BASE_AND_KEY, CKM_AES_ECB_ENCRYPT_DATA, CKM_AES_CBC_ENCRYPT_DATA,
        CKM_DES_ECB_ENCRYPT_DATA, CKM_DES_CBC_ENCRYPT_DATA, CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_CBC_ENCRYPT_DATA,
        CKM_ECDH_AES_KEY_WRAP, CKM_ECDH_COF_AES_KEY_WRAP, CKM_ECDH_X_AES_KEY_WRAP, CKM_PKCS5_PBKD2, CKM_DH_PKCS_DERIVE,
        CKM_X9_42_DH_DERIVE, CKM_SM2, CKM_SM2_SM3, CKM_SM2_ENCRYPT}) {
    covered.insert(type);
  }
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    const bool generates = (row.operations & (CKF_GENERATE | CKF_GENERATE_KEY_PAIR)) != 0 &&
                           row.recipe != spec::Recipe::kPbkdf2;  // key_test.cc
    if (row.vectors != "known_answers_test" || generates) continue;
    EXPECT_TRUE(covered.contains(row.type)) << row.name;
  }
}

}  // namespace
}  // namespace cmkd::sim
