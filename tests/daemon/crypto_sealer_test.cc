// Digests, keys and sealing: published vectors, refusal of every changed byte, nonces that never come twice.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "daemon/crypto/digest.h"
#include "daemon/crypto/random.h"
#include "daemon/crypto/sealer.h"
#include "daemon/crypto/xaes.h"

namespace cmkd::daemon {
namespace {

const Bytes kRoot(32, 0x5a);

Bytes Repeat(std::uint8_t byte, std::size_t count) { return Bytes(count, byte); }

// FIPS 180-4 examples.
TEST(Digest, MatchesThePublishedVectors) {
  EXPECT_EQ(Hex(Sha256(AsBytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256(ByteView{})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, PiecesAreAsOneRow) {
  EXPECT_EQ(Sha256({AsBytes("a"), ByteView{}, AsBytes("bc")}), Sha256(AsBytes("abc")));
  Sha256Stream stream;
  EXPECT_EQ(stream.Update(AsBytes("ab")).Update(AsBytes("c")).Finish(), Sha256(AsBytes("abc")));
  EXPECT_EQ(stream.Update(AsBytes("abc")).Finish(), Sha256(AsBytes("abc"))) << "a finished stream starts anew";
}

// RFC 4231, cases 1, 2 and 6.
TEST(Hmac, MatchesThePublishedVectors) {
  EXPECT_EQ(Hex(HmacSha256(Repeat(0x0b, 20), {AsBytes("Hi There")})),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hex(HmacSha256(AsBytes("Jefe"), {AsBytes("what do ya "), AsBytes("want for nothing?")})),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(Hex(HmacSha256(Repeat(0xaa, 131), {AsBytes("Test Using Larger Than Block-Size Key - Hash Key First")})),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Hmac, AnEmptyKeyDoesNotMeanTheKeyBefore) {
  const Digest empty = HmacSha256({}, {AsBytes("x")});
  (void)HmacSha256(AsBytes("other"), {AsBytes("x")});
  EXPECT_EQ(HmacSha256({}, {AsBytes("x")}), empty);
}

// RFC 5869, case 3: no salt, no info.
TEST(Hkdf, MatchesThePublishedVector) {
  EXPECT_EQ(Hex(DeriveKey(Repeat(0x0b, 22), "", 42).view()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(Hkdf, LabelsGiveIndependentKeys) {
  std::set<std::string> keys;
  for (const auto label : {kSealStore, kSealIndex, kSealTicket, kSealSessionObject}) {
    keys.insert(Hex(DeriveKey(kRoot, label).view()));
  }
  EXPECT_EQ(keys.size(), 4u);
}

TEST(Random, NeverGivesTheSameIdTwice) {
  std::set<Id16> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(RandomId());
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_FALSE(Equal(RandomKey(32).view(), RandomKey(32).view()));
}

struct XaesVector {
  std::uint8_t key_byte;
  const char* associated;
  const char* sealed;
};

// C2SP XAES-256-GCM, "Test vectors".
TEST(Xaes, MatchesThePublishedVectors) {
  const XaesVector vectors[] = {
      {0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
      {0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
  };
  for (const XaesVector& vector : vectors) {
    const Bytes key = Repeat(vector.key_byte, 32);
    const ByteView nonce = AsBytes("ABCDEFGHIJKLMNOPQRSTUVWX");
    const ByteView plain = AsBytes("XAES-256-GCM");
    Bytes sealed(plain.size() + kXaesTagBytes);
    XaesSeal(key, nonce, AsBytes(vector.associated), plain, sealed.data());
    EXPECT_EQ(Hex(sealed), vector.sealed);
    Bytes opened(plain.size());
    ASSERT_TRUE(XaesOpen(key, nonce, AsBytes(vector.associated), sealed, opened.data()));
    EXPECT_TRUE(Equal(opened, plain));
  }
}

TEST(Sealer, OpensWhatItSealed) {
  const AesGcmSealer sealer(kRoot, kSealStore);
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 4096u, 100000u}) {
    const Bytes plain = Repeat(0x11, size);
    const auto sealed = sealer.Seal(AsBytes("key 7"), plain);
    ASSERT_TRUE(sealed.ok());
    EXPECT_EQ(sealed->size(), size + AesGcmSealer::kOverheadBytes);
    const auto opened = sealer.Open(AsBytes("key 7"), *sealed);
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(*opened, plain);
  }
}

TEST(Sealer, OpensAfterARestart) {
  const Bytes sealed = *AesGcmSealer(kRoot, kSealStore).Seal({}, AsBytes("record"));
  const auto opened = AesGcmSealer(kRoot, kSealStore).Open({}, sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(AsText(*opened), "record");
}

TEST(Sealer, RefusesEveryFlippedBit) {
  const AesGcmSealer sealer(kRoot, kSealStore);
  Bytes sealed = *sealer.Seal(AsBytes("a"), AsBytes("record"));
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] = static_cast<std::uint8_t>(sealed[bit / 8] ^ 1 << bit % 8);
    const auto opened = sealer.Open(AsBytes("a"), sealed);
    ASSERT_FALSE(opened.ok()) << "bit " << bit;
    EXPECT_EQ(opened.error(), store::SealError::kDamaged);
    sealed[bit / 8] = static_cast<std::uint8_t>(sealed[bit / 8] ^ 1 << bit % 8);
  }
  EXPECT_TRUE(sealer.Open(AsBytes("a"), sealed).ok());
}

TEST(Sealer, RefusesEveryShorterRecordAndALongerOne) {
  const AesGcmSealer sealer(kRoot, kSealStore);
  Bytes sealed = *sealer.Seal({}, AsBytes("record"));
  for (std::size_t size = 0; size < sealed.size(); ++size)
    EXPECT_FALSE(sealer.Open({}, ByteView(sealed).first(size)).ok());
  sealed.push_back(0);
  EXPECT_FALSE(sealer.Open({}, sealed).ok());
}

TEST(Sealer, BindsTheAssociatedDataTheLabelAndTheRoot) {
  const AesGcmSealer sealer(kRoot, kSealStore);
  const Bytes sealed = *sealer.Seal(AsBytes("a"), AsBytes("record"));
  EXPECT_FALSE(sealer.Open(AsBytes("b"), sealed).ok());
  EXPECT_FALSE(sealer.Open({}, sealed).ok());
  EXPECT_FALSE(AesGcmSealer(kRoot, kSealTicket).Open(AsBytes("a"), sealed).ok());
  EXPECT_FALSE(AesGcmSealer(Repeat(0x5b, 32), kSealStore).Open(AsBytes("a"), sealed).ok());
}

TEST(Sealer, NeverUsesANonceTwiceFromSeveralThreads) {
  const AesGcmSealer sealer(kRoot, kSealStore);
  constexpr int kEach = 2000;
  std::vector<Bytes> made[3];
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&sealer, &mine] {
      for (int i = 0; i < kEach; ++i) mine.push_back(*sealer.Seal({}, AsBytes("same")));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<Bytes> starts;
  for (const auto& mine : made) {
    for (const Bytes& sealed : mine) starts.insert(Bytes(sealed.begin(), sealed.begin() + 16));
  }
  EXPECT_EQ(starts.size(), 3u * kEach) << "the store wants the first sixteen bytes to differ";
}

TEST(Sealer, TagIsAFunctionOfTheMessageAndTheKey) {
  const AesGcmSealer sealer(kRoot, kSealIndex);
  EXPECT_EQ(sealer.Tag(AsBytes("label")), AesGcmSealer(kRoot, kSealIndex).Tag(AsBytes("label")));
  EXPECT_NE(sealer.Tag(AsBytes("label")), sealer.Tag(AsBytes("label2")));
  EXPECT_NE(sealer.Tag(AsBytes("label")), AesGcmSealer(kRoot, kSealStore).Tag(AsBytes("label")));
}

}  // namespace
}  // namespace cmkd::daemon
