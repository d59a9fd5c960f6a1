// C: derivation.
#include <openssl/hmac.h>

#include <algorithm>

#include "pkcs11/spec/cryptoki.h"
#include "tests/attacks/cases.h"

namespace cmkd::attacks {
namespace {

constexpr std::initializer_list<CK_RV> kNoDerive = {CKR_MECHANISM_INVALID,     CKR_MECHANISM_PARAM_INVALID,
                                                    CKR_TEMPLATE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED,
                                                    CKR_KEY_SIZE_RANGE,        CKR_KEY_TYPE_INCONSISTENT};

Bytes Hmac(const Bytes& key, const Bytes& data) {
  Bytes mac(32);
  unsigned length = 32;
  ::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), mac.data(), &length);
  return mac;
}

// A base key for derivation that is sensitive, and whose value only the judge knows.
CK_RV MakeBase(const Bench& bench, const Bytes& value, CK_OBJECT_HANDLE& base) {
  return bench.Create(
      WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false),
                 {CKA_DERIVE})
          .Raw(CKA_VALUE, value),
      base);
}

Template MacKey(CK_ULONG bytes) {
  return WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), {CKA_SIGN})
      .Ulong(CKA_VALUE_LEN, bytes);
}

// A derived key of a known beginning and one unknown byte, found by trying; the byte, or -1.
int SearchByte(const Bench& bench, CK_OBJECT_HANDLE key, const Bytes& known, const Bytes& after = {}) {
  const Bytes data = {'x'};
  Bytes mac;
  if (bench.Sign(Mechanism(CKM_SHA256_HMAC), key, data, mac) != CKR_OK) return -1;
  for (int guess = 0; guess < 256; ++guess) {
    Bytes candidate = known;
    candidate.push_back(static_cast<std::uint8_t>(guess));
    candidate.insert(candidate.end(), after.begin(), after.end());
    if (Hmac(candidate, data) == mac) return guess;
  }
  return -1;
}

Mechanism WithData(CK_MECHANISM_TYPE type, Bytes data) {
  auto held = std::make_shared<Bytes>(std::move(data));
  return Mechanism::Of(type, CK_KEY_DERIVATION_STRING_DATA{held->data(), held->size()}, {held});
}

// Derives, and looks for one byte of the base in the result.
void DeriveAndSearch(Bench& bench, Trial& trial, const std::string& step, Mechanism mechanism, CK_ULONG bytes,
                     const Bytes& known, const Bytes& base_value, std::uint8_t mask = 0) {
  CK_OBJECT_HANDLE base = 0, derived = 0;
  if (!trial.Ready("base key", MakeBase(bench, base_value, base))) return;
  if (!trial.Through("C_DeriveKey " + step, bench.Derive(mechanism, base, MacKey(bytes), derived), kNoDerive)) return;
  const int found = SearchByte(bench, derived, known);
  if (found >= 0 && (found ^ mask) == base_value[0]) {
    trial.Broken("a byte of the base key is found by trying 256 MACs");
  } else {
    trial.Held("no byte of the base key is found");
  }
}

void C01(Bench& bench, Trial& trial) {
  DeriveAndSearch(bench, trial, "EXTRACT", Mechanism::Of(CKM_EXTRACT_KEY_FROM_KEY, CK_ULONG{0}), 1, {}, Random(32));
}

void C02(Bench& bench, Trial& trial) {
  DeriveAndSearch(bench, trial, "XOR", WithData(CKM_XOR_BASE_AND_DATA, {0x55}), 1, {}, Random(32), 0x55);
  DeriveAndSearch(bench, trial, "XOR", WithData(CKM_XOR_BASE_AND_DATA, Bytes(32, 0x55)), 1, {}, Random(32), 0x55);
}

void C03(Bench& bench, Trial& trial) {
  const Bytes value = Random(32), known(15, 7);
  DeriveAndSearch(bench, trial, "DATA_AND_BASE", WithData(CKM_CONCATENATE_DATA_AND_BASE, known), 16, known, value);
  DeriveAndSearch(bench, trial, "BASE_AND_DATA", WithData(CKM_CONCATENATE_BASE_AND_DATA, known), 1, {}, value);
  CK_OBJECT_HANDLE other = 0;
  if (!trial.Ready("second key", MakeBase(bench, known, other))) return;
  DeriveAndSearch(bench, trial, "BASE_AND_KEY", Mechanism::Of(CKM_CONCATENATE_BASE_AND_KEY, other), 1, {}, value);
}

void C04(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE base = 0, derived = 0;
  const Bytes data(32, 3);
  Bytes value, mac;
  const CK_RV made = bench.GenerateAes(AesTemplate({CKA_DERIVE, CKA_ENCRYPT}), base);
  if (!trial.Through("C_GenerateKey", made, {CKR_TEMPLATE_INCONSISTENT})) return;
  const CK_RV rv = bench.Derive(WithData(CKM_AES_ECB_ENCRYPT_DATA, data), base, MacKey(32), derived);
  if (!trial.Through("C_DeriveKey", rv, kNoDerive)) return;
  if (!trial.Through("C_EncryptInit", bench.Encrypt(Mechanism(CKM_AES_ECB), base, data, value),
                     {CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID}))
    return;
  value.resize(32);
  if (bench.Sign(Mechanism(CKM_SHA256_HMAC), derived, {'x'}, mac) == CKR_OK && mac == Hmac(value, {'x'})) {
    trial.Broken("the derived key is an encryption that the caller may ask for");
  } else {
    trial.Held("the derived key is not what encryption gives");
  }
}

Template Open(CK_ULONG bytes) {
  Template open = WithUsages(SecretTemplate(CKK_GENERIC_SECRET), {CKA_SIGN});
  return open.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Ulong(CKA_VALUE_LEN, bytes);
}

Mechanism Hkdf() {
  auto info = std::make_shared<Bytes>(Bytes{'i'});
  CK_HKDF_PARAMS parameter{};
  parameter.bExtract = CK_TRUE;
  parameter.bExpand = CK_TRUE;
  parameter.prfHashMechanism = CKM_SHA256;
  parameter.ulSaltType = CKF_HKDF_SALT_NULL;
  parameter.pInfo = info->data();
  parameter.ulInfoLen = info->size();
  return Mechanism::Of(CKM_HKDF_DERIVE, parameter, {info});
}

// What a sensitive key gives is as closed as it is.
void C05(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE base = 0, aes = 0, derived = 0;
  if (!trial.Ready("base key", MakeBase(bench, Random(32), base))) return;
  if (!trial.Ready("AES base key", bench.GenerateAes(AesTemplate({CKA_DERIVE}), aes))) return;
  const struct {
    const char* name;
    Mechanism mechanism;
    CK_OBJECT_HANDLE base;
  } ways[] = {{"HKDF", Hkdf(), base},
              {"SHA256", Mechanism(CKM_SHA256_KEY_DERIVATION), base},
              {"AES_ECB_ENCRYPT_DATA", WithData(CKM_AES_ECB_ENCRYPT_DATA, Bytes(32, 1)), aes},
              {"CONCATENATE", WithData(CKM_CONCATENATE_BASE_AND_DATA, Bytes(16, 1)), base}};
  for (const auto& way : ways) {
    Bytes value;
    const std::string name = std::string("C_DeriveKey ") + way.name;
    if (!trial.Through(name, bench.Derive(way.mechanism, way.base, Open(32), derived), kNoDerive)) continue;
    if (trial.Through("C_GetAttributeValue", bench.Get(derived, CKA_VALUE, value), {CKR_ATTRIBUTE_SENSITIVE}))
      trial.Broken(std::string(way.name) + ": what a sensitive key gives is read");
  }
}

CK_RV MakeEcBase(const Bench& bench, CK_OBJECT_HANDLE& pub, CK_OBJECT_HANDLE& priv, Template more = {}) {
  const Template derives = Template().Bool(CKA_DERIVE, true).Bool(CKA_SIGN, false).Bool(CKA_SENSITIVE, true);
  return bench.GenerateEc(Template().Bool(CKA_VERIFY, false), Joined(derives, std::move(more)), pub, priv);
}

Bytes ClosedTemplate() {
  static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  static CK_ATTRIBUTE closed[] = {{CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no}};
  const auto* raw = reinterpret_cast<const std::uint8_t*>(closed);
  return Bytes(raw, raw + sizeof closed);
}

// A secret that the token keeps is cut into bytes; a base key that prescribes closed results gives a readable one. That
// ECDH gives the raw secret to a caller who asks for it openly, where the base key does not forbid it, is what general
// tokens are used for; the private key stays inside.
void C06(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, derived = 0;
  Bytes value;
  if (!trial.Ready("C_GenerateKeyPair", MakeEcBase(bench, pub, priv))) return;
  const auto ecdh = [] { return Mechanism::EcdhNull(P256Generator()); };
  if (trial.Through("C_DeriveKey of one byte", bench.Derive(ecdh(), priv, MacKey(1), derived), kNoDerive)) {
    if (SearchByte(bench, derived, {}) >= 0)
      trial.Broken("a sensitive secret is cut into bytes and found by trying 256 MACs each");
  }
  const Template closing = Template().Raw(CKA_DERIVE_TEMPLATE, ClosedTemplate());
  const CK_RV made = MakeEcBase(bench, pub, priv, closing);
  if (!trial.Through("C_GenerateKeyPair with CKA_DERIVE_TEMPLATE", made,
                     {CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID}))
    return;
  if (trial.Through("C_DeriveKey", bench.Derive(ecdh(), priv, Open(32), derived), {CKR_TEMPLATE_INCONSISTENT}) &&
      bench.Get(derived, CKA_VALUE, value) == CKR_OK)
    trial.Broken("the raw secret is read against the base key's template");
}

void C07(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_PUBLIC_KEY_INVALID, CKR_MECHANISM_PARAM_INVALID,
                                              CKR_ATTRIBUTE_VALUE_INVALID};
  CK_OBJECT_HANDLE pub = 0, priv = 0, derived = 0;
  if (!trial.Ready("C_GenerateKeyPair", MakeEcBase(bench, pub, priv))) return;
  Bytes off_curve = P256Generator(), large = P256Generator(), hybrid = P256Generator();
  off_curve[64] = static_cast<std::uint8_t>(off_curve[64] ^ 1);
  std::fill(large.begin() + 1, large.begin() + 33, std::uint8_t{0xFF});
  hybrid[0] = 0x07;
  Bytes wrong_curve(97, 2);
  wrong_curve[0] = 4;
  Bytes zero(65, 0);
  zero[0] = 4;
  const struct {
    const char* name;
    Bytes point;
  } points[] = {
      {"off the curve", off_curve},      {"x not below p", large}, {"infinity", {0}},           {"empty", {}},
      {"of another curve", wrong_curve}, {"(0, 0)", zero},         {"cut short", Bytes(33, 4)}, {"hybrid", hybrid}};
  for (const auto& point : points) {
    const Template closed = MacKey(32);
    trial.MustRefuse(std::string("C_DeriveKey, point ") + point.name,
                     bench.Derive(Mechanism::EcdhNull(point.point), priv, closed, derived), right,
                     std::string("an invalid point is used: ") + point.name);
  }
  // X25519 with a point of low order gives zeros, whatever the private key.
  CK_MECHANISM making{CK_MECHANISM_TYPE{0x1056}, nullptr, 0};
  const Bytes x25519 = {0x06, 0x03, 0x2B, 0x65, 0x6E};
  Template shape = Template().Raw(CKA_EC_PARAMS, x25519), keeps = Template().Bool(CKA_DERIVE, true);
  const CK_RV made = bench.f()->C_GenerateKeyPair(bench.session(), &making, shape.data(), shape.size(), keeps.data(),
                                                  keeps.size(), &pub, &priv);
  if (trial.Through("C_GenerateKeyPair X25519", made, {CKR_MECHANISM_INVALID}))
    trial.MustRefuse("C_DeriveKey, low order",
                     bench.Derive(Mechanism::EcdhNull(Bytes(32, 0)), priv, MacKey(32), derived), right,
                     "a point of low order is used");
}

// The parameter of the SP 800-108 mechanisms (PKCS#11 3.0, "SP 800-108 Key Derivation").
struct AdditionalKey {
  CK_ATTRIBUTE* attributes;
  CK_ULONG count;
  CK_OBJECT_HANDLE* key;
};
struct CounterFormat {
  CK_BBOOL little_endian;
  CK_ULONG bits;
};
struct DataPart {
  CK_ULONG type;
  void* value;
  CK_ULONG length;
};
struct CounterKdf {
  CK_MECHANISM_TYPE prf;
  CK_ULONG part_count;
  DataPart* parts;
  CK_ULONG additional_count;
  AdditionalKey* additional;
};

void C08(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE base = 0, derived = 0;
  Bytes value;
  if (!trial.Ready("base key", MakeBase(bench, Random(32), base))) return;
  Mechanism data = Hkdf();
  data.get()->mechanism = CKM_HKDF_DATA;
  const Template object = Template().Ulong(CKA_CLASS, CKO_DATA).Ulong(CKA_VALUE_LEN, 32);
  if (trial.Through("C_DeriveKey HKDF_DATA", bench.Derive(data, base, object, derived), kNoDerive)) {
    if (bench.Get(derived, CKA_VALUE, value) == CKR_OK && !value.empty())
      trial.Broken("a sensitive key gives a data object that is read");
  }
  // SP 800-108 gives further keys, each by a template of its own; one that is open is the same loss.
  CK_OBJECT_HANDLE further = 0;
  Template open = Open(32);
  AdditionalKey additional{open.data(), open.size(), &further};
  CounterFormat counter{CK_FALSE, 32};
  DataPart parts[] = {{1, &counter, sizeof counter}};  // the counter itself
  const CounterKdf kdf{CKM_SHA256_HMAC, 1, parts, 1, &additional};
  const Template closed = MacKey(32);
  const CK_RV rv = bench.Derive(Mechanism::Of(CKM_SP800_108_COUNTER_KDF, kdf), base, closed, derived);
  if (trial.Through("C_DeriveKey SP800_108", rv, kNoDerive) && bench.Get(further, CKA_VALUE, value) == CKR_OK)
    trial.Broken("an additional derived key is readable");
}

void C09(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, derived = 0;
  const CK_RV made = MakeEcBase(bench, pub, priv, Template().Raw(CKA_DERIVE_TEMPLATE, ClosedTemplate()));
  if (!trial.Ready("C_GenerateKeyPair", made)) return;
  const Template open = MacKey(32).Bool(CKA_EXTRACTABLE, true);
  trial.MustRefuse("C_DeriveKey", bench.Derive(Mechanism::EcdhNull(P256Generator()), priv, open, derived),
                   {CKR_TEMPLATE_INCONSISTENT}, "CKA_DERIVE_TEMPLATE is contradicted");
  const Template silent = WithUsages(SecretTemplate(CKK_GENERIC_SECRET), {CKA_SIGN}).Ulong(CKA_VALUE_LEN, 32);
  if (trial.Ready("C_DeriveKey", bench.Derive(Mechanism::EcdhNull(P256Generator()), priv, silent, derived)) &&
      (bench.IsTrue(derived, CKA_EXTRACTABLE) || !bench.IsTrue(derived, CKA_SENSITIVE)))
    trial.Broken("CKA_DERIVE_TEMPLATE is not applied");
}

// The parameters of the TLS derivations (PKCS#11 3.2, "TLS 1.2 Mechanisms").
struct TlsRandoms {
  CK_BYTE* client;
  CK_ULONG client_bytes;
  CK_BYTE* server;
  CK_ULONG server_bytes;
};
struct TlsKeysOut {
  CK_OBJECT_HANDLE keys[4];
  CK_BYTE* ivs[2];
};
struct TlsKeys {
  CK_ULONG mac_bits, key_bits, iv_bits;
  CK_BBOOL is_export;
  TlsRandoms randoms;
  TlsKeysOut* out;
  CK_MECHANISM_TYPE hash;
};
struct TlsPrf {
  CK_BYTE* seed;
  CK_ULONG seed_bytes;
  CK_BYTE* label;
  CK_ULONG label_bytes;
  CK_BYTE* output;
  CK_ULONG* output_bytes;
};

// No keys are asked for, so that the IVs are the bytes which are keys at other lengths; then keys of one byte each.
void TakeTlsKeysAsIvs(Bench& bench, Trial& trial, CK_OBJECT_HANDLE base) {
  Bytes randoms = Random(64), ivs(128);
  TlsKeysOut out{{}, {ivs.data(), ivs.data() + 64}};
  for (const CK_MECHANISM_TYPE type :
       {CKM_TLS_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE}) {
    TlsKeys parameter{0, 0, 256, CK_FALSE, {randoms.data(), 32, randoms.data() + 32, 32}, &out, CKM_SHA256};
    // TLS 1.0 has the same struct without the hash.
    const CK_ULONG bytes = sizeof parameter - (type == CKM_TLS_KEY_AND_MAC_DERIVE ? sizeof parameter.hash : 0);
    const auto derive = [&](Template wanted) {
      CK_MECHANISM mechanism{type, &parameter, bytes};
      return bench.f()->C_DeriveKey(bench.session(), &mechanism, base, wanted.data(), wanted.size(), nullptr);
    };
    const auto written = [&] { return std::any_of(ivs.begin(), ivs.end(), [](std::uint8_t b) { return b != 0; }); };
    (void)trial.Through("C_DeriveKey for IVs only", derive(Template()), kNoDerive);
    if (written()) return trial.Broken("bytes of keys come out as IVs");
    parameter.mac_bits = 8;
    parameter.iv_bits = 0;
    if (trial.Through("C_DeriveKey of MAC keys of one byte", derive(Template()), kNoDerive) &&
        SearchByte(bench, out.keys[0], {}) >= 0)
      return trial.Broken("the block of keys is cut into bytes that are found by trying");
    parameter.mac_bits = 256;
    Bytes value;
    if (trial.Through("C_DeriveKey of open MAC keys", derive(Open(32)), kNoDerive) &&
        bench.Get(out.keys[0], CKA_VALUE, value) == CKR_OK && !value.empty())
      return trial.Broken("a key of the connection is readable");
    out = {{}, {ivs.data(), ivs.data() + 64}};
  }
}

// The function that makes keys, with its output for the caller: the label of the block of keys, and that of finished
// messages at the length of a key.
void TakeTlsKeysAsOutput(Bench& bench, Trial& trial, CK_OBJECT_HANDLE base) {
  for (const std::string label : {"key expansion", "client finished"}) {
    Bytes seed = Random(64), name = ToBytes(AsBytes(label)), output(64);
    CK_ULONG length = output.size();
    TlsPrf parameter{seed.data(), seed.size(), name.data(), name.size(), output.data(), &length};
    CK_MECHANISM mechanism{CKM_TLS_PRF, &parameter, sizeof parameter};
    const CK_RV rv = bench.f()->C_DeriveKey(bench.session(), &mechanism, base, nullptr, 0, nullptr);
    if (trial.Through("C_DeriveKey TLS_PRF", rv, kNoDerive))
      trial.Broken("bytes that are keys come out of a sensitive key");
  }
}

// Mechanisms that write keys or IVs into their parameter.
void C10(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE base = 0, derived = 0;
  if (!trial.Ready("base key", MakeBase(bench, Random(48), base))) return;
  const struct {
    const char* name;
    CK_MECHANISM_TYPE type;
  } legacy[] = {{"SSL3_KEY_AND_MAC", CKM_SSL3_KEY_AND_MAC_DERIVE},
                {"SSL3_MASTER", CKM_SSL3_MASTER_KEY_DERIVE},
                {"TLS_KEY_AND_MAC", CKM_TLS_KEY_AND_MAC_DERIVE},
                {"TLS_PRF", CKM_TLS_PRF},
                {"WTLS_PRF", CKM_WTLS_PRF},
                {"PBE_MD5_DES", CKM_PBE_MD5_DES_CBC}};
  for (const auto& way : legacy) {
    trial.MustRefuse(std::string("C_DeriveKey ") + way.name,
                     bench.Derive(Mechanism::Flat(way.type, Bytes(64)), base, MacKey(32), derived),
                     {CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID}, "a legacy derivation gives keys away");
  }
  TakeTlsKeysAsIvs(bench, trial, base);
  TakeTlsKeysAsOutput(bench, trial, base);
}

constexpr Case kCases[] = {
    {"C01", "takes a key apart with EXTRACT_KEY_FROM_KEY", C01},
    {"C02", "takes a key apart with XOR_BASE_AND_DATA", C02},
    {"C03", "takes a key apart by concatenating and cutting", C03},
    {"C04", "derives what it could also encrypt", C04},
    {"C05", "derives a readable key from a sensitive one", C05},
    {"C06", "cuts or reads an agreed secret", C06},
    {"C07", "agrees with invalid points", C07},
    {"C08", "derives data or additional keys that are readable", C08},
    {"C09", "derives against CKA_DERIVE_TEMPLATE", C09},
    {"C10", "uses derivations that write into their parameter", C10},
};

}  // namespace

std::span<const Case> DerivationCases() { return kCases; }

}  // namespace cmkd::attacks
