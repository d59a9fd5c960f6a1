// See rsa_rejection.h.
#include "firmware_sim/rsa_rejection.h"

#include <array>
#include <memory>

#include "firmware_sim/key.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

class HmacSha256 {
 public:
  static Fallible<HmacSha256> With(ByteView key) {
    ASSIGN_OR_RETURN(KeyPtr made, Key::Secret(CKK_GENERIC_SECRET, SecretBytes(key)));
    return HmacSha256(std::move(made));
  }
  Fallible<Bytes> Of(std::initializer_list<ByteView> parts) const {
    const CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    ASSIGN_OR_RETURN(const auto mac, MakeSignature(*spec::FindMechanism(CKM_SHA256_HMAC), mechanism, *key_));
    for (const ByteView part : parts) RETURN_IF_ERROR(mac->Update(part));
    Bytes out(32);
    ASSIGN_OR_RETURN(const std::size_t n, mac->Sign(out));
    (void)n;
    return out;
  }

 private:
  explicit HmacSha256(KeyPtr key) : key_(std::move(key)) {}
  KeyPtr key_;
};

}  // namespace

Fallible<Pkcs1Message> RemovePkcs1(ByteView encoded, ByteView secret, ByteView ciphertext,
                                   std::optional<std::size_t> message_bytes) {
  if (encoded.size() < 12 || message_bytes.value_or(0) > encoded.size() - 11)
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "no room for padding");
  ASSIGN_OR_RETURN(const HmacSha256 with_secret, HmacSha256::With(secret));
  ASSIGN_OR_RETURN(const Bytes derived, with_secret.Of({ciphertext}));
  ASSIGN_OR_RETURN(const HmacSha256 prf, HmacSha256::With(derived));
  std::optional<Error> failed;
  Pkcs1Message message = RemovePkcs1Padding(
      encoded,
      [&](std::initializer_list<ByteView> pieces) {
        auto block = prf.Of(pieces);
        if (block.ok()) return std::move(*block);
        failed = block.error();
        return Bytes(32);
      },
      message_bytes);
  if (failed) return Failure{std::move(*failed)};
  return message;
}

}  // namespace cmkd::sim
