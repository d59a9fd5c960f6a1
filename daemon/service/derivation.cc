// C_DeriveKey (PKCS#11 section 5.18.5): which way each mechanism takes, and the way of one key from another.
#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/service/handlers.h"
#include "daemon/service/key_template.h"
#include "daemon/service/key_use.h"
#include "daemon/service/other_keys.h"
#include "daemon/service/public_objects.h"
#include "daemon/service/several_keys.h"
#include "daemon/service/tls_keys.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {
namespace {

using Template = std::span<const CK_ATTRIBUTE>;

// The hybrid form of a point says the same twice; what looks at one half only can be misled by the other.
Status CheckPeerPoint(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Object& base) {
  if (row.parameter != spec::ParameterKind::kEcdh1 || base.key_type != CKK_EC) return {};
  CK_ECDH1_DERIVE_PARAMS parameters{};
  std::memcpy(&parameters, mechanism.pParameter, sizeof parameters);
  const CK_BYTE first = parameters.pPublicData[0];
  if (first != 0x06 && first != 0x07) return {};
  return Fail(CKR_PUBLIC_KEY_INVALID, "points in the hybrid form are not taken");
}

// The other side's value of a Diffie-Hellman agreement is from 2 to p - 2 (SP 800-56A section 5.6.2.3): others make a
// secret that anybody knows, and SoftHSM 2.6.1 takes those above p.
Status CheckPeerValue(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Object& base) {
  ByteView value;
  if (row.parameter == spec::ParameterKind::kDhPublic) {
    value = {static_cast<const std::uint8_t*>(mechanism.pParameter), mechanism.ulParameterLen};
  } else if (row.parameter == spec::ParameterKind::kX942Dh) {
    const auto& parameter = *static_cast<const CK_X9_42_DH1_DERIVE_PARAMS*>(mechanism.pParameter);
    value = {parameter.pPublicData, parameter.ulPublicDataLen};
  } else {
    return {};
  }
  const auto without_zeros = [](ByteView number) {
    while (!number.empty() && number[0] == 0) number = number.subspan(1);
    return number;
  };
  value = without_zeros(value);
  Bytes last = ToBytes(without_zeros(base.attributes.View(CKA_PRIME)));
  if (last.empty()) return {};
  last.back() = static_cast<std::uint8_t>(last.back() & 0xFE);  // p - 1: a prime is odd
  const bool small = spec::BitLength(value) < 2;
  const bool below = value.size() != last.size()
                         ? value.size() < last.size()
                         : std::lexicographical_compare(value.begin(), value.end(), last.begin(), last.end());
  if (!small && below) return {};
  return Fail(CKR_PUBLIC_KEY_INVALID, "the other side's value is none of the group");
}

// Bytes of a sensitive key beside known ones, or a few of them alone, are found by trying (CVE-2015-5464).
bool TakesApart(const spec::MechanismRow& row, const Object& base) {
  const bool bytes = row.type >= CKM_CONCATENATE_BASE_AND_KEY && row.type <= CKM_EXTRACT_KEY_FROM_KEY;
  return bytes && base.attributes.Bool(CKA_SENSITIVE);
}

// The key that this derivation makes, by its template. As secret as the keys it comes from where their bytes are in it.
Fallible<KeyToBe> Describe(Invocation& invocation, const spec::MechanismRow& row, const Object& base,
                           const OtherKeys& others, const spec::Attributes& whole) {
  const spec::Attributes secrecy = JoinedSecrecy(row, base, others);
  ASSIGN_OR_RETURN(KeyToBe key, DescribeKey(invocation, spec::Verb::kDerive, whole.ToTemplate(),
                                            {&secrecy, InheritsSecrecy(row, others)}));
  if (TakesApart(row, base) && whole.Has(CKA_VALUE_LEN))
    return Fail(CKR_KEY_SIZE_RANGE, "a sensitive key is joined whole, and not cut");
  return key;
}

Fallible<CK_OBJECT_HANDLE> DeriveOneKey(Invocation& invocation, const spec::MechanismRow& row,
                                        const CK_MECHANISM& mechanism, const Object& base, Template given) {
  RETURN_IF_ERROR(CheckPeerPoint(row, mechanism, base));
  RETURN_IF_ERROR(CheckPeerValue(row, mechanism, base));
  ASSIGN_OR_RETURN(const spec::Attributes whole, spec::MergeForced(base.attributes.View(CKA_DERIVE_TEMPLATE), given));
  ASSIGN_OR_RETURN(const OtherKeys others, FindOtherKeys(invocation, row, mechanism));
  ASSIGN_OR_RETURN(KeyToBe key, Describe(invocation, row, base, others, whole));
  ASSIGN_OR_RETURN(const Candidate from, CurrentCandidate(invocation, base, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, key.attributes));
  RETURN_IF_ERROR(CountUse(invocation, base, from, cmk::Use::kProcess, row.type, 0));
  invocation.audit.version = from.version.value;
  ASSIGN_OR_RETURN(Made made, backend->DeriveKey(mechanism, from.name, from.material, others.keys, key.type,
                                                 key.attributes.Ulong(CKA_VALUE_LEN).value_or(0), under));
  constexpr CK_ULONG kSecretBytesMin = 14;
  if (TakesApart(row, base) && made.computed.Ulong(CKA_VALUE_LEN).value_or(0) < kSecretBytesMin) {
    Discard(*backend, made);
    return Fail(CKR_KEY_SIZE_RANGE, "so few bytes of a sensitive key are found by trying");
  }
  RETURN_IF_ERROR(CheckClaims(*backend, whole.ToTemplate(), key.attributes, made));
  return KeepKey(invocation, std::move(key.attributes), std::move(made), cmk::Origin::kDerived);
}

Fallible<CK_OBJECT_HANDLE> Derive(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                  const Object& base, Template given) {
  if (row.recipe == spec::Recipe::kPublicFromPrivate) return PublicFromPrivate(invocation, base, given);
  RETURN_IF_ERROR(CheckKeyUse(invocation, row, base, CKA_DERIVE));
  // What such a derivation gives is a ciphertext; who may ask for ciphertexts would know the derived key.
  const bool encrypts = row.recipe == spec::Recipe::kEcbEncryptData || row.recipe == spec::Recipe::kCbcEncryptData;
  if (encrypts && base.attributes.Bool(CKA_ENCRYPT)) {
    return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "a key that encrypts data does not derive keys by encryption");
  }
  if (row.recipe == spec::Recipe::kHkdfData) return DeriveData(invocation, row, mechanism, base, given);
  const bool several = !spec::AdditionalKeysIn(row, mechanism).empty();
  return several ? DeriveSeveralKeys(invocation, row, mechanism, base, given)
                 : DeriveOneKey(invocation, row, mechanism, base, given);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<spec::CallId::C_DeriveKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, mechanism, CKF_DERIVE));
  ASSIGN_OR_RETURN(const ObjectPtr base, FindVisible(invocation, call.base_key.value, CKR_KEY_HANDLE_INVALID));
  RecordKey(invocation, *base, mechanism.mechanism);
  if (!base->has_material()) return Fail(CKR_KEY_HANDLE_INVALID, "keys are derived from secret and private keys");
  if (row->recipe == spec::Recipe::kTlsKeyMaterial || row->recipe == spec::Recipe::kTlsPrf) {
    RETURN_IF_ERROR(CheckKeyUse(invocation, *row, *base, CKA_DERIVE));
    // Their keys are told through the parameter.
    if (call.key.value != nullptr) *call.key.value = CK_INVALID_HANDLE;
    if (row->recipe == spec::Recipe::kTlsPrf) return DeriveTlsPrf(invocation, *row, mechanism, *base);
    return DeriveTlsKeys(invocation, *row, mechanism, *base, call.attributes.view());
  }
  if (call.key.value == nullptr) return Fail(CKR_ARGUMENTS_BAD, "the handle of the key goes nowhere");
  ASSIGN_OR_RETURN(*call.key.value, Derive(invocation, *row, mechanism, *base, call.attributes.view()));
  return {};
}

}  // namespace cmkd::daemon
