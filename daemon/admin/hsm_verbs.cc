// The verbs about the HSMs.
#include <nlohmann/json.hpp>

#include "daemon/admin/verbs.h"
#include "daemon/custody/reconcile.h"
#include "daemon/startup/root_key.h"

namespace cmkd::daemon {

namespace {

Json Describe(const Finding& finding) {
  return {{"kind", Name(finding.kind)}, {"hsm", finding.hsm},   {"id", Hex(finding.id)},
          {"label", finding.label},     {"what", finding.what}, {"destroyed", finding.destroyed}};
}

Fallible<Json> ReconcileHsms(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  Repair repair;
  ASSIGN_OR_RETURN(repair.orphans, FlagArgument(call.arguments, "orphans", false));
  ASSIGN_OR_RETURN(repair.leftovers, FlagArgument(call.arguments, "leftovers", false));
  ASSIGN_OR_RETURN(repair.nameless, FlagArgument(call.arguments, "nameless", false));
  if (repair.orphans || repair.leftovers || repair.nameless) call.WillChange();
  const Bytes root = RootKeyReference(daemon.config.daemon.state_directory);
  ASSIGN_OR_RETURN(const Reconciliation done,
                   Reconcile(daemon.store, daemon.backends, daemon.custodian, daemon.registry, root, repair));
  Json findings = Json::array();
  std::size_t destroyed = 0;
  for (const Finding& finding : done.findings) {
    findings.push_back(Describe(finding));
    destroyed += finding.destroyed ? 1 : 0;
  }
  if (destroyed != 0) call.invocation.audit_text += " destroyed " + std::to_string(destroyed) + " objects";
  return Json{{"objects", done.objects}, {"findings", std::move(findings)}};
}

constexpr Verb kVerbs[] = {
    {"hsm.reconcile", &ReconcileHsms},
};

}  // namespace

std::span<const Verb> HsmVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
