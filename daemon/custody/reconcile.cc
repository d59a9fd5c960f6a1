// Gathering both sides, and comparing them.
#include "daemon/custody/reconcile.h"

#include <algorithm>
#include <set>
#include <thread>

#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

constexpr std::chrono::seconds kWaitForMakers{20};
constexpr std::chrono::milliseconds kLookAgain{20};
constexpr std::size_t kPage = 256;
constexpr CK_ULONG kWrappingKeyBytes = 32;

CK_OBJECT_CLASS ClassOf(const DeviceObject& object) {
  return object.attributes.Ulong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
}

// A flag that the device shows, and that is not as it must be.
bool Differs(const spec::Attributes& shown, CK_ATTRIBUTE_TYPE type, bool right) {
  return shown.Has(type) && shown.Bool(type) != right;
}

struct FlagRow {
  CK_ATTRIBUTE_TYPE type;
  bool right;
  std::string_view name;
  bool of_carried = true;  // also of keys that came from another device
};
constexpr FlagRow kOfWrappingKeys[] = {
    {CKA_SENSITIVE, true, "it is not sensitive"},
    {CKA_EXTRACTABLE, false, "it may leave the device"},
    {CKA_NEVER_EXTRACTABLE, true, "it could leave the device before", false},
    {CKA_LOCAL, true, "it was not made in the device", false},
    {CKA_PRIVATE, true, "it is there without a login"},
    {CKA_WRAP, true, "it does not wrap"},
    {CKA_UNWRAP, true, "it does not unwrap"},
    {CKA_ENCRYPT, false, "it encrypts"},
    {CKA_DECRYPT, false, "it decrypts: what it wrapped can be read"},
    {CKA_DERIVE, false, "it derives"},
};

// What is wrong with an object that must be there; empty when nothing is.
std::string WhatIsAltered(const Expected& expected, const DeviceObject& object) {
  const spec::Attributes& shown = object.attributes;
  if (!expected.wrapping_key) {
    const bool key = ClassOf(object) == CKO_SECRET_KEY || ClassOf(object) == CKO_PRIVATE_KEY;
    if (!key) return "it is no secret or private key";
    return !expected.adopted && Differs(shown, CKA_PRIVATE, true) ? "it is there without a login" : "";
  }
  if (ClassOf(object) != CKO_SECRET_KEY || shown.Ulong(CKA_KEY_TYPE) != CKK_AES) return "it is no AES key";
  const auto bytes = shown.Ulong(CKA_VALUE_LEN);
  if (bytes && *bytes != 0 && *bytes != kWrappingKeyBytes) return "it has another length";
  for (const FlagRow& row : kOfWrappingKeys) {
    if (expected.carried && !row.of_carried) continue;
    if (Differs(shown, row.type, row.right)) return std::string(row.name);
  }
  return {};
}

Discrepancy DiscrepancyOf(DiscrepancyKind kind, const DeviceObject& object, std::string what) {
  Discrepancy finding;
  finding.kind = kind;
  finding.id = ToBytes(object.attributes.View(CKA_ID));
  finding.label = object.attributes.Text(CKA_LABEL);
  finding.what = std::move(what);
  finding.object = object;
  return finding;
}

// An object that no record names: whether it is a finding at all.
std::optional<Discrepancy> Unnamed(std::string_view owner, const DeviceObject& object) {
  const ByteView id = object.attributes.View(CKA_ID);
  const std::string_view label = object.attributes.Text(CKA_LABEL);
  const CK_OBJECT_CLASS object_class = ClassOf(object);
  const bool key = object_class == CKO_SECRET_KEY || object_class == CKO_PRIVATE_KEY;
  if (key && label.starts_with(owner)) {
    const std::string_view rest = label.substr(owner.size());
    if (rest == " session key")
      return DiscrepancyOf(DiscrepancyKind::kLeftover, object, "a session's key whose application is not connected");
    return DiscrepancyOf(DiscrepancyKind::kOrphan, object, "no record names it");
  }
  const bool half_made = key || object_class == CK_UNAVAILABLE_INFORMATION;
  if (half_made && id.empty() && label.empty())
    return DiscrepancyOf(DiscrepancyKind::kNameless, object, "a key without id and label, perhaps half made");
  return std::nullopt;
}

void ExpectMaterial(const cmk::Material& material, const std::string& what, ExpectedById& expected) {
  if (material.kind == cmk::Material::Kind::kResident) expected[material.blob] = {what, false, false, false, false};
}

void ExpectEpochs(const store::TokenRecord& token, ExpectedById& expected) {
  for (const store::WrappingEpoch& epoch : token.epochs) {
    if (epoch.state == store::EpochState::kDestroyed) continue;
    const bool coming_or_going =
        epoch.state == store::EpochState::kPending || epoch.state == store::EpochState::kCondemned;
    // What a mirror lacks is what it lags by: cmkctl hsm mirror status.
    const bool mirrored = !token.mirrors.empty();
    expected[epoch.hsm_reference] = {"wrapping key of token " + token.label + ", epoch " + std::to_string(epoch.number),
                                     true, coming_or_going || mirrored, false, mirrored};
  }
  expected[TransportIdOf(token.id)] = {"transport key of token " + token.label, false, true, false, false};
}

// Until everybody who was making a key has written its record, or given up.
Status WaitFor(const Makers::Mark& makers) {
  const auto until = std::chrono::steady_clock::now() + kWaitForMakers;
  while (!makers.expired()) {
    if (std::chrono::steady_clock::now() > until)
      return Fail(CKR_FUNCTION_FAILED, "a key is being made that takes too long: try again");
    std::this_thread::sleep_for(kLookAgain);
  }
  return {};
}

bool Wanted(const Repair& repair, DiscrepancyKind kind) {
  return (kind == DiscrepancyKind::kOrphan && repair.orphans) ||
         (kind == DiscrepancyKind::kLeftover && repair.leftovers) ||
         (kind == DiscrepancyKind::kNameless && repair.nameless);
}

bool LooksTheSame(const DeviceObject& one, const DeviceObject& other) {
  return one.handle == other.handle && one.attributes == other.attributes;
}

Status ReconcileOne(store::Store& store, Backend& backend, Custodian& custodian, const Registry& registry,
                    const Bytes& root_reference, const Repair& repair, Reconciliation& result) {
  const std::string owner = OwnerWords(store.id());
  // What lies there now and belongs to a key that is being made has a record when its maker has ended; what lies there
  // only later is not called an orphan.
  ASSIGN_OR_RETURN(const auto before, backend.ListObjects());
  RETURN_IF_ERROR(WaitFor(custodian.MarkMakers()));
  ASSIGN_OR_RETURN(ExpectedById expected, Gather(store, registry, backend.name()));
  if (!root_reference.empty())
    expected[root_reference] = {"the key that wraps the root key", true, false, false, false};
  ASSIGN_OR_RETURN(const auto found, backend.ListObjects());
  result.objects += found.size();
  for (Discrepancy& finding : Compare(owner, expected, found)) {
    finding.hsm = backend.name();
    const bool unnamed = finding.kind >= DiscrepancyKind::kOrphan;
    const bool was_there = std::any_of(before.begin(), before.end(),
                                       [&](const DeviceObject& one) { return LooksTheSame(one, finding.object); });
    if (unnamed && !was_there) continue;
    if (Wanted(repair, finding.kind)) {
      RETURN_IF_ERROR(backend.DestroyObject(finding.object));
      finding.destroyed = true;
    }
    result.findings.push_back(std::move(finding));
  }
  return {};
}

}  // namespace

std::string OwnerWords(const store::StoreId& id) { return "cmkd " + id.ToHex().substr(0, 16); }

std::string_view Name(DiscrepancyKind kind) {
  switch (kind) {
    case DiscrepancyKind::kMissing: return "missing";
    case DiscrepancyKind::kDouble: return "double";
    case DiscrepancyKind::kAltered: return "altered";
    case DiscrepancyKind::kOrphan: return "orphan";
    case DiscrepancyKind::kLeftover: return "leftover";
    case DiscrepancyKind::kNameless: return "nameless";
  }
  return "";
}

Fallible<ExpectedById> Gather(store::Store& store, const Registry& registry, const std::string& hsm) {
  ExpectedById expected;
  std::set<cmk::TokenId> tokens_here;
  STORE_OR_RETURN(const auto read, store.BeginRead());
  STORE_OR_RETURN(const auto tokens, read->ListTokens());
  for (const store::TokenRecord& token : tokens) {
    const bool mirrored_here = std::any_of(token.mirrors.begin(), token.mirrors.end(),
                                           [&](const store::TokenMirror& mirror) { return mirror.hsm == hsm; });
    if (token.hsm != hsm && !mirrored_here) continue;
    tokens_here.insert(token.id);
    ExpectEpochs(token, expected);
    for (cmk::CmkId after;;) {
      STORE_OR_RETURN(const auto page, read->ListCmksOfToken(token.id, after, kPage));
      for (const cmk::Cmk& key : page) {
        const std::string what = "key " + token.label + "/" + key.name + " (" + key.id.ToHex() + ")";
        for (const cmk::KeyVersion& version : key.versions) {
          ExpectMaterial(version.material, what + ", version " + std::to_string(version.number.value), expected);
          if (const auto named = expected.find(version.material.blob); named != expected.end())
            named->second.adopted = key.origin == cmk::Origin::kAdopted;
          // What is being destroyed may be gone already.
          const bool going = version.state == cmk::VersionState::kDestroyed || key.dates.destruction_started_at;
          if (going && expected.contains(version.material.blob)) expected[version.material.blob].may_be_missing = true;
        }
        for (const cmk::ImportSlot& slot : key.imports) ExpectMaterial(slot.material, what + ", import", expected);
      }
      if (page.size() < kPage) break;
      after = page.back().id;
    }
  }
  for (const ApplicationPtr& application : registry.All()) {
    for (const ObjectPtr& object : application->AllObjects()) {
      if (tokens_here.contains(object->token)) ExpectMaterial(object->material, "a session key", expected);
    }
  }
  return expected;
}

std::vector<Discrepancy> Compare(std::string_view owner, const ExpectedById& expected,
                                 const std::vector<DeviceObject>& found) {
  std::vector<Discrepancy> findings;
  std::map<Bytes, std::size_t> times;
  for (const DeviceObject& object : found) {
    const CK_OBJECT_CLASS object_class = ClassOf(object);
    // Data, certificates and public keys are nobody's business here, whatever their ids.
    if (object_class == CKO_DATA || object_class == CKO_CERTIFICATE || object_class == CKO_PUBLIC_KEY) continue;
    const auto named = expected.find(ToBytes(object.attributes.View(CKA_ID)));
    if (named == expected.end()) {
      if (auto finding = Unnamed(owner, object)) findings.push_back(std::move(*finding));
      continue;
    }
    if (++times[named->first] == 2)
      findings.push_back(DiscrepancyOf(DiscrepancyKind::kDouble, object, named->second.what + ": several have its id"));
    if (std::string altered = WhatIsAltered(named->second, object); !altered.empty())
      findings.push_back(DiscrepancyOf(DiscrepancyKind::kAltered, object, named->second.what + ": " + altered));
  }
  for (const auto& [id, what] : expected) {
    if (what.may_be_missing || times.contains(id)) continue;
    Discrepancy missing;
    missing.id = id;
    missing.what = what.what;
    findings.push_back(std::move(missing));
  }
  return findings;
}

Fallible<Reconciliation> Reconcile(store::Store& store, Backends& backends, Custodian& custodian,
                                   const Registry& registry, const std::map<std::string, Bytes>& root_references,
                                   const Repair& repair) {
  Reconciliation result;
  for (const auto& [name, backend] : backends.all()) {
    const auto root = root_references.find(name);
    const Bytes reference = root == root_references.end() ? Bytes{} : root->second;
    RETURN_IF_ERROR(ReconcileOne(store, *backend, custodian, registry, reference, repair, result));
  }
  return result;
}

}  // namespace cmkd::daemon
