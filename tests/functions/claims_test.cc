// What a template claims of a key that the token makes or takes: check value, SubjectPublicKeyInfo, length.
#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

class ClaimsTest : public CallsTest {
 protected:
  // An attribute; empty when it is, or is not there.
  Bytes Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    Bytes value(1024);
    CK_ATTRIBUTE wanted{type, value.data(), value.size()};
    const CK_RV rv = f_->C_GetAttributeValue(s_, object, &wanted, 1);
    value.resize(rv == CKR_OK ? wanted.ulValueLen : 0);
    return value;
  }
  CK_RV GenerateSecret(Template more, CK_OBJECT_HANDLE& key) {
    CK_MECHANISM m = M(CKM_GENERIC_SECRET_KEY_GEN);
    more.Bool(CKA_TOKEN, false).Bool(CKA_SIGN, true).Ulong(CKA_VALUE_LEN, 32);
    return f_->C_GenerateKey(s_, &m, more.data(), more.size(), &key);
  }
  CK_RV Create(Template t, CK_OBJECT_HANDLE& object) {
    t.Bool(CKA_TOKEN, false);
    return f_->C_CreateObject(s_, t.data(), t.size(), &object);
  }
  CK_RV Set(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const Bytes& value) {
    Template t = Template().Raw(type, value);
    return f_->C_SetAttributeValue(s_, object, t.data(), t.size());
  }
  CK_RV Copy(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const Bytes& value) {
    Template t = Template().Raw(type, value);
    CK_OBJECT_HANDLE copy = 0;
    return f_->C_CopyObject(s_, object, t.data(), t.size(), &copy);
  }
  CK_OBJECT_HANDLE WrappingKey() { return Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true)); }
  CK_RV Wrap(CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key, Bytes& wrapped) {
    CK_MECHANISM m = M(CKM_AES_KEY_WRAP);
    wrapped.resize(256);
    CK_ULONG length = wrapped.size();
    const CK_RV rv = f_->C_WrapKey(s_, &m, wrapping, key, wrapped.data(), &length);
    wrapped.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Unwrap(CK_OBJECT_HANDLE unwrapping, Bytes wrapped, CK_ULONG bytes, CK_OBJECT_HANDLE& key) {
    CK_MECHANISM m = M(CKM_AES_KEY_WRAP);
    Template t = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    t.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    if (bytes != 0) t.Ulong(CKA_VALUE_LEN, bytes);
    return f_->C_UnwrapKey(s_, &m, unwrapping, wrapped.data(), wrapped.size(), t.data(), t.size(), &key);
  }
};

// PKCS#11 3.2, "Secret key objects": a check value that is given must be the key's; an empty one prevents it.
TEST_F(ClaimsTest, ACheckValueIsTheKeysOrPrevented) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(GenerateSecret(Template(), key), CKR_OK);
  EXPECT_EQ(Get(key, CKA_CHECK_VALUE).size(), 3u);
  // Four bytes are nobody's check value, whatever the key came to be.
  EXPECT_EQ(GenerateSecret(Template().Raw(CKA_CHECK_VALUE, {1, 2, 3, 4}), key), CKR_ATTRIBUTE_VALUE_INVALID);
  ASSERT_EQ(GenerateSecret(Template().Raw(CKA_CHECK_VALUE, {}), key), CKR_OK);
  EXPECT_TRUE(Get(key, CKA_CHECK_VALUE).empty());
  Template known = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  known.Raw(CKA_VALUE, Bytes(20, 'k'));
  ASSERT_EQ(Create(known, key), CKR_OK);
  const Bytes right = Get(key, CKA_CHECK_VALUE);
  EXPECT_EQ(right, (Bytes{0x3C, 0xA1, 0x2C})) << "SHA-1 of the value, by sha1sum";
  Template agreeing = known, wrong = known, prevented = known;
  EXPECT_EQ(Create(agreeing.Raw(CKA_CHECK_VALUE, right), key), CKR_OK);
  EXPECT_EQ(Create(wrong.Raw(CKA_CHECK_VALUE, {1, 2, 3}), key), CKR_ATTRIBUTE_VALUE_INVALID);
  ASSERT_EQ(Create(prevented.Raw(CKA_CHECK_VALUE, {}), key), CKR_OK);
  EXPECT_TRUE(Get(key, CKA_CHECK_VALUE).empty());
}

// The check value of an AES key that works on data is not shown, and a template that guesses it learns nothing.
TEST_F(ClaimsTest, AHiddenCheckValueIsNotGuessed) {
  const CK_OBJECT_HANDLE wrapping = WrappingKey();
  const CK_OBJECT_HANDLE key = Open(Bytes(16, 'k'), CKK_AES);
  Bytes wrapped;
  ASSERT_EQ(Wrap(wrapping, key, wrapped), CKR_OK);
  // AES-128 under 16 times 'k' of a block of zeros begins with these, by openssl enc.
  for (const Bytes& guess : {Bytes{0x95, 0x23, 0xA2}, Bytes{1, 2, 3}}) {
    CK_MECHANISM m = M(CKM_AES_KEY_WRAP);
    Template t = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
    t.Bool(CKA_ENCRYPT, true).Raw(CKA_CHECK_VALUE, guess);
    CK_OBJECT_HANDLE opened = 0;
    ASSERT_EQ(f_->C_UnwrapKey(s_, &m, wrapping, wrapped.data(), wrapped.size(), t.data(), t.size(), &opened), CKR_OK);
    EXPECT_TRUE(Get(opened, CKA_CHECK_VALUE).empty());
  }
}

// PKCS#11 3.2, "Public key objects": CKA_PUBLIC_KEY_INFO is derived from the key.
TEST_F(ClaimsTest, APublicKeyThatIsBroughtHasItsInfo) {
  const Pair rsa = Rsa(), ec = Ec();
  Template rsa_parts = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA);
  rsa_parts.Raw(CKA_MODULUS, Get(rsa.public_key, CKA_MODULUS)).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1});
  Template ec_parts = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_EC);
  ec_parts.Raw(CKA_EC_PARAMS, P256()).Raw(CKA_EC_POINT, Get(ec.public_key, CKA_EC_POINT));
  const std::pair<Template, CK_OBJECT_HANDLE> keys[] = {{rsa_parts, rsa.public_key}, {ec_parts, ec.public_key}};
  for (const auto& [parts, made] : keys) {
    const Bytes info = Get(made, CKA_PUBLIC_KEY_INFO);
    ASSERT_FALSE(info.empty());
    Bytes another = info;
    another.back() = static_cast<std::uint8_t>(another.back() ^ 1);
    CK_OBJECT_HANDLE brought = 0;
    Template right = parts, wrong = parts;
    ASSERT_EQ(Create(parts, brought), CKR_OK);
    EXPECT_EQ(Get(brought, CKA_PUBLIC_KEY_INFO), info);
    EXPECT_EQ(Create(right.Raw(CKA_PUBLIC_KEY_INFO, info), brought), CKR_OK);
    EXPECT_EQ(Create(wrong.Raw(CKA_PUBLIC_KEY_INFO, another), brought), CKR_ATTRIBUTE_VALUE_INVALID);
  }
}

// "Private key objects": whoever sets or copies it is told whether it is the key's.
TEST_F(ClaimsTest, ThePublicInfoOfAPrivateKeyIsVerified) {
  const Pair ec = Ec();
  const Bytes info = Get(ec.private_key, CKA_PUBLIC_KEY_INFO);
  ASSERT_FALSE(info.empty());
  const Bytes another = Get(Ec().private_key, CKA_PUBLIC_KEY_INFO);
  EXPECT_EQ(Set(ec.private_key, CKA_PUBLIC_KEY_INFO, info), CKR_OK);
  EXPECT_EQ(Set(ec.private_key, CKA_PUBLIC_KEY_INFO, another), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(Copy(ec.private_key, CKA_PUBLIC_KEY_INFO, info), CKR_OK);
  EXPECT_EQ(Copy(ec.private_key, CKA_PUBLIC_KEY_INFO, another), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(Set(ec.public_key, CKA_PUBLIC_KEY_INFO, info), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(Get(ec.private_key, CKA_PUBLIC_KEY_INFO), info);
}

// "CKM_AES_KEY_WRAP": a key of any length, with zeros to whole semiblocks, two at least; CKA_VALUE_LEN takes up to
// seven of them off again.
TEST_F(ClaimsTest, AesKeyWrapTakesKeysOfAnyLengthAndCutsItsZeros) {
  const CK_OBJECT_HANDLE wrapping = WrappingKey();
  for (const std::size_t bytes : {1u, 8u, 9u, 15u, 16u, 20u, 33u}) {
    const Bytes value(bytes, 7);
    Bytes wrapped, padded = value;
    const CK_RV rv = Wrap(wrapping, Open(value), wrapped);
    if (!software() && bytes <= 8) {  // SoftHSM pads to whole semiblocks only
      EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE) << bytes;
      continue;
    }
    ASSERT_EQ(rv, CKR_OK) << bytes;
    padded.resize(std::max<std::size_t>(16, (bytes + 7) / 8 * 8));
    ASSERT_EQ(wrapped.size(), padded.size() + 8) << bytes;
    CK_OBJECT_HANDLE key = 0;
    ASSERT_EQ(Unwrap(wrapping, wrapped, 0, key), CKR_OK) << bytes;
    EXPECT_EQ(Value(key), padded) << bytes;
    if (!software() || padded.size() - bytes > 7) continue;  // SoftHSM takes no length
    ASSERT_EQ(Unwrap(wrapping, wrapped, bytes, key), CKR_OK) << bytes;
    EXPECT_EQ(Value(key), value) << bytes;
    // Fewer bytes than were wrapped would be a key cut short.
    EXPECT_NE(Unwrap(wrapping, wrapped, bytes - 1, key), CKR_OK) << bytes;
    EXPECT_NE(Unwrap(wrapping, wrapped, padded.size() + 1, key), CKR_OK) << bytes;
  }
}

// Nothing is data like any other, as long as it fits (3.2, "PKCS #1 v1.5 RSA": at most k-11 bytes).
TEST_F(ClaimsTest, ASignatureOfNothingIsASignature) {
  const Pair rsa = Rsa();
  for (const CK_MECHANISM_TYPE type : {CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS}) {
    const Bytes signature = Sign(M(type), rsa.private_key, {});
    ASSERT_EQ(signature.size(), 256u);
    EXPECT_EQ(Verify(M(type), rsa.public_key, {}, signature), CKR_OK);
    EXPECT_EQ(Verify(M(type), rsa.public_key, {'x'}, signature), CKR_SIGNATURE_INVALID);
    EXPECT_EQ(Verify(M(type), rsa.public_key, {}, Sign(M(type), rsa.private_key, {'x'})), CKR_SIGNATURE_INVALID);
  }
}

// A program has no pointer to give where there is nothing, in one part or in many.
TEST_F(ClaimsTest, NothingMayBeNull) {
  Bytes out(64), whole(64);
  CK_ULONG length = out.size(), whole_length = whole.size();
  CK_MECHANISM sha = M(CKM_SHA256), hmac = M(CKM_SHA256_HMAC);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  ASSERT_EQ(f_->C_DigestUpdate(s_, nullptr, 0), CKR_OK);
  ASSERT_EQ(f_->C_DigestFinal(s_, out.data(), &length), CKR_OK);
  EXPECT_EQ(Hex(out).substr(0, 16), "e3b0c44298fc1c14");
  const CK_OBJECT_HANDLE key = Open(Bytes(32, 'k'));
  length = out.size();
  ASSERT_EQ(f_->C_SignInit(s_, &hmac, key), CKR_OK);
  ASSERT_EQ(f_->C_Sign(s_, nullptr, 0, out.data(), &length), CKR_OK);
  ASSERT_EQ(f_->C_SignInit(s_, &hmac, key), CKR_OK);
  ASSERT_EQ(f_->C_SignUpdate(s_, nullptr, 0), CKR_OK);
  ASSERT_EQ(f_->C_SignFinal(s_, whole.data(), &whole_length), CKR_OK);
  EXPECT_EQ(out, whole);
}

}  // namespace
}  // namespace cmkd::tests
