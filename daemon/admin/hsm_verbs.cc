// The verbs about the HSMs.
#include <nlohmann/json.hpp>

#include "daemon/admin/adoption.h"
#include "daemon/admin/verbs.h"
#include "daemon/custody/reconcile.h"
#include "daemon/service/access.h"
#include "daemon/startup/root_key.h"

namespace cmkd::daemon {

namespace {

Json Describe(const Discrepancy& finding) {
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
  const auto roots = RootKeyReferences(daemon.config.daemon.state_directory);
  ASSIGN_OR_RETURN(const Reconciliation done,
                   Reconcile(daemon.store, daemon.backends, daemon.custodian, daemon.registry, roots, repair));
  Json findings = Json::array();
  std::size_t destroyed = 0;
  for (const Discrepancy& finding : done.findings) {
    findings.push_back(Describe(finding));
    destroyed += finding.destroyed ? 1 : 0;
  }
  if (destroyed != 0) call.invocation.audit_text += " destroyed " + std::to_string(destroyed) + " objects";
  return Json{{"objects", done.objects}, {"findings", std::move(findings)}};
}

// One key at a time, each in a transaction of its own: what cannot be adopted does not hold up the rest.
Fallible<Json> AdoptKeys(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const auto token, FindToken(call, name));
  if (!IsInitialised(*token)) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  ASSIGN_OR_RETURN(const bool dry_run, FlagArgument(call.arguments, "dry_run", false));
  ASSIGN_OR_RETURN(std::vector<Adoptee> keys, FindAdoptees(daemon, *token));
  ASSIGN_OR_RETURN(std::vector<spec::Attributes> certificates, FindCertificates(daemon, *token));
  if (!dry_run) call.WillChange();
  Json list = Json::array();
  std::size_t adopted = 0;
  for (Adoptee& key : keys) {
    if (key.why_not.empty() && !dry_run) {
      const auto added = daemon.custodian.Add(token->id, std::move(key.objects), {});
      key.adopted = added.ok();
      if (!added.ok()) key.why_not = added.error().why;
      adopted += added.ok() ? 1 : 0;
    }
    list.push_back({{"label", key.label},
                    {"id", Hex(key.id)},
                    {"spec", key.spec},
                    {"adopted", key.adopted},
                    {"adoptable", key.why_not.empty()},
                    {"why_not", key.why_not}});
  }
  for (spec::Attributes& certificate : certificates) {
    if (dry_run) continue;
    NewObjects objects;
    objects.objects.push_back(std::move(certificate));
    ASSIGN_OR_RETURN([[maybe_unused]] const auto added, daemon.custodian.Add(token->id, std::move(objects), {}));
  }
  call.invocation.audit_text += dry_run ? " dry run" : " " + std::to_string(adopted) + " keys";
  return Json{{"keys", std::move(list)}, {"certificates", certificates.size()}, {"dry_run", dry_run}};
}

constexpr Verb kVerbs[] = {
    {"hsm.adopt", &AdoptKeys},
    {"hsm.reconcile", &ReconcileHsms},
};

}  // namespace

std::span<const Verb> HsmVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
