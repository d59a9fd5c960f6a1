// Frames that bring a file descriptor over a socket: how a lane's memory comes to the other process.
#pragma once

#include "pkcs11/wire/socket.h"

namespace cmkd::lane {

// Sends a frame header without payload, and a descriptor with it if it is not negative. False when it did not go out
// whole.
bool SendWithDescriptor(const wire::Socket& socket, const wire::FrameHeader& header, int descriptor);

// The header that comes, and what descriptor came with it, if any. Every descriptor is taken; of several the last is
// kept. False when the header did not come whole.
bool ReceiveWithDescriptor(const wire::Socket& socket, wire::FrameHeader& header, wire::Socket& descriptor);

}  // namespace cmkd::lane
