// C_EncapsulateKey and C_DecapsulateKey (PKCS#11 3.2 section 5.18) with RSA and ECDH, built of what every device has:
// a secret made and wrapped in the device, or a derivation with a key pair that lives for this call only. The secret
// never leaves the device in the clear.
#include <algorithm>

#include "daemon/service/handlers.h"
#include "daemon/service/key_role.h"
#include "daemon/service/key_specs.h"
#include "daemon/service/open_key.h"
#include "daemon/service/operation_run.h"
#include "daemon/service/rsa_padding.h"
#include "daemon/service/short_lived.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

bool IsEcdh(const spec::MechanismRow& row) { return row.recipe == spec::Recipe::kEcdh1; }

// The derivation with the other side's point in it. In encapsulation the caller leaves that field empty (3.2, "Elliptic
// curve Diffie-Hellman").
Fallible<CK_ECDH1_DERIVE_PARAMS> WithPoint(const CK_MECHANISM& mechanism, ByteView point) {
  CK_ECDH1_DERIVE_PARAMS parameters{};
  if (mechanism.pParameter == nullptr || mechanism.ulParameterLen != sizeof parameters)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "no CK_ECDH1_DERIVE_PARAMS");
  std::memcpy(&parameters, mechanism.pParameter, sizeof parameters);
  if (parameters.ulPublicDataLen != 0) return Fail(CKR_MECHANISM_PARAM_INVALID, "the public data comes with the key");
  parameters.pPublicData = const_cast<CK_BYTE_PTR>(point.data());
  parameters.ulPublicDataLen = point.size();
  return parameters;
}

ByteView PointOfKey(const spec::Attributes& public_key, const spec::Attributes& parameters) {
  const spec::Curve* curve = spec::FindCurve(parameters.View(CKA_EC_PARAMS));
  return curve == nullptr ? ByteView{} : spec::PointOf(public_key.View(CKA_EC_POINT), *curve);
}

struct Encapsulated {
  Made made;
  Bytes ciphertext;
};

struct Encapsulation {
  const CK_MECHANISM& mechanism;
  const spec::MechanismRow& row;
  const Object& public_key;
  CK_KEY_TYPE type;
  CK_ULONG value_bytes;
};

// A secret is made and wrapped with the public key (3.2, "PKCS #1 v1.5 RSA", "PKCS #1 RSA OAEP").
Fallible<Encapsulated> EncapsulateRsa(Backend& backend, const Encapsulation& how, const Candidate& with,
                                      const WrappingKey& under) {
  if (how.value_bytes == 0) return Fail(CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN says how long the secret is to be");
  const CK_MECHANISM generator{GeneratorOf(how.type), nullptr, 0};
  Encapsulated result;
  ASSIGN_OR_RETURN(result.made, backend.GenerateKey(generator, how.type, how.value_bytes, under));
  ShortLived secret(backend, result.made.material);
  ASSIGN_OR_RETURN(result.ciphertext, backend.WrapKey(how.mechanism, with.name, with.material, secret.name(),
                                                      Temporary(CKO_SECRET_KEY, how.type, secret.material(), under)));
  secret.Keep();
  return result;
}

// An ephemeral pair on the same curve; its public key is the ciphertext.
Fallible<Encapsulated> EncapsulateEcdh(Backend& backend, const Encapsulation& how, const WrappingKey& under) {
  const spec::Attributes& peer = how.public_key.attributes;
  ASSIGN_OR_RETURN(CK_ECDH1_DERIVE_PARAMS parameters, WithPoint(how.mechanism, PointOfKey(peer, peer)));
  const bool montgomery = how.public_key.key_type == CKK_EC_MONTGOMERY;
  const CK_MECHANISM generator{montgomery ? CKM_EC_MONTGOMERY_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  spec::Attributes curve;
  curve.Set(CKA_EC_PARAMS, peer.View(CKA_EC_PARAMS));
  const auto type = static_cast<CK_KEY_TYPE>(how.public_key.key_type);
  ASSIGN_OR_RETURN(const MadePair pair, backend.GenerateKeyPair(generator, type, curve, under));
  const ShortLived ephemeral(backend, pair.material);
  const CK_MECHANISM derivation{how.mechanism.mechanism, &parameters, sizeof parameters};
  Encapsulated result;
  ASSIGN_OR_RETURN(result.made, backend.DeriveKey(derivation, ephemeral.name(),
                                                  Temporary(CKO_PRIVATE_KEY, type, ephemeral.material(), under), {},
                                                  how.type, how.value_bytes, under));
  result.ciphertext = ToBytes(PointOfKey(pair.public_computed, curve));
  if (result.ciphertext.empty()) return Fail(CKR_DEVICE_ERROR, "the device gave no public point");
  return result;
}

// Bytes of the ciphertext.
std::size_t CiphertextBytes(const spec::MechanismRow& row, const Object& public_key) {
  if (IsEcdh(row)) return PointOfKey(public_key.attributes, public_key.attributes).size();
  return (spec::KeyBits(public_key.attributes).value_or(0) + 7) / 8;
}

Fallible<ObjectPtr> FindPublicKey(Invocation& invocation, const spec::MechanismRow& row, CK_OBJECT_HANDLE handle) {
  ASSIGN_OR_RETURN(ObjectPtr key, FindVisible(invocation, handle, CKR_KEY_HANDLE_INVALID));
  RecordKey(invocation, *key, row.type);
  if (key->object_class != CKO_PUBLIC_KEY) return Fail(CKR_KEY_HANDLE_INVALID, "a public key encapsulates");
  RETURN_IF_ERROR(CheckKeyFits(row, *key, CKA_ENCAPSULATE));
  return key;
}

// A key of a general token may leave it unless the template says otherwise (3.2, "C_EncapsulateKey").
std::vector<CK_ATTRIBUTE> WithDefaults(const store::TokenRecord& token, std::span<const CK_ATTRIBUTE> given) {
  static const CK_BBOOL kYes = CK_TRUE;
  std::vector<CK_ATTRIBUTE> all(given.begin(), given.end());
  const bool named = std::any_of(all.begin(), all.end(), [](const auto& a) { return a.type == CKA_EXTRACTABLE; });
  if (!named && token.profile == cmk::TokenProfile::kGeneral)
    all.push_back({CKA_EXTRACTABLE, const_cast<CK_BBOOL*>(&kYes), sizeof kYes});
  return all;
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_EncapsulateKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckOffered(invocation, mechanism.mechanism, CKF_ENCAPSULATE));
  if (!IsEcdh(*row)) RETURN_IF_ERROR(spec::CheckParameter(*row, mechanism));
  ASSIGN_OR_RETURN(const ObjectPtr key, FindPublicKey(invocation, *row, call.public_key.value));
  const std::size_t bytes = CiphertextBytes(*row, *key);
  if (call.ciphertext.query() || call.ciphertext.capacity() < bytes) {
    const bool query = call.ciphertext.query();
    *call.ciphertext.length = bytes;
    return query ? Status{} : TooSmall();
  }
  const std::vector<CK_ATTRIBUTE> given = WithDefaults(*token, call.attributes.view());
  ASSIGN_OR_RETURN(KeyToBe secret, DescribeKey(invocation, spec::Verb::kDerive, given));
  if (!spec::MatchesFlatTemplate(key->attributes.View(CKA_ENCAPSULATE_TEMPLATE), secret.attributes))
    return Fail(CKR_KEY_HANDLE_INVALID, "the public key's template does not allow this key");
  RETURN_IF_ERROR(CheckEncapsulation(invocation, *row, *key, secret.attributes));
  ASSIGN_OR_RETURN(const Candidate with, CurrentCandidate(invocation, *key, cmk::Use::kProtect, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, secret.attributes));
  const Encapsulation how{mechanism, *row, *key, secret.type, secret.attributes.Ulong(CKA_VALUE_LEN).value_or(0)};
  ASSIGN_OR_RETURN(Encapsulated made,
                   IsEcdh(*row) ? EncapsulateEcdh(*backend, how, under) : EncapsulateRsa(*backend, how, with, under));
  RETURN_IF_ERROR(CheckClaims(*backend, given, secret.attributes, made.made));
  if (made.ciphertext.size() > call.ciphertext.capacity())
    return Fail(CKR_DEVICE_ERROR, "the device gave another length than the mechanism has");
  ASSIGN_OR_RETURN(*call.key.value,
                   KeepKey(invocation, std::move(secret.attributes), std::move(made.made), cmk::Origin::kDerived));
  (void)call.ciphertext.Put(made.ciphertext);
  invocation.audit.output_bytes = made.ciphertext.size();
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_DecapsulateKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  Opening opening;
  opening.verb = spec::Verb::kDerive;
  opening.forced_template = CKA_DECAPSULATE_TEMPLATE;
  ASSIGN_OR_RETURN(opening.row, CheckOffered(invocation, mechanism.mechanism, CKF_DECAPSULATE));
  ASSIGN_OR_RETURN(opening.key, FindOpeningKey(invocation, *opening.row, call.private_key.value, CKA_DECAPSULATE));
  const ByteView ciphertext = call.ciphertext.view();
  const std::vector<CK_ATTRIBUTE> given = WithDefaults(*token, call.attributes.view());
  if (!IsEcdh(*opening.row)) {
    RETURN_IF_ERROR(spec::CheckParameter(*opening.row, mechanism));
    return OpenKey(
        invocation, opening, given,
        [&](Backend& backend, const Candidate& with, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
            CK_ULONG value_bytes, const WrappingKey& under) {
          return UnwrapWithRsaHere(invocation, backend, *opening.row, mechanism, *opening.key, with, ciphertext,
                                   object_class, type, value_bytes, under);
        },
        *call.key.value);
  }
  ASSIGN_OR_RETURN(CK_ECDH1_DERIVE_PARAMS parameters, WithPoint(mechanism, ciphertext));
  const CK_MECHANISM derivation{mechanism.mechanism, &parameters, sizeof parameters};
  RETURN_IF_ERROR(spec::CheckParameter(*opening.row, derivation));
  return OpenKey(
      invocation, opening, given,
      [&](Backend& backend, const Candidate& with, CK_OBJECT_CLASS, CK_KEY_TYPE type, CK_ULONG value_bytes,
          const WrappingKey& under) {
        return backend.DeriveKey(derivation, with.name, with.material, {}, type, value_bytes, under);
      },
      *call.key.value);
}

}  // namespace cmkd::daemon
