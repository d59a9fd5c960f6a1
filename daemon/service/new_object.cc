// Keeping new objects.
#include "daemon/service/new_object.h"

#include "daemon/crypto/digest.h"
#include "daemon/crypto/random.h"
#include "daemon/service/key_specs.h"
#include "daemon/service/resume.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

bool IsTokenObject(const spec::Attributes& attributes) { return attributes.Bool(CKA_TOKEN); }

// A secret key rotates in place when every mechanism it allows can find the right version again; a key that allows all
// mechanisms allows some that cannot.
bool CanRotate(const spec::Attributes& attributes) {
  if (attributes.Ulong(CKA_CLASS) != CKO_SECRET_KEY) return false;
  const ByteView allowed = attributes.View(CKA_ALLOWED_MECHANISMS);
  // Of the keys that name none, only those for MACs have no mechanism under which a wrong version gives garbage.
  if (allowed.empty()) {
    return spec::KeyTypeBit(attributes.Ulong(CKA_KEY_TYPE).value_or(CKK_AES)) == spec::KeyTypeBit(CKK_GENERIC_SECRET);
  }
  for (std::size_t i = 0; i + sizeof(CK_MECHANISM_TYPE) <= allowed.size(); i += sizeof(CK_MECHANISM_TYPE)) {
    CK_MECHANISM_TYPE type = 0;
    std::memcpy(&type, allowed.data() + i, sizeof type);
    const spec::MechanismRow* row = spec::FindMechanism(type);
    if (row == nullptr || !spec::FindsVersions(row->versions)) return false;
  }
  return true;
}

Fallible<CK_OBJECT_HANDLE> KeepInSession(Invocation& invocation, spec::Attributes attributes, Made made) {
  Object object;
  object.handle = invocation.application->NextHandle();
  object.token = invocation.session->token;
  object.session = invocation.session->handle;
  object.name = made.loaded_as ? *made.loaded_as : RandomId();
  object.material = std::move(made.material);
  attributes.SetText(CKA_UNIQUE_ID, Hex(object.name));
  object.attributes = std::move(attributes);
  object.Describe();
  const auto kept = std::make_shared<const Object>(std::move(object));
  if (!invocation.application->AddObject(kept, invocation.daemon.config.limits.objects_per_application)) {
    Release(invocation.daemon, {kept});
    return Fail(CKR_DEVICE_MEMORY, "too many session objects", spec::kLimitReached);
  }
  SendSealed(invocation, *kept);
  return kept->handle;
}

// A template prevents the check value by giving it empty (3.2, "Secret key objects").
bool WantsNoCheckValue(const spec::Attributes& attributes) {
  const auto* value = attributes.Find(CKA_CHECK_VALUE);
  return value != nullptr && value->empty();
}

Fallible<std::vector<CK_OBJECT_HANDLE>> Store(Invocation& invocation, NewObjects objects) {
  invocation.changed = true;
  invocation.audit_text = objects.objects.front().Text(CKA_LABEL);
  return invocation.daemon.custodian.Add(invocation.session->token, std::move(objects), NameOfRequest(invocation));
}

}  // namespace

Fallible<Custodian::Under> UnderFor(const Invocation& invocation, const spec::Attributes& attributes) {
  const bool session = !IsTokenObject(attributes);
  ASSIGN_OR_RETURN(Custodian::Under under,
                   invocation.daemon.custodian.WrappingKeyFor(
                       invocation.session->token, session ? Custodian::Keep::kSession : Custodian::Keep::kToken));
  // A data key: it is wrapped for its owner next. What may not be wrapped is loaded so that the device knows it.
  under.key.stays_loaded = session && attributes.Bool(CKA_EXTRACTABLE);
  return under;
}

RequestName NameOfRequest(const Invocation& invocation) {
  RequestName name;
  const ApplicationId& id = invocation.application->id();
  name.tag.assign(id.begin(), id.end());
  const auto* number = reinterpret_cast<const std::uint8_t*>(&invocation.request_id);
  name.tag.insert(name.tag.end(), number, number + sizeof invocation.request_id);
  const Digest digest = Sha256(invocation.payload);
  name.body_digest.assign(digest.begin(), digest.end());
  return name;
}

cmk::Cmk NewCmk(const spec::Attributes& attributes, cmk::Material material, cmk::Origin origin, Timestamp now) {
  cmk::Cmk key;
  key.name = attributes.Text(CKA_LABEL);
  key.origin = origin;
  key.spec = SpecName(attributes);
  key.rotatable = CanRotate(attributes);
  key.current = {1};
  cmk::KeyVersion version;
  version.number = {1};
  version.created = now;
  version.material = std::move(material);
  key.versions.push_back(std::move(version));
  key.state = cmk::BirthState(true, std::nullopt, now);
  return key;
}

std::string SpecName(const spec::Attributes& attributes) {
  const std::string bits = std::to_string(spec::KeyBits(attributes).value_or(0));
  switch (attributes.Ulong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION)) {
    case CKK_AES: return "AES-" + bits;
    case CKK_RSA: return "RSA-" + bits;
    case CKK_DSA: return "DSA-" + bits;
    case CKK_DH:
    case CKK_X9_42_DH: return "DH-" + bits;
    case CKK_EC:
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY: {
      const spec::Curve* curve = spec::FindCurve(attributes.View(CKA_EC_PARAMS));
      if (curve == nullptr) return "EC";
      for (const KeySpec& spec : KeySpecs()) {
        if (spec.curve == curve->name) return std::string(spec.name);
      }
      return std::string(curve->name);
    }
    case CKK_SM2: return "SM2";
    case CKK_SM4: return "SM4";
    case CKK_HOTP: return "HOTP-" + bits;
    default: return "HMAC-" + bits;
  }
}

bool IsSecretPart(const Object& object, CK_ATTRIBUTE_TYPE type) {
  const spec::AttributeRow* row = spec::FindAttribute(type, object.object_class, object.key_type);
  return row != nullptr && spec::HasRule(*row, spec::kHiddenWhenSensitive);
}

void RemoveSecretParts(spec::Attributes& attributes) {
  Object described;
  described.attributes = std::move(attributes);
  described.Describe();
  std::vector<CK_ATTRIBUTE_TYPE> secret;
  for (const spec::Attribute& attribute : described.attributes) {
    if (IsSecretPart(described, attribute.type)) secret.push_back(attribute.type);
  }
  attributes = std::move(described.attributes);
  for (const CK_ATTRIBUTE_TYPE type : secret) attributes.Remove(type);
}

bool ShowsCheckValue(const spec::Attributes& attributes) {
  const bool works = attributes.Bool(CKA_ENCRYPT) || attributes.Bool(CKA_DECRYPT);
  return attributes.Ulong(CKA_KEY_TYPE) != CKK_AES || !works;
}

void HideCheckValue(spec::Attributes& attributes) {
  if (!ShowsCheckValue(attributes)) attributes.Set(CKA_CHECK_VALUE, {});
}

Status CheckClaims(Backend& backend, std::span<const CK_ATTRIBUTE> given, const spec::Attributes& key, Made& made) {
  if (!ShowsCheckValue(key)) made.computed.Remove(CKA_CHECK_VALUE);
  const CK_ULONG none = CK_UNAVAILABLE_INFORMATION;
  Status fits = spec::CheckAgainstMaterial(
      given, {key.Ulong(CKA_CLASS).value_or(none), key.Ulong(CKA_KEY_TYPE).value_or(none)}, made.computed);
  if (!fits.ok()) Discard(backend, made);
  return fits;
}

void Discard(Backend& backend, const Made& made) {
  if (made.loaded_as) {
    KeyName name;
    name.id = *made.loaded_as;
    backend.Forget(name);
  }
  (void)backend.DestroyMaterial(made.material);
}

Status CheckNewObject(const Invocation& invocation, const store::TokenRecord& token, const spec::Attributes& attributes,
                      const spec::Attributes* partner) {
  RETURN_IF_ERROR(MayWrite(invocation, IsTokenObject(attributes), attributes.Bool(CKA_PRIVATE)));
  if (LoggedIn(invocation, token) == CKU_SO && attributes.Bool(CKA_PRIVATE)) {
    return Fail(CKR_USER_NOT_LOGGED_IN, "the SO makes no private objects");
  }
  const spec::Profile profile = ProfileOf(token);
  if (partner != nullptr) return spec::CheckPairSeparation(profile, *partner, attributes);
  return spec::CheckSeparation(profile, attributes);
}

void AddDefaultMechanisms(const store::TokenRecord& token, spec::Attributes& attributes) {
  const bool given = !attributes.View(CKA_ALLOWED_MECHANISMS).empty();
  if (token.profile != cmk::TokenProfile::kManaged || !IsTokenObject(attributes) || given) return;
  AllowRotatingMechanisms(attributes);
}

void AllowRotatingMechanisms(spec::Attributes& attributes) {
  if (attributes.Ulong(CKA_CLASS) != CKO_SECRET_KEY) return;
  const CK_KEY_TYPE type = attributes.Ulong(CKA_KEY_TYPE).value_or(CKK_AES);
  Bytes list;
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    const bool fits = row.key_type == type || row.other_key_type == type;
    const bool approved = row.standing == spec::Standing::kApproved;
    if (!fits || !approved || !spec::FindsVersions(row.versions) || (row.operations & CKF_GENERATE) != 0) continue;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&row.type);
    list.insert(list.end(), bytes, bytes + sizeof row.type);
  }
  attributes.Set(CKA_ALLOWED_MECHANISMS, list);
}

Fallible<CK_OBJECT_HANDLE> Keep(Invocation& invocation, spec::Attributes attributes) {
  if (!IsTokenObject(attributes)) return KeepInSession(invocation, std::move(attributes), {});
  NewObjects objects;
  objects.objects.push_back(std::move(attributes));
  ASSIGN_OR_RETURN(const auto handles, Store(invocation, std::move(objects)));
  return handles.front();
}

namespace {

// What is shown of a new key.
void Settle(NewKey& key) {
  RemoveSecretParts(key.attributes);
  RemoveSecretParts(key.made.computed);
  if (WantsNoCheckValue(key.attributes)) key.made.computed.Remove(CKA_CHECK_VALUE);
  key.attributes.Merge(key.made.computed);
  HideCheckValue(key.attributes);
}

NewObjects ForStore(const Invocation& invocation, NewKey key, cmk::Origin origin) {
  NewObjects objects;
  objects.key = NewCmk(key.attributes, std::move(key.made.material), origin, invocation.daemon.clock.Now());
  objects.objects.push_back(std::move(key.attributes));
  return objects;
}

// Session objects that are taken away again unless all of what they belong to is there.
class Kept {
 public:
  explicit Kept(Invocation& invocation) : invocation_(invocation) {}
  ~Kept() {
    for (const CK_OBJECT_HANDLE handle : handles_) {
      const ObjectPtr object = invocation_.application->RemoveObject(handle);
      if (object == nullptr) continue;
      Release(invocation_.daemon, {object});
      invocation_.trailers.push_back({wire::TrailerKind::kForgetObject, 0, handle, {}});
    }
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  void Add(CK_OBJECT_HANDLE handle) { handles_.push_back(handle); }
  void All() { handles_.clear(); }

 private:
  Invocation& invocation_;
  std::vector<CK_OBJECT_HANDLE> handles_;
};

}  // namespace

Fallible<CK_OBJECT_HANDLE> KeepKey(Invocation& invocation, spec::Attributes attributes, Made made, cmk::Origin origin) {
  NewKey key{std::move(attributes), std::move(made)};
  Settle(key);
  if (!IsTokenObject(key.attributes)) return KeepInSession(invocation, std::move(key.attributes), std::move(key.made));
  ASSIGN_OR_RETURN(const auto handles, Store(invocation, ForStore(invocation, std::move(key), origin)));
  return handles.front();
}

Fallible<std::vector<CK_OBJECT_HANDLE>> KeepKeys(Invocation& invocation, std::vector<NewKey> keys, cmk::Origin origin,
                                                 std::optional<std::size_t>* refused) {
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  std::vector<CK_OBJECT_HANDLE> handles(keys.size());
  std::vector<std::size_t> on_token;
  Kept kept(invocation);
  Status status;
  // What the store takes comes last: it cannot be taken back.
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Settle(keys[i]);
    if (IsTokenObject(keys[i].attributes)) {
      on_token.push_back(i);
    } else if (!status.ok()) {
      Discard(*backend, keys[i].made);
    } else if (auto one = KeepInSession(invocation, std::move(keys[i].attributes), std::move(keys[i].made)); one.ok()) {
      kept.Add(handles[i] = *one);
    } else {
      status = Failure<Error>{std::move(one.error())};
    }
  }
  if (!status.ok()) {
    for (const std::size_t i : on_token) Discard(*backend, keys[i].made);
    return Failure<Error>{status.error()};
  }
  if (!on_token.empty()) {
    std::vector<NewObjects> all;
    for (const std::size_t i : on_token) all.push_back(ForStore(invocation, std::move(keys[i]), origin));
    invocation.changed = true;
    invocation.audit_text = all.front().objects.front().Text(CKA_LABEL);
    std::optional<std::size_t> cause;
    auto stored = invocation.daemon.custodian.AddAll(invocation.session->token, std::move(all),
                                                     NameOfRequest(invocation), &cause);
    if (cause && refused != nullptr) *refused = on_token[*cause];
    if (!stored.ok()) return Failure<Error>{std::move(stored.error())};
    // One that was carried out before made as many.
    if (stored->size() != on_token.size()) return Fail(CKR_FUNCTION_FAILED, "the request made something else before");
    for (std::size_t i = 0; i < on_token.size(); ++i) handles[on_token[i]] = (*stored)[i];
  }
  kept.All();
  return handles;
}

Fallible<PairHandles> KeepPair(Invocation& invocation, spec::Attributes public_attributes,
                               spec::Attributes private_attributes, MadePair made) {
  public_attributes.Merge(made.public_computed);
  private_attributes.Merge(made.private_computed);
  RemoveSecretParts(private_attributes);
  if (IsTokenObject(public_attributes) && IsTokenObject(private_attributes)) {
    NewObjects objects;
    objects.key =
        NewCmk(private_attributes, std::move(made.material), cmk::Origin::kLocal, invocation.daemon.clock.Now());
    objects.objects.push_back(std::move(public_attributes));
    objects.objects.push_back(std::move(private_attributes));
    ASSIGN_OR_RETURN(const auto handles, Store(invocation, std::move(objects)));
    return PairHandles{handles[0], handles[1]};
  }
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE public_key, Keep(invocation, std::move(public_attributes)));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE private_key, KeepKey(invocation, std::move(private_attributes),
                                                               {std::move(made.material), {}}, cmk::Origin::kLocal));
  return PairHandles{public_key, private_key};
}

}  // namespace cmkd::daemon
