// See key_encoding.h.
#include "firmware_sim/key_encoding.h"

#include "firmware_sim/der.h"
#include "firmware_sim/engine.h"

namespace cmkd::sim {
namespace {

using der::Reader;
using der::Writer;

constexpr std::uint8_t kRsaOid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};  // rsaEncryption
constexpr std::uint8_t kEcOid[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};  // id-ecPublicKey
// id-dsa (RFC 3279), dhKeyAgreement (PKCS #3), dhpublicnumber (X9.42).
constexpr std::uint8_t kDsaOid[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01};
constexpr std::uint8_t kDhOid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01};
constexpr std::uint8_t kX942Oid[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3e, 0x02, 0x01};
constexpr std::uint8_t kZero[] = {0};
constexpr std::uint8_t kOne[] = {1};

// RSAPrivateKey, RFC 8017 A.1.2, in its order.
constexpr Part kRsaPrivateOrder[] = {Part::kModulus, Part::kPublicExponent, Part::kPrivateExponent, Part::kPrime1,
                                     Part::kPrime2,  Part::kExponent1,      Part::kExponent2,       Part::kCoefficient};

ByteView FieldOid(CK_KEY_TYPE type) {
  if (type == CKK_DSA) return kDsaOid;
  return type == CKK_DH ? ByteView(kDhOid) : ByteView(kX942Oid);
}

// The order of the numbers that describe the group: RFC 3279 sections 2.3.2 and 2.3.3, PKCS #3 section 9.
std::span<const Part> GroupOrder(CK_KEY_TYPE type) {
  static constexpr Part kDsa[] = {Part::kPrime, Part::kSubprime, Part::kBase};
  static constexpr Part kX942[] = {Part::kPrime, Part::kBase, Part::kSubprime};
  if (type == CKK_DSA) return kDsa;
  return std::span(kX942).first(type == CKK_DH ? 2 : 3);
}

void WriteAlgorithm(Writer& w, CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts) {
  const std::size_t mark = w.size();
  if (IsInField(type)) {
    const auto order = GroupOrder(type);
    for (std::size_t i = order.size(); i-- > 0;) w.Integer(parts[order[i]]);
    w.Wrap(der::kSequence, mark);
    w.Raw(FieldOid(type));
  } else if (type == CKK_RSA) {
    w.Value(der::kNull, {});
    w.Raw(kRsaOid);
  } else {
    w.Raw(AsBytes(curve->oid));
    // RFC 8410 section 3: the algorithm is the curve, without parameters.
    if (HasScalar(type)) w.Raw(kEcOid);
  }
  w.Wrap(der::kSequence, mark);
}

// The group's numbers. What may follow them (the length of private values, the validation of X9.42) is not needed.
bool ReadGroup(Reader& algorithm, DecodedKey& key) {
  Reader r = algorithm.Enter(der::kSequence);
  for (const Part part : GroupOrder(key.type)) key.parts[part] = r.Integer();
  return r.ok() && algorithm.AtEnd();
}

// The type and curve that an AlgorithmIdentifier means.
bool ReadAlgorithm(Reader& r, DecodedKey& key) {
  Reader algorithm = r.Enter(der::kSequence);
  const ByteView oid = algorithm.Element(der::kOid);
  if (Equal(oid, kRsaOid)) {
    key.type = CKK_RSA;
    // RFC 8017 A.1 has NULL; some encoders leave it out.
    if (!algorithm.AtEnd() && !algorithm.Value(der::kNull).empty()) return false;
    return algorithm.AtEnd();
  }
  for (const CK_KEY_TYPE type : {CKK_DSA, CKK_DH, CKK_X9_42_DH}) {
    if (!Equal(oid, FieldOid(type))) continue;
    key.type = type;
    return ReadGroup(algorithm, key);
  }
  if (Equal(oid, kEcOid)) {
    key.curve = spec::FindCurve(algorithm.Element(der::kOid));
  } else {
    key.curve = spec::FindCurve(oid);
    if (key.curve != nullptr && HasScalar(key.curve->key_type)) return false;
  }
  if (key.curve == nullptr || !algorithm.AtEnd()) return false;
  key.type = key.curve->key_type;
  key.parts[Part::kEcParams] = AsBytes(key.curve->oid);
  return true;
}

bool ReadRsaPrivate(ByteView encoded, Parts& parts) {
  Reader outer(encoded);
  Reader r = outer.Enter(der::kSequence);
  // Version 0: two primes.
  if (!Equal(r.Integer(), kZero)) return false;
  for (const Part part : kRsaPrivateOrder) parts[part] = r.Integer();
  return r.AtEnd() && outer.AtEnd();
}

// ECPrivateKey, RFC 5915.
bool ReadEcPrivate(ByteView encoded, DecodedKey& key) {
  Reader outer(encoded);
  Reader r = outer.Enter(der::kSequence);
  if (!Equal(r.Integer(), kOne)) return false;
  key.parts[Part::kValue] = r.Value(der::kOctetString);
  if (r.Next(der::kContext0)) {
    Reader parameters = r.Enter(der::kContext0);
    if (spec::FindCurve(parameters.Element(der::kOid)) != key.curve || !parameters.AtEnd()) return false;
  }
  if (r.Next(der::kContext1)) {
    Reader point = r.Enter(der::kContext1);
    const ByteView bits = point.Value(der::kBitString);
    if (bits.empty() || bits[0] != 0 || !point.AtEnd()) return false;
    key.parts[Part::kPoint] = bits.subspan(1);
  }
  return r.AtEnd() && outer.AtEnd();
}

// CurvePrivateKey, RFC 8410 section 7.
bool ReadCurvePrivate(ByteView encoded, Parts& parts) {
  Reader r(encoded);
  parts[Part::kValue] = r.Value(der::kOctetString);
  return r.AtEnd();
}

// A private exponent or a public value: one INTEGER.
bool ReadNumber(ByteView encoded, ByteView& number) {
  Reader r(encoded);
  number = r.Integer();
  return r.AtEnd();
}

void WriteRsaPrivate(Writer& w, const Parts& parts) {
  const std::size_t mark = w.size();
  for (std::size_t i = std::size(kRsaPrivateOrder); i-- > 0;) w.Integer(parts[kRsaPrivateOrder[i]]);
  w.Integer(kZero);
  w.Wrap(der::kSequence, mark);
}

void WriteEcPrivate(Writer& w, const Parts& parts) {
  const std::size_t mark = w.size();
  w.Raw(parts[Part::kPoint]);
  w.Byte(0);
  w.Wrap(der::kBitString, mark);
  w.Wrap(der::kContext1, mark);
  w.Value(der::kOctetString, parts[Part::kValue]);
  w.Integer(kOne);
  w.Wrap(der::kSequence, mark);
}

std::size_t EncodedSizeMax(const Parts& parts) {
  std::size_t total = 128;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Part::kCount); ++i)
    total += parts[static_cast<Part>(i)].size() + 8;
  return total;
}

}  // namespace

Fallible<DecodedKey> DecodePkcs8(ByteView encoded, CK_RV refusal) {
  DecodedKey key;
  Reader outer(encoded);
  Reader r = outer.Enter(der::kSequence);
  const ByteView version = r.Integer();
  const bool readable = (Equal(version, kZero) || Equal(version, kOne)) && ReadAlgorithm(r, key);
  if (!readable) return Fail(refusal, "not a PrivateKeyInfo of a known algorithm");
  const ByteView inner = r.Value(der::kOctetString);
  if (!r.ok()) return Fail(refusal, "PrivateKeyInfo without a private key");
  // Attributes and a public key (RFC 5958) may follow; nothing in them is needed.
  if (!outer.AtEnd()) return Fail(refusal, "bytes after the PrivateKeyInfo");
  const bool good = key.type == CKK_RSA   ? ReadRsaPrivate(inner, key.parts)
                    : IsInField(key.type) ? ReadNumber(inner, key.parts[Part::kValue])
                    : HasScalar(key.type) ? ReadEcPrivate(inner, key)
                                          : ReadCurvePrivate(inner, key.parts);
  if (!good) return Fail(refusal, "the private key inside the PrivateKeyInfo is malformed");
  return key;
}

Fallible<DecodedKey> DecodeSpki(ByteView encoded, CK_RV refusal) {
  DecodedKey key;
  Reader outer(encoded);
  Reader r = outer.Enter(der::kSequence);
  if (!ReadAlgorithm(r, key)) return Fail(refusal, "not a SubjectPublicKeyInfo of a known algorithm");
  const ByteView bits = r.Value(der::kBitString);
  if (!r.AtEnd() || !outer.AtEnd() || bits.empty() || bits[0] != 0)
    return Fail(refusal, "malformed SubjectPublicKeyInfo");
  if (IsInField(key.type)) {
    if (!ReadNumber(bits.subspan(1), key.parts[Part::kPoint])) return Fail(refusal, "malformed public value");
    return key;
  }
  if (key.type != CKK_RSA) {
    key.parts[Part::kPoint] = bits.subspan(1);
    return key;
  }
  Reader rsa_outer(bits.subspan(1));
  Reader rsa = rsa_outer.Enter(der::kSequence);
  key.parts[Part::kModulus] = rsa.Integer();
  key.parts[Part::kPublicExponent] = rsa.Integer();
  if (!rsa.AtEnd() || !rsa_outer.AtEnd()) return Fail(refusal, "malformed RSAPublicKey");
  return key;
}

SecretBytes EncodePkcs8(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts) {
  SecretBytes buffer(EncodedSizeMax(parts));
  Writer w(buffer.bytes());
  if (type == CKK_RSA)
    WriteRsaPrivate(w, parts);
  else if (IsInField(type))
    w.Integer(parts[Part::kValue]);
  else if (HasScalar(type))
    WriteEcPrivate(w, parts);
  else
    w.Value(der::kOctetString, parts[Part::kValue]);
  w.Wrap(der::kOctetString, 0);
  WriteAlgorithm(w, type, curve, parts);
  w.Integer(kZero);
  w.Wrap(der::kSequence, 0);
  return SecretBytes(w.written());
}

Bytes EncodeSpki(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts) {
  Bytes buffer(EncodedSizeMax(parts));
  Writer w(buffer);
  if (type == CKK_RSA) {
    w.Integer(parts[Part::kPublicExponent]);
    w.Integer(parts[Part::kModulus]);
    w.Wrap(der::kSequence, 0);
  } else if (IsInField(type)) {
    w.Integer(parts[Part::kPoint]);
  } else {
    w.Raw(parts[Part::kPoint]);
  }
  w.Byte(0);
  w.Wrap(der::kBitString, 0);
  WriteAlgorithm(w, type, curve, parts);
  w.Wrap(der::kSequence, 0);
  return ToBytes(w.written());
}

}  // namespace cmkd::sim
