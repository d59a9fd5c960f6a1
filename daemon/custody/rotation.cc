// Rotation: in place, by moving the label, and of pairs.
#include "daemon/custody/steps.h"
#include "daemon/service/key_specs.h"
#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

namespace {

// The secret key among the objects of a CMK; nullptr when it is of another kind.
ObjectPtr SecretKeyAmong(const std::vector<ObjectPtr>& objects) {
  for (const ObjectPtr& object : objects) {
    if (object->object_class == CKO_SECRET_KEY) return object;
  }
  return nullptr;
}

// Another key of the type and length of this one.
Fallible<Made> MakeLike(Backend& backend, const Object& object, const WrappingKey& under) {
  const CK_MECHANISM mechanism{GeneratorOf(static_cast<CK_KEY_TYPE>(object.key_type)), nullptr, 0};
  return backend.GenerateKey(mechanism, static_cast<CK_KEY_TYPE>(object.key_type),
                             object.attributes.Ulong(CKA_VALUE_LEN).value_or(0), under);
}

}  // namespace

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
    ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, *key));
    object = SecretKeyAmong(objects);
  }
  if (object == nullptr) {
    return Fail(CKR_ACTION_PROHIBITED, "only secret keys rotate in place",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  }
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  ASSIGN_OR_RETURN(const Made made, MakeLike(*backend, *object, under));
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

// The attributes of an object for other material, with another CKA_ID: nothing that the device computed of the old
// stays, and nothing secret of the new comes.
spec::Attributes WithMaterial(const Object& object, const spec::Attributes& computed, ByteView id) {
  spec::Attributes attributes = object.attributes;
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CHECK_VALUE, CKA_MODULUS, CKA_EC_POINT, CKA_PUBLIC_KEY_INFO})
    attributes.Remove(type);
  attributes.Merge(computed);
  attributes.Set(CKA_ID, id);
  if (object.object_class == CKO_PUBLIC_KEY) return attributes;
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_VALUE, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT})
    attributes.Remove(type);
  return attributes;
}

struct Halves {
  ObjectPtr private_key, public_key;
};

// The objects of a pair that stand for its current version; nullptr for one that is not there.
Halves CurrentHalves(const std::vector<ObjectPtr>& objects, cmk::KeyVersionNumber current) {
  Halves halves;
  for (const ObjectPtr& object : objects) {
    if (object->version && *object->version != current) continue;
    if (object->object_class == CKO_PRIVATE_KEY) halves.private_key = object;
    if (object->object_class == CKO_PUBLIC_KEY) halves.public_key = object;
  }
  return halves;
}

// What a pair like the one of this public key is made of.
spec::Attributes PairParameters(const Object& public_half) {
  spec::Attributes parameters;
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS}) {
    if (public_half.attributes.Has(type)) parameters.Set(type, public_half.attributes.View(type));
  }
  return parameters;
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

// The key that the name of this one leads to now; itself where that is not one.
Fallible<cmk::Cmk> SuccessorOf(const store::ReadTxn& read, const cmk::Cmk& key) {
  STORE_OR_RETURN(const auto ids, read.FindCmksByName(key.token, key.name));
  if (ids.size() != 1) return key;
  STORE_OR_RETURN(cmk::Cmk made, read.GetCmk(ids.front()));
  return made;
}

// The old key under the name of its generation. Its successor has the owner, the consumers and the aliases from now on.
Fallible<cmk::Cmk> Archived(const cmk::Cmk& old, const cmk::Instant& at, const cmk::Bounds& bounds) {
  cmk::Cmk retiring = old;
  retiring.consumers.clear();
  cmk::Request archive(cmk::CmkEvent::kArchive);
  archive.by_owner = true;
  ASSIGN_OR_RETURN(cmk::Cmk archived, Decided(retiring, archive, at, bounds));
  archived.name = VersionName(old.name, old.generation);
  archived.aliases.clear();
  archived.rotation_period = {};
  archived.dates.next_rotation.reset();
  return archived;
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
    if (earlier) return SuccessorOf(*read, *key);
    ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, *key));
    object = SecretKeyAmong(objects);
  }
  if (object == nullptr)
    return Fail(CKR_ACTION_PROHIBITED, "only secret keys move their label",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  ASSIGN_OR_RETURN(const Made made, MakeLike(*backend, *object, under));
  const auto move = [&]() -> Fallible<cmk::Cmk> {
    const Timestamp now = clock_.Now();
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.rotate-label"));
    STORE_OR_RETURN(const cmk::Cmk old, txn->GetCmk(id));
    cmk::Cmk next = Successor(old, made.material, now);
    next.id = NewId<cmk::CmkId>();
    ASSIGN_OR_RETURN(const cmk::Cmk archived, Archived(old, clock_.NowWithDoubt(), BoundsOf(*token)));
    RETURN_IF_STORE_ERROR(txn->PutCmk(archived));
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*object, archived.name, object->version)));
    const bool unique = old.profile == cmk::TokenProfile::kManaged && !next.name.empty();
    RETURN_IF_STORE_ERROR(txn->PutCmk(next, unique ? store::NameRule::kUnique : store::NameRule::kShared));
    spec::Attributes attributes = WithMaterial(*object, made.computed, {});
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
  Halves half;
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*read, name, clock_.Now()));
    if (earlier) return *key;
    ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, *key));
    half = CurrentHalves(objects, key->current);
  }
  if (half.private_key == nullptr || half.public_key == nullptr)
    return Fail(CKR_ACTION_PROHIBITED, "both halves of the pair must be there",
                static_cast<CK_ULONG>(cmk::Refusal::kNotRotatable));
  if (name.dry_run) return *key;
  ASSIGN_OR_RETURN(const Under under, WrappingKeyFor(token->id, Keep::kToken));
  const CK_MECHANISM mechanism{PairMechanism(half.private_key->key_type), nullptr, 0};
  ASSIGN_OR_RETURN(const MadePair made,
                   backend->GenerateKeyPair(mechanism, static_cast<CK_KEY_TYPE>(half.private_key->key_type),
                                            PairParameters(*half.public_key), under));
  const auto flip = [&]() -> Fallible<cmk::Cmk> {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.rotate-pair"));
    STORE_OR_RETURN(const cmk::Cmk old, txn->GetCmk(id));
    ASSIGN_OR_RETURN(cmk::Cmk next, decide(old, made.material));
    if (cmk::KeyVersion* retired = next.FindVersion(old.current)) retired->protects_until = clock_.Now() + overlap;
    const std::string old_name = VersionName(old.name, old.current.value);
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*half.private_key, old_name, old.current)));
    RETURN_IF_STORE_ERROR(txn->PutObject(Relabelled(*half.public_key, old_name, old.current)));
    const Id16 fresh = RandomId();
    const std::string unique = next.id.ToHex() + "/v" + std::to_string(next.current.value);
    RETURN_IF_ERROR(PutNewObject(*txn, next, WithMaterial(*half.public_key, made.public_computed, fresh),
                                 unique + "/public", next.current));
    RETURN_IF_ERROR(
        PutNewObject(*txn, next, WithMaterial(*half.private_key, made.private_computed, fresh), unique, next.current));
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
