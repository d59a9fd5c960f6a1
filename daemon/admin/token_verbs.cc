// The verbs about the daemon and its tokens.
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "daemon/admin/verbs.h"
#include "daemon/service/translate.h"
#include "pkcs11/spec/product.h"

namespace cmkd::daemon {

namespace {

Fallible<Json> GetStatus(const AdminCall& call) {
  const Daemon& daemon = call.daemon();
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

Fallible<Json> CreateToken(const AdminCall& call) {
  const TokensConfig& config = call.daemon().config.tokens;
  ASSIGN_OR_RETURN(const std::string label, TextArgument(call.arguments, "label"));
  ASSIGN_OR_RETURN(const std::string profile,
                   TextArgument(call.arguments, "profile",
                                config.default_profile == TokenProfile::kManaged ? "managed" : "general"));
  ASSIGN_OR_RETURN(const std::string hsm, TextArgument(call.arguments, "hsm", config.default_hsm.c_str()));
  if (label.empty() || label.size() > store::TokenRecord::kLabelBytesMax)
    return Fail(CKR_ARGUMENTS_BAD, "a label has 1 to 32 bytes");
  if (profile != "managed" && profile != "general") return Fail(CKR_ARGUMENTS_BAD, "a profile is managed or general");
  call.invocation.audit_text += " " + label;
  call.WillChange();
  ASSIGN_OR_RETURN(
      const store::TokenRecord token,
      call.daemon().custodian.ReserveToken(
          label, profile == "managed" ? cmk::TokenProfile::kManaged : cmk::TokenProfile::kGeneral, hsm, call.request));
  call.invocation.audit.token_id = token.id.bytes;
  return Json{{"token", DescribeToken(call.invocation, token)}};
}

Fallible<std::optional<Duration>> DaysArgument(const AdminCall& call, const char* name) {
  ASSIGN_OR_RETURN(const auto days, BoundedArgument(call.arguments, name, 0, 100'000));
  return days ? std::optional(Days(*days)) : std::nullopt;
}

Fallible<Json> SetToken(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  TokenSettings settings;
  ASSIGN_OR_RETURN(settings.deletion_window, DaysArgument(call, "deletion_window_days"));
  ASSIGN_OR_RETURN(settings.version_quiet, DaysArgument(call, "version_quiet_days"));
  const bool now = Custodian::BoundsOf(*token).disable_first;
  ASSIGN_OR_RETURN(const bool disable_first, FlagArgument(call.arguments, "disable_first", now));
  if (disable_first != now) settings.disable_first = disable_first;
  call.WillChange();
  ASSIGN_OR_RETURN(const store::TokenRecord set, call.daemon().custodian.SetToken(token->id, settings, call.request));
  return Json{{"token", DescribeToken(call.invocation, set)}};
}

Fallible<Json> ListTokens(const AdminCall& call) {
  ASSIGN_OR_RETURN(const auto tokens, call.daemon().records.ListTokens());
  Json list = Json::array();
  for (const auto& token : tokens) list.push_back(DescribeToken(call.invocation, *token));
  return Json{{"tokens", std::move(list)}};
}

Json DescribeEpoch(const AdminCall& call, const store::TokenRecord& token) {
  const Custodian::EpochProgress progress = call.daemon().custodian.ProgressOf(token);
  return {{"token", token.label},
          {"epoch", progress.current},
          {"in_progress", progress.in_progress},
          {"rewrapped", progress.rewrapped},
          {"left_behind", progress.left_behind},
          {"waits_for", progress.waits_for},
          {"due", TimeOrNull(token.epoch_due)}};
}

Fallible<Json> NewEpoch(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  call.WillChange();
  ASSIGN_OR_RETURN(const bool begun, call.daemon().custodian.BeginEpoch(token->id));
  ASSIGN_OR_RETURN(const auto now, call.daemon().records.GetToken(token->id));
  Json epoch = DescribeEpoch(call, *now);
  epoch["begun"] = begun;
  return Json{{"epoch", std::move(epoch)}};
}

Fallible<Json> ShowEpoch(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  return Json{{"epoch", DescribeEpoch(call, *token)}};
}

constexpr Verb kVerbs[] = {
    {"status", &GetStatus},
    {"token.create", &CreateToken, false, true},
    {"token.set", &SetToken, false, true},
    {"token.list", &ListTokens},
    {"token.new-epoch", &NewEpoch},
    {"token.epoch", &ShowEpoch},
};

}  // namespace

std::span<const Verb> TokenVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
