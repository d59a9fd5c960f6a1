// The clock that schedules believe: jumps of an hour, 31 days, ten years, to 1970 and 2106, across restarts.
#include "keystore/cmk/time_record.h"

#include <gtest/gtest.h>

#include <random>

namespace cmkd::cmk {
namespace {

constexpr Timestamp kDay0{1'800'000'000};

BootId Boot(std::uint8_t number) {
  BootId id{};
  id[0] = number;
  return id;
}

// A machine whose wall clock can be set and which can be switched off.
class Machine {
 public:
  Machine() { Look(); }
  void Pass(Duration time) {
    wall_.seconds += time.seconds;
    up_.seconds += time.seconds;
    Look();
  }
  void SetClock(Timestamp to) {
    wall_ = to;
    Look();
  }
  void Reboot(Duration off) {
    wall_.seconds += off.seconds;
    up_ = {};
    boot_ = Boot(number_ = static_cast<std::uint8_t>(number_ + 1));
    Look();
  }
  const TimeRecord& record() const { return record_; }
  Timestamp wall() const { return wall_; }

 private:
  void Look() {
    const Timestamp before = record_.highest;
    const Duration observed = record_.observed;
    record_ = Observe(record_, {wall_, up_, boot_});
    EXPECT_GE(record_.highest, before) << "schedules never go back";
    EXPECT_GE(record_.observed, observed);
  }

  Timestamp wall_ = kDay0;
  Duration up_{};
  std::uint8_t number_ = 1;
  BootId boot_ = Boot(1);
  TimeRecord record_;
};

TEST(TimeRecord, OrdinaryTimePassesAndIsBelieved) {
  Machine machine;
  for (int hour = 0; hour < 1000; ++hour) machine.Pass(Hours(1));
  EXPECT_TRUE(IsTrusted(machine.record()));
  EXPECT_EQ(machine.record().observed, Hours(1000));
  EXPECT_EQ(machine.record().highest, kDay0 + Hours(1000));
}

TEST(TimeRecord, AWeekendOffIsObservedAndALongAbsenceIsNot) {
  Machine machine;
  machine.Reboot(Days(3));
  EXPECT_EQ(machine.record().observed, Days(3));
  EXPECT_TRUE(IsTrusted(machine.record()));
  machine.Reboot(Days(8));
  EXPECT_EQ(machine.record().observed, Days(3));
  EXPECT_FALSE(IsTrusted(machine.record()));
}

TEST(TimeRecord, NoJumpMovesObservedTimeOrIsBelievedForADay) {
  const Timestamp targets[] = {kDay0 + Hours(1),         kDay0 + Days(31), kDay0 + Days(3650), Timestamp{0},
                               Timestamp{4'291'747'200}, kDay0 - Hours(1), kDay0 - Days(31)};
  for (const Timestamp target : targets) {
    Machine machine;
    machine.Pass(Seconds(60));
    const Duration before = machine.record().observed;
    machine.SetClock(target);
    EXPECT_EQ(machine.record().observed, before) << target.seconds;
    EXPECT_FALSE(IsTrusted(machine.record())) << target.seconds;
    machine.Pass(Hours(23));
    EXPECT_FALSE(IsTrusted(machine.record()));
    machine.Pass(Hours(1));
    EXPECT_TRUE(IsTrusted(machine.record()));
  }
}

TEST(TimeRecord, AStepOfMinutesIsNoJump) {
  Machine machine;
  machine.Pass(Hours(1));
  machine.SetClock(machine.wall() + Seconds(590));
  machine.SetClock(machine.wall() - Seconds(590));
  EXPECT_TRUE(IsTrusted(machine.record()));
}

TEST(TimeRecord, SchedulesGoOnBehindAClockThatWasSetBack) {
  Machine machine;
  machine.SetClock(kDay0 + Days(3650));
  machine.SetClock(kDay0);
  machine.Pass(Hours(10));
  EXPECT_EQ(machine.record().highest, kDay0 + Days(3650) + Hours(10));
}

TEST(TimeRecord, OneSpellOfDoubtHasOneBeginning) {
  Machine machine;
  machine.Pass(Hours(1));
  const Timestamp begun = machine.record().highest;
  machine.SetClock(kDay0 + Days(31));
  machine.SetClock(kDay0 + Days(62));
  EXPECT_EQ(machine.record().suspect_since, begun);
  EXPECT_EQ(Instant(machine.record()).suspect_since, begun);
}

TEST(TimeRecord, RandomWalksObserveNoMoreThanReallyPassed) {
  std::mt19937_64 random(4711);
  for (int walk = 0; walk < 1000; ++walk) {
    Machine machine;
    std::int64_t passed = 0;
    for (int step = 0; step < 50; ++step) {
      const auto seconds = static_cast<std::int64_t>(random() % 100'000);
      switch (random() % 4) {
        case 0: machine.SetClock({static_cast<std::int64_t>(random() % 5'000'000'000)}); break;
        case 1:
          machine.Reboot({seconds});
          passed += seconds;
          break;
        default: machine.Pass({seconds}); passed += seconds;
      }
      ASSERT_LE(machine.record().observed.seconds, passed);
    }
  }
}

}  // namespace
}  // namespace cmkd::cmk
