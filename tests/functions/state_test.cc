// C_GetOperationState and C_SetOperationState: a digest or MAC goes on from where it was, in another session or later.
#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

class StateCallsTest : public CallsTest {
 protected:
  Bytes Saved(CK_SESSION_HANDLE session) {
    CK_ULONG length = 0;
    EXPECT_EQ(f_->C_GetOperationState(session, nullptr, &length), CKR_OK);
    Bytes state(length);
    if (length > 1) {
      CK_ULONG little = length - 1;
      EXPECT_EQ(f_->C_GetOperationState(session, state.data(), &little), CKR_BUFFER_TOO_SMALL);
      EXPECT_EQ(little, length);
    }
    EXPECT_EQ(f_->C_GetOperationState(session, state.data(), &length), CKR_OK);
    state.resize(length);
    return state;
  }
  CK_RV Set(CK_SESSION_HANDLE session, const Bytes& state, CK_OBJECT_HANDLE cipher = 0, CK_OBJECT_HANDLE mac = 0) {
    return f_->C_SetOperationState(session, BytePtr(state), state.size(), cipher, mac);
  }
  CK_RV DigestMore(CK_SESSION_HANDLE session, const std::string& text) {
    return f_->C_DigestUpdate(session, BytePtr(ToBytes(AsBytes(text))), text.size());
  }
  // Ends the digest of the session and holds it against that of `text`, made at once.
  bool EndsAs(CK_SESSION_HANDLE session, const Bytes& text) {
    Bytes out(32);
    CK_ULONG length = out.size();
    EXPECT_EQ(f_->C_DigestFinal(session, out.data(), &length), CKR_OK);
    return out == Digest(text);
  }
  static Bytes Of(const std::string& text) { return ToBytes(AsBytes(text)); }
};

TEST_F(StateCallsTest, ADigestGoesOnInTheSameSessionAndInAnother) {
  CK_MECHANISM sha = M(CKM_SHA256);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  ASSERT_EQ(DigestMore(s_, "one "), CKR_OK);
  const Bytes state = Saved(s_);
  ASSERT_EQ(DigestMore(s_, "away "), CKR_OK);
  ASSERT_EQ(Set(s_, state), CKR_OK) << "what is active is cancelled";
  ASSERT_EQ(DigestMore(s_, "two"), CKR_OK);
  EXPECT_TRUE(EndsAs(s_, Of("one two")));
  CK_SESSION_HANDLE other = 0;
  ASSERT_EQ(p11_.Open(slot_, other), CKR_OK);
  ASSERT_EQ(Set(other, state), CKR_OK);
  const Bytes copy = Saved(other);
  ASSERT_EQ(DigestMore(other, "three"), CKR_OK);
  EXPECT_TRUE(EndsAs(other, Of("one three")));
  ASSERT_EQ(Set(other, copy), CKR_OK) << "a state of a state";
  EXPECT_TRUE(EndsAs(other, Of("one ")));
  CK_TOKEN_INFO info{};
  ASSERT_EQ(f_->C_GetTokenInfo(slot_, &info), CKR_OK);
  EXPECT_TRUE((info.flags & CKF_RESTORE_KEY_NOT_NEEDED) != 0);
}

TEST_F(StateCallsTest, AMacGoesOnWithItsKey) {
  const CK_OBJECT_HANDLE key = Open(Bytes(32, 4));
  const CK_OBJECT_HANDLE other = Open(Bytes(32, 5));
  CK_MECHANISM hmac = M(CKM_SHA256_HMAC);
  Bytes mac(32);
  CK_ULONG length = 32;
  const Bytes text = Of("all of it");
  ASSERT_EQ(f_->C_SignInit(s_, &hmac, key), CKR_OK);
  ASSERT_EQ(f_->C_SignUpdate(s_, BytePtr(text), 4), CKR_OK);
  const Bytes state = Saved(s_);
  ASSERT_EQ(f_->C_SessionCancel(s_, CKF_SIGN), CKR_OK);
  EXPECT_EQ(Set(s_, state, key), CKR_KEY_NOT_NEEDED);
  EXPECT_EQ(Set(s_, state, 0, other), CKR_KEY_CHANGED);
  ASSERT_EQ(Set(s_, state, 0, key), CKR_OK);
  ASSERT_EQ(Set(s_, state), CKR_OK);
  ASSERT_EQ(f_->C_SignUpdate(s_, BytePtr(text) + 4, text.size() - 4), CKR_OK);
  ASSERT_EQ(f_->C_SignFinal(s_, mac.data(), &length), CKR_OK);
  EXPECT_EQ(mac, Sign(hmac, key, text));
  ASSERT_EQ(f_->C_VerifyInit(s_, &hmac, key), CKR_OK);
  ASSERT_EQ(f_->C_VerifyUpdate(s_, BytePtr(text), text.size()), CKR_OK);
  const Bytes verifying = Saved(s_);
  ASSERT_EQ(f_->C_VerifyFinal(s_, mac.data(), 32), CKR_OK);
  ASSERT_EQ(Set(s_, verifying), CKR_OK);
  EXPECT_EQ(f_->C_VerifyFinal(s_, mac.data(), 32), CKR_OK);
  ASSERT_EQ(f_->C_DestroyObject(s_, key), CKR_OK);
  EXPECT_EQ(Set(s_, state), CKR_SAVED_STATE_INVALID) << "the key is gone";
}

TEST_F(StateCallsTest, WhatIsNoStateIsRefused) {
  CK_MECHANISM sha = M(CKM_SHA256);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  ASSERT_EQ(DigestMore(s_, "x"), CKR_OK);
  const Bytes state = Saved(s_);
  for (std::size_t at : {std::size_t{0}, std::size_t{1}, state.size() / 2, state.size() - 1}) {
    Bytes forged = state;
    forged[at] = static_cast<std::uint8_t>(forged[at] ^ 0x20);
    EXPECT_EQ(Set(s_, forged), CKR_SAVED_STATE_INVALID);
  }
  EXPECT_EQ(Set(s_, Bytes(state.begin(), state.end() - 1)), CKR_SAVED_STATE_INVALID);
  EXPECT_EQ(Set(s_, {}), CKR_SAVED_STATE_INVALID);
  EXPECT_TRUE(EndsAs(s_, Of("x"))) << "a refused state cancels nothing";
  EXPECT_EQ(Set(s_, state, 0, Open(Bytes(16, 1))), CKR_KEY_NOT_NEEDED);
  // Another kind of session, and after the login has gone.
  CK_SESSION_HANDLE read_only = 0;
  ASSERT_EQ(f_->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &read_only), CKR_OK);
  EXPECT_EQ(Set(read_only, state), CKR_SAVED_STATE_INVALID);
  ASSERT_EQ(f_->C_Logout(s_), CKR_OK);
  EXPECT_EQ(Set(s_, state), CKR_SAVED_STATE_INVALID);
}

TEST_F(StateCallsTest, WhatCannotBeSavedSaysSo) {
  CK_ULONG length = 0;
  EXPECT_EQ(f_->C_GetOperationState(s_, nullptr, &length), CKR_OPERATION_NOT_INITIALIZED);
  Gcm gcm;
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, Aes()), CKR_OK);
  EXPECT_EQ(f_->C_GetOperationState(s_, nullptr, &length), CKR_STATE_UNSAVEABLE);
  ASSERT_EQ(f_->C_SessionCancel(s_, CKF_ENCRYPT), CKR_OK);
  CK_MECHANISM sha = M(CKM_SHA256);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  const Bytes much(std::size_t{300} << 10);
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(much), much.size()), CKR_OK);
  EXPECT_EQ(f_->C_GetOperationState(s_, nullptr, &length), CKR_STATE_UNSAVEABLE);
  EXPECT_TRUE(EndsAs(s_, much)) << "the operation goes on";
}

}  // namespace
}  // namespace cmkd::tests
