// cmkctl init: a configuration file for a private daemon.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/file.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/config_text.h"

namespace cmkd::tools {

namespace {

namespace fs = std::filesystem;

std::string Reason() { return std::string(": ") + std::strerror(errno) + '.'; }

// The new file's path.
Outcome<std::string> WriteConfig(const std::string& directory) {
  std::error_code error;
  const fs::path full = fs::absolute(directory, error).lexically_normal();
  if (!fs::is_directory(full, error)) {
    fs::create_directories(full.parent_path(), error);
    if (::mkdir(full.c_str(), 0700) != 0) return Refused("INIT", "Cannot make " + full.string() + Reason());
  }
  const std::string path = (full / "cmkd.toml").string();
  const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.valid() && errno == EEXIST) {
    return Refused("INIT", path + " is there already.", "An existing configuration is never written over.",
                   "Start the daemon with it, or name another directory.");
  }
  if (!file.valid()) return Refused("INIT", "Cannot write " + path + Reason());
  const std::string text = PrivateConfig();
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Refused("INIT", "Cannot write " + path + Reason());
  }
  return path;
}

}  // namespace

int Init(const Context& context, const InitOptions& options) {
  const Outcome<std::string> path = WriteConfig(options.directory);
  if (!path) return Report(context.screen, path.error());
  const std::string socket = (fs::path(*path).parent_path() / "cmkd.sock").string();
  context.screen.Show(Object().Set("config", *path).Set("socket", socket).ToValue(),
                      "Written: " + *path + "\nNext:\n  cmkd --config " + *path + " &\n  export CMKD_SOCKET=" + socket +
                          "\n  cmkctl token create --label my-token\n");
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools
