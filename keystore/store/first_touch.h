// A large store is opened before all of it has been checked. Each region is checked when it is first touched, by a walk
// that believes nothing, before LMDB is let on its pages; a thread goes through the rest meanwhile. All of it is
// checked as the file was when it was opened: what came later, this process wrote.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "keystore/store/census.h"

namespace cmkd::store {

class FirstTouch {
 public:
  // Told once: that everything was found right, or that something was not. In the thread that found out.
  using Report = std::function<void(const StoreResult<void>&)>;

  FirstTouch(std::unique_ptr<LmdbFile> file, const Seals& seals, const Regions& regions, Report report)
      : file_(std::move(file)), seals_(seals), regions_(regions), report_(std::move(report)) {}
  FirstTouch(const FirstTouch&) = delete;
  FirstTouch& operator=(const FirstTouch&) = delete;
  // Gives up what is not finished.
  ~FirstTouch();

  // Goes through everything in a thread; `released` is called when the file as it was is no longer needed.
  void Start(std::function<void()> released);

  // Whether there is anything left to ask Admit for.
  bool pending() const { return pending_.load(std::memory_order_acquire); }
  // Whether something was found wrong; from then on the store is not used.
  bool damaged() const { return damaged_.load(std::memory_order_acquire); }
  StoreError damage() const;

  // Checks what has not been checked of the stretch from `from` to `to` (to the end without it). Any thread. kCorrupt,
  // and ever after.
  StoreResult<void> Admit(ByteView from, std::optional<ByteView> to);

 private:
  StoreResult<void> AdmitRegion(std::size_t index);
  StoreResult<void> CheckAll();
  void Condemn(const StoreError& error);

  std::unique_ptr<LmdbFile> file_;
  const Seals seals_;
  const Regions regions_;
  const Report report_;
  std::atomic<bool> pending_{true};
  std::atomic<bool> damaged_{false};
  std::atomic<bool> stop_{false};
  std::array<std::mutex, kRegionsMax> checking_;
  std::array<std::atomic<bool>, kRegionsMax> right_{};
  mutable std::mutex guard_;
  std::optional<StoreError> damage_;
  std::thread thread_;
};

}  // namespace cmkd::store
