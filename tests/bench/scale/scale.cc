// cmkd-bench-scale: how the store grows with the number of keys. It makes a store of so many keys, each with its object
// and index entries as the daemon writes them, opens it again, and measures what the daemon asks of it. One line a size
// on standard output, tab-separated.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <random>
#include <stdexcept>

#include "daemon/crypto/random.h"
#include "daemon/crypto/sealer.h"
#include "keystore/store/lmdb_store.h"
#include "pkcs11/spec/cryptoki.h"

namespace {

using namespace cmkd;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatch = 5000;  // keys in one transaction
constexpr Timestamp kNow{1'800'000'000};

template <class T>
T Must(store::StoreResult<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().sentence);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

Bytes Text(const std::string& text) { return ToBytes(AsBytes(text)); }
std::string LabelOf(std::size_t number) { return "key-" + std::to_string(number); }
cmk::CmkId IdOf(std::size_t number) {
  cmk::CmkId id;
  std::memcpy(id.bytes.data(), &number, sizeof number);
  // Spread over the tree, as random ids are.
  std::uint64_t mixed = (number + 1) * 0x9E3779B97F4A7C15u;
  std::memcpy(id.bytes.data() + 8, &mixed, sizeof mixed);
  std::reverse(id.bytes.begin(), id.bytes.end());
  return id;
}

cmk::Cmk MakeCmk(const cmk::TokenId& token, std::size_t number) {
  cmk::Cmk key;
  key.id = IdOf(number);
  key.token = token;
  key.name = LabelOf(number);
  key.spec = "AES-256";
  key.rotatable = true;
  key.created = kNow;
  key.rotation_period = Hours(24 * 365);
  key.dates.next_rotation = kNow + Hours(24 * 365);
  key.current = {1};
  cmk::KeyVersion version;
  version.number = {1};
  version.created = kNow;
  version.material.kind = cmk::Material::Kind::kWrapped;
  version.material.epoch = 1;
  version.material.blob = Bytes(60, 7);
  key.versions.push_back(std::move(version));
  return key;
}

store::ObjectRecord MakeObject(const cmk::Cmk& key, cmk::ObjectSerial serial) {
  store::ObjectRecord object;
  object.serial = serial;
  object.token = key.token;
  object.cmk = key.id;
  object.is_private = true;
  const CK_ULONG secret = CKO_SECRET_KEY;
  const Bytes object_class = ToBytes({reinterpret_cast<const std::uint8_t*>(&secret), sizeof secret});
  const Bytes label = Text(key.name);
  const Bytes id = ToBytes(key.id.view().first(8));
  const Bytes unique = ToBytes(key.id.view());
  for (const auto& [type, value] : std::initializer_list<std::pair<CK_ATTRIBUTE_TYPE, Bytes>>{
           {CKA_CLASS, object_class}, {CKA_LABEL, label}, {CKA_ID, id}, {CKA_UNIQUE_ID, unique}}) {
    object.attributes.push_back({type, value});
    object.terms.push_back({static_cast<std::uint32_t>(type), value});
  }
  // The other attributes of an AES key are flags and dates.
  for (std::uint64_t type = 0; type < 20; ++type) object.attributes.push_back({CKA_VENDOR_DEFINED + type, Bytes(1, 1)});
  return object;
}

double Seconds(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The median in microseconds of many runs, each with another key.
double Median(std::size_t keys, std::size_t runs, const std::function<void(std::size_t)>& work) {
  std::minstd_rand random(1);
  std::vector<double> times;
  for (std::size_t i = 0; i < runs; ++i) {
    const std::size_t number = random() % keys;
    times.push_back(Seconds([&] { work(number); }) * 1e6);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(runs / 2), times.end());
  return times[runs / 2];
}

void Expect(bool right, const char* what) {
  if (!right) throw std::runtime_error(what);
}

class Scale {
 public:
  Scale(const std::string& path, std::size_t keys) : path_(path), keys_(keys), sealer_(kRoot, daemon::kSealStore) {
    id_.bytes = daemon::RandomId();
    token_.bytes = daemon::RandomId();
    Must(store::CreateLmdbStore(path_, sealer_, id_, kNow, options_));
  }

  void Run() {
    const double making = Seconds([&] { Make(); });
    const double bytes = static_cast<double>(std::filesystem::file_size(path_ + "/data.mdb"));
    const double full = Seconds([&] { Open(store::OpenCheck::kFull); });
    // As the daemon starts with a large store: what it waits for, what the first look-up waits for, and the rest.
    std::promise<bool> right;
    options_.on_background_check = [&](const store::StoreResult<void>& result) { right.set_value(result.ok()); };
    options_.background_entries = 0;
    const double background = Seconds([&] { Open(store::OpenCheck::kBackground); });
    const double first = Seconds([&] {
      const store::Term term{static_cast<std::uint32_t>(CKA_LABEL), Text(LabelOf(keys_ / 2))};
      const auto txn = Must(store_->BeginRead());
      const auto found = Must(txn->FindObjects(token_, {&term, 1}));
      Expect(found.size() == 1 && Must(txn->FindObject(found[0])).has_value(), "the first search did not find its key");
      Expect(Must(txn->FindCmk(IdOf(keys_ / 2))).has_value(), "the first key is missing");
    });
    const double rest = Seconds([&] { Expect(right.get_future().get(), "the store was found damaged"); });
    options_.on_background_check = nullptr;
    const double quick = Seconds([&] { Open(store::OpenCheck::kQuick); });
    const double label = Find(CKA_LABEL, [](std::size_t n) { return Text(LabelOf(n)); });
    const double id = Find(CKA_ID, [](std::size_t n) { return ToBytes(IdOf(n).view().first(8)); });
    const double unique = Find(CKA_UNIQUE_ID, [](std::size_t n) { return ToBytes(IdOf(n).view()); });
    const double read = Median(keys_, kRuns, [&](std::size_t n) {
      Expect(Must(Must(store_->BeginRead())->FindCmk(IdOf(n))).has_value(), "a key is missing");
    });
    const double page = Median(keys_, kRuns / 10, [&](std::size_t n) {
      (void)Must(Must(store_->BeginRead())->ListCmksOfToken(token_, IdOf(n), 100));
    });
    const double due = Median(keys_, kRuns, [&](std::size_t) {
      Expect(Must(Must(store_->BeginRead())->DueBefore(kNow, 100)).empty(), "no key is due");
    });
    const double commit = Median(keys_, 50, [&](std::size_t n) {
      const auto txn = Must(store_->BeginWrite("bench.update"));
      cmk::Cmk key = Must(txn->GetCmk(IdOf(n)));
      ++key.versions[0].uses;
      Must(txn->PutCmk(key));
      Must(txn->Commit());
    });
    std::printf("%zu\t%.1f\t%.0f\t%.3f\t%.4f\t%.4f\t%.3f\t%.4f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\n", keys_,
                making * 1e6 / static_cast<double>(keys_), bytes / static_cast<double>(keys_), full, background, first,
                rest, quick, label, id, unique, read, page, due, commit);
    std::fflush(stdout);
  }

 private:
  static constexpr std::uint8_t kRoot[32] = {1, 2, 3};
  static constexpr std::size_t kRuns = 2000;

  void Make() {
    Open(store::OpenCheck::kQuick);
    for (std::size_t number = 0; number < keys_;) {
      const auto txn = Must(store_->BeginWrite("bench.fill"));
      for (const std::size_t end = std::min(keys_, number + kBatch); number < end; ++number) {
        const cmk::Cmk key = MakeCmk(token_, number);
        Must(txn->PutCmk(key));
        Must(txn->PutObject(MakeObject(key, Must(txn->NextObjectSerial()))));
      }
      Must(txn->Commit());
    }
  }

  void Open(store::OpenCheck check) {
    store_.reset();
    store::LmdbOptions options = options_;
    options.check = check;
    store_ = Must(store::OpenLmdbStore(path_, sealer_, options));
  }

  double Find(CK_ATTRIBUTE_TYPE type, const std::function<Bytes(std::size_t)>& value) {
    const CK_ULONG secret = CKO_SECRET_KEY;
    const Bytes object_class = ToBytes({reinterpret_cast<const std::uint8_t*>(&secret), sizeof secret});
    return Median(keys_, kRuns, [&](std::size_t number) {
      const store::Term terms[] = {{static_cast<std::uint32_t>(CKA_CLASS), object_class},
                                   {static_cast<std::uint32_t>(type), value(number)}};
      Expect(Must(Must(store_->BeginRead())->FindObjects(token_, terms)).size() == 1, "a search did not find its key");
    });
  }

  const std::string path_;
  const std::size_t keys_;
  store::LmdbOptions options_;
  daemon::AesGcmSealer sealer_;
  store::StoreId id_;
  cmk::TokenId token_;
  std::unique_ptr<store::Store> store_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::size_t> sizes = {1000};
  std::string place = std::filesystem::temp_directory_path();
  CLI::App app("Measures the store with so many keys.");
  app.add_option("--keys", sizes, "Numbers of keys (1000)");
  app.add_option("--directory", place,
                 "Where the stores are made and removed again; on a real disk, if commits matter");
  CLI11_PARSE(app, argc, argv);
  std::puts(
      "keys\tmake_us\tbytes_per_key\topen_full_s\topen_s\tfirst_use_s\tcheck_rest_s\topen_quick_s\tlabel_us\tid_"
      "us\tunique_id_us\tread_us\tpage_100_us"
      "\tdue_us\tcommit_us");
  std::string made = place + "/cmkd-scale.XXXXXX";
  if (::mkdtemp(made.data()) == nullptr) return 1;
  int status = 0;
  for (const std::size_t keys : sizes) {
    try {
      Scale(made + "/" + std::to_string(keys), keys).Run();
    } catch (const std::exception& e) {
      std::cerr << "cmkd-bench-scale: " << e.what() << '\n';
      status = 1;
    }
    std::filesystem::remove_all(made + "/" + std::to_string(keys));
  }
  std::filesystem::remove_all(made);
  return status;
}
