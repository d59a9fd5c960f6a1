// Records of the store as they come out of their seal, and bytes that pretend to be a sealed record. Input: u8 which
// kind, then the bytes. What decodes is within the bounds of the schema and has one encoding.
#include "keystore/store/records.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace cmkd;

template <class Record>
void HoldsItsProperties(const std::optional<Record>& record, ByteView bytes) {
  if (!record) return;
  // Records of an earlier version are read and written anew as today's.
  const Bytes again = store::Encode(*record);
  if (bytes.empty() || again.empty() || bytes.front() != again.front()) return;
  FUZZ_CHECK(again == ToBytes(bytes));
}

template <class Record>
void HoldsItsBounds(const std::optional<Record>& record, ByteView bytes) {
  HoldsItsProperties(record, bytes);
  if (record) FUZZ_CHECK(store::CheckRecord(*record).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  switch (data[0] % 6) {
    case 0: HoldsItsProperties(store::DecodeMeta({}, bytes), bytes); break;
    case 1: HoldsItsBounds(store::DecodeToken({}, bytes), bytes); break;
    case 2: HoldsItsBounds(store::DecodeObject({}, bytes), bytes); break;
    case 3: HoldsItsBounds(store::DecodeCmk({}, bytes), bytes); break;
    case 4: HoldsItsBounds(store::DecodeRequest(bytes), bytes); break;
    default: {
      const auto count = store::DecodeCount(bytes);
      if (count) FUZZ_CHECK(store::EncodeCount(*count) == ToBytes(bytes));
    }
  }
  return 0;
}
