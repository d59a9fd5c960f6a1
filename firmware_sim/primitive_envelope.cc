// Wrapping under a temporary AES key that the recipient's public key carries: CKM_RSA_AES_KEY_WRAP and the
// CKM_ECDH_…_AES_KEY_WRAP (PKCS#11 3.2 sections 6.1.21 and 6.3.22). The wrapped key is AES KWP (RFC 5649).
#include <algorithm>

#include "firmware_sim/derive.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/primitive_factories.h"
#include "pkcs11/spec/mechanism_output.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

// KWP with the temporary key, in either direction.
Fallible<std::size_t> RunKwp(SecretBytes temporary, Mode mode, ByteView in, MutableBytes out) {
  const CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_KWP, nullptr, 0};
  ASSIGN_OR_RETURN(const KeyPtr key, Key::Secret(CKK_AES, std::move(temporary)));
  ASSIGN_OR_RETURN(const auto cipher, MakeCipher(*spec::FindMechanism(mechanism.mechanism), mechanism, *key, mode));
  return cipher->Whole(in, out);
}

class RsaEnvelope final : public Cipher {
 public:
  RsaEnvelope(const CK_RSA_AES_KEY_WRAP_PARAMS& parameter, const Key& key, Mode mode)
      : oaep_(*parameter.pOAEPParams), temporary_bytes_(parameter.ulAESKeyBits / 8), key_(key), mode_(mode) {
    label_.assign(static_cast<const std::uint8_t*>(oaep_.pSourceData),
                  static_cast<const std::uint8_t*>(oaep_.pSourceData) + oaep_.ulSourceDataLen);
    oaep_.pSourceData = label_.data();
  }

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    const std::size_t carrier = (key_.bits() + 7) / 8;
    const CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep_, sizeof oaep_};
    ASSIGN_OR_RETURN(const auto oaep, MakeCipher(*spec::FindMechanism(CKM_RSA_PKCS_OAEP), mechanism, key_, mode_));
    SecretBytes temporary(mode_ == Mode::kEncrypt ? temporary_bytes_ : carrier);
    if (mode_ == Mode::kEncrypt) {
      RETURN_IF_ERROR(RandomBytes(temporary.bytes()));
      ASSIGN_OR_RETURN(const std::size_t carried, oaep->Whole(temporary.view(), out.first(carrier)));
      ASSIGN_OR_RETURN(const std::size_t bytes, RunKwp(std::move(temporary), Mode::kEncrypt, in, out.subspan(carried)));
      return carried + bytes;
    }
    if (in.size() <= carrier) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "shorter than the RSA block");
    ASSIGN_OR_RETURN(const std::size_t bytes, oaep->Whole(in.first(carrier), temporary.bytes()));
    if (bytes != 16 && bytes != 24 && bytes != 32) return Fail(CKR_ENCRYPTED_DATA_INVALID, "no AES key in it");
    temporary.Truncate(bytes);
    return RunKwp(std::move(temporary), Mode::kDecrypt, in.subspan(carrier), out);
  }

 private:
  CK_RSA_PKCS_OAEP_PARAMS oaep_;
  Bytes label_;
  std::size_t temporary_bytes_;
  const Key& key_;
  Mode mode_;
};

class EcdhEnvelope final : public Cipher {
 public:
  EcdhEnvelope(const CK_ECDH_AES_KEY_WRAP_PARAMS& parameter, const Key& key, Mode mode)
      : kdf_(parameter.kdf),
        shared_(parameter.pSharedData, parameter.pSharedData + parameter.ulSharedDataLen),
        temporary_bytes_(parameter.ulAESKeyBits / 8),
        key_(key),
        mode_(mode) {}

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    const std::size_t carrier = key_.curve()->point_bytes;
    if (mode_ == Mode::kEncrypt) {
      // A key pair for this once, whose point travels with the wrapped key.
      ASSIGN_OR_RETURN(SecretBytes material, GenerateOnCurve(*key_.curve()));
      ASSIGN_OR_RETURN(const KeyPtr ephemeral, Key::Private(std::move(material)));
      ASSIGN_OR_RETURN(SecretBytes temporary, TemporaryKey(*ephemeral, key_.part(Part::kPoint)));
      const ByteView point = ephemeral->part(Part::kPoint);
      std::copy(point.begin(), point.end(), out.begin());
      ASSIGN_OR_RETURN(const std::size_t bytes, RunKwp(std::move(temporary), Mode::kEncrypt, in, out.subspan(carrier)));
      return carrier + bytes;
    }
    if (in.size() <= carrier) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "shorter than the point");
    auto temporary = TemporaryKey(key_, in.first(carrier));
    if (!temporary.ok()) return Fail(CKR_ENCRYPTED_DATA_INVALID, "the point is none of this curve");
    return RunKwp(std::move(*temporary), Mode::kDecrypt, in.subspan(carrier), out);
  }

 private:
  Fallible<SecretBytes> TemporaryKey(const Key& mine, ByteView point) const {
    CK_ECDH1_DERIVE_PARAMS parameter{};
    parameter.kdf = kdf_;
    parameter.ulSharedDataLen = shared_.size();
    parameter.pSharedData = const_cast<CK_BYTE*>(shared_.data());
    parameter.ulPublicDataLen = point.size();
    parameter.pPublicData = const_cast<CK_BYTE*>(point.data());
    const CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameter, sizeof parameter};
    return Derive(*spec::FindMechanism(CKM_ECDH1_DERIVE), mechanism, mine, {}, temporary_bytes_);
  }

  CK_ULONG kdf_;
  Bytes shared_;
  std::size_t temporary_bytes_;
  const Key& key_;
  Mode mode_;
};

}  // namespace

CipherResult MakeEnvelope(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  if (row.recipe == Recipe::kRsaAesWrap) {
    const auto& parameter = *static_cast<const CK_RSA_AES_KEY_WRAP_PARAMS*>(mechanism.pParameter);
    return std::unique_ptr<Cipher>(std::make_unique<RsaEnvelope>(parameter, key, mode));
  }
  const auto& parameter = *static_cast<const CK_ECDH_AES_KEY_WRAP_PARAMS*>(mechanism.pParameter);
  return std::unique_ptr<Cipher>(std::make_unique<EcdhEnvelope>(parameter, key, mode));
}

}  // namespace cmkd::sim
