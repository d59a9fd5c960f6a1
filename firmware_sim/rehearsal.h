// A rehearsal: the device with a script of faults. Reads the script, keeps count of its rules, and lets the faults
// happen that faults/plan.h decides. Without a script nothing of this runs.
//
// The script is read again when its file changes; counts and time then begin anew. Otherwise they outlive the device
// (in its flash directory), so that a power cut that is to come once comes once. What happened is said on the standard
// error, one line each.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "common/bytes.h"
#include "firmware_sim/faults/plan.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// Any thread.
class Rehearsal {
 public:
  // Before the device is switched on, and after it was switched off. Errors: CKR_ARGUMENTS_BAD for a script that cannot
  // be read, with its place.
  static Status Start(const std::string& script, const std::string& flash_directory);
  static void Stop();
  // The rehearsal that goes on; nullptr: none.
  static Rehearsal* Current() { return current_.load(std::memory_order_acquire); }

  // What is to happen to this call; the delay is over when it returns.
  faults::Decision AtCall(spec::CallId call);
  // Before this step of a write to the flash, or of the destruction of all keys. Errors: what the script says.
  Status AtFlashStep(std::uint32_t step) { return AtStep(faults::Point::kFlash, step); }
  Status AtZeroizeStep(std::uint32_t step) { return AtStep(faults::Point::kZeroize, step); }
  // How the noise source is now.
  faults::Noise AtEntropy();
  // What is left of a signature that was just computed.
  void AtSignature(MutableBytes computed);

  // Ends this process as a power cut would: nothing is written, closed or told.
  [[noreturn]] static void CutPower();

 private:
  Rehearsal(std::string script, std::string directory) : path_(std::move(script)), directory_(std::move(directory)) {}
  Status AtStep(faults::Point point, std::uint32_t step);
  faults::Decision At(const faults::Event& event, std::string_view place);
  Status Read();
  void ReadAgainIfChanged();
  bool Restore();
  void Save() const;
  void Tell(const faults::Decision& decision, std::string_view place);

  static std::atomic<Rehearsal*> current_;

  const std::string path_;
  const std::string directory_;
  std::mutex mutex_;  // the members below
  struct stat seen_ {};
  faults::Script script_;
  faults::Counts counts_;
  std::uint64_t fingerprint_ = 0;  // of the script's text
  std::int64_t begun_ = 0;         // nanoseconds of the monotonic clock
  std::uint64_t told_ = 0;
};

}  // namespace cmkd::sim
