// Derivations that need more than a base key and bytes, and keys that passwords make.
#include <bit>
#include <tuple>

#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

const Bytes kBase = FromHex("000102030405060708090a0b0c0d0e0f");

class DerivationTest : public DeviceTest {
 protected:
  static T Wanted(CK_KEY_TYPE type = CKK_GENERIC_SECRET) {
    return T()
        .Ulong(CKA_CLASS, CKO_SECRET_KEY)
        .Ulong(CKA_KEY_TYPE, type)
        .Bool(CKA_SENSITIVE, false)
        .Bool(CKA_EXTRACTABLE, true);
  }
  CK_OBJECT_HANDLE Derive(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE base, T wanted) {
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_DeriveKey(session, mechanism, base, wanted.data(), wanted.size(), &made);
    return made;
  }
  Bytes Value(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE base, T wanted) {
    const auto made = Derive(mechanism, base, std::move(wanted));
    return rv == CKR_OK ? Attribute(made, CKA_VALUE) : Bytes();
  }
};

TEST_F(DerivationTest, TwoKeysMakeOneThatIsAsSecretAsEither) {
  const auto open = SecretKey(CKK_GENERIC_SECRET, kBase);
  const auto closed = Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
                                 .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                                 .Raw(CKA_VALUE, kBase)
                                 .Bool(CKA_DERIVE, true)
                                 .Bool(CKA_SENSITIVE, true)
                                 .Bool(CKA_EXTRACTABLE, false));
  const auto more = SecretKey(CKK_GENERIC_SECRET, FromHex("ff"));
  EXPECT_EQ(Hex(Value(M(CKM_CONCATENATE_BASE_AND_KEY, more), open, Wanted())), Hex(kBase) + "ff");
  Derive(M(CKM_CONCATENATE_BASE_AND_KEY, closed), open, Wanted());
  EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  Derive(M(CKM_CONCATENATE_BASE_AND_KEY, open), closed, Wanted());
  EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  Derive(M(CKM_CONCATENATE_BASE_AND_KEY, CK_OBJECT_HANDLE{999999}), open, Wanted());
  EXPECT_EQ(rv, CKR_KEY_HANDLE_INVALID);
}

// NIST SP 800-38A F.1.1 and F.2.1: what AES gives for these blocks, as a key. The DES ones against the ciphers
// themselves, which second_source_test.cc holds to libgcrypt.
TEST_F(DerivationTest, EncryptionOfDataMakesKeys) {
  const auto aes = SecretKey(CKK_AES, FromHex("2b7e151628aed2a6abf7158809cf4f3c"));
  Bytes data = FromHex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
  const CK_KEY_DERIVATION_STRING_DATA string{data.data(), data.size()};
  EXPECT_EQ(Hex(Value(M(CKM_AES_ECB_ENCRYPT_DATA, string), aes, Wanted())),
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf");
  CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc{{}, data.data(), data.size()};
  for (std::uint8_t i = 0; i < 16; ++i) cbc.iv[i] = i;
  EXPECT_EQ(Hex(Value(M(CKM_AES_CBC_ENCRYPT_DATA, cbc), aes, Wanted(CKK_AES).Ulong(CKA_VALUE_LEN, 16))),
            "7649abac8119b246cee98e9b12e9197d");
  CK_DES_CBC_ENCRYPT_DATA_PARAMS des{{1, 2, 3, 4, 5, 6, 7, 8}, data.data(), data.size()};
  const Bytes iv(des.iv, des.iv + 8);
  for (const auto& [type, value, ecb, cbc_cipher, ecb_data, cbc_data] :
       {std::tuple{CKK_DES, "0123456789abcdef", CKM_DES_ECB, CKM_DES_CBC, CKM_DES_ECB_ENCRYPT_DATA,
                   CKM_DES_CBC_ENCRYPT_DATA},
        std::tuple{CKK_DES3, "0123456789abcdef23456789abcdef01456789abcdef0123", CKM_DES3_ECB, CKM_DES3_CBC,
                   CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_CBC_ENCRYPT_DATA}}) {
    const auto key = Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
                                .Ulong(CKA_KEY_TYPE, type)
                                .Raw(CKA_VALUE, FromHex(value))
                                .Bool(CKA_ENCRYPT, true)
                                .Bool(CKA_DERIVE, true));
    EXPECT_EQ(Value(M(ecb_data, string), key, Wanted()), Encrypt(M(ecb), key, data));
    EXPECT_EQ(Value(M(cbc_data, des), key, Wanted()), Encrypt(M(cbc_cipher, iv), key, data));
  }
  const CK_KEY_DERIVATION_STRING_DATA short_string{data.data(), 15};
  Derive(M(CKM_AES_ECB_ENCRYPT_DATA, short_string), aes, Wanted());
  EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID);
}

// RFC 5869 appendix A.1 to A.3, and its salt from a key.
TEST_F(DerivationTest, Hkdf) {
  const auto base = SecretKey(CKK_HKDF, Bytes(22, 0x0b));
  Bytes salt = FromHex("000102030405060708090a0b0c"), info = FromHex("f0f1f2f3f4f5f6f7f8f9");
  CK_HKDF_PARAMS hkdf{CK_TRUE,     CK_TRUE,           CKM_SHA256,  CKF_HKDF_SALT_DATA, salt.data(),
                      salt.size(), CK_INVALID_HANDLE, info.data(), info.size()};
  const char* okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
  EXPECT_EQ(Hex(Value(M(CKM_HKDF_DERIVE, hkdf), base, Wanted().Ulong(CKA_VALUE_LEN, 42))), okm);
  CK_HKDF_PARAMS with_key = hkdf;
  with_key.ulSaltType = CKF_HKDF_SALT_KEY;
  with_key.pSalt = nullptr;
  with_key.ulSaltLen = 0;
  with_key.hSaltKey = SecretKey(CKK_GENERIC_SECRET, salt);
  EXPECT_EQ(Hex(Value(M(CKM_HKDF_DERIVE, with_key), base, Wanted().Ulong(CKA_VALUE_LEN, 42))), okm);
  // One after the other is both at once.
  CK_HKDF_PARAMS extract = hkdf, expand = hkdf;
  extract.bExpand = expand.bExtract = CK_FALSE;
  const auto prk = Derive(M(CKM_HKDF_DERIVE, extract), base, Wanted(CKK_HKDF).Bool(CKA_DERIVE, true));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Hex(Attribute(prk, CKA_VALUE)), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
  EXPECT_EQ(Hex(Value(M(CKM_HKDF_DERIVE, expand), prk, Wanted().Ulong(CKA_VALUE_LEN, 42))), okm);
  // A.3: no salt, no info.
  CK_HKDF_PARAMS bare{CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, nullptr, 0, CK_INVALID_HANDLE, nullptr, 0};
  EXPECT_EQ(Hex(Value(M(CKM_HKDF_DERIVE, bare), base, Wanted().Ulong(CKA_VALUE_LEN, 42))),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
  Derive(M(CKM_HKDF_DERIVE, hkdf), base, Wanted());
  EXPECT_EQ(rv, CKR_TEMPLATE_INCOMPLETE);
  Derive(M(CKM_HKDF_DERIVE, hkdf), base, Wanted(CKK_AES).Ulong(CKA_VALUE_LEN, 33));
  EXPECT_NE(rv, CKR_OK);
}

// RFC 6070 for SHA-1; SHA-256 by Python's hashlib.
TEST_F(DerivationTest, PasswordsMakeKeys) {
  Bytes password = ToBytes(AsBytes(std::string_view("password"))), salt = ToBytes(AsBytes(std::string_view("salt")));
  CK_PKCS5_PBKD2_PARAMS2 parameter{
      CKZ_SALT_SPECIFIED, salt.data(),    salt.size(), 4096, CKP_PKCS5_PBKD2_HMAC_SHA1, nullptr, 0,
      password.data(),    password.size()};
  const auto make = [&](T wanted) {
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_GenerateKey(session, M(CKM_PKCS5_PBKD2, parameter), wanted.data(), wanted.size(), &made);
    return made;
  };
  EXPECT_EQ(Hex(Attribute(make(Wanted().Ulong(CKA_VALUE_LEN, 20)), CKA_VALUE)),
            "4b007901b765489abead49d926f721d065a429c1");
  parameter.prf = CKP_PKCS5_PBKD2_HMAC_SHA256;
  EXPECT_EQ(Hex(Attribute(make(Wanted(CKK_AES).Ulong(CKA_VALUE_LEN, 32)), CKA_VALUE)),
            "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
  parameter.iterations = 0;
  make(Wanted().Ulong(CKA_VALUE_LEN, 20));
  EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(DerivationTest, TlsPremasterBeginsWithItsVersion) {
  T wanted = Wanted().Ulong(CKA_VALUE_LEN, 48);
  CK_OBJECT_HANDLE made = 0;
  ASSERT_EQ(f->C_GenerateKey(session, M(CKM_TLS_PRE_MASTER_KEY_GEN, Bytes{3, 1}), wanted.data(), wanted.size(), &made),
            CKR_OK);
  const Bytes value = Attribute(made, CKA_VALUE);
  ASSERT_EQ(value.size(), 48u);
  EXPECT_EQ(value[0], 3);
  EXPECT_EQ(value[1], 1);
  CK_VERSION version{};
  const CK_SSL3_MASTER_KEY_DERIVE_PARAMS parameter{{}, &version};
  Derive(M(CKM_TLS_MASTER_KEY_DERIVE, parameter), made, Wanted());
  EXPECT_EQ(rv, CKR_OK);
  EXPECT_EQ(version.major, 3);
}

TEST_F(DerivationTest, MadeKeysHaveTheirTypesLength) {
  const auto size_of = [&](CK_MECHANISM_TYPE type, T wanted) {
    CK_OBJECT_HANDLE made = 0;
    wanted.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    rv = f->C_GenerateKey(session, M(type), wanted.data(), wanted.size(), &made);
    return rv == CKR_OK ? Attribute(made, CKA_VALUE) : Bytes();
  };
  EXPECT_EQ(size_of(CKM_CHACHA20_KEY_GEN, T()).size(), 32u);
  EXPECT_EQ(size_of(CKM_POLY1305_KEY_GEN, T()).size(), 32u);
  EXPECT_EQ(size_of(CKM_SM4_KEY_GEN, T()).size(), 16u);
  EXPECT_EQ(size_of(CKM_AES_XTS_KEY_GEN, T().Ulong(CKA_VALUE_LEN, 64)).size(), 64u);
  EXPECT_EQ(size_of(CKM_HKDF_KEY_GEN, T().Ulong(CKA_VALUE_LEN, 40)).size(), 40u);
  EXPECT_EQ(size_of(CKM_SHA3_384_KEY_GEN, T().Ulong(CKA_VALUE_LEN, 48)).size(), 48u);
  for (const auto& [type, bytes] :
       {std::pair{CKM_DES_KEY_GEN, 8u}, std::pair{CKM_DES2_KEY_GEN, 16u}, std::pair{CKM_DES3_KEY_GEN, 24u}}) {
    const Bytes value = size_of(type, T());
    EXPECT_EQ(value.size(), bytes);
    for (const std::uint8_t byte : value) EXPECT_EQ(std::popcount(static_cast<unsigned>(byte)) % 2, 1);
  }
  size_of(CKM_AES_XTS_KEY_GEN, T().Ulong(CKA_VALUE_LEN, 48));
  EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  size_of(CKM_CHACHA20_KEY_GEN, T().Ulong(CKA_VALUE_LEN, 16));
  EXPECT_NE(rv, CKR_OK);
}

TEST_F(DerivationTest, RsaRecovers) {
  const Pair pair = GenerateRsa(2048, T().Bool(CKA_SIGN_RECOVER, true));
  Bytes text(100, 0x5a), signature(256), back(256);
  for (const CK_MECHANISM_TYPE type : {CKM_RSA_PKCS, CKM_RSA_X_509}) {
    if (type == CKM_RSA_X_509) text.insert(text.begin(), 156, 0);
    CK_ULONG n = signature.size();
    ASSERT_EQ(f->C_SignRecoverInit(session, M(type), pair.private_key), CKR_OK);
    ASSERT_EQ(f->C_SignRecover(session, text.data(), text.size(), signature.data(), &n), CKR_OK);
    ASSERT_EQ(n, 256u);
    ASSERT_EQ(f->C_VerifyRecoverInit(session, M(type), pair.public_key), CKR_OK);
    CK_ULONG bytes = 10;
    EXPECT_EQ(f->C_VerifyRecover(session, signature.data(), n, back.data(), &bytes), CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(bytes, text.size());
    ASSERT_EQ(f->C_VerifyRecover(session, signature.data(), n, back.data(), &bytes), CKR_OK);
    EXPECT_EQ(Hex(ByteView(back).first(bytes)), Hex(text));
  }
  signature[3] ^= 1;
  CK_ULONG bytes = back.size();
  ASSERT_EQ(f->C_VerifyRecoverInit(session, M(CKM_RSA_PKCS), pair.public_key), CKR_OK);
  EXPECT_EQ(f->C_VerifyRecover(session, signature.data(), 256, back.data(), &bytes), CKR_SIGNATURE_INVALID);
}

}  // namespace
}  // namespace cmkd::sim
