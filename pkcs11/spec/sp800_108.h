// How much keying material one SP 800-108 derivation is, and how its length stands in the input (PKCS#11 3.2, "Deriving
// Additional Keys"): keys share no segment of the pseudorandom function's output. No crypto here.
#pragma once

#include <span>

#include "common/bytes.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::spec {

// Bytes of one segment: the length of the pseudorandom function's output. Call only after CheckParameter().
std::size_t SegmentBytes(const CK_MECHANISM& mechanism);
// Whole segments that hold so many bytes, in bytes.
std::size_t InSegments(std::size_t bytes, std::size_t segment_bytes);

// The derived keying material, counted both ways, in bits.
struct DkmLength {
  std::uint64_t keys = 0;
  std::uint64_t segments = 0;
};
DkmLength LengthOfKeys(std::span<const std::size_t> key_bytes, std::size_t segment_bytes);

// What a part of type CK_SP800_108_DKM_LENGTH is in the input. `format` leads to a CK_SP800_108_DKM_LENGTH_FORMAT and
// need not be aligned.
void AppendDkmLength(const void* format, const DkmLength& length, Bytes& input);
// A number of `bits` bits, of which there are whole bytes; what does not fit is cut off on the left.
void AppendSp800Number(std::uint64_t number, CK_ULONG bits, bool little_endian, Bytes& input);

}  // namespace cmkd::spec
