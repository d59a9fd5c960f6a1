// Administrative verbs: one table, one function for each.
#include "daemon/admin/admin.h"

#include <nlohmann/json.hpp>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "common/limits.h"
#include "daemon/audit/audit_reader.h"
#include "daemon/service/handlers.h"
#include "daemon/service/key_specs.h"
#include "daemon/service/new_object.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/product.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {

namespace {

using Json = nlohmann::json;

// ---- Arguments

Fallible<std::string> Text(const Json& arguments, const char* name, const char* fallback = nullptr) {
  const auto it = arguments.find(name);
  if (it == arguments.end() || it->is_null()) {
    if (fallback != nullptr) return std::string(fallback);
    return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " is missing");
  }
  if (!it->is_string()) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " must be a text");
  return it->get<std::string>();
}

Fallible<std::optional<std::int64_t>> Number(const Json& arguments, const char* name) {
  const auto it = arguments.find(name);
  if (it == arguments.end() || it->is_null()) return std::optional<std::int64_t>{};
  if (!it->is_number_integer()) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " must be a whole number");
  return std::optional<std::int64_t>{it->get<std::int64_t>()};
}

// ---- Values

std::string TimeText(Timestamp time) {
  const time_t seconds = time.seconds;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
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
          {"hsm", token.hsm},
          {"initialized", IsInitialised(token)},
          {"objects", objects},
          {"keys", keys},
          {"deletion_window_days", Custodian::BoundsOf(token).window_default.seconds / 86400}};
}

std::string_view OriginText(cmk::Origin origin) {
  switch (origin) {
    case cmk::Origin::kLocal: return "local";
    case cmk::Origin::kImportedClear: return "imported-in-clear";
    case cmk::Origin::kUnwrapped: return "imported";
    case cmk::Origin::kDerived: return "derived";
  }
  return "";
}

// The object an application uses for the key: its secret or private object.
CK_OBJECT_HANDLE HandleOf(const Invocation& invocation, const cmk::Cmk& key) {
  const auto read = invocation.daemon.store.BeginRead();
  if (!read.ok()) return CK_INVALID_HANDLE;
  const store::Term of_key[] = {store::OfCmk(key.id)};
  const auto serials = (*read)->FindObjects(key.token, of_key);
  return serials.ok() && !serials->empty() ? serials->back().value : CK_INVALID_HANDLE;
}

Json DescribeKey(const Invocation& invocation, const cmk::Cmk& key, bool whole) {
  const auto token = invocation.daemon.records.GetToken(key.token);
  Json described = {{"id", key.id.ToHex()},
                    {"token", token.ok() ? (*token)->label : ""},
                    {"name", key.name},
                    {"spec", key.spec},
                    {"state", cmk::Name(cmk::EffectiveState(key, invocation.daemon.clock.Now()))},
                    {"current_version", key.current.value},
                    {"versions", key.versions.size()},
                    {"created", TimeText(key.created)},
                    {"next_rotation", TimeOrNull(key.dates.next_rotation)},
                    {"deletion_date", TimeOrNull(key.dates.deletion_date)},
                    {"rotatable", key.rotatable},
                    {"origin", OriginText(key.origin)},
                    {"handle", HandleOf(invocation, key)}};
  if (!whole) return described;
  described["description"] = key.description;
  const auto backend =
      token.ok() ? invocation.daemon.backends.Get((*token)->hsm) : Fallible<Backend*>(Failure{token.error()});
  const bool software = backend.ok() && (*backend)->software();
  Json versions = Json::array();
  for (const cmk::KeyVersion& version : key.versions) {
    versions.push_back({{"number", version.number.value},
                        {"state", cmk::Name(version.state)},
                        {"created", TimeText(version.created)},
                        {"retired", TimeOrNull(version.retired_at)},
                        {"uses", version.uses},
                        {"protection", software ? "software" : "hsm"}});
  }
  described["version_list"] = std::move(versions);
  return described;
}

// ---- Look-ups

// A token by label or id; without a name, the only one there is.
Fallible<Records::TokenPtr> FindToken(const Invocation& invocation, const std::string& name) {
  ASSIGN_OR_RETURN(const auto tokens, invocation.daemon.records.ListTokens());
  Records::TokenPtr found;
  for (const auto& token : tokens) {
    if (!name.empty() && token->label != name && token->id.ToHex() != name) continue;
    if (found != nullptr) return Fail(CKR_ARGUMENTS_BAD, "several tokens fit: name one by its id");
    found = token;
  }
  if (found == nullptr) return Fail(CKR_SLOT_ID_INVALID, "there is no such token", spec::kNotFound);
  return found;
}

// A key by id, by name, or by token/name. Names of destroyed keys are free again and do not count.
Fallible<cmk::CmkId> FindKey(const Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const std::string name, Text(arguments, "key"));
  if (const auto id = cmk::CmkId::FromHex(name)) return *id;
  std::string token_name;
  std::string key_name = name;
  std::vector<cmk::CmkId> found;
  ASSIGN_OR_RETURN(const auto tokens, invocation.daemon.records.ListTokens());
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
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

// ---- Verbs

Fallible<Json> GetStatus(Invocation& invocation, const Json&) {
  Daemon& daemon = invocation.daemon;
  ASSIGN_OR_RETURN(const auto tokens, daemon.records.ListTokens());
  std::size_t keys = 0;
  STORE_OR_RETURN(const auto read, daemon.store.BeginRead());
  for (const auto& token : tokens) {
    STORE_OR_RETURN(const auto all, read->ListCmksOfToken(token->id, {}, store::kNoLimit));
    keys += all.size();
  }
  Json hsms = Json::array();
  for (const auto& [name, backend] : daemon.backends.all()) {
    hsms.push_back(
        {{"name", name}, {"kind", backend->software() ? "software" : "hsm"}, {"available", backend->available()}});
  }
  const Registry::Totals clients = daemon.registry.Count();
  const AuditLog::State audit = daemon.audit.GetState();
  return Json{
      {"version", std::to_string(spec::kLibraryVersion.major) + "." + std::to_string(spec::kLibraryVersion.minor)},
      {"pid", ::getpid()},
      {"uptime_seconds", (daemon.clock.Now() - daemon.started).seconds},
      {"generation", daemon.store.Generation()},
      {"connections", clients.connections},
      {"applications", clients.applications},
      {"sessions", clients.sessions},
      {"session_objects", clients.session_objects},
      {"tokens", tokens.size()},
      {"keys", keys},
      {"hsms", std::move(hsms)},
      {"audit", {{"healthy", audit.healthy}, {"records", audit.sequence}}}};
}

Fallible<Json> CreateToken(Invocation& invocation, const Json& arguments) {
  const TokensConfig& config = invocation.daemon.config.tokens;
  ASSIGN_OR_RETURN(const std::string label, Text(arguments, "label"));
  ASSIGN_OR_RETURN(
      const std::string profile,
      Text(arguments, "profile", config.default_profile == TokenProfile::kManaged ? "managed" : "general"));
  ASSIGN_OR_RETURN(const std::string hsm, Text(arguments, "hsm", config.default_hsm.c_str()));
  if (label.empty() || label.size() > store::TokenRecord::kLabelBytesMax)
    return Fail(CKR_ARGUMENTS_BAD, "a label has 1 to 32 bytes");
  if (profile != "managed" && profile != "general") return Fail(CKR_ARGUMENTS_BAD, "a profile is managed or general");
  ASSIGN_OR_RETURN(const auto tokens, invocation.daemon.records.ListTokens());
  for (const auto& token : tokens) {
    if (token->label == label) return Fail(CKR_ARGUMENTS_BAD, "a token has this label already", spec::kNameTaken);
  }
  invocation.changed = true;
  ASSIGN_OR_RETURN(const store::TokenRecord token,
                   invocation.daemon.custodian.ReserveToken(
                       label, profile == "managed" ? cmk::TokenProfile::kManaged : cmk::TokenProfile::kGeneral, hsm));
  return Json{{"token", DescribeToken(invocation, token)}};
}

Fallible<Json> ListTokens(Invocation& invocation, const Json&) {
  ASSIGN_OR_RETURN(const auto tokens, invocation.daemon.records.ListTokens());
  Json list = Json::array();
  for (const auto& token : tokens) list.push_back(DescribeToken(invocation, *token));
  return Json{{"tokens", std::move(list)}};
}

struct KeyRequest {
  const KeySpec* spec = nullptr;
  const KeyUsage* usage = nullptr;
  std::string name;
  Bytes id;
};

Fallible<KeyRequest> ReadKeyRequest(const Json& arguments) {
  KeyRequest request;
  ASSIGN_OR_RETURN(request.name, Text(arguments, "name", ""));
  if (request.name.size() > 255) return Fail(CKR_ARGUMENTS_BAD, "a name has at most 255 bytes");
  ASSIGN_OR_RETURN(const std::string spec_name, Text(arguments, "spec", "AES-256"));
  request.spec = FindKeySpec(spec_name);
  if (request.spec == nullptr) return Fail(CKR_ARGUMENTS_BAD, "there is no key spec " + spec_name);
  ASSIGN_OR_RETURN(const std::string usage, Text(arguments, "usage", std::string(DefaultUsage(*request.spec)).c_str()));
  request.usage = FindKeyUsage(usage.empty() ? DefaultUsage(*request.spec) : usage);
  if (request.usage == nullptr) return Fail(CKR_ARGUMENTS_BAD, "a usage is encrypt, sign, wrap or derive");
  ASSIGN_OR_RETURN(const std::string id, Text(arguments, "id", ""));
  if (id.size() % 2 != 0 || id.size() > 128) return Fail(CKR_ARGUMENTS_BAD, "an id is up to 64 bytes in hexadecimal");
  for (std::size_t i = 0; i + 1 < id.size(); i += 2) {
    char* end = nullptr;
    const std::string byte = id.substr(i, 2);
    request.id.push_back(static_cast<std::uint8_t>(std::strtoul(byte.c_str(), &end, 16)));
    if (*end != '\0') return Fail(CKR_ARGUMENTS_BAD, "an id is hexadecimal");
  }
  return request;
}

// The attributes of one object of the new key, as an application's template would have given them.
spec::Attributes KeyAttributes(const KeyRequest& request, CK_OBJECT_CLASS object_class, spec::Profile profile) {
  std::vector<CK_ATTRIBUTE> attributes;
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL is_private = object_class == CKO_PUBLIC_KEY ? CK_FALSE : CK_TRUE;
  CK_ULONG size = request.spec->size;
  Bytes id = request.id;
  std::string label = request.name;
  const auto add = [&](CK_ATTRIBUTE_TYPE type, void* value, std::size_t length) {
    attributes.push_back({type, value, length});
  };
  add(CKA_TOKEN, &yes, sizeof yes);
  add(CKA_PRIVATE, &is_private, sizeof is_private);
  add(CKA_LABEL, label.data(), label.size());
  if (!id.empty()) add(CKA_ID, id.data(), id.size());
  const bool secret = object_class == CKO_SECRET_KEY;
  if (secret || (object_class == CKO_PRIVATE_KEY) ==
                    (request.usage->protects == CKA_SIGN || request.usage->protects == CKA_DERIVE)) {
    add(request.usage->protects, &yes, sizeof yes);
  }
  if (request.usage->processes != request.usage->protects &&
      (secret || (object_class == CKO_PUBLIC_KEY) == (request.usage->protects == CKA_SIGN))) {
    add(request.usage->processes, &yes, sizeof yes);
  }
  CK_BYTE exponent[] = {1, 0, 1};
  const spec::Curve* curve = spec::FindCurveByName(request.spec->curve);
  std::string parameters = curve == nullptr ? "" : std::string(curve->oid);
  if (secret) add(CKA_VALUE_LEN, &size, sizeof size);
  if (object_class == CKO_PUBLIC_KEY && request.spec->key_type == CKK_RSA) {
    add(CKA_MODULUS_BITS, &size, sizeof size);
    add(CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
  }
  if (object_class == CKO_PUBLIC_KEY && curve != nullptr) add(CKA_EC_PARAMS, parameters.data(), parameters.size());
  spec::TemplateContext context;
  context.verb = spec::Verb::kGenerate;
  context.object_class = object_class;
  context.key_type = request.spec->key_type;
  context.profile = profile;
  return spec::Complete(context, attributes, request.spec->mechanism);
}

Fallible<NewObjects> MakeKey(Backend& backend, const WrappingKey& under, const KeyRequest& request,
                             spec::Profile profile, Timestamp now) {
  CK_MECHANISM mechanism{request.spec->mechanism, nullptr, 0};
  NewObjects objects;
  if (request.spec->key_type == CKK_AES || request.spec->key_type == CKK_GENERIC_SECRET) {
    spec::Attributes attributes = KeyAttributes(request, CKO_SECRET_KEY, profile);
    AllowRotatingMechanisms(attributes);
    ASSIGN_OR_RETURN(Made made, backend.GenerateKey(mechanism, request.spec->key_type, request.spec->size, under));
    RemoveSecretParts(made.computed);
    attributes.Merge(made.computed);
    objects.key = NewCmk(attributes, std::move(made.material), cmk::Origin::kLocal, now);
    objects.objects.push_back(std::move(attributes));
    return objects;
  }
  spec::Attributes public_attributes = KeyAttributes(request, CKO_PUBLIC_KEY, profile);
  spec::Attributes private_attributes = KeyAttributes(request, CKO_PRIVATE_KEY, profile);
  ASSIGN_OR_RETURN(MadePair made, backend.GenerateKeyPair(mechanism, request.spec->key_type, public_attributes, under));
  public_attributes.Merge(made.public_computed);
  private_attributes.Merge(made.private_computed);
  RemoveSecretParts(private_attributes);
  objects.key = NewCmk(private_attributes, std::move(made.material), cmk::Origin::kLocal, now);
  objects.objects.push_back(std::move(public_attributes));
  objects.objects.push_back(std::move(private_attributes));
  return objects;
}

Fallible<Json> CreateKey(Invocation& invocation, const Json& arguments) {
  Daemon& daemon = invocation.daemon;
  ASSIGN_OR_RETURN(const std::string token_name, Text(arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(invocation, token_name));
  if (!IsInitialised(*token)) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  ASSIGN_OR_RETURN(const KeyRequest request, ReadKeyRequest(arguments));
  ASSIGN_OR_RETURN(const std::string description, Text(arguments, "description", ""));
  ASSIGN_OR_RETURN(const auto rotation_days, Number(arguments, "rotation_days"));
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Get(token->hsm));
  ASSIGN_OR_RETURN(const WrappingKey under, CurrentWrappingKey(*token));
  ASSIGN_OR_RETURN(NewObjects objects, MakeKey(*backend, under, request, ProfileOf(*token), daemon.clock.Now()));
  objects.key->description = description;
  if (rotation_days) objects.key->rotation_period = Days(*rotation_days);
  invocation.changed = true;
  invocation.audit_text = request.name;
  ASSIGN_OR_RETURN(const auto handles, daemon.custodian.Add(token->id, std::move(objects), {}));
  ASSIGN_OR_RETURN(const ObjectPtr object, daemon.records.GetObject(handles.back()));
  ASSIGN_OR_RETURN(const auto key, daemon.records.GetCmk(*object->cmk));
  invocation.audit.cmk_id = key->id.bytes;
  return Json{{"key", DescribeKey(invocation, *key, true)}};
}

Fallible<Json> ListKeys(Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const std::string token_name, Text(arguments, "token", ""));
  ASSIGN_OR_RETURN(const std::string state, Text(arguments, "state", ""));
  ASSIGN_OR_RETURN(const std::string after_text, Text(arguments, "after", ""));
  ASSIGN_OR_RETURN(const auto limit_given, Number(arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(200), 1, 1000));
  if (!state.empty() && !cmk::CmkStateFromName(state)) return Fail(CKR_ARGUMENTS_BAD, "there is no state " + state);
  cmk::CmkId after = cmk::CmkId::FromHex(after_text).value_or(cmk::CmkId{});
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
  std::optional<cmk::TokenId> token;
  if (!token_name.empty()) {
    ASSIGN_OR_RETURN(const auto found, FindToken(invocation, token_name));
    token = found->id;
  }
  Json list = Json::array();
  std::string next;
  while (list.size() < limit) {
    STORE_OR_RETURN(const auto page,
                    token ? read->ListCmksOfToken(*token, after, limit) : read->ListCmks(after, limit));
    for (const cmk::Cmk& key : page) {
      after = key.id;
      if (!state.empty() && cmk::Name(cmk::EffectiveState(key, invocation.daemon.clock.Now())) != state) continue;
      list.push_back(DescribeKey(invocation, key, false));
      if (list.size() == limit) break;
    }
    if (page.size() < limit) break;
    if (list.size() == limit) next = after.ToHex();
  }
  return Json{{"keys", std::move(list)}, {"next", next}};
}

Fallible<Json> ShowKey(Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(invocation, arguments));
  ASSIGN_OR_RETURN(const auto key, invocation.daemon.records.GetCmk(id));
  return Json{{"key", DescribeKey(invocation, *key, true)}};
}

Fallible<Json> Changed(Invocation& invocation, const Json& arguments, const cmk::Request& request) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(invocation, arguments));
  invocation.changed = true;
  invocation.audit.cmk_id = id.bytes;
  ASSIGN_OR_RETURN(const cmk::Cmk key, invocation.daemon.custodian.Change(id, request));
  return Json{{"key", DescribeKey(invocation, key, true)}};
}

Fallible<Json> Disable(Invocation& i, const Json& arguments) { return Changed(i, arguments, cmk::CmkEvent::kDisable); }
Fallible<Json> Enable(Invocation& i, const Json& arguments) { return Changed(i, arguments, cmk::CmkEvent::kEnable); }
Fallible<Json> CancelDeletion(Invocation& i, const Json& arguments) {
  return Changed(i, arguments, cmk::CmkEvent::kCancelDeletion);
}

Fallible<Json> ScheduleDeletion(Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const auto days, Number(arguments, "days"));
  if (!days) return Changed(invocation, arguments, cmk::CmkEvent::kScheduleDeletion);
  if (*days < 0 || *days > 100'000) return Fail(CKR_ARGUMENTS_BAD, "days is out of all bounds");
  return Changed(invocation, arguments, cmk::Request(cmk::CmkEvent::kScheduleDeletion, Days(*days)));
}

Fallible<Json> RotateKey(Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(invocation, arguments));
  invocation.changed = true;
  invocation.audit.cmk_id = id.bytes;
  ASSIGN_OR_RETURN(const cmk::Cmk key, invocation.daemon.custodian.Rotate(id));
  return Json{{"key", DescribeKey(invocation, key, true)}};
}

Fallible<Json> ShowAudit(Invocation& invocation, const Json& arguments);

struct Verb {
  std::string_view name;
  Fallible<Json> (*answer)(Invocation&, const Json&);
  bool reserved;  // may use the audit's reserved room: disable and cancel must go on when the disk is full
};

constexpr Verb kVerbs[] = {
    {"status", &GetStatus, false},
    {"token.create", &CreateToken, false},
    {"token.list", &ListTokens, false},
    {"key.create", &CreateKey, false},
    {"key.list", &ListKeys, false},
    {"key.show", &ShowKey, false},
    {"key.disable", &Disable, true},
    {"key.enable", &Enable, false},
    {"key.rotate", &RotateKey, false},
    {"key.schedule-deletion", &ScheduleDeletion, false},
    {"key.cancel-deletion", &CancelDeletion, true},
    {"audit.show", &ShowAudit, false},
};

bool IsZero(const AuditId& id) {
  return std::all_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte == 0; });
}

std::string DetailName(CK_ULONG detail) {
  if (const auto refusal = cmk::RefusalFromNumber(detail)) return std::string(cmk::Name(*refusal));
  const spec::DetailRow* row = spec::FindDetail(detail);
  return row == nullptr || detail == 0 ? "" : std::string(row->name);
}

Json DescribeRecord(const StoredRecord& record) {
  const AuditRecord& event = record.event;
  const spec::CallId call = spec::FromWireId(event.call);
  const bool named = event.call != 0 && call != spec::CallId::kCount;
  return {{"sequence", record.sequence},
          {"time", TimeText({record.wall_ns / 1'000'000'000})},
          {"kind", AuditKindName(event.kind)},
          {"call", named ? Json(spec::Row(call).name) : Json(nullptr)},
          {"uid", event.uid},
          {"pid", event.pid},
          {"token", IsZero(event.token_id) ? Json(nullptr) : Json(Hex(event.token_id))},
          {"key", IsZero(event.cmk_id) ? Json(nullptr) : Json(Hex(event.cmk_id))},
          {"version", event.version},
          {"mechanism", event.mechanism == 0 || spec::FindMechanism(event.mechanism) == nullptr
                            ? Json(nullptr)
                            : Json(spec::FindMechanism(event.mechanism)->name)},
          {"result", spec::ReturnValueName(event.rv)},
          {"detail", DetailName(event.detail)},
          {"text", std::string(event.text)}};
}

// What the operator reads of a refusal: code, sentence, rule and remedy.
Json DescribeError(const Error& error) {
  Json described = {{"code", spec::ReturnValueName(error.rv)}, {"message", error.why}, {"rule", ""}, {"remedy", ""}};
  if (const auto refusal = cmk::RefusalFromNumber(error.detail)) {
    for (const cmk::RefusalRow& row : cmk::Refusals()) {
      if (row.refusal != *refusal) continue;
      described["code"] = row.name;
      described["message"] = row.state;
      described["rule"] = row.rule;
      described["remedy"] = row.remedy;
    }
  } else if (const spec::DetailRow* row = spec::FindDetail(error.detail); row != nullptr && error.detail != 0) {
    described["code"] = row->name;
    described["rule"] = row->sentence;
  }
  return described;
}

bool IsOperator(const Invocation& invocation) {
  const std::uint32_t uid = invocation.application->peer().uid;
  const auto& named = invocation.daemon.config.daemon.operators;
  return uid == 0 || uid == ::geteuid() || std::find(named.begin(), named.end(), uid) != named.end();
}

Fallible<Json> Answer(Invocation& invocation, std::string_view text) {
  if (!IsOperator(invocation)) return Fail(CKR_ACTION_PROHIBITED, "only operators may do this", spec::kDenied);
  if (text.size() > limits::kAdminBytesMax) return Fail(CKR_ARGUMENTS_BAD, "the request is too long");
  const Json request = Json::parse(text, nullptr, false);
  if (request.is_discarded() || !request.is_object()) return Fail(CKR_ARGUMENTS_BAD, "the request is no JSON object");
  ASSIGN_OR_RETURN(const std::string name, Text(request, "verb"));
  const Json arguments = request.value("arguments", Json::object());
  if (!arguments.is_object()) return Fail(CKR_ARGUMENTS_BAD, "arguments must be an object");
  for (const Verb& verb : kVerbs) {
    if (verb.name != name) continue;
    invocation.audit_text = name;
    if (verb.reserved) invocation.urgency = AuditLog::Urgency::kReserved;
    if (!invocation.daemon.audit.Healthy() && !verb.reserved) {
      return Fail(CKR_FUNCTION_FAILED, "the audit log cannot be written", spec::kAuditBlocked);
    }
    return verb.answer(invocation, arguments);
  }
  return Fail(CKR_ARGUMENTS_BAD, "there is no verb " + name.substr(0, 64));
}

}  // namespace

std::string AnswerAdmin(Invocation& invocation, std::string_view request) {
  // The library throws on values it cannot hold (text that is no UTF-8): such a request is refused like any other.
  try {
    const Fallible<Json> answer = Answer(invocation, request);
    Json whole;
    if (answer.ok()) {
      whole = {{"ok", true}, {"result", *answer}};
    } else {
      invocation.audit.rv = answer.error().rv;
      invocation.audit.detail = answer.error().detail;
      whole = {{"ok", false}, {"error", DescribeError(answer.error())}};
    }
    return whole.dump(-1, ' ', false, Json::error_handler_t::replace);
  } catch (const Json::exception&) {
    return R"({"ok":false,"error":{"code":"CKR_ARGUMENTS_BAD","message":"the request cannot be read","rule":"","remedy":""}})";
  }
}

Status Handle(Invocation& invocation, spec::Call<spec::CallId::Admin>& call) {
  call.answer.value = ToBytes(AsBytes(AnswerAdmin(invocation, AsText(call.request.view()))));
  return {};
}

namespace {

Fallible<Json> ShowAudit(Invocation& invocation, const Json& arguments) {
  ASSIGN_OR_RETURN(const auto limit_given, Number(arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(50), 1, 10'000));
  ASSIGN_OR_RETURN(const std::string key_text, Text(arguments, "key", ""));
  std::optional<AuditId> only;
  if (!key_text.empty()) {
    ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(invocation, arguments));
    only = id.bytes;
  }
  std::deque<Json> newest;
  AuditReadOptions options;
  options.allow_pruned = true;
  options.on_record = [&](const StoredRecord& record) {
    if (record.type != AuditType::kEvent || (only && record.event.cmk_id != *only)) return true;
    newest.push_back(DescribeRecord(record));
    if (newest.size() > limit) newest.pop_front();
    return true;
  };
  const AuditReport report = ReadAuditLog(AuditDirectory(invocation.daemon.config), options);
  if (report.verdict == AuditReport::Verdict::kUnreadable || report.verdict == AuditReport::Verdict::kBad) {
    return Fail(CKR_DEVICE_ERROR, "the audit log cannot be read: " + report.problem);
  }
  Json list = Json::array();
  for (Json& record : newest) list.push_back(std::move(record));
  return Json{{"records", std::move(list)}};
}

}  // namespace

}  // namespace cmkd::daemon
