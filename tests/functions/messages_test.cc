// Message-based calls (3.0): many messages under one key, the token's IVs, and the tag beside the ciphertext. On
// devices that know none of these calls, too.
#include <set>

#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

struct Message {
  Bytes iv = Bytes(12);
  Bytes tag = Bytes(16);
  Bytes aad = {1, 2, 3};
  CK_ULONG fixed_bits = 0;
  CK_ULONG generator = CKG_GENERATE;
  CK_GCM_MESSAGE_PARAMS parameter() {
    return {iv.data(), iv.size(), fixed_bits, generator, tag.data(), tag.size() * 8};
  }
};

class MessageCallsTest : public CallsTest {
 protected:
  CK_RV EncryptInit(CK_OBJECT_HANDLE key) {
    CK_MECHANISM m = M(CKM_AES_GCM);
    return f_->C_MessageEncryptInit(s_, &m, key);
  }
  CK_RV DecryptInit(CK_OBJECT_HANDLE key) {
    CK_MECHANISM m = M(CKM_AES_GCM);
    return f_->C_MessageDecryptInit(s_, &m, key);
  }
  CK_RV Encrypt(Message& message, const Bytes& text, Bytes& sealed) {
    auto parameter = message.parameter();
    sealed.resize(text.size());
    CK_ULONG length = sealed.size();
    const CK_RV rv = f_->C_EncryptMessage(s_, &parameter, sizeof parameter, message.aad.data(), message.aad.size(),
                                          BytePtr(text), text.size(), sealed.data(), &length);
    if (rv == CKR_OK) sealed.resize(length);
    return rv;
  }
  CK_RV Decrypt(Message& message, const Bytes& sealed, Bytes& opened) {
    auto parameter = message.parameter();
    opened.resize(sealed.size());
    CK_ULONG length = opened.size();
    const CK_RV rv = f_->C_DecryptMessage(s_, &parameter, sizeof parameter, message.aad.data(), message.aad.size(),
                                          BytePtr(sealed), sealed.size(), opened.data(), &length);
    if (rv == CKR_OK) opened.resize(length);
    return rv;
  }
};

TEST_F(MessageCallsTest, ManyMessagesEachWithAnIvOfTheToken) {
  const CK_OBJECT_HANDLE key = Aes();
  ASSERT_EQ(EncryptInit(key), CKR_OK);
  EXPECT_EQ(EncryptInit(key), CKR_OPERATION_ACTIVE);
  Message first, second;
  Bytes sealed_first, sealed_second, opened;
  ASSERT_EQ(Encrypt(first, kText, sealed_first), CKR_OK);
  ASSERT_EQ(Encrypt(second, kText, sealed_second), CKR_OK);
  EXPECT_EQ(sealed_first.size(), kText.size());
  EXPECT_NE(first.iv, second.iv);
  EXPECT_NE(first.iv, Bytes(12));
  EXPECT_NE(sealed_first, sealed_second);
  EXPECT_EQ(f_->C_MessageEncryptFinal(s_), CKR_OK);
  EXPECT_EQ(f_->C_MessageEncryptFinal(s_), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(Encrypt(first, kText, opened), CKR_OPERATION_NOT_INITIALIZED);

  ASSERT_EQ(DecryptInit(key), CKR_OK);
  ASSERT_EQ(Decrypt(second, sealed_second, opened), CKR_OK);
  EXPECT_EQ(opened, kText);
  ASSERT_EQ(Decrypt(first, sealed_first, opened), CKR_OK);
  EXPECT_EQ(opened, kText);
  first.tag[3] = static_cast<std::uint8_t>(first.tag[3] ^ 1);
  EXPECT_EQ(Decrypt(first, sealed_first, opened), CKR_AEAD_DECRYPT_FAILED);
  second.aad[0] = 9;
  EXPECT_EQ(Decrypt(second, sealed_second, opened), CKR_AEAD_DECRYPT_FAILED);
  second.aad[0] = 1;
  ASSERT_EQ(Decrypt(second, sealed_second, opened), CKR_OK) << "a refused message does not end the process";
  EXPECT_EQ(f_->C_MessageDecryptFinal(s_), CKR_OK);
}

TEST_F(MessageCallsTest, AMessageIsWhatOrdinaryGcmMakes) {
  const CK_OBJECT_HANDLE key = Aes();
  Message message;
  message.iv = Bytes(12, 5);
  message.generator = CKG_NO_GENERATE;
  Bytes sealed;
  ASSERT_EQ(EncryptInit(key), CKR_OK);
  ASSERT_EQ(Encrypt(message, kText, sealed), CKR_OK);
  EXPECT_EQ(message.iv, Bytes(12, 5));
  CK_GCM_PARAMS gcm{message.iv.data(), 12, 96, message.aad.data(), message.aad.size(), 128};
  CK_MECHANISM m{CKM_AES_GCM, &gcm, sizeof gcm};
  sealed.insert(sealed.end(), message.tag.begin(), message.tag.end());
  Bytes opened(128);
  CK_ULONG length = opened.size();
  ASSERT_EQ(f_->C_DecryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_Decrypt(s_, sealed.data(), sealed.size(), opened.data(), &length), CKR_OK);
  opened.resize(length);
  EXPECT_EQ(opened, kText);
}

// CCM and ChaCha20-Poly1305 have messages, too; CCM must be told the length when a message comes in parts.
TEST_F(MessageCallsTest, EveryAeadHasMessages) {
  Bytes nonce(12, 3), tag(16), aad = {1, 2, 3};
  CK_CCM_MESSAGE_PARAMS ccm{kText.size(), nonce.data(), nonce.size(), 0, CKG_GENERATE, tag.data(), tag.size()};
  CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS chacha{nonce.data(), nonce.size() * 8, tag.data()};
  const struct {
    CK_MECHANISM_TYPE type, generator;
    CK_VOID_PTR parameter;
    CK_ULONG length;
  } aeads[] = {{CKM_AES_CCM, CKM_AES_KEY_GEN, &ccm, sizeof ccm},
               {CKM_CHACHA20_POLY1305, CKM_CHACHA20_KEY_GEN, &chacha, sizeof chacha}};
  for (const auto& aead : aeads) {
    SCOPED_TRACE(aead.type);
    if ((FlagsOf(aead.type) & CKF_MESSAGE_ENCRYPT) == 0) {
      EXPECT_FALSE(software());
      continue;
    }
    CK_OBJECT_HANDLE key = 0;
    Template t = Template().Bool(CKA_TOKEN, false);
    if (aead.generator == CKM_AES_KEY_GEN) t.Ulong(CKA_VALUE_LEN, 32);
    CK_MECHANISM generator = M(aead.generator), m = M(aead.type);
    ASSERT_EQ(f_->C_GenerateKey(s_, &generator, t.data(), t.size(), &key), CKR_OK);
    const Bytes before = nonce;
    Bytes sealed(kText.size()), opened(kText.size());
    CK_ULONG length = sealed.size();
    ASSERT_EQ(f_->C_MessageEncryptInit(s_, &m, key), CKR_OK);
    ASSERT_EQ(f_->C_EncryptMessage(s_, aead.parameter, aead.length, aad.data(), aad.size(), BytePtr(kText),
                                   kText.size(), sealed.data(), &length),
              CKR_OK);
    EXPECT_EQ(nonce == before, aead.type == CKM_CHACHA20_POLY1305) << "who chose the nonce";
    const auto open = [&] {
      length = opened.size();
      return f_->C_DecryptMessage(s_, aead.parameter, aead.length, aad.data(), aad.size(), sealed.data(), sealed.size(),
                                  opened.data(), &length);
    };
    ASSERT_EQ(f_->C_MessageDecryptInit(s_, &m, key), CKR_OK);
    EXPECT_EQ(open(), CKR_OK);
    EXPECT_EQ(opened, kText);
    tag[0] = static_cast<std::uint8_t>(tag[0] ^ 1);
    EXPECT_EQ(open(), CKR_AEAD_DECRYPT_FAILED);
    // In parts.
    ASSERT_EQ(f_->C_EncryptMessageBegin(s_, aead.parameter, aead.length, aad.data(), aad.size()), CKR_OK);
    length = sealed.size();
    ASSERT_EQ(f_->C_EncryptMessageNext(s_, aead.parameter, aead.length, BytePtr(kText), 10, sealed.data(), &length, 0),
              CKR_OK);
    const std::size_t first = length;
    length = sealed.size() - first;
    ASSERT_EQ(f_->C_EncryptMessageNext(s_, aead.parameter, aead.length, BytePtr(kText) + 10, kText.size() - 10,
                                       sealed.data() + first, &length, CKF_END_OF_MESSAGE),
              CKR_OK);
    EXPECT_EQ(first + length, kText.size());
    EXPECT_EQ(open(), CKR_OK);
    EXPECT_EQ(opened, kText);
    EXPECT_EQ(f_->C_MessageEncryptFinal(s_), CKR_OK);
    EXPECT_EQ(f_->C_MessageDecryptFinal(s_), CKR_OK);
  }
}

TEST_F(MessageCallsTest, AKeyThatOnlyEncryptsTakesNoIvFromItsCaller) {
  ASSERT_EQ(EncryptInit(Aes(Template().Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, false))), CKR_OK);
  Message message;
  Bytes sealed;
  message.generator = CKG_NO_GENERATE;
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_MECHANISM_PARAM_INVALID);
  message.generator = CKG_GENERATE;
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_OK);
}

TEST_F(MessageCallsTest, TheFixedPartOfAnIvStays) {
  ASSERT_EQ(EncryptInit(Aes()), CKR_OK);
  Message message;
  message.iv = Bytes(16, 0xAB);
  message.fixed_bits = 28;
  Bytes sealed;
  ASSERT_EQ(Encrypt(message, kText, sealed), CKR_OK);
  EXPECT_EQ(Bytes(message.iv.begin(), message.iv.begin() + 3), Bytes(3, 0xAB));
  EXPECT_EQ(message.iv[3] & 0xF0, 0xA0);
  message.iv = Bytes(12);
  message.fixed_bits = 8;
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_MECHANISM_PARAM_INVALID) << "less than 96 random bits";
  message.fixed_bits = 0;
  message.generator = CKG_GENERATE_COUNTER;
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_MECHANISM_PARAM_INVALID);
  message.generator = CKG_GENERATE_RANDOM;
  message.tag = Bytes(4);
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_MECHANISM_PARAM_INVALID);
}

// Every generator with every kind of length and fixed part (docs/choices.md). What is refused leaves the IV alone.
TEST_F(MessageCallsTest, IvsAreMadeWhereEnoughOfThemIsRandom) {
  ASSERT_EQ(EncryptInit(Aes()), CKR_OK);
  const struct {
    CK_ULONG generator;
    std::size_t bytes;
    CK_ULONG fixed_bits;
    CK_RV rv;
  } cases[] = {
      {CKG_GENERATE, 12, 0, CKR_OK},
      {CKG_GENERATE_RANDOM, 12, 0, CKR_OK},
      {CKG_GENERATE, 12, 1, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE_RANDOM, 12, 32, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 12, 96, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 12, 97, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 12, CK_UNAVAILABLE_INFORMATION, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 11, 0, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 16, 32, CKR_OK},
      {CKG_GENERATE_RANDOM, 16, 31, CKR_OK},
      {CKG_GENERATE, 16, 33, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE, 44, 256, CKR_OK},
      {CKG_GENERATE_COUNTER, 12, 0, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE_COUNTER, 16, 32, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE_COUNTER_XOR, 12, 0, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE_COUNTER_XOR, 16, 32, CKR_MECHANISM_PARAM_INVALID},
      {CKG_GENERATE_COUNTER_XOR + 1, 12, 0, CKR_MECHANISM_PARAM_INVALID},
      // Nothing is generated: there is no fixed part.
      {CKG_NO_GENERATE, 12, 97, CKR_OK},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::Message() << c.generator << ", " << c.bytes << " bytes, " << c.fixed_bits << " fixed bits");
    Message message;
    message.iv = Bytes(c.bytes, 0xA5);
    message.generator = c.generator;
    message.fixed_bits = c.fixed_bits;
    Bytes sealed;
    ASSERT_EQ(Encrypt(message, kText, sealed), c.rv);
    const bool made = c.rv == CKR_OK && c.generator != CKG_NO_GENERATE;
    EXPECT_EQ(message.iv != Bytes(c.bytes, 0xA5), made);
    for (std::size_t bit = 0; made && bit < c.fixed_bits; ++bit) {
      ASSERT_EQ((message.iv[bit / 8] ^ 0xA5) >> (7 - bit % 8) & 1, 0) << bit;
    }
  }
}

TEST_F(MessageCallsTest, IvsWithAFixedPartDoNotRepeatAndOpen) {
  const CK_OBJECT_HANDLE key = Aes();
  ASSERT_EQ(DecryptInit(key), CKR_OK);
  std::set<Bytes> seen;
  for (int round = 0; round < 4; ++round) {
    // Nothing begins again with the operation.
    ASSERT_EQ(EncryptInit(key), CKR_OK);
    for (int i = 0; i < 16; ++i) {
      Message message;
      message.iv = Bytes(16, 0xA5);
      message.fixed_bits = 32;
      Bytes sealed, opened;
      ASSERT_EQ(Encrypt(message, kText, sealed), CKR_OK);
      EXPECT_TRUE(seen.insert(message.iv).second);
      EXPECT_EQ(Bytes(message.iv.begin(), message.iv.begin() + 4), Bytes(4, 0xA5));
      // "The ulIvFixedBits and ivGenerator fields are ignored."
      message.fixed_bits = 9999;
      message.generator = 77;
      ASSERT_EQ(Decrypt(message, sealed, opened), CKR_OK);
      EXPECT_EQ(opened, kText);
    }
    ASSERT_EQ(f_->C_MessageEncryptFinal(s_), CKR_OK);
  }
}

// A nonce of CCM has 13 bytes at most, so eight bits of one can be fixed.
TEST_F(MessageCallsTest, NoncesOfCcmToo) {
  if ((FlagsOf(CKM_AES_CCM) & CKF_MESSAGE_ENCRYPT) == 0) {
    ASSERT_FALSE(software());
    GTEST_SKIP() << "the device has no CCM";
  }
  CK_MECHANISM m = M(CKM_AES_CCM);
  ASSERT_EQ(f_->C_MessageEncryptInit(s_, &m, Aes()), CKR_OK);
  const struct {
    CK_ULONG generator;
    std::size_t bytes;
    CK_ULONG fixed_bits;
    CK_RV rv;
  } cases[] = {{CKG_GENERATE, 13, 0, CKR_OK},
               {CKG_GENERATE, 13, 8, CKR_OK},
               {CKG_GENERATE_RANDOM, 13, 8, CKR_OK},
               {CKG_GENERATE, 13, 9, CKR_MECHANISM_PARAM_INVALID},
               {CKG_GENERATE, 12, 0, CKR_OK},
               {CKG_GENERATE, 12, 1, CKR_MECHANISM_PARAM_INVALID},
               {CKG_GENERATE, 7, 0, CKR_MECHANISM_PARAM_INVALID},
               {CKG_GENERATE_COUNTER, 13, 8, CKR_MECHANISM_PARAM_INVALID},
               {CKG_GENERATE_COUNTER_XOR, 13, 8, CKR_MECHANISM_PARAM_INVALID},
               {CKG_NO_GENERATE, 7, 0, CKR_OK}};
  std::set<Bytes> seen;
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::Message() << c.generator << ", " << c.bytes << " bytes, " << c.fixed_bits << " fixed bits");
    Bytes nonce(c.bytes, 0xA5), tag(16), sealed(kText.size());
    CK_CCM_MESSAGE_PARAMS ccm{kText.size(), nonce.data(), nonce.size(), c.fixed_bits, c.generator, tag.data(), 16};
    CK_ULONG length = sealed.size();
    ASSERT_EQ(
        f_->C_EncryptMessage(s_, &ccm, sizeof ccm, nullptr, 0, BytePtr(kText), kText.size(), sealed.data(), &length),
        c.rv);
    const bool made = c.rv == CKR_OK && c.generator != CKG_NO_GENERATE;
    EXPECT_EQ(nonce != Bytes(c.bytes, 0xA5), made);
    EXPECT_TRUE(!made || c.fixed_bits != 8 || nonce[0] == 0xA5);
    EXPECT_TRUE(!made || seen.insert(nonce).second);
  }
}

TEST_F(MessageCallsTest, LengthsAndShortBuffersMakeNothing) {
  ASSERT_EQ(EncryptInit(Aes()), CKR_OK);
  Message message;
  auto parameter = message.parameter();
  CK_ULONG length = 0;
  const auto call = [&](CK_BYTE_PTR out) {
    return f_->C_EncryptMessage(s_, &parameter, sizeof parameter, nullptr, 0, BytePtr(kText), kText.size(), out,
                                &length);
  };
  Bytes out(64);
  EXPECT_EQ(call(nullptr), CKR_OK);
  EXPECT_EQ(length, kText.size());
  length = kText.size() - 1;
  EXPECT_EQ(call(out.data()), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(length, kText.size());
  EXPECT_EQ(message.iv, Bytes(12)) << "no IV was made";
  EXPECT_EQ(call(out.data()), CKR_OK);
  EXPECT_NE(message.iv, Bytes(12));
}

TEST_F(MessageCallsTest, MessagesComeInParts) {
  const CK_OBJECT_HANDLE key = Aes();
  const Bytes text(100, 0x21);
  Message message;
  auto parameter = message.parameter();
  Bytes sealed(text.size()), opened(text.size());
  ASSERT_EQ(EncryptInit(key), CKR_OK);
  CK_ULONG length = 10;
  EXPECT_EQ(f_->C_EncryptMessageNext(s_, &parameter, sizeof parameter, BytePtr(text), 10, sealed.data(), &length, 0),
            CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_EncryptMessageBegin(s_, &parameter, sizeof parameter, message.aad.data(), 3), CKR_OK);
  EXPECT_EQ(f_->C_EncryptMessageBegin(s_, &parameter, sizeof parameter, nullptr, 0), CKR_OPERATION_ACTIVE);
  std::size_t given = 0;
  for (std::size_t at = 0; at < text.size(); at += 25) {
    const CK_FLAGS flags = at + 25 == text.size() ? CKF_END_OF_MESSAGE : 0;
    length = 1;
    if (given + 1 < at + 25) {
      ASSERT_EQ(f_->C_EncryptMessageNext(s_, &parameter, sizeof parameter, BytePtr(text) + at, 25,
                                         sealed.data() + given, &length, flags),
                CKR_BUFFER_TOO_SMALL);
    }
    length = sealed.size() - given;
    ASSERT_EQ(f_->C_EncryptMessageNext(s_, &parameter, sizeof parameter, BytePtr(text) + at, 25, sealed.data() + given,
                                       &length, flags),
              CKR_OK);
    given += length;
  }
  EXPECT_EQ(given, text.size());
  ASSERT_EQ(DecryptInit(key), CKR_OK);
  ASSERT_EQ(Decrypt(message, sealed, opened), CKR_OK);
  EXPECT_EQ(opened, text);

  // Nothing comes out before the tag has been seen.
  ASSERT_EQ(f_->C_DecryptMessageBegin(s_, &parameter, sizeof parameter, message.aad.data(), 3), CKR_OK);
  length = 0;
  ASSERT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data(), 60, opened.data(), &length, 0),
            CKR_OK);
  EXPECT_EQ(length, 0u);
  ASSERT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data() + 60, 40, nullptr, &length,
                                     CKF_END_OF_MESSAGE),
            CKR_OK);
  EXPECT_EQ(length, 100u);
  length = 99;
  ASSERT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data() + 60, 40, opened.data(), &length,
                                     CKF_END_OF_MESSAGE),
            CKR_BUFFER_TOO_SMALL);
  opened.assign(100, 0);
  ASSERT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data() + 60, 40, opened.data(), &length,
                                     CKF_END_OF_MESSAGE),
            CKR_OK);
  EXPECT_EQ(opened, text);
  ASSERT_EQ(f_->C_DecryptMessageBegin(s_, &parameter, sizeof parameter, nullptr, 0), CKR_OK);
  length = 100;
  EXPECT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data(), 100, opened.data(), &length,
                                     CKF_END_OF_MESSAGE),
            CKR_AEAD_DECRYPT_FAILED);
  EXPECT_EQ(f_->C_DecryptMessageNext(s_, &parameter, sizeof parameter, sealed.data(), 100, opened.data(), &length, 0),
            CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_MessageDecryptFinal(s_), CKR_OK);
}

TEST_F(MessageCallsTest, InitTakesTheExamplesParameterAndIsCancelled) {
  const CK_OBJECT_HANDLE key = Aes();
  Message message;
  auto parameter = message.parameter();
  CK_MECHANISM m{CKM_AES_GCM, &parameter, sizeof parameter};
  ASSERT_EQ(f_->C_MessageEncryptInit(s_, &m, key), CKR_OK);
  Bytes sealed;
  ASSERT_EQ(Encrypt(message, kText, sealed), CKR_OK);
  ASSERT_EQ(f_->C_MessageEncryptInit(s_, nullptr, 0), CKR_OK);
  EXPECT_EQ(Encrypt(message, kText, sealed), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f_->C_MessageEncryptInit(s_, &m, key), CKR_OK);
  ASSERT_EQ(f_->C_SessionCancel(s_, CKF_MESSAGE_ENCRYPT), CKR_OK);
  EXPECT_EQ(f_->C_MessageEncryptFinal(s_), CKR_OPERATION_NOT_INITIALIZED);
  CK_MECHANISM cbc = M(CKM_AES_CBC);
  EXPECT_EQ(f_->C_MessageEncryptInit(s_, &cbc, key), CKR_MECHANISM_INVALID);
  EXPECT_TRUE((FlagsOf(CKM_AES_GCM) & CKF_MESSAGE_ENCRYPT) != 0);
  EXPECT_TRUE((FlagsOf(CKM_SHA256_HMAC) & CKF_MESSAGE_SIGN) != 0);
}

TEST_F(MessageCallsTest, MessagesAreSignedAndVerified) {
  const CK_OBJECT_HANDLE key = Open(Bytes(32, 1));
  CK_MECHANISM hmac = M(CKM_SHA256_HMAC);
  Bytes mac(32), again(32);
  CK_ULONG length = 0;
  ASSERT_EQ(f_->C_MessageSignInit(s_, &hmac, key), CKR_OK);
  EXPECT_EQ(f_->C_SignMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), nullptr, &length), CKR_OK);
  EXPECT_EQ(length, 32u);
  length = 31;
  EXPECT_EQ(f_->C_SignMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), mac.data(), &length), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(f_->C_SignMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), mac.data(), &length), CKR_OK);
  EXPECT_EQ(mac, Sign(hmac, key, kText));
  ASSERT_EQ(f_->C_SignMessageBegin(s_, nullptr, 0), CKR_OK);
  EXPECT_EQ(f_->C_SignMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), mac.data(), &length), CKR_OPERATION_ACTIVE);
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(kText), 10, nullptr, nullptr), CKR_OK);
  length = 0;
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(kText) + 10, kText.size() - 10, nullptr, &length), CKR_OK);
  EXPECT_EQ(length, 32u);
  length = 1;
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(kText) + 10, kText.size() - 10, again.data(), &length),
            CKR_BUFFER_TOO_SMALL);
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(kText) + 10, kText.size() - 10, again.data(), &length),
            CKR_OK);
  EXPECT_EQ(again, mac);
  EXPECT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(kText), 1, nullptr, nullptr), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(f_->C_MessageSignFinal(s_), CKR_OK);

  ASSERT_EQ(f_->C_MessageVerifyInit(s_, &hmac, key), CKR_OK);
  EXPECT_EQ(f_->C_VerifyMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), mac.data(), 32), CKR_OK);
  ASSERT_EQ(f_->C_VerifyMessageBegin(s_, nullptr, 0), CKR_OK);
  ASSERT_EQ(f_->C_VerifyMessageNext(s_, nullptr, 0, BytePtr(kText), 5, nullptr, 0), CKR_OK);
  EXPECT_EQ(f_->C_VerifyMessageNext(s_, nullptr, 0, BytePtr(kText) + 5, kText.size() - 5, mac.data(), 32), CKR_OK);
  mac[0] = static_cast<std::uint8_t>(mac[0] ^ 1);
  EXPECT_EQ(f_->C_VerifyMessage(s_, nullptr, 0, BytePtr(kText), kText.size(), mac.data(), 32), CKR_SIGNATURE_INVALID);
  Message message;
  auto parameter = message.parameter();
  EXPECT_EQ(f_->C_VerifyMessage(s_, &parameter, sizeof parameter, BytePtr(kText), kText.size(), mac.data(), 32),
            CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(f_->C_MessageVerifyFinal(s_), CKR_OK);
}

TEST_F(MessageCallsTest, MessagesAreSignedByMechanismsOfOnePart) {
  const Pair pair = Ec();
  CK_MECHANISM ecdsa = M(CKM_ECDSA);
  const Bytes digest = Digest(kText);
  Bytes signature(64);
  CK_ULONG length = 64;
  ASSERT_EQ(f_->C_MessageSignInit(s_, &ecdsa, pair.private_key), CKR_OK);
  ASSERT_EQ(f_->C_SignMessageBegin(s_, nullptr, 0), CKR_OK);
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(digest), 30, nullptr, nullptr), CKR_OK);
  ASSERT_EQ(f_->C_SignMessageNext(s_, nullptr, 0, BytePtr(digest) + 30, 2, signature.data(), &length), CKR_OK);
  EXPECT_EQ(length, 64u);
  EXPECT_EQ(Verify(ecdsa, pair.public_key, digest, signature), CKR_OK);
}

}  // namespace
}  // namespace cmkd::tests
