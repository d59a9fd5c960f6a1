// The verb that shows the audit log.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>

#include "daemon/admin/verbs.h"
#include "daemon/audit/audit_reader.h"
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

Fallible<Json> ShowAudit(const AdminCall& call) {
  ASSIGN_OR_RETURN(const auto limit_given, NumberArgument(call.arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(50), 1, 10'000));
  ASSIGN_OR_RETURN(const std::string key_text, TextArgument(call.arguments, "key", ""));
  ASSIGN_OR_RETURN(const std::string token_text, TextArgument(call.arguments, "token", ""));
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

// What one user did with one version of a key, as the log has it.
struct Usage {
  std::uint64_t uses = 0;
  std::uint64_t bytes = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  std::uint32_t pid = 0;
};

Fallible<Json> ShowUsers(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const auto version, BoundedArgument(call.arguments, "version", 1, UINT32_MAX));
  ASSIGN_OR_RETURN(const auto days, BoundedArgument(call.arguments, "days", 1, 36'500));
  const std::int64_t since = days ? (call.daemon().clock.Now() - Days(*days)).seconds * 1'000'000'000
                                  : std::numeric_limits<std::int64_t>::min();
  std::map<std::pair<std::uint32_t, std::uint32_t>, Usage> users;  // by version and user
  AuditReadOptions options;
  options.allow_pruned = true;
  options.on_record = [&](const StoredRecord& record) {
    const AuditRecord& event = record.event;
    const bool a_use = record.type == AuditType::kEvent && event.cmk_id == id.bytes && event.version != 0 &&
                       event.kind != AuditKind::kChange && event.rv == CKR_OK && record.wall_ns >= since;
    if (!a_use || (version && event.version != *version)) return true;
    Usage& usage = users[{event.version, event.uid}];
    if (usage.uses++ == 0) usage.first_ns = record.wall_ns;
    usage.bytes += event.input_bytes;
    usage.last_ns = record.wall_ns;
    usage.pid = event.pid;
    return true;
  };
  const AuditReport report = ReadAuditLog(AuditDirectory(call.daemon().config), options);
  if (report.verdict == AuditReport::Verdict::kUnreadable || report.verdict == AuditReport::Verdict::kBad)
    return Fail(CKR_DEVICE_ERROR, "the audit log cannot be read: " + report.problem);
  Json list = Json::array();
  for (const auto& [who, usage] : users) {
    list.push_back({{"version", who.first},
                    {"uid", who.second},
                    {"uses", usage.uses},
                    {"bytes", usage.bytes},
                    {"first", TimeText({usage.first_ns / 1'000'000'000})},
                    {"last", TimeText({usage.last_ns / 1'000'000'000})},
                    {"last_pid", usage.pid}});
  }
  return Json{{"users", std::move(list)}, {"first_sequence", report.first_sequence}};
}

constexpr Verb kVerbs[] = {{"audit.show", &ShowAudit}, {"key.users", &ShowUsers}};

}  // namespace

std::span<const Verb> AuditVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
