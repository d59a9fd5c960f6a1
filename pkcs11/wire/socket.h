// Sends and receives whole frames on a Unix stream socket. Never raises SIGPIPE; every wait has the deadline that was
// set on the socket.
#pragma once

#include <chrono>
#include <string>

#include "pkcs11/wire/frame.h"

namespace cmkd::wire {

// Owns a file descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { Close(); }
  int fd() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release();
  void Close();
  // Deadline of each later send and receive; zero waits for ever. Costs a system call only when it changes.
  void SetDeadline(std::chrono::milliseconds deadline);
  std::chrono::milliseconds deadline() const { return deadline_; }

 private:
  int fd_ = -1;
  std::chrono::milliseconds deadline_{0};
};

// Connects to a Unix socket; invalid when nobody listens.
Socket Connect(const std::string& path);

enum class Receive { kFrame, kClosed, kTimeout, kMalformed };

// A peer that takes or gives a byte at a time does not stretch a deadline for ever: all of one frame has the socket's
// deadline and a second more for each MiB, from its first byte on. (So a frame may take up to twice the deadline: the
// last wait for a byte begins within the time and has its own.)

// Sends all bytes; false when the peer is gone or the deadline passed.
bool SendAll(const Socket& socket, ByteView bytes);

// Receives one frame: the header into `header`, the payload into `payload` (cleared first). A payload over the limit is
// kMalformed and is not read. Memory grows only as bytes arrive, so a lying length costs nothing.
Receive ReceiveFrame(const Socket& socket, FrameHeader& header, Buffer& payload,
                     std::size_t payload_bytes_max = limits::kFrameBytesMax);

}  // namespace cmkd::wire
