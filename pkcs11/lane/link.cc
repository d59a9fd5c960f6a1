// Sending and receiving through whichever of the two ways is open.
#include "pkcs11/lane/link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace cmkd::lane {

namespace {

using wire::Receive;

// A sleeping client looks this often whether the server still lives; the first time sooner.
constexpr std::chrono::milliseconds kFirstLook{5};
constexpr std::chrono::milliseconds kLook{50};

// A server's lane that was not used for so long gives the memory of long frames back.
constexpr std::chrono::milliseconds kRest{1000};

// Server threads that are awake with a lane. When there are more of them than processors, waiting without sleep only
// takes time from those who work.
std::atomic<int> g_awake{0};

int Processors() {
  static const int processors = std::max(1, ::get_nprocs());
  return processors;
}

bool ProcessorsAreFree() { return g_awake.load(std::memory_order_relaxed) <= Processors(); }

// Long enough that the change of turns is a small part of it, short enough that many who wait do so for milliseconds.
constexpr std::chrono::microseconds kTurn{1000};

// Of all lanes of this process; never destroyed, for connections' threads may outlive static objects.
Turnstile& Turns() {
  static Turnstile& turns = *new Turnstile(Processors(), kTurn);
  return turns;
}

// A frame header without payload, and a descriptor with it or not.
bool SendWithDescriptor(const wire::Socket& socket, const wire::FrameHeader& header, int descriptor) {
  wire::FrameHeader copy = header;
  iovec part{&copy, sizeof copy};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(item), &descriptor, sizeof descriptor);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket.fd(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof copy);
}

// Takes every descriptor that came, so that none is left open.
int TakeDescriptor(msghdr& message) {
  int taken = -1;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(item) + i * sizeof descriptor, sizeof descriptor);
      if (taken >= 0) ::close(taken);
      taken = descriptor;
    }
  }
  return taken;
}

bool ReceiveWithDescriptor(const wire::Socket& socket, wire::FrameHeader& header, wire::Socket& descriptor) {
  iovec part{&header, sizeof header};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket.fd(), &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  } while (received < 0 && errno == EINTR);
  descriptor = wire::Socket(TakeDescriptor(message));
  return received == static_cast<ssize_t>(sizeof header);
}

constexpr std::uint64_t kWishId = 0;

}  // namespace

// ---- The client's end

const wire::Socket& ClientLink::TimedSocket() {
  socket_.SetDeadline(deadline_);
  return socket_;
}

bool ClientLink::OpenLane() {
  wire::FrameHeader header{0, 0, wire::kLane, kWishId};
  if (!SendWithDescriptor(TimedSocket(), header, -1)) return false;
  wire::Socket descriptor;
  if (!ReceiveWithDescriptor(socket_, header, descriptor)) return false;
  if (header.flags != (wire::kLane | wire::kResponse) || header.payload_bytes != 0) return false;
  if (!descriptor.valid()) return true;  // the server has none for us
  lane_ = Lane::Map(descriptor.fd());
  // The server listens to the lane from now on, so one that we cannot map is the end of this connection.
  lane_is_foreign_ = lane_ == nullptr;
  return !lane_is_foreign_;
}

bool ClientLink::Ended() const {
  pollfd entry{socket_.fd(), POLLIN | POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) != 0;
}

bool ClientLink::Send(Pieces frame) {
  const auto send = [&] {
    const wire::Socket& socket = TimedSocket();
    return std::all_of(frame.begin(), frame.end(), [&](ByteView piece) { return wire::SendAll(socket, piece); });
  };
  if (lane_ == nullptr) return send();
  // Before the request is out: the answer may be there before Post returns.
  seen_ = lane_->responses().turn();
  std::size_t bytes = 0;
  for (const ByteView piece : frame) bytes += piece.size();
  if (bytes <= kFrameBytesMax) {
    lane_->requests().Post(frame);
    return true;
  }
  lane_->requests().PostElsewhere();
  return send();
}

Receive ClientLink::AwaitTurn() {
  Lane::Half& half = lane_->responses();
  const auto arrived = [&] { return half.turn() != seen_; };
  if (patience_.Spin([&] { return lane_->may_spin(); }, half.cpu(), arrived)) return Receive::kFrame;
  const auto allowed = deadline_;
  std::chrono::milliseconds waited{0};
  for (std::chrono::milliseconds look = kFirstLook; !arrived(); look = kLook) {
    if (Ended() && !arrived()) return Receive::kClosed;
    if (allowed.count() != 0 && waited >= allowed) return Receive::kTimeout;
    half.Sleep(seen_, look);
    waited += look;
  }
  return Receive::kFrame;
}

Receive ClientLink::ReceiveFrame(wire::FrameHeader& header, wire::Buffer& payload, Landing* landing) {
  if (lane_ == nullptr) return wire::ReceiveFrame(TimedSocket(), header, payload);
  if (const Receive turn = AwaitTurn(); turn != Receive::kFrame) return turn;
  if (lane_->responses().place() == Place::kSocket) return wire::ReceiveFrame(TimedSocket(), header, payload);
  const Alive alive{[](void* link) { return !static_cast<const ClientLink*>(link)->Ended(); }, this};
  if (lane_->responses().Take(header, payload, alive, landing)) return Receive::kFrame;
  // A server that dies in the middle of a long answer has not answered.
  return Ended() ? Receive::kClosed : Receive::kMalformed;
}

// ---- The server's end

ServerLink::~ServerLink() {
  Rest();
  delete lane_.load();
}

// A lane with something to do: waits for its turn.
void ServerLink::Begin(Lane& lane) {
  if (Turns().WouldWait(pass_)) {
    Rest();
    lane.set_may_spin(false);  // its client, too, leaves the processors to the others
  }
  Turns().Enter(pass_);
  if (!awake_) g_awake.fetch_add(1, std::memory_order_relaxed);
  awake_ = true;
}

void ServerLink::Rest() {
  if (awake_) g_awake.fetch_sub(1, std::memory_order_relaxed);
  awake_ = false;
  Turns().Leave(pass_);
}

bool ServerLink::OpenLane(const wire::FrameHeader& wish) {
  if (wish.payload_bytes != 0 || wish.call != 0 || has_lane()) return false;
  const wire::FrameHeader answer{0, 0, wire::kLane | wire::kResponse, wish.request_id};
  wire::Socket descriptor;
  std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  if (lane != nullptr) {
    lane->set_may_spin(ProcessorsAreFree());
    seen_ = lane->requests().turn();
    lane_.store(lane.release(), std::memory_order_release);
  }
  return SendWithDescriptor(socket_, answer, descriptor.fd());
}

Receive ServerLink::ReceiveFrame(int first, wire::FrameHeader& header, wire::Buffer& payload) {
  if (Lane* lane = lane_.load(std::memory_order_acquire); lane != nullptr) {
    return ReceiveFromLane(*lane, header, payload);
  }
  pollfd entry{socket_.fd(), POLLIN, 0};
  for (;;) {
    const int ready = ::poll(&entry, 1, first);
    if (ready > 0) break;
    if (ready == 0 || errno != EINTR) return Receive::kTimeout;
  }
  if (ended_.load()) return Receive::kClosed;
  return wire::ReceiveFrame(socket_, header, payload, payload_bytes_max_);
}

Receive ServerLink::ReceiveFromLane(Lane& lane, wire::FrameHeader& header, wire::Buffer& payload) {
  Lane::Half& half = lane.requests();
  const auto arrived = [&] { return half.turn() != seen_; };
  bool here = patience_.Spin(ProcessorsAreFree, half.cpu(), arrived);
  if (!here) Rest();
  // The client's end, and ours, come as a nudge: nobody has to look at the socket.
  for (std::chrono::milliseconds rest = kRest; !here && !ended_.load(); rest = std::chrono::milliseconds(0)) {
    half.Sleep(seen_, rest);
    here = arrived();
    if (!here) lane.responses().ReleaseMemory();
  }
  if (ended_.load()) return Receive::kClosed;
  seen_ = half.turn();
  if (half.place() == Place::kSocket) return wire::ReceiveFrame(socket_, header, payload, payload_bytes_max_);
  const Alive alive{[](void* link) { return !static_cast<const ServerLink*>(link)->ended_.load(); }, this};
  // Whole before it may hold up others: who stops in the middle of a frame waits alone.
  if (!half.Take(header, payload, alive) || payload.size() > payload_bytes_max_) return Receive::kMalformed;
  Begin(lane);
  return Receive::kFrame;
}

bool ServerLink::Send(ByteView frame) {
  Lane* lane = lane_.load(std::memory_order_acquire);
  if (lane == nullptr) return wire::SendAll(socket_, frame);
  lane->set_may_spin(ProcessorsAreFree());
  Turns().Answered(pass_);
  if (frame.size() <= kFrameBytesMax) {
    lane->responses().Post(frame);
    return true;
  }
  lane->responses().PostElsewhere();
  return wire::SendAll(socket_, frame);
}

void ServerLink::End() {
  ended_.store(true);
  if (Lane* lane = lane_.load(std::memory_order_acquire); lane != nullptr) lane->requests().Nudge();
  // Only the reading half: an answer that is being written still goes out.
  if (socket_.valid()) ::shutdown(socket_.fd(), SHUT_RD);
}

void ServerLink::Close() { socket_.Close(); }

}  // namespace cmkd::lane
