// See key_usage.h.
#include "firmware_sim/key_usage.h"

#include <algorithm>
#include <limits>
#include <string>

#include "firmware_sim/record.h"

namespace cmkd::sim {
namespace {

// A block is a part of what is left, so that a power cut costs a key with few uses few of them.
constexpr std::uint64_t kPartOfRest = 16;
constexpr std::uint64_t kUsesBlock = 1024;
constexpr std::uint64_t kBytesBlock = std::uint64_t{16} << 20;
constexpr std::uint64_t kSecondsBlock = 60;

std::uint64_t Add(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max() : a + b;
}

std::uint64_t Ahead(std::uint64_t spent, std::uint64_t limit, std::uint64_t block) {
  if (limit == 0) return spent;
  return spent + std::min(block, (limit - spent) / kPartOfRest);
}

Failure<Error> Exhausted(const char* what) {
  return Fail(CKR_KEY_EXHAUSTED, std::string("the key has no ") + what + " left");
}

}  // namespace

Bytes Spent::Encode() const {
  RecordWriter writer;
  for (const std::uint64_t number : {uses, bytes, gcm, made, seen}) writer.Number(number);
  return ToBytes(writer.bytes());
}

Fallible<Spent> Spent::Decode(ByteView record) {
  RecordReader reader(record);
  Spent spent;
  for (std::uint64_t* number : {&spent.uses, &spent.bytes, &spent.gcm, &spent.made, &spent.seen})
    *number = reader.Number();
  if (!reader.AtEnd()) return Fail(CKR_DEVICE_ERROR, "flash: the counters of a key are malformed");
  return spent;
}

Spent After(const Spent& spent, const Amount& amount, std::uint64_t now) {
  return {Add(spent.uses, amount.uses), Add(spent.bytes, amount.bytes), Add(spent.gcm, amount.gcm), spent.made,
          std::max(spent.seen, now)};
}

Status CheckSpent(const Limits& limits, const Spent& after) {
  if (limits.uses != 0 && after.uses > limits.uses) return Exhausted("uses");
  if (limits.bytes != 0 && after.bytes > limits.bytes) return Exhausted("bytes");
  if (limits.seconds != 0 && after.seen >= Add(after.made, limits.seconds)) return Exhausted("time");
  if (after.gcm > kGcmMax) return Exhausted("IVs");
  return {};
}

Spent Reserve(const Limits& limits, const Spent& after) {
  Spent reserved = after;
  reserved.uses = Ahead(after.uses, limits.uses, kUsesBlock);
  reserved.bytes = Ahead(after.bytes, limits.bytes, kBytesBlock);
  if (after.gcm != 0) reserved.gcm = std::min(Add(after.gcm, kGcmBlock), kGcmMax);
  return reserved;
}

Spent Latest(const Spent& a, const Spent& b) {
  return {std::max(a.uses, b.uses), std::max(a.bytes, b.bytes), std::max(a.gcm, b.gcm),
          a.made == 0 || b.made == 0 ? std::max(a.made, b.made) : std::min(a.made, b.made), std::max(a.seen, b.seen)};
}

KeyUsage::KeyUsage(const Limits& limits, const Spent& durable, bool in_memory_only)
    : limits_(limits),
      in_memory_only_(in_memory_only),
      spent_(durable),
      reserved_(durable),
      gcm_(durable.gcm),
      gcm_ready_(in_memory_only ? kGcmMax : durable.gcm) {}

Spent KeyUsage::AfterLocked(const Amount& amount, std::uint64_t now) const {
  Spent before = spent_;
  before.gcm = gcm_.load(std::memory_order_relaxed);
  return After(before, amount, now);
}

// The time is noted with whatever else is: a clock that is put back gives no more than since then.
bool KeyUsage::NeedsMore(const Spent& after) const {
  if (in_memory_only_) return false;
  const bool uses = limits_.uses != 0 && after.uses > reserved_.uses;
  const bool bytes = limits_.bytes != 0 && after.bytes > reserved_.bytes;
  const bool time = limits_.seconds != 0 && after.seen >= Add(reserved_.seen, kSecondsBlock);
  return uses || bytes || time || after.gcm > reserved_.gcm;
}

void KeyUsage::Took(const Spent& more) {
  reserved_ = Latest(reserved_, more);
  gcm_ready_.store(reserved_.gcm);
}

void KeyUsage::Become(const Spent& after, const Amount& amount) {
  spent_ = after;
  since_login_ += amount.uses;
  gcm_.fetch_add(amount.gcm, std::memory_order_relaxed);
}

bool KeyUsage::WantsLogin(std::uint64_t login_epoch) {
  if (limits_.uses_per_login == 0) return false;
  const std::lock_guard lock(mutex_);
  if (login_epoch != login_epoch_) {
    login_epoch_ = login_epoch;
    since_login_ = 0;
  }
  return since_login_ >= limits_.uses_per_login;
}

// The use that was waiting for it is the first of the new ones.
void KeyUsage::Confirmed(std::uint64_t login_epoch) {
  const std::lock_guard lock(mutex_);
  login_epoch_ = login_epoch;
  since_login_ = 1;
}

Spent KeyUsage::spent() const {
  const std::lock_guard lock(mutex_);
  Spent spent = spent_;
  spent.gcm = gcm_.load(std::memory_order_relaxed);
  return spent;
}

Spent KeyUsage::reserved() const {
  const std::lock_guard lock(mutex_);
  return Latest(reserved_, AfterLocked({}, 0));
}

}  // namespace cmkd::sim
