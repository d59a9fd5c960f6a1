// A device for a test: its own flash directory, an initialized token, a user logged in, and short names for what tests
// do with the function list. Everything goes through the C functions.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "firmware_sim/firmware_sim.h"
#include "pkcs11/spec/cryptoki.h"
#include "pkcs11/spec/owned_template.h"

namespace cmkd::sim {

inline constexpr std::string_view kSoPin = "security officer";
inline constexpr std::string_view kUserPin = "user pin";

Bytes FromHex(std::string_view hex);

using T = spec::OwnedTemplate;

// A mechanism that owns its parameter.
class M {
 public:
  M(CK_MECHANISM_TYPE type) : mechanism_{type, nullptr, 0} {}  // NOLINT
  template <class Parameter>
  M(CK_MECHANISM_TYPE type, const Parameter& parameter)
      : parameter_(reinterpret_cast<const std::uint8_t*>(&parameter),
                   reinterpret_cast<const std::uint8_t*>(&parameter) + sizeof parameter),
        mechanism_{type, parameter_.data(), parameter_.size()} {}
  M(CK_MECHANISM_TYPE type, const Bytes& parameter)
      : parameter_(parameter), mechanism_{type, parameter_.data(), parameter_.size()} {}
  M(const M&) = delete;
  M& operator=(const M&) = delete;
  operator CK_MECHANISM*() { return &mechanism_; }  // NOLINT

 private:
  Bytes parameter_;
  CK_MECHANISM mechanism_;
};

// A GCM parameter; iv and aad must outlive it.
CK_GCM_PARAMS Gcm(const Bytes& iv, const Bytes& aad = {}, CK_ULONG tag_bits = 128);

class DeviceTest : public testing::Test {
 protected:
  DeviceTest();
  ~DeviceTest() override;

  void Start();
  void Stop();
  // The first session, read/write, with the user logged in.
  void LogIn();
  CK_SESSION_HANDLE OpenSession(CK_FLAGS flags = CKF_RW_SESSION);

  CK_OBJECT_HANDLE Create(T attributes);
  // A secret key for everything, its value readable.
  CK_OBJECT_HANDLE SecretKey(CK_KEY_TYPE type, const Bytes& value);
  CK_OBJECT_HANDLE GenerateAes(CK_ULONG bytes = 32, T more = {});
  struct Pair {
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  };
  Pair GenerateRsa(CK_ULONG bits = 2048, T private_more = {});
  Pair GenerateCurve(CK_MECHANISM_TYPE mechanism, std::string_view curve, T private_more = {});

  Bytes Attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  CK_RV AttributeError(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  std::vector<CK_OBJECT_HANDLE> Find(T attributes);

  // Init and single part; the CK_RV of whichever failed in `rv`.
  Bytes Encrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in);
  Bytes Decrypt(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in);
  Bytes Sign(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in);
  CK_RV Verify(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, const Bytes& in, const Bytes& signature);
  Bytes Digest(CK_MECHANISM_TYPE mechanism, const Bytes& in);
  Bytes Wrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key);
  CK_OBJECT_HANDLE Unwrap(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE unwrapping, const Bytes& wrapped, T attributes);

  CK_FUNCTION_LIST* const f = FunctionList();
  std::string directory;
  CK_SESSION_HANDLE session = 0;
  CK_RV rv = CKR_OK;  // of the last helper

 private:
  using Function = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
  Bytes Run(CK_RV init, Function function, const Bytes& in);
};

}  // namespace cmkd::sim
