// Looks for files.
#include "tools/cmkctl/places.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace cmkd::tools {

namespace {

namespace fs = std::filesystem;

using Paths = std::vector<fs::path>;

std::optional<std::string> FirstReadable(const Paths& paths) {
  for (const fs::path& path : paths) {
    std::error_code error;
    const fs::path full = fs::canonical(path, error);
    if (!error && ::access(full.c_str(), R_OK) == 0) return full.string();
  }
  return std::nullopt;
}

// What the environment names is what is meant, also when it is not there.
std::optional<std::string> Find(const char* variable, const Paths& paths) {
  const char* named = std::getenv(variable);
  return FirstReadable(named != nullptr && *named != '\0' ? Paths{named} : paths);
}

// lib, lib64, and folders such as lib/x86_64-linux-gnu.
Paths LibraryFolders(const fs::path& prefix) {
  Paths folders = {prefix / "lib", prefix / "lib64"};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(prefix / "lib", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find("-linux-") != std::string::npos) folders.push_back(entry.path());
  }
  return folders;
}

}  // namespace

std::string OwnDirectory() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path().string();
}

std::optional<std::string> FindDaemon(const std::string& directory) {
  const fs::path own(directory);
  return Find("CMKD_DAEMON", {own / "cmkd", own.parent_path() / "sbin" / "cmkd"});
}

std::optional<std::string> FindModule(const char* variable, const std::string& name, const std::string& directory) {
  const fs::path own(directory);
  Paths paths;
  for (const fs::path& folder : LibraryFolders(own.parent_path())) {
    paths.push_back(folder / name);
    paths.push_back(folder / "pkcs11" / name);
  }
  paths.push_back(own / name);
  return Find(variable, paths);
}

std::optional<std::string> FindHsmHost(const std::string& daemon) {
  const fs::path folder = fs::path(daemon).parent_path();
  return Find("CMKD_HSM_HOST", {folder / "cmkd-hsm-host", folder.parent_path() / "libexec" / "cmkd" / "cmkd-hsm-host"});
}

std::optional<std::string> FindSoftHsm() {
  static constexpr char kName[] = "libsofthsm2.so";
  Paths paths;
  for (const char* prefix : {"/usr", "/usr/local", "/opt/homebrew"}) {
    for (const fs::path& folder : LibraryFolders(prefix)) {
      for (const char* inner : {"softhsm", "pkcs11", ""}) paths.push_back(folder / inner / kName);
    }
  }
  return Find("CMKD_SOFTHSM2_MODULE", paths);
}

}  // namespace cmkd::tools
