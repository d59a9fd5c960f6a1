// The calls of the bench.
#include "tests/attacks/bench.h"

namespace cmkd::attacks {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

const Bytes kWitnessIv(12, 0x5A);
const Bytes kWitnessData(16, 0);
constexpr std::size_t kOutputMax = 1 << 16;

CK_BYTE* Data(const Bytes& bytes) { return const_cast<CK_BYTE*>(bytes.data()); }

}  // namespace

Mechanism Mechanism::Flat(CK_MECHANISM_TYPE type, Bytes parameter) {
  Mechanism made(type);
  made.held_.push_back(std::make_shared<Bytes>(std::move(parameter)));
  made.mechanism_.pParameter = made.held_.back()->data();
  made.mechanism_.ulParameterLen = made.held_.back()->size();
  return made;
}

Mechanism Mechanism::Gcm(Bytes iv, CK_ULONG tag_bits, Bytes aad) {
  auto held_iv = std::make_shared<Bytes>(std::move(iv));
  auto held_aad = std::make_shared<Bytes>(std::move(aad));
  const CK_GCM_PARAMS parameter{held_iv->data(),  held_iv->size(),  held_iv->size() * 8,
                                held_aad->data(), held_aad->size(), tag_bits};
  return Of(CKM_AES_GCM, parameter, {held_iv, held_aad});
}

Mechanism Mechanism::Ctr() { return Of(CKM_AES_CTR, CK_AES_CTR_PARAMS{128, {}}); }

// SHA-1 is the one hash that every token does.
Mechanism Mechanism::Oaep() {
  return Of(CKM_RSA_PKCS_OAEP, CK_RSA_PKCS_OAEP_PARAMS{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0});
}

Mechanism Mechanism::EcdhNull(Bytes point) {
  auto held = std::make_shared<Bytes>(std::move(point));
  return Of(CKM_ECDH1_DERIVE, CK_ECDH1_DERIVE_PARAMS{CKD_NULL, 0, nullptr, held->size(), held->data()}, {held});
}

Bench::Bench()
    : token_(FromEnvironment("P11_TOKEN")), pin_(FromEnvironment("P11_PIN")), so_pin_(FromEnvironment("P11_SO_PIN")) {
  if (!module_.loaded()) {
    trouble_ = "the module cannot be loaded";
    return;
  }
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  if (f()->C_Initialize(&arguments) != CKR_OK) trouble_ = "C_Initialize failed";
  const auto slot = module_.FindToken(token_);
  if (!slot) trouble_ = "there is no token " + token_;
  slot_ = slot.value_or(0);
}

CK_RV Bench::Open(CK_SESSION_HANDLE& session, CK_FLAGS flags) const {
  return f()->C_OpenSession(slot_, CKF_SERIAL_SESSION | flags, nullptr, nullptr, &session);
}

CK_RV Bench::Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const std::string& pin) const {
  return f()->C_Login(session, user, reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data())), pin.size());
}

CK_RV Bench::LoginAsSo() {
  f()->C_Logout(session_);
  return Login(session_, CKU_SO, so_pin_);
}

CK_RV Bench::LoginAsUser() {
  f()->C_Logout(session_);
  return Login(session_, CKU_USER, pin_);
}

CK_RV Bench::Begin() {
  if (const CK_RV rv = Open(session_); rv != CKR_OK) return rv;
  return Login(session_, CKU_USER, pin_);
}

void Bench::End() {
  f()->C_CloseAllSessions(slot_);
  if (Begin() == CKR_OK) DestroyAll();
  f()->C_CloseAllSessions(slot_);
  session_ = 0;
  witness_.clear();
}

void Bench::DestroyAll() {
  for (const CK_OBJECT_HANDLE object : module_.Find(session_, Template().Bool(CKA_TOKEN, true))) {
    f()->C_DestroyObject(session_, object);
  }
}

bool Bench::Offers(CK_MECHANISM_TYPE type, CK_FLAGS operation) const {
  CK_MECHANISM_INFO info{};
  return f()->C_GetMechanismInfo(slot_, type, &info) == CKR_OK && (info.flags & operation) == operation;
}

CK_RV Bench::GenerateAes(Template attributes, CK_OBJECT_HANDLE& key, CK_ULONG bytes) const {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  attributes.Ulong(CKA_VALUE_LEN, bytes);
  return f()->C_GenerateKey(session_, &mechanism, attributes.data(), attributes.size(), &key);
}

CK_RV Bench::GenerateSecret(Template attributes, CK_OBJECT_HANDLE& key, CK_ULONG bytes) const {
  CK_MECHANISM mechanism{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  attributes.Ulong(CKA_VALUE_LEN, bytes);
  return f()->C_GenerateKey(session_, &mechanism, attributes.data(), attributes.size(), &key);
}

CK_RV Bench::GenerateRsa(Template public_key, Template private_key, CK_OBJECT_HANDLE& pub, CK_OBJECT_HANDLE& priv,
                         CK_ULONG bits) const {
  CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  public_key.Ulong(CKA_MODULUS_BITS, bits).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1});
  return f()->C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(), private_key.data(),
                                private_key.size(), &pub, &priv);
}

CK_RV Bench::GenerateEc(Template public_key, Template private_key, CK_OBJECT_HANDLE& pub,
                        CK_OBJECT_HANDLE& priv) const {
  CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  public_key.Raw(CKA_EC_PARAMS, P256Parameters());
  return f()->C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(), private_key.data(),
                                private_key.size(), &pub, &priv);
}

CK_RV Bench::Create(Template attributes, CK_OBJECT_HANDLE& object) const {
  return f()->C_CreateObject(session_, attributes.data(), attributes.size(), &object);
}

CK_RV Bench::Copy(CK_OBJECT_HANDLE object, Template changes, CK_OBJECT_HANDLE& copy) const {
  return f()->C_CopyObject(session_, object, changes.data(), changes.size(), &copy);
}

CK_RV Bench::Set(CK_OBJECT_HANDLE object, Template changes) const {
  return f()->C_SetAttributeValue(session_, object, changes.data(), changes.size());
}

CK_RV Bench::Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, Bytes& value) const {
  value.assign(kOutputMax, 0);
  CK_ATTRIBUTE attribute{type, value.data(), value.size()};
  const CK_RV rv = f()->C_GetAttributeValue(session_, object, &attribute, 1);
  value.resize(rv == CKR_OK ? attribute.ulValueLen : 0);
  return rv;
}

bool Bench::IsTrue(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
  Bytes value;
  return Get(object, type, value) == CKR_OK && value.size() == 1 && value[0] == CK_TRUE;
}

CK_RV Bench::Wrap(Mechanism mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key, Bytes& blob) const {
  blob.assign(kOutputMax, 0);
  CK_ULONG length = blob.size();
  const CK_RV rv = f()->C_WrapKey(session_, mechanism.get(), wrapping, key, blob.data(), &length);
  blob.resize(rv == CKR_OK ? length : 0);
  return rv;
}

CK_RV Bench::Unwrap(Mechanism mechanism, CK_OBJECT_HANDLE unwrapping, const Bytes& blob, Template attributes,
                    CK_OBJECT_HANDLE& key) const {
  return f()->C_UnwrapKey(session_, mechanism.get(), unwrapping, Data(blob), blob.size(), attributes.data(),
                          attributes.size(), &key);
}

CK_RV Bench::Derive(Mechanism mechanism, CK_OBJECT_HANDLE base, Template attributes, CK_OBJECT_HANDLE& key) const {
  return f()->C_DeriveKey(session_, mechanism.get(), base, attributes.data(), attributes.size(), &key);
}

CK_RV Bench::Encrypt(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const {
  out.clear();
  if (const CK_RV rv = f()->C_EncryptInit(session_, mechanism.get(), key); rv != CKR_OK) return rv;
  out.assign(kOutputMax, 0);
  CK_ULONG length = out.size();
  const CK_RV rv = f()->C_Encrypt(session_, Data(data), data.size(), out.data(), &length);
  out.resize(rv == CKR_OK ? length : 0);
  return rv;
}

CK_RV Bench::Decrypt(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const {
  out.clear();
  if (const CK_RV rv = f()->C_DecryptInit(session_, mechanism.get(), key); rv != CKR_OK) return rv;
  out.assign(kOutputMax, 0);
  CK_ULONG length = out.size();
  const CK_RV rv = f()->C_Decrypt(session_, Data(data), data.size(), out.data(), &length);
  out.resize(rv == CKR_OK ? length : 0);
  return rv;
}

CK_RV Bench::Sign(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, Bytes& out) const {
  out.clear();
  if (const CK_RV rv = f()->C_SignInit(session_, mechanism.get(), key); rv != CKR_OK) return rv;
  out.assign(kOutputMax, 0);
  CK_ULONG length = out.size();
  const CK_RV rv = f()->C_Sign(session_, Data(data), data.size(), out.data(), &length);
  out.resize(rv == CKR_OK ? length : 0);
  return rv;
}

CK_RV Bench::Verify(Mechanism mechanism, CK_OBJECT_HANDLE key, const Bytes& data, const Bytes& signature) const {
  if (const CK_RV rv = f()->C_VerifyInit(session_, mechanism.get(), key); rv != CKR_OK) return rv;
  return f()->C_Verify(session_, Data(data), data.size(), Data(signature), signature.size());
}

CK_RV Bench::MakeTarget(CK_OBJECT_HANDLE& key, CK_ULONG bytes, Template more) {
  const Template target = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, true);
  const CK_RV rv = GenerateAes(Joined(target, std::move(more)), key, bytes);
  if (rv != CKR_OK) return rv;
  return Encrypt(Mechanism::Gcm(kWitnessIv), key, kWitnessData, witness_);
}

bool Bench::IsTarget(const Bytes& candidate) const {
  const bool possible = candidate.size() == 16 || candidate.size() == 24 || candidate.size() == 32;
  return possible && !witness_.empty() && AesGcm(candidate, kWitnessIv, kWitnessData) == witness_;
}

CK_RV Bench::MakeWrappingKey(CK_OBJECT_HANDLE& key, Template more, CK_ULONG bytes) const {
  const Template wrapping = AesTemplate({CKA_WRAP, CKA_UNWRAP}).Bool(CKA_EXTRACTABLE, false);
  return GenerateAes(Joined(wrapping, std::move(more)), key, bytes);
}

Template Joined(Template attributes, Template more) {
  const CK_ATTRIBUTE* list = more.data();
  for (CK_ULONG i = 0; i < more.size(); ++i) {
    const auto* value = static_cast<const std::uint8_t*>(list[i].pValue);
    attributes.Raw(list[i].type, Bytes(value, value + list[i].ulValueLen));
  }
  return attributes;
}

Template SecretTemplate(CK_KEY_TYPE type) {
  return Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type);
}

Template WithUsages(Template attributes, std::initializer_list<CK_ATTRIBUTE_TYPE> usages) {
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_VERIFY}) {
    attributes.Bool(usage, std::find(usages.begin(), usages.end(), usage) != usages.end());
  }
  const bool derives = std::find(usages.begin(), usages.end(), CK_ATTRIBUTE_TYPE{CKA_DERIVE}) != usages.end();
  return attributes.Bool(CKA_DERIVE, derives);
}

Template AesTemplate(std::initializer_list<CK_ATTRIBUTE_TYPE> usages) {
  return WithUsages(SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, true), usages);
}

}  // namespace cmkd::attacks
