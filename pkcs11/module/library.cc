// C_Initialize, C_Finalize, and how a forked child is told from its parent.
//
// The state is made once for each process and never destroyed: hosts call PKCS#11 functions during and after their exit
// handlers, when destructors of this library would already have run. A fork is noticed by a page that the kernel clears
// in the child (MADV_WIPEONFORK), so no call pays for a system call and no handler outlives dlclose().
#include "pkcs11/module/library.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

namespace cmkd::module {

namespace {

constexpr const char* kDefaultSocket = "/run/cmkd/cmkd.sock";

struct State {
  std::atomic<bool> initialised{false};
  remote::Client client;

  // For those who wait for a slot event.
  std::mutex slots_mutex;
  std::atomic<std::uint64_t> finalisations{0};
  std::optional<std::vector<CK_SLOT_ID>> slots;  // as the application knows them; ascending
  explicit State(remote::Options options) : client(std::move(options)) {}
};

std::atomic<State*> g_state{nullptr};
// Points to 1 in the process that made it; the kernel makes it 0 in a child.
std::atomic<volatile char*> g_same_process{nullptr};

remote::Options OptionsFromEnvironment() {
  remote::Options options;
  // secure_getenv: a set-user-id program must not be led to somebody else's daemon.
  const char* path = ::secure_getenv("CMKD_SOCKET");
  options.socket_path = path != nullptr && *path != '\0' ? path : kDefaultSocket;
  return options;
}

volatile char* NewForkPage() {
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (::madvise(page, 4096, MADV_WIPEONFORK) != 0) {
    ::munmap(page, 4096);
    return nullptr;
  }
  auto* mark = static_cast<volatile char*>(page);
  *mark = 1;
  return mark;
}

bool IsChild() {
  volatile char* mark = g_same_process.load(std::memory_order_acquire);
  return mark != nullptr && *mark == 0;
}

// The state of this process; made when there is none or when it is the parent's. Two threads may race: one wins, the
// other's is thrown away.
State* StateOfThisProcess() {
  State* state = g_state.load(std::memory_order_acquire);
  if (state != nullptr && !IsChild()) return state;
  auto* fresh = new State(OptionsFromEnvironment());
  volatile char* mark = NewForkPage();
  if (mark == nullptr) {
    delete fresh;
    return nullptr;
  }
  // The parent's state stays where it is: its locks may be held by threads that do not exist here, and its sockets are
  // closed by exec or by the end of the process, never used.
  if (!g_state.compare_exchange_strong(state, fresh, std::memory_order_acq_rel)) {
    delete fresh;
    ::munmap(const_cast<char*>(mark), 4096);
    return state;
  }
  g_same_process.store(mark, std::memory_order_release);
  return fresh;
}

// PKCS#11 5.4, "C_Initialize": mutex functions come all or not at all; we use our own locks whatever is given.
CK_RV CheckInitializeArguments(const CK_C_INITIALIZE_ARGS* args) {
  if (args == nullptr) return CKR_OK;
  if (args->pReserved != nullptr) return CKR_ARGUMENTS_BAD;
  const int given = (args->CreateMutex != nullptr) + (args->DestroyMutex != nullptr) + (args->LockMutex != nullptr) +
                    (args->UnlockMutex != nullptr);
  return given == 0 || given == 4 ? CKR_OK : CKR_ARGUMENTS_BAD;
}

}  // namespace

CK_RV Library::Initialize(CK_VOID_PTR arguments) {
  if (const CK_RV rv = CheckInitializeArguments(static_cast<const CK_C_INITIALIZE_ARGS*>(arguments)); rv != CKR_OK)
    return rv;
  State* state = StateOfThisProcess();
  if (state == nullptr) return CKR_HOST_MEMORY;
  return state->initialised.exchange(true, std::memory_order_acq_rel) ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
}

CK_RV Library::Finalize(CK_VOID_PTR reserved) {
  if (reserved != nullptr) return CKR_ARGUMENTS_BAD;
  if (Current() == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
  State* state = g_state.load(std::memory_order_acquire);
  if (!state->initialised.exchange(false, std::memory_order_acq_rel)) return CKR_CRYPTOKI_NOT_INITIALIZED;
  {
    const std::lock_guard lock(state->slots_mutex);
    ++state->finalisations;
    state->slots.reset();
  }
  state->client.Close();
  return CKR_OK;
}

namespace {

// The slots there are now, ascending; none when the daemon cannot be asked.
std::optional<std::vector<CK_SLOT_ID>> ListSlots(remote::Client& client) {
  std::vector<CK_SLOT_ID> slots(64);
  for (;;) {
    CK_ULONG count = slots.size();
    spec::Call<spec::CallId::C_GetSlotList> call;
    call.slots = {slots.data(), &count};
    const CK_RV rv = client.Answer(call);
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return std::nullopt;
    slots.resize(count);
    if (rv == CKR_BUFFER_TOO_SMALL) continue;
    std::sort(slots.begin(), slots.end());
    return slots;
  }
}

// The first difference between what the application knows and what is; from then on it is known.
std::optional<CK_SLOT_ID> TakeEvent(std::vector<CK_SLOT_ID>& known, const std::vector<CK_SLOT_ID>& now) {
  for (auto it = known.begin(); it != known.end(); ++it) {
    if (std::binary_search(now.begin(), now.end(), *it)) continue;
    const CK_SLOT_ID gone = *it;
    known.erase(it);
    return gone;
  }
  for (const CK_SLOT_ID slot : now) {
    if (std::binary_search(known.begin(), known.end(), slot)) continue;
    known.insert(std::upper_bound(known.begin(), known.end(), slot), slot);
    return slot;
  }
  return std::nullopt;
}

// Between two looks at the slots. In short sleeps and not on a condition variable: libstdc++'s registers an exit
// handler, and this library leaves nothing behind in its host.
void SleepUntilFinalised(const State& state, std::uint64_t begun) {
  constexpr int kSleeps = 10;
  for (int i = 0; i < kSleeps && state.finalisations.load() == begun; ++i) {
    const timespec pause{0, 20'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

CK_RV Library::WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID* slot) {
  if (Current() == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
  if (slot == nullptr) return CKR_ARGUMENTS_BAD;
  State* state = g_state.load(std::memory_order_acquire);
  std::unique_lock lock(state->slots_mutex);
  const std::uint64_t begun = state->finalisations;
  for (;;) {
    lock.unlock();
    const auto now = ListSlots(state->client);
    lock.lock();
    if (state->finalisations != begun || !state->initialised.load(std::memory_order_acquire))
      return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (now && !state->slots) state->slots = now;
    if (now) {
      if (const auto event = TakeEvent(*state->slots, *now)) {
        *slot = *event;
        return CKR_OK;
      }
    }
    if ((flags & CKF_DONT_BLOCK) != 0) return CKR_NO_EVENT;
    lock.unlock();
    SleepUntilFinalised(*state, begun);
    lock.lock();
  }
}

remote::Client* Library::Current() {
  State* state = g_state.load(std::memory_order_acquire);
  if (state == nullptr || IsChild() || !state->initialised.load(std::memory_order_acquire)) return nullptr;
  return &state->client;
}

}  // namespace cmkd::module
