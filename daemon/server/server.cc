// Listening, admitting, and the frame loop of one connection.
#include "daemon/server/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

std::string Reason(const std::string& what) { return what + ": " + std::strerror(errno); }

// Waits for the first byte of a frame; once it is there, the rest has the deadline. Forever when `most` is negative.
bool WaitForFrame(int fd, int most) {
  pollfd entry{fd, POLLIN, 0};
  for (;;) {
    const int ready = ::poll(&entry, 1, most);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Between attempts when the system refuses something that it may give again soon.
constexpr std::chrono::milliseconds kPause{100};

}  // namespace

Result<void, std::string> Server::Listen() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = options_.socket_path;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return Failure{"socket path is empty or too long: " + path};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  struct stat existing {};
  if (::lstat(path.c_str(), &existing) == 0) {
    if (!S_ISSOCK(existing.st_mode)) return Failure{path + " exists and is not a socket"};
    if (wire::Connect(path).valid()) return Failure{"another daemon is listening on " + path};
    ::unlink(path.c_str());
  }
  listener_ = wire::Socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener_.valid()) return Failure{Reason("socket")};
  // The mode is right from the first moment: the umask keeps everybody out until chmod opens the socket.
  const mode_t mask = ::umask(0177);
  const int bound = ::bind(listener_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(mask);
  if (bound != 0) return Failure{Reason("cannot bind " + path)};
  if (options_.socket_group && ::chown(path.c_str(), static_cast<uid_t>(-1), *options_.socket_group) != 0) {
    return Failure{Reason("cannot give " + path + " to its group")};
  }
  if (::chmod(path.c_str(), options_.socket_mode) != 0) return Failure{Reason("cannot set the mode of " + path)};
  if (::listen(listener_.fd(), 256) != 0) return Failure{Reason("cannot listen on " + path)};
  stop_event_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_event_ < 0) return Failure{Reason("eventfd")};
  return {};
}

void Server::Serve() {
  while (!stopping_.load()) {
    pollfd entries[2] = {{listener_.fd(), POLLIN, 0}, {stop_event_, POLLIN, 0}};
    const int ready = ::poll(entries, 2, 1000);
    Reap(false);
    if (ready <= 0 || (entries[0].revents & POLLIN) == 0) continue;
    wire::Socket socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      Admit(std::move(socket));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The connection stays in the queue, so poll would return at once and this thread would do nothing else.
      LogWarning(Reason("a connection has to wait"));
      std::this_thread::sleep_for(kPause);
    }
  }
}

void Server::Admit(wire::Socket socket) {
  const std::optional<Peer> peer = ReadPeer(socket.fd());
  if (!peer) return;
  const std::lock_guard lock(mutex_);
  if (stopping_.load()) return;
  const auto same = per_uid_.find(peer->uid);
  if (slots_.size() >= options_.connections_max ||
      (same != per_uid_.end() && same->second >= options_.connections_per_uid_max)) {
    LogWarning("connection refused: too many are open");
    return;
  }
  ++per_uid_[peer->uid];
  ++count_;
  auto slot = std::make_unique<Slot>();
  slot->fd = socket.fd();
  Slot& reference = *slot;
  slots_.emplace(next_slot_++, std::move(slot));
  try {
    reference.thread = std::thread([this, &reference, owned = std::move(socket), who = *peer]() mutable {
      Converse(reference, std::move(owned), who);
    });
  } catch (const std::system_error& e) {
    LogWarning(std::string("connection refused: no thread for it: ") + e.what());
    Forget(reference, *peer);
  }
}

void Server::Forget(Slot& slot, const Peer& peer) {
  slot.fd = -1;
  --count_;
  const auto same = per_uid_.find(peer.uid);
  if (--same->second == 0) per_uid_.erase(same);
  slot.done.store(true);
}

void Server::Converse(Slot& slot, wire::Socket socket, Peer peer) {
  try {
    const std::unique_ptr<Conversation> conversation = service_.Begin(peer);
    wire::Buffer request;
    wire::Buffer response;
    wire::FrameHeader header{};
    int most = static_cast<int>(options_.frame_deadline.count());
    while (conversation != nullptr && !stopping_.load() && WaitForFrame(socket.fd(), most)) {
      most = -1;
      socket.SetDeadline(options_.frame_deadline);
      if (wire::ReceiveFrame(socket, header, request, options_.frame_bytes_max) != wire::Receive::kFrame) break;
      wire::BeginFrame(response);
      if (!conversation->Answer(header, request.view(), response)) break;
      // An answer is finished with the request's own call and id; one that outgrew a frame is a failure of ours.
      const spec::CallId call = spec::FromWireId(header.call);
      if (call == spec::CallId::kCount || !wire::FinishFrame(response, call, wire::kResponse, header.request_id)) break;
      if (!wire::SendAll(socket, response.view())) break;
      request.Clear();
      response.Clear();
    }
  } catch (const std::exception& e) {
    LogError(std::string("a connection ended by an exception: ") + e.what());
  }
  const std::lock_guard lock(mutex_);
  Forget(slot, peer);
}

void Server::Reap(bool all) {
  std::vector<std::unique_ptr<Slot>> finished;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = slots_.begin(); it != slots_.end();) {
      if (all || it->second->done.load()) {
        finished.push_back(std::move(it->second));
        it = slots_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (const auto& slot : finished) {
    if (slot->thread.joinable()) slot->thread.join();
  }
}

void Server::Stop() {
  if (stop_event_ < 0) return;
  stopping_.store(true);
  const std::uint64_t one = 1;
  (void)!::write(stop_event_, &one, sizeof one);
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, slot] : slots_) {
      // Only the reading half: an answer that is being written still goes out.
      if (slot->fd >= 0) ::shutdown(slot->fd, SHUT_RD);
    }
  }
  Reap(true);
  // The socket's file stays: it tells new clients that a daemon belongs here and may be on its way back.
  listener_.Close();
  ::close(stop_event_);
  stop_event_ = -1;
}

}  // namespace cmkd::daemon
