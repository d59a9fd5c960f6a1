// SM2 with the example of GB/T 32918.5: the key, a signature over "message digest", and what the device makes itself.
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/vendor.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

constexpr std::string_view kValue = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";
constexpr std::string_view kPoint =
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
constexpr std::string_view kDigest = "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640";
constexpr std::string_view kSignature =
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa";

class Sm2Test : public DeviceTest {
 protected:
  T Half(CK_OBJECT_CLASS object_class) {
    return T()
        .Ulong(CKA_CLASS, object_class)
        .Ulong(CKA_KEY_TYPE, CKK_SM2)
        .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName("SM2")->oid)));
  }
};

TEST_F(Sm2Test, TheStandardsSignatureVerifies) {
  const auto key = Create(Half(CKO_PUBLIC_KEY).Raw(CKA_EC_POINT, FromHex(kPoint)));
  ASSERT_EQ(rv, CKR_OK);
  const Bytes message = ToBytes(AsBytes(std::string_view("message digest"))), signature = FromHex(kSignature);
  EXPECT_EQ(Verify(M(CKM_SM2_SM3), key, message, signature), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_SM2), key, FromHex(kDigest), signature), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_SM2_SM3), key, FromHex("00"), signature), CKR_SIGNATURE_INVALID);
}

TEST_F(Sm2Test, ItsKeySignsAndDecrypts) {
  const auto secret = Create(Half(CKO_PRIVATE_KEY).Raw(CKA_VALUE, FromHex(kValue)));
  ASSERT_EQ(rv, CKR_OK);
  const auto open = Create(Half(CKO_PUBLIC_KEY).Raw(CKA_EC_POINT, FromHex(kPoint)));
  const Bytes text(100, 7);
  EXPECT_EQ(Verify(M(CKM_SM2_SM3), open, text, Sign(M(CKM_SM2_SM3), secret, text)), CKR_OK);
  Bytes sealed = Encrypt(M(CKM_SM2_ENCRYPT), open, text);
  ASSERT_EQ(sealed.size(), 97u + text.size());
  EXPECT_EQ(Decrypt(M(CKM_SM2_ENCRYPT), secret, sealed), text);
  sealed.back() ^= 1;
  Decrypt(M(CKM_SM2_ENCRYPT), secret, sealed);
  EXPECT_EQ(rv, CKR_ENCRYPTED_DATA_INVALID);
}

TEST_F(Sm2Test, PairsAreMade) {
  const Pair pair = GenerateCurve(CKM_SM2_KEY_PAIR_GEN, "SM2");
  ASSERT_EQ(rv, CKR_OK);
  const Bytes text(32, 1);
  EXPECT_EQ(Verify(M(CKM_SM2), pair.public_key, text, Sign(M(CKM_SM2), pair.private_key, text)), CKR_OK);
  Sign(M(CKM_SM2), pair.private_key, Bytes(31));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
}

}  // namespace
}  // namespace cmkd::sim
