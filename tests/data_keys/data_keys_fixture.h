// An application's session, keys that an operator made, and short names for the managed mechanism. Runs inside
// `cmkctl sandbox`, whatever the profile and the back end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pkcs11/spec/managed_ciphertext.h"
#include "pkcs11/spec/vendor.h"
#include "tests/module/sandbox_test.h"

namespace cmkd::tests {

// The mechanism with a context, which must outlive it.
struct Managed {
  explicit Managed(Bytes with = {}) : context(std::move(with)) {
    parameters = {context.data(), context.size()};
    if (context.empty()) mechanism = {CKM_CMKD_AES_MANAGED, nullptr, 0};
  }
  Managed(const Managed&) = delete;
  Managed& operator=(const Managed&) = delete;

  Bytes context;
  CK_CMKD_MANAGED_PARAMS parameters{};
  CK_MECHANISM mechanism{CKM_CMKD_AES_MANAGED, &parameters, sizeof parameters};
};

class DataKeysTest : public SandboxTest {
 protected:
  CK_RV Encrypt(CK_OBJECT_HANDLE key, const Bytes& plain, Bytes& sealed, const Bytes& context = {}) {
    return SandboxTest::Encrypt(Managed(context).mechanism, key, plain, sealed);
  }
  CK_RV Decrypt(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& opened, const Bytes& context = {}) {
    return SandboxTest::Decrypt(Managed(context).mechanism, key, sealed, opened);
  }
};

}  // namespace cmkd::tests
