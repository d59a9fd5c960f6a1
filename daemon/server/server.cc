// Listening, admitting, and the frame loop of one connection.
#include "daemon/server/server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "common/file.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

// What an event of the epoll is about; other numbers are connections.
constexpr std::uint64_t kListener = UINT64_MAX;
constexpr std::uint64_t kStopEvent = UINT64_MAX - 1;

bool Watch(const wire::Socket& watch, int fd, std::uint32_t events, std::uint64_t about) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = about;
  return ::epoll_ctl(watch.fd(), EPOLL_CTL_ADD, fd, &event) == 0;
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
  if (!listener_.valid()) return Failure{WithReason("socket")};
  // The mode is right from the first moment: the umask keeps everybody out until chmod opens the socket.
  const mode_t mask = ::umask(0177);
  const int bound = ::bind(listener_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(mask);
  if (bound != 0) return Failure{WithReason("cannot bind " + path)};
  if (options_.socket_group && ::chown(path.c_str(), static_cast<uid_t>(-1), *options_.socket_group) != 0) {
    return Failure{WithReason("cannot give " + path + " to its group")};
  }
  if (::chmod(path.c_str(), options_.socket_mode) != 0) return Failure{WithReason("cannot set the mode of " + path)};
  if (::listen(listener_.fd(), 256) != 0) return Failure{WithReason("cannot listen on " + path)};
  stop_event_ = wire::Socket(::eventfd(0, EFD_CLOEXEC));
  watch_ = wire::Socket(::epoll_create1(EPOLL_CLOEXEC));
  if (!stop_event_.valid() || !watch_.valid() || !Watch(watch_, listener_.fd(), EPOLLIN, kListener) ||
      !Watch(watch_, stop_event_.fd(), EPOLLIN, kStopEvent)) {
    return Failure{WithReason("cannot watch " + path)};
  }
  return {};
}

void Server::Serve() {
  while (!stopping_.load()) {
    epoll_event events[16];
    const int ready = ::epoll_wait(watch_.fd(), events, static_cast<int>(std::size(events)), 1000);
    bool called = false;
    for (int i = 0; i < ready; ++i) {
      const std::uint64_t about = events[i].data.u64;
      if (about == kListener) called = true;
      if (about < kStopEvent) EndOf(about);
    }
    Reap(false);
    if (!called) continue;
    wire::Socket socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      Admit(std::move(socket));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The connection stays in the queue, so the wait would return at once and this thread would do nothing else.
      LogWarning(WithReason("a connection has to wait"));
      std::this_thread::sleep_for(kPause);
    }
  }
  // The socket's file stays: it tells new clients that a daemon belongs here and may be on its way back. Closed here,
  // for Stop() is another thread's and this one waited on it a moment ago.
  listener_.Close();
}

void Server::EndOf(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto slot = slots_.find(number);
  // Once: the event comes again until the socket is closed.
  if (slot == slots_.end() || slot->second->done.load()) return;
  ::epoll_ctl(watch_.fd(), EPOLL_CTL_DEL, slot->second->link.fd(), nullptr);
  slot->second->link.End();
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
  const std::uint64_t number = next_slot_++;
  Slot& slot =
      *slots_.emplace(number, std::make_unique<Slot>(std::move(socket), options_.frame_bytes_max)).first->second;
  try {
    slot.thread = std::thread([this, number, &slot, who = *peer] { Converse(number, slot, who); });
  } catch (const std::system_error& e) {
    LogWarning(std::string("connection refused: no thread for it: ") + e.what());
    Forget(slot, *peer);
  }
}

void Server::Forget(Slot& slot, const Peer& peer) {
  slot.link.Close();
  --count_;
  const auto same = per_uid_.find(peer.uid);
  if (--same->second == 0) per_uid_.erase(same);
  slot.done.store(true);
}

void Server::Converse(std::uint64_t number, Slot& slot, Peer peer) {
  try {
    const std::unique_ptr<Conversation> conversation = service_.Begin(peer);
    if (conversation != nullptr) AnswerFrames(number, slot.link, *conversation);
  } catch (const std::exception& e) {
    LogError(std::string("a connection ended by an exception: ") + e.what());
  }
  const std::lock_guard lock(mutex_);
  Forget(slot, peer);
}

void Server::AnswerFrames(std::uint64_t number, lane::ServerLink& link, Conversation& conversation) {
  wire::Buffer request;
  wire::Buffer response;
  wire::FrameHeader header{};
  int first = static_cast<int>(options_.frame_deadline.count());
  link.SetDeadline(options_.frame_deadline);
  while (!stopping_.load() && link.ReceiveFrame(first, header, request) == wire::Receive::kFrame) {
    if (header.flags == wire::kLane) {
      // Only after a frame that was answered: who says nothing sensible gets no memory.
      if (first >= 0 || !OpenLane(number, link, header)) return;
      continue;
    }
    wire::BeginFrame(response);
    if (!conversation.Answer(header, request.view(), response)) return;
    // An answer is finished with the request's own call and id; one that outgrew a frame is a failure of ours.
    const spec::CallId call = spec::FromWireId(header.call);
    if (call == spec::CallId::kCount || !wire::FinishFrame(response, call, wire::kResponse, header.request_id)) return;
    if (!link.Send(response.view())) return;
    request.Clear();
    response.Clear();
    first = -1;
  }
}

bool Server::OpenLane(std::uint64_t number, lane::ServerLink& link, const wire::FrameHeader& wish) {
  if (!link.OpenLane(wish)) return false;
  return !link.has_lane() || Watch(watch_, link.fd(), EPOLLRDHUP, number);
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
  if (!stop_event_.valid()) return;
  stopping_.store(true);
  const std::uint64_t one = 1;
  (void)!::write(stop_event_.fd(), &one, sizeof one);
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, slot] : slots_) {
      if (!slot->done.load()) slot->link.End();
    }
  }
  Reap(true);
}

}  // namespace cmkd::daemon
