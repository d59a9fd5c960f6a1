// The records of the store besides the CMK: plain values. What the bytes in them mean (attribute types, index terms,
// PIN verifiers) is the daemon's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/time.h"
#include "keystore/cmk/bounds.h"
#include "keystore/cmk/cmk.h"
#include "keystore/cmk/ids.h"
#include "keystore/cmk/time_record.h"

namespace cmkd::store {

using StoreId = cmk::Id<struct StoreIdTag>;

// The store's own record. Every write commit moves the generation.
struct Meta {
  StoreId id;
  std::uint8_t schema = 0;
  Timestamp created;
  std::uint64_t generation = 0;
  std::uint64_t next_object_serial = 1;
  std::uint64_t next_slot = 0;
  cmk::TimeRecord time;

  bool operator==(const Meta&) const = default;
};

// What is kept of one PIN. The verifier is opaque here (memory-hard, made by the daemon); never the PIN itself.
struct PinRecord {
  Bytes verifier;  // empty: not set
  std::uint32_t failures = 0;
  std::uint32_t generation = 0;  // moves with every change of the PIN: a login made before is stale
  Timestamp retry_after;         // no try is looked at before

  bool operator==(const PinRecord&) const = default;
};

// Stored: add at the end, never renumber.
enum class EpochState : std::uint8_t {
  kPending = 1,    // its wrapping key is being made
  kCurrent = 2,    // wraps new material
  kRetired = 3,    // unwraps only: what it wrapped is being wrapped again under the current one
  kDestroyed = 4,  // its wrapping key is gone, and with it whatever only it could open
  kSession = 5,    // wraps session objects, which no store holds; no epoch follows it
  kCondemned = 6,  // nothing in the store needs it any more: its wrapping key is being destroyed
};
inline constexpr EpochState kLastEpochState = EpochState::kCondemned;

// One generation of a token's wrapping key.
struct WrappingEpoch {
  std::uint32_t number = 0;
  Bytes hsm_reference;  // how the back end finds the wrapping key
  EpochState state = EpochState::kPending;

  bool operator==(const WrappingEpoch&) const = default;
};

// One of the HSMs that hold a mirrored token's wrapping keys.
struct TokenMirror {
  std::string hsm;    // its configured name
  Bytes fingerprint;  // of the transport key by which it is known: SHA-256

  bool operator==(const TokenMirror&) const = default;
};

struct TokenRecord {
  static constexpr std::size_t kLabelBytesMax = 32;
  static constexpr std::size_t kSerialBytesMax = 16;

  cmk::TokenId id;
  std::uint64_t slot = 0;
  std::string label;   // without the padding of CK_TOKEN_INFO
  std::string serial;  // likewise
  cmk::TokenProfile profile = cmk::TokenProfile::kManaged;
  cmk::BoundsProfile bounds = cmk::BoundsProfile::kDefault;
  std::string hsm;  // the configured name of the back end; of a mirrored token, that of the first
  PinRecord so_pin;
  PinRecord user_pin;
  std::uint32_t flags = 0;
  Timestamp created;
  std::vector<WrappingEpoch> epochs;  // ascending by number
  std::uint32_t next_epoch = 1;
  std::optional<Duration> deletion_window;  // the token's own default; the bounds profile's when absent
  std::optional<Timestamp> epoch_due;       // material was destroyed: from then on a new epoch makes that final
  std::optional<Duration> version_quiet;    // unused for so long, an old version may be destroyed; 30 days when absent
  std::optional<bool> disable_first;        // the bounds profile's rule when absent
  std::vector<TokenMirror> mirrors;  // all HSMs of a mirrored token, the first included; empty: there is one only

  bool operator==(const TokenRecord&) const = default;
};

// One attribute of an object, its value in whatever encoding the daemon uses.
struct Attribute {
  std::uint64_t type = 0;
  Bytes value;

  auto operator<=>(const Attribute&) const = default;
};

// Something an object can be found by. Equal terms of one object count once. The store keeps a keyed hash of it only.
struct Term {
  std::uint32_t kind = 0;  // the daemon's numbering, below kReservedTerms
  Bytes value;

  auto operator<=>(const Term&) const = default;
};
inline constexpr std::uint32_t kReservedTerms = 0xFFFFFF00;
// The store itself indexes an object under its CMK: FindObjects(token, {OfCmk(id)}) lists the objects of a key.
inline constexpr std::uint32_t kCmkTerm = 0xFFFFFF01;
inline Term OfCmk(const cmk::CmkId& id) { return {kCmkTerm, ToBytes(id.view())}; }

struct ObjectRecord {
  cmk::ObjectSerial serial;
  cmk::TokenId token;
  std::optional<cmk::CmkId> cmk;
  std::optional<cmk::KeyVersionNumber> version;  // when the object stands for one version, not for whatever is current
  bool is_private = false;
  std::vector<Attribute> attributes;
  std::vector<Term> terms;

  bool operator==(const ObjectRecord&) const = default;
};

// What a client request made, so that the same request sent again after a lost answer finds it.
struct RequestRecord {
  static constexpr std::size_t kTagBytesMax = 64;

  Bytes tag;                               // the client's, 1 to kTagBytesMax bytes
  Bytes body_digest;                       // of the request: the same tag on another request is a mistake of the client
  std::vector<cmk::ObjectSerial> objects;  // what was made
  Timestamp expires;                       // set by PutRequest

  bool operator==(const RequestRecord&) const = default;
};
inline constexpr Duration kRequestLife = Hours(24);

// A key that may have something to do at `at` (cmk::NextDue).
struct DueCmk {
  Timestamp at;
  cmk::CmkId id;

  auto operator<=>(const DueCmk&) const = default;
};

}  // namespace cmkd::store
