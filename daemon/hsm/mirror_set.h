// MirrorSet: the devices of a mirrored token as one Backend. What lies in the store opens in each of them, because each
// holds the same wrapping keys; so nothing but wrapping keys is ever copied, a use goes to the first device that can do
// it, and one that was away lacks only the wrapping keys that were made meanwhile.
//
// A wrapping key is made in one device and carried to the others under their transport keys (Backend::MakeCarried), so
// its value is never outside a device. Every device must hold the transport key that an operator enrolled: another
// device behind the same name gets nothing.
//
// All functions are safe from any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>

#include "common/time.h"
#include "daemon/crypto/digest.h"
#include "daemon/hsm/backend.h"
#include "daemon/hsm/mirror_state.h"

namespace cmkd::daemon {

// SHA-256 of the transport key as SubjectPublicKeyInfo: what an operator compares.
Digest FingerprintOf(const spec::Attributes& transport_key);

struct MirrorMember {
  std::string name;
  Backend* backend = nullptr;  // nullptr: the configuration has no such device (any more), so it is away
  Digest fingerprint{};
};

class MirrorSet final : public Backend {
 public:
  // Members in the order in which they are asked; at least one has a backend. `transport_id`: CKA_ID of their transport
  // keys. The backends must outlive the set.
  MirrorSet(std::vector<MirrorMember> members, Bytes transport_id);

  // ---- The devices one by one

  struct Seen {
    std::string name;
    MirrorState state = MirrorState::kUnseen;
    MirrorFacts facts;
    std::optional<Timestamp> away_since;
    std::string trouble;             // what it said last when it would not do what the others did; empty when nothing
    std::vector<std::string> lacks;  // of the mechanisms of the others
  };
  // Looks at every device: whether it is the one that was enrolled, and which of these wrapping keys it has.
  std::vector<Seen> Look(const std::vector<Bytes>& needed, const std::vector<Bytes>& condemned, Timestamp now);
  // Whether a device has come, gone or been in trouble since the last look.
  bool WantsLook() const;
  // Whether each device that could receive a wrapping key has this one.
  bool AllHold(ByteView reference);

  // ---- Backend

  const std::string& name() const override { return name_; }
  bool software() const override;
  bool available() const override;
  // What all of those have that have been there.
  const CK_MECHANISM_INFO* FindMechanism(CK_MECHANISM_TYPE type) const override;
  Fallible<std::unique_ptr<Lease>> Acquire() override;
  Status Run(const Work& work) override;
  Fallible<std::unique_ptr<Lease>> Begin(const Work& work) override;

  using Backend::MakeWrappingKey;
  // In every device that is there and known; those that do not get it lag from then on. Devices are seen to hold the
  // same key. Errors: when no device has it.
  Status MakeWrappingKey(const WrappingKey& planned) override;
  // In every device; CKR_DEVICE_ERROR with kHsmUnavailable, naming those that are away, when it may be left somewhere.
  Status DestroyWrappingKey(const WrappingKey& key) override;

  // Making keys: in the first device that does; the others are then seen to open it, those that are there.
  // CKR_FUNCTION_FAILED with kHsmRefused when one does not, or when the key would reside in one device only.
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

  void Forget(const KeyName& name) override;
  Status DestroyMaterial(const cmk::Material& material) override;

  void SetOwner(const std::string& words) override;
  // Of the first device that answers: what lies in a device is looked at device by device.
  Fallible<std::vector<DeviceObject>> ListObjects() override;
  Fallible<spec::Attributes> ReadObject(const DeviceObject& object, std::span<const CK_ATTRIBUTE_TYPE> types) override;
  Status DestroyObject(const DeviceObject& object) override;
  // Of all devices that are there; replaced in all of them.
  Fallible<std::vector<Bytes>> ReadNotes(std::string_view name) override;
  Status ReplaceNote(std::string_view name, ByteView value) override;

  Fallible<spec::Attributes> TransportKey(ByteView id, bool make) override;
  Fallible<std::vector<Bytes>> MakeCarried(std::span<const spec::Attributes> recipients,
                                           CK_MECHANISM_TYPE hash) override;
  Status ReceiveCarried(const WrappingKey& planned, ByteView transport_id, ByteView carried,
                        CK_MECHANISM_TYPE hash) override;
  // Whether all have it.
  Fallible<bool> HasWrappingKey(ByteView reference) override;
  Status Opens(const KeyMaterial& key) override;
  Status FillRandom(MutableBytes out) override;
  bool IsWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const override;

 private:
  struct Slot {
    MirrorMember member;
    std::atomic<MirrorState> state{MirrorState::kUnseen};
    std::atomic<bool> troubled{false};
    std::mutex mutex;  // the members below
    std::optional<Timestamp> away_since;
    std::string trouble;

    bool there() const { return member.backend != nullptr && member.backend->available(); }
    void Note(const Error& error);
  };
  // One that gets a wrapping key, and under what.
  struct Recipient {
    Slot* slot;
    spec::Attributes transport_key;
  };

  // Trouble of the device rather than an answer about the call: another device may do better.
  static bool IsTrouble(const Error& error);
  static Failure<Error> NoneServes();

  // ---- mirror_set.cc: one after the other
  // The devices in the order in which they are to be tried: those that serve, the ones that answer first.
  std::vector<Slot*> InOrder() const;
  // `work` (Backend& → Fallible) on one after the other, until one answers that is not in trouble of its own.
  template <class Do>
  auto Each(Do work) -> decltype(work(std::declval<Backend&>()));
  // The same for work that makes material of this kind.
  template <class Do>
  auto MakeOnOne(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const WrappingKey& under, Do make)
      -> decltype(make(std::declval<Backend&>()));
  Status SeenByOthers(Backend& maker, const KeyMaterial& key);
  // ---- mirror_domain.cc: wrapping keys in all of them
  // Whether the device is the one that was enrolled, and its transport key.
  Fallible<spec::Attributes> Recognise(Slot& slot);
  std::vector<Recipient> Recipients();
  Status Carry(const WrappingKey& planned, Slot& maker, const std::vector<Recipient>& recipients,
               CK_MECHANISM_TYPE hash);
  // A key is made in the first of them that wraps under `planned`; those that open it to the same key hold the same.
  Status Compare(const WrappingKey& planned, std::vector<Slot*>& holders);
  MirrorFacts FactsOf(Slot& slot, const std::vector<Bytes>& needed, const std::vector<Bytes>& condemned);

  std::string name_;
  const Bytes transport_id_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace cmkd::daemon
