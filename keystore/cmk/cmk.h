// The record of a customer master key: plain values, no behaviour. Who may change what is decided in lifecycle.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/time.h"
#include "keystore/cmk/ids.h"
#include "keystore/cmk/state.h"

namespace cmkd::cmk {

// The enumerations below are stored in records: add at the end, never renumber.

// What kind of token a key lives on.
enum class TokenProfile : std::uint8_t {
  kManaged = 1,  // its token keys are CMKs under the rules of a key management service
  kGeneral = 2,  // a plain PKCS#11 token: immediate destruction, clear import
};

// How the material came to be.
enum class Origin : std::uint8_t {
  kLocal = 1,          // generated in the HSM
  kImportedClear = 2,  // given in the clear (C_CreateObject)
  kUnwrapped = 3,      // given wrapped (C_UnwrapKey, import)
  kDerived = 4,        // derived from another key
  kAdopted = 5,        // it lived in an HSM token before
};

// Whose key it is.
enum class KeyClass : std::uint8_t {
  kCustomer = 1,
  kService = 2,  // owned by a system service: used, shown and rotated, not disabled or deleted by customers
  kDefault = 3,  // the token's own, made at its first use
};

// Where a version's key material is.
struct Material {
  // Stored: never renumber.
  enum class Kind : std::uint8_t {
    kNone = 0,      // nowhere: not imported yet, or destroyed
    kWrapped = 1,   // in `blob`, wrapped under the token's wrapping key of `epoch`
    kResident = 2,  // in the HSM as a token object whose CKA_ID is `blob`
  };

  Kind kind = Kind::kNone;
  std::uint32_t epoch = 0;
  Bytes blob;         // never key bytes in the clear
  Bytes public_part;  // of an asymmetric version, in the encoding of the layer that made it; empty otherwise

  bool operator==(const Material&) const = default;
};

struct KeyVersion {
  KeyVersionNumber number;
  VersionState state = VersionState::kCurrent;
  Timestamp created;
  std::optional<Timestamp> retired_at;
  Material material;
  // Operations that applied protection, and the bytes that went through them. While the daemon runs these are what has
  // been set aside for use; never less than what was used.
  std::uint64_t uses = 0;
  std::uint64_t bytes = 0;
  std::optional<Timestamp> last_used;       // for whatever, to the minute
  std::optional<Timestamp> protects_until;  // a retired version that goes on protecting so long (its certificate lives)
  std::optional<Timestamp> expires;         // imported material: wiped then, until it is imported again
  Bytes fingerprint;                        // of imported material, keyed: what is imported again must have the same
  bool exposed = false;                     // the material was in the daemon's memory when it was imported

  bool operator==(const KeyVersion&) const = default;
};

// What one client did with one version of a key. While the daemon runs the counts are what has been set aside for use;
// never less than what was done.
struct ClientUse {
  std::uint32_t uid = 0;
  std::uint64_t protects = 0;   // operations that applied protection
  std::uint64_t processes = 0;  // operations that took it off or checked it
  std::uint64_t bytes = 0;      // that went through either
  Timestamp first;
  Timestamp last;

  bool operator==(const ClientUse&) const = default;
};
// The uses of clients beyond the number that is kept apart are counted together, under this user.
inline constexpr std::uint32_t kOtherClients = 0xFFFFFFFF;
inline constexpr std::size_t kClientsKept = 256;

// The dates in the life of a key. The scheduler looks at them; only a Transition changes them.
struct Dates {
  std::optional<Timestamp> activation;  // not used before
  std::optional<Timestamp> expiry;      // applies no protection from here on; still processes
  std::optional<Timestamp> next_rotation;
  std::optional<Timestamp> deletion_scheduled_at;
  std::optional<Timestamp> deletion_date;           // the material is destroyed then, not a second before
  std::optional<Timestamp> destruction_started_at;  // the point of no return: cancelling is refused from here on
  std::optional<Timestamp> destroyed_at;
  std::optional<Duration> observed_when_scheduled;  // time observed when the deletion was scheduled (time_record.h)
  std::optional<Timestamp> warned_at;               // of the deletion that comes near, or of a brown-out
  // A deletion that is announced: brown-outs from then (brown_out.h) until the waiting period begins, which is so long.
  std::optional<Timestamp> announced_at;
  std::optional<Timestamp> announced_until;
  Duration announced_window;

  bool operator==(const Dates&) const = default;
};

// A key pair under which material may be imported once (BYOK): the private half wrapped in the record like any
// material.
struct ImportSlot {
  Id<struct ImportTag> id;  // names it to the client: the import token
  Timestamp expires;
  std::uint8_t algorithm = 0;  // the daemon's numbering of wrapping algorithms
  Material material;

  bool operator==(const ImportSlot&) const = default;
};

struct Cmk {
  CmkId id;
  TokenId token;
  std::string name;  // the alias, CKA_LABEL of its objects; may be empty
  std::string description;
  Origin origin = Origin::kLocal;
  std::string spec;  // "AES-256", "EC-P256", …: the words of the layer that makes keys
  CmkState state = CmkState::kEnabled;
  KeyClass key_class = KeyClass::kCustomer;
  TokenProfile profile = TokenProfile::kManaged;
  bool rotatable = false;  // old versions can be found again: by header, module-made IV, trial, or their own object
  bool deletion_protected = false;
  Timestamp created;
  Dates dates;
  std::optional<CmkState> state_before_deletion;
  Duration rotation_period;          // 0: no scheduled rotation
  KeyVersionNumber current;          // 0 while there is no material
  std::vector<KeyVersion> versions;  // ascending by number
  Bytes request_tag;                 // of the client request that made it; empty when there was none
  std::vector<std::string> aliases;  // further names, each unique on the token
  std::vector<std::pair<std::string, std::string>> tags;  // ascending by name
  std::uint64_t usage_limit = 0;  // uses of one version that apply protection; 0: the mechanisms' own limit
  bool processes_compromised =
      false;                         // policy: what a compromised version protected may still be opened, with an alarm
  std::uint32_t generation = 1;      // of a fixed-version key: how often its label has moved on
  std::optional<CmkId> predecessor;  // the key that had the label before
  std::vector<ImportSlot> imports;
  std::optional<std::uint32_t> owner;  // kService: the user whose service it is
  std::vector<std::string> consumers;  // who said that they depend on it, ascending

  bool operator==(const Cmk&) const = default;

  // nullptr when there is no such version. Borrowed from this record.
  const KeyVersion* FindVersion(KeyVersionNumber number) const {
    const auto at =
        std::lower_bound(versions.begin(), versions.end(), number,
                         [](const KeyVersion& version, KeyVersionNumber other) { return version.number < other; });
    return at == versions.end() || at->number != number ? nullptr : &*at;
  }
  KeyVersion* FindVersion(KeyVersionNumber number) {
    return const_cast<KeyVersion*>(static_cast<const Cmk*>(this)->FindVersion(number));
  }
  const KeyVersion* CurrentVersion() const { return FindVersion(current); }
};

}  // namespace cmkd::cmk
