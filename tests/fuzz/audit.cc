// The audit log as its reader meets it. Input: u8 whether the chain is put right first (no mutation would get past
// SHA-256), then the bytes of a segment. What is called whole says what its bytes say.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/audit/audit_reader.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace cmkd;
using namespace cmkd::daemon;

// A folder of this process, in memory where there is such a place; gone at its end.
const std::string& Folder() {
  static const std::string folder = [] {
    const std::string base = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    std::string name = base + "/cmkd-fuzz-XXXXXX";
    FUZZ_CHECK(::mkdtemp(name.data()) != nullptr);
    return name;
  }();
  static const int registered = std::atexit([] { std::filesystem::remove_all(Folder()); });
  FUZZ_CHECK(registered == 0);
  return folder;
}

void PutChainRight(Bytes& bytes) {
  ChainValue chain{};
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = PeekRecordBytes(ByteView(bytes).subspan(at));
    if (length == 0 || length > bytes.size() - at || length < kAuditHeaderBytes + kAuditChainBytes) return;
    chain = ChainOf(chain, ByteView(bytes).subspan(at, length - kAuditChainBytes));
    std::copy(chain.begin(), chain.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at + length - kAuditChainBytes));
    at += length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Bytes bytes(data + 1, data + size);
  if ((data[0] & 1) != 0) PutChainRight(bytes);
  {
    std::ofstream file(Folder() + "/audit-00000001.log", std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  std::uint64_t records = 0;
  std::uint64_t events = 0;
  std::uint64_t last = 0;
  AuditReadOptions options;
  options.on_record = [&](const StoredRecord& record) {
    FUZZ_CHECK(record.sequence > last);
    last = record.sequence;
    ++records;
    events += record.type == AuditType::kEvent ? 1 : 0;
    FUZZ_CHECK(record.event.text.size() <= kAuditTextMax);
    return true;
  };
  const AuditReport report = ReadAuditLog(Folder(), options);
  FUZZ_CHECK(report.events == events);
  if (report.verdict == AuditReport::Verdict::kWhole) {
    FUZZ_CHECK(report.problem.empty() && report.last_sequence == last);
    FUZZ_CHECK(records == 0 ? last == 0 : last == report.first_sequence + records - 1);
  } else {
    FUZZ_CHECK(!report.problem.empty());
  }
  // A record that decodes has one encoding, but for what StampRecord puts in.
  StoredRecord record;
  const std::size_t length = PeekRecordBytes(bytes);
  if (length != 0 && length <= bytes.size() && DecodeRecord(ByteView(bytes).first(length), record) &&
      record.type == AuditType::kEvent) {
    Bytes out(kAuditRecordBytesMax);
    const std::size_t written = EncodeEvent(record.event, out);
    StampRecord(out, record.sequence, record.wall_ns, record.monotonic_ns);
    FUZZ_CHECK(written + kAuditChainBytes == length);
    FUZZ_CHECK(std::memcmp(out.data(), bytes.data(), written) == 0);
  }
  return 0;
}
