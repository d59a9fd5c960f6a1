// See fatal.h. Plain write(2): this may run when memory has run out.
#include "daemon/crypto/fatal.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace cmkd::daemon {

void CryptoFailed(const char* step) {
  char line[160] = "<2>cmkd: the crypto library failed at: ";
  std::strncat(line, step, 80);
  std::strcat(line, "\n");
  (void)!::write(STDERR_FILENO, line, std::strlen(line));
  std::abort();
}

}  // namespace cmkd::daemon
