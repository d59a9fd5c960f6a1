// Holds every number that this project uses of PKCS#11, its own and p11-kit's, against the headers of other packages.
// Numbers that no package of this system has are listed here by name: none goes unchecked unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "pkcs11/spec/cryptoki.h"
#include "tests/spec/header_numbers.h"

// A build may say where the headers are.
#ifndef CMKD_P11KIT_HEADER
#define CMKD_P11KIT_HEADER "/usr/include/p11-kit-1/p11-kit/pkcs11.h"
#endif
#ifndef CMKD_NSS_HEADER
#define CMKD_NSS_HEADER "/usr/include/nss/pkcs11t.h"
#endif
#ifndef CMKD_OPENCRYPTOKI_HEADER
#define CMKD_OPENCRYPTOKI_HEADER "/usr/include/opencryptoki/pkcs11types.h"
#endif

namespace cmkd::spec::test {
namespace {

// PKCS#11 3.0 to 3.2 has these; the headers of NSS 3.87 and opencryptoki 3.8 do not. A second copy, compared by hand
// with the standard's own header.
constexpr std::array kOnlyOurs = {
    std::pair{"CKO_VALIDATION", 0x0000000AUL},
    std::pair{"CKO_TRUST", 0x0000000BUL},
    std::pair{"CKT_TRUST_UNKNOWN", 0x00000000UL},
    std::pair{"CKT_TRUSTED", 0x00000001UL},
    std::pair{"CKT_TRUST_ANCHOR", 0x00000002UL},
    std::pair{"CKT_NOT_TRUSTED", 0x00000003UL},
    std::pair{"CKT_TRUST_MUST_VERIFY_TRUST", 0x00000004UL},
    std::pair{"CKP_HKDF_TLS_TOKEN", 0x00000006UL},
    std::pair{"CKV_TYPE_SOFTWARE", 0x00000001UL},
    std::pair{"CKV_AUTHORITY_TYPE_UNSPECIFIED", 0x00000000UL},
    std::pair{"CKA_VALIDATION_TYPE", 0x0000061FUL},
    std::pair{"CKA_VALIDATION_VERSION", 0x00000620UL},
    std::pair{"CKA_VALIDATION_LEVEL", 0x00000621UL},
    std::pair{"CKA_VALIDATION_MODULE_ID", 0x00000622UL},
    std::pair{"CKA_VALIDATION_FLAG", 0x00000623UL},
    std::pair{"CKA_VALIDATION_AUTHORITY_TYPE", 0x00000624UL},
    std::pair{"CKA_VALIDATION_COUNTRY", 0x00000625UL},
    std::pair{"CKA_VALIDATION_CERTIFICATE_IDENTIFIER", 0x00000626UL},
    std::pair{"CKA_VALIDATION_CERTIFICATE_URI", 0x00000627UL},
    std::pair{"CKA_VALIDATION_VENDOR_URI", 0x00000628UL},
    std::pair{"CKA_VALIDATION_PROFILE", 0x00000629UL},
    std::pair{"CKA_TRUST_SERVER_AUTH", 0x0000062CUL},
    std::pair{"CKA_TRUST_CLIENT_AUTH", 0x0000062DUL},
    std::pair{"CKA_TRUST_CODE_SIGNING", 0x0000062EUL},
    std::pair{"CKA_TRUST_EMAIL_PROTECTION", 0x0000062FUL},
    std::pair{"CKA_TRUST_IPSEC_IKE", 0x00000630UL},
    std::pair{"CKA_TRUST_TIME_STAMPING", 0x00000631UL},
    std::pair{"CKA_TRUST_OCSP_SIGNING", 0x00000632UL},
    std::pair{"CKA_HASH_OF_CERTIFICATE", 0x00000635UL},
    std::pair{"CKA_DECAPSULATE", 0x00000634UL},
    std::pair{"CKA_DECAPSULATE_TEMPLATE", 0x4000062BUL},
    std::pair{"CKA_ENCAPSULATE", 0x00000633UL},
    std::pair{"CKA_ENCAPSULATE_TEMPLATE", 0x4000062AUL},
    std::pair{"CKA_OBJECT_VALIDATION_FLAGS", 0x0000061EUL},
    std::pair{"CKA_PARAMETER_SET", 0x0000061DUL},
    std::pair{"CKA_PUBLIC_CRC64_VALUE", 0x00000636UL},
    std::pair{"CKA_SEED", 0x00000637UL},
    std::pair{"CKA_UNIQUE_ID", 0x00000004UL},
    std::pair{"CKF_ASYNC_SESSION", 0x00000008UL},
    std::pair{"CKF_ASYNC_SESSION_SUPPORTED", 0x04000000UL},
    std::pair{"CKF_DECAPSULATE", 0x20000000UL},
    std::pair{"CKS_LAST_VALIDATION_OK", 0x00000001UL},
    std::pair{"CKF_EC_CURVENAME", 0x04000000UL},
    std::pair{"CKF_ENCAPSULATE", 0x10000000UL},
    std::pair{"CKF_SEED_RANDOM_REQUIRED", 0x02000000UL},
    std::pair{"CKK_ML_DSA", 0x0000004AUL},
    std::pair{"CKK_ML_KEM", 0x00000049UL},
    std::pair{"CKM_AES_KEY_WRAP_PKCS7", 0x0000210CUL},
    std::pair{"CKM_AES_XTS", 0x00001071UL},
    std::pair{"CKM_AES_XTS_KEY_GEN", 0x00001072UL},
    std::pair{"CKM_ML_DSA", 0x0000001DUL},
    std::pair{"CKM_ML_DSA_KEY_PAIR_GEN", 0x0000001CUL},
    std::pair{"CKM_ML_KEM", 0x00000017UL},
    std::pair{"CKM_ML_KEM_KEY_PAIR_GEN", 0x0000000FUL},
    std::pair{"CKP_COMPLETE_PROVIDER", 0x00000005UL},
    std::pair{"CKP_ML_DSA_44", 0x00000001UL},
    std::pair{"CKP_ML_DSA_65", 0x00000002UL},
    std::pair{"CKP_ML_DSA_87", 0x00000003UL},
    std::pair{"CKP_ML_KEM_1024", 0x00000003UL},
    std::pair{"CKP_ML_KEM_512", 0x00000001UL},
    std::pair{"CKP_ML_KEM_768", 0x00000002UL},
    std::pair{"CKR_AEAD_DECRYPT_FAILED", 0x00000042UL},
    std::pair{"CKR_KEY_EXHAUSTED", 0x00000203UL},
    std::pair{"CKR_OPERATION_NOT_VALIDATED", 0x00000207UL},
    std::pair{"CKR_PARAMETER_SET_NOT_SUPPORTED", 0x00000209UL},
    std::pair{"CKR_PENDING", 0x00000204UL},
    std::pair{"CKR_SEED_RANDOM_REQUIRED", 0x00000206UL},
    std::pair{"CKR_SESSION_ASYNC_NOT_SUPPORTED", 0x00000205UL},
    std::pair{"CKR_TOKEN_NOT_INITIALIZED", 0x00000208UL},
    std::pair{"CKM_ECDH_COF_AES_KEY_WRAP", 0x00004039UL},
    std::pair{"CKM_ECDH_X_AES_KEY_WRAP", 0x00004038UL},
    std::pair{"CKM_PUB_KEY_FROM_PRIV_KEY", 0x0000403AUL},
    std::pair{"CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE", 0x00000056UL},
    std::pair{"CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH", 0x00000057UL},
    std::pair{"CK_SP800_108_COUNTER", 0x00000002UL},
    std::pair{"CK_SP800_108_KEY_HANDLE", 0x00000005UL},
};

// p11-kit's own names, or numbers that the other two left out; this project does not use them.
constexpr std::array kOnlyP11Kit = {
    "CKA_NAME_HASH_ALGORITHM",
    "CKC_OPENPGP",
    "CKK_ACTI",
    "CKK_HOTP",
    "CKK_SECURID",
    "CKM_AES_GMAC",
    "CKM_CAMELLIA_CTR",
    "CKM_DES3_CMAC",
    "CKM_DES3_CMAC_GENERAL",
    "CKM_DSA_PROBABLISTIC_PARAMETER_GEN",
    "CKM_TLS10_MAC_CLIENT",
    "CKM_TLS10_MAC_SERVER",
    "CKN_OTP_CHANGED",
    "CKO_OTP_KEY",
    "CK_OTP_FORMAT",
};

// cryptoki_numbers.h takes these from p11-kit and defines them as the standard does.
constexpr std::array kCorrected = {"CKR_EXCEEDED_MAX_ITERATIONS", "CKR_FIPS_SELF_TEST_FAILED",
                                   "CKR_LIBRARY_LOAD_FAILED", "CKR_PIN_TOO_WEAK", "CKR_PUBLIC_KEY_INVALID"};

template <class List>
bool Contains(const List& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

class NumbersOfTheStandard : public testing::Test {
 protected:
  void SetUp() override {
    const auto ours = ReadNumbers(CMKD_SOURCE_DIR "/pkcs11/spec/cryptoki_numbers.h");
    const auto p11kit = ReadNumbers(CMKD_P11KIT_HEADER);
    const auto nss = ReadNumbers(CMKD_NSS_HEADER);
    const auto opencryptoki = ReadNumbers(CMKD_OPENCRYPTOKI_HEADER);
    ASSERT_TRUE(ours && p11kit);
    ASSERT_TRUE(nss && opencryptoki) << "needs the packages libnss3-dev and libopencryptoki-dev";
    ours_ = *ours;
    p11kit_ = *p11kit;
    others_ = {*nss, *opencryptoki};
  }

  // Whether any other package has the name; every one that has it must have the same number.
  bool IsConfirmed(const std::string& name, unsigned long number) const {
    bool found = false;
    for (const Numbers& header : others_) {
      const auto other = header.find(name);
      if (other == header.end()) continue;
      found = true;
      EXPECT_EQ(other->second, number) << name;
    }
    return found;
  }

  Numbers ours_;
  Numbers p11kit_;
  std::array<Numbers, 2> others_;
};

TEST_F(NumbersOfTheStandard, OursAreThoseOfOtherPackages) {
  ASSERT_GT(ours_.size(), 150u);
  for (const auto& [name, number] : ours_) {
    if (IsConfirmed(name, number)) continue;
    const auto listed =
        std::find_if(kOnlyOurs.begin(), kOnlyOurs.end(), [&](const auto& pair) { return name == pair.first; });
    ASSERT_NE(listed, kOnlyOurs.end()) << name << " is in no package and not listed here";
    EXPECT_EQ(listed->second, number) << name;
  }
}

TEST_F(NumbersOfTheStandard, ThoseOfP11KitAreThoseOfOtherPackages) {
  ASSERT_GT(p11kit_.size(), 600u);
  for (const auto& [name, number] : p11kit_) {
    if (Contains(kCorrected, name) || IsConfirmed(name, number)) continue;
    EXPECT_TRUE(Contains(kOnlyP11Kit, name)) << name << " is in no package and not listed here";
  }
}

TEST_F(NumbersOfTheStandard, NoNameIsListedThatWeDoNotDefine) {
  for (const auto& [name, number] : kOnlyOurs) EXPECT_TRUE(ours_.contains(name)) << name;
}

TEST(NumbersThatCompile, AreTheStandardsWhereP11KitDiffers) {
  EXPECT_EQ(CKR_EXCEEDED_MAX_ITERATIONS, 0x1B5u);
  EXPECT_EQ(CKR_FIPS_SELF_TEST_FAILED, 0x1B6u);
  EXPECT_EQ(CKR_LIBRARY_LOAD_FAILED, 0x1B7u);
  EXPECT_EQ(CKR_PIN_TOO_WEAK, 0x1B8u);
  EXPECT_EQ(CKR_PUBLIC_KEY_INVALID, 0x1B9u);
}

TEST(ParameterStructs, HaveTheSizesThatTellThemApart) {
  EXPECT_EQ(sizeof(CK_GCM_MESSAGE_PARAMS), 48u);
  EXPECT_EQ(sizeof(CK_CCM_MESSAGE_PARAMS), 56u);
  EXPECT_EQ(sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS), 24u);
  EXPECT_EQ(sizeof(CK_CCM_PARAMS), 48u);
  EXPECT_EQ(sizeof(CK_EDDSA_PARAMS), 24u);
  EXPECT_EQ(sizeof(CK_HKDF_PARAMS), 64u);
}

}  // namespace
}  // namespace cmkd::spec::test
