// AES in ECB, CBC and CTR.
#include <algorithm>

#include "firmware_sim/openssl.h"
#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

constexpr std::size_t kBlock = 16;
// EVP counts in int; whole blocks, so that a long input can be cut anywhere.
constexpr std::size_t kChunk = std::size_t{1} << 30;

// Counter blocks that are left before a counter of `bits` bits comes round again.
std::uint64_t BlocksBeforeWrap(ByteView counter_block, CK_ULONG bits) {
  std::uint64_t value = 0;
  bool far = bits > 64;
  for (std::size_t i = 8; i < kBlock; ++i) value = value << 8 | counter_block[i];
  if (far) {
    // Only a high part of all ones can come round within 2^64 blocks.
    for (CK_ULONG bit = 64; bit < bits; ++bit) {
      const std::size_t byte = kBlock - 1 - bit / 8;
      if ((counter_block[byte] >> (bit % 8) & 1) == 0) return UINT64_MAX;
    }
    return value == 0 ? UINT64_MAX : 0 - value;
  }
  if (bits == 64) return value == 0 ? UINT64_MAX : 0 - value;
  const std::uint64_t size = std::uint64_t{1} << bits;
  return size - (value & (size - 1));
}

class AesCipher final : public Cipher {
 public:
  AesCipher(Borrowed<EVP_CIPHER_CTX> context, Recipe recipe, Mode mode)
      : context_(std::move(context)), recipe_(recipe), mode_(mode) {}

  Status Start(ByteView iv) {
    if (!iv.empty()) std::memcpy(iv_, iv.data(), kBlock);
    return Restart();
  }
  void LimitBlocks(std::uint64_t blocks) { blocks_left_ = blocks_at_start_ = blocks; }

  Status Restart() override {
    pending_ = 0;
    blocks_left_ = blocks_at_start_;
    // No cipher, no key: the schedule stays, the chaining starts again.
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, recipe_ == Recipe::kAesEcb ? nullptr : iv_,
                           mode_ == Mode::kEncrypt ? 1 : 0, nullptr) != 1) {
      return LibraryFailure("AES restart");
    }
    return {};
  }

  std::size_t UpdateBytes(std::size_t input) const override {
    if (recipe_ == Recipe::kAesCtr) return input;
    const std::size_t total = pending_ + input;
    // The last whole block may hold the padding: it waits for the end.
    if (padded() && mode_ == Mode::kDecrypt) return total == 0 ? 0 : (total - 1) / kBlock * kBlock;
    return total / kBlock * kBlock;
  }

  Status Update(ByteView in, MutableBytes out) override {
    const std::size_t bytes = UpdateBytes(in.size());
    if (recipe_ == Recipe::kAesCtr) {
      RETURN_IF_ERROR(SpendCounter(in.size()));
    } else {
      pending_ = pending_ + in.size() - bytes;
    }
    std::size_t written = 0;
    while (!in.empty()) {
      const std::size_t part = std::min(in.size(), kChunk);
      int n = 0;
      if (EVP_CipherUpdate(context_.get(), out.data() + written, &n, in.data(), static_cast<int>(part)) != 1) {
        return LibraryFailure("AES update");
      }
      written += static_cast<std::size_t>(n);
      in = in.subspan(part);
    }
    return {};
  }

  std::size_t FinalBytesMax() const override { return padded() ? kBlock : 0; }

  Fallible<std::size_t> Final(MutableBytes out) override {
    if (recipe_ == Recipe::kAesCtr) return std::size_t{0};
    const bool encrypting = mode_ == Mode::kEncrypt;
    if (!padded() || !encrypting) {
      // Without padding nothing may be left over; a padded ciphertext is whole blocks, and at least one.
      const bool whole = padded() ? pending_ == kBlock : pending_ == 0;
      if (!whole) return Fail(encrypting ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "not whole blocks");
      if (!padded()) return std::size_t{0};
    }
    std::uint8_t last[kBlock];
    int n = 0;
    if (EVP_CipherFinal_ex(context_.get(), last, &n) != 1) {
      return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "padding");
    }
    if (n > 0) std::memcpy(out.data(), last, static_cast<std::size_t>(n));
    Wipe(last);
    return static_cast<std::size_t>(n);
  }

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    if (recipe_ != Recipe::kAesCtr && in.size() % kBlock != 0 && !(padded() && mode_ == Mode::kEncrypt)) {
      return Fail(mode_ == Mode::kEncrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "not whole blocks");
    }
    const std::size_t before = UpdateBytes(in.size());
    RETURN_IF_ERROR(Update(in, out));
    ASSIGN_OR_RETURN(const std::size_t last, Final(out.subspan(before)));
    return before + last;
  }

 private:
  bool padded() const { return recipe_ == Recipe::kAesCbcPad; }

  Status SpendCounter(std::size_t bytes) {
    // `pending_` counts the bytes of the block that has begun.
    const std::uint64_t blocks = (pending_ + bytes + kBlock - 1) / kBlock;
    if (blocks > blocks_left_) return Fail(CKR_DATA_LEN_RANGE, "the counter would come round");
    const std::uint64_t whole = (pending_ + bytes) / kBlock;
    if (blocks_left_ != UINT64_MAX) blocks_left_ -= whole;
    pending_ = (pending_ + bytes) % kBlock;
    return {};
  }

  Borrowed<EVP_CIPHER_CTX> context_;
  Recipe recipe_;
  Mode mode_;
  std::uint8_t iv_[kBlock] = {};
  std::size_t pending_ = 0;
  std::uint64_t blocks_left_ = UINT64_MAX;
  std::uint64_t blocks_at_start_ = UINT64_MAX;
};

}  // namespace

Fallible<Borrowed<EVP_CIPHER_CTX>> BorrowAes(Recipe recipe, const Key& key, Mode mode) {
  Borrowed<EVP_CIPHER_CTX> context(key.engine(),
                                   static_cast<std::uint64_t>(recipe) << 1 | (mode == Mode::kDecrypt ? 1 : 0));
  if (context) return context;
  context.Adopt(EVP_CIPHER_CTX_new());
  const ByteView value = key.part(Part::kValue);
  const EVP_CIPHER* algorithm = AesAlgorithm(recipe, value.size());
  if (!context || algorithm == nullptr ||
      EVP_CipherInit_ex2(context.get(), algorithm, value.data(), nullptr, mode == Mode::kEncrypt ? 1 : 0, nullptr) !=
          1) {
    context.Drop();
    return LibraryFailure("AES key");
  }
  // Kept by OpenSSL from one initialisation to the next.
  if (recipe != Recipe::kAesCbcPad) EVP_CIPHER_CTX_set_padding(context.get(), 0);
  return context;
}

Fallible<std::unique_ptr<Cipher>> MakeAes(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                                          Mode mode) {
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowAes(row.recipe, key, mode));
  auto cipher = std::make_unique<AesCipher>(std::move(context), row.recipe, mode);
  ByteView iv;
  if (row.parameter == spec::ParameterKind::kIv16) {
    iv = {static_cast<const std::uint8_t*>(mechanism.pParameter), kBlock};
  } else if (row.parameter == spec::ParameterKind::kAesCtr) {
    const auto* parameter = static_cast<const CK_AES_CTR_PARAMS*>(mechanism.pParameter);
    iv = {parameter->cb, kBlock};
    cipher->LimitBlocks(BlocksBeforeWrap(iv, parameter->ulCounterBits));
  }
  RETURN_IF_ERROR(cipher->Start(iv));
  return std::unique_ptr<Cipher>(std::move(cipher));
}

}  // namespace cmkd::sim
