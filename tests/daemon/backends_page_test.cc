// docs/backends.md: what each device of the contract suite can do, written by the examination of each. The test holds
// the page to the devices; with CMKD_WRITE_DOCUMENTS set it writes the page anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/hsm/examination.h"
#include "pkcs11/spec/mechanism_table.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

struct Column {
  RigKind kind;
  const char* title;
};
// opencryptoki last: its rig gives the program a view of the file system of its own.
constexpr Column kColumns[] = {{RigKind::kSimulatorInside, "firmware_sim, in the daemon"},
                               {RigKind::kSimulatorHosted, "firmware_sim, in a host"},
                               {RigKind::kSoftHsmHosted, "SoftHSMv2"},
                               {RigKind::kNssHosted, "NSS softoken"},
                               {RigKind::kOpencryptokiHosted, "opencryptoki, soft token"}};

constexpr const char* kIntroduction = R"(# What each back end can do

Made by a test (`daemon.BackendsPage`) from an examination of each device, which is what `cmkctl hsm check` prints; the test
fails when a device and this page do not agree. `CMKD_WRITE_DOCUMENTS=1` has it write the page anew. Every device here also
passes the contract suite of back ends, `tests/daemon/hsm_backend_test.cc`: lost sessions, logins and keys, threads, caches,
epochs, killed hosts.

*good*: as the standard says. *handled*: otherwise than one would wish, and cmkd makes up for it. *missing*: not offered on a
token there.
)";

std::string Title(std::string_view first) {
  std::string line = "\n| " + std::string(first);
  for (const Column& column : kColumns) line += std::string(" | ") + column.title;
  line += " |\n|---";
  for (std::size_t i = 0; i < std::size(kColumns); ++i) line += "|---";
  return line + "|\n";
}

std::string Major(const std::string& version) { return version.substr(0, version.find('.')); }

std::string Modules(const std::vector<Examination>& found) {
  std::string text = Title("");
  text += "| module";
  for (const Examination& each : found)
    text += " | " + each.manufacturer + ", " + each.library + " " + Major(each.library_version);
  text += " |\n| speaks PKCS#11";
  for (const Examination& each : found) text += " | " + each.cryptoki_version;
  return text + " |\n";
}

const Finding* FindingOf(const Examination& found, const std::string& subject) {
  const auto at = std::find_if(found.findings.begin(), found.findings.end(),
                               [&](const Finding& finding) { return finding.subject == subject; });
  return at == found.findings.end() ? nullptr : &*at;
}

std::string Findings(const std::vector<Examination>& found) {
  std::vector<std::string> subjects;
  for (const Examination& each : found) {
    for (const Finding& finding : each.findings) {
      if (std::find(subjects.begin(), subjects.end(), finding.subject) == subjects.end())
        subjects.push_back(finding.subject);
    }
  }
  std::string text = "\n## What was tried\n" + Title("");
  std::string notes;
  for (const std::string& subject : subjects) {
    text += "| " + subject;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const Finding* finding = FindingOf(found[i], subject);
      text += " | " + (finding == nullptr ? std::string("-") : std::string(NameOf(finding->verdict)));
      if (finding == nullptr || finding->verdict == Verdict::kGood) continue;
      notes += "- " + std::string(kColumns[i].title) + ", " + subject + ": " + finding->detail + ".\n";
    }
    text += " |\n";
  }
  return text + "\n" + notes;
}

constexpr const char* kMechanisms = R"(
## Mechanisms

Of cmkd's table, those that a device has. On tokens there may be more: what cmkd composes of these (ECDSA with a digest, OAEP with
any hash, `CKM_CMKD_AES_MANAGED`).
)";

// One line for each mechanism that a device has.
std::vector<std::string> MechanismLines(const std::vector<Examination>& found) {
  std::vector<std::string> lines;
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    std::string line = "| `" + std::string(row.name) + "`";
    bool anywhere = false;
    for (const Examination& each : found) {
      const bool has = std::find(each.mechanisms.begin(), each.mechanisms.end(), row.name) != each.mechanisms.end();
      line += has ? " | yes" : " | -";
      anywhere = anywhere || has;
    }
    if (anywhere) lines.push_back(line + " |");
  }
  return lines;
}

TEST(BackendsPage, SaysWhatTheDevicesDo) {
  std::vector<Examination> found;
  for (const Column& column : kColumns) {
    HsmRig rig(column.kind);
    if (!rig.missing().empty() && column.kind == RigKind::kOpencryptokiHosted && std::getenv("CI") == nullptr)
      GTEST_SKIP() << rig.missing();
    ASSERT_TRUE(rig.missing().empty()) << rig.missing();
    const auto backend = rig.Start();
    ASSERT_NE(backend, nullptr);
    found.push_back(Examine(*backend));
  }
  const std::string page = kIntroduction + Modules(found) + Findings(found) + kMechanisms + Title("mechanism");
  const std::vector<std::string> lines = MechanismLines(found);
  const std::string path = std::string(CMKD_SOURCE_DIR) + "/docs/backends.md";
  if (std::getenv("CMKD_WRITE_DOCUMENTS") != nullptr) {
    std::ofstream file(path);
    file << page;
    for (const std::string& line : lines) file << line << '\n';
  }
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  const std::string text = content.str();
  constexpr const char* kHow = "CMKD_WRITE_DOCUMENTS=1 daemon_test --gtest_filter='BackendsPage.*' writes it anew";
  EXPECT_EQ(text.substr(0, page.size()), page) << kHow;
  // Each line of the page is true. A mechanism that is new in our own table comes to the page when it is written next.
  std::istringstream written(text.substr(std::min(page.size(), text.size())));
  int held = 0;
  for (std::string line; std::getline(written, line); ++held)
    EXPECT_NE(std::find(lines.begin(), lines.end(), line), lines.end()) << line << '\n' << kHow;
  EXPECT_GT(held, 100);
}

}  // namespace
}  // namespace cmkd::daemon
