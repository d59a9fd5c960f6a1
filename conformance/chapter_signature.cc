// Signatures and MACs: making them, verifying them, both with recovery, and the verification of 3.2 that takes the
// signature first (PKCS#11 3.2 sections 5.13 to 5.16).
#include "conformance/output_operation.h"
#include "conformance/setting.h"

namespace cmkd::conformance {
namespace {

Subject Signing(const Setting& setting) {
  Subject subject;
  subject.mechanism = &setting.sample->mechanism;
  subject.key = setting.key.second;
  subject.input = setting.sample->message;
  subject.in_parts = setting.sample->in_parts;
  subject.keeps = setting.sample;
  return subject;
}

bool Signed(Trial& t, const OutputOperation& operation, const Setting& setting, Bytes& signature) {
  return t.Expect(RunOnce(t, operation, Signing(setting), signature), {CKR_OK}, operation.single_name);
}

bool PrepareSigning(Trial& t, const Offer& offer, const OutputOperation& operation, CK_FLAGS use, Subject& subject) {
  Setting setting;
  if (!Set(t, offer, use, setting)) return false;
  subject = Signing(setting);
  Bytes first, second;
  if (!Signed(t, operation, setting, first) || !Signed(t, operation, setting, second)) return false;
  if (first == second) subject.output = first;
  return true;
}

bool PrepareVerifyRecover(Trial& t, const Offer& offer, Subject& subject) {
  Setting setting;
  if (!Set(t, offer, CKF_SIGN_RECOVER, setting)) return false;
  subject = Signing(setting);
  subject.key = setting.key.first;
  subject.output = subject.input;
  return Signed(t, kSigningRecover, setting, subject.input);
}

// ---- Verification: four functions without output

// A message and its signature, and the three ways to verify it.
struct Verification {
  Trial& t;
  Setting setting;
  Bytes message, signature;

  CK_RV Init() { return t.p11->C_VerifyInit(t.session, &setting.sample->mechanism, setting.key.first); }
  CK_RV Single(ByteView data, ByteView sig) {
    return t.p11->C_Verify(t.session, Ptr(data), data.size(), Ptr(sig), sig.size());
  }
  CK_RV Whole(ByteView data, ByteView sig) {
    const CK_RV rv = Init();
    return rv == CKR_OK ? Single(data, sig) : rv;
  }
  CK_RV Parts(ByteView data, ByteView sig) {
    CK_RV rv = Init();
    for (std::size_t at = 0; rv == CKR_OK && at < data.size(); at += 33)
      rv = t.p11->C_VerifyUpdate(t.session, Ptr(data.subspan(at)), std::min<std::size_t>(33, data.size() - at));
    return rv == CKR_OK ? t.p11->C_VerifyFinal(t.session, Ptr(sig), sig.size()) : rv;
  }
  bool IsOver() { return WANT(t, CKR_OPERATION_NOT_INITIALIZED, Single(message, signature)); }
};

void Verifies(Verification& v) {
  Trial& t = v.t;
  t.Expect(v.Whole(v.message, v.signature), {CKR_OK}, "C_Verify");
  v.IsOver();
}

void TamperedSignature(Verification& v) {
  Trial& t = v.t;
  for (const std::size_t at : {std::size_t{0}, v.signature.size() / 2, v.signature.size() - 1}) {
    Bytes altered = v.signature;
    altered[at] ^= 0x01;
    t.Expect(v.Whole(v.message, altered), {CKR_SIGNATURE_INVALID}, "C_Verify");
    if (!v.IsOver()) return;
  }
}

void TamperedMessage(Verification& v) {
  Trial& t = v.t;
  Bytes altered = v.message;
  altered[altered.size() / 2] ^= 0x01;
  t.Expect(v.Whole(altered, v.signature), {CKR_SIGNATURE_INVALID}, "C_Verify");
  v.IsOver();
}

// A shorter ECDSA signature may be lawful, but not that of this message.
void WrongLengthSignature(Verification& v) {
  Trial& t = v.t;
  Bytes longer = v.signature;
  longer.push_back(0);
  t.Expect(v.Whole(v.message, longer), {CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID}, "C_Verify");
  if (!v.IsOver()) return;
  t.Expect(v.Whole(v.message, ByteView(v.signature).first(v.signature.size() - 2)),
           {CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID}, "C_Verify");
  v.IsOver();
}

void EmptySignature(Verification& v) {
  Trial& t = v.t;
  t.Expect(v.Whole(v.message, {}), {CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID, CKR_ARGUMENTS_BAD}, "C_Verify");
  t.Expect(v.Whole(v.message, v.signature), {CKR_OK}, "C_Verify");
}

void VerifyActive(Verification& v) {
  Trial& t = v.t;
  if (!t.Expect(v.Init(), {CKR_OK}, "C_VerifyInit")) return;
  t.Expect(v.Init(), {CKR_OPERATION_ACTIVE}, "C_VerifyInit");
  WANT(t, CKR_OK, v.Single(v.message, v.signature));
}

void VerifyFailedInit(Verification& v) {
  Trial& t = v.t;
  CK_MECHANISM unknown{CKM_VENDOR_DEFINED | 0x7654321, nullptr, 0};
  WANT(t, CKR_MECHANISM_INVALID, t.p11->C_VerifyInit(t.session, &unknown, v.setting.key.first));
  if (!v.IsOver()) return;
  WANT_ONE(t, (CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID),
           t.p11->C_VerifyInit(t.session, &v.setting.sample->mechanism, 0));
  v.IsOver();
}

void VerifyNotPermitted(Verification& v) {
  Trial& t = v.t;
  const auto key = t.keys.Get(v.setting.sample->key_type, Purpose::kNothing);
  if (!key.ok()) return t.NotOffered(key.error());
  WANT(t, CKR_KEY_FUNCTION_NOT_PERMITTED, t.p11->C_VerifyInit(t.session, &v.setting.sample->mechanism, key->first));
  WANT(t, CKR_KEY_FUNCTION_NOT_PERMITTED, t.p11->C_SignInit(t.session, &v.setting.sample->mechanism, key->second));
}

void VerifyWrongKeyType(Verification& v) {
  Trial& t = v.t;
  const CK_KEY_TYPE other = v.setting.sample->key_type == CKK_RSA ? CKK_AES : CKK_RSA;
  const auto key = t.keys.Get(other, Purpose::kSign);
  if (!key.ok()) return t.NotOffered(key.error());
  WANT(t, CKR_KEY_TYPE_INCONSISTENT, t.p11->C_VerifyInit(t.session, &v.setting.sample->mechanism, key->first));
  WANT(t, CKR_KEY_TYPE_INCONSISTENT, t.p11->C_SignInit(t.session, &v.setting.sample->mechanism, key->second));
}

void VerifiesParts(Verification& v) {
  Trial& t = v.t;
  if (!v.setting.sample->in_parts) return t.NotOffered("the mechanism is of one part");
  t.Expect(v.Parts(v.message, v.signature), {CKR_OK}, "C_VerifyFinal");
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifyFinal(t.session, Ptr(v.signature), v.signature.size()));
  Bytes altered = v.signature;
  altered.back() ^= 0x10;
  t.Expect(v.Parts(v.message, altered), {CKR_SIGNATURE_INVALID}, "C_VerifyFinal");
  v.IsOver();
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifyUpdate(t.session, Ptr(v.message), v.message.size()));
}

// What is signed in parts is what is signed at once.
void PartsAreTheWhole(Verification& v) {
  Trial& t = v.t;
  if (!v.setting.sample->in_parts) return t.NotOffered("the mechanism is of one part");
  NEED(t, CKR_OK, t.p11->C_SignInit(t.session, &v.setting.sample->mechanism, v.setting.key.second));
  const std::size_t first = v.message.size() / 3;
  NEED(t, CKR_OK, t.p11->C_SignUpdate(t.session, Ptr(v.message), first));
  NEED(t, CKR_OK, t.p11->C_SignUpdate(t.session, Ptr(v.message), 0));
  NEED(t, CKR_OK, t.p11->C_SignUpdate(t.session, v.message.data() + first, v.message.size() - first));
  CK_ULONG length = 0;
  NEED(t, CKR_OK, t.p11->C_SignFinal(t.session, nullptr, &length));
  Bytes signature(length);
  NEED(t, CKR_OK, t.p11->C_SignFinal(t.session, signature.data(), &length));
  signature.resize(length);
  t.Expect(v.Whole(v.message, signature), {CKR_OK}, "C_Verify");
}

// ---- C_VerifySignature

CK_RV VerifySignatureInit(Verification& v, ByteView signature) {
  return v.t.p11->C_VerifySignatureInit(v.t.session, &v.setting.sample->mechanism, v.setting.key.first, Ptr(signature),
                                        signature.size());
}

void SignatureFirst(Verification& v) {
  Trial& t = v.t;
  if (!t.Expect(VerifySignatureInit(v, v.signature), {CKR_OK}, "C_VerifySignatureInit")) return;
  WANT(t, CKR_OK, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
  Bytes altered = v.signature;
  altered.back() ^= 0x10;
  if (!t.Expect(VerifySignatureInit(v, altered), {CKR_OK}, "C_VerifySignatureInit")) return;
  WANT(t, CKR_SIGNATURE_INVALID, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
}

void SignatureFirstInParts(Verification& v) {
  Trial& t = v.t;
  if (!v.setting.sample->in_parts) return t.NotOffered("the mechanism is of one part");
  for (const bool right : {true, false}) {
    if (!t.Expect(VerifySignatureInit(v, v.signature), {CKR_OK}, "C_VerifySignatureInit")) return;
    NEED(t, CKR_OK, t.p11->C_VerifySignatureUpdate(t.session, Ptr(v.message), v.message.size() - 1));
    const CK_BYTE last = static_cast<CK_BYTE>(right ? v.message.back() : v.message.back() ^ 1);
    NEED(t, CKR_OK, t.p11->C_VerifySignatureUpdate(t.session, const_cast<CK_BYTE*>(&last), 1));
    t.Expect(t.p11->C_VerifySignatureFinal(t.session), {right ? CKR_OK : CKR_SIGNATURE_INVALID},
             "C_VerifySignatureFinal");
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifySignatureFinal(t.session));
  }
}

void SignatureFirstInit(Verification& v) {
  Trial& t = v.t;
  if (!t.Expect(VerifySignatureInit(v, v.signature), {CKR_OK}, "C_VerifySignatureInit")) return;
  t.Expect(VerifySignatureInit(v, v.signature), {CKR_OPERATION_ACTIVE}, "C_VerifySignatureInit");
  WANT(t, CKR_OK, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
  CK_MECHANISM unknown{CKM_VENDOR_DEFINED | 0x7654321, nullptr, 0};
  WANT(t, CKR_MECHANISM_INVALID,
       t.p11->C_VerifySignatureInit(t.session, &unknown, v.setting.key.first, Ptr(v.signature), v.signature.size()));
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_VerifySignature(t.session, Ptr(v.message), v.message.size()));
}

void AddVerification(Plan& plan, const Offer& offer) {
  const auto add = [&](const char* function, const char* what, void (*body)(Verification&)) {
    plan.AddFor(MechanismName(offer.type), function, what, [offer, body](Trial& t) {
      Verification v{t, {}, {}, {}};
      if (!Set(t, offer, CKF_SIGN, v.setting) || !Signed(t, kSigning, v.setting, v.signature)) return;
      v.message = v.setting.sample->message;
      body(v);
    });
  };
  add("C_Verify", "accepts", Verifies);
  add("C_Verify", "tampered-signature", TamperedSignature);
  add("C_Verify", "tampered-message", TamperedMessage);
  add("C_Verify", "wrong-length-signature", WrongLengthSignature);
  add("C_Verify", "empty-signature", EmptySignature);
  add("C_VerifyInit", "operation-active", VerifyActive);
  add("C_VerifyInit", "failed-init-leaves-nothing", VerifyFailedInit);
  add("C_VerifyInit", "not-permitted", VerifyNotPermitted);
  add("C_VerifyInit", "wrong-key-type", VerifyWrongKeyType);
  add("C_VerifyFinal", "parts", VerifiesParts);
  add("C_SignFinal", "parts-are-the-whole", PartsAreTheWhole);
  add("C_VerifySignature", "accepts-and-refuses", SignatureFirst);
  add("C_VerifySignatureFinal", "parts", SignatureFirstInParts);
  add("C_VerifySignatureInit", "order", SignatureFirstInit);
}

}  // namespace

void AddSignature(Plan& plan) {
  plan.Chapter("signing and verification", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (!offer.Does(CKF_SIGN | CKF_VERIFY) || MakeSample(offer, CKF_SIGN) == nullptr) continue;
    AddOutputCases(plan, kSigning, MechanismName(offer.type),
                   [offer](Trial& t, Subject& s) { return PrepareSigning(t, offer, kSigning, CKF_SIGN, s); });
    AddVerification(plan, offer);
  }
  plan.Chapter("recovery", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (!offer.Does(CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER) || MakeSample(offer, CKF_SIGN_RECOVER) == nullptr) continue;
    AddOutputCases(plan, kSigningRecover, MechanismName(offer.type), [offer](Trial& t, Subject& s) {
      return PrepareSigning(t, offer, kSigningRecover, CKF_SIGN_RECOVER, s);
    });
    AddOutputCases(plan, kVerifyingRecover, MechanismName(offer.type),
                   [offer](Trial& t, Subject& s) { return PrepareVerifyRecover(t, offer, s); });
  }
}

}  // namespace cmkd::conformance
