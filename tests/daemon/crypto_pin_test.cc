// PINs: what a verifier accepts, and what the cache may remember.
#include <gtest/gtest.h>

#include <chrono>

#include "daemon/crypto/pin.h"

namespace cmkd::daemon {
namespace {

TEST(Pin, IsAcceptableFromTheMinimumToTheMaximum) {
  EXPECT_FALSE(IsAcceptablePin(AsBytes("123")));
  EXPECT_TRUE(IsAcceptablePin(AsBytes("1234")));
  EXPECT_FALSE(IsAcceptablePin(AsBytes("1234567"), 8));
  EXPECT_TRUE(IsAcceptablePin(AsBytes("12345678"), 8));
  EXPECT_TRUE(IsAcceptablePin(Bytes(255, 'x')));
  EXPECT_FALSE(IsAcceptablePin(Bytes(256, 'x')));
  EXPECT_FALSE(IsAcceptablePin({}, 0)) << "an empty PIN would be no PIN";
}

TEST(Pin, VerifierAcceptsItsOwnPinOnly) {
  const Bytes verifier = MakePinVerifier(AsBytes("1234"));
  EXPECT_EQ(verifier.size(), 52u);
  EXPECT_TRUE(CheckPin(verifier, AsBytes("1234")));
  EXPECT_FALSE(CheckPin(verifier, AsBytes("1235")));
  EXPECT_FALSE(CheckPin(verifier, AsBytes("12345")));
  EXPECT_FALSE(CheckPin(verifier, AsBytes("123")));
  EXPECT_FALSE(CheckPin(verifier, {}));
}

TEST(Pin, VerifiersOfOnePinDiffer) { EXPECT_NE(MakePinVerifier(AsBytes("1234")), MakePinVerifier(AsBytes("1234"))); }

TEST(Pin, TakesZeroBytesInsideAPinSeriously) {
  const Bytes pin = {'1', 0, '3', '4'};
  const Bytes verifier = MakePinVerifier(pin);
  EXPECT_TRUE(CheckPin(verifier, pin));
  EXPECT_FALSE(CheckPin(verifier, Bytes{'1', 0, '3', '5'}));
}

TEST(Pin, VerifierCarriesItsParameters) {
  Bytes verifier = MakePinVerifier(AsBytes("1234"));
  EXPECT_EQ(Hex(ByteView(verifier).first(4)), "010e0801");
  verifier[1] = 13;
  EXPECT_FALSE(CheckPin(verifier, AsBytes("1234")));
}

TEST(Pin, MalformedOrAbsurdVerifierIsRefusedAtOnce) {
  const Bytes good = MakePinVerifier(AsBytes("1234"));
  const auto start = std::chrono::steady_clock::now();
  for (const auto& [offset, value] : {std::pair{0, 2}, {1, 40}, {1, 9}, {2, 0}, {2, 255}, {3, 0}, {3, 17}}) {
    Bytes bad = good;
    bad[static_cast<std::size_t>(offset)] = static_cast<std::uint8_t>(value);
    if (offset == 2 && value == 255) bad[1] = 20;  // 32 GiB
    EXPECT_FALSE(CheckPin(bad, AsBytes("1234"))) << offset << " = " << value;
  }
  EXPECT_FALSE(CheckPin(ByteView(good).first(51), AsBytes("1234")));
  EXPECT_FALSE(CheckPin({}, AsBytes("1234")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30)) << "32 GiB were not asked for";
}

TEST(PinCache, RemembersSuccessAndNeverFailure) {
  PinCache cache;
  const Bytes verifier = MakePinVerifier(AsBytes("1234"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cache.Check(verifier, AsBytes("1234")));
  EXPECT_EQ(cache.SlowChecks(), 1u);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(cache.Check(verifier, AsBytes("9999")));
  EXPECT_EQ(cache.SlowChecks(), 4u) << "guessing stays slow";
}

TEST(PinCache, IsFast) {
  PinCache cache;
  const Bytes verifier = MakePinVerifier(AsBytes("1234"));
  EXPECT_TRUE(cache.Check(verifier, AsBytes("1234")));
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(cache.Check(verifier, AsBytes("1234")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << "10 ms each, scrypt takes more";
}

TEST(PinCache, ForgetsWhenThePinChangesOrIsTold) {
  PinCache cache;
  const Bytes before = MakePinVerifier(AsBytes("1234"));
  const Bytes after = MakePinVerifier(AsBytes("1234"));
  EXPECT_TRUE(cache.Check(before, AsBytes("1234")));
  EXPECT_TRUE(cache.Check(after, AsBytes("1234")));
  EXPECT_EQ(cache.SlowChecks(), 2u) << "the same PIN set anew is another PIN";
  cache.Clear();
  EXPECT_TRUE(cache.Check(before, AsBytes("1234")));
  EXPECT_EQ(cache.SlowChecks(), 3u);
}

TEST(PinCache, KeepsNoMoreThanItsBound) {
  PinCache cache(1);
  const Bytes one = MakePinVerifier(AsBytes("1111"));
  const Bytes two = MakePinVerifier(AsBytes("2222"));
  EXPECT_TRUE(cache.Check(one, AsBytes("1111")));
  EXPECT_TRUE(cache.Check(two, AsBytes("2222")));
  EXPECT_TRUE(cache.Check(two, AsBytes("2222")));
  EXPECT_EQ(cache.SlowChecks(), 2u);
  EXPECT_TRUE(cache.Check(one, AsBytes("1111")));
  EXPECT_EQ(cache.SlowChecks(), 3u);
}

}  // namespace
}  // namespace cmkd::daemon
