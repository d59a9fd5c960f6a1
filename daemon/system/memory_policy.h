// What the C library does with memory that was freed.
#pragma once

namespace cmkd::daemon {

// A call with a long message needs some MiB for its frames. Given back to the system after each call, every page of it
// would be asked for and cleared again in the next. Call once, before any thread.
void KeepFreedMemory();

}  // namespace cmkd::daemon
