// The custodian makes every change of the store: it reads, decides (keystore/cmk), writes in one named transaction, and
// then carries out the effect in the HSM. When a function here returns success, the change is durable.
//
// All functions are safe from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "daemon/custody/backends.h"
#include "daemon/custody/makers.h"
#include "daemon/custody/records.h"
#include "daemon/custody/time_keeper.h"
#include "keystore/cmk/lifecycle.h"
#include "keystore/store/store.h"
#include "pkcs11/spec/key_role.h"
#include "pkcs11/spec/otp.h"

namespace cmkd::daemon {

enum class Pin : std::uint8_t { kSo, kUser };

// Objects that come to be together: a data object, a certificate, a public key; or the one or two objects of a key with
// its CMK record (`key.id` is given here, when the objects are made).
struct NewObjects {
  std::vector<spec::Attributes> objects;
  std::optional<cmk::Cmk> key;
};

// Names a client's request, so that it does not happen twice when its answer was lost: empty when it may.
struct RequestName {
  Bytes tag;
  Bytes body_digest;
  std::vector<cmk::ObjectSerial> makes{};  // what is answered, when that is known before
  // Everything is decided and nothing is done: what comes back is the key as it would be.
  bool dry_run = false;
};

// What an operator may set of a token; what is absent stays.
struct TokenSettings {
  std::optional<Duration> deletion_window;
  std::optional<Duration> version_quiet;
  std::optional<bool> disable_first;
};

class Custodian {
 public:
  Custodian(store::Store& store, Records& records, Backends& backends, const TimeKeeper& clock,
            const struct TokensConfig& config)
      : store_(store), records_(records), backends_(backends), clock_(clock), config_(config) {}

  // ---- Tokens

  // A token without PINs on the next free slot, for an operator; C_InitToken completes it.
  Fallible<store::TokenRecord> ReserveToken(const std::string& label, cmk::TokenProfile profile, const std::string& hsm,
                                            const RequestName& request = {});
  // Refusals: kWindowOutOfBounds, kQuietTimeOutOfBounds.
  Fallible<store::TokenRecord> SetToken(const cmk::TokenId& id, const TokenSettings& settings,
                                        const RequestName& request = {});
  // C_InitToken: gives the token of `slot` its label and SO PIN, and makes it first when the slot is the free one. An
  // initialised token loses its objects (CKR_TOKEN_WRITE_PROTECTED while a managed one has a CMK that is not
  // destroyed).
  Status InitToken(CK_SLOT_ID slot, const std::string& label, Bytes so_verifier);
  // A new PIN; every login made with the old one ends.
  Status SetPin(const cmk::TokenId& token, Pin pin, Bytes verifier);
  // Counts a wrong PIN, or forgets the count after a right one. Durable before it returns.
  Status CountFailure(const cmk::TokenId& token, Pin pin);
  Status ForgetFailures(const cmk::TokenId& token, Pin pin);

  // An application wanted a key that waits for its deletion. Noted; PutOffWanted does what policy says about it.
  void NoteWanted(const cmk::CmkId& id);
  // The keys whose deletion was put off because they were wanted.
  std::vector<cmk::Cmk> PutOffWanted();

  // ---- Wrapping keys (epochs.cc)

  // Token keys are wrapped under the epoch's key; session objects, which no store holds, under one that stays.
  enum class Keep : std::uint8_t { kToken, kSession };
  // The wrapping key for material that is about to be made. To be held until the material is in the store, or given
  // up: its epoch does not end before.
  struct Under {
    WrappingKey key;
    Makers::Hold hold;
    operator const WrappingKey&() const { return key; }  // NOLINT: it is one, with a hold on it
  };
  Fallible<Under> WrappingKeyFor(const cmk::TokenId& token, Keep keep);

  // Expires when everybody who is making a key now has written its record, or given up.
  Makers::Mark MarkMakers() { return makers_.MarkNow(); }

  // Begins a new epoch; the steps carry it through. False when one is under way already.
  Fallible<bool> BeginEpoch(const cmk::TokenId& token);
  // One bounded step of a new epoch, if one is under way or due. Safe to interrupt anywhere and to repeat.
  enum class EpochStep : std::uint8_t {
    kNothing,  // there is nothing to do
    kBegun,    // a new epoch that was due has begun
    kWorked,   // there is more to do
    kWaits,    // for those who were making keys, or for the grace time: look again soon
    kDone,     // the old wrapping key is destroyed, verified gone
  };
  Fallible<EpochStep> StepEpoch(const cmk::TokenId& token);
  struct EpochProgress {
    std::uint32_t current = 0;
    bool in_progress = false;
    std::size_t rewrapped = 0;    // by this daemon since it started
    std::size_t left_behind = 0;  // that the device would not wrap again: the old wrapping key stays for them
    std::string waits_for;        // where an old wrapping key may still be, so that deletions are not final yet
  };
  EpochProgress ProgressOf(const store::TokenRecord& token) const;

  // ---- Mirrors (mirrors.cc)

  // A token's HSMs one by one, looked at now. Empty when it is not mirrored.
  Fallible<std::vector<MirrorSet::Seen>> LookAtMirrors(const cmk::TokenId& token);
  // The fingerprint of the key by which this HSM of the configuration is to be known to the token; made when it is not
  // there.
  Fallible<Digest> TransportFingerprint(const cmk::TokenId& token, const std::string& hsm);
  // This HSM holds the token's wrapping keys from now on, as soon as a new epoch has brought them there.
  // CKR_ARGUMENTS_BAD when the fingerprint is not the one that it shows; CKR_ACTION_PROHIBITED while keys reside in the
  // token's HSM, for they cannot be copied.
  Status AddMirror(const cmk::TokenId& token, const std::string& hsm, const Digest& fingerprint);
  // It holds them no longer; they are destroyed there. `lost`: it is gone for good, and that nothing can be read from
  // it is the operator's word. CKR_ACTION_PROHIBITED when no other HSM is in step.
  Status RemoveMirror(const cmk::TokenId& token, const std::string& hsm, bool lost);
  // Looks, if it is time or `now`, and begins a new epoch when an HSM lags and nothing is under way: true.
  Fallible<bool> LookAfterMirrors(const cmk::TokenId& token, bool now = false);

  // Whether something has changed since the last question that must not be undone by an old copy of the store.
  bool TakeUrgent() { return urgent_.exchange(false); }

  // ---- Objects

  // Gives each object its handle (and key and unique id) and stores them. With a request name that was seen before: the
  // handles of what that request made. What it does not take is destroyed in the HSM, unless it lived there before.
  Fallible<std::vector<CK_OBJECT_HANDLE>> Add(const cmk::TokenId& token, NewObjects objects,
                                              const RequestName& request);
  // The same for several keys: all of them or none. In *refused, on failure, which of them cannot be there, if it is
  // for one.
  Fallible<std::vector<CK_OBJECT_HANDLE>> AddAll(const cmk::TokenId& token, std::vector<NewObjects> all,
                                                 const RequestName& request, std::optional<std::size_t>* refused);
  // Replaces the attributes of a token object; a new CKA_LABEL of a key's secret or private object renames its CMK.
  Status Update(const Object& object, const spec::Attributes& attributes);
  // Decides the role of a key that is undecided, with the other half of its pair. A session key is named by
  // `session_name`: that it wraps is remembered for as long as a request is, so that an application which brings it
  // back after a restart cannot bring back that it was undecided. The role it has from now on.
  Fallible<spec::KeyRole> DecideRole(const Object& key, ByteView session_name, spec::KeyRole wanted);
  // Takes a counter of a one-time password key on the token (spec::TakeOtpCounter). Durable before it is told: who is
  // killed in between skips one, and no two calls ever get the same.
  Fallible<std::uint64_t> TakeOtpCounter(const Object& key, const spec::OtpRequest& request);
  // C_DestroyObject of a token object. A managed CMK is scheduled for deletion; everything else goes at once.
  Status Destroy(const Object& object);

  // ---- CMKs

  // The events of the lifecycle table that need no material. With a request name that was seen before: the key as it
  // is now, and nothing is done; CKR_ARGUMENTS_BAD when it named another request.
  Fallible<cmk::Cmk> Change(const cmk::CmkId& id, const cmk::Request& request, const RequestName& name = {});
  // Makes version n+1 in the HSM, verifies it, and makes it current. Secret keys whose versions can be found again.
  Fallible<cmk::Cmk> Rotate(const cmk::CmkId& id, const RequestName& name = {}) {
    return RotateBy(cmk::CmkEvent::kRotate, id, name);
  }
  // A secret key of a fixed version: a new key takes its name and objects' label, the old one is archived as name@vN
  // and keeps its id. Gives the new key.
  Fallible<cmk::Cmk> RotateByLabel(const cmk::CmkId& id, const RequestName& name = {});
  // A key pair: a new version with objects of its own, which take the label; the older objects are called name@vN, keep
  // their CKA_ID, and sign on for `overlap`.
  Fallible<cmk::Cmk> RotatePair(const cmk::CmkId& id, Duration overlap, const RequestName& name = {});
  // An operator's event on one version. Destroying one asks that it was not used for the token's quiet time.
  Fallible<cmk::Cmk> ChangeVersion(const cmk::CmkId& id, cmk::KeyVersionNumber number, cmk::VersionEvent event,
                                   const RequestName& name = {});
  // Destroys a key without the waiting period, on whose authority the caller knows; then a new epoch begins. The key
  // must be out of use: Disabled, or scheduled for deletion. Refusals: kDisableFirst, kDeletionProtected,
  // kServiceOwned.
  Fallible<cmk::Cmk> DestroyNow(const cmk::CmkId& id);
  // Whether DestroyNow would do it.
  Status CheckDestroyNow(const cmk::Cmk& key) const;
  // Any other change of a record, in one transaction named `label`: `edit` changes it or says why not.
  using KeyEdit = std::function<Status(cmk::Cmk&, const store::TokenRecord&)>;
  Fallible<cmk::Cmk> Edit(const char* label, const cmk::CmkId& id, const KeyEdit& edit, const RequestName& name = {});

  // The alias leads to this key from now on, and to no other of its token: one transaction.
  Fallible<cmk::Cmk> MoveAlias(const cmk::CmkId& id, const std::string& alias, const RequestName& name = {});

  // What time brings for this key, if anything is due: done, with the effect that it had.
  struct Ticked {
    cmk::Cmk key;
    cmk::Effect effect = cmk::Effect::kNone;
  };
  Fallible<Ticked> Tick(const cmk::CmkId& id);

  // The bounds of a token's keys, with what the token itself says: the bounds profile's where it says nothing.
  static cmk::Bounds BoundsOf(const store::TokenRecord& token);

 private:
  using Txn = std::unique_ptr<store::WriteTxn>;

  Fallible<store::TokenRecord> MakeToken(store::WriteTxn& txn, cmk::TokenProfile profile, const std::string& hsm);
  Status WipeToken(store::WriteTxn& txn, const store::TokenRecord& token, std::vector<cmk::Cmk>& destroyed);
  Status EditToken(const char* label, const cmk::TokenId& id, const std::function<void(store::TokenRecord&)>& edit);

  Fallible<std::vector<CK_OBJECT_HANDLE>> AddOnce(const cmk::TokenId& token, std::vector<NewObjects> all,
                                                  const RequestName& request, std::optional<std::size_t>* refused,
                                                  bool& in_doubt, bool& repeated);

  // Where the carrying through of an epoch is. What must outlive the daemon is in the token's record.
  struct EpochRun {
    cmk::CmkId cursor;
    Makers::Mark earlier_makers;
    bool pass_is_last = false;
    std::size_t found_in_pass = 0;
    std::size_t left_behind = 0;
    std::size_t rewrapped = 0;
    std::optional<std::chrono::nanoseconds> condemned_at;
    std::string waits_for;
  };
  // What is remembered of a token's mirrors between two looks.
  struct MirrorWatch {
    std::optional<std::chrono::nanoseconds> looked_after_at;
    std::optional<std::chrono::nanoseconds> caught_up_at;  // when an epoch was last begun for one that lagged
    std::chrono::nanoseconds patience{0};                  // until the next one
    std::map<std::string, MirrorState> states;
  };
  Status EnsureWrappingKey(const cmk::TokenId& id);
  Status EnsureSessionKey(const cmk::TokenId& id);
  Status PlanPending(const cmk::TokenId& id);
  // Makes the wrapping key of the pending epoch; the epoch that has it.
  Fallible<store::WrappingEpoch> MakeKeyOfPending(const cmk::TokenId& id);
  Status MakePending(const cmk::TokenId& id);
  Fallible<EpochStep> RewrapSome(const store::TokenRecord& token);
  Fallible<EpochStep> DestroyCondemned(const store::TokenRecord& token);
  // Material that is kept must be wrapped under a key that the store still counts on.
  static Status CheckEpoch(const store::TokenRecord& token, const cmk::Material& material);
  // Material of this token was destroyed: a new epoch will make that final.
  void NoteDestroyed(store::TokenRecord& token) const;
  Status NoteDestroyed(store::WriteTxn& txn, store::TokenRecord& token) const;
  // Takes a key out of the HSM's cache, and destroys what is resident there: verified gone, or an error.
  Status DropMaterial(const cmk::TokenId& token, const cmk::Cmk& key, bool destroy);
  Fallible<cmk::Cmk> RotateBy(cmk::CmkEvent event, const cmk::CmkId& id, const RequestName& name);
  // The objects of a key.
  Fallible<std::vector<ObjectPtr>> ObjectsOf(const store::ReadTxn& txn, const cmk::Cmk& key) const;
  // Destroys the material of destroyed versions and forgets it.
  Fallible<cmk::Cmk> FinishCondemned(const cmk::CmkId& id);
  Status DestroyObject(const Object& object);
  // The record as it is when the destruction has begun.
  Fallible<cmk::Cmk> BegunToDestroy(const cmk::Cmk& key, const store::TokenRecord& token) const;
  Fallible<spec::KeyRole> DecideSessionRole(ByteView name, spec::KeyRole wanted);
  Status VerifyNewVersion(Backend& backend, const cmk::Cmk& key, const Object& object, const cmk::Material& material);

  store::Store& store_;
  Records& records_;
  Backends& backends_;
  const TimeKeeper& clock_;
  const struct TokensConfig& config_;

  std::mutex wanted_mutex_;
  std::set<cmk::CmkId> wanted_;
  std::atomic<bool> urgent_{false};
  Makers makers_;
  mutable std::mutex epochs_mutex_;  // one step at a time; held across calls of the HSM
  std::map<cmk::TokenId, EpochRun> epoch_runs_;
  std::map<cmk::TokenId, Bytes> untried_;  // pending epochs whose key no device was asked for yet
  std::mutex mirrors_mutex_;               // one look at a time; held across calls of the HSMs
  std::map<cmk::TokenId, MirrorWatch> mirror_watches_;
};

// The wrapping key under which a token's new material goes; WrappingKeyFor for whoever makes some.
Fallible<WrappingKey> CurrentWrappingKey(const store::TokenRecord& token);
// The name of a CMK's version in the HSM's key cache.
KeyName NameOf(const cmk::CmkId& id, cmk::KeyVersionNumber version);

}  // namespace cmkd::daemon
