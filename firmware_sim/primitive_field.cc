// Keys that are numbers modulo a prime: DSA (FIPS 186-4) and Diffie-Hellman (PKCS #3, X9.42, SP 800-56A).
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "firmware_sim/derive.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/key_encoding.h"
#include "firmware_sim/primitive_signature.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, ReleaseWith<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, ReleaseWith<OSSL_PARAM_free>>;

constexpr std::size_t kPrimeBitsMax = 16384;
constexpr std::size_t kDerSignatureBytesMax = 128;  // two numbers of 32 bytes and headers

// The numbers of a group, and what is computed in it.
class Field {
 public:
  explicit Field(const Parts& parts)
      : context_(BN_CTX_secure_new_ex(Library())),
        p_(ToNumber(parts[Part::kPrime])),
        q_(ToNumber(parts[Part::kSubprime])),
        g_(ToNumber(parts[Part::kBase])) {}

  const BIGNUM* p() const { return p_.get(); }
  const BIGNUM* q() const { return q_.get(); }
  const BIGNUM* g() const { return g_.get(); }
  bool has_q() const { return !BN_is_zero(q_.get()); }
  std::size_t bytes() const { return static_cast<std::size_t>(BN_num_bytes(p_.get())); }

  // What the arithmetic can take at all.
  bool IsUsable() const {
    return context_ != nullptr && BN_is_odd(p()) && static_cast<std::size_t>(BN_num_bits(p())) <= kPrimeBitsMax &&
           BN_num_bits(p()) > 64 && IsElement(g()) && BN_cmp(q(), p()) < 0;
  }
  // Between 2 and p - 2: neither the identity nor of order two.
  bool IsElement(const BIGNUM* number) const {
    const BigNumber last(BN_dup(p()));
    return last != nullptr && BN_sub_word(last.get(), 1) == 1 && BN_num_bits(number) > 1 &&
           BN_cmp(number, last.get()) < 0;
  }
  // In the subgroup that the subprime is the order of.
  bool IsInSubgroup(const BIGNUM* number) const {
    const BigNumber one = Power(number, q());
    return one != nullptr && BN_is_one(one.get());
  }
  bool IsPrime(const BIGNUM* number) const { return BN_check_prime(number, context_.get(), nullptr) == 1; }
  bool SubprimeDivides() const {
    const BigNumber rest(BN_new()), order(BN_dup(p()));
    return BN_sub_word(order.get(), 1) == 1 && BN_mod(rest.get(), order.get(), q(), context_.get()) == 1 &&
           BN_is_zero(rest.get());
  }
  // nullptr when the library fails. Its time does not tell the exponent.
  BigNumber Power(const BIGNUM* base, const BIGNUM* exponent) const {
    BigNumber result(BN_secure_new());
    if (BN_mod_exp_mont_consttime(result.get(), base, exponent, p(), context_.get(), nullptr) != 1) result.reset();
    return result;
  }
  // The bound of private exponents: the subprime, or what p - 1 leaves.
  bool IsExponent(const BIGNUM* x) const {
    const BigNumber bound(BN_dup(has_q() ? q() : p()));
    if (!has_q()) BN_sub_word(bound.get(), 2);
    return !BN_is_zero(x) && BN_cmp(x, bound.get()) < 0;
  }

 private:
  BigNumberContext context_;
  BigNumber p_, q_, g_;
};

Fallible<PKey> DsaKey(const Parts& parts, bool is_private) {
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  const struct {
    Part part;
    const char* name;
  } rows[] = {{Part::kPrime, OSSL_PKEY_PARAM_FFC_P},
              {Part::kSubprime, OSSL_PKEY_PARAM_FFC_Q},
              {Part::kBase, OSSL_PKEY_PARAM_FFC_G},
              {Part::kPoint, OSSL_PKEY_PARAM_PUB_KEY},
              {Part::kValue, OSSL_PKEY_PARAM_PRIV_KEY}};
  std::array<BigNumber, std::size(rows)> numbers;
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    if (rows[i].part == Part::kValue && !is_private) continue;
    numbers[i] = ToNumber(parts[rows[i].part]);
    if (rows[i].part == Part::kValue) BN_set_flags(numbers[i].get(), BN_FLG_CONSTTIME);
    if (OSSL_PARAM_BLD_push_BN(builder.get(), rows[i].name, numbers[i].get()) != 1) return LibraryFailure("DSA key");
  }
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const PKeyContext context(EVP_PKEY_CTX_new_from_name(Library(), "DSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, parameters.get()) !=
          1) {
    return LibraryFailure("DSA key");
  }
  return PKey(key);
}

// PKCS#11 has r ‖ s, each as long as the subprime; the library has SEQUENCE { r, s }.
class DsaSignature final : public PublicKeySignature {
 public:
  DsaSignature(std::unique_ptr<Digest> digest, const Key& key)
      : PublicKeySignature(std::move(digest)), key_(key), half_((spec::BitLength(key.part(Part::kSubprime)) + 7) / 8) {}

 protected:
  Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) override {
    const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key_.engine().pkey.get(), nullptr));
    std::uint8_t encoded[kDerSignatureBytesMax];
    std::size_t n = sizeof encoded;
    if (context == nullptr || EVP_PKEY_sign_init(context.get()) != 1 ||
        EVP_PKEY_sign(context.get(), encoded, &n, message.data(), message.size()) != 1) {
      return LibraryFailure("DSA");
    }
    return DerToHalves({encoded, n}, half_, out);
  }
  Status VerifyMessage(ByteView message, ByteView signature) override {
    if (signature.size() != 2 * half_) return Fail(CKR_SIGNATURE_LEN_RANGE, "not two numbers of the subprime's length");
    std::uint8_t encoded[kDerSignatureBytesMax];
    const ByteView written = HalvesToDer(signature, encoded);
    const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key_.engine().pkey.get(), nullptr));
    if (context == nullptr || EVP_PKEY_verify_init(context.get()) != 1) return LibraryFailure("DSA");
    if (written.empty() ||
        EVP_PKEY_verify(context.get(), written.data(), written.size(), message.data(), message.size()) != 1) {
      return LibraryRefusal(CKR_SIGNATURE_INVALID, "DSA");
    }
    return {};
  }

 private:
  const Key& key_;
  std::size_t half_;
};

}  // namespace

Fallible<Bytes> ComputePublicValue(const Parts& parts, CK_RV refusal) {
  const Field field(parts);
  const BigNumber x = ToNumber(parts[Part::kValue]);
  BN_set_flags(x.get(), BN_FLG_CONSTTIME);
  if (!field.IsUsable() || !field.IsExponent(x.get())) return Fail(refusal, "the private value is out of range");
  const BigNumber y = field.Power(field.g(), x.get());
  if (y == nullptr) return LibraryFailure("public value");
  Bytes value(static_cast<std::size_t>(BN_num_bytes(y.get())));
  BN_bn2bin(y.get(), value.data());
  return value;
}

Status CheckGroup(CK_KEY_TYPE type, const Parts& parts) {
  const Field field(parts);
  const auto refused = [](const char* why) { return Fail(CKR_ATTRIBUTE_VALUE_INVALID, why); };
  if (!field.IsUsable() || !field.IsPrime(field.p())) return refused("CKA_PRIME is no prime, or CKA_BASE not below it");
  if (type == CKK_DH) return {};
  const int bits = BN_num_bits(field.q());
  if (bits < 160 || (type == CKK_DSA && bits > 256) || !field.IsPrime(field.q()) || !field.SubprimeDivides())
    return refused("CKA_SUBPRIME is no prime that divides CKA_PRIME - 1");
  if (!field.IsInSubgroup(field.g())) return refused("CKA_BASE does not generate the subgroup");
  return {};
}

Fallible<EnginePtr> PrepareInField(CK_KEY_TYPE type, const Parts& parts, bool is_private, CK_RV refusal) {
  const Field field(parts);
  const BigNumber y = ToNumber(parts[Part::kPoint]);
  if (!field.IsUsable() || field.has_q() == (type == CKK_DH) || !field.IsElement(y.get()))
    return Fail(refusal, "the numbers are no key");
  if (!is_private && field.has_q() && !field.IsInSubgroup(y.get()))
    return Fail(refusal, "the public value is not in the subgroup");
  EnginePtr engine(new Engine);
  if (type == CKK_DSA) {
    if (BN_num_bits(field.q()) > 256) return Fail(refusal, "such a long subprime is not DSA's");
    ASSIGN_OR_RETURN(engine->pkey, DsaKey(parts, is_private));
  }
  return engine;
}

Fallible<SecretBytes> GenerateInField(CK_KEY_TYPE type, const Parts& group) {
  RETURN_IF_ERROR(CheckGroup(type, group));
  const Field field(group);
  // FIPS 186-4 appendix B.1.2: candidates until one is in range.
  const BIGNUM* bound = field.has_q() ? field.q() : field.p();
  const auto bits = static_cast<std::size_t>(BN_num_bits(bound));
  SecretBytes value((bits + 7) / 8);
  for (int attempt = 0; attempt < 200; ++attempt) {
    RETURN_IF_ERROR(RandomBytes(value.bytes()));
    if (bits % 8 != 0) value.bytes()[0] &= static_cast<std::uint8_t>((1u << bits % 8) - 1);
    const BigNumber x = ToNumber(value.view());
    if (BN_num_bits(x.get()) < 2 || !field.IsExponent(x.get())) continue;
    Parts parts = group;
    parts[Part::kValue] = value.view();
    return EncodePkcs8(type, nullptr, parts);
  }
  return Fail(CKR_DEVICE_ERROR, "the random generator gives no value in range");
}

SignatureResult MakeDsa(const spec::MechanismRow& row, const CK_MECHANISM&, const Key& key) {
  ASSIGN_OR_RETURN(std::unique_ptr<Digest> digest, RowDigest(row));
  return std::unique_ptr<Signature>(std::make_unique<DsaSignature>(std::move(digest), key));
}

Fallible<SecretBytes> AgreeInField(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                   const DeriveInput& input) {
  ByteView public_value{static_cast<const std::uint8_t*>(mechanism.pParameter), mechanism.ulParameterLen};
  CK_ULONG kdf = CKD_NULL;
  ByteView shared;
  if (row.parameter == spec::ParameterKind::kX942Dh) {
    const auto& parameter = *static_cast<const CK_X9_42_DH1_DERIVE_PARAMS*>(mechanism.pParameter);
    public_value = {parameter.pPublicData, parameter.ulPublicDataLen};
    kdf = parameter.kdf;
    shared = {parameter.pOtherInfo, parameter.ulOtherInfoLen};
  }
  const Field field(input.key.parts());
  const BigNumber y = ToNumber(public_value), x = ToNumber(input.key.part(Part::kValue));
  BN_set_flags(x.get(), BN_FLG_CONSTTIME);
  // SP 800-56A section 5.6.2.3.1.
  if (public_value.size() > field.bytes() || !field.IsElement(y.get()) ||
      (field.has_q() && !field.IsInSubgroup(y.get())))
    return Fail(CKR_MECHANISM_PARAM_INVALID, "not a public value of this group");
  const BigNumber z = field.Power(y.get(), x.get());
  SecretBytes secret(field.bytes());
  if (z == nullptr || BN_is_one(z.get()) ||
      BN_bn2binpad(z.get(), secret.bytes().data(), static_cast<int>(secret.size())) < 0) {
    return LibraryRefusal(CKR_MECHANISM_PARAM_INVALID, "the two keys do not agree on a secret");
  }
  // X9.42's concatenation is X9.63's function with SHA-1.
  if (kdf == CKD_SHA1_KDF_CONCATENATE) kdf = CKD_SHA1_KDF;
  if (kdf != CKD_NULL) return ApplyKdf(kdf, secret.view(), shared, input.bytes.value_or(secret.size()));
  // The bytes that are too many go from the leading end (3.2, "PKCS #3 Diffie-Hellman key derivation").
  const std::size_t wanted = input.bytes.value_or(secret.size());
  if (wanted > secret.size()) return Fail(CKR_KEY_SIZE_RANGE, "the secret has fewer bytes");
  return SecretBytes(secret.view().last(wanted));
}

}  // namespace cmkd::sim
