// The server's end of a link: lanes in turns, and what a rest gives back.
#include <poll.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>

#include "pkcs11/lane/descriptor.h"
#include "pkcs11/lane/link.h"

namespace cmkd::lane {

namespace {

using wire::Receive;

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

}  // namespace

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
