// AES-GCM for IVs beyond the 128 bytes that OpenSSL 3.0 takes. The standard allows any length up to 2^32-1 bytes;
// programs use 12. So this is written to be short and to run in constant time, not to be fast.
#pragma once

#include "firmware_sim/openssl.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {

// GHASH of SP 800-38D section 6.4 over a key H, one block at a time.
class Ghash {
 public:
  // `h`: 16 bytes.
  explicit Ghash(ByteView h);
  // Appends bytes, then zeros to the end of the block.
  void Padded(ByteView bytes);
  // Appends two bit lengths as one block.
  void Lengths(std::uint64_t first_bytes, std::uint64_t second_bytes);
  // For a stream that may stop within a block.
  void Feed(ByteView bytes);
  void Pad();
  std::array<std::uint8_t, 16> value() const;

 private:
  void Block(ByteView block);
  std::uint64_t h_[2];
  std::uint64_t y_[2] = {0, 0};
  std::uint8_t partial_[16];
  std::size_t used_ = 0;
};

// One message under one IV (SP 800-38D section 7). One thread at a time. False: the library did not do its part, or the
// message is longer than 2^36 - 32 bytes; it is lost then.
class LongIvGcm {
 public:
  // `key` is an AES key. Errors: CKR_DEVICE_ERROR.
  static Fallible<LongIvGcm> Start(const Key& key, ByteView iv, ByteView aad, Mode mode);

  // The next part; `out` has room for as many bytes and may be `in`.
  bool Run(ByteView in, std::uint8_t* out);
  // The tag, cut to what `tag` has room for: 16 bytes at most.
  bool FinishEncrypt(MutableBytes tag);
  // Whether this is the tag, compared in constant time. What Run gave counts for nothing when it is not.
  bool FinishDecrypt(ByteView tag);

 private:
  LongIvGcm(Borrowed<EVP_CIPHER_CTX> blocks, Ghash ghash, Mode mode)
      : blocks_(std::move(blocks)), ghash_(ghash), mode_(mode) {}
  bool Encipher(const std::uint8_t* in, std::uint8_t* out);
  bool Tag(std::array<std::uint8_t, 16>& tag);

  Borrowed<EVP_CIPHER_CTX> blocks_;
  Ghash ghash_;
  Mode mode_;
  std::array<std::uint8_t, 16> first_counter_{};
  std::array<std::uint8_t, 16> counter_{};
  std::array<std::uint8_t, 16> key_stream_{};
  std::size_t key_stream_used_ = 16;
  std::uint64_t aad_bytes_ = 0;
  std::uint64_t text_bytes_ = 0;
};

}  // namespace cmkd::sim
