// Users, capabilities and the list of refused system calls.
#include "daemon/hsm_host/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>

namespace cmkd::daemon {
namespace {

// Threads and processes of the user together; a host has one thread for each session in use.
constexpr rlim_t kProcessesMax = 4096;

Failure<std::string> Refused(const std::string& what) {
  return Failure{what + ": " + std::strerror(errno)};  // NOLINT(concurrency-mt-unsafe): there is one thread
}

using Capabilities = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

bool HasCapabilities(std::initializer_list<unsigned> wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  Capabilities sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  for (const unsigned capability : wanted) {
    if ((sets[capability / 32].effective & (1U << (capability % 32))) == 0) return false;
  }
  return true;
}

// Root only may; for others nothing comes out of that set, for they have given up new privileges.
void ShrinkBoundingSet() {
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    (void)::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

bool DropCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const Capabilities none{};
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return ::syscall(SYS_capset, &header, none.data()) == 0;
}

// ---- System calls

// By name: a call that this libseccomp does not know does not exist for it.
constexpr const char* kRefused[] = {
    // other processes' memory, descriptors and progress
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "userfaultfd",
    "perf_event_open", "bpf", "lookup_dcookie", "pidfd_send_signal",
    // file systems and namespaces
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "pivot_root", "chroot", "unshare", "setns", "swapon", "swapoff", "quotactl", "quotactl_fd", "name_to_handle_at",
    "open_by_handle_at", "fanotify_init",
    // the machine
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "acct", "syslog",
    "settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "stime",
    "sethostname", "setdomainname", "iopl", "ioperm", "vhangup", "uselib", "nfsservctl", "modify_ldt", "vm86",
    "vm86old",
    // much of the kernel behind one door
    "io_uring_setup", "io_uring_enter", "io_uring_register"};

constexpr std::uint64_t kNamespaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                         CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

// The leak checker of a build with the address sanitizer traces its own process.
bool IsNeededByThisBuild([[maybe_unused]] std::string_view call) {
#ifdef __SANITIZE_ADDRESS__
  return call == "ptrace";
#else
  return false;
#endif
}

class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_ALLOW), &::seccomp_release) {}
  bool made() const { return context_ != nullptr; }

  template <class... Comparisons>
  void Refuse(const char* call, int error, Comparisons... comparisons) {
    const int number = ::seccomp_syscall_resolve_name(call);
    if (number == __NR_SCMP_ERROR || failure_ != 0) return;
    const scmp_arg_cmp list[] = {comparisons..., scmp_arg_cmp{}};
    failure_ = ::seccomp_rule_add_array(context_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), number,
                                        sizeof...(comparisons), list);
    // Numbers that only another architecture has.
    if (failure_ == -EDOM || failure_ == -EOPNOTSUPP) failure_ = 0;
  }
  // 0, or an error number.
  int Load() { return failure_ != 0 ? -failure_ : -::seccomp_load(context_.get()); }

 private:
  std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  int failure_ = 0;
};

}  // namespace

Result<Account, std::string> FindAccount(std::uint32_t uid) {
  const passwd* const entry = ::getpwuid(uid);  // NOLINT(concurrency-mt-unsafe): there is one thread
  if (entry == nullptr) return Failure{"there is no user " + std::to_string(uid)};
  Account account{uid, entry->pw_gid, entry->pw_name, {}};
  int count = 0;
  (void)::getgrouplist(entry->pw_name, entry->pw_gid, nullptr, &count);
  account.groups.resize(static_cast<std::size_t>(count));
  if (::getgrouplist(entry->pw_name, account.gid, account.groups.data(), &count) < 0) account.groups = {account.gid};
  return account;
}

Result<void, std::string> BecomeUser(const Account& account) {
  const std::string aim = "cannot become user " + account.name;
  if (!HasCapabilities({CAP_SETUID, CAP_SETGID, CAP_KILL})) {
    return Failure{aim + ": the daemon must be root or have CAP_SETUID, CAP_SETGID and CAP_KILL"};
  }
  const rlimit processes{kProcessesMax, kProcessesMax};
  (void)::setrlimit(RLIMIT_NPROC, &processes);
  ShrinkBoundingSet();
  if (::setgroups(account.groups.size(), account.groups.data()) != 0) return Refused(aim);
  if (::setresgid(account.gid, account.gid, account.gid) != 0) return Refused(aim);
  if (::setresuid(account.uid, account.uid, account.uid) != 0) return Refused(aim);
  if (!DropCapabilities()) return Refused("cannot give up capabilities");
  // The kernel makes a process that changed its user dumpable as the system's settings say.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return Refused("cannot stay undumpable");
  uid_t real = 0, effective = 0, saved = 0;
  if (::getresuid(&real, &effective, &saved) != 0 || real != account.uid || effective != account.uid ||
      saved != account.uid || HasCapabilities({CAP_SETUID}) || ::setresuid(0, 0, 0) == 0) {
    return Failure{aim + ": the way back stays open"};
  }
  return {};
}

Result<void, std::string> RefuseSystemCalls() {
  Filter filter;
  if (!filter.made()) return Failure{std::string("there is no memory for a filter of system calls")};
  for (const char* call : kRefused) {
    if (!IsNeededByThisBuild(call)) filter.Refuse(call, EPERM);
  }
  for (const std::uint64_t flag : kNamespaces) {
    filter.Refuse("clone", EPERM, SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
  }
  // Its flags are in memory, where no filter looks; every C library then takes clone.
  filter.Refuse("clone3", ENOSYS);
  // A signal to oneself (abort, a thread) is one's own business.
  const auto self = static_cast<scmp_datum_t>(::getpid());
  for (const char* call : {"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}) {
    filter.Refuse(call, EPERM, SCMP_A0(SCMP_CMP_NE, self));
  }
  filter.Refuse("tkill", EPERM);
  if (const int error = filter.Load(); error != 0) {
    errno = error;
    return Refused("the kernel takes no filter of system calls");
  }
  return {};
}

void BeEndedBeforeOthers() {
  const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)!::write(file, "200", 3);
  ::close(file);
}

}  // namespace cmkd::daemon
