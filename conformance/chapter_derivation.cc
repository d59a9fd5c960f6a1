// Keys made of a secret key, of a password, and of nothing but a version (PKCS#11 3.2 section 5.18.5 and the key
// derivations of section 6). Agreement with another side is in chapter_key_management.cc.
#include <memory>

#include "conformance/plan.h"
#include "conformance/read.h"

namespace cmkd::conformance {
namespace {

using spec::ParameterKind;

const Template& Open() {
  static const Template open = Template().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  return open;
}

// A mechanism with a parameter that fits its row. `variant` 1 differs from 0 in what is derived, where there is a
// parameter. `second` is the key that the parameter names, where it names one.
class Derivation {
 public:
  Derivation(const Offer& offer, int variant, CK_OBJECT_HANDLE second = 0) : mechanism_{offer.type, nullptr, 0} {
    for (std::size_t i = 0; i < sizeof data_; ++i) data_[i] = static_cast<CK_BYTE>(i + (variant != 0 ? 0x51 : 0));
    known_ = offer.row != nullptr && Fill(*offer.row, variant, second);
  }
  Derivation(const Derivation&) = delete;
  Derivation& operator=(const Derivation&) = delete;

  bool known() const { return known_; }
  CK_MECHANISM* get() { return &mechanism_; }

 private:
  template <class T>
  bool Put(T& value) {
    mechanism_.pParameter = &value;
    mechanism_.ulParameterLen = sizeof value;
    return true;
  }
  bool Fill(const spec::MechanismRow& row, int variant, CK_OBJECT_HANDLE second) {
    const CK_SSL3_RANDOM_DATA randoms{data_, 32, data_ + 32, 32};
    switch (row.parameter) {
      case ParameterKind::kNone: return row.recipe != spec::Recipe::kPublicFromPrivate;
      case ParameterKind::kUlong: number_ = variant != 0 ? 16 : 0; return Put(number_);
      case ParameterKind::kHashBits: number_ = 256; return Put(number_);
      case ParameterKind::kKeyHandle: number_ = second; return Put(number_);
      case ParameterKind::kStringData:
        string_ = {data_, row.recipe == spec::Recipe::kConcatenateDataAndBase ? CK_ULONG{8} : CK_ULONG{32}};
        return Put(string_);
      case ParameterKind::kIvAndData8: des_ = {{1, 2, 3, 4, 5, 6, 7, 8}, data_, 32}; return Put(des_);
      case ParameterKind::kIvAndData16: aes_ = {{1, 2, 3, 4, 5, 6, 7, 8}, data_, 32}; return Put(aes_);
      case ParameterKind::kHkdf:
        hkdf_ = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, data_, 13, 0, data_ + 32, 10};
        return Put(hkdf_);
      case ParameterKind::kSp800Kdf:
      case ParameterKind::kSp800Feedback: return FillSp800(row);
      case ParameterKind::kTlsMaster: master_ = {randoms, nullptr}; return Put(master_);
      case ParameterKind::kTls12Master: master12_ = {randoms, nullptr, CKM_SHA256}; return Put(master12_);
      case ParameterKind::kTls12Extended: extended_ = {CKM_SHA256, data_, 32, nullptr}; return Put(extended_);
      case ParameterKind::kTlsKdf: kdf_ = {CKM_SHA256, label_, sizeof label_, randoms, nullptr, 0}; return Put(kdf_);
      default: return false;
    }
  }
  bool FillSp800(const spec::MechanismRow& row) {
    CK_ULONG n = 0;
    const bool counting = row.recipe == spec::Recipe::kSp800Counter;
    if (!counting) parts_[n++] = {CK_SP800_108_ITERATION_VARIABLE, nullptr, 0};
    if (counting) parts_[n++] = {CK_SP800_108_ITERATION_VARIABLE, &counter_, sizeof counter_};
    parts_[n++] = {CK_SP800_108_BYTE_ARRAY, data_, 20};
    if (row.parameter == ParameterKind::kSp800Kdf) {
      sp800_ = {CKM_SHA256_HMAC, n, parts_, 0, nullptr};
      return Put(sp800_);
    }
    feedback_ = {CKM_SHA256_HMAC, n, parts_, 16, data_ + 32, 0, nullptr};
    return Put(feedback_);
  }

  CK_MECHANISM mechanism_;
  bool known_ = false;
  CK_BYTE data_[64];
  CK_BYTE label_[8] = {'a', ' ', 'l', 'a', 'b', 'e', 'l', '.'};
  CK_ULONG number_ = 0;
  CK_SP800_108_COUNTER_FORMAT counter_{CK_FALSE, 32};
  CK_PRF_DATA_PARAM parts_[2];
  CK_KEY_DERIVATION_STRING_DATA string_{};
  CK_DES_CBC_ENCRYPT_DATA_PARAMS des_{};
  CK_AES_CBC_ENCRYPT_DATA_PARAMS aes_{};
  CK_HKDF_PARAMS hkdf_{};
  CK_SP800_108_KDF_PARAMS sp800_{};
  CK_SP800_108_FEEDBACK_KDF_PARAMS feedback_{};
  CK_SSL3_MASTER_KEY_DERIVE_PARAMS master_{};
  CK_TLS12_MASTER_KEY_DERIVE_PARAMS master12_{};
  CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS extended_{};
  CK_TLS_KDF_PARAMS kdf_{};
};

// A base key of known value; its bytes have the odd parity of DES.
CK_OBJECT_HANDLE MakeBase(Trial& t, const spec::MechanismRow& row, const Template& more, CK_BYTE first = 0x13) {
  CK_KEY_TYPE type = row.key_type == spec::kAnyKeyType || row.key_type == CKK_HKDF ? CKK_GENERIC_SECRET : row.key_type;
  const std::size_t bytes = type == CKK_DES ? 8 : type == CKK_DES3 ? 24 : type == CKK_AES ? 32 : 48;
  static constexpr CK_BYTE kBytes[] = {0x13, 0x34, 0x57, 0x79, 0x9B, 0xBC, 0xDF, 0xF1, 0x25, 0x46, 0x68, 0x8A,
                                       0xAB, 0xCD, 0xEF, 0x02, 0x37, 0x58, 0x7A, 0x9D, 0xBF, 0xE0, 0x04, 0x26};
  Bytes value;
  for (std::size_t i = 0; i < bytes; ++i) value.push_back(kBytes[i % sizeof kBytes]);
  value[0] = first;
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_TOKEN, false).Raw(CKA_VALUE, value);
  // Who encrypts with a key knows what it derives by encryption; careful tokens keep the two apart.
  if (type == CKK_AES || type == CKK_DES || type == CKK_DES3) wanted.Bool(CKA_ENCRYPT, false).Bool(CKA_DECRYPT, false);
  wanted.Add(more);
  CK_OBJECT_HANDLE base = 0;
  t.Expect(t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &base), {CKR_OK}, "C_CreateObject");
  return base;
}

constexpr std::size_t kDerivedBytes = 16;
bool IsMaster(const spec::MechanismRow& row) {
  return row.recipe == spec::Recipe::kTlsMaster || row.recipe == spec::Recipe::kTlsExtendedMaster;
}

CK_RV Derive(Trial& t, const Offer& offer, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE base, const Template& more,
             CK_OBJECT_HANDLE* key) {
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
  if (!IsMaster(*offer.row)) wanted.Ulong(CKA_VALUE_LEN, kDerivedBytes);
  wanted.Add(more);
  return t.p11->C_DeriveKey(t.session, mechanism, base, wanted.data(), wanted.size(), key);
}

// What a base gives by the mechanism; empty, and a failed case, when it does not.
Bytes ValueOf(Trial& t, const Offer& offer, CK_OBJECT_HANDLE base, int variant, CK_OBJECT_HANDLE second) {
  Derivation way(offer, variant, second);
  CK_OBJECT_HANDLE key = 0;
  if (!t.Expect(Derive(t, offer, way.get(), base, Open(), &key), {CKR_OK}, "C_DeriveKey")) return {};
  t.Check(Number(t, key, CKA_CLASS) == CKO_SECRET_KEY && Number(t, key, CKA_KEY_TYPE) == CKK_GENERIC_SECRET,
          "class and key type are the template's");
  t.Check(!IsTrue(t, key, CKA_LOCAL), "CKA_LOCAL of a derived key is false");
  return Read(t, key, CKA_VALUE).value_or(Bytes());
}

void GivesTheSameKeyAgain(Trial& t, const Offer& offer) {
  const Template derives = Template(Open()).Bool(CKA_DERIVE, true);
  const CK_OBJECT_HANDLE base = MakeBase(t, *offer.row, derives), other = MakeBase(t, *offer.row, derives, 0x15);
  if (base == 0 || other == 0) return;
  const Bytes first = ValueOf(t, offer, base, 0, other);
  if (t.outcome() != Outcome::kPassed) return;
  t.Check(first.size() == (IsMaster(*offer.row) ? 48 : kDerivedBytes), "the key is as long as was asked for");
  t.Check(first == ValueOf(t, offer, base, 0, other), "the same key and parameter give the same key");
  t.Check(first != ValueOf(t, offer, other, 0, other), "another key gives another key");
  const bool varies = offer.row->parameter != ParameterKind::kNone &&
                      offer.row->parameter != ParameterKind::kHashBits &&
                      offer.row->parameter != ParameterKind::kKeyHandle &&
                      offer.row->recipe != spec::Recipe::kConcatenateBaseAndData;  // 16 bytes of it are the key's
  if (varies) t.Check(first != ValueOf(t, offer, base, 1, other), "another parameter gives another key");
}

// 3.2, "Miscellaneous simple key derivation mechanisms", "Key derivation by data encryption", "Hash based key
// derivation": what is derived of a sensitive key is sensitive.
void KeepsWhatIsSecret(Trial& t, const Offer& offer) {
  const Template closed = Template().Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false).Bool(CKA_DERIVE, true);
  const CK_OBJECT_HANDLE base = MakeBase(t, *offer.row, closed);
  if (base == 0) return;
  Derivation way(offer, 0, base);
  CK_OBJECT_HANDLE key = 0;
  if (Derive(t, offer, way.get(), base, Open(), &key) != CKR_OK) return;
  t.Check(IsTrue(t, key, CKA_SENSITIVE) && !IsTrue(t, key, CKA_EXTRACTABLE),
          "a key made of one that is sensitive and stays is sensitive and stays");
}

void Refuses(Trial& t, const Offer& offer) {
  const Template derives = Template(Open()).Bool(CKA_DERIVE, true);
  const CK_OBJECT_HANDLE base = MakeBase(t, *offer.row, derives);
  const CK_OBJECT_HANDLE useless = MakeBase(t, *offer.row, Template(Open()).Bool(CKA_DERIVE, false));
  if (base == 0 || useless == 0) return;
  Derivation way(offer, 0, base);
  CK_OBJECT_HANDLE key = 0;
  t.Expect(Derive(t, offer, way.get(), useless, Open(), &key), {CKR_KEY_FUNCTION_NOT_PERMITTED}, "C_DeriveKey");
  t.Expect(Derive(t, offer, way.get(), 0x7ead0001, Open(), &key), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID},
           "C_DeriveKey");
  t.Expect(Derive(t, offer, way.get(), base, Open(), nullptr), {CKR_ARGUMENTS_BAD}, "C_DeriveKey");
  if (way.get()->ulParameterLen == 0) return;
  CK_MECHANISM bare{offer.type, nullptr, 0};
  t.Expect(Derive(t, offer, &bare, base, Open(), &key), {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD},
           "C_DeriveKey");
}

// ---- HKDF (RFC 5869 appendix A.1)

struct Rfc5869 {
  CK_BYTE salt[13], info[10];
  CK_HKDF_PARAMS parameter;
  Rfc5869() {
    for (std::size_t i = 0; i < sizeof salt; ++i) salt[i] = static_cast<CK_BYTE>(i);
    for (std::size_t i = 0; i < sizeof info; ++i) info[i] = static_cast<CK_BYTE>(0xf0 + i);
    parameter = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, salt, sizeof salt, 0, info, sizeof info};
  }
};

void HkdfKnownAnswer(Trial& t, CK_MECHANISM_TYPE type) {
  Rfc5869 rfc;
  CK_MECHANISM mechanism{type, &rfc.parameter, sizeof rfc.parameter};
  Template base, wanted;
  base.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false).Add(Open());
  base.Raw(CKA_VALUE, Bytes(22, 0x0b)).Bool(CKA_DERIVE, true);
  CK_OBJECT_HANDLE from = 0, made = 0;
  NEED(t, CKR_OK, t.p11->C_CreateObject(t.session, base.data(), base.size(), &from));
  if (type == CKM_HKDF_DATA) {
    wanted.Ulong(CKA_CLASS, CKO_DATA);
  } else {
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Add(Open());
  }
  wanted.Bool(CKA_TOKEN, false).Ulong(CKA_VALUE_LEN, 42);
  NEED(t, CKR_OK, t.p11->C_DeriveKey(t.session, &mechanism, from, wanted.data(), wanted.size(), &made));
  const auto value = Read(t, made, CKA_VALUE);
  t.Check(
      value && Hex(*value) == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
      "the answer is that of RFC 5869, appendix A.1");
  t.Check(Number(t, made, CKA_CLASS) == (type == CKM_HKDF_DATA ? CKO_DATA : CKO_SECRET_KEY), "the class is right");
}

// Data are for all to read: not of a key that is not.
void HkdfDataOfAClosedKey(Trial& t) {
  Rfc5869 rfc;
  CK_MECHANISM mechanism{CKM_HKDF_DATA, &rfc.parameter, sizeof rfc.parameter};
  Template base, wanted;
  base.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
  base.Raw(CKA_VALUE, Bytes(22, 0x0b)).Bool(CKA_DERIVE, true).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false);
  CK_OBJECT_HANDLE from = 0, made = 0;
  NEED(t, CKR_OK, t.p11->C_CreateObject(t.session, base.data(), base.size(), &from));
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Bool(CKA_TOKEN, false).Ulong(CKA_VALUE_LEN, 42);
  t.Expect(t.p11->C_DeriveKey(t.session, &mechanism, from, wanted.data(), wanted.size(), &made),
           {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID}, "C_DeriveKey with another class");
}

// ---- SP 800-108: several keys at once (3.2, "Deriving Additional Keys"). The answers are those of
// tests/functions/several_keys_test.cc.

struct Several {
  Trial& t;
  CK_BYTE label[7] = {'o', 'r', 'd', 'e', 'r', 's', 0};
  CK_SP800_108_COUNTER_FORMAT counter{CK_FALSE, 16};
  CK_SP800_108_DKM_LENGTH_FORMAT length{CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, CK_FALSE, 32};
  CK_OBJECT_HANDLE base = 0, first = 0, more[2] = {7, 7};

  explicit Several(Trial& trial) : t(trial) {
    Template wanted;
    Bytes value;
    for (std::uint8_t i = 1; i <= 32; ++i) value.push_back(i);
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
    wanted.Raw(CKA_VALUE, value).Bool(CKA_DERIVE, true).Add(Open());
    t.Expect(t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &base), {CKR_OK}, "C_CreateObject");
  }
  static Template Generic(CK_ULONG bytes) {
    Template wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false).Add(Open());
    if (bytes != 0) wanted.Ulong(CKA_VALUE_LEN, bytes);
    return wanted;
  }
  // A key of 48 bytes, and one or two more.
  CK_RV Derive(Template second, CK_ULONG count = 1) {
    Template own = Generic(48), third = Generic(16);
    CK_PRF_DATA_PARAM parts[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof counter},
                                 {CK_SP800_108_BYTE_ARRAY, label, sizeof label},
                                 {CK_SP800_108_DKM_LENGTH, &length, sizeof length}};
    CK_DERIVED_KEY keys[] = {{second.data(), second.size(), &more[0]}, {third.data(), third.size(), &more[1]}};
    CK_SP800_108_KDF_PARAMS parameter{CKM_SHA256_HMAC, std::size(parts), parts, count, keys};
    CK_MECHANISM mechanism{CKM_SP800_108_COUNTER_KDF, &parameter, sizeof parameter};
    return t.p11->C_DeriveKey(t.session, &mechanism, base, own.data(), own.size(), &first);
  }
};

void SeveralKeys(Trial& t) {
  Several s(t);
  if (s.base == 0 || !t.Expect(s.Derive(Several::Generic(16)), {CKR_OK}, "C_DeriveKey")) return;
  t.Check(Hex(Read(t, s.first, CKA_VALUE).value_or(Bytes())) ==
              "b6851d7b71a3e227a57ca0e7162b6461191c4865a45aefca930340ffe406ef30"
              "fa52da0460b05cd780884f9ef6813428",
          "the key of the call has the first segments");
  t.Check(Hex(Read(t, s.more[0], CKA_VALUE).value_or(Bytes())) == "35a3ed5afb8bdb72e529097baca6ff53",
          "the additional key begins with a segment of its own");
}

void SeveralKeysOrNone(Trial& t) {
  Several s(t);
  if (s.base == 0) return;
  // The standard names no code; the parameter is where the template stands.
  t.Expect(s.Derive(Several::Generic(0), 2),
           {CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_KEY_SIZE_RANGE, CKR_MECHANISM_PARAM_INVALID},
           "C_DeriveKey with an additional key of no length");
  t.Check(s.more[0] == CK_INVALID_HANDLE, "the handle of the offending template is CK_INVALID_HANDLE");
}

// ---- TLS: several keys at once, and bytes. The answers are those of tests/functions/tls_keys_test.cc.

struct Connection {
  Trial& t;
  CK_BYTE randoms[64], ivs[2][16] = {};
  CK_SSL3_KEY_MAT_OUT out{0, 0, 0, 0, ivs[0], ivs[1]};
  CK_TLS12_KEY_MAT_PARAMS tls12;
  CK_SSL3_KEY_MAT_PARAMS tls10;
  CK_OBJECT_HANDLE master = 0;

  explicit Connection(Trial& trial, bool open) : t(trial) {
    for (std::size_t i = 0; i < sizeof randoms; ++i) randoms[i] = static_cast<CK_BYTE>(i);
    const CK_SSL3_RANDOM_DATA both{randoms, 32, randoms + 32, 32};
    tls12 = {256, 128, 128, CK_FALSE, both, &out, CKM_SHA256};
    tls10 = {160, 192, 64, CK_FALSE, both, &out};
    Template base;
    Bytes value;
    for (std::uint8_t i = 1; i <= 48; ++i) value.push_back(i);
    base.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
    base.Raw(CKA_VALUE, value).Bool(CKA_DERIVE, true).Bool(CKA_SENSITIVE, !open).Bool(CKA_EXTRACTABLE, open);
    t.Expect(t.p11->C_CreateObject(t.session, base.data(), base.size(), &master), {CKR_OK}, "C_CreateObject");
  }
  CK_RV Derive(CK_MECHANISM_TYPE type) {
    CK_MECHANISM mechanism{type, &tls12, sizeof tls12};
    if (type == CKM_TLS_KEY_AND_MAC_DERIVE) mechanism = {type, &tls10, sizeof tls10};
    Template wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
    return t.p11->C_DeriveKey(t.session, &mechanism, master, wanted.data(), wanted.size(), nullptr);
  }
  std::string Value(CK_OBJECT_HANDLE key) { return Hex(Read(t, key, CKA_VALUE).value_or(Bytes())); }
};

void KeysAndIvs(Trial& t, CK_MECHANISM_TYPE type) {
  Connection c(t, true);
  if (c.master == 0 || !t.Expect(c.Derive(type), {CKR_OK}, "C_DeriveKey")) return;
  const bool tls12 = type != CKM_TLS_KEY_AND_MAC_DERIVE;
  t.Check(c.Value(c.out.hClientMacSecret) == (tls12 ? "b641f86a1e3c3d1b75e0411f32f41d0d6fe2bd8421120681c074895628772e02"
                                                    : "20a4f3104829d49f7abfd47fb29618baf6669c1c"),
          "the client's MAC key is the beginning of the block of keys");
  t.Check(c.Value(c.out.hServerKey) ==
              (tls12 ? "e14873bec7e43bd0f6da6658deab9987" : "b544ebb3c51633ba6096832796e844a537007075f24f127e"),
          "the server's key is the fourth piece of it");
  t.Check(Number(t, c.out.hServerMacSecret, CKA_KEY_TYPE) == CKK_GENERIC_SECRET, "MAC keys are generic secrets");
  t.Check(Number(t, c.out.hClientKey, CKA_KEY_TYPE) == CKK_AES, "the other keys are of the template's type");
  const std::string iv = Hex(ByteView(c.ivs[1], tls12 ? 16 : 8));
  const char* right = type == CKM_TLS12_KEY_SAFE_DERIVE ? "00000000000000000000000000000000"
                      : tls12                           ? "6db6ba5f5960e2ac30448b3a103336a8"
                                                        : "78c9b2efbc1c2d8f";
  t.Check(iv == right, "the server's IV is the last piece, where there is one");
}

void KeysAreAsSecretAsTheMaster(Trial& t, CK_MECHANISM_TYPE type) {
  Connection c(t, false);
  c.tls12.ulIVSizeInBits = c.tls10.ulIVSizeInBits = 0;
  if (c.master == 0 || !t.Expect(c.Derive(type), {CKR_OK}, "C_DeriveKey")) return;
  for (const CK_OBJECT_HANDLE key :
       {c.out.hClientMacSecret, c.out.hServerMacSecret, c.out.hClientKey, c.out.hServerKey}) {
    t.Check(IsTrue(t, key, CKA_SENSITIVE) && !IsTrue(t, key, CKA_EXTRACTABLE), "the keys inherit the master's secrecy");
  }
}

void ConnectionRefuses(Trial& t, CK_MECHANISM_TYPE type) {
  Connection c(t, true);
  if (c.master == 0) return;
  c.tls12.pReturnedKeyMaterial = c.tls10.pReturnedKeyMaterial = nullptr;
  t.Expect(c.Derive(type), {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD}, "C_DeriveKey");
  c.tls12.pReturnedKeyMaterial = c.tls10.pReturnedKeyMaterial = &c.out;
  c.master = 0x7ead0001;
  t.Expect(c.Derive(type), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}, "C_DeriveKey");
  t.Check((c.out.hClientKey | c.out.hServerKey) == CK_INVALID_HANDLE, "a call that fails makes no keys");
}

void TlsPrf(Trial& t) {
  Connection c(t, true);
  CK_BYTE label[] = {'t', 'e', 's', 't', ' ', 'l', 'a', 'b', 'e', 'l'}, out[41] = {};
  CK_ULONG length = 40;
  CK_TLS_PRF_PARAMS parameter{c.randoms, sizeof c.randoms, label, sizeof label, out, &length};
  CK_MECHANISM mechanism{CKM_TLS_PRF, &parameter, sizeof parameter};
  NEED(t, CKR_OK, t.p11->C_DeriveKey(t.session, &mechanism, c.master, nullptr, 0, nullptr));
  t.Check(Hex(ByteView(out, 40)) == "0c07c3f371d994af09e2f5ea0a0002f8389b68544eaf714b691cf8f290bc636eec11b85f5746d317",
          "the output is that of RFC 2246 section 5");
  t.Check(out[40] == 0, "nothing is written beyond it");
}

// ---- Keys that C_GenerateKey makes of its parameter

// PBKDF2 of "password" and "salt" with two iterations: RFC 6070.
void Pbkdf2KnownAnswer(Trial& t) {
  CK_BYTE password[] = {'p', 'a', 's', 's', 'w', 'o', 'r', 'd'}, salt[] = {'s', 'a', 'l', 't'};
  CK_PKCS5_PBKD2_PARAMS2 parameter{
      CKZ_SALT_SPECIFIED, salt, sizeof salt, 2, CKP_PKCS5_PBKD2_HMAC_SHA1, nullptr, 0, password, sizeof password};
  CK_MECHANISM mechanism{CKM_PKCS5_PBKD2, &parameter, sizeof parameter};
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false).Add(Open());
  wanted.Ulong(CKA_VALUE_LEN, 20);
  CK_OBJECT_HANDLE key = 0;
  NEED(t, CKR_OK, t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &key));
  const auto value = Read(t, key, CKA_VALUE);
  t.Check(value && Hex(*value) == "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957", "the answer is that of RFC 6070");
}

void Pbkdf2Refuses(Trial& t) {
  CK_MECHANISM mechanism{CKM_PKCS5_PBKD2, nullptr, 0};
  Template wanted = Template().Bool(CKA_TOKEN, false).Ulong(CKA_VALUE_LEN, 20);
  CK_OBJECT_HANDLE key = 0;
  WANT_ONE(t, (CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD),
           t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &key));
}

// RFC 2246 section 7.4.7.1: 48 bytes that begin with the version.
void PreMaster(Trial& t) {
  CK_VERSION version{3, 1};
  CK_MECHANISM mechanism{CKM_TLS_PRE_MASTER_KEY_GEN, &version, sizeof version};
  Template wanted = Template(Open()).Bool(CKA_TOKEN, false);
  CK_OBJECT_HANDLE key = 0, other = 0;
  NEED(t, CKR_OK, t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &key));
  NEED(t, CKR_OK, t.p11->C_GenerateKey(t.session, &mechanism, wanted.data(), wanted.size(), &other));
  const auto value = Read(t, key, CKA_VALUE);
  t.Check(value && value->size() == 48 && (*value)[0] == 3 && (*value)[1] == 1, "48 bytes begin with the version");
  t.Check(value != Read(t, other, CKA_VALUE), "two are two");
}

void AddTls(Plan& plan, const Offer& offer) {
  const std::string name = MechanismName(offer.type);
  const CK_MECHANISM_TYPE type = offer.type;
  if (type == CKM_TLS_PRF) {
    plan.AddFor(name, "C_DeriveKey", "known-answer", TlsPrf);
  } else if (offer.row->recipe == spec::Recipe::kTlsKeyMaterial) {
    plan.AddFor(name, "C_DeriveKey", "known-answer", [type](Trial& t) { KeysAndIvs(t, type); });
    plan.AddFor(name, "C_DeriveKey", "keeps-what-is-secret", [type](Trial& t) { KeysAreAsSecretAsTheMaster(t, type); });
    plan.AddFor(name, "C_DeriveKey", "refuses", [type](Trial& t) { ConnectionRefuses(t, type); });
  }
}

void AddOne(Plan& plan, const Offer& offer) {
  const std::string name = MechanismName(offer.type);
  plan.AddFor(name, "C_DeriveKey", "gives-the-same-key-again", [offer](Trial& t) { GivesTheSameKeyAgain(t, offer); });
  plan.AddFor(name, "C_DeriveKey", "refuses", [offer](Trial& t) { Refuses(t, offer); });
  if (spec::InheritsSecrecy(offer.row->recipe))
    plan.AddFor(name, "C_DeriveKey", "keeps-what-is-secret", [offer](Trial& t) { KeepsWhatIsSecret(t, offer); });
}

}  // namespace

void AddDerivation(Plan& plan) {
  plan.Chapter("key derivation", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.row == nullptr) continue;
    if (offer.type == CKM_HKDF_DATA && offer.Does(CKF_DERIVE)) {
      plan.AddFor("CKM_HKDF_DATA", "C_DeriveKey", "known-answer", [](Trial& t) { HkdfKnownAnswer(t, CKM_HKDF_DATA); });
      plan.AddFor("CKM_HKDF_DATA", "C_DeriveKey", "refuses", HkdfDataOfAClosedKey);
    } else if (offer.Does(CKF_DERIVE)) {
      if (Derivation(offer, 0).known()) AddOne(plan, offer);
      AddTls(plan, offer);
      if (offer.type == CKM_SP800_108_COUNTER_KDF) {
        plan.AddFor("CKM_SP800_108_COUNTER_KDF", "C_DeriveKey", "additional-keys", SeveralKeys);
        plan.AddFor("CKM_SP800_108_COUNTER_KDF", "C_DeriveKey", "additional-keys-or-none", SeveralKeysOrNone);
      }
      if (offer.type == CKM_HKDF_DERIVE)
        plan.AddFor("CKM_HKDF_DERIVE", "C_DeriveKey", "known-answer",
                    [](Trial& t) { HkdfKnownAnswer(t, CKM_HKDF_DERIVE); });
    }
    if (offer.type == CKM_PKCS5_PBKD2 && offer.Does(CKF_GENERATE)) {
      plan.AddFor("CKM_PKCS5_PBKD2", "C_GenerateKey", "known-answer", Pbkdf2KnownAnswer);
      plan.AddFor("CKM_PKCS5_PBKD2", "C_GenerateKey", "refuses", Pbkdf2Refuses);
    }
    if (offer.type == CKM_TLS_PRE_MASTER_KEY_GEN && offer.Does(CKF_GENERATE))
      plan.AddFor("CKM_TLS_PRE_MASTER_KEY_GEN", "C_GenerateKey", "makes-a-key", PreMaster);
  }
}

}  // namespace cmkd::conformance
