// cmkctl audit show, verify.
#include <cctype>
#include <charconv>
#include <filesystem>

#include "common/bytes.h"
#include "daemon/audit/audit_reader.h"
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/times.h"

namespace cmkd::tools {

namespace {

constexpr int kDone = static_cast<int>(ExitStatus::kDone);
using daemon::AuditReport;
using daemon::StoredRecord;

std::string WhoText(const Value& record) {
  const std::string uid = record.Text("uid");
  const std::string pid = record.Text("pid");
  return uid.empty() && pid.empty() ? std::string() : uid + '/' + pid;
}

// Ids are long; their beginning tells two apart, and --json has them whole.
std::string Short(const std::string& id) { return id.size() == 32 ? id.substr(0, 8) : id; }

std::string KeyName(const Value& record) {
  const std::string key = Short(record.Text("key"));
  const std::string version = record.Text("version");
  return key.empty() || version.empty() || version == "0" ? key : key + "@v" + version;
}

Cell ResultCell(const Value& record) {
  const std::string result = record.Text("result");
  const std::string detail = record.Text("detail");
  const bool good = result.empty() || result == "CKR_OK" || result == "OK";
  const bool told = !detail.empty() && detail != "NONE" && detail != "0";
  return {told ? result + ' ' + detail : result, good ? Tone::kGood : Tone::kBad};
}

std::string RecordTable(const std::vector<Value>& records, bool colour) {
  Table table(
      {{"RECORD", true}, {"TIME"}, {"UID/PID"}, {"CALL"}, {"TOKEN"}, {"KEY"}, {"MECHANISM"}, {"RESULT"}, {"TEXT"}});
  for (const Value& record : records) {
    const std::string call = record.Has("call") ? record.Text("call") : record.Text("kind");
    table.Add({record.Text("sequence"), LocalTimeWithSeconds(record.Text("time")), WhoText(record), call,
               Short(record.Text("token")), KeyName(record), record.Text("mechanism"), ResultCell(record),
               record.Text("text")});
  }
  return table.Print(colour);
}

// ---- verify

struct Anchor {
  std::uint64_t sequence = 0;
  std::string chain;  // in hexadecimal
};

Outcome<Anchor> ParseAnchor(const std::string& text) {
  Anchor anchor;
  const std::size_t colon = std::min(text.size(), text.find(':'));
  const auto [end, error] = std::from_chars(text.data(), text.data() + colon, anchor.sequence);
  if (colon < text.size()) anchor.chain = text.substr(colon + 1);
  const bool number = error == std::errc() && end == text.data() + colon && anchor.sequence != 0;
  if (!number || anchor.chain.size() != 2 * sizeof(daemon::ChainValue)) {
    return UsageProblem("--anchor takes SEQUENCE:CHAIN.",
                        "Give the \"anchor\" line of an earlier cmkctl audit verify.");
  }
  return anchor;
}

// The log's own directory, also when the daemon's state directory was named.
std::string LogDirectory(const std::string& named) {
  const std::filesystem::path inner = std::filesystem::path(named) / "audit";
  std::error_code ignored;
  return std::filesystem::is_directory(inner, ignored) ? inner.string() : named;
}

std::string_view VerdictName(AuditReport::Verdict verdict) {
  switch (verdict) {
    case AuditReport::Verdict::kWhole: return "whole";
    case AuditReport::Verdict::kTornTail: return "torn";
    case AuditReport::Verdict::kBad: return "bad";
    case AuditReport::Verdict::kUnreadable: return "unreadable";
  }
  return {};
}

Value ReportDocument(const AuditReport& report, const std::string& directory) {
  Object document;
  document.Set("directory", directory).Set("verdict", VerdictName(report.verdict));
  if (!report.problem.empty()) {
    document.Set("problem", report.problem).Set("file", report.file).Set("offset", report.offset);
  }
  document.Set("log_id", Hex(report.log_id)).Set("first_sequence", report.first_sequence);
  document.Set("last_sequence", report.last_sequence).Set("chain", Hex(report.chain));
  document.Set("events", report.events).Set("checkpoints", report.checkpoints);
  document.Set("signed_checkpoints", report.signed_checkpoints).Set("covered_sequence", report.covered_sequence);
  document.Set("closed", report.closed).Set("live", report.live);
  return document.ToValue();
}

Cell EndText(const AuditReport& report) {
  if (report.closed) return "closed by a clean stop";
  if (report.live) return "open: a daemon is writing it";
  return {"open: its daemon was killed, or the end was cut off", Tone::kCaution};
}

std::string ReportText(const AuditReport& report, const std::string& directory, bool colour) {
  Facts facts;
  facts.Add("log", directory);
  facts.Add("records", std::to_string(report.first_sequence) + " to " + std::to_string(report.last_sequence) + ", " +
                           std::to_string(report.events) + " events");
  facts.Add("checkpoints",
            std::to_string(report.checkpoints) + ", " + std::to_string(report.signed_checkpoints) + " of them signed");
  facts.Add("end", EndText(report));
  facts.Add("anchor", std::to_string(report.last_sequence) + ':' + Hex(report.chain));
  const bool whole = report.verdict == AuditReport::Verdict::kWhole;
  facts.Add("verdict",
            whole ? Cell("every record is right and in its place", Tone::kGood) : Cell(report.problem, Tone::kBad));
  return facts.Print(colour);
}

// The reader says what is wrong in half a sentence.
std::string ProblemSentence(const AuditReport& report) {
  std::string text = report.problem;
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  if (!report.file.empty()) text += " (" + report.file + ", byte " + std::to_string(report.offset) + ")";
  return text + '.';
}

Problem ProblemOf(const AuditReport& report) {
  const std::string sentence = ProblemSentence(report);
  switch (report.verdict) {
    case AuditReport::Verdict::kTornTail:
      return {
          ExitStatus::kRefused, "AUDIT_TORN", sentence,
          "After record " + std::to_string(report.last_sequence) + " nothing is proved.",
          "After a power cut this is what is expected: the daemon's next start sets the torn bytes aside and says so."};
    case AuditReport::Verdict::kUnreadable:
      return {ExitStatus::kRefused,
              "AUDIT_UNREADABLE",
              sentence,
              {},
              "Name the directory that holds audit-00000001.log and its followers."};
    default:
      return {ExitStatus::kRefused, "AUDIT_BAD", sentence,
              "A record that was changed, taken out, put in or moved breaks the chain from there on.",
              "Keep the files as they are and compare them with a copy."};
  }
}

std::optional<Problem> Judge(const AuditReport& report, const std::optional<Anchor>& anchor, const std::string& found) {
  if (report.verdict != AuditReport::Verdict::kWhole) return ProblemOf(report);
  if (!anchor || anchor->chain == found) return std::nullopt;
  return Problem{ExitStatus::kRefused, "AUDIT_ANCHOR",
                 found.empty()
                     ? "Record " + std::to_string(anchor->sequence) + " is not in this log."
                     : "Record " + std::to_string(anchor->sequence) + " is not the one that was there before.",
                 "A log that once had a record must have it for ever.", "Compare the log with a copy kept elsewhere."};
}

}  // namespace

int AuditShow(const Context& context, const AuditShowOptions& options) {
  Administrator daemon(context);
  Object arguments;
  arguments.Set("limit", std::uint64_t{options.limit});
  arguments.SetIfAny("key", options.key).SetIfAny("token", options.token);
  Object wanted;
  for (const std::string& pair : options.context) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return Report(context.screen, UsageProblem("A context is NAME=VALUE, not " + pair + ".").error);
    wanted.Set(pair.substr(0, equals), pair.substr(equals + 1));
  }
  if (!options.context.empty()) arguments.Set("context", wanted);
  const Outcome<Value> shown = daemon.Ask("audit.show", arguments);
  if (!shown) return Report(context.screen, shown.error());
  const std::vector<Value> records = shown->Items("records");
  context.screen.Show(*shown,
                      records.empty() ? "There are no such records.\n" : RecordTable(records, context.screen.colour));
  return kDone;
}

int AuditVerify(const Context& context, const AuditVerifyOptions& options) {
  std::optional<Anchor> anchor;
  if (!options.anchor.empty()) {
    Outcome<Anchor> parsed = ParseAnchor(options.anchor);
    if (!parsed) return Report(context.screen, parsed.error());
    anchor = *parsed;
  }
  std::string found;
  daemon::AuditReadOptions reading;
  reading.allow_pruned = options.allow_pruned;
  reading.on_record = [&](const StoredRecord& record) {
    if (anchor && record.sequence == anchor->sequence) found = Hex(record.chain);
    return true;
  };
  const std::string directory = LogDirectory(options.directory);
  const AuditReport report = daemon::ReadAuditLog(directory, reading);
  if (report.verdict != AuditReport::Verdict::kUnreadable) {
    context.screen.Show(ReportDocument(report, directory), ReportText(report, directory, context.screen.colour));
  }
  const std::optional<Problem> problem = Judge(report, anchor, found);
  return problem ? Report(context.screen, *problem) : kDone;
}

}  // namespace cmkd::tools
