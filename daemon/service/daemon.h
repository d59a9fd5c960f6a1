// Daemon: what all handlers share, made once by main. Owns nothing that it does not name here; the parts are borrowed.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/audit/audit_log.h"
#include "daemon/client/registry.h"
#include "daemon/config/config.h"
#include "daemon/crypto/pin.h"
#include "daemon/crypto/sealer.h"
#include "daemon/custody/custodian.h"
#include "daemon/custody/records.h"
#include "daemon/custody/use_counter.h"
#include "daemon/hsm/backend.h"
#include "daemon/system/spare_room.h"
#include "keystore/store/store.h"

namespace cmkd::daemon {

struct Daemon {
  const Config& config;
  const Clock& clock;
  store::Store& store;
  AuditLog& audit;
  Backends& backends;
  Records& records;
  Custodian& custodian;
  UseCounter& counter;
  Registry& registry;
  PinCache& pins;
  const AesGcmSealer& ticket_sealer;
  const AesGcmSealer& object_sealer;
  const SecretBytes& rejection_key;  // from which come the bytes that stand for wrongly padded messages
  SpareRoom& spare_room;
  Timestamp started;
};

inline std::string AuditDirectory(const Config& config) { return config.daemon.state_directory + "/audit"; }

}  // namespace cmkd::daemon
