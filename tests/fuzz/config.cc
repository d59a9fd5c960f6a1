// The configuration file. Input: its text. Whatever is taken keeps to the bounds that the rest of the daemon relies on;
// whatever is refused is refused with a place and a sentence.
#include "daemon/config/config.h"

#include "common/bytes.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  const auto config = daemon::ParseConfig(AsText({data, size}), "/etc/cmkd/cmkd.toml");
  if (!config.ok()) {
    FUZZ_CHECK(!config.error().what.empty());
    FUZZ_CHECK(config.error().Text().starts_with("/etc/cmkd/cmkd.toml"));
    FUZZ_CHECK(config.error().Text().find('\n') == std::string::npos);
    return 0;
  }
  FUZZ_CHECK(!config->hsms.empty());
  FUZZ_CHECK(config->daemon.max_connections > 0 && config->daemon.max_connections_per_uid > 0);
  FUZZ_CHECK(config->limits.login_retry_limit > 0 && config->limits.sessions_per_application > 0);
  FUZZ_CHECK(config->tokens.pin_bytes_min > 0);
  FUZZ_CHECK((config->daemon.socket_mode & ~0777U) == 0);
  // It says the same when it is read again.
  const auto again = daemon::ParseConfig(AsText({data, size}), "/etc/cmkd/cmkd.toml");
  FUZZ_CHECK(again.ok() && *again == *config);
  return 0;
}
