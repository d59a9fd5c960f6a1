// A whole daemon in this process, without its socket: the simulated device, an audit log, and a store in memory that is
// new for each input and holds one general and one managed token.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "daemon/crypto/pin.h"
#include "daemon/crypto/random.h"
#include "daemon/dispatch/dispatcher.h"
#include "daemon/hsm/backend_factory.h"
#include "daemon/service/access.h"
#include "daemon/system/log.h"
#include "daemon/system/system_clock.h"
#include "firmware_sim/firmware_sim.h"
#include "keystore/store/memory_store.h"
#include "pkcs11/wire/codec.h"
#include "tests/fuzz/fuzz.h"

// Of the leak detector, where there is one.
extern "C" {
[[gnu::weak]] void __lsan_disable();
[[gnu::weak]] void __lsan_enable();
}

namespace cmkd::daemon::fuzz {

// What is made meanwhile is held by something that the leak detector does not look at: the simulated device hangs on a
// page that the kernel wipes on fork.
class HiddenFromLeakDetector {
 public:
  HiddenFromLeakDetector() {
    if (__lsan_disable != nullptr) __lsan_disable();
  }
  ~HiddenFromLeakDetector() {
    if (__lsan_enable != nullptr) __lsan_enable();
  }
  HiddenFromLeakDetector(const HiddenFromLeakDetector&) = delete;
  HiddenFromLeakDetector& operator=(const HiddenFromLeakDetector&) = delete;
};

inline constexpr std::string_view kUserPin = "123456";
inline constexpr std::string_view kSoPin = "87654321";

class InProcessDaemon {
 public:
  InProcessDaemon() {
    const std::string base = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    folder_ = base + "/cmkd-fuzz-XXXXXX";
    FUZZ_CHECK(::mkdtemp(folder_.data()) != nullptr);
    SetLogLevel(LogLevel::kError);
    config_.limits.login_retry_limit = 1'000'000;
    BackendSurroundings surroundings;
    surroundings.state_directory = folder_;
    surroundings.simulated = {sim::FunctionList(), &sim::Configure};
    {
      const HiddenFromLeakDetector hidden;
      auto backend = StartBackend(config_.hsms.front(), surroundings);
      FUZZ_CHECK(backend.ok());
      backends_.Add(std::move(*backend));
    }
    OpenAudit();
    MakeTokens();
    Reset();
  }
  InProcessDaemon(const InProcessDaemon&) = delete;
  InProcessDaemon& operator=(const InProcessDaemon&) = delete;

  // Everything as it was at the start. No conversation may be left.
  void Reset() {
    state_.reset();
    if (++resets_ % 1000 == 0) OpenAudit();
    state_ = std::make_unique<State>(*this);
  }

  const std::string& folder() const { return folder_; }
  CK_SLOT_ID general_slot() const { return tokens_[0].slot; }
  CK_SLOT_ID managed_slot() const { return tokens_[1].slot; }
  Registry::Totals Count() const { return state_->registry.Count(); }

  // A connection of process `pid` of the daemon's own user, before its hello.
  std::unique_ptr<Conversation> Connect(std::int32_t pid) {
    return state_->dispatcher.Begin(Peer{static_cast<std::uint32_t>(::geteuid()), 0, pid});
  }

 private:
  // What is made anew for each input.
  struct State {
    explicit State(InProcessDaemon& whole)
        : store(whole.NewStore()),
          keeper(*store, whole.clock_, cmk::BootId{1}),
          records(*store),
          custodian(*store, records, whole.backends_, keeper, whole.config_.tokens),
          counter(*store, keeper, nullptr),
          registry([this](Application& application) { Release(*daemon, application.AllObjects()); }),
          daemon(new Daemon{whole.config_, keeper, *store, *whole.audit_, whole.backends_, records, custodian, counter,
                            registry, whole.pins_, whole.sealer_, whole.sealer_, whole.rejection_key_, whole.spare_room_, keeper.Now()}),
          dispatcher(*daemon) {}
    std::unique_ptr<store::Store> store;
    TimeKeeper keeper;
    Records records;
    Custodian custodian;
    UseCounter counter;
    Registry registry;
    std::unique_ptr<Daemon> daemon;
    Dispatcher dispatcher;
  };

  void OpenAudit() {
    const std::string directory = folder_ + "/audit";
    audit_.reset();
    std::filesystem::remove_all(directory);
    AuditLog::Options options;
    options.directory = directory;
    options.segment_bytes = std::uint64_t{4} << 20;
    options.sync = [](int) { return 0; };
    auto opened = AuditLog::Open(options, clock_);
    FUZZ_CHECK(opened.ok());
    audit_ = std::move(*opened);
  }
  // Tokens take time (PINs, wrapping keys), so they are made once and their records are put into each new store.
  void MakeTokens() {
    const auto store = store::MakeMemoryStore({}, clock_.Now());
    const TimeKeeper keeper(*store, clock_, cmk::BootId{1});
    Records records(*store);
    Custodian custodian(*store, records, backends_, keeper, config_.tokens);
    for (const auto profile : {cmk::TokenProfile::kGeneral, cmk::TokenProfile::kManaged}) {
      const std::string label = profile == cmk::TokenProfile::kGeneral ? "general" : "managed";
      const auto token = custodian.ReserveToken(label, profile, config_.hsms.front().name);
      FUZZ_CHECK(token.ok());
      FUZZ_CHECK(custodian.InitToken(token->slot, label, MakePinVerifier(AsBytes(kSoPin))).ok());
      FUZZ_CHECK(custodian.SetPin(token->id, Pin::kUser, MakePinVerifier(AsBytes(kUserPin))).ok());
      const auto made = records.GetToken(token->id);
      FUZZ_CHECK(made.ok());
      tokens_.push_back(**made);
    }
  }
  std::unique_ptr<store::Store> NewStore() {
    auto store = store::MakeMemoryStore({}, clock_.Now());
    auto write = store->BeginWrite("fuzz");
    FUZZ_CHECK(write.ok());
    for (const store::TokenRecord& token : tokens_) {
      FUZZ_CHECK((*write)->NextSlot().ok() && (*write)->PutToken(token).ok());
    }
    FUZZ_CHECK((*write)->Commit().ok());
    return store;
  }

  std::string folder_;
  Config config_;
  SystemClock clock_;
  Backends backends_;
  std::unique_ptr<AuditLog> audit_;
  PinCache pins_;
  AesGcmSealer sealer_{Bytes(32, 7), kSealTicket};
  SecretBytes rejection_key_{Bytes(32, 8)};
  SpareRoom spare_room_{"", 0};
  std::vector<store::TokenRecord> tokens_;
  std::unique_ptr<State> state_;
  std::uint64_t resets_ = 0;
};

// One for the process, never destroyed: at the process's end the threads' contexts of the crypto library, on which the
// audit log's last record would be hashed, are gone first. Only its folder goes.
inline InProcessDaemon& TheDaemon() {
  static InProcessDaemon& daemon = *new InProcessDaemon;
  static const int registered = std::atexit([] {
    std::error_code ignored;
    std::filesystem::remove_all(daemon.folder(), ignored);
  });
  FUZZ_CHECK(registered == 0);
  return daemon;
}

// A frame's payload to the daemon, and the answer's back; nothing when the connection ended instead.
inline std::optional<Bytes> Ask(Conversation& conversation, std::uint16_t call, ByteView payload) {
  static std::uint64_t request_id = 0;
  const wire::FrameHeader header{static_cast<std::uint32_t>(payload.size()), call, 0, ++request_id};
  wire::Buffer response;
  wire::BeginFrame(response);
  if (!conversation.Answer(header, payload, response)) return std::nullopt;
  return ToBytes(response.view().subspan(sizeof header));
}

}  // namespace cmkd::daemon::fuzz
