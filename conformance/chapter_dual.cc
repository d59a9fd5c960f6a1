// Dual-function cryptography: two operations over the same parts (PKCS#11 3.2 section 5.17).
#include "conformance/keys.h"
#include "conformance/plan.h"

namespace cmkd::conformance {
namespace {

constexpr std::size_t kSize = 96;

struct Dual {
  Trial& t;
  MadeKey cipher, mac;
  CK_BYTE iv[16] = {7};
  CK_MECHANISM cbc{CKM_AES_CBC, iv, sizeof iv};
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
  Bytes message = Bytes(kSize, 0x29);

  bool Ready() {
    for (auto [type, purpose, key] : {std::tuple(CK_KEY_TYPE{CKK_AES}, Purpose::kCipher, &cipher),
                                      std::tuple(CK_KEY_TYPE{CKK_GENERIC_SECRET}, Purpose::kSign, &mac)}) {
      const auto made = t.keys.Get(type, purpose);
      if (!made.ok()) return t.NotOffered(made.error()), false;
      *key = *made;
    }
    return true;
  }
  // What the operations give one after the other.
  Bytes Digest() {
    Bytes out(32);
    CK_ULONG length = out.size();
    WANT(t, CKR_OK, t.p11->C_DigestInit(t.session, &sha));
    WANT(t, CKR_OK, t.p11->C_Digest(t.session, Ptr(message), message.size(), out.data(), &length));
    return out;
  }
  Bytes Encrypted() {
    Bytes out(kSize);
    CK_ULONG length = out.size();
    WANT(t, CKR_OK, t.p11->C_EncryptInit(t.session, &cbc, cipher.first));
    WANT(t, CKR_OK, t.p11->C_Encrypt(t.session, Ptr(message), message.size(), out.data(), &length));
    return out;
  }
  Bytes Signature() {
    Bytes out(32);
    CK_ULONG length = out.size();
    WANT(t, CKR_OK, t.p11->C_SignInit(t.session, &hmac, mac.first));
    WANT(t, CKR_OK, t.p11->C_Sign(t.session, Ptr(message), message.size(), out.data(), &length));
    return out;
  }
  using Update = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*);
  // Feeds `input` in three parts and ends the cipher; what came out.
  bool Run(Update update, const char* name, const Bytes& input, bool encrypting, Bytes& out) {
    out.assign(kSize + 64, 0);
    std::size_t made = 0;
    for (std::size_t at = 0; at < kSize; at += 32) {
      CK_ULONG length = out.size() - made;
      if (!t.Expect(update(t.session, const_cast<CK_BYTE*>(input.data()) + at, 32, out.data() + made, &length),
                    {CKR_OK}, name))
        return false;
      made += length;
    }
    CK_ULONG length = out.size() - made;
    const CK_RV rv = encrypting ? t.p11->C_EncryptFinal(t.session, out.data() + made, &length)
                                : t.p11->C_DecryptFinal(t.session, out.data() + made, &length);
    if (!t.Expect(rv, {CKR_OK}, encrypting ? "C_EncryptFinal" : "C_DecryptFinal")) return false;
    out.resize(made + length);
    return true;
  }
};

void DigestEncrypt(Dual& d) {
  Trial& t = d.t;
  Bytes out, digest(32);
  NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &d.sha));
  NEED(t, CKR_OK, t.p11->C_EncryptInit(t.session, &d.cbc, d.cipher.first));
  if (!d.Run(t.p11->C_DigestEncryptUpdate, "C_DigestEncryptUpdate", d.message, true, out)) return;
  CK_ULONG length = digest.size();
  NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, digest.data(), &length));
  t.Check(out == d.Encrypted() && digest == d.Digest(), "both operations give what they give alone");
}

void DecryptDigest(Dual& d) {
  Trial& t = d.t;
  const Bytes sealed = d.Encrypted();
  Bytes out, digest(32);
  NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &d.sha));
  NEED(t, CKR_OK, t.p11->C_DecryptInit(t.session, &d.cbc, d.cipher.second));
  if (!d.Run(t.p11->C_DecryptDigestUpdate, "C_DecryptDigestUpdate", sealed, false, out)) return;
  CK_ULONG length = digest.size();
  NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, digest.data(), &length));
  t.Check(out == d.message && digest == d.Digest(), "both operations give what they give alone");
}

void SignEncrypt(Dual& d) {
  Trial& t = d.t;
  Bytes out, signature(32);
  NEED(t, CKR_OK, t.p11->C_SignInit(t.session, &d.hmac, d.mac.first));
  NEED(t, CKR_OK, t.p11->C_EncryptInit(t.session, &d.cbc, d.cipher.first));
  if (!d.Run(t.p11->C_SignEncryptUpdate, "C_SignEncryptUpdate", d.message, true, out)) return;
  CK_ULONG length = signature.size();
  NEED(t, CKR_OK, t.p11->C_SignFinal(t.session, signature.data(), &length));
  t.Check(out == d.Encrypted() && signature == d.Signature(), "both operations give what they give alone");
}

void DecryptVerify(Dual& d) {
  Trial& t = d.t;
  const Bytes sealed = d.Encrypted(), signature = d.Signature();
  Bytes out;
  NEED(t, CKR_OK, t.p11->C_DecryptInit(t.session, &d.cbc, d.cipher.second));
  NEED(t, CKR_OK, t.p11->C_VerifyInit(t.session, &d.hmac, d.mac.first));
  if (!d.Run(t.p11->C_DecryptVerifyUpdate, "C_DecryptVerifyUpdate", sealed, false, out)) return;
  WANT(t, CKR_OK, t.p11->C_VerifyFinal(t.session, Ptr(signature), signature.size()));
  t.Check(out == d.message, "the plaintext comes back");
}

// Either operation is missing.
void DualOrder(Dual& d) {
  Trial& t = d.t;
  Bytes out(256);
  CK_ULONG length = out.size();
  WANT(t, CKR_OPERATION_NOT_INITIALIZED,
       t.p11->C_DigestEncryptUpdate(t.session, Ptr(d.message), 32, out.data(), &length));
  NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &d.sha));
  length = out.size();
  WANT(t, CKR_OPERATION_NOT_INITIALIZED,
       t.p11->C_DigestEncryptUpdate(t.session, Ptr(d.message), 32, out.data(), &length));
}

// A question for the length feeds neither operation.
void DualLength(Dual& d) {
  Trial& t = d.t;
  Bytes out(64), digest(32);
  NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &d.sha));
  NEED(t, CKR_OK, t.p11->C_EncryptInit(t.session, &d.cbc, d.cipher.first));
  CK_ULONG length = 0;
  NEED(t, CKR_OK, t.p11->C_DigestEncryptUpdate(t.session, Ptr(d.message), 32, nullptr, &length));
  t.Check(length >= 32, "the length asked for is enough");
  length = 5;
  WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_DigestEncryptUpdate(t.session, Ptr(d.message), 32, out.data(), &length));
  Bytes whole;
  if (!d.Run(t.p11->C_DigestEncryptUpdate, "C_DigestEncryptUpdate", d.message, true, whole)) return;
  length = digest.size();
  NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, digest.data(), &length));
  t.Check(digest == d.Digest(), "a part is digested once");
}

}  // namespace

void AddDual(Plan& plan) {
  plan.Chapter("dual functions", Stage::kUser);
  const auto add = [&](const char* function, const char* name, void (*body)(Dual&)) {
    plan.Add(function, name, [body](Trial& t) {
      Dual dual{t, {}, {}};
      if (dual.Ready()) body(dual);
    });
  };
  add("C_DigestEncryptUpdate", "is-both", DigestEncrypt);
  add("C_DecryptDigestUpdate", "is-both", DecryptDigest);
  add("C_SignEncryptUpdate", "is-both", SignEncrypt);
  add("C_DecryptVerifyUpdate", "is-both", DecryptVerify);
  add("C_DigestEncryptUpdate", "not-initialised", DualOrder);
  add("C_DigestEncryptUpdate", "length-query", DualLength);
}

}  // namespace cmkd::conformance
