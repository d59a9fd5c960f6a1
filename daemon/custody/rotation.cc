// Rotation: in place, by moving the label, and of pairs.
#include "daemon/custody/steps.h"
#include "daemon/service/key_specs.h"
#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

// The new version must do what the old one did before anything depends on it: it is loaded and, for ciphers, used once.
Status Custodian::VerifyNewVersion(Backend& backend, const cmk::Cmk& key, const Object& object,
                                   const cmk::Material& material) {
  KeyMaterial fresh;
  fresh.object_class = object.object_class;
  fresh.key_type = object.key_type;
  fresh.material = material;
  const KeyName name = NameOf(key.id, {key.versions.empty() ? 1 : key.versions.back().number.value + 1});
  const Status loaded = backend.Run([&](CK_FUNCTION_LIST_PTR, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(name, fresh);
    return handle.ok() ? CKR_OK : handle.error().rv;
  });
  backend.Forget(name);
  return loaded;
}

Fallible<cmk::Cmk> Custodian::RotateBy(cmk::CmkEvent event, const cmk::CmkId& id, const RequestName& name) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    ASSIGN_OR_RETURN(const auto before, Earlier(*read, name, clock_.Now()));
    if (before) return *key;
  }
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  // Refusals come before the HSM is asked for anything; the decision that counts is made again inside the transaction.
  auto early = cmk::Decide(*key, event, clock_.NowWithDoubt(), BoundsOf(*token));
  if (!early.ok()) return Translate(early.error(), Moment::kManage);
  ObjectPtr object;
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    const store::Term of_key[] = {store::OfCmk(id)};
    STORE_OR_RETURN(const auto serials, read->FindObjects(key->token, of_key));
    for (const cmk::ObjectSerial serial : serials) {
      STORE_OR_RETURN(auto record, read->GetObject(serial));
      ObjectPtr candidate = DecodeObject(std::move(record));
      if (candidate->object_class == CKO_SECRET_KEY) object = std::move(candidate);
    }
  }
  if (object == nullptr) {
    return Fail(CKR_ACTION_PROHIBITED, "only secret keys rotate in place",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  }
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  CK_MECHANISM mechanism{GeneratorOf(static_cast<CK_KEY_TYPE>(object->key_type)), nullptr, 0};
  const CK_ULONG value_bytes = object->attributes.Ulong(CKA_VALUE_LEN).value_or(0);
  ASSIGN_OR_RETURN(const Made made, backend->GenerateKey(mechanism, object->key_type, value_bytes, under));
  const auto flip = [&]() -> Fallible<cmk::Cmk> {
    RETURN_IF_ERROR(VerifyNewVersion(*backend, *key, *object, made.material));
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.rotate"));
    STORE_OR_RETURN(const cmk::Cmk current, txn->GetCmk(id));
    ASSIGN_OR_RETURN(cmk::Cmk rotated, Decided(current, event, clock_.NowWithDoubt(), BoundsOf(*token), made.material));
    RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
    RETURN_IF_STORE_ERROR(txn->PutCmk(rotated));
    RETURN_IF_STORE_ERROR(txn->Commit());
    return rotated;
  };
  auto rotated = flip();
  // Wrapped material that no record names is gone with this function; resident material must not stay an orphan.
  if (!rotated.ok()) (void)backend->DestroyMaterial(made.material);
  return rotated;
}

namespace {

std::string VersionName(const std::string& name, std::uint32_t number) {
  return name.empty() ? name : name + "@v" + std::to_string(number);
}

// An object with another label. Certificates and data have no CMK and are not asked for here.
store::ObjectRecord Relabelled(const Object& object, const std::string& label,
                               std::optional<cmk::KeyVersionNumber> version) {
  Object changed = object;
  changed.attributes.SetText(CKA_LABEL, label);
  changed.version = version;
  return EncodeObject(changed);
}

Status PutNewObject(store::WriteTxn& txn, const cmk::Cmk& key, spec::Attributes attributes, const std::string& unique,
                    std::optional<cmk::KeyVersionNumber> version) {
  Object object;
  STORE_OR_RETURN(const cmk::ObjectSerial serial, txn.NextObjectSerial());
  object.handle = serial.value;
  object.token = key.token;
  object.cmk = key.id;
  object.version = version;
  object.attributes = std::move(attributes);
  object.attributes.SetText(CKA_UNIQUE_ID, unique);
  object.Describe();
  RETURN_IF_STORE_ERROR(txn.PutObject(EncodeObject(object)));
  return {};
}

// What the device computes of the old material must not stay in a copy of its attributes.
spec::Attributes WithoutMaterial(const spec::Attributes& old) {
  spec::Attributes attributes = old;
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CHECK_VALUE, CKA_MODULUS, CKA_EC_POINT, CKA_PUBLIC_KEY_INFO})
    attributes.Remove(type);
  return attributes;
}

CK_MECHANISM_TYPE PairMechanism(CK_ULONG key_type) {
  switch (key_type) {
    case CKK_RSA: return CKM_RSA_PKCS_KEY_PAIR_GEN;
    case CKK_EC_EDWARDS: return CKM_EC_EDWARDS_KEY_PAIR_GEN;
    case CKK_EC_MONTGOMERY: return CKM_EC_MONTGOMERY_KEY_PAIR_GEN;
    case CKK_SM2: return CKM_SM2_KEY_PAIR_GEN;
    default: return CKM_EC_KEY_PAIR_GEN;
  }
}

// The successor of a fixed-version key, before it has an id of its own.
cmk::Cmk Successor(const cmk::Cmk& old, cmk::Material material, Timestamp now) {
  cmk::Cmk next = old;
  next.predecessor = old.id;
  next.generation = old.generation + 1;
  next.created = now;
  next.versions.clear();
  next.aliases = old.aliases;
  next.imports.clear();
  next.request_tag.clear();
  next.consumers = old.consumers;
  cmk::KeyVersion version;
  version.number = {1};
  version.created = now;
  version.material = std::move(material);
  next.versions.push_back(std::move(version));
  next.current = {1};
  next.dates = {};
  next.dates.expiry = old.dates.expiry;
  if (next.rotation_period > Duration{}) next.dates.next_rotation = now + next.rotation_period;
  return next;
}

}  // namespace

Fallible<cmk::Cmk> Custodian::RotateByLabel(const cmk::CmkId& id, const RequestName& name) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  // In every other respect the key must be one that may rotate now.
  cmk::Cmk as_if = *key;
  as_if.rotatable = true;
  if (const auto early = cmk::Decide(as_if, cmk::CmkEvent::kRotate, clock_.NowWithDoubt(), BoundsOf(*token));
      !early.ok())
    return Translate(early.error(), Moment::kManage);
  ObjectPtr object;
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*read, name, clock_.Now()));
    if (earlier) {
      STORE_OR_RETURN(const auto ids, read->FindCmksByName(key->token, key->name));
      if (ids.size() == 1) {
        STORE_OR_RETURN(cmk::Cmk made, read->GetCmk(ids.front()));
        return made;
      }
      return *key;
    }
    ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, *key));
    for (const ObjectPtr& each : objects) {
      if (each->object_class == CKO_SECRET_KEY) object = each;
    }
  }
  if (object == nullptr)
    return Fail(CKR_ACTION_PROHIBITED, "only secret keys move their label",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  CK_MECHANISM mechanism{GeneratorOf(static_cast<CK_KEY_TYPE>(object->key_type)), nullptr, 0};
  ASSIGN_OR_RETURN(Made made, backend->GenerateKey(mechanism, object->key_type,
                                                   object->attributes.Ulong(CKA_VALUE_LEN).value_or(0), under));
  const auto move = [&]() -> Fallible<cmk::Cmk> {
    const Timestamp now = clock_.Now();
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.rotate-label"));
    STORE_OR_RETURN(const cmk::Cmk old, txn->GetCmk(id));
    cmk::Cmk next = Successor(old, made.material, now);
    next.id = NewId<cmk::CmkId>();
    // The successor has the owner and the consumers from now on.
    cmk::Cmk retiring = old;
    retiring.consumers.clear();
    cmk::Request archive(cmk::CmkEvent::kArchive);
    archive.by_owner = true;
    ASSIGN_OR_RETURN(cmk::Cmk archived, Decided(retiring, archive, clock_.NowWithDoubt(), BoundsOf(*token)));
    const std::string old_name = VersionName(old.name, old.generation);
    archived.name = old_name;
    archived.aliases.clear();
    archived.rotation_period = {};
    archived.dates.next_rotation.reset();
    RETURN_IF_STORE_ERROR(txn->PutCmk(archived));
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*object, old_name, object->version)));
    const bool unique = old.profile == cmk::TokenProfile::kManaged && !next.name.empty();
    RETURN_IF_STORE_ERROR(txn->PutCmk(next, unique ? store::NameRule::kUnique : store::NameRule::kShared));
    spec::Attributes attributes = WithoutMaterial(object->attributes);
    attributes.Merge(made.computed);
    attributes.Remove(CKA_VALUE);
    attributes.Set(CKA_ID, {});
    RETURN_IF_ERROR(PutNewObject(*txn, next, std::move(attributes), next.id.ToHex(), std::nullopt));
    RETURN_IF_ERROR(Remember(*txn, name, now));
    RETURN_IF_STORE_ERROR(txn->Commit());
    return next;
  };
  auto moved = move();
  if (!moved.ok()) (void)backend->DestroyMaterial(made.material);
  return moved;
}

Fallible<cmk::Cmk> Custodian::RotatePair(const cmk::CmkId& id, Duration overlap, const RequestName& name) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  // The versions of a pair have objects of their own, so nothing has to be found again.
  const auto decide = [&](cmk::Cmk record, std::optional<cmk::Material> material) -> Fallible<cmk::Cmk> {
    record.rotatable = true;
    auto decided = cmk::Decide(record, cmk::CmkEvent::kRotate, clock_.NowWithDoubt(), BoundsOf(*token));
    if (!decided.ok()) return Translate(decided.error(), Moment::kManage);
    if (!material) return record;
    record = cmk::Apply(std::move(record), *decided, clock_.Now(), std::move(material));
    record.rotatable = false;
    return record;
  };
  ASSIGN_OR_RETURN([[maybe_unused]] const cmk::Cmk may, decide(*key, std::nullopt));
  ObjectPtr private_half;
  ObjectPtr public_half;
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*read, name, clock_.Now()));
    if (earlier) return *key;
    ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, *key));
    for (const ObjectPtr& each : objects) {
      if (each->version && *each->version != key->current) continue;
      if (each->object_class == CKO_PRIVATE_KEY) private_half = each;
      if (each->object_class == CKO_PUBLIC_KEY) public_half = each;
    }
  }
  if (private_half == nullptr || public_half == nullptr)
    return Fail(CKR_ACTION_PROHIBITED, "both halves of the pair must be there",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  const CK_MECHANISM mechanism{PairMechanism(private_half->key_type), nullptr, 0};
  spec::Attributes parameters;
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS}) {
    if (public_half->attributes.Has(type)) parameters.Set(type, public_half->attributes.View(type));
  }
  ASSIGN_OR_RETURN(MadePair made, backend->GenerateKeyPair(mechanism, static_cast<CK_KEY_TYPE>(private_half->key_type),
                                                           parameters, under));
  const auto flip = [&]() -> Fallible<cmk::Cmk> {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.rotate-pair"));
    STORE_OR_RETURN(const cmk::Cmk old, txn->GetCmk(id));
    ASSIGN_OR_RETURN(cmk::Cmk next, decide(old, made.material));
    if (cmk::KeyVersion* retired = next.FindVersion(old.current)) retired->protects_until = clock_.Now() + overlap;
    const std::string old_name = VersionName(old.name, old.current.value);
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*private_half, old_name, old.current)));
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*public_half, old_name, old.current)));
    const Id16 fresh = RandomId();
    const std::string unique = next.id.ToHex() + "/v" + std::to_string(next.current.value);
    spec::Attributes private_attributes = WithoutMaterial(private_half->attributes);
    private_attributes.Merge(made.private_computed);
    for (const CK_ATTRIBUTE_TYPE type :
         {CKA_VALUE, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT})
      private_attributes.Remove(type);
    private_attributes.Set(CKA_ID, fresh);
    spec::Attributes public_attributes = WithoutMaterial(public_half->attributes);
    public_attributes.Merge(made.public_computed);
    public_attributes.Set(CKA_ID, fresh);
    RETURN_IF_ERROR(PutNewObject(*txn, next, std::move(public_attributes), unique + "/public", next.current));
    RETURN_IF_ERROR(PutNewObject(*txn, next, std::move(private_attributes), unique, next.current));
    RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
    RETURN_IF_STORE_ERROR(txn->PutCmk(next));
    RETURN_IF_STORE_ERROR(txn->Commit());
    return next;
  };
  auto rotated = flip();
  if (!rotated.ok()) (void)backend->DestroyMaterial(made.material);
  return rotated;
}

}  // namespace cmkd::daemon
