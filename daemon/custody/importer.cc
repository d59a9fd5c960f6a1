// Import parameters and imports.
#include "daemon/custody/importer.h"

#include <time.h>

#include <algorithm>

#include "daemon/crypto/key_wrap.h"
#include "daemon/crypto/oaep.h"
#include "daemon/crypto/rsa_public_key.h"
#include "daemon/custody/steps.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

using ImportId = decltype(cmk::ImportSlot::id);

constexpr Duration kParametersLive = Hours(24);
constexpr std::size_t kParametersKept = 4;
constexpr std::size_t kTransportKeyBytes = 32;
constexpr std::uint8_t kExponent[] = {1, 0, 1};
constexpr Duration kExpiryMax = Days(365 * 10);

struct AlgorithmRow {
  ImportAlgorithm algorithm;
  std::string_view name;
  std::string_view hash;  // OpenSSL's name; also of the mask
  bool transport_key;     // OAEP carries an AES key, under which the material is
                          // wrapped (PKCS#11, RSA AES key wrap)
};
constexpr AlgorithmRow kAlgorithms[] = {
    {ImportAlgorithm::kOaepSha256, "RSAES_OAEP_SHA_256", "SHA256", false},
    {ImportAlgorithm::kOaepSha1, "RSAES_OAEP_SHA_1", "SHA1", false},
    {ImportAlgorithm::kRsaAesSha256, "RSA_AES_KEY_WRAP_SHA_256", "SHA256", true},
};

Failure<Error> Refuse(cmk::Refusal refusal) { return Translate(refusal, Moment::kManage); }

const AlgorithmRow& RowOf(ImportAlgorithm algorithm) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.algorithm == algorithm) return row;
  }
  return kAlgorithms[0];
}

Status CheckTakesMaterial(const cmk::Cmk& key) {
  if (key.origin != cmk::Origin::kUnwrapped) return Refuse(cmk::Refusal::kNotImported);
  switch (key.state) {
    case cmk::CmkState::kPendingImport: return {};
    case cmk::CmkState::kPendingDeletion: return Refuse(cmk::Refusal::kKeyPendingDeletion);
    case cmk::CmkState::kDestroyed: return Refuse(cmk::Refusal::kKeyDestroyed);
    default: return Refuse(cmk::Refusal::kMaterialNotExpected);
  }
}

const cmk::ImportSlot* FindSlot(const cmk::Cmk& key, const std::string& token, Timestamp now) {
  const auto id = ImportId::FromHex(token);
  for (const cmk::ImportSlot& slot : key.imports) {
    if (id && slot.id == *id && now < slot.expires) return &slot;
  }
  return nullptr;
}

// The RSA operation happens in the HSM, the paddings come off here: few devices
// do OAEP with SHA-256, and what is inside must be measured and compared in any
// case.
Fallible<SecretBytes> OpenWrapped(Backend& backend, const cmk::ImportSlot& slot, ByteView wrapped) {
  const AlgorithmRow& row = RowOf(static_cast<ImportAlgorithm>(slot.algorithm));
  const std::size_t modulus = slot.material.public_part.size();
  if (wrapped.size() < modulus || (!row.transport_key && wrapped.size() != modulus))
    return Refuse(cmk::Refusal::kMaterialUnreadable);
  KeyMaterial private_key;
  private_key.object_class = CKO_PRIVATE_KEY;
  private_key.key_type = CKK_RSA;
  private_key.material = slot.material;
  KeyName name;
  name.id = slot.id.bytes;
  SecretBytes block(modulus);
  CK_ULONG length = modulus;
  const Status status = backend.Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(name, private_key);
    if (!handle.ok()) return handle.error().rv;
    CK_MECHANISM raw{CKM_RSA_X_509, nullptr, 0};
    if (const CK_RV rv = device->C_DecryptInit(lease.session(), &raw, *handle); rv != CKR_OK) return rv;
    length = modulus;
    return device->C_Decrypt(lease.session(), const_cast<CK_BYTE_PTR>(wrapped.data()), modulus, block.bytes().data(),
                             &length);
  });
  backend.Forget(name);
  if (!status.ok() || length != modulus) return Refuse(cmk::Refusal::kMaterialUnreadable);
  auto plain = RemoveOaep(block.view(), row.hash, row.hash, {});
  if (!plain) return Refuse(cmk::Refusal::kMaterialUnreadable);
  if (!row.transport_key) return std::move(*plain);
  if (plain->size() != kTransportKeyBytes) return Refuse(cmk::Refusal::kMaterialUnreadable);
  auto material = UnwrapPadded(plain->view(), wrapped.subspan(modulus));
  if (!material) return Refuse(cmk::Refusal::kMaterialUnreadable);
  return std::move(*material);
}

// The same material in two keys has two fingerprints.
Bytes FingerprintOf(const Daemon& daemon, const cmk::CmkId& id, ByteView material) {
  SecretBytes message(16 + material.size() + 1);
  message.bytes()[0] = 0xF1;
  std::copy(id.bytes.begin(), id.bytes.end(), message.bytes().begin() + 1);
  std::copy(material.begin(), material.end(), message.bytes().begin() + 17);
  const store::Sealer::KeyedTag tag = daemon.object_sealer.Tag(message.view());
  return {tag.begin(), tag.end()};
}

Status CheckMaterial(const Daemon& daemon, const cmk::Cmk& key, ByteView material, const Bytes& fingerprint) {
  const KeySpec* spec = FindKeySpec(key.spec);
  if (spec == nullptr || spec->size != material.size()) return Refuse(cmk::Refusal::kMaterialLength);
  RETURN_IF_ERROR(CheckImportable(daemon.config.tokens.crypto_profile, *spec));
  for (const cmk::KeyVersion& version : key.versions) {
    if (version.state == cmk::VersionState::kPendingImport && !version.fingerprint.empty() &&
        !ConstantTimeEqual(version.fingerprint, fingerprint))
      return Refuse(cmk::Refusal::kMaterialMismatch);
  }
  return {};
}

}  // namespace

Status CheckImportable(CryptoProfile profile, const KeySpec& spec) {
  const bool aes = spec.key_type == CKK_AES, sm4 = spec.key_type == CKK_SM4;
  bool fits = aes || sm4;
  if (profile == CryptoProfile::kAes) fits = aes && spec.size == 32;
  if (profile == CryptoProfile::kSm) fits = sm4;
  if (!fits) return Refuse(cmk::Refusal::kMaterialLength);
  return {};
}

std::string_view Name(ImportAlgorithm algorithm) { return RowOf(algorithm).name; }

std::optional<ImportAlgorithm> ImportAlgorithmFromName(std::string_view name) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.name == name) return row.algorithm;
  }
  return std::nullopt;
}

Fallible<ImportParameters> MakeImportParameters(Daemon& daemon, const cmk::CmkId& id, ImportAlgorithm algorithm,
                                                CK_ULONG bits) {
  ASSIGN_OR_RETURN(const auto key, daemon.records.GetCmk(id));
  RETURN_IF_ERROR(CheckTakesMaterial(*key));
  ASSIGN_OR_RETURN(const auto token, daemon.records.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Of(*token));
  ASSIGN_OR_RETURN(const Custodian::Under under, daemon.custodian.WrappingKeyFor(token->id, Custodian::Keep::kToken));
  spec::Attributes wanted;
  wanted.SetUlong(CKA_MODULUS_BITS, bits);
  wanted.Set(CKA_PUBLIC_EXPONENT, kExponent);
  ASSIGN_OR_RETURN(MadePair made,
                   backend->GenerateKeyPair({CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0}, CKK_RSA, wanted, under));
  cmk::ImportSlot slot;
  slot.id = NewId<ImportId>();
  slot.algorithm = static_cast<std::uint8_t>(algorithm);
  slot.expires = daemon.clock.Now() + kParametersLive;
  slot.material = made.material;
  slot.material.public_part = ToBytes(made.public_computed.View(CKA_MODULUS));
  std::vector<cmk::Material> dropped;
  const auto edit = [&](cmk::Cmk& record, const store::TokenRecord&) -> Status {
    RETURN_IF_ERROR(CheckTakesMaterial(record));
    std::erase_if(record.imports, [&](const cmk::ImportSlot& old) {
      const bool stale = old.expires <= daemon.clock.Now();
      if (stale) dropped.push_back(old.material);
      return stale;
    });
    while (record.imports.size() >= kParametersKept) {
      dropped.push_back(record.imports.front().material);
      record.imports.erase(record.imports.begin());
    }
    record.imports.push_back(slot);
    return {};
  };
  const auto stored = daemon.custodian.Edit("key.import-params", id, edit);
  if (!stored.ok()) {
    (void)backend->DestroyMaterial(made.material);
    return Failure{stored.error()};
  }
  for (const cmk::Material& material : dropped) (void)backend->DestroyMaterial(material);
  const ByteView exponent = made.public_computed.View(CKA_PUBLIC_EXPONENT);
  return ImportParameters{
      slot.id.ToHex(), RsaPublicKeyInfo(slot.material.public_part, exponent.empty() ? ByteView(kExponent) : exponent),
      slot.expires};
}

Fallible<cmk::Cmk> ImportMaterial(Daemon& daemon, const cmk::CmkId& id, const std::string& token_text, ByteView wrapped,
                                  std::optional<Timestamp> expires, const RequestName& request) {
  ASSIGN_OR_RETURN(const auto key, daemon.records.GetCmk(id));
  {
    STORE_OR_RETURN(const auto read, daemon.store.BeginRead());
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*read, request, daemon.clock.Now()));
    if (earlier) return *key;
  }
  RETURN_IF_ERROR(CheckTakesMaterial(*key));
  const Timestamp now = daemon.clock.Now();
  if (expires && (*expires <= now || *expires > now + kExpiryMax)) return Refuse(cmk::Refusal::kDateOutOfBounds);
  const cmk::ImportSlot* slot = FindSlot(*key, token_text, now);
  if (slot == nullptr) return Refuse(cmk::Refusal::kImportParametersStale);
  ASSIGN_OR_RETURN(const auto token, daemon.records.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Of(*token));
  ASSIGN_OR_RETURN(const SecretBytes material, OpenWrapped(*backend, *slot, wrapped));
  const Bytes fingerprint = FingerprintOf(daemon, id, material.view());
  RETURN_IF_ERROR(CheckMaterial(daemon, *key, material.view(), fingerprint));
  ASSIGN_OR_RETURN(const Custodian::Under under, daemon.custodian.WrappingKeyFor(token->id, Custodian::Keep::kToken));
  spec::Attributes attributes;
  attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  attributes.SetUlong(CKA_KEY_TYPE, FindKeySpec(key->spec)->key_type);
  attributes.Set(CKA_VALUE, material.view());
  ASSIGN_OR_RETURN(Made made, backend->Import(attributes, under));
  cmk::Material spent;
  const auto edit = [&](cmk::Cmk& record, const store::TokenRecord& owner) -> Status {
    // Once more inside the transaction: the parameters may just have been used
    // by somebody else.
    const cmk::ImportSlot* mine = FindSlot(record, token_text, now);
    if (mine == nullptr) return Refuse(cmk::Refusal::kImportParametersStale);
    spent = mine->material;
    std::erase_if(record.imports, [&](const cmk::ImportSlot& each) { return each.id.ToHex() == token_text; });
    ASSIGN_OR_RETURN(record, Decided(record, cmk::CmkEvent::kMaterialReady, cmk::Instant(now),
                                     Custodian::BoundsOf(owner), made.material));
    cmk::KeyVersion* version = record.FindVersion(record.current);
    version->fingerprint = fingerprint;
    version->expires = expires;
    version->exposed = true;
    return {};
  };
  auto imported = daemon.custodian.Edit("key.import", id, edit, request);
  (void)backend->DestroyMaterial(imported.ok() && !request.dry_run ? spent : made.material);
  return imported;
}

// ---- The objects of import parameters

namespace {

constexpr std::string_view kLabelPrefix = "kms-import:";

const cmk::ImportSlot* SlotOf(const Object& object, const cmk::Cmk& key) {
  for (const cmk::ImportSlot& slot : key.imports) {
    if (Equal(slot.id.bytes, object.attributes.View(CKA_ID))) return &slot;
  }
  return nullptr;
}

Bytes MechanismsOf(ImportAlgorithm algorithm) {
  const CK_MECHANISM_TYPE type = RowOf(algorithm).transport_key ? CKM_RSA_AES_KEY_WRAP : CKM_RSA_PKCS_OAEP;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&type);
  return {bytes, bytes + sizeof type};
}

spec::Attributes ImportKeyAttributes(const cmk::Cmk& key, const cmk::ImportSlot& slot, CK_OBJECT_CLASS object_class) {
  const bool is_private = object_class == CKO_PRIVATE_KEY;
  spec::Attributes attributes;
  attributes.SetBool(CKA_TOKEN, true);
  attributes.SetBool(CKA_PRIVATE, is_private);
  attributes.SetText(CKA_LABEL, std::string(kLabelPrefix) + key.name);
  attributes.Set(CKA_ID, slot.id.bytes);
  attributes.SetBool(is_private ? CKA_UNWRAP : CKA_WRAP, true);
  attributes.Set(CKA_ALLOWED_MECHANISMS, MechanismsOf(static_cast<ImportAlgorithm>(slot.algorithm)));
  attributes.SetText(CKA_END_DATE, DayOf(slot.expires));
  for (const CK_ATTRIBUTE_TYPE no : {CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE}) attributes.SetBool(no, false);
  if (!is_private) attributes.SetUlong(CKA_MODULUS_BITS, 8 * slot.material.public_part.size());
  attributes.Set(CKA_PUBLIC_EXPONENT, kExponent);
  spec::TemplateContext context;
  context.verb = spec::Verb::kGenerate;
  context.object_class = object_class;
  context.key_type = CKK_RSA;
  context.profile = spec::Profile::kManaged;
  spec::Attributes whole = spec::Complete(context, attributes.ToTemplate(), CKM_RSA_PKCS_KEY_PAIR_GEN);
  whole.Set(CKA_MODULUS, slot.material.public_part);
  whole.Set(CKA_PUBLIC_EXPONENT, kExponent);
  whole.SetText(CKA_UNIQUE_ID, slot.id.ToHex() + (is_private ? "/import" : "/import-public"));
  return whole;
}

Status PutImportKeys(store::WriteTxn& txn, const cmk::Cmk& key, const cmk::ImportSlot& slot) {
  for (const CK_OBJECT_CLASS object_class : {CKO_PUBLIC_KEY, CKO_PRIVATE_KEY}) {
    Object object;
    STORE_OR_RETURN(const cmk::ObjectSerial serial, txn.NextObjectSerial());
    object.handle = serial.value;
    object.token = key.token;
    object.cmk = key.id;
    object.version = cmk::KeyVersionNumber{0};
    object.attributes = ImportKeyAttributes(key, slot, object_class);
    object.Describe();
    RETURN_IF_STORE_ERROR(txn.PutObject(EncodeObject(object)));
  }
  return {};
}

}  // namespace

Status KeepImportKeys(store::WriteTxn& txn, const cmk::Cmk& key) {
  const store::Term of_key[] = {store::OfCmk(key.id)};
  STORE_OR_RETURN(const auto serials, txn.FindObjects(key.token, of_key));
  std::vector<const cmk::ImportSlot*> there;
  for (const cmk::ObjectSerial serial : serials) {
    STORE_OR_RETURN(auto record, txn.GetObject(serial));
    const ObjectPtr object = DecodeObject(std::move(record));
    if (!object->is_import_key()) continue;
    const cmk::ImportSlot* slot = SlotOf(*object, key);
    if (slot == nullptr) {
      RETURN_IF_STORE_ERROR(txn.DeleteObject(serial));
    } else {
      there.push_back(slot);
    }
  }
  for (const cmk::ImportSlot& slot : key.imports) {
    if (std::find(there.begin(), there.end(), &slot) == there.end()) RETURN_IF_ERROR(PutImportKeys(txn, key, slot));
  }
  return {};
}

bool IsGoodImportKey(const Object& object, const cmk::Cmk& key, Timestamp now) {
  const cmk::ImportSlot* slot = SlotOf(object, key);
  return slot != nullptr && now < slot->expires && key.state == cmk::CmkState::kPendingImport;
}

std::optional<ImportAlgorithm> AlgorithmOfImportKey(const Object& object, const cmk::Cmk& key) {
  const cmk::ImportSlot* slot = SlotOf(object, key);
  if (slot == nullptr) return std::nullopt;
  return static_cast<ImportAlgorithm>(slot->algorithm);
}

std::string DayOf(Timestamp time) {
  const time_t seconds = time.seconds;
  tm parts{};
  char text[16];
  if (::gmtime_r(&seconds, &parts) == nullptr || ::strftime(text, sizeof text, "%Y%m%d", &parts) != 8) return {};
  return text;
}

}  // namespace cmkd::daemon
