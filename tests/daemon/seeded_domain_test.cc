// Domain parameters of DSA against other implementations: provable primes and their generator as GnuTLS 3.7.9 makes
// them (certtool --generate-privkey --key-type=dsa --provable --bits=2048 --seed=abab…), probable primes as OpenSSL
// 3.0.19 does (openssl genpkey -genparam -algorithm DSA -pkeyopt type:fips186_4 -pkeyopt pbits:1024 -pkeyopt qbits:160
// -pkeyopt digest:SHA256 -text).
#include "daemon/crypto/seeded_domain.h"

#include <gtest/gtest.h>

#include <string>

namespace cmkd::daemon {
namespace {

constexpr char kProvablePrime[] =
    "8ecb898458c3ed31c11f3da5f0d78df42d1a42ca98c530e8a054897ad2111af6129aa6c9c3aead9c85e01abd81942844"
    "319e4e3a857c3648d46bae2624679c1e271fbd837cd517a102a1db4f6989c3cd21de2049d6f1b5d6bbddf8a682375a2d"
    "1873eaf84b600ee95ef3288f71b75629382aa8bf2cbf32614300d747d457d517fc07151be263f8baf4a75681d0026889"
    "58f1a2d28e8706eb9a5ef6f986a8a731b4e1b08e10f197f14328e8834eb7babe184838a9a4f977e75ea98bb4003b01db"
    "c2a693510f8c535a26283b5a8ff6d59e780170494e38804ba4351bd5a365c546e00041d774e05403ee5d00e1b3ddd839"
    "1b792391502b0bb390c1c8ab3c92293d";
constexpr char kProvableSubprime[] = "d0d4fcd7a94537ffa0a8fd6e69e9879e06f4d09e76f6e580cf3b52020da61379";
constexpr char kProvableBase[] =
    "772e70e2d3178a54976f2c1836b6a686d63abdab606c646e9f8242dc1df43c5250b19892ffd4ef80acf7838f49d87e6f"
    "04658dfb9deaf103352392cda96854735f6ee96e55db2530413064bbb620adc3020b4f5ca1b4a01bcd93b5981b4569fd"
    "5c83a8f1ea632565466bf04c03ac483f0d9bea076abfa43ce5167f576d947757f1f46d8604031706982af7d64fbe549c"
    "d1890e82b088193ae16c4d95aa26438b7c8354ca77ffa835e92c94b54bf6e28b5eae55cb59b54d7ced34f8ac8f7acb74"
    "c67adfedad7ecf11668baf5a5c4a057b2eaada907efd5ebdeb4dea98e1f5bb1f3b3665b3295ae408dd13ed36baede45d"
    "b6a17f3431f443fdbbbfe2c7c7bcdca5";
constexpr char kProbablePrime[] =
    "c188e05c475eff9f6975c7a06115d6b5cecc89e837006e4055a4a5ff10b02d8643ae069bd72eecec9bc8308d3f0527ec"
    "02aa7607fdb6f5721571e9c932f9c25ed80122f65f0c3a77d5f02cd059d79c79fcbbe782d62b791a56a08b1295c0b3d0"
    "df42d91a5c4e8a2e14d2fc69277d34c652f95f441608c732a13724145717683d";
constexpr char kProbableSubprime[] = "8754dd2a77a7c2c74241d693c9f146e099d4fd19";
const Bytes kProbableSeed = {0xcd, 0x0a, 0xa1, 0x4b, 0xdb, 0x41, 0xb7, 0x3e, 0x1e, 0x33, 0x21,
                             0x70, 0xa4, 0x00, 0x51, 0x0e, 0x9e, 0x70, 0x7d, 0x55, 0x6f, 0xc3,
                             0x02, 0x03, 0x84, 0x9c, 0xfa, 0x30, 0x33, 0x10, 0xc6, 0x15};
const Bytes kFirstSeed(32, 0xab);

TEST(SeededDomain, ProvablePrimesAreThoseOfAnotherImplementation) {
  const auto made = ProvablePrimesOf(2048, 256, "SHA384", kFirstSeed);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(Hex(made->prime), kProvablePrime);
  EXPECT_EQ(Hex(made->subprime), kProvableSubprime);
  ASSERT_EQ(made->seed.size(), 3 * kFirstSeed.size());
  const auto base = MakeBase(made->prime, made->subprime, "SHA384", made->seed, 1);
  ASSERT_TRUE(base.has_value());
  EXPECT_EQ(Hex(*base), kProvableBase);
  const auto other = MakeBase(made->prime, made->subprime, "SHA384", made->seed, 2);
  ASSERT_TRUE(other.has_value());
  EXPECT_NE(*other, *base);
}

TEST(SeededDomain, ProbablePrimesAreThoseOfAnotherImplementation) {
  const auto made = ProbablePrimesOf(1024, 160, "SHA256", kProbableSeed);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(Hex(made->prime), kProbablePrime);
  EXPECT_EQ(Hex(made->subprime), kProbableSubprime);
  EXPECT_EQ(made->seed, kProbableSeed);
  Bytes another = kProbableSeed;
  another[0] ^= 1;
  const auto none = ProbablePrimesOf(1024, 160, "SHA256", another);
  EXPECT_TRUE(!none.has_value() || none->prime != made->prime);
}

TEST(SeededDomain, WhatIsNoDsaIsRefused) {
  EXPECT_FALSE(ProvablePrimesOf(2048, 256, "SHA1", kFirstSeed).has_value()) << "the hash is too short";
  EXPECT_FALSE(ProvablePrimesOf(2048, 160, "SHA384", kFirstSeed).has_value()) << "no sizes of DSA";
  EXPECT_FALSE(ProvablePrimesOf(2048, 256, "SHA384", Bytes(31, 0xab)).has_value()) << "the seed is too short";
  EXPECT_FALSE(ProvablePrimesOf(2048, 256, "SHA384", Bytes(32, 0x2b)).has_value()) << "its highest bit is not set";
  EXPECT_FALSE(ProbablePrimesOf(1024, 160, "SHA256", ByteView(kProbableSeed).first(19)).has_value());
  EXPECT_FALSE(MakeProbablePrimes(1024, 160, "NO-HASH", 20).has_value());
  EXPECT_FALSE(MakeProbablePrimes(1024, 160, "SHA256", 0).has_value());
  const auto made = ProbablePrimesOf(1024, 160, "SHA256", kProbableSeed);
  ASSERT_TRUE(made.has_value());
  Bytes even = made->prime;
  even.back() ^= 1;
  EXPECT_FALSE(MakeBase(even, made->subprime, "SHA256", kProbableSeed, 1).has_value());
  EXPECT_FALSE(MakeBase(made->prime, Bytes{11}, "SHA256", kProbableSeed, 1).has_value()) << "no divisor of p - 1";
  EXPECT_FALSE(MakeBase(made->prime, {}, "SHA256", kProbableSeed, 1).has_value());
}

}  // namespace
}  // namespace cmkd::daemon
