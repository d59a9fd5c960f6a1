// What a client keeps of its sessions and objects, and how much of it goes into a hello.
#include "pkcs11/remote/resumption.h"

#include <gtest/gtest.h>

#include "pkcs11/wire/trailer.h"

namespace cmkd::remote {
namespace {

void Keep(Resumption& resumption, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, std::size_t bytes) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  const Bytes sealed(bytes, 1);
  wire::WriteTrailer(w, {wire::TrailerKind::kSessionObject, session, handle, sealed});
  wire::Reader r(buffer.view());
  const auto kinds = resumption.ReadTrailers(r);
  ASSERT_TRUE(kinds.has_value());
  EXPECT_TRUE(kinds->Has(wire::TrailerKind::kSessionObject));
  EXPECT_FALSE(kinds->Has(wire::TrailerKind::kOtpSignature) || kinds->refused_key());
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

TEST(Resumption, TakesNoMalformedTrailers) {
  Resumption resumption;
  resumption.Opened(1, 7, CKF_SERIAL_SESSION);
  wire::Buffer buffer;
  wire::Writer w(buffer);
  wire::WriteTrailer(w, {wire::TrailerKind::kSessionObject, 1, 10, AsBytes("sealed")});
  const std::size_t first = buffer.size();
  wire::WriteTrailer(w, {wire::TrailerKind::kOtpSignature, 0, 0, {}});
  wire::WriteTrailer(w, {wire::TrailerKind::kEnd, 0, 0, {}});
  const auto read = [&](ByteView bytes) {
    wire::Reader r(bytes);
    return resumption.ReadTrailers(r);
  };
  for (std::size_t cut = 1; cut < first; ++cut) EXPECT_FALSE(read(buffer.view().first(cut))) << cut;
  EXPECT_TRUE(Decode(resumption.Encode()).objects.empty());
  const auto kinds = read(buffer.view());
  ASSERT_TRUE(kinds.has_value());
  EXPECT_TRUE(kinds->Has(wire::TrailerKind::kOtpSignature));
  Bytes more = ToBytes(buffer.view());
  more.push_back(0);  // behind the end
  EXPECT_FALSE(read(more));
  more[more.size() - 2] = 0xEE;  // no kind
  EXPECT_FALSE(read(more));
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
