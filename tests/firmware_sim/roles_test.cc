// Who may do what: every pair of identity and service, in the table and on a device.
#include "firmware_sim/roles.h"

#include <functional>
#include <map>
#include <set>

#include "firmware_sim/device.h"
#include "firmware_sim/signing.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

constexpr std::string_view kAuditorPin = "the auditor's pin";

std::vector<Identity> Identities() {
  std::vector<Identity> all;
  for (std::size_t i = 0; i < kIdentityCount; ++i) all.push_back(static_cast<Identity>(i));
  return all;
}
std::vector<Service> Services() {
  std::vector<Service> all;
  for (std::size_t i = 0; i < kServiceCount; ++i) all.push_back(static_cast<Service>(i));
  return all;
}

// ---- The table

TEST(Roles, EveryServiceIsForTheIdentitiesThatItIsMeantFor) {
  using I = Identity;
  const std::set<I> logged_in_or_not = {I::kNobody, I::kUser, I::kSecurityOfficer, I::kAuditor};
  const std::map<Service, std::set<I>> expected = {
      {Service::kInformation, logged_in_or_not},
      {Service::kSessions, logged_in_or_not},
      {Service::kInitialiseToken, {I::kNobody}},
      {Service::kSetUserPin, {I::kSecurityOfficer}},
      {Service::kSetAuditorPin, {I::kSecurityOfficer}},
      {Service::kChangeOwnPin, logged_in_or_not},
      {Service::kSearch, logged_in_or_not},
      {Service::kWork, {I::kNobody, I::kUser, I::kSecurityOfficer}},
      {Service::kPrivateWork, {I::kUser}},
      {Service::kTrust, {I::kSecurityOfficer}},
      {Service::kReadAudit, {I::kAuditor}},
      {Service::kEraseAudit, {}},
      {Service::kTestOrAttest, logged_in_or_not},
      {Service::kZeroize, logged_in_or_not},
      {Service::kUpdate, {I::kCustodians}},
      {Service::kBackup, {I::kCustodians}},
      {Service::kRestore, {I::kCustodians}},
      {Service::kSetQuorum, {I::kCustodians}},
  };
  ASSERT_EQ(expected.size(), kServiceCount);
  for (const Service service : Services()) {
    for (const Identity identity : Identities()) {
      EXPECT_EQ(May(identity, service), expected.at(service).contains(identity))
          << NameOf(identity) << ", " << NameOf(service);
    }
  }
}

TEST(Roles, NobodyHoldsTwoPowersThatMustBeApart) {
  for (const Identity identity : Identities()) {
    const bool audits = May(identity, Service::kReadAudit);
    const bool uses = May(identity, Service::kPrivateWork);
    const bool sets_pins = May(identity, Service::kSetUserPin);
    EXPECT_LE(static_cast<int>(audits) + uses + sets_pins, 1) << NameOf(identity);
    EXPECT_FALSE(May(identity, Service::kEraseAudit)) << NameOf(identity);
  }
}

TEST(Roles, NamesAreAllThere) {
  std::set<std::string_view> names;
  for (const Identity identity : Identities()) names.insert(NameOf(identity));
  for (const Service service : Services()) names.insert(NameOf(service));
  EXPECT_EQ(names.size(), kIdentityCount + kServiceCount);
}

TEST(Roles, EveryFunctionOfASessionIsAService) {
  for (const spec::CallRow& row : spec::kCalls) {
    const Service service = ServiceOf(row);
    const bool in_session = row.gate == spec::Gate::kSession || row.gate == spec::Gate::kReadWriteSession;
    if (row.operation == spec::OperationKind::kEncrypt || row.operation == spec::OperationKind::kSign) {
      EXPECT_EQ(service, Service::kWork) << row.name;
    }
    if (!in_session) {
      EXPECT_NE(service, Service::kWork) << row.name;
    }
  }
}

// ---- A device

class RolesTest : public DeviceTest {
 protected:
  static CK_UTF8CHAR* Chars(std::string_view text) {
    return reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(text.data()));
  }
  Device& D() { return *Device::Current(); }
  // The one session, with this identity logged in. The auditor has a PIN, and there are a public and a private key.
  void Become(Identity identity) {
    if (D().login() != Identity::kNobody) {
      EXPECT_EQ(f->C_Logout(session), CKR_OK);
    }
    EXPECT_EQ(Enter(identity), CKR_OK) << NameOf(identity);
  }
  CK_RV Enter(Identity identity) {
    switch (identity) {
      case Identity::kUser: return f->C_Login(session, CKU_USER, Chars(kUserPin), kUserPin.size());
      case Identity::kSecurityOfficer: return f->C_Login(session, CKU_SO, Chars(kSoPin), kSoPin.size());
      case Identity::kAuditor: return LogInAuditor(kAuditorPin);
      default: return CKR_OK;
    }
  }
  CK_RV LogInAuditor(std::string_view pin) {
    // The list behind the 2.40 pointer is that of 3.2 under an older number (entry/function_lists.h).
    CK_UTF8CHAR name[] = "auditor";
    return reinterpret_cast<CK_FUNCTION_LIST_3_2*>(f)->C_LoginUser(session, CKU_USER, Chars(pin), pin.size(), name,
                                                                   sizeof name - 1);
  }
  void SetUp() override {
    SecretKey(CKK_AES, Bytes(16, 1));
    Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)
               .Ulong(CKA_KEY_TYPE, CKK_AES)
               .Raw(CKA_VALUE, Bytes(16, 2))
               .Bool(CKA_TOKEN, true)
               .Bool(CKA_PRIVATE, false)
               .Bool(CKA_ENCRYPT, true)
               .Text(CKA_LABEL, "public"));
    Become(Identity::kSecurityOfficer);
    ASSERT_TRUE(D().SetAuditorPin(AsBytes(kAuditorPin)).ok());
    Become(Identity::kNobody);
  }
};

TEST_F(RolesTest, EveryServiceAsksWhoIsThere) {
  const auto answer = [](const auto& result) { return result.ok() ? CKR_OK : result.error().rv; };
  const CK_OBJECT_HANDLE visible = Find(T().Text(CKA_LABEL, "public")).at(0);
  // What stands for each service, and what it answers when it is allowed.
  const std::vector<std::pair<Service, std::function<CK_RV()>>> tries = {
      {Service::kInformation,
       [&] {
         CK_SESSION_INFO info{};
         return f->C_GetSessionInfo(session, &info);
       }},
      {Service::kSearch,
       [&] {
         const CK_RV begun = f->C_FindObjectsInit(session, nullptr, 0);
         if (begun == CKR_OK) f->C_FindObjectsFinal(session);
         return begun;
       }},
      {Service::kWork,
       [&] {
         CK_BYTE bytes[8];
         return f->C_GenerateRandom(session, bytes, sizeof bytes);
       }},
      {Service::kWork,
       [&] {
         Encrypt(M(CKM_AES_ECB), visible, Bytes(16));
         return rv;
       }},
      {Service::kPrivateWork,
       [&] {
         T attributes;
         attributes.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_PRIVATE, true);
         CK_OBJECT_HANDLE made = 0;
         return f->C_CreateObject(session, attributes.data(), attributes.size(), &made);
       }},
      {Service::kSetUserPin, [&] { return f->C_InitPIN(session, Chars(kUserPin), kUserPin.size()); }},
      {Service::kSetAuditorPin, [&] { return answer(D().SetAuditorPin(AsBytes(kAuditorPin))); }},
      {Service::kReadAudit, [&] { return answer(D().ReadAudit()); }},
  };
  for (const Identity identity : Identities()) {
    if (identity == Identity::kCustodians) continue;  // never logged in; maintenance_test.cc has them
    Become(identity);
    for (const auto& [service, attempt] : tries) {
      EXPECT_EQ(attempt(), May(identity, service) ? CKR_OK : CKR_USER_NOT_LOGGED_IN)
          << NameOf(identity) << ", " << NameOf(service);
    }
  }
}

TEST_F(RolesTest, TheAuditorIsNotRefusedByLuckButInEveryFunctionThatWorks) {
  Become(Identity::kAuditor);
  CK_FUNCTION_LIST& all = *f;
  CK_BYTE bytes[64] = {};
  CK_ULONG length = sizeof bytes;
  CK_OBJECT_HANDLE handle = 1;
  EXPECT_EQ(all.C_CreateObject(session, nullptr, 0, &handle), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(all.C_DestroyObject(session, handle), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(all.C_Encrypt(session, bytes, 16, bytes, &length), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(all.C_Sign(session, bytes, 16, bytes, &length), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(all.C_Digest(session, bytes, 16, bytes, &length), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(all.C_SeedRandom(session, bytes, 16), CKR_USER_NOT_LOGGED_IN);
  // Nor does it see what is private.
  EXPECT_EQ(Find(T().Ulong(CKA_CLASS, CKO_SECRET_KEY)).size(), 1u);
}

TEST_F(RolesTest, OneIdentityAtATimeAndEachWithItsOwnTries) {
  Become(Identity::kUser);
  EXPECT_EQ(LogInAuditor(kAuditorPin), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
  Become(Identity::kNobody);
  EXPECT_EQ(LogInAuditor(kUserPin), CKR_PIN_INCORRECT);
  EXPECT_EQ(D().token().info().auditor_tries, kPinTries - 1);
  EXPECT_EQ(D().token().info().user_tries, kPinTries);
  Become(Identity::kAuditor);
  EXPECT_EQ(D().token().info().auditor_tries, kPinTries);
  // His PIN is his own from then on.
  constexpr std::string_view kNew = "another pin of his";
  EXPECT_EQ(f->C_SetPIN(session, Chars(kAuditorPin), kAuditorPin.size(), Chars(kNew), kNew.size()), CKR_OK);
  Become(Identity::kNobody);
  EXPECT_EQ(LogInAuditor(kAuditorPin), CKR_PIN_INCORRECT);
  EXPECT_EQ(LogInAuditor(kNew), CKR_OK);
}

}  // namespace
}  // namespace cmkd::sim
