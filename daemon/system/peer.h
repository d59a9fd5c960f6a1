// Who is at the other end of a Unix socket, as the kernel says.
#pragma once

#include <cstdint>
#include <optional>

namespace cmkd::daemon {

struct Peer {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int32_t pid = 0;  // as seen from this process's PID namespace; 0 when the peer is outside it
  auto operator<=>(const Peer&) const = default;
};

// SO_PEERCRED: the credentials the peer had when it connected; later changes of its uid do not show. Ask once, at
// accept. Nothing when `socket` is not a connected Unix socket.
std::optional<Peer> ReadPeer(int socket);

}  // namespace cmkd::daemon
