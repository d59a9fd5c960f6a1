// Keys, states, versions and mechanisms.
#include "daemon/service/key_use.h"

#include <time.h>

#include <algorithm>

#include "daemon/hsm/device_answer.h"
#include "daemon/hsm/loss.h"
#include "daemon/service/rsa_padding.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/key_role.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

namespace {

Bytes ReferenceOf(const store::TokenRecord& token, std::uint32_t epoch) {
  for (const store::WrappingEpoch& entry : token.epochs) {
    if (entry.number == epoch) return entry.hsm_reference;
  }
  return {};
}

KeyMaterial Describe(const Object& key, const store::TokenRecord& token, const cmk::Material& material) {
  KeyMaterial described;
  described.object_class = key.object_class;
  described.key_type = key.key_type;
  described.material = material;
  described.wrapping_reference = ReferenceOf(token, material.epoch);
  described.extractable = key.attributes.Bool(CKA_EXTRACTABLE);
  if (key.object_class == CKO_PUBLIC_KEY) described.public_key = &key.attributes;
  return described;
}

Candidate OfVersion(const Object& key, const store::TokenRecord& token, const cmk::Cmk& record,
                    const cmk::KeyVersion& version) {
  return {NameOf(record.id, version.number), Describe(key, token, version.material), version.number,
          version.state == cmk::VersionState::kCompromised};
}

// Session keys, and public keys: what a public key verifies or encrypts needs no permission of its private half.
Candidate WithoutVersion(const Object& key, const store::TokenRecord& token) {
  Candidate only;
  only.name.id = key.name;
  only.name.is_public = key.object_class == CKO_PUBLIC_KEY;
  only.material = Describe(key, token, key.material);
  return only;
}

// Before CKA_START_DATE a key is not used, after CKA_END_DATE it protects nothing new; what it protected can still be
// opened and verified. Days are counted in UTC, both ends included.
Status CheckDates(const Invocation& invocation, const Object& key, cmk::Use use) {
  const std::string_view start = key.attributes.Text(CKA_START_DATE), end = key.attributes.Text(CKA_END_DATE);
  if ((start.empty() && end.empty()) || use == cmk::Use::kDescribe) return {};
  const time_t seconds = invocation.daemon.clock.Now().seconds;
  tm parts{};
  char today[16];
  if (::gmtime_r(&seconds, &parts) == nullptr || ::strftime(today, sizeof today, "%Y%m%d", &parts) != 8) {
    return Fail(CKR_FUNCTION_FAILED, "the date is not known");
  }
  if (!start.empty() && std::string_view(today) < start)
    return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key's CKA_START_DATE is still to come");
  if (!end.empty() && std::string_view(today) > end && use == cmk::Use::kProtect)
    return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key's CKA_END_DATE is past");
  return {};
}

// What the program opened last tells best what comes next.
void PutRememberedFirst(Application& application, const cmk::CmkId& key, std::vector<Candidate>& candidates) {
  if (candidates.size() < 2) return;
  const auto last = application.RememberedVersion(key);
  const auto at = std::find_if(candidates.begin(), candidates.end(),
                               [&](const Candidate& candidate) { return candidate.version == last; });
  if (at != candidates.end()) std::rotate(candidates.begin(), at, at + 1);
}

}  // namespace

Fallible<std::vector<Candidate>> Candidates(const Invocation& invocation, const Object& key, cmk::Use use,
                                            spec::VersionSearch search, Moment moment) {
  RETURN_IF_ERROR(CheckDates(invocation, key, use));
  ASSIGN_OR_RETURN(const auto token, invocation.daemon.records.GetToken(key.token));
  std::vector<Candidate> candidates;
  if (!key.cmk || key.object_class == CKO_PUBLIC_KEY) {
    candidates.push_back(WithoutVersion(key, *token));
    return candidates;
  }
  const auto found = invocation.daemon.records.GetCmk(*key.cmk);
  if (!found.ok()) return Translate(cmk::Refusal::kKeyDestroyed, moment);
  const cmk::Cmk& record = **found;
  const Timestamp now = invocation.daemon.clock.Now();
  std::optional<cmk::Refusal> first_refusal;
  const auto consider = [&](const cmk::KeyVersion& version) {
    const auto allowed = cmk::CheckUse(record, version, use, now);
    if (!allowed.ok()) {
      if (!first_refusal) first_refusal = allowed.error();
      return;
    }
    candidates.push_back(OfVersion(key, *token, record, version));
  };
  if (key.version) {
    // An object that stands for one version, as the older halves of a rotated pair do.
    if (const cmk::KeyVersion* pinned = record.FindVersion(*key.version)) consider(*pinned);
    if (candidates.empty()) return Translate(first_refusal.value_or(cmk::Refusal::kVersionDestroyed), moment);
    return candidates;
  }
  if (const cmk::KeyVersion* current = record.CurrentVersion()) consider(*current);
  if (use == cmk::Use::kProcess && spec::FindsVersions(search)) {
    // Where a header names the version there is no search: one that may be used is enough to begin with.
    const bool header = search == spec::VersionSearch::kHeader;
    const std::size_t older = invocation.daemon.config.limits.trial_versions;
    const std::size_t most = header ? 1 : older + (candidates.empty() ? 0 : 1);
    for (auto it = record.versions.rbegin(); it != record.versions.rend() && candidates.size() < most; ++it) {
      if (it->number != record.current) consider(*it);
    }
    if (search == spec::VersionSearch::kTrial) PutRememberedFirst(*invocation.application, record.id, candidates);
  }
  if (candidates.empty()) return Translate(first_refusal.value_or(cmk::Refusal::kKeyPendingImport), moment);
  return candidates;
}

spec::Detail WhyNoneFits(const Invocation& invocation, const Object& key) {
  const auto record = key.cmk && !key.version ? invocation.daemon.records.GetCmk(*key.cmk)
                                              : Fallible<Records::CmkPtr>(Fail(CKR_OK, ""));
  const bool left_out =
      record.ok() && (*record)->versions.size() > invocation.daemon.config.limits.trial_versions + std::size_t{1};
  return left_out ? spec::kVersionsNotTried : spec::kAuthenticationFailed;
}

Fallible<Candidate> VersionCandidate(const Invocation& invocation, const Object& key, cmk::KeyVersionNumber number,
                                     cmk::Use use, Moment moment) {
  RETURN_IF_ERROR(CheckDates(invocation, key, use));
  ASSIGN_OR_RETURN(const auto token, invocation.daemon.records.GetToken(key.token));
  const auto unavailable = [] {
    return Fail(CKR_ENCRYPTED_DATA_INVALID, "the key has no such version", spec::kNoSuchVersion);
  };
  if (!key.cmk) {
    if (number.value != 0) return unavailable();
    return WithoutVersion(key, *token);
  }
  const auto found = invocation.daemon.records.GetCmk(*key.cmk);
  if (!found.ok()) return Translate(cmk::Refusal::kKeyDestroyed, moment);
  const cmk::Cmk& record = **found;
  // The key's own state comes first: it is the same for all versions.
  const Timestamp now = invocation.daemon.clock.Now();
  const auto key_allowed = cmk::CheckUse(record, cmk::VersionState::kCurrent, use, now);
  if (!key_allowed.ok()) return Translate(key_allowed.error(), moment);
  const cmk::KeyVersion* version = record.FindVersion(number);
  if (version == nullptr) return unavailable();
  const auto allowed = cmk::CheckUse(record, *version, use, now);
  if (allowed.ok()) return OfVersion(key, *token, record, *version);
  return Fail(CKR_ENCRYPTED_DATA_INVALID, std::string(cmk::Name(allowed.error())),
              static_cast<CK_ULONG>(allowed.error()));
}

Fallible<Candidate> CurrentCandidate(const Invocation& invocation, const Object& key, cmk::Use use, Moment moment) {
  ASSIGN_OR_RETURN(std::vector<Candidate> candidates,
                   Candidates(invocation, key, use, spec::VersionSearch::kFixed, moment));
  return std::move(candidates.front());
}

std::optional<CK_MECHANISM_TYPE> MechanismOnDevice(const Backend& backend, const spec::MechanismRow& row) {
  const auto if_all = [&](std::initializer_list<CK_MECHANISM_TYPE> parts) -> std::optional<CK_MECHANISM_TYPE> {
    for (const CK_MECHANISM_TYPE part : parts) {
      if (backend.FindMechanism(part) == nullptr) return std::nullopt;
    }
    return *parts.begin();
  };
  if (row.recipe == spec::Recipe::kManaged) return if_all({CKM_AES_GCM, CKM_AES_ECB});
  if (row.recipe == spec::Recipe::kHkdfData) return if_all({CKM_HKDF_DERIVE});
  if (row.recipe == spec::Recipe::kTlsKeyMaterial) return if_all({CKM_TLS_KDF, CKM_EXTRACT_KEY_FROM_KEY});
  if (row.recipe == spec::Recipe::kTlsPrf) return if_all({CKM_TLS_KDF});
  if (row.recipe == spec::Recipe::kHotpKeyGen) return if_all({CKM_GENERIC_SECRET_KEY_GEN, CKM_SHA_1_HMAC});
  if (row.recipe == spec::Recipe::kHotp) return if_all({CKM_SHA_1_HMAC});
  if (row.recipe == spec::Recipe::kDomainGen || row.recipe == spec::Recipe::kPublicFromPrivate) return row.type;
  if (backend.FindMechanism(row.type) != nullptr) return row.type;
  const bool made_of_two = row.recipe == spec::Recipe::kEcdsa && row.digest != 0 &&
                           backend.FindMechanism(CKM_ECDSA) != nullptr && backend.FindMechanism(row.digest) != nullptr;
  return made_of_two ? std::optional<CK_MECHANISM_TYPE>(CKM_ECDSA) : std::nullopt;
}

bool IsOffered(const store::TokenRecord* token, const Backend& backend, const spec::MechanismRow& row) {
  const bool managed = token != nullptr && token->profile == cmk::TokenProfile::kManaged;
  return (row.standing == spec::Standing::kApproved || !managed) && MechanismOnDevice(backend, row);
}

namespace {

// An operation that is not the device's own, and what it is built of.
struct Built {
  CK_FLAGS operation;
  CK_FLAGS of;  // a flag of the same mechanism
};
constexpr Built kBuilt[] = {
    {CKF_MESSAGE_ENCRYPT, CKF_ENCRYPT}, {CKF_MESSAGE_DECRYPT, CKF_DECRYPT}, {CKF_MESSAGE_SIGN, CKF_SIGN},
    {CKF_MESSAGE_VERIFY, CKF_VERIFY},   {CKF_SIGN_RECOVER, CKF_SIGN},
};

bool Has(const Backend& backend, CK_MECHANISM_TYPE type, CK_FLAGS operation) {
  const CK_MECHANISM_INFO* info = backend.FindMechanism(type);
  return info != nullptr && (info->flags & operation) != 0;
}

}  // namespace

CK_FLAGS ServedOperations(const Backend& backend, const spec::MechanismRow& row) {
  const auto mechanism = MechanismOnDevice(backend, row);
  if (!mechanism) return 0;
  const CK_MECHANISM_INFO* device = backend.FindMechanism(*mechanism);
  if (device == nullptr) return row.operations;
  // Flags that are about curves are the row's own.
  constexpr CK_FLAGS kDevices = CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_VERIFY | CKF_WRAP | CKF_UNWRAP |
                                CKF_DERIVE | CKF_GENERATE | CKF_GENERATE_KEY_PAIR;
  constexpr CK_FLAGS kOurs = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY |
                             CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER | CKF_ENCAPSULATE | CKF_DECAPSULATE;
  CK_FLAGS served = row.operations & (device->flags | ~kDevices) & ~kOurs;
  // Every signature can be that of a message; a one-time password is of none.
  CK_FLAGS listed = row.operations;
  const bool of_data = row.recipe != spec::Recipe::kHotp;
  if (of_data && (listed & CKF_SIGN) != 0) listed |= CKF_MESSAGE_SIGN;
  if (of_data && (listed & CKF_VERIFY) != 0) listed |= CKF_MESSAGE_VERIFY;
  for (const Built& built : kBuilt) {
    if ((listed & built.operation) != 0 && (served & built.of) != 0) served |= built.operation;
  }
  if (Has(backend, CKM_RSA_X_509, CKF_ENCRYPT)) served |= listed & CKF_VERIFY_RECOVER;
  const bool derives = row.recipe == spec::Recipe::kEcdh1;
  if ((served & (derives ? CKF_DERIVE : CKF_WRAP)) != 0) served |= listed & CKF_ENCAPSULATE;
  if ((served & (derives ? CKF_DERIVE : CKF_UNWRAP)) != 0) served |= listed & CKF_DECAPSULATE;
  return served;
}

Fallible<const spec::MechanismRow*> CheckOffered(const Invocation& invocation, CK_MECHANISM_TYPE type,
                                                 CK_FLAGS operation) {
  const spec::MechanismRow* row = spec::FindMechanism(type);
  if (row == nullptr) return Fail(CKR_MECHANISM_INVALID, "there is no such mechanism", spec::kMechanismNotAllowed);
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const Backend* backend, BackendOf(invocation));
  if (!IsOffered(token.get(), *backend, *row) || (ServedOperations(*backend, *row) & operation) == 0) {
    return Fail(CKR_MECHANISM_INVALID, "the token does not offer the mechanism for this", spec::kMechanismNotAllowed);
  }
  if ((operation & (CKF_DECRYPT | CKF_UNWRAP | CKF_DECAPSULATE)) != 0 && !HidesWrongPadding(*backend, *row)) {
    return Fail(CKR_MECHANISM_INVALID, "the device would tell wrong paddings", spec::kMechanismNotAllowed);
  }
  return row;
}

Fallible<const spec::MechanismRow*> CheckMechanism(const Invocation& invocation, const CK_MECHANISM& mechanism,
                                                   CK_FLAGS operation) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckOffered(invocation, mechanism.mechanism, operation));
  RETURN_IF_ERROR(spec::CheckParameter(*row, mechanism));
  return row;
}

Status CheckKeyFits(const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage) {
  if (!key.is_key()) return Fail(CKR_KEY_HANDLE_INVALID, "the object is not a key");
  if (key.key_type != row.key_type && key.key_type != row.other_key_type && row.key_type != spec::kAnyKeyType) {
    return Fail(CKR_KEY_TYPE_INCONSISTENT, "the mechanism does not work with this type of key");
  }
  if (spec::RoleOf(key.attributes) == spec::KeyRole::kWrapping && spec::IsDataUse(row, key.object_class, usage)) {
    return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key has wrapped a sensitive key and does nothing else",
                spec::kRoleLatched);
  }
  if (!key.attributes.Bool(usage)) return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key has not this usage");
  if (const ShortBytes* allowed = key.attributes.Find(CKA_ALLOWED_MECHANISMS);
      allowed != nullptr && !allowed->empty()) {
    bool listed = false;
    for (std::size_t i = 0; i + sizeof(CK_MECHANISM_TYPE) <= allowed->size(); i += sizeof(CK_MECHANISM_TYPE)) {
      CK_MECHANISM_TYPE type = 0;
      std::memcpy(&type, allowed->data() + i, sizeof type);
      listed = listed || type == row.type;
    }
    if (!listed)
      return Fail(CKR_MECHANISM_INVALID, "not among the key's allowed mechanisms", spec::kMechanismNotAllowed);
  }
  const auto bits = spec::KeyBits(key.attributes);
  if (bits && row.key_bits_max != 0 && (*bits < row.key_bits_min || *bits > row.key_bits_max)) {
    return Fail(CKR_KEY_SIZE_RANGE, "the key's size is outside the mechanism's range");
  }
  return {};
}

Fallible<spec::Attributes> ReadSecretParts(const Invocation& invocation, const Object& key,
                                           std::span<const CK_ATTRIBUTE_TYPE> types) {
  ASSIGN_OR_RETURN(const Candidate current, CurrentCandidate(invocation, key, cmk::Use::kDescribe, Moment::kManage));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(spec::Attributes read, backend->ReadSecret(current.name, current.material, types));
  // A device that wraps secrets by RFC 3394 alone fills them up with zeros.
  const auto bytes = key.attributes.Ulong(CKA_VALUE_LEN);
  const ShortBytes* value = read.Find(CKA_VALUE);
  if (spec::IsSecretKeyClass(key.object_class) && bytes && value != nullptr && value->size() > *bytes) {
    const Bytes cut(value->begin(), value->begin() + static_cast<std::ptrdiff_t>(*bytes));
    read.Set(CKA_VALUE, cut);
  }
  return read;
}

void RecordKey(Invocation& invocation, const Object& key, CK_MECHANISM_TYPE mechanism) {
  invocation.audit.object_handle = key.handle;
  invocation.audit.mechanism = mechanism;
  if (key.cmk) invocation.audit.cmk_id = key.cmk->bytes;
}

Status CountUse(Invocation& invocation, const Object& key, const Candidate& candidate, cmk::Use use,
                CK_MECHANISM_TYPE mechanism, std::size_t bytes) {
  if (!key.cmk || key.object_class == CKO_PUBLIC_KEY) return {};
  UseCounter& counter = invocation.daemon.counter;
  const std::uint32_t uid = invocation.application->peer().uid;
  if (use == cmk::Use::kProtect)
    return counter.CountProtect(*key.cmk, candidate.version, uid, bytes,
                                mechanism == CKM_AES_GCM || mechanism == CKM_CMKD_AES_MANAGED);
  if (candidate.compromised) invocation.alarm = true;
  const spec::MechanismRow* row = spec::FindMechanism(mechanism);
  if (row != nullptr && row->versions == spec::VersionSearch::kTrial)
    invocation.application->RememberVersion(*key.cmk, candidate.version);
  return counter.CountProcess(*key.cmk, candidate.version, uid, bytes);
}

Status CountMore(Invocation& invocation, const Object& key, cmk::KeyVersionNumber version, cmk::Use use,
                 std::size_t bytes) {
  if (!key.cmk || key.object_class == CKO_PUBLIC_KEY || bytes == 0) return {};
  return invocation.daemon.counter.CountMore(*key.cmk, version, invocation.application->peer().uid, bytes,
                                             use == cmk::Use::kProtect);
}

Status FromDevice(CK_RV rv, const char* what) {
  if (rv == CKR_OK) return {};
  DeviceAnswer::Note(rv);
  // The device lost what the operation ran in, and the operation with it; the program's own session is well.
  const CK_RV told = IsOurAffair(rv) ? CKR_DEVICE_ERROR : ClassifyLoss(rv) == Loss::kKey ? CKR_FUNCTION_FAILED : rv;
  return Fail(told, std::string("the device refused ") + what, spec::kHsmRefused);
}

Status CheckWrappedLength(const spec::MechanismRow& row, const CK_MECHANISM* mechanism, const Object& wrapping,
                          const Object& key, std::size_t made) {
  using Rule = spec::OutputRule;
  const auto bytes = key.attributes.Ulong(CKA_VALUE_LEN);
  if (key.object_class != CKO_SECRET_KEY || !bytes) return {};
  std::optional<std::size_t> length;
  if (mechanism == nullptr) {
    length = *bytes;
  } else if (row.output == Rule::kKeyWrap || row.output == Rule::kKeyWrapPad || row.output == Rule::kModulus) {
    length = spec::OutputLength(row, *mechanism, spec::OutputBits(row, wrapping.attributes), *bytes, true);
  }
  if (!length || *length == made) return {};
  return Fail(CKR_DEVICE_ERROR, "the device gave what cannot be the whole wrapped key", spec::kHsmRefused);
}

}  // namespace cmkd::daemon
