// Calls of 2.40 that few tokens have (DigestKey, recovery, two operations at once), C_VerifySignature of 3.2, and the
// rules of order and of buffers that hold for all.
#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

using OperationCallsTest = CallsTest;

Bytes Joined(const Bytes& a, const Bytes& b) {
  Bytes all = a;
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

// ---- C_DigestKey

TEST_F(OperationCallsTest, DigestKeyTakesTheValueOfAKeyThatMayBeRead) {
  const Bytes value(20, 0x5A);
  CK_MECHANISM m = M(CKM_SHA256);
  Bytes out(32);
  CK_ULONG length = out.size();
  ASSERT_EQ(f_->C_DigestInit(s_, &m), CKR_OK);
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(kText), kText.size()), CKR_OK);
  ASSERT_EQ(f_->C_DigestKey(s_, Open(value)), CKR_OK);
  ASSERT_EQ(f_->C_DigestFinal(s_, out.data(), &length), CKR_OK);
  EXPECT_EQ(out, Digest(Joined(kText, value)));
}

TEST_F(OperationCallsTest, DigestKeyRefusesSecretsAndEndsTheDigest) {
  CK_MECHANISM m = M(CKM_SHA256);
  const CK_OBJECT_HANDLE sensitive = Aes(Template().Bool(CKA_SENSITIVE, true));
  ASSERT_EQ(f_->C_DigestInit(s_, &m), CKR_OK);
  EXPECT_EQ(f_->C_DigestKey(s_, sensitive), CKR_KEY_INDIGESTIBLE);
  EXPECT_EQ(f_->C_DigestUpdate(s_, BytePtr(kText), kText.size()), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_DigestKey(s_, sensitive), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_DigestInit(s_, &m), CKR_OK);
  EXPECT_EQ(f_->C_DigestKey(s_, 0x7777777), CKR_KEY_HANDLE_INVALID);
}

// ---- Recovery

TEST_F(OperationCallsTest, WhatIsSignedWithRecoveryComesOutOfTheSignature) {
  const Pair rsa = Rsa();
  CK_MECHANISM m = M(CKM_RSA_PKCS);
  Bytes signature(256);
  CK_ULONG length = 0;
  ASSERT_EQ(f_->C_SignRecoverInit(s_, &m, rsa.private_key), CKR_OK);
  ASSERT_EQ(f_->C_SignRecover(s_, BytePtr(kText), kText.size(), nullptr, &length), CKR_OK);
  EXPECT_EQ(length, 256u);
  length = 255;
  ASSERT_EQ(f_->C_SignRecover(s_, BytePtr(kText), kText.size(), signature.data(), &length), CKR_BUFFER_TOO_SMALL);
  ASSERT_EQ(f_->C_SignRecover(s_, BytePtr(kText), kText.size(), signature.data(), &length), CKR_OK);
  EXPECT_EQ(f_->C_SignRecover(s_, BytePtr(kText), kText.size(), signature.data(), &length),
            CKR_OPERATION_NOT_INITIALIZED);

  Bytes data(256);
  ASSERT_EQ(f_->C_VerifyRecoverInit(s_, &m, rsa.public_key), CKR_OK);
  ASSERT_EQ(f_->C_VerifyRecover(s_, signature.data(), 256, nullptr, &length), CKR_OK);
  EXPECT_GE(length, kText.size());
  length = 3;
  ASSERT_EQ(f_->C_VerifyRecover(s_, signature.data(), 256, data.data(), &length), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(length, kText.size());
  ASSERT_EQ(f_->C_VerifyRecover(s_, signature.data(), 256, data.data(), &length), CKR_OK);
  data.resize(length);
  EXPECT_EQ(data, kText);

  signature[17] = static_cast<std::uint8_t>(signature[17] ^ 1);
  length = 256;
  data.resize(256);
  ASSERT_EQ(f_->C_VerifyRecoverInit(s_, &m, rsa.public_key), CKR_OK);
  EXPECT_EQ(f_->C_VerifyRecover(s_, signature.data(), 256, data.data(), &length), CKR_SIGNATURE_INVALID);
  ASSERT_EQ(f_->C_VerifyRecoverInit(s_, &m, rsa.public_key), CKR_OK);
  EXPECT_EQ(f_->C_VerifyRecover(s_, signature.data(), 255, data.data(), &length), CKR_SIGNATURE_LEN_RANGE);
  CK_MECHANISM other = M(CKM_SHA256_RSA_PKCS);
  EXPECT_EQ(f_->C_SignRecoverInit(s_, &other, rsa.private_key), CKR_MECHANISM_INVALID);
}

// ---- C_VerifySignature

TEST_F(OperationCallsTest, TheSignatureMayComeFirst) {
  const Pair rsa = Rsa();
  CK_MECHANISM m = M(CKM_SHA256_RSA_PKCS);
  Bytes signature = Sign(m, rsa.private_key, kText);
  const auto init = [&] {
    return f_->C_VerifySignatureInit(s_, &m, rsa.public_key, signature.data(), signature.size());
  };
  ASSERT_EQ(init(), CKR_OK);
  EXPECT_EQ(init(), CKR_OPERATION_ACTIVE);
  EXPECT_EQ(f_->C_VerifySignature(s_, BytePtr(kText), kText.size()), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignature(s_, BytePtr(kText), kText.size()), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(init(), CKR_OK);
  for (const std::uint8_t& byte : kText) {
    ASSERT_EQ(f_->C_VerifySignatureUpdate(s_, const_cast<CK_BYTE_PTR>(&byte), 1), CKR_OK);
  }
  EXPECT_EQ(f_->C_VerifySignatureFinal(s_), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignatureFinal(s_), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(init(), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignatureInit(s_, nullptr, 0, nullptr, 0), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignatureFinal(s_), CKR_OPERATION_NOT_INITIALIZED);
  signature[0] = static_cast<std::uint8_t>(signature[0] ^ 1);
  ASSERT_EQ(init(), CKR_OK);
  EXPECT_EQ(f_->C_VerifySignature(s_, BytePtr(kText), kText.size()), CKR_SIGNATURE_INVALID);
}

// ---- Two operations at once

struct Cbc {
  CK_BYTE iv[16] = {9, 9, 9};
  CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv, sizeof iv};
};

TEST_F(OperationCallsTest, DigestAndEncryptionShareTheirData) {
  const CK_OBJECT_HANDLE key = Aes();
  Cbc cbc;
  CK_MECHANISM sha = M(CKM_SHA256);
  Bytes sealed(128), opened(128), digest(32);
  CK_ULONG first = 0, rest = 0, length = 32;
  ASSERT_EQ(f_->C_EncryptInit(s_, &cbc.mechanism, key), CKR_OK);
  EXPECT_EQ(f_->C_DigestEncryptUpdate(s_, BytePtr(kText), kText.size(), sealed.data(), &(first = 128)),
            CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_EncryptInit(s_, &cbc.mechanism, key), CKR_OK) << "the error ended the encryption";
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  // Neither asking nor failing for want of room passes anything on.
  ASSERT_EQ(f_->C_DigestEncryptUpdate(s_, BytePtr(kText), kText.size(), nullptr, &first), CKR_OK);
  EXPECT_GE(first, 32u);
  first = 1;
  ASSERT_EQ(f_->C_DigestEncryptUpdate(s_, BytePtr(kText), kText.size(), sealed.data(), &first), CKR_BUFFER_TOO_SMALL);
  first = 128;
  ASSERT_EQ(f_->C_DigestEncryptUpdate(s_, BytePtr(kText), kText.size(), sealed.data(), &first), CKR_OK);
  rest = 128 - first;
  ASSERT_EQ(f_->C_EncryptFinal(s_, sealed.data() + first, &rest), CKR_OK);
  ASSERT_EQ(f_->C_DigestFinal(s_, digest.data(), &length), CKR_OK);
  EXPECT_EQ(digest, Digest(kText));

  sealed.resize(first + rest);
  ASSERT_EQ(f_->C_DecryptInit(s_, &cbc.mechanism, key), CKR_OK);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  first = 128;
  ASSERT_EQ(f_->C_DecryptDigestUpdate(s_, sealed.data(), sealed.size(), opened.data(), &first), CKR_OK);
  rest = 128 - first;
  ASSERT_EQ(f_->C_DecryptFinal(s_, opened.data() + first, &rest), CKR_OK);
  ASSERT_EQ(f_->C_DigestUpdate(s_, opened.data() + first, rest), CKR_OK) << "the last block comes with Final";
  length = 32;
  ASSERT_EQ(f_->C_DigestFinal(s_, digest.data(), &length), CKR_OK);
  opened.resize(first + rest);
  EXPECT_EQ(opened, kText);
  EXPECT_EQ(digest, Digest(kText));
}

TEST_F(OperationCallsTest, SignatureAndEncryptionShareTheirData) {
  const CK_OBJECT_HANDLE key = Aes();
  const CK_OBJECT_HANDLE mac_key = Open(Bytes(32, 7));
  Cbc cbc;
  CK_MECHANISM hmac = M(CKM_SHA256_HMAC);
  const Bytes text(64, 0x42);
  Bytes sealed(128), opened(128), mac(32);
  CK_ULONG first = 128, rest = 0, length = 32;
  ASSERT_EQ(f_->C_EncryptInit(s_, &cbc.mechanism, key), CKR_OK);
  ASSERT_EQ(f_->C_SignInit(s_, &hmac, mac_key), CKR_OK);
  ASSERT_EQ(f_->C_SignEncryptUpdate(s_, BytePtr(text), text.size(), sealed.data(), &first), CKR_OK);
  rest = 128 - first;
  ASSERT_EQ(f_->C_EncryptFinal(s_, sealed.data() + first, &rest), CKR_OK);
  ASSERT_EQ(f_->C_SignFinal(s_, mac.data(), &length), CKR_OK);
  EXPECT_EQ(Verify(hmac, mac_key, text, mac), CKR_OK);

  ASSERT_EQ(f_->C_DecryptInit(s_, &cbc.mechanism, key), CKR_OK);
  ASSERT_EQ(f_->C_VerifyInit(s_, &hmac, mac_key), CKR_OK);
  CK_ULONG given = 128;
  ASSERT_EQ(f_->C_DecryptVerifyUpdate(s_, sealed.data(), first + rest, opened.data(), &given), CKR_OK);
  CK_ULONG last = 128 - given;
  ASSERT_EQ(f_->C_DecryptFinal(s_, opened.data() + given, &last), CKR_OK);
  if (last != 0) {
    ASSERT_EQ(f_->C_VerifyUpdate(s_, opened.data() + given, last), CKR_OK);
  }
  EXPECT_EQ(f_->C_VerifyFinal(s_, mac.data(), mac.size()), CKR_OK);
}

// ---- Order and buffers

TEST_F(OperationCallsTest, AFailedOnePartCallEndsTheOperationAlsoWhenTheModuleRefusedIt) {
  const CK_OBJECT_HANDLE key = Aes();
  Gcm gcm;
  Bytes out(64);
  CK_ULONG length = out.size();
  CK_MECHANISM sha = M(CKM_SHA256);
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
  EXPECT_EQ(f_->C_Encrypt(s_, nullptr, 5, out.data(), &length), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_Encrypt(s_, out.data(), 5, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
  EXPECT_EQ(f_->C_Encrypt(s_, out.data(), 5, out.data(), nullptr), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_EncryptFinal(s_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  EXPECT_EQ(f_->C_DigestUpdate(s_, nullptr, 5), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_DigestUpdate(s_, out.data(), 5), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_DecryptInit(s_, &gcm.mechanism, key), CKR_OK);
  length = out.size();
  EXPECT_NE(f_->C_Decrypt(s_, out.data(), 40, out.data(), &length), CKR_OK);
  EXPECT_EQ(f_->C_Decrypt(s_, out.data(), 40, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationCallsTest, AFailedInitLeavesNothingActive) {
  CK_MECHANISM wrong = M(CKM_SHA256_RSA_PKCS);
  Gcm gcm;
  Bytes out(64);
  CK_ULONG length = out.size();
  const CK_OBJECT_HANDLE key = Aes();
  EXPECT_EQ(f_->C_EncryptInit(s_, &wrong, key), CKR_MECHANISM_INVALID);
  EXPECT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, 0x7777777), CKR_KEY_HANDLE_INVALID);
  CK_MECHANISM no_parameter = M(CKM_AES_GCM);
  EXPECT_EQ(f_->C_EncryptInit(s_, &no_parameter, key), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(f_->C_Encrypt(s_, out.data(), 5, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_SignInit(s_, &wrong, key), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(f_->C_SignFinal(s_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
}

TEST_F(OperationCallsTest, AnOperationInPartsIsNotDoneAtOnce) {
  CK_MECHANISM sha = M(CKM_SHA256);
  Bytes out(64);
  CK_ULONG length = out.size();
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  EXPECT_EQ(f_->C_DigestInit(s_, &sha), CKR_OPERATION_ACTIVE);
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(kText), kText.size()), CKR_OK);
  EXPECT_EQ(f_->C_Digest(s_, BytePtr(kText), kText.size(), out.data(), &length), CKR_OPERATION_ACTIVE);
  EXPECT_EQ(f_->C_DigestFinal(s_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationCallsTest, BuffersThatJustFitWillDoForEveryPart) {
  const CK_OBJECT_HANDLE key = Aes();
  Cbc cbc;
  const Bytes text(48, 0x11);
  Bytes sealed, opened;
  ASSERT_EQ(f_->C_EncryptInit(s_, &cbc.mechanism, key), CKR_OK);
  const auto part = [&](bool encrypt, const CK_BYTE* data, CK_ULONG bytes, Bytes& all) {
    Bytes out(bytes);  // as long as the input, as programs have it
    CK_ULONG length = out.size();
    EXPECT_EQ(encrypt ? f_->C_EncryptUpdate(s_, const_cast<CK_BYTE_PTR>(data), bytes, out.data(), &length)
                      : f_->C_DecryptUpdate(s_, const_cast<CK_BYTE_PTR>(data), bytes, out.data(), &length),
              CKR_OK);
    all.insert(all.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length));
  };
  const auto final = [&](bool encrypt, Bytes& all) {
    Bytes out(64);
    CK_ULONG length = 0;
    EXPECT_EQ(encrypt ? f_->C_EncryptFinal(s_, nullptr, &length) : f_->C_DecryptFinal(s_, nullptr, &length), CKR_OK);
    length = out.size();
    EXPECT_EQ(encrypt ? f_->C_EncryptFinal(s_, out.data(), &length) : f_->C_DecryptFinal(s_, out.data(), &length),
              CKR_OK);
    all.insert(all.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length));
  };
  for (std::size_t at = 0; at < text.size(); at += 16) part(true, text.data() + at, 16, sealed);
  final(true, sealed);
  EXPECT_EQ(sealed.size(), 64u);
  ASSERT_EQ(f_->C_DecryptInit(s_, &cbc.mechanism, key), CKR_OK);
  for (std::size_t at = 0; at < sealed.size(); at += 16) part(false, sealed.data() + at, 16, opened);
  final(false, opened);
  EXPECT_EQ(opened, text);
}

TEST_F(OperationCallsTest, TooSmallABufferForAPartChangesNothing) {
  const CK_OBJECT_HANDLE key = Aes();
  Gcm gcm;
  Bytes out(128, 0xEE);
  CK_ULONG length = 3;
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
  EXPECT_EQ(f_->C_EncryptUpdate(s_, BytePtr(kText), kText.size(), out.data(), &length), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(length, kText.size());
  // Another part may come instead, as if nothing had been said.
  length = 128;
  ASSERT_EQ(f_->C_EncryptUpdate(s_, BytePtr(kText), 4, out.data(), &length), CKR_OK);
  CK_ULONG rest = 128 - length;
  ASSERT_EQ(f_->C_EncryptFinal(s_, out.data() + length, &rest), CKR_OK);
  EXPECT_EQ(length + rest, 20u);
  Bytes opened(64);
  ASSERT_EQ(f_->C_DecryptInit(s_, &gcm.mechanism, key), CKR_OK);
  CK_ULONG made = opened.size();
  ASSERT_EQ(f_->C_Decrypt(s_, out.data(), 20, opened.data(), &made), CKR_OK);
  EXPECT_EQ(made, 4u);
}

TEST_F(OperationCallsTest, OperationsAreCancelledByFlagAndByNullMechanism) {
  CK_MECHANISM sha = M(CKM_SHA256);
  Gcm gcm;
  const CK_OBJECT_HANDLE key = Aes();
  Bytes out(64);
  CK_ULONG length = out.size();
  EXPECT_EQ(f_->C_SessionCancel(s_, 0), CKR_OK);
  EXPECT_EQ(f_->C_SessionCancel(s_, CKF_DIGEST), CKR_OK);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
  ASSERT_EQ(f_->C_EncryptUpdate(s_, BytePtr(kText), kText.size(), out.data(), &length), CKR_OK);
  EXPECT_EQ(f_->C_SessionCancel(s_, CKF_ENCRYPT | CKF_SIGN), CKR_OK);
  EXPECT_EQ(f_->C_EncryptFinal(s_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(kText), kText.size()), CKR_OK) << "the other one goes on";
  EXPECT_EQ(f_->C_DigestInit(s_, nullptr), CKR_OK);
  EXPECT_EQ(f_->C_DigestUpdate(s_, BytePtr(kText), kText.size()), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
}

TEST_F(OperationCallsTest, FourGigabytesOfRoomCostNothing) {
  CK_MECHANISM sha = M(CKM_SHA256);
  Bytes out(32);
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  CK_ULONG length = CK_ULONG{1} << 32;  // a buffer is never written beyond what the mechanism gives
  ASSERT_EQ(f_->C_Digest(s_, BytePtr(kText), kText.size(), out.data(), &length), CKR_OK);
  EXPECT_EQ(length, 32u);
}

TEST_F(OperationCallsTest, LargeInputsGoAtOnceAndInParts) {
  const Bytes large(std::size_t{65} << 20, 0x33);  // more than a frame holds
  CK_MECHANISM sha = M(CKM_SHA256);
  Bytes in_parts(32);
  CK_ULONG length = 32;
  ASSERT_EQ(f_->C_DigestInit(s_, &sha), CKR_OK);
  const std::size_t half = large.size() / 2;
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(large), half), CKR_OK);
  ASSERT_EQ(f_->C_DigestUpdate(s_, BytePtr(large) + half, large.size() - half), CKR_OK);
  ASSERT_EQ(f_->C_DigestFinal(s_, in_parts.data(), &length), CKR_OK);
  EXPECT_EQ(Digest(large), in_parts);

  const CK_OBJECT_HANDLE key = Aes();
  Gcm gcm;
  Bytes sealed(large.size() + 16);
  length = 0;
  ASSERT_EQ(f_->C_EncryptInit(s_, &gcm.mechanism, key), CKR_OK);
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(large), large.size(), nullptr, &length), CKR_OK);
  EXPECT_EQ(length, sealed.size());
  length = large.size();
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(large), large.size(), sealed.data(), &length), CKR_BUFFER_TOO_SMALL);
  length = sealed.size();
  ASSERT_EQ(f_->C_Encrypt(s_, BytePtr(large), large.size(), sealed.data(), &length), CKR_OK);
  EXPECT_EQ(length, sealed.size());
  EXPECT_EQ(f_->C_Encrypt(s_, BytePtr(large), large.size(), sealed.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
}

// ---- HMAC keys shorter than their digest (docs/choices.md)

TEST_F(OperationCallsTest, AShortHmacKeyIsNeverAnotherKey) {
  const Bytes five(5, 0x0B);
  const CK_OBJECT_HANDLE key = Open(five);
  // Of Python's hmac.
  const std::string mac = "0b0fb6a641cef7bb0bf5a4368277aa6449ad9b8b7969d3df4fa65080c0b02dfb";
  CK_MECHANISM m = M(CKM_SHA256_HMAC);
  if (software()) {
    EXPECT_EQ(Hex(Sign(m, key, kText)), mac);
  } else {
    Bytes out(32);
    CK_ULONG length = out.size();
    CK_RV rv = f_->C_SignInit(s_, &m, key);
    if (rv == CKR_OK) rv = f_->C_Sign(s_, BytePtr(kText), kText.size(), out.data(), &length);
    EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  }
  CK_OBJECT_HANDLE copy = 0;
  Template nothing;
  ASSERT_EQ(f_->C_CopyObject(s_, key, nothing.data(), nothing.size(), &copy), CKR_OK);
  EXPECT_EQ(Value(key), five);
  EXPECT_EQ(Value(copy), five);
  // Who has the value can bring it with zeros behind it (RFC 2104 section 2).
  Bytes longer = five;
  longer.resize(64);
  EXPECT_EQ(Hex(Sign(m, Open(longer), kText)), mac);
}

// ---- What is left

TEST_F(OperationCallsTest, CallsWithNothingToDoSaySo) {
  EXPECT_EQ(f_->C_GetFunctionStatus(s_), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT_EQ(f_->C_CancelFunction(s_), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT_EQ(f_->C_AsyncComplete(s_, nullptr, nullptr), CKR_FUNCTION_NOT_SUPPORTED);
  EXPECT_EQ(f_->C_AsyncGetID(s_, nullptr, nullptr), CKR_FUNCTION_NOT_SUPPORTED);
  EXPECT_EQ(f_->C_AsyncJoin(s_, nullptr, 0, nullptr, 0), CKR_FUNCTION_NOT_SUPPORTED);
  CK_FLAGS flags = 99;
  EXPECT_EQ(f_->C_GetSessionValidationFlags(s_, CKS_LAST_VALIDATION_OK, &flags), CKR_OK);
  EXPECT_EQ(flags, 0u);
  EXPECT_EQ(f_->C_GetSessionValidationFlags(s_, 0x4711, &flags), CKR_ARGUMENTS_BAD);
}

TEST_F(OperationCallsTest, LoginUserIsALoginWithoutAName) {
  std::string pin = std::getenv("P11_PIN");
  auto* text = reinterpret_cast<CK_UTF8CHAR_PTR>(pin.data());
  CK_UTF8CHAR name[] = "somebody";
  EXPECT_EQ(f_->C_LoginUser(s_, CKU_USER, text, pin.size(), nullptr, 0), CKR_USER_ALREADY_LOGGED_IN);
  ASSERT_EQ(f_->C_Logout(s_), CKR_OK);
  EXPECT_EQ(f_->C_LoginUser(s_, CKU_USER, text, pin.size(), name, 8), CKR_USER_TYPE_INVALID);
  EXPECT_EQ(f_->C_LoginUser(s_, CKU_USER, text, pin.size(), nullptr, 3), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f_->C_LoginUser(s_, CKU_USER, text, pin.size(), nullptr, 0), CKR_OK);
  CK_SESSION_INFO info{};
  ASSERT_EQ(f_->C_GetSessionInfo(s_, &info), CKR_OK);
  EXPECT_EQ(info.state, CK_STATE{CKS_RW_USER_FUNCTIONS});
}

}  // namespace
}  // namespace cmkd::tests
