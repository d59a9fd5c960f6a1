// The managed mechanism: what it makes, what it opens after rotations, and what it refuses.
#include <openssl/evp.h>

#include "pkcs11/spec/encryption_context.h"
#include "tests/data_keys/data_keys_fixture.h"

namespace cmkd::tests {
namespace {

const Bytes kText = ToBytes(AsBytes("what is said once"));
const Bytes kContext = {1, 0, 1, 'a', 0, 1, 'b'};

class ManagedCipherTest : public DataKeysTest {};

TEST_F(ManagedCipherTest, RoundTripsUpToItsLimit) {
  const CK_OBJECT_HANDLE key = Make(name_);
  for (const std::size_t bytes : {0u, 1u, 15u, 16u, 32u, 4095u, 4096u}) {
    const Bytes plain(bytes, 0x5A);
    Bytes sealed, opened;
    ASSERT_EQ(Encrypt(key, plain, sealed, kContext), CKR_OK) << bytes;
    EXPECT_EQ(sealed.size(), bytes + CMKD_MANAGED_OVERHEAD);
    ASSERT_EQ(Decrypt(key, sealed, opened, kContext), CKR_OK) << bytes;
    EXPECT_EQ(opened, plain);
  }
  Bytes sealed;
  EXPECT_EQ(Encrypt(key, Bytes(4097), sealed), CKR_DATA_LEN_RANGE);
  EXPECT_EQ(Decrypt(key, Bytes(87), sealed), CKR_ENCRYPTED_DATA_LEN_RANGE);
  EXPECT_EQ(Decrypt(key, Bytes(4097 + 88), sealed), CKR_ENCRYPTED_DATA_LEN_RANGE);
}

TEST_F(ManagedCipherTest, IsListedAndWorksWithEveryLengthOfAesKeys) {
  CK_MECHANISM_INFO info{};
  ASSERT_EQ(p11_->C_GetMechanismInfo(slot_, CKM_CMKD_AES_MANAGED, &info), CKR_OK);
  EXPECT_EQ(info.flags & (CKF_ENCRYPT | CKF_DECRYPT), CKF_ENCRYPT | CKF_DECRYPT);
  EXPECT_EQ(info.ulMinKeySize, 16u);
  EXPECT_EQ(info.ulMaxKeySize, 32u);
  for (const char* spec : {"AES-128", "AES-192", "AES-256"}) {
    const CK_OBJECT_HANDLE key = Make(name_ + spec, spec);
    Bytes sealed, opened;
    ASSERT_EQ(Encrypt(key, kText, sealed), CKR_OK);
    const auto header = spec::ReadManagedHeader(sealed);
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(Name(header->algorithm), std::string(spec) + "-GCM");
    ASSERT_EQ(Decrypt(key, sealed, opened), CKR_OK);
    EXPECT_EQ(opened, kText);
  }
}

TEST_F(ManagedCipherTest, AnswersLengthsWithoutEncrypting) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed;
  ASSERT_EQ(p11_->C_EncryptInit(session_, &managed.mechanism, key), CKR_OK);
  CK_ULONG length = 0;
  ASSERT_EQ(p11_->C_Encrypt(session_, BytePtr(kText), kText.size(), nullptr, &length), CKR_OK);
  EXPECT_EQ(length, kText.size() + CMKD_MANAGED_OVERHEAD);
  Bytes sealed(length);
  length -= 1;
  EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kText), kText.size(), sealed.data(), &length), CKR_BUFFER_TOO_SMALL);
  ASSERT_EQ(p11_->C_Encrypt(session_, BytePtr(kText), kText.size(), sealed.data(), &length), CKR_OK);
  Bytes opened;
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_OK);
}

TEST_F(ManagedCipherTest, WorksInPartsAsWell) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Managed managed(kContext);
  ASSERT_EQ(p11_->C_EncryptInit(session_, &managed.mechanism, key), CKR_OK);
  Bytes sealed(256), opened;
  CK_ULONG length = sealed.size();
  ASSERT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kText), 5, sealed.data(), &length), CKR_OK);
  EXPECT_EQ(length, 0u);
  length = sealed.size();
  ASSERT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kText) + 5, kText.size() - 5, sealed.data(), &length), CKR_OK);
  length = sealed.size();
  ASSERT_EQ(p11_->C_EncryptFinal(session_, sealed.data(), &length), CKR_OK);
  sealed.resize(length);
  ASSERT_EQ(Decrypt(key, sealed, opened, kContext), CKR_OK);
  EXPECT_EQ(opened, kText);
}

TEST_F(ManagedCipherTest, OpensWhatElevenVersionsMade) {
  const CK_OBJECT_HANDLE key = Make(name_);
  std::vector<Bytes> all;
  for (std::uint32_t version = 1; version <= 11; ++version) {
    Bytes sealed;
    ASSERT_EQ(Encrypt(key, kText, sealed), CKR_OK);
    const auto header = spec::ReadManagedHeader(sealed);
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(header->key_version, version);
    all.push_back(sealed);
    Operator("key rotate " + name_);
  }
  // More than the search by trial would look at.
  for (const Bytes& sealed : all) {
    Bytes opened;
    ASSERT_EQ(Decrypt(key, sealed, opened), CKR_OK);
    EXPECT_EQ(opened, kText);
  }
}

TEST_F(ManagedCipherTest, EveryChangedBitOfTheHeaderIsNoticed) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, kText, sealed), CKR_OK);
  for (std::size_t byte = 0; byte < sealed.size(); ++byte) {
    Bytes changed = sealed;
    changed[byte] = static_cast<std::uint8_t>(changed[byte] ^ (1u << (byte % 8)));
    EXPECT_EQ(Decrypt(key, changed, opened), CKR_ENCRYPTED_DATA_INVALID) << byte;
  }
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_OK);
}

TEST_F(ManagedCipherTest, SaysWhatItRefuses) {
  const CK_OBJECT_HANDLE key = Make(name_), other = Make(name_ + "-other");
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, kText, sealed, kContext), CKR_OK);
  EXPECT_EQ(Decrypt(other, sealed, opened, kContext), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), spec::kOtherKeysCiphertext);
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), spec::kAuthenticationFailed);
  EXPECT_EQ(Decrypt(key, Bytes(100), opened, kContext), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), spec::kCiphertextUnreadable);
  Bytes future = sealed;
  future[27] = 9;
  EXPECT_EQ(Decrypt(key, future, opened, kContext), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), spec::kNoSuchVersion);
  Bytes uncommitted = sealed;
  uncommitted[40] = static_cast<std::uint8_t>(uncommitted[40] ^ 1);
  EXPECT_EQ(Decrypt(key, uncommitted, opened, kContext), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), spec::kAuthenticationFailed);
  ASSERT_EQ(Decrypt(key, sealed, opened, kContext), CKR_OK);
  EXPECT_EQ(opened, kText);
}

TEST_F(ManagedCipherTest, ObeysTheKeysState) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, kText, sealed), CKR_OK);
  Managed managed;
  ASSERT_EQ(p11_->C_EncryptInit(session_, &managed.mechanism, key), CKR_OK);
  Operator("key disable " + name_);
  CK_ULONG length = 256;
  Bytes late(length);
  EXPECT_EQ(p11_->C_Encrypt(session_, BytePtr(kText), kText.size(), late.data(), &length), CKR_FUNCTION_FAILED);
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  Operator("key enable " + name_);
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_OK);
}

// A ciphertext opened with nothing but the key and libcrypto: what docs/ciphertext.md promises to those who have the
// material that they imported.
TEST_F(ManagedCipherTest, TheAuditSaysWhichContextWasGiven) {
  const CK_OBJECT_HANDLE key = Make(name_);
  const Bytes context = *spec::EncodeContext({{"customer", name_}});
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, Bytes(16), sealed, context), CKR_OK);
  ASSERT_EQ(Decrypt(key, sealed, opened, context), CKR_OK);
  ASSERT_EQ(Encrypt(key, Bytes(16), sealed), CKR_OK);
  const std::string found = Shown("--json audit show --limit 100 --context customer=" + name_);
  EXPECT_THAT(found, ::testing::HasSubstr("\"C_Encrypt\""));
  EXPECT_THAT(found, ::testing::HasSubstr("\"C_Decrypt\""));
  EXPECT_THAT(found, ::testing::HasSubstr("context "));
  EXPECT_THAT(found, ::testing::Not(::testing::HasSubstr(name_))) << "a hash unless the configuration says otherwise";
  EXPECT_THAT(Shown("audit show --context customer=nobody"), ::testing::HasSubstr("no such records"));
}

TEST_F(ManagedCipherTest, OpensWithTheBareKeyAndOpenSslAlone) {
  const Bytes material(32, 0x42);
  Template t;
  t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Raw(CKA_VALUE, material).Bool(CKA_TOKEN, false);
  t.Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(p11_->C_CreateObject(session_, t.data(), t.size(), &key), CKR_OK);
  Bytes sealed;
  ASSERT_EQ(Encrypt(key, kText, sealed, kContext), CKR_OK);

  Bytes commitment(48);
  int made = 0;
  EVP_CIPHER_CTX* ecb = EVP_CIPHER_CTX_new();
  ASSERT_EQ(EVP_EncryptInit_ex2(ecb, EVP_aes_256_ecb(), material.data(), nullptr, nullptr), 1);
  ASSERT_EQ(EVP_EncryptUpdate(ecb, commitment.data(), &made, spec::kCommitmentBlocks.data(), 32), 1);
  EVP_CIPHER_CTX_free(ecb);
  EXPECT_TRUE(Equal(ByteView(commitment).first(32), ByteView(sealed).subspan(40, 32)));

  EVP_CIPHER_CTX* gcm = EVP_CIPHER_CTX_new();
  Bytes opened(kText.size());
  ASSERT_EQ(EVP_DecryptInit_ex2(gcm, EVP_aes_256_gcm(), material.data(), sealed.data() + 28, nullptr), 1);
  ASSERT_EQ(EVP_DecryptUpdate(gcm, nullptr, &made, sealed.data(), 72), 1);
  ASSERT_EQ(EVP_DecryptUpdate(gcm, nullptr, &made, kContext.data(), static_cast<int>(kContext.size())), 1);
  ASSERT_EQ(EVP_DecryptUpdate(gcm, opened.data(), &made, sealed.data() + 72, static_cast<int>(kText.size())), 1);
  ASSERT_EQ(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, sealed.data() + sealed.size() - 16), 1);
  EXPECT_EQ(EVP_DecryptFinal_ex(gcm, opened.data(), &made), 1);
  EVP_CIPHER_CTX_free(gcm);
  EXPECT_EQ(opened, kText);
}

}  // namespace
}  // namespace cmkd::tests
