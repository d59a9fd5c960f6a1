// The keeper, and how a standing is made and ended.
#include "daemon/hsm/device_link.h"

#include <algorithm>
#include <utility>

#include "daemon/hsm/loss.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

constexpr std::chrono::milliseconds kFirstPause{10};
constexpr std::chrono::milliseconds kFirstBackoff{100};
// So many device errors in a row while the module answers: it is stuck, and only a restart helps.
constexpr int kErrorsBeforeReset = 3;
// So often in a row no token, which was there before: it was not only just taking it in.
constexpr int kAbsencesBeforeReset = 3;
constexpr std::chrono::seconds kTooSlow{5};

}  // namespace

DeviceLink::DeviceLink(CK_FUNCTION_LIST_PTR functions, LinkOptions options)
    : device_(functions), options_(std::move(options)) {}

DeviceLink::~DeviceLink() {
  StopKeeper();
  const bool was_up = up();
  generation_.store(0, std::memory_order_release);
  if (was_up && login_needed_) {
    const std::lock_guard lock(homes_[0].mutex);
    (void)device_.functions()->C_Logout(homes_[0].session);
  }
  CloseHomes();
  (void)device_.functions()->C_Finalize(nullptr);
}

Status DeviceLink::Open(std::function<Status(const FoundToken&)> found, std::function<void()> lost) {
  found_ = std::move(found);
  lost_ = std::move(lost);
  const Status connected = Connect();
  if (!connected.ok() && !options_.may_be_away) return connected;
  if (!connected.ok()) {
    why_ = connected.error().why;
    pin_refused_ = RefusesPin(connected.error().rv);
    LogError("HSM " + options_.name + " is away: " + why_);
  }
  state_ = connected.ok() ? State::kUp : State::kDown;
  keeper_ = std::thread([this] { Keep(); });
  return {};
}

void DeviceLink::StopKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  settled_.notify_all();
  if (keeper_.joinable()) keeper_.join();
}

Failure<Error> DeviceLink::Away() const {
  return Fail(CKR_DEVICE_ERROR, "HSM " + options_.name + " is away: " + why_, spec::kHsmUnavailable);
}

Fallible<std::uint64_t> DeviceLink::WaitUntilUp() {
  if (const std::uint64_t now = generation(); now != 0) return now;
  std::unique_lock lock(mutex_);
  if (Impatience::Now()) return Away();
  settled_.wait_until(lock, rebuilding_since_ + options_.grace,
                      [&] { return generation() != 0 || state_ == State::kDown || stop_; });
  if (const std::uint64_t now = generation(); now != 0) return now;
  return Away();
}

Status DeviceLink::Recover(std::uint64_t lost_generation) {
  {
    std::unique_lock lock(mutex_);
    if (generation() == lost_generation && state_ != State::kDown) {
      const std::uint64_t ticket = ++requested_;
      wake_.notify_all();
      if (Impatience::Now()) return Away();
      settled_.wait_for(lock, options_.grace * 2, [&] { return handled_ >= ticket || stop_; });
      if (handled_ < ticket) return Away();
    }
  }
  auto now = WaitUntilUp();
  RETURN_IF_ERROR(std::move(now));
  return {};
}

void DeviceLink::Keep() {
  std::chrono::milliseconds backoff = kFirstBackoff;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const bool down = state_ == State::kDown;
    wake_.wait_for(lock, down ? backoff : options_.look_interval, [&] { return stop_ || requested_ > handled_; });
    if (stop_) return;
    if (pin_refused_) {
      handled_ = requested_;
      backoff = options_.backoff_max;
      lock.unlock();
      const bool try_again = MayTryPin();
      lock.lock();
      if (!try_again) continue;
      pin_refused_ = false;
    }
    const std::uint64_t round = requested_;
    lock.unlock();
    const bool well = (!down && LooksWell()) || Rebuild(!down);
    lock.lock();
    handled_ = round;
    if (well && down) LogInfo("HSM " + options_.name + " is back");
    if (!well && !down) LogError("HSM " + options_.name + " is away: " + why_);
    backoff = well ? kFirstBackoff : std::min(down ? backoff * 2 : backoff, options_.backoff_max);
    state_ = well ? State::kUp : State::kDown;
    settled_.notify_all();
  }
}

bool DeviceLink::LooksWell() {
  for (Home& home : homes_) {
    // One that is at work will say itself what is wrong.
    const std::unique_lock lock(home.mutex, std::try_to_lock);
    if (!lock.owns_lock()) continue;
    const Clock::time_point asked = Clock::now();
    CK_SESSION_INFO info{};
    if (device_.functions()->C_GetSessionInfo(home.session, &info) != CKR_OK) {
      // A module that hangs in so small a call would also hang in every call of the clearing up.
      if (Clock::now() - asked > kTooSlow && options_.reset) options_.reset("it does not answer");
      return false;
    }
    const bool logged_in = info.state == CKS_RW_USER_FUNCTIONS || info.state == CKS_RO_USER_FUNCTIONS;
    if (login_needed_ && !logged_in) return false;
  }
  return true;
}

bool DeviceLink::Rebuild(bool patient) {
  const Clock::time_point begun = Clock::now();
  const bool had_standing = up();
  {
    const std::lock_guard lock(mutex_);
    if (patient) state_ = State::kRebuilding;
    rebuilding_since_ = begun;
    // Before the device is spoken to: a session that was opened since then cannot be taken for one of the old
    // generation.
    generation_.store(0, std::memory_order_release);
  }
  if (had_standing) {
    LogWarning("HSM " + options_.name + " lost its sessions or keys; they are made again");
    CloseHomes();
    lost_();
  }
  int device_errors = 0;
  int absences = 0;
  for (std::chrono::milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kFirstBackoff * 2)) {
    const Status connected = Connect();
    if (connected.ok()) {
      may_try_again_ = true;
      return true;
    }
    const CK_RV rv = connected.error().rv;
    {
      const std::lock_guard lock(mutex_);
      why_ = connected.error().why;
      pin_refused_ = RefusesPin(rv);
      if (stop_) return false;
    }
    if (RefusesPin(rv)) {
      LogError("HSM " + options_.name +
               " refuses the PIN; it is not tried again, for that could lock the token: " + why_);
      return false;
    }
    device_errors = rv == CKR_DEVICE_ERROR ? device_errors + 1 : 0;
    if (device_errors == kErrorsBeforeReset && options_.reset) options_.reset("it fails again and again");
    absences = rv == CKR_TOKEN_NOT_PRESENT ? absences + 1 : 0;
    // While callers wait, soon: the device may be back for a module that begins anew.
    if (absences == (patient ? kAbsencesBeforeReset : 1) && options_.reset) options_.reset("it does not see the token");
    if (!patient || Clock::now() + pause > begun + options_.grace || !Pause(pause)) return false;
  }
}

// PKCS#11 3.2, "CK_TOKEN_INFO": CKF_USER_PIN_COUNT_LOW is set when a wrong PIN was given since the last login. Not
// every device says so, and the PIN that stands where it stood before is most likely as wrong as before: so it is once.
bool DeviceLink::MayTryPin() {
  if (!options_.pin) return false;
  const auto pin = options_.pin();
  if (!pin.ok()) return false;
  if (!Equal(pin->view(), refused_pin_.view())) return true;
  if (!may_try_again_) return false;
  constexpr CK_FLAGS kCounted = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
  if (!device_.Initialize().ok()) return false;
  const Fallible<FoundToken> token = device_.FindToken(options_.token);
  if (!token.ok() || (token->info.flags & kCounted) != 0) return false;
  may_try_again_ = false;
  return true;
}

bool DeviceLink::Pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, duration, [&] { return stop_; });
}

Status DeviceLink::Connect() {
  RETURN_IF_ERROR(device_.Initialize());
  ASSIGN_OR_RETURN(const FoundToken token, device_.FindToken(options_.token));
  login_needed_ = (token.info.flags & CKF_LOGIN_REQUIRED) != 0;
  std::array<CK_SESSION_HANDLE, kHomes> sessions{};
  if (Status opened = OpenHomes(token, sessions); !opened.ok()) {
    for (const CK_SESSION_HANDLE session : sessions) {
      if (session != CK_INVALID_HANDLE) device_.CloseSession(session);
    }
    return opened;
  }
  if (Status learnt = found_(token); !learnt.ok()) {
    for (const CK_SESSION_HANDLE session : sessions) device_.CloseSession(session);
    return learnt;
  }
  const std::uint64_t generation = ++last_generation_;
  for (std::size_t i = 0; i < kHomes; ++i) {
    const std::lock_guard lock(homes_[i].mutex);
    homes_[i].session = sessions[i];
    homes_[i].generation = generation;
  }
  slot_.store(token.slot, std::memory_order_relaxed);
  generation_.store(generation, std::memory_order_release);
  return {};
}

Status DeviceLink::OpenHomes(const FoundToken& token, std::array<CK_SESSION_HANDLE, kHomes>& sessions) {
  for (CK_SESSION_HANDLE& session : sessions) {
    ASSIGN_OR_RETURN(session, device_.OpenSession(token.slot));
    if (&session != &sessions.front() || !login_needed_) continue;
    if (!options_.pin) return Fail(CKR_USER_NOT_LOGGED_IN, "the token needs a PIN and none is configured");
    auto pin = options_.pin();
    if (!pin.ok()) return Fail(CKR_USER_NOT_LOGGED_IN, pin.error());
    const Status logged_in = device_.Login(session, CKU_USER, pin->view());
    if (!logged_in.ok() && RefusesPin(logged_in.error().rv)) refused_pin_ = std::move(*pin);
    RETURN_IF_ERROR(logged_in);
  }
  return {};
}

void DeviceLink::CloseHomes() {
  for (Home& home : homes_) {
    const std::lock_guard lock(home.mutex);
    if (home.generation != 0) device_.CloseSession(home.session);
    home.session = CK_INVALID_HANDLE;
    home.generation = 0;
  }
}

}  // namespace cmkd::daemon
