// The client's end of a link: sending and receiving through whichever of the two ways is open. The server's end is in a
// file of its own (server_link.cc), so that the module does not carry it.
#include "pkcs11/lane/link.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "pkcs11/lane/descriptor.h"

namespace cmkd::lane {

namespace {

using wire::Receive;

// A sleeping client looks this often whether the server still lives; the first time sooner.
constexpr std::chrono::milliseconds kFirstLook{5};
constexpr std::chrono::milliseconds kLook{50};

constexpr std::uint64_t kWishId = 0;

}  // namespace

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

}  // namespace cmkd::lane
