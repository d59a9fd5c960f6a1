// The verbs about what a key may do and how it is called: versions, dates, limits, aliases, tags.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/admin/verbs.h"
#include "daemon/service/translate.h"
#include "keystore/store/schema.h"

namespace cmkd::daemon {

namespace {

Fallible<Json> Describe(const AdminCall& call, const Fallible<cmk::Cmk>& key) {
  if (!key.ok()) return Failure{key.error()};
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

// ---- Versions

struct VersionWord {
  std::string_view word;
  cmk::VersionEvent event;
};
constexpr VersionWord kVersionWords[] = {{"make-current", cmk::VersionEvent::kMakeCurrent},
                                         {"block", cmk::VersionEvent::kBlock},
                                         {"unblock", cmk::VersionEvent::kUnblock},
                                         {"compromise", cmk::VersionEvent::kCompromise},
                                         {"destroy", cmk::VersionEvent::kDestroy}};

Fallible<Json> ChangeVersion(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKeyToChange(call));
  ASSIGN_OR_RETURN(const auto number, BoundedArgument(call.arguments, "version", 1, UINT32_MAX));
  if (!number) return Fail(CKR_ARGUMENTS_BAD, "version is missing");
  ASSIGN_OR_RETURN(const std::string word, TextArgument(call.arguments, "event"));
  for (const VersionWord& row : kVersionWords) {
    if (row.word != word) continue;
    call.invocation.audit.version = static_cast<std::uint32_t>(*number);
    call.invocation.audit_text += " " + word;
    call.WillChange();
    const cmk::KeyVersionNumber version{static_cast<std::uint32_t>(*number)};
    // Whether the version is quiet is read from the record: what was counted since the last writing belongs there
    // first.
    if (row.event == cmk::VersionEvent::kDestroy) RETURN_IF_ERROR(call.daemon().counter.Save(false));
    return Describe(call, call.daemon().custodian.ChangeVersion(id, version, row.event, call.request));
  }
  return Fail(CKR_ARGUMENTS_BAD, "an event is make-current, block, unblock, compromise or destroy");
}

// ---- Settings

// A date in seconds since 1970; zero takes it away.
Fallible<std::optional<std::int64_t>> DateArgument(const AdminCall& call, const char* name) {
  return BoundedArgument(call.arguments, name, 0, std::int64_t{1} << 40);
}

Failure<Error> Refuse(cmk::Refusal refusal) { return Translate(refusal, Moment::kManage); }

Status SetDates(const AdminCall& call, cmk::Cmk& key) {
  const Timestamp now = call.daemon().clock.Now();
  ASSIGN_OR_RETURN(const auto activation, DateArgument(call, "activation"));
  if (activation) {
    if (cmk::EffectiveState(key, now) != cmk::CmkState::kPreActive || *activation <= now.seconds)
      return Refuse(cmk::Refusal::kDateOutOfBounds);
    key.dates.activation = Timestamp{*activation};
  }
  ASSIGN_OR_RETURN(const auto expiry, DateArgument(call, "expiry"));
  if (expiry && *expiry != 0 && *expiry <= now.seconds) return Refuse(cmk::Refusal::kDateOutOfBounds);
  if (expiry) key.dates.expiry = *expiry == 0 ? std::nullopt : std::optional(Timestamp{*expiry});
  return {};
}

Status SetRotation(const AdminCall& call, cmk::Cmk& key, const store::TokenRecord& token) {
  ASSIGN_OR_RETURN(const auto days, BoundedArgument(call.arguments, "rotation_days", 0, 100'000));
  if (!days) return {};
  const Duration period = Days(*days);
  const auto allowed = cmk::CheckRotationPeriod(period, Custodian::BoundsOf(token));
  if (!allowed.ok()) return Refuse(allowed.error());
  // A pair's new public key must be handed out by somebody.
  if (*days != 0 && (IsPair(key) || key.origin == cmk::Origin::kUnwrapped)) return Refuse(cmk::Refusal::kNotRotatable);
  key.rotation_period = period;
  key.dates.next_rotation = *days == 0 ? std::nullopt : std::optional(call.daemon().clock.Now() + period);
  return {};
}

Status SetTags(const AdminCall& call, cmk::Cmk& key) {
  const auto it = call.arguments.find("tags");
  if (it == call.arguments.end() || it->is_null()) return {};
  if (!it->is_object()) return Fail(CKR_ARGUMENTS_BAD, "tags must be an object of texts");
  for (const auto& [name, value] : it->items()) {
    std::erase_if(key.tags, [&name = name](const auto& tag) { return tag.first == name; });
    if (value.is_null()) continue;
    if (!value.is_string()) return Fail(CKR_ARGUMENTS_BAD, "tags must be an object of texts");
    key.tags.emplace_back(name, value.get<std::string>());
  }
  std::sort(key.tags.begin(), key.tags.end());
  return {};
}

Fallible<Json> SetKey(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKeyToChange(call));
  call.WillChange();
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord& token) -> Status {
    if (key.state == cmk::CmkState::kPendingDeletion) return Refuse(cmk::Refusal::kKeyPendingDeletion);
    ASSIGN_OR_RETURN(key.description, TextArgument(call.arguments, "description", key.description.c_str()));
    ASSIGN_OR_RETURN(key.deletion_protected,
                     FlagArgument(call.arguments, "deletion_protected", key.deletion_protected));
    if (key.deletion_protected) cmk::EndAnnouncement(key.dates);
    ASSIGN_OR_RETURN(key.processes_compromised,
                     FlagArgument(call.arguments, "processes_compromised", key.processes_compromised));
    ASSIGN_OR_RETURN(const auto limit, BoundedArgument(call.arguments, "usage_limit", 0, INT64_MAX));
    if (limit) key.usage_limit = static_cast<std::uint64_t>(*limit);
    RETURN_IF_ERROR(SetDates(call, key));
    RETURN_IF_ERROR(SetRotation(call, key, token));
    return SetTags(call, key);
  };
  return Describe(call, call.daemon().custodian.Edit("key.set", id, edit, call.request));
}

// ---- Aliases

bool IsAlias(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-';
  });
}

Fallible<Json> SetAlias(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKeyToChange(call));
  ASSIGN_OR_RETURN(const std::string alias, TextArgument(call.arguments, "alias"));
  if (!IsAlias(alias))
    return Fail(CKR_ARGUMENTS_BAD, "an alias has 1 to 255 letters, digits, slashes, underscores and hyphens");
  if (IsReservedName(alias)) return Fail(CKR_ARGUMENTS_BAD, "svc/, sys/ and kms- are reserved");
  call.invocation.audit_text += " " + alias;
  call.WillChange();
  return Describe(call, call.daemon().custodian.MoveAlias(id, alias, call.request));
}

Fallible<Json> RemoveAlias(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKeyToChange(call));
  ASSIGN_OR_RETURN(const std::string alias, TextArgument(call.arguments, "alias"));
  call.WillChange();
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord&) -> Status {
    if (std::erase(key.aliases, alias) == 0)
      return Fail(CKR_ARGUMENTS_BAD, "the key has no such alias", spec::kNotFound);
    return {};
  };
  return Describe(call, call.daemon().custodian.Edit("key.alias-remove", id, edit, call.request));
}

// ---- Consumers: whoever depends on a key says so, and the key is not deleted before they say otherwise.

Fallible<std::string> ConsumerArgument(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string consumer, TextArgument(call.arguments, "consumer"));
  if (consumer.empty() || consumer.size() > store::kConsumerBytesMax)
    return Fail(CKR_ARGUMENTS_BAD, "the name of a consumer has 1 to 128 bytes");
  call.invocation.audit_text += " " + consumer;
  return consumer;
}

Fallible<Json> RegisterConsumer(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const std::string consumer, ConsumerArgument(call));
  call.WillChange();
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord&) -> Status {
    if (key.state == cmk::CmkState::kPendingDeletion) return Refuse(cmk::Refusal::kKeyPendingDeletion);
    const auto at = std::lower_bound(key.consumers.begin(), key.consumers.end(), consumer);
    if (at != key.consumers.end() && *at == consumer) return {};
    if (key.consumers.size() >= store::kConsumersMax) return Fail(CKR_ARGUMENTS_BAD, "a key has at most 64 consumers");
    key.consumers.insert(at, consumer);
    // Brown-outs were for finding somebody, and somebody is found.
    cmk::EndAnnouncement(key.dates);
    return {};
  };
  return Describe(call, call.daemon().custodian.Edit("key.register", id, edit, call.request));
}

Fallible<Json> ReleaseConsumer(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKeyToChange(call));
  ASSIGN_OR_RETURN(const std::string consumer, ConsumerArgument(call));
  call.WillChange();
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord&) -> Status {
    if (std::erase(key.consumers, consumer) == 0)
      return Fail(CKR_ARGUMENTS_BAD, "the key has no such consumer", spec::kNotFound);
    return {};
  };
  return Describe(call, call.daemon().custodian.Edit("key.release", id, edit, call.request));
}

constexpr Verb kVerbs[] = {
    {"key.version", &ChangeVersion, false, true},     {"key.set", &SetKey, false, true},
    {"key.alias-set", &SetAlias, false, true},        {"key.alias-remove", &RemoveAlias, false, true},
    {"key.register", &RegisterConsumer, false, true}, {"key.release", &ReleaseConsumer, false, true},
};

}  // namespace

std::span<const Verb> LifeVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
