// Reconcile: what the store says must lie in an HSM, held against what lies there.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/client/registry.h"
#include "daemon/custody/custodian.h"

namespace cmkd::daemon {

// With what words the labels begin of what this store has in its devices.
std::string OwnerWords(const store::StoreId& id);

enum class DiscrepancyKind : std::uint8_t {
  kMissing,   // a record names it, the device does not have it
  kDouble,    // several objects have its id
  kAltered,   // it is there, and not as it was made
  kOrphan,    // ours by its label, and no record names it
  kLeftover,  // of a session that no application has now; one that comes back would want it
  kNameless,  // a key without id and label: what a device that lost power while making a key leaves behind
};
std::string_view Name(DiscrepancyKind kind);

struct Discrepancy {
  DiscrepancyKind kind = DiscrepancyKind::kMissing;
  std::string hsm;
  Bytes id;
  std::string label;  // as the device shows it
  std::string what;   // a sentence: whose it is, or what is wrong with it
  DeviceObject object;
  bool destroyed = false;
};

// Something that must lie in the device.
struct Expected {
  std::string what;
  bool wrapping_key = false;
  bool may_be_missing = false;  // it is being made, or destroyed
  bool adopted = false;         // somebody else made it, as he liked
  bool carried = false;         // it came from another device, where it was made
};
using ExpectedById = std::map<Bytes, Expected>;

// What the store, and the applications' sessions, have in this device.
Fallible<ExpectedById> Gather(store::Store& store, const Registry& registry, const std::string& hsm);

// Pure: what is wrong, given what must be there and what is.
std::vector<Discrepancy> Compare(std::string_view owner, const ExpectedById& expected,
                                 const std::vector<DeviceObject>& found);

// What of it is put right: only ever by destroying what nothing needs.
struct Repair {
  bool orphans = false;
  bool leftovers = false;
  bool nameless = false;
};

struct Reconciliation {
  std::vector<Discrepancy> findings;
  std::size_t objects = 0;  // looked at in the devices
};

// Examines every configured device. `root_references`: CKA_ID of the key that wraps the root key, by HSM.
// Errors: CKR_FUNCTION_FAILED when keys are being made all the time; those of the devices.
Fallible<Reconciliation> Reconcile(store::Store& store, Backends& backends, Custodian& custodian,
                                   const Registry& registry, const std::map<std::string, Bytes>& root_references,
                                   const Repair& repair);

}  // namespace cmkd::daemon
