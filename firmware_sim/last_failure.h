// The last failure of the device, kept for whoever asks why it stopped (ISO/IEC 19790 section 7.10). A plain file
// beside the sealed records: what failed may be the very thing that seals them, and it is no secret.
#pragma once

#include <string>

namespace cmkd::sim {

// One line with its time, in the place of the one before. Does what it can: there may be no memory to write to.
void KeepLastFailure(const std::string& directory, const std::string& why);

// The line; empty when there was no failure.
std::string ReadLastFailure(const std::string& directory);

}  // namespace cmkd::sim
