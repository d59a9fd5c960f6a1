// kill -9 at random instants: what was acknowledged is there afterwards, whole, and the store opens with a full check.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

// How many children to kill: CMKD_CRASH_LOOPS.
int Loops() {
  const char* loops = std::getenv("CMKD_CRASH_LOOPS");
  return loops != nullptr ? std::atoi(loops) : 20;
}

// Change `number`: one object more, one key made or changed, one key forgotten, all with the same number in them.
void MakeChange(Store& store, std::uint64_t number) {
  auto txn = Must(store.BeginWrite("crash"));
  ObjectRecord object = SomeObject(IdOf<cmk::TokenId>(1), {{1, {static_cast<std::uint8_t>(number)}}});
  object.serial = Must(txn->NextObjectSerial());
  object.attributes = {{number, Bytes(number % 7 * 1000, 1)}};
  MustDo(txn->PutObject(object));
  cmk::Cmk cmk = SomeCmk(number % 50, IdOf<cmk::TokenId>(1), "key " + std::to_string(number));
  cmk.versions[0].uses = number;
  MustDo(txn->PutCmk(cmk));
  if (number % 3 == 0) (void)txn->DeleteCmk(IdOf<cmk::CmkId>((number + 7) % 50));
  TokenRecord token = SomeToken(1);
  token.slot = number;
  MustDo(txn->PutToken(token));
  MustDo(txn->Commit());
}

// Makes changes until it is killed; writes each number to `acknowledged` after its commit.
[[noreturn]] void Child(const std::string& path, int acknowledged) {
  const FakeSealer sealer;
  auto store = Must(OpenLmdbStore(path, sealer, TestOptions()));
  auto token = Must(Must(store->BeginRead())->FindToken(IdOf<cmk::TokenId>(1)));
  for (std::uint64_t number = token ? token->slot + 1 : 1;; ++number) {
    MakeChange(*store, number);
    if (::write(acknowledged, &number, sizeof number) != sizeof number) ::_exit(1);
  }
}

TEST(LmdbCrash, KilledAtAnyInstantItLosesNothingAcknowledged) {
  TempDir dir;
  const std::string path = dir.Join("store");
  const FakeSealer sealer;
  MustDo(CreateLmdbStore(path, sealer, IdOf<StoreId>(1), kTestDay, TestOptions()));
  Random random(99);
  std::uint64_t last = 0;
  for (int loop = 0; loop < Loops(); ++loop) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      Child(path, ends[1]);
    }
    ::close(ends[1]);
    std::this_thread::sleep_for(std::chrono::microseconds(2'000 + Below(random, 30'000)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
    for (std::uint64_t number; ::read(ends[0], &number, sizeof number) == sizeof number;) last = number;
    ::close(ends[0]);

    auto opened = OpenLmdbStore(path, sealer, TestOptions());
    ASSERT_TRUE(opened.ok()) << opened.error().sentence;
    auto txn = Must((*opened)->BeginRead());
    const auto token = Must(txn->FindToken(IdOf<cmk::TokenId>(1)));
    const std::uint64_t there = token ? token->slot : 0;
    // The last commit may be on disk without its acknowledgement having been written.
    ASSERT_GE(there, last);
    ASSERT_LE(there, last + 1);
    last = there;
    ASSERT_EQ(Must(txn->CountObjects(IdOf<cmk::TokenId>(1))), there);
    ASSERT_EQ(Must(txn->ReadMeta()).next_object_serial, there + 1);
    if (there > 0) {
      ASSERT_EQ(Must(txn->GetObject({there})).attributes[0].type, there);
      ASSERT_EQ(Must(txn->GetCmk(IdOf<cmk::CmkId>(there % 50))).versions[0].uses, there);
    }
  }
  EXPECT_GT(last, 0u);
  RecordProperty("acknowledged", std::to_string(last));
}

}  // namespace
}  // namespace cmkd::store
