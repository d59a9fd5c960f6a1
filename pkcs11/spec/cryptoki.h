// The only include of a PKCS#11 header: p11-kit's, which ends at 2.40, and our own declarations of what 3.0 and 3.2
// add. A test compares every number here with another package's headers (tests/spec/numbers_test.cc).
#pragma once

#include <p11-kit/pkcs11.h>

#include "pkcs11/spec/cryptoki_3x.h"
