// Block ciphers in the modes of SP 800-38A and its addendum, and in XTS (IEEE 1619): AES, SM4 and the DES family.
#include <algorithm>

#include "firmware_sim/openssl.h"
#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

constexpr std::size_t kBlockMax = 16;
// EVP counts in int; whole blocks, so that a long input can be cut anywhere.
constexpr std::size_t kChunk = std::size_t{1} << 30;

// Counter blocks that are left before a counter of `bits` bits comes round again.
std::uint64_t BlocksBeforeWrap(ByteView counter_block, CK_ULONG bits) {
  std::uint64_t value = 0;
  bool far = bits > 64;
  for (std::size_t i = 8; i < kBlockMax; ++i) value = value << 8 | counter_block[i];
  if (far) {
    // Only a high part of all ones can come round within 2^64 blocks.
    for (CK_ULONG bit = 64; bit < bits; ++bit) {
      const std::size_t byte = kBlockMax - 1 - bit / 8;
      if ((counter_block[byte] >> (bit % 8) & 1) == 0) return UINT64_MAX;
    }
    return value == 0 ? UINT64_MAX : 0 - value;
  }
  if (bits == 64) return value == 0 ? UINT64_MAX : 0 - value;
  const std::uint64_t size = std::uint64_t{1} << bits;
  return size - (value & (size - 1));
}

class BlockCipher final : public Cipher {
 public:
  BlockCipher(Borrowed<EVP_CIPHER_CTX> context, Recipe recipe, Mode mode, std::size_t block)
      : context_(std::move(context)), recipe_(recipe), mode_(mode), block_(block) {}

  Status Start(ByteView iv) {
    if (!iv.empty()) std::memcpy(iv_, iv.data(), iv.size());
    return Restart();
  }
  void LimitBlocks(std::uint64_t blocks) { blocks_left_ = blocks_at_start_ = blocks; }

  Status Restart() override {
    pending_ = 0;
    blocks_left_ = blocks_at_start_;
    // No cipher, no key: the schedule stays, the chaining starts again.
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, recipe_ == Recipe::kEcb ? nullptr : iv_,
                           mode_ == Mode::kEncrypt ? 1 : 0, nullptr) != 1) {
      return LibraryFailure("cipher restart");
    }
    return {};
  }

  std::size_t UpdateBytes(std::size_t input) const override {
    if (streams()) return input;
    const std::size_t total = pending_ + input;
    // The last whole block may hold the padding: it waits for the end.
    if (padded() && mode_ == Mode::kDecrypt) return total == 0 ? 0 : (total - 1) / block_ * block_;
    return total / block_ * block_;
  }

  Status Update(ByteView in, MutableBytes out) override {
    const std::size_t bytes = UpdateBytes(in.size());
    if (recipe_ == Recipe::kCtr) {
      RETURN_IF_ERROR(SpendCounter(in.size()));
    } else if (!streams()) {
      pending_ = pending_ + in.size() - bytes;
    }
    std::size_t written = 0;
    while (!in.empty()) {
      const std::size_t part = std::min(in.size(), kChunk);
      int n = 0;
      if (EVP_CipherUpdate(context_.get(), out.data() + written, &n, in.data(), static_cast<int>(part)) != 1) {
        return LibraryFailure("cipher update");
      }
      written += static_cast<std::size_t>(n);
      in = in.subspan(part);
    }
    return {};
  }

  std::size_t FinalBytesMax() const override { return padded() ? block_ : 0; }

  Fallible<std::size_t> Final(MutableBytes out) override {
    if (streams()) return std::size_t{0};
    const bool encrypting = mode_ == Mode::kEncrypt;
    if (!padded() || !encrypting) {
      // Without padding nothing may be left over; a padded ciphertext is whole blocks, and at least one.
      const bool whole = padded() ? pending_ == block_ : pending_ == 0;
      if (!whole) return Fail(encrypting ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "not whole blocks");
      if (!padded()) return std::size_t{0};
    }
    std::uint8_t last[kBlockMax];
    int n = 0;
    if (EVP_CipherFinal_ex(context_.get(), last, &n) != 1) {
      return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "padding");
    }
    if (n > 0) std::memcpy(out.data(), last, static_cast<std::size_t>(n));
    Wipe(last);
    return static_cast<std::size_t>(n);
  }

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    if (!streams() && in.size() % block_ != 0 && !(padded() && mode_ == Mode::kEncrypt)) {
      return Fail(mode_ == Mode::kEncrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "not whole blocks");
    }
    const std::size_t before = UpdateBytes(in.size());
    RETURN_IF_ERROR(Update(in, out));
    ASSIGN_OR_RETURN(const std::size_t last, Final(out.subspan(before)));
    return before + last;
  }

 private:
  bool streams() const { return recipe_ != Recipe::kEcb && recipe_ != Recipe::kCbc && recipe_ != Recipe::kCbcPad; }
  bool padded() const { return recipe_ == Recipe::kCbcPad; }

  Status SpendCounter(std::size_t bytes) {
    // `pending_` counts the bytes of the block that has begun.
    const std::uint64_t blocks = (pending_ + bytes + block_ - 1) / block_;
    if (blocks > blocks_left_) return Fail(CKR_DATA_LEN_RANGE, "the counter would come round");
    const std::uint64_t whole = (pending_ + bytes) / block_;
    if (blocks_left_ != UINT64_MAX) blocks_left_ -= whole;
    pending_ = (pending_ + bytes) % block_;
    return {};
  }

  Borrowed<EVP_CIPHER_CTX> context_;
  Recipe recipe_;
  Mode mode_;
  std::size_t block_;
  std::uint8_t iv_[kBlockMax] = {};
  std::size_t pending_ = 0;
  std::uint64_t blocks_left_ = UINT64_MAX;
  std::uint64_t blocks_at_start_ = UINT64_MAX;
};

// A cipher whose output is as long as its input, part by part.
class StreamCipher : public Cipher {
 public:
  std::size_t UpdateBytes(std::size_t input) const final { return input; }
  Fallible<std::size_t> Final(MutableBytes) final { return std::size_t{0}; }
  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) final {
    RETURN_IF_ERROR(Update(in, out));
    return in.size();
  }
};

// CFB with segments of 64 bits over a block of 128 (SP 800-38A section 6.3), which the library does not have.
class Cfb64Cipher final : public StreamCipher {
 public:
  Cfb64Cipher(Borrowed<EVP_CIPHER_CTX> context, Mode mode, ByteView iv) : context_(std::move(context)), mode_(mode) {
    std::memcpy(iv_, iv.data(), kBlockMax);
    std::memcpy(register_, iv_, kBlockMax);
  }
  ~Cfb64Cipher() override { Wipe(key_stream_); }

  Status Restart() override {
    std::memcpy(register_, iv_, kBlockMax);
    used_ = kSegment;
    return {};
  }
  Status Update(ByteView in, MutableBytes out) override {
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (used_ == kSegment) RETURN_IF_ERROR(NextSegment());
      const std::uint8_t read = in[i];
      const auto written = static_cast<std::uint8_t>(read ^ key_stream_[used_]);
      ciphertext_[used_++] = mode_ == Mode::kEncrypt ? written : read;
      out[i] = written;
    }
    return {};
  }

 private:
  static constexpr std::size_t kSegment = 8;

  Status NextSegment() {
    if (begun_) {
      std::memmove(register_, register_ + kSegment, kBlockMax - kSegment);
      std::memcpy(register_ + kBlockMax - kSegment, ciphertext_, kSegment);
    }
    begun_ = true;
    int n = 0;
    if (EVP_CipherUpdate(context_.get(), key_stream_, &n, register_, kBlockMax) != 1) return LibraryFailure("CFB");
    used_ = 0;
    return {};
  }

  Borrowed<EVP_CIPHER_CTX> context_;
  Mode mode_;
  bool begun_ = false;
  std::size_t used_ = kSegment;
  std::uint8_t iv_[kBlockMax];
  std::uint8_t register_[kBlockMax];
  std::uint8_t key_stream_[kBlockMax] = {};
  std::uint8_t ciphertext_[kSegment] = {};
};

// XTS and CBC with ciphertext stealing: one call of the library sees the whole message.
class WholeMessageCipher final : public Cipher {
 public:
  WholeMessageCipher(Borrowed<EVP_CIPHER_CTX> context, Mode mode, ByteView iv)
      : context_(std::move(context)), mode_(mode) {
    std::memcpy(iv_, iv.data(), kBlockMax);
  }
  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    const CK_RV refusal = mode_ == Mode::kEncrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
    // IEEE 1619 has at most 2^20 blocks in one message.
    if (in.size() < kBlockMax || in.size() > kWholeMax) return Fail(refusal, "shorter than a block, or too long");
    int n = 0;
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, iv_, mode_ == Mode::kEncrypt ? 1 : 0, nullptr) != 1 ||
        EVP_CipherUpdate(context_.get(), out.data(), &n, in.data(), static_cast<int>(in.size())) != 1) {
      return LibraryFailure("cipher");
    }
    return static_cast<std::size_t>(n);
  }

 private:
  static constexpr std::size_t kWholeMax = std::size_t{1} << 24;

  Borrowed<EVP_CIPHER_CTX> context_;
  Mode mode_;
  std::uint8_t iv_[kBlockMax];
};

// RFC 8439 section 2.4. The library's IV is counter and nonce as they lie in the state.
class Chacha20Cipher final : public StreamCipher {
 public:
  Chacha20Cipher(Borrowed<EVP_CIPHER_CTX> context, ByteView counter, ByteView nonce) : context_(std::move(context)) {
    std::memcpy(iv_, counter.data(), counter.size());
    std::memcpy(iv_ + counter.size(), nonce.data(), nonce.size());
    std::uint64_t first = 0;
    for (std::size_t i = counter.size(); i-- > 0;) first = first << 8 | counter[i];
    // What can be made before the counter comes round.
    bytes_left_ = counter.size() == 4 ? ((std::uint64_t{1} << 32) - first) * 64 : UINT64_MAX;
  }
  Status Restart() override {
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, iv_, 1, nullptr) != 1) return LibraryFailure("ChaCha20");
    return {};
  }
  Status Update(ByteView in, MutableBytes out) override {
    if (in.size() > bytes_left_) return Fail(CKR_DATA_LEN_RANGE, "the counter would come round");
    if (bytes_left_ != UINT64_MAX) bytes_left_ -= in.size();
    while (!in.empty()) {
      const std::size_t part = std::min(in.size(), kChunk);
      int n = 0;
      if (EVP_CipherUpdate(context_.get(), out.data(), &n, in.data(), static_cast<int>(part)) != 1) {
        return LibraryFailure("ChaCha20");
      }
      out = out.subspan(part);
      in = in.subspan(part);
    }
    return {};
  }

 private:
  Borrowed<EVP_CIPHER_CTX> context_;
  std::uint8_t iv_[16] = {};
  std::uint64_t bytes_left_;
};

ByteView IvOf(const spec::MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter == spec::ParameterKind::kAesCtr) {
    return {static_cast<const CK_AES_CTR_PARAMS*>(mechanism.pParameter)->cb, kBlockMax};
  }
  const bool given = row.parameter == spec::ParameterKind::kIv16 || row.parameter == spec::ParameterKind::kIv8;
  return given ? ByteView(static_cast<const std::uint8_t*>(mechanism.pParameter), mechanism.ulParameterLen)
               : ByteView();
}

}  // namespace

Fallible<Borrowed<EVP_CIPHER_CTX>> BorrowCipher(Recipe recipe, const Key& key, Mode mode) {
  Borrowed<EVP_CIPHER_CTX> context(key.engine(),
                                   static_cast<std::uint64_t>(recipe) << 1 | (mode == Mode::kDecrypt ? 1 : 0));
  if (context) return context;
  context.Adopt(EVP_CIPHER_CTX_new());
  std::array<std::uint8_t, 24> room{};
  const ByteView value = CipherKey(key, room);
  const EVP_CIPHER* algorithm = CipherAlgorithm(recipe, key.type(), key.part(Part::kValue).size());
  const bool good =
      context && algorithm != nullptr &&
      EVP_CipherInit_ex2(context.get(), algorithm, value.data(), nullptr, mode == Mode::kEncrypt ? 1 : 0, nullptr) == 1;
  Wipe(room);
  if (!good) {
    context.Drop();
    // XTS refuses a key with equal halves (SP 800-38E, FIPS 140-3 IG C.I).
    return LibraryRefusal(recipe == Recipe::kXts ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_DEVICE_ERROR, "cipher key");
  }
  // Kept by OpenSSL from one initialisation to the next.
  if (recipe != Recipe::kCbcPad) EVP_CIPHER_CTX_set_padding(context.get(), 0);
  return context;
}

CipherResult MakeBlock(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  const ByteView iv = IvOf(row, mechanism);
  const std::size_t block = spec::CipherBlockBytes(key.type());
  if (row.recipe == Recipe::kCfb64 && block != 8) {
    ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowCipher(Recipe::kEcb, key, Mode::kEncrypt));
    return std::unique_ptr<Cipher>(std::make_unique<Cfb64Cipher>(std::move(context), mode, iv));
  }
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowCipher(row.recipe, key, mode));
  if (row.recipe == Recipe::kXts || row.recipe == Recipe::kCts) {
    return std::unique_ptr<Cipher>(std::make_unique<WholeMessageCipher>(std::move(context), mode, iv));
  }
  auto cipher = std::make_unique<BlockCipher>(std::move(context), row.recipe, mode, block);
  if (row.recipe == Recipe::kCtr) {
    const auto* parameter = static_cast<const CK_AES_CTR_PARAMS*>(mechanism.pParameter);
    cipher->LimitBlocks(BlocksBeforeWrap(iv, parameter->ulCounterBits));
  }
  RETURN_IF_ERROR(cipher->Start(iv));
  return std::unique_ptr<Cipher>(std::move(cipher));
}

CipherResult MakeChacha20(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode) {
  const auto& parameter = *static_cast<const CK_CHACHA20_PARAMS*>(mechanism.pParameter);
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowCipher(row.recipe, key, Mode::kEncrypt));
  auto cipher = std::make_unique<Chacha20Cipher>(std::move(context),
                                                 ByteView(parameter.pBlockCounter, parameter.blockCounterBits / 8),
                                                 ByteView(parameter.pNonce, parameter.ulNonceBits / 8));
  RETURN_IF_ERROR(cipher->Restart());
  return std::unique_ptr<Cipher>(std::move(cipher));
}

}  // namespace cmkd::sim
