// A: key separation and wrapping.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {
namespace {

const Bytes kZeroIv(16, 0);
constexpr std::initializer_list<CK_RV> kBadFlags = {CKR_TEMPLATE_INCONSISTENT};
constexpr std::initializer_list<CK_RV> kFixedFlags = {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT};
constexpr std::initializer_list<CK_RV> kNoWrap = {CKR_MECHANISM_INVALID, CKR_KEY_NOT_WRAPPABLE};
constexpr std::initializer_list<CK_RV> kNoUse = {CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID};

Mechanism CbcPad() { return Mechanism::Flat(CKM_AES_CBC_PAD, kZeroIv); }
Mechanism Cbc() { return Mechanism::Flat(CKM_AES_CBC, kZeroIv); }
Mechanism Kw() { return Mechanism(CKM_AES_KEY_WRAP); }

// How a wrapping is undone with decryption by the same key.
struct Undo {
  const char* name;
  Mechanism (*wrapping)();
  CK_MECHANISM_TYPE decrypting;
};
constexpr Undo kUndos[] = {
    {"CBC", Cbc, CKM_AES_CBC}, {"CBC_PAD", CbcPad, CKM_AES_CBC_PAD}, {"KEY_WRAP", Kw, CKM_AES_KEY_WRAP}};

Mechanism Decrypting(CK_MECHANISM_TYPE type) {
  return type == CKM_AES_KEY_WRAP ? Mechanism(type) : Mechanism::Flat(type, kZeroIv);
}

void JudgeBytes(const Bench& bench, Trial& trial, const Bytes& candidate, const std::string& how) {
  if (bench.IsTarget(candidate)) {
    trial.Broken(how);
  } else {
    trial.Held("what comes out is not the key");
  }
}

// Wraps with one key and decrypts with another (or the same), by every pair of mechanisms that undo each other.
void WrapThenDecrypt(Bench& bench, Trial& trial, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE decrypting,
                     CK_OBJECT_HANDLE target) {
  for (const Undo& undo : kUndos) {
    Bytes blob, plain;
    const std::string name = std::string(" ") + undo.name;
    if (!trial.Through("C_WrapKey" + name, bench.Wrap(undo.wrapping(), wrapping, target, blob), kNoWrap)) continue;
    if (!trial.Through("C_DecryptInit" + name, bench.Decrypt(Decrypting(undo.decrypting), decrypting, blob, plain),
                       kNoUse))
      continue;
    JudgeBytes(bench, trial, plain, "C_Decrypt gives the wrapped key");
  }
}

void A01(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0;
  if (!trial.Through("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_WRAP, CKA_DECRYPT}), wrapping), kBadFlags))
    return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  WrapThenDecrypt(bench, trial, wrapping, wrapping, target);
}

void A02(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0;
  Bytes blob;
  if (!trial.Through("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_WRAP, CKA_DECRYPT}), wrapping), kBadFlags))
    return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  if (!trial.Through("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob), kNoWrap)) return;
  CK_RV last = CKR_OK;
  const Bytes plain = UndoKeyWrap(
      [&](const Bytes& block) {
        Bytes out;
        last = bench.Decrypt(Mechanism(CKM_AES_ECB), wrapping, block, out);
        return out;
      },
      blob);
  if (trial.Through("C_DecryptInit ECB", last, kNoUse))
    JudgeBytes(bench, trial, plain, "RFC 3394 undone block by block with C_Decrypt");
}

void A03(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0;
  Bytes blob, plain;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) || !trial.Ready("target", bench.MakeTarget(target)))
    return;
  Mechanism mechanism = Kw();
  if (!trial.Ready("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob))) return;
  const CK_RV set = bench.Set(wrapping, Template().Bool(CKA_WRAP, false).Bool(CKA_DECRYPT, true));
  if (!trial.Through("C_SetAttributeValue", set, kFixedFlags)) return;
  CK_RV last = CKR_OK;
  plain = UndoKeyWrap(
      [&](const Bytes& block) {
        Bytes out;
        last = bench.Decrypt(Mechanism(CKM_AES_ECB), wrapping, block, out);
        return out;
      },
      blob);
  if (trial.Through("C_DecryptInit", last, kNoUse)) JudgeBytes(bench, trial, plain, "a wrapping key turned to decrypt");
}

// A copy that decrypts, made before and after the original has wrapped; of a key that may do both from the start, where
// the token allows such keys.
void A04(Bench& bench, Trial& trial) {
  for (const bool both : {false, true}) {
    for (const bool copy_first : {false, true}) {
      CK_OBJECT_HANDLE wrapping = 0, target = 0, copy = 0;
      const CK_RV made =
          both ? bench.GenerateAes(AesTemplate({CKA_WRAP, CKA_DECRYPT}), wrapping) : bench.MakeWrappingKey(wrapping);
      if (both ? !trial.Through("C_GenerateKey", made, kBadFlags) : !trial.Ready("wrapping key", made)) continue;
      if (!trial.Ready("target", bench.MakeTarget(target))) return;
      Bytes blob, plain;
      if (!copy_first && !trial.Through("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob), kNoWrap)) continue;
      const CK_RV copied = bench.Copy(wrapping, Template().Bool(CKA_DECRYPT, true), copy);
      if (!trial.Through("C_CopyObject", copied, kFixedFlags)) continue;
      if (copy_first && !trial.Through("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob), kNoWrap)) continue;
      CK_RV last = CKR_OK;
      plain = UndoKeyWrap(
          [&](const Bytes& block) {
            Bytes out;
            last = bench.Decrypt(Mechanism(CKM_AES_ECB), copy, block, out);
            return out;
          },
          blob);
      if (trial.Through("C_DecryptInit of the copy", last, kNoUse))
        JudgeBytes(bench, trial, plain, "a copy of the wrapping key decrypts");
    }
  }
}

void A05(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE injecting = 0, planted = 0, target = 0;
  const Bytes known = Random(32);
  Bytes blob;
  if (!trial.Through("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_UNWRAP}), injecting), kBadFlags))
    return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  CK_RV last = CKR_OK;
  const Bytes sealed = MakeKeyWrap(
      [&](const Bytes& block) {
        Bytes out;
        last = bench.Encrypt(Mechanism(CKM_AES_ECB), injecting, block, out);
        return out;
      },
      known);
  if (!trial.Through("C_EncryptInit", last, kNoUse)) return;
  const CK_RV unwrapped = bench.Unwrap(Kw(), injecting, sealed, AesTemplate({CKA_WRAP}), planted);
  if (!trial.Through("C_UnwrapKey", unwrapped, {CKR_TEMPLATE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED})) return;
  if (!trial.Through("C_WrapKey under the planted key", bench.Wrap(Kw(), planted, target, blob), kNoWrap)) return;
  JudgeBytes(bench, trial, UndoKeyWrap(AesBlockDecrypt(known), blob), "wrapped under a key that was planted");
}

void A06(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, weak = 0;
  Bytes blob, value;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) || !trial.Ready("target", bench.MakeTarget(target)))
    return;
  if (!trial.Ready("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob))) return;
  Template open =
      WithUsages(SecretTemplate(CKK_AES), {CKA_ENCRYPT}).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  if (!trial.Through("C_UnwrapKey", bench.Unwrap(Kw(), wrapping, blob, open, weak), kBadFlags)) return;
  if (!trial.Through("C_GetAttributeValue", bench.Get(weak, CKA_VALUE, value), {CKR_ATTRIBUTE_SENSITIVE})) return;
  JudgeBytes(bench, trial, value, "unwrapped as readable, and read");
}

void A07(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE master = 0, inner = 0, wraps = 0, decrypts = 0, target = 0;
  Bytes inner_blob, blob;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(master)) || !trial.Ready("target", bench.MakeTarget(target)))
    return;
  // The key to be imported twice: one that may be wrapped, whatever its usage.
  const CK_RV made = bench.GenerateAes(AesTemplate({CKA_WRAP}).Bool(CKA_EXTRACTABLE, true), inner);
  if (!trial.Through("C_GenerateKey", made, kBadFlags)) return;
  if (!trial.Through("C_WrapKey of it", bench.Wrap(Kw(), master, inner, inner_blob), kNoWrap)) return;
  const bool first = trial.Through("C_UnwrapKey to wrap",
                                   bench.Unwrap(Kw(), master, inner_blob, AesTemplate({CKA_WRAP}), wraps), kBadFlags);
  const bool second =
      trial.Through("C_UnwrapKey to decrypt",
                    bench.Unwrap(Kw(), master, inner_blob, AesTemplate({CKA_DECRYPT}), decrypts), kBadFlags);
  if (!second) return;
  if (first) WrapThenDecrypt(bench, trial, wraps, decrypts, target);
  WrapThenDecrypt(bench, trial, inner, decrypts, target);
}

void A08(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE trojan = 0, target = 0;
  const Bytes known = Random(32);
  Bytes blob;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  const CK_RV made = bench.Create(AesTemplate({CKA_WRAP}).Raw(CKA_VALUE, known), trojan);
  if (!trial.Through("C_CreateObject", made, kBadFlags)) return;
  if (!trial.Through("C_WrapKey", bench.Wrap(Kw(), trojan, target, blob), kNoWrap)) return;
  JudgeBytes(bench, trial, UndoKeyWrap(AesBlockDecrypt(known), blob), "wrapped under a key of known value");
}

void A09(Bench& bench, Trial& trial) {
  const OwnRsa own;
  CK_OBJECT_HANDLE trojan = 0, target = 0;
  Bytes blob;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA).Bool(CKA_WRAP, true);
  attributes.Bool(CKA_ENCRYPT, false).Bool(CKA_VERIFY, false).Raw(CKA_MODULUS, own.modulus());
  attributes.Raw(CKA_PUBLIC_EXPONENT, own.exponent());
  if (!trial.Through("C_CreateObject", bench.Create(attributes, trojan), kBadFlags)) return;
  if (trial.Through("C_WrapKey OAEP", bench.Wrap(Mechanism::Oaep(), trojan, target, blob), kNoWrap)) {
    JudgeBytes(bench, trial, own.DecryptOaep(blob), "wrapped under the attacker's public key");
  }
  if (trial.Through("C_WrapKey PKCS", bench.Wrap(Mechanism(CKM_RSA_PKCS), trojan, target, blob), kNoWrap)) {
    JudgeBytes(bench, trial, own.DecryptPkcs1(blob), "wrapped under the attacker's public key");
  }
}

Template PublicUsages(std::initializer_list<CK_ATTRIBUTE_TYPE> usages) {
  Template attributes;
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_ENCRYPT, CKA_WRAP, CKA_VERIFY}) {
    attributes.Bool(usage, std::find(usages.begin(), usages.end(), usage) != usages.end());
  }
  return attributes;
}

Template PrivateUsages(std::initializer_list<CK_ATTRIBUTE_TYPE> usages) {
  Template attributes = Template().Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false);
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN}) {
    attributes.Bool(usage, std::find(usages.begin(), usages.end(), usage) != usages.end());
  }
  return attributes;
}

void A10(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, target = 0;
  Bytes blob, plain;
  const CK_RV made = bench.GenerateRsa(PublicUsages({CKA_WRAP}), PrivateUsages({CKA_DECRYPT}), pub, priv);
  if (!trial.Through("C_GenerateKeyPair", made, kBadFlags)) return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  for (const bool oaep : {true, false}) {
    const auto mechanism = [oaep] { return oaep ? Mechanism::Oaep() : Mechanism(CKM_RSA_PKCS); };
    const std::string name = oaep ? " OAEP" : " PKCS";
    if (!trial.Through("C_WrapKey" + name, bench.Wrap(mechanism(), pub, target, blob), kNoWrap)) continue;
    if (!trial.Through("C_DecryptInit" + name, bench.Decrypt(mechanism(), priv, blob, plain), kNoUse)) continue;
    JudgeBytes(bench, trial, plain, "the private half decrypts what the public half wrapped");
  }
}

void A11(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, target = 0;
  Bytes blob, block;
  const CK_RV made = bench.GenerateRsa(PublicUsages({CKA_WRAP}), PrivateUsages({CKA_SIGN}), pub, priv);
  if (!trial.Through("C_GenerateKeyPair", made, kBadFlags)) return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  if (!trial.Through("C_WrapKey PKCS", bench.Wrap(Mechanism(CKM_RSA_PKCS), pub, target, blob), kNoWrap) &&
      !trial.Through("C_WrapKey OAEP", bench.Wrap(Mechanism::Oaep(), pub, target, blob), kNoWrap))
    return;
  if (!trial.Through("C_SignInit X_509", bench.Sign(Mechanism(CKM_RSA_X_509), priv, blob, block), kNoUse)) return;
  trial.Broken("a raw signature is the private operation on the wrapped key");
}

void A12(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE weak = 0, target = 0;
  Bytes blob;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(weak, {}, 16)) ||
      !trial.Ready("target", bench.MakeTarget(target)))
    return;
  trial.MustRefuse("C_WrapKey", bench.Wrap(Kw(), weak, target, blob), {CKR_WRAPPING_KEY_SIZE_RANGE},
                   "AES-128 wraps AES-256");
}

void A13(Bench& bench, Trial& trial) {
  const Bytes id = {1, 2, 3};
  CK_BBOOL yes = CK_TRUE;
  CK_KEY_TYPE type = CKK_AES;
  CK_ULONG length = 24;
  Bytes other_id = {1, 2, 4};
  CK_MECHANISM_TYPE only = CKM_AES_CMAC;
  // What the wrapping key wants of the keys that it wraps; the target has none of it.
  const struct {
    const char* name;
    CK_ATTRIBUTE wanted;
  } kinds[] = {{"a boolean", {CKA_SIGN, &yes, sizeof yes}},
               {"a number", {CKA_VALUE_LEN, &length, sizeof length}},
               {"a byte string", {CKA_ID, other_id.data(), other_id.size()}},
               {"a list", {CKA_ALLOWED_MECHANISMS, &only, sizeof only}},
               {"a missing attribute", {CKA_MODULUS, other_id.data(), other_id.size()}}};
  for (const auto& kind : kinds) {
    CK_OBJECT_HANDLE wrapping = 0, target = 0;
    CK_ATTRIBUTE wanted[] = {{CKA_KEY_TYPE, &type, sizeof type}, kind.wanted};
    const auto* raw = reinterpret_cast<const std::uint8_t*>(wanted);
    const Template more = Template().Raw(CKA_WRAP_TEMPLATE, Bytes(raw, raw + sizeof wanted));
    const CK_RV made = bench.MakeWrappingKey(wrapping, more);
    if (!trial.Through(std::string("C_GenerateKey with ") + kind.name, made,
                       {CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT}))
      continue;
    if (!trial.Ready("target", bench.MakeTarget(target))) return;
    (void)bench.Set(target, Template().Raw(CKA_ID, id));
    Bytes blob;
    trial.MustRefuse("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob),
                     {CKR_KEY_HANDLE_INVALID, CKR_KEY_NOT_WRAPPABLE},
                     std::string("CKA_WRAP_TEMPLATE with ") + kind.name + " is not heeded");
  }
}

void A14(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, key = 0;
  Bytes blob;
  CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
  CK_ATTRIBUTE forced[] = {{CKA_EXTRACTABLE, &no, sizeof no}, {CKA_SENSITIVE, &yes, sizeof yes}};
  const auto* raw = reinterpret_cast<const std::uint8_t*>(forced);
  const Template more = Template().Raw(CKA_UNWRAP_TEMPLATE, Bytes(raw, raw + sizeof forced));
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping, more)) ||
      !trial.Ready("target", bench.MakeTarget(target)) ||
      !trial.Ready("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob)))
    return;
  const Template open = AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, true);
  trial.MustRefuse("C_UnwrapKey", bench.Unwrap(Kw(), wrapping, blob, open, key), kBadFlags,
                   "CKA_UNWRAP_TEMPLATE is overridden");
  if (bench.Unwrap(Kw(), wrapping, blob, AesTemplate({CKA_ENCRYPT}), key) == CKR_OK &&
      bench.IsTrue(key, CKA_EXTRACTABLE))
    trial.Broken("CKA_UNWRAP_TEMPLATE is not applied");
}

void A15(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, copy = 0;
  Bytes blob;
  const Template only_trusted = Template().Bool(CKA_WRAP_WITH_TRUSTED, true);
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) ||
      !trial.Ready("target", bench.MakeTarget(target, 32, only_trusted)))
    return;
  trial.MustRefuse("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob), {CKR_KEY_NOT_WRAPPABLE},
                   "wrapped under a key that nobody trusts");
  trial.MustRefuse("C_SetAttributeValue", bench.Set(target, Template().Bool(CKA_WRAP_WITH_TRUSTED, false)),
                   {CKR_ATTRIBUTE_READ_ONLY}, "CKA_WRAP_WITH_TRUSTED is taken back");
  if (trial.Through("C_CopyObject", bench.Copy(target, Template().Bool(CKA_WRAP_WITH_TRUSTED, false), copy),
                    {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT}))
    trial.Broken("a copy without CKA_WRAP_WITH_TRUSTED");
}

void A16(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT};
  const std::string loss = "a user grants CKA_TRUSTED";
  CK_OBJECT_HANDLE wrapping = 0, key = 0, target = 0;
  Bytes blob;
  const Template trust = Template().Bool(CKA_TRUSTED, true);
  trial.MustRefuse("C_GenerateKey", bench.MakeWrappingKey(key, trust), right, loss);
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) || !trial.Ready("target", bench.MakeTarget(target)))
    return;
  trial.MustRefuse("C_SetAttributeValue", bench.Set(wrapping, trust), right, loss);
  trial.MustRefuse("C_CopyObject", bench.Copy(wrapping, trust, key), right, loss);
  trial.MustRefuse("C_CreateObject",
                   bench.Create(AesTemplate({CKA_ENCRYPT}).Bool(CKA_TRUSTED, true).Raw(CKA_VALUE, Random(32)), key),
                   right, loss);
  if (trial.Ready("C_WrapKey", bench.Wrap(Kw(), wrapping, target, blob))) {
    trial.MustRefuse("C_UnwrapKey",
                     bench.Unwrap(Kw(), wrapping, blob, AesTemplate({CKA_ENCRYPT}).Bool(CKA_TRUSTED, true), key), right,
                     loss);
  }
}

// The SO is asked to trust a key whose value somebody may know. It must be public to be seen by the SO at all.
void A17(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY,
                                              CKR_OBJECT_HANDLE_INVALID};
  CK_OBJECT_HANDLE imported = 0, extractable = 0;
  const Template shared = Template().Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false);
  Template known = AesTemplate({CKA_WRAP}).Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false).Raw(CKA_VALUE, Random(32));
  Template open = AesTemplate({CKA_WRAP}).Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false).Bool(CKA_EXTRACTABLE, true);
  const bool has_imported = trial.Through("C_CreateObject", bench.Create(known, imported), kBadFlags);
  const bool has_open = trial.Through("C_GenerateKey", bench.GenerateAes(open, extractable), kBadFlags);
  if (has_open) (void)bench.Set(extractable, Template().Bool(CKA_EXTRACTABLE, false));
  if (!trial.Ready("C_Login of the SO", bench.LoginAsSo())) return;
  const Template trust = Template().Bool(CKA_TRUSTED, true);
  if (has_imported)
    trial.MustRefuse("C_SetAttributeValue", bench.Set(imported, trust), right, "a key of known value is trusted");
  if (has_open)
    trial.MustRefuse("C_SetAttributeValue", bench.Set(extractable, trust), right,
                     "a key that was extractable is trusted");
  (void)bench.LoginAsUser();
}

void A18(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE one = 0, two = 0;
  Bytes blob;
  const auto open = [] { return AesTemplate({CKA_WRAP, CKA_UNWRAP}).Bool(CKA_EXTRACTABLE, true); };
  if (!trial.Through("C_GenerateKey", bench.GenerateAes(open(), one), kBadFlags)) return;
  if (!trial.Ready("second key", bench.GenerateAes(open(), two))) return;
  trial.MustRefuse("C_WrapKey of itself", bench.Wrap(Kw(), one, one, blob), kNoWrap, "a key wraps itself");
  if (trial.Through("C_WrapKey 1 under 2", bench.Wrap(Kw(), two, one, blob), kNoWrap) &&
      trial.Through("C_WrapKey 2 under 1", bench.Wrap(Kw(), one, two, blob), kNoWrap))
    trial.Broken("two keys wrap each other");
}

void A19(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, pub = 0, priv = 0, data = 0;
  Bytes blob;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping))) return;
  const auto as_kwp = [] { return Mechanism(CKM_AES_KEY_WRAP_PAD); };
  if (trial.Ready("C_GenerateKeyPair",
                  bench.GenerateEc(Template().Bool(CKA_VERIFY, true), Template().Bool(CKA_SIGN, true), pub, priv)))
    trial.MustRefuse("C_WrapKey of a public key", bench.Wrap(as_kwp(), wrapping, pub, blob), {CKR_KEY_NOT_WRAPPABLE},
                     "a public key is wrapped as if it were secret");
  if (trial.Ready("C_CreateObject",
                  bench.Create(Template().Ulong(CKA_CLASS, CKO_DATA).Raw(CKA_VALUE, Random(32)), data)))
    trial.MustRefuse("C_WrapKey of data", bench.Wrap(as_kwp(), wrapping, data, blob),
                     {CKR_KEY_NOT_WRAPPABLE, CKR_KEY_HANDLE_INVALID}, "a data object is wrapped");
}

void A20(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, key = 0;
  Bytes blob;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping))) return;
  for (const bool on_token : {false, true}) {
    const Template closed = AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, false).Bool(CKA_TOKEN, on_token);
    if (!trial.Ready("C_GenerateKey", bench.GenerateAes(closed, key))) continue;
    trial.MustRefuse("C_WrapKey", bench.Wrap(Kw(), wrapping, key, blob), {CKR_KEY_UNEXTRACTABLE},
                     "an unextractable key is wrapped");
  }
}

void A21(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, pub = 0, priv = 0;
  Bytes blob;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping))) return;
  const Template open = Template().Bool(CKA_SIGN, true).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, true);
  if (!trial.Ready("C_GenerateKeyPair", bench.GenerateEc(Template().Bool(CKA_VERIFY, true), open, pub, priv))) return;
  const struct {
    const char* name;
    Mechanism mechanism;
  } modes[] = {{"CBC", Cbc()}, {"CBC_PAD", CbcPad()}, {"ECB", Mechanism(CKM_AES_ECB)}, {"CTR", Mechanism::Ctr()}};
  for (const auto& mode : modes) {
    trial.MustRefuse(std::string("C_WrapKey ") + mode.name, bench.Wrap(mode.mechanism, wrapping, priv, blob), kNoWrap,
                     "a private key is wrapped without authentication");
  }
}

// Two keys wrapped under one IV differ as their values do, and one of the values is the attacker's own.
void A22(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, known = 0;
  const Bytes iv = Random(12), value = Random(32);
  auto held = std::make_shared<Bytes>(iv);
  CK_CCM_PARAMS ccm{};
  ccm.pNonce = held->data();
  ccm.ulNonceLen = held->size();
  ccm.ulMACLen = 16;
  const std::initializer_list<CK_RV> right = {CKR_MECHANISM_PARAM_INVALID, CKR_MECHANISM_INVALID};
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping))) return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  const Template own =
      SecretTemplate(CKK_AES).Raw(CKA_VALUE, value).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  for (const Mechanism& mechanism : {Mechanism::Gcm(iv), Mechanism::Of(CKM_AES_CCM, ccm, {held})}) {
    const std::string name = mechanism.type() == CKM_AES_GCM ? " GCM" : " CCM";
    Bytes blob, other;
    if (!trial.Through("C_WrapKey" + name, bench.Wrap(mechanism, wrapping, target, blob), right)) continue;
    if (known == 0 && !trial.Ready("C_CreateObject", bench.Create(own, known))) return;
    if (!trial.Through("C_WrapKey of a known key" + name, bench.Wrap(mechanism, wrapping, known, other), right))
      continue;
    Bytes found(value.size());
    for (std::size_t i = 0; i < found.size() && i < blob.size() && i < other.size(); ++i)
      found[i] = static_cast<std::uint8_t>(blob[i] ^ other[i] ^ value[i]);
    JudgeBytes(bench, trial, found, "two keys wrapped under one IV: the known one opens the other");
  }
}

constexpr Case kCases[] = {
    {"A01", "wraps and decrypts with one key", A01},
    {"A02", "wraps with AES key wrap and undoes it block by block", A02},
    {"A03", "wraps, turns the key's flags, decrypts", A03},
    {"A04", "wraps, decrypts with a copy of the key", A04},
    {"A05", "encrypts a chosen key, unwraps it, wraps under it", A05},
    {"A06", "unwraps a sensitive key as readable", A06},
    {"A07", "unwraps one key twice, with conflicting roles", A07},
    {"A08", "wraps under an imported key of known value", A08},
    {"A09", "wraps under the attacker's public key", A09},
    {"A10", "wraps with a public key, decrypts with its private key", A10},
    {"A11", "signs a wrapped key with raw RSA", A11},
    {"A12", "wraps under a weaker key", A12},
    {"A13", "wraps a key that CKA_WRAP_TEMPLATE excludes", A13},
    {"A14", "unwraps against CKA_UNWRAP_TEMPLATE", A14},
    {"A15", "gets round CKA_WRAP_WITH_TRUSTED", A15},
    {"A16", "grants itself CKA_TRUSTED", A16},
    {"A17", "has the SO trust a key of known value", A17},
    {"A18", "wraps keys in a circle", A18},
    {"A19", "wraps what is no secret key", A19},
    {"A20", "wraps an unextractable key", A20},
    {"A21", "wraps a private key without authentication", A21},
    {"A22", "wraps two keys under one IV, one of them known", A22},
};

}  // namespace

std::span<const Case> WrappingCases() { return kCases; }

}  // namespace cmkd::attacks
