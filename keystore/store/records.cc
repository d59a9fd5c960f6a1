// Field after field, written and read in the order of schema.h.
#include "keystore/store/records.h"

#include <utility>

#include "keystore/store/codec.h"
#include "keystore/store/schema.h"

namespace cmkd::store {
namespace {

using cmk::Cmk;
using cmk::KeyVersion;
using cmk::Material;

template <class Enum>
bool Within(Enum value, Enum first, Enum last) {
  return value >= first && value <= last;
}

// What the decoder accepts is what the encoder may be given: both ask these.
const char* WhyNot(const TokenRecord& token) {
  if (token.label.size() > TokenRecord::kLabelBytesMax) return "a token label is too long";
  if (token.serial.size() > TokenRecord::kSerialBytesMax) return "a token serial is too long";
  if (token.hsm.size() > kHsmNameBytesMax) return "the name of a back end is too long";
  if (!Within(token.profile, cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral) ||
      !Within(token.bounds, cmk::BoundsProfile::kDefault, cmk::BoundsProfile::kAws))
    return "a token has an unknown profile";
  for (const PinRecord* pin : {&token.so_pin, &token.user_pin})
    if (pin->verifier.size() > kVerifierBytesMax) return "a PIN verifier is too long";
  if (token.mirrors.size() > kMirrorsMax) return "a token has too many mirrors";
  for (const TokenMirror& mirror : token.mirrors) {
    if (mirror.hsm.size() > kHsmNameBytesMax) return "the name of a mirror is too long";
    if (mirror.fingerprint.size() > kFingerprintBytesMax) return "the fingerprint of a mirror is too long";
  }
  if (token.epochs.size() > kEpochsMax) return "a token has too many wrapping epochs";
  std::uint32_t before = 0;
  for (const WrappingEpoch& epoch : token.epochs) {
    if (epoch.number <= before) return "wrapping epochs are out of order";
    if (!Within(epoch.state, EpochState::kPending, kLastEpochState)) return "a wrapping epoch has no known state";
    if (epoch.hsm_reference.size() > kHsmReferenceBytesMax) return "a reference to a wrapping key is too long";
    before = epoch.number;
  }
  if (token.next_epoch <= before) return "the next wrapping epoch is not a new one";
  return nullptr;
}

const char* WhyNot(const ObjectRecord& object) {
  if (object.attributes.size() > kAttributesMax) return "an object has too many attributes";
  if (object.terms.size() > kTermsMax) return "an object has too many index terms";
  std::size_t bytes = 0;
  for (const Attribute& attribute : object.attributes) {
    if (attribute.value.size() > kAttributeBytesMax) return "an attribute value is too long";
    bytes += attribute.value.size() + 12;
  }
  for (const Term& term : object.terms) {
    if (term.kind >= kReservedTerms) return "an index term has a reserved kind";
    if (term.value.size() > kTermBytesMax) return "an index term is too long";
    bytes += term.value.size() + 8;
  }
  return bytes > kRecordBytesMax - 4096 ? "an object is too large" : nullptr;
}

const char* WhyNot(const KeyVersion& version) {
  if (version.number.value == 0) return "a version has no number";
  if (!Within(version.state, cmk::VersionState::kPendingImport, cmk::VersionState::kDestroyed) ||
      !Within(version.material.kind, Material::Kind::kNone, Material::Kind::kResident))
    return "a version has no known state";
  if (version.material.blob.size() > kMaterialBytesMax) return "key material is too long";
  if (version.material.public_part.size() > kMaterialBytesMax) return "a public part is too long";
  if (version.fingerprint.size() > kFingerprintBytesMax) return "a fingerprint is too long";
  return nullptr;
}

const char* WhyNotNames(const Cmk& cmk) {
  if (cmk.aliases.size() > kAliasesMax) return "a key has too many aliases";
  for (const std::string& alias : cmk.aliases)
    if (alias.empty() || alias.size() > kNameBytesMax) return "an alias is empty or too long";
  if (cmk.tags.size() > kTagsMax) return "a key has too many tags";
  for (const auto& [name, value] : cmk.tags)
    if (name.empty() || name.size() > kTagNameBytesMax || value.size() > kTagValueBytesMax)
      return "a tag is empty or too long";
  if (cmk.imports.size() > kImportSlotsMax) return "a key has too many import parameters";
  for (const cmk::ImportSlot& slot : cmk.imports)
    if (slot.material.blob.size() > kMaterialBytesMax || slot.material.public_part.size() > kMaterialBytesMax ||
        !Within(slot.material.kind, Material::Kind::kNone, Material::Kind::kResident))
      return "import parameters are too long";
  if (cmk.consumers.size() > kConsumersMax) return "a key has too many consumers";
  for (const std::string& consumer : cmk.consumers)
    if (consumer.empty() || consumer.size() > kConsumerBytesMax) return "the name of a consumer is empty or too long";
  return nullptr;
}

const char* WhyNot(const Cmk& cmk) {
  if (const char* why = WhyNotNames(cmk)) return why;
  if (cmk.name.size() > kNameBytesMax) return "a key name is too long";
  if (cmk.description.size() > kDescriptionBytesMax) return "a key description is too long";
  if (cmk.spec.size() > kSpecBytesMax) return "a key spec is too long";
  if (cmk.request_tag.size() > kRequestTagBytesMax) return "a request tag is too long";
  if (cmk.versions.size() > kVersionsMax) return "a key has too many versions";
  if (!Within(cmk.state, cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed) ||
      !Within(cmk.state_before_deletion.value_or(cmk.state), cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed) ||
      !Within(cmk.origin, cmk::Origin::kLocal, cmk::Origin::kAdopted) ||
      !Within(cmk.key_class, cmk::KeyClass::kCustomer, cmk::KeyClass::kDefault) ||
      !Within(cmk.profile, cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral))
    return "a key has no known state, origin, class or profile";
  std::uint32_t before = 0;
  std::size_t bytes = 0;
  for (const KeyVersion& version : cmk.versions) {
    if (const char* why = WhyNot(version)) return why;
    if (version.number.value <= before) return "versions are out of order";
    before = version.number.value;
    bytes += version.material.blob.size() + version.material.public_part.size() + 256;
  }
  if (cmk.current.value != 0 && cmk.CurrentVersion() == nullptr) return "the current version is not there";
  for (const cmk::ImportSlot& slot : cmk.imports)
    bytes += slot.material.blob.size() + slot.material.public_part.size() + 64;
  return bytes > kRecordBytesMax - 131'072 ? "a key is too large" : nullptr;
}

const char* WhyNot(const RequestRecord& request) {
  if (request.tag.empty() || request.tag.size() > RequestRecord::kTagBytesMax)
    return "a request tag has a wrong length";
  if (request.body_digest.size() > kRequestTagBytesMax) return "a request digest is too long";
  if (request.objects.size() > kRequestObjectsMax) return "a request made too many objects";
  return nullptr;
}

const char* WhyNot(const std::vector<cmk::ClientUse>& clients) {
  if (clients.size() > kClientsMax) return "a version has too many clients";
  for (std::size_t i = 1; i < clients.size(); ++i)
    if (clients[i].uid <= clients[i - 1].uid) return "the clients of a version are out of order";
  return nullptr;
}

template <class Record>
StoreResult<void> Check(const Record& record) {
  const char* why = WhyNot(record);
  if (why == nullptr) return {};
  return Refuse(StoreErrorKind::kInvalid, std::string(why) + "; nothing was written");
}

// The record, if all of it was there and it keeps to its bounds.
template <class Record>
std::optional<Record> Accept(const Reader& reader, Record record) {
  if (!reader.Done() || WhyNot(record) != nullptr) return std::nullopt;
  return record;
}

// The layout version, from 1 to `newest`.
std::uint8_t ReadVersionByte(Reader& reader, std::uint8_t newest = kRecordVersion) {
  const std::uint8_t version = reader.U8();
  if (version < 1 || version > newest) reader.Fail();
  return version;
}

void WriteOptionalTime(Writer& writer, const std::optional<Timestamp>& time) {
  writer.Optional(time, [&](Timestamp value) { writer.Time(value); });
}
std::optional<Timestamp> ReadOptionalTime(Reader& reader) {
  return reader.Optional([&] { return reader.Time(); });
}

template <class Id>
Id ReadId(Reader& reader) {
  return Id::FromBytes(reader.Raw(Id::kBytes)).value_or(Id{});
}

void WritePin(Writer& writer, const PinRecord& pin) {
  writer.Block(pin.verifier);
  writer.U32(pin.failures);
  writer.U32(pin.generation);
  writer.Time(pin.retry_after);
}
PinRecord ReadPin(Reader& reader) {
  PinRecord pin;
  pin.verifier = reader.BlockCopy(kVerifierBytesMax);
  pin.failures = reader.U32();
  pin.generation = reader.U32();
  pin.retry_after = reader.Time();
  return pin;
}

void WriteEpoch(Writer& writer, const WrappingEpoch& epoch) {
  writer.U32(epoch.number);
  writer.Block(epoch.hsm_reference);
  writer.Enum8(epoch.state);
}
WrappingEpoch ReadEpoch(Reader& reader) {
  WrappingEpoch epoch;
  epoch.number = reader.U32();
  epoch.hsm_reference = reader.BlockCopy(kHsmReferenceBytesMax);
  epoch.state = reader.Enum8(EpochState::kPending, kLastEpochState);
  return epoch;
}

void WriteDates(Writer& writer, const cmk::Dates& dates) {
  for (const auto& date : {dates.activation, dates.expiry, dates.next_rotation, dates.deletion_scheduled_at,
                           dates.deletion_date, dates.destruction_started_at, dates.destroyed_at})
    WriteOptionalTime(writer, date);
}
cmk::Dates ReadDates(Reader& reader) {
  cmk::Dates dates;
  for (std::optional<Timestamp>* date :
       {&dates.activation, &dates.expiry, &dates.next_rotation, &dates.deletion_scheduled_at, &dates.deletion_date,
        &dates.destruction_started_at, &dates.destroyed_at})
    *date = ReadOptionalTime(reader);
  return dates;
}

void WriteMaterial(Writer& writer, const Material& material) {
  writer.Enum8(material.kind);
  writer.U32(material.epoch);
  writer.Block(material.blob);
  writer.Block(material.public_part);
}
Material ReadMaterial(Reader& reader) {
  Material material;
  material.kind = reader.Enum8(Material::Kind::kNone, Material::Kind::kResident);
  material.epoch = reader.U32();
  material.blob = reader.BlockCopy(kMaterialBytesMax);
  material.public_part = reader.BlockCopy(kMaterialBytesMax);
  return material;
}

void WriteVersion(Writer& writer, const KeyVersion& version) {
  writer.U32(version.number.value);
  writer.Enum8(version.state);
  writer.Time(version.created);
  WriteOptionalTime(writer, version.retired_at);
  WriteMaterial(writer, version.material);
  writer.U64(version.uses);
  writer.U64(version.bytes);
  WriteOptionalTime(writer, version.last_used);
  WriteOptionalTime(writer, version.protects_until);
  WriteOptionalTime(writer, version.expires);
  writer.Block(version.fingerprint);
  writer.Bool(version.exposed);
}
KeyVersion ReadVersion(Reader& reader, std::uint8_t layout) {
  KeyVersion version;
  version.number = {reader.U32()};
  version.state = reader.Enum8(cmk::VersionState::kPendingImport, cmk::VersionState::kDestroyed);
  version.created = reader.Time();
  version.retired_at = ReadOptionalTime(reader);
  version.material = ReadMaterial(reader);
  version.uses = reader.U64();
  if (layout == 1) return version;
  version.bytes = reader.U64();
  version.last_used = ReadOptionalTime(reader);
  version.protects_until = ReadOptionalTime(reader);
  version.expires = ReadOptionalTime(reader);
  version.fingerprint = reader.BlockCopy(kFingerprintBytesMax);
  version.exposed = reader.Bool();
  return version;
}

void WriteImport(Writer& writer, const cmk::ImportSlot& slot) {
  writer.Raw(slot.id.view());
  writer.Time(slot.expires);
  writer.U8(slot.algorithm);
  WriteMaterial(writer, slot.material);
}
cmk::ImportSlot ReadImport(Reader& reader) {
  cmk::ImportSlot slot;
  slot.id = ReadId<decltype(slot.id)>(reader);
  slot.expires = reader.Time();
  slot.algorithm = reader.U8();
  slot.material = ReadMaterial(reader);
  return slot;
}

// What version 2 has after version 1.
void WriteMore(Writer& writer, const Cmk& cmk) {
  writer.Optional(cmk.dates.observed_when_scheduled, [&](Duration observed) { writer.Span(observed); });
  WriteOptionalTime(writer, cmk.dates.warned_at);
  writer.U32(static_cast<std::uint32_t>(cmk.aliases.size()));
  for (const std::string& alias : cmk.aliases) writer.Text(alias);
  writer.U32(static_cast<std::uint32_t>(cmk.tags.size()));
  for (const auto& [name, value] : cmk.tags) {
    writer.Text(name);
    writer.Text(value);
  }
  writer.U64(cmk.usage_limit);
  writer.Bool(cmk.processes_compromised);
  writer.U32(cmk.generation);
  writer.Optional(cmk.predecessor, [&](const cmk::CmkId& id) { writer.Raw(id.view()); });
  writer.U32(static_cast<std::uint32_t>(cmk.imports.size()));
  for (const cmk::ImportSlot& slot : cmk.imports) WriteImport(writer, slot);
}

// What version 3 has after version 2.
void WriteLater(Writer& writer, const Cmk& cmk) {
  WriteOptionalTime(writer, cmk.dates.announced_at);
  WriteOptionalTime(writer, cmk.dates.announced_until);
  writer.Span(cmk.dates.announced_window);
  writer.Optional(cmk.owner, [&](std::uint32_t uid) { writer.U32(uid); });
  writer.U32(static_cast<std::uint32_t>(cmk.consumers.size()));
  for (const std::string& consumer : cmk.consumers) writer.Text(consumer);
}
void ReadLater(Reader& reader, Cmk& cmk) {
  cmk.dates.announced_at = ReadOptionalTime(reader);
  cmk.dates.announced_until = ReadOptionalTime(reader);
  cmk.dates.announced_window = reader.Span();
  cmk.owner = reader.Optional([&] { return reader.U32(); });
  const std::size_t consumers = reader.Count(kConsumersMax);
  for (std::size_t i = 0; i < consumers && reader.ok(); ++i) cmk.consumers.push_back(reader.Text(kConsumerBytesMax));
}

void ReadMore(Reader& reader, Cmk& cmk) {
  cmk.dates.observed_when_scheduled = reader.Optional([&] { return reader.Span(); });
  cmk.dates.warned_at = ReadOptionalTime(reader);
  const std::size_t aliases = reader.Count(kAliasesMax);
  for (std::size_t i = 0; i < aliases && reader.ok(); ++i) cmk.aliases.push_back(reader.Text(kNameBytesMax));
  const std::size_t tags = reader.Count(kTagsMax);
  for (std::size_t i = 0; i < tags && reader.ok(); ++i) {
    std::string name = reader.Text(kTagNameBytesMax);
    cmk.tags.emplace_back(std::move(name), reader.Text(kTagValueBytesMax));
  }
  cmk.usage_limit = reader.U64();
  cmk.processes_compromised = reader.Bool();
  cmk.generation = reader.U32();
  cmk.predecessor = reader.Optional([&] { return ReadId<cmk::CmkId>(reader); });
  const std::size_t imports = reader.Count(kImportSlotsMax);
  for (std::size_t i = 0; i < imports && reader.ok(); ++i) cmk.imports.push_back(ReadImport(reader));
}

}  // namespace

StoreResult<void> CheckRecord(const TokenRecord& token) { return Check(token); }
StoreResult<void> CheckRecord(const ObjectRecord& object) { return Check(object); }
StoreResult<void> CheckRecord(const Cmk& cmk) { return Check(cmk); }
StoreResult<void> CheckRecord(const RequestRecord& request) { return Check(request); }
StoreResult<void> CheckRecord(const std::vector<cmk::ClientUse>& clients) { return Check(clients); }

Bytes Encode(const MetaRecord& record) {
  Writer writer;
  writer.U8(kMetaVersion);
  writer.Time(record.meta.created);
  writer.U64(record.meta.generation);
  writer.U64(record.lmdb_transaction);
  writer.Time(record.meta.time.highest);
  writer.U64(record.meta.next_object_serial);
  writer.U64(record.meta.next_slot);
  writer.U64(record.total.entries);
  writer.Raw(record.total.fingerprint);
  const cmk::TimeRecord& time = record.meta.time;
  writer.Time(time.wall);
  writer.Span(time.boot_time);
  writer.Raw(time.boot);
  writer.Span(time.observed);
  writer.Bool(time.jumped);
  writer.Span(time.jumped_at);
  writer.Time(time.suspect_since);
  return std::move(writer).Take();
}

namespace {

void ReadTime(Reader& reader, cmk::TimeRecord& time) {
  time.wall = reader.Time();
  time.boot_time = reader.Span();
  const ByteView boot = reader.Raw(time.boot.size());
  if (reader.ok()) std::memcpy(time.boot.data(), boot.data(), boot.size());
  time.observed = reader.Span();
  time.jumped = reader.Bool();
  time.jumped_at = reader.Span();
  time.suspect_since = reader.Time();
}

}  // namespace

std::optional<MetaRecord> DecodeMeta(const StoreId& id, ByteView bytes) {
  Reader reader(bytes);
  MetaRecord record;
  const std::uint8_t layout = ReadVersionByte(reader, kMetaVersion);
  record.meta.id = id;
  record.meta.schema = kStoreSchema;
  record.meta.created = reader.Time();
  record.meta.generation = reader.U64();
  record.lmdb_transaction = reader.U64();
  record.meta.time.highest = reader.Time();
  record.meta.next_object_serial = reader.U64();
  record.meta.next_slot = reader.U64();
  record.total.entries = reader.U64();
  const ByteView fingerprint = reader.Raw(record.total.fingerprint.size());
  if (!reader.ok()) return std::nullopt;
  std::memcpy(record.total.fingerprint.data(), fingerprint.data(), fingerprint.size());
  if (layout >= 2) ReadTime(reader, record.meta.time);
  if (!reader.Done()) return std::nullopt;
  return record;
}

Bytes Encode(const TokenRecord& token) {
  Writer writer;
  writer.U8(kTokenVersion);
  writer.U64(token.slot);
  writer.Text(token.label);
  writer.Text(token.serial);
  writer.Enum8(token.profile);
  writer.Enum8(token.bounds);
  writer.Text(token.hsm);
  WritePin(writer, token.so_pin);
  WritePin(writer, token.user_pin);
  writer.U32(token.flags);
  writer.Time(token.created);
  writer.U32(static_cast<std::uint32_t>(token.epochs.size()));
  for (const WrappingEpoch& epoch : token.epochs) WriteEpoch(writer, epoch);
  writer.U32(token.next_epoch);
  writer.Optional(token.deletion_window, [&](Duration window) { writer.Span(window); });
  writer.Optional(token.epoch_due, [&](Timestamp due) { writer.Time(due); });
  writer.Optional(token.version_quiet, [&](Duration quiet) { writer.Span(quiet); });
  writer.Optional(token.disable_first, [&](bool first) { writer.Bool(first); });
  writer.U32(static_cast<std::uint32_t>(token.mirrors.size()));
  for (const TokenMirror& mirror : token.mirrors) {
    writer.Text(mirror.hsm);
    writer.Block(mirror.fingerprint);
  }
  return std::move(writer).Take();
}

std::optional<TokenRecord> DecodeToken(const cmk::TokenId& id, ByteView bytes) {
  Reader reader(bytes);
  TokenRecord token;
  const std::uint8_t layout = ReadVersionByte(reader, kTokenVersion);
  token.id = id;
  token.slot = reader.U64();
  token.label = reader.Text(TokenRecord::kLabelBytesMax);
  token.serial = reader.Text(TokenRecord::kSerialBytesMax);
  token.profile = reader.Enum8(cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral);
  token.bounds = reader.Enum8(cmk::BoundsProfile::kDefault, cmk::BoundsProfile::kAws);
  token.hsm = reader.Text(kHsmNameBytesMax);
  token.so_pin = ReadPin(reader);
  token.user_pin = ReadPin(reader);
  token.flags = reader.U32();
  token.created = reader.Time();
  const std::size_t epochs = reader.Count(kEpochsMax);
  for (std::size_t i = 0; i < epochs && reader.ok(); ++i) token.epochs.push_back(ReadEpoch(reader));
  token.next_epoch = reader.U32();
  token.deletion_window = reader.Optional([&] { return reader.Span(); });
  if (layout >= 2) token.epoch_due = reader.Optional([&] { return reader.Time(); });
  if (layout >= 3) token.version_quiet = reader.Optional([&] { return reader.Span(); });
  if (layout >= 3) token.disable_first = reader.Optional([&] { return reader.Bool(); });
  const std::size_t mirrors = layout >= 4 ? reader.Count(kMirrorsMax) : 0;
  for (std::size_t i = 0; i < mirrors && reader.ok(); ++i)
    token.mirrors.push_back({reader.Text(kHsmNameBytesMax), reader.BlockCopy(kFingerprintBytesMax)});
  return Accept(reader, std::move(token));
}

Bytes Encode(const ObjectRecord& object) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.Raw(object.token.view());
  writer.Optional(object.cmk, [&](const cmk::CmkId& id) { writer.Raw(id.view()); });
  writer.Optional(object.version, [&](cmk::KeyVersionNumber number) { writer.U32(number.value); });
  writer.Bool(object.is_private);
  writer.U32(static_cast<std::uint32_t>(object.attributes.size()));
  for (const Attribute& attribute : object.attributes) {
    writer.U64(attribute.type);
    writer.Block(attribute.value);
  }
  writer.U32(static_cast<std::uint32_t>(object.terms.size()));
  for (const Term& term : object.terms) {
    writer.U32(term.kind);
    writer.Block(term.value);
  }
  return std::move(writer).Take();
}

std::optional<ObjectRecord> DecodeObject(cmk::ObjectSerial serial, ByteView bytes) {
  Reader reader(bytes);
  ObjectRecord object;
  ReadVersionByte(reader);
  object.serial = serial;
  object.token = ReadId<cmk::TokenId>(reader);
  object.cmk = reader.Optional([&] { return ReadId<cmk::CmkId>(reader); });
  object.version = reader.Optional([&] { return cmk::KeyVersionNumber{reader.U32()}; });
  object.is_private = reader.Bool();
  const std::size_t attributes = reader.Count(kAttributesMax);
  for (std::size_t i = 0; i < attributes && reader.ok(); ++i) {
    const std::uint64_t type = reader.U64();
    object.attributes.push_back({type, reader.BlockCopy(kAttributeBytesMax)});
  }
  const std::size_t terms = reader.Count(kTermsMax);
  for (std::size_t i = 0; i < terms && reader.ok(); ++i) {
    const std::uint32_t kind = reader.U32();
    object.terms.push_back({kind, reader.BlockCopy(kTermBytesMax)});
  }
  return Accept(reader, std::move(object));
}

Bytes EncodeCount(std::uint64_t count) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.U64(count);
  return std::move(writer).Take();
}

std::optional<std::uint64_t> DecodeCount(ByteView bytes) {
  Reader reader(bytes);
  ReadVersionByte(reader);
  const std::uint64_t count = reader.U64();
  return reader.Done() ? std::optional(count) : std::nullopt;
}

Bytes Encode(const Cmk& cmk) {
  Writer writer;
  writer.U8(kCmkVersion);
  writer.Raw(cmk.token.view());
  writer.Text(cmk.name);
  writer.Text(cmk.description);
  writer.Enum8(cmk.origin);
  writer.Text(cmk.spec);
  writer.Enum8(cmk.state);
  writer.Enum8(cmk.key_class);
  writer.Enum8(cmk.profile);
  writer.Bool(cmk.rotatable);
  writer.Bool(cmk.deletion_protected);
  writer.Time(cmk.created);
  WriteDates(writer, cmk.dates);
  writer.Optional(cmk.state_before_deletion, [&](cmk::CmkState state) { writer.Enum8(state); });
  writer.Span(cmk.rotation_period);
  writer.U32(cmk.current.value);
  writer.U32(static_cast<std::uint32_t>(cmk.versions.size()));
  for (const KeyVersion& version : cmk.versions) WriteVersion(writer, version);
  writer.Block(cmk.request_tag);
  WriteMore(writer, cmk);
  WriteLater(writer, cmk);
  return std::move(writer).Take();
}

std::optional<Cmk> DecodeCmk(const cmk::CmkId& id, ByteView bytes) {
  using cmk::CmkState;
  Reader reader(bytes);
  Cmk cmk;
  const std::uint8_t layout = ReadVersionByte(reader, kCmkVersion);
  cmk.id = id;
  cmk.token = ReadId<cmk::TokenId>(reader);
  cmk.name = reader.Text(kNameBytesMax);
  cmk.description = reader.Text(kDescriptionBytesMax);
  cmk.origin = reader.Enum8(cmk::Origin::kLocal, cmk::Origin::kAdopted);
  cmk.spec = reader.Text(kSpecBytesMax);
  cmk.state = reader.Enum8(CmkState::kPreActive, CmkState::kDestroyed);
  cmk.key_class = reader.Enum8(cmk::KeyClass::kCustomer, cmk::KeyClass::kDefault);
  cmk.profile = reader.Enum8(cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral);
  cmk.rotatable = reader.Bool();
  cmk.deletion_protected = reader.Bool();
  cmk.created = reader.Time();
  cmk.dates = ReadDates(reader);
  cmk.state_before_deletion = reader.Optional([&] { return reader.Enum8(CmkState::kPreActive, CmkState::kDestroyed); });
  cmk.rotation_period = reader.Span();
  cmk.current = {reader.U32()};
  const std::size_t versions = reader.Count(kVersionsMax);
  for (std::size_t i = 0; i < versions && reader.ok(); ++i) cmk.versions.push_back(ReadVersion(reader, layout));
  cmk.request_tag = reader.BlockCopy(kRequestTagBytesMax);
  if (layout >= 2) ReadMore(reader, cmk);
  if (layout >= 3) ReadLater(reader, cmk);
  return Accept(reader, std::move(cmk));
}

Bytes Encode(const std::vector<cmk::ClientUse>& clients) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.U32(static_cast<std::uint32_t>(clients.size()));
  for (const cmk::ClientUse& client : clients) {
    writer.U32(client.uid);
    writer.U64(client.protects);
    writer.U64(client.processes);
    writer.U64(client.bytes);
    writer.Time(client.first);
    writer.Time(client.last);
  }
  return std::move(writer).Take();
}

std::optional<std::vector<cmk::ClientUse>> DecodeClients(ByteView bytes) {
  Reader reader(bytes);
  ReadVersionByte(reader);
  std::vector<cmk::ClientUse> clients(reader.Count(kClientsMax));
  for (cmk::ClientUse& client : clients) {
    client.uid = reader.U32();
    client.protects = reader.U64();
    client.processes = reader.U64();
    client.bytes = reader.U64();
    client.first = reader.Time();
    client.last = reader.Time();
  }
  return Accept(reader, std::move(clients));
}

Bytes Encode(const RequestRecord& request) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.Block(request.tag);
  writer.Block(request.body_digest);
  writer.U32(static_cast<std::uint32_t>(request.objects.size()));
  for (const cmk::ObjectSerial serial : request.objects) writer.U64(serial.value);
  writer.Time(request.expires);
  return std::move(writer).Take();
}

std::optional<RequestRecord> DecodeRequest(ByteView bytes) {
  Reader reader(bytes);
  RequestRecord request;
  ReadVersionByte(reader);
  request.tag = reader.BlockCopy(RequestRecord::kTagBytesMax);
  request.body_digest = reader.BlockCopy(kRequestTagBytesMax);
  const std::size_t objects = reader.Count(kRequestObjectsMax);
  for (std::size_t i = 0; i < objects && reader.ok(); ++i) request.objects.push_back({reader.U64()});
  request.expires = reader.Time();
  return Accept(reader, std::move(request));
}

}  // namespace cmkd::store
