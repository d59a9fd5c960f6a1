// The integrity of the device's own image, before it serves anybody (ISO/IEC 19790 section 7.10): an HMAC of the file
// that this code was loaded from, compared with the one that was written beside it when it was built or installed. It
// is for accidents and for what a device has to do at power-on; who can write both files is not kept out.
//
// The device's configuration is in its flash, where every record is sealed.
#pragma once

#include <cstdint>
#include <string>

#include "common/bytes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// What a program or module that is a device in service says of itself in one definition of kImagePolicy; without one,
// as in a test program, the image is not looked at. Any damage to the number means kSealedImage.
inline constexpr std::uint64_t kSealedImage = 0x5ea1edc0dec0ffee;
inline constexpr std::uint64_t kUnsealedImage = 0xa15e123f213f0011;
extern const std::uint64_t kImagePolicy;

// Once for a process: what was loaded does not change when the file is replaced. Errors: CKR_FIPS_SELF_TEST_FAILED;
// from the second call on CKR_GENERAL_ERROR.
Status CheckImage();
// The same told in another way: damage to the one place that judges is caught by the other.
bool ImageHolds();

// Writes the seal of an image beside it. Errors: CKR_ARGUMENTS_BAD.
Status SealImage(const std::string& image);
// Where that is.
std::string SealPath(const std::string& image);

}  // namespace cmkd::sim
