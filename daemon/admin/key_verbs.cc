// The verbs about keys: making, showing and the events of their life.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/admin/key_making.h"
#include "daemon/admin/verbs.h"
#include "daemon/custody/importer.h"
#include "daemon/service/access.h"
#include "daemon/service/default_key.h"

namespace cmkd::daemon {

namespace {

Status CheckNameIsFree(const AdminCall& call, const store::TokenRecord& token, const std::string& name) {
  if (token.profile != cmk::TokenProfile::kManaged || name.empty()) return {};
  STORE_OR_RETURN(const auto read, call.daemon().store.BeginRead());
  STORE_OR_RETURN(const auto owners, read->FindCmksByName(token.id, name));
  if (owners.empty()) return {};
  return Fail(CKR_ARGUMENTS_BAD, "another key of the token has this name", spec::kNameTaken);
}

// The token's default key, made if it is not there: there is one, whoever asks and however often.
Fallible<Json> CreateDefaultKey(const AdminCall& call, const store::TokenRecord& token) {
  if (call.request.dry_run) return Json{{"key", {{"token", token.label}, {"name", kDefaultKeyName}}}};
  call.WillChange();
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE handle, FindDefaultKey(call.daemon(), token.id));
  ASSIGN_OR_RETURN(const ObjectPtr object, call.daemon().records.GetObject(handle));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(*object->cmk));
  call.invocation.audit.cmk_id = key->id.bytes;
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

Fallible<Json> CreateKey(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  ASSIGN_OR_RETURN(const std::string token_name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, token_name));
  if (!IsInitialised(*token)) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  ASSIGN_OR_RETURN(const std::string key_class, TextArgument(call.arguments, "class", "customer"));
  if (key_class == "default") return CreateDefaultKey(call, *token);
  ASSIGN_OR_RETURN(const KeyRequest request, ReadKeyRequest(call.arguments));
  call.invocation.audit_text += " " + request.name;
  call.WillChange();
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Of(*token));
  ASSIGN_OR_RETURN(const Custodian::Under under, daemon.custodian.WrappingKeyFor(token->id, Custodian::Keep::kToken));
  const Timestamp now = daemon.clock.Now();
  RETURN_IF_ERROR(CheckKeyRequest(request, *token, now));
  if (call.request.dry_run) {
    RETURN_IF_ERROR(CheckNameIsFree(call, *token, request.name));
    return Json{{"key", {{"token", token->label}, {"name", request.name}, {"spec", request.spec->name}}}};
  }
  if (request.external) RETURN_IF_ERROR(CheckImportable(daemon.config.tokens.crypto_profile, *request.spec));
  ASSIGN_OR_RETURN(NewObjects objects, MakeKey(*backend, under, request, ProfileOf(*token), now));
  ASSIGN_OR_RETURN(const auto handles, daemon.custodian.Add(token->id, std::move(objects), call.request));
  ASSIGN_OR_RETURN(const ObjectPtr object, daemon.records.GetObject(handles.back()));
  ASSIGN_OR_RETURN(const auto key, daemon.records.GetCmk(*object->cmk));
  call.invocation.audit.cmk_id = key->id.bytes;
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

Fallible<Json> ShowKey(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(id));
  return Json{{"key", DescribeKey(call.invocation, *key, true)}};
}

Fallible<Json> Changed(const AdminCall& call, cmk::Request request) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const auto before, call.daemon().records.GetCmk(id));
  request.by_owner = IsOwner(call, *before);
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
  ASSIGN_OR_RETURN(const auto brown_outs, BoundedArgument(call.arguments, "brown_out_days", 0, 100'000));
  cmk::Request request(brown_outs ? cmk::CmkEvent::kAnnounceDeletion : cmk::CmkEvent::kScheduleDeletion);
  if (days) request.window = Days(*days);
  request.notice = Days(brown_outs.value_or(0));
  return Changed(call, request);
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
    {"key.create", &CreateKey, false, true},
    {"key.show", &ShowKey},
    {"key.disable", &Do<cmk::CmkEvent::kDisable>, true, true},
    {"key.enable", &Do<cmk::CmkEvent::kEnable>, false, true},
    {"key.archive", &Do<cmk::CmkEvent::kArchive>, false, true},
    {"key.unarchive", &Do<cmk::CmkEvent::kUnarchive>, false, true},
    {"key.activate", &Do<cmk::CmkEvent::kActivate>, false, true},
    {"key.delete-material", &Do<cmk::CmkEvent::kForgetMaterial>, false, true},
    {"key.rotate", &RotateKey, false, true},
    {"key.schedule-deletion", &ScheduleDeletion, false, true},
    {"key.cancel-deletion", &Do<cmk::CmkEvent::kCancelDeletion>, true, true},
};

}  // namespace

std::span<const Verb> KeyVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
