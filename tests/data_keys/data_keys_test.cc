// Data keys and data key pairs, one round trip each, and the same with plain PKCS#11.
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "tests/data_keys/data_keys_fixture.h"

namespace cmkd::tests {
namespace {

const Bytes kContext = {1, 0, 1, 'a', 0, 1, 'b'};
const Bytes kOtherContext = {1, 0, 1, 'a', 0, 1, 'c'};

Bytes P256() { return {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}; }

class OwnInterfaceTest : public DataKeysTest {
 protected:
  void SetUp() override {
    DataKeysTest::SetUp();
    own_ = p11_.Own();
    ASSERT_NE(own_, nullptr);
  }
  struct DataKey {
    Bytes plain;
    Bytes sealed;
  };
  CK_RV Generate(CK_OBJECT_HANDLE key, CK_ULONG bytes, DataKey& made, const Bytes& context = {}) {
    Managed managed(context);
    made = {Bytes(bytes), Bytes(bytes + CMKD_MANAGED_OVERHEAD)};
    CK_ULONG plain = made.plain.size(), sealed = made.sealed.size();
    return own_->GenerateDataKey(session_, &managed.mechanism, key, bytes, made.plain.data(), &plain,
                                 made.sealed.data(), &sealed);
  }
  CK_RV Open(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& plain, const Bytes& context = {}) {
    Managed managed(context);
    plain.resize(8192);
    CK_ULONG length = plain.size();
    const CK_RV rv =
        own_->DecryptManaged(session_, &managed.mechanism, key, BytePtr(sealed), sealed.size(), plain.data(), &length);
    plain.resize(rv == CKR_OK ? length : 0);
    return rv;
  }

  CK_CMKD_FUNCTION_LIST* own_ = nullptr;
};

TEST_F(OwnInterfaceTest, IsBesideTheStandardsOnesAndNeverBeforeThem) {
  const auto get = reinterpret_cast<decltype(&::C_GetInterface)>(::dlsym(p11_.library(), "C_GetInterface"));
  CK_INTERFACE_PTR first = nullptr;
  ASSERT_EQ(get(nullptr, nullptr, &first, 0), CKR_OK);
  EXPECT_STREQ(reinterpret_cast<const char*>(first->pInterfaceName), "PKCS 11");
  EXPECT_EQ(own_->version.major, 1);
}

TEST_F(OwnInterfaceTest, GivesADataKeyThatOpensAgain) {
  const CK_OBJECT_HANDLE key = Make(name_);
  for (const CK_ULONG bytes : {1u, 16u, 32u, 1024u}) {
    DataKey made;
    ASSERT_EQ(Generate(key, bytes, made, kContext), CKR_OK) << bytes;
    Bytes opened;
    ASSERT_EQ(Decrypt(key, made.sealed, opened, kContext), CKR_OK) << "with plain PKCS#11";
    EXPECT_EQ(opened, made.plain);
    ASSERT_EQ(Open(CK_INVALID_HANDLE, made.sealed, opened, kContext), CKR_OK) << "found by the header";
    EXPECT_EQ(opened, made.plain);
    EXPECT_EQ(Open(key, made.sealed, opened, kOtherContext), CKR_ENCRYPTED_DATA_INVALID);
  }
  DataKey one, two;
  ASSERT_EQ(Generate(key, 32, one), CKR_OK);
  ASSERT_EQ(Generate(key, 32, two), CKR_OK);
  EXPECT_NE(one.plain, two.plain);
  EXPECT_NE(one.plain, Bytes(32));
  EXPECT_EQ(Generate(key, 0, one), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(Generate(key, 1025, one), CKR_KEY_SIZE_RANGE);
}

TEST_F(OwnInterfaceTest, KeepsThePlaintextWhenItIsNotWanted) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed;
  Bytes sealed(32 + CMKD_MANAGED_OVERHEAD), opened;
  CK_ULONG length = sealed.size();
  ASSERT_EQ(own_->GenerateDataKey(session_, &managed.mechanism, key, 32, nullptr, nullptr, sealed.data(), &length),
            CKR_OK);
  EXPECT_EQ(length, sealed.size());
  ASSERT_EQ(Open(key, sealed, opened), CKR_OK);
  EXPECT_EQ(opened.size(), 32u);
}

TEST_F(OwnInterfaceTest, FollowsTheTwoCallConvention) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed;
  CK_ULONG plain = 0, sealed = 0;
  ASSERT_EQ(own_->GenerateDataKey(session_, &managed.mechanism, key, 32, nullptr, &plain, nullptr, &sealed), CKR_OK);
  EXPECT_EQ(plain, 32u);
  EXPECT_EQ(sealed, 32 + CMKD_MANAGED_OVERHEAD);
  Bytes room(256);
  plain = 31;
  sealed = room.size();
  EXPECT_EQ(own_->GenerateDataKey(session_, &managed.mechanism, key, 32, room.data(), &plain, room.data(), &sealed),
            CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(plain, 32u);
  EXPECT_EQ(sealed, 32 + CMKD_MANAGED_OVERHEAD);
  EXPECT_EQ(room, Bytes(256)) << "nothing was made";
  EXPECT_EQ(own_->GenerateDataKey(session_, &managed.mechanism, key, 32, nullptr, &plain, room.data(), &sealed),
            CKR_ARGUMENTS_BAD);
  CK_MECHANISM gcm{CKM_AES_GCM, nullptr, 0};
  plain = 32;
  EXPECT_NE(own_->GenerateDataKey(session_, &gcm, key, 32, nullptr, nullptr, room.data(), &sealed), CKR_OK);
  EXPECT_EQ(own_->GenerateDataKey(session_, nullptr, key, 32, nullptr, nullptr, room.data(), &sealed),
            CKR_ARGUMENTS_BAD);
}

TEST_F(OwnInterfaceTest, ReEncryptsWithoutHandingOutThePlaintext) {
  const CK_OBJECT_HANDLE from = Make(name_), to = Make(name_ + "-to");
  DataKey made;
  ASSERT_EQ(Generate(from, 32, made, kContext), CKR_OK);
  Managed old_context(kContext), new_context(kOtherContext);
  Bytes moved(made.sealed.size()), opened;
  CK_ULONG length = moved.size();
  ASSERT_EQ(own_->ReEncrypt(session_, &old_context.mechanism, from, &new_context.mechanism, to, made.sealed.data(),
                            made.sealed.size(), moved.data(), &length),
            CKR_OK);
  ASSERT_EQ(Open(to, moved, opened, kOtherContext), CKR_OK);
  EXPECT_EQ(opened, made.plain);
  EXPECT_EQ(Open(from, moved, opened, kOtherContext), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(Open(to, moved, opened, kContext), CKR_ENCRYPTED_DATA_INVALID);

  // To the newest version of the same key, the old one found by the header.
  Operator("key rotate " + name_);
  ASSERT_EQ(own_->ReEncrypt(session_, &old_context.mechanism, CK_INVALID_HANDLE, &old_context.mechanism, from,
                            made.sealed.data(), made.sealed.size(), moved.data(), &length),
            CKR_OK);
  EXPECT_EQ(spec::ReadManagedHeader(moved)->key_version, 2u);
  ASSERT_EQ(Open(from, moved, opened, kContext), CKR_OK);
  EXPECT_EQ(opened, made.plain);
  EXPECT_EQ(own_->ReEncrypt(session_, &new_context.mechanism, from, &old_context.mechanism, to, made.sealed.data(),
                            made.sealed.size(), moved.data(), &length),
            CKR_ENCRYPTED_DATA_INVALID);
}

TEST_F(OwnInterfaceTest, EncryptsInOneCall) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed(kContext);
  const Bytes plain(100, 7);
  Bytes sealed(256), opened;
  CK_ULONG length = sealed.size();
  ASSERT_EQ(
      own_->EncryptManaged(session_, &managed.mechanism, key, BytePtr(plain), plain.size(), sealed.data(), &length),
      CKR_OK);
  sealed.resize(length);
  ASSERT_EQ(Decrypt(key, sealed, opened, kContext), CKR_OK);
  EXPECT_EQ(opened, plain);
  const Bytes long_one(4097);
  Bytes room(8192);
  length = room.size();
  EXPECT_EQ(
      own_->EncryptManaged(session_, &managed.mechanism, key, BytePtr(long_one), long_one.size(), room.data(), &length),
      CKR_DATA_LEN_RANGE);
}

TEST_F(OwnInterfaceTest, IsRefusedLikeAnInit) {
  const CK_OBJECT_HANDLE key = Make(name_);
  DataKey made;
  ASSERT_EQ(Generate(key, 32, made), CKR_OK);
  Operator("key disable " + name_);
  Bytes opened;
  DataKey more;
  EXPECT_EQ(Generate(key, 32, more), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Open(key, made.sealed, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Open(CK_INVALID_HANDLE, made.sealed, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Generate(key + 1000000, 32, more), CKR_KEY_HANDLE_INVALID);
  Bytes nobodys = made.sealed;
  nobodys[9] = static_cast<std::uint8_t>(nobodys[9] ^ 1);
  EXPECT_EQ(Open(CK_INVALID_HANDLE, nobodys, opened), CKR_KEY_HANDLE_INVALID);
  Operator("key enable " + name_);
  Operator("key create --name " + name_ + "-mac --spec HMAC-256 --usage sign");
  EXPECT_EQ(Generate(Named(name_ + "-mac"), 32, more), CKR_KEY_TYPE_INCONSISTENT);
}

class DataKeyPairTest : public OwnInterfaceTest {
 protected:
  void Check(CK_MECHANISM_TYPE type, Template attributes, int evp_type) {
    const CK_OBJECT_HANDLE key = Make(name_);
    Managed managed(kContext);
    CK_MECHANISM generator{type, nullptr, 0};
    CK_ULONG public_length = 0, plain_length = 0, sealed_length = 0;
    const auto call = [&](CK_BYTE_PTR public_key, CK_BYTE_PTR plain, CK_BYTE_PTR sealed, bool with_plaintext = true) {
      return own_->GenerateDataKeyPair(session_, &managed.mechanism, key, &generator, attributes.data(),
                                       attributes.size(), public_key, &public_length, plain,
                                       with_plaintext ? &plain_length : nullptr, sealed, &sealed_length);
    };
    ASSERT_EQ(call(nullptr, nullptr, nullptr), CKR_OK);
    Bytes public_key(public_length), plain(plain_length), sealed(sealed_length), opened;
    ASSERT_EQ(call(public_key.data(), plain.data(), sealed.data()), CKR_OK);
    public_key.resize(public_length);
    plain.resize(plain_length);
    sealed.resize(sealed_length);
    ASSERT_EQ(Open(key, sealed, opened, kContext), CKR_OK);
    EXPECT_EQ(opened, plain);

    const unsigned char* at = plain.data();
    EVP_PKEY* private_half = d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(plain.size()));
    at = public_key.data();
    EVP_PKEY* public_half = d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key.size()));
    ASSERT_NE(private_half, nullptr);
    ASSERT_NE(public_half, nullptr);
    EXPECT_EQ(EVP_PKEY_get_base_id(private_half), evp_type);
    EXPECT_EQ(EVP_PKEY_eq(private_half, public_half), 1);
    EVP_PKEY_free(private_half);
    EVP_PKEY_free(public_half);

    public_length = public_key.capacity();
    sealed.assign(8192, 0);
    sealed_length = sealed.size();
    public_key.assign(1024, 0);
    public_length = public_key.size();
    ASSERT_EQ(call(public_key.data(), nullptr, sealed.data(), false), CKR_OK);
    sealed.resize(sealed_length);
    ASSERT_EQ(Open(key, sealed, opened, kContext), CKR_OK);
    EXPECT_NE(opened, plain);
  }
};

TEST_F(DataKeyPairTest, OfP256) { Check(CKM_EC_KEY_PAIR_GEN, Template().Raw(CKA_EC_PARAMS, P256()), EVP_PKEY_EC); }

TEST_F(DataKeyPairTest, OfRsa) {
  Check(CKM_RSA_PKCS_KEY_PAIR_GEN, Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1}),
        EVP_PKEY_RSA);
}

TEST_F(DataKeyPairTest, OfOtherMechanismsAreRefused) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed;
  CK_MECHANISM generator{CKM_AES_KEY_GEN, nullptr, 0};
  CK_ULONG length = 0;
  EXPECT_EQ(own_->GenerateDataKeyPair(session_, &managed.mechanism, key, &generator, nullptr, 0, nullptr, &length,
                                      nullptr, nullptr, nullptr, &length),
            CKR_MECHANISM_INVALID);
  generator.mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN;
  Template too_long;
  too_long.Ulong(CKA_MODULUS_BITS, 8192);
  EXPECT_EQ(own_->GenerateDataKeyPair(session_, &managed.mechanism, key, &generator, too_long.data(), too_long.size(),
                                      nullptr, &length, nullptr, nullptr, nullptr, &length),
            CKR_KEY_SIZE_RANGE);
}

// The recipe of docs/ciphertext.md for programs that know nothing of cmkd but the mechanism's number: random bytes of
// the token, encrypted under the key.
TEST_F(DataKeysTest, ADataKeyWithPlainPkcs11AndAContext) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes data_key(32), sealed, opened;
  ASSERT_EQ(p11_->C_GenerateRandom(session_, data_key.data(), data_key.size()), CKR_OK);
  ASSERT_EQ(Encrypt(key, data_key, sealed, kContext), CKR_OK);
  Operator("key rotate " + name_);
  ASSERT_EQ(Decrypt(key, sealed, opened, kContext), CKR_OK);
  EXPECT_EQ(opened, data_key);
}

// And for programs that know nothing of cmkd at all: a session key that is wrapped and thrown away.
TEST_F(DataKeysTest, ADataKeyWithPlainPkcs11AndNoPlaintext) {
  Operator("key create --name " + name_ + " --spec AES-256 --usage wrap");
  const CK_OBJECT_HANDLE key = Named(name_);
  CK_OBJECT_HANDLE data_key = 0, again = 0;
  Template wanted;
  wanted.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, true).Bool(CKA_ENCRYPT, true);
  wanted.Bool(CKA_DECRYPT, true);
  ASSERT_EQ(p11_.GenerateAes(session_, wanted, data_key), CKR_OK);
  CK_MECHANISM wrap{CKM_AES_KEY_WRAP, nullptr, 0};
  Bytes wrapped(64);
  CK_ULONG length = wrapped.size();
  ASSERT_EQ(p11_->C_WrapKey(session_, &wrap, key, data_key, wrapped.data(), &length), CKR_OK);
  ASSERT_EQ(p11_->C_DestroyObject(session_, data_key), CKR_OK);
  Operator("key rotate " + name_);
  Template opened;
  opened.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false).Bool(CKA_ENCRYPT, true);
  opened.Bool(CKA_DECRYPT, true);
  EXPECT_EQ(p11_->C_UnwrapKey(session_, &wrap, key, wrapped.data(), length, opened.data(), opened.size(), &again),
            CKR_OK);
}

// A data key that only the holder of a private key gets to see: wrapped twice, under the key and under a public key.
TEST_F(DataKeysTest, ADataKeyForTheHolderOfAPublicKey) {
  Operator("key create --name " + name_ + " --spec AES-256 --usage wrap");
  EVP_PKEY* pair = EVP_RSA_gen(2048);
  ASSERT_NE(pair, nullptr);
  BIGNUM* n = nullptr;
  ASSERT_EQ(EVP_PKEY_get_bn_param(pair, "n", &n), 1);
  Bytes modulus(256);
  BN_bn2binpad(n, modulus.data(), 256);
  BN_free(n);
  Template recipient;
  recipient.Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA).Bool(CKA_TOKEN, false).Bool(CKA_WRAP, true);
  recipient.Raw(CKA_MODULUS, modulus).Raw(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
  CK_OBJECT_HANDLE public_key = 0, data_key = 0, again = 0;
  const CK_RV created = p11_->C_CreateObject(session_, recipient.data(), recipient.size(), &public_key);
  std::string tokens;
  ASSERT_EQ(Cmkctl("token list", &tokens), 0);
  if (tokens.find(" managed") != std::string::npos) {
    // There nothing leaves under a key that somebody brought.
    EXPECT_EQ(created, CKR_TEMPLATE_INCONSISTENT);
    EVP_PKEY_free(pair);
    return;
  }
  ASSERT_EQ(created, CKR_OK);
  Template wanted;
  wanted.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  ASSERT_EQ(p11_.GenerateAes(session_, wanted, data_key), CKR_OK);
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  CK_MECHANISM for_them{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep}, for_us{CKM_AES_KEY_WRAP, nullptr, 0};
  Bytes theirs(256), ours(64), opened(256);
  CK_ULONG their_length = theirs.size(), our_length = ours.size();
  ASSERT_EQ(p11_->C_WrapKey(session_, &for_them, public_key, data_key, theirs.data(), &their_length), CKR_OK);
  ASSERT_EQ(p11_->C_WrapKey(session_, &for_us, Named(name_), data_key, ours.data(), &our_length), CKR_OK);

  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(pair, nullptr);
  std::size_t length = opened.size();
  ASSERT_EQ(EVP_PKEY_decrypt_init(context), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING), 1);
  ASSERT_EQ(EVP_PKEY_decrypt(context, opened.data(), &length, theirs.data(), their_length), 1);
  opened.resize(length);
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(pair);
  EXPECT_EQ(opened.size(), 32u);
  Template as_before;
  as_before.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
  as_before.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  ASSERT_EQ(p11_->C_UnwrapKey(session_, &for_us, Named(name_), ours.data(), our_length, as_before.data(),
                              as_before.size(), &again),
            CKR_OK);
  Bytes value(32);
  CK_ATTRIBUTE read{CKA_VALUE, value.data(), value.size()};
  ASSERT_EQ(p11_->C_GetAttributeValue(session_, again, &read, 1), CKR_OK);
  EXPECT_EQ(value, opened);
}

}  // namespace
}  // namespace cmkd::tests
