// What is done to a device beside its work, at its own connector and not through PKCS#11: attestation, firmware
// updates, a quorum of custodians, backup and cloning. Its records live in the device's flash.
#pragma once

#include <mutex>
#include <vector>

#include "firmware_sim/approvals.h"
#include "firmware_sim/audit_ring.h"
#include "firmware_sim/flash.h"

namespace cmkd::sim {

inline constexpr std::size_t kImageBytesMax = std::size_t{16} << 20;
inline constexpr std::size_t kDomainComponentBytes = 32;

// An approved command: the request and who signed it. Empty where no quorum was set up.
struct Approved {
  Request request;
  std::vector<Approval> approvals;
};

struct ObjectRecord {
  std::string name;
  SecretBytes record;
  Bytes spent;  // of a key: what of it was used (key_usage.h)
};

// Any thread.
class Maintenance {
 public:
  Maintenance(Flash& flash, std::string serial, AuditRing& audit)
      : flash_(flash), serial_(std::move(serial)), audit_(audit) {}

  // Power-on: reads the records and verifies the running firmware. Errors: CKR_DEVICE_ERROR.
  Status Load();

  // ---- Firmware. An image is a version, bytes and the vendor's signature over both. The vendor's key is set once.
  struct Firmware {
    std::uint64_t version = 0;  // 0: as built
    Bytes digest;               // of the image; empty as built
  };
  Firmware firmware() const;
  // Errors: CKR_ACTION_PROHIBITED when there is one already.
  Status SetVendor(ByteView public_key);
  // Into the slot that does not run, read back, then made to run from the next power-on. Errors: CKR_SIGNATURE_INVALID;
  // CKR_ACTION_PROHIBITED for a version that is not higher than any before, without a vendor, or without approval;
  // CKR_DATA_LEN_RANGE.
  Status Update(ByteView file, const Approved& approved, std::uint64_t now);
  static Bytes ImageFile(std::uint64_t version, ByteView image, ByteView signature);
  static Bytes SignedPart(std::uint64_t version, ByteView image);
  struct Image {
    std::uint64_t version = 0;
    ByteView bytes;
    ByteView signature;
  };

  // ---- Attestation: a text that says what this device is, signed with its own key.
  struct Quote {
    std::string text;
    Bytes signature;
    Bytes public_key;
  };
  // `state` and `configuration` are told by the device. Errors: CKR_DATA_LEN_RANGE for a nonce not of 16 to 64 bytes.
  Fallible<Quote> Attest(ByteView nonce, std::string_view state, ByteView configuration, std::uint64_t counter);

  // Another text of the device's own, signed with the same key.
  Fallible<Quote> Sign(std::string text);

  // ---- The quorum. Changing one takes the approval of the one before.
  Quorum quorum() const;
  Status SetQuorum(const Quorum& quorum, const Approved& approved, std::uint64_t now);
  // What an approval of it is for.
  static Bytes QuorumArgument(const Quorum& quorum);

  // ---- Backup and cloning: objects wrapped under a domain key, which two people or more bring in parts. Devices with
  // the same parts share the domain.
  // Errors: CKR_DATA_LEN_RANGE unless there are two parts or more of kDomainComponentBytes.
  Status SetDomain(const std::vector<SecretBytes>& components);
  // Errors: CKR_ACTION_PROHIBITED without a domain or approval.
  Fallible<Bytes> Backup(const std::vector<ObjectRecord>& objects, const Approved& approved, std::uint64_t now);
  struct Backed {
    std::string serial;  // of the device that made it
    std::vector<ObjectRecord> objects;
  };
  // What a backup of this domain holds. Errors: CKR_WRAPPED_KEY_INVALID for any other bytes; CKR_ACTION_PROHIBITED.
  Fallible<Backed> OpenBackup(ByteView backup, const Approved& approved, std::uint64_t now);

 private:
  Status CheckApproved(std::string_view command, ByteView argument, const Approved& approved, std::uint64_t now) const;
  // The command may be done: the approval is there, and spent and recorded, durably, before this returns.
  Status Spend(std::string_view command, ByteView argument, const Approved& approved, std::uint64_t now);
  Status VerifyRunning();
  Fallible<Image> Acceptable(ByteView file) const;
  Fallible<Quote> SignLocked(std::string text);

  Flash& flash_;
  const std::string serial_;
  AuditRing& audit_;
  mutable std::mutex mutex_;
  Bytes vendor_;
  Firmware running_;
  std::uint64_t slot_ = 0;     // 0: as built; 1 or 2
  std::uint64_t highest_ = 0;  // version ever installed
  Quorum quorum_;
  std::vector<Used> used_;
};

}  // namespace cmkd::sim
