// Finding, copying and syncing SoftHSM's files.
#include "daemon/hsm_host/softhsm_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>

#include "common/file.h"

namespace cmkd::daemon {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenBytesMax = 65536;  // it is 320 with two PINs
constexpr std::size_t kUuidLength = 36;
// SoftHSM takes no notice of a file with another ending than .object.
constexpr const char* kCopyEnding = ".cmkd";

std::string TokenFile(const fs::path& folder) { return folder / "token.object"; }
std::string CopyFile(const fs::path& folder) { return TokenFile(folder) + kCopyEnding; }

// The configuration that SoftHSM would take.
std::string ConfigurationFile() {
  if (const char* named = std::getenv("SOFTHSM2_CONF"); named != nullptr) return named;  // NOLINT: there is one thread
  if (const char* home = std::getenv("HOME"); home != nullptr) {                         // NOLINT: the same
    const std::string own = std::string(home) + "/.config/softhsm2/softhsm2.conf";
    if (::access(own.c_str(), F_OK) == 0) return own;
  }
  return "/etc/softhsm/softhsm2.conf";
}

std::string Trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string SettingOf(const std::string& configuration, const std::string& name) {
  std::ifstream file(configuration);
  std::string value;
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos && Trimmed(line.substr(0, equals)) == name)
      value = Trimmed(line.substr(equals + 1));
  }
  return value;
}

// A token's folder is named with a UUID, and its serial number is the end of that.
std::string SerialOf(const fs::path& folder) {
  const std::string name = folder.filename();
  return name.size() == kUuidLength ? name.substr(19, 4) + name.substr(24) : "";
}

std::vector<fs::path> TokenFolders(const std::string& folder) {
  std::vector<fs::path> found;
  std::error_code trouble;
  for (fs::directory_iterator at(folder, trouble), end; !trouble && at != end; at.increment(trouble)) {
    if (!SerialOf(at->path()).empty() && at->is_directory(trouble) && !at->is_symlink(trouble)) found.push_back(*at);
  }
  return found;
}

std::set<std::string> SerialsShown(const CK_FUNCTION_LIST_3_2& module) {
  std::set<std::string> serials;
  CK_ULONG count = 0;
  if (module.C_GetSlotList(CK_TRUE, nullptr, &count) != CKR_OK) return serials;
  std::vector<CK_SLOT_ID> slots(count);
  if (module.C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) return serials;
  for (const CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info{};
    if (module.C_GetTokenInfo(slot, &info) != CKR_OK || (info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    serials.emplace(std::begin(info.serialNumber), std::end(info.serialNumber));
  }
  return serials;
}

// What a kill or a power cut leaves of a file that was emptied and written again.
bool IsTorn(const std::optional<Bytes>& content, const Bytes& copy) {
  return !content || content->size() < copy.size() ||
         std::all_of(content->begin(), content->end(), [](std::uint8_t byte) { return byte == 0; });
}

// In place, as SoftHSM does it: the file keeps its owner. When this is interrupted, the copy is still there.
bool PutBack(const std::string& path, const Bytes& copy) {
  const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  return file.valid() && WriteAll(file.get(), copy) && ::ftruncate(file.get(), static_cast<off_t>(copy.size())) == 0 &&
         ::fsync(file.get()) == 0;
}

bool SyncFile(const std::string& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  // Another process of SoftHSM's may just have removed it.
  return file.valid() ? ::fsync(file.get()) == 0 : errno == ENOENT;
}

bool WrittenSince(const std::string& path, const timespec& since) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 &&
         std::tie(status.st_mtim.tv_sec, status.st_mtim.tv_nsec) >= std::tie(since.tv_sec, since.tv_nsec);
}

}  // namespace

std::optional<SoftHsmStore> SoftHsmStore::Of(const std::string& module_path) {
  if (fs::path(module_path).filename().string().find("softhsm2") == std::string::npos) return std::nullopt;
  const std::string configuration = ConfigurationFile();
  if (SettingOf(configuration, "objectstore.backend") == "db") return std::nullopt;
  const std::string folder = SettingOf(configuration, "directories.tokendir");
  if (folder.empty()) return std::nullopt;
  return SoftHsmStore(folder);
}

std::vector<std::string> SoftHsmStore::Restore(const CK_FUNCTION_LIST_3_2& module) const {
  std::vector<std::string> restored;
  const std::set<std::string> shown = SerialsShown(module);
  for (const fs::path& folder : TokenFolders(folder_)) {
    const auto copy = ReadFile(CopyFile(folder), kTokenBytesMax);
    if (shown.contains(SerialOf(folder)) || !copy || copy->empty()) continue;
    if (IsTorn(ReadFile(TokenFile(folder), kTokenBytesMax), *copy) && PutBack(TokenFile(folder), *copy))
      restored.push_back(TokenFile(folder));
  }
  return restored;
}

std::vector<std::string> SoftHsmStore::Keep(const CK_FUNCTION_LIST_3_2& module) const {
  std::vector<std::string> failed;
  const std::set<std::string> shown = SerialsShown(module);
  for (const fs::path& folder : TokenFolders(folder_)) {
    if (!shown.contains(SerialOf(folder))) continue;
    const auto content = ReadFile(TokenFile(folder), kTokenBytesMax);
    // Empty: another process logs in at this moment.
    if (content && content->empty()) continue;
    const bool kept =
        content && (ReadFile(CopyFile(folder), kTokenBytesMax) == content || ReplaceFile(CopyFile(folder), *content));
    if (!kept) failed.push_back(TokenFile(folder));
  }
  return failed;
}

timespec SoftHsmStore::Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now;
}

bool SoftHsmStore::SyncSince(const timespec& since) const {
  for (const fs::path& folder : TokenFolders(folder_)) {
    if (!WrittenSince(folder, since)) continue;  // nothing was made in it
    std::error_code trouble;
    for (fs::directory_iterator at(folder, trouble), end; !trouble && at != end; at.increment(trouble)) {
      if (WrittenSince(at->path(), since) && !SyncFile(at->path())) return false;
    }
    if (trouble || !SyncFolder(folder)) return false;
  }
  return true;
}

}  // namespace cmkd::daemon
