// What a client keeps of its sessions and objects, and how much of it goes into a hello.
#include "pkcs11/remote/resumption.h"

#include <gtest/gtest.h>

#include "pkcs11/wire/frame.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::remote {
namespace {

void Keep(Resumption& resumption, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, std::size_t bytes) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.U8(static_cast<std::uint8_t>(wire::TrailerKind::kSessionObject));
  w.U64(session);
  w.U64(handle);
  w.Blob(Bytes(bytes, 1));
  wire::Reader r(buffer.view());
  bool otp = false;
  ASSERT_TRUE(resumption.ReadTrailers(r, otp));
  EXPECT_FALSE(otp);
}

struct Read {
  std::uint32_t sessions = 0;
  std::vector<CK_OBJECT_HANDLE> objects;
  bool whole = false;
};

Read Decode(ByteView encoded) {
  wire::Reader r(encoded);
  Read read;
  (void)r.Blob();
  read.sessions = r.U32();
  (void)r.Raw(std::size_t{24} * read.sessions);
  const std::uint32_t objects = r.U32();
  for (std::uint32_t i = 0; i < objects && r.ok(); ++i) {
    (void)r.U64();
    read.objects.push_back(r.U64());
    (void)r.Blob();
  }
  read.whole = r.AtEnd();
  return read;
}

TEST(Resumption, ObjectsThatFindNoRoomAreLeftOut) {
  Resumption resumption;
  resumption.Opened(1, 7, CKF_SERIAL_SESSION);
  for (CK_OBJECT_HANDLE handle = 10; handle < 13; ++handle) Keep(resumption, 1, handle, 100);
  const std::size_t all = resumption.Encode().size();
  EXPECT_EQ(Decode(resumption.Encode(all)).objects.size(), 3u);
  const Bytes less = resumption.Encode(all - 1);
  EXPECT_LE(less.size(), all - 1);
  const Read read = Decode(less);
  EXPECT_TRUE(read.whole);
  EXPECT_EQ(read.sessions, 1u);
  EXPECT_EQ(read.objects, (std::vector<CK_OBJECT_HANDLE>{10, 11}));
  EXPECT_TRUE(Decode(resumption.Encode(0)).objects.empty());
}

TEST(Resumption, ObjectsGoWithTheirSession) {
  Resumption resumption;
  for (const CK_SESSION_HANDLE session : {1u, 2u, 3u}) resumption.Opened(session, 7, CKF_SERIAL_SESSION);
  Keep(resumption, 1, 10, 5);
  Keep(resumption, 2, 11, 5);
  Keep(resumption, 2, 12, 5);
  Keep(resumption, 3, 13, 5);
  Keep(resumption, 3, 12, 6);  // sealed anew, as belonging to another
  resumption.Closed(2);
  EXPECT_EQ(Decode(resumption.Encode()).objects, (std::vector<CK_OBJECT_HANDLE>{10, 12, 13}));
  resumption.ClosedAll(7);
  const Read none = Decode(resumption.Encode());
  EXPECT_EQ(none.sessions, 0u);
  EXPECT_TRUE(none.objects.empty());
}

}  // namespace
}  // namespace cmkd::remote
