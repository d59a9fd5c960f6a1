// Pkcs11Backend: a Backend over any PKCS#11 function list.
//
// Each piece of work runs in a session of its own from the pool; the cached keys belong to the link's home sessions, so
// that they outlive the work. What the device loses (sessions, login, keys, itself) is made again by the link, and work
// that fell into the gap is done once more.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>

#include "daemon/hsm/backend.h"
#include "daemon/hsm/capabilities.h"
#include "daemon/hsm/device_link.h"
#include "daemon/hsm/key_cache.h"
#include "daemon/hsm/key_templates.h"
#include "daemon/hsm/quirks.h"
#include "daemon/hsm/session_pool.h"
#include "daemon/hsm/wrapping.h"
#include "pkcs11/spec/call_table.h"

namespace cmkd::daemon {

struct Pkcs11BackendOptions {
  LinkOptions link;
  // Whether the device runs inside the daemon.
  bool software = false;
  std::size_t cache_entries = 4096;
  std::size_t sessions_max = 256;
  std::size_t sessions_idle_max = 64;
  // The device's functions of 3.2, if it has them; nullptr otherwise. As long-lived as the plain list.
  const CK_FUNCTION_LIST_3_2* functions_3_2 = nullptr;
  // Where what the device was seen to do is kept; empty: it is tried at each start.
  std::string record_path;
  // Kept until the device has been finalised: the host process and the function list that leads to it.
  std::shared_ptr<void> keep_alive;
};

class Pkcs11Backend final : public Backend {
 public:
  // Initialises the module, finds the token, logs in. `functions` must live as long as the backend, or be kept by
  // keep_alive. The error is a sentence.
  static Result<std::unique_ptr<Pkcs11Backend>, std::string> Start(CK_FUNCTION_LIST_PTR functions,
                                                                   Pkcs11BackendOptions options);
  // All leases must be gone.
  ~Pkcs11Backend() override;

  const std::string& name() const override { return name_; }
  bool software() const override { return software_; }
  bool available() const override { return link_.up(); }
  const CK_MECHANISM_INFO* FindMechanism(CK_MECHANISM_TYPE type) const override;
  const Capabilities* capabilities() const override { return &capabilities_; }

  Fallible<std::unique_ptr<Lease>> Acquire() override;
  Status Run(const Work& work) override;
  Fallible<std::unique_ptr<Lease>> Begin(const Work& work) override;

  using Backend::MakeWrappingKey;
  Status MakeWrappingKey(const WrappingKey& planned) override;
  Status DestroyWrappingKey(const WrappingKey& key) override;

  Fallible<Made> GenerateKey(const CK_MECHANISM& mechanism, CK_KEY_TYPE type, CK_ULONG value_bytes,
                             const WrappingKey& under) override;
  Fallible<MadePair> GenerateKeyPair(const CK_MECHANISM& mechanism, CK_KEY_TYPE type,
                                     const spec::Attributes& parameters, const WrappingKey& under) override;
  Fallible<Made> Import(const spec::Attributes& key, const WrappingKey& under) override;
  Fallible<cmk::Material> Rewrap(const KeyName& name, const KeyMaterial& key, const WrappingKey& under) override;
  Fallible<Made> UnwrapKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& with,
                           ByteView wrapped, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, CK_ULONG value_bytes,
                           const WrappingKey& under) override;
  Fallible<Made> DeriveKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& base,
                           std::span<const OtherKey> others, CK_KEY_TYPE type, CK_ULONG value_bytes,
                           const WrappingKey& under) override;
  Fallible<Bytes> WrapKey(const CK_MECHANISM& mechanism, const KeyName& wrapping_name, const KeyMaterial& wrapping,
                          const KeyName& name, const KeyMaterial& key) override;
  Fallible<Bytes> WrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                       const KeyMaterial& wrapping, const KeyName& name, const KeyMaterial& key,
                                       ByteView associated_data) override;
  Fallible<Made> UnwrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& with,
                                        ByteView wrapped, ByteView associated_data, CK_OBJECT_CLASS object_class,
                                        CK_KEY_TYPE type, const WrappingKey& under) override;
  Fallible<spec::Attributes> ReadSecret(const KeyName& name, const KeyMaterial& key,
                                        std::span<const CK_ATTRIBUTE_TYPE> types) override;

  void Forget(const KeyName& name) override { cache_.Forget(name); }
  Status DestroyMaterial(const cmk::Material& material) override;
  void SetOwner(const std::string& words) override;
  Fallible<std::vector<DeviceObject>> ListObjects() override;
  Fallible<spec::Attributes> ReadObject(const DeviceObject& object, std::span<const CK_ATTRIBUTE_TYPE> types) override;
  Status DestroyObject(const DeviceObject& object) override;
  Fallible<std::vector<Bytes>> ReadNotes(std::string_view name) override;
  Status ReplaceNote(std::string_view name, ByteView value) override;
  Fallible<spec::Attributes> TransportKey(ByteView id, bool make) override;
  Fallible<std::vector<Bytes>> MakeCarried(std::span<const spec::Attributes> recipients,
                                           CK_MECHANISM_TYPE hash) override;
  Status ReceiveCarried(const WrappingKey& planned, ByteView transport_id, ByteView carried,
                        CK_MECHANISM_TYPE hash) override;
  Fallible<bool> HasWrappingKey(ByteView reference) override;
  Status Opens(const KeyMaterial& key) override;
  Status FillRandom(MutableBytes out) override;
  bool IsWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const override;

  // Keys now cached; for tests and the status report.
  std::size_t cached_keys() const { return cache_.size(); }

 private:
  class Session;
  using Job = std::function<Status(Session&)>;
  // Makes an object as planned; the handle goes to the last argument.
  using Maker = std::function<CK_RV(Session&, ObjectTemplate&, CK_OBJECT_HANDLE*)>;

  Pkcs11Backend(CK_FUNCTION_LIST_PTR functions, Pkcs11BackendOptions options);
  Status Open();
  CK_FUNCTION_LIST_PTR functions() const { return link_.device().functions(); }
  // What the device is and can do, asked when it is there for the first time.
  Status Learn(const FoundToken& token);
  // Tries what the device lists, and leaves of it what works.
  void TryOut(const CK_INFO& module, const FoundToken& token);

  // Takes a session and does the job; once more when the device lost something in between.
  Status Attempt(const Job& job);
  Fallible<std::unique_ptr<Session>> AttemptAndKeep(const Job& job);
  // A piece of work as a job: its code with what is known about it.
  Job JobOf(const Work& work);
  Fallible<std::unique_ptr<Session>> TakeSession();

  // ---- pkcs11_backend_load.cc: keys into the device
  Fallible<CachedKey> LoadKey(const KeyName& name, const KeyMaterial& key, std::uint64_t generation);
  Fallible<CachedKey> LoadInHome(const KeyName& name, const KeyMaterial& key, std::uint64_t generation);
  Fallible<CK_OBJECT_HANDLE> CreatePublic(CK_SESSION_HANDLE session, const KeyMaterial& key);
  // The device's mechanism for what was wrapped in this format.
  CK_MECHANISM_TYPE UnwrapperOf(WrapFormat format) const;
  // Unwraps a blob into a session object of `session`.
  Fallible<CK_OBJECT_HANDLE> UnwrapBlob(CK_SESSION_HANDLE session, std::uint64_t generation, ByteView blob,
                                        ObjectPlan plan);
  void DestroyCached(const CachedKey& key);
  // Which home session the key's object belongs to.
  static std::uint32_t HomeOf(const KeyName& name) { return name.id[1]; }
  // Makes an object that outlives `session`'s work: in the home session of `name`, alone there.
  CK_RV MakeInHome(const Session& session, const KeyName& name, const std::function<CK_RV(CK_SESSION_HANDLE)>& make);
  // An object that was made there takes its place in the cache.
  Status KeepLoaded(const KeyName& name, CachedKey key);

  // ---- pkcs11_backend_make.cc: keys out of it; pkcs11_backend_keys.cc has the calls
  // A device only reads a mechanism; C's types have no const for it.
  static CK_MECHANISM* Mutable(const CK_MECHANISM& mechanism) { return const_cast<CK_MECHANISM*>(&mechanism); }
  // Makes a key by `make`, and gives its material: wrapped, or resident where the device cannot do that.
  Fallible<Made> MakeKey(ObjectPlan plan, const WrappingKey& under, const Maker& make);
  Status MakeObject(Session& session, const ObjectPlan& plan, const Maker& make, CK_OBJECT_HANDLE* key);
  // `wrapping` says afterwards whether a failure came from wrapping.
  Status MakeWrapped(Session& session, ObjectPlan plan, const WrappingKey& under, const Maker& make, Made& made,
                     bool& wrapping);
  // Unwraps a blob as planned, looks at the key, and takes it out of the device again.
  Status WithUnwrapped(Session& session, ByteView blob, const ObjectPlan& plan,
                       const std::function<Status(CK_OBJECT_HANDLE)>& look);
  Status MakeResident(Session& session, const ObjectPlan& plan, const Maker& make, Made& made);
  Status MakePair(Session& session, const CK_MECHANISM& mechanism, ObjectPlan public_plan, ObjectPlan private_plan,
                  const WrappingKey& under, MadePair& made, bool& wrapping);
  // Does `resident` under a fresh CKA_ID and sees to it that a failure leaves no object of this id behind.
  Status KeepResident(CK_OBJECT_CLASS object_class, const std::function<Status(Session&, ByteView id)>& resident,
                      cmk::Material& material);
  std::string LabelOf(std::string_view what) const;
  std::string ResidentLabel(const WrappingKey& under) const { return LabelOf(under.session ? "session key" : "key"); }
  Status WrapUnder(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key, const WrappingKey& under,
                   cmk::Material& material);
  // Whether what was wrapped comes back: asked once for each kind of key.
  Status CheckWrapped(Session& session, const ObjectPlan& plan, const cmk::Material& material);
  Status ReadComputed(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key, spec::Attributes& computed);
  Status CompleteSecret(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key, const cmk::Material& material,
                        spec::Attributes& computed);
  Fallible<WrapFormat> FormatFor(const ObjectPlan& plan) const;
  // Objects that a failure may have left in the device are destroyed as soon as it is there again.
  void DestroyLater(CK_OBJECT_CLASS object_class, ByteView id);
  void DestroyLeftovers(Session& session);

  // ---- pkcs11_backend_wrapping.cc: wrapping keys, and their way from device to device
  static constexpr CK_ULONG kWrappingKeyBytes = 32;
  // What every wrapping key is, however it comes into the device. `label` is borrowed.
  static void FillWrappingKey(const WrappingKey& planned, const std::string& label, ObjectTemplate& out);
  std::string WrappingKeyLabel(const WrappingKey& key) const {
    return LabelOf("wrapping key, epoch " + std::to_string(key.epoch));
  }
  Fallible<Bytes> WrapFor(Session& session, CK_OBJECT_HANDLE key, const spec::Attributes& recipient,
                          CK_MECHANISM_TYPE hash);

  // What this device does with a kind of key; asked by trying.
  enum class Keeping : std::uint8_t { kUnknown, kWraps, kResident };

  struct Leftover {
    CK_OBJECT_CLASS object_class;
    Bytes id;
  };

  const std::string name_;
  const bool software_;
  const CK_FUNCTION_LIST_3_2* const functions_3_2_;
  const std::shared_ptr<void> keep_alive_;  // goes last
  DeviceLink link_;
  SessionPool pool_;
  WrappingKeys wrapping_;
  TemplateTolerance tolerance_;
  std::array<std::atomic<Keeping>, kKeyKinds> keeping_{};
  const std::string record_path_;
  std::atomic<bool> learnt_{false};  // what follows is known, and does not change any more
  MechanismMap mechanisms_;
  Capabilities capabilities_;
  QuirkSet quirks_;
  mutable std::mutex owner_mutex_;
  std::string owner_ = "cmkd";
  std::mutex leftovers_mutex_;
  std::vector<Leftover> leftovers_;
  std::atomic<bool> has_leftovers_{false};
  KeyCache cache_;  // goes first: it destroys objects through the link
};

// A lease as the backend sees it: a session of the pool and the keys pinned for it. Used by one thread at a time.
class Pkcs11Backend::Session final : public Backend::Lease {
 public:
  Session(Pkcs11Backend& backend, PooledSession session) : backend_(backend), session_(session) {}
  ~Session() override { backend_.pool_.GiveBack(session_, broken_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  CK_SESSION_HANDLE session() const override { return session_.handle; }
  CK_FUNCTION_LIST_PTR functions() const override { return backend_.functions(); }
  Fallible<CK_OBJECT_HANDLE> Load(const KeyName& name, const KeyMaterial& key) override;
  void Break() override { broken_ = true; }

  std::uint64_t generation() const { return session_.generation; }
  // Why the last Load failed, for whoever only has its return value; nullptr when it did not.
  const Error* load_error() const { return load_error_ ? &*load_error_ : nullptr; }
  // The device has lost the keys of this lease; others must not find them in the cache.
  void ForgetPinned();

 private:
  Pkcs11Backend& backend_;
  PooledSession session_;
  std::vector<KeyCache::Pin> pins_;
  std::optional<Error> load_error_;
  bool broken_ = false;
};

}  // namespace cmkd::daemon
