// B: attributes.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {
namespace {

constexpr std::initializer_list<CK_RV> kReadOnly = {CKR_ATTRIBUTE_READ_ONLY};
constexpr std::initializer_list<CK_RV> kReadOnlyOrBad = {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT};

// A closed key in the session, of ordinary use.
CK_RV MakeKey(const Bench& bench, CK_OBJECT_HANDLE& key, Template more = {}) {
  const Template closed = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false);
  return bench.GenerateAes(Joined(closed, std::move(more)), key);
}

void B01(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, copy = 0;
  if (!trial.Ready("C_GenerateKey", MakeKey(bench, key))) return;
  const Template open = Template().Bool(CKA_SENSITIVE, false);
  trial.MustRefuse("C_SetAttributeValue", bench.Set(key, open), kReadOnly, "a sensitive key is made readable");
  trial.MustRefuse("C_CopyObject", bench.Copy(key, open, copy), kReadOnlyOrBad,
                   "a copy of a sensitive key is readable");
  CK_BYTE value[64];
  CK_ATTRIBUTE wanted{CKA_VALUE, value, sizeof value};
  const CK_RV rv = bench.f()->C_GetAttributeValue(bench.session(), key, &wanted, 1);
  trial.MustRefuse("C_GetAttributeValue", rv, {CKR_ATTRIBUTE_SENSITIVE}, "a sensitive key is read");
  if (wanted.ulValueLen != CK_UNAVAILABLE_INFORMATION) trial.Broken("a refused value has a length");
}

void B02(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, copy = 0;
  if (!trial.Ready("C_GenerateKey", MakeKey(bench, key))) return;
  const Template open = Template().Bool(CKA_EXTRACTABLE, true);
  trial.MustRefuse("C_SetAttributeValue", bench.Set(key, open), kReadOnly, "an unextractable key is made extractable");
  trial.MustRefuse("C_CopyObject", bench.Copy(key, open, copy), kReadOnlyOrBad, "a copy is extractable");
}

void B03(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, wrapping = 0, target = 0, made = 0, pub = 0, priv = 0;
  Bytes blob;
  if (!trial.Ready("C_GenerateKey", MakeKey(bench, key)) ||
      !trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) ||
      !trial.Ready("target", bench.MakeTarget(target)) ||
      !trial.Ready("C_WrapKey", bench.Wrap(Mechanism(CKM_AES_KEY_WRAP), wrapping, target, blob)))
    return;
  const bool pair =
      bench.GenerateEc(Template(), Template().Bool(CKA_DERIVE, true).Bool(CKA_SIGN, false), pub, priv) == CKR_OK;
  const struct {
    const char* name;
    Template claim;
  } claims[] = {{"CKA_ALWAYS_SENSITIVE", Template().Bool(CKA_ALWAYS_SENSITIVE, true)},
                {"CKA_NEVER_EXTRACTABLE", Template().Bool(CKA_NEVER_EXTRACTABLE, true)},
                {"CKA_LOCAL", Template().Bool(CKA_LOCAL, true)},
                {"CKA_KEY_GEN_MECHANISM", Template().Ulong(CKA_KEY_GEN_MECHANISM, CKM_AES_KEY_GEN)},
                {"CKA_UNIQUE_ID", Template().Text(CK_ATTRIBUTE_TYPE{4}, "forged")}};
  const std::initializer_list<CK_RV> right = {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT,
                                              CKR_ATTRIBUTE_TYPE_INVALID};
  for (const auto& claim : claims) {
    const std::string loss = std::string(claim.name) + " is believed";
    const Template closed = AesTemplate({CKA_ENCRYPT});
    trial.MustRefuse("C_GenerateKey", bench.GenerateAes(Joined(closed, claim.claim), made), right, loss);
    trial.MustRefuse("C_CreateObject", bench.Create(Joined(closed, claim.claim).Raw(CKA_VALUE, Random(32)), made),
                     right, loss);
    trial.MustRefuse("C_UnwrapKey",
                     bench.Unwrap(Mechanism(CKM_AES_KEY_WRAP), wrapping, blob, Joined(closed, claim.claim), made),
                     right, loss);
    trial.MustRefuse("C_SetAttributeValue", bench.Set(key, claim.claim), right, loss);
    // A copy may repeat what is so; of a key for which it is not so, it is a forgery.
    if (bench.Copy(key, claim.claim, made) == CKR_OK && std::string(claim.name) == "CKA_UNIQUE_ID") trial.Broken(loss);
    if (!pair) continue;
    trial.MustRefuse(
        "C_DeriveKey",
        bench.Derive(Mechanism::EcdhNull(P256Generator()), priv,
                     Joined(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), claim.claim), made),
        right, loss);
  }
}

void B04(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, copy = 0;
  if (!trial.Ready("C_GenerateKey", MakeKey(bench, key, Template().Bool(CKA_PRIVATE, true)))) return;
  const Template shown = Template().Bool(CKA_PRIVATE, false);
  trial.MustRefuse("C_CopyObject", bench.Copy(key, shown, copy), kReadOnlyOrBad, "a private key's copy is public");
  trial.MustRefuse("C_SetAttributeValue", bench.Set(key, shown), kReadOnlyOrBad, "a private key is made public");
}

void B05(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY,
                                              CKR_TEMPLATE_INCONSISTENT};
  CK_OBJECT_HANDLE fixed = 0, single = 0, lasting = 0, copy = 0;
  if (trial.Ready("unmodifiable key", MakeKey(bench, fixed, Template().Bool(CKA_MODIFIABLE, false)))) {
    trial.MustRefuse("C_SetAttributeValue", bench.Set(fixed, Template().Text(CKA_LABEL, "other")), right,
                     "CKA_MODIFIABLE is not heeded");
    trial.MustRefuse("C_SetAttributeValue", bench.Set(fixed, Template().Bool(CKA_MODIFIABLE, true)), right,
                     "CKA_MODIFIABLE is taken back");
    trial.MustRefuse("C_CopyObject", bench.Copy(fixed, Template().Bool(CKA_MODIFIABLE, true), copy), right,
                     "a modifiable copy");
  }
  if (trial.Ready("uncopyable key", MakeKey(bench, single, Template().Bool(CKA_COPYABLE, false)))) {
    trial.MustRefuse("C_CopyObject", bench.Copy(single, Template().Text(CKA_LABEL, "other"), copy), right,
                     "CKA_COPYABLE is not heeded");
    trial.MustRefuse("C_SetAttributeValue", bench.Set(single, Template().Bool(CKA_COPYABLE, true)), right,
                     "CKA_COPYABLE is taken back");
  }
  if (trial.Ready("undestroyable key", MakeKey(bench, lasting, Template().Bool(CKA_DESTROYABLE, false)))) {
    trial.MustRefuse("C_SetAttributeValue", bench.Set(lasting, Template().Bool(CKA_DESTROYABLE, true)), right,
                     "CKA_DESTROYABLE is taken back");
    trial.MustRefuse("C_DestroyObject", bench.f()->C_DestroyObject(bench.session(), lasting), right,
                     "CKA_DESTROYABLE is not heeded");
  }
}

void B06(Bench& bench, Trial& trial) {
  const auto list = [](std::initializer_list<CK_MECHANISM_TYPE> types) {
    Bytes bytes(types.size() * sizeof(CK_MECHANISM_TYPE));
    std::memcpy(bytes.data(), types.begin(), bytes.size());
    return Template().Raw(CKA_ALLOWED_MECHANISMS, bytes);
  };
  CK_OBJECT_HANDLE key = 0, copy = 0;
  Bytes out;
  if (!trial.Ready("C_GenerateKey", MakeKey(bench, key, list({CKM_AES_GCM})))) return;
  trial.MustRefuse("C_SetAttributeValue", bench.Set(key, list({CKM_AES_GCM, CKM_AES_CBC})), kReadOnly,
                   "CKA_ALLOWED_MECHANISMS is widened");
  trial.MustRefuse("C_CopyObject", bench.Copy(key, list({CKM_AES_GCM, CKM_AES_CBC}), copy), kReadOnlyOrBad,
                   "a copy with more allowed mechanisms");
  trial.MustRefuse("C_EncryptInit", bench.Encrypt(Mechanism::Flat(CKM_AES_CBC, Bytes(16)), key, Bytes(16), out),
                   {CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED}, "CKA_ALLOWED_MECHANISMS is not heeded");
}

void B07(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, copy = 0;
  const Template careful = Template().Bool(CKA_SIGN, true).Bool(CKA_PRIVATE, true).Bool(CKA_ALWAYS_AUTHENTICATE, true);
  if (!trial.Ready("C_GenerateKeyPair", bench.GenerateEc(Template().Bool(CKA_VERIFY, true), careful, pub, priv)))
    return;
  const Bytes digest(32, 1);
  Bytes signature(256);
  // A refusal for want of the login leaves the operation, so that the login can still be given.
  const auto sign = [&](bool log_in) {
    CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
    CK_ULONG length = signature.size();
    const CK_RV begun = bench.f()->C_SignInit(bench.session(), &mechanism, priv);
    if (begun != CKR_OK && begun != CKR_OPERATION_ACTIVE) return begun;
    if (log_in) {
      const CK_RV rv = bench.Login(bench.session(), CKU_CONTEXT_SPECIFIC, bench.pin());
      if (!trial.Ready("C_Login", rv)) return rv;
    }
    return bench.f()->C_Sign(bench.session(), const_cast<CK_BYTE*>(digest.data()), digest.size(), signature.data(),
                             &length);
  };
  const std::initializer_list<CK_RV> right = {CKR_USER_NOT_LOGGED_IN};
  trial.MustRefuse("C_Sign", sign(false), right, "signed without the login of its own");
  trial.Ready("C_Sign after the login", sign(true));
  trial.MustRefuse("C_Sign", sign(false), right, "one login serves two operations");
  const Template careless = Template().Bool(CKA_ALWAYS_AUTHENTICATE, false);
  trial.MustRefuse("C_SetAttributeValue", bench.Set(priv, careless), kReadOnly, "CKA_ALWAYS_AUTHENTICATE is cleared");
  trial.MustRefuse("C_CopyObject", bench.Copy(priv, careless, copy),
                   {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, CKR_ACTION_PROHIBITED},
                   "a copy without CKA_ALWAYS_AUTHENTICATE");
}

void B08(Bench& bench, Trial& trial) {
  const Template twice[] = {AesTemplate({CKA_ENCRYPT}).Bool(CKA_SENSITIVE, false),
                            AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, false).Bool(CKA_EXTRACTABLE, true),
                            AesTemplate({CKA_WRAP}).Bool(CKA_DECRYPT, true),
                            AesTemplate({CKA_ENCRYPT}).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)};
  for (const Template& attributes : twice) {
    CK_OBJECT_HANDLE key = 0;
    trial.MustRefuse("C_GenerateKey", bench.GenerateAes(attributes, key), {CKR_TEMPLATE_INCONSISTENT},
                     "one attribute given twice, differently");
  }
}

void B09(Bench& bench, Trial& trial) {
  const Bytes booleans[] = {{2}, {255}, {}, {1, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0}};
  for (const Bytes& value : booleans) {
    CK_OBJECT_HANDLE key = 0;
    const Template odd = WithUsages(SecretTemplate(CKK_AES), {CKA_ENCRYPT}).Raw(CKA_SENSITIVE, value);
    trial.MustRefuse("C_GenerateKey", bench.GenerateAes(odd, key), {CKR_ATTRIBUTE_VALUE_INVALID},
                     "a boolean that is none: " + Hex(value));
  }
  CK_OBJECT_HANDLE key = 0;
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  Template odd = AesTemplate({CKA_ENCRYPT}).Raw(CKA_VALUE_LEN, {32, 0, 0, 0});
  trial.MustRefuse("C_GenerateKey", bench.f()->C_GenerateKey(bench.session(), &mechanism, odd.data(), odd.size(), &key),
                   {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE}, "a number of four bytes");
}

void B10(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT,
                                              CKR_ATTRIBUTE_TYPE_INVALID, CKR_ARGUMENTS_BAD};
  const auto generate = [&bench](CK_ATTRIBUTE bomb) {
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_ULONG length = 32;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE attributes[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_WRAP, &yes, sizeof yes}, bomb};
    CK_OBJECT_HANDLE key = 0;
    return bench.f()->C_GenerateKey(bench.session(), &mechanism, attributes, 3, &key);
  };
  std::vector<CK_ATTRIBUTE> deep(1000);
  CK_BBOOL no = CK_FALSE;
  deep.back() = {CKA_SIGN, &no, sizeof no};
  for (std::size_t i = deep.size() - 1; i-- > 0;) deep[i] = {CKA_WRAP_TEMPLATE, &deep[i + 1], sizeof(CK_ATTRIBUTE)};
  trial.MustRefuse("C_GenerateKey 1000 deep", generate(deep.front()), right, "a thousand nested templates");
  CK_ATTRIBUTE self{CKA_WRAP_TEMPLATE, nullptr, sizeof(CK_ATTRIBUTE)};
  self.pValue = &self;
  trial.MustRefuse("C_GenerateKey in itself", generate(self), right, "a template that holds itself");
  CK_ATTRIBUTE one{CKA_SIGN, &no, sizeof no};
  trial.MustRefuse("C_GenerateKey huge", generate({CKA_WRAP_TEMPLATE, &one, sizeof(CK_ATTRIBUTE) << 40}), right,
                   "a nested template of 2^40 attributes");
  trial.MustRefuse("C_GenerateKey odd", generate({CKA_WRAP_TEMPLATE, &one, sizeof(CK_ATTRIBUTE) - 1}), right,
                   "a nested template of a broken length");
  trial.MustRefuse("C_GenerateKey array flag", generate({CKA_LABEL | CKF_ARRAY_ATTRIBUTE, &one, sizeof one}), right,
                   "an array flag on a text");
}

void B11(Bench& bench, Trial& trial) {
  const auto dated = [](CK_ATTRIBUTE_TYPE type, const char* date) {
    return AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false).Text(type, date);
  };
  for (const auto& [type, date] : {std::pair{CK_ATTRIBUTE_TYPE{CKA_END_DATE}, "20200101"},
                                   std::pair{CK_ATTRIBUTE_TYPE{CKA_START_DATE}, "29990101"}}) {
    CK_OBJECT_HANDLE key = 0;
    Bytes out;
    if (!trial.Ready("C_GenerateKey", bench.GenerateAes(dated(type, date), key))) continue;
    trial.MustRefuse("C_EncryptInit", bench.Encrypt(Mechanism::Gcm(Random(12)), key, Bytes(16), out),
                     {CKR_KEY_FUNCTION_NOT_PERMITTED}, "a key is used outside its dates");
  }
}

constexpr Case kCases[] = {
    {"B01", "makes a sensitive key readable", B01},
    {"B02", "makes an unextractable key extractable", B02},
    {"B03", "forges a key's history", B03},
    {"B04", "makes a private key public", B04},
    {"B05", "gets round unmodifiable, uncopyable, undestroyable", B05},
    {"B06", "widens the allowed mechanisms", B06},
    {"B07", "spares the login before each use", B07},
    {"B08", "gives an attribute twice, differently", B08},
    {"B09", "gives values of odd sizes", B09},
    {"B10", "gives nested templates without end", B10, nullptr, true},
    {"B11", "uses a key outside its dates", B11},
};

}  // namespace

std::span<const Case> AttributeCases() { return kCases; }

}  // namespace cmkd::attacks
