// Every bound of the system that a peer could run into, with its reason. Each has a test at the bound and one past it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cmkd::limits {

// One frame. A 64 MiB single-part input must fit with its parameters; more goes in parts.
inline constexpr std::size_t kFrameBytesMax = (std::size_t{64} << 20) + (std::size_t{1} << 16);
// Attributes of one template: the largest real ones have about 30.
inline constexpr std::size_t kTemplateAttributesMax = 256;
// Bytes of one attribute value; a certificate chain fits.
inline constexpr std::size_t kAttributeBytesMax = std::size_t{1} << 20;
// Handles that one C_FindObjects fetches.
inline constexpr std::size_t kFindBatchMax = 4096;
// Bytes of one C_GenerateRandom.
inline constexpr std::size_t kRandomBytesMax = std::size_t{16} << 20;
// Sessions of an application, which brings them all back in one frame after a restart of the daemon: 24 bytes each, and
// half a kilobyte each in the daemon.
inline constexpr std::size_t kResumedSessionsMax = 262'144;
// Session objects likewise; sealed they have some hundred bytes each.
inline constexpr std::size_t kResumedObjectsMax = 65'536;
// Request and answer of one administrative call.
inline constexpr std::size_t kAdminBytesMax = std::size_t{8} << 20;

}  // namespace cmkd::limits
