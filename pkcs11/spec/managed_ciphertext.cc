// Bytes of the managed ciphertext's header; numbers are big-endian.
#include "pkcs11/spec/managed_ciphertext.h"

#include <algorithm>

namespace cmkd::spec {
namespace {

constexpr std::array<std::uint8_t, 4> kMagic = {'C', 'M', 'K', 'C'};
constexpr std::uint8_t kFormat = 1;

// Where each field begins.
constexpr std::size_t kFormatAt = 4, kAlgorithmAt = 5, kLengthAt = 6, kKeyIdAt = 8, kVersionAt = 24, kIvAt = 28,
                      kCommitmentAt = 40;

struct AlgorithmRow {
  ManagedAlgorithm algorithm;
  std::size_t key_bits;
  std::string_view name;
};
constexpr AlgorithmRow kAlgorithms[] = {
    {ManagedAlgorithm::kAes128Gcm, 128, "AES-128-GCM"},
    {ManagedAlgorithm::kAes192Gcm, 192, "AES-192-GCM"},
    {ManagedAlgorithm::kAes256Gcm, 256, "AES-256-GCM"},
};

template <std::size_t n>
void Take(ByteView from, std::size_t at, std::array<std::uint8_t, n>& to) {
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), n, to.begin());
}

}  // namespace

std::string_view Name(ManagedAlgorithm algorithm) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.algorithm == algorithm) return row.name;
  }
  return {};
}

std::optional<ManagedAlgorithm> ManagedAlgorithmFor(std::size_t key_bits) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.key_bits == key_bits) return row.algorithm;
  }
  return std::nullopt;
}

std::array<std::uint8_t, ManagedHeader::kBytes> EncodeManagedHeader(const ManagedHeader& header) {
  std::array<std::uint8_t, ManagedHeader::kBytes> bytes{};
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  bytes[kFormatAt] = kFormat;
  bytes[kAlgorithmAt] = static_cast<std::uint8_t>(header.algorithm);
  bytes[kLengthAt + 1] = ManagedHeader::kBytes;
  std::copy(header.key_id.begin(), header.key_id.end(), bytes.begin() + kKeyIdAt);
  for (std::size_t i = 0; i < 4; ++i)
    bytes[kVersionAt + i] = static_cast<std::uint8_t>(header.key_version >> (24 - 8 * i));
  std::copy(header.iv.begin(), header.iv.end(), bytes.begin() + kIvAt);
  std::copy(header.commitment.begin(), header.commitment.end(), bytes.begin() + kCommitmentAt);
  return bytes;
}

std::optional<ManagedHeader> ReadManagedHeader(ByteView ciphertext) {
  if (ciphertext.size() < ManagedHeader::kBytes + ManagedHeader::kTagBytes) return std::nullopt;
  if (!std::equal(kMagic.begin(), kMagic.end(), ciphertext.begin()) || ciphertext[kFormatAt] != kFormat)
    return std::nullopt;
  if (ciphertext[kLengthAt] != 0 || ciphertext[kLengthAt + 1] != ManagedHeader::kBytes) return std::nullopt;
  ManagedHeader header;
  header.algorithm = static_cast<ManagedAlgorithm>(ciphertext[kAlgorithmAt]);
  if (Name(header.algorithm).empty()) return std::nullopt;
  Take(ciphertext, kKeyIdAt, header.key_id);
  for (std::size_t i = 0; i < 4; ++i) header.key_version = header.key_version << 8 | ciphertext[kVersionAt + i];
  Take(ciphertext, kIvAt, header.iv);
  Take(ciphertext, kCommitmentAt, header.commitment);
  return header;
}

Bytes ManagedAssociatedData(ByteView header, ByteView context) {
  Bytes all = ToBytes(header);
  all.insert(all.end(), context.begin(), context.end());
  return all;
}

}  // namespace cmkd::spec
