// Keys that come with a ciphertext (C_EncapsulateKey), keys wrapped with associated data, and templates within
// templates.
#include "tests/firmware_sim/field_answers.h"
#include "tests/functions/functions_fixture.h"

namespace cmkd::tests {
namespace {

class KeyCallsTest : public CallsTest {
 protected:
  static Template Secret(CK_ULONG bytes) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
    t.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    if (bytes != 0) t.Ulong(CKA_VALUE_LEN, bytes);
    return t;
  }
  CK_RV Encapsulate(CK_MECHANISM m, CK_OBJECT_HANDLE key, Template t, Bytes& ciphertext, CK_OBJECT_HANDLE& secret) {
    CK_ULONG length = ciphertext.size();
    const CK_RV rv = f_->C_EncapsulateKey(s_, &m, key, t.data(), t.size(), ciphertext.data(), &length, &secret);
    if (rv == CKR_OK) ciphertext.resize(length);
    return rv;
  }
  CK_RV Decapsulate(CK_MECHANISM m, CK_OBJECT_HANDLE key, Template t, const Bytes& ciphertext,
                    CK_OBJECT_HANDLE& secret) {
    return f_->C_DecapsulateKey(s_, &m, key, t.data(), t.size(), BytePtr(ciphertext), ciphertext.size(), &secret);
  }
};

// Of 13 bytes: SoftHSM loses their length when it wraps them, so it keeps such keys as objects of its own.
TEST_F(KeyCallsTest, AKeyThatIsRefusedAfterItWasMadeLeavesNothingInTheDevice) {
  CK_OBJECT_HANDLE key = 0;
  Template brought = Secret(0).Raw(CKA_VALUE, Bytes(13, 7)).Raw(CKA_CHECK_VALUE, {1, 2, 3});
  EXPECT_EQ(f_->C_CreateObject(s_, brought.data(), brought.size(), &key), CKR_ATTRIBUTE_VALUE_INVALID);
  CK_MECHANISM generate = M(CKM_GENERIC_SECRET_KEY_GEN);
  Template made = Secret(13).Raw(CKA_CHECK_VALUE, {1, 2, 3});
  EXPECT_EQ(f_->C_GenerateKey(s_, &generate, made.data(), made.size(), &key), CKR_ATTRIBUTE_VALUE_INVALID);
  std::string found;
  EXPECT_EQ(Cmkctl("hsm reconcile", &found), 0) << found;
}

TEST_F(KeyCallsTest, RsaEncapsulatesASecret) {
  const Pair rsa = Rsa();
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  for (CK_MECHANISM m : {M(CKM_RSA_PKCS), CK_MECHANISM{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep}}) {
    Bytes ciphertext(300);
    CK_OBJECT_HANDLE sent = 0, received = 0;
    Template t = Secret(32);
    CK_ULONG length = 0;
    ASSERT_EQ(f_->C_EncapsulateKey(s_, &m, rsa.public_key, t.data(), t.size(), nullptr, &length, &sent), CKR_OK);
    EXPECT_EQ(length, 256u);
    EXPECT_EQ(sent, 0u) << "asking for the length makes no key";
    length = 255;
    ASSERT_EQ(f_->C_EncapsulateKey(s_, &m, rsa.public_key, t.data(), t.size(), ciphertext.data(), &length, &sent),
              CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(sent, 0u);
    ASSERT_EQ(Encapsulate(m, rsa.public_key, Secret(32), ciphertext, sent), CKR_OK);
    EXPECT_EQ(ciphertext.size(), 256u);
    ASSERT_EQ(Decapsulate(m, rsa.private_key, Secret(0), ciphertext, received), CKR_OK);
    EXPECT_EQ(Value(sent), Value(received));
    EXPECT_EQ(Value(sent).size(), 32u);
    CK_BBOOL local = 9;
    CK_ATTRIBUTE wanted{CKA_LOCAL, &local, 1};
    ASSERT_EQ(f_->C_GetAttributeValue(s_, sent, &wanted, 1), CKR_OK);
    EXPECT_EQ(local, CK_FALSE);
  }
  CK_MECHANISM m = M(CKM_RSA_PKCS);
  Bytes ciphertext(300);
  CK_OBJECT_HANDLE secret = 0;
  EXPECT_EQ(Encapsulate(m, rsa.public_key, Secret(0), ciphertext, secret), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(Encapsulate(m, rsa.private_key, Secret(32), ciphertext, secret), CKR_KEY_HANDLE_INVALID);
  EXPECT_EQ(Encapsulate(M(CKM_SHA256_RSA_PKCS), rsa.public_key, Secret(32), ciphertext, secret), CKR_MECHANISM_INVALID);
  EXPECT_TRUE((FlagsOf(CKM_RSA_PKCS) & CKF_ENCAPSULATE) != 0);
}

TEST_F(KeyCallsTest, EcdhEncapsulatesASecret) {
  const Pair ec = Ec();
  CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, 0, nullptr};
  CK_MECHANISM m{CKM_ECDH1_DERIVE, &ecdh, sizeof ecdh};
  Bytes ciphertext(200);
  CK_OBJECT_HANDLE sent = 0, received = 0;
  ASSERT_EQ(Encapsulate(m, ec.public_key, Secret(32), ciphertext, sent), CKR_OK);
  EXPECT_EQ(ciphertext.size(), 65u);
  ASSERT_EQ(Decapsulate(m, ec.private_key, Secret(32), ciphertext, received), CKR_OK);
  EXPECT_EQ(Value(sent), Value(received));
  EXPECT_EQ(Value(sent).size(), 32u);
  // Each time another secret.
  Bytes second(200);
  CK_OBJECT_HANDLE other = 0;
  ASSERT_EQ(Encapsulate(m, ec.public_key, Secret(32), second, other), CKR_OK);
  EXPECT_NE(second, ciphertext);
  EXPECT_NE(Value(other), Value(sent));
  // A point that is not on the curve, and one where none belongs.
  ciphertext[10] = static_cast<std::uint8_t>(ciphertext[10] ^ 1);
  EXPECT_NE(Decapsulate(m, ec.private_key, Secret(32), ciphertext, other), CKR_OK);
  ecdh.pPublicData = second.data();
  ecdh.ulPublicDataLen = second.size();
  EXPECT_EQ(Encapsulate(m, ec.public_key, Secret(32), ciphertext, other), CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(KeyCallsTest, KeysWithoutTheUsageDoNotEncapsulate) {
  const Pair rsa = MakePair(
      CKM_RSA_PKCS_KEY_PAIR_GEN,
      Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1}).Bool(CKA_ENCAPSULATE, false),
      Template().Bool(CKA_DECAPSULATE, false));
  Bytes ciphertext(256);
  CK_OBJECT_HANDLE secret = 0;
  EXPECT_EQ(Encapsulate(M(CKM_RSA_PKCS), rsa.public_key, Secret(32), ciphertext, secret),
            CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Decapsulate(M(CKM_RSA_PKCS), rsa.private_key, Secret(0), ciphertext, secret),
            CKR_KEY_FUNCTION_NOT_PERMITTED);
}

// A sensitive secret leaves only to where a sensitive key may be wrapped: to a pair that was made here, that never
// works on data and from which only sensitive keys come out again.
TEST_F(KeyCallsTest, ASensitiveSecretIsEncapsulatedAsItWouldBeWrapped) {
  const auto sensitive = [] {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
    return t.Bool(CKA_SENSITIVE, true);
  };
  const auto sealed_in = [&](Bytes& ciphertext) { ciphertext.assign(300, 0); };
  CK_RSA_PKCS_OAEP_PARAMS parameter{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  CK_MECHANISM oaep{CKM_RSA_PKCS_OAEP, &parameter, sizeof parameter};
  const Pair rsa = Rsa(Template().Bool(CKA_EXTRACTABLE, false).Bool(CKA_SENSITIVE, true));
  Bytes ciphertext;
  CK_OBJECT_HANDLE sent = 0, received = 0;
  sealed_in(ciphertext);
  EXPECT_EQ(Encapsulate(M(CKM_RSA_PKCS), rsa.public_key, sensitive().Ulong(CKA_VALUE_LEN, 32), ciphertext, sent),
            CKR_MECHANISM_INVALID)
      << "a padding that can be probed";
  ASSERT_EQ(Encapsulate(oaep, rsa.public_key, sensitive().Ulong(CKA_VALUE_LEN, 32), ciphertext, sent), CKR_OK);
  Bytes plain(300);
  CK_ULONG length = plain.size();
  EXPECT_EQ(f_->C_DecryptInit(s_, &oaep, rsa.private_key), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(f_->C_Decrypt(s_, ciphertext.data(), ciphertext.size(), plain.data(), &length),
            CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(Decapsulate(oaep, rsa.private_key, Secret(0), ciphertext, received), CKR_TEMPLATE_INCONSISTENT)
      << "readable again";
  EXPECT_EQ(Decapsulate(oaep, rsa.private_key, sensitive(), ciphertext, received), CKR_OK);

  // A pair that has decrypted, and a public key of which nobody knows where its other half is.
  const Pair used = Rsa(Template().Bool(CKA_EXTRACTABLE, false).Bool(CKA_SENSITIVE, true));
  sealed_in(ciphertext);
  ASSERT_EQ(Encapsulate(oaep, used.public_key, Secret(32), ciphertext, sent), CKR_OK);
  ASSERT_EQ(f_->C_DecryptInit(s_, &oaep, used.private_key), CKR_OK);
  length = plain.size();
  EXPECT_EQ(f_->C_Decrypt(s_, ciphertext.data(), ciphertext.size(), plain.data(), &length), CKR_OK);
  sealed_in(ciphertext);
  EXPECT_EQ(Encapsulate(oaep, used.public_key, sensitive().Ulong(CKA_VALUE_LEN, 32), ciphertext, sent),
            CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(Encapsulate(oaep, used.public_key, Secret(32).Bool(CKA_WRAP_WITH_TRUSTED, true), ciphertext, sent),
            CKR_TEMPLATE_INCONSISTENT);

  // An agreed secret is derived again, readable, with the private key.
  const Pair ec = Ec();
  CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, 0, nullptr};
  CK_MECHANISM agreement{CKM_ECDH1_DERIVE, &ecdh, sizeof ecdh};
  EXPECT_EQ(Encapsulate(agreement, ec.public_key, sensitive().Ulong(CKA_VALUE_LEN, 32), ciphertext, sent),
            CKR_MECHANISM_INVALID);
}

// ---- Keys modulo a prime

class FieldKeysTest : public KeyCallsTest {
 protected:
  static Bytes FromHex(std::string_view text) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
      bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
  }
  Bytes PublicValue(CK_OBJECT_HANDLE key) {
    Bytes value(512);
    CK_ATTRIBUTE wanted{CKA_VALUE, value.data(), value.size()};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK);
    value.resize(wanted.ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : wanted.ulValueLen);
    return value;
  }
  // Whether the token makes keys of so many bits.
  bool Makes(CK_MECHANISM_TYPE type, CK_ULONG bits) {
    CK_MECHANISM_INFO info{};
    return f_->C_GetMechanismInfo(slot_, type, &info) == CKR_OK && info.ulMinKeySize <= bits &&
           bits <= info.ulMaxKeySize;
  }
};

TEST_F(FieldKeysTest, TwoPairsAgree) {
  namespace field = sim::field;
  const struct {
    CK_MECHANISM_TYPE make, derive;
    Template group;
  } kinds[] = {{CKM_DH_PKCS_KEY_PAIR_GEN, CKM_DH_PKCS_DERIVE,
                Template().Raw(CKA_PRIME, FromHex(field::kModpPrime)).Raw(CKA_BASE, {2})},
               {CKM_X9_42_DH_KEY_PAIR_GEN, CKM_X9_42_DH_DERIVE,
                Template()
                    .Raw(CKA_PRIME, FromHex(field::kPrime))
                    .Raw(CKA_BASE, FromHex(field::kBase))
                    .Raw(CKA_SUBPRIME, FromHex(field::kSubprime))}};
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.make);
    if (!Makes(kind.make, 2048)) {
      EXPECT_FALSE(software());
      continue;
    }
    const Pair one = MakePair(kind.make, kind.group), two = MakePair(kind.make, kind.group);
    const auto agree = [&](const Pair& own, const Pair& other) {
      Bytes peer = PublicValue(other.public_key);
      CK_X9_42_DH1_DERIVE_PARAMS x942{CKD_NULL, 0, nullptr, peer.size(), peer.data()};
      CK_MECHANISM m{kind.derive, peer.data(), peer.size()};
      if (kind.derive == CKM_X9_42_DH_DERIVE) m = {kind.derive, &x942, sizeof x942};
      Template t = Secret(32);
      CK_OBJECT_HANDLE made = 0;
      EXPECT_EQ(f_->C_DeriveKey(s_, &m, own.private_key, t.data(), t.size(), &made), CKR_OK);
      return Value(made);
    };
    const Bytes secret = agree(one, two);
    EXPECT_EQ(secret.size(), 32u);
    EXPECT_EQ(secret, agree(two, one));
  }
}

TEST_F(FieldKeysTest, DsaSignsAndVerifies) {
  namespace field = sim::field;
  if (!Makes(CKM_DSA_KEY_PAIR_GEN, 2048)) {
    EXPECT_FALSE(software());
    return;
  }
  const Pair pair = MakePair(CKM_DSA_KEY_PAIR_GEN, Template()
                                                       .Raw(CKA_PRIME, FromHex(field::kPrime))
                                                       .Raw(CKA_SUBPRIME, FromHex(field::kSubprime))
                                                       .Raw(CKA_BASE, FromHex(field::kBase)));
  const Bytes signature = Sign(M(CKM_DSA_SHA256), pair.private_key, kText);
  EXPECT_EQ(signature.size(), 64u);
  EXPECT_EQ(Verify(M(CKM_DSA_SHA256), pair.public_key, kText, signature), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_DSA), pair.public_key, Digest(kText), signature), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_DSA_SHA256), pair.public_key, Bytes{1}, signature), CKR_SIGNATURE_INVALID);
}

// Go's crypto11 signs in each of FIPS 186-4's groups, and its halves are as long as the subprime.
TEST_F(FieldKeysTest, DsaSignaturesAreAsLongAsTheSubprime) {
  Bytes text(kText);
  for (const sim::field::Group& group : sim::field::kShorterGroups) {
    if (!Makes(CKM_DSA_KEY_PAIR_GEN, 4 * group.prime.size())) {
      EXPECT_FALSE(software());
      continue;
    }
    const Pair pair = MakePair(CKM_DSA_KEY_PAIR_GEN, Template()
                                                         .Raw(CKA_PRIME, FromHex(group.prime))
                                                         .Raw(CKA_SUBPRIME, FromHex(group.subprime))
                                                         .Raw(CKA_BASE, FromHex(group.base)));
    for (const CK_MECHANISM_TYPE type : {CKM_DSA_SHA1, CKM_DSA_SHA256}) {
      CK_MECHANISM m = M(type);
      ASSERT_EQ(f_->C_SignInit(s_, &m, pair.private_key), CKR_OK);
      CK_ULONG length = 0;
      ASSERT_EQ(f_->C_Sign(s_, text.data(), text.size(), nullptr, &length), CKR_OK);
      EXPECT_EQ(length, 2 * group.subprime_bytes);
      Bytes signature(length);
      ASSERT_EQ(f_->C_Sign(s_, text.data(), text.size(), signature.data(), &length), CKR_OK);
      EXPECT_EQ(length, signature.size());
      EXPECT_EQ(Verify(M(type), pair.public_key, kText, signature), CKR_OK);
      EXPECT_EQ(Verify(M(type), pair.public_key, Bytes{1}, signature), CKR_SIGNATURE_INVALID);
    }
  }
}

// ---- Wrapping with associated data

TEST_F(KeyCallsTest, WrappingWithAssociatedDataIsTheDevices) {
  const CK_OBJECT_HANDLE wrapping = Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true));
  const CK_OBJECT_HANDLE key = Open(Bytes(32, 0x77));
  Bytes iv(12), tag(16), wrapped(200);
  CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_GENERATE, tag.data(), 128};
  CK_MECHANISM m{CKM_AES_GCM, &parameter, sizeof parameter};
  Bytes aad = {1, 2, 3};
  CK_ULONG length = wrapped.size();
  const CK_RV rv = f_->C_WrapKeyAuthenticated(s_, &m, wrapping, key, aad.data(), aad.size(), wrapped.data(), &length);
  if (rv == CKR_MECHANISM_INVALID) {
    EXPECT_FALSE(software()) << "SoftHSM does not know the call; the simulated device does";
    return;
  }
  ASSERT_EQ(rv, CKR_OK);
  wrapped.resize(length);
  EXPECT_EQ(wrapped.size(), 32u);
  EXPECT_NE(iv, Bytes(12));
  EXPECT_NE(tag, Bytes(16));
  Template t = Secret(0);
  CK_OBJECT_HANDLE opened = 0;
  const auto unwrap = [&] {
    return f_->C_UnwrapKeyAuthenticated(s_, &m, wrapping, wrapped.data(), wrapped.size(), t.data(), t.size(),
                                        aad.data(), aad.size(), &opened);
  };
  ASSERT_EQ(unwrap(), CKR_OK);
  EXPECT_EQ(Value(opened), Bytes(32, 0x77));
  aad[0] = 9;
  EXPECT_EQ(unwrap(), CKR_WRAPPED_KEY_INVALID);
  aad[0] = 1;
  tag[0] = static_cast<std::uint8_t>(tag[0] ^ 1);
  EXPECT_EQ(unwrap(), CKR_WRAPPED_KEY_INVALID);
}

TEST_F(KeyCallsTest, WrappingWithAssociatedDataKeepsTheRulesOfWrapping) {
  const CK_OBJECT_HANDLE wrapping = Aes(Template().Bool(CKA_WRAP, true));
  const CK_OBJECT_HANDLE closed = Aes(Template().Bool(CKA_EXTRACTABLE, false));
  Bytes iv(12), tag(16), wrapped(200);
  CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_GENERATE, tag.data(), 128};
  CK_MECHANISM m{CKM_AES_GCM, &parameter, sizeof parameter};
  CK_ULONG length = wrapped.size();
  EXPECT_EQ(f_->C_WrapKeyAuthenticated(s_, &m, wrapping, closed, nullptr, 0, wrapped.data(), &length),
            CKR_KEY_UNEXTRACTABLE);
  EXPECT_EQ(f_->C_WrapKeyAuthenticated(s_, &m, wrapping, wrapping, nullptr, 0, wrapped.data(), &length),
            CKR_KEY_UNEXTRACTABLE);
  CK_MECHANISM bare = M(CKM_AES_GCM);
  EXPECT_EQ(f_->C_WrapKeyAuthenticated(s_, &bare, wrapping, closed, nullptr, 0, wrapped.data(), &length),
            CKR_MECHANISM_PARAM_INVALID);
}

// Two keys wrapped under one IV differ as their values do. So a sensitive key is wrapped under the token's IV only, and
// a key that does so takes no IV from its caller ever after.
TEST_F(KeyCallsTest, SensitiveKeysAreNotWrappedUnderTheCallersIv) {
  const CK_OBJECT_HANDLE wrapping = Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_EXTRACTABLE, false));
  const CK_OBJECT_HANDLE secret = Aes(Template().Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, true));
  const CK_OBJECT_HANDLE known = Open(Bytes(32, 0x77));
  Bytes iv(12), tag(16), wrapped(200);
  CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_NO_GENERATE, tag.data(), 128};
  CK_MECHANISM m{CKM_AES_GCM, &parameter, sizeof parameter};
  const auto wrap = [&](CK_OBJECT_HANDLE key) {
    CK_ULONG length = wrapped.size();
    return f_->C_WrapKeyAuthenticated(s_, &m, wrapping, key, nullptr, 0, wrapped.data(), &length);
  };
  EXPECT_EQ(wrap(secret), CKR_MECHANISM_PARAM_INVALID);
  CK_GCM_PARAMS gcm{iv.data(), 12, 96, nullptr, 0, 128};
  CK_MECHANISM plain{CKM_AES_GCM, &gcm, sizeof gcm};
  CK_ULONG length = wrapped.size();
  const CK_RV rv = f_->C_WrapKey(s_, &plain, wrapping, secret, wrapped.data(), &length);
  EXPECT_TRUE(rv == CKR_MECHANISM_PARAM_INVALID || (!software() && rv == CKR_MECHANISM_INVALID)) << rv;
  if (!software()) return;  // SoftHSM does not know the call
  parameter.ivGenerator = CKG_GENERATE;
  ASSERT_EQ(wrap(secret), CKR_OK);
  parameter.ivGenerator = CKG_NO_GENERATE;
  EXPECT_EQ(wrap(known), CKR_MECHANISM_PARAM_INVALID);
  length = wrapped.size();
  EXPECT_EQ(f_->C_WrapKey(s_, &plain, wrapping, known, wrapped.data(), &length), CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(KeyCallsTest, WrapKeySaysThatItMakesNoIv) {
  if ((FlagsOf(CKM_AES_GCM) & CKF_WRAP) == 0) {
    EXPECT_FALSE(software());
    return;
  }
  const CK_OBJECT_HANDLE wrapping = Aes(Template().Bool(CKA_WRAP, true)), known = Open(Bytes(32, 0x77));
  Bytes iv(12), wrapped(64);
  CK_GCM_WRAP_PARAMS parameter{iv.data(), iv.size(), 0, CKG_GENERATE, nullptr, 0, 128};
  CK_MECHANISM m{CKM_AES_GCM, &parameter, sizeof parameter};
  CK_ULONG length = wrapped.size();
  EXPECT_EQ(f_->C_WrapKey(s_, &m, wrapping, known, wrapped.data(), &length), CKR_MECHANISM_PARAM_INVALID);
  parameter.ivGenerator = CKG_NO_GENERATE;
  EXPECT_EQ(f_->C_WrapKey(s_, &m, wrapping, known, wrapped.data(), &length), CKR_OK);
}

TEST_F(KeyCallsTest, EveryAeadWrapsWithAssociatedData) {
  if (!software()) return;  // SoftHSM does not know the call
  const Bytes value(32, 0x77);
  Bytes nonce(12), tag(16), aad = {1, 2, 3};
  CK_CCM_MESSAGE_PARAMS ccm{0, nonce.data(), nonce.size(), 0, CKG_GENERATE, tag.data(), tag.size()};
  CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS chacha{nonce.data(), nonce.size() * 8, tag.data()};
  CK_MECHANISM generator = M(CKM_CHACHA20_KEY_GEN);
  Template t = Template().Bool(CKA_TOKEN, false).Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true);
  CK_OBJECT_HANDLE chacha_key = 0;
  ASSERT_EQ(f_->C_GenerateKey(s_, &generator, t.data(), t.size(), &chacha_key), CKR_OK);
  const struct {
    CK_MECHANISM mechanism;
    CK_OBJECT_HANDLE key;
  } ways[] = {{{CKM_AES_CCM, &ccm, sizeof ccm}, Aes(Template().Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true))},
              {{CKM_CHACHA20_POLY1305, &chacha, sizeof chacha}, chacha_key}};
  for (const auto& way : ways) {
    SCOPED_TRACE(way.mechanism.mechanism);
    CK_MECHANISM m = way.mechanism;
    Bytes wrapped(64);
    CK_ULONG length = wrapped.size();
    ASSERT_EQ(f_->C_WrapKeyAuthenticated(s_, &m, way.key, Open(value), aad.data(), aad.size(), wrapped.data(), &length),
              CKR_OK);
    EXPECT_EQ(length, value.size());
    Template secret = Secret(0);
    CK_OBJECT_HANDLE opened = 0;
    const auto unwrap = [&] {
      return f_->C_UnwrapKeyAuthenticated(s_, &m, way.key, wrapped.data(), length, secret.data(), secret.size(),
                                          aad.data(), aad.size(), &opened);
    };
    ASSERT_EQ(unwrap(), CKR_OK);
    EXPECT_EQ(Value(opened), value);
    tag[3] = static_cast<std::uint8_t>(tag[3] ^ 1);
    EXPECT_EQ(unwrap(), CKR_WRAPPED_KEY_INVALID);
  }
}

// ---- Templates within templates

TEST_F(KeyCallsTest, ATemplateIsReadBackByTheRulesOfAttributes) {
  CK_BBOOL yes = CK_TRUE;
  CK_ULONG aes = CKK_AES;
  CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, sizeof yes}, {CKA_KEY_TYPE, &aes, sizeof aes}};
  CK_ULONG bytes = 32;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &bytes, sizeof bytes},
                      {CKA_TOKEN, &no, sizeof no},
                      {CKA_WRAP, &yes, sizeof yes},
                      {CKA_WRAP_TEMPLATE, inner, sizeof inner}};
  CK_MECHANISM m = M(CKM_AES_KEY_GEN);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(f_->C_GenerateKey(s_, &m, t, 4, &key), CKR_OK);

  CK_ATTRIBUTE wanted{CKA_WRAP_TEMPLATE, nullptr, 0};
  ASSERT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK);
  ASSERT_EQ(wanted.ulValueLen, 2 * sizeof(CK_ATTRIBUTE));
  CK_ATTRIBUTE got[2] = {};
  wanted.pValue = got;
  ASSERT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK) << "types and lengths first";
  EXPECT_EQ(wanted.ulValueLen, sizeof got);
  EXPECT_THAT(std::vector<CK_ULONG>({got[0].type, got[1].type}),
              ::testing::UnorderedElementsAre(CKA_SENSITIVE, CKA_KEY_TYPE));
  CK_BYTE first[8] = {}, second[8] = {};
  got[0].pValue = first;
  got[1].pValue = second;
  ASSERT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK);
  const CK_ATTRIBUTE& type = got[0].type == CKA_KEY_TYPE ? got[0] : got[1];
  EXPECT_EQ(type.ulValueLen, sizeof(CK_ULONG));
  CK_ULONG value = 0;
  std::memcpy(&value, type.pValue, sizeof value);
  EXPECT_EQ(value, CK_ULONG{CKK_AES});
  // Room that is too little, inside and outside.
  got[0].ulValueLen = 0;
  EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(got[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  wanted.ulValueLen = sizeof(CK_ATTRIBUTE);
  EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(wanted.ulValueLen, CK_UNAVAILABLE_INFORMATION);
}

}  // namespace
}  // namespace cmkd::tests
