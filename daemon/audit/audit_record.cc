// The byte format of audit_record.h.
#include "daemon/audit/audit_record.h"

#include <algorithm>
#include <cstring>

#include "daemon/crypto/digest.h"

namespace cmkd::daemon {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kSegmentBody = 72;
constexpr std::size_t kEventBody = 136;
constexpr std::size_t kCheckpointBody = 80;
constexpr std::size_t kRecordBytesMin = kAuditHeaderBytes + kSegmentBody + kAuditChainBytes;

// Writes forward; the buffer is known to be large enough (kAuditRecordBytesMax).
class Writer {
 public:
  explicit Writer(std::uint8_t* at) : at_(at) {}
  template <class T>
  void Integer(T value) {
    static_assert(std::is_integral_v<T>);
    for (std::size_t i = 0; i < sizeof(T); ++i)
      *at_++ = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> 8 * i);
  }
  void Raw(ByteView bytes) {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void Zeros(std::size_t count) {
    std::memset(at_, 0, count);
    at_ += count;
  }
  std::uint8_t* at() const { return at_; }

 private:
  std::uint8_t* at_;
};

// Reads forward; the caller has checked that the body is long enough for its type.
class Reader {
 public:
  explicit Reader(ByteView bytes) : bytes_(bytes) {}
  template <class T>
  void Integer(T& value) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) number |= std::uint64_t{bytes_[i]} << 8 * i;
    value = static_cast<T>(number);
    bytes_ = bytes_.subspan(sizeof(T));
  }
  template <std::size_t size>
  void Raw(std::array<std::uint8_t, size>& value) {
    std::copy_n(bytes_.begin(), size, value.begin());
    bytes_ = bytes_.subspan(size);
  }
  ByteView Take(std::size_t count) {
    const ByteView taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  bool RestIsZero() const {
    return std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t byte) { return byte == 0; });
  }

 private:
  ByteView bytes_;
};

std::size_t Padded(std::size_t size) { return (size + 7) / 8 * 8; }

std::size_t BodyBytes(AuditType type) {
  switch (type) {
    case AuditType::kSegment: return kSegmentBody;
    case AuditType::kEvent: return kEventBody;
    case AuditType::kCheckpoint: return kCheckpointBody;
  }
  return 0;
}

Writer BeginRecord(AuditType type, std::size_t text_bytes, MutableBytes out) {
  Writer writer(out.data());
  const std::size_t size = Padded(kAuditHeaderBytes + BodyBytes(type) + text_bytes) + kAuditChainBytes;
  writer.Integer(static_cast<std::uint32_t>(size));
  writer.Integer(kFormat);
  writer.Integer(static_cast<std::uint8_t>(type));
  writer.Integer(static_cast<std::uint16_t>(text_bytes));
  writer.Zeros(24);  // sequence and times: StampRecord
  return writer;
}

std::size_t EndRecord(Writer& writer, ByteView text, MutableBytes out) {
  writer.Raw(text);
  const auto size = static_cast<std::size_t>(writer.at() - out.data());
  writer.Zeros(Padded(size) - size);
  return Padded(size);
}

void ReadEvent(Reader& reader, AuditRecord& event, bool& well_formed) {
  reader.Integer(event.store_generation);
  reader.Integer(event.application_id);
  reader.Integer(event.request_id);
  reader.Integer(event.object_handle);
  reader.Integer(event.mechanism);
  reader.Integer(event.rv);
  reader.Integer(event.detail);
  reader.Integer(event.input_bytes);
  reader.Integer(event.output_bytes);
  reader.Raw(event.token_id);
  reader.Raw(event.cmk_id);
  reader.Integer(event.version);
  reader.Integer(event.uid);
  reader.Integer(event.gid);
  reader.Integer(event.pid);
  reader.Integer(event.call);
  std::uint8_t kind = 0;
  reader.Integer(kind);
  event.kind = static_cast<AuditKind>(kind);
  well_formed = kind >= 1 && kind <= 5 && Reader(reader.Take(13)).RestIsZero();
}

void ReadCheckpoint(Reader& reader, Checkpoint& checkpoint, bool& well_formed) {
  reader.Integer(checkpoint.sequence);
  reader.Raw(checkpoint.chain);
  reader.Integer(checkpoint.store_generation);
  reader.Integer(checkpoint.wall_ns);
  reader.Raw(checkpoint.key_id);
  std::uint8_t closing = 0;
  reader.Integer(closing);
  checkpoint.closing = closing == 1;
  well_formed = closing <= 1 && Reader(reader.Take(7)).RestIsZero();
}

// The part of a checkpoint that is signed, as it stands in the body.
void WriteStatement(Writer& writer, const Checkpoint& checkpoint) {
  writer.Integer(checkpoint.sequence);
  writer.Raw(checkpoint.chain);
  writer.Integer(checkpoint.store_generation);
  writer.Integer(checkpoint.wall_ns);
}

}  // namespace

std::string_view AuditKindName(AuditKind kind) {
  switch (kind) {
    case AuditKind::kUse: return "use";
    case AuditKind::kChange: return "change";
    case AuditKind::kAccess: return "access";
    case AuditKind::kAlarm: return "alarm";
    case AuditKind::kService: return "service";
  }
  return "unknown";
}

std::size_t EncodeEvent(const AuditRecord& event, MutableBytes out) {
  const std::string_view text = event.text.substr(0, kAuditTextMax);
  Writer writer = BeginRecord(AuditType::kEvent, text.size(), out);
  writer.Integer(event.store_generation);
  writer.Integer(event.application_id);
  writer.Integer(event.request_id);
  writer.Integer(event.object_handle);
  writer.Integer(event.mechanism);
  writer.Integer(event.rv);
  writer.Integer(event.detail);
  writer.Integer(event.input_bytes);
  writer.Integer(event.output_bytes);
  writer.Raw(event.token_id);
  writer.Raw(event.cmk_id);
  writer.Integer(event.version);
  writer.Integer(event.uid);
  writer.Integer(event.gid);
  writer.Integer(event.pid);
  writer.Integer(event.call);
  writer.Integer(static_cast<std::uint8_t>(event.kind));
  writer.Zeros(13);
  return EndRecord(writer, AsBytes(text), out);
}

std::size_t EncodeSegmentStart(const SegmentStart& start, MutableBytes out) {
  Writer writer = BeginRecord(AuditType::kSegment, 0, out);
  writer.Raw(start.log_id);
  writer.Integer(start.number);
  writer.Raw(start.previous);
  writer.Raw(start.boot_id);
  return EndRecord(writer, {}, out);
}

std::size_t EncodeCheckpoint(const Checkpoint& checkpoint, MutableBytes out) {
  Writer writer = BeginRecord(AuditType::kCheckpoint, checkpoint.signature.size(), out);
  WriteStatement(writer, checkpoint);
  writer.Raw(checkpoint.key_id);
  writer.Integer(static_cast<std::uint8_t>(checkpoint.closing));
  writer.Zeros(7);
  return EndRecord(writer, checkpoint.signature, out);
}

void StampRecord(MutableBytes record, std::uint64_t sequence, std::int64_t wall_ns, std::int64_t monotonic_ns) {
  Writer writer(record.data() + 8);
  writer.Integer(sequence);
  writer.Integer(wall_ns);
  writer.Integer(monotonic_ns);
}

std::size_t PeekRecordBytes(ByteView bytes) {
  if (bytes.size() < kRecordBytesMin) return 0;
  std::uint32_t size = 0;
  Reader(bytes).Integer(size);
  const bool plausible =
      size % 8 == 0 && size >= kRecordBytesMin && size <= kAuditRecordBytesMax && size <= bytes.size();
  return plausible ? size : 0;
}

bool DecodeRecord(ByteView record, StoredRecord& out) {
  if (PeekRecordBytes(record) != record.size()) return false;
  std::uint8_t format = 0, type = 0;
  std::uint16_t text_bytes = 0;
  Reader reader(record.first(record.size() - kAuditChainBytes).subspan(4));
  reader.Integer(format);
  reader.Integer(type);
  reader.Integer(text_bytes);
  reader.Integer(out.sequence);
  reader.Integer(out.wall_ns);
  reader.Integer(out.monotonic_ns);
  out.type = static_cast<AuditType>(type);
  const std::size_t body = BodyBytes(out.type);
  if (format != kFormat || body == 0) return false;
  if (Padded(kAuditHeaderBytes + body + text_bytes) + kAuditChainBytes != record.size()) return false;

  bool well_formed = true;
  switch (out.type) {
    case AuditType::kSegment:
      reader.Raw(out.segment.log_id);
      reader.Integer(out.segment.number);
      reader.Raw(out.segment.previous);
      reader.Raw(out.segment.boot_id);
      break;
    case AuditType::kEvent: ReadEvent(reader, out.event, well_formed); break;
    case AuditType::kCheckpoint: ReadCheckpoint(reader, out.checkpoint, well_formed); break;
  }
  const ByteView text = reader.Take(text_bytes);
  if (out.type == AuditType::kEvent) out.event.text = AsText(text);
  if (out.type == AuditType::kCheckpoint) out.checkpoint.signature = ToBytes(text);
  std::copy_n(record.end() - kAuditChainBytes, kAuditChainBytes, out.chain.begin());
  return well_formed && reader.RestIsZero();
}

Bytes CheckpointStatement(const AuditId& log_id, const Checkpoint& checkpoint) {
  static constexpr std::string_view kPurpose = "cmkd audit checkpoint 1\n";
  Bytes statement(kPurpose.size() + log_id.size() + 8 + kAuditChainBytes + 8 + 8 + 1);
  Writer writer(statement.data());
  writer.Raw(AsBytes(kPurpose));
  writer.Raw(log_id);
  WriteStatement(writer, checkpoint);
  writer.Integer(static_cast<std::uint8_t>(checkpoint.closing));
  return statement;
}

ChainValue ChainOf(const ChainValue& previous, ByteView record) { return Sha256({previous, record}); }

}  // namespace cmkd::daemon
