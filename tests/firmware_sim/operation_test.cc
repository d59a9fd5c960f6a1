// What all operations have in common: the rules for output buffers, the order of calls, parts, and who may use which
// key.
#include <thread>

#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class OperationTest : public DeviceTest {
 protected:
  // One call with a buffer of this size; 0 asks for the length only.
  using Function = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
  CK_RV Call(Function function, const Bytes& in, std::size_t room) {
    out.assign(room, 0);
    CK_ULONG bytes = room;
    rv = function(session, const_cast<CK_BYTE*>(in.data()), in.size(), room == 0 ? nullptr : out.data(), &bytes);
    needed = bytes;
    if (rv == CKR_OK && room != 0) out.resize(bytes);
    return rv;
  }
  CK_RV CallFinal(CK_RV (*function)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR), std::size_t room) {
    out.assign(room, 0);
    CK_ULONG bytes = room;
    rv = function(session, room == 0 ? nullptr : out.data(), &bytes);
    needed = bytes;
    if (rv == CKR_OK && room != 0) out.resize(bytes);
    return rv;
  }
  CK_ULONG needed = 0;
  Bytes out;
};

const Bytes kIv12(12, 1);
const Bytes kIv16(16, 2);

TEST_F(OperationTest, LengthQueryKeepsTheOperationActive) {
  const auto key = GenerateAes();
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  const Bytes text(33, 4);
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_GCM, gcm), key), CKR_OK);
  EXPECT_EQ(Call(f->C_Encrypt, text, 0), CKR_OK);
  EXPECT_EQ(needed, 49u);
  EXPECT_EQ(Call(f->C_Encrypt, text, 48), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 49u);
  EXPECT_EQ(Call(f->C_Encrypt, text, 49), CKR_OK);
  EXPECT_EQ(Call(f->C_Encrypt, text, 49), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationTest, SignatureLengthQueryKeepsTheOperationActive) {
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  const Bytes hash(32, 4);
  ASSERT_EQ(f->C_SignInit(session, M(CKM_ECDSA), pair.private_key), CKR_OK);
  EXPECT_EQ(Call(f->C_Sign, hash, 0), CKR_OK);
  EXPECT_EQ(needed, 64u);
  EXPECT_EQ(Call(f->C_Sign, hash, 63), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(Call(f->C_Sign, hash, 64), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_ECDSA), pair.public_key, hash, out), CKR_OK);
}

TEST_F(OperationTest, BufferThatJustFitsWhatIsLeftAfterThePaddingIsEnough) {
  const auto key = GenerateAes();
  const Bytes text(20, 4);
  const Bytes sealed = Encrypt(M(CKM_AES_CBC_PAD, kIv16), key, text);
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_CBC_PAD, kIv16), key), CKR_OK);
  EXPECT_EQ(Call(f->C_Decrypt, sealed, 19), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 20u);
  EXPECT_EQ(Call(f->C_Decrypt, sealed, 20), CKR_OK);
  EXPECT_EQ(out, text);
}

TEST_F(OperationTest, RsaDecryptionTakesABufferThatJustFits) {
  const Pair pair = GenerateRsa();
  const Bytes text(20, 4);
  for (const CK_MECHANISM_TYPE type : {CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP}) {
    const CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
    M pkcs(CKM_RSA_PKCS);
    M padded(CKM_RSA_PKCS_OAEP, oaep);
    CK_MECHANISM* mechanism =
        type == CKM_RSA_PKCS ? static_cast<CK_MECHANISM*>(pkcs) : static_cast<CK_MECHANISM*>(padded);
    const Bytes sealed = Encrypt(mechanism, pair.public_key, text);
    ASSERT_EQ(rv, CKR_OK);
    ASSERT_EQ(f->C_DecryptInit(session, mechanism, pair.private_key), CKR_OK);
    EXPECT_EQ(Call(f->C_Decrypt, sealed, 0), CKR_OK);
    EXPECT_GE(needed, 20u);
    EXPECT_EQ(Call(f->C_Decrypt, sealed, 19), CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(needed, 20u);
    EXPECT_EQ(Call(f->C_Decrypt, sealed, 20), CKR_OK);
    EXPECT_EQ(out, text);
  }
}

TEST_F(OperationTest, FailureEndsTheOperation) {
  const auto key = GenerateAes();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC, kIv16), key), CKR_OK);
  EXPECT_EQ(Call(f->C_Encrypt, Bytes(15), 64), CKR_DATA_LEN_RANGE);
  EXPECT_EQ(Call(f->C_Encrypt, Bytes(16), 64), CKR_OPERATION_NOT_INITIALIZED);
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC, kIv16), key), CKR_OK);
  EXPECT_EQ(f->C_Encrypt(session, nullptr, 5, nullptr, nullptr), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(Call(f->C_Encrypt, Bytes(16), 64), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationTest, VerificationEndsTheOperationWhateverItSays) {
  const auto key = SecretKey(CKK_GENERIC_SECRET, Bytes(32, 1));
  ASSERT_EQ(f->C_VerifyInit(session, M(CKM_SHA256_HMAC), key), CKR_OK);
  Bytes data(4), signature(32);
  EXPECT_EQ(f->C_Verify(session, data.data(), 4, signature.data(), 32), CKR_SIGNATURE_INVALID);
  EXPECT_EQ(f->C_Verify(session, data.data(), 4, signature.data(), 32), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationTest, SecondInitIsRefusedAndNullMechanismCancels) {
  const auto key = GenerateAes();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OPERATION_ACTIVE);
  EXPECT_EQ(f->C_EncryptInit(session, nullptr, 0), CKR_OK);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  // Operations of other kinds go on beside it.
  EXPECT_EQ(f->C_DigestInit(session, M(CKM_SHA256)), CKR_OK);
}

TEST_F(OperationTest, SinglePartCallIsRefusedInAMultiPartOperation) {
  const auto key = GenerateAes();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC, kIv16), key), CKR_OK);
  EXPECT_EQ(Call(f->C_EncryptUpdate, Bytes(16), 16), CKR_OK);
  EXPECT_EQ(Call(f->C_Encrypt, Bytes(16), 16), CKR_OPERATION_ACTIVE);
}

TEST_F(OperationTest, SinglePartMechanismRefusesParts) {
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  ASSERT_EQ(f->C_SignInit(session, M(CKM_ECDSA), pair.private_key), CKR_OK);
  Bytes data(32);
  EXPECT_EQ(f->C_SignUpdate(session, data.data(), 32), CKR_FUNCTION_NOT_SUPPORTED);
}

// Every way of cutting a text into parts gives what one part gives.
TEST_F(OperationTest, PartsGiveWhatOnePartGives) {
  const auto key = GenerateAes();
  Bytes text(100);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint8_t>(i);
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  CK_AES_CTR_PARAMS ctr{128, {}};
  M mechanisms[] = {{CKM_AES_CBC_PAD, kIv16}, {CKM_AES_CTR, ctr}, {CKM_AES_GCM, gcm}};
  for (M& mechanism : mechanisms) {
    const Bytes whole = Encrypt(mechanism, key, text);
    ASSERT_EQ(rv, CKR_OK);
    for (const std::size_t step : {1u, 7u, 15u, 16u, 17u, 33u, 100u}) {
      for (const bool encrypting : {true, false}) {
        const Bytes& in = encrypting ? text : whole;
        Bytes joined;
        ASSERT_EQ(encrypting ? f->C_EncryptInit(session, mechanism, key) : f->C_DecryptInit(session, mechanism, key),
                  CKR_OK);
        for (std::size_t at = 0; at < in.size(); at += step) {
          const Bytes part(in.begin() + static_cast<std::ptrdiff_t>(at),
                           in.begin() + static_cast<std::ptrdiff_t>(std::min(in.size(), at + step)));
          ASSERT_EQ(Call(encrypting ? f->C_EncryptUpdate : f->C_DecryptUpdate, part, 128), CKR_OK);
          joined.insert(joined.end(), out.begin(), out.end());
        }
        ASSERT_EQ(CallFinal(encrypting ? f->C_EncryptFinal : f->C_DecryptFinal, 128), CKR_OK);
        joined.insert(joined.end(), out.begin(), out.end());
        EXPECT_EQ(joined, encrypting ? whole : text) << "step " << step;
      }
    }
  }
}

TEST_F(OperationTest, UpdateWithTooSmallABufferTakesNothing) {
  const auto key = GenerateAes();
  const Bytes text(32, 3);
  const Bytes whole = Encrypt(M(CKM_AES_CBC, kIv16), key, text);
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC, kIv16), key), CKR_OK);
  EXPECT_EQ(Call(f->C_EncryptUpdate, text, 31), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 32u);
  EXPECT_EQ(Call(f->C_EncryptUpdate, text, 32), CKR_OK);
  EXPECT_EQ(out, whole);
}

TEST_F(OperationTest, FinalWithTooSmallABufferCanBeRepeated) {
  const auto key = GenerateAes();
  const Bytes text(19, 3);
  const Bytes whole = Encrypt(M(CKM_AES_CBC_PAD, kIv16), key, text);
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_CBC_PAD, kIv16), key), CKR_OK);
  ASSERT_EQ(Call(f->C_DecryptUpdate, whole, 16), CKR_OK);
  EXPECT_EQ(CallFinal(f->C_DecryptFinal, 2), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 3u);
  EXPECT_EQ(CallFinal(f->C_DecryptFinal, 3), CKR_OK);
  EXPECT_EQ(out, Bytes(3, 3));
  EXPECT_EQ(CallFinal(f->C_DecryptFinal, 3), CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(OperationTest, GcmDecryptionInPartsGivesNothingBeforeTheTag) {
  const auto key = GenerateAes();
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  Bytes sealed = Encrypt(M(CKM_AES_GCM, gcm), key, Bytes(100, 3));
  sealed.back() ^= 1;
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_GCM, gcm), key), CKR_OK);
  EXPECT_EQ(Call(f->C_DecryptUpdate, sealed, 200), CKR_OK);
  EXPECT_TRUE(out.empty());
  out.assign(200, 0xee);
  CK_ULONG bytes = out.size();
  EXPECT_EQ(f->C_DecryptFinal(session, out.data(), &bytes), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(out, Bytes(200, 0xee));
}

TEST_F(OperationTest, GcmDecryptionWithAWrongTagWritesNothing) {
  const auto key = GenerateAes();
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  Bytes sealed = Encrypt(M(CKM_AES_GCM, gcm), key, Bytes(1000, 3));
  sealed[3] ^= 1;
  ASSERT_EQ(f->C_DecryptInit(session, M(CKM_AES_GCM, gcm), key), CKR_OK);
  out.assign(1000, 0xee);
  CK_ULONG bytes = out.size();
  EXPECT_EQ(f->C_Decrypt(session, sealed.data(), sealed.size(), out.data(), &bytes), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(out, Bytes(1000, 0xee));
}

TEST_F(OperationTest, CounterThatWouldComeRoundIsRefused) {
  const auto key = GenerateAes();
  CK_AES_CTR_PARAMS ctr{8, {}};
  ctr.cb[15] = 0xfe;  // two blocks are left
  EXPECT_EQ(Encrypt(M(CKM_AES_CTR, ctr), key, Bytes(32)).size(), 32u);
  Encrypt(M(CKM_AES_CTR, ctr), key, Bytes(33));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
  // A counter of all 128 bits may wrap from anywhere but the very end.
  CK_AES_CTR_PARAMS wide{128, {}};
  std::memset(wide.cb, 0xff, 16);
  EXPECT_EQ(Encrypt(M(CKM_AES_CTR, wide), key, Bytes(16)).size(), 16u);
  Encrypt(M(CKM_AES_CTR, wide), key, Bytes(17));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
}

TEST_F(OperationTest, KeyIsUsedOnlyAsItsAttributesSay) {
  const auto key = GenerateAes(32, T().Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, false));
  EXPECT_EQ(f->C_DecryptInit(session, M(CKM_AES_ECB), key), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(f->C_SignInit(session, M(CKM_SHA256_HMAC), key), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_SHA256), key), CKR_MECHANISM_INVALID);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_CBC), key), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), 99999), CKR_KEY_HANDLE_INVALID);
}

TEST_F(OperationTest, KeyWithAListOfMechanismsRefusesOthers) {
  const CK_MECHANISM_TYPE allowed[] = {CKM_AES_GCM};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(allowed);
  const auto key = GenerateAes(32, T().Raw(CKA_ALLOWED_MECHANISMS, Bytes(bytes, bytes + sizeof allowed)));
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_MECHANISM_INVALID);
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_GCM, gcm), key), CKR_OK);
}

TEST_F(OperationTest, KeyInUseSurvivesItsObject) {
  const auto key = GenerateAes();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
  ASSERT_EQ(f->C_DestroyObject(session, key), CKR_OK);
  EXPECT_EQ(Call(f->C_Encrypt, Bytes(16), 16), CKR_OK);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_KEY_HANDLE_INVALID);
}

TEST_F(OperationTest, DigestOfAKeyIsRefusedForSensitiveOnes) {
  ASSERT_EQ(f->C_DigestInit(session, M(CKM_SHA256)), CKR_OK);
  EXPECT_EQ(f->C_DigestKey(session, SecretKey(CKK_GENERIC_SECRET, Bytes{'a', 'b', 'c'})), CKR_OK);
  ASSERT_EQ(CallFinal(f->C_DigestFinal, 32), CKR_OK);
  EXPECT_EQ(out, Digest(CKM_SHA256, Bytes{'a', 'b', 'c'}));
  ASSERT_EQ(f->C_DigestInit(session, M(CKM_SHA256)), CKR_OK);
  EXPECT_EQ(f->C_DigestKey(session, GenerateAes()), CKR_KEY_INDIGESTIBLE);
}

TEST_F(OperationTest, EncryptionInPlace) {
  const auto key = GenerateAes();
  const CK_GCM_PARAMS gcm = Gcm(kIv12);
  Bytes buffer(1000, 5);
  const Bytes expected = Encrypt(M(CKM_AES_GCM, gcm), key, buffer);
  buffer.resize(1016);
  CK_ULONG bytes = buffer.size();
  ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_GCM, gcm), key), CKR_OK);
  ASSERT_EQ(f->C_Encrypt(session, buffer.data(), 1000, buffer.data(), &bytes), CKR_OK);
  EXPECT_EQ(buffer, expected);
}

// Sessions of one token, one key, many threads: each gets its own right answers.
TEST_F(OperationTest, ThreadsShareAKey) {
  const auto key = GenerateAes();
  const auto mac_key = SecretKey(CKK_GENERIC_SECRET, Bytes(32, 1));
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const CK_SESSION_HANDLE own = OpenSession();
      for (int i = 0; i < 300; ++i) {
        Bytes iv(12, static_cast<std::uint8_t>(i)), text(64, static_cast<std::uint8_t>(t)), sealed(80), opened(64),
            mac(64);
        const CK_GCM_PARAMS gcm = Gcm(iv);
        CK_ULONG n = 80, m = 64, k = 64;
        const bool ok = f->C_EncryptInit(own, M(CKM_AES_GCM, gcm), key) == CKR_OK &&
                        f->C_Encrypt(own, text.data(), 64, sealed.data(), &n) == CKR_OK &&
                        f->C_DecryptInit(own, M(CKM_AES_GCM, gcm), key) == CKR_OK &&
                        f->C_Decrypt(own, sealed.data(), n, opened.data(), &m) == CKR_OK && opened == text &&
                        f->C_SignInit(own, M(CKM_SHA256_HMAC), mac_key) == CKR_OK &&
                        f->C_Sign(own, text.data(), 64, mac.data(), &k) == CKR_OK &&
                        f->C_VerifyInit(own, M(CKM_SHA256_HMAC), mac_key) == CKR_OK &&
                        f->C_Verify(own, text.data(), 64, mac.data(), k) == CKR_OK;
        if (ok) ++good;
      }
      Bytes hash(32), signature(64);
      CK_ULONG n = 64;
      if (f->C_SignInit(own, M(CKM_ECDSA), pair.private_key) != CKR_OK ||
          f->C_Sign(own, hash.data(), 32, signature.data(), &n) != CKR_OK ||
          f->C_VerifyInit(own, M(CKM_ECDSA), pair.public_key) != CKR_OK ||
          f->C_Verify(own, hash.data(), 32, signature.data(), 64) != CKR_OK) {
        good -= 1000;
      }
      // Objects come and go meanwhile.
      for (int i = 0; i < 50; ++i) {
        CK_OBJECT_HANDLE made = 0;
        T attributes;
        attributes.Ulong(CKA_VALUE_LEN, 16);
        if (f->C_GenerateKey(own, M(CKM_AES_KEY_GEN), attributes.data(), attributes.size(), &made) != CKR_OK ||
            f->C_DestroyObject(own, made) != CKR_OK) {
          good -= 1000;
        }
      }
      f->C_CloseSession(own);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 4 * 300);
}

}  // namespace
}  // namespace cmkd::sim
