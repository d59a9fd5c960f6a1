// The end of the process when the crypto library cannot do what it always can. Such a failure is an invariant of ours
// that broke, not a client's mistake: nothing answered afterwards could be trusted, and the store survives a stop at
// any moment.
#pragma once

namespace cmkd::daemon {

// Says on stderr which step failed and aborts. Never returns.
[[noreturn]] void CryptoFailed(const char* step);

}  // namespace cmkd::daemon
