// What 3.2 adds to key management: encapsulation, and wrapping with associated data (PKCS#11 3.2 section 5.18).
#include "conformance/keys.h"
#include "conformance/plan.h"
#include "conformance/samples.h"

namespace cmkd::conformance {
namespace {

Bytes ValueOf(Trial& t, CK_OBJECT_HANDLE key) {
  Bytes value(512);
  CK_ATTRIBUTE one{CKA_VALUE, value.data(), value.size()};
  if (!WANT(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, key, &one, 1))) return {};
  value.resize(one.ulValueLen);
  return value;
}

Template OpenSecret() {
  return Template()
      .Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
      .Bool(CKA_TOKEN, false)
      .Bool(CKA_SENSITIVE, false)
      .Bool(CKA_EXTRACTABLE, true)
      .Ulong(CKA_VALUE_LEN, 32);
}

// A pair that may encapsulate and decapsulate, and the mechanism with a parameter for it.
struct Encapsulation {
  Trial& t;
  std::shared_ptr<Sample> sample;
  CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, 0, nullptr};
  CK_MECHANISM mechanism{};
  MadeKey key = {};
  const spec::MechanismRow* row = nullptr;

  bool Ready(const Offer& offer) {
    row = offer.row;
    sample = MakeSample(offer, CKF_WRAP);
    if (IsEcdh()) mechanism = {offer.type, &ecdh, sizeof ecdh};
    if (!IsEcdh() && sample != nullptr) mechanism = sample->mechanism;
    if (!IsEcdh() && sample == nullptr) return t.NotOffered("nothing here knows the parameter"), false;
    return Make(true);
  }
  bool IsEcdh() const { return row->parameter == spec::ParameterKind::kEcdh1; }
  bool Make(bool may) {
    Template first, second;
    first.Bool(CKA_TOKEN, false).Bool(CKA_ENCAPSULATE, may);
    second.Bool(CKA_TOKEN, false).Bool(CKA_DECAPSULATE, may);
    CK_MECHANISM generator{
        IsEcdh() ? CK_MECHANISM_TYPE{CKM_EC_KEY_PAIR_GEN} : CK_MECHANISM_TYPE{CKM_RSA_PKCS_KEY_PAIR_GEN}, nullptr, 0};
    if (IsEcdh()) {
      first.Raw(CKA_EC_PARAMS, {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07});
    } else {
      first.Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1});
    }
    return WANT(t, CKR_OK,
                t.p11->C_GenerateKeyPair(t.session, &generator, first.data(), first.size(), second.data(),
                                         second.size(), &key.first, &key.second));
  }
  CK_RV Encapsulate(Bytes& ciphertext, CK_OBJECT_HANDLE& secret) {
    Template wanted = OpenSecret();
    ciphertext.assign(1024, 0);
    CK_ULONG length = ciphertext.size();
    const CK_RV rv = t.p11->C_EncapsulateKey(t.session, &mechanism, key.first, wanted.data(), wanted.size(),
                                             ciphertext.data(), &length, &secret);
    ciphertext.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Decapsulate(const Bytes& ciphertext, CK_OBJECT_HANDLE& secret) {
    Template wanted = OpenSecret();
    return t.p11->C_DecapsulateKey(t.session, &mechanism, key.second, wanted.data(), wanted.size(), Ptr(ciphertext),
                                   ciphertext.size(), &secret);
  }
};

void BothSidesHaveTheSecret(Encapsulation& e) {
  Trial& t = e.t;
  Bytes ciphertext, other;
  CK_OBJECT_HANDLE here = 0, there = 0, again = 0;
  if (!t.Expect(e.Encapsulate(ciphertext, here), {CKR_OK}, "C_EncapsulateKey")) return;
  if (!t.Expect(e.Decapsulate(ciphertext, there), {CKR_OK}, "C_DecapsulateKey")) return;
  t.Check(ValueOf(t, here) == ValueOf(t, there) && !ValueOf(t, here).empty(), "both sides have the same secret");
  if (!t.Expect(e.Encapsulate(other, again), {CKR_OK}, "C_EncapsulateKey")) return;
  t.Check(other != ciphertext && ValueOf(t, here) != ValueOf(t, again), "each encapsulation has its own secret");
}

void EncapsulationBuffers(Encapsulation& e) {
  Trial& t = e.t;
  Template wanted = OpenSecret();
  CK_OBJECT_HANDLE secret = 0;
  CK_ULONG length = 0;
  NEED(t, CKR_OK,
       t.p11->C_EncapsulateKey(t.session, &e.mechanism, e.key.first, wanted.data(), wanted.size(), nullptr, &length,
                               &secret));
  Bytes room(length);
  CK_ULONG less = length - 1;
  WANT(t, CKR_BUFFER_TOO_SMALL,
       t.p11->C_EncapsulateKey(t.session, &e.mechanism, e.key.first, wanted.data(), wanted.size(), room.data(), &less,
                               &secret));
  t.Check(less >= length, "CKR_BUFFER_TOO_SMALL comes with the length needed");
  WANT(t, CKR_OK,
       t.p11->C_EncapsulateKey(t.session, &e.mechanism, e.key.first, wanted.data(), wanted.size(), room.data(), &length,
                               &secret));
}

void EncapsulationRefuses(Encapsulation& e) {
  Trial& t = e.t;
  Bytes ciphertext;
  CK_OBJECT_HANDLE secret = 0;
  const MadeKey right = e.key;
  e.key.first = 0x7ead0001;
  t.Expect(e.Encapsulate(ciphertext, secret), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}, "C_EncapsulateKey");
  e.key = right;
  if (!e.Make(false)) return;
  t.Expect(e.Encapsulate(ciphertext, secret), {CKR_KEY_FUNCTION_NOT_PERMITTED}, "C_EncapsulateKey");
  t.Expect(e.Decapsulate(Bytes(256, 1), secret), {CKR_KEY_FUNCTION_NOT_PERMITTED}, "C_DecapsulateKey");
}

// ---- C_WrapKeyAuthenticated with AES-GCM

struct Authenticated {
  Trial& t;
  CK_OBJECT_HANDLE with = 0, target = 0;
  Bytes iv = Bytes(12, 0x51), tag = Bytes(16), aad = Bytes(24, 0xAA);

  CK_GCM_MESSAGE_PARAMS Parameter() { return {iv.data(), iv.size(), 0, CKG_NO_GENERATE, tag.data(), tag.size() * 8}; }
  CK_RV Wrap(Bytes& wrapped) {
    auto parameter = Parameter();
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
    wrapped.assign(256, 0);
    CK_ULONG length = wrapped.size();
    const CK_RV rv = t.p11->C_WrapKeyAuthenticated(t.session, &mechanism, with, target, Ptr(aad), aad.size(),
                                                   wrapped.data(), &length);
    wrapped.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Unwrap(const Bytes& wrapped, CK_OBJECT_HANDLE& made) {
    auto parameter = Parameter();
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
    Template wanted;
    wanted.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
    wanted.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    return t.p11->C_UnwrapKeyAuthenticated(t.session, &mechanism, with, Ptr(wrapped), wrapped.size(), wanted.data(),
                                           wanted.size(), Ptr(aad), aad.size(), &made);
  }
};

void WrapsWithAssociatedData(Trial& t) {
  const auto key = t.keys.Get(CKK_AES, Purpose::kWrap);
  if (!key.ok()) return t.NotOffered(key.error());
  Authenticated a{t};
  a.with = key->first;
  Template secret;
  secret.Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_AES)
      .Bool(CKA_TOKEN, false)
      .Bool(CKA_EXTRACTABLE, true);
  secret.Raw(CKA_VALUE, Bytes(32, 0x6B));
  NEED(t, CKR_OK, t.p11->C_CreateObject(t.session, secret.data(), secret.size(), &a.target));
  Bytes wrapped;
  CK_OBJECT_HANDLE made = 0;
  const CK_RV rv = a.Wrap(wrapped);
  if (rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID)
    return t.NotOffered("C_WrapKeyAuthenticated does not take AES-GCM here");
  if (!t.Expect(rv, {CKR_OK}, "C_WrapKeyAuthenticated")) return;
  if (!t.Expect(a.Unwrap(wrapped, made), {CKR_OK}, "C_UnwrapKeyAuthenticated")) return;
  t.Check(ValueOf(t, made) == Bytes(32, 0x6B), "the key that comes back is the one that went");
  const std::initializer_list<CK_RV> kForged = {CKR_WRAPPED_KEY_INVALID, CKR_AEAD_DECRYPT_FAILED,
                                                CKR_ENCRYPTED_DATA_INVALID};
  a.aad[0] ^= 1;
  t.Expect(a.Unwrap(wrapped, made), kForged, "C_UnwrapKeyAuthenticated");
  a.aad[0] ^= 1;
  a.tag[0] ^= 1;
  t.Expect(a.Unwrap(wrapped, made), kForged, "C_UnwrapKeyAuthenticated");
}

}  // namespace

void AddEncapsulation(Plan& plan) {
  plan.Chapter("encapsulation", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.row == nullptr || !offer.Does(CKF_ENCAPSULATE | CKF_DECAPSULATE)) continue;
    const auto add = [&](const char* function, const char* name, void (*body)(Encapsulation&)) {
      plan.AddFor(MechanismName(offer.type), function, name, [offer, body](Trial& t) {
        Encapsulation encapsulation{t, nullptr};
        if (encapsulation.Ready(offer)) body(encapsulation);
      });
    };
    add("C_DecapsulateKey", "gives-the-secret-back", BothSidesHaveTheSecret);
    add("C_EncapsulateKey", "buffers", EncapsulationBuffers);
    add("C_EncapsulateKey", "refuses", EncapsulationRefuses);
  }
  if (plan.survey().Offers(CKM_AES_GCM, CKF_ENCRYPT))
    plan.AddFor("CKM_AES_GCM", "C_WrapKeyAuthenticated", "with-associated-data", WrapsWithAssociatedData);
}

}  // namespace cmkd::conformance
