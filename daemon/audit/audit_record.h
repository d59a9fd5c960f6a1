// One record of the audit log as a value, and its bytes. Pure: no file, no clock.
//
// The byte format (format 1). All integers are little-endian. A log is a row of segment files, audit-00000001.log and
// so on; a segment is a row of records and after the last one nothing but zero bytes. A record is
//
//   offset  size  field
//        0     4  length: of the whole record, with this field and the chain value; a multiple of 8, at most 4096
//        4     1  format: 1
//        5     1  type: 1 segment, 2 event, 3 checkpoint
//        6     2  text length: bytes of text at the end of the body
//        8     8  sequence: 1 for the first record of the log, one more for each record, whatever its type or segment
//       16     8  wall time, ns since 1970-01-01T00:00:00Z (signed)
//       24     8  monotonic time, ns of CLOCK_BOOTTIME (signed)
//       32     n  body, by type, then text, then zero bytes up to a multiple of 8
//   32 + n    32  chain: SHA-256(chain of the record before ‖ this record without its chain)
//
// So every byte of a record is under its chain value, and each chain value is under the next: a record changed, taken
// out, put in, doubled or moved breaks the chain from there on. The chain value before the first record is all zero.
//
//   segment (first record of each file), 72 bytes:
//      16 log id (random, the same in all segments)   8 segment number   32 chain value of the record before
//      16 boot id of the machine
//   event, 136 bytes:
//       8 store generation      8 application id        8 request id        8 object handle
//       8 mechanism             8 CK_RV                 8 detail            8 input bytes       8 output bytes
//      16 token id             16 CMK id                4 CMK version       4 uid               4 gid
//       4 pid                   2 call id               1 kind             13 zero
//   checkpoint, 80 bytes:
//       8 sequence S of the record it speaks of, at most kCheckpointReach records before it
//      32 chain value of record S                       8 store generation  8 wall time it was made
//      16 id of the signing key (zero: unsigned)        1 closing (1: written at a clean end)  7 zero
//      The text is the signature over CheckpointStatement below, empty when unsigned. A checkpoint speaks of a record
//      before it and not of itself, so that signing (slow, in the HSM) never holds up the log.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/bytes.h"

namespace cmkd::daemon {

using AuditId = std::array<std::uint8_t, 16>;
using ChainValue = std::array<std::uint8_t, 32>;

// Why an event is in the log.
enum class AuditKind : std::uint8_t {
  kUse = 1,      // a key was used, or a use was refused
  kChange = 2,   // a change of a key, a token, a rule: durable before it is answered
  kAccess = 3,   // login, logout, PIN change, a lock
  kAlarm = 4,    // something a person should look at: use of a key that waits for deletion, a wrong clock
  kService = 5,  // start, stop, recovery of the daemon itself
};
std::string_view AuditKindName(AuditKind kind);

// What the caller knows of one event. Sequence and times are the log's own business (see StoredRecord).
struct AuditRecord {
  AuditKind kind = AuditKind::kUse;
  std::uint64_t store_generation = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
  std::uint64_t application_id = 0;
  std::uint64_t request_id = 0;
  std::uint16_t call = 0;  // spec::CallId; 0 (C_Initialize, which never crosses the wire) for none
  AuditId token_id{};
  AuditId cmk_id{};  // zero: no CMK
  std::uint32_t version = 0;
  std::uint64_t object_handle = 0;
  std::uint64_t mechanism = 0;
  std::uint64_t rv = 0;
  std::uint64_t detail = 0;
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
  std::string_view text;  // label or verb, never a secret; bytes beyond kAuditTextMax are left out
};

inline constexpr std::size_t kAuditTextMax = 255;
inline constexpr std::size_t kAuditHeaderBytes = 32;
inline constexpr std::size_t kAuditChainBytes = 32;
inline constexpr std::size_t kAuditRecordBytesMax = 4096;
inline constexpr std::size_t kAuditSignatureMax = 2048;
inline constexpr std::uint64_t kCheckpointReach = 1 << 20;

enum class AuditType : std::uint8_t { kSegment = 1, kEvent = 2, kCheckpoint = 3 };

// Body of the first record of a segment.
struct SegmentStart {
  AuditId log_id{};
  std::uint64_t number = 0;
  ChainValue previous{};
  AuditId boot_id{};
};

// Body of a checkpoint.
struct Checkpoint {
  std::uint64_t sequence = 0;
  ChainValue chain{};
  std::uint64_t store_generation = 0;
  std::int64_t wall_ns = 0;
  AuditId key_id{};  // zero: unsigned
  bool closing = false;
  Bytes signature;
};

// A record as it stands in the log. `event.text` points into the bytes it was decoded from.
struct StoredRecord {
  AuditType type = AuditType::kEvent;
  std::uint64_t sequence = 0;
  std::int64_t wall_ns = 0;
  std::int64_t monotonic_ns = 0;
  AuditRecord event;      // type kEvent
  SegmentStart segment;   // type kSegment
  Checkpoint checkpoint;  // type kCheckpoint
  ChainValue chain{};
};

// Each writes a record without its chain value into `out`, which has at least kAuditRecordBytesMax bytes, and returns
// how many bytes it wrote. Sequence and times are set later, by StampRecord, when the record's place is known.
std::size_t EncodeEvent(const AuditRecord& event, MutableBytes out);
std::size_t EncodeSegmentStart(const SegmentStart& start, MutableBytes out);
std::size_t EncodeCheckpoint(const Checkpoint& checkpoint, MutableBytes out);
void StampRecord(MutableBytes record, std::uint64_t sequence, std::int64_t wall_ns, std::int64_t monotonic_ns);

// Length of the record at the beginning of `bytes`, chain value included; 0 when no whole record can be there.
std::size_t PeekRecordBytes(ByteView bytes);

// Decodes one whole record (exactly its bytes). False when a field is not well formed. Does not look at the chain.
bool DecodeRecord(ByteView record, StoredRecord& out);

// What a checkpoint's signature is over: "cmkd audit checkpoint 1\n", log id, then sequence, chain value, store
// generation, wall time and closing as they stand in the body.
Bytes CheckpointStatement(const AuditId& log_id, const Checkpoint& checkpoint);

// The chain value of `record` (without its own) after a record whose chain value is `previous`.
ChainValue ChainOf(const ChainValue& previous, ByteView record);

}  // namespace cmkd::daemon
