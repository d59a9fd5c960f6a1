// The verbs about keys: making, showing and the events of their life.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/admin/key_making.h"
#include "daemon/admin/verbs.h"
#include "daemon/custody/importer.h"
#include "daemon/service/access.h"
#include "daemon/service/lifecycle_attributes.h"

namespace cmkd::daemon {

namespace {

Fallible<Json> CreateKey(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  ASSIGN_OR_RETURN(const std::string token_name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, token_name));
  if (!IsInitialised(*token)) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  ASSIGN_OR_RETURN(const KeyRequest request, ReadKeyRequest(call.arguments));
  call.invocation.audit_text += " " + request.name;
  call.WillChange();
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Get(token->hsm));
  ASSIGN_OR_RETURN(const Custodian::Under under, daemon.custodian.WrappingKeyFor(token->id, Custodian::Keep::kToken));
  const Timestamp now = daemon.clock.Now();
  RETURN_IF_ERROR(CheckKeyRequest(request, *token, now));
  if (request.external) RETURN_IF_ERROR(CheckImportable(daemon.config.tokens.crypto_profile, *request.spec));
  ASSIGN_OR_RETURN(NewObjects objects, MakeKey(*backend, under, request, ProfileOf(*token), now));
  ASSIGN_OR_RETURN(const auto handles, daemon.custodian.Add(token->id, std::move(objects), call.request));
  ASSIGN_OR_RETURN(const ObjectPtr object, daemon.records.GetObject(handles.back()));
  ASSIGN_OR_RETURN(const auto key, daemon.records.GetCmk(*object->cmk));
  call.invocation.audit.cmk_id = key->id.bytes;
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

// The keys of one page; the store is let go before they are described.
Fallible<std::vector<cmk::Cmk>> ReadPage(const AdminCall& call, const std::optional<cmk::TokenId>& token,
                                         const cmk::CmkId& after, std::size_t limit) {
  STORE_OR_RETURN(const auto read, call.daemon().store.BeginRead());
  STORE_OR_RETURN(auto page, token ? read->ListCmksOfToken(*token, after, limit) : read->ListCmks(after, limit));
  return page;
}

// "name" or "name=value".
bool HasTag(const cmk::Cmk& key, std::string_view wanted) {
  if (wanted.empty()) return true;
  const std::size_t equals = std::min(wanted.size(), wanted.find('='));
  return std::any_of(key.tags.begin(), key.tags.end(), [&](const auto& tag) {
    return tag.first == wanted.substr(0, equals) &&
           (equals == wanted.size() || tag.second == wanted.substr(equals + 1));
  });
}

Fallible<Json> ListKeys(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string token_name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const std::string state, TextArgument(call.arguments, "state", ""));
  ASSIGN_OR_RETURN(const std::string tag, TextArgument(call.arguments, "tag", ""));
  ASSIGN_OR_RETURN(const std::string after_text, TextArgument(call.arguments, "after", ""));
  ASSIGN_OR_RETURN(const auto limit_given, NumberArgument(call.arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(200), 1, 1000));
  if (!state.empty() && state != kUnavailable && !cmk::CmkStateFromName(state))
    return Fail(CKR_ARGUMENTS_BAD, "there is no state " + state);
  cmk::CmkId after = cmk::CmkId::FromHex(after_text).value_or(cmk::CmkId{});
  std::optional<cmk::TokenId> token;
  if (!token_name.empty()) {
    ASSIGN_OR_RETURN(const auto found, FindToken(call, token_name));
    token = found->id;
  }
  Json list = Json::array();
  std::string next;
  while (list.size() < limit) {
    ASSIGN_OR_RETURN(const std::vector<cmk::Cmk> page, ReadPage(call, token, after, limit));
    for (const cmk::Cmk& key : page) {
      after = key.id;
      if (!HasTag(key, tag)) continue;
      if (!state.empty() && ShownState(call.daemon(), key) != state) continue;
      list.push_back(DescribeKey(call.invocation, key, false));
      if (list.size() == limit) break;
    }
    if (page.size() < limit) break;
    if (list.size() == limit) next = after.ToHex();
  }
  return Json{{"keys", std::move(list)}, {"next", next}};
}

Fallible<Json> ShowKey(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(id));
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

Fallible<Json> Changed(const AdminCall& call, const cmk::Request& request) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  call.WillChange();
  ASSIGN_OR_RETURN(const cmk::Cmk key, call.daemon().custodian.Change(id, request, call.request));
  return Json{{"key", DescribeKey(call.invocation, key, true)}};
}

template <cmk::CmkEvent event>
Fallible<Json> Do(const AdminCall& call) {
  return Changed(call, event);
}

Fallible<Json> ScheduleDeletion(const AdminCall& call) {
  ASSIGN_OR_RETURN(const auto days, BoundedArgument(call.arguments, "days", 0, 100'000));
  if (!days) return Changed(call, cmk::CmkEvent::kScheduleDeletion);
  return Changed(call, cmk::Request(cmk::CmkEvent::kScheduleDeletion, Days(*days)));
}

Fallible<Json> RotateKey(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  call.WillChange();
  ASSIGN_OR_RETURN(const auto record, call.daemon().records.GetCmk(id));
  ASSIGN_OR_RETURN(const bool new_object, FlagArgument(call.arguments, "new_object", false));
  ASSIGN_OR_RETURN(const auto overlap, BoundedArgument(call.arguments, "overlap_days", 0, 3650));
  Custodian& custodian = call.daemon().custodian;
  // What was asked for says how: an operator who moves a label or makes a new pair must know that something changes for
  // applications that pin an id.
  auto rotated = !record->rotatable && IsPair(*record)
                     ? custodian.RotatePair(id, Days(overlap.value_or(30)), call.request)
                 : !record->rotatable && new_object ? custodian.RotateByLabel(id, call.request)
                                                    : custodian.Rotate(id, call.request);
  ASSIGN_OR_RETURN(const cmk::Cmk key, std::move(rotated));
  call.invocation.audit.version = key.current.value;
  return Json{{"key", DescribeKey(call.invocation, key, true)}};
}

constexpr Verb kVerbs[] = {
    {"key.create", &CreateKey},
    {"key.list", &ListKeys},
    {"key.show", &ShowKey},
    {"key.disable", &Do<cmk::CmkEvent::kDisable>, true},
    {"key.enable", &Do<cmk::CmkEvent::kEnable>},
    {"key.archive", &Do<cmk::CmkEvent::kArchive>},
    {"key.unarchive", &Do<cmk::CmkEvent::kUnarchive>},
    {"key.activate", &Do<cmk::CmkEvent::kActivate>},
    {"key.delete-material", &Do<cmk::CmkEvent::kForgetMaterial>},
    {"key.rotate", &RotateKey},
    {"key.schedule-deletion", &ScheduleDeletion},
    {"key.cancel-deletion", &Do<cmk::CmkEvent::kCancelDeletion>, true},
};

}  // namespace

std::span<const Verb> KeyVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
