// Message-based functions: many messages under one mechanism and key (PKCS#11 3.2 sections 5.9, 5.11, 5.15 and 5.17).
#include <algorithm>

#include "conformance/keys.h"
#include "conformance/plan.h"
#include "conformance/samples.h"

namespace cmkd::conformance {
namespace {

// ---- AES-GCM, whose messages have an IV and a tag of their own

struct GcmMessages {
  Trial& t;
  CK_OBJECT_HANDLE key = 0;
  Bytes iv = Bytes(12, 0x24), tag = Bytes(16), aad = Bytes(20, 0xA0), text = Bytes(61, 0x71);
  CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
  CK_GENERATOR_FUNCTION generator = CKG_NO_GENERATE;
  CK_ULONG fixed_bits = 0;

  CK_GCM_MESSAGE_PARAMS Parameter() {
    return {iv.data(), iv.size(), fixed_bits, generator, tag.data(), tag.size() * 8};
  }
  CK_RV Encrypt(Bytes& out) {
    auto parameter = Parameter();
    out.assign(text.size(), 0);
    CK_ULONG length = out.size();
    const CK_RV rv = t.p11->C_EncryptMessage(t.session, &parameter, sizeof parameter, Ptr(aad), aad.size(), Ptr(text),
                                             text.size(), out.data(), &length);
    out.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Decrypt(const Bytes& sealed, Bytes& out) {
    auto parameter = Parameter();
    out.assign(sealed.size(), 0xEE);
    CK_ULONG length = out.size();
    return t.p11->C_DecryptMessage(t.session, &parameter, sizeof parameter, Ptr(aad), aad.size(), Ptr(sealed),
                                   sealed.size(), out.data(), &length);
  }
  bool BeginsEncryption() { return WANT(t, CKR_OK, t.p11->C_MessageEncryptInit(t.session, &mechanism, key)); }
  bool BeginsDecryption() { return WANT(t, CKR_OK, t.p11->C_MessageDecryptInit(t.session, &mechanism, key)); }
};

// What C_Encrypt gives of the same: ciphertext, then tag.
void MessagesAreEncryptions(GcmMessages& m) {
  Trial& t = m.t;
  Bytes out, whole(m.text.size() + 16);
  if (!m.BeginsEncryption()) return;
  for (int i = 0; i < 3; ++i) {
    m.text.assign(10 + 20u * static_cast<unsigned>(i), 0x71);
    m.iv[0] = static_cast<std::uint8_t>(i);
    if (!t.Expect(m.Encrypt(out), {CKR_OK}, "C_EncryptMessage")) return;
    t.Check(out.size() == m.text.size(), "the ciphertext is as long as the message");
  }
  NEED(t, CKR_OK, t.p11->C_MessageEncryptFinal(t.session));
  CK_GCM_PARAMS gcm{m.iv.data(), m.iv.size(), m.iv.size() * 8, m.aad.data(), m.aad.size(), 128};
  CK_MECHANISM single{CKM_AES_GCM, &gcm, sizeof gcm};
  CK_ULONG length = whole.size();
  NEED(t, CKR_OK, t.p11->C_EncryptInit(t.session, &single, m.key));
  NEED(t, CKR_OK, t.p11->C_Encrypt(t.session, Ptr(m.text), m.text.size(), whole.data(), &length));
  whole.resize(length);
  out.insert(out.end(), m.tag.begin(), m.tag.end());
  t.Check(out == whole, "a message is what C_Encrypt gives");
}

void MessageRoundTrip(GcmMessages& m) {
  Trial& t = m.t;
  Bytes sealed, opened;
  if (!m.BeginsEncryption() || !t.Expect(m.Encrypt(sealed), {CKR_OK}, "C_EncryptMessage")) return;
  NEED(t, CKR_OK, t.p11->C_MessageEncryptFinal(t.session));
  if (!m.BeginsDecryption()) return;
  for (int i = 0; i < 2; ++i) {
    if (!t.Expect(m.Decrypt(sealed, opened), {CKR_OK}, "C_DecryptMessage")) return;
    t.Check(opened == m.text, "the message comes back");
  }
  m.tag[3] ^= 1;
  t.Expect(m.Decrypt(sealed, opened), {CKR_AEAD_DECRYPT_FAILED, CKR_ENCRYPTED_DATA_INVALID}, "C_DecryptMessage");
  t.Check(std::find(opened.begin(), opened.end(), m.text[0]) == opened.end(), "nothing of a forged message comes out");
  m.tag[3] ^= 1;
  t.Expect(m.Decrypt(sealed, opened), {CKR_OK}, "C_DecryptMessage");
  WANT(t, CKR_OK, t.p11->C_MessageDecryptFinal(t.session));
}

void GeneratedIvs(GcmMessages& m) {
  Trial& t = m.t;
  m.generator = CKG_GENERATE;
  m.fixed_bits = 32;
  m.iv.assign(16, 0x24);  // room for 96 random bits beside them (SP 800-38D section 8.2.2)
  Bytes sealed, opened;
  std::vector<Bytes> seen;
  if (!m.BeginsEncryption()) return;
  for (int i = 0; i < 4; ++i) {
    if (!t.Expect(m.Encrypt(sealed), {CKR_OK}, "C_EncryptMessage")) return;
    t.Check(std::equal(m.iv.begin(), m.iv.begin() + 4, Bytes(4, 0x24).begin()), "the fixed bits stay");
    t.Check(std::find(seen.begin(), seen.end(), m.iv) == seen.end(), "each message has its own IV");
    seen.push_back(m.iv);
  }
  NEED(t, CKR_OK, t.p11->C_MessageEncryptFinal(t.session));
  if (!m.BeginsDecryption()) return;
  t.Expect(m.Decrypt(sealed, opened), {CKR_OK}, "C_DecryptMessage");
  t.Check(opened == m.text, "the IV that came out opens the message");
}

void MessageBuffers(GcmMessages& m) {
  Trial& t = m.t;
  if (!m.BeginsEncryption()) return;
  auto parameter = m.Parameter();
  CK_ULONG length = 0;
  const auto encrypt = [&](CK_BYTE* out) {
    return t.p11->C_EncryptMessage(t.session, &parameter, sizeof parameter, Ptr(m.aad), m.aad.size(), Ptr(m.text),
                                   m.text.size(), out, &length);
  };
  Bytes out(m.text.size());
  if (!t.Expect(encrypt(nullptr), {CKR_OK}, "C_EncryptMessage")) return;
  t.Check(length >= m.text.size(), "the length asked for is enough");
  length = m.text.size() - 1;
  if (!t.Expect(encrypt(out.data()), {CKR_BUFFER_TOO_SMALL}, "C_EncryptMessage")) return;
  length = out.size();
  t.Expect(encrypt(out.data()), {CKR_OK}, "C_EncryptMessage");
}

void MessageOrder(GcmMessages& m) {
  Trial& t = m.t;
  Bytes out;
  t.Expect(m.Encrypt(out), {CKR_OPERATION_NOT_INITIALIZED}, "C_EncryptMessage");
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_MessageEncryptFinal(t.session));
  if (!m.BeginsEncryption()) return;
  WANT(t, CKR_OPERATION_ACTIVE, t.p11->C_MessageEncryptInit(t.session, &m.mechanism, m.key));
  t.Expect(m.Encrypt(out), {CKR_OK}, "C_EncryptMessage");
  const CK_RV rv = t.p11->C_MessageEncryptInit(t.session, nullptr, m.key);
  if (!t.Expect(rv, {CKR_OK, CKR_OPERATION_CANCEL_FAILED}, "C_MessageEncryptInit") || rv != CKR_OK) return;
  t.Expect(m.Encrypt(out), {CKR_OPERATION_NOT_INITIALIZED}, "C_EncryptMessage");
}

void MessageInParts(GcmMessages& m) {
  Trial& t = m.t;
  Bytes whole, parts;
  if (!m.BeginsEncryption() || !t.Expect(m.Encrypt(whole), {CKR_OK}, "C_EncryptMessage")) return;
  const Bytes tag = m.tag;
  m.tag.assign(16, 0);
  auto parameter = m.Parameter();
  NEED(t, CKR_OK, t.p11->C_EncryptMessageBegin(t.session, &parameter, sizeof parameter, Ptr(m.aad), m.aad.size()));
  for (std::size_t at = 0; at < m.text.size(); at += 20) {
    const std::size_t size = std::min<std::size_t>(20, m.text.size() - at);
    Bytes out(size + 32);
    CK_ULONG length = out.size();
    const CK_FLAGS last = at + 20 >= m.text.size() ? CKF_END_OF_MESSAGE : 0;
    NEED(t, CKR_OK,
         t.p11->C_EncryptMessageNext(t.session, &parameter, sizeof parameter, m.text.data() + at, size, out.data(),
                                     &length, last));
    parts.insert(parts.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(length));
  }
  t.Check(parts == whole && m.tag == tag, "parts give the message of the whole");
  NEED(t, CKR_OK, t.p11->C_MessageEncryptFinal(t.session));
  if (!m.BeginsDecryption()) return;
  NEED(t, CKR_OK, t.p11->C_DecryptMessageBegin(t.session, &parameter, sizeof parameter, Ptr(m.aad), m.aad.size()));
  Bytes opened(parts.size() + 32);
  CK_ULONG length = opened.size();
  NEED(t, CKR_OK,
       t.p11->C_DecryptMessageNext(t.session, &parameter, sizeof parameter, parts.data(), parts.size(), opened.data(),
                                   &length, CKF_END_OF_MESSAGE));
  opened.resize(length);
  t.Check(opened == m.text, "the message comes back");
  WANT(
      t, CKR_OPERATION_NOT_INITIALIZED,
      t.p11->C_DecryptMessageNext(t.session, &parameter, sizeof parameter, parts.data(), 1, opened.data(), &length, 0));
}

void AddCipherMessages(Plan& plan, const Offer& offer) {
  const auto add = [&](const char* function, const char* name, void (*body)(GcmMessages&)) {
    plan.AddFor(MechanismName(offer.type), function, name, [body](Trial& t) {
      const auto key = t.keys.Get(CKK_AES, Purpose::kCipher);
      if (!key.ok()) return t.NotOffered(key.error());
      GcmMessages messages{t};
      messages.key = key->first;
      body(messages);
    });
  };
  add("C_EncryptMessage", "is-an-encryption", MessagesAreEncryptions);
  add("C_DecryptMessage", "round-trip-and-tampered", MessageRoundTrip);
  add("C_EncryptMessage", "generated-iv", GeneratedIvs);
  add("C_EncryptMessage", "buffers", MessageBuffers);
  add("C_MessageEncryptInit", "order", MessageOrder);
  add("C_EncryptMessageNext", "parts", MessageInParts);
}

// ---- Signatures of messages

struct SignMessages {
  Trial& t;
  std::shared_ptr<Sample> sample;
  MadeKey key;

  bool Begins() { return WANT(t, CKR_OK, t.p11->C_MessageSignInit(t.session, &sample->mechanism, key.second)); }
  bool BeginsVerifying() {
    return WANT(t, CKR_OK, t.p11->C_MessageVerifyInit(t.session, &sample->mechanism, key.first));
  }
  CK_RV Sign(Bytes& signature) {
    signature.assign(1024, 0);
    CK_ULONG length = signature.size();
    const CK_RV rv = t.p11->C_SignMessage(t.session, nullptr, 0, Ptr(sample->message), sample->message.size(),
                                          signature.data(), &length);
    signature.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Verify(const Bytes& signature) {
    return t.p11->C_VerifyMessage(t.session, nullptr, 0, Ptr(sample->message), sample->message.size(), Ptr(signature),
                                  signature.size());
  }
};

void SignsAndVerifiesMessages(SignMessages& m) {
  Trial& t = m.t;
  Bytes signature;
  if (!m.Begins()) return;
  for (int i = 0; i < 2; ++i) {
    if (!t.Expect(m.Sign(signature), {CKR_OK}, "C_SignMessage")) return;
  }
  NEED(t, CKR_OK, t.p11->C_MessageSignFinal(t.session));
  t.Expect(m.Sign(signature), {CKR_OPERATION_NOT_INITIALIZED}, "C_SignMessage");
  if (!m.Begins() || !t.Expect(m.Sign(signature), {CKR_OK}, "C_SignMessage")) return;
  NEED(t, CKR_OK, t.p11->C_MessageSignFinal(t.session));
  if (!m.BeginsVerifying()) return;
  t.Expect(m.Verify(signature), {CKR_OK}, "C_VerifyMessage");
  Bytes altered = signature;
  altered.back() ^= 1;
  t.Expect(m.Verify(altered), {CKR_SIGNATURE_INVALID}, "C_VerifyMessage");
  // A wrong message is no end of the messages.
  t.Expect(m.Verify(signature), {CKR_OK}, "C_VerifyMessage");
  WANT(t, CKR_OK, t.p11->C_MessageVerifyFinal(t.session));
}

void SignMessageOrder(SignMessages& m) {
  Trial& t = m.t;
  Bytes signature;
  t.Expect(m.Sign(signature), {CKR_OPERATION_NOT_INITIALIZED}, "C_SignMessage");
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_MessageSignFinal(t.session));
  if (!m.Begins()) return;
  WANT(t, CKR_OPERATION_ACTIVE, t.p11->C_MessageSignInit(t.session, &m.sample->mechanism, m.key.second));
  CK_ULONG length = 0;
  WANT(t, CKR_OK,
       t.p11->C_SignMessage(t.session, nullptr, 0, Ptr(m.sample->message), m.sample->message.size(), nullptr, &length));
  signature.resize(length);
  length = 1;
  WANT(t, CKR_BUFFER_TOO_SMALL,
       t.p11->C_SignMessage(t.session, nullptr, 0, Ptr(m.sample->message), m.sample->message.size(), signature.data(),
                            &length));
  t.Expect(m.Sign(signature), {CKR_OK}, "C_SignMessage");
}

void SignMessageInParts(SignMessages& m) {
  Trial& t = m.t;
  if (!m.sample->in_parts) return t.NotOffered("the mechanism is of one part");
  const Bytes& text = m.sample->message;
  Bytes signature(1024);
  CK_ULONG length = signature.size();
  if (!m.Begins()) return;
  NEED(t, CKR_OK, t.p11->C_SignMessageBegin(t.session, nullptr, 0));
  NEED(t, CKR_OK, t.p11->C_SignMessageNext(t.session, nullptr, 0, Ptr(text), 30, nullptr, nullptr));
  NEED(t, CKR_OK,
       t.p11->C_SignMessageNext(t.session, nullptr, 0, const_cast<CK_BYTE*>(text.data()) + 30, text.size() - 30,
                                signature.data(), &length));
  signature.resize(length);
  NEED(t, CKR_OK, t.p11->C_MessageSignFinal(t.session));
  if (!m.BeginsVerifying()) return;
  t.Expect(m.Verify(signature), {CKR_OK}, "C_VerifyMessage");
  NEED(t, CKR_OK, t.p11->C_VerifyMessageBegin(t.session, nullptr, 0));
  NEED(t, CKR_OK, t.p11->C_VerifyMessageNext(t.session, nullptr, 0, Ptr(text), 50, nullptr, 0));
  WANT(t, CKR_OK,
       t.p11->C_VerifyMessageNext(t.session, nullptr, 0, const_cast<CK_BYTE*>(text.data()) + 50, text.size() - 50,
                                  signature.data(), signature.size()));
}

void AddSignatureMessages(Plan& plan, const Offer& offer) {
  const auto add = [&](const char* function, const char* name, void (*body)(SignMessages&)) {
    plan.AddFor(MechanismName(offer.type), function, name, [offer, body](Trial& t) {
      SignMessages messages{t, MakeSample(offer, CKF_MESSAGE_SIGN), {}};
      const auto key = t.keys.Get(messages.sample->key_type, Purpose::kSign);
      if (!key.ok()) return t.NotOffered(key.error());
      messages.key = *key;
      body(messages);
    });
  };
  add("C_SignMessage", "signs-and-verifies", SignsAndVerifiesMessages);
  add("C_MessageSignInit", "order", SignMessageOrder);
  add("C_SignMessageNext", "parts", SignMessageInParts);
}

}  // namespace

void AddMessage(Plan& plan) {
  plan.Chapter("messages", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.type == CKM_AES_GCM && offer.Does(CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT))
      AddCipherMessages(plan, offer);
    if (offer.Does(CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY) && MakeSample(offer, CKF_MESSAGE_SIGN) != nullptr)
      AddSignatureMessages(plan, offer);
  }
}

}  // namespace cmkd::conformance
