// What is done to a device beside its work: approvals of M of N, firmware that only goes forward, statements that can
// be verified, backups that only the domain opens.
#include "firmware_sim/maintenance.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "firmware_sim/device.h"
#include "firmware_sim/signing.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kNow = 1'800'000'000;

Bytes Text(std::string_view text) { return ToBytes(AsBytes(text)); }

// ---- Approvals, with signatures that are names

Verify ByName() {
  return [](ByteView key, ByteView, ByteView signature) { return Equal(key, signature); };
}
Quorum TwoOfThree() { return {2, {Text("anna"), Text("bert"), Text("cora")}}; }
Request ARequest() { return {"serial", "backup", Bytes(32, 1), kNow + 60, Bytes(kNonceBytes, 7)}; }
Approval By(std::string_view name) { return {Text(name), Text(name)}; }
bool Approves(const Request& request, const std::vector<Approval>& approvals, const std::vector<Used>& used = {},
              std::uint64_t now = kNow) {
  const Status checked = CheckApprovals(TwoOfThree(), request, approvals, used, now, ByName());
  EXPECT_TRUE(checked.ok() || checked.error().rv == CKR_ACTION_PROHIBITED);
  return checked.ok();
}

TEST(Approvals, TakeSoManyDifferentCustodians) {
  EXPECT_TRUE(Approves(ARequest(), {By("anna"), By("cora")}));
  EXPECT_TRUE(Approves(ARequest(), {By("anna"), By("bert"), By("cora")}));
  EXPECT_FALSE(Approves(ARequest(), {By("anna")}));
  EXPECT_FALSE(Approves(ARequest(), {By("anna"), By("anna")}));
  EXPECT_FALSE(Approves(ARequest(), {By("anna"), By("dora")}));
  EXPECT_FALSE(Approves(ARequest(), {By("anna"), {Text("bert"), Text("a forgery")}}));
  EXPECT_FALSE(Approves(ARequest(), {}));
}

TEST(Approvals, AreGoodOnceAndForAWhile) {
  const std::vector<Approval> both = {By("anna"), By("bert")};
  EXPECT_FALSE(Approves(ARequest(), both, {{Bytes(kNonceBytes, 7), kNow + 60}}));
  EXPECT_TRUE(Approves(ARequest(), both, {{Bytes(kNonceBytes, 8), kNow + 60}}));
  EXPECT_FALSE(Approves(ARequest(), both, {}, kNow + 60));
  EXPECT_TRUE(Approves(ARequest(), both, {}, kNow + 59));
  Request forever = ARequest();
  forever.expires = kNow + kApprovalSecondsMax + 1;
  EXPECT_FALSE(Approves(forever, both));
  Request without = ARequest();
  without.nonce.clear();
  EXPECT_FALSE(Approves(without, both));
}

TEST(Approvals, EveryFieldIsInWhatIsSigned) {
  const std::string text = TextOf(ARequest());
  Request r = ARequest();
  r.serial = "other";
  EXPECT_NE(TextOf(r), text);
  r = ARequest();
  r.command = "restore";
  EXPECT_NE(TextOf(r), text);
  r = ARequest();
  r.argument[0] ^= 1;
  EXPECT_NE(TextOf(r), text);
  r = ARequest();
  ++r.expires;
  EXPECT_NE(TextOf(r), text);
  r = ARequest();
  r.nonce[0] ^= 1;
  EXPECT_NE(TextOf(r), text);
}

TEST(Approvals, AQuorumIsSoManyOfAtLeastAsManyDifferentOnes) {
  EXPECT_TRUE(CheckQuorum({}).ok());
  EXPECT_TRUE(CheckQuorum(TwoOfThree()).ok());
  EXPECT_FALSE(CheckQuorum({4, TwoOfThree().custodians}).ok());
  EXPECT_FALSE(CheckQuorum({0, TwoOfThree().custodians}).ok());
  EXPECT_FALSE(CheckQuorum({2, {Text("anna"), Text("anna")}}).ok());
  EXPECT_FALSE(CheckQuorum({1, {}}).ok());
}

// ---- The device

class MaintenanceTest : public DeviceTest {
 protected:
  Maintenance& M() { return Device::Current()->maintenance(); }
  void Restart() {
    Stop();
    Start();
  }
  struct Signer {
    SecretBytes key;
    Bytes public_half;
  };
  static Signer MakeSigner() {
    auto key = MakeSigningKey();
    EXPECT_TRUE(key.ok());
    Signer signer{std::move(*key), {}};
    signer.public_half = *PublicHalf(signer.key.view());
    return signer;
  }
  static Bytes Firmware(const Signer& vendor, std::uint64_t version, const std::string& image) {
    const Bytes signature = *SignText(vendor.key.view(), Maintenance::SignedPart(version, AsBytes(image)));
    return Maintenance::ImageFile(version, AsBytes(image), signature);
  }
  Approved ApprovedBy(const std::vector<const Signer*>& signers, const std::string& command, ByteView argument) {
    Approved approved;
    approved.request = {Device::Current()->token().info().serial, command, *DigestOf(argument), kNow + 60,
                        Bytes(kNonceBytes, ++nonce_)};
    for (const Signer* signer : signers)
      approved.approvals.push_back(
          {signer->public_half, *SignText(signer->key.view(), AsBytes(TextOf(approved.request)))});
    return approved;
  }
  std::uint8_t nonce_ = 0;
};

TEST_F(MaintenanceTest, FirmwareOnlyGoesForward) {
  const Signer vendor = MakeSigner();
  const Signer stranger = MakeSigner();
  EXPECT_EQ(M().Update(Firmware(vendor, 2, "two"), {}, kNow).error().rv, CKR_ACTION_PROHIBITED) << "no vendor yet";
  ASSERT_TRUE(M().SetVendor(vendor.public_half).ok());
  EXPECT_EQ(M().SetVendor(stranger.public_half).error().rv, CKR_ACTION_PROHIBITED);
  EXPECT_EQ(M().Update(Firmware(stranger, 2, "two"), {}, kNow).error().rv, CKR_SIGNATURE_INVALID);
  ASSERT_TRUE(M().Update(Firmware(vendor, 2, "two"), {}, kNow).ok());
  EXPECT_EQ(M().firmware().version, 0u) << "it runs from the next power-on";
  Restart();
  EXPECT_EQ(M().firmware().version, 2u);
  EXPECT_EQ(M().Update(Firmware(vendor, 2, "again"), {}, kNow).error().rv, CKR_ACTION_PROHIBITED);
  EXPECT_EQ(M().Update(Firmware(vendor, 1, "one"), {}, kNow).error().rv, CKR_ACTION_PROHIBITED);
  ASSERT_TRUE(M().Update(Firmware(vendor, 3, "three"), {}, kNow).ok());
  Restart();
  EXPECT_EQ(M().firmware().version, 3u);
  EXPECT_EQ(M().firmware().digest, *DigestOf(AsBytes("three")));
  CK_TOKEN_INFO info{};
  ASSERT_EQ(f->C_GetTokenInfo(0, &info), CKR_OK);
  EXPECT_EQ(info.firmwareVersion.minor, 3);
}

TEST_F(MaintenanceTest, NoBitOfAFirmwareFileCanBeChanged) {
  const Signer vendor = MakeSigner();
  ASSERT_TRUE(M().SetVendor(vendor.public_half).ok());
  const Bytes good = Firmware(vendor, 5, "the image of a device");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(M().Update(bad, {}, kNow).ok()) << "bit " << bit;
  }
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes)
    EXPECT_FALSE(M().Update(ByteView(good).first(bytes), {}, kNow).ok()) << bytes;
  EXPECT_TRUE(M().Update(good, {}, kNow).ok());
}

TEST_F(MaintenanceTest, DamagedFirmwareNeverServes) {
  const Signer vendor = MakeSigner();
  ASSERT_TRUE(M().SetVendor(vendor.public_half).ok());
  ASSERT_TRUE(M().Update(Firmware(vendor, 5, std::string(2000, 'x')), {}, kNow).ok());
  Stop();
  const std::string path = directory + "/firmware-a";
  const auto size = static_cast<std::size_t>(fs::file_size(path));
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    const auto at = static_cast<std::streamoff>(random() % size);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const auto byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(at);
    file.put(byte);
    file.close();
    ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    EXPECT_EQ(Device::Current()->state(), DeviceState::kHardError);
    Stop();
    file.open(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 0x10));
  }
  Start();
  EXPECT_EQ(M().firmware().version, 5u);
}

TEST_F(MaintenanceTest, AnUpdateThatLosesPowerLeavesTheOldOrTheNew) {
  const Signer vendor = MakeSigner();
  ASSERT_TRUE(M().SetVendor(vendor.public_half).ok());
  ASSERT_TRUE(M().Update(Firmware(vendor, 1, "one"), {}, kNow).ok());
  std::uint64_t version = 1;
  // The audit's record of the command, the image, the slot that runs, the audit's record of the success.
  for (int write = 0; write < 4; ++write) {
    for (int step = 1; step <= 5; ++step) {
      Stop();
      const Bytes next = Firmware(vendor, version + 1, "next");
      std::ofstream(directory + ".faults", std::ios::trunc)
          << "on flash skip " << write << " times 1 step " << step << " power-cut\n";
      ConfigureFaults(directory + ".faults");
      const pid_t child = ::fork();
      if (child == 0) ::_exit(f->C_Initialize(nullptr) == CKR_OK && M().Update(next, {}, kNow).ok() ? 0 : 1);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_TRUE(WIFSIGNALED(status));
      ConfigureFaults("");
      Start();
      ASSERT_EQ(Device::Current()->state(), DeviceState::kOperational) << write << ", " << step;
      const std::uint64_t now = M().firmware().version;
      EXPECT_TRUE(now == version || now == version + 1);
      version = now;
    }
  }
  fs::remove(directory + ".faults");
}

TEST_F(MaintenanceTest, AQuoteSaysWhatTheDeviceIsAndNothingOfItCanBeChanged) {
  const auto quote = Device::Current()->Attest(Bytes(16, 9));
  ASSERT_TRUE(quote.ok());
  EXPECT_NE(quote->text.find("not validated"), std::string::npos);
  EXPECT_NE(quote->text.find("state operational"), std::string::npos);
  EXPECT_NE(quote->text.find("nonce " + Hex(Bytes(16, 9))), std::string::npos);
  EXPECT_TRUE(VerifyText(quote->public_key, AsBytes(quote->text), quote->signature).ok());
  Bytes changed = Text(quote->text);
  changed[changed.size() / 2] ^= 1;
  EXPECT_FALSE(VerifyText(quote->public_key, changed, quote->signature).ok());
  Restart();
  EXPECT_EQ(Device::Current()->Attest(Bytes(16, 9))->public_key, quote->public_key);
  EXPECT_EQ(Device::Current()->Attest(Bytes(15, 9)).error().rv, CKR_DATA_LEN_RANGE);
  Device::Current()->WorkingTestFailed("for a test");
  EXPECT_EQ(Device::Current()->Attest(Bytes(16, 9)).error().rv, CKR_DEVICE_ERROR);
}

TEST_F(MaintenanceTest, ACloneNeedsTheDomainAndTheQuorum) {
  const Bytes value(32, 0x42);
  const CK_OBJECT_HANDLE key = Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
                                          .Ulong(CKA_KEY_TYPE, CKK_AES)
                                          .Raw(CKA_VALUE, value)
                                          .Bool(CKA_TOKEN, true)
                                          .Text(CKA_LABEL, "cloned"));
  ASSERT_NE(key, 0u);
  const Signer anna = MakeSigner(), bert = MakeSigner();
  const auto parts = [](std::uint8_t second) {
    std::vector<SecretBytes> both;
    both.emplace_back(Bytes(kDomainComponentBytes, 1));
    both.emplace_back(Bytes(kDomainComponentBytes, second));
    return both;
  };
  EXPECT_EQ(Device::Current()->Backup({}, kNow).error().rv, CKR_ACTION_PROHIBITED) << "no domain";
  EXPECT_EQ(M().SetDomain({}).error().rv, CKR_DATA_LEN_RANGE);
  ASSERT_TRUE(M().SetDomain(parts(2)).ok());
  ASSERT_TRUE(M().SetQuorum({2, {anna.public_half, bert.public_half}}, {}, kNow).ok());
  EXPECT_EQ(Device::Current()->Backup({}, kNow).error().rv, CKR_ACTION_PROHIBITED) << "nobody approved";
  EXPECT_EQ(Device::Current()->Backup(ApprovedBy({&anna}, "backup", {}), kNow).error().rv, CKR_ACTION_PROHIBITED);
  EXPECT_EQ(Device::Current()->Backup(ApprovedBy({&anna, &bert}, "restore", {}), kNow).error().rv,
            CKR_ACTION_PROHIBITED);
  const Approved approved = ApprovedBy({&anna, &bert}, "backup", {});
  const auto backup = Device::Current()->Backup(approved, kNow);
  ASSERT_TRUE(backup.ok());
  Restart();
  EXPECT_EQ(Device::Current()->Backup(approved, kNow).error().rv, CKR_ACTION_PROHIBITED) << "used, also by now";
  EXPECT_EQ(M().SetQuorum({}, {}, kNow).error().rv, CKR_ACTION_PROHIBITED);
  // Nothing of the key can be seen.
  EXPECT_EQ(std::search(backup->begin(), backup->end(), value.begin(), value.end()), backup->end());
  Stop();

  // Another device, and its own quorum: none.
  const std::string other = directory + ".other";
  Configure(other);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  ASSERT_TRUE(M().SetDomain(parts(3)).ok());
  EXPECT_EQ(Device::Current()->Restore(*backup, {}, kNow).error().rv, CKR_WRAPPED_KEY_INVALID) << "another domain";
  ASSERT_TRUE(M().SetDomain(parts(2)).ok());
  Bytes damaged = *backup;
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_EQ(Device::Current()->Restore(damaged, {}, kNow).error().rv, CKR_WRAPPED_KEY_INVALID);
  const auto restored = Device::Current()->Restore(*backup, {}, kNow);
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(*restored, 1u);
  EXPECT_EQ(*Device::Current()->Restore(*backup, {}, kNow), 0u) << "what is there is not made twice";
  EXPECT_EQ(Device::Current()->objects().Select([](const Object&) { return true; }).size(), 1u);
  Stop();
  fs::remove_all(other);
  Start();
}

TEST_F(MaintenanceTest, SelfTestsRunAgainAfterADay) {
  Device& device = *Device::Current();
  device.TestEvery(std::chrono::seconds(0));
  OpenSession();
  EXPECT_EQ(device.state(), DeviceState::kOperational);
  EXPECT_TRUE(device.SelfTest().ok());
}

}  // namespace
}  // namespace cmkd::sim
