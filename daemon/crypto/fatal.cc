// See fatal.h. Plain write(2): this may run when memory has run out.
#include "daemon/crypto/fatal.h"

#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace cmkd::daemon {

void CryptoFailed(const char* step) {
  char line[160];
  const int size = std::snprintf(line, sizeof line, "<2>cmkd: the crypto library failed at: %.80s\n", step);
  if (size > 0) (void)!::write(STDERR_FILENO, line, static_cast<std::size_t>(size));
  std::abort();
}

}  // namespace cmkd::daemon
