// A few elements of DER, one in the other.
#include "daemon/hsm/public_key_info.h"

#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {
namespace {

constexpr std::uint8_t kInteger = 0x02, kBitString = 0x03, kSequence = 0x30;

constexpr std::uint8_t kRsaEncryption[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                           0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
constexpr std::uint8_t kEcPublicKey[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
constexpr std::uint8_t kDsa[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01};
constexpr std::uint8_t kDhKeyAgreement[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01};

Bytes Join(std::initializer_list<ByteView> parts) {
  Bytes all;
  for (const ByteView part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes Element(std::uint8_t tag, ByteView content) {
  Bytes out{tag};
  const std::size_t n = content.size();
  if (n > 0xFFFF) return {};
  if (n > 0x7F) out.push_back(n > 0xFF ? 0x82 : 0x81);
  if (n > 0xFF) out.push_back(static_cast<std::uint8_t>(n >> 8));
  out.push_back(static_cast<std::uint8_t>(n));
  return Join({out, content});
}

Bytes Integer(ByteView number) {
  while (number.size() > 1 && number[0] == 0) number = number.subspan(1);
  constexpr std::uint8_t kZero[] = {0};
  const bool negative = !number.empty() && (number[0] & 0x80) != 0;
  return Element(kInteger, Join({negative ? ByteView(kZero) : ByteView{}, number}));
}

Bytes Info(ByteView algorithm, ByteView key) {
  constexpr std::uint8_t kNoUnusedBits[] = {0};
  return Element(kSequence, Join({Element(kSequence, algorithm), Element(kBitString, Join({kNoUnusedBits, key}))}));
}

}  // namespace

Bytes PublicKeyInfo(CK_KEY_TYPE type, const spec::Attributes& key) {
  const auto has = [&key](std::initializer_list<CK_ATTRIBUTE_TYPE> wanted) {
    for (const CK_ATTRIBUTE_TYPE attribute : wanted) {
      if (key.View(attribute).empty()) return false;
    }
    return true;
  };
  const auto number = [&key](CK_ATTRIBUTE_TYPE attribute) { return Integer(key.View(attribute)); };
  if (type == CKK_RSA && has({CKA_MODULUS, CKA_PUBLIC_EXPONENT}))
    return Info(kRsaEncryption, Element(kSequence, Join({number(CKA_MODULUS), number(CKA_PUBLIC_EXPONENT)})));
  if (type == CKK_DSA && has({CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_VALUE})) {
    const Bytes group = Join({number(CKA_PRIME), number(CKA_SUBPRIME), number(CKA_BASE)});
    return Info(Join({kDsa, Element(kSequence, group)}), number(CKA_VALUE));
  }
  if (type == CKK_DH && has({CKA_PRIME, CKA_BASE, CKA_VALUE})) {
    const Bytes group = Join({number(CKA_PRIME), number(CKA_BASE)});
    return Info(Join({kDhKeyAgreement, Element(kSequence, group)}), number(CKA_VALUE));
  }
  const spec::Curve* curve = spec::FindCurve(key.View(CKA_EC_PARAMS));
  if (curve == nullptr || !has({CKA_EC_POINT})) return {};
  const ByteView point = spec::PointOf(key.View(CKA_EC_POINT), *curve);
  if (point.empty()) return {};
  const ByteView oid = AsBytes(curve->oid);
  return type == CKK_EC || type == CKK_SM2 ? Info(Join({kEcPublicKey, oid}), point) : Info(oid, point);
}

}  // namespace cmkd::daemon
