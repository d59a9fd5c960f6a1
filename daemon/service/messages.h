// The parameters of message calls and of authenticated wrapping (3.0 and 3.2): an AEAD whose IV the token may choose
// and whose tag stands beside the ciphertext, as devices that only know 2.40 take it.
#pragma once

#include "daemon/service/operation_run.h"

namespace cmkd::daemon {

// A per-message parameter of any of the three layouts, which has passed CheckMessageParameter. Borrowed.
class MessageParameter {
 public:
  explicit MessageParameter(const spec::ParameterInOut& given) : given_(given) {}

  // Chooses the part of the IV that the caller leaves to the token: random bits, which is the one way that needs no
  // memory of what was used before. CKR_MECHANISM_PARAM_INVALID for other generators or less than 96 random bits.
  Status ChooseIv() const;
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

  spec::ParameterInOut given_;
  CK_GCM_PARAMS gcm_{};
  CK_CCM_PARAMS ccm_{};
  CK_SALSA20_CHACHA20_POLY1305_PARAMS chacha_{};
  CK_GCM_MESSAGE_PARAMS fixed_gcm_{};
  CK_CCM_MESSAGE_PARAMS fixed_ccm_{};
};

}  // namespace cmkd::daemon
