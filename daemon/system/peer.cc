// SO_PEERCRED.
#include "daemon/system/peer.h"

#include <sys/socket.h>

namespace cmkd::daemon {

std::optional<Peer> ReadPeer(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || size != sizeof credentials)
    return std::nullopt;
  // A socket that is not connected has the user -1.
  if (credentials.uid == static_cast<uid_t>(-1)) return std::nullopt;
  return Peer{credentials.uid, credentials.gid, credentials.pid};
}

}  // namespace cmkd::daemon
