// Operation: what is active in a session between an Init and its end. Data only; service/operations.cc runs it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "daemon/client/object.h"
#include "pkcs11/spec/call_table.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::daemon {

// A mechanism with its parameter in memory of its own: copied by the codec that carries it on the wire.
class OwnedMechanism {
 public:
  // The copy of `mechanism`, which has passed CheckParameter.
  static std::unique_ptr<OwnedMechanism> Copy(const CK_MECHANISM& mechanism);
  const CK_MECHANISM& get() const { return *shape_.value; }
  CK_MECHANISM* pointer() const { return shape_.value; }

 private:
  void Modernise();

  wire::Arena arena_;
  spec::Mechanism shape_;
};

struct Operation {
  spec::OperationKind kind = spec::OperationKind::kNoOperation;
  const spec::MechanismRow* row = nullptr;
  std::unique_ptr<OwnedMechanism> mechanism;
  ObjectPtr key;  // none for a digest
  std::size_t key_bits = 0;

  // The digest mechanism by which the device digests before it signs with CKM_ECDSA, where it cannot do both in one; or
  // 0.
  CK_MECHANISM_TYPE digest_apart = 0;

  // CKA_ALWAYS_AUTHENTICATE: a context-specific login must come between Init and use.
  bool needs_login = false;

  // Parts have been fed: each stream is one device session in which the operation runs with one version of the key.
  // More than one only when a MAC is verified and several versions may have made it.
  struct Stream {
    std::unique_ptr<Backend::Lease> lease;
    cmk::KeyVersionNumber version;
  };
  std::vector<Stream> streams;
  std::uint64_t fed = 0;
  std::uint64_t given = 0;  // what has come out of the parts so far

  // Parts are kept until the end: authenticated decryption with a key of several versions.
  bool buffering = false;
  wire::Buffer buffered;

  // An output that was made and did not fit the caller's buffer: given when the call is repeated, never made twice.
  struct Pending {
    Bytes input;
    Bytes output;
  };
  std::optional<Pending> pending;

  // Of C_VerifySignatureInit: the signature that the data is to be held against.
  Bytes signature;

  // Of a message operation: the message that goes on in parts, as an operation of its own.
  std::unique_ptr<Operation> message;

  // What was fed, as far as it may be needed to begin the operation anew from a saved state (C_GetOperationState).
  wire::Buffer history;
  bool history_is_whole = true;

  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  // An operation that is dropped half way leaves its device sessions unusable.
  ~Operation() {
    for (Stream& stream : streams) {
      if (stream.lease != nullptr) stream.lease->Break();
    }
    if (pending) Wipe(pending->output);
  }
};

}  // namespace cmkd::daemon
