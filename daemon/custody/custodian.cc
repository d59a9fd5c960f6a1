// The custodian: one named transaction for each change, effects after it.
#include "daemon/custody/custodian.h"

#include <algorithm>

#include "daemon/config/config.h"
#include "daemon/crypto/random.h"
#include "daemon/custody/importer.h"
#include "daemon/custody/steps.h"
#include "daemon/service/translate.h"
#include "daemon/system/log.h"
#include "keystore/cmk/bounds.h"

namespace cmkd::daemon {

namespace {

// A token serial number: 16 hexadecimal characters, unique by chance and never changed (consumers keep it).
std::string NewSerial() {
  const Id16 random = RandomId();
  return Hex({random.data(), 8});
}

}  // namespace

Fallible<cmk::Cmk> Decided(const cmk::Cmk& key, const cmk::Request& request, const cmk::Instant& at,
                           const cmk::Bounds& bounds, std::optional<cmk::Material> material, cmk::Effect* effect) {
  auto decided = cmk::Decide(key, request, at, bounds);
  if (!decided.ok()) return Translate(decided.error(), Moment::kManage);
  if (effect != nullptr) *effect = decided->effect;
  if (decided->effect == cmk::Effect::kNewVersion && !material)
    return Fail(CKR_ACTION_PROHIBITED, "a rotation is due first", static_cast<CK_ULONG>(cmk::Refusal::kNothingDue));
  return cmk::Apply(key, *decided, at.now, std::move(material));
}

Fallible<std::optional<store::RequestRecord>> Earlier(const store::ReadTxn& txn, const RequestName& name,
                                                      Timestamp now) {
  if (name.tag.empty()) return std::optional<store::RequestRecord>{};
  STORE_OR_RETURN(auto before, txn.FindRequest(name.tag, now));
  if (before && before->body_digest != name.body_digest)
    return Fail(CKR_ARGUMENTS_BAD, "a request id was used for two requests");
  return before;
}

Status Remember(store::WriteTxn& txn, const RequestName& name, Timestamp now) {
  if (name.tag.empty()) return {};
  const store::RequestRecord record{
      .tag = name.tag, .body_digest = name.body_digest, .objects = name.makes, .expires = {}};
  RETURN_IF_STORE_ERROR(txn.PutRequest(record, now));
  return {};
}

KeyName NameOf(const cmk::CmkId& id, cmk::KeyVersionNumber version) {
  KeyName name;
  name.id = id.bytes;
  name.version = version.value;
  return name;
}

cmk::Bounds Custodian::BoundsOf(const store::TokenRecord& token) {
  cmk::Bounds bounds = cmk::BoundsOf(token.bounds);
  if (token.profile == cmk::TokenProfile::kGeneral) bounds = cmk::ForGeneralToken(bounds);
  if (token.deletion_window) bounds.window_default = *token.deletion_window;
  if (token.version_quiet) bounds.quiet_default = *token.version_quiet;
  if (token.disable_first) bounds.disable_first = *token.disable_first;
  return bounds;
}

// ---- Tokens

Fallible<store::TokenRecord> Custodian::MakeToken(store::WriteTxn& txn, cmk::TokenProfile profile,
                                                  const std::string& hsm) {
  store::TokenRecord token;
  token.id = NewId<cmk::TokenId>();
  STORE_OR_RETURN(token.slot, txn.NextSlot());
  token.serial = NewSerial();
  token.profile = profile;
  token.bounds = config_.bounds_profile;
  token.hsm = hsm;
  token.created = clock_.Now();
  if (profile == cmk::TokenProfile::kManaged) {
    token.deletion_window = Days(config_.deletion_window_days);
    token.version_quiet = Days(config_.version_quiet_days);
  }
  return token;
}

Fallible<store::TokenRecord> Custodian::ReserveToken(const std::string& label, cmk::TokenProfile profile,
                                                     const std::string& hsm, const RequestName& request) {
  ASSIGN_OR_RETURN([[maybe_unused]] Backend * backend, backends_.Get(hsm));
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.create"));
  ASSIGN_OR_RETURN(const auto before, Earlier(*txn, request, clock_.Now()));
  STORE_OR_RETURN(const auto tokens, txn->ListTokens());
  for (const store::TokenRecord& other : tokens) {
    if (other.label != label) continue;
    if (before) {
      RETURN_IF_STORE_ERROR(txn->Commit());
      return other;
    }
    return Fail(CKR_ARGUMENTS_BAD, "a token has this label already", spec::kNameTaken);
  }
  ASSIGN_OR_RETURN(store::TokenRecord token, MakeToken(*txn, profile, hsm));
  token.label = label;
  RETURN_IF_ERROR(Remember(*txn, request, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  if (request.dry_run) return token;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return token;
}

Fallible<store::TokenRecord> Custodian::SetToken(const cmk::TokenId& id, const TokenSettings& settings,
                                                 const RequestName& request) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.set"));
  ASSIGN_OR_RETURN(const auto before, Earlier(*txn, request, clock_.Now()));
  STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
  if (before) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return token;
  }
  const cmk::Bounds bounds = BoundsOf(token);
  const auto within = [](const std::optional<Duration>& wanted, Duration least, Duration most) {
    return !wanted || (*wanted >= least && *wanted <= most);
  };
  if (!within(settings.deletion_window, bounds.window_min, bounds.window_max))
    return Translate(cmk::Refusal::kWindowOutOfBounds, Moment::kManage);
  if (!within(settings.version_quiet, bounds.quiet_min, bounds.quiet_max))
    return Translate(cmk::Refusal::kQuietTimeOutOfBounds, Moment::kManage);
  if (settings.deletion_window) token.deletion_window = settings.deletion_window;
  if (settings.version_quiet) token.version_quiet = settings.version_quiet;
  if (settings.disable_first) token.disable_first = settings.disable_first;
  RETURN_IF_ERROR(Remember(*txn, request, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  if (request.dry_run) return token;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return token;
}

Status Custodian::WipeToken(store::WriteTxn& txn, const store::TokenRecord& token, std::vector<cmk::Cmk>& destroyed) {
  STORE_OR_RETURN(destroyed, txn.ListCmksOfToken(token.id, {}, store::kNoLimit));
  const bool managed = token.profile == cmk::TokenProfile::kManaged;
  for (const cmk::Cmk& key : destroyed) {
    if (managed && key.state != cmk::CmkState::kDestroyed) {
      return Fail(CKR_TOKEN_WRITE_PROTECTED,
                  "a managed token with keys cannot be initialised: that would go round every deletion window");
    }
  }
  STORE_OR_RETURN(const auto serials, txn.FindObjects(token.id, {}));
  for (const cmk::ObjectSerial serial : serials) RETURN_IF_STORE_ERROR(txn.DeleteObject(serial));
  if (managed) {
    destroyed.clear();  // tombstones stay
    return {};
  }
  for (const cmk::Cmk& key : destroyed) RETURN_IF_STORE_ERROR(txn.DeleteCmk(key.id));
  return {};
}

Status Custodian::InitToken(CK_SLOT_ID slot, const std::string& label, Bytes so_verifier) {
  cmk::TokenId id;
  std::vector<cmk::Cmk> destroyed;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.init"));
    STORE_OR_RETURN(const auto tokens, txn->ListTokens());
    const auto found =
        std::find_if(tokens.begin(), tokens.end(), [&](const auto& token) { return token.slot == slot; });
    store::TokenRecord token;
    if (found != tokens.end()) {
      token = *found;
      RETURN_IF_ERROR(WipeToken(*txn, token, destroyed));
      if (!destroyed.empty()) NoteDestroyed(token);
    } else {
      STORE_OR_RETURN(const auto meta, txn->ReadMeta());
      if (slot != meta.next_slot || !config_.create_by_init_token) return Fail(CKR_SLOT_ID_INVALID, "no such slot");
      ASSIGN_OR_RETURN(token, MakeToken(*txn, config_.default_profile, config_.default_hsm));
    }
    token.label = label;
    const std::uint32_t generation = token.so_pin.generation + 1;
    token.so_pin = {.verifier = std::move(so_verifier), .failures = 0, .generation = generation, .retry_after = {}};
    token.user_pin = {.verifier = {}, .failures = 0, .generation = token.user_pin.generation + 1, .retry_after = {}};
    id = token.id;
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
  }
  for (const cmk::Cmk& key : destroyed) (void)DropMaterial(id, key, true);
  return EnsureWrappingKey(id);
}

Status Custodian::EditToken(const char* label, const cmk::TokenId& id,
                            const std::function<void(store::TokenRecord&)>& edit) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite(label));
  STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
  edit(token);
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  RETURN_IF_STORE_ERROR(txn->Commit());
  urgent_ = true;
  return {};
}

namespace {
store::PinRecord& Of(store::TokenRecord& token, Pin pin) { return pin == Pin::kSo ? token.so_pin : token.user_pin; }
}  // namespace

Status Custodian::SetPin(const cmk::TokenId& token, Pin pin, Bytes verifier) {
  return EditToken("token.pin", token, [&](store::TokenRecord& t) {
    store::PinRecord& record = Of(t, pin);
    record = {.verifier = std::move(verifier), .failures = 0, .generation = record.generation + 1, .retry_after = {}};
  });
}

Status Custodian::CountFailure(const cmk::TokenId& token, Pin pin) {
  return EditToken("token.pin-failure", token, [&](store::TokenRecord& t) { ++Of(t, pin).failures; });
}

Status Custodian::ForgetFailures(const cmk::TokenId& token, Pin pin) {
  return EditToken("token.pin-success", token, [&](store::TokenRecord& t) { Of(t, pin).failures = 0; });
}

// ---- Objects

Fallible<std::vector<CK_OBJECT_HANDLE>> Custodian::Add(const cmk::TokenId& id, NewObjects objects,
                                                       const RequestName& request) {
  std::vector<NewObjects> all;
  all.push_back(std::move(objects));
  return AddAll(id, std::move(all), request, nullptr);
}

Fallible<std::vector<CK_OBJECT_HANDLE>> Custodian::AddAll(const cmk::TokenId& id, std::vector<NewObjects> all,
                                                          const RequestName& request,
                                                          std::optional<std::size_t>* refused) {
  // Material that stays in the device and gets no record is an orphan there, unless it was there before.
  std::vector<cmk::Cmk> unused;
  for (const NewObjects& objects : all) {
    if (objects.key && objects.key->origin != cmk::Origin::kAdopted) unused.push_back(*objects.key);
  }
  bool in_doubt = false;
  bool repeated = false;
  auto added = AddOnce(id, std::move(all), request, refused, in_doubt, repeated);
  if (in_doubt || (added.ok() && !repeated)) return added;
  for (const cmk::Cmk& key : unused) (void)DropMaterial(id, key, true);
  return added;
}

namespace {

// What a key's record has of the token and the moment.
void Complete(cmk::Cmk& key, const store::TokenRecord& token, const RequestName& request, Timestamp now) {
  key.id = NewId<cmk::CmkId>();
  key.token = token.id;
  key.profile = token.profile;
  key.created = now;
  key.request_tag = request.tag;
}

// The object to be stored of these attributes.
Object NewTokenObject(const cmk::TokenId& token, cmk::ObjectSerial serial, const std::optional<cmk::Cmk>& key,
                      spec::Attributes attributes) {
  Object object;
  object.handle = serial.value;
  object.token = token;
  object.attributes = std::move(attributes);
  object.Describe();
  std::string unique = Hex(token.view().first(8)) + Hex({reinterpret_cast<const std::uint8_t*>(&serial.value), 8});
  if (key) {
    object.cmk = key->id;
    unique = key->id.ToHex() + (object.object_class == CKO_PUBLIC_KEY ? "/public" : "");
  }
  object.attributes.SetText(CKA_UNIQUE_ID, unique);
  return object;
}

}  // namespace

// `in_doubt`: a commit was tried. `repeated`: the request was carried out before.
Fallible<std::vector<CK_OBJECT_HANDLE>> Custodian::AddOnce(const cmk::TokenId& id, std::vector<NewObjects> all,
                                                           const RequestName& request,
                                                           std::optional<std::size_t>* refused, bool& in_doubt,
                                                           bool& repeated) {
  const Timestamp now = clock_.Now();
  const bool keys = std::ranges::any_of(all, [](const NewObjects& objects) { return objects.key.has_value(); });
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite(keys ? "key.create" : "object.create"));
  std::vector<CK_OBJECT_HANDLE> handles;
  ASSIGN_OR_RETURN(const auto before, Earlier(*txn, request, now));
  if (before) {
    repeated = true;
    for (const cmk::ObjectSerial serial : before->objects) handles.push_back(serial.value);
    RETURN_IF_STORE_ERROR(txn->Commit());
    return handles;
  }
  STORE_OR_RETURN(const store::TokenRecord token, txn->GetToken(id));
  store::RequestRecord made{.tag = request.tag, .body_digest = request.body_digest, .objects = {}, .expires = {}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].key) {
      cmk::Cmk& key = *all[i].key;
      for (const cmk::KeyVersion& version : key.versions) {
        RETURN_IF_ERROR(CheckEpoch(token, version.material));
        if (!token.mirrors.empty() && version.material.kind == cmk::Material::Kind::kResident)
          return Fail(CKR_ACTION_PROHIBITED, "a key that lives in one HSM cannot be on a mirrored token");
      }
      Complete(key, token, request, now);
      const bool unique = token.profile == cmk::TokenProfile::kManaged && !key.name.empty();
      const auto put = txn->PutCmk(key, unique ? store::NameRule::kUnique : store::NameRule::kShared);
      if (!put.ok() && put.error().kind == store::StoreErrorKind::kTaken && refused != nullptr) *refused = i;
      RETURN_IF_STORE_ERROR(put);
    }
    for (spec::Attributes& attributes : all[i].objects) {
      STORE_OR_RETURN(const cmk::ObjectSerial serial, txn->NextObjectSerial());
      RETURN_IF_STORE_ERROR(
          txn->PutObject(EncodeObject(NewTokenObject(id, serial, all[i].key, std::move(attributes)))));
      made.objects.push_back(serial);
      handles.push_back(serial.value);
    }
  }
  if (!request.tag.empty()) RETURN_IF_STORE_ERROR(txn->PutRequest(made, now));
  in_doubt = true;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return handles;
}

Status Custodian::Update(const Object& object, const spec::Attributes& attributes) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("object.update"));
  STORE_OR_RETURN(const auto record, txn->GetObject({object.handle}));
  Object changed = *DecodeObject(record);
  const spec::Attributes before = std::exchange(changed.attributes, attributes);
  if (changed.is_key()) spec::SetRole(spec::RoleOf(before), changed.attributes);
  spec::KeepOtpCounter(before, changed.attributes);
  RETURN_IF_STORE_ERROR(txn->PutObject(EncodeObject(changed)));
  if (changed.cmk && changed.has_material()) {
    STORE_OR_RETURN(cmk::Cmk key, txn->GetCmk(*changed.cmk));
    const std::string_view label = attributes.Text(CKA_LABEL);
    if (key.name != label) {
      key.name = label;
      const bool unique = key.profile == cmk::TokenProfile::kManaged && !key.name.empty();
      RETURN_IF_STORE_ERROR(txn->PutCmk(key, unique ? store::NameRule::kUnique : store::NameRule::kShared));
    }
  }
  RETURN_IF_STORE_ERROR(txn->Commit());
  return {};
}

Fallible<spec::KeyRole> Custodian::DecideRole(const Object& key, ByteView session_name, spec::KeyRole wanted) {
  if (!key.is_token()) return DecideSessionRole(session_name, wanted);
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.role"));
  STORE_OR_RETURN(const auto record, txn->GetObject({key.handle}));
  if (const auto now = spec::RoleOf(DecodeObject(record)->attributes); now != spec::KeyRole::kUndecided) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return now;
  }
  std::vector<cmk::ObjectSerial> halves = {{key.handle}};
  if (key.cmk) {
    const store::Term of_key[] = {store::OfCmk(*key.cmk)};
    STORE_OR_RETURN(halves, txn->FindObjects(key.token, of_key));
  }
  for (const cmk::ObjectSerial serial : halves) {
    STORE_OR_RETURN(const auto half, txn->GetObject(serial));
    Object changed = *DecodeObject(half);
    spec::SetRole(wanted, changed.attributes);
    RETURN_IF_STORE_ERROR(txn->PutObject(EncodeObject(changed)));
  }
  RETURN_IF_STORE_ERROR(txn->Commit());
  return wanted;
}

Fallible<spec::KeyRole> Custodian::DecideSessionRole(ByteView name, spec::KeyRole wanted) {
  const Timestamp now = clock_.Now();
  store::RequestRecord mark{
      .tag = ToBytes(AsBytes("wrapping:")), .body_digest = ToBytes(name), .objects = {}, .expires = {}};
  mark.tag.insert(mark.tag.end(), name.begin(), name.end());
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    STORE_OR_RETURN(const auto before, read->FindRequest(mark.tag, now));
    if (before) return spec::KeyRole::kWrapping;
  }
  if (wanted != spec::KeyRole::kWrapping) return wanted;
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.role"));
  RETURN_IF_STORE_ERROR(txn->PutRequest(mark, now));
  RETURN_IF_STORE_ERROR(txn->Commit());
  return wanted;
}

Fallible<std::uint64_t> Custodian::TakeOtpCounter(const Object& key, const spec::OtpRequest& request) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.otp"));
  STORE_OR_RETURN(const auto record, txn->GetObject({key.handle}));
  Object changed = *DecodeObject(record);
  ASSIGN_OR_RETURN(const std::uint64_t counter, spec::TakeOtpCounter(request, changed.attributes));
  RETURN_IF_STORE_ERROR(txn->PutObject(EncodeObject(changed)));
  RETURN_IF_STORE_ERROR(txn->Commit());
  return counter;
}

Status Custodian::Destroy(const Object& object) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(object.token));
  if (object.cmk && object.has_material() && token->profile == cmk::TokenProfile::kManaged) {
    const auto scheduled = Change(*object.cmk, cmk::CmkEvent::kScheduleDeletion);
    if (!scheduled.ok()) return Failure{scheduled.error()};
    return {};
  }
  return DestroyObject(object);
}

Status Custodian::DestroyObject(const Object& object) {
  std::optional<cmk::Cmk> gone;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("object.destroy"));
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(object.token));
    RETURN_IF_STORE_ERROR(txn->DeleteObject({object.handle}));
    if (object.cmk && object.has_material()) {
      STORE_OR_RETURN(gone, txn->FindCmk(*object.cmk));
      if (gone) {
        // The public half, if it is still there, becomes an object of its own.
        const store::Term of_key[] = {store::OfCmk(gone->id)};
        STORE_OR_RETURN(const auto halves, txn->FindObjects(object.token, of_key));
        for (const cmk::ObjectSerial serial : halves) {
          STORE_OR_RETURN(store::ObjectRecord half, txn->GetObject(serial));
          if (half.version && half.version->value == 0) {  // of import parameters, which go with the key
            RETURN_IF_STORE_ERROR(txn->DeleteObject(serial));
            continue;
          }
          half.cmk.reset();
          RETURN_IF_STORE_ERROR(txn->PutObject(half));
        }
        RETURN_IF_STORE_ERROR(txn->DeleteCmk(gone->id));
        RETURN_IF_ERROR(NoteDestroyed(*txn, token));
      }
    }
    RETURN_IF_STORE_ERROR(txn->Commit());
  }
  if (gone) (void)DropMaterial(object.token, *gone, true);
  return {};
}

Status Custodian::DropMaterial(const cmk::TokenId& id, const cmk::Cmk& key, bool destroy) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  Status status;
  for (const cmk::KeyVersion& version : key.versions) {
    backend->Forget(NameOf(key.id, version.number));
    if (!destroy) continue;
    Status gone = backend->DestroyMaterial(version.material);
    if (!gone.ok()) status = std::move(gone);
  }
  return status;
}

// ---- CMKs

Fallible<std::vector<ObjectPtr>> Custodian::ObjectsOf(const store::ReadTxn& txn, const cmk::Cmk& key) const {
  const store::Term of_key[] = {store::OfCmk(key.id)};
  STORE_OR_RETURN(const auto serials, txn.FindObjects(key.token, of_key));
  std::vector<ObjectPtr> objects;
  for (const cmk::ObjectSerial serial : serials) {
    STORE_OR_RETURN(auto record, txn.GetObject(serial));
    objects.push_back(DecodeObject(std::move(record)));
  }
  return objects;
}

Fallible<cmk::Cmk> Custodian::Change(const cmk::CmkId& id, const cmk::Request& request, const RequestName& name) {
  cmk::Cmk changed;
  cmk::Cmk as_before;
  cmk::Effect effect = cmk::Effect::kNone;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite(cmk::Name(request.event).data()));
    STORE_OR_RETURN(const auto found, txn->FindCmk(id));
    if (!found) return Fail(CKR_OBJECT_HANDLE_INVALID, "no key has this id", spec::kNotFound);
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
    if (earlier) {
      RETURN_IF_STORE_ERROR(txn->Commit());
      return *found;
    }
    as_before = *found;
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(found->token));
    RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
    ASSIGN_OR_RETURN(changed, Decided(*found, request, clock_.NowWithDoubt(), BoundsOf(token), std::nullopt, &effect));
    if (changed.state == cmk::CmkState::kDestroyed) {
      // The tombstone has no objects; its name is free again.
      ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*txn, changed));
      for (const ObjectPtr& object : objects) RETURN_IF_STORE_ERROR(txn->DeleteObject({object->handle}));
    }
    if (changed.state == cmk::CmkState::kDestroyed || effect == cmk::Effect::kWipeImported)
      RETURN_IF_ERROR(NoteDestroyed(*txn, token));
    RETURN_IF_STORE_ERROR(txn->PutCmk(changed));
    if (name.dry_run) return changed;
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  // Out of use, out of the device: a key that may not be used has no business being unwrapped there.
  if (effect == cmk::Effect::kNone && changed.state != cmk::CmkState::kEnabled)
    (void)DropMaterial(changed.token, changed, false);
  if (effect == cmk::Effect::kWipeImported) (void)DropMaterial(changed.token, as_before, true);
  if (effect != cmk::Effect::kDestroyMaterial) return changed;
  // The intention is durable before the act; its completion is an event of its own. What the device cannot do now, the
  // scheduler tries again.
  if (const Status gone = DropMaterial(changed.token, changed, true); !gone.ok()) {
    LogWarning("the material of key " + id.ToHex() + " could not be destroyed yet: " + gone.error().why);
    return changed;
  }
  return Change(id, cmk::CmkEvent::kMaterialGone);
}

Fallible<cmk::Cmk> Custodian::BegunToDestroy(const cmk::Cmk& key, const store::TokenRecord& token) const {
  const cmk::Bounds bounds = BoundsOf(token);
  const cmk::Instant now = clock_.Now();
  cmk::Cmk record = key;
  if (key.state == cmk::CmkState::kEnabled || key.state == cmk::CmkState::kArchived)
    return Translate(cmk::Refusal::kDisableFirst, Moment::kManage);
  if (!key.consumers.empty()) return Translate(cmk::Refusal::kConsumersRegistered, Moment::kManage);
  if (key.state != cmk::CmkState::kPendingDeletion) {
    ASSIGN_OR_RETURN(record, Decided(key, {cmk::CmkEvent::kScheduleDeletion, bounds.window_min}, now, bounds));
  }
  // Its date is now, by decision and not by a clock.
  record.dates.deletion_date = now.now;
  record.dates.deletion_scheduled_at = now.now;
  record.dates.observed_when_scheduled.reset();
  return Decided(record, cmk::CmkEvent::kTick, now, bounds);
}

Status Custodian::CheckDestroyNow(const cmk::Cmk& key) const {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key.token));
  const auto begun = BegunToDestroy(key, *token);
  if (!begun.ok()) return Failure{begun.error()};
  return {};
}

Fallible<cmk::Cmk> Custodian::DestroyNow(const cmk::CmkId& id) {
  cmk::Cmk begun;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.destroy-now"));
    STORE_OR_RETURN(const cmk::Cmk key, txn->GetCmk(id));
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(key.token));
    ASSIGN_OR_RETURN(begun, BegunToDestroy(key, token));
    RETURN_IF_STORE_ERROR(txn->PutCmk(begun));
    // What is destroyed at once is to be final at once.
    token.epoch_due = clock_.Now();
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  if (const Status gone = DropMaterial(begun.token, begun, true); !gone.ok()) {
    LogWarning("the material of key " + id.ToHex() + " could not be destroyed yet: " + gone.error().why);
    return begun;
  }
  return Change(id, cmk::CmkEvent::kMaterialGone);
}

void Custodian::NoteWanted(const cmk::CmkId& id) {
  if (config_.attempt_extends_days == 0) return;
  const std::lock_guard lock(wanted_mutex_);
  wanted_.insert(id);
}

std::vector<cmk::Cmk> Custodian::PutOffWanted() {
  std::set<cmk::CmkId> wanted;
  {
    const std::lock_guard lock(wanted_mutex_);
    wanted.swap(wanted_);
  }
  std::vector<cmk::Cmk> put_off;
  const Duration by = Days(config_.attempt_extends_days);
  for (const cmk::CmkId& id : wanted) {
    const auto key = records_.GetCmk(id);
    if (!key.ok() || (*key)->state != cmk::CmkState::kPendingDeletion || !(*key)->dates.deletion_date) continue;
    // Once a day is enough for whoever asks all the time.
    if (clock_.Now() + by < *(*key)->dates.deletion_date + Days(1)) continue;
    cmk::Request later(cmk::CmkEvent::kScheduleDeletion, by);
    later.by_owner = true;
    auto changed = Change(id, later);
    if (changed.ok()) put_off.push_back(std::move(*changed));
  }
  return put_off;
}

Fallible<cmk::Cmk> Custodian::Edit(const char* label, const cmk::CmkId& id, const KeyEdit& edit,
                                   const RequestName& name) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite(label));
  STORE_OR_RETURN(auto key, txn->FindCmk(id));
  if (!key) return Fail(CKR_OBJECT_HANDLE_INVALID, "no key has this id", spec::kNotFound);
  ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
  if (earlier) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return std::move(*key);
  }
  STORE_OR_RETURN(const store::TokenRecord token, txn->GetToken(key->token));
  if (key->state == cmk::CmkState::kDestroyed) return Translate(cmk::Refusal::kKeyDestroyed, Moment::kManage);
  const bool had_imports = !key->imports.empty();
  RETURN_IF_ERROR(edit(*key, token));
  RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutCmk(*key));
  if (had_imports || !key->imports.empty()) RETURN_IF_ERROR(KeepImportKeys(*txn, *key));
  if (name.dry_run) return std::move(*key);
  RETURN_IF_STORE_ERROR(txn->Commit());
  return std::move(*key);
}

Fallible<cmk::Cmk> Custodian::MoveAlias(const cmk::CmkId& id, const std::string& alias, const RequestName& name) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.alias"));
  STORE_OR_RETURN(cmk::Cmk key, txn->GetCmk(id));
  ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
  if (earlier) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return key;
  }
  if (key.state == cmk::CmkState::kPendingDeletion || key.state == cmk::CmkState::kDestroyed)
    return Translate(cmk::Refusal::kKeyPendingDeletion, Moment::kManage);
  STORE_OR_RETURN(const auto owners, txn->FindCmksByName(key.token, alias));
  for (const cmk::CmkId& owner : owners) {
    if (owner == id) continue;
    STORE_OR_RETURN(cmk::Cmk other, txn->GetCmk(owner));
    if (std::erase(other.aliases, alias) == 0)
      return Fail(CKR_ARGUMENTS_BAD, "another key of the token has this name", spec::kNameTaken);
    RETURN_IF_STORE_ERROR(txn->PutCmk(other));
  }
  if (std::find(key.aliases.begin(), key.aliases.end(), alias) == key.aliases.end()) key.aliases.push_back(alias);
  RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutCmk(key, store::NameRule::kUnique));
  if (name.dry_run) return key;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return key;
}

Fallible<cmk::Cmk> Custodian::ChangeVersion(const cmk::CmkId& id, cmk::KeyVersionNumber number, cmk::VersionEvent event,
                                            const RequestName& name) {
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord& token) -> Status {
    // A pair's versions have objects of their own: there is nothing to move back.
    if (event == cmk::VersionEvent::kMakeCurrent && !key.rotatable)
      return Translate(cmk::Refusal::kNotRotatable, Moment::kManage);
    auto changed = cmk::ChangeVersion(key, number, event, clock_.Now(), BoundsOf(token).quiet_default);
    if (!changed.ok()) return Translate(changed.error(), Moment::kManage);
    key = std::move(*changed);
    return {};
  };
  ASSIGN_OR_RETURN(cmk::Cmk changed, Edit("key.version", id, edit, name));
  if (name.dry_run) return changed;
  urgent_ = true;
  if (event == cmk::VersionEvent::kDestroy) {
    auto finished = FinishCondemned(id);
    // The scheduler finishes what the device would not do now.
    return finished.ok() ? std::move(finished) : Fallible<cmk::Cmk>(std::move(changed));
  }
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(changed.token));
  if (const auto backend = backends_.Of(*token); backend.ok()) (*backend)->Forget(NameOf(id, number));
  return changed;
}

Fallible<cmk::Cmk> Custodian::FinishCondemned(const cmk::CmkId& id) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  for (const cmk::KeyVersion& version : key->versions) {
    if (version.state == cmk::VersionState::kDestroyed) backend->Forget(NameOf(id, version.number));
  }
  for (const cmk::Material& material : cmk::CondemnedMaterial(*key)) {
    RETURN_IF_ERROR(backend->DestroyMaterial(material));
  }
  RETURN_IF_ERROR(EditToken("token.epoch-due", token->id, [this](store::TokenRecord& t) { NoteDestroyed(t); }));
  return Edit("key.version-gone", id, [](cmk::Cmk& record, const store::TokenRecord&) -> Status {
    record = cmk::ForgetDestroyed(std::move(record));
    return {};
  });
}

Fallible<Custodian::Ticked> Custodian::Tick(const cmk::CmkId& id) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  const bool alive = key->state != cmk::CmkState::kDestroyed && key->state != cmk::CmkState::kPendingDeletion;
  if (alive && !cmk::CondemnedMaterial(*key).empty()) {
    ASSIGN_OR_RETURN(cmk::Cmk finished, FinishCondemned(id));
    return Ticked{std::move(finished), cmk::Effect::kNone};
  }
  const auto decided = cmk::Decide(*key, cmk::CmkEvent::kTick, clock_.NowWithDoubt(), BoundsOf(*token));
  if (!decided.ok() && decided.error() == cmk::Refusal::kNotRotatable) {
    ASSIGN_OR_RETURN(cmk::Cmk moved, RotateByLabel(id));
    return Ticked{std::move(moved), cmk::Effect::kNewVersion};
  }
  if (!decided.ok()) return Translate(decided.error(), Moment::kManage);
  if (decided->effect == cmk::Effect::kNewVersion) {
    ASSIGN_OR_RETURN(cmk::Cmk rotated, RotateBy(cmk::CmkEvent::kTick, id, {}));
    return Ticked{std::move(rotated), cmk::Effect::kNewVersion};
  }
  ASSIGN_OR_RETURN(cmk::Cmk changed, Change(id, cmk::CmkEvent::kTick));
  return Ticked{std::move(changed), decided->effect};
}

}  // namespace cmkd::daemon
