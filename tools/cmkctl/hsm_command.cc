// cmkctl hsm check: what an HSM's module can do for cmkd, as a report. Needs no daemon; the module runs in a host
// process of its own, as it does under one.
#include "daemon/hsm/backend_factory.h"
#include "daemon/hsm/examination.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/throwaway_directory.h"

namespace cmkd::tools {

namespace {

Outcome<daemon::HsmConfig> ConfigOf(const HsmCheckOptions& options) {
  daemon::HsmConfig config;
  config.name = "check";
  config.kind = daemon::HsmKind::kPkcs11;
  config.module = options.module;
  config.token_label = options.token_label;
  config.token_serial = options.token_serial;
  config.pin_file = options.pin_file;
  config.library_options = options.library_options;
  config.serialise = options.serialise;
  for (const std::string& entry : options.environment) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      return UsageProblem("--environment wants NAME=VALUE, and not " + Harmless(entry) + ".");
    config.environment[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return config;
}

Outcome<daemon::Examination> Check(const HsmCheckOptions& options) {
  ASSIGN_OR_RETURN(const daemon::HsmConfig config, ConfigOf(options));
  auto folder = ThrowawayDirectory::Make("cmkd-hsm-check");
  if (!folder.ok()) return Refused("HSM_CHECK", folder.error());
  daemon::BackendSurroundings surroundings;
  surroundings.state_directory = (*folder)->path();
  auto backend = daemon::StartBackend(config, surroundings);
  if (!backend.ok()) return Refused("HSM_CHECK", backend.error() + ".");
  return daemon::Examine(**backend);
}

Tone ToneOf(daemon::Verdict verdict) {
  switch (verdict) {
    case daemon::Verdict::kGood: return Tone::kGood;
    case daemon::Verdict::kHandled: return Tone::kPlain;
    case daemon::Verdict::kMissing: return Tone::kCaution;
    case daemon::Verdict::kFault: return Tone::kBad;
  }
  return Tone::kPlain;
}

std::string Report(const daemon::Examination& found, bool colour) {
  Facts facts;
  facts.Add("module", Harmless(found.manufacturer + ", " + found.library + " " + found.library_version));
  facts.Add("speaks", "PKCS#11 " + found.cryptoki_version);
  facts.Add("token", Harmless(found.token + " (" + found.token_manufacturer + " " + found.model + ", serial " +
                              found.serial + ", firmware " + found.firmware_version + ")"));
  facts.Add("mechanisms", std::to_string(found.mechanisms.size()) + " that cmkd knows (all of them: --json)");
  Table table({{"SUBJECT"}, {"VERDICT"}, {"DETAIL"}});
  for (const daemon::Finding& finding : found.findings) {
    table.Add(
        {finding.subject, {std::string(NameOf(finding.verdict)), ToneOf(finding.verdict)}, Harmless(finding.detail)});
  }
  return facts.Print(colour) + '\n' + table.Print(colour) + '\n' +
         (found.usable() ? "cmkd can use this device.\n" : "cmkd cannot use this device.\n");
}

Value Document(const daemon::Examination& found) {
  Object module, token, all;
  module.Set("manufacturer", found.manufacturer).Set("library", found.library);
  module.Set("version", found.library_version).Set("cryptoki", found.cryptoki_version);
  token.Set("label", found.token).Set("manufacturer", found.token_manufacturer).Set("model", found.model);
  token.Set("serial", found.serial).Set("firmware", found.firmware_version);
  std::vector<Object> mechanisms, findings;
  for (const std::string& name : found.mechanisms) mechanisms.emplace_back(Object()).Set("name", name);
  for (const daemon::Finding& finding : found.findings) {
    findings.emplace_back(Object())
        .Set("subject", finding.subject)
        .Set("verdict", NameOf(finding.verdict))
        .Set("detail", finding.detail);
  }
  all.Set("usable", found.usable()).Set("module", module).Set("token", token);
  all.Set("mechanisms", mechanisms).Set("findings", findings);
  return all.ToValue();
}

}  // namespace

int HsmCheck(const Context& context, const HsmCheckOptions& options) {
  const Outcome<daemon::Examination> found = Check(options);
  if (!found) return Report(context.screen, found.error());
  context.screen.Show(Document(*found), Report(*found, context.screen.colour));
  return static_cast<int>(found->usable() ? ExitStatus::kDone : ExitStatus::kRefused);
}

}  // namespace cmkd::tools
