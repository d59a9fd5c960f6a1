// What the store's tests share: a sealer without a crypto library, records at random, a place on disk, and the kinds of
// store that must behave alike.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

#include "keystore/store/fault_store.h"
#include "keystore/store/lmdb_store.h"
#include "keystore/store/memory_store.h"
#include "keystore/store/records.h"
#include "keystore/store/seal.h"
#include "keystore/store/store.h"

namespace cmkd::store {

inline constexpr Timestamp kTestDay{1'800'000'000};

// Behaves like an AEAD and a keyed code for everybody who does not try to break it.
class FakeSealer : public Sealer {
 public:
  explicit FakeSealer(std::uint64_t key = 0x5eedcafe) : key_(key) {}
  Result<Bytes, SealError> Seal(ByteView associated, ByteView plain) const override;
  Result<Bytes, SealError> Open(ByteView associated, ByteView sealed) const override;
  KeyedTag Tag(ByteView message) const override;
  // While set, Seal and Open say kUnavailable.
  void set_unavailable(bool unavailable) { unavailable_ = unavailable; }

 private:
  KeyedTag Mac(std::uint64_t domain, ByteView first, ByteView second) const;
  std::uint64_t key_;
  mutable std::atomic<std::uint64_t> nonce_{0};
  bool unavailable_ = false;
};

// A directory of its own below the system's place for temporary files, removed with everything in it.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }
  std::string Join(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

using Random = std::mt19937_64;
// Between 0 and `bound` - 1.
inline std::uint64_t Below(Random& random, std::uint64_t bound) { return random() % bound; }
Bytes RandomBytes(Random& random, std::size_t bytes_max);
template <class Id>
Id RandomId(Random& random) {
  Id id;
  for (std::uint8_t& byte : id.bytes) byte = static_cast<std::uint8_t>(random());
  return id;
}
// An id that depends on `number` only.
template <class Id>
Id IdOf(std::uint64_t number) {
  Random random(number + 1);
  return RandomId<Id>(random);
}
TokenRecord RandomToken(Random& random);
ObjectRecord RandomObject(Random& random);
cmk::Cmk RandomCmk(Random& random);
std::vector<cmk::ClientUse> RandomClients(Random& random);
RequestRecord RandomRequest(Random& random);

// Small records for tests that look at one thing.
// A record of time that has only its highest.
inline cmk::TimeRecord TimeAt(Timestamp highest) {
  cmk::TimeRecord time;
  time.highest = highest;
  return time;
}
TokenRecord SomeToken(std::uint64_t number);
ObjectRecord SomeObject(const cmk::TokenId& token, std::vector<Term> terms);
cmk::Cmk SomeCmk(std::uint64_t number, const cmk::TokenId& token, const std::string& name);

enum class StoreKind { kLmdb, kMemory, kFault };
const char* Name(StoreKind kind);

// A store of any kind; reopening keeps what was committed (memory keeps it by staying).
class StoreUnderTest {
 public:
  explicit StoreUnderTest(StoreKind kind);
  Store& operator*() { return *store_; }
  Store* operator->() { return store_; }
  void Reopen();
  std::string lmdb_path() const { return dir_.Join("store"); }
  FaultStore& faults() { return *fault_; }

 private:
  void Open();

  StoreKind kind_;
  TempDir dir_;
  FakeSealer sealer_;
  std::unique_ptr<Store> owned_;
  std::unique_ptr<FaultStore> fault_;
  Store* store_ = nullptr;
};

// Small enough that a test notices a store which does not grow, or whose totals are not divided.
LmdbOptions TestOptions();

// A value, or the end of the test with the store's sentence.
template <class T>
T Must(StoreResult<T> result) {
  if (!result.ok()) throw std::runtime_error(std::string(Name(result.error().kind)) + ": " + result.error().sentence);
  return std::move(*result);
}
inline void MustDo(StoreResult<void> result) {
  if (!result.ok()) throw std::runtime_error(std::string(Name(result.error().kind)) + ": " + result.error().sentence);
}

}  // namespace cmkd::store
