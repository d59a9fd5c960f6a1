// Inputs of any size: as much as a call takes at once, and any amount in parts. CMKD_TEST_PARTS_MIB says how much goes
// through in parts: 64 unless it says otherwise; 1024 takes some ten seconds.
#include <openssl/evp.h>
#include <unistd.h>

#include <fstream>

#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kAtOnce = 64 * kMiB;

std::size_t TotalInParts() {
  const char* text = std::getenv("CMKD_TEST_PARTS_MIB");
  const unsigned long given = text == nullptr ? 0 : std::strtoul(text, nullptr, 10);
  return (given == 0 ? 64 : given) * kMiB;
}

// Bytes that repeat nowhere near.
Bytes Filled(std::size_t bytes, std::uint64_t seed) {
  Bytes made(bytes);
  std::uint64_t x = seed * 2 + 1;
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    std::memcpy(made.data() + i, &x, 8);
  }
  return made;
}

// What OpenSSL says of the same bytes.
class Reference {
 public:
  Reference() { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Reference() { EVP_MD_CTX_free(context_); }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  void Update(ByteView data) { EVP_DigestUpdate(context_, data.data(), data.size()); }
  Bytes Final() {
    Bytes made(32);
    EVP_DigestFinal_ex(context_, made.data(), nullptr);
    return made;
  }

 private:
  EVP_MD_CTX* context_ = EVP_MD_CTX_new();
};

class SizesTest : public CallsTest {
 protected:
  // Calls `part` with pieces of 3 MiB and a byte, which fit no block, until all has gone through.
  template <class Part>
  void InParts(Part part) {
    const std::size_t total = TotalInParts(), piece = 3 * kMiB + 1;
    for (std::size_t done = 0; done < total; done += piece) {
      part(Filled(std::min(piece, total - done), done));
      if (HasFatalFailure()) return;
    }
  }
  CK_SESSION_HANDLE Second() {
    CK_SESSION_HANDLE session = 0;
    EXPECT_EQ(p11_.Open(slot_, session), CKR_OK);
    return session;
  }
};

#ifndef CMKD_SANITIZED
// The most memory that the daemon of this sandbox, a child of our parent, ever had; 0 when there is none to be found.
std::size_t DaemonsPeakBytes() {
  const std::string parent = "/proc/" + std::to_string(::getppid());
  std::ifstream list(parent + "/task/" + std::to_string(::getppid()) + "/children");
  for (long child = 0; list >> child;) {
    const std::string process = "/proc/" + std::to_string(child);
    std::string name, word;
    std::getline(std::ifstream(process + "/comm"), name);
    if (name != "cmkd") continue;
    std::ifstream status(process + "/status");
    while (status >> word) {
      std::size_t kib = 0;
      if (word == "VmHWM:" && status >> kib) return kib * 1024;
    }
  }
  return 0;
}

// However much goes through, the daemon has room for a few pieces and no more. (Sanitizers keep what is freed.)
TEST_F(SizesTest, TheDaemonKeepsNothingOfWhatGoesThrough) {
  const std::size_t before = DaemonsPeakBytes();
  ASSERT_NE(before, 0u) << "no daemon beside us";
  CK_MECHANISM digest = M(CKM_SHA256), mac = M(CKM_SHA256_HMAC);
  const CK_SESSION_HANDLE other = Second();
  ASSERT_EQ(f_->C_DigestInit(s_, &digest), CKR_OK);
  ASSERT_EQ(f_->C_SignInit(other, &mac, Open(Bytes(64, 3))), CKR_OK);
  InParts([&](const Bytes& piece) {
    ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(piece), piece.size()), CKR_OK);
    ASSERT_EQ(f_->C_SignUpdate(other, BytePtr(piece), piece.size()), CKR_OK);
  });
  Bytes made(32);
  CK_ULONG length = made.size();
  EXPECT_EQ(f_->C_DigestFinal(s_, made.data(), &length), CKR_OK);
  EXPECT_EQ(f_->C_SignFinal(other, made.data(), &length), CKR_OK);
  EXPECT_LT(DaemonsPeakBytes() - before, 48 * kMiB);
}
#endif

TEST_F(SizesTest, DigestInParts) {
  CK_MECHANISM m = M(CKM_SHA256);
  Reference reference;
  ASSERT_EQ(f_->C_DigestInit(s_, &m), CKR_OK);
  InParts([&](const Bytes& piece) {
    ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(piece), piece.size()), CKR_OK);
    reference.Update(piece);
  });
  Bytes digest(32);
  CK_ULONG length = digest.size();
  ASSERT_EQ(f_->C_DigestFinal(s_, digest.data(), &length), CKR_OK);
  EXPECT_EQ(digest, reference.Final());
}

TEST_F(SizesTest, EncryptionAndDecryptionInParts) {
  const CK_OBJECT_HANDLE key = Aes();
  const CK_SESSION_HANDLE other = Second();
  Bytes iv(16, 7);
  CK_MECHANISM m{CKM_AES_CBC_PAD, iv.data(), iv.size()};
  Reference in, out;
  ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_DecryptInit(other, &m, key), CKR_OK);
  Bytes sealed(4 * kMiB), opened(4 * kMiB);
  const auto open = [&](std::size_t bytes) {
    CK_ULONG length = opened.size();
    ASSERT_EQ(f_->C_DecryptUpdate(other, sealed.data(), bytes, opened.data(), &length), CKR_OK);
    out.Update(ByteView(opened).first(length));
  };
  InParts([&](const Bytes& piece) {
    in.Update(piece);
    CK_ULONG length = sealed.size();
    ASSERT_EQ(f_->C_EncryptUpdate(s_, BytePtr(piece), piece.size(), sealed.data(), &length), CKR_OK);
    open(length);
  });
  CK_ULONG length = sealed.size();
  ASSERT_EQ(f_->C_EncryptFinal(s_, sealed.data(), &length), CKR_OK);
  open(length);
  length = opened.size();
  ASSERT_EQ(f_->C_DecryptFinal(other, opened.data(), &length), CKR_OK);
  out.Update(ByteView(opened).first(length));
  EXPECT_EQ(in.Final(), out.Final());
}

TEST_F(SizesTest, SixtyFourMebibytesAtOnce) {
  const Bytes text = Filled(kAtOnce, 1);
  Reference reference;
  reference.Update(text);
  EXPECT_EQ(Digest(text), reference.Final());
  const CK_OBJECT_HANDLE key = Aes();
  Bytes iv(12, 7);
  CK_GCM_PARAMS gcm{iv.data(), iv.size(), 96, nullptr, 0, 128};
  CK_MECHANISM m{CKM_AES_GCM, &gcm, sizeof gcm};
  Bytes sealed(kAtOnce + 16), opened(kAtOnce);
  CK_ULONG length = sealed.size();
  ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(text), text.size(), sealed.data(), &length), CKR_OK);
  ASSERT_EQ(length, sealed.size());
  length = opened.size();
  ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), sealed.size(), opened.data(), &length), CKR_OK);
  EXPECT_TRUE(opened == text);
}

// Long messages leave the application's memory, and come back to it, by ways of their own: all lengths at which one way
// becomes another, once in two buffers and once in one, often enough that the connection has a lane.
TEST_F(SizesTest, LongMessagesOfEveryWayComeBack) {
  const CK_OBJECT_HANDLE key = Aes();
  Bytes iv(12, 7);
  CK_GCM_PARAMS gcm{iv.data(), iv.size(), 96, nullptr, 0, 128};
  CK_MECHANISM m{CKM_AES_GCM, &gcm, sizeof gcm};
  constexpr std::size_t kBulk = std::size_t{64} << 10;
  constexpr std::size_t kLane = kMiB + kBulk;
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t bytes : {kBulk - 40, kBulk - 16, kBulk - 1, kBulk, kBulk + 1, kMiB, kLane - 100, kLane - 57,
                                    kLane - 32, kLane, kLane + 1, 3 * kMiB}) {
      SCOPED_TRACE(bytes);
      iv[0] = static_cast<std::uint8_t>(round);
      const Bytes text = Filled(bytes, bytes);
      Bytes sealed(bytes + 16), same(text), opened(bytes);
      same.resize(bytes + 16);
      CK_ULONG length = sealed.size();
      ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
      ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(text), bytes, sealed.data(), &length), CKR_OK);
      ASSERT_EQ(length, sealed.size());
      ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
      ASSERT_EQ(f_->C_Encrypt(s_, same.data(), bytes, same.data(), &length), CKR_OK);
      ASSERT_TRUE(same == sealed);
      length = opened.size();
      ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
      ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), sealed.size(), opened.data(), &length), CKR_OK);
      ASSERT_EQ(length, bytes);
      ASSERT_TRUE(opened == text);
    }
  }
}

TEST_F(SizesTest, NothingOfALongForgeryIsGivenOut) {
  const CK_OBJECT_HANDLE key = Aes();
  Bytes iv(12, 7);
  CK_GCM_PARAMS gcm{iv.data(), iv.size(), 96, nullptr, 0, 128};
  CK_MECHANISM m{CKM_AES_GCM, &gcm, sizeof gcm};
  const Bytes text = Filled(kMiB, 5);
  Bytes sealed(kMiB + 16);
  CK_ULONG length = 1000;
  ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(text), text.size(), sealed.data(), &length), CKR_BUFFER_TOO_SMALL);
  ASSERT_EQ(length, sealed.size());
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(text), text.size(), sealed.data(), &length), CKR_OK);
  for (const std::size_t at : {std::size_t{0}, kMiB / 2, kMiB - 1, kMiB, kMiB + 15}) {
    Bytes forged = sealed, opened(kMiB, 0xEE);
    forged[at] ^= 1;
    length = opened.size();
    ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
    EXPECT_NE(f_->C_Decrypt(s_, forged.data(), forged.size(), opened.data(), &length), CKR_OK);
    EXPECT_EQ(opened, Bytes(kMiB, 0xEE));
  }
  Bytes opened(kMiB);
  length = opened.size();
  ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), sealed.size(), opened.data(), &length), CKR_OK);
  EXPECT_TRUE(opened == text);
}

// What no frame holds goes in pieces, and the program does not notice.
TEST_F(SizesTest, MoreThanAFrameAtOnce) {
  const Bytes text = Filled(kAtOnce + kMiB, 2);
  Reference reference;
  reference.Update(text);
  EXPECT_EQ(Digest(text), reference.Final());
  const CK_OBJECT_HANDLE key = Aes();
  Bytes iv(16, 7);
  CK_MECHANISM m{CKM_AES_CBC_PAD, iv.data(), iv.size()};
  Bytes sealed(text.size() + 16), opened(text.size() + 16);
  CK_ULONG length = sealed.size();
  ASSERT_EQ(f_->C_EncryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(text), text.size(), sealed.data(), &length), CKR_OK);
  ASSERT_EQ(length, sealed.size());
  length = opened.size();
  ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), sealed.size(), opened.data(), &length), CKR_OK);
  opened.resize(length);
  EXPECT_TRUE(opened == text);
}

}  // namespace
}  // namespace cmkd::tests
