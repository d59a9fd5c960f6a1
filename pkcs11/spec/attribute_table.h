// The attribute table: what kind each attribute is, on which objects it may stand, what it is when nobody gave it, and
// the standard's footnotes as named rules. attribute_rules.h applies them; C_GetAttributeValue, search, store and the
// printed reference read it too. An attribute whose rules differ between object classes has one row for each group of
// them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

enum class AttributeKind : std::uint8_t {
  kBool,           // CK_BBOOL: one byte, 0 or 1
  kUlong,          // CK_ULONG
  kBytes,          // any bytes
  kBigInteger,     // big endian, unsigned
  kText,           // UTF-8, no terminator
  kDate,           // CK_DATE, or empty
  kMechanismList,  // CK_MECHANISM_TYPE[]
  kTemplate,       // CK_ATTRIBUTE[]; flat in store and on the wire (template_codec.h)
};

// Object classes and key types as bit sets, so that a row can name several.
using ClassSet = std::uint16_t;
inline constexpr ClassSet kOnData = 1;
inline constexpr ClassSet kOnCertificate = 2;
inline constexpr ClassSet kOnPublicKey = 4;
inline constexpr ClassSet kOnPrivateKey = 8;
inline constexpr ClassSet kOnSecretKey = 16;
inline constexpr ClassSet kOnDomain = 32;  // domain parameters
inline constexpr ClassSet kOnTrust = 64;
// The token's own objects: they can be found and read, and nothing else.
inline constexpr ClassSet kOnProfile = 128;
inline constexpr ClassSet kOnMechanism = 256;
inline constexpr ClassSet kOnValidation = 512;
// What one-time password keys have beside all that secret keys have (3.2, "OTP key objects").
inline constexpr ClassSet kOnOtpKey = 1024;
inline constexpr ClassSet kOnBuiltIn = kOnProfile | kOnMechanism | kOnValidation;
inline constexpr ClassSet kOnKeyPair = kOnPublicKey | kOnPrivateKey;
inline constexpr ClassSet kOnKeys = kOnKeyPair | kOnSecretKey;
// Storage objects.
inline constexpr ClassSet kOnAll = kOnKeys | kOnCertificate | kOnData | kOnDomain | kOnTrust;

using KeyTypeSet = std::uint16_t;
inline constexpr KeyTypeSet kForRsa = 1;
inline constexpr KeyTypeSet kForEc = 2;
inline constexpr KeyTypeSet kForEdwards = 4;
inline constexpr KeyTypeSet kForMontgomery = 8;
inline constexpr KeyTypeSet kForAes = 16;
inline constexpr KeyTypeSet kForGeneric = 32;  // generic secrets, HKDF keys and the HMAC key types
inline constexpr KeyTypeSet kForFixed = 64;    // secret keys that have one length: DES, ChaCha20, Poly1305, SM4
inline constexpr KeyTypeSet kForSm2 = 128;
inline constexpr KeyTypeSet kForDsa = 256;
inline constexpr KeyTypeSet kForDh = 512;     // PKCS #3
inline constexpr KeyTypeSet kForX942 = 1024;  // X9.42
inline constexpr KeyTypeSet kForHotp = 2048;  // the one type of CKO_OTP_KEY
inline constexpr KeyTypeSet kForCurves = kForEc | kForEdwards | kForMontgomery | kForSm2;
inline constexpr KeyTypeSet kForDiscreteLog = kForDsa | kForDh | kForX942;
inline constexpr KeyTypeSet kForSecrets = kForAes | kForGeneric | kForFixed | kForHotp;
inline constexpr KeyTypeSet kForAny = 0;  // not tied to key types

// What the attribute is when the template does not say.
enum class Default : std::uint8_t {
  kAbsent,  // the object has no such attribute
  kFalse,
  kTrue,
  kEmpty,     // present, length 0
  kZero,      // CK_ULONG 0
  kUsage,     // a usage flag: attribute_rules.h decides (footnote 9)
  kByRule,    // attribute_rules.h decides (CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE, …)
  kComputed,  // made by the token from the material or from the object's history
};

enum class SetBy : std::uint8_t { kClient, kSo, kToken };

// The standard's footnotes (3.2, table "Common footnotes for object attribute tables"), and two that its prose has.
using AttributeRules = std::uint16_t;
inline constexpr AttributeRules kNoRules = 0;
inline constexpr AttributeRules kRequiredOnCreate = 1 << 0;     // 1
inline constexpr AttributeRules kForbiddenOnCreate = 1 << 1;    // 2
inline constexpr AttributeRules kRequiredOnGenerate = 1 << 2;   // 3
inline constexpr AttributeRules kForbiddenOnGenerate = 1 << 3;  // 4
inline constexpr AttributeRules kRequiredOnUnwrap = 1 << 4;     // 5
inline constexpr AttributeRules kForbiddenOnUnwrap = 1 << 5;    // 6
inline constexpr AttributeRules kHiddenWhenSensitive = 1 << 6;  // 7
inline constexpr AttributeRules kModifiable = 1 << 7;           // 8
inline constexpr AttributeRules kTokenDefault = 1 << 8;         // 9
inline constexpr AttributeRules kOnlySoSetsTrue = 1 << 9;       // 10
inline constexpr AttributeRules kLatchesTrue = 1 << 10;         // 11
inline constexpr AttributeRules kLatchesFalse = 1 << 11;        // 12
inline constexpr AttributeRules kMadeWithKeyPair = 1 << 12;     // 13
inline constexpr AttributeRules kChangeableOnCopy = 1 << 13;    // the four special attributes of C_CopyObject
// May be given, but must then be what the token computes (CheckAgainstMaterial); a given empty value says nothing.
inline constexpr AttributeRules kMustFitMaterial = 1 << 14;

struct AttributeRow {
  CK_ATTRIBUTE_TYPE type;
  std::string_view name;  // the standard's, with CKA_; ours with CKA_CMKD_
  AttributeKind kind;
  ClassSet classes;
  KeyTypeSet key_types;
  Default initial;
  AttributeRules rules;
  SetBy set_by;
};

// All rows, sorted by type; rows of one type have no class and key type in common, and the same name and kind.
std::span<const AttributeRow> AttributeTable();

// The first row of a type (for its name and kind), or nullptr for an attribute unknown here.
const AttributeRow* FindAttribute(CK_ATTRIBUTE_TYPE type);

// The row that holds for objects of this class and key type (which counts for keys and domain parameters), or nullptr.
const AttributeRow* FindAttribute(CK_ATTRIBUTE_TYPE type, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type);

// Whether objects of this class are secret keys: CKO_SECRET_KEY, or CKO_OTP_KEY, which inherits all of it.
constexpr bool IsSecretKeyClass(CK_ULONG object_class) {
  return object_class == CKO_SECRET_KEY || object_class == CKO_OTP_KEY;
}

// The bits of a class (a class that inherits has those of the other, too) or key type; 0 for one that this project has
// no objects of.
ClassSet ClassBit(CK_OBJECT_CLASS object_class);
KeyTypeSet KeyTypeBit(CK_KEY_TYPE key_type);

// Whether a row holds for objects of this class and key type.
bool AppliesTo(const AttributeRow& row, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type);

inline bool HasRule(const AttributeRow& row, AttributeRules rule) { return (row.rules & rule) != 0; }

}  // namespace cmkd::spec
