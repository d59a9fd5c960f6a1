// Properties of the codec, for every row of the call table: what went in comes out, and what is not exactly a request
// is refused.
#include <gtest/gtest.h>

#include "pkcs11/spec/return_values.h"
#include "pkcs11/spec/template_codec.h"
#include "tests/calls/describe.h"
#include "tests/calls/fill.h"

namespace cmkd::tests {
namespace {

using spec::CallId;

// Calls with the same shape have the same codec, but a row names its shape, so every row is gone through: in one test
// and not in one for each row, which would be a thousand processes of ctest.
template <class Body>
void ForEveryCall(Body body) {
  for (const CallId id : CallsOnTheWire()) {
    SCOPED_TRACE(std::string(spec::Row(id).name));
    body(id);
    if (::testing::Test::HasFailure()) return;
  }
}

Bytes EncodedRequest(AnyCall& call) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  call.Encode(w);
  EXPECT_FALSE(w.overflow());
  return ToBytes(buffer.view());
}

Bytes EncodedResults(AnyCall& call, CK_RV rv) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  call.EncodeResults(w, rv);
  EXPECT_FALSE(w.overflow());
  return ToBytes(buffer.view());
}

CK_RV Decode(AnyCall& call, ByteView request, wire::Arena& arena) {
  wire::Reader r(request);
  return call.Decode(r, arena);
}

// An exact copy on the heap, so that a sanitizer sees the first byte read behind it.
std::unique_ptr<std::uint8_t[]> Exact(ByteView bytes) {
  auto copy = std::make_unique<std::uint8_t[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
  return copy;
}

// The largest memory that a decoded request may stand for: what it says of its output buffers, and a multiple of its
// own size for structures around its bytes. A template within a template costs most: 20 bytes of the frame become a
// list of its own.
class RoomCounter final : public ShapeVisitor {
 public:
  std::size_t bytes = 16384;
  void On(spec::Ulong&) override {}
  void On(spec::Bool8&) override {}
  void On(spec::BytesIn&) override {}
  void On(spec::Label32&) override {}
  void On(spec::Unused&) override {}
  void On(spec::Mechanism&) override {}
  void On(spec::DerivingMechanism&) override {}
  void On(spec::MechanismInOut&) override {}
  void On(spec::TemplateIn&) override {}
  void On(spec::TemplateInOut& s) override {
    for (const CK_ATTRIBUTE& attribute : s.view()) {
      Count(attribute);
      if (!spec::IsTemplateAttribute(attribute.type) || attribute.pValue == nullptr) continue;
      const auto* inner = static_cast<const CK_ATTRIBUTE*>(attribute.pValue);
      for (std::size_t i = 0; i < attribute.ulValueLen / sizeof(CK_ATTRIBUTE); ++i) Count(inner[i]);
    }
  }
  void On(spec::ParameterInOut&) override {}
  void On(spec::UlongOut&) override {}
  void On(spec::BytesOut& s) override { bytes += s.data != nullptr && s.length != nullptr ? *s.length + 16 : 0; }
  void On(spec::FillOut& s) override { bytes += s.length + 16; }
  void On(spec::UlongListOut& s) override { bytes += s.count != nullptr ? *s.count * sizeof(CK_ULONG) + 16 : 0; }
  void On(spec::HandlesOut& s) override { bytes += s.max * sizeof(CK_OBJECT_HANDLE) + 16; }
  void On(spec::Document&) override {}
  void OnStruct(void*&, std::size_t) override {}

 private:
  void Count(const CK_ATTRIBUTE& attribute) { bytes += attribute.pValue != nullptr ? attribute.ulValueLen + 16 : 0; }
};

TEST(Codec, ARequestComesOutAsItWentIn) {
  ForEveryCall([](CallId id) {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      const Bytes request = EncodedRequest(*sent);
      const auto received = MakeCall(id);
      wire::Arena arena;
      ASSERT_EQ(Decode(*received, request, arena), CKR_OK) << "seed " << seed;
      EXPECT_EQ(DescribeRequest(*received), DescribeRequest(*sent)) << "seed " << seed;
      EXPECT_EQ(EncodedRequest(*received), request) << "seed " << seed;
      EXPECT_EQ(received->Check(), sent->Check()) << "seed " << seed;
    }
  });
}

TEST(Codec, TheLargestRequestComesOutAsItWentIn) {
  ForEveryCall([](CallId id) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed, Size::kLarge);
      sent->Visit(filler);
      const Bytes request = EncodedRequest(*sent);
      const auto received = MakeCall(id);
      wire::Arena arena;
      ASSERT_EQ(Decode(*received, request, arena), CKR_OK) << "seed " << seed;
      EXPECT_TRUE(EncodedRequest(*received) == request) << "seed " << seed;
    }
  });
}

TEST(Codec, ResultsComeOutAsTheyWentIn) {
  ForEveryCall([](CallId id) {
    if (spec::Row(id).phase == spec::Phase::kBegin) return;  // an Init only reads its parameter
    static constexpr CK_RV kAnswers[] = {
        CKR_OK, CKR_OK, CKR_BUFFER_TOO_SMALL, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_FUNCTION_FAILED};
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      const auto received = MakeCall(id);
      wire::Arena arena;
      const Bytes request = EncodedRequest(*sent);
      ASSERT_EQ(Decode(*received, request, arena), CKR_OK);
      const CK_RV rv = kAnswers[seed % std::size(kAnswers)];
      ResultFiller results(seed, rv);
      received->Visit(results);
      const Bytes response = EncodedResults(*received, rv);
      wire::Reader r(response);
      if (sent->Check() != CKR_OK) continue;  // entry would not have sent it: it may lack what results go to
      ASSERT_TRUE(sent->DecodeResults(r, rv)) << "seed " << seed;
      EXPECT_TRUE(r.AtEnd()) << "seed " << seed;
      EXPECT_EQ(DescribeResults(*sent, rv), DescribeResults(*received, rv)) << "seed " << seed;
      EXPECT_TRUE(filler.EndsAreWhole()) << "seed " << seed;
    }
  });
}

TEST(Codec, EveryTruncatedRequestIsRefused) {
  ForEveryCall([](CallId id) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      const Bytes request = EncodedRequest(*sent);
      const std::size_t step = 1 + request.size() / 1000;
      for (std::size_t length = 0; length < request.size(); length += step) {
        const auto cut = Exact(ByteView(request).first(length));
        wire::Arena arena;
        EXPECT_NE(Decode(*MakeCall(id), {cut.get(), length}, arena), CKR_OK)
            << "seed " << seed << ", cut at " << length << " of " << request.size();
      }
    }
  });
}

TEST(Codec, BytesBehindARequestAreRefused) {
  ForEveryCall([](CallId id) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      Bytes request = EncodedRequest(*sent);
      request.push_back(static_cast<std::uint8_t>(seed));
      wire::Arena arena;
      EXPECT_EQ(Decode(*MakeCall(id), request, arena), CKR_ARGUMENTS_BAD) << "seed " << seed;
    }
  });
}

// A request has one form: whatever bytes are taken as a request are those that its encoder writes.
void ExpectRefusedOrTheSame(CallId id, ByteView bytes, std::uint64_t seed) {
  const auto copy = Exact(bytes);
  const auto received = MakeCall(id);
  wire::Arena arena;
  const CK_RV rv = Decode(*received, {copy.get(), bytes.size()}, arena);
  if (rv == CKR_OK) {
    EXPECT_TRUE(Equal(EncodedRequest(*received), bytes)) << "seed " << seed << ": " << Hex(bytes);
  } else {
    EXPECT_NE(spec::ReturnValueName(rv), "") << rv;
  }
  RoomCounter room;
  if (rv == CKR_OK) {
    received->Visit(room);
    EXPECT_LE(arena.size(), room.bytes + 64 * bytes.size()) << "seed " << seed;
  } else {
    // It may have been refused behind a field that had room already.
    EXPECT_LE(arena.size(), limits::kTemplateAttributesMax * limits::kAttributeBytesMax + 64 * bytes.size());
  }
}

TEST(Codec, LyingLengthsAndAnyChangeAreRefusedOrMeanWhatTheySay) {
  ForEveryCall([](CallId id) {
    static constexpr std::uint8_t kEdges[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff};
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      const Bytes request = EncodedRequest(*sent);
      std::mt19937_64 random(seed);
      for (int round = 0; round < 40 && !request.empty(); ++round) {
        Bytes changed = request;
        const std::size_t at = random() % changed.size();
        const std::size_t width = std::min<std::size_t>(std::size_t{1} << random() % 4, changed.size() - at);
        for (std::size_t i = 0; i < width; ++i) changed[at + i] = kEdges[random() % std::size(kEdges)];
        ExpectRefusedOrTheSame(id, changed, seed);
      }
    }
  });
}

TEST(Codec, RandomBytesAreRefusedOrMeanWhatTheySay) {
  ForEveryCall([](CallId id) {
    std::mt19937_64 random(1);
    for (std::uint64_t round = 0; round < 500; ++round) {
      Bytes bytes(random() % 128);
      // Small bytes make small lengths, with which more of a request is read.
      const std::uint64_t bound = round % 2 == 0 ? 256 : 4;
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % bound);
      ExpectRefusedOrTheSame(id, bytes, round);
    }
  });
}

// A daemon is believed no more than a client: it may send anything, and the application's memory stays whole.
TEST(Codec, HostileResultsStayWithinTheRoomThatWasGiven) {
  ForEveryCall([](CallId id) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      std::mt19937_64 random(seed);
      for (int round = 0; round < 20; ++round) {
        const auto sent = MakeCall(id);
        RequestFiller filler(seed);
        sent->Visit(filler);
        if (sent->Check() != CKR_OK) break;
        const auto received = MakeCall(id);
        wire::Arena arena;
        const Bytes request = EncodedRequest(*sent);
        ASSERT_EQ(Decode(*received, request, arena), CKR_OK);
        ResultFiller results(seed, CKR_OK);
        received->Visit(results);
        Bytes response = EncodedResults(*received, CKR_OK);
        if (response.empty()) break;
        if (round == 0) response.resize(random() % response.size());
        for (int edits = 0; edits < 3 && !response.empty(); ++edits) {
          response[random() % response.size()] = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : 0xff);
        }
        const auto copy = Exact(response);
        wire::Reader r({copy.get(), response.size()});
        // Overstated room is the caller's own lie: the buffer is shorter than it says, so such a call is no test of
        // this.
        if (DescribeRequest(*sent).find(std::to_string(limits::kFrameBytesMax)) != std::string::npos) break;
        (void)sent->DecodeResults(r, CKR_OK);
        EXPECT_TRUE(filler.EndsAreWhole()) << "seed " << seed << ", round " << round;
      }
    }
  });
}

TEST(CodecLimits, EveryRowButTheLocalOnesIsGoneThrough) {
  std::size_t local = 0;
  for (const spec::CallRow& row : spec::kCalls) local += row.local ? 1 : 0;
  EXPECT_EQ(CallsOnTheWire().size() + local, spec::kCallCount);
  EXPECT_GT(CallsOnTheWire().size(), 80U);
}

CK_RV DecodeAttributes(std::size_t count, std::size_t bytes) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.U64(1);
  w.U8(1);
  w.U32(static_cast<std::uint32_t>(count));
  const Bytes value(bytes);
  for (std::size_t i = 0; i < count; ++i) {
    w.U64(CKA_LABEL);
    w.Blob(value);
  }
  wire::Arena arena;
  return Decode(*MakeCall(CallId::C_FindObjectsInit), buffer.view(), arena);
}

TEST(CodecLimits, ATemplateHoldsSoManyAttributesAndNoMore) {
  EXPECT_EQ(DecodeAttributes(limits::kTemplateAttributesMax, 1), CKR_OK);
  EXPECT_EQ(DecodeAttributes(limits::kTemplateAttributesMax + 1, 1), CKR_ARGUMENTS_BAD);
}

TEST(CodecLimits, AnAttributeHoldsSoManyBytesAndNoMore) {
  EXPECT_EQ(DecodeAttributes(1, limits::kAttributeBytesMax), CKR_OK);
  EXPECT_EQ(DecodeAttributes(1, limits::kAttributeBytesMax + 1), CKR_ATTRIBUTE_VALUE_INVALID);
}

// What an application says and cannot be carried is refused by the daemon, as any other bad value is.
TEST(CodecLimits, WhatIsBeyondThemIsSaidToBe) {
  const Bytes value(limits::kAttributeBytesMax + 1);
  CK_ATTRIBUTE large{CKA_LABEL, const_cast<std::uint8_t*>(value.data()), value.size()};
  spec::Call<CallId::C_FindObjectsInit> find;
  find.attributes = {&large, 1};
  wire::Buffer buffer;
  wire::Writer w(buffer);
  wire::EncodeCall(w, find);
  EXPECT_LT(buffer.size(), 16U);
  wire::Arena arena;
  EXPECT_EQ(Decode(*MakeCall(find.kId), buffer.view(), arena), CKR_ATTRIBUTE_VALUE_INVALID);

  CK_BYTE iv = 0;
  CK_GCM_PARAMS gcm{&iv, spec::kIvBytesMax + 1, 0, nullptr, 0, 128};
  CK_MECHANISM mechanism{CKM_AES_GCM, &gcm, sizeof gcm};
  spec::Call<CallId::C_EncryptInit> begin;
  begin.mechanism.value = &mechanism;
  wire::Buffer second;
  wire::Writer w2(second);
  wire::EncodeCall(w2, begin);
  EXPECT_EQ(Decode(*MakeCall(begin.kId), second.view(), arena), CKR_MECHANISM_PARAM_INVALID);
}

TEST(CodecLimits, APresenceThatCannotBeIsRefused) {
  for (std::uint8_t presence = 3; presence != 0; ++presence) {
    wire::Buffer buffer;
    wire::Writer w(buffer);
    w.U64(1);
    w.U8(presence);
    w.U32(0);
    wire::Arena arena;
    EXPECT_EQ(Decode(*MakeCall(CallId::C_FindObjectsInit), buffer.view(), arena), CKR_ARGUMENTS_BAD);
  }
}

TEST(CodecLimits, ADaemonThatCountsMoreThanFitsIsNotBelieved) {
  // The product of count and entry size wraps to 0: taken at its word, the caller would read far behind its list.
  CK_ULONG entry = 0;
  CK_ULONG count = CK_UNAVAILABLE_INFORMATION;
  spec::Call<CallId::C_GetSlotList> slots;
  slots.slots = {&entry, &count};
  spec::Call<CallId::C_FindObjects> find;
  find.objects = {&entry, CK_UNAVAILABLE_INFORMATION, &count};
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.U64(std::uint64_t{1} << 61);
  wire::Reader first(buffer.view());
  EXPECT_FALSE(wire::DecodeResults(first, slots, CKR_OK));
  wire::Reader second(buffer.view());
  EXPECT_FALSE(wire::DecodeResults(second, find, CKR_OK));
  EXPECT_EQ(count, CK_UNAVAILABLE_INFORMATION);
}

TEST(CodecLimits, TheLargestInputFitsAFrame) {
  const Bytes data(std::size_t{64} << 20);
  spec::Call<CallId::C_Encrypt> encrypt;
  encrypt.input = {const_cast<std::uint8_t*>(data.data()), data.size()};
  CK_ULONG length = 0;
  encrypt.output.length = &length;
  wire::Buffer buffer;
  wire::BeginFrame(buffer);
  wire::Writer w(buffer);
  wire::EncodeCall(w, encrypt);
  EXPECT_TRUE(wire::FinishFrame(buffer, encrypt.kId, 0, 1));
  encrypt.input.length = limits::kFrameBytesMax + 1;
  wire::Buffer too_long;
  wire::Writer w2(too_long);
  wire::EncodeCall(w2, encrypt);
  EXPECT_TRUE(w2.overflow());
}

}  // namespace
}  // namespace cmkd::tests
