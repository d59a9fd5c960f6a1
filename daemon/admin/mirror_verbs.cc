// The verbs about the mirrors of a token.
#include <nlohmann/json.hpp>

#include "daemon/admin/verbs.h"
#include "daemon/startup/root_key.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kMechanismsShown = 8;

Fallible<Digest> DigestOf(const std::string& hex) {
  Digest digest{};
  const auto value = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  bool good = hex.size() == 2 * digest.size();
  for (std::size_t i = 0; good && i < digest.size(); ++i) {
    const int high = value(hex[2 * i]), low = value(hex[2 * i + 1]);
    good = high >= 0 && low >= 0;
    digest[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  if (!good) return Fail(CKR_ARGUMENTS_BAD, "a fingerprint is 64 digits of hexadecimal");
  return digest;
}

Json Describe(const store::TokenRecord& token, const MirrorSet::Seen& seen) {
  Json lacks = Json::array();
  for (const std::string& name : seen.lacks) {
    if (lacks.size() < kMechanismsShown) lacks.push_back(name);
  }
  std::string fingerprint;
  for (const store::TokenMirror& mirror : token.mirrors) {
    if (mirror.hsm == seen.name) fingerprint = Hex(mirror.fingerprint);
  }
  return {{"token", token.label},
          {"hsm", seen.name},
          {"state", RowOf(seen.state).name},
          {"serves", RowOf(seen.state).serves},
          {"lags_by", seen.facts.missing},
          {"to_destroy", seen.facts.condemned},
          {"away_since", TimeOrNull(seen.away_since)},
          {"trouble", seen.trouble},
          {"fingerprint", fingerprint},
          {"mechanisms_lacking", seen.lacks.size()},
          {"lacks", std::move(lacks)}};
}

Fallible<Json> StatusOf(const AdminCall& call, const std::vector<Records::TokenPtr>& tokens) {
  Json mirrors = Json::array();
  Json pending = Json::array();
  bool well = true;
  for (const auto& token : tokens) {
    ASSIGN_OR_RETURN(const auto seen, call.daemon().custodian.LookAtMirrors(token->id));
    for (const MirrorSet::Seen& each : seen) {
      mirrors.push_back(Describe(*token, each));
      well = well && each.state == MirrorState::kInStep;
    }
    if (seen.empty()) continue;
    const Custodian::EpochProgress progress = call.daemon().custodian.ProgressOf(*token);
    std::size_t condemned = 0;
    for (const store::WrappingEpoch& epoch : token->epochs)
      condemned += epoch.state == store::EpochState::kCondemned ? 1 : 0;
    if (condemned != 0)
      pending.push_back({{"token", token->label}, {"wrapping_keys", condemned}, {"waits_for", progress.waits_for}});
  }
  return Json{{"mirrors", std::move(mirrors)}, {"not_final", std::move(pending)}, {"in_step", well}};
}

// Of one token, or of all.
Fallible<Json> ShowMirrors(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  if (name.empty()) {
    ASSIGN_OR_RETURN(const auto tokens, call.daemon().records.ListTokens());
    return StatusOf(call, tokens);
  }
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  return StatusOf(call, {token});
}

// Without a fingerprint only says which one the HSM shows. The root key goes there, too, so that the daemon can start
// with this HSM alone.
Fallible<Json> AddMirror(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  ASSIGN_OR_RETURN(const std::string hsm, TextArgument(call.arguments, "hsm"));
  ASSIGN_OR_RETURN(const std::string given, TextArgument(call.arguments, "fingerprint", ""));
  call.invocation.audit_text += " " + hsm;
  call.WillChange();
  if (given.empty()) {
    ASSIGN_OR_RETURN(const Digest shown, daemon.custodian.TransportFingerprint(token->id, hsm));
    return Json{{"added", false}, {"fingerprint", Hex(shown)}, {"id", Hex(TransportIdOf(token->id))}};
  }
  ASSIGN_OR_RETURN(const Digest fingerprint, DigestOf(given));
  ASSIGN_OR_RETURN(Backend * mirror, daemon.backends.Get(hsm));
  const std::string& directory = daemon.config.daemon.state_directory;
  for (const auto& [home, reference] : RootKeyReferences(directory)) {
    const auto from = daemon.backends.Get(home);
    if (!from.ok() || !(*from)->available()) continue;
    const auto shared = ShareRootKey(directory, **from, *mirror);
    if (!shared.ok()) return Fail(CKR_FUNCTION_FAILED, shared.error(), spec::kHsmRefused);
    break;
  }
  RETURN_IF_ERROR(daemon.custodian.AddMirror(token->id, hsm, fingerprint));
  return Json{{"added", true}, {"fingerprint", given}, {"id", Hex(TransportIdOf(token->id))}};
}

Fallible<Json> RemoveMirror(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  ASSIGN_OR_RETURN(const std::string hsm, TextArgument(call.arguments, "hsm"));
  ASSIGN_OR_RETURN(const bool lost, FlagArgument(call.arguments, "lost", false));
  call.invocation.audit_text += " " + hsm + (lost ? " lost" : "");
  call.WillChange();
  RETURN_IF_ERROR(call.daemon().custodian.RemoveMirror(token->id, hsm, lost));
  return Json{{"removed", true}};
}

Fallible<Json> CatchUp(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  call.WillChange();
  ASSIGN_OR_RETURN(const bool begun, call.daemon().custodian.LookAfterMirrors(token->id, true));
  ASSIGN_OR_RETURN(const auto now, call.daemon().records.GetToken(token->id));
  ASSIGN_OR_RETURN(Json status, StatusOf(call, {now}));
  status["begun"] = begun;
  return status;
}

constexpr Verb kVerbs[] = {
    {"hsm.mirror.status", &ShowMirrors},
    {"hsm.mirror.add", &AddMirror},
    {"hsm.mirror.remove", &RemoveMirror},
    {"hsm.mirror.catch-up", &CatchUp},
};

}  // namespace

std::span<const Verb> MirrorVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
