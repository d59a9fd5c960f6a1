// New asymmetric keys, and the numbers that an imported RSA key lacks.
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include "firmware_sim/engine.h"
#include "firmware_sim/key_encoding.h"
#include "firmware_sim/openssl.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

struct RsaName {
  Part part;
  const char* name;
};
constexpr RsaName kRsaNames[] = {
    {Part::kModulus, OSSL_PKEY_PARAM_RSA_N},           {Part::kPublicExponent, OSSL_PKEY_PARAM_RSA_E},
    {Part::kPrivateExponent, OSSL_PKEY_PARAM_RSA_D},   {Part::kPrime1, OSSL_PKEY_PARAM_RSA_FACTOR1},
    {Part::kPrime2, OSSL_PKEY_PARAM_RSA_FACTOR2},      {Part::kExponent1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {Part::kExponent2, OSSL_PKEY_PARAM_RSA_EXPONENT2}, {Part::kCoefficient, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

// Lays numbers one after another in one wiped buffer.
class NumberBuffer {
 public:
  explicit NumberBuffer(std::size_t bytes) : buffer_(bytes) {}
  bool Put(Parts& parts, Part part, const BIGNUM* number) {
    const auto bytes = static_cast<std::size_t>(BN_num_bytes(number));
    if (used_ + bytes > buffer_.size()) return false;
    const MutableBytes slot = buffer_.bytes().subspan(used_, bytes);
    if (BN_bn2binpad(number, slot.data(), static_cast<int>(bytes)) < 0) return false;
    parts[part] = slot;
    used_ += bytes;
    return true;
  }
  SecretBytes Release() { return std::move(buffer_); }

 private:
  SecretBytes buffer_;
  std::size_t used_ = 0;
};

// The primes from modulus and exponents: NIST SP 800-56B r2, appendix C.1 (the probabilistic method).
bool RecoverPrimes(const BIGNUM* n, const BIGNUM* e, const BIGNUM* d, BIGNUM* p, BIGNUM* q, BN_CTX* context) {
  const BigNumber k(BN_new()), r(BN_new()), g(BN_new()), y(BN_new()), x(BN_new()), n_minus_1(BN_dup(n)), gcd(BN_new());
  if (BN_mul(k.get(), d, e, context) != 1 || BN_sub_word(k.get(), 1) != 1 || BN_is_odd(k.get()) ||
      BN_is_zero(k.get())) {
    return false;
  }
  int t = 0;
  while (!BN_is_bit_set(k.get(), t)) ++t;
  BN_rshift(r.get(), k.get(), t);
  BN_sub_word(n_minus_1.get(), 1);
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (BN_rand_range(g.get(), n) != 1 || BN_mod_exp(y.get(), g.get(), r.get(), n, context) != 1) return false;
    if (BN_is_one(y.get()) || BN_cmp(y.get(), n_minus_1.get()) == 0) continue;
    for (int j = 0; j < t; ++j) {
      if (BN_mod_sqr(x.get(), y.get(), n, context) != 1) return false;
      if (BN_is_one(x.get())) {
        // y is a root of 1 other than ±1: it shares a prime with the modulus.
        BN_sub_word(y.get(), 1);
        return BN_gcd(p, y.get(), n, context) == 1 && BN_div(q, nullptr, n, p, context) == 1 && !BN_is_one(p) &&
               !BN_is_one(q);
      }
      if (BN_cmp(x.get(), n_minus_1.get()) == 0) break;
      BN_copy(y.get(), x.get());
    }
  }
  return false;
}

}  // namespace

Fallible<RsaNumbers> CompleteRsa(const Parts& parts, CK_RV refusal) {
  const BigNumberContext context(BN_CTX_secure_new_ex(Library()));
  const BigNumber n = ToNumber(parts[Part::kModulus]), d = ToNumber(parts[Part::kPrivateExponent]);
  const BigNumber e = ToNumber(parts[Part::kPublicExponent]);
  BigNumber p = ToNumber(parts[Part::kPrime1]), q = ToNumber(parts[Part::kPrime2]);
  if (BN_is_zero(n.get()) || BN_is_zero(d.get()) || BN_is_zero(e.get()))
    return Fail(refusal, "RSA key without its exponents");
  // What the modular arithmetic below can take; PreparePrivate() judges the rest.
  if (!BN_is_odd(n.get()) || BN_num_bits(n.get()) > 16384 || BN_cmp(d.get(), n.get()) >= 0 ||
      BN_cmp(e.get(), n.get()) >= 0) {
    return Fail(refusal, "RSA numbers out of range");
  }
  if (BN_is_zero(p.get()) || BN_is_zero(q.get())) {
    if (!RecoverPrimes(n.get(), e.get(), d.get(), p.get(), q.get(), context.get())) {
      return LibraryRefusal(refusal, "the exponents do not belong to the modulus");
    }
  }
  if (BN_cmp(p.get(), q.get()) < 0) std::swap(p, q);
  const BigNumber p1(BN_dup(p.get())), q1(BN_dup(q.get())), dp(BN_new()), dq(BN_new()), qi(BN_new());
  BN_sub_word(p1.get(), 1);
  BN_sub_word(q1.get(), 1);
  const BigNumber check(BN_new());
  const bool computed =
      BN_mod(dp.get(), d.get(), p1.get(), context.get()) == 1 &&
      BN_mod(dq.get(), d.get(), q1.get(), context.get()) == 1 &&
      BN_mod_inverse(qi.get(), q.get(), p.get(), context.get()) != nullptr &&
      // e·d ≡ 1 modulo each p-1: the exponents belong together.
      BN_mod_mul(check.get(), e.get(), dp.get(), p1.get(), context.get()) == 1 && BN_is_one(check.get()) &&
      BN_mod_mul(check.get(), e.get(), dq.get(), q1.get(), context.get()) == 1 && BN_is_one(check.get());
  if (!computed) return LibraryRefusal(refusal, "RSA numbers do not belong together");
  RsaNumbers numbers;
  NumberBuffer buffer(parts[Part::kModulus].size() * 6 + 64);
  const bool stored =
      buffer.Put(numbers.parts, Part::kModulus, n.get()) && buffer.Put(numbers.parts, Part::kPublicExponent, e.get()) &&
      buffer.Put(numbers.parts, Part::kPrivateExponent, d.get()) && buffer.Put(numbers.parts, Part::kPrime1, p.get()) &&
      buffer.Put(numbers.parts, Part::kPrime2, q.get()) && buffer.Put(numbers.parts, Part::kExponent1, dp.get()) &&
      buffer.Put(numbers.parts, Part::kExponent2, dq.get()) && buffer.Put(numbers.parts, Part::kCoefficient, qi.get());
  if (!stored) return LibraryFailure("RSA numbers");
  numbers.buffer = buffer.Release();
  return numbers;
}

Fallible<SecretBytes> GenerateRsa(std::size_t modulus_bits, ByteView public_exponent) {
  const PKeyContext context(EVP_PKEY_CTX_new_from_name(Library(), "RSA", nullptr));
  if (context == nullptr || EVP_PKEY_keygen_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), static_cast<int>(modulus_bits)) != 1) {
    return LibraryRefusal(CKR_KEY_SIZE_RANGE, "RSA modulus size");
  }
  if (!public_exponent.empty()) {
    const BigNumber e = ToNumber(public_exponent);
    // FIPS 186-5 appendix A.1.1: odd, and between 2^16 and 2^256.
    if (!BN_is_odd(e.get()) || BN_num_bits(e.get()) < 17 || BN_num_bits(e.get()) > 256 ||
        EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context.get(), e.get()) != 1) {
      return LibraryRefusal(CKR_ATTRIBUTE_VALUE_INVALID, "RSA public exponent");
    }
  }
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_generate(context.get(), &made) != 1) return LibraryFailure("RSA generation");
  const PKey key(made);
  Parts parts;
  NumberBuffer buffer(modulus_bits + 64);
  for (const RsaName& row : kRsaNames) {
    BIGNUM* value = nullptr;
    const bool got = EVP_PKEY_get_bn_param(key.get(), row.name, &value) == 1;
    const BigNumber number(value);
    if (!got || !buffer.Put(parts, row.part, number.get())) return LibraryFailure("RSA numbers");
  }
  return EncodePkcs8(CKK_RSA, nullptr, parts);
}

Fallible<SecretBytes> GenerateOnCurve(const spec::Curve& curve) {
  Parts parts;
  if (!HasScalar(curve.key_type)) {
    // RFC 7748 and RFC 8032: any bytes are a seed; for X25519 and X448 the use of it sets the bits.
    SecretBytes seed((curve.point_bytes));
    RETURN_IF_ERROR(RandomBytes(seed.bytes()));
    parts[Part::kValue] = seed.view();
    return EncodePkcs8(curve.key_type, &curve, parts);
  }
  // FIPS 186-5 appendix A.2.2: candidates until one is in range. For the curves in the table nearly the first always
  // is.
  const std::size_t bytes = (curve.bits + 7u) / 8;
  SecretBytes scalar(bytes);
  for (int attempt = 0; attempt < 100; ++attempt) {
    RETURN_IF_ERROR(RandomBytes(scalar.bytes()));
    if (curve.bits % 8 != 0) scalar.bytes()[0] &= static_cast<std::uint8_t>((1u << curve.bits % 8) - 1);
    const auto point = ComputePoint(curve, scalar.view(), CKR_ARGUMENTS_BAD);
    if (!point.ok()) {
      if (point.error().rv == CKR_ARGUMENTS_BAD) continue;
      return Failure{point.error()};
    }
    parts[Part::kValue] = scalar.view();
    parts[Part::kPoint] = *point;
    return EncodePkcs8(curve.key_type, &curve, parts);
  }
  return Fail(CKR_DEVICE_ERROR, "the random generator gives no scalar in range");
}

}  // namespace cmkd::sim
