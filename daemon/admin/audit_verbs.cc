// The verb that shows the audit log.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <deque>
#include <map>

#include "daemon/admin/verbs.h"
#include "daemon/audit/audit_reader.h"
#include "daemon/service/audited_context.h"
#include "pkcs11/spec/encryption_context.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {

namespace {

bool IsZero(const AuditId& id) {
  return std::all_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte == 0; });
}

std::string DetailName(CK_ULONG detail) {
  if (const auto refusal = cmk::RefusalFromNumber(detail)) return std::string(cmk::Name(*refusal));
  const spec::DetailRow* row = spec::FindDetail(detail);
  return row == nullptr || detail == 0 ? "" : std::string(row->name);
}

// Whether a call of this kind applies protection.
bool Protects(spec::CallId call) {
  using enum spec::CallId;
  switch (call) {
    case C_Encrypt:
    case C_EncryptUpdate:
    case C_EncryptFinal:
    case C_EncryptMessage:
    case C_EncryptMessageNext:
    case C_Sign:
    case C_SignUpdate:
    case C_SignFinal:
    case C_SignRecover:
    case C_SignMessage:
    case C_SignMessageNext:
    case C_WrapKey:
    case C_WrapKeyAuthenticated:
    case C_EncapsulateKey:
    case C_SignEncryptUpdate:
    case C_DigestEncryptUpdate:
    case GenerateDataKey:
    case GenerateDataKeyPair:
    case EncryptManaged:
    case ReEncrypt: return true;
    default: return false;
  }
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

// How records of the context stand in the log: by its hash, or as it is where [audit] contexts says so.
Fallible<std::string> ContextArgument(const AdminCall& call) {
  const auto it = call.arguments.find("context");
  if (it == call.arguments.end() || it->is_null()) return std::string();
  if (!it->is_object()) return Fail(CKR_ARGUMENTS_BAD, "a context must be an object of texts");
  spec::EncryptionContext context;
  for (const auto& [name, value] : it->items()) {
    if (!value.is_string()) return Fail(CKR_ARGUMENTS_BAD, "a context must be an object of texts");
    context.emplace(name, value.get<std::string>());
  }
  const auto bytes = spec::EncodeContext(context);
  if (!bytes) return Fail(CKR_ARGUMENTS_BAD, "the context is too long, or has a pair without a name");
  return AuditedContext(call.daemon(), *bytes);
}

Fallible<Json> ShowAudit(const AdminCall& call) {
  ASSIGN_OR_RETURN(const auto limit_given, NumberArgument(call.arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(50), 1, 10'000));
  ASSIGN_OR_RETURN(const std::string key_text, TextArgument(call.arguments, "key", ""));
  ASSIGN_OR_RETURN(const std::string token_text, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const std::string only_context, ContextArgument(call));
  std::optional<AuditId> only;
  std::optional<AuditId> only_token;
  if (!key_text.empty()) {
    ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
    only = id.bytes;
  }
  if (!token_text.empty()) {
    ASSIGN_OR_RETURN(const auto token, FindToken(call, token_text));
    only_token = token->id.bytes;
  }
  std::deque<Json> newest;
  AuditReadOptions options;
  options.allow_pruned = true;
  options.on_record = [&](const StoredRecord& record) {
    if (record.type != AuditType::kEvent || (only && record.event.cmk_id != *only)) return true;
    if (!only_context.empty() && record.event.text.find(only_context) == std::string_view::npos) return true;
    if (only_token && record.event.token_id != *only_token) return true;
    newest.push_back(DescribeRecord(record));
    if (newest.size() > limit) newest.pop_front();
    return true;
  };
  const AuditReport report = ReadAuditLog(AuditDirectory(call.daemon().config), options);
  if (report.verdict == AuditReport::Verdict::kUnreadable || report.verdict == AuditReport::Verdict::kBad) {
    return Fail(CKR_DEVICE_ERROR, "the audit log cannot be read: " + report.problem);
  }
  Json list = Json::array();
  for (Json& record : newest) list.push_back(std::move(record));
  return Json{{"records", std::move(list)}};
}

Json DescribeUse(const cmk::ClientUse& use, std::uint32_t version) {
  return {{"version", version},
          {"uid", use.uid == cmk::kOtherClients ? Json(nullptr) : Json(use.uid)},
          {"uses", use.protects + use.processes},
          {"protects", use.protects},
          {"processes", use.processes},
          {"bytes", use.bytes},
          {"first", TimeText(use.first)},
          {"last", TimeText(use.last)}};
}

// Of the last days: from the audit log, which has each use with its time.
Fallible<Json> UsersSince(const AdminCall& call, const cmk::CmkId& id, std::optional<std::int64_t> version,
                          Timestamp since) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, cmk::ClientUse> users;  // by version and user
  AuditReadOptions options;
  options.allow_pruned = true;
  options.on_record = [&](const StoredRecord& record) {
    const AuditRecord& event = record.event;
    const Timestamp when{record.wall_ns / 1'000'000'000};
    const bool a_use = record.type == AuditType::kEvent && event.cmk_id == id.bytes && event.version != 0 &&
                       event.kind != AuditKind::kChange && event.rv == CKR_OK && when >= since;
    if (!a_use || (version && event.version != *version)) return true;
    const bool protects = event.mechanism != 0 && Protects(spec::FromWireId(event.call));
    const auto [at, fresh] = users.try_emplace({event.version, event.uid});
    cmk::ClientUse& use = at->second;
    if (fresh) use.first = when;
    use.uid = event.uid;
    ++(protects ? use.protects : use.processes);
    use.bytes += event.input_bytes;
    use.last = when;
    return true;
  };
  const AuditReport report = ReadAuditLog(AuditDirectory(call.daemon().config), options);
  if (report.verdict == AuditReport::Verdict::kUnreadable || report.verdict == AuditReport::Verdict::kBad)
    return Fail(CKR_DEVICE_ERROR, "the audit log cannot be read: " + report.problem);
  Json list = Json::array();
  for (const auto& [who, use] : users) list.push_back(DescribeUse(use, who.first));
  return Json{{"users", std::move(list)}, {"first_sequence", report.first_sequence}};
}

Fallible<Json> ShowUsers(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const auto version, BoundedArgument(call.arguments, "version", 1, UINT32_MAX));
  ASSIGN_OR_RETURN(const auto days, BoundedArgument(call.arguments, "days", 1, 36'500));
  if (days) return UsersSince(call, id, version, call.daemon().clock.Now() - Days(*days));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(id));
  Json list = Json::array();
  for (const cmk::KeyVersion& each : key->versions) {
    if (version && each.number.value != *version) continue;
    ASSIGN_OR_RETURN(const auto uses, call.daemon().counter.Clients(id, each.number));
    for (const cmk::ClientUse& use : uses) list.push_back(DescribeUse(use, each.number.value));
  }
  return Json{{"users", std::move(list)}};
}

constexpr Verb kVerbs[] = {{"audit.show", &ShowAudit}, {"key.users", &ShowUsers}};

}  // namespace

std::span<const Verb> AuditVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
