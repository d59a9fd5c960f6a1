// The steps that the custodian's changes have in common. For its own files only.
#pragma once

#include "daemon/crypto/random.h"
#include "daemon/custody/custodian.h"
#include "daemon/service/translate.h"

namespace cmkd::daemon {

template <class Id>
Id NewId() {
  const Id16 random = RandomId();
  Id id;
  id.bytes = random;
  return id;
}

// The record after a request, or the refusal. An effect that makes a new version needs its material.
Fallible<cmk::Cmk> Decided(const cmk::Cmk& key, const cmk::Request& request, const cmk::Instant& at,
                           const cmk::Bounds& bounds, std::optional<cmk::Material> material = std::nullopt,
                           cmk::Effect* effect = nullptr);

// What a request of this name made, when it was carried out before. CKR_ARGUMENTS_BAD when it was another request.
Fallible<std::optional<store::RequestRecord>> Earlier(const store::ReadTxn& txn, const RequestName& name,
                                                      Timestamp now);
// Notes in the transaction that the request is carried out.
Status Remember(store::WriteTxn& txn, const RequestName& name, Timestamp now);

}  // namespace cmkd::daemon
