// Fakes and random records for the store's tests.
#include "tests/keystore/store_testing.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace cmkd::store {
namespace {

// The finalizer of a well-known mixing function: good enough to scatter, no more.
std::uint64_t Mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::uint64_t Absorb(std::uint64_t state, ByteView bytes) {
  state = Mix(state ^ bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    state = Mix(state + word + 0x9e3779b97f4a7c15);
  }
  return state;
}

constexpr std::size_t kNonceBytes = 8;

void XorStream(std::uint64_t seed, MutableBytes bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at)
    bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (Mix(seed + at / 8) >> (8 * (at % 8))));
}

std::uint64_t RandomBase() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

Sealer::KeyedTag FakeSealer::Mac(std::uint64_t domain, ByteView first, ByteView second) const {
  const std::uint64_t left = Absorb(Absorb(key_ ^ domain, first), second);
  const std::uint64_t right = Absorb(Absorb(Mix(key_ + domain), first), second);
  KeyedTag tag;
  std::memcpy(tag.data(), &left, 8);
  std::memcpy(tag.data() + 8, &right, 8);
  return tag;
}

Result<Bytes, SealError> FakeSealer::Seal(ByteView associated, ByteView plain) const {
  if (unavailable_) return Failure{SealError::kUnavailable};
  static const std::uint64_t base = RandomBase();
  const std::uint64_t nonce = base + static_cast<std::uint64_t>(::getpid()) * 0x1000000 + ++nonce_;
  Bytes sealed(kNonceBytes + plain.size());
  std::memcpy(sealed.data(), &nonce, kNonceBytes);
  std::copy(plain.begin(), plain.end(), sealed.begin() + kNonceBytes);
  XorStream(Mix(nonce ^ key_), MutableBytes(sealed).subspan(kNonceBytes));
  const KeyedTag tag = Mac(1, associated, sealed);
  sealed.insert(sealed.end(), tag.begin(), tag.end());
  return sealed;
}

Result<Bytes, SealError> FakeSealer::Open(ByteView associated, ByteView sealed) const {
  if (unavailable_) return Failure{SealError::kUnavailable};
  if (sealed.size() < kNonceBytes + kTagBytes) return Failure{SealError::kDamaged};
  const ByteView body = sealed.first(sealed.size() - kTagBytes);
  if (!ConstantTimeEqual(Mac(1, associated, body), sealed.last(kTagBytes))) return Failure{SealError::kDamaged};
  std::uint64_t nonce = 0;
  std::memcpy(&nonce, body.data(), kNonceBytes);
  Bytes plain = ToBytes(body.subspan(kNonceBytes));
  XorStream(Mix(nonce ^ key_), plain);
  return plain;
}

Sealer::KeyedTag FakeSealer::Tag(ByteView message) const { return Mac(2, message, {}); }

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "cmkd-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary directory");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Bytes RandomBytes(Random& random, std::size_t bytes_max) {
  Bytes bytes(Below(random, bytes_max + 1));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

namespace {

std::string RandomText(Random& random, std::size_t bytes_max) {
  return std::string(AsText(RandomBytes(random, bytes_max)));
}
Timestamp RandomTime(Random& random) { return {static_cast<std::int64_t>(random())}; }
std::optional<Timestamp> MaybeTime(Random& random) {
  return Below(random, 2) != 0 ? std::optional(RandomTime(random)) : std::nullopt;
}
template <class Enum>
Enum RandomEnum(Random& random, Enum first, Enum last) {
  const auto low = static_cast<std::uint64_t>(first);
  return static_cast<Enum>(low + Below(random, static_cast<std::uint64_t>(last) - low + 1));
}
PinRecord RandomPin(Random& random) {
  return {RandomBytes(random, 100), static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random()),
          RandomTime(random)};
}

}  // namespace

TokenRecord RandomToken(Random& random) {
  TokenRecord token;
  token.id = RandomId<cmk::TokenId>(random);
  token.slot = random();
  token.label = RandomText(random, TokenRecord::kLabelBytesMax);
  token.serial = RandomText(random, TokenRecord::kSerialBytesMax);
  token.profile = RandomEnum(random, cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral);
  token.bounds = RandomEnum(random, cmk::BoundsProfile::kDefault, cmk::BoundsProfile::kAws);
  token.hsm = RandomText(random, 40);
  token.so_pin = RandomPin(random);
  token.user_pin = RandomPin(random);
  token.flags = static_cast<std::uint32_t>(random());
  token.created = RandomTime(random);
  for (std::uint64_t i = Below(random, 4); i > 0; --i) {
    token.epochs.push_back(
        {token.next_epoch, RandomBytes(random, 40), RandomEnum(random, EpochState::kPending, EpochState::kDestroyed)});
    token.next_epoch += 1 + static_cast<std::uint32_t>(Below(random, 3));
  }
  if (Below(random, 2) != 0) token.deletion_window = Seconds(static_cast<std::int64_t>(Below(random, 1 << 30)));
  if (Below(random, 2) != 0) token.version_quiet = Seconds(static_cast<std::int64_t>(Below(random, 1 << 30)));
  if (Below(random, 2) != 0) token.disable_first = Below(random, 2) != 0;
  for (std::uint64_t i = Below(random, 4); i > 0; --i)
    token.mirrors.push_back({RandomText(random, 40), RandomBytes(random, 32)});
  return token;
}

ObjectRecord RandomObject(Random& random) {
  ObjectRecord object;
  object.serial = {1 + Below(random, 1'000'000)};
  object.token = RandomId<cmk::TokenId>(random);
  if (Below(random, 2) != 0) object.cmk = RandomId<cmk::CmkId>(random);
  if (Below(random, 2) != 0) object.version = cmk::KeyVersionNumber{static_cast<std::uint32_t>(random())};
  object.is_private = Below(random, 2) != 0;
  for (std::uint64_t i = Below(random, 8); i > 0; --i)
    object.attributes.push_back({random(), RandomBytes(random, 300)});
  for (std::uint64_t i = Below(random, 5); i > 0; --i)
    object.terms.push_back({static_cast<std::uint32_t>(Below(random, 100)), RandomBytes(random, 40)});
  return object;
}

namespace {

cmk::Material RandomMaterial(Random& random) {
  return {RandomEnum(random, cmk::Material::Kind::kNone, cmk::Material::Kind::kResident),
          static_cast<std::uint32_t>(random()), RandomBytes(random, 200), RandomBytes(random, 200)};
}

}  // namespace

cmk::Cmk RandomCmk(Random& random) {
  cmk::Cmk cmk;
  cmk.id = RandomId<cmk::CmkId>(random);
  cmk.token = RandomId<cmk::TokenId>(random);
  cmk.name = RandomText(random, 60);
  cmk.description = RandomText(random, 100);
  cmk.origin = RandomEnum(random, cmk::Origin::kLocal, cmk::Origin::kAdopted);
  cmk.spec = RandomText(random, 20);
  cmk.state = RandomEnum(random, cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed);
  cmk.key_class = RandomEnum(random, cmk::KeyClass::kCustomer, cmk::KeyClass::kDefault);
  cmk.profile = RandomEnum(random, cmk::TokenProfile::kManaged, cmk::TokenProfile::kGeneral);
  cmk.rotatable = Below(random, 2) != 0;
  cmk.deletion_protected = Below(random, 2) != 0;
  cmk.created = RandomTime(random);
  cmk::Dates& dates = cmk.dates;
  for (auto* date : {&dates.activation, &dates.expiry, &dates.next_rotation, &dates.deletion_scheduled_at,
                     &dates.deletion_date, &dates.destruction_started_at, &dates.destroyed_at, &dates.warned_at})
    *date = MaybeTime(random);
  if (Below(random, 2) != 0) dates.observed_when_scheduled = Seconds(static_cast<std::int64_t>(random()));
  if (Below(random, 2) != 0)
    cmk.state_before_deletion = RandomEnum(random, cmk::CmkState::kPreActive, cmk::CmkState::kDestroyed);
  cmk.rotation_period = Seconds(static_cast<std::int64_t>(Below(random, 1 << 30)));
  std::uint32_t number = 0;
  for (std::uint64_t i = Below(random, 5); i > 0; --i) {
    cmk::KeyVersion version;
    version.number = {number += 1 + static_cast<std::uint32_t>(Below(random, 3))};
    version.state = RandomEnum(random, cmk::VersionState::kPendingImport, cmk::VersionState::kDestroyed);
    version.created = RandomTime(random);
    version.retired_at = MaybeTime(random);
    version.material = RandomMaterial(random);
    version.uses = random();
    version.bytes = random();
    for (auto* date : {&version.last_used, &version.protects_until, &version.expires}) *date = MaybeTime(random);
    version.fingerprint = RandomBytes(random, 32);
    version.exposed = Below(random, 2) != 0;
    cmk.versions.push_back(version);
    if (Below(random, 2) != 0) cmk.current = version.number;
  }
  cmk.request_tag = RandomBytes(random, 16);
  for (std::uint64_t i = Below(random, 3); i > 0; --i) cmk.aliases.push_back("a" + RandomText(random, 20));
  for (std::uint64_t i = Below(random, 3); i > 0; --i)
    cmk.tags.emplace_back("t" + RandomText(random, 20), RandomText(random, 20));
  cmk.usage_limit = random();
  cmk.processes_compromised = Below(random, 2) != 0;
  cmk.generation = static_cast<std::uint32_t>(random());
  if (Below(random, 2) != 0) cmk.predecessor = RandomId<cmk::CmkId>(random);
  for (std::uint64_t i = Below(random, 3); i > 0; --i) {
    cmk::ImportSlot slot;
    slot.id = RandomId<decltype(slot.id)>(random);
    slot.expires = RandomTime(random);
    slot.algorithm = static_cast<std::uint8_t>(random());
    slot.material = RandomMaterial(random);
    cmk.imports.push_back(slot);
  }
  for (auto* date : {&dates.announced_at, &dates.announced_until}) *date = MaybeTime(random);
  dates.announced_window = Seconds(static_cast<std::int64_t>(Below(random, 1 << 30)));
  if (Below(random, 2) != 0) cmk.owner = static_cast<std::uint32_t>(random());
  for (std::uint64_t i = Below(random, 3); i > 0; --i) cmk.consumers.push_back("c" + RandomText(random, 20));
  return cmk;
}

std::vector<cmk::ClientUse> RandomClients(Random& random) {
  std::vector<cmk::ClientUse> clients;
  std::uint32_t uid = 0;
  for (std::uint64_t i = Below(random, 5); i > 0; --i) {
    uid += 1 + static_cast<std::uint32_t>(Below(random, 1000));
    clients.push_back({uid, random(), random(), random(), RandomTime(random), RandomTime(random)});
  }
  return clients;
}

RequestRecord RandomRequest(Random& random) {
  RequestRecord request;
  request.tag = RandomBytes(random, 30);
  request.tag.push_back(1);
  request.body_digest = RandomBytes(random, 32);
  for (std::uint64_t i = Below(random, 4); i > 0; --i) request.objects.push_back({random()});
  request.expires = RandomTime(random);
  return request;
}

TokenRecord SomeToken(std::uint64_t number) {
  TokenRecord token;
  token.id = IdOf<cmk::TokenId>(number);
  token.slot = number;
  token.label = "token " + std::to_string(number);
  token.serial = "0123456789abcdef";
  token.hsm = "software";
  token.created = kTestDay;
  return token;
}

ObjectRecord SomeObject(const cmk::TokenId& token, std::vector<Term> terms) {
  ObjectRecord object;
  object.token = token;
  object.attributes = {{0, {3}}, {3, {1, 2, 3}}};
  object.terms = std::move(terms);
  return object;
}

cmk::Cmk SomeCmk(std::uint64_t number, const cmk::TokenId& token, const std::string& name) {
  cmk::Cmk cmk;
  cmk.id = IdOf<cmk::CmkId>(number);
  cmk.token = token;
  cmk.name = name;
  cmk.spec = "AES-256";
  cmk.created = kTestDay;
  cmk.rotatable = true;
  cmk.current = {1};
  cmk::KeyVersion version;
  version.number = {1};
  version.created = kTestDay;
  version.material = {cmk::Material::Kind::kWrapped, 1, Bytes(40, 7), {}};
  cmk.versions.push_back(version);
  return cmk;
}

const char* Name(StoreKind kind) {
  switch (kind) {
    case StoreKind::kLmdb: return "Lmdb";
    case StoreKind::kMemory: return "Memory";
    case StoreKind::kFault: return "Fault";
  }
  return "Unknown";
}

LmdbOptions TestOptions() {
  LmdbOptions options;
  options.map_bytes = 1 << 20;
  options.allow_any_file_system = true;
  options.region_entries = 16;
  return options;
}

StoreUnderTest::StoreUnderTest(StoreKind kind) : kind_(kind) {
  const StoreId id = IdOf<StoreId>(77);
  if (kind == StoreKind::kMemory) {
    owned_ = MakeMemoryStore(id, kTestDay);
  } else {
    MustDo(CreateLmdbStore(lmdb_path(), sealer_, id, kTestDay, TestOptions()));
  }
  Open();
}

void StoreUnderTest::Open() {
  if (kind_ != StoreKind::kMemory) owned_ = Must(OpenLmdbStore(lmdb_path(), sealer_, TestOptions()));
  if (kind_ == StoreKind::kFault) fault_ = std::make_unique<FaultStore>(*owned_);
  store_ = kind_ == StoreKind::kFault ? fault_.get() : owned_.get();
}

void StoreUnderTest::Reopen() {
  fault_.reset();
  if (kind_ != StoreKind::kMemory) owned_.reset();
  Open();
}

}  // namespace cmkd::store
