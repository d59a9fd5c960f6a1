// The policy of programs that have none of their own (image_seal.h). In a file of its own: where the number can be seen
// the compiler would take it for granted.
#include "firmware_sim/image_seal.h"

namespace cmkd::sim {

__attribute__((weak)) extern const std::uint64_t kImagePolicy = kUnsealedImage;

}  // namespace cmkd::sim
