// Trial division, Fermat's method, and the fingerprint of the flawed generator.
#include "daemon/crypto/weak_rsa.h"

#include <openssl/bn.h>

#include <array>
#include <memory>

namespace cmkd::daemon {
namespace {

struct Free {
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(BN_CTX* context) const { BN_CTX_free(context); }
};
using Number = std::unique_ptr<BIGNUM, Free>;
using Context = std::unique_ptr<BN_CTX, Free>;

constexpr int kModulusBitsMin = 2048;
constexpr unsigned kTrialMax = 1 << 12;
// Primes that differ in their lower half only are found in the first steps.
constexpr int kFermatSteps = 20;

bool HasSmallFactor(const BIGNUM* n) {
  for (unsigned d = 3; d < kTrialMax; d += 2) {
    if (BN_mod_word(n, d) == 0) return true;
  }
  return false;
}

// The primes for which the powers of 65537 are few; a random modulus passes them all by chance once in 2^27.
constexpr std::array kTelling = {11u, 13u, 17u,  19u,  37u,  53u,  61u,  71u, 73u,
                                 79u, 97u, 103u, 107u, 109u, 127u, 151u, 157u};

bool IsPowerOf65537(unsigned residue, unsigned prime) {
  const unsigned base = 65537 % prime;
  unsigned power = 1;
  do {
    if (power == residue) return true;
    power = power * base % prime;
  } while (power != 1);
  return false;
}

bool IsOfFlawedGenerator(const BIGNUM* n) {
  for (const unsigned prime : kTelling) {
    if (!IsPowerOf65537(static_cast<unsigned>(BN_mod_word(n, prime)), prime)) return false;
  }
  return true;
}

// The integer square root, by Newton's method from above.
Number SquareRoot(const BIGNUM* n, BN_CTX* context) {
  Number x(BN_new()), next(BN_new());
  BN_set_bit(x.get(), (BN_num_bits(n) + 1) / 2);
  for (;;) {
    BN_div(next.get(), nullptr, n, x.get(), context);
    BN_add(next.get(), next.get(), x.get());
    BN_rshift1(next.get(), next.get());
    if (BN_cmp(next.get(), x.get()) >= 0) return x;
    x.swap(next);
  }
}

bool HasClosePrimes(const BIGNUM* n, BN_CTX* context) {
  Number a = SquareRoot(n, context), rest(BN_new()), square(BN_new());
  for (int step = 0; step < kFermatSteps; ++step) {
    BN_sqr(rest.get(), a.get(), context);
    BN_sub(rest.get(), rest.get(), n);
    if (!BN_is_negative(rest.get())) {
      if (BN_is_zero(rest.get())) return true;
      const Number root = SquareRoot(rest.get(), context);
      BN_sqr(square.get(), root.get(), context);
      if (BN_cmp(square.get(), rest.get()) == 0) return true;
    }
    BN_add_word(a.get(), 1);
  }
  return false;
}

}  // namespace

std::string_view WeaknessOfModulus(ByteView modulus) {
  const Number n(BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
  const Context context(BN_CTX_new());
  if (n == nullptr || context == nullptr || BN_num_bits(n.get()) < kModulusBitsMin) return "the modulus is too short";
  if (!BN_is_odd(n.get())) return "the modulus is even";
  if (HasSmallFactor(n.get())) return "the modulus has a small factor";
  if (IsOfFlawedGenerator(n.get())) return "the modulus was made by a flawed generator (CVE-2017-15361)";
  if (HasClosePrimes(n.get(), context.get())) return "the primes are too close to each other";
  return {};
}

}  // namespace cmkd::daemon
