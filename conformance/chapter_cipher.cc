// Encryption and decryption (PKCS#11 3.2 sections 5.8 and 5.10).
#include "conformance/output_operation.h"
#include "conformance/setting.h"

namespace cmkd::conformance {
namespace {

Subject Encrypting(const Setting& setting) {
  Subject subject;
  subject.mechanism = &setting.sample->mechanism;
  subject.key = setting.key.first;
  subject.input = setting.sample->message;
  subject.in_parts = setting.sample->in_parts;
  subject.part = setting.sample->part;
  subject.keeps = setting.sample;
  return subject;
}

bool Encrypted(Trial& t, const Setting& setting, ByteView message, Bytes& sealed) {
  Subject subject = Encrypting(setting);
  subject.input = ToBytes(message);
  return t.Expect(RunOnce(t, kEncryption, subject, sealed), {CKR_OK}, "C_Encrypt");
}

CK_RV Decrypt(Trial& t, const Setting& setting, ByteView sealed, Bytes& opened) {
  Subject subject = Encrypting(setting);
  subject.key = setting.key.second;
  subject.input = ToBytes(sealed);
  return RunOnce(t, kDecryption, subject, opened);
}

bool PrepareEncryption(Trial& t, const Offer& offer, Subject& subject) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return false;
  subject = Encrypting(setting);
  Bytes first, second;
  if (!Encrypted(t, setting, subject.input, first) || !Encrypted(t, setting, subject.input, second)) return false;
  if (first == second) subject.output = first;
  return true;
}

bool PrepareDecryption(Trial& t, const Offer& offer, Subject& subject) {
  Setting setting;
  if (!Set(t, offer, CKF_DECRYPT, setting)) return false;
  subject = Encrypting(setting);
  subject.key = setting.key.second;
  subject.output = subject.input;
  return Encrypted(t, setting, subject.output, subject.input);
}

// ---- Beyond what all operations share

void RoundTrips(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  const std::size_t whole = setting.sample->message.size();
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{16}, std::size_t{17}, whole, std::size_t{1000}, std::size_t{65536}}) {
    if (setting.sample->one_length && size != whole) continue;
    if ((setting.sample->whole_blocks && size % 16 != 0) || size < setting.sample->shortest) continue;
    const Bytes message = size == whole ? setting.sample->message : Bytes(size, 0x33);
    Bytes sealed, opened;
    if (!Encrypted(t, setting, message, sealed)) return;
    if (!t.Expect(Decrypt(t, setting, sealed, opened), {CKR_OK}, "C_Decrypt")) return;
    t.Check(opened == message, "what was encrypted comes back");
    t.Check(size < 16 || sealed != message, "a ciphertext is not the plaintext");
  }
}

void EmptyMessage(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  Bytes sealed, opened;
  if (!Encrypted(t, setting, {}, sealed)) return;
  if (!t.Expect(Decrypt(t, setting, sealed, opened), {CKR_OK}, "C_Decrypt")) return;
  t.Check(opened.empty(), "nothing comes back of nothing");
}

void WrongLength(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  Subject subject = Encrypting(setting);
  subject.input.resize(subject.input.size() - 3);
  Bytes out;
  t.Expect(RunOnce(t, kEncryption, subject, out), {CKR_DATA_LEN_RANGE}, "C_Encrypt");
  CK_ULONG length = 0;
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_Encrypt(t.session, Ptr(subject.input), 16, nullptr, &length));
  subject.key = setting.key.second;
  t.Expect(RunOnce(t, kDecryption, subject, out), {CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID},
           "C_Decrypt");
}

void WrongLengthInParts(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  const Subject subject = Encrypting(setting);
  NEED(t, CKR_OK, kEncryption.init(t.p11, t.session, subject.mechanism, subject.key));
  Bytes out(256);
  CK_ULONG length = out.size();
  NEED(t, CKR_OK, t.p11->C_EncryptUpdate(t.session, Ptr(subject.input), 21, out.data(), &length));
  length = out.size();
  WANT(t, CKR_DATA_LEN_RANGE, t.p11->C_EncryptFinal(t.session, out.data(), &length));
  length = out.size();
  WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_EncryptFinal(t.session, out.data(), &length));
}

void Tampered(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_DECRYPT, setting)) return;
  Bytes sealed, opened;
  if (!Encrypted(t, setting, setting.sample->message, sealed)) return;
  for (const std::size_t at : {std::size_t{0}, sealed.size() / 2, sealed.size() - 1}) {
    Bytes altered = sealed;
    altered[at] ^= 0x01;
    t.Expect(Decrypt(t, setting, altered, opened), {CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED}, "C_Decrypt");
    CK_ULONG length = 0;
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_Decrypt(t.session, Ptr(sealed), sealed.size(), nullptr, &length));
  }
  t.Expect(Decrypt(t, setting, sealed, opened), {CKR_OK}, "C_Decrypt");
}

// No plaintext before the tag was checked.
void TamperedInParts(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_DECRYPT, setting)) return;
  Bytes sealed, room(4096);
  if (!Encrypted(t, setting, setting.sample->message, sealed)) return;
  sealed.back() ^= 0x80;
  NEED(t, CKR_OK, kDecryption.init(t.p11, t.session, &setting.sample->mechanism, setting.key.second));
  CK_ULONG length = room.size();
  NEED(t, CKR_OK, t.p11->C_DecryptUpdate(t.session, Ptr(sealed), sealed.size(), room.data(), &length));
  t.Check(length == 0, "no plaintext comes out before it is authenticated");
  length = room.size();
  WANT_ONE(t, (CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED),
           t.p11->C_DecryptFinal(t.session, room.data(), &length));
}

void Truncated(Trial& t, const Offer& offer) {
  Setting setting;
  if (!Set(t, offer, CKF_DECRYPT, setting)) return;
  Bytes sealed, opened;
  if (!Encrypted(t, setting, setting.sample->message, sealed)) return;
  for (const std::size_t size : {sealed.size() - 1, std::size_t{5}, std::size_t{0}}) {
    t.Expect(Decrypt(t, setting, ByteView(sealed).first(size), opened),
             {CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_AEAD_DECRYPT_FAILED}, "C_Decrypt");
  }
}

void WrongKeyType(Trial& t, const Offer& offer, const OutputOperation& operation) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  const CK_KEY_TYPE other = setting.sample->key_type == CKK_AES ? CKK_RSA : CKK_AES;
  const auto key = t.keys.Get(other, Purpose::kCipher);
  if (!key.ok()) return t.NotOffered(key.error());
  const CK_OBJECT_HANDLE handle = &operation == &kEncryption ? key->first : key->second;
  t.Expect(operation.init(t.p11, t.session, &setting.sample->mechanism, handle), {CKR_KEY_TYPE_INCONSISTENT},
           operation.init_name);
}

void NotPermitted(Trial& t, const Offer& offer, const OutputOperation& operation) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  const auto key = t.keys.Get(setting.sample->key_type, Purpose::kNothing);
  if (!key.ok()) return t.NotOffered(key.error());
  const CK_OBJECT_HANDLE handle = &operation == &kEncryption ? key->first : key->second;
  t.Expect(operation.init(t.p11, t.session, &setting.sample->mechanism, handle), {CKR_KEY_FUNCTION_NOT_PERMITTED},
           operation.init_name);
}

void WrongMechanism(Trial& t, const Offer& offer, const OutputOperation& operation) {
  Setting setting;
  if (!Set(t, offer, CKF_ENCRYPT, setting)) return;
  CK_MECHANISM digest{CKM_SHA256, nullptr, 0};
  const CK_OBJECT_HANDLE handle = &operation == &kEncryption ? setting.key.first : setting.key.second;
  t.Expect(operation.init(t.p11, t.session, &digest, handle), {CKR_MECHANISM_INVALID}, operation.init_name);
}

void AddBoth(Plan& plan, const Offer& offer) {
  const std::string name = MechanismName(offer.type);
  const auto sample = MakeSample(offer, CKF_ENCRYPT);
  const auto add = [&](const char* function, const char* what, void (*body)(Trial&, const Offer&)) {
    plan.AddFor(name, function, what, [offer, body](Trial& t) { body(t, offer); });
  };
  AddOutputCases(plan, kEncryption, name, [offer](Trial& t, Subject& s) { return PrepareEncryption(t, offer, s); });
  add("C_Encrypt", "round-trip", RoundTrips);
  if (sample->whole_blocks) {
    add("C_Encrypt", "data-len-range", WrongLength);
    add("C_EncryptFinal", "data-len-range", WrongLengthInParts);
  } else if (sample->shortest == 0) {
    add("C_Encrypt", "empty", EmptyMessage);
  }
  AddOutputCases(plan, kDecryption, name, [offer](Trial& t, Subject& s) { return PrepareDecryption(t, offer, s); });
  if (sample->tells_tampering) {
    add("C_Decrypt", "tampered", Tampered);
    add("C_Decrypt", "truncated", Truncated);
    if (sample->in_parts) add("C_DecryptUpdate", "tampered", TamperedInParts);
  }
  for (const OutputOperation* operation : {&kEncryption, &kDecryption}) {
    plan.AddFor(name, operation->init_name, "wrong-key-type", [=](Trial& t) { WrongKeyType(t, offer, *operation); });
    plan.AddFor(name, operation->init_name, "not-permitted", [=](Trial& t) { NotPermitted(t, offer, *operation); });
    plan.AddFor(name, operation->init_name, "wrong-mechanism", [=](Trial& t) { WrongMechanism(t, offer, *operation); });
  }
}

}  // namespace

void AddCipher(Plan& plan) {
  plan.Chapter("encryption and decryption", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    if (offer.Does(CKF_ENCRYPT | CKF_DECRYPT) && MakeSample(offer, CKF_ENCRYPT) != nullptr) AddBoth(plan, offer);
  }
}

}  // namespace cmkd::conformance
