// Domain parameters of DSA and Diffie-Hellman. Nothing in them is secret.
#pragma once

#include <optional>

#include "common/bytes.h"

namespace cmkd::daemon {

enum class DomainKind : std::uint8_t {
  kDsa,        // FIPS 186-4 appendix A: fresh primes, 1024/160, 2048/224, 2048/256 or 3072/256 bits
  kSafePrime,  // the group of RFC 7919 of 2048, 3072, 4096, 6144 or 8192 bits
  kX942,       // as for DSA, 2048/224 or 2048/256 bits
};

struct DomainParameters {
  Bytes prime, subprime, base;  // big endian, no leading zeros
};

// Whether parameters of these sizes are made; subprime_bits counts for kDsa and kX942.
bool MakesDomain(DomainKind kind, std::size_t prime_bits, std::size_t subprime_bits);

// The subprime's bits that go with a prime of DSA when nobody says them (PKCS#11 3.2, "DSA domain parameter objects");
// 0 for a prime that is not made.
std::size_t UsualSubprimeBits(std::size_t prime_bits);

// Some seconds of work for fresh ones. Empty when the library fails or the sizes are not made. Any thread.
std::optional<DomainParameters> MakeDomain(DomainKind kind, std::size_t prime_bits, std::size_t subprime_bits);

}  // namespace cmkd::daemon
