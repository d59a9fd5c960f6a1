// The files of project Wycheproof against the device, through the function list. Where the files are: the environment
// variable CMKD_VECTORS, or shared/vectors beside the source tree. They are no part of the project: where the whole
// folder is missing the tests are skipped and say so; one file that is missing there is a failure.
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "firmware_sim/der.h"
#include "pkcs11/spec/key_facts.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

using nlohmann::json;

std::filesystem::path VectorFolder() {
  const char* given = std::getenv("CMKD_VECTORS");
  const std::filesystem::path root =
      given != nullptr ? std::filesystem::path(given) : std::filesystem::path(CMKD_SOURCE_DIR) / "../shared/vectors";
  return root / "wycheproof";
}

class WycheproofTest : public DeviceTest {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(VectorFolder()))
      GTEST_SKIP() << "no vectors in " << VectorFolder() << "; CMKD_VECTORS says where else";
    DeviceTest::SetUp();
  }

  // Runs `check(group, test)` for every test of a file.
  template <class CheckTest>
  void ForEach(const std::string& name, CheckTest check) {
    std::ifstream stream(VectorFolder() / name);
    ASSERT_TRUE(stream) << name << " is not there";
    const json file = json::parse(stream);
    last_group_ = nullptr;
    int count = 0;
    for (const json& group : file["testGroups"]) {
      for (const json& test : group["tests"]) {
        SCOPED_TRACE(name + " tcId " + std::to_string(test["tcId"].get<int>()) + " " +
                     test["comment"].get<std::string>());
        check(group, test);
        ++count;
      }
    }
    EXPECT_GT(count, 0);
  }

  static Bytes Hexed(const json& value) { return FromHex(value.get<std::string>()); }
  static bool Valid(const json& test) { return test["result"] == "valid"; }
  static bool Invalid(const json& test) { return test["result"] == "invalid"; }

  void Destroy(CK_OBJECT_HANDLE object) { EXPECT_EQ(f->C_DestroyObject(session, object), CKR_OK); }

  // A key that is remembered for the next test of the same group.
  template <class Make>
  CK_OBJECT_HANDLE GroupKey(const json& group, Make make) {
    if (&group != last_group_) {
      if (group_key_ != 0) Destroy(group_key_);
      group_key_ = make();
      last_group_ = &group;
    }
    return group_key_;
  }

  CK_OBJECT_HANDLE AesKey(const Bytes& value) { return SecretKey(CKK_AES, value); }

  // A private key from its PKCS #8: wrapped with a key we know, then unwrapped.
  CK_OBJECT_HANDLE ImportPkcs8(CK_KEY_TYPE type, const Bytes& pkcs8) {
    const CK_OBJECT_HANDLE wrapping = AesKey(Bytes(32, 1));
    const Bytes wrapped = Encrypt(M(CKM_AES_KEY_WRAP_KWP), wrapping, pkcs8);
    EXPECT_EQ(rv, CKR_OK);
    const CK_OBJECT_HANDLE key = Unwrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, wrapped,
                                        T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, type));
    EXPECT_EQ(rv, CKR_OK);
    Destroy(wrapping);
    return key;
  }

  CK_OBJECT_HANDLE RsaPublic(const json& key) {
    const CK_OBJECT_HANDLE handle = Create(T().Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
                                               .Ulong(CKA_KEY_TYPE, CKK_RSA)
                                               .Raw(CKA_MODULUS, Hexed(key["modulus"]))
                                               .Raw(CKA_PUBLIC_EXPONENT, Hexed(key["publicExponent"])));
    EXPECT_EQ(rv, CKR_OK);
    return handle;
  }

  CK_OBJECT_HANDLE CurvePublic(CK_KEY_TYPE type, std::string_view curve, const Bytes& point) {
    const CK_OBJECT_HANDLE handle = Create(T().Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
                                               .Ulong(CKA_KEY_TYPE, type)
                                               .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName(curve)->oid)))
                                               .Raw(CKA_EC_POINT, point));
    EXPECT_EQ(rv, CKR_OK);
    return handle;
  }

  CK_OBJECT_HANDLE CurvePrivate(CK_KEY_TYPE type, std::string_view curve, const Bytes& value) {
    const CK_OBJECT_HANDLE handle = Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
                                               .Ulong(CKA_KEY_TYPE, type)
                                               .Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName(curve)->oid)))
                                               .Raw(CKA_VALUE, value));
    EXPECT_EQ(rv, CKR_OK);
    return handle;
  }

  void CheckMac(const std::string& name, CK_MECHANISM_TYPE mechanism, CK_KEY_TYPE type, int tag_bits) {
    ForEach(name, [&](const json& group, const json& test) {
      if (group["tagSize"] != tag_bits) return;  // truncated tags are another mechanism
      const Bytes value = Hexed(test["key"]);
      const bool right_size = type != CKK_AES || value.size() == 16 || value.size() == 24 || value.size() == 32;
      if (!right_size) {
        EXPECT_TRUE(Invalid(test));
        return;
      }
      const CK_OBJECT_HANDLE key = SecretKey(type, value);
      const Bytes message = Hexed(test["msg"]), tag = Hexed(test["tag"]);
      EXPECT_EQ(Verify(M(mechanism), key, message, tag) == CKR_OK, Valid(test));
      EXPECT_EQ(Sign(M(mechanism), key, message) == tag, Valid(test));
      Destroy(key);
    });
  }

  void CheckKeyWrap(const std::string& name, CK_MECHANISM_TYPE mechanism) {
    ForEach(name, [&](const json&, const json& test) {
      const CK_OBJECT_HANDLE key = AesKey(Hexed(test["key"]));
      const Bytes message = Hexed(test["msg"]), wrapped = Hexed(test["ct"]);
      const Bytes opened = Decrypt(M(mechanism), key, wrapped);
      if (Valid(test)) {
        EXPECT_EQ(rv, CKR_OK);
        EXPECT_EQ(opened, message);
        EXPECT_EQ(Encrypt(M(mechanism), key, message), wrapped);
      }
      if (Invalid(test)) {
        EXPECT_NE(rv, CKR_OK);
      }
      Destroy(key);
    });
  }

  void CheckRsaVerify(const std::string& name, CK_MECHANISM* mechanism) {
    ForEach(name, [&](const json& group, const json& test) {
      const auto key = GroupKey(group, [&] { return RsaPublic(group["publicKey"]); });
      const CK_RV result = Verify(mechanism, key, Hexed(test["msg"]), Hexed(test["sig"]));
      if (Valid(test)) {
        EXPECT_EQ(result, CKR_OK);
      }
      if (Invalid(test)) {
        EXPECT_TRUE(result == CKR_SIGNATURE_INVALID || result == CKR_SIGNATURE_LEN_RANGE) << result;
      }
    });
  }

  void CheckOaep(const std::string& name, CK_MECHANISM_TYPE hash, CK_RSA_PKCS_MGF_TYPE mgf) {
    ForEach(name, [&](const json& group, const json& test) {
      const auto key = GroupKey(group, [&] { return ImportPkcs8(CKK_RSA, Hexed(group["privateKeyPkcs8"])); });
      Bytes label = Hexed(test["label"]);
      const CK_RSA_PKCS_OAEP_PARAMS parameter{hash, mgf, CKZ_DATA_SPECIFIED, label.empty() ? nullptr : label.data(),
                                              label.size()};
      const Bytes opened = Decrypt(M(CKM_RSA_PKCS_OAEP, parameter), key, Hexed(test["ct"]));
      EXPECT_EQ(rv == CKR_OK, !Invalid(test));
      if (rv == CKR_OK) {
        EXPECT_EQ(opened, Hexed(test["msg"]));
      }
    });
  }

  // r ‖ s from strict DER; nullopt for what is no signature in DER at all.
  static std::optional<Bytes> RawSignature(const Bytes& encoded, std::size_t half) {
    der::Reader outer(encoded);
    der::Reader numbers = outer.Enter(der::kSequence);
    const ByteView r = numbers.Integer(), s = numbers.Integer();
    if (!numbers.AtEnd() || !outer.AtEnd() || r.size() > half || s.size() > half) return std::nullopt;
    Bytes raw(2 * half);
    std::copy(r.begin(), r.end(), raw.begin() + static_cast<std::ptrdiff_t>(half - r.size()));
    std::copy(s.begin(), s.end(), raw.begin() + static_cast<std::ptrdiff_t>(2 * half - s.size()));
    return raw;
  }

  void CheckEcdsa(const std::string& name, CK_MECHANISM_TYPE mechanism, std::string_view curve, std::size_t half,
                  bool der) {
    ForEach(name, [&](const json& group, const json& test) {
      const auto key =
          GroupKey(group, [&] { return CurvePublic(CKK_EC, curve, Hexed(group["publicKey"]["uncompressed"])); });
      std::optional<Bytes> signature = Hexed(test["sig"]);
      if (der) signature = RawSignature(*signature, half);
      if (!signature) {
        EXPECT_FALSE(Valid(test));
        return;
      }
      const CK_RV result = Verify(M(mechanism), key, Hexed(test["msg"]), *signature);
      // Shorter signatures with equal halves are allowed by PKCS#11 where Wycheproof wants the full length.
      const bool short_form = signature->size() < 2 * half && signature->size() % 2 == 0;
      if (Valid(test)) {
        EXPECT_EQ(result, CKR_OK);
      }
      if (Invalid(test) && !short_form) {
        EXPECT_NE(result, CKR_OK);
      }
    });
  }

  Bytes Derive(CK_OBJECT_HANDLE key, const Bytes& point) {
    CK_ECDH1_DERIVE_PARAMS parameter{CKD_NULL, 0, nullptr, point.size(), const_cast<CK_BYTE*>(point.data())};
    T attributes;
    attributes.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_EXTRACTABLE, true);
    attributes.Bool(CKA_SENSITIVE, false);
    CK_OBJECT_HANDLE derived = 0;
    const CK_RV result =
        f->C_DeriveKey(session, M(CKM_ECDH1_DERIVE, parameter), key, attributes.data(), attributes.size(), &derived);
    const Bytes value = result == CKR_OK ? Attribute(derived, CKA_VALUE) : Bytes();
    if (result == CKR_OK) Destroy(derived);
    rv = result;
    return value;
  }

  void CheckAgreement(const std::string& name, CK_KEY_TYPE type, std::string_view curve) {
    ForEach(name, [&](const json&, const json& test) {
      const CK_OBJECT_HANDLE key = CurvePrivate(type, curve, Hexed(test["private"]));
      const Bytes secret = Derive(key, Hexed(test["public"]));
      if (Valid(test)) {
        EXPECT_EQ(rv, CKR_OK);
      }
      if (Invalid(test)) {
        EXPECT_TRUE(rv == CKR_PUBLIC_KEY_INVALID || rv == CKR_MECHANISM_PARAM_INVALID) << std::hex << rv;
      }
      if (rv == CKR_OK) {
        EXPECT_EQ(secret, Hexed(test["shared"]));
      }
      Destroy(key);
    });
  }

  void CheckEddsa(const std::string& name, std::string_view curve) {
    ForEach(name, [&](const json& group, const json& test) {
      const auto key =
          GroupKey(group, [&] { return CurvePublic(CKK_EC_EDWARDS, curve, Hexed(group["publicKey"]["pk"])); });
      EXPECT_EQ(Verify(M(CKM_EDDSA), key, Hexed(test["msg"]), Hexed(test["sig"])) == CKR_OK, Valid(test));
    });
  }

 private:
  const json* last_group_ = nullptr;
  CK_OBJECT_HANDLE group_key_ = 0;
};

TEST_F(WycheproofTest, AesGcm) {
  ForEach("aes_gcm_test.json", [&](const json& group, const json& test) {
    const CK_OBJECT_HANDLE key = AesKey(Hexed(test["key"]));
    const Bytes iv = Hexed(test["iv"]), aad = Hexed(test["aad"]), message = Hexed(test["msg"]);
    Bytes sealed = Hexed(test["ct"]);
    const Bytes tag = Hexed(test["tag"]);
    sealed.insert(sealed.end(), tag.begin(), tag.end());
    const CK_GCM_PARAMS parameter = Gcm(iv, aad, group["tagSize"]);
    const Bytes opened = Decrypt(M(CKM_AES_GCM, parameter), key, sealed);
    EXPECT_EQ(rv == CKR_OK, Valid(test));
    if (Valid(test)) {
      EXPECT_EQ(opened, message);
      EXPECT_EQ(Encrypt(M(CKM_AES_GCM, parameter), key, message), sealed);
    }
    Destroy(key);
  });
}

TEST_F(WycheproofTest, AesCbcPad) {
  ForEach("aes_cbc_pkcs5_test.json", [&](const json&, const json& test) {
    const CK_OBJECT_HANDLE key = AesKey(Hexed(test["key"]));
    const Bytes iv = Hexed(test["iv"]), message = Hexed(test["msg"]), sealed = Hexed(test["ct"]);
    const Bytes opened = Decrypt(M(CKM_AES_CBC_PAD, iv), key, sealed);
    EXPECT_EQ(rv == CKR_OK, Valid(test));
    if (Valid(test)) {
      EXPECT_EQ(opened, message);
      EXPECT_EQ(Encrypt(M(CKM_AES_CBC_PAD, iv), key, message), sealed);
    }
    Destroy(key);
  });
}

TEST_F(WycheproofTest, AesCmac) { CheckMac("aes_cmac_test.json", CKM_AES_CMAC, CKK_AES, 128); }
TEST_F(WycheproofTest, HmacSha256) { CheckMac("hmac_sha256_test.json", CKM_SHA256_HMAC, CKK_GENERIC_SECRET, 256); }
TEST_F(WycheproofTest, HmacSha512) { CheckMac("hmac_sha512_test.json", CKM_SHA512_HMAC, CKK_GENERIC_SECRET, 512); }
TEST_F(WycheproofTest, AesKeyWrap) { CheckKeyWrap("aes_wrap_test.json", CKM_AES_KEY_WRAP); }
TEST_F(WycheproofTest, AesKeyWrapWithPadding) { CheckKeyWrap("aes_kwp_test.json", CKM_AES_KEY_WRAP_KWP); }
TEST_F(WycheproofTest, AesKeyWrapWithPaddingUnderItsOldNumber) {
  CheckKeyWrap("aes_kwp_test.json", CKM_AES_KEY_WRAP_PAD);
}

TEST_F(WycheproofTest, RsaPkcs1Signatures) {
  CheckRsaVerify("rsa_signature_2048_sha256_test.json", M(CKM_SHA256_RSA_PKCS));
  CheckRsaVerify("rsa_signature_2048_sha512_test.json", M(CKM_SHA512_RSA_PKCS));
  CheckRsaVerify("rsa_signature_4096_sha256_test.json", M(CKM_SHA256_RSA_PKCS));
}

TEST_F(WycheproofTest, RsaPkcs1SignaturesMade) {
  const std::map<std::string, CK_MECHANISM_TYPE> mechanisms = {{"SHA-1", CKM_SHA1_RSA_PKCS},
                                                               {"SHA-224", CKM_SHA224_RSA_PKCS},
                                                               {"SHA-256", CKM_SHA256_RSA_PKCS},
                                                               {"SHA-384", CKM_SHA384_RSA_PKCS},
                                                               {"SHA-512", CKM_SHA512_RSA_PKCS}};
  ForEach("rsa_pkcs1_2048_sig_gen_test.json", [&](const json& group, const json& test) {
    const auto mechanism = mechanisms.find(group["sha"]);
    if (mechanism == mechanisms.end()) return;
    const auto key = GroupKey(group, [&] { return ImportPkcs8(CKK_RSA, Hexed(group["privateKeyPkcs8"])); });
    EXPECT_EQ(Sign(M(mechanism->second), key, Hexed(test["msg"])), Hexed(test["sig"]));
  });
}

TEST_F(WycheproofTest, RsaPss) {
  const CK_RSA_PKCS_PSS_PARAMS parameter{CKM_SHA256, CKG_MGF1_SHA256, 32};
  CheckRsaVerify("rsa_pss_2048_sha256_mgf1_32_test.json", M(CKM_SHA256_RSA_PKCS_PSS, parameter));
  CheckRsaVerify("rsa_pss_4096_sha256_mgf1_32_test.json", M(CKM_SHA256_RSA_PKCS_PSS, parameter));
}

TEST_F(WycheproofTest, RsaOaep) {
  CheckOaep("rsa_oaep_2048_sha1_mgf1sha1_test.json", CKM_SHA_1, CKG_MGF1_SHA1);
  CheckOaep("rsa_oaep_2048_sha256_mgf1sha256_test.json", CKM_SHA256, CKG_MGF1_SHA256);
}

// A wrong padding does not show: the answer is CKR_OK and bytes that are the same each time.
TEST_F(WycheproofTest, RsaPkcs1Decryption) {
  ForEach("rsa_pkcs1_2048_test.json", [&](const json& group, const json& test) {
    const auto key = GroupKey(group, [&] { return ImportPkcs8(CKK_RSA, Hexed(group["privateKeyPkcs8"])); });
    const Bytes sealed = Hexed(test["ct"]);
    const Bytes opened = Decrypt(M(CKM_RSA_PKCS), key, sealed);
    if (Valid(test)) {
      EXPECT_EQ(rv, CKR_OK);
      EXPECT_EQ(opened, Hexed(test["msg"]));
    } else if (sealed.size() == 256) {
      EXPECT_EQ(Decrypt(M(CKM_RSA_PKCS), key, sealed), opened);
    }
  });
}

TEST_F(WycheproofTest, Ecdsa) {
  CheckEcdsa("ecdsa_secp256r1_sha256_p1363_test.json", CKM_ECDSA_SHA256, "P-256", 32, false);
  CheckEcdsa("ecdsa_secp256r1_sha256_test.json", CKM_ECDSA_SHA256, "P-256", 32, true);
  CheckEcdsa("ecdsa_secp384r1_sha384_test.json", CKM_ECDSA_SHA384, "P-384", 48, true);
  CheckEcdsa("ecdsa_secp521r1_sha512_test.json", CKM_ECDSA_SHA512, "P-521", 66, true);
}

TEST_F(WycheproofTest, Ecdh) {
  CheckAgreement("ecdh_secp256r1_ecpoint_test.json", CKK_EC, "P-256");
  CheckAgreement("ecdh_secp384r1_ecpoint_test.json", CKK_EC, "P-384");
  CheckAgreement("ecdh_secp521r1_ecpoint_test.json", CKK_EC, "P-521");
}

TEST_F(WycheproofTest, X25519) { CheckAgreement("x25519_test.json", CKK_EC_MONTGOMERY, "X25519"); }
TEST_F(WycheproofTest, X448) { CheckAgreement("x448_test.json", CKK_EC_MONTGOMERY, "X448"); }
TEST_F(WycheproofTest, Ed25519) { CheckEddsa("ed25519_test.json", "Ed25519"); }
TEST_F(WycheproofTest, Ed448) { CheckEddsa("ed448_test.json", "Ed448"); }

}  // namespace
}  // namespace cmkd::sim
