// The standard's rules for templates, as pure functions over the attribute table (PKCS#11 3.2 section 4.1), and the
// separation of key usages that this project adds on managed tokens. Nothing here reads a store, a clock or a key.
//
// The daemon's way: DescribeTemplate → CheckTemplate → Complete → CheckSeparation (or CheckPairSeparation) → make the
// object. CK_ATTRIBUTEs are in the form C gives them; Attributes keep nested templates flat (template_codec.h). All
// functions may run on any thread at once.
#pragma once

#include <optional>
#include <span>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::spec {

// kManaged: the token's keys are CMKs; one key, one usage. kGeneral: a plain PKCS#11 token; conflicting flags are
// accepted here and the daemon latches the role at first use.
enum class Profile : std::uint8_t { kManaged, kGeneral };

// kGenerate is one half of a key pair, or a secret key: the object class tells them apart.
enum class Verb : std::uint8_t { kCreate, kGenerate, kUnwrap, kDerive, kCopy, kSet };

struct TemplateContext {
  Verb verb = Verb::kCreate;
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_ULONG key_type = CK_UNAVAILABLE_INFORMATION;  // CKK_… of keys, CKC_… of certificates
  bool so = false;                                 // the security officer is logged in
  Profile profile = Profile::kGeneral;
  // kCopy and kSet: the object as it is (required). kDerive: the base key, if its sensitivity is to be inherited.
  const Attributes* current = nullptr;
  // kDerive: the new key is as secret as the base key, whatever the template says (InheritsSecrecy() of the mechanism).
  bool inherits_secrecy = false;
  // kGenerate of a pair: the template of the other half, from which a half that names no usage takes the fitting ones.
  std::span<const CK_ATTRIBUTE> partner = {};
};

// The class and type that a template names, for verbs whose mechanism does not contribute them (create, unwrap,
// derive). Absent ones come out as CK_UNAVAILABLE_INFORMATION. Errors: CKR_ATTRIBUTE_VALUE_INVALID when one has a wrong
// size; CKR_TEMPLATE_INCONSISTENT when it is given twice, differently.
struct ObjectKind {
  CK_OBJECT_CLASS object_class = CK_UNAVAILABLE_INFORMATION;
  CK_ULONG key_type = CK_UNAVAILABLE_INFORMATION;
};
Fallible<ObjectKind> DescribeTemplate(std::span<const CK_ATTRIBUTE> attributes);

// Whether this template may be used so. Errors, in the order they are looked for:
//   CKR_ACTION_PROHIBITED       kSet of an object that is not CKA_MODIFIABLE, kCopy of one that is not CKA_COPYABLE
//   CKR_TEMPLATE_INCOMPLETE     no CKA_CLASS, or no CKA_KEY_TYPE or CKA_CERTIFICATE_TYPE where one is needed
//   CKR_ATTRIBUTE_TYPE_INVALID  unknown, or not an attribute of this class and key type (kForeignAttribute)
//   CKR_ATTRIBUTE_VALUE_INVALID wrong size, a boolean that is neither 0 nor 1, no date, an impossible value
//   CKR_ATTRIBUTE_READ_ONLY     set by the token or the SO only, not modifiable, or a latch that would be undone
//   CKR_TEMPLATE_INCONSISTENT   given twice with different values, forbidden for this verb, or in contradiction to
//   another CKR_TEMPLATE_INCOMPLETE     a required attribute is missing
// and for generation CKR_KEY_SIZE_RANGE, for curves unknown here CKR_CURVE_NOT_SUPPORTED.
Status CheckTemplate(const TemplateContext& context, std::span<const CK_ATTRIBUTE> attributes);

// The answer to an attribute of another class or key type. The standard's prose has CKR_TEMPLATE_INCONSISTENT for it in
// one example (section 4.1.1); tokens in the field answer as here.
inline constexpr CK_RV kForeignAttribute = CKR_ATTRIBUTE_TYPE_INVALID;

// The whole attribute set of the object that a checked template describes: what was given, the defaults, and what
// follows from its history (CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_KEY_GEN_MECHANISM). Left to the
// daemon: CKA_UNIQUE_ID, and what comes from the material (CKA_PUBLIC_KEY_INFO, CKA_CHECK_VALUE, CKA_MODULUS of a
// generated key, …). For kCopy the source with the changes, for kSet the object with them. `key_gen_mechanism` counts
// for kGenerate only. The template must have passed CheckTemplate(); if it has not, what is malformed in it is left
// out.
Attributes Complete(const TemplateContext& context, std::span<const CK_ATTRIBUTE> attributes,
                    CK_MECHANISM_TYPE key_gen_mechanism = CK_UNAVAILABLE_INFORMATION);

// Both in turn: what CheckTemplate() refuses, or what Complete() makes of it. Each thread remembers
// its last answers.
Fallible<Attributes> NewAttributes(const TemplateContext& context, std::span<const CK_ATTRIBUTE> attributes,
                                   CK_MECHANISM_TYPE key_gen_mechanism = CK_UNAVAILABLE_INFORMATION);

// The secrecy of two base keys together, as `current` of a derivation that takes both: as sensitive as either, as
// extractable as both, with the history that both have.
Attributes JoinSecrecy(const Attributes& first, const Attributes& second);

// Whether what was given of attributes that the token computes (CKA_CHECK_VALUE, CKA_PUBLIC_KEY_INFO, CKA_VALUE_LEN,
// CKA_EC_POINT of a private key) is what it computed; empty and absent ones fit. Errors: CKR_ATTRIBUTE_VALUE_INVALID.
Status CheckAgainstMaterial(std::span<const CK_ATTRIBUTE> given, const ObjectKind& kind, const Attributes& computed);
// The same with class and type as the object or the template says them.
Status CheckAgainstMaterial(std::span<const CK_ATTRIBUTE> given, const Attributes& computed);

// Whether an object's attribute may be shown: false only for secret parts of a sensitive or unextractable key (footnote
// 7).
bool MayReveal(const Attributes& object, CK_ATTRIBUTE_TYPE type);

// Whether C_FindObjects finds this object. Attributes that may not be shown match nothing, or search would be an
// oracle.
bool FoundBy(const Attributes& object, std::span<const CK_ATTRIBUTE> wanted);

// Errors: CKR_ACTION_PROHIBITED when CKA_DESTROYABLE is false.
Status CheckDestroy(const Attributes& object);

// Separation of usages, over the attributes of the object that would come to be. On kGeneral everything passes. On
// kManaged: one usage for each key ({encrypt, decrypt}, {sign, verify}, {wrap, unwrap}, derive); no wrapping with keys
// that were not made inside or whose value is or was in the clear; token keys sensitive and not extractable; claims of
// history that contradict the flags; trust only for keys made inside and never extractable. Errors:
// CKR_TEMPLATE_INCONSISTENT.
Status CheckSeparation(Profile profile, const Attributes& merged);

// The same for the two halves of a pair: each, and their usages joined.
Status CheckPairSeparation(Profile profile, const Attributes& public_key, const Attributes& private_key);

// CKA_UNWRAP_TEMPLATE and CKA_DERIVE_TEMPLATE: the template for the new key, with what the flat template `forced` adds.
// An empty `forced` adds nothing. Errors: CKR_TEMPLATE_INCONSISTENT when the two contradict each other.
Fallible<Attributes> MergeForced(ByteView forced, std::span<const CK_ATTRIBUTE> given);

// CKA_WRAP_TEMPLATE: whether the key to be wrapped has every attribute of the flat template with the same value. An
// empty template matches; one that cannot be read does not.
bool MatchesFlatTemplate(ByteView flat, const Attributes& object);

// A group of usages that belong together, as bits: what CheckSeparation() counts, and what the daemon latches.
using UsageGroups = std::uint8_t;
inline constexpr UsageGroups kUsesCipher = 1;  // encrypt, decrypt
inline constexpr UsageGroups kUsesSign = 2;    // sign, verify, and with recovery
inline constexpr UsageGroups kUsesWrap = 4;    // wrap, unwrap
inline constexpr UsageGroups kUsesDerive = 8;
UsageGroups UsagesOf(const Attributes& object);

}  // namespace cmkd::spec
