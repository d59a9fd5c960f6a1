// Memory for secrets: locked pages that are left out of core dumps and are empty in a forked child. Small secrets share
// pages, so that having one costs no system call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cmkd::secret_pages {

// Larger ones get pages of their own.
inline constexpr std::size_t kSharedBytesMax = 4096;

// `size` bytes (more than 0), all zero. Any thread. Throws std::bad_alloc.
std::uint8_t* Take(std::size_t size);
// Gives back what Take gave for this size. All bytes must be zero again.
void Give(std::uint8_t* memory, std::size_t size);

}  // namespace cmkd::secret_pages
