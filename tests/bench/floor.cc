// Two words of shared memory, counted up in turns.
#include "tests/bench/floor.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <new>

namespace cmkd::bench {

namespace {

using Clock = std::chrono::steady_clock;

struct Word {
  alignas(64) std::atomic<std::uint32_t> value{0};
  alignas(64) std::atomic<bool> sleeps{false};

  long Futex(int operation, std::uint32_t with) {
    return ::syscall(SYS_futex, &value, operation, with, nullptr, nullptr, 0);
  }
  void Set(std::uint32_t to) {
    value.store(to);
    if (sleeps.load()) Futex(FUTEX_WAKE, 1);
  }
  void Await(std::uint32_t wanted, std::chrono::nanoseconds spin) {
    const Clock::time_point end = Clock::now() + spin;
    for (;;) {
      for (int i = 0; i < 64; ++i) {
        if (value.load() == wanted) return;
        __builtin_ia32_pause();
      }
      if (Clock::now() >= end) break;
    }
    sleeps = true;
    for (std::uint32_t now; (now = value.load()) != wanted;) Futex(FUTEX_WAIT, now);
    sleeps = false;
  }
};

struct Pair {
  Word request;
  Word answer;
};

// For ever; it is killed.
[[noreturn]] void Serve(Pair& pair, std::chrono::nanoseconds service, std::chrono::nanoseconds spin) {
  for (std::uint32_t turn = 1;; ++turn) {
    pair.request.Await(turn, spin);
    for (const Clock::time_point end = Clock::now() + service; Clock::now() < end;) {
    }
    pair.answer.Set(turn);
  }
}

}  // namespace

Figures PingPong(std::chrono::nanoseconds service, std::chrono::nanoseconds spin, const Load& load) {
  void* shared = ::mmap(nullptr, sizeof(Pair), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::bad_alloc();
  Pair& pair = *new (shared) Pair;
  const pid_t server = ::fork();
  if (server < 0) throw Trouble("no process");
  if (server == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Serve(pair, service, spin);
  }
  Figures figures;
  figures.times.reserve(1 << 16);
  const std::size_t most = load.runs_max == 0 ? SIZE_MAX : load.runs_max;
  const Clock::time_point begin = Clock::now();
  const Clock::time_point end = begin + load.time;
  Clock::time_point before = begin;
  for (std::uint32_t turn = 1; figures.times.size() < most && before < end; ++turn) {
    pair.request.Set(turn);
    pair.answer.Await(turn, spin);
    const Clock::time_point after = Clock::now();
    figures.times.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    before = after;
  }
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  ::munmap(shared, sizeof(Pair));
  figures.runs = figures.times.size();
  figures.seconds = std::chrono::duration<double>(before - begin).count();
  std::sort(figures.times.begin(), figures.times.end());
  return figures;
}

}  // namespace cmkd::bench
