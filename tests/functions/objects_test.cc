// Objects that are no keys: the token's own (profiles, mechanisms), trust, domain parameters, and what mechanisms make
// of keys without a secret in it.
#include <openssl/bn.h>

#include <memory>
#include <set>

#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

using Handles = std::vector<CK_OBJECT_HANDLE>;
using BigNumber = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

class ObjectsTest : public CallsTest {
 protected:
  Handles Find(Template wanted) {
    EXPECT_EQ(f_->C_FindObjectsInit(s_, wanted.data(), wanted.size()), CKR_OK);
    Handles all;
    for (CK_ULONG n = 1; n != 0;) {
      CK_OBJECT_HANDLE some[50];
      if (f_->C_FindObjects(s_, some, 50, &n) != CKR_OK) break;
      all.insert(all.end(), some, some + n);
    }
    EXPECT_EQ(f_->C_FindObjectsFinal(s_), CKR_OK);
    return all;
  }
  Bytes Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_RV expected = CKR_OK) {
    Bytes value(1100);
    CK_ATTRIBUTE wanted{type, value.data(), value.size()};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, object, &wanted, 1), expected) << std::hex << type;
    value.resize(wanted.ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : wanted.ulValueLen);
    return value;
  }
  CK_ULONG Number(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    const Bytes value = Get(object, type);
    CK_ULONG number = CK_UNAVAILABLE_INFORMATION;
    if (value.size() == sizeof number) std::memcpy(&number, value.data(), sizeof number);
    return number;
  }
  CK_RV Create(Template t, CK_OBJECT_HANDLE* object = nullptr) {
    CK_OBJECT_HANDLE made = 0;
    const CK_RV rv = f_->C_CreateObject(s_, t.data(), t.size(), &made);
    if (object != nullptr) *object = made;
    return rv;
  }
  CK_RV Set(CK_OBJECT_HANDLE object, Template t) { return f_->C_SetAttributeValue(s_, object, t.data(), t.size()); }
  CK_RV Derive(CK_MECHANISM m, CK_OBJECT_HANDLE base, Template t, CK_OBJECT_HANDLE& made) {
    return f_->C_DeriveKey(s_, &m, base, t.data(), t.size(), &made);
  }
  CK_RV Generate(CK_MECHANISM_TYPE type, Template t, CK_OBJECT_HANDLE& made) {
    CK_MECHANISM m = M(type);
    return f_->C_GenerateKey(s_, &m, t.data(), t.size(), &made);
  }
  // Nothing can be done to it.
  void ExpectFixed(CK_OBJECT_HANDLE object) {
    CK_OBJECT_HANDLE copy = 0;
    Template label = Template().Text(CKA_LABEL, "mine");
    EXPECT_EQ(Set(object, label), CKR_ACTION_PROHIBITED);
    EXPECT_EQ(f_->C_CopyObject(s_, object, nullptr, 0, &copy), CKR_ACTION_PROHIBITED);
    EXPECT_EQ(f_->C_DestroyObject(s_, object), CKR_ACTION_PROHIBITED);
    CK_MECHANISM aes = M(CKM_AES_ECB);
    EXPECT_EQ(f_->C_EncryptInit(s_, &aes, object), CKR_KEY_HANDLE_INVALID);
  }
  CK_RV Trust(Template more, CK_OBJECT_HANDLE* object = nullptr) {
    more.Ulong(CKA_CLASS, CKO_TRUST).Raw(CKA_ISSUER, {0x30, 0x00}).Raw(CKA_SERIAL_NUMBER, {0x02, 0x01, 0x07});
    return Create(std::move(more), object);
  }
};

bool IsPrime(const BIGNUM* number) {
  const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context(BN_CTX_new(), &BN_CTX_free);
  return BN_check_prime(number, context.get(), nullptr) == 1;
}

BigNumber ToNumber(const Bytes& bytes) {
  return {BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr), &BN_free};
}

// g generates the subgroup of order q in the field of p.
void ExpectGroup(const Bytes& prime, const Bytes& subprime, const Bytes& base) {
  const BigNumber p = ToNumber(prime), q = ToNumber(subprime), g = ToNumber(base), rest(BN_new(), &BN_free);
  const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context(BN_CTX_new(), &BN_CTX_free);
  EXPECT_TRUE(IsPrime(p.get()));
  EXPECT_TRUE(IsPrime(q.get()));
  BN_mod(rest.get(), p.get(), q.get(), context.get());
  EXPECT_TRUE(BN_is_one(rest.get())) << "q does not divide p - 1";
  BN_mod_exp(rest.get(), g.get(), q.get(), p.get(), context.get());
  EXPECT_TRUE(BN_is_one(rest.get()) && !BN_is_one(g.get())) << "g has not the order q";
}

// ---- The token's own objects

TEST_F(ObjectsTest, ProfilesAreThoseThatTheTokenImplements) {
  std::set<CK_ULONG> profiles;
  for (const CK_OBJECT_HANDLE object : Find(Template().Ulong(CKA_CLASS, CKO_PROFILE))) {
    profiles.insert(Number(object, CKA_PROFILE_ID));
    EXPECT_EQ(Get(object, CKA_TOKEN), Bytes{CK_TRUE});
    EXPECT_EQ(Get(object, CKA_PRIVATE), Bytes{CK_FALSE});
    ExpectFixed(object);
  }
  std::set<CK_ULONG> expected = {CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER, CKP_AUTHENTICATION_TOKEN,
                                 CKP_PUBLIC_CERTIFICATES_TOKEN};
  if (FlagsOf(CKM_HKDF_DATA) != 0) expected.insert(CKP_HKDF_TLS_TOKEN);
  EXPECT_EQ(profiles, expected);
  EXPECT_EQ(Find(Template().Ulong(CKA_PROFILE_ID, CKP_BASELINE_PROVIDER)).size(), 1u);
  EXPECT_TRUE(Find(Template().Ulong(CKA_PROFILE_ID, CKP_COMPLETE_PROVIDER)).empty());
}

TEST_F(ObjectsTest, EveryMechanismOfTheTokenHasItsObject) {
  CK_ULONG count = 0;
  ASSERT_EQ(f_->C_GetMechanismList(slot_, nullptr, &count), CKR_OK);
  std::vector<CK_MECHANISM_TYPE> listed(count);
  ASSERT_EQ(f_->C_GetMechanismList(slot_, listed.data(), &count), CKR_OK);
  std::set<CK_MECHANISM_TYPE> shown;
  std::set<Bytes> ids;
  const Handles objects = Find(Template().Ulong(CKA_CLASS, CKO_MECHANISM));
  for (const CK_OBJECT_HANDLE object : objects) {
    shown.insert(Number(object, CKA_MECHANISM_TYPE));
    ids.insert(Get(object, CKA_UNIQUE_ID));
  }
  EXPECT_EQ(shown, std::set<CK_MECHANISM_TYPE>(listed.begin(), listed.end()));
  EXPECT_EQ(ids.size(), objects.size());
  ASSERT_FALSE(objects.empty());
  ExpectFixed(objects.front());
  EXPECT_EQ(Find(Template().Raw(CKA_UNIQUE_ID, *ids.begin())).size(), 1u);
  EXPECT_EQ(Find(Template().Ulong(CKA_MECHANISM_TYPE, CKM_RSA_PKCS)).size(), 1u);
  Get(objects.front(), CKA_VALUE, CKR_ATTRIBUTE_TYPE_INVALID);
}

TEST_F(ObjectsTest, AListOfEverythingIsAListOfWhatWasStored) {
  const CK_OBJECT_HANDLE key = Aes();
  const Handles all = Find({});
  EXPECT_NE(std::find(all.begin(), all.end(), key), all.end());
  for (const CK_OBJECT_HANDLE object : all) {
    const CK_ULONG object_class = Number(object, CKA_CLASS);
    EXPECT_NE(object_class, CKO_PROFILE);
    EXPECT_NE(object_class, CKO_MECHANISM);
    EXPECT_NE(object_class, CKO_VALIDATION);
  }
}

TEST_F(ObjectsTest, NobodyHasValidatedTheToken) {
  const Handles validations = Find(Template().Ulong(CKA_CLASS, CKO_VALIDATION));
  ASSERT_EQ(validations.size(), 1u);
  EXPECT_EQ(Number(validations[0], CKA_VALIDATION_TYPE), CKV_TYPE_SOFTWARE);
  EXPECT_EQ(Number(validations[0], CKA_VALIDATION_AUTHORITY_TYPE), CKV_AUTHORITY_TYPE_UNSPECIFIED);
  EXPECT_EQ(Number(validations[0], CKA_VALIDATION_LEVEL), 0u);
  EXPECT_EQ(Number(validations[0], CKA_VALIDATION_FLAG), 0u);
  EXPECT_EQ(Get(validations[0], CKA_VALIDATION_VERSION), Bytes(sizeof(CK_VERSION), 0));
  for (const CK_ATTRIBUTE_TYPE none : {CKA_VALIDATION_CERTIFICATE_IDENTIFIER, CKA_VALIDATION_CERTIFICATE_URI,
                                       CKA_VALIDATION_VENDOR_URI, CKA_VALIDATION_COUNTRY, CKA_VALIDATION_PROFILE})
    EXPECT_TRUE(Get(validations[0], none).empty());
  ExpectFixed(validations[0]);
  CK_FLAGS flags = 1;
  EXPECT_EQ(f_->C_GetSessionValidationFlags(s_, CKS_LAST_VALIDATION_OK, &flags), CKR_OK);
  EXPECT_EQ(flags, 0u);
  EXPECT_EQ(Number(Aes(), CKA_OBJECT_VALIDATION_FLAGS), 0u);
}

TEST_F(ObjectsTest, TheTokensOwnObjectsAreNotCreatedAndNotGuessed) {
  for (const CK_OBJECT_CLASS own : {CKO_PROFILE, CKO_MECHANISM, CKO_VALIDATION})
    EXPECT_EQ(Create(Template().Ulong(CKA_CLASS, own)), CKR_ATTRIBUTE_VALUE_INVALID);
  const Handles profiles = Find(Template().Ulong(CKA_PROFILE_ID, CKP_BASELINE_PROVIDER));
  ASSERT_EQ(profiles.size(), 1u);
  Get(profiles[0] + 0x1000, CKA_CLASS, CKR_OBJECT_HANDLE_INVALID);
  Get(profiles[0] | CK_OBJECT_HANDLE{1} << 60, CKA_CLASS, CKR_OBJECT_HANDLE_INVALID);
}

// ---- Trust

TEST_F(ObjectsTest, TrustIsStoredAndFoundByIssuerAndSerialNumber) {
  CK_OBJECT_HANDLE object = 0;
  ASSERT_EQ(Trust(Template()
                      .Bool(CKA_TOKEN, true)
                      .Raw(CKA_HASH_OF_CERTIFICATE, Bytes(32, 9))
                      .Ulong(CKA_NAME_HASH_ALGORITHM, CKM_SHA256)
                      .Ulong(CKA_TRUST_SERVER_AUTH, CKT_TRUST_ANCHOR),
                  &object),
            CKR_OK);
  EXPECT_EQ(Number(object, CKA_TRUST_SERVER_AUTH), CKT_TRUST_ANCHOR);
  EXPECT_EQ(Number(object, CKA_TRUST_CODE_SIGNING), CKT_TRUST_UNKNOWN);
  EXPECT_EQ(Get(object, CKA_PRIVATE), Bytes{CK_FALSE});
  EXPECT_EQ(Get(object, CKA_MODIFIABLE), Bytes{CK_TRUE});
  EXPECT_EQ(Find(Template()
                     .Ulong(CKA_CLASS, CKO_TRUST)
                     .Raw(CKA_ISSUER, {0x30, 0x00})
                     .Raw(CKA_SERIAL_NUMBER, {0x02, 0x01, 0x07})),
            Handles{object});
  EXPECT_EQ(Set(object, Template().Ulong(CKA_TRUST_SERVER_AUTH, CKT_NOT_TRUSTED)), CKR_OK);
  EXPECT_EQ(Number(object, CKA_TRUST_SERVER_AUTH), CKT_NOT_TRUSTED);
  EXPECT_EQ(Set(object, Template().Raw(CKA_ISSUER, {0x30})), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(Set(object, Template().Ulong(CKA_TRUST_SERVER_AUTH, 5)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(f_->C_DestroyObject(s_, object), CKR_OK);
}

TEST_F(ObjectsTest, TrustNeedsToSayInWhat) {
  EXPECT_EQ(Trust(Template().Ulong(CKA_TRUST_EMAIL_PROTECTION, CKT_TRUSTED)), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(Create(Template().Ulong(CKA_CLASS, CKO_TRUST).Raw(CKA_ISSUER, {0x30, 0})), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(Trust(Template().Ulong(CKA_TRUST_EMAIL_PROTECTION, CKT_TRUSTED).Raw(CKA_HASH_OF_CERTIFICATE, Bytes(32))),
            CKR_TEMPLATE_INCONSISTENT)
      << "the hash is SHA-1 where nothing is said";
  EXPECT_EQ(Trust(Template().Ulong(CKA_NAME_HASH_ALGORITHM, CKM_AES_ECB)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(Trust(Template().Ulong(CKA_TRUST_IPSEC_IKE, 0x99)), CKR_ATTRIBUTE_VALUE_INVALID);
  CK_OBJECT_HANDLE distrust = 0;
  ASSERT_EQ(Trust(Template().Ulong(CKA_TRUST_OCSP_SIGNING, CKT_NOT_TRUSTED), &distrust), CKR_OK);
  EXPECT_EQ(Number(distrust, CKA_NAME_HASH_ALGORITHM), CKM_SHA_1);
  EXPECT_EQ(Set(distrust, Template().Ulong(CKA_TRUST_OCSP_SIGNING, CKT_TRUSTED)), CKR_TEMPLATE_INCOMPLETE)
      << "nor is trust given later without a hash";
  EXPECT_EQ(Number(distrust, CKA_TRUST_OCSP_SIGNING), CKT_NOT_TRUSTED);
}

// ---- Domain parameters

// RFC 7919 appendix A.1: the first and the last words of ffdhe2048, and that it is a safe prime.
TEST_F(ObjectsTest, GeneratedDhParametersAreAGroupOfRfc7919) {
  CK_OBJECT_HANDLE object = 0;
  ASSERT_EQ(Generate(CKM_DH_PKCS_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 2048), object), CKR_OK);
  const Bytes prime = Get(object, CKA_PRIME);
  ASSERT_EQ(prime.size(), 256u);
  EXPECT_EQ(Bytes(prime.begin(), prime.begin() + 16),
            (Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xad, 0xf8, 0x54, 0x58, 0xa2, 0xbb, 0x4a, 0x9a}));
  EXPECT_EQ(Bytes(prime.end() - 16, prime.end()),
            (Bytes{0x88, 0x6b, 0x42, 0x38, 0x61, 0x28, 0x5c, 0x97, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  const BigNumber p = ToNumber(prime), half(BN_new(), &BN_free);
  BN_rshift1(half.get(), p.get());
  EXPECT_TRUE(IsPrime(p.get()) && IsPrime(half.get()));
  EXPECT_EQ(Get(object, CKA_BASE), Bytes{2});
  EXPECT_EQ(Number(object, CKA_CLASS), CKO_DOMAIN_PARAMETERS);
  EXPECT_EQ(Number(object, CKA_KEY_TYPE), CKK_DH);
  EXPECT_EQ(Get(object, CKA_LOCAL), Bytes{CK_TRUE});
  EXPECT_EQ(Generate(CKM_DH_PKCS_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 1024), object), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(Generate(CKM_DH_PKCS_PARAMETER_GEN, {}, object), CKR_TEMPLATE_INCOMPLETE);
  if (FlagsOf(CKM_DH_PKCS_KEY_PAIR_GEN) == 0) return;
  const Pair pair = MakePair(CKM_DH_PKCS_KEY_PAIR_GEN, Template().Raw(CKA_PRIME, prime).Raw(CKA_BASE, {2}),
                             Template().Bool(CKA_DERIVE, true));
  // No side is agreed with whose value makes a secret that everybody knows.
  Bytes last = prime;
  last.back() = static_cast<std::uint8_t>(last.back() - 1);
  for (const Bytes& bad : {Bytes{0}, Bytes{1}, last, prime, Bytes(256, 0xff), Bytes(257, 2)}) {
    Bytes value = bad;
    const CK_MECHANISM agree{CKM_DH_PKCS_DERIVE, value.data(), value.size()};
    EXPECT_EQ(Derive(agree, pair.private_key, Template().Ulong(CKA_VALUE_LEN, 32), object), CKR_PUBLIC_KEY_INVALID);
  }
}

TEST_F(ObjectsTest, GeneratedDsaParametersMakeKeysThatSign) {
  CK_OBJECT_HANDLE object = 0;
  ASSERT_EQ(Generate(CKM_DSA_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 2048).Bool(CKA_TOKEN, true), object),
            CKR_OK);
  const Bytes prime = Get(object, CKA_PRIME), subprime = Get(object, CKA_SUBPRIME), base = Get(object, CKA_BASE);
  EXPECT_EQ(prime.size(), 256u);
  EXPECT_EQ(Number(object, CKA_SUBPRIME_BITS), 224u) << "what goes with 2048";
  ExpectGroup(prime, subprime, base);
  EXPECT_EQ(f_->C_DestroyObject(s_, object), CKR_OK);
  EXPECT_EQ(
      Generate(CKM_DSA_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 2048).Ulong(CKA_SUBPRIME_BITS, 160), object),
      CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(Generate(CKM_DSA_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 2048).Raw(CKA_BASE, base), object),
            CKR_TEMPLATE_INCONSISTENT);
  if (FlagsOf(CKM_DSA_KEY_PAIR_GEN) == 0) return;
  const Pair pair =
      MakePair(CKM_DSA_KEY_PAIR_GEN, Template().Raw(CKA_PRIME, prime).Raw(CKA_SUBPRIME, subprime).Raw(CKA_BASE, base));
  const Bytes digest(28, 5);
  EXPECT_EQ(Verify(M(CKM_DSA), pair.public_key, digest, Sign(M(CKM_DSA), pair.private_key, digest)), CKR_OK);
}

// The seed comes out of one call, and leads another to the base.
TEST_F(ObjectsTest, DsaParametersOfASeedCanBeMadeAgain) {
  const struct {
    CK_MECHANISM_TYPE type;
    std::size_t seed_bytes;
  } kinds[] = {{CKM_DSA_PROBABILISTIC_PARAMETER_GEN, 32}, {CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN, 3 * 20}};
  const auto sizes = [] { return Template().Ulong(CKA_PRIME_BITS, 1024).Ulong(CKA_SUBPRIME_BITS, 160); };
  for (const auto& kind : kinds) {
    Bytes seed(kind.seed_bytes);
    CK_DSA_PARAMETER_GEN_PARAM parameter{CKM_SHA256, seed.data(), seed.size(), 0};
    CK_MECHANISM make{kind.type, &parameter, sizeof parameter};
    const auto generate = [&](Template t, CK_OBJECT_HANDLE& made) {
      return f_->C_GenerateKey(s_, &make, t.data(), t.size(), &made);
    };
    CK_OBJECT_HANDLE primes = 0, domain = 0, again = 0, other = 0;
    ASSERT_EQ(generate(sizes().Bool(CKA_TOKEN, kind.seed_bytes == 32), primes), CKR_OK) << std::hex << kind.type;
    EXPECT_NE(seed, Bytes(kind.seed_bytes));
    const Bytes prime = Get(primes, CKA_PRIME), subprime = Get(primes, CKA_SUBPRIME);
    EXPECT_EQ(Number(primes, CKA_PRIME_BITS), 1024u);
    EXPECT_EQ(Number(primes, CKA_SUBPRIME_BITS), 160u);
    EXPECT_EQ(Get(primes, CKA_LOCAL), Bytes{CK_TRUE});
    CK_ATTRIBUTE no_base{CKA_BASE, nullptr, 0};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, primes, &no_base, 1), CKR_ATTRIBUTE_TYPE_INVALID);
    EXPECT_EQ(f_->C_DestroyObject(s_, primes), CKR_OK);

    const auto given = [&] { return Template().Raw(CKA_PRIME, prime).Raw(CKA_SUBPRIME, subprime); };
    make.mechanism = CKM_DSA_FIPS_G_GEN;
    parameter.ulIndex = 1;
    ASSERT_EQ(generate(given(), domain), CKR_OK);
    ASSERT_EQ(generate(given(), again), CKR_OK);
    parameter.ulIndex = 2;
    ASSERT_EQ(generate(given(), other), CKR_OK);
    const Bytes base = Get(domain, CKA_BASE);
    ExpectGroup(prime, subprime, base);
    EXPECT_EQ(Get(again, CKA_BASE), base);
    EXPECT_NE(Get(other, CKA_BASE), base);
    EXPECT_EQ(Get(domain, CKA_LOCAL), Bytes{CK_TRUE});
    EXPECT_EQ(generate(Template().Raw(CKA_PRIME, prime), domain), CKR_TEMPLATE_INCOMPLETE);
    EXPECT_EQ(generate(given().Raw(CKA_BASE, base), domain), CKR_TEMPLATE_INCONSISTENT);
    EXPECT_EQ(generate(Template().Raw(CKA_PRIME, Bytes(128, 0xff)).Raw(CKA_SUBPRIME, subprime), domain),
              CKR_ATTRIBUTE_VALUE_INVALID);
    EXPECT_EQ(generate(Template().Raw(CKA_PRIME, {7}).Raw(CKA_SUBPRIME, {3}), domain), CKR_KEY_SIZE_RANGE);
    parameter.ulIndex = 256;
    EXPECT_EQ(generate(given(), domain), CKR_MECHANISM_PARAM_INVALID);

    make.mechanism = kind.type;
    parameter.ulIndex = 0;
    EXPECT_EQ(generate(Template().Ulong(CKA_PRIME_BITS, 1000), domain), CKR_KEY_SIZE_RANGE);
    EXPECT_EQ(generate(Template(), domain), CKR_TEMPLATE_INCOMPLETE);
    parameter.ulSeedLen = 19;
    EXPECT_EQ(generate(sizes(), domain), CKR_MECHANISM_PARAM_INVALID);
    parameter.ulSeedLen = 193;
    EXPECT_EQ(generate(sizes(), domain), CKR_MECHANISM_PARAM_INVALID);
    parameter = {CKM_MD5, seed.data(), seed.size(), 0};
    EXPECT_EQ(generate(sizes(), domain), CKR_MECHANISM_PARAM_INVALID);
    parameter = {CKM_SHA_1, seed.data(), seed.size(), 0};
    EXPECT_EQ(generate(Template().Ulong(CKA_PRIME_BITS, 2048), domain), CKR_MECHANISM_PARAM_INVALID);
    parameter = {CKM_SHA256, nullptr, seed.size(), 0};
    EXPECT_EQ(generate(sizes(), domain), CKR_MECHANISM_PARAM_INVALID);
  }
}

TEST_F(ObjectsTest, GeneratedX942ParametersHaveASubgroup) {
  CK_OBJECT_HANDLE object = 0;
  const auto sizes = Template().Ulong(CKA_PRIME_BITS, 2048).Ulong(CKA_SUBPRIME_BITS, 256);
  ASSERT_EQ(Generate(CKM_X9_42_DH_PARAMETER_GEN, sizes, object), CKR_OK);
  ExpectGroup(Get(object, CKA_PRIME), Get(object, CKA_SUBPRIME), Get(object, CKA_BASE));
  EXPECT_EQ(Number(object, CKA_KEY_TYPE), CKK_X9_42_DH);
  EXPECT_EQ(Generate(CKM_X9_42_DH_PARAMETER_GEN, Template().Ulong(CKA_PRIME_BITS, 2048), object),
            CKR_TEMPLATE_INCOMPLETE);
}

TEST_F(ObjectsTest, DomainParametersAreStored) {
  const auto parameters = [] {
    return Template().Ulong(CKA_CLASS, CKO_DOMAIN_PARAMETERS).Ulong(CKA_KEY_TYPE, CKK_DH).Raw(CKA_BASE, {2});
  };
  CK_OBJECT_HANDLE object = 0;
  ASSERT_EQ(Create(parameters().Raw(CKA_PRIME, Bytes(256, 0xff)), &object), CKR_OK);
  EXPECT_EQ(Number(object, CKA_PRIME_BITS), 2048u);
  EXPECT_EQ(Get(object, CKA_LOCAL), Bytes{CK_FALSE});
  EXPECT_EQ(Create(parameters()), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(Create(parameters().Raw(CKA_PRIME, Bytes(256, 0xff)).Ulong(CKA_PRIME_BITS, 2048)),
            CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Create(parameters().Raw(CKA_PRIME, Bytes(256, 0xff)).Raw(CKA_SUBPRIME, {3})), CKR_ATTRIBUTE_TYPE_INVALID);
  EXPECT_EQ(Create(Template().Ulong(CKA_CLASS, CKO_DOMAIN_PARAMETERS).Ulong(CKA_KEY_TYPE, CKK_AES)),
            CKR_ATTRIBUTE_VALUE_INVALID);
}

// ---- The public half of a private key

TEST_F(ObjectsTest, ThePublicHalfOfAPrivateKeyIsThePublicKey) {
  const Bytes ed25519 = {0x06, 0x03, 0x2b, 0x65, 0x70};
  const struct {
    CK_MECHANISM_TYPE type;
    Template more;
    std::vector<CK_ATTRIBUTE_TYPE> material;
  } kinds[] = {
      {CKM_RSA_PKCS_KEY_PAIR_GEN,
       Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1}),
       {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_MODULUS_BITS}},
      {CKM_EC_KEY_PAIR_GEN, Template().Raw(CKA_EC_PARAMS, P256()), {CKA_EC_PARAMS, CKA_EC_POINT}},
      {CKM_EC_EDWARDS_KEY_PAIR_GEN, Template().Raw(CKA_EC_PARAMS, ed25519), {CKA_EC_PARAMS, CKA_EC_POINT}},
  };
  for (const auto& kind : kinds) {
    if (FlagsOf(kind.type) == 0) continue;
    const Pair pair = MakePair(kind.type, kind.more, Template().Raw(CKA_ID, {7}).Bool(CKA_DERIVE, false));
    CK_OBJECT_HANDLE half = 0;
    ASSERT_EQ(Derive(M(CKM_PUB_KEY_FROM_PRIV_KEY), pair.private_key, {}, half), CKR_OK) << std::hex << kind.type;
    // SoftHSM 2.6.1 has the curve of a private key by another of its names.
    for (const CK_ATTRIBUTE_TYPE part : kind.material)
      EXPECT_EQ(Get(half, part), Get(part == CKA_EC_PARAMS ? pair.private_key : pair.public_key, part)) << part;
    EXPECT_EQ(Number(half, CKA_CLASS), CKO_PUBLIC_KEY);
    EXPECT_EQ(Get(half, CKA_ID), Bytes{7});
    EXPECT_EQ(Get(half, CKA_VERIFY), Get(pair.private_key, CKA_SIGN));
    EXPECT_EQ(Get(half, CKA_TRUSTED), Bytes{CK_FALSE});
    EXPECT_EQ(Get(half, CKA_PRIVATE), Bytes{CK_FALSE});
    EXPECT_EQ(Get(half, CKA_LOCAL), Bytes{CK_FALSE});
    EXPECT_EQ(Number(half, CKA_KEY_GEN_MECHANISM), kind.type);
    Get(half, CKA_PRIVATE_EXPONENT, CKR_ATTRIBUTE_TYPE_INVALID);
  }
  const Pair rsa = Rsa();
  CK_OBJECT_HANDLE half = 0;
  ASSERT_EQ(Derive(M(CKM_PUB_KEY_FROM_PRIV_KEY), rsa.private_key, Template().Text(CKA_LABEL, "half"), half), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_SHA256_RSA_PKCS), half, kText, Sign(M(CKM_SHA256_RSA_PKCS), rsa.private_key, kText)), CKR_OK);
}

TEST_F(ObjectsTest, ThePublicHalfCannotBeTalkedIntoAnything) {
  const Pair ec = Ec();
  CK_OBJECT_HANDLE half = 0;
  const auto derive = [&](CK_OBJECT_HANDLE base, Template t) {
    return Derive(M(CKM_PUB_KEY_FROM_PRIV_KEY), base, std::move(t), half);
  };
  EXPECT_EQ(derive(ec.private_key, Template().Raw(CKA_EC_POINT, Bytes(67, 4))), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(derive(ec.private_key, Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(derive(ec.private_key, Template().Bool(CKA_EXTRACTABLE, true)), CKR_ATTRIBUTE_TYPE_INVALID);
  EXPECT_EQ(derive(ec.private_key, Template().Bool(CKA_TRUSTED, true)), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(derive(Aes(), {}), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(derive(ec.public_key, {}), CKR_KEY_HANDLE_INVALID);
}

// ---- Data of HKDF

// RFC 5869 appendix A.1.
class HkdfDataTest : public ObjectsTest {
 protected:
  void SetUp() override {
    ObjectsTest::SetUp();
    if (FlagsOf(CKM_HKDF_DATA) == 0) {
      ASSERT_FALSE(software());
      GTEST_SKIP() << "the device has no HKDF";
    }
    for (std::uint8_t i = 0; i < 13; ++i) salt_.push_back(i);
    for (std::uint8_t i = 0; i < 10; ++i) info_.push_back(static_cast<std::uint8_t>(0xf0 + i));
    parameter_ = {CK_TRUE,      CK_TRUE, CKM_SHA256,   CKF_HKDF_SALT_DATA, salt_.data(),
                  salt_.size(), 0,       info_.data(), info_.size()};
  }
  CK_MECHANISM Hkdf(CK_MECHANISM_TYPE type) { return {type, &parameter_, sizeof parameter_}; }
  Bytes salt_, info_;
  CK_HKDF_PARAMS parameter_{};
};

TEST_F(HkdfDataTest, IsWhatRfc5869Says) {
  CK_OBJECT_HANDLE data = 0;
  const CK_OBJECT_HANDLE base = Open(Bytes(22, 0x0b));
  ASSERT_EQ(Derive(Hkdf(CKM_HKDF_DATA), base, Template().Ulong(CKA_CLASS, CKO_DATA).Ulong(CKA_VALUE_LEN, 42), data),
            CKR_OK);
  EXPECT_EQ(Number(data, CKA_CLASS), CKO_DATA);
  EXPECT_EQ(Get(data, CKA_VALUE),
            (Bytes{0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36,
                   0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56,
                   0xec, 0xc4, 0xc5, 0xbf, 0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65}));
  EXPECT_EQ(Get(data, CKA_PRIVATE), Get(base, CKA_PRIVATE)) << "as visible as the key where nothing is said";
}

TEST_F(HkdfDataTest, OfAKeyThatIsKeptCannotBeHad) {
  CK_OBJECT_HANDLE data = 0;
  const auto closed = [&](bool sensitive, bool extractable) {
    Template t = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    t.Raw(CKA_VALUE, Bytes(22, 0x0b)).Bool(CKA_SENSITIVE, sensitive).Bool(CKA_EXTRACTABLE, extractable);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(Create(t.Bool(CKA_DERIVE, true), &key), CKR_OK);
    return key;
  };
  const auto wanted = [] { return Template().Ulong(CKA_VALUE_LEN, 42); };
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), closed(true, true), wanted(), data), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), closed(false, false), wanted(), data), CKR_TEMPLATE_INCONSISTENT);
  const CK_OBJECT_HANDLE base = Open(Bytes(22, 0x0b));
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), base, wanted().Raw(CKA_VALUE, {1}), data), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), base, wanted().Ulong(CKA_CLASS, CKO_SECRET_KEY), data),
            CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), base, wanted().Bool(CKA_SENSITIVE, true), data), CKR_ATTRIBUTE_TYPE_INVALID);
  // A salt that is a kept key keeps what it is mixed into.
  parameter_.ulSaltType = CKF_HKDF_SALT_KEY;
  parameter_.pSalt = nullptr;
  parameter_.ulSaltLen = 0;
  parameter_.hSaltKey = closed(true, true);
  EXPECT_EQ(Derive(Hkdf(CKM_HKDF_DATA), base, wanted(), data), CKR_TEMPLATE_INCONSISTENT);
}

}  // namespace
}  // namespace cmkd::tests
