// When the note is written, and what it looks like.
#include "daemon/custody/anchor.h"

#include <algorithm>

#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

namespace {

using std::chrono::seconds;

constexpr std::string_view kMagic = "cmkd anchor 1\n";
// A device's memory wears out: no more writes than this.
constexpr seconds kUrgentEvery{5};
constexpr seconds kEvery{600};
constexpr std::uint64_t kCommitsAtMost = 1000;

}  // namespace

Fallible<std::uint64_t> Anchor::Read() {
  const auto notes = home_.ReadNotes(name_);
  if (!notes.ok()) return Failure{notes.error()};
  // Two after a crash between the new one and the end of the old one: the higher is right.
  for (const Bytes& note : *notes) {
    wire::Reader r(note);
    if (AsText(r.Raw(kMagic.size())) != kMagic) continue;
    const std::uint64_t generation = r.U64();
    if (r.AtEnd()) noted_ = std::max(noted_, generation);
  }
  return noted_;
}

Status Anchor::Write(std::uint64_t generation) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Raw(AsBytes(kMagic));
  w.U64(generation);
  RETURN_IF_ERROR(home_.ReplaceNote(name_, buffer.view()));
  noted_ = generation;
  return {};
}

Status Anchor::Follow(std::uint64_t generation, bool urgent, std::chrono::nanoseconds now) {
  urgent_ = urgent_ || urgent;
  if (generation <= noted_) return {};
  const auto since = looked_at_ ? now - *looked_at_ : kEvery;
  const bool many = generation - noted_ >= kCommitsAtMost;
  if (since < kUrgentEvery || (!urgent_ && !many && since < kEvery)) return {};
  looked_at_ = now;
  RETURN_IF_ERROR(Write(generation));
  urgent_ = false;
  return {};
}

}  // namespace cmkd::daemon
