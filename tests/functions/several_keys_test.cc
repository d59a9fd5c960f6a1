// SP 800-108 derivations that give several keys through one C_DeriveKey. The answers were made with Python 3.11's hmac
// and cryptography's CMAC by SP 800-108 sections 4.1 to 4.3 and PKCS#11 3.2, "Deriving Additional Keys".
#include "pkcs11/spec/mechanism_parameters.h"
#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

bool Managed() {
  const char* profile = std::getenv("CMKD_TEST_PROFILE");
  return profile != nullptr && std::string(profile) == "managed";
}

class SeveralKeysTest : public CallsTest {
 protected:
  void SetUp() override {
    CallsTest::SetUp();
    if (FlagsOf(CKM_SP800_108_COUNTER_KDF) == 0) {
      ASSERT_FALSE(software());
      GTEST_SKIP() << "the device has no SP 800-108";
    }
    for (std::uint8_t i = 1; i <= 32; ++i) secret_.push_back(i);
    Input(CKM_SP800_108_COUNTER_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  }

  // The parts of the input: a counter, "orders", a zero, and the length of what is derived.
  void Input(CK_MECHANISM_TYPE type, CK_ULONG method, CK_ULONG width = 32, CK_BBOOL little = CK_FALSE) {
    type_ = type;
    length_ = {method, little, width};
    parts_.clear();
    counter_ = {CK_FALSE, type == CKM_SP800_108_FEEDBACK_KDF ? CK_ULONG{8} : CK_ULONG{16}};
    if (type == CKM_SP800_108_COUNTER_KDF) {
      parts_.push_back({CK_SP800_108_ITERATION_VARIABLE, &counter_, sizeof counter_});
    } else {
      parts_.push_back({CK_SP800_108_ITERATION_VARIABLE, nullptr, 0});
    }
    if (type == CKM_SP800_108_FEEDBACK_KDF) parts_.push_back({CK_SP800_108_COUNTER, &counter_, sizeof counter_});
    parts_.push_back({CK_SP800_108_BYTE_ARRAY, label_, sizeof label_});
    parts_.push_back({CK_SP800_108_DKM_LENGTH, &length_, sizeof length_});
  }
  static Template Generic(CK_ULONG bytes) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, bytes);
    return t.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  }
  static Template Mac(CK_ULONG bytes) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, bytes);
    return t.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false).Bool(CKA_SIGN, true);
  }
  CK_OBJECT_HANDLE Base(bool open, Template more = {}, CK_KEY_TYPE type = CKK_GENERIC_SECRET) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Raw(CKA_VALUE, secret_).Bool(CKA_TOKEN, false);
    t.Bool(CKA_SENSITIVE, !open).Bool(CKA_EXTRACTABLE, open).Bool(CKA_DERIVE, true).Add(more);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(f_->C_CreateObject(s_, t.data(), t.size(), &key), CKR_OK);
    return key;
  }
  // Derives a key of each template, the first one by the call's own.
  CK_RV Derive(CK_OBJECT_HANDLE base, std::vector<Template> templates) {
    std::vector<CK_DERIVED_KEY> more;
    keys_.assign(templates.size(), kUntouched);
    for (std::size_t i = 1; i < templates.size(); ++i) {
      more.push_back({templates[i].data(), templates[i].size(), &keys_[i]});
    }
    return Derive(base, templates[0], more);
  }
  CK_RV Derive(CK_OBJECT_HANDLE base, Template first, std::vector<CK_DERIVED_KEY>& more) {
    CK_SP800_108_KDF_PARAMS plain{prf_, parts_.size(), parts_.data(), more.size(), more.data()};
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback{prf_,       parts_.size(), parts_.data(), iv_.size(),
                                              iv_.data(), more.size(),   more.data()};
    CK_MECHANISM m{type_, &plain, sizeof plain};
    if (type_ == CKM_SP800_108_FEEDBACK_KDF) m = {type_, &feedback, sizeof feedback};
    if (keys_.empty()) keys_.push_back(kUntouched);
    return f_->C_DeriveKey(s_, &m, base, first.data(), first.size(), &keys_[0]);
  }
  std::vector<std::string> Values() {
    std::vector<std::string> values;
    for (const CK_OBJECT_HANDLE key : keys_) values.push_back(Hex(Value(key)));
    return values;
  }
  // None is there, and only `refused` is shown as the cause.
  void NoneButRefused(std::size_t before, std::size_t refused) {
    EXPECT_EQ(Objects(), before);
    for (std::size_t i = 1; i < keys_.size(); ++i) {
      EXPECT_EQ(keys_[i], i == refused ? CK_INVALID_HANDLE : kUntouched) << i;
    }
  }

  static constexpr CK_OBJECT_HANDLE kUntouched = 0x5A5A5A5A;
  Bytes secret_, iv_;
  CK_MECHANISM_TYPE type_ = 0, prf_ = CKM_SHA256_HMAC;
  CK_BYTE label_[7] = {'o', 'r', 'd', 'e', 'r', 's', 0};
  CK_SP800_108_COUNTER_FORMAT counter_{};
  CK_SP800_108_DKM_LENGTH_FORMAT length_{};
  std::vector<CK_PRF_DATA_PARAM> parts_;
  std::vector<CK_OBJECT_HANDLE> keys_;
};

// The standard's own example of segments: 48 and 16 bytes, of which the second begins with the third segment.
TEST_F(SeveralKeysTest, ShareNoSegment) {
  ASSERT_EQ(Derive(Base(true), {Generic(48), Generic(16)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"72128bb7b5ef6acf10405618a5393f729e1745783fb0efb2b3fad09ff6dacb2f"
                                                "157d33464ed63f92499dab0b2e92df46",
                                                "2517f4df2db05eabb0b6d3bfba3e83ab"}));
  Input(CKM_SP800_108_COUNTER_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS);
  ASSERT_EQ(Derive(Base(true), {Generic(48), Generic(16)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"b6851d7b71a3e227a57ca0e7162b6461191c4865a45aefca930340ffe406ef30"
                                                "fa52da0460b05cd780884f9ef6813428",
                                                "35a3ed5afb8bdb72e529097baca6ff53"}));
}

TEST_F(SeveralKeysTest, InAllModes) {
  Input(CKM_SP800_108_COUNTER_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, 64, CK_TRUE);
  prf_ = CKM_SHA512_HMAC;
  ASSERT_EQ(Derive(Base(true), {Generic(16), Generic(65), Generic(24), Generic(31)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"ecef385d9075e04ea45ce0ce3d19587a",
                                                "a16ee0f81d9aa6b2744c3e149c5d0f6e1a739a0616305b2d876edfeb51418c89"
                                                "e2cc128ab17d3fe0ad50342b953e94f277b0738fe9240ea45dd37afc1acd6304"
                                                "94",
                                                "3054568b622799ff566b4b476b317cbcd65fe8bc1d664052",
                                                "52c3568f9c68b5364f2e7485748da01379110e7871baa8fd28d8124f5d1cc3"}));
  Input(CKM_SP800_108_FEEDBACK_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  prf_ = CKM_SHA256_HMAC;
  for (std::uint8_t i = 100; i < 116; ++i) iv_.push_back(i);
  ASSERT_EQ(Derive(Base(true), {Generic(16), Generic(40)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{
                          "6ebdb8ad8c477e98c11c8d7c7a65620f",
                          "9802c334a633afad4eeca03a25266ca62c22702e677c70452cac4a142375d39e423dfccc28e108af"}));
  Input(CKM_SP800_108_DOUBLE_PIPELINE_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  prf_ = CKM_SHA384_HMAC;
  ASSERT_EQ(Derive(Base(true), {Generic(32), Generic(16), Generic(48)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"2b23402dd4d944897a7ed0b0b2574266067d4739be9e58087c82a6a8c4d3caa0",
                                                "a0a8883f37e26d40a648e3b4b8b55405",
                                                "b60842f9fe1928369f65076990d2d916665eae7c79733594a62ad06941923bb5"
                                                "c432fb3833c8e8f0f413d6a6de3a85f3"}));
}

TEST_F(SeveralKeysTest, OfAnAesKeyAndOfOtherTypes) {
  Input(CKM_SP800_108_COUNTER_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, 16, CK_TRUE);
  prf_ = CKM_AES_CMAC;
  const CK_OBJECT_HANDLE base = Base(true, Template().Bool(CKA_ENCRYPT, false).Bool(CKA_DECRYPT, false), CKK_AES);
  Template second;
  second.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Ulong(CKA_VALUE_LEN, 32);
  second.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  ASSERT_EQ(Derive(base, {Generic(16), second, Generic(20)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"f2d1f0b40d89877aa45f0b83b1c48ae7",
                                                "71e97c20f701da56ad62c73529cb59dd4249fe3a12b68f8651e258ff3343938c",
                                                "d5918fd497e5f4217ff2fed560754a5680c9214f"}));
  CK_ULONG type = 0;
  CK_ATTRIBUTE wanted{CKA_KEY_TYPE, &type, sizeof type};
  EXPECT_EQ(f_->C_GetAttributeValue(s_, keys_[1], &wanted, 1), CKR_OK);
  EXPECT_EQ(type, CKK_AES);
  EXPECT_TRUE(Is(keys_[1], CKA_ENCRYPT) || Managed());
}

// A key that stays derives what an open one derives, and each of the keys works.
TEST_F(SeveralKeysTest, WorkAlsoWhenTheyStayInside) {
  ASSERT_EQ(Derive(Base(false), {Mac(32), Mac(32), Mac(20)}), CKR_OK);
  const std::vector<CK_OBJECT_HANDLE> inside = keys_;
  ASSERT_EQ(Derive(Base(true), {Generic(32), Generic(32), Generic(20)}), CKR_OK);
  for (std::size_t i = 0; i < inside.size(); ++i) {
    EXPECT_TRUE(Is(inside[i], CKA_SENSITIVE) && !Is(inside[i], CKA_EXTRACTABLE)) << i;
    EXPECT_FALSE(Is(inside[i], CKA_LOCAL)) << i;
    EXPECT_EQ(Sign(M(CKM_SHA256_HMAC), inside[i], kText), Sign(M(CKM_SHA256_HMAC), keys_[i], kText)) << i;
  }
}

// "If omitted, these attributes each take on the value … of the base key", for each key by itself.
TEST_F(SeveralKeysTest, EachInheritsWhatItsTemplateDoesNotSay) {
  const auto silent = [] {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, 32);
    return t.Bool(CKA_TOKEN, false);
  };
  ASSERT_EQ(Derive(Base(false), {silent(), silent(), Mac(32)}), CKR_OK);
  for (const CK_OBJECT_HANDLE key : keys_) {
    EXPECT_TRUE(Is(key, CKA_SENSITIVE));
    EXPECT_FALSE(Is(key, CKA_EXTRACTABLE));
  }
}

TEST_F(SeveralKeysTest, NoneIsOpenerThanItsBase) {
  const CK_OBJECT_HANDLE base = Base(false);
  const std::size_t before = Objects();
  EXPECT_EQ(Derive(base, {Mac(32), Generic(32)}), CKR_TEMPLATE_INCONSISTENT);
  NoneButRefused(before, 1);
  EXPECT_EQ(Derive(base, {Generic(32), Mac(32)}), CKR_TEMPLATE_INCONSISTENT);
  NoneButRefused(before, 0);
}

TEST_F(SeveralKeysTest, TheDeriveTemplateHoldsForAll) {
  Template forced;
  forced.Bool(CKA_SIGN, true).Bool(CKA_EXTRACTABLE, false);
  CK_ATTRIBUTE all{CKA_DERIVE_TEMPLATE, forced.data(), forced.size() * sizeof(CK_ATTRIBUTE)};
  Template t;
  t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Raw(CKA_VALUE, secret_);
  t.Bool(CKA_TOKEN, false).Bool(CKA_DERIVE, true);
  std::vector<CK_ATTRIBUTE> list(t.data(), t.data() + t.size());
  list.push_back(all);
  CK_OBJECT_HANDLE base = 0;
  ASSERT_EQ(f_->C_CreateObject(s_, list.data(), list.size(), &base), CKR_OK);
  const auto silent = [] { return Template().Ulong(CKA_VALUE_LEN, 32).Bool(CKA_TOKEN, false); };
  ASSERT_EQ(Derive(base, {silent(), silent()}), CKR_OK);
  for (const CK_OBJECT_HANDLE key : keys_) {
    EXPECT_TRUE(Is(key, CKA_SIGN));
    EXPECT_FALSE(Is(key, CKA_EXTRACTABLE));
  }
  const std::size_t before = Objects();
  EXPECT_EQ(Derive(base, {silent(), silent(), silent().Bool(CKA_EXTRACTABLE, true)}), CKR_TEMPLATE_INCONSISTENT);
  NoneButRefused(before, 2);
}

TEST_F(SeveralKeysTest, AllOrNone) {
  const CK_OBJECT_HANDLE base = Base(true);
  const std::size_t before = Objects();
  const auto third = [&](Template bad, CK_RV rv) {
    EXPECT_EQ(Derive(base, {Generic(32), Generic(32), Generic(32), std::move(bad), Generic(16)}), rv);
    NoneButRefused(before, 3);
  };
  third(Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Bool(CKA_TOKEN, false), CKR_TEMPLATE_INCOMPLETE);
  third(Template(Generic(32)).Ulong(CKA_MODULUS_BITS, 2048), CKR_ATTRIBUTE_TYPE_INVALID);
  third(Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_VALUE_LEN, 32), CKR_TEMPLATE_INCONSISTENT);
  third(Template().Ulong(CKA_KEY_TYPE, CKK_AES).Ulong(CKA_VALUE_LEN, 17).Bool(CKA_TOKEN, false), CKR_KEY_SIZE_RANGE);
  third(Template().Ulong(CKA_VALUE_LEN, CK_UNAVAILABLE_INFORMATION).Bool(CKA_TOKEN, false), CKR_KEY_SIZE_RANGE);
  third(Template(Generic(1)), CKR_KEY_SIZE_RANGE);
  // Found only when the key is there.
  third(Template(Generic(32)).Raw(CKA_CHECK_VALUE, {1, 2, 3}), CKR_ATTRIBUTE_VALUE_INVALID);
  // More than the device makes in one go: nobody's fault alone.
  EXPECT_EQ(Derive(base, {Generic(4000), Generic(4000)}), CKR_KEY_SIZE_RANGE);
  NoneButRefused(before, 0);
}

TEST_F(SeveralKeysTest, OnTheTokenToo) {
  const auto stored = [](const char* label) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, 32);
    t.Text(CKA_LABEL, label).Bool(CKA_TOKEN, true).Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false);
    return t.Bool(CKA_SIGN, true);
  };
  const CK_OBJECT_HANDLE base = Base(false);
  const std::size_t before = Objects();
  // The one that is refused is the last one, and others would be stored by then.
  EXPECT_EQ(Derive(base, {stored("a"), stored("b"), Mac(32), stored("c").Raw(CKA_CHECK_VALUE, {1, 2, 3})}),
            CKR_ATTRIBUTE_VALUE_INVALID);
  NoneButRefused(before, 3);
  if (Managed()) {
    EXPECT_EQ(Derive(base, {stored("a"), Mac(32), stored("b"), stored("a")}), CKR_ATTRIBUTE_VALUE_INVALID)
        << "a label is one key's";
    NoneButRefused(before, 3);
  }
  ASSERT_EQ(Derive(base, {stored("a"), Mac(32), stored("b")}), CKR_OK);
  EXPECT_EQ(Objects(), before + 3);
  EXPECT_TRUE(Is(keys_[0], CKA_TOKEN) && !Is(keys_[1], CKA_TOKEN) && Is(keys_[2], CKA_TOKEN));
  const std::vector<CK_OBJECT_HANDLE> made = keys_;
  ASSERT_EQ(Derive(Base(true), {Generic(32), Generic(32), Generic(32)}), CKR_OK);
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_EQ(Sign(M(CKM_SHA256_HMAC), made[i], kText), Sign(M(CKM_SHA256_HMAC), keys_[i], kText)) << i;
    EXPECT_EQ(f_->C_DestroyObject(s_, made[i]), CKR_OK);
  }
}

TEST_F(SeveralKeysTest, TheParameterIsBounded) {
  const CK_OBJECT_HANDLE base = Base(true);
  const std::size_t before = Objects();
  std::vector<Template> most(1 + spec::kAdditionalKeysMax, Generic(16));
  EXPECT_EQ(Derive(base, most), CKR_OK);
  EXPECT_EQ(Objects(), before + most.size());
  most.push_back(Generic(16));
  EXPECT_EQ(Derive(base, most), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(Objects(), before + most.size() - 1);
}

TEST_F(SeveralKeysTest, RefuseAParameterThatIsNone) {
  const CK_OBJECT_HANDLE base = Base(true);
  const std::size_t before = Objects();
  CK_OBJECT_HANDLE handle = kUntouched;
  Template good = Generic(16);
  CK_ATTRIBUTE hollow{CKA_LABEL, nullptr, 4};
  CK_BYTE byte = 0;
  CK_ATTRIBUTE inner{CKA_LABEL, nullptr, 4};
  CK_ATTRIBUTE nested{CKA_WRAP_TEMPLATE, &inner, sizeof inner}, odd{CKA_WRAP_TEMPLATE, &inner, sizeof inner - 1};
  CK_ATTRIBUTE endless{CKA_LABEL, &byte, CK_UNAVAILABLE_INFORMATION};
  for (CK_DERIVED_KEY key :
       {CK_DERIVED_KEY{good.data(), good.size(), nullptr}, CK_DERIVED_KEY{nullptr, 3, &handle},
        CK_DERIVED_KEY{good.data(), CK_UNAVAILABLE_INFORMATION, &handle}, CK_DERIVED_KEY{&hollow, 1, &handle},
        CK_DERIVED_KEY{&nested, 1, &handle}, CK_DERIVED_KEY{&odd, 1, &handle}, CK_DERIVED_KEY{&endless, 1, &handle}}) {
    std::vector<CK_DERIVED_KEY> more{key};
    EXPECT_EQ(Derive(base, Generic(16), more), CKR_MECHANISM_PARAM_INVALID);
  }
  CK_SP800_108_KDF_PARAMS parameter{prf_, parts_.size(), parts_.data(), 2, nullptr};
  CK_MECHANISM m{type_, &parameter, sizeof parameter};
  EXPECT_EQ(f_->C_DeriveKey(s_, &m, base, good.data(), good.size(), &handle), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(handle, kUntouched);
  EXPECT_EQ(Objects(), before);
}

// ---- Keys as parts of the input (CK_SP800_108_KEY_HANDLE)

class KeysInInputTest : public SeveralKeysTest {
 protected:
  // A key to be put into the input: `bytes` that count up from `first`.
  CK_OBJECT_HANDLE Other(std::uint8_t first, std::size_t bytes, bool open = true, bool derives = true) {
    Bytes value;
    while (value.size() < bytes) value.push_back(static_cast<std::uint8_t>(first + value.size()));
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Raw(CKA_VALUE, value);
    t.Bool(CKA_TOKEN, false).Bool(CKA_SENSITIVE, !open).Bool(CKA_EXTRACTABLE, open).Bool(CKA_DERIVE, derives);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(f_->C_CreateObject(s_, t.data(), t.size(), &key), CKR_OK);
    return key;
  }
  void Put(const CK_OBJECT_HANDLE& key) {
    parts_.push_back({CK_SP800_108_KEY_HANDLE, const_cast<CK_OBJECT_HANDLE*>(&key), sizeof key});
  }
};

TEST_F(KeysInInputTest, TheirValuesAreInTheInput) {
  const CK_OBJECT_HANDLE a = Other(0x40, 16), b = Other(0x80, 32);
  Put(a);
  ASSERT_EQ(Derive(Base(true), {Generic(40)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"8a9d041e072409a2d29f61bbf77fd35641a0d7ea5b4655b4662ce37d04b0fd72"
                                                "f5ca40313de7aae8"}));
  Put(b);
  Put(a);
  const CK_OBJECT_HANDLE before = a;
  ASSERT_EQ(Derive(Base(true), {Generic(40)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"066ea0849e4a80e905d22695931446a10639440d3700f6d8d9e2645ce4a2726b"
                                                "2819a8b907424215"}));
  EXPECT_EQ(a, before) << "the parameter is the caller's";

  Input(CKM_SP800_108_COUNTER_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  Put(b);
  ASSERT_EQ(Derive(Base(true), {Generic(48), Generic(16)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"8c7a05bb0c2c82fae6516d720d6faf9fe18524b4eca7e9d0be300ea4b4fee2ff"
                                                "f3663f3a0775742336c9a9b8aacbf5ed",
                                                "7ffdabc859c1abc447b09ff761f2e867"}));

  Input(CKM_SP800_108_FEEDBACK_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  for (std::uint8_t i = 100; i < 116; ++i) iv_.push_back(i);
  Put(a);
  Put(b);
  ASSERT_EQ(Derive(Base(true), {Generic(40)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"fb631ae3242a0db28a6a461d4dd1121297b4e59c2dada7a9e0e153dcfccfec5b"
                                                "6defd7502545a00b"}));

  Input(CKM_SP800_108_DOUBLE_PIPELINE_KDF, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
  Put(a);
  Put(b);
  ASSERT_EQ(Derive(Base(true), {Generic(40)}), CKR_OK);
  EXPECT_EQ(Values(), (std::vector<std::string>{"d1c26a8ea9c019a76ad335afec1816f3db7f6e742771461dd12eb3d66221170f"
                                                "9d8bc28c3cbcb36a"}));
}

// With CMAC whoever knows the base key can compute backwards from what is derived, to a key in the input.
TEST_F(KeysInInputTest, WhatIsDerivedIsAsSecretAsTheyAre) {
  const CK_OBJECT_HANDLE inside = Other(0x40, 16, false), open = Other(0x80, 16);
  Put(open);
  Put(inside);
  const std::size_t before = Objects();
  for (const bool cmac : {false, true}) {
    prf_ = cmac ? CKM_AES_CMAC : CKM_SHA256_HMAC;
    const Template uses = Template().Bool(CKA_ENCRYPT, false).Bool(CKA_DECRYPT, false);
    const CK_OBJECT_HANDLE base = cmac ? Base(true, uses, CKK_AES) : Base(true);
    const std::size_t objects = Objects();
    EXPECT_EQ(Derive(base, {Generic(32)}), CKR_TEMPLATE_INCONSISTENT);
    EXPECT_EQ(Derive(base, {Mac(32), Generic(32)}), CKR_TEMPLATE_INCONSISTENT);
    EXPECT_EQ(Objects(), objects);
    ASSERT_EQ(Derive(base, {Mac(32), Mac(32)}), CKR_OK);
    for (const CK_OBJECT_HANDLE key : keys_) EXPECT_TRUE(Is(key, CKA_SENSITIVE) && !Is(key, CKA_EXTRACTABLE));
  }
  EXPECT_EQ(Objects(), before + 6);
}

TEST_F(KeysInInputTest, OnlyKeysThatDeriveAreTaken) {
  const CK_OBJECT_HANDLE base = Base(true), good = Other(0x40, 16);
  const CK_OBJECT_HANDLE idle = Other(0x40, 16, true, false), nothing = 0x00FFFFFF;
  const std::size_t before = Objects();
  const auto parts = parts_;
  const auto refused = [&](const CK_OBJECT_HANDLE& last, CK_RV rv) {
    for (const bool several : {false, true}) {
      parts_ = parts;
      Put(good);
      Put(last);
      EXPECT_EQ(several ? Derive(base, {Generic(32), Generic(32)}) : Derive(base, {Generic(32)}), rv) << several;
      EXPECT_EQ(keys_.back(), kUntouched);
    }
  };
  refused(idle, CKR_KEY_FUNCTION_NOT_PERMITTED);
  refused(nothing, CKR_KEY_HANDLE_INVALID);
  parts_ = parts;
  Put(good);
  parts_.back().ulValueLen = 4;
  EXPECT_EQ(Derive(base, {Generic(32)}), CKR_MECHANISM_PARAM_INVALID);
  parts_.back() = {CK_SP800_108_KEY_HANDLE, nullptr, 0};
  EXPECT_EQ(Derive(base, {Generic(32)}), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(Objects(), before);
}

}  // namespace
}  // namespace cmkd::tests
