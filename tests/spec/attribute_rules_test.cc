// Attribute rules by example: what the standard's prose says beyond its footnotes, the templates of real programs, and
// the attacks of the security catalogue that begin with a template.
#include "pkcs11/spec/attribute_rules.h"

#include <gtest/gtest.h>

#include "pkcs11/spec/template_codec.h"
#include "pkcs11/spec/vendor.h"
#include "tests/spec/sample_objects.h"

namespace cmkd::spec::test {
namespace {

constexpr Kind kAes{CKO_SECRET_KEY, CKK_AES, "AES"};
constexpr Kind kGeneric{CKO_SECRET_KEY, CKK_GENERIC_SECRET, "generic"};
constexpr Kind kPublicRsa{CKO_PUBLIC_KEY, CKK_RSA, "public RSA"};
constexpr Kind kPrivateRsa{CKO_PRIVATE_KEY, CKK_RSA, "private RSA"};
constexpr Kind kPublicEc{CKO_PUBLIC_KEY, CKK_EC, "public EC"};
constexpr Kind kPrivateEc{CKO_PRIVATE_KEY, CKK_EC, "private EC"};
constexpr Kind kCertificate{CKO_CERTIFICATE, CKC_X_509, "certificate"};

Status CheckSet(const Attributes& object, const Kind& kind, const TemplateBuilder& change, bool so = false,
                Profile profile = Profile::kGeneral) {
  TemplateContext context = ContextOf(kind, Verb::kSet, profile, so);
  context.current = &object;
  return CheckTemplate(context, change);
}

Status CheckCopy(const Attributes& object, const Kind& kind, const TemplateBuilder& change,
                 Profile profile = Profile::kGeneral) {
  TemplateContext context = ContextOf(kind, Verb::kCopy, profile);
  context.current = &object;
  return CheckTemplate(context, change);
}

// An AES key as C_GenerateKey makes it, with what the test adds.
Attributes Generated(const TemplateBuilder& builder, Profile profile = Profile::kGeneral, const Kind& kind = kAes) {
  return Complete(ContextOf(kind, Verb::kGenerate, profile), builder, CKM_AES_KEY_GEN);
}

CK_RV CheckManaged(const TemplateBuilder& builder) {
  return RvOf(CheckSeparation(Profile::kManaged, Generated(builder, Profile::kManaged)));
}

// Templates as such

TEST(Template, WithoutAClassOrTypeIsIncomplete) {
  TemplateBuilder builder;
  builder.Bool(CKA_TOKEN, true);
  const auto kind = DescribeTemplate(builder);
  ASSERT_TRUE(kind.ok());
  EXPECT_EQ(kind->object_class, CK_UNAVAILABLE_INFORMATION);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            CheckTemplate({.verb = Verb::kCreate, .object_class = kind->object_class}, builder));
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, CheckTemplate({.verb = Verb::kCreate, .object_class = CKO_SECRET_KEY}, builder));
}

TEST(Template, OfAClassOrTypeThatIsNotKeptIsRefused) {
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate({.verb = Verb::kCreate, .object_class = CKO_HW_FEATURE}, {}));
  for (const CK_OBJECT_CLASS own : {CKO_PROFILE, CKO_MECHANISM, CKO_VALIDATION})
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate({.verb = Verb::kCreate, .object_class = own}, {}));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
            CheckTemplate(ContextOf({CKO_DOMAIN_PARAMETERS, CKK_RSA, ""}, Verb::kCreate), {}));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf({CKO_SECRET_KEY, CKK_RC4, ""}, Verb::kCreate), {}));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf({CKO_CERTIFICATE, CKC_WTLS, ""}, Verb::kCreate), {}));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf({CKO_SECRET_KEY, CKK_RSA, ""}, Verb::kCreate), {}));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kCertificate, Verb::kUnwrap), {}));
}

// The limits of a key are the simulated device's; a token of the daemon's does not promise what it would not keep.
TEST(Template, TheDevicesLimitsAreNoOneElses) {
  for (const CK_ATTRIBUTE_TYPE limit :
       {CKA_CMKD_LIMIT_USES, CKA_CMKD_LIMIT_BYTES, CKA_CMKD_LIMIT_SECONDS, CKA_CMKD_USES_PER_LOGIN}) {
    TemplateBuilder builder;
    AddRequired(builder, kAes, Verb::kGenerate);
    builder.Ulong(limit, 5);
    EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
  }
}

TEST(Template, DescribesItselfByClassAndType) {
  TemplateBuilder builder;
  AddRequired(builder, kCertificate, Verb::kCreate);
  const auto kind = DescribeTemplate(builder);
  ASSERT_TRUE(kind.ok());
  EXPECT_EQ(kind->object_class, CKO_CERTIFICATE);
  EXPECT_EQ(kind->key_type, CKC_X_509);
  builder.Ulong(CKA_CLASS, CKO_DATA);
  EXPECT_EQ(DescribeTemplate(builder).error().rv, CKR_TEMPLATE_INCONSISTENT);
  TemplateBuilder short_class;
  short_class.Value(CKA_CLASS, Bytes(4));
  EXPECT_EQ(DescribeTemplate(short_class).error().rv, CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST(Template, MayRepeatAnAttributeButNotContradictItself) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_SENSITIVE, true).Bool(CKA_SENSITIVE, true);
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
  builder.Bool(CKA_SENSITIVE, false);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
}

TEST(Template, WithAnUnknownAttributeIsRefused) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_VENDOR_DEFINED | 0x1234, true);
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
  TemplateBuilder flagged;  // the array flag on a scalar
  flagged.Ulong(CKA_VALUE_LEN, 32).Bool(CKF_ARRAY_ATTRIBUTE | CKA_SENSITIVE, true);
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kGenerate), flagged));
}

TEST(Template, WithMoreAttributesThanAnyObjectHasIsRefused) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32);
  for (std::size_t i = 0; i < kTemplateCountMax; ++i) builder.Bool(CKA_TOKEN, true);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
}

TEST(Template, CannotBeOfAnotherClassOrTypeThanTheMechanismMakes) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
}

TEST(NestedTemplate, OfKnownAttributesIsTakenAndKeptFlat) {
  TemplateBuilder inside, builder;
  inside.Bool(CKA_SENSITIVE, true);
  builder.Ulong(CKA_VALUE_LEN, 32).Nested(CKA_UNWRAP_TEMPLATE, inside);
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
  EXPECT_EQ(*Generated(builder).Find(CKA_UNWRAP_TEMPLATE), *EncodeTemplate(inside));
}

TEST(NestedTemplate, WithUnknownOrMalformedAttributesIsRefused) {
  TemplateBuilder unknown, malformed, with_unknown, with_malformed;
  unknown.Bool(CKA_VENDOR_DEFINED | 1, true);
  malformed.Value(CKA_SENSITIVE, Bytes{2});
  with_unknown.Ulong(CKA_VALUE_LEN, 32).Nested(CKA_WRAP_TEMPLATE, unknown);
  with_malformed.Ulong(CKA_VALUE_LEN, 32).Nested(CKA_WRAP_TEMPLATE, malformed);
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kGenerate), with_unknown));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kGenerate), with_malformed));
}

TEST(NestedTemplate, ThatContainsItselfIsRefusedInBoundedTime) {
  CK_ATTRIBUTE self{CKA_WRAP_TEMPLATE, &self, sizeof self};
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Raw(self);
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder));
}

// Values

TEST(AesKey, Has16Or24Or32Bytes) {
  for (std::size_t bytes = 0; bytes <= 64; ++bytes) {
    const bool good = bytes == 16 || bytes == 24 || bytes == 32;
    TemplateBuilder created, generated;
    created.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Value(CKA_VALUE, Bytes(bytes));
    generated.Ulong(CKA_VALUE_LEN, bytes);
    EXPECT_RV(good ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kAes, Verb::kCreate), created))
        << bytes;
    EXPECT_RV(good ? CKR_OK : CKR_KEY_SIZE_RANGE, CheckTemplate(ContextOf(kAes, Verb::kGenerate), generated)) << bytes;
  }
}

TEST(GenericSecret, HasAnyLengthFromOneByteUp) {
  for (const auto& [bytes, rv] : {std::pair{0UL, CKR_KEY_SIZE_RANGE},
                                  {1UL, CKR_OK},
                                  {4096UL, CKR_OK},
                                  {4097UL, CKR_KEY_SIZE_RANGE},
                                  {~0UL, CKR_KEY_SIZE_RANGE}}) {
    TemplateBuilder builder;
    builder.Ulong(CKA_VALUE_LEN, bytes);
    EXPECT_RV(rv, CheckTemplate(ContextOf(kGeneric, Verb::kGenerate), builder)) << bytes;
  }
}

TEST(RsaKey, IsMadeWith2048To8192BitsAndAnExponentFrom65537) {
  const auto check = [](CK_ULONG bits, const Bytes& exponent) {
    TemplateBuilder builder;
    builder.Ulong(CKA_MODULUS_BITS, bits).Value(CKA_PUBLIC_EXPONENT, exponent);
    return CheckTemplate(ContextOf(kPublicRsa, Verb::kGenerate), builder);
  };
  EXPECT_RV(CKR_OK, check(2048, {1, 0, 1}));
  EXPECT_RV(CKR_OK, check(8192, {0, 1, 0, 1}));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, check(1024, {1, 0, 1}));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, check(8193, {1, 0, 1}));
  for (const Bytes& exponent : {Bytes{}, Bytes{0}, Bytes{1}, Bytes{3}, Bytes{1, 0, 0}, Bytes(33, 0xff)}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, check(2048, exponent));
  }
}

TEST(RsaKey, MadeWithoutAnExponentHas65537) {
  TemplateBuilder builder;
  builder.Ulong(CKA_MODULUS_BITS, 2048);
  EXPECT_EQ(*Generated(builder, Profile::kGeneral, kPublicRsa).Find(CKA_PUBLIC_EXPONENT), (Bytes{1, 0, 1}));
}

TEST(RsaKey, ThatIsImportedHasAnOddModulusAndExponent) {
  TemplateBuilder builder;
  AddRequired(builder, kPublicRsa, Verb::kCreate);
  builder.Remove(CKA_PUBLIC_EXPONENT);
  builder.Value(CKA_PUBLIC_EXPONENT, Bytes{3});
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kPublicRsa, Verb::kCreate), builder)) << "old certificates have such keys";
  EXPECT_EQ(Complete(ContextOf(kPublicRsa, Verb::kCreate), builder).Ulong(CKA_MODULUS_BITS), 2048u);
  builder.Remove(CKA_MODULUS);
  builder.Value(CKA_MODULUS, Bytes(256, 0xfe));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kPublicRsa, Verb::kCreate), builder));
}

TEST(EcKey, IsOnACurveOfItsKeyType) {
  const auto check = [](std::string_view curve) {
    TemplateBuilder builder;
    builder.Value(CKA_EC_PARAMS, curve.empty() ? ByteView{} : AsBytes(FindCurveByName(curve)->oid));
    return CheckTemplate(ContextOf(kPublicEc, Verb::kGenerate), builder);
  };
  EXPECT_RV(CKR_OK, check("P-384"));
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, check("Ed25519"));
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, check(""));
}

TEST(Dates, AreDatesOrEmptyAndInOrder) {
  const auto check = [](std::string_view start, std::string_view end) {
    TemplateBuilder builder;
    builder.Ulong(CKA_VALUE_LEN, 32).Text(CKA_START_DATE, start).Text(CKA_END_DATE, end);
    return CheckTemplate(ContextOf(kAes, Verb::kGenerate), builder);
  };
  EXPECT_RV(CKR_OK, check("", ""));
  EXPECT_RV(CKR_OK, check("20300101", "20300101"));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, check("20300102", "20300101"));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, check("20301301", ""));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, check("20300100", ""));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, check("2030-1-1", ""));
}

TEST(Certificate, IsKeptHereOrElsewhereWithItsHashes) {
  const auto check = [](std::string_view value, std::string_view url, std::string_view hashes) {
    TemplateBuilder builder;
    builder.Ulong(CKA_CLASS, CKO_CERTIFICATE)
        .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
        .Text(CKA_SUBJECT, "s")
        .Text(CKA_VALUE, value);
    builder.Text(CKA_URL, url).Text(CKA_HASH_OF_SUBJECT_PUBLIC_KEY, hashes).Text(CKA_HASH_OF_ISSUER_PUBLIC_KEY, hashes);
    return CheckTemplate(ContextOf(kCertificate, Verb::kCreate), builder);
  };
  EXPECT_RV(CKR_OK, check("der", "", ""));
  EXPECT_RV(CKR_OK, check("", "https://example.net/c.der", "hash"));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, check("", "", ""));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, check("", "https://example.net/c.der", ""));
}

TEST(Certificate, ThatIsTrustedIsChangedByTheSecurityOfficerOnly) {
  Attributes certificate = SampleObject(kCertificate);
  certificate.SetBool(CKA_TRUSTED, true);
  TemplateBuilder label;
  label.Text(CKA_LABEL, "other");
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(certificate, kCertificate, label));
  EXPECT_RV(CKR_OK, CheckSet(certificate, kCertificate, label, true));
}

TEST(AlwaysAuthenticate, NeedsAPrivateObject) {
  TemplateBuilder builder;
  builder.Bool(CKA_ALWAYS_AUTHENTICATE, true);
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kPrivateRsa, Verb::kGenerate), builder));
  builder.Bool(CKA_PRIVATE, false);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kPrivateRsa, Verb::kGenerate), builder));
}

TEST(ValueLen, MayComeWithTheValueThatItFits) {
  TemplateBuilder builder;
  AddRequired(builder, kAes, Verb::kCreate);
  builder.Ulong(CKA_VALUE_LEN, 32);
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kCreate), builder));
  builder.Remove(CKA_VALUE_LEN);
  builder.Ulong(CKA_VALUE_LEN, 16);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kCreate), builder));
}

// Defaults

TEST(GeneratedKey, IsSensitiveUnextractablePrivateAndLocal) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32);
  const Attributes key = Generated(builder);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_SENSITIVE, CKA_PRIVATE, CKA_LOCAL, CKA_ALWAYS_SENSITIVE,
                                       CKA_NEVER_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE}) {
    EXPECT_TRUE(key.Bool(type)) << FindAttribute(type)->name;
  }
  EXPECT_FALSE(key.Bool(CKA_EXTRACTABLE, true));
  EXPECT_FALSE(key.Bool(CKA_TOKEN, true));
  EXPECT_EQ(key.Ulong(CKA_KEY_GEN_MECHANISM), CKM_AES_KEY_GEN);
  EXPECT_FALSE(key.Has(CKA_UNIQUE_ID)) << "the daemon gives it";
}

TEST(GeneratedKey, ThatMayBeReadOrLeaveHasNoCleanHistory) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  const Attributes key = Generated(builder);
  EXPECT_FALSE(key.Bool(CKA_ALWAYS_SENSITIVE, true));
  EXPECT_FALSE(key.Bool(CKA_NEVER_EXTRACTABLE, true));
}

TEST(CreatedKey, IsNotLocalAndHasNoCleanHistory) {
  const Attributes key = SampleObject(kPrivateRsa);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    EXPECT_FALSE(key.Bool(type, true)) << FindAttribute(type)->name;
  }
  EXPECT_EQ(key.Ulong(CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
  EXPECT_TRUE(key.Bool(CKA_SENSITIVE));
  EXPECT_FALSE(key.Bool(CKA_EXTRACTABLE, true));
}

// SunPKCS11 makes a session object of a SecretKeySpec and wraps or reads it afterwards.
TEST(CreatedSecret, OfASessionMayLeaveAgainAndOneOfTheTokenMayNot) {
  TemplateBuilder builder;
  AddRequired(builder, kAes, Verb::kCreate);
  const Attributes session = Complete(ContextOf(kAes, Verb::kCreate), builder);
  EXPECT_FALSE(session.Bool(CKA_SENSITIVE, true));
  EXPECT_TRUE(session.Bool(CKA_EXTRACTABLE));
  EXPECT_EQ(session.Ulong(CKA_VALUE_LEN), 32u);
  builder.Bool(CKA_TOKEN, true);
  const Attributes token = Complete(ContextOf(kAes, Verb::kCreate), builder);
  EXPECT_TRUE(token.Bool(CKA_SENSITIVE));
  EXPECT_FALSE(token.Bool(CKA_EXTRACTABLE, true));
}

TEST(Usages, AreAllOfTheKeyTypeWhenNoneIsAskedFor) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_DERIVE, false);
  const Attributes key = Generated(builder);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP}) {
    EXPECT_TRUE(key.Bool(type)) << FindAttribute(type)->name;
  }
  EXPECT_FALSE(key.Bool(CKA_DERIVE, true));
}

TEST(Usages, OfAManagedKeyAreOnlyThoseAskedForWhenAnyIs) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_ENCRYPT, true);
  const Attributes key = Generated(builder, Profile::kManaged);
  EXPECT_TRUE(key.Bool(CKA_ENCRYPT));
  EXPECT_FALSE(key.Bool(CKA_DECRYPT, true));
  EXPECT_FALSE(key.Bool(CKA_WRAP, true));
}

// pkcs11-tool asks for decryption and then unwraps with the key.
TEST(Usages, OfAGeneralKeyAreAllThatTheTemplateDoesNotRefuse) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_DECRYPT, true).Bool(CKA_WRAP, false);
  const Attributes key = Generated(builder);
  EXPECT_TRUE(key.Bool(CKA_DECRYPT) && key.Bool(CKA_UNWRAP));
  EXPECT_FALSE(key.Bool(CKA_WRAP, true));
}

TEST(Usages, OfTheHalvesOfAPairAreThoseThatTheirSideHas) {
  TemplateBuilder rsa, ec;
  rsa.Ulong(CKA_MODULUS_BITS, 2048);
  const Attributes public_rsa = Generated(rsa, Profile::kGeneral, kPublicRsa);
  EXPECT_TRUE(public_rsa.Bool(CKA_ENCRYPT) && public_rsa.Bool(CKA_VERIFY) && public_rsa.Bool(CKA_WRAP));
  EXPECT_FALSE(public_rsa.Has(CKA_DECRYPT));
  const Attributes private_ec = Generated(ec, Profile::kGeneral, kPrivateEc);
  EXPECT_TRUE(private_ec.Bool(CKA_SIGN) && private_ec.Bool(CKA_DERIVE));
  EXPECT_FALSE(private_ec.Bool(CKA_DECRYPT, true));
}

TEST(Usages, OfAManagedKeyThatAsksForNoneAreTheOneItsTypeIsMadeFor) {
  TemplateBuilder aes, rsa, ec;
  aes.Ulong(CKA_VALUE_LEN, 32);
  EXPECT_EQ(UsagesOf(Generated(aes, Profile::kManaged)), kUsesCipher);
  EXPECT_EQ(UsagesOf(Generated(aes, Profile::kManaged, kGeneric)), kUsesSign);
  EXPECT_EQ(UsagesOf(Generated(rsa, Profile::kManaged, kPrivateRsa)), kUsesSign);
  EXPECT_EQ(UsagesOf(Generated(ec, Profile::kManaged, kPrivateEc)), kUsesSign);
  EXPECT_EQ(UsagesOf(Generated(ec, Profile::kManaged, {CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, ""})), kUsesDerive);
  const TemplateBuilder nothing;
  EXPECT_EQ(UsagesOf(Generated(nothing, Profile::kManaged, {CKO_SECRET_KEY, CKK_CHACHA20, ""})), kUsesCipher);
  EXPECT_EQ(UsagesOf(Generated(nothing, Profile::kManaged, {CKO_SECRET_KEY, CKK_SM4, ""})), kUsesCipher);
}

TEST(Usages, OfAManagedHalfFollowTheOtherHalf) {
  TemplateBuilder decrypting, silent;
  decrypting.Bool(CKA_DECRYPT, true);
  TemplateContext context = ContextOf(kPublicRsa, Verb::kGenerate, Profile::kManaged);
  context.partner = decrypting;
  const Attributes public_key = Complete(context, silent, CKM_RSA_PKCS_KEY_PAIR_GEN);
  EXPECT_TRUE(public_key.Bool(CKA_ENCRYPT));
  EXPECT_FALSE(public_key.Bool(CKA_VERIFY, true));
  const Attributes private_key = Generated(decrypting, Profile::kManaged, kPrivateRsa);
  EXPECT_RV(CKR_OK, CheckPairSeparation(Profile::kManaged, public_key, private_key));
}

TEST(EmptyValues, OfWhatAnObjectNeedNotHaveSayNothing) {
  TemplateBuilder builder;
  AddRequired(builder, kPrivateRsa, Verb::kCreate);
  builder.Value(CKA_PRIME_1, {})
      .Value(CKA_PUBLIC_KEY_INFO, {})
      .Value(CKA_ALLOWED_MECHANISMS, {})
      .Value(CKA_SUBJECT, {});
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kPrivateRsa, Verb::kCreate), builder));
  const Attributes key = Complete(ContextOf(kPrivateRsa, Verb::kCreate), builder);
  EXPECT_FALSE(key.Has(CKA_PRIME_1));
  EXPECT_FALSE(key.Has(CKA_ALLOWED_MECHANISMS));
  EXPECT_TRUE(key.Has(CKA_SUBJECT));
}

TEST(DerivedKey, InheritsItsHistoryFromTheBase) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32);
  TemplateContext context = ContextOf(kAes, Verb::kDerive);
  EXPECT_FALSE(Complete(context, builder).Bool(CKA_ALWAYS_SENSITIVE, true)) << "of a base that nobody knows";
  const Attributes base = Generated(builder, Profile::kGeneral, kPrivateEc);
  context.current = &base;
  const Attributes key = Complete(context, builder);
  EXPECT_TRUE(key.Bool(CKA_ALWAYS_SENSITIVE));
  EXPECT_TRUE(key.Bool(CKA_NEVER_EXTRACTABLE));
  EXPECT_FALSE(key.Bool(CKA_LOCAL, true));
}

TEST(Copy, KeepsHistoryAndLosesIdentity) {
  TemplateBuilder builder, change;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_EXTRACTABLE, true);
  Attributes key = Generated(builder);
  key.SetText(CKA_UNIQUE_ID, "id");
  key.SetText(CKA_CMKD_STATE, "Enabled");
  change.Bool(CKA_EXTRACTABLE, false).Bool(CKA_TOKEN, true).Text(CKA_ID, "new");
  EXPECT_RV(CKR_OK, CheckCopy(key, kAes, change));
  TemplateContext context = ContextOf(kAes, Verb::kCopy);
  context.current = &key;
  const Attributes copy = Complete(context, change);
  EXPECT_FALSE(copy.Has(CKA_UNIQUE_ID) || copy.Has(CKA_CMKD_STATE));
  EXPECT_TRUE(copy.Bool(CKA_TOKEN) && copy.Bool(CKA_LOCAL));
  EXPECT_FALSE(copy.Bool(CKA_EXTRACTABLE, true) || copy.Bool(CKA_NEVER_EXTRACTABLE, true));
}

TEST(GivenAttributes, ThatTheTokenComputesMustBeWhatItComputed) {
  Attributes computed = SampleObject(kAes);
  computed.Set(CKA_CHECK_VALUE, Bytes{1, 2, 3});
  TemplateBuilder right, wrong, empty;
  right.Value(CKA_CHECK_VALUE, Bytes{1, 2, 3}).Bool(CKA_SENSITIVE, false);
  wrong.Value(CKA_CHECK_VALUE, Bytes{1, 2, 4});
  empty.Value(CKA_CHECK_VALUE, {});
  EXPECT_RV(CKR_OK, CheckAgainstMaterial(right, computed));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckAgainstMaterial(wrong, computed));
  EXPECT_RV(CKR_OK, CheckAgainstMaterial(empty, computed));
  EXPECT_FALSE(Complete(ContextOf(kAes, Verb::kCreate), wrong).Has(CKA_CHECK_VALUE)) << "a claim is not kept";
}

TEST(GivenAttributes, MayHaveThePointOfAPrivateKeyInEitherForm) {
  Attributes computed = SampleObject(kPrivateEc);
  const Curve& curve = *FindCurve(computed.View(CKA_EC_PARAMS));
  Bytes bare(curve.point_bytes, 7);
  Bytes der{0x04, static_cast<std::uint8_t>(bare.size())};
  der.insert(der.end(), bare.begin(), bare.end());
  computed.Set(CKA_EC_POINT, der);
  TemplateBuilder as_bare, other;
  as_bare.Value(CKA_EC_POINT, bare);
  bare[5] = 8;
  other.Value(CKA_EC_POINT, bare);
  EXPECT_RV(CKR_OK, CheckAgainstMaterial(as_bare, computed));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckAgainstMaterial(other, computed));
}

TEST(CheckValue, CanBeTakenAwayAndNothingElse) {
  Attributes key = SampleObject(kAes);
  key.Set(CKA_CHECK_VALUE, Bytes{1, 2, 3});
  TemplateBuilder nothing, other;
  nothing.Value(CKA_CHECK_VALUE, {});
  other.Value(CKA_CHECK_VALUE, Bytes{3, 2, 1});
  EXPECT_RV(CKR_OK, CheckSet(key, kAes, nothing));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(key, kAes, other));
}

// Finding and destroying

TEST(Search, NeverMatchesASecretPart) {
  TemplateBuilder builder, guess, label;
  AddRequired(builder, kAes, Verb::kCreate);
  builder.Bool(CKA_SENSITIVE, true).Text(CKA_LABEL, "name");
  Attributes key = Complete(ContextOf(kAes, Verb::kCreate), builder);
  guess.Value(CKA_VALUE, Bytes(32, 'x'));
  label.Text(CKA_LABEL, "name");
  EXPECT_TRUE(FoundBy(key, label));
  EXPECT_TRUE(key.Matches(guess));
  EXPECT_FALSE(FoundBy(key, guess));
  key.SetBool(CKA_SENSITIVE, false);
  EXPECT_TRUE(FoundBy(key, guess));
}

TEST(MayReveal, HidesWhateverIsHiddenAnywhereOnObjectsThatDoNotSayWhatTheyAre) {
  const Attributes nothing;
  EXPECT_FALSE(MayReveal(nothing, CKA_VALUE));
  EXPECT_FALSE(MayReveal(nothing, CKA_PRIVATE_EXPONENT));
  EXPECT_TRUE(MayReveal(nothing, CKA_LABEL));
}

TEST(Destroying, IsProhibitedByTheObject) {
  Attributes object = SampleObject(kAes);
  EXPECT_RV(CKR_OK, CheckDestroy(object));
  object.SetBool(CKA_DESTROYABLE, false);
  EXPECT_RV(CKR_ACTION_PROHIBITED, CheckDestroy(object));
}

// The catalogue, group A: separation. Each is refused on a managed token and taken on a general one.

TEST(WrapAndDecrypt, WithOneKeyIsRefused) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_WRAP, true).Bool(CKA_DECRYPT, true);
  EXPECT_EQ(CheckManaged(builder), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV(CKR_OK, CheckSeparation(Profile::kGeneral, Generated(builder)));
}

TEST(EncryptAndUnwrap, WithOneKeyIsRefused) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_ENCRYPT, true).Bool(CKA_UNWRAP, true);
  EXPECT_EQ(CheckManaged(builder), CKR_TEMPLATE_INCONSISTENT);
}

TEST(UsageFlags, CanBeTakenAwayButNotAdded) {
  TemplateBuilder builder, change, copy;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_WRAP, true);
  const Attributes key = Generated(builder, Profile::kManaged);
  change.Bool(CKA_DECRYPT, true);
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(key, kAes, change, false, Profile::kManaged));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(key, kAes, change));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckCopy(key, kAes, change, Profile::kManaged));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckCopy(key, kAes, change));
  copy.Bool(CKA_WRAP, false);
  EXPECT_RV(CKR_OK, CheckCopy(key, kAes, copy, Profile::kManaged));
}

TEST(UnwrappedKey, OfAManagedTokenStaysSensitive) {
  TemplateBuilder builder;
  AddRequired(builder, kAes, Verb::kUnwrap);
  builder.Bool(CKA_SENSITIVE, false);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kUnwrap, Profile::kManaged), builder));
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kUnwrap), builder));
}

TEST(TrojanWrappingKey, OfKnownValueIsRefused) {
  TemplateBuilder secret, public_key;
  AddRequired(secret, kAes, Verb::kCreate);
  secret.Bool(CKA_WRAP, true);
  AddRequired(public_key, kPublicRsa, Verb::kCreate);
  public_key.Bool(CKA_WRAP, true);
  const Attributes known = Complete(ContextOf(kAes, Verb::kCreate, Profile::kManaged), secret);
  const Attributes stranger = Complete(ContextOf(kPublicRsa, Verb::kCreate, Profile::kManaged), public_key);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckSeparation(Profile::kManaged, known));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckSeparation(Profile::kManaged, stranger));
}

TEST(KeyPair, ThatWrapsOneWayAndDecryptsTheOtherIsRefused) {
  TemplateBuilder wrapping, decrypting, unwrapping;
  wrapping.Ulong(CKA_MODULUS_BITS, 2048).Bool(CKA_WRAP, true);
  decrypting.Bool(CKA_DECRYPT, true);
  unwrapping.Bool(CKA_UNWRAP, true);
  const Attributes public_key = Generated(wrapping, Profile::kManaged, kPublicRsa);
  const Attributes decryptor = Generated(decrypting, Profile::kManaged, kPrivateRsa);
  const Attributes unwrapper = Generated(unwrapping, Profile::kManaged, kPrivateRsa);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckPairSeparation(Profile::kManaged, public_key, decryptor));
  EXPECT_RV(CKR_OK, CheckPairSeparation(Profile::kGeneral, public_key, decryptor));
  EXPECT_RV(CKR_OK, CheckPairSeparation(Profile::kManaged, public_key, unwrapper));
}

TEST(ManagedTokenKey, IsSensitiveAndNeverExtractable) {
  TemplateBuilder extractable, readable, session;
  extractable.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_TOKEN, true).Bool(CKA_EXTRACTABLE, true);
  readable.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_TOKEN, true).Bool(CKA_SENSITIVE, false);
  session.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_EXTRACTABLE, true);
  EXPECT_EQ(CheckManaged(extractable), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(CheckManaged(readable), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(CheckManaged(session), CKR_OK) << "a data key leaves wrapped";
}

TEST(ManagedToken, TakesNoKeyInTheClear) {
  TemplateBuilder token, session;
  AddRequired(token, kAes, Verb::kCreate);
  token.Bool(CKA_TOKEN, true);
  AddRequired(session, kAes, Verb::kCreate);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(ContextOf(kAes, Verb::kCreate, Profile::kManaged), token));
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kCreate, Profile::kManaged), session));
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kCreate), token));
}

TEST(Trust, IsOnlyForManagedKeysMadeHereThatNeverCouldLeave) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_WRAP, true).Bool(CKA_TRUSTED, true);
  EXPECT_EQ(CheckManaged(builder), CKR_OK);
  builder.Bool(CKA_EXTRACTABLE, true);
  EXPECT_EQ(CheckManaged(builder), CKR_TEMPLATE_INCONSISTENT);
}

TEST(History, ThatContradictsTheFlagsIsRefused) {
  TemplateBuilder builder;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_EXTRACTABLE, true);
  Attributes key = Generated(builder, Profile::kManaged);
  EXPECT_RV(CKR_OK, CheckSeparation(Profile::kManaged, key));
  key.SetBool(CKA_NEVER_EXTRACTABLE, true);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckSeparation(Profile::kManaged, key));
  key.SetBool(CKA_NEVER_EXTRACTABLE, false);
  key.SetBool(CKA_SENSITIVE, false);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckSeparation(Profile::kManaged, key))
      << "CKA_ALWAYS_SENSITIVE still claims it was";
}

TEST(DerivedKey, OnAManagedTokenIsNotWeakerThanItsBase) {
  TemplateBuilder base_builder, readable, extractable, plain;
  base_builder.Bool(CKA_DERIVE, true);
  const Attributes base = Generated(base_builder, Profile::kManaged, kPrivateEc);
  TemplateContext context = ContextOf(kAes, Verb::kDerive, Profile::kManaged);
  context.current = &base;
  readable.Bool(CKA_SENSITIVE, false).Ulong(CKA_VALUE_LEN, 32);
  extractable.Bool(CKA_EXTRACTABLE, true).Ulong(CKA_VALUE_LEN, 32);
  plain.Ulong(CKA_VALUE_LEN, 32);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(context, readable));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CheckTemplate(context, extractable));
  EXPECT_RV(CKR_OK, CheckTemplate(context, plain));
  context.profile = Profile::kGeneral;
  EXPECT_RV(CKR_OK, CheckTemplate(context, readable));
}

// Templates that keys prescribe

TEST(UnwrapTemplate, CannotBeContradicted) {
  TemplateBuilder forced, agreeing, contradicting;
  forced.Bool(CKA_SENSITIVE, true).Bool(CKA_WRAP, false);
  agreeing.Bool(CKA_SENSITIVE, true).Text(CKA_LABEL, "name");
  contradicting.Bool(CKA_SENSITIVE, false);
  const Bytes flat = *EncodeTemplate(forced);
  const auto merged = MergeForced(flat, agreeing);
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(merged->size(), 3u);
  EXPECT_FALSE(merged->Bool(CKA_WRAP, true));
  EXPECT_EQ(MergeForced(flat, contradicting).error().rv, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(MergeForced({}, agreeing)->size(), 2u);
}

TEST(WrapTemplate, IsMatchedByEveryAttributeAndEveryKindOfValue) {
  TemplateBuilder key_builder, right, wrong_bool, wrong_bytes, absent;
  key_builder.Ulong(CKA_VALUE_LEN, 32).Text(CKA_ID, "id").Bool(CKA_EXTRACTABLE, true);
  const Attributes key = Generated(key_builder);
  right.Bool(CKA_EXTRACTABLE, true).Text(CKA_ID, "id").Ulong(CKA_KEY_TYPE, CKK_AES);
  wrong_bool.Bool(CKA_EXTRACTABLE, false);
  wrong_bytes.Text(CKA_ID, "other");
  absent.Text(CKA_UNIQUE_ID, "id");
  EXPECT_TRUE(MatchesFlatTemplate({}, key));
  EXPECT_TRUE(MatchesFlatTemplate(*EncodeTemplate(right), key));
  EXPECT_FALSE(MatchesFlatTemplate(*EncodeTemplate(wrong_bool), key));
  EXPECT_FALSE(MatchesFlatTemplate(*EncodeTemplate(wrong_bytes), key));
  EXPECT_FALSE(MatchesFlatTemplate(*EncodeTemplate(absent), key));
  EXPECT_FALSE(MatchesFlatTemplate(Bytes{1, 2, 3}, key)) << "what cannot be read matches nothing";
}

// Templates as real programs send them

TEST(Pkcs11Tool, MakesAnRsaPair) {
  TemplateBuilder public_key, private_key;
  public_key.Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
      .Bool(CKA_TOKEN, true)
      .Ulong(CKA_MODULUS_BITS, 2048)
      .Value(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
  public_key.Bool(CKA_VERIFY, true).Bool(CKA_ENCRYPT, true).Text(CKA_LABEL, "r").Text(CKA_ID, "a1");
  private_key.Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, true).Bool(CKA_SENSITIVE, true);
  private_key.Bool(CKA_SIGN, true).Bool(CKA_DECRYPT, true).Text(CKA_LABEL, "r").Text(CKA_ID, "a1");
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kPublicRsa, Verb::kGenerate), public_key));
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kPrivateRsa, Verb::kGenerate), private_key));
}

TEST(Pkcs11Tool, UnwrapsAnAesKeyThatMayLeave) {
  TemplateBuilder builder;
  builder.Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_AES)
      .Bool(CKA_TOKEN, true)
      .Bool(CKA_EXTRACTABLE, true);
  builder.Ulong(CKA_VALUE_LEN, 32).Text(CKA_LABEL, "u").Text(CKA_ID, "ac");
  EXPECT_RV(CKR_OK, CheckTemplate(ContextOf(kAes, Verb::kUnwrap), builder));
}

TEST(SunPkcs11, CopiesASessionKeyToTheToken) {
  TemplateBuilder session, change;
  AddRequired(session, kAes, Verb::kCreate);
  const Attributes key = Complete(ContextOf(kAes, Verb::kCreate), session);
  change.Bool(CKA_TOKEN, true).Text(CKA_ID, "alias").Text(CKA_LABEL, "alias").Ulong(CKA_CLASS, CKO_SECRET_KEY);
  EXPECT_RV(CKR_OK, CheckCopy(key, kAes, change));
}

TEST(Nss, CopiesWithAnEmptyTemplate) { EXPECT_RV(CKR_OK, CheckCopy(SampleObject(kPrivateRsa), kPrivateRsa, {})); }

TEST(Nss, SetsTheIdAfterGeneration) {
  TemplateBuilder change;
  change.Text(CKA_ID, "sha1 of the modulus");
  EXPECT_RV(CKR_OK, CheckSet(SampleObject(kPrivateRsa), kPrivateRsa, change));
  EXPECT_RV(CKR_OK, CheckSet(SampleObject(kCertificate), kCertificate, change));
}

TEST(AllowedMechanisms, AreNeitherWidenedNorTakenAwayLater) {
  TemplateBuilder builder, wider, none;
  const CK_MECHANISM_TYPE two[] = {CKM_AES_GCM, CKM_AES_CBC};
  builder.Ulong(CKA_VALUE_LEN, 32).Ulong(CKA_ALLOWED_MECHANISMS, CKM_AES_GCM);
  wider.Value(CKA_ALLOWED_MECHANISMS, {reinterpret_cast<const std::uint8_t*>(two), sizeof two});
  none.Value(CKA_ALLOWED_MECHANISMS, {});
  const Attributes key = Generated(builder);
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(key, kAes, wider));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckCopy(key, kAes, wider));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckCopy(key, kAes, none));
}

TEST(WrapWithTrusted, IsNeverTakenBack) {
  TemplateBuilder builder, off;
  builder.Ulong(CKA_VALUE_LEN, 32).Bool(CKA_EXTRACTABLE, true).Bool(CKA_WRAP_WITH_TRUSTED, true);
  off.Bool(CKA_WRAP_WITH_TRUSTED, false);
  const Attributes key = Generated(builder);
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckSet(key, kAes, off));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CheckCopy(key, kAes, off));
}

}  // namespace
}  // namespace cmkd::spec::test
