// The parameters of message calls and of authenticated wrapping (3.0 and 3.2): an AEAD whose IV the token may choose
// and whose tag stands beside the ciphertext, and their form in the calls of 2.40. No I/O; any thread.
#pragma once

#include <functional>

#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/shapes.h"

namespace cmkd::spec {

// A per-message parameter of any of the three layouts, which has passed CheckMessageParameter. Borrowed.
class MessageParameter {
 public:
  explicit MessageParameter(const ParameterInOut& given) : given_(given) {}

  // Whether the caller leaves the IV to the token, or a part of it.
  bool ChoosesIv() const { return generator() != CKG_NO_GENERATE; }
  // Lets `fill` choose the part of the IV that the caller leaves to the token: random bits, which is the one way that
  // needs no memory of what was used before. What SP 800-38D section 8.2.2 asks for is 96 of them; a CCM nonce has at
  // most 104 bits (SP 800-38C) and must have as many. CKR_MECHANISM_PARAM_INVALID for other generators or less.
  Status ChooseIv(const std::function<Status(MutableBytes)>& fill) const;
  // The mechanism with this message's parameter as it is, but for an IV that is chosen already. Points into `this` and
  // the message's parameter.
  CK_MECHANISM WithFixedIv(CK_MECHANISM_TYPE type);
  // Where the tag goes or comes from.
  MutableBytes tag() const;
  // The mechanism with this message's parameter in the form of C_EncryptInit. Points into `this`, the message's
  // parameter and `associated_data`. `plain_bytes` is what CCM has to know before it begins.
  CK_MECHANISM AsOneShot(CK_MECHANISM_TYPE type, ByteView associated_data, std::size_t plain_bytes);

 private:
  bool gcm() const { return given_.length == sizeof(CK_GCM_MESSAGE_PARAMS); }
  bool ccm() const { return given_.length == sizeof(CK_CCM_MESSAGE_PARAMS); }
  const CK_GCM_MESSAGE_PARAMS& AsGcm() const { return *static_cast<const CK_GCM_MESSAGE_PARAMS*>(given_.data); }
  const CK_CCM_MESSAGE_PARAMS& AsCcm() const { return *static_cast<const CK_CCM_MESSAGE_PARAMS*>(given_.data); }
  const CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS& AsChacha() const {
    return *static_cast<const CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS*>(given_.data);
  }
  CK_ULONG generator() const;

  ParameterInOut given_;
  CK_GCM_PARAMS gcm_{};
  CK_CCM_PARAMS ccm_{};
  CK_SALSA20_CHACHA20_POLY1305_PARAMS chacha_{};
  CK_GCM_MESSAGE_PARAMS fixed_gcm_{};
  CK_CCM_MESSAGE_PARAMS fixed_ccm_{};
};

}  // namespace cmkd::spec
