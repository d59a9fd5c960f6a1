// See rehearsal.h.
#include "firmware_sim/rehearsal.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "firmware_sim/file.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::sim {
namespace {

using faults::Decision;
using faults::Event;
using faults::Point;

// A rule that fires at each call must not fill a disk with the news of it.
constexpr std::uint64_t kToldMax = 10'000;

std::int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// FNV-1a: tells one text from another, no more.
std::uint64_t Fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text;
  // One byte more than a script may have: the parser says that it is too long.
  text.resize(faults::kScriptBytesMax + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

void Say(const std::string& sentence) { std::fprintf(stderr, "firmware_sim: %s\n", sentence.c_str()); }

std::string Describe(const Decision& decision) {
  std::string text;
  const auto add = [&](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
  const auto add_effects = [&](const faults::Effects& effects, const char* when) {
    if (effects.drop_sessions) add(std::string("sessions dropped ") + when);
    if (effects.logout) add(std::string("logged out ") + when);
    if (effects.tamper) add(std::string("tampered with ") + when);
    if (effects.power_cut) add(std::string("power cut ") + when);
  };
  add_effects(decision.before, "before");
  if (decision.refuse != CKR_OK) add(spec::ReturnValueName(decision.refuse) + " before");
  if (decision.answer != CKR_OK) add(spec::ReturnValueName(decision.answer) + " after");
  if (decision.length) add("wrong length");
  add_effects(decision.after, "after");
  if (decision.noise != faults::Noise::kSound) add("unsound");
  if (decision.flip) add("a bit flipped");
  return text;
}

Rehearsal*& Kept() {
  static Rehearsal* kept = nullptr;
  return kept;
}

}  // namespace

std::atomic<Rehearsal*> Rehearsal::current_{nullptr};

Status Rehearsal::Start(const std::string& script, const std::string& flash_directory) {
  Stop();
  // The one before lived on for calls that were still in it.
  delete Kept();
  Kept() = nullptr;
  if (script.empty()) return {};
  std::unique_ptr<Rehearsal> rehearsal(new Rehearsal(script, flash_directory));
  if (Status read = rehearsal->Read(); !read.ok()) {
    Say(read.error().why);
    return read;
  }
  (void)rehearsal->Restore();
  Kept() = rehearsal.release();
  current_.store(Kept(), std::memory_order_release);
  return {};
}

void Rehearsal::Stop() { current_.store(nullptr, std::memory_order_release); }

Status Rehearsal::Read() {
  const auto bad = [&](const std::string& what) { return Fail(CKR_ARGUMENTS_BAD, path_ + what); };
  struct stat seen {};
  if (::stat(path_.c_str(), &seen) != 0) return bad(": " + std::string(std::strerror(errno)));
  const std::optional<std::string> text = ReadText(path_);
  if (!text) return bad(": cannot be read");
  seen_ = seen;
  auto script = faults::ParseScript(*text);
  if (!script.ok()) return bad(":" + std::to_string(script.error().line) + ": " + script.error().what);
  script_ = std::move(*script);
  counts_.assign(script_.rules.size(), {});
  fingerprint_ = Fingerprint(*text);
  begun_ = Now();
  return {};
}

void Rehearsal::ReadAgainIfChanged() {
  struct stat now {};
  // A file that is away is about to be replaced.
  if (::stat(path_.c_str(), &now) != 0) return;
  const bool same = now.st_ino == seen_.st_ino && now.st_size == seen_.st_size &&
                    now.st_mtim.tv_sec == seen_.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen_.st_mtim.tv_nsec;
  if (same) return;
  const Status read = Read();
  Say(read.ok() ? "the fault script was read again" : read.error().why + "; the script of before goes on");
}

bool Rehearsal::Restore() {
  std::ifstream file(directory_ + '/' + kFaultCountsFile);
  std::uint64_t fingerprint = 0;
  std::int64_t begun = 0;
  faults::Counts counts;
  if (!(file >> fingerprint >> begun) || fingerprint != fingerprint_ || begun > Now()) return false;
  for (faults::Count count; counts.size() < counts_.size() && file >> count.met >> count.done;) counts.push_back(count);
  if (counts.size() != counts_.size()) return false;
  counts_ = std::move(counts);
  begun_ = begun;
  return true;
}

// Whole or not at all; a power cut of the machine itself may take it along.
void Rehearsal::Save() const {
  const std::string path = directory_ + '/' + kFaultCountsFile;
  const std::string temporary = path + ".tmp";
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << fingerprint_ << ' ' << begun_ << '\n';
    for (const faults::Count& count : counts_) file << count.met << ' ' << count.done << '\n';
    if (!file.flush()) return;
  }
  (void)std::rename(temporary.c_str(), path.c_str());
}

void Rehearsal::Tell(const Decision& decision, std::string_view place) {
  if (++told_ > kToldMax) return;
  Say("fault: line " + std::to_string(decision.line) + ": " + std::string(place) + ": " + Describe(decision));
  if (told_ == kToldMax) Say("no more faults are told of");
}

Decision Rehearsal::At(const Event& event, std::string_view place) {
  Decision decision;
  {
    const std::lock_guard lock(mutex_);
    ReadAgainIfChanged();
    Event timed = event;
    timed.time = std::chrono::nanoseconds(Now() - begun_);
    decision = Decide(script_, counts_, timed);
    if (decision.line != 0) {
      Save();
      Tell(decision, place);
    }
  }
  if (decision.delay.count() > 0) std::this_thread::sleep_for(decision.delay);
  return decision;
}

Decision Rehearsal::AtCall(spec::CallId call) {
  Event event;
  event.call = call;
  return At(event, spec::Row(call).name);
}

Status Rehearsal::AtStep(Point point, std::uint32_t step) {
  Event event;
  event.point = point;
  event.step = step;
  const char* name = point == Point::kFlash ? "flash" : "zeroize";
  const Decision decision = At(event, std::string(name) + ", step " + std::to_string(step));
  if (decision.before.power_cut) CutPower();
  if (decision.refuse != CKR_OK) return Fail(decision.refuse, "flash: a fault of the script");
  return {};
}

faults::Noise Rehearsal::AtEntropy() {
  Event event;
  event.point = Point::kEntropy;
  return At(event, "entropy").noise;
}

void Rehearsal::AtSignature(MutableBytes computed) {
  Event event;
  event.point = Point::kSignature;
  if (At(event, "signature").flip && !computed.empty())
    computed[computed.size() / 2] = static_cast<std::uint8_t>(computed[computed.size() / 2] ^ 1);
}

void Rehearsal::CutPower() {
  ::kill(::getpid(), SIGKILL);
  ::_exit(137);
}

}  // namespace cmkd::sim
