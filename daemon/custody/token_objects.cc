// The custodian's changes of token objects: kept, updated, given a role or a counter, destroyed.
#include <algorithm>

#include "daemon/custody/steps.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

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

}  // namespace cmkd::daemon
