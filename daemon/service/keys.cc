// Key management (PKCS#11 section 5.18): generate, wrap, unwrap. derivation.cc has the rest.
#include <algorithm>
#include <utility>

#include "daemon/service/handlers.h"
#include "daemon/service/import_by_unwrap.h"
#include "daemon/service/key_role.h"
#include "daemon/service/key_use.h"
#include "daemon/service/new_object.h"
#include "daemon/service/open_key.h"
#include "daemon/service/public_objects.h"
#include "daemon/service/rsa_padding.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/otp.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

// The key type of a generated key: the mechanism's, or the other one it can make when the template names it.
Fallible<CK_KEY_TYPE> GeneratedType(const spec::MechanismRow& row, std::span<const CK_ATTRIBUTE> attributes,
                                    CK_OBJECT_CLASS object_class) {
  ASSIGN_OR_RETURN(const spec::ObjectKind named, spec::DescribeTemplate(attributes));
  if (named.object_class != CK_UNAVAILABLE_INFORMATION && named.object_class != object_class) {
    return Fail(CKR_TEMPLATE_INCONSISTENT, "the template names another class than the mechanism makes");
  }
  if (named.key_type == CK_UNAVAILABLE_INFORMATION || named.key_type == row.key_type) return row.key_type;
  const bool hmac =
      row.key_type == CKK_GENERIC_SECRET && spec::KeyTypeBit(named.key_type) == spec::KeyTypeBit(CKK_GENERIC_SECRET);
  // A password makes a key of any type.
  const bool any = row.other_key_type == spec::kAnyKeyType && object_class == CKO_SECRET_KEY;
  if (named.key_type == row.other_key_type || hmac || any) return static_cast<CK_KEY_TYPE>(named.key_type);
  return Fail(CKR_TEMPLATE_INCONSISTENT, "the template names another key type than the mechanism makes");
}

// What a mechanism makes of one length only need not be said (3.2, "Pre-master key generation"), nor what it
// contributes by itself ("HOTP key generation").
std::vector<CK_ATTRIBUTE> WithImplicitLength(const spec::MechanismRow& row, CK_KEY_TYPE type,
                                             std::span<const CK_ATTRIBUTE> given) {
  static const CK_ULONG kPreMaster = 48, kHotp = spec::kHotpSecretBytes;
  std::vector<CK_ATTRIBUTE> all(given.begin(), given.end());
  const bool named = std::any_of(all.begin(), all.end(), [](const auto& a) { return a.type == CKA_VALUE_LEN; });
  const bool pre_master = row.recipe == spec::Recipe::kTlsPreMaster && type == CKK_GENERIC_SECRET;
  const bool hotp = row.recipe == spec::Recipe::kHotpKeyGen;
  if ((pre_master || hotp) && !named)
    all.push_back({CKA_VALUE_LEN, const_cast<CK_ULONG*>(hotp ? &kHotp : &kPreMaster), sizeof(CK_ULONG)});
  return all;
}

// Only what comes out of unpadded blocks does not say how long it is, and what AES key wrap has added zeros to, up to
// seven (3.2, "CKM_AES_KEY_WRAP"); anything else is as long as it is, and a template that says otherwise is refused
// (CheckClaims), so that no key is cut.
CK_ULONG LengthToUnwrap(const spec::MechanismRow& row, std::size_t wrapped_bytes, CK_ULONG value_bytes) {
  if (row.output == spec::OutputRule::kKeyWrap) {
    const bool padded =
        value_bytes < wrapped_bytes && value_bytes % 8 != 0 && value_bytes / 8 * 8 + 16 == wrapped_bytes;
    return padded ? value_bytes : 0;
  }
  const bool unpadded = row.recipe == spec::Recipe::kRsaX509 || row.output == spec::OutputRule::kSameLength;
  return unpadded ? value_bytes : 0;
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_GenerateKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  invocation.audit.mechanism = mechanism.mechanism;
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, mechanism, CKF_GENERATE));
  if (row->recipe == spec::Recipe::kDomainGen) {
    ASSIGN_OR_RETURN(*call.key.value, GenerateDomain(invocation, *row, mechanism, call.attributes.view()));
    return {};
  }
  const CK_OBJECT_CLASS object_class = row->key_type == CKK_HOTP ? CKO_OTP_KEY : CKO_SECRET_KEY;
  ASSIGN_OR_RETURN(const CK_KEY_TYPE type, GeneratedType(*row, call.attributes.view(), object_class));
  const spec::TemplateContext context = ContextFor(invocation, *token, spec::Verb::kGenerate, object_class, type);
  const std::vector<CK_ATTRIBUTE> given = WithImplicitLength(*row, type, call.attributes.view());
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(context, given, mechanism.mechanism));
  AddDefaultMechanisms(*token, attributes);
  spec::GiveRole(attributes);
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, attributes));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, attributes));
  CK_MECHANISM on_device = mechanism;
  on_device.mechanism = MechanismOnDevice(*backend, *row).value_or(mechanism.mechanism);
  ASSIGN_OR_RETURN(Made made,
                   backend->GenerateKey(on_device, type, attributes.Ulong(CKA_VALUE_LEN).value_or(0), under));
  RETURN_IF_ERROR(CheckClaims(*backend, given, attributes, made));
  ASSIGN_OR_RETURN(*call.key.value, KeepKey(invocation, std::move(attributes), std::move(made), cmk::Origin::kLocal));
  invocation.audit.object_handle = *call.key.value;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GenerateKeyPair>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  invocation.audit.mechanism = mechanism.mechanism;
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, mechanism, CKF_GENERATE_KEY_PAIR));
  ASSIGN_OR_RETURN(const CK_KEY_TYPE type, GeneratedType(*row, call.public_attributes.view(), CKO_PUBLIC_KEY));
  ASSIGN_OR_RETURN([[maybe_unused]] const CK_KEY_TYPE same,
                   GeneratedType(*row, call.private_attributes.view(), CKO_PRIVATE_KEY));
  spec::TemplateContext public_context = ContextFor(invocation, *token, spec::Verb::kGenerate, CKO_PUBLIC_KEY, type);
  spec::TemplateContext private_context = ContextFor(invocation, *token, spec::Verb::kGenerate, CKO_PRIVATE_KEY, type);
  public_context.partner = call.private_attributes.view();
  private_context.partner = call.public_attributes.view();
  RETURN_IF_ERROR(spec::CheckTemplate(public_context, call.public_attributes.view()));
  RETURN_IF_ERROR(spec::CheckTemplate(private_context, call.private_attributes.view()));
  spec::Attributes public_attributes =
      spec::Complete(public_context, call.public_attributes.view(), mechanism.mechanism);
  spec::Attributes private_attributes =
      spec::Complete(private_context, call.private_attributes.view(), mechanism.mechanism);
  spec::GiveRole(public_attributes, private_attributes);
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, public_attributes));
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, private_attributes, &public_attributes));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, private_attributes));
  ASSIGN_OR_RETURN(MadePair made, backend->GenerateKeyPair(mechanism, type, public_attributes, under));
  ASSIGN_OR_RETURN(const PairHandles handles,
                   KeepPair(invocation, std::move(public_attributes), std::move(private_attributes), std::move(made)));
  *call.public_key.value = handles.public_key;
  *call.private_key.value = handles.private_key;
  invocation.audit.object_handle = handles.private_key;
  return {};
}

namespace {

// Whether the parameter, which has passed CheckParameter, leaves the IV to the token. Its length says its layout.
bool AsksForIv(const CK_MECHANISM& mechanism) {
  if (mechanism.mechanism == CKM_AES_GCM && mechanism.ulParameterLen == sizeof(CK_GCM_WRAP_PARAMS))
    return static_cast<const CK_GCM_WRAP_PARAMS*>(mechanism.pParameter)->ivGenerator != CKG_NO_GENERATE;
  if (mechanism.mechanism == CKM_AES_CCM && mechanism.ulParameterLen == sizeof(CK_CCM_WRAP_PARAMS))
    return static_cast<const CK_CCM_WRAP_PARAMS*>(mechanism.pParameter)->nonceGenerator != CKG_NO_GENERATE;
  return false;
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_WrapKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, mechanism, CKF_WRAP));
  ASSIGN_OR_RETURN(const ObjectPtr wrapping,
                   FindVisible(invocation, call.wrapping_key.value, CKR_WRAPPING_KEY_HANDLE_INVALID));
  ASSIGN_OR_RETURN(const ObjectPtr key, FindVisible(invocation, call.key.value, CKR_KEY_HANDLE_INVALID));
  if (AsksForIv(mechanism))
    return Fail(CKR_MECHANISM_PARAM_INVALID, "C_WrapKey gives no IV back; C_WrapKeyAuthenticated makes one");
  RETURN_IF_ERROR(
      CheckWrapping(invocation, *row, *wrapping, *key, spec::MakesKeystream(*row) ? IvFrom::kCaller : IvFrom::kNobody));
  ASSIGN_OR_RETURN(const Candidate with, CurrentCandidate(invocation, *wrapping, cmk::Use::kProtect, Moment::kWrap));
  ASSIGN_OR_RETURN(const Candidate what, CurrentCandidate(invocation, *key, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  invocation.audit.version = with.version.value;
  RETURN_IF_ERROR(CountUse(invocation, *wrapping, with, cmk::Use::kProtect, mechanism.mechanism, 0));
  ASSIGN_OR_RETURN(const Bytes wrapped,
                   backend->WrapKey(mechanism, with.name, with.material, what.name, what.material));
  RETURN_IF_ERROR(CheckWrappedLength(*row, &mechanism, *wrapping, *key, wrapped.size()));
  if (const CK_RV rv = call.output.Put(wrapped); rv != CKR_OK) return Fail(rv, "the buffer is too small");
  invocation.audit.output_bytes = wrapped.size();
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_UnwrapKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  if (const ObjectPtr import_key = FindImportKey(invocation, call.unwrapping_key.value); import_key != nullptr) {
    ASSIGN_OR_RETURN(*call.key.value,
                     ImportByUnwrap(invocation, *import_key, mechanism, call.input.view(), call.attributes.view()));
    return {};
  }
  ASSIGN_OR_RETURN(*call.key.value, RepeatedImport(invocation, call.unwrapping_key.value));
  if (*call.key.value != CK_INVALID_HANDLE) return {};
  Opening opening;
  ASSIGN_OR_RETURN(opening.row, CheckMechanism(invocation, mechanism, CKF_UNWRAP));
  ASSIGN_OR_RETURN(opening.key, FindOpeningKey(invocation, *opening.row, call.unwrapping_key.value, CKA_UNWRAP));
  opening.forced_template = CKA_UNWRAP_TEMPLATE;
  return OpenKey(
      invocation, opening, call.attributes.view(),
      [&](Backend& backend, const Candidate& with, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, CK_ULONG value_bytes,
          const WrappingKey& under) {
        const CK_ULONG length = LengthToUnwrap(*opening.row, call.input.view().size(), value_bytes);
        return UnwrapWithRsaHere(invocation, backend, *opening.row, mechanism, *opening.key, with, call.input.view(),
                                 object_class, type, length, under);
      },
      *call.key.value);
}

}  // namespace cmkd::daemon
