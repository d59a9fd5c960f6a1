// The keys and IVs of a TLS connection, and the pseudorandom function, through C_DeriveKey. The answers were made with
// Python 3.11's hmac by RFC 2246 section 5 and 6.3 and RFC 5246 section 5 and 6.3.
#include <set>

#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

class TlsKeysTest : public CallsTest {
 protected:
  void SetUp() override {
    CallsTest::SetUp();
    if (FlagsOf(CKM_TLS12_KEY_AND_MAC_DERIVE) == 0) {
      ASSERT_FALSE(software());
      GTEST_SKIP() << "the device has no CKM_TLS_KDF";
    }
    for (std::uint8_t i = 0; i < 48; ++i) master_.push_back(static_cast<std::uint8_t>(i + 1));
    for (std::uint8_t i = 0; i < 64; ++i) randoms_.push_back(i);
    tls12_ = {0, 0, 0, CK_FALSE, {randoms_.data(), 32, randoms_.data() + 32, 32}, &out_, CKM_SHA256};
    out_.pIVClient = ivs_;
    out_.pIVServer = ivs_ + 64;
  }
  CK_MECHANISM Tls12(CK_MECHANISM_TYPE type = CKM_TLS12_KEY_AND_MAC_DERIVE) { return {type, &tls12_, sizeof tls12_}; }
  // The same parameter for TLS 1.0 and 1.1, whose struct is the beginning of that one.
  CK_MECHANISM Tls10() {
    tls10_ = {
        tls12_.ulMacSizeInBits, tls12_.ulKeySizeInBits, tls12_.ulIVSizeInBits, CK_FALSE, tls12_.RandomInfo, &out_};
    return {CKM_TLS_KEY_AND_MAC_DERIVE, &tls10_, sizeof tls10_};
  }
  void Sizes(CK_ULONG mac, CK_ULONG key, CK_ULONG iv) {
    tls12_.ulMacSizeInBits = 8 * mac;
    tls12_.ulKeySizeInBits = 8 * key;
    tls12_.ulIVSizeInBits = 8 * iv;
  }
  CK_RV Derive(CK_MECHANISM m, CK_OBJECT_HANDLE base, Template t = {}, CK_OBJECT_HANDLE* key = nullptr) {
    return f_->C_DeriveKey(s_, &m, base, t.data(), t.size(), key);
  }
  static Template ForAes() {
    return Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
  }
  CK_OBJECT_HANDLE Closed() {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Raw(CKA_VALUE, master_);
    t.Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false).Bool(CKA_DERIVE, true);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(f_->C_CreateObject(s_, t.data(), t.size(), &key), CKR_OK);
    return key;
  }

  Bytes master_, randoms_;
  CK_BYTE ivs_[128] = {};
  CK_SSL3_KEY_MAT_OUT out_{};
  CK_TLS12_KEY_MAT_PARAMS tls12_{};
  CK_SSL3_KEY_MAT_PARAMS tls10_{};
};

TEST_F(TlsKeysTest, AreThoseOfRfc5246) {
  Sizes(32, 16, 16);
  ASSERT_EQ(Derive(Tls12(), Open(master_), ForAes()), CKR_OK);
  EXPECT_EQ(Hex(Value(out_.hClientMacSecret)), "b641f86a1e3c3d1b75e0411f32f41d0d6fe2bd8421120681c074895628772e02");
  EXPECT_EQ(Hex(Value(out_.hServerMacSecret)), "9e937f08889650923f9889bda32c784759f87a0d2fc0635b829da6f1d6c8927d");
  EXPECT_EQ(Hex(Value(out_.hClientKey)), "da0fe1e903d7dd3a91b71ecf62a4149e");
  EXPECT_EQ(Hex(Value(out_.hServerKey)), "e14873bec7e43bd0f6da6658deab9987");
  EXPECT_EQ(Hex(ByteView(ivs_, 16)), "97224549d2688e2dca39cad036c12d27");
  EXPECT_EQ(Hex(ByteView(ivs_ + 64, 16)), "6db6ba5f5960e2ac30448b3a103336a8");
  EXPECT_EQ(ivs_[16] | ivs_[80], 0) << "nothing behind the IVs is written";
  EXPECT_TRUE(Is(out_.hClientMacSecret, CKA_SIGN) && Is(out_.hServerMacSecret, CKA_VERIFY));
  EXPECT_FALSE(Is(out_.hClientMacSecret, CKA_ENCRYPT));
  EXPECT_TRUE(Is(out_.hClientKey, CKA_ENCRYPT) && Is(out_.hServerKey, CKA_DECRYPT));
}

// As the cipher suites with GCM have it: no MAC keys, IVs of 4 bytes.
TEST_F(TlsKeysTest, WithoutMacKeys) {
  Sizes(0, 32, 4);
  tls12_.prfHashMechanism = CKM_SHA384;
  ASSERT_EQ(Derive(Tls12(), Open(master_), ForAes().Ulong(CKA_VALUE_LEN, 32)), CKR_OK);
  EXPECT_EQ(out_.hClientMacSecret | out_.hServerMacSecret, CK_INVALID_HANDLE);
  EXPECT_EQ(Hex(Value(out_.hClientKey)), "3152a9349a80b1c4c3c9780b8b61c88f108b6ca27e8d90edf572ad3807aba906");
  EXPECT_EQ(Hex(Value(out_.hServerKey)), "84b72232640b0cf15df107b2d367b0cead67ccb685e068754219ce05644faa54");
  EXPECT_EQ(Hex(ByteView(ivs_, 4)) + Hex(ByteView(ivs_ + 64, 4)), "1fc75e32e644d717");
}

TEST_F(TlsKeysTest, AreThoseOfRfc2246) {
  Sizes(20, 24, 8);
  ASSERT_EQ(Derive(Tls10(), Open(master_), ForAes()), CKR_OK);
  EXPECT_EQ(Hex(Value(out_.hClientMacSecret)), "20a4f3104829d49f7abfd47fb29618baf6669c1c");
  EXPECT_EQ(Hex(Value(out_.hServerMacSecret)), "945e65d9c35f8212bc7c2e9f271b0cafc36e0513");
  EXPECT_EQ(Hex(Value(out_.hClientKey)), "41aa1d4fff863dcd2c3f5763ecd854fdd086073de9c4b2ab");
  EXPECT_EQ(Hex(Value(out_.hServerKey)), "b544ebb3c51633ba6096832796e844a537007075f24f127e");
  EXPECT_EQ(Hex(ByteView(ivs_, 8)) + Hex(ByteView(ivs_ + 64, 8)), "a45da93a3f683db378c9b2efbc1c2d8f");
}

TEST_F(TlsKeysTest, SafelyWithoutIvs) {
  Sizes(32, 16, 16);
  const CK_OBJECT_HANDLE base = Closed();
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_TEMPLATE_INCONSISTENT) << "IVs could be a key of other lengths";
  ASSERT_EQ(Derive(Tls12(CKM_TLS12_KEY_SAFE_DERIVE), base, ForAes()), CKR_OK);
  EXPECT_EQ(std::count(std::begin(ivs_), std::end(ivs_), 0), 128) << "an IV was written";
  std::set<CK_OBJECT_HANDLE> keys{out_.hClientMacSecret, out_.hServerMacSecret, out_.hClientKey, out_.hServerKey};
  EXPECT_EQ(keys.size(), 4u);
  for (const CK_OBJECT_HANDLE key : keys) {
    EXPECT_TRUE(Is(key, CKA_SENSITIVE));
    EXPECT_FALSE(Is(key, CKA_EXTRACTABLE));
  }
  // The key works: of the same master secret where it may be seen, the same key opens.
  const Bytes iv(16, 3);
  CK_MECHANISM cbc{CKM_AES_CBC, BytePtr(iv), 16};
  Bytes sealed(32), opened(32);
  CK_ULONG n = sealed.size();
  ASSERT_EQ(f_->C_EncryptInit(s_, &cbc, out_.hClientKey), CKR_OK);
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(master_), 32, sealed.data(), &n), CKR_OK);
  ASSERT_EQ(Derive(Tls12(), Open(master_), ForAes()), CKR_OK);
  ASSERT_EQ(f_->C_DecryptInit(s_, &cbc, out_.hClientKey), CKR_OK);
  ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), 32, opened.data(), &n), CKR_OK);
  EXPECT_EQ(opened, Bytes(master_.begin(), master_.begin() + 32));
}

TEST_F(TlsKeysTest, AreAsSecretAsTheMaster) {
  Sizes(32, 16, 0);
  const CK_OBJECT_HANDLE base = Closed();
  const std::size_t before = Objects();
  EXPECT_EQ(Derive(Tls12(), base, ForAes().Bool(CKA_SENSITIVE, false)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Derive(Tls12(), base, ForAes().Bool(CKA_EXTRACTABLE, true)), CKR_TEMPLATE_INCONSISTENT);
  Sizes(1, 16, 0);
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_KEY_SIZE_RANGE) << "one byte is found by trying";
  Sizes(0, 16, 0);
  EXPECT_EQ(Derive(Tls12(), base,
                   Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, true)),
            CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Objects(), before);
}

TEST_F(TlsKeysTest, RefuseWhatIsNoConnection) {
  const CK_OBJECT_HANDLE base = Open(master_);
  const std::size_t before = Objects();
  Sizes(0, 0, 0);
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  Sizes(0, 17, 0);
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_KEY_SIZE_RANGE);
  Sizes(0, 16, 0);
  EXPECT_EQ(Derive(Tls12(), base, ForAes().Ulong(CKA_VALUE_LEN, 32)), CKR_TEMPLATE_INCONSISTENT);
  tls12_.ulKeySizeInBits = 129;
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  tls12_.ulKeySizeInBits = CK_UNAVAILABLE_INFORMATION;
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  Sizes(0, 16, 16);
  out_.pIVServer = nullptr;
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  Sizes(0, 16, 0);
  tls12_.bIsExport = CK_TRUE;
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  tls12_.bIsExport = CK_FALSE;
  tls12_.pReturnedKeyMaterial = nullptr;
  EXPECT_EQ(Derive(Tls12(), base, ForAes()), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(Objects(), before);
  EXPECT_EQ(out_.hClientKey | out_.hServerKey, CK_INVALID_HANDLE);
}

// What stays in the token derives what stays in the token.
TEST_F(TlsKeysTest, AKeyThatStaysDerivesAKeyThatStays) {
  CK_TLS_KDF_PARAMS parameter{CKM_SHA256, randoms_.data(), 16, tls12_.RandomInfo, nullptr, 0};
  const CK_MECHANISM kdf{CKM_TLS_KDF, &parameter, sizeof parameter};
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, 32);
  wanted.Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false).Bool(CKA_SIGN, true);
  CK_OBJECT_HANDLE stays = 0, open = 0;
  ASSERT_EQ(Derive(kdf, Closed(), wanted, &stays), CKR_OK);
  ASSERT_EQ(Derive(kdf, Open(master_), wanted, &open), CKR_OK);
  EXPECT_EQ(Sign(M(CKM_SHA256_HMAC), stays, kText), Sign(M(CKM_SHA256_HMAC), open, kText));
}

// Only for these may the handle go nowhere.
TEST_F(TlsKeysTest, OtherDerivationsNeedAHandle) {
  CK_MECHANISM digest{CKM_SHA256_KEY_DERIVATION, nullptr, 0};
  EXPECT_EQ(Derive(digest, Open(master_)), CKR_ARGUMENTS_BAD);
  CK_OBJECT_HANDLE key = 77;
  Sizes(0, 16, 0);
  EXPECT_EQ(Derive(Tls12(), Open(master_), ForAes(), &key), CKR_OK);
  EXPECT_EQ(key, CK_INVALID_HANDLE);
}

TEST_F(TlsKeysTest, PrfOfTls10) {
  Bytes out(64);
  const auto prf = [&](CK_OBJECT_HANDLE base, std::string label, Bytes seed, CK_ULONG length) {
    CK_TLS_PRF_PARAMS parameter{seed.data(),  seed.size(), reinterpret_cast<CK_BYTE_PTR>(label.data()),
                                label.size(), out.data(),  &length};
    return Derive({CKM_TLS_PRF, &parameter, sizeof parameter}, base);
  };
  ASSERT_EQ(prf(Open(master_), "test label", randoms_, 40), CKR_OK);
  EXPECT_EQ(Hex(ByteView(out).first(40)),
            "0c07c3f371d994af09e2f5ea0a0002f8389b68544eaf714b691cf8f290bc636eec11b85f5746d317");
  EXPECT_EQ(out[40], 0);
  // Of a master secret that is kept, only what a finished message says.
  const CK_OBJECT_HANDLE closed = Closed();
  ASSERT_EQ(prf(closed, "client finished", Bytes(36, 0x0a), 12), CKR_OK);
  EXPECT_EQ(Hex(ByteView(out).first(12)), "d6a886cd2df9ba03e03afa2c");
  EXPECT_EQ(prf(closed, "key expansion", randoms_, 12), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(prf(closed, "client finished", Bytes(36, 0x0a), 48), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(prf(Open(master_), "test label", randoms_, 0), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(prf(Open(master_), "test label", randoms_, 1 << 20), CKR_MECHANISM_PARAM_INVALID);
}

// RFC 5246 section 8.1: an RSA premaster begins with the version that the client offered; the token tells it.
TEST_F(TlsKeysTest, TheVersionOfAPremasterComesBack) {
  Bytes premaster = master_;
  premaster[0] = 3;
  premaster[1] = 3;
  CK_VERSION version{9, 9};
  CK_TLS12_MASTER_KEY_DERIVE_PARAMS parameter{tls12_.RandomInfo, &version, CKM_SHA256};
  CK_OBJECT_HANDLE master = 0;
  EXPECT_EQ(Derive({CKM_TLS12_MASTER_KEY_DERIVE, &parameter, sizeof parameter}, Open(premaster),
                   Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET), &master),
            CKR_OK);
  EXPECT_NE(master, CK_INVALID_HANDLE);
  EXPECT_EQ(version.major, 3);
  EXPECT_EQ(version.minor, 3);
}

}  // namespace
}  // namespace cmkd::tests
