// Starting, leases, and doing work once more when the device lost something.
#include "daemon/hsm/pkcs11_backend.h"

#include <algorithm>
#include <utility>

#include "daemon/hsm/device_answer.h"
#include "daemon/hsm/loss.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/product.h"
#include "pkcs11/spec/return_values.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

// So many sessions in a row in which somebody left an operation active are no accident.
constexpr int kDirtySessionsMax = 4;

// Codes with which a device says that it is at its wits' end rather than that the call is wrong.
bool IsFault(CK_RV rv) {
  return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_DEVICE_ERROR || rv == CKR_DEVICE_MEMORY ||
         rv == CKR_HOST_MEMORY;
}

std::size_t SessionsOf(const CK_TOKEN_INFO& token, std::size_t wanted) {
  const auto bound = [&](CK_ULONG device_max) {
    const bool unlimited = device_max == CK_EFFECTIVELY_INFINITE || device_max == CK_UNAVAILABLE_INFORMATION;
    if (!unlimited && device_max > DeviceLink::kHomes)
      wanted = std::min<std::size_t>(wanted, device_max - DeviceLink::kHomes);
  };
  bound(token.ulMaxSessionCount);
  bound(token.ulMaxRwSessionCount);
  return wanted;
}

Fallible<MechanismMap> ListMechanisms(CK_FUNCTION_LIST_PTR f, CK_SLOT_ID slot) {
  CK_ULONG count = 0;
  if (const CK_RV rv = f->C_GetMechanismList(slot, nullptr, &count); rv != CKR_OK) {
    return DeviceRefused("C_GetMechanismList", rv);
  }
  std::vector<CK_MECHANISM_TYPE> types(count);
  if (const CK_RV rv = f->C_GetMechanismList(slot, types.data(), &count); rv != CKR_OK) {
    return DeviceRefused("C_GetMechanismList", rv);
  }
  types.resize(std::min<std::size_t>(count, types.size()));
  MechanismMap mechanisms;
  for (const CK_MECHANISM_TYPE type : types) {
    CK_MECHANISM_INFO info{};
    if (f->C_GetMechanismInfo(slot, type, &info) == CKR_OK) mechanisms.emplace(type, info);
  }
  return mechanisms;
}

}  // namespace

Result<std::unique_ptr<Pkcs11Backend>, std::string> Pkcs11Backend::Start(CK_FUNCTION_LIST_PTR functions,
                                                                         Pkcs11BackendOptions options) {
  std::unique_ptr<Pkcs11Backend> backend(new Pkcs11Backend(functions, std::move(options)));
  const Status opened = backend->Open();
  if (!opened.ok()) return Failure{"HSM " + backend->name() + ": " + opened.error().why};
  return backend;
}

Pkcs11Backend::Pkcs11Backend(CK_FUNCTION_LIST_PTR functions, Pkcs11BackendOptions options)
    : name_(options.link.name),
      software_(options.software),
      functions_3_2_(options.functions_3_2),
      keep_alive_(std::move(options.keep_alive)),
      link_(functions, std::move(options.link)),
      pool_(link_, options.sessions_max, options.sessions_idle_max),
      wrapping_(link_.device()),
      record_path_(std::move(options.record_path)),
      cache_(options.cache_entries, [this](const CachedKey& key) { DestroyCached(key); }) {}

Pkcs11Backend::~Pkcs11Backend() { link_.StopKeeper(); }

Status Pkcs11Backend::Open() {
  return link_.Open([this](const FoundToken& token) { return Learn(token); },
                    [this] {
                      cache_.Clear();
                      wrapping_.Clear();
                      pool_.CloseIdle();
                    });
}

Status Pkcs11Backend::Learn(const FoundToken& token) {
  if (learnt_.load(std::memory_order_relaxed)) return {};
  CK_INFO info{};
  if (functions()->C_GetInfo(&info) == CKR_OK) quirks_ = QuirkSet(info);
  pool_.Bound(SessionsOf(token.info, pool_.sessions_max()));
  ASSIGN_OR_RETURN(mechanisms_, ListMechanisms(functions(), token.slot));
  TryOut(info, token);
  learnt_.store(true, std::memory_order_release);
  return {};
}

void Pkcs11Backend::TryOut(const CK_INFO& module, const FoundToken& token) {
  // Our own device tests itself with known answers; and whoever counts its calls in a script of faults counts his own.
  CK_INFO ours{};
  spec::FillInfo(ours);
  if (std::equal(std::begin(module.manufacturerID), std::end(module.manufacturerID), std::begin(ours.manufacturerID)))
    return;
  auto learnt = LearnCapabilities(record_path_, IdentityOf(module, token.info), functions(), token.slot, mechanisms_);
  if (!learnt.ok()) {
    LogWarning("HSM " + name_ + ": its mechanisms could not be tried: " + learnt.error().why);
  } else {
    capabilities_ = std::move(*learnt);
  }
  // What was seen counts for more than what is known of the module's name.
  std::string dropped;
  std::erase_if(mechanisms_, [&](const auto& each) {
    const CK_MECHANISM_TYPE type = each.first;
    const bool seen_to_fail = capabilities_.broken.contains(type) || capabilities_.mute.contains(type);
    const bool gone = seen_to_fail || (quirks_.Lacks(type) && !capabilities_.working.contains(type));
    if (gone) {
      const spec::MechanismRow* row = spec::FindMechanism(type);
      dropped += (dropped.empty() ? "" : ", ") + (row == nullptr ? std::to_string(type) : std::string(row->name));
    }
    return gone;
  });
  if (!dropped.empty()) LogInfo("HSM " + name_ + " lists what it does not do; it is not offered: " + dropped);
}

const CK_MECHANISM_INFO* Pkcs11Backend::FindMechanism(CK_MECHANISM_TYPE type) const {
  if (!learnt_.load(std::memory_order_acquire)) return nullptr;
  const auto found = mechanisms_.find(type);
  return found == mechanisms_.end() ? nullptr : &found->second;
}

bool Pkcs11Backend::IsWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const {
  if (!learnt_.load(std::memory_order_acquire)) return false;
  return MeansWrongKey(mechanism, rv, quirks_) || capabilities_.SaysWrongKey(mechanism, rv);
}

Fallible<std::unique_ptr<Pkcs11Backend::Session>> Pkcs11Backend::TakeSession() {
  ASSIGN_OR_RETURN(const PooledSession session, pool_.Take());
  return std::make_unique<Session>(*this, session);
}

Fallible<std::unique_ptr<Backend::Lease>> Pkcs11Backend::Acquire() {
  ASSIGN_OR_RETURN(std::unique_ptr<Lease> lease, TakeSession());
  return lease;
}

Status Pkcs11Backend::Attempt(const Job& job) {
  auto session = AttemptAndKeep(job);
  RETURN_IF_ERROR(std::move(session));
  return {};
}

Fallible<std::unique_ptr<Pkcs11Backend::Session>> Pkcs11Backend::AttemptAndKeep(const Job& job) {
  bool again = false;
  for (int dirty_sessions = 0;;) {
    ASSIGN_OR_RETURN(std::unique_ptr<Session> session, TakeSession());
    if (has_leftovers_.load(std::memory_order_relaxed)) DestroyLeftovers(*session);
    Status status = job(*session);
    if (status.ok()) return session;
    Error& error = status.error();
    const Loss loss = ClassifyLoss(error.rv);
    // Some modules leave an operation active that has failed; whoever gets their session next must not pay for it.
    const bool dirty = error.rv == CKR_OPERATION_ACTIVE;
    if (loss == Loss::kKey) {
      session->ForgetPinned();
      wrapping_.Clear();
    }
    // After such an answer nobody knows what the device has done: an Init may have begun its operation after all.
    if (loss != Loss::kNone || dirty || IsFault(error.rv)) session->Break();
    if (dirty && ++dirty_sessions < kDirtySessionsMax) continue;
    if (loss == Loss::kNone) {
      DeviceAnswer::Note(error.rv);
      if (dirty || IsOurAffair(error.rv)) error.rv = dirty ? CKR_FUNCTION_FAILED : CKR_DEVICE_ERROR;
      if (error.detail == 0 && IsFault(error.rv)) error.detail = spec::kHsmRefused;
      return Failure<Error>{std::move(error)};
    }
    const std::uint64_t generation = session->generation();
    session.reset();
    // Also for a key: without a login, a device does not see its private objects.
    RETURN_IF_ERROR(link_.Recover(generation));
    if (!std::exchange(again, true)) continue;
    return Fail(loss == Loss::kKey ? CKR_FUNCTION_FAILED : CKR_DEVICE_ERROR, std::move(error.why), spec::kHsmRefused);
  }
}

Pkcs11Backend::Job Pkcs11Backend::JobOf(const Work& work) {
  return [this, &work](Session& session) -> Status {
    const CK_RV rv = work(functions(), session);
    if (rv == CKR_OK) return {};
    if (const Error* error = session.load_error(); error != nullptr && error->rv == rv) return Failure<Error>{*error};
    return Fail(rv, "HSM " + name_ + ": " + spec::ReturnValueName(rv));
  };
}

Status Pkcs11Backend::Run(const Work& work) { return Attempt(JobOf(work)); }

Fallible<std::unique_ptr<Backend::Lease>> Pkcs11Backend::Begin(const Work& work) {
  ASSIGN_OR_RETURN(std::unique_ptr<Lease> lease, AttemptAndKeep(JobOf(work)));
  return lease;
}

Status Pkcs11Backend::FillRandom(MutableBytes out) {
  // What a device may be asked for at once is nowhere written; this is little enough for all.
  constexpr std::size_t kPieceBytes = 1024;
  return Attempt([&](Session& session) -> Status {
    for (std::size_t done = 0; done < out.size(); done += kPieceBytes) {
      const MutableBytes piece = out.subspan(done, std::min(kPieceBytes, out.size() - done));
      const CK_RV rv = functions()->C_GenerateRandom(session.session(), piece.data(), piece.size());
      if (rv != CKR_OK) return DeviceRefused("C_GenerateRandom", rv);
    }
    return {};
  });
}

Fallible<CK_OBJECT_HANDLE> Pkcs11Backend::Session::Load(const KeyName& name, const KeyMaterial& key) {
  load_error_.reset();
  KeyCache::Pin pin = backend_.cache_.Find(name, session_.generation, key.extractable);
  if (pin == nullptr) {
    auto loaded = backend_.cache_.FindOrLoad(name, session_.generation, key.extractable,
                                             [&] { return backend_.LoadKey(name, key, session_.generation); });
    if (!loaded.ok()) {
      load_error_ = loaded.error();
      return Failure<Error>{std::move(loaded.error())};
    }
    pin = std::move(*loaded);
  }
  const CK_OBJECT_HANDLE handle = KeyCache::HandleOf(pin);
  pins_.push_back(std::move(pin));
  return handle;
}

void Pkcs11Backend::Session::ForgetPinned() {
  for (const KeyCache::Pin& pin : pins_) backend_.cache_.Forget(pin);
}

}  // namespace cmkd::daemon
