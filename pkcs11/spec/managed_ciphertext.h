// The published form of what the managed mechanism makes: a header, then AES-GCM ciphertext and tag. Pure: the daemon
// writes it, the daemon and `cmkctl ciphertext show` read it. docs/ciphertext.md says the same in words.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "common/bytes.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {

// Numbers in ciphertexts: never renumber, only append.
enum class ManagedAlgorithm : std::uint8_t { kAes128Gcm = 1, kAes192Gcm = 2, kAes256Gcm = 3 };

// "AES-256-GCM", …
std::string_view Name(ManagedAlgorithm algorithm);
// That of an AES key of so many bits; nothing for other lengths.
std::optional<ManagedAlgorithm> ManagedAlgorithmFor(std::size_t key_bits);

struct ManagedHeader {
  static constexpr std::size_t kBytes = 72;
  static constexpr std::size_t kTagBytes = 16;

  ManagedAlgorithm algorithm = ManagedAlgorithm::kAes256Gcm;
  std::array<std::uint8_t, 16> key_id{};  // CKA_UNIQUE_ID
  std::uint32_t key_version = 0;
  std::array<std::uint8_t, 12> iv{};
  std::array<std::uint8_t, 32> commitment{};

  friend bool operator==(const ManagedHeader&, const ManagedHeader&) = default;
};
static_assert(ManagedHeader::kBytes + ManagedHeader::kTagBytes == CMKD_MANAGED_OVERHEAD);

std::array<std::uint8_t, ManagedHeader::kBytes> EncodeManagedHeader(const ManagedHeader& header);

// The header at the beginning of a ciphertext; nothing when there is none of a format and an algorithm known here, or
// when the rest is shorter than a tag. Every header that is read is written again as the same bytes.
std::optional<ManagedHeader> ReadManagedHeader(ByteView ciphertext);

// What is encrypted, block by block, under the key alone to commit to it: no counter block of GCM is ever one of these
// (their last four bytes are zero, where GCM with an IV of 96 bits counts from one).
inline constexpr std::array<std::uint8_t, 32> kCommitmentBlocks = {
    'C', 'M', 'K', 'D', '-', 'C', 'O', 'M', 'M', 'I', 'T', '1', 0, 0, 0, 0,
    'C', 'M', 'K', 'D', '-', 'C', 'O', 'M', 'M', 'I', 'T', '2', 0, 0, 0, 0};

// The associated data of the GCM operation: the header as it stands, then the context. The header has one length, so
// the two cannot be taken for each other.
Bytes ManagedAssociatedData(ByteView header, ByteView context);

}  // namespace cmkd::spec
