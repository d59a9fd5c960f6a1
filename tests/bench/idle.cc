// One pipe holds them all, another tells that they are ready.
#include "tests/bench/idle.h"

#include <sys/wait.h>
#include <unistd.h>

#include <iostream>

namespace cmkd::bench {

namespace {

constexpr int kCalls = 40;  // cmkd gives a lane for the 16th

void BeIdle(const TokenOptions& options, int ready, int stay) {
  try {
    const Token token(options);
    const CK_SESSION_HANDLE session = token.OpenSession();
    CK_BYTE bytes[32];
    for (int i = 0; i < kCalls; ++i) Check(token->C_GenerateRandom(session, bytes, sizeof bytes), "C_GenerateRandom");
    char byte = 0;
    if (::write(ready, &byte, 1) != 1) ::_exit(1);
    ::close(ready);
    while (::read(stay, &byte, 1) > 0) {
    }
  } catch (const std::exception& e) {
    std::cerr << "cmkd-bench: an idle client: " << e.what() << '\n';
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

IdleClients::IdleClients(TokenOptions token, std::size_t count) {
  token.pin.clear();
  int ready[2] = {-1, -1};
  int stay[2] = {-1, -1};
  if (::pipe(ready) != 0 || ::pipe(stay) != 0) throw Trouble("no pipe");
  for (std::size_t i = 0; i < count; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(ready[0]);
      ::close(stay[1]);
      BeIdle(token, ready[1], stay[0]);
    }
    if (pid < 0) break;
    pids_.push_back(pid);
  }
  ::close(ready[1]);
  ::close(stay[0]);
  stay_ = stay[1];
  // When one ends before it is ready, the pipe ends when all others are.
  std::size_t there = 0;
  char bytes[256];
  for (ssize_t got = 0; there < count && (got = ::read(ready[0], bytes, sizeof bytes)) > 0;)
    there += static_cast<std::size_t>(got);
  ::close(ready[0]);
  if (there == count) return;
  Leave();
  throw Trouble("only " + std::to_string(there) + " of " + std::to_string(count) + " idle clients could begin");
}

void IdleClients::Leave() {
  if (stay_ >= 0) ::close(stay_);
  stay_ = -1;
  for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  pids_.clear();
}

IdleClients::~IdleClients() { Leave(); }

}  // namespace cmkd::bench
