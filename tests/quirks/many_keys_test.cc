// A token with as many keys as a name server signs zones with: nothing that a program waits for when it starts may grow
// with their number. What is measured is the processor time of the daemon, not of this busy machine.
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/quirks/quirks_fixture.h"

namespace cmkd::tests {
namespace {

constexpr int kKeys = 10'000;

// Seconds of processor time that the process has used.
double CpuSeconds(pid_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stream, text);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

TEST_F(Quirk, BindFindsItsKeyAmongTenThousand) {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  for (int i = 0; i < kKeys; ++i) {
    Template wanted;
    wanted.Bool(CKA_TOKEN, true).Ulong(CKA_VALUE_LEN, 16).Text(CKA_LABEL, "zone-" + std::to_string(i));
    CK_OBJECT_HANDLE made = 0;
    ASSERT_EQ(p11_->C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &made), CKR_OK) << i;
  }
  ASSERT_EQ(p11_->C_Finalize(nullptr), CKR_OK);
  ASSERT_TRUE(daemon_.KillAndStart());
  Begin();
  const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, "zone-7777"));
  ASSERT_THAT(found, ::testing::SizeIs(1));
  Bytes sealed;
  Bytes iv(16);
  EXPECT_EQ(Encrypt({CKM_AES_CBC_PAD, iv.data(), iv.size()}, found.front(), kHash, sealed), CKR_OK);
  // A start, a login, a search and a use; reading all the keys costs several times this. The PIN's hash is most of it.
  EXPECT_LT(CpuSeconds(daemon_.pid()), 2.0);

  Template keys;
  keys.Ulong(CKA_CLASS, CKO_SECRET_KEY);
  std::set<CK_OBJECT_HANDLE> all;
  ASSERT_EQ(p11_->C_FindObjectsInit(session_, keys.data(), keys.size()), CKR_OK);
  for (CK_ULONG count = 1; count != 0;) {
    CK_OBJECT_HANDLE some[100];
    ASSERT_EQ(p11_->C_FindObjects(session_, some, std::size(some), &count), CKR_OK);
    all.insert(some, some + count);
  }
  EXPECT_EQ(p11_->C_FindObjectsFinal(session_), CKR_OK);
  EXPECT_EQ(all.size(), std::size_t{kKeys});
}

}  // namespace
}  // namespace cmkd::tests
