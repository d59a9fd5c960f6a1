// Objects: creating, reading, changing, copying, finding, destroying.
#include "firmware_sim/der.h"
#include "pkcs11/spec/key_facts.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class ObjectTest : public DeviceTest {
 protected:
  CK_OBJECT_HANDLE Data(std::string_view label, std::string_view value, T more = {}) {
    return Create(more.Ulong(CKA_CLASS, CKO_DATA).Text(CKA_LABEL, label).Text(CKA_VALUE, value));
  }
  CK_RV Set(CK_OBJECT_HANDLE object, T attributes) {
    return f->C_SetAttributeValue(session, object, attributes.data(), attributes.size());
  }
  CK_OBJECT_HANDLE Copy(CK_OBJECT_HANDLE object, T attributes) {
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_CopyObject(session, object, attributes.data(), attributes.size(), &made);
    return made;
  }
  CK_ULONG Number(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    const Bytes bytes = Attribute(object, type);
    CK_ULONG value = 0;
    if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  bool Flag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) { return Attribute(object, type) == Bytes{1}; }
  static Bytes Oid(std::string_view curve) { return ToBytes(AsBytes(spec::FindCurveByName(curve)->oid)); }
};

TEST_F(ObjectTest, DataObjectKeepsItsBytes) {
  const auto object = Data("note", "hello");
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Attribute(object, CKA_VALUE), ToBytes(AsBytes("hello")));
  EXPECT_EQ(AttributeError(object, CKA_MODULUS), CKR_ATTRIBUTE_TYPE_INVALID);
}

TEST_F(ObjectTest, CertificateIsStored) {
  const auto object = Create(T().Ulong(CKA_CLASS, CKO_CERTIFICATE)
                                 .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
                                 .Raw(CKA_SUBJECT, Bytes{0x30, 0})
                                 .Raw(CKA_VALUE, Bytes{0x30, 0})
                                 .Raw(CKA_ID, Bytes{1}));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Attribute(object, CKA_VALUE), (Bytes{0x30, 0}));
  EXPECT_EQ(Find(T().Ulong(CKA_CLASS, CKO_CERTIFICATE).Raw(CKA_ID, Bytes{1})).size(), 1u);
}

TEST_F(ObjectTest, SensitiveKeyHidesItsValue) {
  const auto key = GenerateAes();
  EXPECT_EQ(AttributeError(key, CKA_VALUE), CKR_ATTRIBUTE_SENSITIVE);
  EXPECT_EQ(Number(key, CKA_VALUE_LEN), 32u);
  EXPECT_EQ(Attribute(key, CKA_CHECK_VALUE).size(), 3u);
  EXPECT_TRUE(Flag(key, CKA_LOCAL));
  EXPECT_TRUE(Flag(key, CKA_ALWAYS_SENSITIVE));
  EXPECT_TRUE(Flag(key, CKA_NEVER_EXTRACTABLE));
  EXPECT_EQ(Number(key, CKA_KEY_GEN_MECHANISM), CKM_AES_KEY_GEN);
}

TEST_F(ObjectTest, EveryAttributeIsAnsweredEvenWhenOneIsNot) {
  const auto key = GenerateAes(32, T().Text(CKA_LABEL, "name"));
  Bytes label(4), value(32), id(1);
  CK_ATTRIBUTE wanted[] = {{CKA_LABEL, label.data(), 4},
                           {CKA_VALUE, value.data(), 32},
                           {CKA_MODULUS, id.data(), 1},
                           {CKA_LABEL, label.data(), 2}};
  EXPECT_NE(f->C_GetAttributeValue(session, key, wanted, 4), CKR_OK);
  EXPECT_EQ(AsText(label), "name");
  EXPECT_EQ(wanted[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(wanted[2].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(wanted[3].ulValueLen, CK_UNAVAILABLE_INFORMATION);
}

TEST_F(ObjectTest, CheckValueIsThatOfTheStandard) {
  // FIPS 197 appendix C.1: 000102…0f; the encryption of a zero block begins with c6a13b (computed with OpenSSL).
  const auto key = SecretKey(CKK_AES, FromHex("000102030405060708090a0b0c0d0e0f"));
  const Bytes zero = Encrypt(M(CKM_AES_ECB), key, Bytes(16));
  EXPECT_EQ(Attribute(key, CKA_CHECK_VALUE), Bytes(zero.begin(), zero.begin() + 3));
}

TEST_F(ObjectTest, WrongClaimAboutTheMaterialIsRefused) {
  Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_AES)
             .Raw(CKA_VALUE, Bytes(16))
             .Raw(CKA_CHECK_VALUE, Bytes{1, 2, 3}));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST_F(ObjectTest, PublicPartsAreOnBothHalves) {
  const Pair rsa = GenerateRsa(2048, T().Raw(CKA_ID, Bytes{7}));
  EXPECT_EQ(Attribute(rsa.public_key, CKA_MODULUS).size(), 256u);
  EXPECT_EQ(Attribute(rsa.private_key, CKA_MODULUS), Attribute(rsa.public_key, CKA_MODULUS));
  EXPECT_EQ(Attribute(rsa.private_key, CKA_PUBLIC_EXPONENT), (Bytes{1, 0, 1}));
  EXPECT_EQ(Number(rsa.public_key, CKA_MODULUS_BITS), 2048u);
  EXPECT_EQ(AttributeError(rsa.private_key, CKA_PRIVATE_EXPONENT), CKR_ATTRIBUTE_SENSITIVE);
  EXPECT_FALSE(Attribute(rsa.public_key, CKA_PUBLIC_KEY_INFO).empty());
  EXPECT_EQ(Attribute(rsa.private_key, CKA_PUBLIC_KEY_INFO), Attribute(rsa.public_key, CKA_PUBLIC_KEY_INFO));
  const Pair ec = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  const Bytes point = Attribute(ec.public_key, CKA_EC_POINT);
  ASSERT_EQ(point.size(), 67u);
  EXPECT_EQ(point[0], der::kOctetString);
  EXPECT_EQ(point[2], 4);
  EXPECT_EQ(Attribute(ec.private_key, CKA_EC_PARAMS), Oid("P-256"));
}

// Every way in which C_CreateObject can bring a private key, checked by what its public half says of its signature.
TEST_F(ObjectTest, ImportedRsaKeyWithAndWithoutPrimes) {
  const Pair pair = GenerateRsa(2048, T().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true));
  const auto part = [&](CK_ATTRIBUTE_TYPE type) { return Attribute(pair.private_key, type); };
  T base;
  base.Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA).Raw(CKA_MODULUS, part(CKA_MODULUS));
  base.Raw(CKA_PRIVATE_EXPONENT, part(CKA_PRIVATE_EXPONENT)).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  T with_exponent = base, with_crt = base;
  with_exponent.Raw(CKA_PUBLIC_EXPONENT, part(CKA_PUBLIC_EXPONENT));
  with_crt.Raw(CKA_PUBLIC_EXPONENT, part(CKA_PUBLIC_EXPONENT))
      .Raw(CKA_PRIME_1, part(CKA_PRIME_1))
      .Raw(CKA_PRIME_2, part(CKA_PRIME_2));
  with_crt.Raw(CKA_EXPONENT_1, part(CKA_EXPONENT_1))
      .Raw(CKA_EXPONENT_2, part(CKA_EXPONENT_2))
      .Raw(CKA_COEFFICIENT, part(CKA_COEFFICIENT));
  const Bytes text(20, 1);
  const Bytes expected = Sign(M(CKM_SHA256_RSA_PKCS), pair.private_key, text);
  Create(base);
  EXPECT_EQ(rv, CKR_TEMPLATE_INCOMPLETE);  // CKA_PUBLIC_EXPONENT has footnote 1
  for (const T& attributes : {with_exponent, with_crt}) {
    const auto key = Create(attributes);
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Sign(M(CKM_SHA256_RSA_PKCS), key, text), expected);
    EXPECT_EQ(Attribute(key, CKA_COEFFICIENT), part(CKA_COEFFICIENT));
  }
  Bytes wrong = part(CKA_PRIVATE_EXPONENT);
  wrong[5] ^= 1;
  Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_RSA)
             .Raw(CKA_MODULUS, part(CKA_MODULUS))
             .Raw(CKA_PRIVATE_EXPONENT, wrong)
             .Raw(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1}));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST_F(ObjectTest, ImportedCurveKeysOfEveryType) {
  struct Case {
    CK_MECHANISM_TYPE generate, sign;
    CK_KEY_TYPE type;
    const char* curve;
  };
  for (const Case& c :
       {Case{CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKK_EC, "P-256"}, Case{CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKK_EC, "P-521"},
        Case{CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKK_EC, "secp256k1"},
        Case{CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, CKK_EC_EDWARDS, "Ed25519"},
        Case{CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, CKK_EC_EDWARDS, "Ed448"}}) {
    const Pair pair = GenerateCurve(c.generate, c.curve, T().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true));
    ASSERT_EQ(rv, CKR_OK) << c.curve;
    const auto key = Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
                                .Ulong(CKA_KEY_TYPE, c.type)
                                .Raw(CKA_EC_PARAMS, Oid(c.curve))
                                .Raw(CKA_VALUE, Attribute(pair.private_key, CKA_VALUE)));
    ASSERT_EQ(rv, CKR_OK) << c.curve;
    const Bytes text(32, 1);
    const Bytes signature = Sign(M(c.sign), key, text);
    ASSERT_EQ(rv, CKR_OK) << c.curve;
    EXPECT_EQ(Verify(M(c.sign), pair.public_key, text, signature), CKR_OK) << c.curve;
    EXPECT_EQ(Attribute(key, CKA_PUBLIC_KEY_INFO), Attribute(pair.public_key, CKA_PUBLIC_KEY_INFO));
  }
}

TEST_F(ObjectTest, PublicKeyOffItsCurveIsRefused) {
  Bytes point(65, 1);
  point[0] = 4;
  Create(T().Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_EC)
             .Raw(CKA_EC_PARAMS, Oid("P-256"))
             .Raw(CKA_EC_POINT, point));
  EXPECT_EQ(rv, CKR_PUBLIC_KEY_INVALID);
}

TEST_F(ObjectTest, PrivateScalarOutOfRangeIsRefused) {
  Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_EC)
             .Raw(CKA_EC_PARAMS, Oid("P-256"))
             .Raw(CKA_VALUE, Bytes(32, 0xff)));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
  Create(T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_EC)
             .Raw(CKA_EC_PARAMS, Oid("P-256"))
             .Raw(CKA_VALUE, Bytes(32, 0)));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST_F(ObjectTest, AttributesChangeOnlyAsTheStandardAllows) {
  const auto key = GenerateAes(32, T().Bool(CKA_EXTRACTABLE, true));
  EXPECT_EQ(Set(key, T().Text(CKA_LABEL, "new")), CKR_OK);
  EXPECT_EQ(Attribute(key, CKA_LABEL), ToBytes(AsBytes("new")));
  EXPECT_EQ(Set(key, T().Bool(CKA_EXTRACTABLE, false)), CKR_OK);
  EXPECT_EQ(Set(key, T().Bool(CKA_EXTRACTABLE, true)), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(Set(key, T().Bool(CKA_SENSITIVE, false)), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(Set(key, T().Ulong(CKA_KEY_TYPE, CKK_DES)), CKR_ATTRIBUTE_READ_ONLY);
  const auto fixed = GenerateAes(32, T().Bool(CKA_MODIFIABLE, false));
  EXPECT_EQ(Set(fixed, T().Text(CKA_LABEL, "new")), CKR_ACTION_PROHIBITED);
}

TEST_F(ObjectTest, ChangedUsageCountsAtOnce) {
  const auto key = GenerateAes();
  ASSERT_EQ(Set(key, T().Bool(CKA_ENCRYPT, false)), CKR_OK);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_KEY_FUNCTION_NOT_PERMITTED);
}

TEST_F(ObjectTest, CopyHasTheSameMaterialAndItsOwnAttributes) {
  const auto key = GenerateAes(32, T().Text(CKA_LABEL, "one"));
  const auto copy = Copy(key, T().Text(CKA_LABEL, "two").Bool(CKA_TOKEN, true));
  ASSERT_EQ(rv, CKR_OK);
  const Bytes block(16, 1);
  EXPECT_EQ(Encrypt(M(CKM_AES_ECB), copy, block), Encrypt(M(CKM_AES_ECB), key, block));
  EXPECT_EQ(Attribute(copy, CKA_LABEL), ToBytes(AsBytes("two")));
  EXPECT_TRUE(Flag(copy, CKA_TOKEN));
  EXPECT_NE(Attribute(copy, CKA_UNIQUE_ID), Attribute(key, CKA_UNIQUE_ID));
  Copy(key, T().Bool(CKA_SENSITIVE, false));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_READ_ONLY);
}

TEST_F(ObjectTest, FoundByClassLabelAndId) {
  for (int i = 0; i < 20; ++i) Data("d" + std::to_string(i % 2), "x");
  GenerateAes(32, T().Raw(CKA_ID, Bytes{1}));
  EXPECT_EQ(Find(T()).size(), 21u);
  EXPECT_EQ(Find(T().Ulong(CKA_CLASS, CKO_DATA)).size(), 20u);
  EXPECT_EQ(Find(T().Text(CKA_LABEL, "d1")).size(), 10u);
  EXPECT_EQ(Find(T().Raw(CKA_ID, Bytes{1})).size(), 1u);
  EXPECT_TRUE(Find(T().Raw(CKA_ID, Bytes{2})).empty());
}

TEST_F(ObjectTest, SecretsCannotBeFoundByTheirValue) {
  const Bytes value(32, 9);
  SecretKey(CKK_GENERIC_SECRET, value);
  EXPECT_EQ(Find(T().Raw(CKA_VALUE, value)).size(), 1u);
  Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
             .Ulong(CKA_KEY_TYPE, CKK_AES)
             .Raw(CKA_VALUE, value)
             .Bool(CKA_SENSITIVE, true));
  EXPECT_EQ(Find(T().Raw(CKA_VALUE, value)).size(), 1u);
}

TEST_F(ObjectTest, SearchGoesInStepsAndSkipsWhatIsGone) {
  std::vector<CK_OBJECT_HANDLE> made;
  for (int i = 0; i < 5; ++i) made.push_back(Data("x", "y"));
  CK_OBJECT_HANDLE found[2];
  CK_ULONG count = 0;
  EXPECT_EQ(f->C_FindObjects(session, found, 2, &count), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f->C_FindObjectsInit(session, nullptr, 0), CKR_OK);
  EXPECT_EQ(f->C_FindObjectsInit(session, nullptr, 0), CKR_OPERATION_ACTIVE);
  ASSERT_EQ(f->C_FindObjects(session, found, 2, &count), CKR_OK);
  EXPECT_EQ(count, 2u);
  f->C_DestroyObject(session, made[2]);
  ASSERT_EQ(f->C_FindObjects(session, found, 2, &count), CKR_OK);
  EXPECT_EQ(found[0], made[3]);
  EXPECT_EQ(found[1], made[4]);
  ASSERT_EQ(f->C_FindObjects(session, found, 2, &count), CKR_OK);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(f->C_FindObjectsFinal(session), CKR_OK);
  EXPECT_EQ(f->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(ObjectTest, ReadOnlySessionMakesNoTokenObjects) {
  const auto token_object = Data("t", "v", T().Bool(CKA_TOKEN, true));
  session = OpenSession(0);
  Data("t", "v", T().Bool(CKA_TOKEN, true));
  EXPECT_EQ(rv, CKR_SESSION_READ_ONLY);
  Data("t", "v");
  EXPECT_EQ(rv, CKR_OK);
  EXPECT_EQ(f->C_DestroyObject(session, token_object), CKR_SESSION_READ_ONLY);
  EXPECT_EQ(Set(token_object, T().Text(CKA_LABEL, "n")), CKR_SESSION_READ_ONLY);
}

TEST_F(ObjectTest, PrivateObjectsNeedTheUser) {
  ASSERT_EQ(f->C_Logout(session), CKR_OK);
  Data("t", "v", T().Bool(CKA_PRIVATE, true));
  EXPECT_EQ(rv, CKR_USER_NOT_LOGGED_IN);
  Data("t", "v", T().Bool(CKA_PRIVATE, false));
  EXPECT_EQ(rv, CKR_OK);
}

TEST_F(ObjectTest, ObjectThatIsNotDestroyableStays) {
  const auto object = Data("t", "v", T().Bool(CKA_DESTROYABLE, false));
  EXPECT_EQ(f->C_DestroyObject(session, object), CKR_ACTION_PROHIBITED);
  EXPECT_EQ(f->C_DestroyObject(session, 4711), CKR_OBJECT_HANDLE_INVALID);
}

TEST_F(ObjectTest, SizeIsThatOfItsRecord) {
  CK_ULONG small = 0, large = 0;
  ASSERT_EQ(f->C_GetObjectSize(session, Data("t", "v"), &small), CKR_OK);
  ASSERT_EQ(f->C_GetObjectSize(session, Data("t", std::string(1000, 'v')), &large), CKR_OK);
  EXPECT_EQ(large, small + 999);
}

TEST_F(ObjectTest, NestedTemplateComesBack) {
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_ATTRIBUTE inner[] = {{CKA_CLASS, &secret, sizeof secret}};
  T attributes;
  attributes.Raw(CKA_WRAP_TEMPLATE,
                 Bytes(reinterpret_cast<std::uint8_t*>(inner), reinterpret_cast<std::uint8_t*>(inner) + sizeof inner));
  const auto key = GenerateAes(32, attributes);
  ASSERT_EQ(rv, CKR_OK);
  CK_OBJECT_CLASS value = 0;
  CK_ATTRIBUTE slot[] = {{0, &value, sizeof value}};
  CK_ATTRIBUTE wanted{CKA_WRAP_TEMPLATE, nullptr, 0};
  ASSERT_EQ(f->C_GetAttributeValue(session, key, &wanted, 1), CKR_OK);
  ASSERT_EQ(wanted.ulValueLen, sizeof slot);
  wanted.pValue = slot;
  ASSERT_EQ(f->C_GetAttributeValue(session, key, &wanted, 1), CKR_OK);
  EXPECT_EQ(slot[0].type, CKA_CLASS);
  EXPECT_EQ(value, CKO_SECRET_KEY);
}

}  // namespace
}  // namespace cmkd::sim
