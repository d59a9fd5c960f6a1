// See sp800_108.h.
#include "pkcs11/spec/sp800_108.h"

#include <cstring>

#include "pkcs11/spec/mechanism_output.h"

namespace cmkd::spec {

std::size_t SegmentBytes(const CK_MECHANISM& mechanism) {
  // Both parameter structs begin with the pseudorandom function.
  const CK_MECHANISM prf{*static_cast<const CK_MECHANISM_TYPE*>(mechanism.pParameter), nullptr, 0};
  return MacLength(*FindMechanism(prf.mechanism), prf);
}

std::size_t InSegments(std::size_t bytes, std::size_t segment_bytes) {
  return (bytes + segment_bytes - 1) / segment_bytes * segment_bytes;
}

DkmLength LengthOfKeys(std::span<const std::size_t> key_bytes, std::size_t segment_bytes) {
  DkmLength length;
  for (const std::size_t bytes : key_bytes) {
    length.keys += std::uint64_t{8} * bytes;
    length.segments += std::uint64_t{8} * InSegments(bytes, segment_bytes);
  }
  return length;
}

void AppendDkmLength(const void* format, const DkmLength& length, Bytes& input) {
  CK_SP800_108_DKM_LENGTH_FORMAT form;
  std::memcpy(&form, format, sizeof form);
  const bool keys = form.dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS;
  AppendSp800Number(keys ? length.keys : length.segments, form.ulWidthInBits, form.bLittleEndian != CK_FALSE, input);
}

void AppendSp800Number(std::uint64_t number, CK_ULONG bits, bool little_endian, Bytes& input) {
  const std::size_t bytes = bits / 8;
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::size_t shift = 8 * (little_endian ? i : bytes - 1 - i);
    input.push_back(static_cast<std::uint8_t>(shift < 64 ? number >> shift : 0));
  }
}

}  // namespace cmkd::spec
