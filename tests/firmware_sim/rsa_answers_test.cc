// RSA and ECDSA with SHA-3 against answers that were computed without a cryptographic library (rsa_answers.h).
#include "tests/firmware_sim/rsa_answers.h"

#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

const Bytes kMessage = ToBytes(AsBytes("message"));

class RsaAnswersTest : public DeviceTest {
 protected:
  CK_OBJECT_HANDLE Private() {
    return Create(Described(CKO_PRIVATE_KEY)
                      .Raw(CKA_PRIVATE_EXPONENT, FromHex(rsa::kPrivateExponent))
                      .Raw(CKA_PRIME_1, FromHex(rsa::kPrime1))
                      .Raw(CKA_PRIME_2, FromHex(rsa::kPrime2)));
  }
  CK_OBJECT_HANDLE Public() { return Create(Described(CKO_PUBLIC_KEY)); }
  static std::string Name(CK_MECHANISM_TYPE type) { return std::string(spec::FindMechanism(type)->name); }

 private:
  static T Described(CK_OBJECT_CLASS object_class) {
    return T()
        .Ulong(CKA_CLASS, object_class)
        .Ulong(CKA_KEY_TYPE, CKK_RSA)
        .Raw(CKA_MODULUS, FromHex(rsa::kModulus))
        .Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1});
  }
};

TEST_F(RsaAnswersTest, SignaturesOfOneValue) {
  const auto private_key = Private(), public_key = Public();
  ASSERT_EQ(rv, CKR_OK);
  for (const rsa::Signed& answer : rsa::kSigned) {
    const Bytes input = FromHex(answer.input), signature = FromHex(answer.signature);
    EXPECT_EQ(Sign(M(answer.mechanism), private_key, input), signature) << Name(answer.mechanism);
    EXPECT_EQ(Verify(M(answer.mechanism), public_key, input, signature), CKR_OK) << Name(answer.mechanism);
    Bytes changed = input;
    changed[0] = static_cast<std::uint8_t>(changed[0] ^ 1);
    EXPECT_EQ(Verify(M(answer.mechanism), public_key, changed, signature), CKR_SIGNATURE_INVALID);
  }
}

TEST_F(RsaAnswersTest, SaltedSignatures) {
  const auto public_key = Public();
  ASSERT_EQ(rv, CKR_OK);
  for (const rsa::Salted& answer : rsa::kSalted) {
    const CK_RSA_PKCS_PSS_PARAMS parameter{answer.hash, answer.mask, answer.salt_bytes};
    const Bytes input = answer.mechanism == CKM_RSA_PKCS_PSS ? Digest(answer.hash, kMessage) : kMessage;
    Bytes signature = FromHex(answer.signature);
    EXPECT_EQ(Verify(M(answer.mechanism, parameter), public_key, input, signature), CKR_OK) << Name(answer.mechanism);
    signature.back() = static_cast<std::uint8_t>(signature.back() ^ 1);
    EXPECT_EQ(Verify(M(answer.mechanism, parameter), public_key, input, signature), CKR_SIGNATURE_INVALID);
  }
}

TEST_F(RsaAnswersTest, AnEnvelope) {
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  const CK_RSA_AES_KEY_WRAP_PARAMS parameter{256, &oaep};
  const auto key = Unwrap(M(CKM_RSA_AES_KEY_WRAP, parameter), Private(), FromHex(rsa::kEnvelope),
                          T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
                              .Ulong(CKA_KEY_TYPE, CKK_AES)
                              .Bool(CKA_SENSITIVE, false)
                              .Bool(CKA_EXTRACTABLE, true));
  ASSERT_EQ(rv, CKR_OK);
  Bytes expected;
  for (int byte = 100; byte < 132; ++byte) expected.push_back(static_cast<std::uint8_t>(byte));
  EXPECT_EQ(Attribute(key, CKA_VALUE), expected);
}

TEST_F(RsaAnswersTest, EcdsaWithSha3) {
  const Bytes sample = ToBytes(AsBytes("sample"));
  const auto key = Create(T().Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
                              .Ulong(CKA_KEY_TYPE, CKK_EC)
                              .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName("P-256")->oid)))
                              .Raw(CKA_EC_POINT, FromHex(rsa::kP256Point)));
  ASSERT_EQ(rv, CKR_OK);
  for (const rsa::Curve& answer : rsa::kEcdsa) {
    EXPECT_EQ(Verify(M(answer.mechanism), key, sample, FromHex(answer.signature)), CKR_OK) << Name(answer.mechanism);
    EXPECT_EQ(Verify(M(answer.mechanism), key, kMessage, FromHex(answer.signature)), CKR_SIGNATURE_INVALID);
  }
}

}  // namespace
}  // namespace cmkd::sim
