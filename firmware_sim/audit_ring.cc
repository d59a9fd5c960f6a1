// See audit_ring.h.
#include "firmware_sim/audit_ring.h"

#include <algorithm>
#include <charconv>

#include "firmware_sim/device_clock.h"
#include "firmware_sim/primitives.h"
#include "firmware_sim/record.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::sim {
namespace {

constexpr char kPrefix[] = "audit-";
constexpr std::size_t kDetailBytesMax = 160;
constexpr std::string_view kMagic = "cmkd-sim audit 1";

Failure<Error> Damaged() { return Fail(CKR_DEVICE_ERROR, "flash: the audit is damaged"); }

std::string NameOfSegment(std::uint64_t first) {
  return kPrefix + std::to_string((first - 1) / AuditRing::kSegmentRecords % AuditRing::kSegments);
}

// What comes from outside must not look like records of its own.
std::string OneLine(std::string_view text) {
  std::string line(text.substr(0, kDetailBytesMax));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line.empty() ? "-" : line;
}

// The lines of a text, each of which ends in a line's end.
std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string Bound(std::string_view word, std::uint64_t number, ByteView chain) {
  return std::string(word) + ' ' + std::to_string(number) + ' ' + Hex(chain);
}

}  // namespace

Fallible<Bytes> AuditRing::Chain(ByteView before, std::string_view line) {
  ASSIGN_OR_RETURN(const auto digest, MakeDigest(CKM_SHA256));
  RETURN_IF_ERROR(digest->Update(before));
  RETURN_IF_ERROR(digest->Update(AsBytes(line)));
  Bytes value(digest->bytes());
  RETURN_IF_ERROR(digest->Final(value));
  return value;
}

Status AuditRing::Load() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, flash_.List(kPrefix));
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const auto stored, flash_.Read(name));
    if (!stored) return Damaged();
    RecordReader reader(stored->view());
    Segment segment;
    segment.first = reader.Number();
    segment.before = ToBytes(reader.String());
    for (std::uint64_t n = reader.Number(); n > 0 && reader.ok(); --n)
      segment.lines.emplace_back(AsText(reader.String()));
    if (!reader.AtEnd() || segment.first == 0 || NameOfSegment(segment.first) != name) return Damaged();
    segments_.push_back(std::move(segment));
  }
  std::sort(segments_.begin(), segments_.end(), [](const Segment& a, const Segment& b) { return a.first < b.first; });
  for (const Segment& segment : segments_) {
    const bool goes_on = &segment == &segments_.front() || (segment.first == last_ + 1 && segment.before == chain_);
    if (!goes_on || segment.lines.empty()) return Damaged();
    last_ = segment.first - 1;
    chain_ = segment.before;
    for (const std::string& line : segment.lines) {
      ASSIGN_OR_RETURN(chain_, Chain(chain_, line));
      ++last_;
    }
  }
  return {};
}

Status AuditRing::Append(const Event& event) {
  const std::string line = std::to_string(last_ + 1) + ' ' + DeviceTimeText() + ' ' + std::string(event.who) + ' ' +
                           std::string(event.what) + ' ' + spec::ReturnValueName(event.rv) + ' ' +
                           OneLine(event.detail);
  ASSIGN_OR_RETURN(Bytes chain, Chain(chain_, line));
  if (segments_.empty() || segments_.back().lines.size() == kSegmentRecords) {
    // The new segment is written over the oldest one.
    if (segments_.size() == kSegments) segments_.pop_front();
    segments_.push_back({last_ + 1, chain_, {}, true});
  }
  segments_.back().lines.push_back(line);
  segments_.back().dirty = true;
  chain_ = std::move(chain);
  ++last_;
  return {};
}

Status AuditRing::FlushLocked() {
  for (Segment& segment : segments_) {
    if (!segment.dirty) continue;
    RecordWriter writer;
    writer.Number(segment.first);
    writer.String(segment.before);
    writer.Number(segment.lines.size());
    for (const std::string& line : segment.lines) writer.String(AsBytes(line));
    RETURN_IF_ERROR(flash_.Write(NameOfSegment(segment.first), writer.bytes()));
    segment.dirty = false;
  }
  return {};
}

Status AuditRing::Record(const Event& event) {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Append(event));
  return FlushLocked();
}

Status AuditRing::Flush() {
  const std::lock_guard lock(mutex_);
  return FlushLocked();
}

void AuditRing::Note(const Event& event) {
  const std::lock_guard lock(mutex_);
  (void)Append(event);
}

std::string AuditRing::Text() const {
  const std::lock_guard lock(mutex_);
  const bool none = segments_.empty();
  std::string text = std::string(kMagic) + '\n' +
                     Bound("after", none ? 0 : segments_.front().first - 1, none ? chain_ : segments_.front().before) +
                     '\n';
  for (const Segment& segment : segments_) {
    for (const std::string& line : segment.lines) text += line + '\n';
  }
  return text + Bound("last", last_, chain_) + '\n';
}

Status AuditRing::Check(std::string_view text) {
  const auto wrong = [](const std::string& why) { return Fail(CKR_DATA_INVALID, "not a whole audit: " + why); };
  const std::vector<std::string_view> lines = Lines(text);
  if (lines.size() < 3 || lines[0] != kMagic || !lines[1].starts_with("after ")) return wrong("its beginning");
  const std::string_view after = lines[1].substr(6);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(after.data(), after.data() + after.size(), number);
  const auto hex = static_cast<std::size_t>(end - after.data()) + 1;
  if (error != std::errc() || after.size() != hex + 64 || *end != ' ') return wrong("its second line");
  Bytes chain(32);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const char* const digits = after.data() + hex + 2 * i;
    if (std::from_chars(digits, digits + 2, chain[i], 16).ptr != digits + 2) return wrong("its second line");
  }
  for (std::size_t i = 2; i + 1 < lines.size(); ++i) {
    if (!lines[i].starts_with(std::to_string(++number) + ' ')) return wrong("record " + std::to_string(number));
    ASSIGN_OR_RETURN(chain, Chain(chain, lines[i]));
  }
  if (lines.back() != Bound("last", number, chain)) return wrong("its records do not lead to its last line");
  return {};
}

}  // namespace cmkd::sim
