// The device against answers that another implementation made (second_source_answers.h).
#include <set>

#include "tests/firmware_sim/device_fixture.h"
#include "tests/firmware_sim/parameters.h"
#include "tests/firmware_sim/second_source_answers.h"

namespace cmkd::sim {
namespace {

using second_source::Answer;
namespace answers = second_source;

class SecondSourceTest : public DeviceTest {
 protected:
  static std::string Name(const Answer& answer) {
    return std::string(spec::FindMechanism(answer.mechanism)->name) + " " + std::string(answer.parameter);
  }
  CK_OBJECT_HANDLE Key(const Answer& answer) { return SecretKey(answer.key_type, FromHex(answer.key)); }
  CK_OBJECT_HANDLE Derive(const Answer& answer, CK_OBJECT_HANDLE base) {
    T wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    wanted.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    if (!answer.input.empty()) wanted.Ulong(CKA_VALUE_LEN, std::stoul(std::string(answer.input)));
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_DeriveKey(session, ParameterFromText(answer.mechanism, answer.parameter), base, wanted.data(),
                        wanted.size(), &made);
    return made;
  }
};

TEST_F(SecondSourceTest, Ciphers) {
  for (const Answer& answer : answers::kCiphers) {
    SCOPED_TRACE(Name(answer));
    const auto key = Key(answer);
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Hex(Encrypt(ParameterFromText(answer.mechanism, answer.parameter), key, FromHex(answer.input))),
              answer.output);
    EXPECT_EQ(Hex(Decrypt(ParameterFromText(answer.mechanism, answer.parameter), key, FromHex(answer.output))),
              answer.input);
  }
}

// What parts give together is what one part gives.
TEST_F(SecondSourceTest, CiphersInParts) {
  for (const Answer& answer : answers::kCiphers) {
    if (spec::FindMechanism(answer.mechanism)->parts == spec::Parts::kSingle) continue;
    SCOPED_TRACE(Name(answer));
    const auto key = Key(answer);
    Bytes in = FromHex(answer.input), out(in.size() + 32);
    ASSERT_EQ(f->C_EncryptInit(session, ParameterFromText(answer.mechanism, answer.parameter), key), CKR_OK);
    std::size_t made = 0;
    for (std::size_t i = 0; i < in.size(); i += 7) {
      CK_ULONG n = out.size() - made;
      ASSERT_EQ(
          f->C_EncryptUpdate(session, in.data() + i, std::min<std::size_t>(7, in.size() - i), out.data() + made, &n),
          CKR_OK);
      made += n;
    }
    CK_ULONG n = out.size() - made;
    ASSERT_EQ(f->C_EncryptFinal(session, out.data() + made, &n), CKR_OK);
    EXPECT_EQ(Hex(ByteView(out).first(made + n)), answer.output);
  }
}

TEST_F(SecondSourceTest, Macs) {
  for (const Answer& answer : answers::kMacs) {
    SCOPED_TRACE(Name(answer));
    const auto key = Key(answer);
    ASSERT_EQ(rv, CKR_OK);
    const Bytes in = FromHex(answer.input), mac = FromHex(answer.output);
    EXPECT_EQ(Hex(Sign(ParameterFromText(answer.mechanism, answer.parameter), key, in)), answer.output);
    EXPECT_EQ(Verify(ParameterFromText(answer.mechanism, answer.parameter), key, in, mac), CKR_OK);
    Bytes other = mac;
    other.back() ^= 1;
    EXPECT_EQ(Verify(ParameterFromText(answer.mechanism, answer.parameter), key, in, other), CKR_SIGNATURE_INVALID);
    other.push_back(0);
    EXPECT_EQ(Verify(ParameterFromText(answer.mechanism, answer.parameter), key, in, other), CKR_SIGNATURE_LEN_RANGE);
  }
}

TEST_F(SecondSourceTest, Digests) {
  for (const Answer& answer : answers::kDigests) {
    SCOPED_TRACE(Name(answer));
    ASSERT_EQ(f->C_DigestInit(session, ParameterFromText(answer.mechanism, answer.parameter)), CKR_OK);
    Bytes in = FromHex(answer.input), out(64);
    CK_ULONG n = out.size();
    ASSERT_EQ(f->C_Digest(session, in.data(), in.size(), out.data(), &n), CKR_OK);
    EXPECT_EQ(Hex(ByteView(out).first(n)), answer.output);
  }
}

TEST_F(SecondSourceTest, Derivations) {
  for (const Answer& answer : answers::kDerivations) {
    SCOPED_TRACE(Name(answer));
    const auto base = Key(answer);
    ASSERT_EQ(rv, CKR_OK);
    const auto made = Derive(answer, base);
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Hex(Attribute(made, CKA_VALUE)), answer.output);
  }
}

// What is derived from a secret key is as secret as it, whatever the derivation (PKCS#11 3.2 asks it of the
// "Miscellaneous simple key derivation mechanisms" only).
TEST_F(SecondSourceTest, DerivationsKeepWhatIsSecret) {
  for (const Answer& answer : answers::kDerivations) {
    SCOPED_TRACE(Name(answer));
    const auto base = Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
                                 .Ulong(CKA_KEY_TYPE, answer.key_type)
                                 .Raw(CKA_VALUE, FromHex(answer.key))
                                 .Bool(CKA_DERIVE, true)
                                 .Bool(CKA_SENSITIVE, true)
                                 .Bool(CKA_EXTRACTABLE, false));
    ASSERT_EQ(rv, CKR_OK);
    (void)Derive(answer, base);
    EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  }
}

}  // namespace
}  // namespace cmkd::sim
