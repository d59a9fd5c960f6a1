// HMAC (FIPS 198-1) and AES-CMAC (NIST SP 800-38B).
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kMacBytesMax = 64;

class MacSignature final : public Signature {
 public:
  MacSignature(Borrowed<EVP_MAC_CTX> context, std::size_t bytes) : context_(std::move(context)), bytes_(bytes) {}

  // A prepared context starts again with its key schedule when it is given no key.
  Status Start() {
    if (EVP_MAC_init(context_.get(), nullptr, 0, nullptr) != 1) return LibraryFailure("MAC restart");
    return {};
  }

  Status Update(ByteView in) override {
    if (EVP_MAC_update(context_.get(), in.data(), in.size()) != 1) return LibraryFailure("MAC update");
    return {};
  }
  Fallible<std::size_t> Sign(MutableBytes out) override {
    std::size_t n = 0;
    if (EVP_MAC_final(context_.get(), out.data(), &n, out.size()) != 1 || n != bytes_) return LibraryFailure("MAC");
    return n;
  }
  Status Verify(ByteView signature) override {
    if (signature.size() != bytes_) return Fail(CKR_SIGNATURE_LEN_RANGE, "not the length of this MAC");
    std::uint8_t expected[kMacBytesMax];
    ASSIGN_OR_RETURN(const std::size_t n, Sign(expected));
    const bool equal = ConstantTimeEqual(ByteView(expected).first(n), signature);
    Wipe(expected);
    if (!equal) return Fail(CKR_SIGNATURE_INVALID, "MAC");
    return {};
  }

 private:
  Borrowed<EVP_MAC_CTX> context_;
  std::size_t bytes_;
};

const char* AesCbcName(std::size_t key_bytes) {
  return key_bytes == 16 ? "AES-128-CBC" : key_bytes == 24 ? "AES-192-CBC" : "AES-256-CBC";
}

}  // namespace

SignatureResult MakeMac(const spec::MechanismRow& row, const CK_MECHANISM&, const Key& key) {
  const bool hmac = row.recipe == spec::Recipe::kHmac;
  const std::size_t bytes = hmac ? spec::DigestLength(row.digest) : 16;
  Borrowed<EVP_MAC_CTX> context(key.engine(), static_cast<std::uint64_t>(row.type) << 8 | 0xff);
  if (!context) {
    const ByteView value = key.part(Part::kValue);
    const char* algorithm = hmac ? EVP_MD_get0_name(DigestAlgorithm(row.digest)) : AesCbcName(value.size());
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(hmac ? OSSL_MAC_PARAM_DIGEST : OSSL_MAC_PARAM_CIPHER,
                                         const_cast<char*>(algorithm), 0),
        OSSL_PARAM_construct_end()};
    context.Adopt(EVP_MAC_CTX_new(MacAlgorithm(row.recipe)));
    if (!context || EVP_MAC_init(context.get(), value.data(), value.size(), parameters) != 1) {
      context.Drop();
      return LibraryFailure("MAC key");
    }
    return std::unique_ptr<Signature>(std::make_unique<MacSignature>(std::move(context), bytes));
  }
  auto mac = std::make_unique<MacSignature>(std::move(context), bytes);
  RETURN_IF_ERROR(mac->Start());
  return std::unique_ptr<Signature>(std::move(mac));
}

}  // namespace cmkd::sim
