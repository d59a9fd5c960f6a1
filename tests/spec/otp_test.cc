// One-time passwords without a device: RFC 4226 appendix D from its intermediate values, and signature infos that a
// daemon did not make.
#include "pkcs11/spec/otp.h"

#include <gtest/gtest.h>

#include <array>

namespace cmkd::spec {
namespace {

// RFC 4226 section 5.4: the example MAC, whose truncation is 872921.
constexpr std::array<std::uint8_t, kHotpMacBytes> kExampleMac = {0x1f, 0x86, 0x98, 0x69, 0x0e, 0x02, 0xca,
                                                                 0x16, 0x61, 0x85, 0x50, 0xef, 0x7f, 0x19,
                                                                 0xda, 0x8e, 0x94, 0x5b, 0x55, 0x5a};

TEST(Hotp, TruncatesAsTheExampleOfRfc4226) {
  EXPECT_EQ(HotpValue(kExampleMac, 6), "872921");
  EXPECT_EQ(HotpValue(kExampleMac, 8), "57872921");
  // Zeros in front are digits, too, and the sign bit of the four bytes does not count.
  std::array<std::uint8_t, kHotpMacBytes> mac{};
  mac[0] = 0x80;
  mac[3] = 7;
  EXPECT_EQ(HotpValue(mac, 6), "000007");
  // The last place where the four bytes may stand.
  mac = {};
  mac[19] = 0x0F;
  mac[18] = 9;
  EXPECT_EQ(HotpValue(mac, 6), "000009");
}

TEST(Hotp, CountersAreBigEndian) {
  EXPECT_EQ(EncodeOtpCounter(0x0102030405060708), (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Hotp, PointersAreMadeOfWhatTheDaemonMakesOnly) {
  Bytes made = EncodeOtpSignature("755224", 5);
  ASSERT_EQ(made.size(), kOtpSignatureBytes);
  Bytes pointed = made;
  ASSERT_TRUE(PointIntoOtpSignature(pointed));
  CK_OTP_SIGNATURE_INFO info;
  std::memcpy(&info, pointed.data(), sizeof info);
  ASSERT_EQ(info.ulCount, 2u);
  EXPECT_EQ(reinterpret_cast<std::uint8_t*>(info.pParams), pointed.data() + sizeof info);
  EXPECT_EQ(AsText({static_cast<std::uint8_t*>(info.pParams[0].pValue), info.pParams[0].ulValueLen}), "755224");
  EXPECT_EQ(static_cast<std::uint8_t*>(info.pParams[1].pValue)[7], 5);
  // Twice is once too often: pointers are no offsets.
  EXPECT_FALSE(PointIntoOtpSignature(pointed));
  EXPECT_FALSE(PointIntoOtpSignature({made.data(), made.size() - 1}));
  // Everything but the two values is fixed; of the value's length, 6, the lowest bits may make it 7.
  const std::size_t values_at = kOtpSignatureBytes - 16;
  const std::size_t length_at = sizeof(CK_OTP_SIGNATURE_INFO) + offsetof(CK_OTP_PARAM, ulValueLen);
  for (std::size_t i = 0; i < values_at; ++i) {
    if (i == length_at) continue;
    Bytes altered = made;
    altered[i] ^= 0x41;
    const Bytes before = altered;
    EXPECT_FALSE(PointIntoOtpSignature(altered)) << i;
    EXPECT_EQ(altered, before) << i;
  }
  made[length_at] = 200;
  EXPECT_FALSE(PointIntoOtpSignature(made));
}

TEST(Hotp, TheCounterGoesForward) {
  Attributes key;
  AddOtpDefaults(key);
  OtpRequest request;
  EXPECT_EQ(*TakeOtpCounter(request, key), 0u);
  EXPECT_EQ(*TakeOtpCounter(request, key), 1u);
  request.counter = 1;
  EXPECT_EQ(TakeOtpCounter(request, key).error().rv, CKR_MECHANISM_PARAM_INVALID);
  request.counter = 10;
  EXPECT_EQ(*TakeOtpCounter(request, key), 10u);
  EXPECT_TRUE(Equal(key.View(CKA_OTP_COUNTER), EncodeOtpCounter(11)));
  // An update that was thought out before brings the older counter, and does not keep it.
  Attributes older;
  AddOtpDefaults(older);
  KeepOtpCounter(key, older);
  EXPECT_TRUE(Equal(older.View(CKA_OTP_COUNTER), EncodeOtpCounter(11)));
  // What is no key of this class gets none.
  Attributes other;
  KeepOtpCounter({}, other);
  EXPECT_FALSE(other.Has(CKA_OTP_COUNTER));
}

}  // namespace
}  // namespace cmkd::spec
