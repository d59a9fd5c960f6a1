// Accepts connections on a Unix socket and serves frames, one thread a connection. Knows frames and peers, nothing of
// calls. Used by the daemon for its clients and by the HSM host for the daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/result.h"
#include "daemon/system/peer.h"
#include "pkcs11/lane/link.h"

namespace cmkd::daemon {

// One connection's conversation. Used by one thread.
class Conversation {
 public:
  virtual ~Conversation() = default;
  // Answers one request: `response` is empty with room for a header at its front; what is appended is the payload.
  // False ends the connection (a breach of the protocol).
  virtual bool Answer(const wire::FrameHeader& header, ByteView payload, wire::Buffer& response) = 0;
};

// Makes the conversation of a new connection. Called on the connection's thread; any number at once.
class Service {
 public:
  virtual ~Service() = default;
  virtual std::unique_ptr<Conversation> Begin(const Peer& peer) = 0;
};

struct ServerOptions {
  std::string socket_path;
  std::uint32_t socket_mode = 0660;
  std::optional<std::uint32_t> socket_group;
  std::size_t connections_max = 1024;
  std::size_t connections_per_uid_max = 512;
  // The longest request that is read; a longer one ends its connection.
  std::size_t frame_bytes_max = limits::kFrameBytesMax;
  // The first frame of a connection must begin within this time. Any frame that has begun must be whole, and an answer
  // taken, within this time and a second more for each MiB. Between frames a connection may rest for ever.
  std::chrono::milliseconds frame_deadline{10'000};
};

class Server {
 public:
  // `service` is borrowed and must outlive the server.
  Server(ServerOptions options, Service& service) : options_(std::move(options)), service_(service) {}
  ~Server() { Stop(); }

  // Binds and listens. A stale socket is replaced, a living one refused. The error is a sentence.
  Result<void, std::string> Listen();
  // Accepts until Stop; returns then.
  void Serve();
  // Ends Serve and all connections, and waits for their threads: calls that are under way are answered, but a client
  // that does not take its answer within the frame deadline is left. Any thread but a connection's; idempotent.
  void Stop();
  // Connections now open.
  std::size_t connections() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    Slot(wire::Socket socket, std::size_t frame_bytes_max) : link(std::move(socket), frame_bytes_max) {}
    lane::ServerLink link;
    std::thread thread;
    std::atomic<bool> done{false};
  };
  void Admit(wire::Socket socket);
  void Converse(std::uint64_t number, Slot& slot, Peer peer);
  void AnswerFrames(std::uint64_t number, lane::ServerLink& link, Conversation& conversation);
  // A connection with a lane waits there, not on its socket: from now on the accepting thread does, for the socket's
  // end.
  bool OpenLane(std::uint64_t number, lane::ServerLink& link, const wire::FrameHeader& wish);
  void EndOf(std::uint64_t number);
  // `slot` is no connection any more. mutex_ is held.
  void Forget(Slot& slot, const Peer& peer);
  void Reap(bool all);

  ServerOptions options_;
  Service& service_;
  wire::Socket listener_;
  wire::Socket stop_event_;
  wire::Socket watch_;  // an epoll of the listener, the stop event and the sockets of connections with a lane
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> count_{0};
  std::mutex mutex_;
  std::map<std::uint64_t, std::unique_ptr<Slot>> slots_;
  std::map<std::uint32_t, std::size_t> per_uid_;
  std::uint64_t next_slot_ = 0;
};

}  // namespace cmkd::daemon
