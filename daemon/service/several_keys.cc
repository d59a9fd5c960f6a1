// See several_keys.h.
#include "daemon/service/several_keys.h"

#include "daemon/service/key_block.h"
#include "daemon/service/key_template.h"
#include "daemon/service/other_keys.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/sp800_108.h"

namespace cmkd::daemon {
namespace {

// One of them, by its template.
struct Wanted {
  spec::Attributes given;  // with what CKA_DERIVE_TEMPLATE adds
  KeyToBe key;
  std::size_t bytes = 0;
  std::optional<Custodian::Under> under;
};

Fallible<Wanted> Describe(Invocation& invocation, const Object& base, const Inheritance& inheritance,
                          std::span<const CK_ATTRIBUTE> given) {
  Wanted wanted;
  ASSIGN_OR_RETURN(wanted.given, spec::MergeForced(base.attributes.View(CKA_DERIVE_TEMPLATE), given));
  ASSIGN_OR_RETURN(wanted.key, DescribeKey(invocation, spec::Verb::kDerive, wanted.given.ToTemplate(), inheritance));
  const std::size_t fixed = spec::FixedSecretBytes(wanted.key.type);
  wanted.bytes = fixed != 0 ? fixed : wanted.key.attributes.Ulong(CKA_VALUE_LEN).value_or(0);
  if (wanted.bytes == 0) return Fail(CKR_TEMPLATE_INCOMPLETE, "the length of the key must be said");
  if (!spec::IsSecretLength(wanted.key.type, wanted.bytes)) return Fail(CKR_KEY_SIZE_RANGE, "no length of such a key");
  ASSIGN_OR_RETURN(wanted.under, UnderFor(invocation, wanted.key.attributes));
  // They are cut one after another; none is at home anywhere yet.
  wanted.under->key.stays_loaded = false;
  return wanted;
}

// The parameter for the device: one key, and the length of the material as the bytes that it is in the input, for the
// device would count another.
class OneSecret {
 public:
  OneSecret(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const spec::DkmLength& length)
      : type_(mechanism.mechanism), feeds_back_(row.parameter == spec::ParameterKind::kSp800Feedback) {
    if (feeds_back_) {
      feedback_ = *static_cast<const CK_SP800_108_FEEDBACK_KDF_PARAMS*>(mechanism.pParameter);
      Replace(feedback_, length);
    } else {
      plain_ = *static_cast<const CK_SP800_108_KDF_PARAMS*>(mechanism.pParameter);
      Replace(plain_, length);
    }
  }
  OneSecret(const OneSecret&) = delete;
  OneSecret& operator=(const OneSecret&) = delete;

  CK_MECHANISM mechanism() {
    if (feeds_back_) return {type_, &feedback_, sizeof feedback_};
    return {type_, &plain_, sizeof plain_};
  }

 private:
  template <class Parameter>
  void Replace(Parameter& parameter, const spec::DkmLength& length) {
    parts_.assign(parameter.pDataParams, parameter.pDataParams + parameter.ulNumberOfDataParams);
    for (CK_PRF_DATA_PARAM& part : parts_) {
      if (part.type != CK_SP800_108_DKM_LENGTH) continue;  // there is one at most
      spec::AppendDkmLength(part.pValue, length, length_);
      part = {CK_SP800_108_BYTE_ARRAY, length_.data(), length_.size()};
    }
    parameter.pDataParams = parts_.data();
    parameter.ulAdditionalDerivedKeys = 0;
    parameter.pAdditionalDerivedKeys = nullptr;
  }

  CK_MECHANISM_TYPE type_;
  bool feeds_back_;
  CK_SP800_108_KDF_PARAMS plain_{};
  CK_SP800_108_FEEDBACK_KDF_PARAMS feedback_{};
  std::vector<CK_PRF_DATA_PARAM> parts_;
  Bytes length_;
};

// The work of DeriveSeveralKeys. In `at`, on failure, the key whose template is why, if one is; that of the call is 0.
Fallible<std::vector<CK_OBJECT_HANDLE>> DeriveAll(Invocation& invocation, const spec::MechanismRow& row,
                                                  const CK_MECHANISM& mechanism, const Object& base,
                                                  std::span<const std::span<const CK_ATTRIBUTE>> templates,
                                                  std::optional<std::size_t>& at) {
  ASSIGN_OR_RETURN(const OtherKeys others, FindOtherKeys(invocation, row, mechanism));
  const spec::Attributes secrecy = JoinedSecrecy(row, base, others);
  std::vector<Wanted> wanted;
  std::vector<std::size_t> lengths;
  for (std::size_t i = 0; i < templates.size(); ++i) {
    at = i;
    ASSIGN_OR_RETURN(Wanted one, Describe(invocation, base, {&secrecy, InheritsSecrecy(row, others)}, templates[i]));
    lengths.push_back(one.bytes);
    wanted.push_back(std::move(one));
  }
  at.reset();
  ASSIGN_OR_RETURN(const Candidate from, CurrentCandidate(invocation, base, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  if (backend->FindMechanism(CKM_EXTRACT_KEY_FROM_KEY) == nullptr)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "the device cannot cut keys out of a secret");
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, {}));
  RETURN_IF_ERROR(CountUse(invocation, base, from, cmk::Use::kProcess, row.type, 0));
  invocation.audit.version = from.version.value;

  const std::size_t segment = spec::SegmentBytes(mechanism);
  const spec::DkmLength length = spec::LengthOfKeys(lengths, segment);
  OneSecret secret(row, mechanism, length);
  ASSIGN_OR_RETURN(const Made whole, backend->DeriveKey(secret.mechanism(), from.name, from.material, others.keys,
                                                        CKK_GENERIC_SECRET, length.segments / 8, under.key));
  KeyBlock block(*backend, whole.material, under.key);
  CutKeys made(*backend);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto cut = block.NextKey(wanted[i].key.type, wanted[i].bytes, wanted[i].under->key);
    if (!cut.ok()) {
      if (cut.error().rv == CKR_KEY_SIZE_RANGE) at = i;
      return Failure<Error>{std::move(cut.error())};
    }
    block.Skip(spec::InSegments(wanted[i].bytes, segment) - wanted[i].bytes);
    at = i;
    RETURN_IF_ERROR(CheckClaims(*backend, wanted[i].given.ToTemplate(), wanted[i].key.attributes, *cut));
    at.reset();
    made.Add({wanted[i].key.attributes, std::move(*cut)});
  }
  return KeepKeys(invocation, made.Take(), cmk::Origin::kDerived, &at);
}

}  // namespace

Fallible<CK_OBJECT_HANDLE> DeriveSeveralKeys(Invocation& invocation, const spec::MechanismRow& row,
                                             const CK_MECHANISM& mechanism, const Object& base,
                                             std::span<const CK_ATTRIBUTE> given) {
  const std::span<const CK_DERIVED_KEY> additional = spec::AdditionalKeysIn(row, mechanism);
  std::vector<std::span<const CK_ATTRIBUTE>> templates{given};
  for (const CK_DERIVED_KEY& key : additional) templates.emplace_back(key.pTemplate, key.ulAttributeCount);
  std::optional<std::size_t> at;
  auto handles = DeriveAll(invocation, row, mechanism, base, templates, at);
  if (!handles.ok()) {
    if (at && *at > 0) invocation.trailers.push_back({wire::TrailerKind::kRefusedKey, 0, *at - 1, {}});
    return Failure<Error>{std::move(handles.error())};
  }
  for (std::size_t i = 0; i < additional.size(); ++i) *additional[i].phKey = (*handles)[i + 1];
  return handles->front();
}

}  // namespace cmkd::daemon
