// The rows of the attribute table, from PKCS#11 3.2 section 4 and the sections of the key types. Where a row is
// stricter or more lenient than the standard, the line above it says why.
#include "pkcs11/spec/attribute_table.h"

#include <algorithm>
#include <array>

#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

using K = AttributeKind;
using D = Default;

constexpr SetBy kClient = SetBy::kClient;
constexpr SetBy kToken = SetBy::kToken;

constexpr AttributeRules kNeverGiven = kForbiddenOnCreate | kForbiddenOnGenerate | kForbiddenOnUnwrap;
// The standard lets usages be changed both ways. A usage that comes later is how a wrapping key is made to decrypt, so
// here they can only be taken away.
constexpr AttributeRules kUsage = kModifiable | kTokenDefault | kLatchesFalse;
constexpr AttributeRules kPublicPart = kRequiredOnCreate | kForbiddenOnGenerate | kForbiddenOnUnwrap;
constexpr AttributeRules kSecretPart = kPublicPart | kHiddenWhenSensitive;
constexpr AttributeRules kSecretExtra = kForbiddenOnGenerate | kForbiddenOnUnwrap | kHiddenWhenSensitive;

constexpr ClassSet kOnHidden = kOnPrivateKey | kOnSecretKey;  // keys that have something to hide
constexpr ClassSet kOnOpener = kOnPublicKey | kOnSecretKey;   // keys that encrypt, verify, wrap

#define CMKD_NAMED(name) CKA_##name, "CKA_" #name

// clang-format off
constexpr std::array kRows = {
  // type and name, kind, classes, key types, default, rules, set by
  AttributeRow{CMKD_NAMED(CLASS),                      K::kUlong,         kOnAll | kOnBuiltIn,         kForAny, D::kByRule,   kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(TOKEN),                      K::kBool,          kOnAll | kOnProfile,         kForAny, D::kFalse,    kChangeableOnCopy, kClient},
  AttributeRow{CMKD_NAMED(PRIVATE),                    K::kBool,          kOnAll | kOnProfile,         kForAny, D::kByRule,   kChangeableOnCopy | kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(LABEL),                      K::kText,          kOnAll,         kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(UNIQUE_ID),                  K::kText,          kOnAll | kOnBuiltIn,         kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(APPLICATION),                K::kText,          kOnData,        kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(VALUE),                      K::kBytes,         kOnData,        kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(VALUE),                      K::kBytes,         kOnCertificate, kForAny, D::kAbsent,   kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(VALUE),                      K::kBytes,         kOnHidden,      kForCurves | kForSecrets | kForDiscreteLog, D::kAbsent, kSecretPart, kClient},
  AttributeRow{CMKD_NAMED(VALUE),                      K::kBytes,         kOnPublicKey,   kForDiscreteLog, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(OBJECT_ID),                  K::kBytes,         kOnData,        kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(CERTIFICATE_TYPE),           K::kUlong,         kOnCertificate, kForAny, D::kByRule,   kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(ISSUER),                     K::kBytes,         kOnCertificate, kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(ISSUER),                     K::kBytes,         kOnTrust,       kForAny, D::kEmpty, kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(SERIAL_NUMBER),              K::kBytes,         kOnCertificate, kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(SERIAL_NUMBER),              K::kBytes,         kOnTrust,       kForAny, D::kEmpty, kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(TRUSTED),                    K::kBool,          kOnOpener | kOnCertificate, kForAny, D::kFalse, kOnlySoSetsTrue, SetBy::kSo},
  AttributeRow{CMKD_NAMED(CERTIFICATE_CATEGORY),       K::kUlong,         kOnCertificate, kForAny, D::kZero,     kNoRules, kClient},
  AttributeRow{CMKD_NAMED(JAVA_MIDP_SECURITY_DOMAIN),  K::kUlong,         kOnCertificate, kForAny, D::kZero,     kNoRules, kClient},
  AttributeRow{CMKD_NAMED(URL),                        K::kText,          kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(HASH_OF_SUBJECT_PUBLIC_KEY), K::kBytes,         kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(HASH_OF_ISSUER_PUBLIC_KEY),  K::kBytes,         kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(NAME_HASH_ALGORITHM),        K::kUlong,         kOnCertificate, kForAny, D::kAbsent,   kNoRules, kClient},
  // Footnote 2 of trust objects asks for it, and its own line has a default: SHA-1.
  AttributeRow{CMKD_NAMED(NAME_HASH_ALGORITHM),        K::kUlong,         kOnTrust,       kForAny, D::kByRule, kNoRules, kClient},
  // A key's check value may be taken away by setting it empty, and not be set to anything else.
  AttributeRow{CMKD_NAMED(CHECK_VALUE),                K::kBytes,         kOnCertificate, kForAny, D::kComputed, kMustFitMaterial, kClient},
  AttributeRow{CMKD_NAMED(CHECK_VALUE),                K::kBytes,         kOnSecretKey,   kForAny, D::kComputed, kMustFitMaterial | kModifiable, kClient},
  AttributeRow{CMKD_NAMED(KEY_TYPE),                   K::kUlong,         kOnKeys,        kForAny, D::kByRule,   kRequiredOnCreate | kRequiredOnUnwrap, kClient},
  AttributeRow{CMKD_NAMED(KEY_TYPE),                   K::kUlong,         kOnDomain,      kForAny, D::kByRule, kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(SUBJECT),                    K::kBytes,         kOnCertificate, kForAny, D::kAbsent,   kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(SUBJECT),                    K::kBytes,         kOnKeyPair,     kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(ID),                         K::kBytes,         kOnKeys | kOnCertificate, kForAny, D::kEmpty, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(SENSITIVE),                  K::kBool,          kOnHidden,      kForAny, D::kByRule,   kModifiable | kTokenDefault | kLatchesTrue, kClient},
  AttributeRow{CMKD_NAMED(ENCRYPT),                    K::kBool,          kOnOpener,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(DECRYPT),                    K::kBool,          kOnHidden,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(WRAP),                       K::kBool,          kOnOpener,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(UNWRAP),                     K::kBool,          kOnHidden,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(SIGN),                       K::kBool,          kOnHidden,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(SIGN_RECOVER),               K::kBool,          kOnPrivateKey,  kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(VERIFY),                     K::kBool,          kOnOpener,      kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(VERIFY_RECOVER),             K::kBool,          kOnPublicKey,   kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(DERIVE),                     K::kBool,          kOnKeys,        kForAny, D::kUsage,    kUsage & ~kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(START_DATE),                 K::kDate,          kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(START_DATE),                 K::kDate,          kOnKeys,        kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(END_DATE),                   K::kDate,          kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(END_DATE),                   K::kDate,          kOnKeys,        kForAny, D::kEmpty,    kModifiable, kClient},
  AttributeRow{CMKD_NAMED(MODULUS),                    K::kBigInteger,    kOnKeyPair,     kForRsa, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(MODULUS_BITS),               K::kUlong,         kOnPublicKey,   kForRsa, D::kComputed, kForbiddenOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(PUBLIC_EXPONENT),            K::kBigInteger,    kOnPublicKey,   kForRsa, D::kByRule,   kRequiredOnCreate, kClient},
  AttributeRow{CMKD_NAMED(PUBLIC_EXPONENT),            K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(PRIVATE_EXPONENT),           K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretPart, kClient},
  AttributeRow{CMKD_NAMED(PRIME_1),                    K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretExtra, kClient},
  AttributeRow{CMKD_NAMED(PRIME_2),                    K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretExtra, kClient},
  AttributeRow{CMKD_NAMED(EXPONENT_1),                 K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretExtra, kClient},
  AttributeRow{CMKD_NAMED(EXPONENT_2),                 K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretExtra, kClient},
  AttributeRow{CMKD_NAMED(COEFFICIENT),                K::kBigInteger,    kOnPrivateKey,  kForRsa, D::kAbsent,   kSecretExtra, kClient},
  AttributeRow{CMKD_NAMED(PUBLIC_KEY_INFO),            K::kBytes,         kOnCertificate, kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(PUBLIC_KEY_INFO),            K::kBytes,         kOnPublicKey,   kForAny, D::kComputed, kMustFitMaterial, kClient},
  AttributeRow{CMKD_NAMED(PUBLIC_KEY_INFO),            K::kBytes,         kOnPrivateKey,  kForAny, D::kComputed, kMustFitMaterial | kModifiable, kClient},
  // The standard forbids it on create; programs send it with CKA_VALUE, and it does no harm when it fits.
  AttributeRow{CMKD_NAMED(PRIME),                      K::kBigInteger,    kOnPublicKey, kForDiscreteLog, D::kComputed, kRequiredOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(PRIME),                      K::kBigInteger,    kOnDomain,      kForDiscreteLog, D::kComputed, kRequiredOnCreate | kForbiddenOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(PRIME),                      K::kBigInteger,    kOnPrivateKey,  kForDiscreteLog, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(SUBPRIME),                   K::kBigInteger,    kOnPublicKey, kForDsa | kForX942, D::kComputed, kRequiredOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(SUBPRIME),                   K::kBigInteger,    kOnDomain,      kForDsa | kForX942, D::kComputed, kRequiredOnCreate | kForbiddenOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(SUBPRIME),                   K::kBigInteger,    kOnPrivateKey,  kForDsa | kForX942, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(BASE),                       K::kBigInteger,    kOnPublicKey, kForDiscreteLog, D::kComputed, kRequiredOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(BASE),                       K::kBigInteger,    kOnDomain,      kForDiscreteLog, D::kComputed, kRequiredOnCreate | kForbiddenOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(BASE),                       K::kBigInteger,    kOnPrivateKey,  kForDiscreteLog, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(PRIME_BITS),                 K::kUlong,         kOnDomain,      kForDiscreteLog, D::kComputed, kForbiddenOnCreate | kRequiredOnGenerate, kClient},
  // DSA's follows from the prime's when nobody says it.
  AttributeRow{CMKD_NAMED(SUBPRIME_BITS),              K::kUlong,         kOnDomain,      kForDsa, D::kComputed, kForbiddenOnCreate, kClient},
  AttributeRow{CMKD_NAMED(SUBPRIME_BITS),              K::kUlong,         kOnDomain,      kForX942, D::kComputed, kForbiddenOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(VALUE_BITS),                 K::kUlong,         kOnPrivateKey,  kForDh, D::kComputed, kForbiddenOnCreate | kForbiddenOnUnwrap, kClient},
  AttributeRow{CMKD_NAMED(VALUE_LEN),                  K::kUlong,         kOnSecretKey,   kForFixed, D::kComputed, kMustFitMaterial, kClient},
  AttributeRow{CMKD_NAMED(VALUE_LEN),                  K::kUlong,         kOnSecretKey,   kForAes | kForGeneric | kForHotp, D::kComputed, kRequiredOnGenerate | kMustFitMaterial, kClient},
  AttributeRow{CMKD_NAMED(EXTRACTABLE),                K::kBool,          kOnHidden,      kForAny, D::kByRule,   kModifiable | kTokenDefault | kLatchesFalse, kClient},
  AttributeRow{CMKD_NAMED(LOCAL),                      K::kBool,          kOnKeys | kOnDomain,        kForAny, D::kByRule,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(NEVER_EXTRACTABLE),          K::kBool,          kOnHidden,      kForAny, D::kByRule,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(ALWAYS_SENSITIVE),           K::kBool,          kOnHidden,      kForAny, D::kByRule,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(KEY_GEN_MECHANISM),          K::kUlong,         kOnKeys,        kForAny, D::kByRule,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(MODIFIABLE),                 K::kBool,          kOnAll | kOnBuiltIn,         kForAny, D::kTrue,     kChangeableOnCopy | kLatchesFalse, kClient},
  AttributeRow{CMKD_NAMED(COPYABLE),                   K::kBool,          kOnAll | kOnBuiltIn,         kForAny, D::kTrue,     kModifiable | kLatchesFalse, kClient},
  AttributeRow{CMKD_NAMED(DESTROYABLE),                K::kBool,          kOnAll | kOnBuiltIn,         kForAny, D::kTrue,     kChangeableOnCopy | kLatchesFalse, kClient},
  AttributeRow{CMKD_NAMED(EC_PARAMS),                  K::kBytes,         kOnPublicKey,   kForCurves, D::kAbsent, kRequiredOnCreate | kRequiredOnGenerate, kClient},
  AttributeRow{CMKD_NAMED(EC_PARAMS),                  K::kBytes,         kOnPrivateKey,  kForCurves, D::kComputed, kPublicPart, kClient},
  AttributeRow{CMKD_NAMED(EC_POINT),                   K::kBytes,         kOnPublicKey,   kForCurves, D::kComputed, kPublicPart, kClient},
  // Not in the standard's table of private keys; programs that copy a pair between tokens send it.
  AttributeRow{CMKD_NAMED(EC_POINT),                   K::kBytes,         kOnPrivateKey,  kForCurves, D::kComputed, kForbiddenOnGenerate | kMustFitMaterial, kClient},
  AttributeRow{CMKD_NAMED(ALWAYS_AUTHENTICATE),        K::kBool,          kOnPrivateKey,  kForAny, D::kFalse,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(WRAP_WITH_TRUSTED),          K::kBool,          kOnHidden,      kForAny, D::kFalse,    kModifiable | kLatchesTrue, kClient},
  // Decimal is the one format that RFC 4226 defines. None of these may be changed, the counter above all.
  AttributeRow{CMKD_NAMED(OTP_FORMAT),                 K::kUlong,         kOnOtpKey,      kForAny, D::kZero,     kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_LENGTH),                 K::kUlong,         kOnOtpKey,      kForAny, D::kByRule,   kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_TIME_INTERVAL),          K::kUlong,         kOnOtpKey,      kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_USER_FRIENDLY_MODE),     K::kBool,          kOnOtpKey,      kForAny, D::kTrue,     kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_CHALLENGE_REQUIREMENT),  K::kUlong,         kOnOtpKey,      kForAny, D::kZero,     kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_TIME_REQUIREMENT),       K::kUlong,         kOnOtpKey,      kForAny, D::kZero,     kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_COUNTER_REQUIREMENT),    K::kUlong,         kOnOtpKey,      kForAny, D::kByRule,   kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_PIN_REQUIREMENT),        K::kUlong,         kOnOtpKey,      kForAny, D::kZero,     kTokenDefault, kClient},
  AttributeRow{CMKD_NAMED(OTP_USER_IDENTIFIER),        K::kText,          kOnOtpKey,      kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_SERVICE_IDENTIFIER),     K::kText,          kOnOtpKey,      kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_SERVICE_LOGO),           K::kBytes,         kOnOtpKey,      kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_SERVICE_LOGO_TYPE),      K::kText,          kOnOtpKey,      kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_COUNTER),                K::kBytes,         kOnOtpKey,      kForAny, D::kByRule,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(OTP_TIME),                   K::kText,          kOnOtpKey,      kForAny, D::kEmpty,    kNoRules, kClient},
  AttributeRow{CMKD_NAMED(MECHANISM_TYPE),             K::kUlong,         kOnMechanism,   kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(PROFILE_ID),                 K::kUlong,         kOnProfile,     kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(OBJECT_VALIDATION_FLAGS),    K::kUlong,         kOnKeys,        kForAny, D::kZero,     kNeverGiven | kTokenDefault, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_TYPE),            K::kUlong,         kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_VERSION),         K::kBytes,         kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_LEVEL),           K::kUlong,         kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_MODULE_ID),       K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_FLAG),            K::kUlong,         kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_AUTHORITY_TYPE),  K::kUlong,         kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_COUNTRY),         K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_CERTIFICATE_IDENTIFIER), K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_CERTIFICATE_URI), K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_VENDOR_URI),      K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(VALIDATION_PROFILE),         K::kText,          kOnValidation,  kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(TRUST_SERVER_AUTH),          K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_CLIENT_AUTH),          K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_CODE_SIGNING),         K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_EMAIL_PROTECTION),     K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_IPSEC_IKE),            K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_TIME_STAMPING),        K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(TRUST_OCSP_SIGNING),         K::kUlong,         kOnTrust,       kForAny, D::kZero, kModifiable, kClient},
  AttributeRow{CMKD_NAMED(ENCAPSULATE),                K::kBool,          kOnPublicKey,   kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(DECAPSULATE),                K::kBool,          kOnPrivateKey,  kForAny, D::kUsage,    kUsage, kClient},
  AttributeRow{CMKD_NAMED(HASH_OF_CERTIFICATE),        K::kBytes,         kOnTrust,       kForAny, D::kEmpty, kNoRules, kClient},
  // Footnote 1 would make every program of before 3.2 fail on import, so it need not be given.
  AttributeRow{CMKD_NAMED(PUBLIC_CRC64_VALUE),         K::kBytes,         kOnKeyPair,     kForAny, D::kComputed, kForbiddenOnGenerate | kMustFitMaterial | kMadeWithKeyPair, kClient},
  AttributeRow{CMKD_NAMED(WRAP_TEMPLATE),              K::kTemplate,      kOnOpener,      kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(UNWRAP_TEMPLATE),            K::kTemplate,      kOnHidden,      kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(DERIVE_TEMPLATE),            K::kTemplate,      kOnHidden,      kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(ALLOWED_MECHANISMS),         K::kMechanismList, kOnKeys,        kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(ENCAPSULATE_TEMPLATE),       K::kTemplate,      kOnPublicKey,   kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(DECAPSULATE_TEMPLATE),       K::kTemplate,      kOnPrivateKey,  kForAny, D::kAbsent,   kNoRules, kClient},
  AttributeRow{CMKD_NAMED(CMKD_STATE),                 K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_VERSION),               K::kUlong,         kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_VERSION_COUNT),         K::kUlong,         kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_ORIGIN),                K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_NEXT_ROTATION),         K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_DELETION_DATE),         K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_LAST_USED),             K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_PROTECTION),            K::kText,          kOnKeys,        kForAny, D::kComputed, kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_ROLE),                  K::kText,          kOnKeys,        kForAny, D::kAbsent,   kNeverGiven, kToken},
  // Of keys in the simulated device, which takes the limits out of a template before these rules see it.
  AttributeRow{CMKD_NAMED(CMKD_LIMIT_USES),            K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_LIMIT_BYTES),           K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_LIMIT_SECONDS),         K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_USES_PER_LOGIN),        K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_USES),                  K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_BYTES),                 K::kUlong,         kOnHidden,      kForAny, D::kAbsent,   kNeverGiven, kToken},
  AttributeRow{CMKD_NAMED(CMKD_CLONE_OF),              K::kText,          kOnKeys,        kForAny, D::kAbsent,   kNeverGiven, kToken},
};
// clang-format on
#undef CMKD_NAMED

constexpr bool Overlap(const AttributeRow& a, const AttributeRow& b) {
  const bool key_types = a.key_types == kForAny || b.key_types == kForAny || (a.key_types & b.key_types) != 0;
  return (a.classes & b.classes) != 0 && key_types;
}

constexpr bool SortedAndDisjoint() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (i > 0 && kRows[i].type < kRows[i - 1].type) return false;
    for (std::size_t j = i + 1; j < kRows.size() && kRows[j].type == kRows[i].type; ++j) {
      if (Overlap(kRows[i], kRows[j]) || kRows[i].kind != kRows[j].kind || kRows[i].name != kRows[j].name) return false;
    }
  }
  return true;
}
static_assert(SortedAndDisjoint(), "FindAttribute() searches by halves and takes the one row that applies");

}  // namespace

std::span<const AttributeRow> AttributeTable() { return kRows; }

const AttributeRow* FindAttribute(CK_ATTRIBUTE_TYPE type) {
  const auto row = std::lower_bound(kRows.begin(), kRows.end(), type,
                                    [](const AttributeRow& r, CK_ATTRIBUTE_TYPE t) { return r.type < t; });
  return row != kRows.end() && row->type == type ? &*row : nullptr;
}

const AttributeRow* FindAttribute(CK_ATTRIBUTE_TYPE type, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type) {
  const AttributeRow* row = FindAttribute(type);
  if (row == nullptr) return nullptr;
  for (const AttributeRow* end = kRows.data() + kRows.size(); row != end && row->type == type; ++row) {
    if (AppliesTo(*row, object_class, key_type)) return row;
  }
  return nullptr;
}

ClassSet ClassBit(CK_OBJECT_CLASS object_class) {
  switch (object_class) {
    case CKO_DATA: return kOnData;
    case CKO_CERTIFICATE: return kOnCertificate;
    case CKO_PUBLIC_KEY: return kOnPublicKey;
    case CKO_PRIVATE_KEY: return kOnPrivateKey;
    case CKO_SECRET_KEY: return kOnSecretKey;
    case CKO_OTP_KEY: return kOnSecretKey | kOnOtpKey;
    case CKO_DOMAIN_PARAMETERS: return kOnDomain;
    case CKO_TRUST: return kOnTrust;
    case CKO_PROFILE: return kOnProfile;
    case CKO_MECHANISM: return kOnMechanism;
    case CKO_VALIDATION: return kOnValidation;
    default: return 0;
  }
}

KeyTypeSet KeyTypeBit(CK_KEY_TYPE key_type) {
  switch (key_type) {
    case CKK_RSA: return kForRsa;
    case CKK_EC: return kForEc;
    case CKK_EC_EDWARDS: return kForEdwards;
    case CKK_EC_MONTGOMERY: return kForMontgomery;
    case CKK_DSA: return kForDsa;
    case CKK_DH: return kForDh;
    case CKK_X9_42_DH: return kForX942;
    case CKK_SM2: return kForSm2;
    case CKK_HOTP: return kForHotp;
    case CKK_AES_XTS:
    case CKK_AES: return kForAes;
    case CKK_DES:
    case CKK_DES2:
    case CKK_DES3:
    case CKK_CHACHA20:
    case CKK_POLY1305:
    case CKK_SM4: return kForFixed;
    case CKK_GENERIC_SECRET:
    case CKK_HKDF:
    case CKK_MD5_HMAC:
    case CKK_SHA_1_HMAC:
    case CKK_SHA224_HMAC:
    case CKK_SHA256_HMAC:
    case CKK_SHA384_HMAC:
    case CKK_SHA512_HMAC:
    case CKK_SHA512_224_HMAC:
    case CKK_SHA512_256_HMAC:
    case CKK_SHA512_T_HMAC:
    case CKK_SHA3_224_HMAC:
    case CKK_SHA3_256_HMAC:
    case CKK_SHA3_384_HMAC:
    case CKK_SHA3_512_HMAC:
    case CKK_BLAKE2B_512_HMAC: return kForGeneric;
    default: return 0;
  }
}

bool AppliesTo(const AttributeRow& row, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type) {
  if ((row.classes & ClassBit(object_class)) == 0) return false;
  return row.key_types == kForAny || (row.key_types & KeyTypeBit(key_type)) != 0;
}

}  // namespace cmkd::spec
