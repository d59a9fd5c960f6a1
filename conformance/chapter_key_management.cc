// Key management: generating, wrapping, unwrapping and deriving keys (PKCS#11 3.2 section 5.18).
#include <optional>

#include "conformance/domain.h"
#include "conformance/keys.h"
#include "conformance/plan.h"
#include "conformance/read.h"
#include "conformance/samples.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::conformance {
namespace {

// ---- C_GenerateKey

// What a template must say for a key of this mechanism.
Template Wanted(const spec::MechanismRow& row) {
  Template wanted;
  wanted.Bool(CKA_TOKEN, false);
  const bool sized = row.key_bits_min != row.key_bits_max;
  if (sized && row.type != CKM_PBE_SHA1_DES3_EDE_CBC)
    wanted.Ulong(CKA_VALUE_LEN, row.key_type == CKK_AES_XTS ? 64 : 32);
  return wanted;
}

CK_RV Generate(Trial& t, CK_MECHANISM_TYPE type, Template wanted, CK_OBJECT_HANDLE& key) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  return t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &key);
}

void GeneratesKey(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE key = 0, other = 0;
  Template sensitive = Wanted(*offer.row);
  sensitive.Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false);
  if (!t.Expect(Generate(t, offer.type, sensitive, key), {CKR_OK}, "C_GenerateKey")) return;
  const CK_OBJECT_CLASS object_class = offer.row->key_type == CKK_HOTP ? CKO_OTP_KEY : CKO_SECRET_KEY;
  t.Check(Number(t, key, CKA_CLASS) == object_class, "the class is that of such keys");
  t.Check(Number(t, key, CKA_KEY_TYPE) == offer.row->key_type, "the key type is the mechanism's");
  t.Check(Number(t, key, CKA_KEY_GEN_MECHANISM) == offer.type, "CKA_KEY_GEN_MECHANISM is the mechanism");
  t.Check(IsTrue(t, key, CKA_LOCAL), "CKA_LOCAL is true");
  t.Check(IsTrue(t, key, CKA_ALWAYS_SENSITIVE), "CKA_ALWAYS_SENSITIVE is true");
  t.Check(IsTrue(t, key, CKA_NEVER_EXTRACTABLE), "CKA_NEVER_EXTRACTABLE is true");
  Template open = Wanted(*offer.row);
  open.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  if (!t.Expect(Generate(t, offer.type, open, key), {CKR_OK}, "C_GenerateKey")) return;
  if (!t.Expect(Generate(t, offer.type, open, other), {CKR_OK}, "C_GenerateKey")) return;
  t.Check(!IsTrue(t, key, CKA_ALWAYS_SENSITIVE) && !IsTrue(t, key, CKA_NEVER_EXTRACTABLE),
          "the history of an open key says so");
  t.Check(Read(t, key, CKA_VALUE) != Read(t, other, CKA_VALUE), "two keys are two keys");
}

void GenerateRefuses(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE key = 0;
  const std::initializer_list<CK_RV> kMismatch = {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID};
  t.Expect(Generate(t, offer.type, Wanted(*offer.row).Ulong(CKA_CLASS, CKO_PUBLIC_KEY), key), kMismatch,
           "C_GenerateKey");
  const CK_KEY_TYPE other = offer.row->key_type == CKK_AES ? CKK_GENERIC_SECRET : CKK_AES;
  t.Expect(Generate(t, offer.type, Wanted(*offer.row).Ulong(CKA_KEY_TYPE, other), key), kMismatch, "C_GenerateKey");
  t.Expect(
      Generate(t, offer.type, Wanted(*offer.row).Raw(CKA_VALUE, Bytes(32, 1)), key),
      {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID},
      "C_GenerateKey");
  CK_MECHANISM mechanism{offer.type, nullptr, 0};
  Template wanted = Wanted(*offer.row);
  WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), nullptr));
  CK_SESSION_HANDLE read_only = t.OpenSession(0);
  Template stored = Wanted(*offer.row);
  stored.Add(Template().Bool(CKA_SENSITIVE, true));
  Template token = Template().Bool(CKA_TOKEN, true);
  if (offer.row->key_bits_min != offer.row->key_bits_max) token.Ulong(CKA_VALUE_LEN, 32);
  WANT(t, CKR_SESSION_READ_ONLY, t.p11->C_GenerateKey(read_only, &mechanism, token.data(), token.size(), &key));
  (void)t.p11->C_CloseSession(read_only);
}

void GenerateWithoutLength(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE key = 0;
  t.Expect(Generate(t, offer.type, Template().Bool(CKA_TOKEN, false), key), {CKR_TEMPLATE_INCOMPLETE}, "C_GenerateKey");
}

void AddGenerate(Plan& plan, const Offer& offer) {
  const std::string name = MechanismName(offer.type);
  plan.AddFor(name, "C_GenerateKey", "makes-a-key", [offer](Trial& t) { GeneratesKey(t, offer); });
  plan.AddFor(name, "C_GenerateKey", "refuses", [offer](Trial& t) { GenerateRefuses(t, offer); });
  // HOTP's contributes CKA_VALUE_LEN by itself (3.2, "HOTP key generation"), though its attribute table has footnote 3.
  if (offer.row->key_bits_min != offer.row->key_bits_max && offer.type != CKM_HOTP_KEY_GEN)
    plan.AddFor(name, "C_GenerateKey", "without-length", [offer](Trial& t) { GenerateWithoutLength(t, offer); });
}

// ---- C_GenerateKeyPair

void GeneratesPair(Trial& t, const Offer& offer) {
  const auto key =
      t.keys.Make(t.session, offer.row->key_type, Purpose::kSign,
                  Template().Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false).Raw(CKA_ID, {1, 2, 3}), offer.type);
  if (!t.Check(key.ok(), key.ok() ? "" : key.error())) return;
  t.Check(Number(t, key->first, CKA_CLASS) == CKO_PUBLIC_KEY && Number(t, key->second, CKA_CLASS) == CKO_PRIVATE_KEY,
          "the classes are those of a pair");
  for (const CK_OBJECT_HANDLE half : {key->first, key->second}) {
    t.Check(Number(t, half, CKA_KEY_TYPE) == offer.row->key_type, "the key type is the mechanism's");
    t.Check(Number(t, half, CKA_KEY_GEN_MECHANISM) == offer.type, "CKA_KEY_GEN_MECHANISM is the mechanism");
    t.Check(IsTrue(t, half, CKA_LOCAL), "CKA_LOCAL is true");
  }
  t.Check(IsTrue(t, key->second, CKA_ALWAYS_SENSITIVE), "CKA_ALWAYS_SENSITIVE is true");
  t.Check(IsTrue(t, key->second, CKA_NEVER_EXTRACTABLE), "CKA_NEVER_EXTRACTABLE is true");
  t.Check(Read(t, key->second, CKA_ID) == Bytes{1, 2, 3}, "CKA_ID is the one given");
  if (offer.row->key_type == CKK_RSA) {
    const auto modulus = Read(t, key->first, CKA_MODULUS);
    t.Check(modulus && modulus->size() == 256 && ((*modulus)[0] & 0x80) != 0, "the modulus has the bits asked for");
    t.Check(Read(t, key->second, CKA_MODULUS) == modulus, "the private key shows the same modulus");
    t.Check(Read(t, key->first, CKA_PUBLIC_EXPONENT) == Bytes{1, 0, 1}, "the exponent is the one asked for");
  } else if (offer.row->shown_in == spec::SizeUnit::kBits && DomainOf(offer.row->key_type).size() != 0) {
    const auto value = Read(t, key->first, CKA_VALUE);
    t.Check(value && value->size() > 250, "the public key has its value");
    t.Check(Read(t, key->second, CKA_PRIME) == Read(t, key->first, CKA_PRIME), "both halves are of one group");
  } else {
    const auto point = Read(t, key->first, CKA_EC_POINT);
    t.Check(point && point->size() > 30, "the public key has its point");
  }
  CK_ATTRIBUTE secret{offer.row->key_type == CKK_RSA ? CK_ULONG{CKA_PRIVATE_EXPONENT} : CK_ULONG{CKA_VALUE}, nullptr,
                      0};
  WANT(t, CKR_ATTRIBUTE_SENSITIVE, t.p11->C_GetAttributeValue(t.session, key->second, &secret, 1));
}

void PairIncomplete(Trial& t, const Offer& offer) {
  CK_MECHANISM mechanism{offer.type, nullptr, 0};
  Template first = Template().Bool(CKA_TOKEN, false), second = first;
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  WANT(t, CKR_TEMPLATE_INCOMPLETE,
       t.p11->C_GenerateKeyPair(t.session, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                &public_key, &private_key));
  WANT_ONE(t, (CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCOMPLETE),
           t.p11->C_GenerateKeyPair(t.session, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                    nullptr, nullptr));
}

void AddPair(Plan& plan, const Offer& offer) {
  const CK_KEY_TYPE type = offer.row->key_type;
  const bool curve = type == CKK_EC || type == CKK_EC_EDWARDS || type == CKK_EC_MONTGOMERY || type == CKK_SM2;
  if (type != CKK_RSA && !curve && DomainOf(type).size() == 0) return;
  const std::string name = MechanismName(offer.type);
  plan.AddFor(name, "C_GenerateKeyPair", "makes-a-pair", [offer](Trial& t) { GeneratesPair(t, offer); });
  plan.AddFor(name, "C_GenerateKeyPair", "template-incomplete", [offer](Trial& t) { PairIncomplete(t, offer); });
}

// ---- C_GenerateKey of domain parameters

void GeneratesDomain(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE domain = 0;
  Template wanted = Template().Bool(CKA_TOKEN, false).Ulong(CKA_PRIME_BITS, 2048);
  if (offer.row->key_type == CKK_X9_42_DH) wanted.Ulong(CKA_SUBPRIME_BITS, 256);
  if (!t.Expect(Generate(t, offer.type, wanted, domain), {CKR_OK}, "C_GenerateKey")) return;
  t.Check(Number(t, domain, CKA_CLASS) == CKO_DOMAIN_PARAMETERS, "the class is CKO_DOMAIN_PARAMETERS");
  t.Check(Number(t, domain, CKA_KEY_TYPE) == offer.row->key_type, "the key type is the mechanism's");
  t.Check(IsTrue(t, domain, CKA_LOCAL), "CKA_LOCAL is true");
  const auto prime = Read(t, domain, CKA_PRIME), base = Read(t, domain, CKA_BASE);
  t.Check(prime && prime->size() == 256 && ((*prime)[0] & 0x80) != 0, "the prime has the bits asked for");
  t.Check(base && !base->empty(), "there is a base");
  if (offer.row->key_type != CKK_DH) t.Check(Read(t, domain, CKA_SUBPRIME).has_value(), "there is a subprime");
}

// DSA's primes and the seed that they came of, and the base that follows from both.
void GeneratesSeededPrimes(Trial& t, const Offer& offer) {
  Bytes seed(96);
  CK_DSA_PARAMETER_GEN_PARAM parameter{CKM_SHA256, seed.data(), seed.size(), 1};
  CK_MECHANISM mechanism{offer.type, &parameter, sizeof parameter};
  Template wanted = Template().Bool(CKA_TOKEN, false).Ulong(CKA_PRIME_BITS, 2048).Ulong(CKA_SUBPRIME_BITS, 256);
  CK_OBJECT_HANDLE primes = 0, domain = 0;
  NEED(t, CKR_OK, t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &primes));
  t.Check(Number(t, primes, CKA_CLASS) == CKO_DOMAIN_PARAMETERS, "the class is CKO_DOMAIN_PARAMETERS");
  t.Check(seed != Bytes(96), "there is a seed");
  const auto prime = Read(t, primes, CKA_PRIME), subprime = Read(t, primes, CKA_SUBPRIME);
  if (!t.Check(prime && prime->size() == 256 && subprime && subprime->size() == 32, "the sizes are those asked for"))
    return;
  const Offer* generator = t.survey.Find(CKM_DSA_FIPS_G_GEN);
  if (generator == nullptr || !generator->Does(CKF_GENERATE)) return;
  mechanism.mechanism = CKM_DSA_FIPS_G_GEN;
  Template given = Template().Bool(CKA_TOKEN, false).Raw(CKA_PRIME, *prime).Raw(CKA_SUBPRIME, *subprime);
  std::vector<std::optional<Bytes>> bases;
  for (const CK_ULONG index : {CK_ULONG{1}, CK_ULONG{1}, CK_ULONG{2}}) {
    parameter.ulIndex = index;
    NEED(t, CKR_OK, t.p11->C_GenerateKey(t.session, &mechanism, given.data(), given.size(), &domain));
    bases.push_back(Read(t, domain, CKA_BASE));
  }
  t.Check(bases[0] && bases[0] == bases[1] && bases[0] != bases[2], "the base follows from seed and index");
}

// Without a parameter, and without the primes.
void SeededDomainRefuses(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE domain = 0;
  t.Expect(Generate(t, offer.type, Template().Bool(CKA_TOKEN, false).Ulong(CKA_PRIME_BITS, 2048), domain),
           {CKR_MECHANISM_PARAM_INVALID}, "C_GenerateKey");
  Bytes seed(96);
  CK_DSA_PARAMETER_GEN_PARAM parameter{CKM_SHA256, seed.data(), seed.size(), 1};
  CK_MECHANISM mechanism{offer.type, &parameter, sizeof parameter};
  Template nothing = Template().Bool(CKA_TOKEN, false);
  WANT(t, CKR_TEMPLATE_INCOMPLETE,
       t.p11->C_GenerateKey(t.session, &mechanism, nothing.data(), nothing.size(), &domain));
}

void DomainRefuses(Trial& t, const Offer& offer) {
  CK_OBJECT_HANDLE domain = 0;
  t.Expect(Generate(t, offer.type, Template().Bool(CKA_TOKEN, false), domain), {CKR_TEMPLATE_INCOMPLETE},
           "C_GenerateKey");
  Template given = Template().Bool(CKA_TOKEN, false).Ulong(CKA_PRIME_BITS, 2048).Add(DomainOf(offer.row->key_type));
  t.ExpectRefusal(Generate(t, offer.type, given, domain), "C_GenerateKey");
}

void AddGenerators(Plan& plan) {
  plan.Add("C_GenerateKey", "unknown-mechanism", [](Trial& t) {
    CK_OBJECT_HANDLE key = 0;
    t.Expect(Generate(t, CKM_VENDOR_DEFINED | 0x7654321, Template().Bool(CKA_TOKEN, false), key),
             {CKR_MECHANISM_INVALID}, "C_GenerateKey");
  });
  plan.Add("C_GenerateKey", "not-a-generator", [](Trial& t) {
    CK_OBJECT_HANDLE key = 0;
    t.Expect(Generate(t, CKM_SHA256, Template().Bool(CKA_TOKEN, false), key), {CKR_MECHANISM_INVALID}, "C_GenerateKey");
  });
  plan.Add("C_GenerateKeyPair", "not-a-generator", [](Trial& t) {
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    Template first = Template().Bool(CKA_TOKEN, false), second = first;
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
    WANT(t, CKR_MECHANISM_INVALID,
         t.p11->C_GenerateKeyPair(t.session, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                  &public_key, &private_key));
  });
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.row == nullptr) continue;
    const bool domain = offer.row->recipe == spec::Recipe::kDomainGen;
    if (domain && offer.Does(CKF_GENERATE) && offer.row->parameter != spec::ParameterKind::kNone) {
      const std::string name = MechanismName(offer.type);
      if (offer.row->parameter == spec::ParameterKind::kDsaSeedOut)
        plan.AddFor(name, "C_GenerateKey", "makes-parameters", [offer](Trial& t) { GeneratesSeededPrimes(t, offer); });
      plan.AddFor(name, "C_GenerateKey", "refuses", [offer](Trial& t) { SeededDomainRefuses(t, offer); });
      continue;
    }
    if (domain && offer.Does(CKF_GENERATE)) {
      const std::string name = MechanismName(offer.type);
      plan.AddFor(name, "C_GenerateKey", "makes-parameters", [offer](Trial& t) { GeneratesDomain(t, offer); });
      plan.AddFor(name, "C_GenerateKey", "refuses", [offer](Trial& t) { DomainRefuses(t, offer); });
    } else if (offer.Does(CKF_GENERATE) && offer.row->parameter == spec::ParameterKind::kNone) {
      AddGenerate(plan, offer);
    }
    if (offer.Does(CKF_GENERATE_KEY_PAIR)) AddPair(plan, offer);
  }
}

// ---- C_WrapKey, C_UnwrapKey

struct Wrapping {
  Trial& t;
  std::shared_ptr<Sample> sample;
  MadeKey key;
  CK_OBJECT_HANDLE target = 0;  // a secret that may leave

  CK_RV Wrap(CK_OBJECT_HANDLE what, Bytes& wrapped) {
    wrapped.assign(1024, 0);
    CK_ULONG length = wrapped.size();
    const CK_RV rv = t.p11->C_WrapKey(t.session, &sample->mechanism, key.first, what, wrapped.data(), &length);
    wrapped.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Unwrap(ByteView wrapped, const Template& more, CK_OBJECT_HANDLE& made) {
    Template wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false).Add(more);
    return t.p11->C_UnwrapKey(t.session, &sample->mechanism, key.second, Ptr(wrapped), wrapped.size(), wanted.data(),
                              wanted.size(), &made);
  }
};
const Template& Open() {
  static const Template open = Template().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  return open;
}

CK_OBJECT_HANDLE Target(Trial& t, const Template& more) {
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_AES)
      .Bool(CKA_TOKEN, false)
      .Raw(CKA_VALUE, Bytes(32, 0x6B))
      .Add(more);
  CK_OBJECT_HANDLE made = 0;
  WANT(t, CKR_OK, t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &made));
  return made;
}

// What a key makes of a block: tells two keys apart where neither may be read.
Bytes Encrypted(Trial& t, CK_OBJECT_HANDLE key) {
  CK_BYTE iv[16] = {}, text[16] = {1};
  CK_MECHANISM mechanism{CKM_AES_CBC, iv, sizeof iv};
  Bytes out(16);
  CK_ULONG length = out.size();
  WANT(t, CKR_OK, t.p11->C_EncryptInit(t.session, &mechanism, key));
  WANT(t, CKR_OK, t.p11->C_Encrypt(t.session, text, sizeof text, out.data(), &length));
  return out;
}

void WrapsAndUnwraps(Wrapping& w) {
  Trial& t = w.t;
  Bytes wrapped;
  CK_OBJECT_HANDLE made = 0;
  if (!t.Expect(w.Wrap(w.target, wrapped), {CKR_OK}, "C_WrapKey")) return;
  // Careful tokens make sensitive keys only: nothing is asked for.
  if (!t.Expect(w.Unwrap(wrapped, Template().Bool(CKA_ENCRYPT, true), made), {CKR_OK}, "C_UnwrapKey")) return;
  t.Check(Encrypted(t, made) == Encrypted(t, w.target), "the key that comes back is the one that went");
  t.Check(!IsTrue(t, made, CKA_LOCAL), "CKA_LOCAL of an unwrapped key is false");
  t.Check(!IsTrue(t, made, CKA_ALWAYS_SENSITIVE), "CKA_ALWAYS_SENSITIVE of an unwrapped key is false");
  t.Check(!IsTrue(t, made, CKA_NEVER_EXTRACTABLE), "CKA_NEVER_EXTRACTABLE of an unwrapped key is false");
}

void WrapBuffers(Wrapping& w) {
  Trial& t = w.t;
  Bytes wrapped;
  if (!t.Expect(w.Wrap(w.target, wrapped), {CKR_OK}, "C_WrapKey")) return;
  CK_ULONG length = 0;
  NEED(t, CKR_OK, t.p11->C_WrapKey(t.session, &w.sample->mechanism, w.key.first, w.target, nullptr, &length));
  t.Check(length >= wrapped.size(), "the length asked for is enough");
  Bytes room(wrapped.size(), 0xEE);
  for (const std::size_t size : {std::size_t{0}, wrapped.size() - 1}) {
    length = size;
    WANT(t, CKR_BUFFER_TOO_SMALL,
         t.p11->C_WrapKey(t.session, &w.sample->mechanism, w.key.first, w.target, room.data(), &length));
    t.Check(length >= wrapped.size(), "CKR_BUFFER_TOO_SMALL comes with the length needed");
  }
  length = room.size();
  WANT(t, CKR_OK, t.p11->C_WrapKey(t.session, &w.sample->mechanism, w.key.first, w.target, room.data(), &length));
}

void WrapRefuses(Wrapping& w) {
  Trial& t = w.t;
  Bytes wrapped;
  const auto kept = Target(t, Template().Bool(CKA_EXTRACTABLE, false));
  t.Expect(w.Wrap(kept, wrapped), {CKR_KEY_UNEXTRACTABLE}, "C_WrapKey");
  t.Expect(w.Wrap(0x7ead0001, wrapped), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}, "C_WrapKey");
  const CK_OBJECT_HANDLE right = w.key.first;
  w.key.first = 0x7ead0001;
  t.Expect(w.Wrap(w.target, wrapped), {CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID}, "C_WrapKey");
  w.key.first = right;
  const auto useless = t.keys.Get(w.sample->key_type, Purpose::kNothing);
  if (!useless.ok()) return;
  w.key = *useless;
  t.Expect(w.Wrap(w.target, wrapped), {CKR_KEY_FUNCTION_NOT_PERMITTED}, "C_WrapKey");
}

void WrapTrustedOnly(Wrapping& w) {
  Trial& t = w.t;
  Bytes wrapped;
  const auto careful = Target(t, Template().Bool(CKA_WRAP_WITH_TRUSTED, true).Bool(CKA_EXTRACTABLE, true));
  t.Expect(w.Wrap(careful, wrapped), {CKR_KEY_NOT_WRAPPABLE, CKR_KEY_UNEXTRACTABLE}, "C_WrapKey");
}

void UnwrapRefuses(Wrapping& w) {
  Trial& t = w.t;
  Bytes wrapped;
  CK_OBJECT_HANDLE made = 0;
  if (!t.Expect(w.Wrap(w.target, wrapped), {CKR_OK}, "C_WrapKey")) return;
  const std::initializer_list<CK_RV> kWrong = {CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE,
                                               CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED};
  if (w.sample->tells_tampering) {
    Bytes altered = wrapped;
    altered[altered.size() / 2] ^= 1;
    t.Expect(w.Unwrap(altered, Template(), made), kWrong, "C_UnwrapKey");
  }
  t.Expect(w.Unwrap(ByteView(wrapped).first(wrapped.size() - 3), Template(), made), kWrong, "C_UnwrapKey");
  t.ExpectRefusal(w.Unwrap(wrapped, Template().Bool(CKA_LOCAL, true), made), "C_UnwrapKey");
  const CK_OBJECT_HANDLE right = w.key.second;
  w.key.second = 0x7ead0001;
  t.Expect(w.Unwrap(wrapped, Template(), made), {CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID},
           "C_UnwrapKey");
  w.key.second = right;
  const auto useless = t.keys.Get(w.sample->key_type, Purpose::kNothing);
  if (!useless.ok()) return;
  w.key = *useless;
  t.Expect(w.Unwrap(wrapped, Template(), made), {CKR_KEY_FUNCTION_NOT_PERMITTED}, "C_UnwrapKey");
}

void AddWrapping(Plan& plan) {
  for (const Offer& offer : plan.survey().mechanisms) {
    if (!offer.Does(CKF_WRAP | CKF_UNWRAP) || MakeSample(offer, CKF_WRAP) == nullptr) continue;
    const auto add = [&](const char* function, const char* what, void (*body)(Wrapping&)) {
      plan.AddFor(MechanismName(offer.type), function, what, [offer, body](Trial& t) {
        Wrapping w{t, MakeSample(offer, CKF_WRAP), {}, 0};
        const auto key = t.keys.Get(w.sample->key_type, Purpose::kWrap);
        if (!key.ok()) return t.NotOffered(key.error());
        w.key = *key;
        w.target = Target(t, Template().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_ENCRYPT, true));
        if (w.target != 0) body(w);
      });
    };
    add("C_UnwrapKey", "gives-the-key-back", WrapsAndUnwraps);
    add("C_WrapKey", "buffers", WrapBuffers);
    add("C_WrapKey", "refuses", WrapRefuses);
    add("C_WrapKey", "wrap-with-trusted", WrapTrustedOnly);
    add("C_UnwrapKey", "refuses", UnwrapRefuses);
  }
}

// ---- C_DeriveKey

// The other side's point, as CKA_EC_POINT shows it and as the bytes in it.
struct Points {
  Bytes encoded, bare;
};
std::optional<Points> PointOf(Trial& t, CK_OBJECT_HANDLE public_key) {
  const auto encoded = Read(t, public_key, CKA_EC_POINT);
  if (!encoded || encoded->size() < 3) return std::nullopt;
  const bool wrapped = (*encoded)[0] == 0x04 && (*encoded)[1] == encoded->size() - 2;
  return Points{*encoded, wrapped ? Bytes(encoded->begin() + 2, encoded->end()) : *encoded};
}

CK_RV Agree(Trial& t, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE own, ByteView other, const Template& more,
            CK_OBJECT_HANDLE& secret) {
  CK_ECDH1_DERIVE_PARAMS parameter{CKD_NULL, 0, nullptr, other.size(), Ptr(other)};
  CK_MECHANISM mechanism{type, &parameter, sizeof parameter};
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false).Add(more);
  return t.p11->C_DeriveKey(t.session, &mechanism, own, wanted.data(), wanted.size(), &secret);
}

void TwoSidesAgree(Trial& t, CK_MECHANISM_TYPE type, CK_KEY_TYPE key_type) {
  const auto alice = t.keys.Make(t.session, key_type, Purpose::kDerive),
             bob = t.keys.Make(t.session, key_type, Purpose::kDerive);
  if (!alice.ok() || !bob.ok()) return t.NotOffered(alice.ok() ? bob.error() : alice.error());
  const auto alices = PointOf(t, alice->first), bobs = PointOf(t, bob->first);
  if (!t.Check(alices && bobs, "public keys have points")) return;
  CK_OBJECT_HANDLE one = 0, other = 0, encoded = 0;
  const Template open = Template(Open()).Ulong(CKA_VALUE_LEN, 32);
  if (!t.Expect(Agree(t, type, alice->second, bobs->bare, open, one), {CKR_OK}, "C_DeriveKey")) return;
  if (!t.Expect(Agree(t, type, bob->second, alices->bare, open, other), {CKR_OK}, "C_DeriveKey")) return;
  t.Check(Read(t, one, CKA_VALUE) == Read(t, other, CKA_VALUE), "both sides have the same secret");
  t.Check(!IsTrue(t, one, CKA_LOCAL), "CKA_LOCAL of a derived key is false");
  // The point also in its DER form, which a token should take (3.2, "ECDH").
  if (!t.Expect(Agree(t, type, alice->second, bobs->encoded, open, encoded), {CKR_OK}, "C_DeriveKey")) return;
  t.Check(Read(t, one, CKA_VALUE) == Read(t, encoded, CKA_VALUE), "the form of the point does not matter");
}

void DeriveRefuses(Trial& t, CK_MECHANISM_TYPE type, CK_KEY_TYPE key_type) {
  const auto alice = t.keys.Make(t.session, key_type, Purpose::kDerive);
  if (!alice.ok()) return t.NotOffered(alice.error());
  const auto point = PointOf(t, alice->first);
  if (!t.Check(point.has_value(), "the public key has its point")) return;
  CK_OBJECT_HANDLE secret = 0;
  const Bytes wrong(point->bare.size(), 0x04);
  if (key_type == CKK_EC) {
    t.Expect(Agree(t, type, alice->second, wrong, Open(), secret),
             {CKR_MECHANISM_PARAM_INVALID, CKR_DOMAIN_PARAMS_INVALID, CKR_DATA_INVALID, CKR_PUBLIC_KEY_INVALID,
              CKR_ARGUMENTS_BAD},
             "C_DeriveKey");
  }
  CK_MECHANISM no_parameter{type, nullptr, 0};
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
  WANT_ONE(t, (CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD),
           t.p11->C_DeriveKey(t.session, &no_parameter, alice->second, wanted.data(), wanted.size(), &secret));
  const auto useless = t.keys.Make(t.session, key_type, Purpose::kNothing, Template().Bool(CKA_DERIVE, false));
  if (!useless.ok()) return;
  t.Expect(Agree(t, type, useless->second, point->bare, Open(), secret), {CKR_KEY_FUNCTION_NOT_PERMITTED},
           "C_DeriveKey");
  t.Expect(Agree(t, type, 0x7ead0001, point->bare, Open(), secret), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID},
           "C_DeriveKey");
}

// PKCS #3 has the other side's value flat, X9.42 in a struct.
CK_RV AgreeInField(Trial& t, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE own, ByteView other, CK_OBJECT_HANDLE& secret) {
  CK_X9_42_DH1_DERIVE_PARAMS parameter{CKD_NULL, 0, nullptr, other.size(), Ptr(other)};
  CK_MECHANISM mechanism{type, Ptr(other), other.size()};
  if (type == CKM_X9_42_DH_DERIVE) mechanism = {type, &parameter, sizeof parameter};
  Template wanted = Open();
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
  wanted.Ulong(CKA_VALUE_LEN, 32);
  return t.p11->C_DeriveKey(t.session, &mechanism, own, wanted.data(), wanted.size(), &secret);
}

void TwoSidesAgreeInField(Trial& t, CK_MECHANISM_TYPE type, CK_KEY_TYPE key_type) {
  const auto alice = t.keys.Make(t.session, key_type, Purpose::kDerive),
             bob = t.keys.Make(t.session, key_type, Purpose::kDerive);
  if (!alice.ok() || !bob.ok()) return t.NotOffered(alice.ok() ? bob.error() : alice.error());
  const auto alices = Read(t, alice->first, CKA_VALUE), bobs = Read(t, bob->first, CKA_VALUE);
  if (!t.Check(alices && bobs, "public keys have values")) return;
  CK_OBJECT_HANDLE one = 0, other = 0;
  if (!t.Expect(AgreeInField(t, type, alice->second, *bobs, one), {CKR_OK}, "C_DeriveKey")) return;
  if (!t.Expect(AgreeInField(t, type, bob->second, *alices, other), {CKR_OK}, "C_DeriveKey")) return;
  t.Check(Read(t, one, CKA_VALUE) == Read(t, other, CKA_VALUE), "both sides have the same secret");
  t.ExpectRefusal(AgreeInField(t, type, bob->second, Bytes{1}, other), "C_DeriveKey with the value 1");
  t.ExpectRefusal(AgreeInField(t, type, bob->second, Bytes(256, 0xFF), other), "C_DeriveKey with a value above p");
}

// What everybody may know of a private key (3.2, "Public key from private key").
void GivesThePublicHalf(Trial& t, CK_KEY_TYPE key_type, CK_ATTRIBUTE_TYPE part) {
  const auto pair = t.keys.Make(t.session, key_type, Purpose::kSign);
  if (!pair.ok()) return t.NotOffered(pair.error());
  CK_MECHANISM mechanism{CKM_PUB_KEY_FROM_PRIV_KEY, nullptr, 0};
  CK_OBJECT_HANDLE half = 0;
  NEED(t, CKR_OK, t.p11->C_DeriveKey(t.session, &mechanism, pair->second, nullptr, 0, &half));
  t.Check(Number(t, half, CKA_CLASS) == CKO_PUBLIC_KEY, "the class is CKO_PUBLIC_KEY");
  t.Check(Read(t, half, part) == Read(t, pair->first, part), "it is the public key of the pair");
  t.Check(!IsTrue(t, half, CKA_LOCAL), "CKA_LOCAL is false");
}

void AddAgreement(Plan& plan) {
  for (const auto& [type, key_type] : {std::pair{CK_MECHANISM_TYPE{CKM_DH_PKCS_DERIVE}, CK_KEY_TYPE{CKK_DH}},
                                       std::pair{CK_MECHANISM_TYPE{CKM_X9_42_DH_DERIVE}, CK_KEY_TYPE{CKK_X9_42_DH}}}) {
    if (!plan.survey().Offers(type, CKF_DERIVE)) continue;
    plan.AddFor(MechanismName(type), "C_DeriveKey", "two-sides-agree",
                [type = type, key_type = key_type](Trial& t) { TwoSidesAgreeInField(t, type, key_type); });
  }
  if (plan.survey().Offers(CKM_PUB_KEY_FROM_PRIV_KEY, CKF_DERIVE)) {
    const std::string name = MechanismName(CKM_PUB_KEY_FROM_PRIV_KEY);
    plan.AddFor(name, "C_DeriveKey", "public-half-of-rsa",
                [](Trial& t) { GivesThePublicHalf(t, CKK_RSA, CKA_MODULUS); });
    plan.AddFor(name, "C_DeriveKey", "public-half-of-ec",
                [](Trial& t) { GivesThePublicHalf(t, CKK_EC, CKA_EC_POINT); });
  }
  for (const Offer& offer : plan.survey().mechanisms) {
    if (!offer.Does(CKF_DERIVE) || (offer.type != CKM_ECDH1_DERIVE && offer.type != CKM_ECDH1_COFACTOR_DERIVE))
      continue;
    const CK_MECHANISM_TYPE type = offer.type;
    const std::string name = MechanismName(type);
    plan.AddFor(name, "C_DeriveKey", "two-sides-agree", [type](Trial& t) { TwoSidesAgree(t, type, CKK_EC); });
    plan.AddFor(name, "C_DeriveKey", "refuses", [type](Trial& t) { DeriveRefuses(t, type, CKK_EC); });
    if (plan.survey().Find(CKM_EC_MONTGOMERY_KEY_PAIR_GEN) == nullptr || type != CKM_ECDH1_DERIVE) continue;
    plan.AddFor(name, "C_DeriveKey", "two-sides-agree-on-x25519",
                [type](Trial& t) { TwoSidesAgree(t, type, CKK_EC_MONTGOMERY); });
  }
}

// ---- Random numbers

void AddRandom(Plan& plan) {
  plan.Chapter("random numbers", Stage::kUser);
  plan.Add("C_GenerateRandom", "differs", [](Trial& t) {
    Bytes one(64), other(64);
    NEED(t, CKR_OK, t.p11->C_GenerateRandom(t.session, one.data(), one.size()));
    NEED(t, CKR_OK, t.p11->C_GenerateRandom(t.session, other.data(), other.size()));
    t.Check(one != other && one != Bytes(64), "two draws differ");
  });
  plan.Add("C_GenerateRandom", "sizes", [](Trial& t) {
    for (const std::size_t size : {1u, 31u, 1000u, 70000u, 1u << 20}) {
      Bytes bytes(size + 16, 0xEE);
      NEED(t, CKR_OK, t.p11->C_GenerateRandom(t.session, bytes.data(), size));
      t.Check(Bytes(bytes.end() - 16, bytes.end()) == Bytes(16, 0xEE), "nothing is written beyond the buffer");
    }
  });
  plan.Add("C_GenerateRandom", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GenerateRandom(t.session, nullptr, 16)); });
  plan.Add("C_SeedRandom", "seeds", [](Trial& t) {
    Bytes seed(32, 0x17), one(32), other(32);
    WANT_ONE(t, (CKR_OK, CKR_RANDOM_SEED_NOT_SUPPORTED), t.p11->C_SeedRandom(t.session, seed.data(), seed.size()));
    NEED(t, CKR_OK, t.p11->C_GenerateRandom(t.session, one.data(), one.size()));
    (void)t.p11->C_SeedRandom(t.session, seed.data(), seed.size());
    NEED(t, CKR_OK, t.p11->C_GenerateRandom(t.session, other.data(), other.size()));
    t.Check(one != other, "a seed adds to the generator and does not set it");
  });
}

}  // namespace

void AddKeyManagement(Plan& plan) {
  plan.Chapter("key management", Stage::kUser);
  AddGenerators(plan);
  AddWrapping(plan);
  AddAgreement(plan);
  AddRandom(plan);
}

}  // namespace cmkd::conformance
