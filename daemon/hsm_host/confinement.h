// Confinement: what the host gives up before it loads a foreign module. Nothing of it can be taken back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace cmkd::daemon {

// A user with the groups that the system's database gives it, and no others.
struct Account {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string name;
  std::vector<std::uint32_t> groups;
};

// The error is a sentence: there is no such user.
Result<Account, std::string> FindAccount(std::uint32_t uid);

// Becomes this user for good: groups, user, no capability, processes within bounds, undumpable as before. Needs
// CAP_SETUID and CAP_SETGID; asks for CAP_KILL, too, for without it the daemon could not end what it has started. Call
// before there is any other thread. The error is a sentence; the process is then to end.
Result<void, std::string> BecomeUser(const Account& account);

// Refuses, with EPERM, calls to the kernel that look into other processes, signal them, change the machine, or make
// namespaces, in this process and all its children. Everything else stays allowed: nobody knows what a vendor's module
// needs. Call before there is any other thread; the process must have given up new privileges. The error is a sentence.
Result<void, std::string> RefuseSystemCalls();

// An allocation too many of the module is to end the host, which is started again, rather than the daemon.
void BeEndedBeforeOthers();

}  // namespace cmkd::daemon
