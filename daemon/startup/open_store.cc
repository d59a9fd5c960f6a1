// Root key and store, made and opened together.
#include "daemon/startup/open_store.h"

#include <algorithm>
#include <utility>

#include "daemon/crypto/digest.h"
#include "daemon/crypto/random.h"
#include "daemon/startup/root_key.h"
#include "daemon/system/log.h"
#include "keystore/store/lmdb_store.h"

namespace cmkd::daemon {

namespace {

// The store that is given up may have gone on for some commits behind what was remembered of it.
constexpr std::uint64_t kGenerationLeap = 1'000'000;

OpenedStore MakeSealers(const SecretBytes& root, Backend& notes) {
  OpenedStore opened;
  opened.anchor =
      std::make_unique<Anchor>(notes, "cmkd anchor " + Hex(DeriveKey(root.view(), "cmkd anchor name").view().first(8)));
  opened.store_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealStore);
  opened.ticket_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealTicket);
  opened.object_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealSessionObject);
  opened.rejection_key = DeriveKey(root.view(), "cmkd rsa rejection");
  return opened;
}

std::string Sentence(const store::StoreError& error) {
  std::string sentence = "store: " + std::string(store::Name(error.kind)) + ": " + error.sentence;
  if (error.kind == store::StoreErrorKind::kTooOld)
    sentence += ". If it is a backup that you restore on purpose, start the daemon once with --accept-older-store";
  return sentence;
}

Result<void, std::string> RaiseGeneration(store::Store& store, std::uint64_t above) {
  LogWarning("an older store was accepted: generation " + std::to_string(store.Generation()) +
             ", seen before: " + std::to_string(above));
  auto txn = store.BeginWrite("store.accept-older");
  if (!txn.ok()) return Failure{Sentence(txn.error())};
  auto done = (*txn)->RaiseGeneration(above + kGenerationLeap);
  if (done.ok()) done = (*txn)->Commit();
  if (!done.ok()) return Failure{Sentence(done.error())};
  return {};
}

// The order of a first start: root key pending, store, root key ready. Whatever was interrupted is finished from there.
Result<SecretBytes, std::string> FindOrMakeRoot(const std::string& directory, Backend& home, RootKeyState state,
                                                bool store_exists) {
  if (state == RootKeyState::kReady && !store_exists) {
    return Failure{"the root key is in " + directory +
                   ", but the store is gone: restore it from a backup, or start with an empty directory"};
  }
  if (state == RootKeyState::kNone && store_exists) {
    return Failure{"there is a store in " + directory +
                   " without its root key: it is foreign or its root.key was lost"};
  }
  // A pending key whose store was never made opens nothing: it is made anew.
  if (state == RootKeyState::kNone || (state == RootKeyState::kPending && !store_exists))
    return MakeRootKey(directory, home);
  return LoadRootKey(directory, home, state);
}

}  // namespace

Result<OpenedStore, std::string> OpenStore(const std::string& state_directory, Backend& home, const Clock& clock,
                                           std::uint64_t known_generation, OlderStore older, StoreChecked checked,
                                           Backend* notes) {
  const std::string path = state_directory + "/store";
  const RootKeyState state = FindRootKey(state_directory);
  const bool exists = store::LmdbStoreExists(path);
  ASSIGN_OR_RETURN(const SecretBytes root, FindOrMakeRoot(state_directory, home, state, exists));
  OpenedStore opened = MakeSealers(root, notes == nullptr ? home : *notes);
  store::LmdbOptions options;
  options.check = store::OpenCheck::kBackground;
  options.on_background_check = [checked = std::move(checked)](const store::StoreResult<void>& result) {
    if (checked) checked(result.ok() ? std::nullopt : std::optional(Sentence(result.error())));
  };
  std::uint64_t seen = 0;
  // A store that is made now is not the one of which an older audit log speaks.
  if (exists) {
    const auto noted = opened.anchor->Read();
    if (!noted.ok()) LogWarning("HSM \"" + home.name() + "\" does not show its notes: " + noted.error().why);
    seen = std::max(known_generation, noted.ok() ? *noted : 0);
  }
  if (older == OlderStore::kRefused) options.minimum_generation = seen;
  if (!exists) {
    store::StoreId id;
    id.bytes = RandomId();
    const auto created = store::CreateLmdbStore(path, *opened.store_sealer, id, clock.Now());
    if (!created.ok()) return Failure{Sentence(created.error())};
    options.expected_id = id;
  }
  auto store = store::OpenLmdbStore(path, *opened.store_sealer, options);
  if (!store.ok()) return Failure{Sentence(store.error())};
  opened.store = std::move(*store);
  if (opened.store->Generation() < seen) RETURN_IF_ERROR(RaiseGeneration(*opened.store, seen));
  if (state != RootKeyState::kReady) RETURN_IF_ERROR(ConfirmRootKey(state_directory));
  return opened;
}

}  // namespace cmkd::daemon
