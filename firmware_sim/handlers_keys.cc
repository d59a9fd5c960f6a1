// Key management functions (PKCS#11 3.2 section 5.18): generate, wrap, unwrap, derive.
#include <bit>

#include "firmware_sim/der.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/key_use.h"
#include "firmware_sim/object_factory.h"
#include "firmware_sim/self_test.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/message_parameter.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;
using spec::Verb;

spec::TemplateContext RulesFor(Verb verb, CK_OBJECT_CLASS object_class, CK_ULONG key_type) {
  spec::TemplateContext rules;
  rules.verb = verb;
  rules.object_class = object_class;
  rules.key_type = key_type;
  return rules;
}

// The private key that a public template asks for.
Fallible<SecretBytes> GeneratePrivate(const spec::MechanismRow& row, const spec::Attributes& public_attributes) {
  if (row.recipe == Recipe::kRsaKeyPairGen) {
    const CK_ULONG bits = public_attributes.Ulong(CKA_MODULUS_BITS).value_or(0);
    if (bits < row.key_bits_min || bits > row.key_bits_max) return Fail(CKR_KEY_SIZE_RANGE, "modulus size");
    return GenerateRsa(bits, public_attributes.View(CKA_PUBLIC_EXPONENT));
  }
  if (IsInField(row.key_type)) {
    Parts group;
    group[Part::kPrime] = public_attributes.View(CKA_PRIME);
    group[Part::kSubprime] = public_attributes.View(CKA_SUBPRIME);
    group[Part::kBase] = public_attributes.View(CKA_BASE);
    const std::size_t bits = spec::BitLength(group[Part::kPrime]);
    if (bits < row.key_bits_min || bits > row.key_bits_max) return Fail(CKR_KEY_SIZE_RANGE, "size of the prime");
    return GenerateInField(row.key_type, group);
  }
  const spec::Curve* curve = spec::FindCurve(public_attributes.View(CKA_EC_PARAMS));
  if (curve == nullptr || curve->key_type != row.key_type)
    return Fail(CKR_CURVE_NOT_SUPPORTED, "not a curve for this mechanism");
  return GenerateOnCurve(*curve);
}

// The type of a secret key that a mechanism makes: the row's, or what the template says where there is a choice. The
// HMAC types are generic secrets under another name.
Fallible<CK_KEY_TYPE> SecretTypeFor(const spec::MechanismRow& row, Template given) {
  ASSIGN_OR_RETURN(const spec::ObjectKind kind, spec::DescribeTemplate(given));
  if (kind.key_type == CK_UNAVAILABLE_INFORMATION) return row.key_type;
  const auto asked = static_cast<CK_KEY_TYPE>(kind.key_type);
  const bool generic =
      spec::KeyTypeBit(row.key_type) == spec::kForGeneric && spec::KeyTypeBit(asked) == spec::kForGeneric;
  return generic || row.other_key_type == spec::kAnyKeyType ? asked : row.key_type;
}

// DES keys have a parity bit in each byte (FIPS 46-3): an odd number of ones.
void SetParity(CK_KEY_TYPE type, MutableBytes value) {
  if (type != CKK_DES && type != CKK_DES2 && type != CKK_DES3) return;
  for (std::uint8_t& byte : value) {
    const bool odd = std::popcount(static_cast<unsigned>(byte & 0xfe)) % 2 != 0;
    byte = static_cast<std::uint8_t>((byte & 0xfe) | (odd ? 0 : 1));
  }
}

// The value of a new secret key. Errors: CKR_DEVICE_ERROR, CKR_MECHANISM_PARAM_INVALID.
Fallible<SecretBytes> MakeSecret(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, std::size_t bytes) {
  if (row.recipe == Recipe::kPbkdf2) return FromPassword(mechanism, bytes);
  SecretBytes value(bytes);
  RETURN_IF_ERROR(RandomBytes(value.bytes()));
  // The first two bytes of a premaster are the version that the client offered (RFC 2246 section 7.4.7.1).
  if (row.recipe == Recipe::kTlsPreMaster) std::memcpy(value.bytes().data(), mechanism.pParameter, 2);
  return value;
}

// Whether a wrapping key may take this key out of the device.
Status CheckMayLeave(const spec::MechanismRow& row, const Object& wrapping, const Object& object) {
  if (object.object_class() == CKO_PUBLIC_KEY) return Fail(CKR_KEY_NOT_WRAPPABLE, "a public key needs no wrapping");
  const spec::Attributes& attributes = object.attributes();
  if (!attributes.Bool(CKA_EXTRACTABLE)) return Fail(CKR_KEY_UNEXTRACTABLE, "CKA_EXTRACTABLE is false");
  if (attributes.Bool(CKA_WRAP_WITH_TRUSTED) && !wrapping.attributes().Bool(CKA_TRUSTED)) {
    return Fail(CKR_KEY_NOT_WRAPPABLE, "CKA_WRAP_WITH_TRUSTED");
  }
  if (!spec::MatchesFlatTemplate(wrapping.attributes().View(CKA_WRAP_TEMPLATE), attributes)) {
    return Fail(CKR_KEY_NOT_WRAPPABLE, "not what the wrapping key's CKA_WRAP_TEMPLATE wants");
  }
  // A PKCS #8 encoding is longer than any RSA modulus takes.
  const bool direct = row.output == spec::OutputRule::kModulus;
  if (object.object_class() == CKO_PRIVATE_KEY && direct) {
    return Fail(CKR_KEY_NOT_WRAPPABLE, "RSA wraps secret keys only");
  }
  return {};
}

Status ChargeWrapping(Context& context, const spec::MechanismRow& row, const Object& wrapping, std::size_t bytes) {
  return ChargeCall(context.device, wrapping, {.uses = 1, .bytes = bytes, .gcm = CountsIvs(row) ? 1u : 0u});
}

// CKM_AES_KEY_WRAP takes whole semiblocks: "will be zero padded to fit" (PKCS#11 3.2 section 6.14.3).
bool NeedsZeroPadding(const spec::MechanismRow& row, std::size_t bytes) {
  return row.recipe == Recipe::kAesKw && (bytes % 8 != 0 || bytes < 16);
}
SecretBytes ZeroPadded(ByteView encoded) {
  const std::size_t bytes = encoded.size() < 16 ? 16 : (encoded.size() + 7) / 8 * 8;
  SecretBytes padded(bytes);
  std::memcpy(padded.bytes().data(), encoded.data(), encoded.size());
  return padded;
}

// The other side of it: what the template, or the encoding itself, says about the length.
void CutZeroPadding(SecretBytes& plain, CK_OBJECT_CLASS object_class, std::optional<std::size_t> value_bytes) {
  std::size_t bytes = plain.size();
  if (object_class == CKO_PRIVATE_KEY) {
    der::Reader reader(plain.view());
    const ByteView whole = reader.Element(der::kSequence);
    if (!whole.empty()) bytes = whole.size();
  } else if (value_bytes && *value_bytes < bytes && bytes - *value_bytes < 8) {
    bytes = *value_bytes;
  }
  // Only zeros were added.
  std::uint8_t rest = 0;
  for (const std::uint8_t byte : plain.view().subspan(bytes)) rest = static_cast<std::uint8_t>(rest | byte);
  if (rest == 0) plain.Truncate(bytes);
}

Error AsUnwrapError(Error error) {
  if (error.rv == CKR_ENCRYPTED_DATA_INVALID) error.rv = CKR_WRAPPED_KEY_INVALID;
  if (error.rv == CKR_ENCRYPTED_DATA_LEN_RANGE) error.rv = CKR_WRAPPED_KEY_LEN_RANGE;
  return error;
}

// The bytes that were wrapped.
Fallible<SecretBytes> Unwrap(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                             ByteView wrapped, CK_OBJECT_CLASS object_class, std::optional<std::size_t> value_bytes) {
  const std::size_t bound = spec::OutputLength(row, mechanism, key.bits(), wrapped.size(), false).value_or(0);
  if (bound == 0) return Fail(CKR_WRAPPED_KEY_LEN_RANGE, "shorter than anything this mechanism makes");
  auto cipher = MakeUnwrapCipher(row, mechanism, key, object_class == CKO_SECRET_KEY ? value_bytes : std::nullopt);
  if (!cipher.ok()) return Failure{AsUnwrapError(cipher.error())};
  SecretBytes plain(bound);
  const auto bytes = (*cipher)->Whole(wrapped, plain.bytes());
  if (!bytes.ok()) return Failure{AsUnwrapError(bytes.error())};
  plain.Truncate(*bytes);
  if (row.recipe == Recipe::kAesKw) CutZeroPadding(plain, object_class, value_bytes);
  return plain;
}

Fallible<KeyPtr> KeyFromUnwrapped(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, SecretBytes plain,
                                  std::optional<std::size_t> value_bytes) {
  if (object_class == CKO_PRIVATE_KEY) {
    ASSIGN_OR_RETURN(KeyPtr key, Key::Private(std::move(plain)));
    if (key->type() != type) return Fail(CKR_TEMPLATE_INCONSISTENT, "the wrapped key is of another CKA_KEY_TYPE");
    return key;
  }
  if (!spec::IsSecretLength(type, plain.size()) || plain.size() != value_bytes.value_or(plain.size())) {
    return Fail(CKR_WRAPPED_KEY_LEN_RANGE, "not a length for this key");
  }
  return Key::Secret(type, std::move(plain));
}

// The template with what the key that makes the new one adds to it (CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE). Keeps
// what the result points into.
class ForcedTemplate {
 public:
  static Fallible<ForcedTemplate> Merge(ByteView forced, Template given) {
    ForcedTemplate result;
    if (forced.empty()) {
      result.given_ = given;
      return result;
    }
    ASSIGN_OR_RETURN(result.merged_, spec::MergeForced(forced, given));
    result.list_ = result.merged_.ToTemplate();
    return result;
  }
  Template view() const { return list_.empty() ? given_ : list_.view(); }

 private:
  Template given_;
  spec::Attributes merged_;
  spec::CTemplate list_;
};

std::optional<std::size_t> ValueLength(Template given) {
  for (const CK_ATTRIBUTE& attribute : given) {
    if (attribute.type != CKA_VALUE_LEN || attribute.ulValueLen != sizeof(CK_ULONG)) continue;
    CK_ULONG bytes;
    std::memcpy(&bytes, attribute.pValue, sizeof bytes);
    return bytes;
  }
  return std::nullopt;
}

// A key that comes out of its wrapping: first what the template, and what the other key adds to it, say of the new one;
// then the key.
class Unwrapping {
 public:
  static Fallible<Unwrapping> Begin(Context& context, const spec::MechanismRow& row, CK_OBJECT_HANDLE with,
                                    Template given) {
    Unwrapping begun(context, row);
    ASSIGN_OR_RETURN(begun.with_, CheckKey(context.device, row, with, CKF_UNWRAP, kUnwrappingKey));
    ASSIGN_OR_RETURN(begun.merged_, ForcedTemplate::Merge(begun.with_->attributes().View(CKA_UNWRAP_TEMPLATE), given));
    ASSIGN_OR_RETURN(begun.kind_, spec::DescribeTemplate(begun.merged_.view()));
    const spec::TemplateContext rules = RulesFor(Verb::kUnwrap, begun.kind_.object_class, begun.kind_.key_type);
    ASSIGN_OR_RETURN(begun.attributes_, DescribeObject(context, rules, begun.merged_.view()));
    if (begun.kind_.object_class == CKO_PUBLIC_KEY)
      return Fail(CKR_TEMPLATE_INCONSISTENT, "a public key is never wrapped");
    return begun;
  }
  // Once. `charged`: of how many bytes the key's limits are told.
  Fallible<CK_OBJECT_HANDLE> Finish(const CK_MECHANISM& mechanism, ByteView wrapped, std::size_t charged) {
    RETURN_IF_ERROR(ChargeCall(context_->device, *with_, {.uses = 1, .bytes = charged}));
    const Template given = merged_.view();
    const std::optional<std::size_t> value_bytes = ValueLength(given);
    ASSIGN_OR_RETURN(SecretBytes plain,
                     Unwrap(*row_, mechanism, *with_->key(), wrapped, kind_.object_class, value_bytes));
    const auto type = static_cast<CK_KEY_TYPE>(kind_.key_type);
    ASSIGN_OR_RETURN(KeyPtr key, KeyFromUnwrapped(kind_.object_class, type, std::move(plain), value_bytes));
    return MakeObject(*context_, std::move(attributes_), std::move(key), given);
  }

 private:
  Unwrapping(Context& context, const spec::MechanismRow& row) : context_(&context), row_(&row) {}

  Context* context_;
  const spec::MechanismRow* row_;
  ObjectPtr with_;
  ForcedTemplate merged_;
  spec::ObjectKind kind_;
  spec::Attributes attributes_;
};

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_GenerateKey>& call) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(*call.mechanism.value, CKF_GENERATE));
  const Template given = call.attributes.view();
  ASSIGN_OR_RETURN(const CK_KEY_TYPE type, SecretTypeFor(*row, given));
  ASSIGN_OR_RETURN(spec::Attributes attributes,
                   DescribeObject(context, RulesFor(Verb::kGenerate, CKO_SECRET_KEY, type), given, row->type));
  const CK_ULONG bytes = ValueLength(given).value_or(spec::FixedSecretBytes(type));
  const bool in_range = bytes * 8 >= row->key_bits_min && bytes * 8 <= row->key_bits_max;
  if (!in_range || !spec::IsSecretLength(type, bytes)) return Fail(CKR_KEY_SIZE_RANGE, "CKA_VALUE_LEN");
  ASSIGN_OR_RETURN(SecretBytes value, MakeSecret(*row, *call.mechanism.value, bytes));
  SetParity(type, value.bytes());
  ASSIGN_OR_RETURN(KeyPtr key, Key::Secret(type, std::move(value)));
  ASSIGN_OR_RETURN(*call.key.value, MakeObject(context, std::move(attributes), std::move(key), given));
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_GenerateKeyPair>& call) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(*call.mechanism.value, CKF_GENERATE_KEY_PAIR));
  const Template public_given = call.public_attributes.view(), private_given = call.private_attributes.view();
  spec::TemplateContext public_rules = RulesFor(Verb::kGenerate, CKO_PUBLIC_KEY, row->key_type);
  spec::TemplateContext private_rules = RulesFor(Verb::kGenerate, CKO_PRIVATE_KEY, row->key_type);
  public_rules.partner = private_given;
  private_rules.partner = public_given;
  ASSIGN_OR_RETURN(spec::Attributes public_attributes, DescribeObject(context, public_rules, public_given, row->type));
  ASSIGN_OR_RETURN(spec::Attributes private_attributes,
                   DescribeObject(context, private_rules, private_given, row->type));
  ASSIGN_OR_RETURN(SecretBytes material, GeneratePrivate(*row, public_attributes));
  ASSIGN_OR_RETURN(KeyPtr private_key, Key::Private(std::move(material)));
  ASSIGN_OR_RETURN(KeyPtr public_key, Key::Public(private_key->PublicInfo()));
  RETURN_IF_ERROR(CheckPair(*public_key, *private_key));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE public_handle,
                   MakeObject(context, std::move(public_attributes), std::move(public_key), public_given));
  const auto private_handle = MakeObject(context, std::move(private_attributes), std::move(private_key), private_given);
  if (!private_handle.ok()) {
    (void)context.device.DestroyObject(public_handle).ok();
    return Failure{private_handle.error()};
  }
  *call.public_key.value = public_handle;
  *call.private_key.value = *private_handle;
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_WrapKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(mechanism, CKF_WRAP));
  ASSIGN_OR_RETURN(const ObjectPtr wrapping,
                   CheckKey(context.device, *row, call.wrapping_key.value, CKF_WRAP, kWrappingKey));
  const ObjectPtr object = context.device.FindObject(call.key.value);
  if (object == nullptr || object->key() == nullptr) return Fail(CKR_KEY_HANDLE_INVALID, "no such key");
  RETURN_IF_ERROR(CheckMayLeave(*row, *wrapping, *object));
  SecretBytes padded;
  ByteView encoded = object->key()->encoded();
  if (NeedsZeroPadding(*row, encoded.size())) {
    padded = ZeroPadded(encoded);
    encoded = padded.view();
  }
  const std::size_t bytes =
      spec::OutputLength(*row, mechanism, wrapping->key()->bits(), encoded.size(), true).value_or(0);
  const bool fits = !call.output.query() && bytes <= call.output.capacity();
  *call.output.length = bytes;
  if (call.output.query()) return {};
  if (!fits) return Fail(CKR_BUFFER_TOO_SMALL, "buffer");
  RETURN_IF_ERROR(ChargeWrapping(context, *row, *wrapping, encoded.size()));
  ASSIGN_OR_RETURN(const auto cipher, MakeCipher(*row, mechanism, *wrapping->key(), Mode::kEncrypt));
  const auto written = cipher->Whole(encoded, {call.output.data, bytes});
  if (!written.ok()) {
    return Fail(written.error().rv == CKR_DATA_LEN_RANGE ? CKR_KEY_SIZE_RANGE : written.error().rv,
                written.error().why);
  }
  *call.output.length = *written;
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_UnwrapKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(mechanism, CKF_UNWRAP));
  ASSIGN_OR_RETURN(Unwrapping unwrapping,
                   Unwrapping::Begin(context, *row, call.unwrapping_key.value, call.attributes.view()));
  ASSIGN_OR_RETURN(*call.key.value, unwrapping.Finish(mechanism, call.input.view(), call.input.view().size()));
  return {};
}

namespace {

// The row of an AEAD that wraps and whose message parameter this is.
Fallible<const spec::MechanismRow*> CheckAead(const spec::MechanismInOut& given, bool wrapping) {
  const spec::MechanismRow* row = spec::FindMechanism(given.value->mechanism);
  constexpr CK_FLAGS kNeeded = CKF_WRAP | CKF_MESSAGE_ENCRYPT;
  if (row == nullptr || (row->operations & kNeeded) != kNeeded)
    return Fail(CKR_MECHANISM_INVALID, "no AEAD that wraps");
  RETURN_IF_ERROR(spec::CheckMessageParameter(*row, given.value->pParameter, given.value->ulParameterLen, wrapping));
  return row;
}

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_WrapKeyAuthenticated>& call) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckAead(call.mechanism, true));
  ASSIGN_OR_RETURN(const ObjectPtr wrapping,
                   CheckKey(context.device, *row, call.wrapping_key.value, CKF_WRAP, kWrappingKey));
  const ObjectPtr object = context.device.FindObject(call.key.value);
  if (object == nullptr || object->key() == nullptr) return Fail(CKR_KEY_HANDLE_INVALID, "no such key");
  RETURN_IF_ERROR(CheckMayLeave(*row, *wrapping, *object));
  const ByteView encoded = object->key()->encoded();
  const bool query = call.output.query();
  const bool fits = call.output.capacity() >= encoded.size();
  *call.output.length = encoded.size();
  if (query) return {};
  if (!fits) return Fail(CKR_BUFFER_TOO_SMALL, "buffer");
  RETURN_IF_ERROR(ChargeWrapping(context, *row, *wrapping, encoded.size()));
  spec::MessageParameter parameter(call.mechanism.parameter());
  RETURN_IF_ERROR(parameter.ChooseIv(RandomBytes));
  const CK_MECHANISM mechanism = parameter.AsOneShot(row->type, call.associated_data.view(), encoded.size());
  ASSIGN_OR_RETURN(const auto cipher, MakeCipher(*row, mechanism, *wrapping->key(), Mode::kEncrypt));
  const MutableBytes tag = parameter.tag();
  Bytes sealed(encoded.size() + tag.size());
  ASSIGN_OR_RETURN([[maybe_unused]] const std::size_t written, cipher->Whole(encoded, sealed));
  std::memcpy(call.output.data, sealed.data(), encoded.size());
  std::memcpy(tag.data(), sealed.data() + encoded.size(), tag.size());
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_UnwrapKeyAuthenticated>& call) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckAead(call.mechanism, false));
  ASSIGN_OR_RETURN(Unwrapping unwrapping,
                   Unwrapping::Begin(context, *row, call.unwrapping_key.value, call.attributes.view()));
  Bytes sealed = ToBytes(call.input.view());
  spec::MessageParameter parameter(call.mechanism.parameter());
  const MutableBytes tag = parameter.tag();
  sealed.insert(sealed.end(), tag.begin(), tag.end());
  const CK_MECHANISM mechanism = parameter.AsOneShot(row->type, call.associated_data.view(), call.input.view().size());
  ASSIGN_OR_RETURN(*call.key.value, unwrapping.Finish(mechanism, sealed, call.input.view().size()));
  return {};
}

namespace {

// The keys that the parameter of a derivation names beside the base key.
Fallible<std::vector<ObjectPtr>> OtherKeys(Context& context, const spec::MechanismRow& row,
                                           const CK_MECHANISM& mechanism) {
  std::vector<ObjectPtr> keys;
  for (const auto& [handle, used] : spec::OtherKeysIn(row, mechanism)) {
    if (!used) continue;
    const ObjectPtr key = context.device.FindObject(*handle);
    if (key == nullptr || key->object_class() != CKO_SECRET_KEY || !key->Permits(CKF_DERIVE)) {
      return Fail(CKR_KEY_HANDLE_INVALID, "no such key beside the base key, or it is not for derivation");
    }
    keys.push_back(key);
  }
  return keys;
}

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_DeriveKey>& call) {
  if (call.key.value == nullptr) return Fail(CKR_ARGUMENTS_BAD, "the handle goes nowhere");
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(mechanism, CKF_DERIVE));
  ASSIGN_OR_RETURN(const ObjectPtr base, CheckKey(context.device, *row, call.base_key.value, CKF_DERIVE));
  ASSIGN_OR_RETURN(const ForcedTemplate merged,
                   ForcedTemplate::Merge(base->attributes().View(CKA_DERIVE_TEMPLATE), call.attributes.view()));
  const Template given = merged.view();
  ASSIGN_OR_RETURN(spec::ObjectKind kind, spec::DescribeTemplate(given));
  if (kind.object_class == CK_UNAVAILABLE_INFORMATION) kind.object_class = CKO_SECRET_KEY;
  if (kind.key_type == CK_UNAVAILABLE_INFORMATION) kind.key_type = CKK_GENERIC_SECRET;
  if (kind.object_class != CKO_SECRET_KEY) return Fail(CKR_TEMPLATE_INCONSISTENT, "what is derived is a secret key");
  spec::TemplateContext rules = RulesFor(Verb::kDerive, kind.object_class, kind.key_type);
  ASSIGN_OR_RETURN(const std::vector<ObjectPtr> others, OtherKeys(context, *row, mechanism));
  spec::Attributes secrecy = base->attributes();
  rules.inherits_secrecy = spec::InheritsSecrecy(row->recipe, !others.empty());
  std::vector<KeyPtr> keys;
  for (const ObjectPtr& other : others) {
    if (rules.inherits_secrecy) secrecy = spec::JoinSecrecy(secrecy, other->attributes());
    keys.push_back(other->key());
  }
  rules.current = &secrecy;
  ASSIGN_OR_RETURN(spec::Attributes attributes, DescribeObject(context, rules, given));
  std::optional<std::size_t> bytes = ValueLength(given);
  if (const std::size_t fixed = spec::FixedSecretBytes(kind.key_type); !bytes && fixed != 0) bytes = fixed;
  RETURN_IF_ERROR(ChargeCall(context.device, *base, {.uses = 1}));
  ASSIGN_OR_RETURN(SecretBytes value, Derive(*row, mechanism, *base->key(), keys, bytes));
  if (!spec::IsSecretLength(kind.key_type, value.size())) {
    return Fail(CKR_KEY_SIZE_RANGE, "the secret is no such key");
  }
  SetParity(kind.key_type, value.bytes());
  ASSIGN_OR_RETURN(KeyPtr key, Key::Secret(kind.key_type, std::move(value)));
  ASSIGN_OR_RETURN(*call.key.value, MakeObject(context, std::move(attributes), std::move(key), given));
  return {};
}

}  // namespace cmkd::sim
