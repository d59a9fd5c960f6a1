// AES key wrap with and without padding (NIST SP 800-38F, RFC 3394, RFC 5649), over single AES blocks: OpenSSL 3.0's
// own runs on table look-ups, which is slower here and leaks through the cache.
#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kHalf = 8;  // a semiblock
constexpr std::uint8_t kDefaultIv[kHalf] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};
constexpr std::uint8_t kDefaultPaddedIv[4] = {0xa6, 0x59, 0x59, 0xa6};
// The length field of RFC 5649 has 32 bits; keys are far below.
constexpr std::size_t kInputBytesMax = std::size_t{1} << 31;

void MixCounter(std::uint8_t* a, std::uint64_t t) {
  for (int i = 7; i >= 0; --i, t >>= 8) a[i] = static_cast<std::uint8_t>(a[i] ^ (t & 0xff));
}

class KeyWrapCipher final : public Cipher {
 public:
  KeyWrapCipher(Borrowed<EVP_CIPHER_CTX> context, spec::Recipe recipe, Mode mode, ByteView iv)
      : context_(std::move(context)),
        padded_(recipe == spec::Recipe::kAesKwp),
        pkcs7_(recipe == spec::Recipe::kAesKwPkcs7),
        mode_(mode) {
    const ByteView initial = !iv.empty() ? iv : padded_ ? ByteView(kDefaultPaddedIv) : ByteView(kDefaultIv);
    std::memcpy(iv_, initial.data(), initial.size());
  }

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    if (mode_ == Mode::kEncrypt && pkcs7_) return WrapPkcs7(in, out);
    if (mode_ == Mode::kEncrypt) return padded_ ? WrapPadded(in, out) : Wrap(in, out);
    return Unwrap(in, out);
  }

 private:
  bool Block(std::uint8_t* block) {
    int n = 0;
    return EVP_CipherUpdate(context_.get(), block, &n, block, 16) == 1;
  }

  // W of SP 800-38F algorithm 1: `text` is A ‖ R1 … Rn, in place.
  bool ApplyW(MutableBytes text) {
    const std::size_t n = text.size() / kHalf - 1;
    std::uint8_t block[16];
    std::memcpy(block, text.data(), kHalf);
    bool good = true;
    for (std::uint64_t t = 1; t <= 6 * n; ++t) {
      std::uint8_t* r = text.data() + kHalf * (1 + (t - 1) % n);
      std::memcpy(block + kHalf, r, kHalf);
      good &= Block(block);
      MixCounter(block, t);
      std::memcpy(r, block + kHalf, kHalf);
    }
    std::memcpy(text.data(), block, kHalf);
    cmkd::Wipe(block);
    return good;
  }

  // W⁻¹, algorithm 2.
  bool ApplyInverseW(MutableBytes text) {
    const std::size_t n = text.size() / kHalf - 1;
    std::uint8_t block[16];
    std::memcpy(block, text.data(), kHalf);
    bool good = true;
    for (std::uint64_t t = 6 * n; t >= 1; --t) {
      std::uint8_t* r = text.data() + kHalf * (1 + (t - 1) % n);
      MixCounter(block, t);
      std::memcpy(block + kHalf, r, kHalf);
      good &= Block(block);
      std::memcpy(r, block + kHalf, kHalf);
    }
    std::memcpy(text.data(), block, kHalf);
    cmkd::Wipe(block);
    return good;
  }

  Fallible<std::size_t> Wrap(ByteView in, MutableBytes out) {
    if (in.size() < 2 * kHalf || in.size() % kHalf != 0 || in.size() > kInputBytesMax) {
      return Fail(CKR_DATA_LEN_RANGE, "AES key wrap takes whole semiblocks, two at least");
    }
    std::memmove(out.data() + kHalf, in.data(), in.size());
    std::memcpy(out.data(), iv_, kHalf);
    const MutableBytes text = out.first(in.size() + kHalf);
    if (!ApplyW(text)) return LibraryFailure("AES key wrap");
    return text.size();
  }

  // RFC 5652 section 6.3 with blocks of a semiblock, then RFC 3394 (PKCS#11 3.2, "CKM_AES_KEY_WRAP_PKCS7").
  Fallible<std::size_t> WrapPkcs7(ByteView in, MutableBytes out) {
    if (in.size() > kInputBytesMax) return Fail(CKR_DATA_LEN_RANGE, "too much to wrap");
    const std::size_t padded = (in.size() / kHalf + 1) * kHalf;
    // RFC 3394 wants two semiblocks.
    if (padded < 2 * kHalf) return Fail(CKR_DATA_LEN_RANGE, "too little to wrap");
    const MutableBytes text = out.first(padded + kHalf);
    std::memmove(text.data() + kHalf, in.data(), in.size());
    std::memset(text.data() + kHalf + in.size(), static_cast<int>(padded - in.size()), padded - in.size());
    std::memcpy(text.data(), iv_, kHalf);
    if (!ApplyW(text)) return LibraryFailure("AES key wrap");
    return text.size();
  }

  // The text before the padding; as long as all of it when that is wrong.
  static std::size_t Pkcs7Length(ByteView text) {
    const std::size_t padding = text.back();
    if (padding < 1 || padding > kHalf) return text.size();
    std::uint8_t different = 0;
    for (std::size_t i = text.size() - padding; i < text.size(); ++i) {
      different = static_cast<std::uint8_t>(different | (text[i] ^ padding));
    }
    return different == 0 ? text.size() - padding : text.size();
  }

  Fallible<std::size_t> WrapPadded(ByteView in, MutableBytes out) {
    if (in.empty() || in.size() > kInputBytesMax) return Fail(CKR_DATA_LEN_RANGE, "nothing to wrap, or too much");
    const std::size_t padded = (in.size() + kHalf - 1) / kHalf * kHalf;
    const MutableBytes text = out.first(padded + kHalf);
    std::memmove(text.data() + kHalf, in.data(), in.size());
    std::memset(text.data() + kHalf + in.size(), 0, padded - in.size());
    std::memcpy(text.data(), iv_, 4);
    for (std::size_t i = 0; i < 4; ++i) text[4 + i] = static_cast<std::uint8_t>(in.size() >> (24 - 8 * i));
    // One semiblock is one block (RFC 5649 section 4.1).
    const bool good = padded == kHalf ? Block(text.data()) : ApplyW(text);
    if (!good) return LibraryFailure("AES key wrap");
    return text.size();
  }

  // Works in a buffer of its own: the plaintext goes out only when the integrity check has passed.
  Fallible<std::size_t> Unwrap(ByteView in, MutableBytes out) {
    const std::size_t smallest = padded_ ? 2 * kHalf : 3 * kHalf;
    if (in.size() < smallest || in.size() % kHalf != 0 || in.size() > kInputBytesMax) {
      return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "not as long as anything AES key wrap makes");
    }
    std::uint8_t small[512];
    std::unique_ptr<std::uint8_t[]> large;
    if (in.size() > sizeof small) large = std::make_unique_for_overwrite<std::uint8_t[]>(in.size());
    const MutableBytes text{large ? large.get() : small, in.size()};
    std::memcpy(text.data(), in.data(), in.size());
    const bool ran = text.size() == 2 * kHalf ? Block(text.data()) : ApplyInverseW(text);
    const std::size_t bytes = padded_  ? PaddedLength(text)
                              : pkcs7_ ? Pkcs7Length(text.subspan(kHalf))
                                       : text.size() - kHalf;
    const bool padding = !pkcs7_ || bytes != text.size() - kHalf;
    const bool checked = padded_ ? bytes != 0 : ConstantTimeEqual(text.first(kHalf), iv_) && padding;
    const bool good = ran && checked && bytes <= out.size();
    if (good) std::memcpy(out.data(), text.data() + kHalf, bytes);
    cmkd::Wipe(text);
    if (!ran) return LibraryFailure("AES key unwrap");
    if (!good) return Fail(CKR_ENCRYPTED_DATA_INVALID, "AES key unwrap: integrity check");
    return bytes;
  }

  // The length that the header says, or 0 when header or padding are wrong (RFC 5649 section 3).
  std::size_t PaddedLength(ByteView text) const {
    std::size_t length = 0;
    for (std::size_t i = 4; i < kHalf; ++i) length = length << 8 | text[i];
    const std::size_t room = text.size() - kHalf;
    const bool header =
        ConstantTimeEqual(text.first(4), ByteView(iv_).first(4)) && length <= room && length + kHalf > room;
    if (!header) return 0;
    std::uint8_t padding = 0;
    for (std::size_t i = length; i < room; ++i) padding = static_cast<std::uint8_t>(padding | text[kHalf + i]);
    return padding == 0 ? length : 0;
  }

  Borrowed<EVP_CIPHER_CTX> context_;
  bool padded_;
  bool pkcs7_;
  Mode mode_;
  std::uint8_t iv_[kHalf] = {};
};

}  // namespace

CipherResult MakeKeyWrap(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowCipher(spec::Recipe::kEcb, key, mode));
  const ByteView iv{static_cast<const std::uint8_t*>(mechanism.pParameter), mechanism.ulParameterLen};
  return std::unique_ptr<Cipher>(std::make_unique<KeyWrapCipher>(std::move(context), row.recipe, mode, iv));
}

}  // namespace cmkd::sim
