// The files of project Wycheproof through the calls of a PKCS#11 module: valid vectors accepted with the right result,
// invalid ones refused, and what is called acceptable decided below.
//
//   P11_MODULE=… P11_TOKEN=… P11_PIN=… vectors [FILE...]
//
// The token's list of mechanisms says which files apply. Prints a line for each file: how many vectors ran and how many
// were wrong. Exit status 1 when one is wrong, or when a file that concerns a listed mechanism ran none; 77 without
// files. Where they are: CMKD_VECTORS, or shared/vectors beside the source tree.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "tests/module/loaded_module.h"

namespace cmkd::vectors {
namespace {

using nlohmann::json;
using tests::Template;

constexpr std::size_t kOutputMax = 1 << 17;

// ---- Decisions on vectors that the files call acceptable

enum class Decision { kAccept, kRefuse, kEither };
struct Decided {
  const char* file;  // the beginning of its name
  const char* flag;
  Decision decision;
  const char* reason;
};
constexpr Decided kDecisions[] = {
    {"aes_wrap", "ShortKey", Decision::kEither,
     "RFC 3394 wraps from two blocks on; one block is wrapped by some devices and refused by others, and nobody loses"},
    {"ecdh_", "CompressedPoint", Decision::kEither,
     "a compressed point names the same key; PKCS#11 asks tokens for the uncompressed form only"},
    {"rsa_pkcs1_2048_sig_gen", "WeakHash", Decision::kEither,
     "SHA-1 and SHA-224 sign on general tokens, where old programs need them"},
    {"rsa_pkcs1_2048_sig_gen", "SmallPublicKey", Decision::kEither, "exponent 3 is weak only with a bad padding check"},
    {"rsa_signature_", "MissingNull", Decision::kRefuse,
     "RFC 8017 lets a DigestInfo without NULL be accepted; one encoding less to forge with"},
    {"x25519", "ZeroSharedSecret", Decision::kRefuse,
     "RFC 7748 section 6: a secret of zeros does not depend on the key"},
    {"x448", "ZeroSharedSecret", Decision::kRefuse, "RFC 7748 section 6: a secret of zeros does not depend on the key"},
    {"x25519", "NonCanonicalPublic", Decision::kEither, "RFC 7748 section 5 accepts and reduces; some devices refuse"},
    {"x448", "NonCanonicalPublic", Decision::kEither, "RFC 7748 section 5 accepts and reduces; some devices refuse"},
    {"x25519", "", Decision::kAccept, "points on the twist and other special points harm nothing in RFC 7748"},
    {"x448", "", Decision::kAccept, "points on the twist and other special points harm nothing in RFC 7748"},
};

// What a foreign device cannot do, whoever asks it. Only for tokens of such a device (P11_DEVICE).
std::size_t BytesOf(const json& test, const char* name) { return test[name].get<std::string>().size() / 2; }
struct Limit {
  const char* device;
  const char* file;
  bool (*is_beyond)(const json& test);
  const char* reason;
};
constexpr Limit kLimits[] = {
    {"softhsm2", "aes_gcm", [](const json& test) { return BytesOf(test, "iv") > 256; },
     "SoftHSM 2.6.1 takes IVs of 256 bytes at most"},
    {"softhsm2", "aes_kwp", [](const json& test) { return BytesOf(test, "msg") % 8 != 0; },
     "SoftHSM 2.6.1 fills what it wraps up to a multiple of eight bytes, and does not take it off again"},
    {"softhsm2", "hmac_sha256", [](const json& test) { return BytesOf(test, "key") < 32; },
     "SoftHSM 2.6.1 wants HMAC keys as long as the hash"},
    {"softhsm2", "hmac_sha512", [](const json& test) { return BytesOf(test, "key") < 64; },
     "SoftHSM 2.6.1 wants HMAC keys as long as the hash"},
};

bool IsBeyond(const std::string& file, const json& test) {
  const char* device = std::getenv("P11_DEVICE");
  return std::any_of(std::begin(kLimits), std::end(kLimits), [&](const Limit& limit) {
    return device != nullptr && std::string(device) == limit.device && file.starts_with(limit.file) &&
           limit.is_beyond(test);
  });
}

const Decided* DecisionFor(const std::string& file, const json& test) {
  for (const Decided& row : kDecisions) {
    if (!file.starts_with(row.file)) continue;
    const std::string flag = row.flag;
    if (flag.empty()) return &row;
    for (const json& given : test["flags"]) {
      if (given == flag) return &row;
    }
  }
  return nullptr;
}

Bytes Hexed(const json& value) {
  const std::string text = value.get<std::string>();
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

Bytes Number(const json& value) {
  Bytes bytes = Hexed(value.get<std::string>().size() % 2 == 0 ? value : json("0" + value.get<std::string>()));
  const auto first = std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b != 0; });
  return {first, bytes.end()};
}

// ---- The token

class Token {
 public:
  Token() {
    const auto text = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
    if (!module_.loaded() || module_->C_Initialize(nullptr) != CKR_OK) return;
    const auto slot = module_.FindToken(text("P11_TOKEN"));
    ready_ = slot && module_.Open(*slot, session_) == CKR_OK && module_.Login(session_, text("P11_PIN")) == CKR_OK;
    slot_ = slot.value_or(0);
  }
  bool ready() const { return ready_; }
  bool Offers(CK_MECHANISM_TYPE type, CK_FLAGS operation) const {
    CK_MECHANISM_INFO info{};
    return module_->C_GetMechanismInfo(slot_, type, &info) == CKR_OK && (info.flags & operation) != 0;
  }

  // Zero when the token does not take the object; `rv` says why.
  CK_OBJECT_HANDLE Create(Template attributes) {
    CK_OBJECT_HANDLE object = 0;
    rv = module_->C_CreateObject(session_, attributes.data(), attributes.size(), &object);
    return rv == CKR_OK ? object : 0;
  }
  void Destroy(CK_OBJECT_HANDLE object) const {
    if (object != 0) module_->C_DestroyObject(session_, object);
  }
  CK_OBJECT_HANDLE Secret(CK_KEY_TYPE type, const Bytes& value, bool derives = false) {
    Template attributes = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Raw(CKA_VALUE, value);
    attributes.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_TOKEN, false);
    if (derives) return Create(attributes.Bool(CKA_DERIVE, true));
    if (type == CKK_GENERIC_SECRET) return Create(attributes.Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true));
    attributes.Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true).Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true);
    return Create(attributes.Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true));
  }

  Bytes Encrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& data) {
    rv = module_->C_EncryptInit(session_, mechanism, key);
    return rv != CKR_OK ? Bytes() : Whole([&](CK_BYTE* out, CK_ULONG* length) {
      return module_->C_Encrypt(session_, Data(data), data.size(), out, length);
    });
  }
  Bytes Decrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& data) {
    rv = module_->C_DecryptInit(session_, mechanism, key);
    return rv != CKR_OK ? Bytes() : Whole([&](CK_BYTE* out, CK_ULONG* length) {
      return module_->C_Decrypt(session_, Data(data), data.size(), out, length);
    });
  }
  Bytes Sign(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& data) {
    rv = module_->C_SignInit(session_, mechanism, key);
    return rv != CKR_OK ? Bytes() : Whole([&](CK_BYTE* out, CK_ULONG* length) {
      return module_->C_Sign(session_, Data(data), data.size(), out, length);
    });
  }
  bool Verify(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& data, const Bytes& signature) {
    rv = module_->C_VerifyInit(session_, mechanism, key);
    if (rv == CKR_OK) rv = module_->C_Verify(session_, Data(data), data.size(), Data(signature), signature.size());
    return rv == CKR_OK;
  }
  CK_OBJECT_HANDLE Unwrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& blob) {
    Template shape = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    shape.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_TOKEN, false);
    CK_OBJECT_HANDLE made = 0;
    rv = module_->C_UnwrapKey(session_, mechanism, key, Data(blob), blob.size(), shape.data(), shape.size(), &made);
    return rv == CKR_OK ? made : 0;
  }
  Bytes Wrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key) {
    return Whole([&](CK_BYTE* out, CK_ULONG* length) {
      return module_->C_WrapKey(session_, mechanism, wrapping, key, out, length);
    });
  }
  // The value of a derived secret.
  Bytes Derive(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE base, std::optional<CK_ULONG> bytes) {
    Template shape = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    shape.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_TOKEN, false);
    if (bytes) shape.Ulong(CKA_VALUE_LEN, *bytes);
    CK_OBJECT_HANDLE made = 0;
    rv = module_->C_DeriveKey(session_, mechanism, base, shape.data(), shape.size(), &made);
    if (rv != CKR_OK) return {};
    const Bytes value = Value(made);
    Destroy(made);
    return value;
  }
  Bytes Value(CK_OBJECT_HANDLE key) {
    Bytes value(kOutputMax);
    CK_ATTRIBUTE wanted{CKA_VALUE, value.data(), value.size()};
    rv = module_->C_GetAttributeValue(session_, key, &wanted, 1);
    value.resize(rv == CKR_OK ? wanted.ulValueLen : 0);
    return value;
  }

  CK_RV rv = CKR_OK;

 private:
  static CK_BYTE* Data(const Bytes& bytes) {
    static CK_BYTE nothing = 0;
    return bytes.empty() ? &nothing : const_cast<CK_BYTE*>(bytes.data());
  }
  template <class Call>
  Bytes Whole(Call call) {
    Bytes out(kOutputMax);
    CK_ULONG length = out.size();
    rv = call(out.data(), &length);
    out.resize(rv == CKR_OK ? length : 0);
    return out;
  }

  tests::LoadedModule module_;
  CK_SESSION_HANDLE session_ = 0;
  CK_SLOT_ID slot_ = 0;
  bool ready_ = false;
};

// ---- Running a vector

// What the token made of it. kSkipped: the vector is about something that no listed mechanism does.
enum class Answer { kAccepted, kRefused, kWrong, kSkipped };

Answer AnswerOf(bool accepted, bool right = true) {
  return !accepted ? Answer::kRefused : right ? Answer::kAccepted : Answer::kWrong;
}

struct Vector {
  Token& token;
  const json& group;
  const json& test;
  CK_OBJECT_HANDLE group_key;  // of files whose groups have a key
  Bytes operator[](const char* name) const { return Hexed(test[name]); }
  bool valid() const { return test["result"] == "valid"; }
};

template <class Struct>
CK_MECHANISM With(CK_MECHANISM_TYPE type, Struct& parameter) {
  return {type, &parameter, sizeof parameter};
}
CK_MECHANISM WithBytes(CK_MECHANISM_TYPE type, Bytes& bytes) { return {type, bytes.data(), bytes.size()}; }

// Opens, and for valid vectors seals as well.
Answer OpenAndSeal(const Vector& v, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, const Bytes& plain,
                   const Bytes& sealed) {
  const Bytes opened = v.token.Decrypt(&mechanism, key, sealed);
  if (v.token.rv != CKR_OK) return Answer::kRefused;
  const bool same = !v.valid() || v.token.Encrypt(&mechanism, key, plain) == sealed;
  return AnswerOf(true, opened == plain && same);
}

// A key for one vector, gone after it.
class Key {
 public:
  Key(Token& token, CK_OBJECT_HANDLE handle) : token_(token), handle_(handle) {}
  ~Key() { token_.Destroy(handle_); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  operator CK_OBJECT_HANDLE() const { return handle_; }

 private:
  Token& token_;
  CK_OBJECT_HANDLE handle_;
};

Bytes Sealed(const Vector& v) {
  Bytes sealed = v["ct"];
  const Bytes tag = v["tag"];
  sealed.insert(sealed.end(), tag.begin(), tag.end());
  return sealed;
}

Answer CbcPad(const Vector& v) {
  const Key key(v.token, v.token.Secret(CKK_AES, v["key"]));
  Bytes iv = v["iv"];
  return OpenAndSeal(v, WithBytes(CKM_AES_CBC_PAD, iv), key, v["msg"], v["ct"]);
}

Answer Gcm(const Vector& v) {
  const Key key(v.token, v.token.Secret(CKK_AES, v["key"]));
  Bytes iv = v["iv"], aad = v["aad"];
  CK_GCM_PARAMS parameter{iv.data(),  iv.size(),  iv.size() * 8,
                          aad.data(), aad.size(), v.group["tagSize"].get<CK_ULONG>()};
  return OpenAndSeal(v, With(CKM_AES_GCM, parameter), key, v["msg"], Sealed(v));
}

Answer Ccm(const Vector& v) {
  // Shorter tags are refused on purpose: SP 800-38C appendix B asks that such keys see few messages.
  if (v.group["tagSize"].get<int>() < 64) return Answer::kSkipped;
  const Key key(v.token, v.token.Secret(CKK_AES, v["key"]));
  Bytes nonce = v["iv"], aad = v["aad"];
  const CK_ULONG tag = v.group["tagSize"].get<CK_ULONG>() / 8;
  CK_CCM_PARAMS parameter{v["msg"].size(), nonce.data(), nonce.size(), aad.data(), aad.size(), tag};
  parameter.ulDataLen = v["ct"].size();
  return OpenAndSeal(v, With(CKM_AES_CCM, parameter), key, v["msg"], Sealed(v));
}

Answer ChaCha(const Vector& v) {
  const Key key(v.token, v.token.Secret(CKK_CHACHA20, v["key"]));
  Bytes nonce = v["iv"], aad = v["aad"];
  CK_SALSA20_CHACHA20_POLY1305_PARAMS parameter{nonce.data(), nonce.size() * 8, aad.data(), aad.size()};
  return OpenAndSeal(v, With(CKM_CHACHA20_POLY1305, parameter), key, v["msg"], Sealed(v));
}

// The tweak is the number of the data unit, least byte first.
Answer Xts(const Vector& v) {
  if (v.group["keySize"] == 384) return Answer::kSkipped;  // IEEE 1619 has no XTS with AES-192
  const Key key(v.token, v.token.Secret(CKK_AES_XTS, v["key"]));
  Bytes tweak = v["iv"];
  tweak.resize(16);
  return OpenAndSeal(v, WithBytes(CKM_AES_XTS, tweak), key, v["msg"], v["ct"]);
}

// A tag of full length by the plain mechanism; a shorter one by its _GENERAL sister, where there is one.
Answer MacBy(const Vector& v, CK_MECHANISM_TYPE type, CK_MECHANISM_TYPE general, std::size_t full,
             CK_KEY_TYPE key_type) {
  const Bytes tag = v["tag"], message = v["msg"];
  const CK_ULONG asked = v.group["tagSize"].get<CK_ULONG>() / 8;
  CK_ULONG length = asked;
  if (asked != full && (general == 0 || !v.token.Offers(general, CKF_SIGN))) return Answer::kSkipped;
  CK_MECHANISM mechanism = asked == full ? CK_MECHANISM{type, nullptr, 0} : With(general, length);
  const Key key(v.token, v.token.Secret(key_type, v["key"]));
  if (key == 0) return Answer::kRefused;
  const bool accepted = v.token.Verify(&mechanism, key, message, tag);
  return AnswerOf(accepted, v.token.Sign(&mechanism, key, message) == tag);
}

Answer Cmac(const Vector& v) { return MacBy(v, CKM_AES_CMAC, CKM_AES_CMAC_GENERAL, 16, CKK_AES); }
Answer HmacSha256(const Vector& v) {
  return MacBy(v, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL, 32, CKK_GENERIC_SECRET);
}
Answer HmacSha512(const Vector& v) {
  return MacBy(v, CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL, 64, CKK_GENERIC_SECRET);
}
Answer HmacSha3(const Vector& v) {
  return MacBy(v, CKM_SHA3_256_HMAC, CKM_SHA3_256_HMAC_GENERAL, 32, CKK_GENERIC_SECRET);
}

Answer Gmac(const Vector& v) {
  if (v.group["tagSize"] != 128) return Answer::kSkipped;
  const Key key(v.token, v.token.Secret(CKK_AES, v["key"]));
  Bytes iv = v["iv"];
  CK_GCM_PARAMS parameter{iv.data(), iv.size(), iv.size() * 8, nullptr, 0, 128};
  CK_MECHANISM mechanism = With(CKM_AES_GMAC, parameter);
  const bool accepted = v.token.Verify(&mechanism, key, v["msg"], v["tag"]);
  return AnswerOf(accepted, v.token.Sign(&mechanism, key, v["msg"]) == v["tag"]);
}

// Through C_Decrypt where the token offers that, through C_UnwrapKey otherwise.
Answer KeyWrapBy(const Vector& v, CK_MECHANISM_TYPE type) {
  const Key key(v.token, v.token.Secret(CKK_AES, v["key"]));
  CK_MECHANISM mechanism{type, nullptr, 0};
  const Bytes message = v["msg"];
  if (v.token.Offers(type, CKF_DECRYPT)) return OpenAndSeal(v, mechanism, key, message, v["ct"]);
  const Key opened(v.token, v.token.Unwrap(&mechanism, key, v["ct"]));
  if (opened == 0) return Answer::kRefused;
  const bool same = v.token.Value(opened) == message;
  return AnswerOf(true, same && (!v.valid() || v.token.Wrap(&mechanism, key, opened) == v["ct"]));
}
Answer KeyWrap(const Vector& v) { return KeyWrapBy(v, CKM_AES_KEY_WRAP); }
Answer KeyWrapPad(const Vector& v) { return KeyWrapBy(v, CKM_AES_KEY_WRAP_PAD); }
Answer KeyWrapKwp(const Vector& v) { return KeyWrapBy(v, CK_MECHANISM_TYPE{0x210B}); }

Answer HkdfBy(const Vector& v, CK_MECHANISM_TYPE hash) {
  if (v.test["size"].get<CK_ULONG>() > 4096) return Answer::kSkipped;  // no secret key is longer
  const Key base(v.token, v.token.Secret(CKK_GENERIC_SECRET, v["ikm"], true));
  Bytes salt = v["salt"], info = v["info"];
  CK_HKDF_PARAMS parameter{};
  parameter.bExtract = CK_TRUE;
  parameter.bExpand = CK_TRUE;
  parameter.prfHashMechanism = hash;
  parameter.ulSaltType = salt.empty() ? CKF_HKDF_SALT_NULL : CKF_HKDF_SALT_DATA;
  parameter.pSalt = salt.data();
  parameter.ulSaltLen = salt.size();
  parameter.pInfo = info.data();
  parameter.ulInfoLen = info.size();
  CK_MECHANISM mechanism = With(CKM_HKDF_DERIVE, parameter);
  const Bytes derived = v.token.Derive(&mechanism, base, v.test["size"].get<CK_ULONG>());
  return AnswerOf(v.token.rv == CKR_OK, derived == v["okm"]);
}
Answer Hkdf256(const Vector& v) { return HkdfBy(v, CKM_SHA256); }
Answer Hkdf512(const Vector& v) { return HkdfBy(v, CKM_SHA512); }

// ---- RSA

CK_OBJECT_HANDLE RsaPublic(Token& token, const json& group) {
  const json& key = group["publicKey"];
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA).Bool(CKA_VERIFY, true);
  return token.Create(
      attributes.Raw(CKA_MODULUS, Number(key["modulus"])).Raw(CKA_PUBLIC_EXPONENT, Number(key["publicExponent"])));
}

// The integers of the RSAPrivateKey in a PKCS #8: version, n, e, d, p, q, dp, dq, qinv (RFC 8017 appendix A.1.2). With
// all of them, since not every token computes the primes from the exponents.
std::vector<Bytes> Integers(const Bytes& pkcs8) {
  // The RSAPrivateKey stands last; its first integer is the version 0, its second one the modulus of 2048 bits or more.
  const Bytes begin = {0x02, 0x01, 0x00, 0x02, 0x82};
  auto at = std::search(pkcs8.begin() + 8, pkcs8.end(), begin.begin(), begin.end());
  std::vector<Bytes> numbers;
  while (pkcs8.end() - at > 2 && *at == 0x02) {
    std::size_t length = at[1], header = 2;
    if (length > 0x80) {
      header = 2 + (length & 0x7F);
      length = 0;
      for (std::size_t i = 2; i < header; ++i) length = length << 8 | at[static_cast<std::ptrdiff_t>(i)];
    }
    if (static_cast<std::size_t>(pkcs8.end() - at) < header + length) return {};
    at += static_cast<std::ptrdiff_t>(header);
    const auto first =
        std::find_if(at, at + static_cast<std::ptrdiff_t>(length), [](std::uint8_t b) { return b != 0; });
    at += static_cast<std::ptrdiff_t>(length);
    numbers.emplace_back(first, at);
  }
  return numbers;
}

CK_OBJECT_HANDLE RsaPrivate(Token& token, const json& group) {
  const std::vector<Bytes> numbers = Integers(Hexed(group["privateKeyPkcs8"]));
  constexpr CK_ATTRIBUTE_TYPE kParts[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
                                          CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT};
  if (numbers.size() < 1 + std::size(kParts)) return 0;
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA);
  attributes.Bool(CKA_DECRYPT, true).Bool(CKA_SIGN, true).Bool(CKA_UNWRAP, false);
  for (std::size_t i = 0; i < std::size(kParts); ++i) attributes.Raw(kParts[i], numbers[i + 1]);
  return token.Create(attributes);
}

Answer VerifyRsa(const Vector& v, CK_MECHANISM mechanism) {
  return AnswerOf(v.token.Verify(&mechanism, v.group_key, v["msg"], v["sig"]));
}
Answer RsaSha256(const Vector& v) { return VerifyRsa(v, {CKM_SHA256_RSA_PKCS, nullptr, 0}); }
Answer RsaSha512(const Vector& v) { return VerifyRsa(v, {CKM_SHA512_RSA_PKCS, nullptr, 0}); }
Answer RsaPss(const Vector& v) {
  CK_RSA_PKCS_PSS_PARAMS parameter{CKM_SHA256, CKG_MGF1_SHA256, v.group["sLen"].get<CK_ULONG>()};
  return VerifyRsa(v, With(CKM_SHA256_RSA_PKCS_PSS, parameter));
}

Answer RsaSign(const Vector& v) {
  static const std::map<std::string, CK_MECHANISM_TYPE> mechanisms = {{"SHA-1", CKM_SHA1_RSA_PKCS},
                                                                      {"SHA-224", CKM_SHA224_RSA_PKCS},
                                                                      {"SHA-256", CKM_SHA256_RSA_PKCS},
                                                                      {"SHA-384", CKM_SHA384_RSA_PKCS},
                                                                      {"SHA-512", CKM_SHA512_RSA_PKCS}};
  CK_MECHANISM mechanism{mechanisms.at(v.group["sha"]), nullptr, 0};
  if (!v.token.Offers(mechanism.mechanism, CKF_SIGN)) return Answer::kSkipped;
  const Bytes made = v.token.Sign(&mechanism, v.group_key, v["msg"]);
  return AnswerOf(v.token.rv == CKR_OK, made == v["sig"]);
}

Answer Oaep(const Vector& v) {
  const bool sha1 = v.group["sha"] == "SHA-1";
  Bytes label = v["label"];
  CK_RSA_PKCS_OAEP_PARAMS parameter{sha1 ? CK_MECHANISM_TYPE{CKM_SHA_1} : CK_MECHANISM_TYPE{CKM_SHA256},
                                    sha1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, label.data(),
                                    label.size()};
  CK_MECHANISM mechanism = With(CKM_RSA_PKCS_OAEP, parameter);
  const Bytes opened = v.token.Decrypt(&mechanism, v.group_key, v["ct"]);
  return AnswerOf(v.token.rv == CKR_OK, opened == v["msg"]);
}

// A wrong padding does not show: what comes out is made up, and the same each time. So "refused" is: not the message.
Answer RsaPkcs1(const Vector& v) {
  CK_MECHANISM mechanism{CKM_RSA_PKCS, nullptr, 0};
  const Bytes opened = v.token.Decrypt(&mechanism, v.group_key, v["ct"]);
  if (v.token.rv != CKR_OK) return Answer::kRefused;
  if (v.valid()) return AnswerOf(true, opened == v["msg"]);
  const bool steady = v.token.Decrypt(&mechanism, v.group_key, v["ct"]) == opened;
  return steady ? Answer::kRefused : Answer::kWrong;
}

// ---- Curves

Bytes CurveOid(const std::string& name) {
  static const std::map<std::string, Bytes> oids = {
      {"secp256r1", {0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}},
      {"secp384r1", {0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22}},
      {"secp521r1", {0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23}},
      {"edwards25519", {0x06, 0x03, 0x2B, 0x65, 0x70}},
      {"edwards448", {0x06, 0x03, 0x2B, 0x65, 0x71}},
      {"curve25519", {0x06, 0x03, 0x2B, 0x65, 0x6E}},
      {"curve448", {0x06, 0x03, 0x2B, 0x65, 0x6F}}};
  return oids.at(name);
}

CK_OBJECT_HANDLE CurvePublic(Token& token, CK_KEY_TYPE type, const std::string& curve, const Bytes& point) {
  Bytes octets = {0x04};
  if (point.size() > 127) octets.push_back(0x81);
  octets.push_back(static_cast<std::uint8_t>(point.size()));
  octets.insert(octets.end(), point.begin(), point.end());
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_VERIFY, true);
  return token.Create(attributes.Raw(CKA_EC_PARAMS, CurveOid(curve)).Raw(CKA_EC_POINT, octets));
}
CK_OBJECT_HANDLE EcdsaKey(Token& token, const json& group) {
  return CurvePublic(token, CKK_EC, group["publicKey"]["curve"], Hexed(group["publicKey"]["uncompressed"]));
}
CK_OBJECT_HANDLE EddsaKey(Token& token, const json& group) {
  return CurvePublic(token, CKK_EC_EDWARDS, group["publicKey"]["curve"], Hexed(group["publicKey"]["pk"]));
}

// One DER INTEGER that is positive and shortest, or nothing.
std::optional<Bytes> DerInteger(const Bytes& der, std::size_t& at) {
  if (at + 2 > der.size() || der[at] != 0x02) return std::nullopt;
  const std::size_t length = der[at + 1];
  at += 2;
  if (length == 0 || length > 127 || at + length > der.size() || (der[at] & 0x80) != 0) return std::nullopt;
  if (length > 1 && der[at] == 0 && (der[at + 1] & 0x80) == 0) return std::nullopt;
  const auto begin = der.begin() + static_cast<std::ptrdiff_t>(at);
  Bytes value(begin, begin + static_cast<std::ptrdiff_t>(length));
  at += length;
  if (value[0] == 0 && value.size() > 1) value.erase(value.begin());
  return value;
}

// r ‖ s of a signature in strict DER; nothing for what is none. PKCS#11 has no DER, so a program would not get so far.
std::optional<Bytes> RawSignature(const Bytes& der, std::size_t half) {
  std::size_t at = 2;
  if (der.size() < 2 || der[0] != 0x30) return std::nullopt;
  std::size_t length = der[1];
  if (length == 0x81 && der.size() > 2 && der[2] >= 0x80) {
    length = der[2];
    at = 3;
  } else if (length > 127) {
    return std::nullopt;
  }
  if (at + length != der.size()) return std::nullopt;
  const auto r = DerInteger(der, at);
  if (!r) return std::nullopt;
  const auto s = DerInteger(der, at);
  if (!s || at != der.size() || r->size() > half || s->size() > half) return std::nullopt;
  Bytes raw(2 * half);
  std::copy(r->begin(), r->end(), raw.begin() + static_cast<std::ptrdiff_t>(half - r->size()));
  std::copy(s->begin(), s->end(), raw.begin() + static_cast<std::ptrdiff_t>(2 * half - s->size()));
  return raw;
}

Answer EcdsaBy(const Vector& v, CK_MECHANISM_TYPE type, std::size_t half) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  const auto signature = RawSignature(v["sig"], half);
  if (!signature) return Answer::kRefused;
  return AnswerOf(v.token.Verify(&mechanism, v.group_key, v["msg"], *signature));
}
Answer Ecdsa256(const Vector& v) { return EcdsaBy(v, CKM_ECDSA_SHA256, 32); }
Answer Ecdsa384(const Vector& v) { return EcdsaBy(v, CKM_ECDSA_SHA384, 48); }
Answer Ecdsa521(const Vector& v) { return EcdsaBy(v, CKM_ECDSA_SHA512, 66); }
// PKCS#11 lets both halves be shorter than the order, where P1363 wants them whole: those are neither right nor wrong.
Answer Ecdsa256Raw(const Vector& v) {
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  const Bytes signature = v["sig"];
  if (signature.size() < 64 && signature.size() % 2 == 0 && !v.valid()) return Answer::kSkipped;
  return AnswerOf(v.token.Verify(&mechanism, v.group_key, v["msg"], signature));
}
Answer Eddsa(const Vector& v) {
  CK_MECHANISM mechanism{CK_MECHANISM_TYPE{0x1057}, nullptr, 0};
  return AnswerOf(v.token.Verify(&mechanism, v.group_key, v["msg"], v["sig"]));
}

Answer AgreeBy(const Vector& v, CK_KEY_TYPE type, const Bytes& scalar) {
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_DERIVE, true);
  attributes.Raw(CKA_EC_PARAMS, CurveOid(v.group["curve"])).Raw(CKA_VALUE, scalar);
  const Key key(v.token, v.token.Create(attributes));
  if (key == 0) return Answer::kWrong;
  Bytes point = v["public"];
  CK_ECDH1_DERIVE_PARAMS parameter{CKD_NULL, 0, nullptr, point.size(), point.data()};
  CK_MECHANISM mechanism = With(CKM_ECDH1_DERIVE, parameter);
  const Bytes shared = v.token.Derive(&mechanism, key, v["shared"].size());
  return AnswerOf(v.token.rv == CKR_OK, shared == v["shared"]);
}
Answer Ecdh(const Vector& v) { return AgreeBy(v, CKK_EC, Number(v.test["private"])); }
Answer Xdh(const Vector& v) { return AgreeBy(v, CK_KEY_TYPE{0x41}, v["private"]); }

// ---- The files

struct File {
  const char* name;
  CK_MECHANISM_TYPE mechanism;
  CK_FLAGS operation;  // that must be listed
  Answer (*run)(const Vector&);
  CK_OBJECT_HANDLE (*group_key)(Token&, const json& group) = nullptr;
  CK_MECHANISM_TYPE making = 0;  // must be listed as well: whether the token knows the keys at all
};

constexpr CK_MECHANISM_TYPE kKwp = 0x210B, kEddsa = 0x1057, kMontgomeryGen = 0x1056;
constexpr File kFiles[] = {
    {"aes_cbc_pkcs5_test.json", CKM_AES_CBC_PAD, CKF_DECRYPT, CbcPad},
    {"aes_ccm_test.json", CKM_AES_CCM, CKF_DECRYPT, Ccm},
    {"aes_cmac_test.json", CKM_AES_CMAC, CKF_VERIFY, Cmac},
    {"aes_gcm_test.json", CKM_AES_GCM, CKF_DECRYPT, Gcm},
    {"aes_gmac_test.json", CKM_AES_GMAC, CKF_VERIFY, Gmac},
    {"aes_kwp_test.json", kKwp, CKF_UNWRAP, KeyWrapKwp},
    {"aes_kwp_test.json", CKM_AES_KEY_WRAP_PAD, CKF_UNWRAP, KeyWrapPad},
    {"aes_wrap_test.json", CKM_AES_KEY_WRAP, CKF_UNWRAP, KeyWrap},
    {"aes_xts_test.json", CKM_AES_XTS, CKF_DECRYPT, Xts},
    {"chacha20_poly1305_test.json", CKM_CHACHA20_POLY1305, CKF_DECRYPT, ChaCha},
    {"ecdh_secp256r1_ecpoint_test.json", CKM_ECDH1_DERIVE, CKF_DERIVE, Ecdh},
    {"ecdh_secp384r1_ecpoint_test.json", CKM_ECDH1_DERIVE, CKF_DERIVE, Ecdh},
    {"ecdh_secp521r1_ecpoint_test.json", CKM_ECDH1_DERIVE, CKF_DERIVE, Ecdh},
    {"ecdsa_secp256r1_sha256_p1363_test.json", CKM_ECDSA_SHA256, CKF_VERIFY, Ecdsa256Raw, EcdsaKey},
    {"ecdsa_secp256r1_sha256_test.json", CKM_ECDSA_SHA256, CKF_VERIFY, Ecdsa256, EcdsaKey},
    {"ecdsa_secp384r1_sha384_test.json", CKM_ECDSA_SHA384, CKF_VERIFY, Ecdsa384, EcdsaKey},
    {"ecdsa_secp521r1_sha512_test.json", CKM_ECDSA_SHA512, CKF_VERIFY, Ecdsa521, EcdsaKey},
    {"ed25519_test.json", kEddsa, CKF_VERIFY, Eddsa, EddsaKey},
    {"ed448_test.json", kEddsa, CKF_VERIFY, Eddsa, EddsaKey},
    {"hkdf_sha256_test.json", CKM_HKDF_DERIVE, CKF_DERIVE, Hkdf256},
    {"hkdf_sha512_test.json", CKM_HKDF_DERIVE, CKF_DERIVE, Hkdf512},
    {"hmac_sha256_test.json", CKM_SHA256_HMAC, CKF_VERIFY, HmacSha256},
    {"hmac_sha3_256_test.json", CKM_SHA3_256_HMAC, CKF_VERIFY, HmacSha3},
    {"hmac_sha512_test.json", CKM_SHA512_HMAC, CKF_VERIFY, HmacSha512},
    {"rsa_oaep_2048_sha1_mgf1sha1_test.json", CKM_RSA_PKCS_OAEP, CKF_DECRYPT, Oaep, RsaPrivate},
    {"rsa_oaep_2048_sha256_mgf1sha256_test.json", CKM_RSA_PKCS_OAEP, CKF_DECRYPT, Oaep, RsaPrivate},
    {"rsa_pkcs1_2048_sig_gen_test.json", CKM_SHA256_RSA_PKCS, CKF_SIGN, RsaSign, RsaPrivate},
    {"rsa_pkcs1_2048_test.json", CKM_RSA_PKCS, CKF_DECRYPT, RsaPkcs1, RsaPrivate},
    {"rsa_pss_2048_sha256_mgf1_32_test.json", CKM_SHA256_RSA_PKCS_PSS, CKF_VERIFY, RsaPss, RsaPublic},
    {"rsa_pss_4096_sha256_mgf1_32_test.json", CKM_SHA256_RSA_PKCS_PSS, CKF_VERIFY, RsaPss, RsaPublic},
    {"rsa_signature_2048_sha256_test.json", CKM_SHA256_RSA_PKCS, CKF_VERIFY, RsaSha256, RsaPublic},
    {"rsa_signature_2048_sha512_test.json", CKM_SHA512_RSA_PKCS, CKF_VERIFY, RsaSha512, RsaPublic},
    {"rsa_signature_4096_sha256_test.json", CKM_SHA256_RSA_PKCS, CKF_VERIFY, RsaSha256, RsaPublic},
    {"x25519_test.json", CKM_ECDH1_DERIVE, CKF_DERIVE, Xdh, nullptr, kMontgomeryGen},
    {"x448_test.json", CKM_ECDH1_DERIVE, CKF_DERIVE, Xdh, nullptr, kMontgomeryGen},
};

struct Count {
  int ran = 0, skipped = 0, wrong = 0, acceptable = 0;
};

// Whether the answer is what the vector or the decision asks for.
bool IsRight(const std::string& file, const json& test, Answer answer, Count& count) {
  const std::string result = test["result"];
  if (answer == Answer::kWrong) return false;
  if (result == "valid") return answer == Answer::kAccepted;
  if (result == "invalid") return answer == Answer::kRefused;
  ++count.acceptable;
  const Decided* decided = DecisionFor(file, test);
  if (decided == nullptr) return false;
  if (decided->decision == Decision::kEither) return true;
  return (decided->decision == Decision::kAccept) == (answer == Answer::kAccepted);
}

std::filesystem::path Place() {
  if (const char* given = std::getenv("CMKD_VECTORS"); given != nullptr) return given;
  return std::filesystem::path(CMKD_SOURCE_DIR) / "../shared/vectors";
}

Count RunFile(Token& token, const File& row) {
  Count count;
  std::ifstream stream(Place() / "wycheproof" / row.name);
  const json file = json::parse(stream);
  for (const json& group : file["testGroups"]) {
    const CK_OBJECT_HANDLE group_key = row.group_key == nullptr ? 0 : row.group_key(token, group);
    const bool no_key = row.group_key != nullptr && group_key == 0;
    const CK_RV why = token.rv;
    for (const json& test : group["tests"]) {
      const Answer answer = no_key ? Answer::kRefused : row.run({token, group, test, group_key});
      if (answer == Answer::kSkipped || IsBeyond(row.name, test)) {
        ++count.skipped;
        continue;
      }
      ++count.ran;
      if (IsRight(row.name, test, answer, count)) continue;
      ++count.wrong;
      if (count.wrong <= 5) {
        std::cout << "  " << row.name << " tcId " << test["tcId"] << " (" << test["result"].get<std::string>() << ", "
                  << test["comment"].get<std::string>() << "): "
                  << (answer == Answer::kAccepted  ? "accepted"
                      : answer == Answer::kRefused ? "refused"
                                                   : "another result")
                  << ", CK_RV 0x" << std::hex << (no_key ? why : token.rv) << std::dec << '\n';
      }
    }
    token.Destroy(group_key);
  }
  return count;
}

int Run(const std::set<std::string>& only) {
  if (!std::filesystem::is_directory(Place() / "wycheproof")) {
    std::cout << "skipped: no vectors in " << Place() << '\n';
    return 77;
  }
  Token token;
  if (!token.ready()) {
    std::cerr << "vectors: no token\n";
    return 1;
  }
  bool good = true;
  int all = 0;
  std::set<std::string> known;
  for (const File& row : kFiles) {
    known.insert(row.name);
    if (!only.empty() && !only.contains(row.name)) continue;
    const bool listed =
        token.Offers(row.mechanism, row.operation) && (row.making == 0 || token.Offers(row.making, ~CK_FLAGS{0}));
    if (!listed) {
      std::cout << row.name << ": the token does not list the mechanism\n";
      continue;
    }
    if (!std::filesystem::exists(Place() / "wycheproof" / row.name)) {
      std::cout << row.name << ": MISSING\n";
      good = false;
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const Count count = RunFile(token, row);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
    std::cout << row.name << ": " << count.ran << " ran, " << count.skipped << " not for this token, "
              << count.acceptable << " decided, " << count.wrong << " wrong, " << took.count() << " ms\n";
    good = good && count.ran > 0 && count.wrong == 0;
    all += count.ran;
  }
  for (const auto& entry : std::filesystem::directory_iterator(Place() / "wycheproof")) {
    if (entry.path().extension() == ".json" && !known.contains(entry.path().filename().string())) {
      std::cout << entry.path().filename().string() << ": nothing here runs it\n";
      good = false;
    }
  }
  std::cout << all << " vectors, " << (good ? "all as they should be" : "NOT as they should be") << '\n';
  return good ? 0 : 1;
}

void PrintDecisions() {
  for (const Limit& limit : kLimits)
    std::cout << limit.file << "*\ton " << limit.device << "\tleft out\t" << limit.reason << '\n';
  for (const Decided& row : kDecisions) {
    const char* what = row.decision == Decision::kAccept   ? "accepted"
                       : row.decision == Decision::kRefuse ? "refused"
                                                           : "either";
    std::cout << row.file << "*\t" << (*row.flag == 0 ? "(all others)" : row.flag) << '\t' << what << '\t' << row.reason
              << '\n';
  }
}

}  // namespace
}  // namespace cmkd::vectors

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--decisions") {
    cmkd::vectors::PrintDecisions();
    return 0;
  }
  return cmkd::vectors::Run(std::set<std::string>(argv + 1, argv + argc));
}
