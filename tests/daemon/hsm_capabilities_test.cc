// What a device is seen to do: the trials on devices with faults of one kind each, the record, and the devices at hand.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/hsm/capabilities.h"
#include "daemon/hsm/pkcs11_backend.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

// ---- The simulator with a function or two of its list replaced.

CK_FUNCTION_LIST_PTR g_whole = nullptr;
CK_MECHANISM_TYPE g_decrypting = 0;

CK_RV RefuseCbc(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
  if (mechanism->mechanism == CKM_AES_CBC) return CKR_MECHANISM_INVALID;
  return g_whole->C_EncryptInit(session, mechanism, key);
}
CK_RV NoteDecryption(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
  g_decrypting = mechanism->mechanism;
  return g_whole->C_DecryptInit(session, mechanism, key);
}
CK_RV SayDataInvalid(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_bytes, CK_BYTE_PTR out,
                     CK_ULONG_PTR bytes) {
  const CK_RV rv = g_whole->C_Decrypt(session, in, in_bytes, out, bytes);
  return rv != CKR_OK && g_decrypting == CKM_AES_GCM ? CKR_DATA_INVALID : rv;
}
CK_RV VerifyAnything(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG bytes, CK_BYTE_PTR mac, CK_ULONG mac_bytes) {
  (void)g_whole->C_Verify(session, data, bytes, mac, mac_bytes);
  return CKR_OK;
}
CK_RV VerifyOrDespair(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG bytes, CK_BYTE_PTR mac,
                      CK_ULONG mac_bytes) {
  return g_whole->C_Verify(session, data, bytes, mac, mac_bytes) == CKR_OK ? CKR_OK : CKR_DEVICE_ERROR;
}
CK_RV LoseTheDevice(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE) { return CKR_DEVICE_REMOVED; }
int g_failures = 0;
CK_RV FailOnce(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_bytes, CK_BYTE_PTR out, CK_ULONG_PTR bytes) {
  if (g_failures++ == 0) return CKR_GENERAL_ERROR;
  return g_whole->C_Encrypt(session, in, in_bytes, out, bytes);
}

class CapabilitiesTest : public testing::Test {
 protected:
  void SetUp() override {
    backend_ = rig_.Start();
    ASSERT_NE(backend_, nullptr);
    auto lease = backend_->Acquire();
    ASSERT_TRUE(lease.ok());
    g_whole = (*lease)->functions();
    list_ = *g_whole;
    CK_SESSION_INFO info{};
    ASSERT_EQ(g_whole->C_GetSessionInfo((*lease)->session(), &info), CKR_OK);
    slot_ = info.slotID;
    CK_ULONG count = 0;
    ASSERT_EQ(g_whole->C_GetMechanismList(slot_, nullptr, &count), CKR_OK);
    std::vector<CK_MECHANISM_TYPE> types(count);
    ASSERT_EQ(g_whole->C_GetMechanismList(slot_, types.data(), &count), CKR_OK);
    for (const CK_MECHANISM_TYPE type : types) listed_[type] = {};
    bench_ = std::make_unique<KeyBench>(*backend_);
  }
  Capabilities Try() {
    const std::size_t before = bench_->CountObjects();
    auto found = TryMechanisms(&list_, slot_, listed_);
    EXPECT_TRUE(found.ok());
    EXPECT_EQ(bench_->CountObjects(), before) << "something was left behind";
    return found.ok() ? *found : Capabilities{};
  }

  HsmRig rig_{RigKind::kSimulatorInside};
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<KeyBench> bench_;
  CK_FUNCTION_LIST list_{};
  CK_SLOT_ID slot_ = 0;
  MechanismMap listed_;
};

TEST_F(CapabilitiesTest, OfADeviceWithoutFaultsThereIsNothingToSay) {
  const Capabilities found = Try();
  EXPECT_TRUE(found.broken.empty());
  EXPECT_TRUE(found.mute.empty());
  EXPECT_TRUE(found.wrong_key.empty());
  for (const CK_MECHANISM_TYPE type : {CKM_AES_GCM, CKM_AES_CCM, CKM_AES_KEY_WRAP_KWP, CKM_SHA256_HMAC, CKM_DES3_CBC})
    EXPECT_TRUE(found.working.contains(type)) << type;
}

TEST_F(CapabilitiesTest, AListedMechanismThatIsRefusedIsSeen) {
  list_.C_EncryptInit = &RefuseCbc;
  const Capabilities found = Try();
  EXPECT_EQ(found.broken, std::set<CK_MECHANISM_TYPE>{CKM_AES_CBC});
  EXPECT_FALSE(found.working.contains(CKM_AES_CBC));
}

TEST_F(CapabilitiesTest, AnAccidentIsNoFault) {
  g_failures = 0;
  list_.C_Encrypt = &FailOnce;
  EXPECT_TRUE(Try().broken.empty());
}

TEST_F(CapabilitiesTest, ACodeOfTheDevicesOwnForAFailedCheckIsLearnt) {
  list_.C_DecryptInit = &NoteDecryption;
  list_.C_Decrypt = &SayDataInvalid;
  const Capabilities found = Try();
  EXPECT_TRUE(found.SaysWrongKey(CKM_AES_GCM, CKR_DATA_INVALID));
  EXPECT_FALSE(found.SaysWrongKey(CKM_AES_GCM, CKR_GENERAL_ERROR));
  EXPECT_FALSE(found.SaysWrongKey(CKM_AES_CCM, CKR_DATA_INVALID));
  EXPECT_TRUE(found.working.contains(CKM_AES_GCM));
}

TEST_F(CapabilitiesTest, ACheckThatNeverFailsIsNone) {
  list_.C_Verify = &VerifyAnything;
  const Capabilities found = Try();
  EXPECT_TRUE(found.broken.contains(CKM_SHA256_HMAC));
  EXPECT_TRUE(found.broken.contains(CKM_AES_CMAC));
  EXPECT_FALSE(found.broken.contains(CKM_AES_GCM));
}

TEST_F(CapabilitiesTest, ACheckWhoseFailureLooksLikeALossIsNotOffered) {
  list_.C_Verify = &VerifyOrDespair;
  const Capabilities found = Try();
  EXPECT_TRUE(found.mute.contains(CKM_SHA256_HMAC));
  EXPECT_TRUE(found.wrong_key.empty());
}

TEST_F(CapabilitiesTest, OfADeviceThatGoesAwayNothingIsKnown) {
  list_.C_EncryptInit = &LoseTheDevice;
  const std::string record = rig_.folder() + "/a.record";
  EXPECT_FALSE(LearnCapabilities(record, "device", &list_, slot_, listed_).ok());
  EXPECT_FALSE(std::filesystem::exists(record));
}

TEST_F(CapabilitiesTest, ARecordSparesTheTrialsUntilTheDeviceIsAnother) {
  const std::string record = rig_.folder() + "/a.record";
  list_.C_DecryptInit = &NoteDecryption;
  list_.C_Decrypt = &SayDataInvalid;
  const auto first = LearnCapabilities(record, "firmware 1", &list_, slot_, listed_);
  ASSERT_TRUE(first.ok());
  const auto again = LearnCapabilities(record, "firmware 1", g_whole, slot_, listed_);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(*again == *first) << "it was not asked again";
  const auto updated = LearnCapabilities(record, "firmware 2", g_whole, slot_, listed_);
  ASSERT_TRUE(updated.ok());
  EXPECT_TRUE(updated->wrong_key.empty());
  // What fails is tried again each time.
  list_.C_EncryptInit = &RefuseCbc;
  std::filesystem::remove(record);
  ASSERT_TRUE(LearnCapabilities(record, "firmware 2", &list_, slot_, listed_).ok());
  EXPECT_FALSE(std::filesystem::exists(record));
}

TEST(CapabilityRecord, ComesBackAndOtherTextDoesNot) {
  const Capabilities all{"a|b", {1, CKM_VENDOR_DEFINED + 7}, {3}, {{4, 5}, {6, CKR_VENDOR_DEFINED}}, {8}};
  const std::string text = EncodeRecord(all);
  const auto back = DecodeRecord(text);
  ASSERT_TRUE(back.has_value());
  EXPECT_TRUE(*back == all);
  for (std::size_t bytes = 0; bytes + 1 < text.size(); ++bytes)
    EXPECT_FALSE(DecodeRecord(std::string_view(text).substr(0, bytes)).has_value()) << bytes;
  EXPECT_FALSE(DecodeRecord("cmkd hsm record 1\nidentity a\nworks zz\nend\n").has_value());
  EXPECT_FALSE(DecodeRecord("cmkd hsm record 1\nidentity a\nwrong-key 1\nend\n").has_value());
  EXPECT_FALSE(DecodeRecord("cmkd hsm record 1\nidentity a\nlikes 1\nend\n").has_value());
  EXPECT_FALSE(DecodeRecord("cmkd hsm record 2\nidentity a\nend\n").has_value());
}

// ---- Devices at hand

TEST(Capabilities, SoftHsmListsDesAndIsSeenNotToDoIt) {
  HsmRig rig(RigKind::kSoftHsmHosted);
  ASSERT_TRUE(rig.missing().empty()) << rig.missing();
  const auto backend = rig.Start();
  ASSERT_NE(backend, nullptr);
  EXPECT_TRUE(backend->capabilities()->broken.contains(CKM_DES_ECB)) << "by trial, not by name";
  EXPECT_EQ(backend->FindMechanism(CKM_DES_ECB), nullptr);
  EXPECT_NE(backend->FindMechanism(CKM_DES3_ECB), nullptr);
  EXPECT_TRUE(backend->capabilities()->working.contains(CKM_AES_GCM));
  EXPECT_TRUE(backend->IsWrongKey(CKM_AES_GCM, CKR_ENCRYPTED_DATA_INVALID));
}

TEST(Capabilities, NssListsCmacAndIsSeenNotToVerifyIt) {
  HsmRig rig(RigKind::kNssHosted);
  ASSERT_TRUE(rig.missing().empty()) << rig.missing();
  const auto backend = rig.Start();
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(backend->capabilities()->broken, std::set<CK_MECHANISM_TYPE>{CKM_AES_CMAC});
  EXPECT_EQ(backend->FindMechanism(CKM_AES_CMAC), nullptr);
  EXPECT_TRUE(backend->capabilities()->working.contains(CKM_SHA256_HMAC));
  EXPECT_TRUE(backend->capabilities()->mute.empty()) << "its host corrects what it says of wrong MACs";
  EXPECT_TRUE(backend->capabilities()->wrong_key.empty());
}

}  // namespace
}  // namespace cmkd::daemon
