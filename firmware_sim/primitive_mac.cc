// MACs: HMAC (FIPS 198-1), CMAC and GMAC (NIST SP 800-38B and 38D), Poly1305 (RFC 8439), CBC-MAC (FIPS 113), XCBC
// (RFC 3566), and the verify_data of TLS (RFC 2246, RFC 5246). A shorter MAC is the beginning of the whole one.
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>

#include "firmware_sim/primitive_factories.h"
#include "firmware_sim/tls_prf.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

constexpr std::size_t kMacBytesMax = 64;
constexpr std::size_t kBlockMax = 16;

// What all MACs have in common: the length, and that verification makes the MAC again.
class MacSignature : public Signature {
 public:
  explicit MacSignature(std::size_t bytes) : bytes_(bytes) {}

  Fallible<std::size_t> Sign(MutableBytes out) override {
    std::uint8_t whole[kMacBytesMax];
    const Status made = Finish(whole);
    if (made.ok()) std::memcpy(out.data(), whole, bytes_);
    Wipe(whole);
    if (!made.ok()) return Failure{made.error()};
    return bytes_;
  }
  Status Verify(ByteView signature) override {
    if (signature.size() != bytes_) return Fail(CKR_SIGNATURE_LEN_RANGE, "not the length of this MAC");
    std::uint8_t expected[kMacBytesMax];
    RETURN_IF_ERROR(Finish(expected));
    const bool equal = ConstantTimeEqual(ByteView(expected).first(bytes_), signature);
    Wipe(expected);
    if (!equal) return Fail(CKR_SIGNATURE_INVALID, "MAC");
    return {};
  }

 private:
  // The whole MAC into 64 bytes of room.
  virtual Status Finish(MutableBytes out) = 0;

  std::size_t bytes_;
};

// One that the library has.
class LibraryMac final : public MacSignature {
 public:
  LibraryMac(Borrowed<EVP_MAC_CTX> context, std::size_t bytes) : MacSignature(bytes), context_(std::move(context)) {}

  // A prepared context starts again with its key schedule when it is given no key.
  Status Start() {
    if (EVP_MAC_init(context_.get(), nullptr, 0, nullptr) != 1) return LibraryFailure("MAC restart");
    return {};
  }
  Status Update(ByteView in) override {
    if (EVP_MAC_update(context_.get(), in.data(), in.size()) != 1) return LibraryFailure("MAC update");
    return {};
  }

 private:
  Status Finish(MutableBytes out) override {
    std::size_t n = 0;
    if (EVP_MAC_final(context_.get(), out.data(), &n, out.size()) != 1) return LibraryFailure("MAC");
    return {};
  }

  Borrowed<EVP_MAC_CTX> context_;
};

// HMAC over a digest that only we have: SHA-512/t, with the block of SHA-512.
class ComposedHmac final : public MacSignature {
 public:
  ComposedHmac(std::unique_ptr<Digest> inner, std::unique_ptr<Digest> outer, std::size_t bytes)
      : MacSignature(bytes), inner_(std::move(inner)), outer_(std::move(outer)) {}

  Status Start(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, ByteView key) {
    std::uint8_t block[kHashBlock] = {};
    if (key.size() > kHashBlock) {
      ASSIGN_OR_RETURN(const auto digest, MakeRowDigest(row, mechanism));
      RETURN_IF_ERROR(digest->Update(key));
      RETURN_IF_ERROR(digest->Final(block));
    } else {
      std::memcpy(block, key.data(), key.size());
    }
    for (std::uint8_t& byte : block) byte ^= 0x36;
    RETURN_IF_ERROR(inner_->Update(block));
    for (std::uint8_t& byte : block) byte ^= 0x36 ^ 0x5c;
    const Status fed = outer_->Update(block);
    Wipe(block);
    return fed;
  }
  Status Update(ByteView in) override { return inner_->Update(in); }

 private:
  static constexpr std::size_t kHashBlock = 128;

  Status Finish(MutableBytes out) override {
    std::uint8_t hash[kMacBytesMax];
    RETURN_IF_ERROR(inner_->Final(hash));
    RETURN_IF_ERROR(outer_->Update(ByteView(hash).first(inner_->bytes())));
    return outer_->Final(out);
  }

  std::unique_ptr<Digest> inner_, outer_;
};

// CBC-MAC with zeros at the end, and XCBC with its derived keys: blocks go through the cipher one by one, the last one
// waits until it is known to be the last.
class ChainedMac final : public MacSignature {
 public:
  // `own` is the key that the blocks go through, when it is not the caller's.
  ChainedMac(KeyPtr own, Borrowed<EVP_CIPHER_CTX> blocks, std::size_t block, std::size_t bytes)
      : MacSignature(bytes), own_(std::move(own)), blocks_(std::move(blocks)), block_(block) {}
  ~ChainedMac() override {
    Wipe(whole_mask_);
    Wipe(padded_mask_);
  }

  // What XCBC adds to the last block, whole or padded.
  void SetMasks(ByteView whole, ByteView padded) {
    std::memcpy(whole_mask_, whole.data(), whole.size());
    std::memcpy(padded_mask_, padded.data(), padded.size());
    xcbc_ = true;
  }
  Status Update(ByteView in) override {
    for (const std::uint8_t byte : in) {
      if (used_ == block_) RETURN_IF_ERROR(Next());
      waiting_[used_++] = byte;
    }
    return {};
  }

 private:
  Status Next() {
    for (std::size_t i = 0; i < block_; ++i) chain_[i] ^= waiting_[i];
    int n = 0;
    if (EVP_CipherUpdate(blocks_.get(), chain_, &n, chain_, static_cast<int>(block_)) != 1)
      return LibraryFailure("MAC");
    used_ = 0;
    return {};
  }
  Status Finish(MutableBytes out) override {
    const bool padded = used_ < block_;
    std::fill(waiting_ + used_, waiting_ + block_, std::uint8_t{0});
    if (xcbc_ && padded) waiting_[used_] = 0x80;
    const std::uint8_t* mask = padded ? padded_mask_ : whole_mask_;
    for (std::size_t i = 0; i < block_; ++i) waiting_[i] ^= mask[i];
    RETURN_IF_ERROR(Next());
    std::memcpy(out.data(), chain_, block_);
    return {};
  }

  KeyPtr own_;
  Borrowed<EVP_CIPHER_CTX> blocks_;
  std::size_t block_;
  bool xcbc_ = false;
  std::size_t used_ = 0;
  std::uint8_t waiting_[kBlockMax] = {};
  std::uint8_t chain_[kBlockMax] = {};
  std::uint8_t whole_mask_[kBlockMax] = {};
  std::uint8_t padded_mask_[kBlockMax] = {};
};

// The PRF of TLS over the digest of the handshake, which is the data.
class TlsMac final : public MacSignature {
 public:
  TlsMac(const Key& key, const spec::TlsMacParameter& parameter)
      : MacSignature(parameter.mac_bytes), key_(key), parameter_(parameter) {}
  Status Update(ByteView in) override {
    handshake_.insert(handshake_.end(), in.begin(), in.end());
    return {};
  }

 private:
  Status Finish(MutableBytes out) override {
    const std::string_view label = parameter_.server ? "server finished" : "client finished";
    const ByteView seeds[] = {AsBytes(label), handshake_};
    return TlsPrf(parameter_.hash, key_.part(Part::kValue), seeds, out.first(parameter_.mac_bytes));
  }

  const Key& key_;
  spec::TlsMacParameter parameter_;
  Bytes handshake_;
};

// The parameters with which the library makes a MAC of this row; `iv` is GMAC's.
struct MacParameters {
  OSSL_PARAM list[4];
};
MacParameters ParametersFor(const spec::MechanismRow& row, const Key& key, ByteView iv) {
  const auto text = [](const char* name, const char* value) {
    return OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0);
  };
  MacParameters made{};
  std::size_t n = 0;
  if (row.recipe == Recipe::kHmac) {
    made.list[n++] = text(OSSL_MAC_PARAM_DIGEST, EVP_MD_get0_name(DigestAlgorithm(row.digest)));
  } else if (row.recipe != Recipe::kPoly1305) {
    const Recipe mode = row.recipe == Recipe::kGmac ? Recipe::kAesGcm : Recipe::kCbc;
    const EVP_CIPHER* cipher = CipherAlgorithm(mode, key.type(), key.part(Part::kValue).size());
    made.list[n++] = text(OSSL_MAC_PARAM_CIPHER, EVP_CIPHER_get0_name(cipher));
  }
  if (!iv.empty()) {
    made.list[n++] =
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, const_cast<std::uint8_t*>(iv.data()), iv.size());
  }
  made.list[n] = OSSL_PARAM_construct_end();
  return made;
}

SignatureResult MakeLibraryMac(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                               std::size_t bytes) {
  const bool gmac = row.recipe == Recipe::kGmac;
  const ByteView iv = gmac ? spec::ReadGcm(mechanism).iv : ByteView();
  Borrowed<EVP_MAC_CTX> context(key.engine(), static_cast<std::uint64_t>(row.type) << 8 | 0xff);
  // A context with GMAC's IV in it is of no use to the next message, nor is one of Poly1305.
  if (gmac || row.recipe == Recipe::kPoly1305) context.UseOnce();
  if (context) {
    auto mac = std::make_unique<LibraryMac>(std::move(context), bytes);
    RETURN_IF_ERROR(mac->Start());
    return std::unique_ptr<Signature>(std::move(mac));
  }
  std::array<std::uint8_t, 24> room{};
  const ByteView value = CipherKey(key, room);
  const MacParameters parameters = ParametersFor(row, key, iv);
  context.Adopt(EVP_MAC_CTX_new(MacAlgorithm(row.recipe)));
  const bool good = context && EVP_MAC_init(context.get(), value.data(), value.size(), parameters.list) == 1;
  Wipe(room);
  if (!good) {
    context.Drop();
    return LibraryFailure("MAC key");
  }
  return std::unique_ptr<Signature>(std::make_unique<LibraryMac>(std::move(context), bytes));
}

SignatureResult MakeComposedHmac(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key) {
  ASSIGN_OR_RETURN(auto inner, MakeRowDigest(row, mechanism));
  ASSIGN_OR_RETURN(auto outer, MakeRowDigest(row, mechanism));
  const std::size_t bytes = inner->bytes();
  auto mac = std::make_unique<ComposedHmac>(std::move(inner), std::move(outer), bytes);
  RETURN_IF_ERROR(mac->Start(row, mechanism, key.part(Part::kValue)));
  return std::unique_ptr<Signature>(std::move(mac));
}

SignatureResult MakeChainedMac(const spec::MechanismRow& row, const Key& key, std::size_t bytes) {
  const std::size_t block = spec::CipherBlockBytes(key.type());
  if (row.recipe == Recipe::kCbcMac) {
    ASSIGN_OR_RETURN(auto blocks, BorrowCipher(Recipe::kEcb, key, Mode::kEncrypt));
    return std::unique_ptr<Signature>(std::make_unique<ChainedMac>(nullptr, std::move(blocks), block, bytes));
  }
  // RFC 3566 section 4: three keys, each the encryption of a constant. It knows AES-128; longer keys make the
  // constants' encryptions all the same.
  std::uint8_t derived[3][kBlockMax];
  {
    ASSIGN_OR_RETURN(const auto blocks, BorrowCipher(Recipe::kEcb, key, Mode::kEncrypt));
    for (int i = 0; i < 3; ++i) {
      std::memset(derived[i], i + 1, kBlockMax);
      int n = 0;
      if (EVP_CipherUpdate(blocks.get(), derived[i], &n, derived[i], kBlockMax) != 1) return LibraryFailure("XCBC");
    }
  }
  ASSIGN_OR_RETURN(const KeyPtr first, Key::Secret(CKK_AES, SecretBytes(ByteView(derived[0]))));
  ASSIGN_OR_RETURN(auto blocks, BorrowCipher(Recipe::kEcb, *first, Mode::kEncrypt));
  auto mac = std::make_unique<ChainedMac>(first, std::move(blocks), block, bytes);
  mac->SetMasks(derived[1], derived[2]);
  for (auto& part : derived) Wipe(part);
  return std::unique_ptr<Signature>(std::move(mac));
}

}  // namespace

SignatureResult MakeMac(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key) {
  const bool general = row.output == spec::OutputRule::kMacGeneral;
  const std::size_t bytes = general ? spec::ReadMacGeneral(mechanism) : spec::MacLength(row, mechanism);
  if (row.recipe == Recipe::kHmac && row.digest == CKM_SHA512_T) return MakeComposedHmac(row, mechanism, key);
  if (row.recipe == Recipe::kCbcMac || row.recipe == Recipe::kXcbcMac) return MakeChainedMac(row, key, bytes);
  return MakeLibraryMac(row, mechanism, key, bytes);
}

SignatureResult MakeTlsMac(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key) {
  return std::unique_ptr<Signature>(std::make_unique<TlsMac>(key, spec::ReadTlsMac(row, mechanism)));
}

}  // namespace cmkd::sim
