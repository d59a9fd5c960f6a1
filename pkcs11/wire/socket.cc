// Frames over a Unix stream socket.
#include "pkcs11/wire/socket.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace cmkd::wire {

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    Close();
    deadline_ = other.deadline_;
    fd_ = other.Release();
  }
  return *this;
}

int Socket::Release() {
  const int fd = fd_;
  fd_ = -1;
  deadline_ = std::chrono::milliseconds{0};
  return fd;
}

void Socket::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Socket::SetDeadline(std::chrono::milliseconds deadline) {
  if (deadline == deadline_ || fd_ < 0) return;
  const timeval value{deadline.count() / 1000, (deadline.count() % 1000) * 1000};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
  deadline_ = deadline;
}

Socket Connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return {};
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

namespace {

// How long one frame may take from its first byte on. Looks at the clock only when a frame comes or goes in pieces.
class FrameTime {
 public:
  explicit FrameTime(const Socket& socket) : allowed_(socket.deadline()) {}
  // True when `bytes` of the frame have passed and it has taken too long for them.
  bool Over(std::size_t bytes) {
    if (allowed_.count() == 0) return false;
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::chrono::milliseconds time(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
    if (begin_.count() == 0) begin_ = time;
    return time - begin_ > allowed_ + std::chrono::seconds(bytes >> 20);
  }

 private:
  std::chrono::milliseconds allowed_;
  std::chrono::milliseconds begin_{0};
};

}  // namespace

bool SendAll(const Socket& socket, ByteView bytes) {
  const std::size_t all = bytes.size();
  FrameTime time(socket);
  while (!bytes.empty()) {
    if (bytes.size() != all && time.Over(all - bytes.size())) return false;
    const ssize_t sent = ::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

namespace {

// Receives up to `count` bytes, at least one.
Receive ReceiveSome(const Socket& socket, std::uint8_t* into, std::size_t count, std::size_t& got) {
  for (;;) {
    const ssize_t received = ::recv(socket.fd(), into, count, 0);
    if (received > 0) {
      got = static_cast<std::size_t>(received);
      return Receive::kFrame;
    }
    if (received == 0) return Receive::kClosed;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? Receive::kTimeout : Receive::kClosed;
  }
}

Receive ReceiveExactly(const Socket& socket, std::uint8_t* into, std::size_t count, std::size_t before,
                       FrameTime& time) {
  for (std::size_t have = 0; have < count;) {
    if (time.Over(before + have)) return Receive::kTimeout;
    std::size_t got = 0;
    if (const Receive result = ReceiveSome(socket, into + have, count - have, got); result != Receive::kFrame) {
      return result;
    }
    have += got;
  }
  return Receive::kFrame;
}

}  // namespace

Receive ReceiveFrame(const Socket& socket, FrameHeader& header, Buffer& payload, std::size_t payload_bytes_max) {
  // Most frames are small: one system call brings header and payload. There is never a second frame behind the first,
  // for a peer waits for its answer; bytes beyond the frame are therefore a breach of the protocol.
  constexpr std::size_t kFirstRead = 4096;
  constexpr std::size_t kStep = std::size_t{1} << 20;
  payload.Clear();
  std::uint8_t* begin = payload.Extend(kFirstRead);
  std::size_t have = 0;
  FrameTime time(socket);
  while (have < sizeof header) {
    if (have != 0 && time.Over(have)) return Receive::kTimeout;
    std::size_t got = 0;
    if (const Receive r = ReceiveSome(socket, begin + have, kFirstRead - have, got); r != Receive::kFrame) {
      return have != 0 && r == Receive::kClosed ? Receive::kMalformed : r;
    }
    have += got;
  }
  std::memcpy(&header, begin, sizeof header);
  if (header.payload_bytes > payload_bytes_max) return Receive::kMalformed;
  std::size_t payload_have = have - sizeof header;
  if (payload_have > header.payload_bytes) return Receive::kMalformed;
  std::memmove(begin, begin + sizeof header, payload_have);
  payload.Shrink(payload_have);
  while (payload_have < header.payload_bytes) {
    const std::size_t step = std::min<std::size_t>(header.payload_bytes - payload_have, std::max(kStep, payload_have));
    std::uint8_t* into = payload.Extend(step);
    if (const Receive r = ReceiveExactly(socket, into, step, payload_have, time); r != Receive::kFrame) return r;
    payload_have += step;
  }
  return Receive::kFrame;
}

}  // namespace cmkd::wire
