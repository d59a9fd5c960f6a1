// Frames over a socket pair: pieces of any size, peers that lie, stop, trickle or vanish.
#include "pkcs11/wire/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "pkcs11/wire/writer.h"

namespace cmkd::wire {
namespace {

using std::chrono::milliseconds;

struct Pair {
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    here = Socket(fds[0]);
    there = Socket(fds[1]);
    here.SetDeadline(milliseconds(60'000));  // for who waits for something that comes
  }
  Socket here, there;
};

Bytes Frame(std::size_t payload_bytes) {
  Buffer buffer;
  BeginFrame(buffer);
  std::memset(buffer.Extend(payload_bytes), 0x5a, payload_bytes);
  EXPECT_TRUE(FinishFrame(buffer, spec::CallId::C_GetInfo, 0, 77));
  return ToBytes(buffer.view());
}

Receive ReceiveHere(const Pair& pair, Buffer& payload) {
  FrameHeader header{};
  const Receive received = ReceiveFrame(pair.here, header, payload);
  if (received == Receive::kFrame) {
    EXPECT_EQ(header.request_id, 77U);
    EXPECT_EQ(header.payload_bytes, payload.size());
  }
  return received;
}

TEST(Socket, CarriesFramesOfAnySize) {
  for (const std::size_t bytes : {0U, 1U, 4079U, 4080U, 4081U, 100'000U, 3'000'000U}) {
    Pair pair;
    const Bytes frame = Frame(bytes);
    std::thread sender([&] { EXPECT_TRUE(SendAll(pair.there, frame)); });
    Buffer payload;
    EXPECT_EQ(ReceiveHere(pair, payload), Receive::kFrame) << bytes;
    EXPECT_TRUE(Equal(payload.view(), ByteView(frame).subspan(sizeof(FrameHeader)))) << bytes;
    sender.join();
  }
}

TEST(Socket, CarriesAFrameInPieces) {
  const Bytes frame = Frame(20);
  for (std::size_t cut = 1; cut < frame.size(); ++cut) {
    Pair pair;
    ASSERT_EQ(::write(pair.there.fd(), frame.data(), cut), static_cast<ssize_t>(cut));
    std::thread rest([&] {
      std::this_thread::sleep_for(milliseconds(2));
      EXPECT_TRUE(SendAll(pair.there, ByteView(frame).subspan(cut)));
    });
    Buffer payload;
    EXPECT_EQ(ReceiveHere(pair, payload), Receive::kFrame) << cut;
    rest.join();
  }
}

TEST(Socket, APeerThatVanishesInAFrameIsNoFrame) {
  const Bytes frame = Frame(20);
  for (std::size_t cut = 0; cut < frame.size(); ++cut) {
    Pair pair;
    ASSERT_TRUE(SendAll(pair.there, ByteView(frame).first(cut)));
    pair.there.Close();
    Buffer payload;
    EXPECT_NE(ReceiveHere(pair, payload), Receive::kFrame) << cut;
  }
}

TEST(Socket, APeerThatStopsInAFrameRunsIntoTheDeadline) {
  const Bytes frame = Frame(20);
  for (const std::size_t cut : {0U, 1U, 15U, 16U, 30U}) {
    Pair pair;
    pair.here.SetDeadline(milliseconds(30));
    ASSERT_TRUE(SendAll(pair.there, ByteView(frame).first(cut)));
    Buffer payload;
    EXPECT_EQ(ReceiveHere(pair, payload), Receive::kTimeout) << cut;
  }
}

TEST(Socket, BytesBehindAFrameAreABreach) {
  Pair pair;
  Bytes frame = Frame(20);
  frame.push_back(0);
  ASSERT_TRUE(SendAll(pair.there, frame));
  Buffer payload;
  EXPECT_EQ(ReceiveHere(pair, payload), Receive::kMalformed);
}

TEST(Socket, ALengthOverTheLimitIsNotRead) {
  for (const std::uint32_t bytes : {static_cast<std::uint32_t>(limits::kFrameBytesMax) + 1, 0x7fffffffU, 0xffffffffU}) {
    Pair pair;
    const FrameHeader header{bytes, 2, 0, 77};
    ASSERT_TRUE(SendAll(pair.there, {reinterpret_cast<const std::uint8_t*>(&header), sizeof header}));
    Buffer payload;
    EXPECT_EQ(ReceiveHere(pair, payload), Receive::kMalformed) << bytes;
  }
}

// One byte for each wait would keep a frame of 64 MiB under way for years.
TEST(Socket, ATrickleDoesNotStretchTheDeadline) {
  Pair pair;
  pair.here.SetDeadline(milliseconds(100));
  const Bytes frame = Frame(10'000);
  std::atomic<bool> stop{false};
  std::thread trickle([&] {
    for (std::size_t at = 0; at < frame.size() && !stop; ++at) {
      if (::send(pair.there.fd(), frame.data() + at, 1, MSG_NOSIGNAL) != 1) break;
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  Buffer payload;
  EXPECT_EQ(ReceiveHere(pair, payload), Receive::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  stop = true;
  trickle.join();
}

TEST(Socket, APeerThatDoesNotReadIsGivenUp) {
  Pair pair;
  pair.here.SetDeadline(milliseconds(100));
  const Bytes frame = Frame(8'000'000);
  EXPECT_FALSE(SendAll(pair.here, frame));
}

TEST(Socket, APeerThatReadsAByteAtATimeIsGivenUp) {
  Pair pair;
  pair.here.SetDeadline(milliseconds(100));
  std::atomic<bool> stop{false};
  std::thread trickle([&] {
    char byte = 0;
    while (!stop && ::recv(pair.there.fd(), &byte, 1, 0) == 1) std::this_thread::sleep_for(milliseconds(2));
  });
  const Bytes frame = Frame(1'000'000);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(SendAll(pair.here, frame));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  stop = true;
  pair.here.Close();
  trickle.join();
}

TEST(Socket, SendingToAPeerThatIsGoneRaisesNoSignal) {
  Pair pair;
  pair.there.Close();
  EXPECT_FALSE(SendAll(pair.here, Frame(100)));
}

TEST(Socket, NobodyListensAtAPathThatIsTooLongOrEmpty) {
  EXPECT_FALSE(Connect(std::string(300, 'x')).valid());
  EXPECT_FALSE(Connect("/nonexistent/socket").valid());
}

}  // namespace
}  // namespace cmkd::wire
