// Templates by the rules of C_CreateObject; the values from where they are.
#include "daemon/service/public_objects.h"

#include "daemon/crypto/domain_parameters.h"
#include "daemon/crypto/public_key.h"
#include "daemon/crypto/seeded_domain.h"
#include "daemon/service/derived_bytes.h"
#include "daemon/service/key_template.h"
#include "daemon/service/key_use.h"
#include "daemon/service/new_object.h"
#include "daemon/service/other_keys.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::daemon {
namespace {

using Template = std::span<const CK_ATTRIBUTE>;

// `given` with what must be so added; contradictions are refused.
Fallible<spec::Attributes> Merge(const spec::Attributes& fixed, Template given) {
  ASSIGN_OR_RETURN(const Bytes flat, spec::EncodeTemplate(fixed.ToTemplate().view()));
  return spec::MergeForced(flat, given);
}

// Checks the whole template of a new object and keeps it. `computed` is what the token adds.
Fallible<CK_OBJECT_HANDLE> Create(Invocation& invocation, CK_OBJECT_CLASS object_class, CK_ULONG key_type,
                                  const spec::Attributes& whole, const spec::Attributes& computed) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  const auto context = ContextFor(invocation, *token, spec::Verb::kCreate, object_class, key_type);
  const spec::CTemplate list = whole.ToTemplate();
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(context, list));
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, attributes));
  RETURN_IF_ERROR(spec::CheckAgainstMaterial(list, computed));
  attributes.Merge(computed);
  return Keep(invocation, std::move(attributes));
}

// The material of the public half: from the private object itself where it stands there, otherwise from its
// CKA_PUBLIC_KEY_INFO.
Fallible<spec::Attributes> PublicMaterial(const Object& base) {
  spec::Attributes material;
  material.SetUlong(CKA_CLASS, CKO_PUBLIC_KEY);
  material.SetUlong(CKA_KEY_TYPE, base.key_type);
  for (const CK_ATTRIBUTE_TYPE part :
       {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_PRIME, CKA_SUBPRIME, CKA_BASE}) {
    if (const ShortBytes* value = base.attributes.Find(part); value != nullptr && !value->empty())
      material.Set(part, *value);
  }
  if (base.key_type == CKK_RSA) {
    if (material.Has(CKA_MODULUS) && material.Has(CKA_PUBLIC_EXPONENT)) return material;
    return Fail(CKR_FUNCTION_FAILED, "the public exponent of this key was never told");
  }
  const ByteView info = base.attributes.View(CKA_PUBLIC_KEY_INFO);
  const bool curve = material.Has(CKA_EC_PARAMS);
  if (const ShortBytes* point = base.attributes.Find(CKA_EC_POINT); curve && point != nullptr && !point->empty()) {
    material.Set(CKA_EC_POINT, *point);
  } else if (const auto value = curve ? PublicPoint(info) : PublicNumber(info); value) {
    material.Set(curve ? CKA_EC_POINT : CKA_VALUE, curve ? AsOctetString(*value) : *value);
  } else {
    return Fail(CKR_FUNCTION_FAILED, "the public half of this key was never told");
  }
  return material;
}

// What the public half takes over when the template does not say (PKCS#11 3.2, "Public key from private key").
struct TakenOver {
  CK_ATTRIBUTE_TYPE to, from;
};
constexpr TakenOver kTakenOver[] = {
    {CKA_ENCRYPT, CKA_DECRYPT},
    {CKA_VERIFY, CKA_SIGN},
    {CKA_VERIFY_RECOVER, CKA_SIGN_RECOVER},
    {CKA_WRAP, CKA_UNWRAP},
    {CKA_ENCAPSULATE, CKA_DECAPSULATE},
    {CKA_DERIVE, CKA_DERIVE},
    {CKA_ID, CKA_ID},
    {CKA_START_DATE, CKA_START_DATE},
    {CKA_END_DATE, CKA_END_DATE},
    {CKA_SUBJECT, CKA_SUBJECT},
    {CKA_ALLOWED_MECHANISMS, CKA_ALLOWED_MECHANISMS},
};

// Whether what comes of this key may be read by all.
bool IsOpen(const spec::Attributes& key) { return !key.Bool(CKA_SENSITIVE, true) && key.Bool(CKA_EXTRACTABLE, false); }

}  // namespace

namespace {

// The library's name of a hash that CheckParameter has let pass.
const char* HashName(CK_MECHANISM_TYPE hash) {
  switch (hash) {
    case CKM_SHA_1: return "SHA1";
    case CKM_SHA224: return "SHA224";
    case CKM_SHA256: return "SHA256";
    case CKM_SHA384: return "SHA384";
    default: return "SHA512";
  }
}

Status CheckHash(const CK_DSA_PARAMETER_GEN_PARAM& given, std::size_t subprime_bits) {
  if (8 * spec::DigestLength(given.hash) >= subprime_bits) return {};
  return Fail(CKR_MECHANISM_PARAM_INVALID, "the hash is shorter than the subprime");
}

// CKM_DSA_PROBABILISTIC_PARAMETER_GEN and CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN: primes, and the seed that they came of.
Fallible<DomainParameters> PrimesOfASeed(const CK_MECHANISM& mechanism, std::size_t prime_bits,
                                         std::size_t subprime_bits) {
  const auto& given = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(mechanism.pParameter);
  RETURN_IF_ERROR(CheckHash(given, subprime_bits));
  const bool provable = mechanism.mechanism == CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN;
  const std::size_t parts = provable ? 3 : 1;
  if (given.ulSeedLen % parts != 0 || 8 * given.ulSeedLen / parts < subprime_bits)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "not a length of such a seed");
  const auto make = provable ? MakeProvablePrimes : MakeProbablePrimes;
  auto made = make(prime_bits, subprime_bits, HashName(given.hash), given.ulSeedLen / parts);
  if (!made || made->seed.size() != given.ulSeedLen)
    return Fail(CKR_FUNCTION_FAILED, "the domain parameters could not be made");
  std::copy(made->seed.begin(), made->seed.end(), given.pSeed);
  return DomainParameters{std::move(made->prime), std::move(made->subprime), {}};
}

// CKM_DSA_FIPS_G_GEN: the generator for primes that the template has.
Fallible<CK_OBJECT_HANDLE> GenerateBase(Invocation& invocation, const CK_MECHANISM& mechanism, Template given) {
  const auto& parameter = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(mechanism.pParameter);
  spec::Attributes fixed;
  fixed.SetUlong(CKA_CLASS, CKO_DOMAIN_PARAMETERS);
  fixed.SetUlong(CKA_KEY_TYPE, CKK_DSA);
  ASSIGN_OR_RETURN(spec::Attributes whole, Merge(fixed, given));
  const ByteView prime = whole.View(CKA_PRIME), subprime = whole.View(CKA_SUBPRIME);
  if (prime.empty() || subprime.empty()) return Fail(CKR_TEMPLATE_INCOMPLETE, "CKA_PRIME or CKA_SUBPRIME is missing");
  if (whole.Has(CKA_BASE)) return Fail(CKR_TEMPLATE_INCONSISTENT, "CKA_BASE is made by this call");
  const std::size_t subprime_bits = spec::BitLength(subprime);
  if (!MakesDomain(DomainKind::kDsa, spec::BitLength(prime), subprime_bits))
    return Fail(CKR_KEY_SIZE_RANGE, "no sizes of DSA");
  RETURN_IF_ERROR(CheckHash(parameter, subprime_bits));
  const auto base = MakeBase(prime, subprime, HashName(parameter.hash), {parameter.pSeed, parameter.ulSeedLen},
                             static_cast<std::uint8_t>(parameter.ulIndex));
  if (!base) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME and CKA_SUBPRIME are no primes of DSA");
  whole.Set(CKA_BASE, *base);
  spec::Attributes computed;
  computed.SetBool(CKA_LOCAL, true);
  return Create(invocation, CKO_DOMAIN_PARAMETERS, CKK_DSA, whole, computed);
}

}  // namespace

Fallible<CK_OBJECT_HANDLE> GenerateDomain(Invocation& invocation, const spec::MechanismRow& row,
                                          const CK_MECHANISM& mechanism, Template given) {
  if (row.parameter == spec::ParameterKind::kDsaSeed) return GenerateBase(invocation, mechanism, given);
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  auto context = ContextFor(invocation, *token, spec::Verb::kGenerate, CKO_DOMAIN_PARAMETERS, row.key_type);
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(context, given, row.type));
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, attributes));
  const CK_ULONG prime_bits = attributes.Ulong(CKA_PRIME_BITS).value_or(0);
  const CK_ULONG subprime_bits =
      attributes.Ulong(CKA_SUBPRIME_BITS).value_or(row.key_type == CKK_DSA ? UsualSubprimeBits(prime_bits) : 0);
  const DomainKind kind = row.key_type == CKK_DSA  ? DomainKind::kDsa
                          : row.key_type == CKK_DH ? DomainKind::kSafePrime
                                                   : DomainKind::kX942;
  if (!MakesDomain(kind, prime_bits, subprime_bits)) return Fail(CKR_KEY_SIZE_RANGE, "no sizes that are made here");
  DomainParameters made;
  if (row.parameter == spec::ParameterKind::kDsaSeedOut) {
    ASSIGN_OR_RETURN(made, PrimesOfASeed(mechanism, prime_bits, subprime_bits));
  } else if (auto fresh = MakeDomain(kind, prime_bits, subprime_bits)) {
    made = std::move(*fresh);
  } else {
    return Fail(CKR_FUNCTION_FAILED, "the domain parameters could not be made");
  }
  attributes.Set(CKA_PRIME, made.prime);
  if (!made.base.empty()) attributes.Set(CKA_BASE, made.base);
  if (kind != DomainKind::kSafePrime) {
    attributes.Set(CKA_SUBPRIME, made.subprime);
    attributes.SetUlong(CKA_SUBPRIME_BITS, subprime_bits);
  }
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE handle, Keep(invocation, std::move(attributes)));
  // The object of a request that is repeated is the first attempt's, and this seed is not its seed.
  ASSIGN_OR_RETURN(const ObjectPtr kept, FindVisible(invocation, handle, CKR_OBJECT_HANDLE_INVALID));
  if (row.parameter == spec::ParameterKind::kDsaSeedOut && !Equal(kept->attributes.View(CKA_PRIME), made.prime))
    return Fail(CKR_FUNCTION_FAILED, "the primes were made, and their seed is lost");
  return handle;
}

Fallible<CK_OBJECT_HANDLE> PublicFromPrivate(Invocation& invocation, const Object& base, Template given) {
  if (base.object_class != CKO_PRIVATE_KEY) return Fail(CKR_KEY_TYPE_INCONSISTENT, "the base key is no private key");
  ASSIGN_OR_RETURN(const spec::Attributes material, PublicMaterial(base));
  ASSIGN_OR_RETURN(spec::Attributes whole, Merge(material, given));
  for (const TakenOver& attribute : kTakenOver) {
    const ShortBytes* value = base.attributes.Find(attribute.from);
    const bool fits = spec::FindAttribute(attribute.to, CKO_PUBLIC_KEY, base.key_type) != nullptr;
    if (value != nullptr && fits && !whole.Has(attribute.to)) whole.Set(attribute.to, *value);
  }
  spec::Attributes computed;
  computed.SetUlong(CKA_KEY_GEN_MECHANISM,
                    base.attributes.Ulong(CKA_KEY_GEN_MECHANISM).value_or(CK_UNAVAILABLE_INFORMATION));
  if (const ShortBytes* info = base.attributes.Find(CKA_PUBLIC_KEY_INFO); info != nullptr)
    computed.Set(CKA_PUBLIC_KEY_INFO, *info);
  return Create(invocation, CKO_PUBLIC_KEY, base.key_type, whole, computed);
}

Fallible<CK_OBJECT_HANDLE> DeriveData(Invocation& invocation, const spec::MechanismRow& row,
                                      const CK_MECHANISM& mechanism, const Object& base, Template given) {
  ASSIGN_OR_RETURN(const OtherKeys salt, FindOtherKeys(invocation, row, mechanism));
  const auto is_open = [](const ObjectPtr& key) { return IsOpen(key->attributes); };
  if (!IsOpen(base.attributes) || !std::ranges::all_of(salt.objects, is_open))
    return Fail(CKR_TEMPLATE_INCONSISTENT, "a key that is sensitive or does not leave gives no data");
  spec::Attributes fixed;
  fixed.SetUlong(CKA_CLASS, CKO_DATA);
  ASSIGN_OR_RETURN(spec::Attributes whole, Merge(fixed, given));
  ASSIGN_OR_RETURN(whole, spec::MergeForced(base.attributes.View(CKA_DERIVE_TEMPLATE), whole.ToTemplate()));
  if (whole.Has(CKA_VALUE)) return Fail(CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE is made by this call");
  const CK_ULONG bytes = whole.Ulong(CKA_VALUE_LEN).value_or(0);
  whole.Remove(CKA_VALUE_LEN);
  if (!whole.Has(CKA_PRIVATE)) whole.SetBool(CKA_PRIVATE, base.is_private());
  ASSIGN_OR_RETURN(const Candidate from, CurrentCandidate(invocation, base, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  spec::Attributes passing;  // the key that the data are for a moment, in the device
  passing.SetBool(CKA_TOKEN, false);
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, passing));
  CK_MECHANISM as_key = mechanism;
  as_key.mechanism = CKM_HKDF_DERIVE;
  ASSIGN_OR_RETURN(const Bytes data,
                   DeriveBytes(*backend, as_key, from.name, from.material, salt.keys, bytes, under.key));
  whole.Set(CKA_VALUE, data);
  return Create(invocation, CKO_DATA, CK_UNAVAILABLE_INFORMATION, whole, {});
}

}  // namespace cmkd::daemon
