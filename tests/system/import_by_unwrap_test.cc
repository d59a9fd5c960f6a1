// Importing one's own material with the standard's calls alone: the import parameters' wrapping key is an object, and
// C_UnwrapKey with it fills the key that waits. What must be refused, and that it changes nothing.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include "keystore/cmk/state.h"
#include "pkcs11/spec/vendor.h"
#include "tests/hostile/raw_client.h"
#include "tests/module/sandbox_test.h"

namespace cmkd::tests {
namespace {

class ImportByUnwrapTest : public SandboxTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(SandboxTest::SetUp());
    pem_ = std::string(std::getenv("CMKD_SANDBOX_DIR")) + "/" + name_ + ".pem";
    Operator("key create --name " + name_ + " --spec AES-256 --usage encrypt --external");
  }
  void TearDown() override {
    EVP_PKEY_free(public_key_);
    ::unlink(pem_.c_str());
  }

  // New import parameters; leaves the public key and the handle of the private one.
  void Parameters(const std::string& algorithm = "RSAES_OAEP_SHA_256") {
    Operator("key import-params " + name_ + " --public-key " + pem_ + " --bits 2048 --algorithm " + algorithm);
    EVP_PKEY_free(public_key_);
    public_key_ = nullptr;
    FILE* file = std::fopen(pem_.c_str(), "r");
    ASSERT_NE(file, nullptr);
    public_key_ = PEM_read_PUBKEY(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    ASSERT_NE(public_key_, nullptr);
    const auto found = ImportKeys(CKO_PRIVATE_KEY);
    ASSERT_FALSE(found.empty());
    import_key_ = found.back();
  }
  std::vector<CK_OBJECT_HANDLE> ImportKeys(CK_OBJECT_CLASS object_class) {
    return p11_.Find(session_, Template().Text(CKA_LABEL, "kms-import:" + name_).Ulong(CKA_CLASS, object_class));
  }
  Bytes Oaep(const Bytes& plain, const EVP_MD* hash = EVP_sha256()) {
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(public_key_, nullptr);
    Bytes sealed(512);
    std::size_t length = sealed.size();
    EXPECT_EQ(EVP_PKEY_encrypt_init(context), 1);
    EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING), 1);
    EXPECT_EQ(EVP_PKEY_CTX_set_rsa_oaep_md(context, hash), 1);
    EXPECT_EQ(EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash), 1);
    EXPECT_EQ(EVP_PKEY_encrypt(context, sealed.data(), &length, plain.data(), plain.size()), 1);
    EVP_PKEY_CTX_free(context);
    sealed.resize(length);
    return sealed;
  }
  Bytes RsaAes(const Bytes& plain) {
    const Bytes transport(32, 0x77);
    Bytes all = Oaep(transport), wrapped(64);
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    int length = 0;
    EXPECT_EQ(EVP_EncryptInit_ex(context, EVP_aes_256_wrap_pad(), nullptr, transport.data(), nullptr), 1);
    EXPECT_EQ(EVP_EncryptUpdate(context, wrapped.data(), &length, plain.data(), static_cast<int>(plain.size())), 1);
    EVP_CIPHER_CTX_free(context);
    all.insert(all.end(), wrapped.begin(), wrapped.begin() + length);
    return all;
  }
  Template Wanted() {
    return Template()
        .Bool(CKA_TOKEN, true)
        .Ulong(CKA_CLASS, CKO_SECRET_KEY)
        .Ulong(CKA_KEY_TYPE, CKK_AES)
        .Text(CKA_LABEL, name_);
  }
  CK_RV Unwrap(const Bytes& wrapped, Template wanted, bool carried = false) {
    CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
    CK_RSA_AES_KEY_WRAP_PARAMS wrap{256, &oaep};
    CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
    if (carried) mechanism = {CKM_RSA_AES_KEY_WRAP, &wrap, sizeof wrap};
    return p11_->C_UnwrapKey(session_, &mechanism, import_key_, BytePtr(wrapped), wrapped.size(), wanted.data(),
                             wanted.size(), &made_);
  }
  std::string State() { return SandboxTest::State(Named(name_)); }

  CK_OBJECT_HANDLE import_key_ = 0;
  CK_OBJECT_HANDLE made_ = 0;
  EVP_PKEY* public_key_ = nullptr;
  std::string pem_;
};

TEST_F(ImportByUnwrapTest, FillsTheKeyThatWaits) {
  Parameters();
  EXPECT_EQ(State(), "PendingImport");
  ASSERT_EQ(Unwrap(Oaep(Bytes(32, 0x42)), Wanted()), CKR_OK);
  EXPECT_EQ(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), std::vector<CK_OBJECT_HANDLE>{made_});
  EXPECT_EQ(State(), "Enabled");
  // The parameters are spent, and so are their objects.
  EXPECT_TRUE(ImportKeys(CKO_PRIVATE_KEY).empty());
  EXPECT_TRUE(ImportKeys(CKO_PUBLIC_KEY).empty());
  EXPECT_EQ(Unwrap(Oaep(Bytes(32, 0x42)), Wanted()), CKR_UNWRAPPING_KEY_HANDLE_INVALID);

  // It is that material: what it encrypts opens with the bare key.
  Bytes zeros(16), sealed(32), expected(32);
  CK_BYTE iv[12] = {1};
  CK_GCM_PARAMS gcm{iv, 12, 96, nullptr, 0, 128};
  CK_MECHANISM mechanism{CKM_AES_GCM, &gcm, sizeof gcm};
  CK_ULONG length = sealed.size();
  ASSERT_EQ(p11_->C_EncryptInit(session_, &mechanism, made_), CKR_OK);
  ASSERT_EQ(p11_->C_Encrypt(session_, zeros.data(), zeros.size(), sealed.data(), &length), CKR_OK);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int made = 0;
  ASSERT_EQ(EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), Bytes(32, 0x42).data(), iv, nullptr), 1);
  ASSERT_EQ(EVP_EncryptUpdate(context, expected.data(), &made, zeros.data(), 16), 1);
  EVP_CIPHER_CTX_free(context);
  EXPECT_TRUE(Equal(ByteView(sealed).first(16), ByteView(expected).first(16)));
}

TEST_F(ImportByUnwrapTest, TakesTheHybridFormOnEveryDevice) {
  Parameters("RSA_AES_KEY_WRAP_SHA_256");
  EXPECT_EQ(Unwrap(RsaAes(Bytes(32, 0x43)), Wanted()), CKR_MECHANISM_INVALID) << "OAEP was not agreed on";
  ASSERT_EQ(Unwrap(RsaAes(Bytes(32, 0x43)), Wanted(), true), CKR_OK);
  EXPECT_EQ(State(), "Enabled");
}

TEST_F(ImportByUnwrapTest, RefusesWhatDoesNotFitAndChangesNothing) {
  Parameters();
  const Bytes good = Oaep(Bytes(32, 0x44));
  EXPECT_EQ(Unwrap(Oaep(Bytes(16, 0x44)), Wanted()), CKR_WRAPPED_KEY_LEN_RANGE);
  EXPECT_EQ(DetailOfLastRefusal(), static_cast<CK_ULONG>(cmk::Refusal::kMaterialLength));
  EXPECT_EQ(Unwrap(Bytes(256, 0x01), Wanted()), CKR_WRAPPED_KEY_INVALID);
  EXPECT_EQ(Unwrap(Oaep(Bytes(32, 0x44), EVP_sha1()), Wanted()), CKR_WRAPPED_KEY_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), static_cast<CK_ULONG>(cmk::Refusal::kMaterialUnreadable));
  EXPECT_EQ(Unwrap(good, Template().Ulong(CKA_CLASS, CKO_SECRET_KEY)), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(Unwrap(good, Wanted().Bool(CKA_EXTRACTABLE, true)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Unwrap(good, Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "another")), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Unwrap(good, Wanted().Text(CKA_END_DATE, "20200101")), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(State(), "PendingImport");
  ASSERT_EQ(Unwrap(good, Wanted()), CKR_OK);
}

TEST_F(ImportByUnwrapTest, TakesTheSameMaterialAgainAndNoOther) {
  Parameters();
  ASSERT_EQ(Unwrap(Oaep(Bytes(32, 0x45)), Wanted()), CKR_OK);
  Gcm gcm;
  const Bytes message(40, 0x31);
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(gcm.mechanism, made_, message, sealed), CKR_OK);
  Operator("key delete-material " + name_);
  EXPECT_EQ(State(), "PendingImport");
  Parameters();
  EXPECT_EQ(Unwrap(Oaep(Bytes(32, 0x46)), Wanted()), CKR_WRAPPED_KEY_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), static_cast<CK_ULONG>(cmk::Refusal::kMaterialMismatch));
  EXPECT_NE(Decrypt(gcm.mechanism, Named(name_), sealed, opened), CKR_OK);
  ASSERT_EQ(Unwrap(Oaep(Bytes(32, 0x45)), Wanted()), CKR_OK);
  EXPECT_EQ(State(), "Enabled");
  EXPECT_EQ(Decrypt(gcm.mechanism, made_, sealed, opened), CKR_OK);
  EXPECT_EQ(opened, message) << "what it protected before opens";
}

TEST_F(ImportByUnwrapTest, TheWrappingKeyDoesNothingElse) {
  Parameters();
  const auto public_keys = ImportKeys(CKO_PUBLIC_KEY);
  ASSERT_EQ(public_keys.size(), 1u);
  CK_MECHANISM pkcs{CKM_RSA_PKCS, nullptr, 0};
  EXPECT_EQ(p11_->C_DecryptInit(session_, &pkcs, import_key_), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(p11_->C_SignInit(session_, &pkcs, import_key_), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(p11_->C_DestroyObject(session_, import_key_), CKR_ACTION_PROHIBITED);
  EXPECT_EQ(p11_->C_DestroyObject(session_, public_keys.front()), CKR_ACTION_PROHIBITED);
  CK_OBJECT_HANDLE copy = 0;
  EXPECT_EQ(p11_->C_CopyObject(session_, import_key_, nullptr, 0, &copy), CKR_ACTION_PROHIBITED);
  Template renamed;
  renamed.Text(CKA_LABEL, "mine");
  EXPECT_EQ(p11_->C_SetAttributeValue(session_, import_key_, renamed.data(), renamed.size()), CKR_ACTION_PROHIBITED);
  // The public half says what the file says.
  Bytes modulus(256);
  CK_ATTRIBUTE wanted{CKA_MODULUS, modulus.data(), modulus.size()};
  ASSERT_EQ(p11_->C_GetAttributeValue(session_, public_keys.front(), &wanted, 1), CKR_OK);
  BIGNUM* n = nullptr;
  ASSERT_EQ(EVP_PKEY_get_bn_param(public_key_, "n", &n), 1);
  Bytes said(256);
  BN_bn2binpad(n, said.data(), 256);
  BN_free(n);
  EXPECT_EQ(modulus, said);
  // A key that is deleted takes its import parameters along.
  Operator("key schedule-deletion " + name_);
  EXPECT_TRUE(ImportKeys(CKO_PRIVATE_KEY).empty());
}

TEST_F(ImportByUnwrapTest, NewParametersLeaveEarlierOnesGood) {
  Parameters();
  const CK_OBJECT_HANDLE first = import_key_;
  const Bytes for_the_first = Oaep(Bytes(32, 0x47));
  Parameters();
  EXPECT_EQ(ImportKeys(CKO_PRIVATE_KEY).size(), 2u);
  EXPECT_EQ(Unwrap(for_the_first, Wanted()), CKR_WRAPPED_KEY_INVALID) << "of the other parameters";
  import_key_ = first;
  EXPECT_EQ(Unwrap(for_the_first, Wanted()), CKR_OK);
}

// What the module does when the connection broke before the answer came: the same request once more.
TEST_F(ImportByUnwrapTest, ARequestWhoseAnswerWasLostIsAnsweredAgainAndNotDoneAgain) {
  Parameters();
  RawClient client(std::getenv("CMKD_SOCKET"));
  ASSERT_TRUE(client.Greet());
  spec::Call<spec::CallId::C_OpenSession> open;
  open.slot.value = slot_;
  open.flags.value = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  ASSERT_EQ(client.Ask(FrameOf(open)), CKR_OK);
  spec::Call<spec::CallId::C_Login> login;
  std::string pin = std::getenv("P11_PIN");
  login.session.value = 1;
  login.user_type.value = CKU_USER;
  login.pin.data = reinterpret_cast<CK_BYTE_PTR>(pin.data());
  login.pin.length = pin.size();
  ASSERT_EQ(client.Ask(FrameOf(login)), CKR_OK);

  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
  Template wanted = Wanted();
  Bytes wrapped = Oaep(Bytes(32, 0x48));
  CK_OBJECT_HANDLE made = 0;
  spec::Call<spec::CallId::C_UnwrapKey> unwrap;
  unwrap.session.value = 1;
  unwrap.mechanism.value = &mechanism;
  unwrap.unwrapping_key.value = import_key_;
  unwrap.input = {wrapped.data(), wrapped.size()};
  unwrap.attributes = {wanted.data(), wanted.size()};
  unwrap.key.value = &made;
  const auto ask = [&](std::uint64_t request_id) {
    wire::Buffer buffer;
    wire::Writer writer(buffer);
    wire::EncodeCall(writer, unwrap);
    CK_RV rv = CKR_GENERAL_ERROR;
    made = 0;
    if (!client.Send(FrameOf(spec::WireId(spec::CallId::C_UnwrapKey), buffer.view(), 0, request_id))) return rv;
    const auto answer = client.Receive();
    if (!answer || answer->size() < sizeof rv) return rv;
    std::memcpy(&rv, answer->data(), sizeof rv);
    wire::Reader reader(ByteView(*answer).subspan(sizeof rv));
    (void)wire::DecodeResults(reader, unwrap, rv);
    return rv;
  };
  ASSERT_EQ(ask(77), CKR_OK);
  const CK_OBJECT_HANDLE first = made;
  EXPECT_EQ(ask(77), CKR_OK);
  EXPECT_EQ(made, first);
  EXPECT_EQ(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), std::vector<CK_OBJECT_HANDLE>{first});
  EXPECT_EQ(ask(78), CKR_UNWRAPPING_KEY_HANDLE_INVALID) << "a request of its own: the parameters are spent";
  wrapped.back() = static_cast<std::uint8_t>(wrapped.back() ^ 1);
  EXPECT_EQ(ask(77), CKR_UNWRAPPING_KEY_HANDLE_INVALID) << "another request under the same number";
  EXPECT_EQ(State(), "Enabled");
}

}  // namespace
}  // namespace cmkd::tests
