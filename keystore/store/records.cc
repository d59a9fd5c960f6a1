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
  if (token.epochs.size() > kEpochsMax) return "a token has too many wrapping epochs";
  std::uint32_t before = 0;
  for (const WrappingEpoch& epoch : token.epochs) {
    if (epoch.number <= before) return "wrapping epochs are out of order";
    if (!Within(epoch.state, EpochState::kPending, EpochState::kDestroyed))
      return "a wrapping epoch has no known state";
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
  return nullptr;
}

const char* WhyNot(const Cmk& cmk) {
  if (cmk.name.size() > kNameBytesMax) return "a key name is too long";
  if (cmk.description.size() > kDescriptionBytesMax) return "a key description is too long";
  if (cmk.spec.size() > kSpecBytesMax) return "a key spec is too long";
  if (cmk.request_tag.size() > kRequestTagBytesMax) return "a request tag is too long";
  if (cmk.versions.size() > kVersionsMax) return "a key has too many versions";
  if (!Within(cmk.state, cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed) ||
      !Within(cmk.state_before_deletion.value_or(cmk.state), cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed) ||
      !Within(cmk.origin, cmk::Origin::kLocal, cmk::Origin::kDerived) ||
      !Within(cmk.key_class, cmk::KeyClass::kCustomer, cmk::KeyClass::kDefault) ||
      !Within(cmk.profile, cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral))
    return "a key has no known state, origin, class or profile";
  std::uint32_t before = 0;
  std::size_t bytes = 0;
  for (const KeyVersion& version : cmk.versions) {
    if (const char* why = WhyNot(version)) return why;
    if (version.number.value <= before) return "versions are out of order";
    before = version.number.value;
    bytes += version.material.blob.size() + version.material.public_part.size() + 64;
  }
  if (cmk.current.value != 0 && cmk.CurrentVersion() == nullptr) return "the current version is not there";
  return bytes > kRecordBytesMax - 65'536 ? "a key is too large" : nullptr;
}

const char* WhyNot(const RequestRecord& request) {
  if (request.tag.empty() || request.tag.size() > RequestRecord::kTagBytesMax)
    return "a request tag has a wrong length";
  if (request.body_digest.size() > kRequestTagBytesMax) return "a request digest is too long";
  if (request.objects.size() > kRequestObjectsMax) return "a request made too many objects";
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

void ReadVersionByte(Reader& reader) {
  if (reader.U8() != kRecordVersion) reader.Fail();
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
  epoch.state = reader.Enum8(EpochState::kPending, EpochState::kDestroyed);
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

void WriteVersion(Writer& writer, const KeyVersion& version) {
  writer.U32(version.number.value);
  writer.Enum8(version.state);
  writer.Time(version.created);
  WriteOptionalTime(writer, version.retired_at);
  writer.Enum8(version.material.kind);
  writer.U32(version.material.epoch);
  writer.Block(version.material.blob);
  writer.Block(version.material.public_part);
  writer.U64(version.uses);
}
KeyVersion ReadVersion(Reader& reader) {
  KeyVersion version;
  version.number = {reader.U32()};
  version.state = reader.Enum8(cmk::VersionState::kPendingImport, cmk::VersionState::kDestroyed);
  version.created = reader.Time();
  version.retired_at = ReadOptionalTime(reader);
  version.material.kind = reader.Enum8(Material::Kind::kNone, Material::Kind::kResident);
  version.material.epoch = reader.U32();
  version.material.blob = reader.BlockCopy(kMaterialBytesMax);
  version.material.public_part = reader.BlockCopy(kMaterialBytesMax);
  version.uses = reader.U64();
  return version;
}

}  // namespace

StoreResult<void> CheckRecord(const TokenRecord& token) { return Check(token); }
StoreResult<void> CheckRecord(const ObjectRecord& object) { return Check(object); }
StoreResult<void> CheckRecord(const Cmk& cmk) { return Check(cmk); }
StoreResult<void> CheckRecord(const RequestRecord& request) { return Check(request); }

Bytes Encode(const MetaRecord& record) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.Time(record.meta.created);
  writer.U64(record.meta.generation);
  writer.U64(record.lmdb_transaction);
  writer.Time(record.meta.highest_time);
  writer.U64(record.meta.next_object_serial);
  writer.U64(record.meta.next_slot);
  writer.U64(record.entries);
  writer.Raw(record.fingerprint);
  return std::move(writer).Take();
}

std::optional<MetaRecord> DecodeMeta(const StoreId& id, ByteView bytes) {
  Reader reader(bytes);
  MetaRecord record;
  ReadVersionByte(reader);
  record.meta.id = id;
  record.meta.schema = kStoreSchema;
  record.meta.created = reader.Time();
  record.meta.generation = reader.U64();
  record.lmdb_transaction = reader.U64();
  record.meta.highest_time = reader.Time();
  record.meta.next_object_serial = reader.U64();
  record.meta.next_slot = reader.U64();
  record.entries = reader.U64();
  const ByteView fingerprint = reader.Raw(record.fingerprint.size());
  if (!reader.Done()) return std::nullopt;
  std::memcpy(record.fingerprint.data(), fingerprint.data(), fingerprint.size());
  return record;
}

Bytes Encode(const TokenRecord& token) {
  Writer writer;
  writer.U8(kRecordVersion);
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
  return std::move(writer).Take();
}

std::optional<TokenRecord> DecodeToken(const cmk::TokenId& id, ByteView bytes) {
  Reader reader(bytes);
  TokenRecord token;
  ReadVersionByte(reader);
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
  writer.U8(kRecordVersion);
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
  return std::move(writer).Take();
}

std::optional<Cmk> DecodeCmk(const cmk::CmkId& id, ByteView bytes) {
  using cmk::CmkState;
  Reader reader(bytes);
  Cmk cmk;
  ReadVersionByte(reader);
  cmk.id = id;
  cmk.token = ReadId<cmk::TokenId>(reader);
  cmk.name = reader.Text(kNameBytesMax);
  cmk.description = reader.Text(kDescriptionBytesMax);
  cmk.origin = reader.Enum8(cmk::Origin::kLocal, cmk::Origin::kDerived);
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
  for (std::size_t i = 0; i < versions && reader.ok(); ++i) cmk.versions.push_back(ReadVersion(reader));
  cmk.request_tag = reader.BlockCopy(kRequestTagBytesMax);
  return Accept(reader, std::move(cmk));
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
