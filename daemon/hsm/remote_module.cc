// Eight function lists, made from the call table, each with the connection of one host.
#include "daemon/hsm/remote_module.h"

#include <array>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "pkcs11/entry/function_lists.h"

namespace cmkd::daemon {

namespace {

// What a function list leads to.
struct Line {
  std::mutex mutex;  // taken, socket_path, and that one thread at a time connects
  bool taken = false;
  RemoteModule::SocketPath socket_path;
  std::chrono::seconds call_deadline{0};
  std::string connected_to;

  std::shared_mutex client_mutex;
  std::shared_ptr<remote::Client> client;

  std::shared_ptr<remote::Client> Client() {
    const std::shared_lock lock(client_mutex);
    return client;
  }
  void Replace(std::shared_ptr<remote::Client> next) {
    {
      const std::unique_lock lock(client_mutex);
      client.swap(next);
    }
    // The old one closes its connections when the last call in it has ended.
  }
};

std::array<Line, kRemoteModulesMax>& Lines() {
  static std::array<Line, kRemoteModulesMax> lines;
  return lines;
}

CK_RV Connect(Line& line) {
  const std::lock_guard lock(line.mutex);
  if (!line.taken) return CKR_CRYPTOKI_NOT_INITIALIZED;
  const std::string path = line.socket_path();
  if (path.empty()) return CKR_DEVICE_REMOVED;
  if (path == line.connected_to && line.Client() != nullptr) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  remote::Options options;
  options.socket_path = path;
  options.resumes = false;
  options.deadline = line.call_deadline;
  options.slow_deadline = line.call_deadline * 5;
  // A host that is gone never listens on this path again.
  options.wait = std::chrono::milliseconds(0);
  line.Replace(std::make_shared<remote::Client>(std::move(options)));
  line.connected_to = path;
  return CKR_OK;
}

CK_RV Disconnect(Line& line) {
  const std::lock_guard lock(line.mutex);
  const bool connected = line.Client() != nullptr;
  line.Replace(nullptr);
  line.connected_to.clear();
  return connected ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

// One Target for each list; all they differ in is which line they take.
template <int index>
struct HostTarget {
  template <class Call>
  static CK_RV Answer(Call& call) {
    const std::shared_ptr<remote::Client> client = Lines()[index].Client();
    return client == nullptr ? CKR_CRYPTOKI_NOT_INITIALIZED : client->Answer(call);
  }
  template <class Call>
  static CK_RV Refuse(Call&, CK_RV rv) {
    return rv;
  }
  static CK_RV Initialize(CK_VOID_PTR) noexcept {
    try {
      return Connect(Lines()[index]);
    } catch (...) {
      return CKR_HOST_MEMORY;
    }
  }
  static CK_RV Finalize(CK_VOID_PTR) noexcept { return Disconnect(Lines()[index]); }
  static CK_RV WaitForSlotEvent(CK_FLAGS, CK_SLOT_ID*, CK_VOID_PTR) noexcept { return CKR_FUNCTION_NOT_SUPPORTED; }
};

template <std::size_t... i>
std::array<CK_FUNCTION_LIST_PTR, sizeof...(i)> MakeLists(std::index_sequence<i...>) {
  return {entry::FunctionLists<HostTarget<static_cast<int>(i)>>::V240()...};
}

}  // namespace

RemoteModule::RemoteModule(SocketPath socket_path, std::chrono::seconds call_deadline) {
  static const auto lists = MakeLists(std::make_index_sequence<kRemoteModulesMax>{});
  for (int i = 0; i < kRemoteModulesMax && index_ < 0; ++i) {
    Line& line = Lines()[static_cast<std::size_t>(i)];
    const std::lock_guard lock(line.mutex);
    if (line.taken) continue;
    line.taken = true;
    line.socket_path = std::move(socket_path);
    line.call_deadline = call_deadline;
    index_ = i;
    functions_ = lists[static_cast<std::size_t>(i)];
  }
}

RemoteModule::~RemoteModule() {
  if (index_ < 0) return;
  Line& line = Lines()[static_cast<std::size_t>(index_)];
  (void)Disconnect(line);
  const std::lock_guard lock(line.mutex);
  line.taken = false;
  line.socket_path = nullptr;
}

}  // namespace cmkd::daemon
