// Message-based encryption and the dual-function calls.
#include "pkcs11/spec/call_table.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class MessageTest : public DeviceTest {
 protected:
  // The list behind the 2.40 pointer is that of 3.2 under an older number (entry/function_lists.h).
  CK_FUNCTION_LIST_3_2* const m = reinterpret_cast<CK_FUNCTION_LIST_3_2*>(f);

  struct Message {
    Bytes iv = Bytes(12), tag = Bytes(16), aad = Bytes(5, 1);
    CK_GENERATOR_FUNCTION generator = CKG_NO_GENERATE;
    CK_ULONG fixed_bits = 0;
    CK_GCM_MESSAGE_PARAMS parameter() {
      return {iv.data(), iv.size(), fixed_bits, generator, tag.data(), tag.size() * 8};
    }
  };
  CK_RV EncryptMessage(Message& message, const Bytes& in, Bytes& out) {
    CK_GCM_MESSAGE_PARAMS parameter = message.parameter();
    CK_ULONG bytes = out.size();
    return m->C_EncryptMessage(session, &parameter, sizeof parameter, message.aad.data(), message.aad.size(),
                               const_cast<CK_BYTE*>(in.data()), in.size(), out.data(), &bytes);
  }
  CK_RV DecryptMessage(Message& message, const Bytes& in, Bytes& out) {
    CK_GCM_MESSAGE_PARAMS parameter = message.parameter();
    CK_ULONG bytes = out.size();
    return m->C_DecryptMessage(session, &parameter, sizeof parameter, message.aad.data(), message.aad.size(),
                               const_cast<CK_BYTE*>(in.data()), in.size(), out.data(), &bytes);
  }
};

TEST_F(MessageTest, MessagesAreWhatOneEncryptionGives) {
  const auto key = GenerateAes();
  const Bytes text(50, 3);
  Message message;
  Bytes sealed(50), opened(50);
  ASSERT_EQ(m->C_MessageEncryptInit(session, M(CKM_AES_GCM), key), CKR_OK);
  ASSERT_EQ(EncryptMessage(message, text, sealed), CKR_OK);
  const CK_GCM_PARAMS gcm = Gcm(message.iv, message.aad);
  Bytes joined = sealed;
  joined.insert(joined.end(), message.tag.begin(), message.tag.end());
  EXPECT_EQ(Encrypt(M(CKM_AES_GCM, gcm), key, text), joined);
  EXPECT_EQ(EncryptMessage(message, text, sealed), CKR_OK);  // and another
  EXPECT_EQ(m->C_MessageEncryptFinal(session), CKR_OK);
  EXPECT_EQ(EncryptMessage(message, text, sealed), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(m->C_MessageDecryptInit(session, M(CKM_AES_GCM), key), CKR_OK);
  EXPECT_EQ(DecryptMessage(message, sealed, opened), CKR_OK);
  EXPECT_EQ(opened, text);
  message.tag[0] ^= 1;
  opened.assign(50, 0xee);
  EXPECT_EQ(DecryptMessage(message, sealed, opened), CKR_AEAD_DECRYPT_FAILED);
  EXPECT_EQ(opened, Bytes(50, 0xee));
  EXPECT_EQ(m->C_MessageDecryptFinal(session), CKR_OK);
}

TEST_F(MessageTest, DeviceMakesTheIvAroundTheFixedPart) {
  ASSERT_EQ(m->C_MessageEncryptInit(session, M(CKM_AES_GCM), GenerateAes()), CKR_OK);
  Message message;
  Bytes out(4);
  message.generator = CKG_GENERATE;
  ASSERT_EQ(EncryptMessage(message, Bytes(4), out), CKR_OK);
  const Bytes first = message.iv;
  ASSERT_EQ(EncryptMessage(message, Bytes(4), out), CKR_OK);
  EXPECT_NE(message.iv, first);
  message.iv.assign(16, 0xff);
  message.fixed_bits = 20;
  ASSERT_EQ(EncryptMessage(message, Bytes(4), out), CKR_OK);
  EXPECT_EQ(message.iv[0], 0xff);
  EXPECT_EQ(message.iv[1], 0xff);
  EXPECT_EQ(message.iv[2] & 0xf0, 0xf0);
  EXPECT_NE(Bytes(message.iv.begin() + 3, message.iv.end()), Bytes(13, 0xff));
  message.iv.resize(12);
  EXPECT_EQ(EncryptMessage(message, Bytes(4), out), CKR_MECHANISM_PARAM_INVALID);  // 76 random bits are too few
  message.generator = CKG_GENERATE_COUNTER;
  message.fixed_bits = 0;
  EXPECT_EQ(EncryptMessage(message, Bytes(4), out), CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(MessageTest, MessageInPartsIsTheSameMessage) {
  const auto key = GenerateAes();
  const Bytes text(40, 3);
  Message message;
  CK_GCM_MESSAGE_PARAMS parameter = message.parameter();
  Bytes whole(40), parts(40);
  ASSERT_EQ(m->C_MessageEncryptInit(session, M(CKM_AES_GCM), key), CKR_OK);
  ASSERT_EQ(EncryptMessage(message, text, whole), CKR_OK);
  const Bytes tag = message.tag;
  ASSERT_EQ(m->C_EncryptMessageBegin(session, &parameter, sizeof parameter, message.aad.data(), 5), CKR_OK);
  EXPECT_EQ(EncryptMessage(message, text, whole), CKR_OPERATION_ACTIVE);
  CK_ULONG n = 40;
  auto* in = const_cast<CK_BYTE*>(text.data());
  ASSERT_EQ(m->C_EncryptMessageNext(session, &parameter, sizeof parameter, in, 13, parts.data(), &n, 0), CKR_OK);
  n = 5;
  EXPECT_EQ(m->C_EncryptMessageNext(session, &parameter, sizeof parameter, in + 13, 27, parts.data() + 13, &n,
                                    CKF_END_OF_MESSAGE),
            CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(n, 27u);
  ASSERT_EQ(m->C_EncryptMessageNext(session, &parameter, sizeof parameter, in + 13, 27, parts.data() + 13, &n,
                                    CKF_END_OF_MESSAGE),
            CKR_OK);
  EXPECT_EQ(parts, whole);
  EXPECT_EQ(message.tag, tag);
  // Decrypting: nothing until the end.
  ASSERT_EQ(m->C_MessageDecryptInit(session, M(CKM_AES_GCM), key), CKR_OK);
  ASSERT_EQ(m->C_DecryptMessageBegin(session, &parameter, sizeof parameter, message.aad.data(), 5), CKR_OK);
  Bytes opened(40);
  n = 40;
  ASSERT_EQ(m->C_DecryptMessageNext(session, &parameter, sizeof parameter, whole.data(), 13, opened.data(), &n, 0),
            CKR_OK);
  EXPECT_EQ(n, 0u);
  n = 39;
  EXPECT_EQ(m->C_DecryptMessageNext(session, &parameter, sizeof parameter, whole.data() + 13, 27, opened.data(), &n,
                                    CKF_END_OF_MESSAGE),
            CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(n, 40u);
  ASSERT_EQ(m->C_DecryptMessageNext(session, &parameter, sizeof parameter, whole.data() + 13, 27, opened.data(), &n,
                                    CKF_END_OF_MESSAGE),
            CKR_OK);
  EXPECT_EQ(opened, text);
}

TEST_F(MessageTest, DualFunctionsDoBoth) {
  const auto key = GenerateAes();
  const Bytes iv(16, 1), text(48, 7);
  const Bytes expected = Encrypt(M(CKM_AES_CBC, iv), key, text), hash = Digest(CKM_SHA256, text);
  Bytes sealed(48), digest(32), opened(48);
  CK_ULONG n = 48, k = 32;
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC, iv), key), CKR_OK);
  ASSERT_EQ(f->C_DigestInit(session, M(CKM_SHA256)), CKR_OK);
  ASSERT_EQ(f->C_DigestEncryptUpdate(session, const_cast<CK_BYTE*>(text.data()), 48, sealed.data(), &n), CKR_OK);
  EXPECT_EQ(sealed, expected);
  EXPECT_EQ(f->C_DigestFinal(session, digest.data(), &k), CKR_OK);
  EXPECT_EQ(digest, hash);
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_CBC, iv), key), CKR_OK);
  ASSERT_EQ(f->C_DigestInit(session, M(CKM_SHA256)), CKR_OK);
  ASSERT_EQ(f->C_DecryptDigestUpdate(session, sealed.data(), 48, opened.data(), &n), CKR_OK);
  EXPECT_EQ(opened, text);
  EXPECT_EQ(f->C_DigestFinal(session, digest.data(), &k), CKR_OK);
  EXPECT_EQ(digest, hash);
}

}  // namespace
}  // namespace cmkd::sim
