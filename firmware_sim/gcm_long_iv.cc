// See gcm_long_iv.h.
#include "firmware_sim/gcm_long_iv.h"

#include <algorithm>

#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

std::uint64_t Load(const std::uint8_t* bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | bytes[i];
  return value;
}

void Store(std::uint64_t value, std::uint8_t* bytes) {
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<std::uint8_t>(value);
}

// inc32 of SP 800-38D section 6.2: only the last four bytes count.
void Increment(std::array<std::uint8_t, 16>& counter) {
  for (std::size_t i = 16; i-- > 12;) {
    if (++counter[i] != 0) return;
  }
}

}  // namespace

Ghash::Ghash(ByteView h) : h_{Load(h.data()), Load(h.data() + 8)} {}

// Multiplication in GF(2^128), SP 800-38D algorithm 1, with masks in the place of branches.
void Ghash::Block(ByteView block) {
  y_[0] ^= Load(block.data());
  y_[1] ^= Load(block.data() + 8);
  std::uint64_t z[2] = {0, 0};
  std::uint64_t v[2] = {h_[0], h_[1]};
  for (int i = 0; i < 128; ++i) {
    const std::uint64_t bit = y_[i / 64] >> (63 - i % 64) & 1;
    const std::uint64_t take = 0 - bit;
    z[0] ^= v[0] & take;
    z[1] ^= v[1] & take;
    const std::uint64_t reduce = 0 - (v[1] & 1);
    v[1] = v[1] >> 1 | v[0] << 63;
    v[0] = v[0] >> 1 ^ (reduce & 0xe100000000000000u);
  }
  y_[0] = z[0];
  y_[1] = z[1];
}

void Ghash::Feed(ByteView bytes) {
  for (const std::uint8_t byte : bytes) {
    partial_[used_++] = byte;
    if (used_ == 16) {
      Block(partial_);
      used_ = 0;
    }
  }
}

void Ghash::Pad() {
  static constexpr std::uint8_t kZeros[16] = {};
  if (used_ != 0) Feed(ByteView(kZeros).first(16 - used_));
}

void Ghash::Padded(ByteView bytes) {
  Feed(bytes);
  Pad();
}

void Ghash::Lengths(std::uint64_t first_bytes, std::uint64_t second_bytes) {
  std::uint8_t block[16];
  Store(first_bytes * 8, block);
  Store(second_bytes * 8, block + 8);
  Block(block);
}

std::array<std::uint8_t, 16> Ghash::value() const {
  std::array<std::uint8_t, 16> bytes;
  Store(y_[0], bytes.data());
  Store(y_[1], bytes.data() + 8);
  return bytes;
}

Fallible<LongIvGcm> LongIvGcm::Start(const Key& key, ByteView iv, ByteView aad, Mode mode) {
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> blocks, BorrowCipher(spec::Recipe::kEcb, key, Mode::kEncrypt));
  std::array<std::uint8_t, 16> h{};
  int n = 0;
  if (EVP_EncryptUpdate(blocks.get(), h.data(), &n, h.data(), 16) != 1) return LibraryFailure("GCM hash key");
  // SP 800-38D section 7.1, step 2, for an IV that is not 96 bits.
  Ghash iv_hash(h);
  iv_hash.Padded(iv);
  iv_hash.Lengths(0, iv.size());
  LongIvGcm stream(std::move(blocks), Ghash(h), mode);
  stream.first_counter_ = stream.counter_ = iv_hash.value();
  stream.ghash_.Padded(aad);
  stream.aad_bytes_ = aad.size();
  return stream;
}

bool LongIvGcm::Encipher(const std::uint8_t* in, std::uint8_t* out) {
  int n = 0;
  return EVP_EncryptUpdate(blocks_.get(), out, &n, in, 16) == 1;
}

bool LongIvGcm::Run(ByteView in, std::uint8_t* out) {
  constexpr std::uint64_t kTextBytesMax = (std::uint64_t{1} << 36) - 32;
  text_bytes_ += in.size();
  if (text_bytes_ > kTextBytesMax) return false;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (key_stream_used_ == 16) {
      Increment(counter_);
      if (!Encipher(counter_.data(), key_stream_.data())) return false;
      key_stream_used_ = 0;
    }
    const std::uint8_t from = in[i];
    out[i] = static_cast<std::uint8_t>(from ^ key_stream_[key_stream_used_++]);
    const std::uint8_t ciphertext = mode_ == Mode::kEncrypt ? out[i] : from;
    ghash_.Feed({&ciphertext, 1});
  }
  return true;
}

bool LongIvGcm::Tag(std::array<std::uint8_t, 16>& tag) {
  ghash_.Pad();
  ghash_.Lengths(aad_bytes_, text_bytes_);
  if (!Encipher(first_counter_.data(), tag.data())) return false;
  const auto hash = ghash_.value();
  for (std::size_t i = 0; i < 16; ++i) tag[i] = static_cast<std::uint8_t>(tag[i] ^ hash[i]);
  return true;
}

bool LongIvGcm::FinishEncrypt(MutableBytes out) {
  std::array<std::uint8_t, 16> tag;
  if (!Tag(tag)) return false;
  std::copy_n(tag.begin(), out.size(), out.begin());
  return true;
}

bool LongIvGcm::FinishDecrypt(ByteView expected) {
  std::array<std::uint8_t, 16> tag;
  return Tag(tag) && ConstantTimeEqual(ByteView(tag).first(expected.size()), expected);
}

}  // namespace cmkd::sim
