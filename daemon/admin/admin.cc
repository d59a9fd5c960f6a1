// The door itself: who may come in, what is asked, and how an answer or a refusal is written.
#include "daemon/admin/admin.h"

#include <nlohmann/json.hpp>

#include <array>

#include "common/limits.h"
#include "daemon/admin/verbs.h"
#include "daemon/crypto/digest.h"
#include "daemon/service/access.h"
#include "daemon/service/handlers.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kRequestIdBytesMax = 64;

const Verb* FindVerb(std::string_view name) {
  for (const std::span<const Verb> verbs : {TokenVerbs(), KeyVerbs(), ListVerbs(), LifeVerbs(), ImportVerbs(),
                                            AuditVerbs(), HsmVerbs(), MirrorVerbs(), DestroyVerbs()}) {
    for (const Verb& verb : verbs) {
      if (verb.name == name) return &verb;
    }
  }
  return nullptr;
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

// The client's name for its request, so that a change whose answer was lost is not made twice.
Fallible<RequestName> NameOfRequest(const Json& request, std::string_view verb, const Json& arguments) {
  ASSIGN_OR_RETURN(const std::string id, TextArgument(request, "request", ""));
  RequestName name;
  if (id.empty()) return name;
  if (id.size() > kRequestIdBytesMax) return Fail(CKR_ARGUMENTS_BAD, "a request id has at most 64 bytes");
  const Digest tag = Sha256(AsBytes("administration " + id));
  const Digest body = Sha256(AsBytes(std::string(verb) + " " + arguments.dump()));
  name.tag.assign(tag.begin(), tag.end());
  name.body_digest.assign(body.begin(), body.end());
  return name;
}

// On a full disk what takes keys out of use, or out of danger, gets the room that was kept for it.
Fallible<Json> Do(const AdminCall& call, const Verb& verb) {
  SpareRoom& room = call.daemon().spare_room;
  if (verb.reserved)
    return room.Lend([&] { return verb.answer(call); },
                     [](const Error& error) { return error.detail == spec::kStoreFull; });
  // What was lent comes back as soon as there is room again.
  room.Take();
  return verb.answer(call);
}

Fallible<Json> Answer(Invocation& invocation, std::string_view text) {
  if (!IsOperator(invocation)) return Fail(CKR_ACTION_PROHIBITED, "only operators may do this", spec::kDenied);
  if (text.size() > limits::kAdminBytesMax) return Fail(CKR_ARGUMENTS_BAD, "the request is too long");
  const Json request = Json::parse(text, nullptr, false);
  if (request.is_discarded() || !request.is_object()) return Fail(CKR_ARGUMENTS_BAD, "the request is no JSON object");
  ASSIGN_OR_RETURN(const std::string name, TextArgument(request, "verb"));
  const Json arguments = request.value("arguments", Json::object());
  if (!arguments.is_object()) return Fail(CKR_ARGUMENTS_BAD, "arguments must be an object");
  const Verb* verb = FindVerb(name);
  if (verb == nullptr) return Fail(CKR_ARGUMENTS_BAD, "there is no verb " + name.substr(0, 64));
  invocation.audit_text = name;
  if (verb->reserved) invocation.urgency = AuditLog::Urgency::kReserved;
  if (!invocation.daemon.audit.Healthy() && !verb->reserved) {
    return Fail(CKR_FUNCTION_FAILED, "the audit log cannot be written", spec::kAuditBlocked);
  }
  AdminCall call{invocation, arguments, {}};
  ASSIGN_OR_RETURN(call.request, NameOfRequest(request, name, arguments));
  ASSIGN_OR_RETURN(call.request.dry_run, FlagArgument(request, "dry_run", false));
  if (!call.request.dry_run) return Do(call, *verb);
  if (!verb->dry_run) return Fail(CKR_ARGUMENTS_BAD, name + " has no dry run");
  // A name is spent by the request itself, not by the question what it would do.
  call.request.tag.clear();
  invocation.audit_text += " (dry run)";
  ASSIGN_OR_RETURN(Json would_be, verb->answer(call));
  would_be["dry_run"] = true;
  return would_be;
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
    invocation.audit.rv = CKR_ARGUMENTS_BAD;
    return R"({"ok":false,"error":{"code":"CKR_ARGUMENTS_BAD","message":"the request cannot be read","rule":"","remedy":""}})";
  }
}

Status Handle(Invocation& invocation, spec::Call<spec::CallId::Admin>& call) {
  call.answer.value = ToBytes(AsBytes(AnswerAdmin(invocation, AsText(call.request.view()))));
  return {};
}

}  // namespace cmkd::daemon
