// Records by generation, and objects to and from bytes.
#include "daemon/custody/records.h"

#include <algorithm>

#include "daemon/service/translate.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

namespace {

// More entries than this start over: the cache is bounded, and a store that large is read in pages anyway.
constexpr std::size_t kEntriesMax = 65536;

// What searches ask for by equality and what the store therefore indexes.
constexpr CK_ATTRIBUTE_TYPE kIndexed[] = {CKA_CLASS, CKA_LABEL, CKA_ID, CKA_UNIQUE_ID, CKA_SUBJECT};

bool IsIndexed(CK_ATTRIBUTE_TYPE type) {
  return std::find(std::begin(kIndexed), std::end(kIndexed), type) != std::end(kIndexed);
}

store::Term MakeTerm(CK_ATTRIBUTE_TYPE type, ByteView value) {
  return {static_cast<std::uint32_t>(type), ToBytes(value)};
}

}  // namespace

template <class Key, class Value, class Load>
Fallible<std::shared_ptr<const Value>> Records::Get(Cache<Key, Value>& cache, const Key& key, Load load) const {
  // The generation is read before the record: a record read later can only be newer than the number it is kept under.
  const std::uint64_t generation = store_.Generation();
  // Calls come in rows about the same key and token; what this thread saw last needs no lock.
  struct Seen {
    std::uint64_t records = 0;
    std::uint64_t generation = 0;
    Key key{};
    std::shared_ptr<const Value> value;
  };
  thread_local Seen seen;
  if (seen.records == number_ && seen.generation == generation && seen.key == key) return seen.value;
  ASSIGN_OR_RETURN(std::shared_ptr<const Value> value, GetShared(cache, generation, key, load));
  seen = {number_, generation, key, value};
  return value;
}

template <class Key, class Value, class Load>
Fallible<std::shared_ptr<const Value>> Records::GetShared(Cache<Key, Value>& cache, std::uint64_t generation,
                                                          const Key& key, Load load) const {
  {
    const std::lock_guard lock(cache.mutex);
    if (cache.generation != generation) {
      cache.entries.clear();
      cache.generation = generation;
    }
    const auto it = cache.entries.find(key);
    if (it != cache.entries.end()) return it->second;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Value> value, load());
  const std::lock_guard lock(cache.mutex);
  if (cache.generation == generation) {
    if (cache.entries.size() >= kEntriesMax) cache.entries.clear();
    cache.entries[key] = value;
  }
  return value;
}

Fallible<ObjectPtr> Records::GetObject(CK_OBJECT_HANDLE handle) const {
  return Get(objects_, handle, [&]() -> Fallible<ObjectPtr> {
    STORE_OR_RETURN(const auto txn, store_.BeginRead());
    STORE_OR_RETURN(auto record, txn->FindObject({handle}));
    if (!record) return Fail(CKR_OBJECT_HANDLE_INVALID, "no object has this handle", spec::kNotFound);
    return DecodeObject(std::move(*record));
  });
}

Fallible<Records::CmkPtr> Records::GetCmk(const cmk::CmkId& id) const {
  return Get(cmks_, id, [&]() -> Fallible<CmkPtr> {
    STORE_OR_RETURN(const auto txn, store_.BeginRead());
    STORE_OR_RETURN(auto record, txn->FindCmk(id));
    if (!record) return Fail(CKR_OBJECT_HANDLE_INVALID, "no CMK has this id", spec::kNotFound);
    return std::make_shared<const cmk::Cmk>(std::move(*record));
  });
}

Fallible<std::shared_ptr<const Records::Tokens>> Records::ReadTokens() const {
  return Get(tokens_, 0, [&]() -> Fallible<std::shared_ptr<const Tokens>> {
    STORE_OR_RETURN(const auto txn, store_.BeginRead());
    STORE_OR_RETURN(auto records, txn->ListTokens());
    STORE_OR_RETURN(const auto meta, txn->ReadMeta());
    auto tokens = std::make_shared<Tokens>();
    for (store::TokenRecord& record : records) {
      tokens->by_slot.push_back(std::make_shared<const store::TokenRecord>(std::move(record)));
    }
    std::sort(tokens->by_slot.begin(), tokens->by_slot.end(),
              [](const auto& a, const auto& b) { return a->slot < b->slot; });
    tokens->free_slot = meta.next_slot;
    return std::shared_ptr<const Tokens>(std::move(tokens));
  });
}

Fallible<Records::TokenPtr> Records::GetTokenBySlot(CK_SLOT_ID slot) const {
  ASSIGN_OR_RETURN(const auto tokens, ReadTokens());
  for (const TokenPtr& token : tokens->by_slot) {
    if (token->slot == slot) return token;
  }
  return Fail(CKR_SLOT_ID_INVALID, "no token has this slot");
}

Fallible<Records::TokenPtr> Records::GetToken(const cmk::TokenId& id) const {
  ASSIGN_OR_RETURN(const auto tokens, ReadTokens());
  for (const TokenPtr& token : tokens->by_slot) {
    if (token->id == id) return token;
  }
  return Fail(CKR_TOKEN_NOT_PRESENT, "the token is gone");
}

Fallible<std::vector<Records::TokenPtr>> Records::ListTokens() const {
  ASSIGN_OR_RETURN(const auto tokens, ReadTokens());
  return tokens->by_slot;
}

Fallible<CK_SLOT_ID> Records::FreeSlot() const {
  ASSIGN_OR_RETURN(const auto tokens, ReadTokens());
  return tokens->free_slot;
}

ObjectPtr DecodeObject(store::ObjectRecord record) {
  auto object = std::make_shared<Object>();
  object->handle = record.serial.value;
  object->token = record.token;
  object->cmk = record.cmk;
  object->version = record.version;
  for (const store::Attribute& attribute : record.attributes) object->attributes.Set(attribute.type, attribute.value);
  // A public key object has no CMK of its own; its name in the HSM's cache is its token and handle.
  std::copy_n(record.token.bytes.begin(), 8, object->name.begin());
  std::memcpy(object->name.data() + 8, &record.serial.value, 8);
  object->Describe();
  return object;
}

store::ObjectRecord EncodeObject(const Object& object) {
  store::ObjectRecord record;
  record.serial = {object.handle};
  record.token = object.token;
  record.cmk = object.cmk;
  record.version = object.version;
  record.is_private = object.is_private();
  for (const spec::Attribute& attribute : object.attributes) {
    record.attributes.push_back({attribute.type, ToBytes(attribute.value)});
    if (IsIndexed(attribute.type)) record.terms.push_back(MakeTerm(attribute.type, attribute.value));
  }
  return record;
}

std::vector<store::Term> TermsOf(std::span<const CK_ATTRIBUTE> attributes) {
  std::vector<store::Term> terms;
  for (const CK_ATTRIBUTE& attribute : attributes) {
    if (IsIndexed(attribute.type)) terms.push_back(MakeTerm(attribute.type, spec::ValueOf(attribute)));
  }
  return terms;
}

Bytes PackObject(const Object& object) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.U8(1);
  w.Raw(object.token.view());
  w.U64(object.session);
  w.U64(object.handle);
  w.Raw(object.name);
  w.U8(static_cast<std::uint8_t>(object.material.kind));
  w.U32(object.material.epoch);
  w.Blob(object.material.blob);
  w.Blob(object.material.public_part);
  w.U32(static_cast<std::uint32_t>(object.attributes.size()));
  for (const spec::Attribute& attribute : object.attributes) {
    w.U64(attribute.type);
    w.Blob(attribute.value);
  }
  return ToBytes(buffer.view());
}

std::optional<Object> UnpackObject(ByteView bytes) {
  wire::Reader r(bytes);
  Object object;
  if (r.U8() != 1) return std::nullopt;
  const auto token = cmk::TokenId::FromBytes(r.Raw(16));
  object.session = r.U64();
  object.handle = r.U64();
  const ByteView name = r.Raw(object.name.size());
  const std::uint8_t kind = r.U8();
  object.material.epoch = r.U32();
  object.material.blob = ToBytes(r.Blob());
  object.material.public_part = ToBytes(r.Blob());
  const std::uint32_t count = r.U32();
  for (std::uint32_t i = 0; i < count && r.ok(); ++i) {
    const CK_ATTRIBUTE_TYPE type = r.U64();
    object.attributes.Set(type, r.Blob());
  }
  if (!r.AtEnd() || !token || kind > static_cast<std::uint8_t>(cmk::Material::Kind::kResident)) return std::nullopt;
  object.token = *token;
  std::copy(name.begin(), name.end(), object.name.begin());
  object.material.kind = static_cast<cmk::Material::Kind>(kind);
  object.Describe();
  return object;
}

}  // namespace cmkd::daemon
