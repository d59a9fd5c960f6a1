// DSA and Diffie-Hellman in fields, against answers of another implementation (field_answers.h).
#include "pkcs11/spec/mechanism_table.h"
#include "tests/firmware_sim/device_fixture.h"
#include "tests/firmware_sim/field_answers.h"

namespace cmkd::sim {
namespace {

class FieldTest : public DeviceTest {
 protected:
  static T Group(CK_KEY_TYPE type) {
    T group;
    group.Ulong(CKA_KEY_TYPE, type);
    if (type == CKK_DH) return group.Raw(CKA_PRIME, FromHex(field::kModpPrime)).Raw(CKA_BASE, {2});
    return group.Raw(CKA_PRIME, FromHex(field::kPrime))
        .Raw(CKA_SUBPRIME, FromHex(field::kSubprime))
        .Raw(CKA_BASE, FromHex(field::kBase));
  }
  CK_OBJECT_HANDLE Private(CK_KEY_TYPE type, std::string_view value) {
    return Create(Group(type)
                      .Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
                      .Raw(CKA_VALUE, FromHex(value))
                      .Bool(CKA_SENSITIVE, false)
                      .Bool(CKA_EXTRACTABLE, true)
                      .Bool(type == CKK_DSA ? CKA_SIGN : CKA_DERIVE, true));
  }
  CK_OBJECT_HANDLE Public(CK_KEY_TYPE type, std::string_view value) {
    return Create(Group(type).Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Raw(CKA_VALUE, FromHex(value)));
  }
  Pair Generate(CK_MECHANISM_TYPE mechanism, CK_KEY_TYPE type) {
    Pair pair;
    T public_key = Group(type), private_key;
    private_key.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    rv = f->C_GenerateKeyPair(session, M(mechanism), public_key.data(), public_key.size(), private_key.data(),
                              private_key.size(), &pair.public_key, &pair.private_key);
    return pair;
  }
  // The agreed secret, whole.
  std::string Agree(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE base, const Bytes& peer, CK_ULONG kdf = CKD_NULL,
                    CK_ULONG bytes = 256) {
    Bytes copy = peer;
    CK_X9_42_DH1_DERIVE_PARAMS x942{kdf, 0, nullptr, copy.size(), copy.data()};
    CK_MECHANISM flat{type, copy.data(), copy.size()}, in_struct{type, &x942, sizeof x942};
    T wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, bytes);
    wanted.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_DeriveKey(session, type == CKM_X9_42_DH_DERIVE ? &in_struct : &flat, base, wanted.data(), wanted.size(),
                        &made);
    return rv == CKR_OK ? Hex(Attribute(made, CKA_VALUE)) : "";
  }
};

TEST_F(FieldTest, DsaSignatures) {
  const auto signer = Private(CKK_DSA, field::kPrivate);
  ASSERT_EQ(rv, CKR_OK);
  const auto key = Public(CKK_DSA, field::kPublic);
  ASSERT_EQ(rv, CKR_OK);
  const Bytes text = ToBytes(AsBytes(std::string_view("message")));
  for (const field::Signed& answer : field::kSigned) {
    SCOPED_TRACE(spec::FindMechanism(answer.mechanism)->name);
    const Bytes message = answer.mechanism == CKM_DSA ? Digest(CKM_SHA_1, text) : text;
    Bytes signature = FromHex(answer.signature);
    EXPECT_EQ(Verify(M(answer.mechanism), key, message, signature), CKR_OK);
    const Bytes own = Sign(M(answer.mechanism), signer, message);
    EXPECT_EQ(own.size(), 64u);
    EXPECT_EQ(Verify(M(answer.mechanism), key, message, own), CKR_OK);
    signature[5] = static_cast<std::uint8_t>(signature[5] ^ 1);
    EXPECT_EQ(Verify(M(answer.mechanism), key, message, signature), CKR_SIGNATURE_INVALID);
    signature.pop_back();
    EXPECT_EQ(Verify(M(answer.mechanism), key, message, signature), CKR_SIGNATURE_LEN_RANGE);
  }
}

TEST_F(FieldTest, Agreement) {
  const auto x942 = Private(CKK_X9_42_DH, field::kPrivate);
  ASSERT_EQ(rv, CKR_OK);
  const auto modp = Private(CKK_DH, field::kModpPrivate);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Agree(CKM_X9_42_DH_DERIVE, x942, FromHex(field::kPeer)), field::kSecret);
  EXPECT_EQ(Agree(CKM_DH_PKCS_DERIVE, modp, FromHex(field::kModpPeer)), field::kModpSecret);
  EXPECT_EQ(Agree(CKM_DH_PKCS_DERIVE, modp, FromHex(field::kModpPeer), CKD_NULL, 32),
            field::kModpSecret.substr(field::kModpSecret.size() - 64));
  // SHA-1 of the secret and of the number one, big-endian in four bytes.
  Bytes hashed = FromHex(field::kSecret);
  hashed.insert(hashed.end(), {0, 0, 0, 1});
  EXPECT_EQ(Agree(CKM_X9_42_DH_DERIVE, x942, FromHex(field::kPeer), CKD_SHA1_KDF_CONCATENATE, 20),
            Hex(Digest(CKM_SHA_1, hashed)));
}

TEST_F(FieldTest, WhatIsNoPublicValueAgreesOnNothing) {
  const auto x942 = Private(CKK_X9_42_DH, field::kPrivate);
  const auto modp = Private(CKK_DH, field::kModpPrivate);
  Bytes minus_one = FromHex(field::kPrime);
  minus_one.back() = static_cast<std::uint8_t>(minus_one.back() - 1);
  Bytes modp_minus_one = FromHex(field::kModpPrime);
  modp_minus_one.back() = static_cast<std::uint8_t>(modp_minus_one.back() - 1);
  for (const Bytes& bad : {Bytes{0}, Bytes{1}, minus_one, FromHex(field::kPrime), Bytes{5}, Bytes(300, 0xff)}) {
    EXPECT_EQ(Agree(CKM_X9_42_DH_DERIVE, x942, bad), "");
    EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID) << Hex(bad);
  }
  for (const Bytes& bad : {Bytes{0}, Bytes{1}, modp_minus_one, FromHex(field::kModpPrime)}) {
    EXPECT_EQ(Agree(CKM_DH_PKCS_DERIVE, modp, bad), "");
    EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID) << Hex(bad);
  }
}

TEST_F(FieldTest, PairsAreMadeAndTravel) {
  const struct {
    CK_MECHANISM_TYPE mechanism;
    CK_KEY_TYPE type;
  } kinds[] = {
      {CKM_DSA_KEY_PAIR_GEN, CKK_DSA}, {CKM_DH_PKCS_KEY_PAIR_GEN, CKK_DH}, {CKM_X9_42_DH_KEY_PAIR_GEN, CKK_X9_42_DH}};
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.mechanism);
    const Pair pair = Generate(kind.mechanism, kind.type);
    ASSERT_EQ(rv, CKR_OK);
    const Bytes value = Attribute(pair.private_key, CKA_VALUE), shown = Attribute(pair.public_key, CKA_VALUE);
    EXPECT_FALSE(value.empty());
    EXPECT_GT(shown.size(), 240u);
    EXPECT_NE(value, shown);
    EXPECT_EQ(Attribute(pair.private_key, CKA_PRIME), Attribute(pair.public_key, CKA_PRIME));
    EXPECT_EQ(Attribute(pair.private_key, CKA_PUBLIC_KEY_INFO), Attribute(pair.public_key, CKA_PUBLIC_KEY_INFO));
    const auto wrapping = GenerateAes();
    const Bytes wrapped = Wrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, pair.private_key);
    ASSERT_EQ(rv, CKR_OK);
    const auto again = Unwrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, wrapped,
                              T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
                                  .Ulong(CKA_KEY_TYPE, kind.type)
                                  .Bool(CKA_SENSITIVE, false)
                                  .Bool(CKA_EXTRACTABLE, true));
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Attribute(again, CKA_VALUE), value);
  }
}

TEST_F(FieldTest, GroupsThatAreNoneAreRefused) {
  const auto refused = [&](T group) {
    CK_OBJECT_HANDLE a = 0, b = 0;
    T none;
    return f->C_GenerateKeyPair(session, M(CKM_DSA_KEY_PAIR_GEN), group.data(), group.size(), none.data(), 0, &a, &b);
  };
  Bytes composite = FromHex(field::kPrime), even = composite, subprime = FromHex(field::kSubprime);
  composite[100] = static_cast<std::uint8_t>(composite[100] ^ 1);
  even.back() = static_cast<std::uint8_t>(even.back() ^ 1);
  const auto group = [&](const Bytes& p, const Bytes& q, const Bytes& g) {
    return T().Raw(CKA_PRIME, p).Raw(CKA_SUBPRIME, q).Raw(CKA_BASE, g);
  };
  const Bytes p = FromHex(field::kPrime), g = FromHex(field::kBase);
  EXPECT_EQ(refused(group(p, subprime, g)), CKR_OK);
  EXPECT_EQ(refused(group(composite, subprime, g)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(group(even, subprime, g)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(group(p, subprime, {1})), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(refused(group(p, subprime, {3})), CKR_ATTRIBUTE_VALUE_INVALID);
  subprime.back() = static_cast<std::uint8_t>(subprime.back() ^ 2);
  EXPECT_EQ(refused(group(p, subprime, g)), CKR_ATTRIBUTE_VALUE_INVALID);
}

}  // namespace
}  // namespace cmkd::sim
