// The kinds of objects that there are, and templates that just suffice to make each: shared by the tests of attribute
// rules.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/otp.h"
#include "tests/spec/template_builder.h"

namespace cmkd::spec::test {

struct Kind {
  CK_OBJECT_CLASS object_class;
  CK_ULONG key_type;
  std::string_view name;
};

inline constexpr std::array kKinds = {
    Kind{CKO_DATA, CK_UNAVAILABLE_INFORMATION, "data"},
    Kind{CKO_CERTIFICATE, CKC_X_509, "certificate"},
    Kind{CKO_PUBLIC_KEY, CKK_RSA, "public RSA"},
    Kind{CKO_PUBLIC_KEY, CKK_EC, "public EC"},
    Kind{CKO_PUBLIC_KEY, CKK_EC_EDWARDS, "public Edwards"},
    Kind{CKO_PUBLIC_KEY, CKK_EC_MONTGOMERY, "public Montgomery"},
    Kind{CKO_PRIVATE_KEY, CKK_RSA, "private RSA"},
    Kind{CKO_PRIVATE_KEY, CKK_EC, "private EC"},
    Kind{CKO_PRIVATE_KEY, CKK_EC_EDWARDS, "private Edwards"},
    Kind{CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, "private Montgomery"},
    Kind{CKO_SECRET_KEY, CKK_AES, "AES"},
    Kind{CKO_SECRET_KEY, CKK_GENERIC_SECRET, "generic secret"},
    Kind{CKO_SECRET_KEY, CKK_SHA256_HMAC, "HMAC"},
    Kind{CKO_TRUST, CK_UNAVAILABLE_INFORMATION, "trust"},
    Kind{CKO_DOMAIN_PARAMETERS, CKK_DSA, "DSA parameters"},
    Kind{CKO_OTP_KEY, CKK_HOTP, "HOTP"},
};

inline bool IsKey(const Kind& kind) { return (ClassBit(kind.object_class) & kOnKeys) != 0; }
inline bool IsHidden(const Kind& kind) {
  return kind.object_class == CKO_PRIVATE_KEY || IsSecretKeyClass(kind.object_class);
}

inline TemplateContext ContextOf(const Kind& kind, Verb verb, Profile profile = Profile::kGeneral, bool so = false) {
  return {verb, kind.object_class, kind.key_type, so, profile};
}

// A value that an attribute may have on such an object. Booleans come out false.
inline Bytes SampleValue(const AttributeRow& row, const Kind& kind) {
  const auto ulong = [](CK_ULONG value) {
    return ToBytes({reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  };
  switch (row.type) {
    case CKA_CLASS: return ulong(kind.object_class);
    case CKA_KEY_TYPE:
    case CKA_CERTIFICATE_TYPE: return ulong(kind.key_type);
    case CKA_VALUE_LEN: return ulong(32);
    case CKA_MODULUS_BITS: return ulong(2048);
    case CKA_PUBLIC_EXPONENT: return {1, 0, 1};
    case CKA_PRIME_BITS: return ulong(2048);
    case CKA_SUBPRIME_BITS: return ulong(256);
    case CKA_NAME_HASH_ALGORITHM: return ulong(CKM_SHA_1);
    case CKA_HASH_OF_CERTIFICATE: return Bytes(20, 'x');
    case CKA_TRUST_SERVER_AUTH:
    case CKA_TRUST_CLIENT_AUTH:
    case CKA_TRUST_CODE_SIGNING:
    case CKA_TRUST_EMAIL_PROTECTION:
    case CKA_TRUST_IPSEC_IKE:
    case CKA_TRUST_TIME_STAMPING:
    case CKA_TRUST_OCSP_SIGNING: return ulong(CKT_NOT_TRUSTED);  // the others need a hash beside them
    case CKA_OTP_FORMAT:
    case CKA_OTP_CHALLENGE_REQUIREMENT:
    case CKA_OTP_TIME_REQUIREMENT:
    case CKA_OTP_PIN_REQUIREMENT: return ulong(0);  // decimal, and ignored
    case CKA_OTP_LENGTH: return ulong(8);
    case CKA_OTP_COUNTER: return Bytes(kOtpCounterBytes, 'x');
    case CKA_OTP_TIME: return {};
    case CKA_EC_PARAMS:
      for (const Curve& curve : Curves()) {
        if (curve.key_type == kind.key_type) return ToBytes(AsBytes(curve.oid));
      }
      return {};
    default: break;
  }
  switch (row.kind) {
    case AttributeKind::kBool: return {0};
    case AttributeKind::kUlong: return ulong(1);
    case AttributeKind::kMechanismList: return ulong(CKM_AES_GCM);
    case AttributeKind::kDate: return ToBytes(AsBytes("20300101"));
    case AttributeKind::kTemplate: return {};
    case AttributeKind::kBytes:
    case AttributeKind::kText: return Bytes(32, 'x');
    case AttributeKind::kBigInteger: return Bytes(256, 0xff);
  }
  return {};
}

// Which rows such a call must have.
inline AttributeRules RequiredBy(Verb verb) {
  return verb == Verb::kCreate     ? kRequiredOnCreate
         : verb == Verb::kGenerate ? kRequiredOnGenerate
         : verb == Verb::kUnwrap   ? kRequiredOnUnwrap
                                   : kNoRules;
}

inline void AddRequired(TemplateBuilder& builder, const Kind& kind, Verb verb) {
  for (const AttributeRow& row : AttributeTable()) {
    if (!HasRule(row, RequiredBy(verb)) || !AppliesTo(row, kind.object_class, kind.key_type)) continue;
    builder.Value(row.type, SampleValue(row, kind));
  }
}

// An object as C_CreateObject with the least template makes it.
inline Attributes SampleObject(const Kind& kind) {
  TemplateBuilder builder;
  AddRequired(builder, kind, Verb::kCreate);
  return Complete(ContextOf(kind, Verb::kCreate), builder);
}

}  // namespace cmkd::spec::test
