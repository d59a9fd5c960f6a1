// Arguments, look-ups and descriptions of the administrative verbs.
#include "daemon/admin/verbs.h"

#include <nlohmann/json.hpp>
#include <time.h>

#include "daemon/service/access.h"
#include "daemon/service/lifecycle_attributes.h"
#include "daemon/service/translate.h"
#include "keystore/cmk/brown_out.h"

namespace cmkd::daemon {

Fallible<std::string> TextArgument(const Json& arguments, const char* name, const char* fallback) {
  const auto it = arguments.find(name);
  if (it == arguments.end() || it->is_null()) {
    if (fallback != nullptr) return std::string(fallback);
    return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " is missing");
  }
  if (!it->is_string()) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " must be a text");
  return it->get<std::string>();
}

Fallible<std::optional<std::int64_t>> NumberArgument(const Json& arguments, const char* name) {
  const auto it = arguments.find(name);
  if (it == arguments.end() || it->is_null()) return std::optional<std::int64_t>{};
  if (!it->is_number_integer()) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " must be a whole number");
  return std::optional<std::int64_t>{it->get<std::int64_t>()};
}

Fallible<std::optional<std::int64_t>> BoundedArgument(const Json& arguments, const char* name, std::int64_t least,
                                                      std::int64_t most) {
  ASSIGN_OR_RETURN(const auto number, NumberArgument(arguments, name));
  if (number && (*number < least || *number > most)) {
    return Fail(CKR_ARGUMENTS_BAD,
                std::string(name) + " must be from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

Fallible<bool> FlagArgument(const Json& arguments, const char* name, bool fallback) {
  const auto it = arguments.find(name);
  if (it == arguments.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " must be true or false");
  return it->get<bool>();
}

// ---- Look-ups

Fallible<Records::TokenPtr> FindToken(const AdminCall& call, const std::string& name) {
  ASSIGN_OR_RETURN(const auto tokens, call.daemon().records.ListTokens());
  Records::TokenPtr found;
  for (const auto& token : tokens) {
    if (!name.empty() && token->label != name && token->id.ToHex() != name) continue;
    if (found != nullptr) return Fail(CKR_ARGUMENTS_BAD, "several tokens fit: name one by its id");
    found = token;
  }
  if (found == nullptr) return Fail(CKR_SLOT_ID_INVALID, "there is no such token", spec::kNotFound);
  call.invocation.audit.token_id = found->id.bytes;
  return found;
}

namespace {

Fallible<cmk::CmkId> FindKeyByName(const AdminCall& call, const std::string& name) {
  std::vector<cmk::CmkId> found;
  ASSIGN_OR_RETURN(const auto tokens, call.daemon().records.ListTokens());
  STORE_OR_RETURN(const auto read, call.daemon().store.BeginRead());
  const auto search = [&](const std::string& token_label, const std::string& wanted) -> Status {
    for (const auto& token : tokens) {
      if (!token_label.empty() && token->label != token_label && token->id.ToHex() != token_label) continue;
      STORE_OR_RETURN(const auto ids, read->FindCmksByName(token->id, wanted));
      found.insert(found.end(), ids.begin(), ids.end());
    }
    return {};
  };
  RETURN_IF_ERROR(search("", name));
  // A slash may be part of a name; only when no key is called so does it part token and name.
  if (const auto slash = name.find('/'); found.empty() && slash != std::string::npos) {
    RETURN_IF_ERROR(search(name.substr(0, slash), name.substr(slash + 1)));
  }
  if (found.empty()) return Fail(CKR_OBJECT_HANDLE_INVALID, "there is no such key", spec::kNotFound);
  if (found.size() > 1) return Fail(CKR_ARGUMENTS_BAD, "several keys have this name: use the id");
  return found.front();
}

}  // namespace

Fallible<cmk::CmkId> FindKey(const AdminCall& call, const char* argument) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, argument));
  auto id = cmk::CmkId::FromHex(name);
  if (!id) {
    ASSIGN_OR_RETURN(id, FindKeyByName(call, name));
  }
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(*id));
  call.invocation.audit.cmk_id = id->bytes;
  call.invocation.audit.token_id = key->token.bytes;
  return *id;
}

bool IsOwner(const AdminCall& call, const cmk::Cmk& key) {
  const std::uint32_t uid = call.invocation.application->peer().uid;
  return key.key_class != cmk::KeyClass::kService || uid == 0 || key.owner == uid;
}

Fallible<cmk::CmkId> FindKeyToChange(const AdminCall& call, const char* argument) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call, argument));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(id));
  if (!IsOwner(call, *key)) return Translate(cmk::Refusal::kServiceOwned, Moment::kManage);
  return id;
}

bool IsReservedName(std::string_view name) {
  return name.starts_with("svc/") || name.starts_with("sys/") || name.starts_with("kms-");
}

// ---- Descriptions

bool IsPair(const cmk::Cmk& key) {
  return !key.spec.starts_with("AES") && !key.spec.starts_with("HMAC") && key.spec != "SM4";
}

std::string TimeText(Timestamp time) {
  const time_t seconds = time.seconds;
  tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return {};
  char text[40];
  return {text, ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Json TimeOrNull(std::optional<Timestamp> time) { return time ? Json(TimeText(*time)) : Json(nullptr); }

Json DescribeToken(const Invocation& invocation, const store::TokenRecord& token) {
  std::uint64_t objects = 0;
  std::size_t keys = 0;
  if (const auto read = invocation.daemon.store.BeginRead(); read.ok()) {
    objects = (*read)->CountObjects(token.id).ok() ? *(*read)->CountObjects(token.id) : 0;
    if (const auto all = (*read)->ListCmksOfToken(token.id, {}, store::kNoLimit); all.ok()) keys = all->size();
  }
  return {{"id", token.id.ToHex()},
          {"slot", token.slot},
          {"label", token.label},
          {"serial", token.serial},
          {"profile", token.profile == cmk::TokenProfile::kManaged ? "managed" : "general"},
          {"bounds", cmk::BoundsOf(token.bounds).name},
          {"hsm", token.hsm},
          {"initialized", IsInitialised(token)},
          {"objects", objects},
          {"keys", keys},
          {"deletion_window_days", Custodian::BoundsOf(token).window_default.seconds / Days(1).seconds},
          {"version_quiet_days", Custodian::BoundsOf(token).quiet_default.seconds / Days(1).seconds},
          {"disable_first", Custodian::BoundsOf(token).disable_first}};
}

namespace {

// The object an application uses for the key: its secret or private object.
ObjectPtr ObjectOf(const Invocation& invocation, const cmk::Cmk& key) {
  const auto read = invocation.daemon.store.BeginRead();
  if (!read.ok()) return nullptr;
  const store::Term of_key[] = {store::OfCmk(key.id)};
  const auto serials = (*read)->FindObjects(key.token, of_key);
  if (!serials.ok()) return nullptr;
  for (const cmk::ObjectSerial serial : *serials) {
    auto record = (*read)->FindObject(serial);
    if (!record.ok() || !*record) continue;
    ObjectPtr object = DecodeObject(std::move(**record));
    if (object->has_material() && !object->is_import_key()) return object;
  }
  return nullptr;
}

// What the key is for, in the words of `cmkctl key create --usage`: of a private key the half that is kept secret
// tells.
std::string UsageText(const Object& object) {
  struct Row {
    CK_ATTRIBUTE_TYPE secret;
    CK_ATTRIBUTE_TYPE private_half;
    std::string_view name;
  };
  constexpr Row kRows[] = {{CKA_ENCRYPT, CKA_DECRYPT, "encrypt"},
                           {CKA_SIGN, CKA_SIGN, "sign"},
                           {CKA_WRAP, CKA_UNWRAP, "wrap"},
                           {CKA_DERIVE, CKA_DERIVE, "derive"}};
  std::string text;
  for (const Row& row : kRows) {
    const bool has = object.attributes.Bool(object.object_class == CKO_PRIVATE_KEY ? row.private_half : row.secret);
    if (has) text.append(text.empty() ? "" : ", ").append(row.name);
  }
  return text;
}

Json VersionList(Daemon& daemon, const cmk::Cmk& key) {
  const auto token = daemon.records.GetToken(key.token);
  const auto backend = token.ok() ? daemon.backends.Of(**token) : Fallible<Backend*>(Failure{token.error()});
  const bool software = backend.ok() && (*backend)->software();
  Json versions = Json::array();
  for (const cmk::KeyVersion& version : key.versions) {
    const UseCounter::Exact exact = daemon.counter.Count(key.id, version);
    versions.push_back({{"number", version.number.value},
                        {"state", cmk::Name(version.state)},
                        {"created", TimeText(version.created)},
                        {"retired", TimeOrNull(version.retired_at)},
                        {"uses", exact.uses},
                        {"bytes", exact.bytes},
                        {"last_used", TimeOrNull(exact.last_used)},
                        {"protects_until", TimeOrNull(version.protects_until)},
                        {"expires", TimeOrNull(version.expires)},
                        {"exposed", version.exposed},
                        {"protection", software ? "software" : "hsm"}});
  }
  return versions;
}

}  // namespace

std::string_view ClassText(cmk::KeyClass key_class) {
  switch (key_class) {
    case cmk::KeyClass::kCustomer: return "customer";
    case cmk::KeyClass::kService: return "service";
    case cmk::KeyClass::kDefault: return "default";
  }
  return "";
}

Json DescribeKey(const Invocation& invocation, const cmk::Cmk& key, bool whole) {
  const auto token = invocation.daemon.records.GetToken(key.token);
  const ObjectPtr object = ObjectOf(invocation, key);
  Json described = {{"id", key.id.ToHex()},
                    {"token", token.ok() ? (*token)->label : ""},
                    {"name", key.name},
                    {"spec", key.spec},
                    {"usage", object == nullptr ? "" : UsageText(*object)},
                    {"state", ShownState(invocation.daemon, key)},
                    {"current_version", key.current.value},
                    {"versions", key.versions.size()},
                    {"created", TimeText(key.created)},
                    {"next_rotation", TimeOrNull(key.dates.next_rotation)},
                    {"deletion_date", TimeOrNull(key.dates.deletion_date)},
                    {"announced_until", TimeOrNull(key.dates.announced_until)},
                    {"class", ClassText(key.key_class)},
                    {"rotatable", key.rotatable},
                    {"origin", OriginText(key.origin)},
                    {"handle", object == nullptr ? CK_INVALID_HANDLE : object->handle}};
  if (!whole) return described;
  described["description"] = key.description;
  described["deletion_protected"] = key.deletion_protected;
  described["rotation_days"] = key.rotation_period.seconds / Days(1).seconds;
  described["activation"] = TimeOrNull(key.dates.activation);
  described["expiry"] = TimeOrNull(key.dates.expiry);
  described["destroyed"] = TimeOrNull(key.dates.destroyed_at);
  described["usage_limit"] = key.usage_limit;
  described["processes_compromised"] = key.processes_compromised;
  described["predecessor"] = key.predecessor ? Json(key.predecessor->ToHex()) : Json(nullptr);
  const auto brown_out = cmk::NextBrownOut(key.dates);
  described["next_brown_out"] = brown_out ? Json(TimeText(brown_out->begins)) : Json(nullptr);
  described["owner"] = key.owner ? Json(*key.owner) : Json(nullptr);
  described["consumers"] = key.consumers;
  described["aliases"] = key.aliases;
  described["tags"] = Json::object();
  for (const auto& [tag, value] : key.tags) described["tags"][tag] = value;
  described["version_list"] = VersionList(invocation.daemon, key);
  return described;
}

}  // namespace cmkd::daemon
