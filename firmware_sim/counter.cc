// See counter.h.
#include "firmware_sim/counter.h"

#include "firmware_sim/record.h"

namespace cmkd::sim {
namespace {

constexpr char kCounterFile[] = "counter";

}  // namespace

Status Counter::Load() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const std::optional<SecretBytes> stored, flash_.Read(kCounterFile));
  if (!stored) return {};
  RecordReader reader(stored->view());
  last_ = reader.Number();
  if (!reader.AtEnd()) return Fail(CKR_DEVICE_ERROR, "flash: the counter is malformed");
  return {};
}

Fallible<Counter::Value> Counter::Next() {
  const std::lock_guard lock(mutex_);
  ++last_;
  RecordWriter writer;
  writer.Number(last_);
  RETURN_IF_ERROR(flash_.Write(kCounterFile, writer.bytes()));
  Value value{};
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<std::uint8_t>(last_ >> (8 * (7 - i)));
  return value;
}

std::uint64_t Counter::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace cmkd::sim
