// See device_fixture.h.
#include "tests/firmware_sim/device_fixture.h"

#include <cstdlib>
#include <filesystem>

#include "pkcs11/spec/key_facts.h"

namespace cmkd::sim {
namespace {

CK_UTF8CHAR_PTR Chars(std::string_view text) {
  return reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(text.data()));
}

}  // namespace

Bytes FromHex(std::string_view hex) {
  const auto digit = [](char c) { return static_cast<std::uint8_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10); };
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    if (hex[i] == ' ') {
      --i;
      continue;
    }
    bytes.push_back(static_cast<std::uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return bytes;
}

CK_GCM_PARAMS Gcm(const Bytes& iv, const Bytes& aad, CK_ULONG tag_bits) {
  CK_GCM_PARAMS parameter{};
  parameter.pIv = const_cast<CK_BYTE*>(iv.data());
  parameter.ulIvLen = iv.size();
  parameter.ulIvBits = iv.size() * 8;
  parameter.pAAD = const_cast<CK_BYTE*>(aad.data());
  parameter.ulAADLen = aad.size();
  parameter.ulTagBits = tag_bits;
  return parameter;
}

DeviceTest::DeviceTest() {
  char name[] = "/tmp/cmkd-sim-XXXXXX";
  directory = ::mkdtemp(name);
  Start();
  CK_UTF8CHAR label[32];
  std::memset(label, ' ', sizeof label);
  std::memcpy(label, "test", 4);
  EXPECT_EQ(f->C_InitToken(0, Chars(kSoPin), kSoPin.size(), label), CKR_OK);
  const CK_SESSION_HANDLE so = OpenSession();
  EXPECT_EQ(f->C_Login(so, CKU_SO, Chars(kSoPin), kSoPin.size()), CKR_OK);
  EXPECT_EQ(f->C_InitPIN(so, Chars(kUserPin), kUserPin.size()), CKR_OK);
  EXPECT_EQ(f->C_CloseSession(so), CKR_OK);
  LogIn();
}

DeviceTest::~DeviceTest() {
  f->C_Finalize(nullptr);
  std::filesystem::remove_all(directory);
}

void DeviceTest::Start() {
  Configure(directory);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
}

void DeviceTest::Stop() { ASSERT_EQ(f->C_Finalize(nullptr), CKR_OK); }

void DeviceTest::LogIn() {
  session = OpenSession();
  ASSERT_EQ(f->C_Login(session, CKU_USER, Chars(kUserPin), kUserPin.size()), CKR_OK);
}

CK_SESSION_HANDLE DeviceTest::OpenSession(CK_FLAGS flags) {
  CK_SESSION_HANDLE handle = 0;
  EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION | flags, nullptr, nullptr, &handle), CKR_OK);
  return handle;
}

CK_OBJECT_HANDLE DeviceTest::Create(T attributes) {
  CK_OBJECT_HANDLE handle = 0;
  rv = f->C_CreateObject(session, attributes.data(), attributes.size(), &handle);
  return handle;
}

CK_OBJECT_HANDLE DeviceTest::SecretKey(CK_KEY_TYPE type, const Bytes& value) {
  const CK_OBJECT_HANDLE handle =
      Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Raw(CKA_VALUE, value));
  EXPECT_EQ(rv, CKR_OK);
  return handle;
}

CK_OBJECT_HANDLE DeviceTest::GenerateAes(CK_ULONG bytes, T more) {
  CK_OBJECT_HANDLE handle = 0;
  more.Ulong(CKA_VALUE_LEN, bytes);
  rv = f->C_GenerateKey(session, M(CKM_AES_KEY_GEN), more.data(), more.size(), &handle);
  return handle;
}

DeviceTest::Pair DeviceTest::GenerateRsa(CK_ULONG bits, T private_more) {
  Pair pair;
  T public_attributes;
  public_attributes.Ulong(CKA_MODULUS_BITS, bits);
  rv = f->C_GenerateKeyPair(session, M(CKM_RSA_PKCS_KEY_PAIR_GEN), public_attributes.data(), public_attributes.size(),
                            private_more.data(), private_more.size(), &pair.public_key, &pair.private_key);
  return pair;
}

DeviceTest::Pair DeviceTest::GenerateCurve(CK_MECHANISM_TYPE mechanism, std::string_view curve, T private_more) {
  Pair pair;
  T public_attributes;
  public_attributes.Raw(CKA_EC_PARAMS, ToBytes(AsBytes(spec::FindCurveByName(curve)->oid)));
  rv = f->C_GenerateKeyPair(session, M(mechanism), public_attributes.data(), public_attributes.size(),
                            private_more.data(), private_more.size(), &pair.public_key, &pair.private_key);
  return pair;
}

Bytes DeviceTest::Attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  rv = f->C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return {};
  Bytes value(attribute.ulValueLen);
  attribute.pValue = value.data();
  rv = f->C_GetAttributeValue(session, object, &attribute, 1);
  return value;
}

CK_RV DeviceTest::AttributeError(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  Attribute(object, type);
  return rv;
}

std::vector<CK_OBJECT_HANDLE> DeviceTest::Find(T attributes) {
  std::vector<CK_OBJECT_HANDLE> found(10000);
  CK_ULONG count = 0;
  rv = f->C_FindObjectsInit(session, attributes.data(), attributes.size());
  if (rv == CKR_OK) rv = f->C_FindObjects(session, found.data(), found.size(), &count);
  if (rv == CKR_OK) rv = f->C_FindObjectsFinal(session);
  found.resize(count);
  return found;
}

Bytes DeviceTest::Run(CK_RV init, Function function, const Bytes& in) {
  rv = init;
  if (rv != CKR_OK) return {};
  Bytes out(in.size() + 1100);
  CK_ULONG bytes = out.size();
  rv = function(session, const_cast<CK_BYTE*>(in.data()), in.size(), out.data(), &bytes);
  out.resize(rv == CKR_OK ? bytes : 0);
  return out;
}

Bytes DeviceTest::Encrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in) {
  return Run(f->C_EncryptInit(session, mechanism, key), f->C_Encrypt, in);
}
Bytes DeviceTest::Decrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in) {
  return Run(f->C_DecryptInit(session, mechanism, key), f->C_Decrypt, in);
}
Bytes DeviceTest::Sign(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in) {
  return Run(f->C_SignInit(session, mechanism, key), f->C_Sign, in);
}
Bytes DeviceTest::Digest(CK_MECHANISM_TYPE mechanism, const Bytes& in) {
  return Run(f->C_DigestInit(session, M(mechanism)), f->C_Digest, in);
}

CK_RV DeviceTest::Verify(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in, const Bytes& signature) {
  rv = f->C_VerifyInit(session, mechanism, key);
  if (rv == CKR_OK) {
    rv = f->C_Verify(session, const_cast<CK_BYTE*>(in.data()), in.size(), const_cast<CK_BYTE*>(signature.data()),
                     signature.size());
  }
  return rv;
}

Bytes DeviceTest::Wrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key) {
  Bytes out(8192);
  CK_ULONG bytes = out.size();
  rv = f->C_WrapKey(session, mechanism, wrapping, key, out.data(), &bytes);
  out.resize(rv == CKR_OK ? bytes : 0);
  return out;
}

CK_OBJECT_HANDLE DeviceTest::Unwrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE unwrapping, const Bytes& wrapped,
                                    T attributes) {
  CK_OBJECT_HANDLE handle = 0;
  rv = f->C_UnwrapKey(session, mechanism, unwrapping, const_cast<CK_BYTE*>(wrapped.data()), wrapped.size(),
                      attributes.data(), attributes.size(), &handle);
  return handle;
}

}  // namespace cmkd::sim
