// RSA moduli that no key should have, found before they are taken from outside: small factors, primes too close to each
// other, and the structure of a generator that was flawed (CVE-2017-15361). Any thread.
#pragma once

#include <string_view>

#include "common/bytes.h"

namespace cmkd::daemon {

// What is wrong with the modulus, or nothing. Big endian; takes about a millisecond.
std::string_view WeaknessOfModulus(ByteView modulus);

}  // namespace cmkd::daemon
