// Adoption: keys that already live in an HSM's token become version 1 of new CMKs. They stay where they are, with label
// and CKA_ID, so an application changes only its module path.
#pragma once

#include <string>
#include <vector>

#include "daemon/custody/custodian.h"
#include "daemon/service/daemon.h"

namespace cmkd::daemon {

// A key in the device, and what is to become of it.
struct Adoptee {
  DeviceObject object;
  std::string label;
  Bytes id;
  std::string spec;      // "AES-256", "RSA-2048", …
  std::string why_not;   // a sentence; empty when it can be adopted
  bool adopted = false;  // done now
  bool is_ours = false;  // belongs to a CMK already: adopted before, or made by us
  NewObjects objects;    // what the store would hold
};

// What of the device of `token` could be adopted into it. Changes nothing.
Fallible<std::vector<Adoptee>> FindAdoptees(const Daemon& daemon, const store::TokenRecord& token);
// Certificates there that no object of the token is like: for the keys' applications.
Fallible<std::vector<spec::Attributes>> FindCertificates(const Daemon& daemon, const store::TokenRecord& token);

}  // namespace cmkd::daemon
