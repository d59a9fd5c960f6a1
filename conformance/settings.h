// What the user says about the module under test: command line first, then the environment as `cmkctl sandbox` sets it.
#pragma once

#include <string>

namespace cmkd::conformance {

struct Settings {
  std::string module;  // path of the shared object
  std::string token;   // label of the token that the cases use; its user PIN is set
  std::string pin;
  std::string so_pin;
  std::string initialise_with;  // text behind pReserved of C_Initialize, as NSS's softoken wants it; empty: NULL
};

}  // namespace cmkd::conformance
