// ClientLink and ServerLink: the two ends of a connection. Frames go over the socket until the client has asked for a
// lane and got one; the socket stays open, its end is the connection's end.
#pragma once

#include <atomic>
#include <memory>

#include "pkcs11/lane/lane.h"
#include "pkcs11/lane/turnstile.h"
#include "pkcs11/wire/socket.h"

namespace cmkd::lane {

// Used by one thread at a time.
class ClientLink {
 public:
  ClientLink() = default;
  explicit ClientLink(wire::Socket socket) : socket_(std::move(socket)) {}

  bool valid() const { return socket_.valid(); }
  // Of one frame out or one answer in.
  void SetDeadline(std::chrono::milliseconds deadline) { deadline_ = deadline; }

  // Asks the server for a lane. False when the connection is of no use any more; true also when there is no lane for
  // us.
  bool OpenLane();
  bool has_lane() const { return lane_ != nullptr; }
  // Whether the server gave a lane that is none here: its layout is another version's.
  bool lane_is_foreign() const { return lane_is_foreign_; }

  // Whether the server has closed its end. Costs a system call.
  bool Ended() const;

  // `frame` is whole. False when the server is gone.
  bool Send(Pieces frame);
  bool Send(ByteView frame) { return Send(Pieces(&frame, 1)); }
  // `landing`: where the bulk of a long frame goes, if it comes through the lane.
  wire::Receive ReceiveFrame(wire::FrameHeader& header, wire::Buffer& payload, Landing* landing = nullptr);

 private:
  wire::Receive AwaitTurn();
  // The socket with the deadline set, which costs system calls when it changes; a lane needs none.
  const wire::Socket& TimedSocket();

  wire::Socket socket_;
  std::chrono::milliseconds deadline_{0};
  std::unique_ptr<Lane> lane_;
  bool lane_is_foreign_ = false;
  Patience patience_;
  std::uint32_t seen_ = 0;
};

// Used by the connection's thread, but for End and Close.
class ServerLink {
 public:
  // `payload_bytes_max`: a longer frame is kMalformed.
  ServerLink(wire::Socket socket, std::size_t payload_bytes_max)
      : socket_(std::move(socket)), payload_bytes_max_(payload_bytes_max) {}
  ~ServerLink();

  int fd() const { return socket_.fd(); }
  void SetDeadline(std::chrono::milliseconds deadline) { socket_.SetDeadline(deadline); }

  // Answers the client's wish for a lane, with a lane or without. False when the client is gone.
  bool OpenLane(const wire::FrameHeader& wish);
  bool has_lane() const { return lane_.load(std::memory_order_acquire) != nullptr; }

  // Waits for the next frame; `first` is how long for its first byte (negative: for ever; with a lane always for ever).
  wire::Receive ReceiveFrame(int first, wire::FrameHeader& header, wire::Buffer& payload);
  bool Send(ByteView frame);

  // Any thread: the connection is over; a ReceiveFrame that waits or begins from now on says kClosed. What is being
  // answered is still answered.
  void End();
  // Closes the socket. No other thread may be in a function of this object but End, and that not for the first time.
  void Close();

 private:
  wire::Receive ReceiveFromLane(Lane& lane, wire::FrameHeader& header, wire::Buffer& payload);
  void Begin(Lane& lane);
  void Rest();

  wire::Socket socket_;
  const std::size_t payload_bytes_max_;
  std::atomic<Lane*> lane_{nullptr};  // owned
  std::atomic<bool> ended_{false};
  Patience patience_;
  Turnstile::Pass pass_;
  std::uint32_t seen_ = 0;
  bool awake_ = false;
};

}  // namespace cmkd::lane
