// Root key and store, made and opened together.
#include "daemon/startup/open_store.h"

#include "daemon/crypto/digest.h"
#include "daemon/crypto/random.h"
#include "daemon/startup/root_key.h"
#include "keystore/store/lmdb_store.h"

namespace cmkd::daemon {

namespace {

OpenedStore MakeSealers(const SecretBytes& root) {
  OpenedStore opened;
  opened.store_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealStore);
  opened.ticket_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealTicket);
  opened.object_sealer = std::make_unique<AesGcmSealer>(root.view(), kSealSessionObject);
  opened.rejection_key = DeriveKey(root.view(), "cmkd rsa rejection");
  return opened;
}

std::string Sentence(const store::StoreError& error) {
  return "store: " + std::string(store::Name(error.kind)) + ": " + error.sentence;
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
                                           std::uint64_t known_generation) {
  const std::string path = state_directory + "/store";
  const RootKeyState state = FindRootKey(state_directory);
  const bool exists = store::LmdbStoreExists(path);
  ASSIGN_OR_RETURN(const SecretBytes root, FindOrMakeRoot(state_directory, home, state, exists));
  OpenedStore opened = MakeSealers(root);
  store::LmdbOptions options;
  // A store that is made now is not the one of which an older audit log speaks.
  if (exists) options.minimum_generation = known_generation;
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
  if (state != RootKeyState::kReady) RETURN_IF_ERROR(ConfirmRootKey(state_directory));
  return opened;
}

}  // namespace cmkd::daemon
