// How to try a mechanism: a parameter that fits, the type of its key, inputs that it takes.
#pragma once

#include <memory>
#include <string>

#include "common/bytes.h"
#include "conformance/survey.h"

namespace cmkd::conformance {

struct Sample {
  CK_MECHANISM mechanism{};  // points into `parameter` and to constants
  Bytes parameter;
  CK_KEY_TYPE key_type = CK_UNAVAILABLE_INFORMATION;
  Bytes message;          // what protecting takes
  std::size_t part = 16;  // what one part may be
  bool in_parts = false;
  bool tells_tampering = false;  // an integrity check is in it
  bool whole_blocks = false;     // the input must be a multiple of the block
  bool one_length = false;       // only inputs as long as `message` fit
  std::size_t shortest = 0;      // bytes that an input has at least
};

// A sample for one use (CKF_ENCRYPT, CKF_SIGN, CKF_WRAP, …) of a mechanism that is offered; nullptr when the table has
// no row for it, or its parameter is one that nothing here can make up without a second key.
std::shared_ptr<Sample> MakeSample(const Offer& offer, CK_FLAGS use);

}  // namespace cmkd::conformance
