// CKM_HOTP: the answers of RFC 4226 appendix D, CK_OTP_SIGNATURE_INFO in the application's buffer, and a counter that
// nothing takes back. Runs on both profiles and both back ends.
#include <set>
#include <thread>

#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

// CK_OTP_PARAMS that keep what they lead to.
class OtpParams {
 public:
  OtpParams& Counter(std::uint64_t counter) {
    Bytes bytes(8);
    for (std::size_t i = 8; i-- > 0; counter >>= 8) bytes[i] = static_cast<std::uint8_t>(counter);
    return Raw(CK_OTP_COUNTER, std::move(bytes));
  }
  OtpParams& Number(CK_ULONG type, CK_ULONG number) {
    Bytes bytes(sizeof number);
    std::memcpy(bytes.data(), &number, sizeof number);
    return Raw(type, std::move(bytes));
  }
  OtpParams& Raw(CK_ULONG type, Bytes value) {
    items_.emplace_back(type, std::move(value));
    return *this;
  }
  // Good until the parameters change or go.
  CK_MECHANISM mechanism() {
    list_.clear();
    for (auto& [type, value] : items_) list_.push_back({type, value.data(), value.size()});
    params_ = {list_.data(), list_.size()};
    return {CKM_HOTP, &params_, sizeof params_};
  }

 private:
  std::vector<std::pair<CK_ULONG, Bytes>> items_;
  std::vector<CK_OTP_PARAM> list_;
  CK_OTP_PARAMS params_{};
};

constexpr const char* kAppendixD[] = {"755224", "287082", "359152", "969429", "338314",
                                      "254676", "287922", "162583", "399871", "520489"};
const Bytes kSecret = ToBytes(AsBytes("12345678901234567890"));

struct Otp {
  CK_RV rv = CKR_OK;
  std::string value;
  std::uint64_t counter = 0;
};

class HotpTest : public CallsTest {
 protected:
  void SetUp() override {
    CallsTest::SetUp();
    ASSERT_NE(FlagsOf(CKM_HOTP) & CKF_SIGN, 0u);
  }
  static bool managed() {
    const char* profile = std::getenv("CMKD_TEST_PROFILE");
    return profile != nullptr && std::string(profile) == "managed";
  }
  static Template Otps() { return Template().Ulong(CKA_CLASS, CKO_OTP_KEY).Ulong(CKA_KEY_TYPE, CKK_HOTP); }
  // A session key with the secret of appendix D.
  CK_RV Bring(Template more, CK_OBJECT_HANDLE& key) {
    Template t = Otps().Bool(CKA_TOKEN, false).Raw(CKA_VALUE, kSecret).Add(more);
    return f_->C_CreateObject(s_, t.data(), t.size(), &key);
  }
  CK_OBJECT_HANDLE Known(const Template& more = {}) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(Bring(more, key), CKR_OK);
    return key;
  }
  CK_RV Generate(const Template& more, CK_OBJECT_HANDLE& key) {
    CK_MECHANISM m = M(CKM_HOTP_KEY_GEN);
    Template t = Template().Add(more);
    return f_->C_GenerateKey(s_, &m, t.data(), t.size(), &key);
  }
  CK_OBJECT_HANDLE OnToken() {
    CK_OBJECT_HANDLE key = 0;
    const char* name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    EXPECT_EQ(Generate(Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, name), key), CKR_OK);
    return key;
  }

  Otp Read(ByteView output) {
    Otp otp;
    CK_OTP_SIGNATURE_INFO info;
    std::memcpy(&info, output.data(), sizeof info);
    const auto inside = [&](const void* at, CK_ULONG bytes) {
      const auto* first = static_cast<const std::uint8_t*>(at);
      return first >= output.data() && first + bytes <= output.data() + output.size();
    };
    EXPECT_EQ(info.ulCount, 2u);
    EXPECT_TRUE(inside(info.pParams, info.ulCount * sizeof(CK_OTP_PARAM)));
    for (CK_ULONG i = 0; i < info.ulCount; ++i) {
      CK_OTP_PARAM param;
      std::memcpy(&param, info.pParams + i, sizeof param);
      EXPECT_TRUE(inside(param.pValue, param.ulValueLen));
      const ByteView value{static_cast<const std::uint8_t*>(param.pValue), param.ulValueLen};
      if (param.type == CK_OTP_VALUE) otp.value = AsText(value);
      if (param.type == CK_OTP_COUNTER) {
        for (const std::uint8_t byte : value) otp.counter = otp.counter << 8 | byte;
      }
    }
    return otp;
  }
  Otp Next(CK_OBJECT_HANDLE key, OtpParams params = {}) { return Next(s_, key, std::move(params)); }
  Otp Next(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OtpParams params = {}) {
    CK_MECHANISM m = params.mechanism();
    if (const CK_RV rv = f_->C_SignInit(session, &m, key); rv != CKR_OK) return {rv, "", 0};
    alignas(CK_OTP_SIGNATURE_INFO) CK_BYTE output[128];
    CK_ULONG length = sizeof output;
    if (const CK_RV rv = f_->C_Sign(session, nullptr, 0, output, &length); rv != CKR_OK) return {rv, "", 0};
    return Read({output, length});
  }
  CK_RV VerifyOtp(CK_OBJECT_HANDLE key, OtpParams params, const std::string& value) {
    return Verify(params.mechanism(), key, {}, ToBytes(AsBytes(value)));
  }
  std::uint64_t CounterOf(CK_OBJECT_HANDLE key) {
    CK_BYTE bytes[8] = {};
    CK_ATTRIBUTE wanted{CKA_OTP_COUNTER, bytes, sizeof bytes};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK);
    EXPECT_EQ(wanted.ulValueLen, 8u);
    std::uint64_t counter = 0;
    for (const CK_BYTE byte : bytes) counter = counter << 8 | byte;
    return counter;
  }
  CK_ULONG Number(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type) {
    CK_ULONG number = 0;
    CK_ATTRIBUTE wanted{type, &number, sizeof number};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK) << type;
    return number;
  }
};

TEST_F(HotpTest, GivesTheAnswersOfRfc4226AppendixD) {
  const CK_OBJECT_HANDLE key = Known();
  for (std::uint64_t i = 0; i < std::size(kAppendixD); ++i) {
    const Otp otp = Next(key);
    ASSERT_EQ(otp.rv, CKR_OK);
    EXPECT_EQ(otp.value, kAppendixD[i]);
    EXPECT_EQ(otp.counter, i);
    EXPECT_EQ(CounterOf(key), i + 1);
  }
  const CK_OBJECT_HANDLE eight = Known(Template().Ulong(CKA_OTP_LENGTH, 8));
  EXPECT_EQ(Next(eight).value, "84755224");
  EXPECT_EQ(Next(eight, OtpParams().Number(CK_OTP_OUTPUT_LENGTH, 7)).value, "4287082");
  EXPECT_EQ(Next(eight, OtpParams().Counter(7)).value, "82162583");
}

TEST_F(HotpTest, VerifiesWithTheCountersThatItIsGiven) {
  const CK_OBJECT_HANDLE key = Known();
  for (std::uint64_t i = 0; i < std::size(kAppendixD); ++i) {
    EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(i), kAppendixD[i]), CKR_OK);
    EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(i + 1), kAppendixD[i]), CKR_SIGNATURE_INVALID);
  }
  EXPECT_EQ(VerifyOtp(key, OtpParams(), kAppendixD[0]), CKR_MECHANISM_PARAM_INVALID) << "no counter";
  EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(0), "75522"), CKR_SIGNATURE_LEN_RANGE);
  EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(0), "84755224"), CKR_SIGNATURE_LEN_RANGE);
  EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(0).Number(CK_OTP_OUTPUT_LENGTH, 8), "84755224"), CKR_OK);
  EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(0).Number(CK_OTP_FLAGS, CKF_NEXT_OTP), kAppendixD[1]), CKR_OK);
  EXPECT_EQ(CounterOf(key), 0u) << "verification moves nothing";
  // 3.2: the password first.
  OtpParams params;
  CK_MECHANISM m = params.Counter(3).mechanism();
  Bytes value = ToBytes(AsBytes(kAppendixD[3]));
  ASSERT_EQ(f_->C_VerifySignatureInit(s_, &m, key, value.data(), value.size()), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignature(s_, nullptr, 0), CKR_OK);
  ASSERT_EQ(f_->C_VerifyInit(s_, &m, key), CKR_OK);
  EXPECT_EQ(f_->C_VerifyFinal(s_, value.data(), value.size()), CKR_OK);
}

TEST_F(HotpTest, LengthQueriesAndSmallBuffersTakeNoCounter) {
  for (const CK_OBJECT_HANDLE key : {Known(), OnToken()}) {
    OtpParams params;
    CK_MECHANISM m = params.mechanism();
    ASSERT_EQ(f_->C_SignInit(s_, &m, key), CKR_OK);
    CK_ULONG length = 0;
    ASSERT_EQ(f_->C_Sign(s_, nullptr, 0, nullptr, &length), CKR_OK);
    EXPECT_EQ(length, sizeof(CK_OTP_SIGNATURE_INFO) + 2 * (sizeof(CK_OTP_PARAM) + 8));
    Bytes output(length + 1, 0xA5);
    CK_ULONG small = length - 1;
    EXPECT_EQ(f_->C_Sign(s_, nullptr, 0, output.data(), &small), CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(small, length);
    EXPECT_EQ(CounterOf(key), 0u);
    // A buffer that is not aligned: the values are where the pointers say.
    ASSERT_EQ(f_->C_Sign(s_, nullptr, 0, output.data() + 1, &length), CKR_OK);
    EXPECT_EQ(Read({output.data() + 1, length}).counter, 0u);
    EXPECT_EQ(output[0], 0xA5);
    EXPECT_EQ(CounterOf(key), 1u);
    EXPECT_EQ(f_->C_Sign(s_, nullptr, 0, output.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  }
}

TEST_F(HotpTest, IsOfNoData) {
  const CK_OBJECT_HANDLE key = Known();
  OtpParams params;
  CK_MECHANISM m = params.mechanism();
  CK_BYTE output[128];
  CK_ULONG length = sizeof output;
  ASSERT_EQ(f_->C_SignInit(s_, &m, key), CKR_OK);
  EXPECT_EQ(f_->C_Sign(s_, BytePtr(kText), kText.size(), output, &length), CKR_DATA_LEN_RANGE);
  ASSERT_EQ(f_->C_SignInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_SignUpdate(s_, BytePtr(kText), 1), CKR_OK);
  EXPECT_EQ(f_->C_SignFinal(s_, output, &length), CKR_DATA_LEN_RANGE);
  EXPECT_EQ(CounterOf(key), 0u);
  ASSERT_EQ(f_->C_SignInit(s_, &m, key), CKR_OK);
  length = 0;
  ASSERT_EQ(f_->C_SignFinal(s_, nullptr, &length), CKR_OK);
  ASSERT_EQ(f_->C_SignFinal(s_, output, &length), CKR_OK);
  EXPECT_EQ(Read({output, length}).value, kAppendixD[0]);
  EXPECT_EQ(f_->C_MessageSignInit(s_, &m, key), CKR_MECHANISM_INVALID);
}

TEST_F(HotpTest, ACounterThatIsGivenGoesForwardOnly) {
  const CK_OBJECT_HANDLE key = Known();
  EXPECT_EQ(Next(key, OtpParams().Counter(5)).value, kAppendixD[5]);
  EXPECT_EQ(CounterOf(key), 6u);
  EXPECT_EQ(Next(key, OtpParams().Counter(5)).rv, CKR_MECHANISM_PARAM_INVALID) << "it was given";
  EXPECT_EQ(Next(key, OtpParams().Counter(2)).rv, CKR_MECHANISM_PARAM_INVALID) << "it was skipped";
  EXPECT_EQ(Next(key, OtpParams().Number(CK_OTP_FLAGS, CKF_NEXT_OTP)).value, kAppendixD[7]);
  EXPECT_EQ(CounterOf(key), 8u);
  const CK_OBJECT_HANDLE asks = Known(Template().Ulong(CKA_OTP_COUNTER_REQUIREMENT, CK_OTP_PARAM_MANDATORY));
  EXPECT_EQ(Next(asks).rv, CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(Next(asks, OtpParams().Counter(1)).value, kAppendixD[1]);
  const CK_OBJECT_HANDLE ignores = Known(Template().Ulong(CKA_OTP_COUNTER_REQUIREMENT, CK_OTP_PARAM_IGNORED));
  EXPECT_EQ(Next(ignores, OtpParams().Counter(9)).value, kAppendixD[0]);
}

TEST_F(HotpTest, TheCounterEndsAndDoesNotBeginAgain) {
  Bytes last(8, 0xFF);
  last.back() = 0xFE;
  const CK_OBJECT_HANDLE key = Known(Template().Raw(CKA_OTP_COUNTER, last));
  EXPECT_EQ(Next(key, OtpParams().Number(CK_OTP_FLAGS, CKF_NEXT_OTP)).rv, CKR_FUNCTION_FAILED);
  EXPECT_EQ(Next(key).counter, 0xFFFFFFFFFFFFFFFEu);
  EXPECT_EQ(Next(key).rv, CKR_FUNCTION_FAILED);
  EXPECT_EQ(Next(key, OtpParams().Counter(0)).rv, CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(HotpTest, RefusesParametersThatItDoesNotKnow) {
  const CK_OBJECT_HANDLE key = Known(Template().Bool(CKA_OTP_USER_FRIENDLY_MODE, false));
  const auto refused = [&](OtpParams params) { return Next(key, std::move(params)).rv; };
  EXPECT_EQ(refused(OtpParams().Raw(CK_OTP_COUNTER, Bytes(7))), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Counter(1).Counter(1)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Raw(CK_OTP_VALUE, Bytes(6))), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(99, 0)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_OUTPUT_LENGTH, 5)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_OUTPUT_LENGTH, 9)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_FORMAT, CK_OTP_FORMAT_BINARY)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_FLAGS, CKF_EXCLUDE_COUNTER)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_FLAGS, CKF_USER_FRIENDLY_OTP)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Number(CK_OTP_FLAGS, 0x40)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(refused(OtpParams().Raw(CK_OTP_FLAGS, Bytes(4))), CKR_MECHANISM_PARAM_INVALID);
  CK_MECHANISM bare = M(CKM_HOTP);
  EXPECT_EQ(f_->C_SignInit(s_, &bare, key), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(CounterOf(key), 0u);
  // PIN, challenge and time are ignored, as the key says, and so is leaving them out.
  OtpParams ignored;
  ignored.Raw(CK_OTP_PIN, {'1'}).Raw(CK_OTP_CHALLENGE, Bytes(40)).Raw(CK_OTP_TIME, {});
  ignored.Number(CK_OTP_FLAGS, CKF_EXCLUDE_PIN | CKF_EXCLUDE_TIME | CKF_EXCLUDE_CHALLENGE);
  EXPECT_EQ(Next(key, ignored.Number(CK_OTP_FORMAT, CK_OTP_FORMAT_DECIMAL)).value, kAppendixD[0]);
}

TEST_F(HotpTest, GeneratedKeysSayWhatTheyAre) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(Generate(Template().Text(CKA_OTP_SERVICE_IDENTIFIER, "example.org"), key), CKR_OK);
  EXPECT_EQ(Number(key, CKA_CLASS), CKO_OTP_KEY);
  EXPECT_EQ(Number(key, CKA_KEY_TYPE), CKK_HOTP);
  EXPECT_EQ(Number(key, CKA_KEY_GEN_MECHANISM), CKM_HOTP_KEY_GEN);
  EXPECT_EQ(Number(key, CKA_VALUE_LEN), 20u);
  EXPECT_EQ(Number(key, CKA_OTP_FORMAT), CK_OTP_FORMAT_DECIMAL);
  EXPECT_EQ(Number(key, CKA_OTP_LENGTH), 6u);
  EXPECT_EQ(Number(key, CKA_OTP_COUNTER_REQUIREMENT), CK_OTP_PARAM_OPTIONAL);
  EXPECT_EQ(Number(key, CKA_OTP_PIN_REQUIREMENT), CK_OTP_PARAM_IGNORED);
  EXPECT_EQ(CounterOf(key), 0u);
  const Otp otp = Next(key);
  EXPECT_EQ(VerifyOtp(key, OtpParams().Counter(0), otp.value), CKR_OK);
  EXPECT_EQ(p11_.Find(s_, Template().Text(CKA_OTP_SERVICE_IDENTIFIER, "example.org")),
            std::vector<CK_OBJECT_HANDLE>{key});
  CK_BYTE value[64];
  CK_ATTRIBUTE secret{CKA_VALUE, value, sizeof value};
  EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &secret, 1), CKR_ATTRIBUTE_SENSITIVE);
  const auto refused = [&](const Template& more) { return Generate(more, key); };
  EXPECT_EQ(refused(Template().Ulong(CKA_VALUE_LEN, 15)), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(refused(Template().Ulong(CKA_CLASS, CKO_SECRET_KEY)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(refused(Template().Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(refused(Template().Ulong(CKA_OTP_LENGTH, 5)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(Template().Ulong(CKA_OTP_FORMAT, CK_OTP_FORMAT_HEXADECIMAL)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(Template().Ulong(CKA_OTP_PIN_REQUIREMENT, CK_OTP_PARAM_MANDATORY)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(Template().Raw(CKA_OTP_COUNTER, Bytes(4))), CKR_ATTRIBUTE_VALUE_INVALID);
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_DERIVE, CKA_ENCRYPT, CKA_WRAP})
    EXPECT_EQ(refused(Template().Bool(usage, true)), CKR_TEMPLATE_INCONSISTENT) << usage;
  Template mixed = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_HOTP).Raw(CKA_VALUE, kSecret);
  EXPECT_EQ(f_->C_CreateObject(s_, mixed.data(), mixed.size(), &key), CKR_TEMPLATE_INCONSISTENT);
}

// What could make a password a second time, or any password at all beside the counter.
TEST_F(HotpTest, TheCounterHasNoWayBack) {
  const CK_OBJECT_HANDLE key = Known(Template().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true));
  ASSERT_EQ(Next(key).value, kAppendixD[0]);
  for (const std::uint8_t last : Bytes{0, 1, 9}) {
    Bytes counter(8);
    counter.back() = last;
    Template back = Template().Raw(CKA_OTP_COUNTER, counter);
    EXPECT_EQ(f_->C_SetAttributeValue(s_, key, back.data(), back.size()), CKR_ATTRIBUTE_READ_ONLY);
  }
  CK_OBJECT_HANDLE other = 0;
  EXPECT_EQ(f_->C_CopyObject(s_, key, nullptr, 0, &other), CKR_ACTION_PROHIBITED);
  CK_MECHANISM wrap = M(CKM_AES_KEY_WRAP_KWP), hmac = M(CKM_SHA_1_HMAC);
  CK_BYTE wrapped[128];
  CK_ULONG length = sizeof wrapped;
  const CK_OBJECT_HANDLE kek = Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true));
  if (FlagsOf(wrap.mechanism) != 0) {
    EXPECT_EQ(f_->C_WrapKey(s_, &wrap, kek, key, wrapped, &length), CKR_KEY_NOT_WRAPPABLE);
  }
  EXPECT_EQ(f_->C_SignInit(s_, &hmac, key), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(f_->C_VerifyInit(s_, &hmac, key), CKR_KEY_TYPE_INCONSISTENT);
  CK_KEY_DERIVATION_STRING_DATA data{BytePtr(kText), 16};
  CK_MECHANISM joined{CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data};
  if (FlagsOf(joined.mechanism) != 0) {
    EXPECT_EQ(f_->C_DeriveKey(s_, &joined, key, nullptr, 0, &other), CKR_KEY_FUNCTION_NOT_PERMITTED);
  }
  EXPECT_EQ(CounterOf(key), 1u);
  EXPECT_EQ(Next(key).value, kAppendixD[1]);
}

TEST_F(HotpTest, OtherChangesKeepTheCounter) {
  for (const CK_OBJECT_HANDLE key : {Known(), OnToken()}) {
    ASSERT_EQ(Next(key).counter, 0u);
    Template renamed = Template().Text(CKA_LABEL, managed() ? "renamed, managed" : "renamed");
    ASSERT_EQ(f_->C_SetAttributeValue(s_, key, renamed.data(), renamed.size()), CKR_OK);
    EXPECT_EQ(CounterOf(key), 1u);
    EXPECT_EQ(Next(key).counter, 1u);
    EXPECT_EQ(f_->C_DestroyObject(s_, key), CKR_OK);
    EXPECT_EQ(Next(key).rv, CKR_KEY_HANDLE_INVALID);
  }
}

TEST_F(HotpTest, OneThatWasWrappedAsASecretComesInWithItsCounter) {
  CK_MECHANISM wrap = M(CKM_AES_KEY_WRAP_KWP);
  if (FlagsOf(wrap.mechanism) == 0) wrap = M(CKM_AES_KEY_WRAP_PAD);
  ASSERT_NE(FlagsOf(wrap.mechanism), 0u) << "no device that is tried here lacks both";
  const CK_OBJECT_HANDLE kek = Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true));
  const CK_OBJECT_HANDLE secret = Open(kSecret);
  CK_BYTE wrapped[128];
  CK_ULONG length = sizeof wrapped;
  ASSERT_EQ(f_->C_WrapKey(s_, &wrap, kek, secret, wrapped, &length), CKR_OK);
  Bytes counter(8);
  counter.back() = 4;
  Template t = Otps().Bool(CKA_TOKEN, false).Raw(CKA_OTP_COUNTER, counter);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(f_->C_UnwrapKey(s_, &wrap, kek, wrapped, length, t.data(), t.size(), &key), CKR_OK);
  EXPECT_EQ(Next(key).value, kAppendixD[4]);
}

TEST_F(HotpTest, NoTwoThreadsGetTheSame) {
  constexpr int kThreads = 4, kEach = 8;
  for (const CK_OBJECT_HANDLE key : {Known(), OnToken()}) {
    std::vector<std::vector<std::uint64_t>> got(kThreads);
    std::vector<std::thread> threads;
    for (auto& counters : got) {
      threads.emplace_back([&] {
        CK_SESSION_HANDLE session = 0;
        if (p11_.Open(slot_, session) != CKR_OK) return;
        for (int i = 0; i < kEach; ++i) {
          const Otp otp = Next(session, key);
          if (otp.rv == CKR_OK) counters.push_back(otp.counter);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::set<std::uint64_t> all;
    for (const auto& counters : got) all.insert(counters.begin(), counters.end());
    EXPECT_EQ(all.size(), std::size_t{kThreads * kEach});
    EXPECT_EQ(CounterOf(key), std::uint64_t{kThreads * kEach});
  }
}

}  // namespace
}  // namespace cmkd::tests
