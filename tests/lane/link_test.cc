// Two ends of a connection: frames of every size over the socket and over a lane, ends that go, and a peer that lies.
#include "pkcs11/lane/link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

namespace cmkd::lane {
namespace {

using std::chrono::milliseconds;
using wire::Receive;

constexpr std::uint64_t kId = 77;
constexpr Alive kAlive{[](void*) { return true; }, nullptr};
constexpr Alive kGone{[](void*) { return false; }, nullptr};

Bytes Frame(std::size_t payload, std::uint8_t fill) {
  Bytes frame(sizeof(wire::FrameHeader) + payload, fill);
  const wire::FrameHeader header{static_cast<std::uint32_t>(payload), 1, 0, kId};
  std::memcpy(frame.data(), &header, sizeof header);
  return frame;
}

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client_ = std::make_unique<ClientLink>(wire::Socket(ends[0]));
    server_ = std::make_unique<ServerLink>(wire::Socket(ends[1]), limits::kFrameBytesMax);
    client_->SetDeadline(milliseconds(10'000));
    server_->SetDeadline(milliseconds(10'000));
  }
  void OpenLane() {
    std::thread asks([&] { EXPECT_TRUE(client_->OpenLane()); });
    wire::FrameHeader wish{};
    wire::Buffer nothing;
    EXPECT_EQ(server_->ReceiveFrame(-1, wish, nothing), Receive::kFrame);
    EXPECT_EQ(wish.flags, wire::kLane);
    EXPECT_TRUE(server_->OpenLane(wish));
    asks.join();
    ASSERT_TRUE(client_->has_lane());
  }
  // The server gives every frame back until the connection ends; returns how it ended.
  Receive Echo() {
    wire::FrameHeader header{};
    wire::Buffer payload;
    for (;;) {
      if (const Receive r = server_->ReceiveFrame(-1, header, payload); r != Receive::kFrame) return r;
      Bytes frame(sizeof header + payload.size());
      std::memcpy(frame.data(), &header, sizeof header);
      if (payload.size() != 0) std::memcpy(frame.data() + sizeof header, payload.data(), payload.size());
      if (!server_->Send(frame)) return Receive::kClosed;
    }
  }
  void ExpectComesBack(const Bytes& frame) {
    ASSERT_TRUE(client_->Send(frame));
    wire::FrameHeader header{};
    wire::Buffer payload;
    ASSERT_EQ(client_->ReceiveFrame(header, payload), Receive::kFrame);
    EXPECT_EQ(header.request_id, kId);
    ASSERT_EQ(payload.size() + sizeof header, frame.size());
    EXPECT_TRUE(std::equal(payload.view().begin(), payload.view().end(), frame.begin() + sizeof header));
  }

  std::unique_ptr<ClientLink> client_;
  std::unique_ptr<ServerLink> server_;
};

constexpr std::size_t kMostInLane = kFrameBytesMax - sizeof(wire::FrameHeader);
constexpr std::size_t kSizes[] = {0, 1, 100, kMostInLane - 1, kMostInLane, kMostInLane + 1, 3'000'000, 5, 0};

TEST_F(LinkTest, FramesOfEverySizeComeBackOverTheSocket) {
  std::thread server([&] { EXPECT_EQ(Echo(), Receive::kClosed); });
  for (const std::size_t size : kSizes) ExpectComesBack(Frame(size, 0x5A));
  client_.reset();
  server.join();
}

TEST_F(LinkTest, FramesOfEverySizeComeBackOverALane) {
  OpenLane();
  std::thread server([&] { EXPECT_EQ(Echo(), Receive::kClosed); });
  for (int round = 0; round < 50; ++round) {
    for (const std::size_t size : kSizes) ExpectComesBack(Frame(size, static_cast<std::uint8_t>(round)));
  }
  for (int round = 0; round < 20'000; ++round) ExpectComesBack(Frame(32, static_cast<std::uint8_t>(round)));
  server_->End();
  server.join();
}

TEST_F(LinkTest, RestsBetweenFrames) {
  OpenLane();
  std::thread server([&] { EXPECT_EQ(Echo(), Receive::kClosed); });
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(milliseconds(30));  // both sides are asleep by now
    ExpectComesBack(Frame(10, 1));
  }
  server_->End();
  server.join();
}

TEST_F(LinkTest, ASlowAnswerIsWaitedFor) {
  OpenLane();
  std::thread server([&] {
    wire::FrameHeader header{};
    wire::Buffer payload;
    EXPECT_EQ(server_->ReceiveFrame(-1, header, payload), Receive::kFrame);
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_TRUE(server_->Send(Frame(4, 2)));
  });
  ASSERT_TRUE(client_->Send(Frame(1, 1)));
  wire::FrameHeader header{};
  wire::Buffer payload;
  EXPECT_EQ(client_->ReceiveFrame(header, payload), Receive::kFrame);
  server.join();
}

TEST_F(LinkTest, AnAnswerThatDoesNotComeHasADeadline) {
  OpenLane();
  client_->SetDeadline(milliseconds(80));
  ASSERT_TRUE(client_->Send(Frame(1, 1)));
  wire::FrameHeader header{};
  wire::Buffer payload;
  EXPECT_EQ(client_->ReceiveFrame(header, payload), Receive::kTimeout);
}

TEST_F(LinkTest, TheServersEndIsNoticedWhileWaitingAndBefore) {
  OpenLane();
  EXPECT_FALSE(client_->Ended());
  std::thread dies([&] {
    std::this_thread::sleep_for(milliseconds(30));
    server_->Close();
  });
  ASSERT_TRUE(client_->Send(Frame(1, 1)));
  wire::FrameHeader header{};
  wire::Buffer payload;
  EXPECT_EQ(client_->ReceiveFrame(header, payload), Receive::kClosed);
  dies.join();
  EXPECT_TRUE(client_->Ended());
}

TEST_F(LinkTest, EndingWakesAServerThatSleepsAndOneThatIsAboutTo) {
  OpenLane();
  std::thread server([&] { EXPECT_EQ(Echo(), Receive::kClosed); });
  std::this_thread::sleep_for(milliseconds(20));
  server_->End();
  server.join();
  EXPECT_EQ(Echo(), Receive::kClosed);
}

TEST_F(LinkTest, EndingWorksWithoutALane) {
  std::thread server([&] { EXPECT_EQ(Echo(), Receive::kClosed); });
  std::this_thread::sleep_for(milliseconds(20));
  server_->End();
  server.join();
}

TEST_F(LinkTest, OneLaneForAConnection) {
  OpenLane();
  const wire::FrameHeader wish{0, 0, wire::kLane, 0};
  EXPECT_FALSE(server_->OpenLane(wish));
}

// ---- Memory

TEST(Link, ALaneOfAnotherLayoutEndsTheConnectionAndIsKnownAsSuch) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  ClientLink client{wire::Socket(ends[0])};
  const wire::Socket server(ends[1]);
  client.SetDeadline(milliseconds(10'000));
  // What a server of another version would answer: its memory is shorter.
  const wire::Socket memory(::memfd_create("lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.fd(), 135'168), 0);
  wire::FrameHeader answer{0, 0, wire::kLane | wire::kResponse, 0};
  iovec part{&answer, sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(sizeof(int));
  const int descriptor = memory.fd();
  std::memcpy(CMSG_DATA(item), &descriptor, sizeof descriptor);
  ASSERT_EQ(::sendmsg(server.fd(), &message, 0), static_cast<ssize_t>(sizeof answer));
  EXPECT_FALSE(client.OpenLane());
  EXPECT_TRUE(client.lane_is_foreign());
  EXPECT_FALSE(client.has_lane());
}

TEST(Lane, MemoryThatIsNoLaneIsRefused) {
  const wire::Socket small(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(small.fd(), 4096), 0);
  EXPECT_EQ(Lane::Map(small.fd()), nullptr) << "too small";
  wire::Socket descriptor;
  ASSERT_NE(Lane::Make(descriptor), nullptr);
  const off_t size = ::lseek(descriptor.fd(), 0, SEEK_END);
  const wire::Socket open(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.fd(), size), 0);
  EXPECT_EQ(Lane::Map(open.fd()), nullptr) << "its owner could shrink it under our feet";
  EXPECT_EQ(Lane::Map(-1), nullptr);
}

TEST(Lane, CannotBeShrunkOrGrown) {
  wire::Socket descriptor;
  ASSERT_NE(Lane::Make(descriptor), nullptr);
  EXPECT_NE(::ftruncate(descriptor.fd(), 100), 0);
  EXPECT_NE(::ftruncate(descriptor.fd(), 10'000'000), 0);
}

TEST(Lane, ALengthThatLiesIsNotFollowed) {
  wire::Socket descriptor;
  const std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  ASSERT_NE(lane, nullptr);
  for (const std::uint32_t lie : {static_cast<std::uint32_t>(kMostInLane + 1), 0x7fffffffu, 0xffffffffu}) {
    Bytes frame = Frame(0, 0);
    std::memcpy(frame.data(), &lie, sizeof lie);
    lane->requests().Post(frame);
    wire::FrameHeader header{};
    wire::Buffer payload;
    EXPECT_FALSE(lane->requests().Take(header, payload, kAlive));
    EXPECT_EQ(payload.size(), 0u);
  }
}

// ---- Long frames, which are read while they are written

// The words of a lane as a hostile other side sees them: any of them may be anything at any time.
class ForeignLane {
 public:
  ForeignLane() : lane_(Lane::Make(descriptor_)) {
    size_ = static_cast<std::size_t>(::lseek(descriptor_.fd(), 0, SEEK_END));
    memory_ =
        static_cast<std::uint8_t*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_.fd(), 0));
  }
  ~ForeignLane() { ::munmap(memory_, size_); }
  Lane& lane() { return *lane_; }
  // Every word in front of the requests' area, which is where `frame` was just posted.
  void OverwriteWords(std::uint32_t value) {
    const std::size_t words = size_ - 2 * kFrameBytesMax;
    for (std::size_t at = 0; at < words; at += sizeof value) std::memcpy(memory_ + at, &value, sizeof value);
  }

 private:
  wire::Socket descriptor_;
  std::unique_ptr<Lane> lane_;
  std::size_t size_ = 0;
  std::uint8_t* memory_ = nullptr;
};

TEST(Lane, AWriterWhoStopsInALongFrameIsLeft) {
  ForeignLane foreign;
  foreign.lane().requests().Post(Frame(kMostInLane, 1));
  foreign.OverwriteWords(100);  // so many bytes are there, and no more will come
  wire::FrameHeader header{};
  wire::Buffer payload;
  EXPECT_FALSE(foreign.lane().requests().Take(header, payload, kGone));
}

TEST(Lane, MoreThanAFrameIsNeverThere) {
  ForeignLane foreign;
  for (const std::uint32_t lie : {0xffffffffu, 0x80000000u, static_cast<std::uint32_t>(kFrameBytesMax + 1)}) {
    foreign.lane().requests().Post(Frame(100'000, 1));
    foreign.OverwriteWords(lie);
    wire::FrameHeader header{};
    wire::Buffer payload;
    EXPECT_TRUE(foreign.lane().requests().Take(header, payload, kGone));
    EXPECT_EQ(payload.size(), 100'000u);
  }
}

TEST(Lane, PiecesMakeOneFrame) {
  wire::Socket descriptor;
  const std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  ASSERT_NE(lane, nullptr);
  for (const std::size_t size : {std::size_t{90}, std::size_t{70'000}, kMostInLane}) {
    Bytes frame = Frame(size, 0);
    for (std::size_t i = sizeof(wire::FrameHeader); i < frame.size(); ++i) frame[i] = static_cast<std::uint8_t>(i * 7);
    const ByteView whole(frame);
    const ByteView pieces[] = {whole.first(40), whole.subspan(40, size - 50), whole.subspan(size - 10)};
    lane->requests().Post(pieces);
    wire::FrameHeader header{};
    wire::Buffer payload;
    ASSERT_TRUE(lane->requests().Take(header, payload, kAlive));
    EXPECT_TRUE(Equal(payload.view(), whole.subspan(sizeof header)));
  }
}

TEST(Lane, TheBulkLandsWhereThereIsRoomAndTheRestInThePayload) {
  wire::Socket descriptor;
  const std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  ASSERT_NE(lane, nullptr);
  Bytes frame = Frame(200'000, 0);
  for (std::size_t i = sizeof(wire::FrameHeader); i < frame.size(); ++i) frame[i] = static_cast<std::uint8_t>(i * 7);
  const ByteView sent = ByteView(frame).subspan(sizeof(wire::FrameHeader));
  // Room for some, for all that is left, and for more than the frame has.
  for (const std::size_t room : {std::size_t{0}, std::size_t{150'000}, sent.size() - 16, sent.size() + 500}) {
    Bytes landed(room + 1, 0xEE);
    MutableBytes place(landed.data(), room);
    Landing landing{16,
                    [](void* context, ByteView head, std::size_t payload_bytes) {
                      EXPECT_EQ(head.size(), 16u);
                      EXPECT_EQ(payload_bytes, 200'000u);
                      return *static_cast<MutableBytes*>(context);
                    },
                    &place};
    lane->responses().Post(frame);
    wire::FrameHeader header{};
    wire::Buffer payload;
    ASSERT_TRUE(lane->responses().Take(header, payload, kAlive, &landing));
    const std::size_t count = std::min(room, sent.size() - 16);
    EXPECT_EQ(landing.landed, count);
    EXPECT_TRUE(Equal(ByteView(landed).first(count), sent.subspan(16, count)));
    EXPECT_EQ(landed.back(), 0xEE);
    Bytes rest = ToBytes(sent.first(16));
    rest.insert(rest.end(), sent.begin() + 16 + static_cast<std::ptrdiff_t>(count), sent.end());
    EXPECT_TRUE(Equal(payload.view(), rest));
  }
}

TEST_F(LinkTest, AClientThatEndsInTheMiddleOfALongFrameHoldsNobody) {
  OpenLane();
  std::thread server([&] {
    wire::FrameHeader header{};
    wire::Buffer payload;
    EXPECT_NE(server_->ReceiveFrame(-1, header, payload), Receive::kFrame);
  });
  std::thread ends([&] {
    std::this_thread::sleep_for(milliseconds(20));
    server_->End();  // what the server does when the client's socket closes
  });
  server.join();
  ends.join();
}

TEST(Lane, GivesTheMemoryOfLongFramesBackOnceTheyWereTaken) {
  wire::Socket descriptor;
  const std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  ASSERT_NE(lane, nullptr);
  const auto blocks = [&] {
    struct stat facts {};
    EXPECT_EQ(::fstat(descriptor.fd(), &facts), 0);
    return facts.st_blocks * 512;
  };
  lane->responses().Post(Frame(kMostInLane, 1));
  EXPECT_GT(blocks(), static_cast<off_t>(kMostInLane));
  lane->responses().ReleaseMemory();
  EXPECT_GT(blocks(), static_cast<off_t>(kMostInLane)) << "nobody has read it yet";
  wire::FrameHeader header{};
  wire::Buffer payload;
  ASSERT_TRUE(lane->responses().Take(header, payload, kAlive));
  EXPECT_EQ(payload.size(), kMostInLane);
  lane->responses().ReleaseMemory();
  EXPECT_LT(blocks(), static_cast<off_t>(2 * kSmallBytesMax));
}

TEST(Lane, WhatWasTakenIsWiped) {
  wire::Socket descriptor;
  const std::unique_ptr<Lane> lane = Lane::Make(descriptor);
  ASSERT_NE(lane, nullptr);
  lane->requests().Post(Frame(64, 0xA5));
  wire::FrameHeader header{};
  wire::Buffer payload;
  ASSERT_TRUE(lane->requests().Take(header, payload, kAlive));
  Bytes memory(static_cast<std::size_t>(::lseek(descriptor.fd(), 0, SEEK_END)));
  ASSERT_EQ(::pread(descriptor.fd(), memory.data(), memory.size(), 0), static_cast<ssize_t>(memory.size()));
  EXPECT_EQ(std::count(memory.begin(), memory.end(), 0xA5), 0);
}

}  // namespace
}  // namespace cmkd::lane
