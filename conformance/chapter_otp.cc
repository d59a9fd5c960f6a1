// One-time passwords (PKCS#11 3.2, "OATH HOTP"): the answers of RFC 4226 appendix D, and where CK_OTP_SIGNATURE_INFO
// and what it leads to may stand.
#include "conformance/keys.h"
#include "conformance/plan.h"
#include "conformance/read.h"

namespace cmkd::conformance {
namespace {

constexpr std::string_view kAppendixD[] = {"755224", "287082", "359152"};

CK_OTP_PARAMS none{nullptr, 0};
const CK_MECHANISM kNext{CKM_HOTP, &none, sizeof none};
CK_MECHANISM_PTR Next() { return const_cast<CK_MECHANISM_PTR>(&kNext); }

// A mechanism whose counter is given.
struct WithCounter {
  explicit WithCounter(CK_BYTE counter) : bytes{0, 0, 0, 0, 0, 0, 0, counter} {}
  WithCounter(const WithCounter&) = delete;
  WithCounter& operator=(const WithCounter&) = delete;
  CK_BYTE bytes[8];
  CK_OTP_PARAM param{CK_OTP_COUNTER, bytes, sizeof bytes};
  CK_OTP_PARAMS params{&param, 1};
  CK_MECHANISM mechanism{CKM_HOTP, &params, sizeof params};
};

bool MakeKey(Trial& t, CK_OBJECT_HANDLE& key) {
  Template wanted;
  wanted.Ulong(CKA_CLASS, CKO_OTP_KEY).Ulong(CKA_KEY_TYPE, CKK_HOTP).Bool(CKA_TOKEN, false);
  wanted.Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true).Ulong(CKA_OTP_LENGTH, 6);
  wanted.Raw(CKA_OTP_COUNTER, Bytes(8)).Text(CKA_VALUE, "12345678901234567890");
  return WANT(t, CKR_OK, t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &key));
}

// CK_OTP_VALUE in the output, all of which must be inside it.
std::string ValueIn(Trial& t, ByteView output) {
  const auto inside = [&](const void* at, CK_ULONG bytes) {
    const auto* first = static_cast<const std::uint8_t*>(at);
    return first >= output.data() && bytes <= output.size() && first + bytes <= output.data() + output.size();
  };
  CK_OTP_SIGNATURE_INFO info{};
  if (!t.Check(output.size() >= sizeof info, "a CK_OTP_SIGNATURE_INFO fits")) return {};
  std::memcpy(&info, output.data(), sizeof info);
  if (!t.Check(info.ulCount < 16 && inside(info.pParams, info.ulCount * sizeof(CK_OTP_PARAM)),
               "the parameters are in the buffer"))
    return {};
  std::string value;
  for (CK_ULONG i = 0; i < info.ulCount; ++i) {
    const CK_OTP_PARAM& param = info.pParams[i];
    if (!t.Check(inside(param.pValue, param.ulValueLen), "the values are in the buffer")) return {};
    if (param.type == CK_OTP_VALUE) value.assign(static_cast<const char*>(param.pValue), param.ulValueLen);
  }
  return value;
}

void KnownAnswers(Trial& t) {
  CK_OBJECT_HANDLE key = 0;
  if (!MakeKey(t, key)) return;
  for (const std::string_view expected : kAppendixD) {
    NEED(t, CKR_OK, t.p11->C_SignInit(t.session, Next(), key));
    CK_ULONG length = 0;
    NEED(t, CKR_OK, t.p11->C_Sign(t.session, nullptr, 0, nullptr, &length));
    std::vector<CK_ULONG> room((length + sizeof(CK_ULONG)) / sizeof(CK_ULONG));
    auto* output = reinterpret_cast<CK_BYTE*>(room.data());
    CK_ULONG small = length - 1;
    WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_Sign(t.session, nullptr, 0, output, &small));
    NEED(t, CKR_OK, t.p11->C_Sign(t.session, nullptr, 0, output, &length));
    t.Check(ValueIn(t, {output, length}) == expected, "the value is that of RFC 4226 appendix D");
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_Sign(t.session, nullptr, 0, output, &length));
  }
  const auto counter = Read(t, key, CKA_OTP_COUNTER);
  t.Check(counter && counter->size() == 8 && counter->back() == std::size(kAppendixD),
          "the counter has moved with them");
}

void Verifies(Trial& t) {
  CK_OBJECT_HANDLE key = 0;
  if (!MakeKey(t, key)) return;
  const auto verify = [&](CK_BYTE counter, std::string_view value) {
    WithCounter with(counter);
    const CK_RV rv = t.p11->C_VerifyInit(t.session, &with.mechanism, key);
    return rv == CKR_OK ? t.p11->C_Verify(t.session, nullptr, 0, Ptr(AsBytes(value)), value.size()) : rv;
  };
  for (CK_BYTE i = 0; i < std::size(kAppendixD); ++i) {
    t.Expect(verify(i, kAppendixD[i]), {CKR_OK}, "C_Verify");
    t.Expect(verify(static_cast<CK_BYTE>(i + 1), kAppendixD[i]), {CKR_SIGNATURE_INVALID}, "C_Verify");
  }
  t.Expect(verify(0, "75522"), {CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE}, "C_Verify");
  WANT(t, CKR_MECHANISM_PARAM_INVALID, t.p11->C_VerifyInit(t.session, Next(), key));
}

void Refuses(Trial& t) {
  CK_OBJECT_HANDLE key = 0;
  if (!MakeKey(t, key)) return;
  CK_MECHANISM bare{CKM_HOTP, nullptr, 0}, hmac{CKM_SHA_1_HMAC, nullptr, 0};
  WANT(t, CKR_MECHANISM_PARAM_INVALID, t.p11->C_SignInit(t.session, &bare, key));
  WithCounter cut(1);
  cut.param.ulValueLen = 7;
  WANT(t, CKR_MECHANISM_PARAM_INVALID, t.p11->C_SignInit(t.session, &cut.mechanism, key));
  WANT_ONE(t, (CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID), t.p11->C_SignInit(t.session, &hmac, key));
  const auto other = t.keys.Get(CKK_GENERIC_SECRET, Purpose::kSign);
  if (!other.ok()) return t.NotOffered(other.error());
  WANT(t, CKR_KEY_TYPE_INCONSISTENT, t.p11->C_SignInit(t.session, Next(), other->second));
}

}  // namespace

void AddOneTimePasswords(Plan& plan) {
  plan.Chapter("one-time passwords", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.type != CKM_HOTP || !offer.Does(CKF_SIGN | CKF_VERIFY)) continue;
    plan.AddFor("CKM_HOTP", "C_Sign", "known-answer", KnownAnswers);
    plan.AddFor("CKM_HOTP", "C_Verify", "accepts-and-refuses", Verifies);
    plan.AddFor("CKM_HOTP", "C_SignInit", "refuses", Refuses);
  }
}

}  // namespace cmkd::conformance
