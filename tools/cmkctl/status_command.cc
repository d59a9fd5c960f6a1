// cmkctl status, version.
#include "pkcs11/spec/product.h"
#include "pkcs11/wire/frame.h"
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/times.h"

namespace cmkd::tools {

namespace {

std::string VersionText(CK_VERSION version) {
  return std::to_string(version.major) + '.' + std::to_string(version.minor);
}

std::string HsmTable(const Value& status, bool colour) {
  Table table({{"HSM"}, {"KIND"}, {"AVAILABLE"}});
  for (const Value& hsm : status.Items("hsms")) {
    const bool available = hsm.Flag("available");
    table.Add(
        {{hsm.Text("name")}, {hsm.Text("kind")}, {available ? "yes" : "no", available ? Tone::kGood : Tone::kBad}});
  }
  return table.empty() ? std::string() : '\n' + table.Print(colour);
}

std::string StatusText(const Value& status, const std::string& socket, bool colour) {
  const Value audit = status.At("audit");
  const bool healthy = audit.Flag("healthy");
  Facts facts;
  facts.Add("daemon", "cmkd " + status.Text("version") + ", process " + status.Text("pid"));
  facts.Add("socket", socket);
  facts.Add("up for", Span(status.Number("uptime_seconds")));
  facts.Add("applications", status.Text("applications") + " on " + status.Text("connections") + " connections");
  facts.Add("tokens", status.Text("tokens"));
  facts.Add("keys", status.Text("keys"));
  facts.Add("store", "generation " + status.Text("generation"));
  facts.Add("audit", Cell((healthy ? "healthy, " : "cannot be written, ") + audit.Text("records") + " records",
                          healthy ? Tone::kGood : Tone::kBad));
  return facts.Print(colour) + HsmTable(status, colour);
}

}  // namespace

int Status(const Context& context) {
  Administrator daemon(context);
  const Outcome<Value> status = daemon.Ask("status");
  if (!status) return Report(context.screen, status.error());
  context.screen.Show(*status, StatusText(*status, context.socket, context.screen.colour));
  return static_cast<int>(ExitStatus::kDone);
}

int Version(const Context& context) {
  const std::string own = VersionText(spec::kLibraryVersion);
  const std::string standard = VersionText(spec::kCryptokiVersion);
  Object version;
  version.Set("version", own).Set("cryptoki", standard);
  version.Set("protocol", std::uint64_t{wire::kProtocolVersion});
  context.screen.Show(version.ToValue(), "cmkctl " + own + " (PKCS#11 " + standard + ", protocol " +
                                             std::to_string(wire::kProtocolVersion) + ")\n");
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools
