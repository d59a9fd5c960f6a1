// What known HSM modules answer otherwise than the standard says, as data: return values that mean something else, and
// mechanisms that are listed and not there.
// Applied where the module is called (the HSM host), so that nothing above ever sees a slip.
#pragma once

#include <span>
#include <string_view>

#include "pkcs11/spec/call_table.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::daemon {

// Any mechanism, any call.
inline constexpr CK_MECHANISM_TYPE kEveryMechanism = static_cast<CK_MECHANISM_TYPE>(-1);

// Any failure but those that cannot be about the data: lost sessions, memory, lengths.
inline constexpr CK_RV kEveryFailure = static_cast<CK_RV>(-1);

struct Quirk {
  std::string_view manufacturer;  // manufacturerID of C_GetInfo begins so
  CK_BYTE major;                  // libraryVersion.major of C_GetInfo
  spec::CallId call;
  CK_MECHANISM_TYPE mechanism;
  CK_RV says;
  CK_RV means;
};

std::span<const Quirk> Quirks();

// A mechanism that a module lists and cannot do.
struct Lack {
  std::string_view manufacturer;
  CK_BYTE major;
  CK_MECHANISM_TYPE mechanism;
};

// The rows that hold for one module. A value; any thread.
class QuirkSet {
 public:
  QuirkSet() = default;
  explicit QuirkSet(const CK_INFO& module);

  bool empty() const { return rows_.empty(); }
  // What `rv` of this call means in the standard's codes. `mechanism` is the call's own or that of the operation it
  // goes on with; kEveryMechanism when it has none.
  CK_RV Correct(spec::CallId call, CK_MECHANISM_TYPE mechanism, CK_RV rv) const;
  // Whether the module lists this mechanism and cannot do it.
  bool Lacks(CK_MECHANISM_TYPE mechanism) const;

 private:
  // Of one manufacturer and version: neighbours in their tables.
  std::span<const Quirk> rows_;
  std::span<const Lack> lacks_;
};

// Whether `rv` means that an integrity check failed: the data, tag, MAC or wrapped key is not this key's. Holds for
// codes of the standard, as given by any mechanism of the table, and for uncorrected ones of a module with a row above.
bool MeansWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv, const QuirkSet& quirks);

}  // namespace cmkd::daemon
