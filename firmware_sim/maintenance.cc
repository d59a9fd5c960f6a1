// See maintenance.h.
#include "firmware_sim/maintenance.h"

#include <algorithm>

#include "firmware_sim/primitives.h"
#include "firmware_sim/record.h"
#include "firmware_sim/roles.h"
#include "firmware_sim/signing.h"

namespace cmkd::sim {
namespace {

constexpr std::string_view kImageMagic = "cmkd-sim firmware 1\n";
constexpr std::string_view kBackupMagic = "cmkd-sim backup 2\n";
constexpr std::size_t kSignatureBytes = 64;
constexpr std::size_t kNonceMin = 16;
constexpr std::size_t kNonceMax = 64;
// Names of records in the flash.
constexpr char kBoot[] = "boot";
constexpr char kVendor[] = "vendor";
constexpr char kQuorum[] = "quorum";
constexpr char kIdentity[] = "identity";
constexpr char kDomain[] = "domain";
// Who is at the device, for the audit, where no identity is asked for.
constexpr char kConnector[] = "connector";
constexpr const char* kSlots[] = {"", "firmware-a", "firmware-b"};

Failure<Error> Malformed(const char* record) {
  return Fail(CKR_DEVICE_ERROR, std::string("flash: the record ") + record + " is malformed");
}

using Image = Maintenance::Image;
Fallible<Image> ParseImage(ByteView file) {
  if (file.size() < kImageMagic.size() || !Equal(file.first(kImageMagic.size()), AsBytes(kImageMagic)))
    return Fail(CKR_DATA_INVALID, "not a firmware file");
  RecordReader reader(file.subspan(kImageMagic.size()));
  Image image;
  image.version = reader.Number();
  image.bytes = reader.String();
  image.signature = reader.String();
  if (!reader.AtEnd() || image.signature.size() != kSignatureBytes || image.bytes.size() > kImageBytesMax)
    return Fail(CKR_DATA_LEN_RANGE, "a firmware file of wrong lengths");
  return image;
}

bool IsGood(ByteView public_key, ByteView text, ByteView signature) {
  return VerifyText(public_key, text, signature).ok();
}

}  // namespace

Bytes Maintenance::SignedPart(std::uint64_t version, ByteView image) {
  RecordWriter writer;
  writer.String(AsBytes(kImageMagic));
  writer.Number(version);
  writer.String(image);
  return ToBytes(writer.bytes());
}

Bytes Maintenance::ImageFile(std::uint64_t version, ByteView image, ByteView signature) {
  RecordWriter writer;
  writer.Number(version);
  writer.String(image);
  writer.String(signature);
  Bytes file = ToBytes(AsBytes(kImageMagic));
  file.insert(file.end(), writer.bytes().begin(), writer.bytes().end());
  return file;
}

Status Maintenance::Load() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const auto vendor, flash_.Read(kVendor));
  if (vendor) vendor_ = ToBytes(vendor->view());
  ASSIGN_OR_RETURN(const auto boot, flash_.Read(kBoot));
  if (boot) {
    RecordReader reader(boot->view());
    slot_ = reader.Number();
    highest_ = reader.Number();
    if (!reader.AtEnd() || slot_ < 1 || slot_ > 2) return Malformed(kBoot);
    RETURN_IF_ERROR(VerifyRunning());
  }
  ASSIGN_OR_RETURN(const auto quorum, flash_.Read(kQuorum));
  if (!quorum) return {};
  RecordReader reader(quorum->view());
  quorum_.needed = static_cast<std::uint32_t>(reader.Number());
  for (std::uint64_t n = std::min<std::uint64_t>(reader.Number(), kCustodiansMax); n > 0; --n)
    quorum_.custodians.push_back(ToBytes(reader.String()));
  for (std::uint64_t n = reader.Number(); n > 0 && reader.ok(); --n) {
    Used used{ToBytes(reader.String()), 0};
    used.expires = reader.Number();
    used_.push_back(std::move(used));
  }
  if (!reader.AtEnd() || !CheckQuorum(quorum_).ok()) return Malformed(kQuorum);
  return {};
}

// The integrity of the image, before it serves anybody.
Status Maintenance::VerifyRunning() {
  ASSIGN_OR_RETURN(const auto file, flash_.Read(kSlots[slot_]));
  if (!file) return Fail(CKR_DEVICE_ERROR, "the firmware is missing");
  const auto image = ParseImage(file->view());
  if (!image.ok() || !IsGood(vendor_, SignedPart(image->version, image->bytes), image->signature))
    return Fail(CKR_DEVICE_ERROR, "the firmware is not what its vendor signed");
  running_.version = image->version;
  ASSIGN_OR_RETURN(running_.digest, DigestOf(image->bytes));
  return {};
}

Maintenance::Firmware Maintenance::firmware() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

Status Maintenance::SetVendor(ByteView public_key) {
  const std::lock_guard lock(mutex_);
  if (!vendor_.empty()) return Fail(CKR_ACTION_PROHIBITED, "the vendor's key is set once");
  RETURN_IF_ERROR(flash_.Write(kVendor, public_key));
  RETURN_IF_ERROR(audit_.Record({kConnector, "set vendor"}));
  vendor_ = ToBytes(public_key);
  return {};
}

// An image that its vendor signed and that is newer than all before.
Fallible<Maintenance::Image> Maintenance::Acceptable(ByteView file) const {
  ASSIGN_OR_RETURN(const Image image, ParseImage(file));
  RETURN_IF_ERROR(VerifyText(vendor_, SignedPart(image.version, image.bytes), image.signature));
  if (image.version <= highest_) return Fail(CKR_ACTION_PROHIBITED, "not newer than what was installed");
  return image;
}

Status Maintenance::Update(ByteView file, const Approved& approved, std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  if (vendor_.empty()) return Fail(CKR_ACTION_PROHIBITED, "the device has no vendor's key");
  const Fallible<Image> parsed = Acceptable(file);
  if (!parsed.ok()) {
    audit_.Note({kConnector, "refuse update", parsed.error().rv, parsed.error().why});
    return Failure{parsed.error()};
  }
  const Image& image = *parsed;
  RETURN_IF_ERROR(Spend("update", file, approved, now));
  const std::uint64_t slot = slot_ == 1 ? 2 : 1;
  RETURN_IF_ERROR(flash_.Write(kSlots[slot], file));
  ASSIGN_OR_RETURN(const auto written, flash_.Read(kSlots[slot]));
  if (!written || !Equal(written->view(), file)) return Fail(CKR_DEVICE_ERROR, "the firmware could not be written");
  RecordWriter boot;
  boot.Number(slot);
  boot.Number(image.version);
  // From here on it is the new one; before, the old one.
  RETURN_IF_ERROR(flash_.Write(kBoot, boot.bytes()));
  slot_ = slot;
  highest_ = image.version;
  return audit_.Record({NameOf(Identity::kCustodians), "updated", CKR_OK, std::to_string(image.version)});
}

Fallible<Maintenance::Quote> Maintenance::Attest(ByteView nonce, std::string_view state, ByteView configuration,
                                                 std::uint64_t counter) {
  if (nonce.size() < kNonceMin || nonce.size() > kNonceMax)
    return Fail(CKR_DATA_LEN_RANGE, "a nonce has 16 to 64 bytes");
  const std::lock_guard lock(mutex_);
  return SignLocked("cmkd-sim attestation 1\nsimulation yes, not validated\nserial " + serial_ + "\nfirmware " +
                    std::to_string(running_.version) + "\nimage " +
                    (running_.digest.empty() ? std::string("as built") : Hex(running_.digest)) + "\nconfiguration " +
                    Hex(configuration) + "\nstate " + std::string(state) + "\ncounter " + std::to_string(counter) +
                    "\nnonce " + Hex(nonce) + '\n');
}

Fallible<Maintenance::Quote> Maintenance::Sign(std::string text) {
  const std::lock_guard lock(mutex_);
  return SignLocked(std::move(text));
}

// The key is made when it is first needed.
Fallible<Maintenance::Quote> Maintenance::SignLocked(std::string text) {
  ASSIGN_OR_RETURN(auto identity, flash_.Read(kIdentity));
  if (!identity) {
    ASSIGN_OR_RETURN(identity, MakeSigningKey());
    RETURN_IF_ERROR(flash_.Write(kIdentity, identity->view()));
  }
  Quote quote;
  quote.text = std::move(text);
  ASSIGN_OR_RETURN(quote.signature, SignText(identity->view(), AsBytes(quote.text)));
  ASSIGN_OR_RETURN(quote.public_key, PublicHalf(identity->view()));
  return quote;
}

Quorum Maintenance::quorum() const {
  const std::lock_guard lock(mutex_);
  return quorum_;
}

namespace {

// The quorum and what was used of it, in one record: neither is ever without the other.
Bytes EncodeQuorum(const Quorum& quorum, const std::vector<Used>& used) {
  RecordWriter writer;
  writer.Number(quorum.needed);
  writer.Number(quorum.custodians.size());
  for (const Bytes& custodian : quorum.custodians) writer.String(custodian);
  writer.Number(used.size());
  for (const Used& each : used) {
    writer.String(each.nonce);
    writer.Number(each.expires);
  }
  return ToBytes(writer.bytes());
}

}  // namespace

Bytes Maintenance::QuorumArgument(const Quorum& quorum) { return EncodeQuorum(quorum, {}); }

Status Maintenance::SetQuorum(const Quorum& quorum, const Approved& approved, std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(CheckQuorum(quorum));
  RETURN_IF_ERROR(Spend("quorum", QuorumArgument(quorum), approved, now));
  RETURN_IF_ERROR(flash_.Write(kQuorum, EncodeQuorum(quorum, used_)));
  quorum_ = quorum;
  return {};
}

Status Maintenance::CheckApproved(std::string_view command, ByteView argument, const Approved& approved,
                                  std::uint64_t now) const {
  ASSIGN_OR_RETURN(const Bytes digest, DigestOf(argument));
  const Request& request = approved.request;
  if (request.serial != serial_ || request.command != command || request.argument != digest)
    return Fail(CKR_ACTION_PROHIBITED, "the approval is for something else");
  return CheckApprovals(quorum_, request, approved.approvals, used_, now, IsGood);
}

Status Maintenance::Spend(std::string_view command, ByteView argument, const Approved& approved, std::uint64_t now) {
  Status allowed = quorum_.needed == 0 ? Status() : CheckApproved(command, argument, approved, now);
  const CK_RV rv = allowed.ok() ? CKR_OK : allowed.error().rv;
  const Status recorded = audit_.Record({NameOf(Identity::kCustodians), command, rv});
  if (!allowed.ok()) return allowed;
  RETURN_IF_ERROR(recorded);
  if (quorum_.needed == 0) return {};
  const Request& request = approved.request;
  std::vector<Used> used = used_;
  std::erase_if(used, [&](const Used& each) { return each.expires <= now; });
  used.push_back({request.nonce, request.expires});
  RETURN_IF_ERROR(flash_.Write(kQuorum, EncodeQuorum(quorum_, used)));
  used_ = std::move(used);
  return {};
}

Status Maintenance::SetDomain(const std::vector<SecretBytes>& components) {
  if (components.size() < 2) return Fail(CKR_DATA_LEN_RANGE, "a domain key comes in two parts or more");
  SecretBytes domain(kDomainComponentBytes);
  for (const SecretBytes& component : components) {
    if (component.size() != kDomainComponentBytes)
      return Fail(CKR_DATA_LEN_RANGE, "a part of a domain key has 32 bytes");
    for (std::size_t i = 0; i < kDomainComponentBytes; ++i)
      domain.bytes()[i] = static_cast<std::uint8_t>(domain.bytes()[i] ^ component.view()[i]);
  }
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(flash_.Write(kDomain, domain.view()));
  return audit_.Record({kConnector, "set domain"});
}

Fallible<Bytes> Maintenance::Backup(const std::vector<ObjectRecord>& objects, const Approved& approved,
                                    std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const auto domain, flash_.Read(kDomain));
  if (!domain) return Fail(CKR_ACTION_PROHIBITED, "the device has no domain key");
  RETURN_IF_ERROR(Spend("backup", {}, approved, now));
  RecordWriter writer;
  writer.String(AsBytes(serial_));
  writer.Number(objects.size());
  for (const ObjectRecord& object : objects) {
    writer.String(AsBytes(object.name));
    writer.String(object.record.view());
    writer.String(object.spent);
  }
  ASSIGN_OR_RETURN(const Bytes sealed, Seal(domain->view(), AsBytes(kBackupMagic), writer.bytes()));
  Bytes backup = ToBytes(AsBytes(kBackupMagic));
  backup.insert(backup.end(), sealed.begin(), sealed.end());
  return backup;
}

Fallible<Maintenance::Backed> Maintenance::OpenBackup(ByteView backup, const Approved& approved, std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const auto domain, flash_.Read(kDomain));
  if (!domain) return Fail(CKR_ACTION_PROHIBITED, "the device has no domain key");
  const auto wrong = [] { return Fail(CKR_WRAPPED_KEY_INVALID, "not a backup of this domain"); };
  if (backup.size() < kBackupMagic.size() || !Equal(backup.first(kBackupMagic.size()), AsBytes(kBackupMagic)))
    return wrong();
  const auto plain = Unseal(domain->view(), AsBytes(kBackupMagic), backup.subspan(kBackupMagic.size()));
  if (!plain.ok()) return wrong();
  RecordReader reader(plain->view());
  Backed backed{std::string(AsText(reader.String())), {}};
  for (std::uint64_t n = reader.Number(); n > 0 && reader.ok(); --n) {
    std::string name(AsText(reader.String()));
    // Names become those of records; no backup of ours has others.
    if (name.empty() || name.find_first_not_of("0123456789abcdef") != std::string::npos) return wrong();
    SecretBytes record(reader.String());
    backed.objects.push_back({std::move(name), std::move(record), ToBytes(reader.String())});
  }
  if (!reader.AtEnd()) return wrong();
  RETURN_IF_ERROR(Spend("restore", backup, approved, now));
  return backed;
}

}  // namespace cmkd::sim
