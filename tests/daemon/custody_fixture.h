// A daemon's custody without its socket: store on disk with faults on purpose, an HSM of either kind, a clock of the
// test's own; stopped and started again as often as a test likes.
#pragma once

#include <filesystem>
#include <functional>

#include "daemon/config/config.h"
#include "daemon/custody/reconcile.h"
#include "daemon/custody/scheduler.h"
#include "daemon/startup/open_store.h"
#include "daemon/startup/root_key.h"
#include "keystore/store/fault_store.h"
#include "tests/daemon/audit_fixture.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {

#define ASSERT_GOOD(result) ASSERT_TRUE((result).ok()) << (result).error().why
#define EXPECT_GOOD(result) EXPECT_TRUE((result).ok()) << (result).error().why

class SetClock final : public Clock {
 public:
  Timestamp Now() const override { return wall; }
  std::chrono::nanoseconds Monotonic() const override { return std::chrono::seconds(up.seconds); }
  void Pass(Duration time) {
    wall = wall + time;
    up.seconds += time.seconds;
  }
  Timestamp wall{1'800'000'000};
  Duration up{1000};
};

struct Custody {
  Custody(store::Store& store, Backends& backends, const Clock& clock, const TokensConfig& config, AuditLog& audit,
          Anchor* anchor)
      : keeper(store, clock, cmk::BootId{1}),
        records(store),
        custodian(store, records, backends, keeper, config),
        counter(store, keeper, nullptr),
        scheduler(store, keeper, custodian, counter, audit, anchor) {
    EXPECT_TRUE(keeper.Look().ok());
  }
  TimeKeeper keeper;
  Records records;
  Custodian custodian;
  UseCounter counter;
  Scheduler scheduler;
};

class CustodyTest : public AuditTest, public testing::WithParamInterface<RigKind> {
 protected:
  void SetUp() override {
    rig_ = std::make_unique<HsmRig>(GetParam());
    ASSERT_TRUE(rig_->missing().empty()) << rig_->missing();
    backends_.Add(rig_->Start());
    config_.default_hsm = backend().name();
    config_.default_profile = TokenProfile::kGeneral;
    log_ = Open();
    std::filesystem::create_directory(state());
    Start();
    ASSERT_GOOD(custody_->custodian.InitToken(0, "ring", Bytes(32, 1)));
    token_ = (*custody_->records.ListTokens()).front()->id;
  }
  void TearDown() override {
    Stop();
    backends_ = {};
  }

  std::string state() const { return root_ + "/state"; }
  Backend& backend() { return *backends_.all().begin()->second; }
  Custodian& custodian() { return custody_->custodian; }
  store::TokenRecord Token() { return **custody_->records.GetToken(token_); }
  cmk::Cmk Key(const cmk::CmkId& id) { return **custody_->records.GetCmk(id); }

  Result<void, std::string> TryToStart(OlderStore older = OlderStore::kRefused) {
    ASSIGN_OR_RETURN(opened_, OpenStore(state(), backend(), clock_now_, 0, older));
    backend().SetOwner(OwnerWords(opened_.store->id()));
    return {};
  }
  void Start(OlderStore older = OlderStore::kRefused) {
    const auto started = TryToStart(older);
    ASSERT_TRUE(started.ok()) << started.error();
    faults_ = std::make_unique<store::FaultStore>(*opened_.store);
    NewCustody();
  }
  void Stop() {
    custody_.reset();
    faults_.reset();
    opened_ = {};
  }
  // As after a crash: what was in memory is gone, the store stays open.
  void NewCustody() {
    custody_.reset();
    faults_->Restart();
    custody_ = std::make_unique<Custody>(*faults_, backends_, clock_now_, config_, *log_,
                                         anchored_ ? opened_.anchor.get() : nullptr);
  }

  cmk::CmkId Keep(const std::string& name, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, cmk::Material material,
                  std::string spec) {
    NewObjects objects;
    cmk::Cmk key;
    key.name = name;
    key.spec = std::move(spec);
    key.rotatable = object_class == CKO_SECRET_KEY;
    key.current = {1};
    cmk::KeyVersion version;
    version.number = {1};
    version.created = custody_->keeper.Now();
    version.material = std::move(material);
    key.versions.push_back(version);
    objects.key = key;
    spec::Attributes attributes;
    attributes.SetUlong(CKA_CLASS, object_class);
    attributes.SetUlong(CKA_KEY_TYPE, type);
    if (object_class == CKO_SECRET_KEY) attributes.SetUlong(CKA_VALUE_LEN, 32);
    attributes.SetText(CKA_LABEL, name);
    attributes.SetBool(CKA_TOKEN, true);
    objects.objects.push_back(attributes);
    const auto handles = custodian().Add(token_, std::move(objects), {});
    EXPECT_GOOD(handles);
    return handles.ok() ? *(*custody_->records.GetObject(handles->front()))->cmk : cmk::CmkId{};
  }
  cmk::CmkId MakeAes(const std::string& name) {
    const auto under = custodian().WrappingKeyFor(token_, Custodian::Keep::kToken);
    auto made = backend().GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, *under);
    EXPECT_GOOD(made);
    return Keep(name, CKO_SECRET_KEY, CKK_AES, made->material, "AES-256");
  }
  cmk::CmkId MakeEd25519(const std::string& name) {
    const auto under = custodian().WrappingKeyFor(token_, Custodian::Keep::kToken);
    spec::Attributes parameters;
    parameters.Set(CKA_EC_PARAMS, Bytes{6, 3, 0x2b, 0x65, 0x70});
    auto made = backend().GenerateKeyPair(Plain(CKM_EC_EDWARDS_KEY_PAIR_GEN), CKK_EC_EDWARDS, parameters, *under);
    EXPECT_GOOD(made);
    return Keep(name, CKO_PRIVATE_KEY, CKK_EC_EDWARDS, made->material, "ED25519");
  }

  cmk::CmkId MakeP256(const std::string& name) {
    const auto under = custodian().WrappingKeyFor(token_, Custodian::Keep::kToken);
    spec::Attributes parameters;
    parameters.Set(CKA_EC_PARAMS, Bytes{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7});
    auto made = backend().GenerateKeyPair(Plain(CKM_EC_KEY_PAIR_GEN), CKK_EC, parameters, *under);
    EXPECT_GOOD(made);
    return Keep(name, CKO_PRIVATE_KEY, CKK_EC, made->material, "EC-P256");
  }

  // What a key does with a fixed input: the same as long as it is the same key.
  Fallible<Bytes> Does(const cmk::Cmk& key, std::size_t version = 0) {
    const bool signs = key.spec == "ED25519";
    KeyMaterial material;
    material.object_class = signs ? CKO_PRIVATE_KEY : CKO_SECRET_KEY;
    material.key_type = signs ? CKK_EC_EDWARDS : CKK_AES;
    material.material = key.versions[version].material;
    const KeyName name = NameOf(key.id, key.versions[version].number);
    CK_BYTE iv[12] = {};
    CK_GCM_PARAMS gcm{iv, sizeof iv, 96, nullptr, 0, 128};
    CK_MECHANISM mechanism = signs ? Plain(CKM_EDDSA) : With(CKM_AES_GCM, gcm);
    Bytes input(16, 7);
    Bytes output(200);
    CK_ULONG length = output.size();
    RETURN_IF_ERROR(backend().Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
      const auto handle = lease.Load(name, material);
      if (!handle.ok()) return handle.error().rv;
      length = output.size();
      if (signs) {
        if (const CK_RV rv = f->C_SignInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
        return f->C_Sign(lease.session(), input.data(), input.size(), output.data(), &length);
      }
      if (const CK_RV rv = f->C_EncryptInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
      return f->C_Encrypt(lease.session(), input.data(), input.size(), output.data(), &length);
    }));
    output.resize(length);
    return output;
  }

  bool anchored_ = false;  // whether the scheduler notes the store's generation in the device
  SetClock clock_now_;
  TokensConfig config_;
  std::unique_ptr<AuditLog> log_;
  std::unique_ptr<HsmRig> rig_;
  Backends backends_;
  OpenedStore opened_;
  std::unique_ptr<store::FaultStore> faults_;
  std::unique_ptr<Custody> custody_;
  cmk::TokenId token_;
};

}  // namespace cmkd::daemon
