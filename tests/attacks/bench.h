// Bench: a token on which attacks are tried, through the calls of one module; and the attacker's own tools.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/attacks/trial.h"
#include "tests/module/loaded_module.h"

namespace cmkd::attacks {

using tests::Template;

// A mechanism with the memory of its parameter.
class Mechanism {
 public:
  explicit Mechanism(CK_MECHANISM_TYPE type) : mechanism_{type, nullptr, 0} {}
  static Mechanism Flat(CK_MECHANISM_TYPE type, Bytes parameter);
  static Mechanism Gcm(Bytes iv, CK_ULONG tag_bits = 128, Bytes aad = {});
  static Mechanism Ctr();
  static Mechanism Oaep();
  static Mechanism EcdhNull(Bytes point);
  // Any parameter struct, with the buffers that it points into.
  template <class Struct>
  static Mechanism Of(CK_MECHANISM_TYPE type, const Struct& parameter, std::vector<std::shared_ptr<Bytes>> held = {}) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&parameter);
    Mechanism made = Flat(type, Bytes(bytes, bytes + sizeof parameter));
    made.held_.insert(made.held_.end(), held.begin(), held.end());
    return made;
  }

  CK_MECHANISM* get() { return &mechanism_; }
  CK_MECHANISM_TYPE type() const { return mechanism_.mechanism; }

 private:
  CK_MECHANISM mechanism_;
  std::vector<std::shared_ptr<Bytes>> held_;
};

class Bench {
 public:
  // Takes P11_MODULE, P11_TOKEN, P11_PIN and P11_SO_PIN from the environment.
  Bench();

  // Whether module and token are there; the reason when not.
  const std::string& trouble() const { return trouble_; }
  // Begins and ends a case: a session of its own with the user logged in; what a case leaves on the token goes.
  CK_RV Begin();
  void End();

  CK_FUNCTION_LIST* f() const { return module_.operator->(); }
  CK_SESSION_HANDLE session() const { return session_; }
  CK_SLOT_ID slot() const { return slot_; }
  const std::string& pin() const { return pin_; }
  const std::string& so_pin() const { return so_pin_; }
  CK_RV Open(CK_SESSION_HANDLE& session, CK_FLAGS flags = CKF_RW_SESSION) const;
  CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const std::string& pin) const;
  CK_RV LoginAsSo();
  CK_RV LoginAsUser();
  bool Offers(CK_MECHANISM_TYPE type, CK_FLAGS operation) const;

  // The usual calls, in the case's session. Outputs are whole or empty.
  CK_RV GenerateAes(Template attributes, CK_OBJECT_HANDLE& key, CK_ULONG bytes = 32) const;
  CK_RV GenerateSecret(Template attributes, CK_OBJECT_HANDLE& key, CK_ULONG bytes = 32) const;
  CK_RV GenerateRsa(Template public_key, Template private_key, CK_OBJECT_HANDLE& pub, CK_OBJECT_HANDLE& priv,
                    CK_ULONG bits = 2048) const;
  CK_RV GenerateEc(Template public_key, Template private_key, CK_OBJECT_HANDLE& pub, CK_OBJECT_HANDLE& priv) const;
  CK_RV Create(Template attributes, CK_OBJECT_HANDLE& object) const;
  CK_RV Copy(CK_OBJECT_HANDLE object, Template changes, CK_OBJECT_HANDLE& copy) const;
  CK_RV Set(CK_OBJECT_HANDLE object, Template changes) const;
  CK_RV Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, Bytes& value) const;
  bool IsTrue(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const;
  CK_RV Wrap(Mechanism mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key, Bytes& blob) const;
  CK_RV Unwrap(Mechanism mechanism, CK_OBJECT_HANDLE unwrapping, const Bytes& blob, Template attributes,
               CK_OBJECT_HANDLE& key) const;
  CK_RV Derive(Mechanism mechanism, CK_OBJECT_HANDLE base, Template attributes, CK_OBJECT_HANDLE& key) const;
  CK_RV Encrypt(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const;
  CK_RV Decrypt(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const;
  CK_RV Sign(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const;
  CK_RV Verify(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, const Bytes& signature) const;

  // The target of most attacks: an AES-256 key that is sensitive and may be wrapped, in the session (a managed token
  // has no other such key). The token made it, so nobody knows its value.
  CK_RV MakeTarget(CK_OBJECT_HANDLE& key, CK_ULONG bytes = 32, Template more = {});
  // Whether these bytes are the target's value.
  bool IsTarget(const Bytes& candidate) const;
  // A key for wrapping and unwrapping as the token's rules would have it.
  CK_RV MakeWrappingKey(CK_OBJECT_HANDLE& key, Template more = {}, CK_ULONG bytes = 32) const;

 private:
  void DestroyAll();

  tests::LoadedModule module_;
  std::string trouble_;
  std::string token_, pin_, so_pin_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  Bytes witness_;  // what the target makes of sixteen zero bytes
};

// ---- Templates

Template SecretTemplate(CK_KEY_TYPE type);
Template Joined(Template attributes, Template more);
// A sensitive AES key in the session with these usages only.
Template AesTemplate(std::initializer_list<CK_ATTRIBUTE_TYPE> usages);
Template WithUsages(Template attributes, std::initializer_list<CK_ATTRIBUTE_TYPE> usages);

// ---- The attacker's tools, outside the token

Bytes AesGcm(const Bytes& key, const Bytes& iv, const Bytes& data);
Bytes AesCbcDecrypt(const Bytes& key, const Bytes& iv, const Bytes& data);
// One block by whatever does AES backwards; empty when it fails.
using BlockDecrypt = std::function<Bytes(const Bytes& block)>;
BlockDecrypt AesBlockDecrypt(const Bytes& key);
// RFC 3394, step by step: unwrapping, and wrapping with whatever does AES forwards.
Bytes UndoKeyWrap(const BlockDecrypt& decrypt, const Bytes& blob);
Bytes MakeKeyWrap(const BlockDecrypt& encrypt, const Bytes& key);

// An RSA key pair of the attacker's own.
class OwnRsa {
 public:
  explicit OwnRsa(unsigned bits = 2048);
  ~OwnRsa();
  OwnRsa(const OwnRsa&) = delete;
  OwnRsa& operator=(const OwnRsa&) = delete;
  Bytes modulus() const;
  Bytes exponent() const;
  // By OAEP with SHA-1, or by PKCS #1 v1.5.
  Bytes DecryptOaep(const Bytes& data) const;
  Bytes DecryptPkcs1(const Bytes& data) const;

 private:
  Bytes Decrypt(const Bytes& data, int padding) const;
  void* key_;
};

// The DER of a named curve's OID, and a point on P-256 (the generator) as an OCTET STRING.
Bytes P256Parameters();
Bytes P256Generator();
Bytes Random(std::size_t bytes);

// RSA moduli of 2048 bits that nobody should take.
Bytes EvenModulus();
Bytes ModulusWithSmallFactor();
Bytes ModulusOfClosePrimes();
Bytes RocaModulus();  // primes of the form k·M + (65537^a mod M), CVE-2017-15361

}  // namespace cmkd::attacks
