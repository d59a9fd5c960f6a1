// Power-on self-tests: every recipe gives its known answer before the device serves anybody (ISO/IEC 19790
// section 7.10), and the check of each new key pair.
#pragma once

#include <span>

#include "firmware_sim/known_answers.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// Errors: CKR_FIPS_SELF_TEST_FAILED, with the mechanism and the source of the answer in `why`.
Status RunSelfTests(std::span<const KnownAnswer> answers = KnownAnswers());

// Pairwise consistency of a new key pair: what one half signs the other verifies, or both lead to the same public
// point. Errors: CKR_FIPS_SELF_TEST_FAILED.
Status CheckPair(const Key& public_key, const Key& private_key);

}  // namespace cmkd::sim
