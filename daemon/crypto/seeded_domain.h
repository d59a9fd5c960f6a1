// Domain parameters of DSA whose seed is told, so that others can see that nobody chose them (FIPS 186-4 appendix A).
// Nothing in them is secret. Any thread.
#pragma once

#include <optional>

#include "common/bytes.h"

namespace cmkd::daemon {

// A hash by the library's name (SHA256). All functions are empty when the library fails, when the sizes are not those
// of DSA (MakesDomain), or when the hash is shorter than the subprime.

struct SeededPrimes {
  Bytes prime, subprime;  // big endian, no leading zeros
  // The domain_parameter_seed of appendix A.2: of provable primes firstseed ‖ pseed ‖ qseed, of equal length.
  Bytes seed;
};

// Probable primes (A.1.1.2) of this seed, of subprime_bits or more; empty also when the seed leads to none, as most do.
std::optional<SeededPrimes> ProbablePrimesOf(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                             ByteView seed);

// Provable primes (A.1.2.1.2, C.6) of this first seed, of subprime_bits or more and with its highest bit set; empty
// also when the seed leads to none.
std::optional<SeededPrimes> ProvablePrimesOf(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                             ByteView first_seed);
// The same of fresh seeds of so many bytes, until one leads to primes. Some seconds of work.
std::optional<SeededPrimes> MakeProbablePrimes(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                               std::size_t seed_bytes);
std::optional<SeededPrimes> MakeProvablePrimes(std::size_t prime_bits, std::size_t subprime_bits, const char* hash,
                                               std::size_t seed_bytes);

// The canonical generator of this index (A.2.3) for primes that came of the seed. Empty also when they are no primes,
// or subprime does not divide prime - 1.
std::optional<Bytes> MakeBase(ByteView prime, ByteView subprime, const char* hash, ByteView seed, std::uint8_t index);

}  // namespace cmkd::daemon
