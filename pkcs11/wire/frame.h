// A frame: 16 bytes of header, then a payload (PROTOCOL.md, "Frames").
#pragma once

#include <cstdint>

#include "common/limits.h"
#include "pkcs11/spec/call_table.h"
#include "pkcs11/wire/buffer.h"

namespace cmkd::wire {

inline constexpr std::uint32_t kProtocolVersion = 1;

struct FrameHeader {
  std::uint32_t payload_bytes;
  std::uint16_t call;   // spec::WireId
  std::uint16_t flags;  // kResponse
  std::uint64_t request_id;
};
static_assert(sizeof(FrameHeader) == 16);

inline constexpr std::uint16_t kResponse = 1;
// No call: the client asks for a lane (pkcs11/lane), the server answers with its descriptor.
inline constexpr std::uint16_t kLane = 2;

// Room for a header at the front of an empty buffer, to be filled by FinishFrame.
inline void BeginFrame(Buffer& buffer) {
  buffer.Clear();
  buffer.Extend(sizeof(FrameHeader));
}
// Fills in the header. False when the payload is over the limit.
inline bool FinishFrame(Buffer& buffer, spec::CallId call, std::uint16_t flags, std::uint64_t request_id) {
  const std::size_t payload = buffer.size() - sizeof(FrameHeader);
  if (payload > limits::kFrameBytesMax) return false;
  const FrameHeader header{static_cast<std::uint32_t>(payload), spec::WireId(call), flags, request_id};
  std::memcpy(buffer.data(), &header, sizeof header);
  return true;
}

// What a response carries besides the call's results (after them).
enum class TrailerKind : std::uint8_t {
  kEnd = 0,
  kTicket = 1,         // blob: the application's new resumption ticket
  kSessionObject = 2,  // u64 session, u64 object handle, blob: a sealed session object to keep for a resumption
  kForgetObject = 3,   // u64 object handle: its blob is of no use any more
  kOtpSignature = 4,   // nothing more: the output is a CK_OTP_SIGNATURE_INFO with offsets (pkcs11/spec/otp.h)
  kRefusedKey = 5,     // u64 index: the template of this additional key of a derivation is why there are none
};

}  // namespace cmkd::wire
