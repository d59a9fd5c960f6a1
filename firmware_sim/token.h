// The token's own record: label, serial number, and the PINs of its roles with their retry counters. Kept in flash;
// what is in memory is what was last written there.
#pragma once

#include <array>
#include <mutex>
#include <string>

#include "firmware_sim/flash.h"

namespace cmkd::sim {

inline constexpr std::size_t kPinBytesMin = 4;
inline constexpr std::size_t kPinBytesMax = 255;
inline constexpr std::uint64_t kPinTries = 10;

enum class Role : std::uint8_t { kSecurityOfficer, kUser, kAuditor };
inline constexpr std::size_t kRoleCount = 3;

// Any thread.
class Token {
 public:
  explicit Token(Flash& flash) : flash_(flash) {}

  // Reads the record, or writes the one of a device fresh from the factory.
  Status Load();

  struct Info {
    bool initialized;
    bool user_pin_set;
    std::uint64_t so_tries;
    std::uint64_t user_tries;
    std::uint64_t auditor_tries;
    std::string label;   // 32 characters
    std::string serial;  // 16 characters
  };
  Info info() const;

  // The standard's C_InitToken on the record: SO PIN and label, no user PIN; the auditor's stays. On a token that is
  // initialized already the PIN must be the SO's. `wipe` destroys the objects; it runs after the PIN was checked and
  // before the record changes, so that an interruption leaves a token without objects and not objects without their
  // token. Errors: CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_PIN_LEN_RANGE.
  template <class WipeObjects>
  Status Initialize(ByteView so_pin, ByteView label, WipeObjects wipe) {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(CheckLength(so_pin));
    if (record_.initialized) RETURN_IF_ERROR(CheckPinLocked(Role::kSecurityOfficer, so_pin));
    RETURN_IF_ERROR(wipe());
    return InitializeLocked(so_pin, label);
  }

  // A try is counted, durably, before the PIN is looked at; success clears the count.
  // Errors: CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED.
  Status CheckPin(Role role, ByteView pin);

  // The record is destroyed: what is in memory goes too.
  void Forget();

  // Errors: CKR_PIN_LEN_RANGE.
  Status SetPin(Role role, ByteView pin);

 private:
  struct Pin {
    bool set = false;
    std::uint64_t tries = kPinTries;
    std::array<std::uint8_t, 16> salt{};
    std::array<std::uint8_t, 32> hash{};
  };
  struct Record {
    bool initialized = false;
    std::string label = std::string(32, ' ');
    std::string serial;
    std::array<Pin, kRoleCount> pins;
  };

  static Status CheckLength(ByteView pin);
  static Fallible<Pin> MakePin(ByteView pin);
  Status CheckPinLocked(Role role, ByteView pin);
  Status InitializeLocked(ByteView so_pin, ByteView label);
  // Writes first; memory changes only when the flash has it.
  Status Commit(const Record& record);

  Flash& flash_;
  mutable std::mutex mutex_;
  Record record_;
};

}  // namespace cmkd::sim
