// The steps are numbered as FIPS 186-4 numbers them.
#include "daemon/crypto/seeded_domain.h"

#include <openssl/bn.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

#include "daemon/crypto/domain_parameters.h"
#include "daemon/crypto/random.h"

namespace cmkd::daemon {
namespace {

template <auto free>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free(object);
  }
};
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Scratch = std::unique_ptr<BN_CTX, Free<BN_CTX_free>>;

Bytes ToBytes(const BIGNUM* number) {
  Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  return bytes;
}

Number FromBytes(ByteView bytes) { return Number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr)); }

// A hash of the library. `bytes` 0: there is no such hash.
class Hash {
 public:
  explicit Hash(const char* name) : digest_(EVP_get_digestbyname(name)) {
    if (digest_ != nullptr) bytes_ = static_cast<std::size_t>(EVP_MD_get_size(digest_));
  }
  std::size_t bytes() const { return bytes_; }
  std::size_t bits() const { return 8 * bytes_; }
  bool Of(ByteView data, Bytes& out) const {
    out.resize(bytes_);
    return EVP_Digest(data.data(), data.size(), out.data(), nullptr, digest_, nullptr) == 1;
  }

 private:
  const EVP_MD* digest_;
  std::size_t bytes_ = 0;
};

bool AreSizes(std::size_t prime_bits, std::size_t subprime_bits, const Hash& hash) {
  return MakesDomain(DomainKind::kDsa, prime_bits, subprime_bits) && hash.bits() >= subprime_bits;
}

// Provable primes, by Shawe and Taylor. A step that fails makes `failed` true, and what follows is of no use.
class ProvablePrimes {
 public:
  ProvablePrimes(const Hash& hash, ByteView first_seed)
      : hash_(hash), seed_bytes_(first_seed.size()), seed_(FromBytes(first_seed)), scratch_(BN_CTX_new()) {
    failed_ = seed_ == nullptr || scratch_ == nullptr;
  }
  bool failed() const { return failed_; }
  // The seed as it stands, as long as the first.
  Bytes Seed() {
    Bytes bytes(seed_bytes_);
    Must(BN_bn2binpad(seed_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0);
    return bytes;
  }

  // C.6. The seed has moved on.
  Number Random(std::size_t bits) {
    if (bits < 33) return Small(bits);
    const Number smaller = Random((bits + 1) / 2 + 1);
    return failed_ ? nullptr : Larger(bits, *smaller, nullptr);
  }
  // A.1.2.1.2, steps 3 to 19: the prime of `bits` for which q divides p - 1.
  Number PrimeFor(std::size_t bits, const BIGNUM& q) {
    const Number smaller = Random((bits + 1) / 2 + 1);
    return failed_ ? nullptr : Larger(bits, *smaller, &q);
  }

 private:
  void Must(bool done) { failed_ = failed_ || !done; }
  Number New() {
    Number number(BN_new());
    Must(number != nullptr);
    return number;
  }
  // Hash(seed); the seed goes on by one.
  Number Next() {
    Bytes digest;
    Must(hash_.Of(Seed(), digest) && BN_add_word(seed_.get(), 1) == 1);
    return failed_ ? nullptr : FromBytes(digest);
  }
  // Enough hashes for so many bits, the first the least significant: C.6, steps 18 to 20.
  Number Hashes(std::size_t bits) {
    Number sum = New();
    const std::size_t count = (bits + hash_.bits() - 1) / hash_.bits();
    for (std::size_t i = 0; i < count && !failed_; ++i) {
      const Number one = Next();
      if (failed_ || one == nullptr) break;
      Must(BN_lshift(one.get(), one.get(), static_cast<int>(i * hash_.bits())) == 1 &&
           BN_add(sum.get(), sum.get(), one.get()) == 1);
    }
    return sum;
  }
  // 2^(bits - 1) + (x mod 2^(bits - 1)).
  void SetHighest(BIGNUM* x, std::size_t bits) {
    const int highest = static_cast<int>(bits) - 1;
    if (BN_num_bits(x) > highest) Must(BN_mask_bits(x, highest) == 1);
    Must(BN_set_bit(x, highest) == 1);
  }

  // C.6, steps 5 to 13.
  Number Small(std::size_t bits) {
    for (std::size_t tries = 0; tries <= 4 * bits && !failed_; ++tries) {
      const Number one = Next(), two = Next();
      if (failed_) break;
      // The exclusive or of which only the low bits count.
      const std::uint64_t low =
          (BN_mod_word(one.get(), std::uint64_t{1} << 32) ^ BN_mod_word(two.get(), std::uint64_t{1} << 32)) &
          ((std::uint64_t{1} << (bits - 1)) - 1);
      const std::uint64_t candidate = std::uint64_t{1} << (bits - 1) | low | 1;
      if (!IsSmallPrime(candidate)) continue;
      Number prime = New();
      Must(prime != nullptr && BN_set_word(prime.get(), candidate) == 1);
      return prime;
    }
    failed_ = true;
    return nullptr;
  }
  // Below 2^32: at most 32,768 divisions.
  static bool IsSmallPrime(std::uint64_t candidate) {
    for (std::uint64_t divisor = 3; divisor * divisor <= candidate; divisor += 2) {
      if (candidate % divisor == 0) return false;
    }
    return candidate > 2;
  }

  // C.6, steps 16 to 33, and A.1.2.1.2, steps 4 to 19, which differ by the factor q (nullptr: 1).
  Number Larger(std::size_t bits, const BIGNUM& c0, const BIGNUM* q) {
    BN_CTX* scratch = scratch_.get();
    const Number x = Hashes(bits), t = New(), c = New(), step = New(), most = New(), least = New(), z = New(),
                 exponent = New(), rest = New();
    if (failed_) return nullptr;
    SetHighest(x.get(), bits);
    // step: 2 c0, or 2 q p0.
    Must(BN_lshift1(step.get(), &c0) == 1 && (q == nullptr || BN_mul(step.get(), step.get(), q, scratch) == 1));
    Must(BN_set_bit(most.get(), static_cast<int>(bits)) == 1 &&
         BN_set_bit(least.get(), static_cast<int>(bits) - 1) == 1);
    Divide(*t, *x, *step);
    for (std::size_t tries = 0; tries <= 4 * bits && !failed_; ++tries) {
      Candidate(*c, *t, *step);
      if (BN_cmp(c.get(), most.get()) > 0) {
        Divide(*t, *least, *step);
        Candidate(*c, *t, *step);
      }
      const Number a = Hashes(bits);
      if (failed_) break;
      // a = 2 + (a mod (c - 3)); z = a^(2t) mod c, or a^(2tq) mod p.
      Must(BN_copy(rest.get(), c.get()) != nullptr && BN_sub_word(rest.get(), 3) == 1 &&
           BN_mod(a.get(), a.get(), rest.get(), scratch) == 1 && BN_add_word(a.get(), 2) == 1 &&
           BN_lshift1(exponent.get(), t.get()) == 1 &&
           (q == nullptr || BN_mul(exponent.get(), exponent.get(), q, scratch) == 1) &&
           BN_mod_exp(z.get(), a.get(), exponent.get(), c.get(), scratch) == 1);
      if (!failed_ && IsProven(*z, c0, *c)) {
        Number prime(BN_dup(c.get()));
        Must(prime != nullptr);
        return prime;
      }
      Must(BN_add_word(t.get(), 1) == 1);
    }
    failed_ = true;
    return nullptr;
  }
  // t = ⌈x / step⌉
  void Divide(BIGNUM& t, const BIGNUM& x, const BIGNUM& step) {
    const Number rest = New();
    Must(!failed_ && BN_div(&t, rest.get(), &x, &step, scratch_.get()) == 1);
    if (!failed_ && !BN_is_zero(rest.get())) Must(BN_add_word(&t, 1) == 1);
  }
  // c = t · step + 1
  void Candidate(BIGNUM& c, const BIGNUM& t, const BIGNUM& step) {
    Must(BN_mul(&c, &t, &step, scratch_.get()) == 1 && BN_add_word(&c, 1) == 1);
  }
  // gcd(z - 1, c) = 1 and z^c0 = 1 mod c
  bool IsProven(const BIGNUM& z, const BIGNUM& c0, const BIGNUM& c) {
    const Number gcd = New(), less(BN_dup(&z)), power = New();
    Must(!failed_ && less != nullptr && BN_sub_word(less.get(), 1) == 1 &&
         BN_gcd(gcd.get(), less.get(), &c, scratch_.get()) == 1);
    if (failed_ || !BN_is_one(gcd.get())) return false;
    Must(BN_mod_exp(power.get(), &z, &c0, &c, scratch_.get()) == 1);
    return !failed_ && BN_is_one(power.get());
  }

  const Hash& hash_;
  const std::size_t seed_bytes_;
  Number seed_;
  Scratch scratch_;
  bool failed_ = false;
};

bool IsPrime(const BIGNUM& number, BN_CTX* scratch) { return BN_check_prime(&number, scratch, nullptr) == 1; }

// seed + by, of the seed's length.
bool Add(ByteView seed, std::size_t by, Bytes& sum) {
  const Number number = FromBytes(seed);
  sum.resize(seed.size());
  if (number == nullptr || BN_add_word(number.get(), by) != 1) return false;
  if (BN_num_bytes(number.get()) > static_cast<int>(seed.size()) &&
      BN_mask_bits(number.get(), static_cast<int>(8 * seed.size())) != 1)
    return false;
  return BN_bn2binpad(number.get(), sum.data(), static_cast<int>(sum.size())) >= 0;
}

// A.1.1.2, steps 6 and 7: the subprime, or nothing.
Number SubprimeOf(const Hash& hash, std::size_t bits, ByteView seed, BN_CTX* scratch) {
  Bytes digest;
  if (!hash.Of(seed, digest)) return nullptr;
  Number q = FromBytes(digest);
  if (q == nullptr) return nullptr;
  const int highest = static_cast<int>(bits) - 1;
  if (BN_num_bits(q.get()) > highest && BN_mask_bits(q.get(), highest) != 1) return nullptr;
  if (BN_set_bit(q.get(), highest) != 1 || BN_set_bit(q.get(), 0) != 1) return nullptr;
  return IsPrime(*q, scratch) ? std::move(q) : nullptr;
}

// Steps 11.1 and 11.2: W of the hashes of seed + offset and those that follow, the last of which is cut.
Number Joined(const Hash& hash, std::size_t bits, ByteView seed, std::size_t offset) {
  Number w(BN_new());
  const std::size_t count = (bits + hash.bits() - 1) / hash.bits();
  for (std::size_t j = 0; w != nullptr && j < count; ++j) {
    Bytes moved, digest;
    if (!Add(seed, offset + j, moved) || !hash.Of(moved, digest)) return nullptr;
    const Number v = FromBytes(digest);
    if (v == nullptr || BN_lshift(v.get(), v.get(), static_cast<int>(j * hash.bits())) != 1 ||
        BN_add(w.get(), w.get(), v.get()) != 1)
      return nullptr;
  }
  const int highest = static_cast<int>(bits) - 1;
  if (w != nullptr && BN_num_bits(w.get()) > highest && BN_mask_bits(w.get(), highest) != 1) return nullptr;
  return w;
}

// Fresh seeds until one leads to primes; `tries` of them.
template <class Of>
std::optional<SeededPrimes> OfFreshSeeds(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                         std::size_t seed_bytes, int tries, Of of) {
  if (!AreSizes(prime_bits, subprime_bits, Hash(hash))) return std::nullopt;
  Bytes seed(seed_bytes);
  for (int i = 0; i < tries && !seed.empty(); ++i) {
    FillRandom(seed);
    seed[0] |= 0x80;
    if (auto made = of(prime_bits, subprime_bits, hash, seed)) return made;
  }
  return std::nullopt;
}

}  // namespace

std::optional<SeededPrimes> ProbablePrimesOf(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                             ByteView seed) {
  const Hash with(hash);
  const Scratch scratch(BN_CTX_new());
  if (!AreSizes(prime_bits, subprime_bits, with) || 8 * seed.size() < subprime_bits || scratch == nullptr)
    return std::nullopt;
  const Number q = SubprimeOf(with, subprime_bits, seed, scratch.get()), twice(BN_new()), rest(BN_new());
  if (q == nullptr || twice == nullptr || rest == nullptr || BN_lshift1(twice.get(), q.get()) != 1) return std::nullopt;
  const std::size_t hashes = (prime_bits + with.bits() - 1) / with.bits();
  for (std::size_t counter = 0, offset = 1; counter < 4 * prime_bits; ++counter, offset += hashes) {
    const Number p = Joined(with, prime_bits, seed, offset);
    // X = W + 2^(L - 1); p = X - ((X mod 2q) - 1)
    if (p == nullptr || BN_set_bit(p.get(), static_cast<int>(prime_bits) - 1) != 1 ||
        BN_mod(rest.get(), p.get(), twice.get(), scratch.get()) != 1 || BN_sub(p.get(), p.get(), rest.get()) != 1 ||
        BN_add_word(p.get(), 1) != 1)
      return std::nullopt;
    if (BN_num_bits(p.get()) == static_cast<int>(prime_bits) && IsPrime(*p, scratch.get()))
      return SeededPrimes{ToBytes(p.get()), ToBytes(q.get()), cmkd::ToBytes(seed)};
  }
  return std::nullopt;
}

std::optional<SeededPrimes> ProvablePrimesOf(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                             ByteView first_seed) {
  const Hash with(hash);
  const bool seed_fits = 8 * first_seed.size() >= subprime_bits && first_seed[0] >= 0x80;
  if (!AreSizes(prime_bits, subprime_bits, with) || !seed_fits) return std::nullopt;
  ProvablePrimes primes(with, first_seed);
  const Number q = primes.Random(subprime_bits);
  if (primes.failed()) return std::nullopt;
  const Bytes subprime_seed = primes.Seed();
  const Number p = primes.PrimeFor(prime_bits, *q);
  const Bytes prime_seed = primes.Seed();
  if (primes.failed()) return std::nullopt;
  SeededPrimes made{ToBytes(p.get()), ToBytes(q.get()), cmkd::ToBytes(first_seed)};
  made.seed.insert(made.seed.end(), prime_seed.begin(), prime_seed.end());
  made.seed.insert(made.seed.end(), subprime_seed.begin(), subprime_seed.end());
  return made;
}

// One seed of a hundred makes the subprime a prime.
std::optional<SeededPrimes> MakeProbablePrimes(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                               std::size_t seed_bytes) {
  return OfFreshSeeds(prime_bits, subprime_bits, hash, seed_bytes, 20'000, ProbablePrimesOf);
}

std::optional<SeededPrimes> MakeProvablePrimes(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                               std::size_t seed_bytes) {
  return OfFreshSeeds(prime_bits, subprime_bits, hash, seed_bytes, 16, ProvablePrimesOf);
}

std::optional<Bytes> MakeBase(ByteView prime, ByteView subprime, const char* hash, ByteView seed, std::uint8_t index) {
  const Hash with(hash);
  const Scratch scratch(BN_CTX_new());
  const Number p = FromBytes(prime), q = FromBytes(subprime), e(BN_new()), rest(BN_new()), g(BN_new());
  if (with.bytes() == 0 || scratch == nullptr || p == nullptr || q == nullptr || e == nullptr || rest == nullptr ||
      g == nullptr || !IsPrime(*p, scratch.get()) || !IsPrime(*q, scratch.get()))
    return std::nullopt;
  // p - 1 = e q
  if (BN_copy(e.get(), p.get()) == nullptr || BN_sub_word(e.get(), 1) != 1 ||
      BN_div(e.get(), rest.get(), e.get(), q.get(), scratch.get()) != 1 || !BN_is_zero(rest.get()))
    return std::nullopt;
  Bytes input = cmkd::ToBytes(seed);
  for (const char letter : std::string_view("ggen")) input.push_back(static_cast<std::uint8_t>(letter));
  input.push_back(index);
  input.insert(input.end(), {0, 0});
  for (unsigned count = 1; count <= 0xFFFF; ++count) {
    input[input.size() - 2] = static_cast<std::uint8_t>(count >> 8);
    input[input.size() - 1] = static_cast<std::uint8_t>(count);
    Bytes digest;
    if (!with.Of(input, digest)) return std::nullopt;
    const Number w = FromBytes(digest);
    if (w == nullptr || BN_mod_exp(g.get(), w.get(), e.get(), p.get(), scratch.get()) != 1) return std::nullopt;
    if (BN_num_bits(g.get()) >= 2) return ToBytes(g.get());
  }
  return std::nullopt;
}

}  // namespace cmkd::daemon
