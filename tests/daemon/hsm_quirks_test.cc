// The table of slips: which module it speaks of, and what becomes of a code.
#include <gtest/gtest.h>

#include <cstring>

#include "daemon/hsm/quirks.h"

namespace cmkd::daemon {
namespace {

using spec::CallId;

CK_INFO Module(std::string_view manufacturer, CK_BYTE major) {
  CK_INFO info{};
  std::memset(info.manufacturerID, ' ', sizeof info.manufacturerID);
  std::memcpy(info.manufacturerID, manufacturer.data(), manufacturer.size());
  info.libraryVersion = {major, 6};
  return info;
}

TEST(Quirks, HoldForTheModuleThatTheyName) {
  EXPECT_FALSE(QuirkSet(Module("SoftHSM", 2)).empty());
  EXPECT_TRUE(QuirkSet(Module("SoftHSM", 3)).empty());
  EXPECT_TRUE(QuirkSet(Module("A careful vendor", 2)).empty());
  EXPECT_TRUE(QuirkSet().empty());
}

TEST(Quirks, RowsOfOneModuleAreNeighbours) {
  const auto rows = Quirks();
  for (std::size_t i = 2; i < rows.size(); ++i) {
    const bool same_as_first = rows[i].manufacturer == rows[0].manufacturer && rows[i].major == rows[0].major;
    const bool same_as_last = rows[i].manufacturer == rows[i - 1].manufacturer && rows[i].major == rows[i - 1].major;
    EXPECT_TRUE(!same_as_first || same_as_last) << "QuirkSet takes one run of the table";
  }
}

TEST(Quirks, ChangeOneCodeOfOneCallAndMechanism) {
  const QuirkSet quirks(Module("SoftHSM", 2));
  EXPECT_EQ(quirks.Correct(CallId::C_Decrypt, CKM_AES_GCM, CKR_GENERAL_ERROR), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(quirks.Correct(CallId::C_Encrypt, CKM_AES_GCM, CKR_GENERAL_ERROR), CKR_GENERAL_ERROR);
  EXPECT_EQ(quirks.Correct(CallId::C_Decrypt, CKM_AES_CTR, CKR_GENERAL_ERROR), CKR_GENERAL_ERROR);
  EXPECT_EQ(quirks.Correct(CallId::C_Decrypt, CKM_AES_GCM, CKR_OK), CKR_OK);
  EXPECT_EQ(quirks.Correct(CallId::C_SignInit, CKM_RSA_PKCS_PSS, CKR_ARGUMENTS_BAD), CKR_MECHANISM_PARAM_INVALID);
}

TEST(Quirks, AModuleThatSaysAnythingOfAFailedCheckIsStillUnderstood) {
  const QuirkSet nss(Module("Mozilla Foundation", 3));
  for (const CK_RV rv : {CKR_DEVICE_ERROR, CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID, CKR_SIGNATURE_INVALID})
    EXPECT_EQ(nss.Correct(CallId::C_Verify, CKM_SHA256_HMAC, rv), CKR_SIGNATURE_INVALID) << rv;
  for (const CK_RV rv : {CKR_OK, CKR_SESSION_HANDLE_INVALID, CKR_OPERATION_NOT_INITIALIZED, CKR_SIGNATURE_LEN_RANGE,
                         CKR_HOST_MEMORY, CKR_DEVICE_REMOVED})
    EXPECT_EQ(nss.Correct(CallId::C_Verify, CKM_SHA256_HMAC, rv), rv);
  EXPECT_EQ(nss.Correct(CallId::C_VerifyInit, CKM_SHA256_HMAC, CKR_ARGUMENTS_BAD), CKR_ARGUMENTS_BAD);
}

TEST(Quirks, HideWhatAModuleListsAndCannotDo) {
  EXPECT_TRUE(QuirkSet(Module("SoftHSM", 2)).Lacks(CKM_DES_CBC));
  EXPECT_FALSE(QuirkSet(Module("SoftHSM", 2)).Lacks(CKM_DES3_CBC));
  EXPECT_FALSE(QuirkSet(Module("A careful vendor", 2)).Lacks(CKM_DES_CBC));
  EXPECT_FALSE(QuirkSet().Lacks(CKM_DES_CBC));
}

TEST(Quirks, TellAWrongKeyFromAFault) {
  const QuirkSet none;
  const QuirkSet softhsm(Module("SoftHSM", 2));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_GCM, CKR_ENCRYPTED_DATA_INVALID, none));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_GCM, CKR_AEAD_DECRYPT_FAILED, none));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_CMAC, CKR_SIGNATURE_INVALID, none));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_KEY_WRAP, CKR_WRAPPED_KEY_INVALID, none));
  EXPECT_FALSE(MeansWrongKey(CKM_AES_GCM, CKR_GENERAL_ERROR, none));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_GCM, CKR_GENERAL_ERROR, softhsm));
  EXPECT_TRUE(MeansWrongKey(CKM_AES_KEY_WRAP_PAD, CKR_GENERAL_ERROR, softhsm));
  EXPECT_FALSE(MeansWrongKey(CKM_AES_CMAC, CKR_GENERAL_ERROR, softhsm));
  EXPECT_FALSE(MeansWrongKey(CKM_AES_GCM, CKR_DEVICE_ERROR, softhsm));
  EXPECT_FALSE(MeansWrongKey(CKM_AES_GCM, CKR_ENCRYPTED_DATA_LEN_RANGE, none)) << "no other key makes a length right";
}

}  // namespace
}  // namespace cmkd::daemon
