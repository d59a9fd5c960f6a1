// The two halves of a checkpoint's signature, as interfaces: the log does not know which key signs or where it lives.
#pragma once

#include "common/bytes.h"
#include "daemon/audit/audit_record.h"

namespace cmkd::daemon {

// Signs on behalf of the log; called from the log's own thread (or that of WriteCheckpoint), one call at a time and
// never under the log's lock, so it may append to the log. May be slow, may fail.
class CheckpointSigner {
 public:
  virtual ~CheckpointSigner() = default;
  // Names the key in the record; what Verify is asked with.
  virtual AuditId KeyId() const = 0;
  // The signature over `statement`, at most kAuditSignatureMax bytes; empty when it cannot be made now, and the
  // checkpoint is then written unsigned and says so.
  virtual Bytes Sign(ByteView statement) = 0;
};

// Checks what a CheckpointSigner made; needs the public key only.
class CheckpointVerifier {
 public:
  virtual ~CheckpointVerifier() = default;
  // False for a key that it does not know, too.
  virtual bool Verify(const AuditId& key_id, ByteView statement, ByteView signature) = 0;
};

}  // namespace cmkd::daemon
