// A client that writes its own bytes: no module, no retries, no manners.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>

#include "pkcs11/wire/socket.h"
#include "tests/calls/any_call.h"

namespace cmkd::tests {

// A whole frame: header and payload.
inline Bytes FrameOf(std::uint16_t call, ByteView payload, std::uint16_t flags = 0, std::uint64_t request_id = 1) {
  const wire::FrameHeader header{static_cast<std::uint32_t>(payload.size()), call, flags, request_id};
  Bytes frame(sizeof header + payload.size());
  std::memcpy(frame.data(), &header, sizeof header);
  if (!payload.empty()) std::memcpy(frame.data() + sizeof header, payload.data(), payload.size());
  return frame;
}

// The frame of a call with these fields.
template <class Call>
Bytes FrameOf(Call call) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  wire::EncodeCall(w, call);
  return FrameOf(spec::WireId(Call::kId), buffer.view());
}

inline Bytes HelloFrame(ByteView application = {}, ByteView resumption = {}, std::uint64_t version = 1) {
  spec::Call<spec::CallId::Hello> hello;
  hello.version.value = version;
  hello.application = {const_cast<std::uint8_t*>(application.data()), application.size()};
  hello.resumption = {const_cast<std::uint8_t*>(resumption.data()), resumption.size()};
  return FrameOf(hello);
}

class RawClient {
 public:
  explicit RawClient(const std::string& path) : socket_(wire::Connect(path)) {
    socket_.SetDeadline(std::chrono::seconds(30));
  }
  bool connected() const { return socket_.valid(); }
  int fd() const { return socket_.fd(); }
  void Close() { socket_.Close(); }

  // What the daemon closed already cannot be sent to; that is no failure of a test.
  bool Send(ByteView bytes) const { return wire::SendAll(socket_, bytes); }

  // The payload of the next frame; nothing when the connection ended instead.
  std::optional<Bytes> Receive() {
    wire::Buffer payload;
    if (wire::ReceiveFrame(socket_, header_, payload) != wire::Receive::kFrame) return std::nullopt;
    return ToBytes(payload.view());
  }
  const wire::FrameHeader& header() const { return header_; }

  // True when the daemon ended the connection without a word.
  bool WasClosed() const {
    std::uint8_t byte = 0;
    const ssize_t got = ::recv(socket_.fd(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }
  // The same, as of now.
  bool IsOpen() const {
    pollfd entry{socket_.fd(), POLLIN, 0};
    if (::poll(&entry, 1, 0) == 0) return true;
    std::uint8_t byte = 0;
    return ::recv(socket_.fd(), &byte, 1, MSG_PEEK) > 0;
  }

  // The return value of the answer to this frame; nothing when the connection ended instead.
  std::optional<CK_RV> Ask(ByteView frame) {
    if (!Send(frame)) return std::nullopt;
    const auto answer = Receive();
    if (!answer || answer->size() < sizeof(CK_RV)) return std::nullopt;
    CK_RV rv = 0;
    std::memcpy(&rv, answer->data(), sizeof rv);
    return rv;
  }
  bool Greet() { return Ask(HelloFrame()) == CKR_OK; }

 private:
  wire::Socket socket_;
  wire::FrameHeader header_{};
};

}  // namespace cmkd::tests
