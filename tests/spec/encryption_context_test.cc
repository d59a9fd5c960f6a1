// The canonical form of encryption contexts: one map, one sequence of bytes, and back.
#include "pkcs11/spec/encryption_context.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace cmkd::spec {
namespace {

std::string SomeText(std::mt19937& random, std::size_t least, std::size_t most) {
  std::string text(least + random() % (most - least + 1), '\0');
  // Few letters, so that names often share beginnings; zeros and high bytes among them.
  for (char& c : text) c = "ab\0\x01\xff"[random() % 5];
  return text;
}

std::vector<std::pair<std::string, std::string>> SomePairs(std::mt19937& random) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::set<std::string> names;
  for (std::size_t i = random() % 6; i != 0; --i) {
    std::string name = SomeText(random, 1, 4);
    if (names.insert(name).second) pairs.emplace_back(name, SomeText(random, 0, 4));
  }
  return pairs;
}

TEST(EncryptionContext, IsWhatTheDocumentShows) {
  EXPECT_EQ(EncodeContext({}), Bytes{});
  EXPECT_EQ(EncodeContext({{"b", "2"}, {"a", ""}}), (Bytes{1, 0, 1, 'a', 0, 0, 0, 1, 'b', 0, 1, '2'}));
  EXPECT_EQ(EncodeContext({{"", "x"}}), std::nullopt);
}

TEST(EncryptionContext, DoesNotDependOnTheOrderInWhichPairsCame) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto pairs = SomePairs(random);
    const auto once = EncodeContext({pairs.begin(), pairs.end()});
    std::shuffle(pairs.begin(), pairs.end(), random);
    ASSERT_TRUE(once.has_value());
    EXPECT_EQ(EncodeContext({pairs.begin(), pairs.end()}), once);
  }
}

TEST(EncryptionContext, ComesBackAndTwoMapsNeverShareTheirBytes) {
  std::mt19937 random(2);
  std::map<Bytes, EncryptionContext> seen;
  for (int round = 0; round < 20000; ++round) {
    const auto pairs = SomePairs(random);
    const EncryptionContext map(pairs.begin(), pairs.end());
    const auto bytes = EncodeContext(map);
    ASSERT_TRUE(bytes.has_value());
    EXPECT_EQ(DecodeContext(*bytes), map);
    const auto [earlier, fresh] = seen.emplace(*bytes, map);
    if (!fresh) {
      EXPECT_EQ(earlier->second, map);
    }
  }
}

TEST(EncryptionContext, TakesOneFormOnly) {
  std::mt19937 random(3);
  int taken = 0;
  for (int round = 0; round < 50000; ++round) {
    // Bytes near to what maps have: what is read must be written again as it was.
    Bytes bytes;
    const auto pairs = SomePairs(random);
    bytes = EncodeContext({pairs.begin(), pairs.end()}).value();
    for (std::size_t i = random() % 3; i != 0 && !bytes.empty(); --i)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random() % 4);
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 3));
    const auto map = DecodeContext(bytes);
    if (!map) continue;
    ++taken;
    EXPECT_EQ(EncodeContext(*map), bytes);
  }
  EXPECT_GT(taken, 1000);
  EXPECT_EQ(DecodeContext(Bytes{1}), std::nullopt) << "an empty map has no bytes";
  EXPECT_EQ(DecodeContext(Bytes{2, 0, 1, 'a', 0, 0}), std::nullopt);
  EXPECT_EQ(DecodeContext(Bytes{1, 0, 1, 'b', 0, 0, 0, 1, 'a', 0, 0}), std::nullopt) << "out of order";
  EXPECT_EQ(DecodeContext(Bytes{1, 0, 1, 'a', 0, 0, 0, 1, 'a', 0, 0}), std::nullopt) << "a name twice";
  EXPECT_EQ(DecodeContext(Bytes{1, 0, 0, 0, 0}), std::nullopt) << "an empty name";
}

TEST(EncryptionContext, HasABound) {
  const std::size_t most = CMKD_CONTEXT_MAX - 6;
  const auto longest = EncodeContext({{"n", std::string(most, 'x')}});
  ASSERT_TRUE(longest.has_value());
  EXPECT_EQ(longest->size(), CMKD_CONTEXT_MAX);
  EXPECT_TRUE(DecodeContext(*longest).has_value());
  EXPECT_EQ(EncodeContext({{"n", std::string(most + 1, 'x')}}), std::nullopt);
}

}  // namespace
}  // namespace cmkd::spec
