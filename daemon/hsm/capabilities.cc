// The trials, as a table, and the record's text.
#include "daemon/hsm/capabilities.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "daemon/hsm/device.h"
#include "daemon/hsm/key_templates.h"
#include "daemon/hsm/loss.h"
#include "daemon/hsm/quirks.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {
namespace {

constexpr std::string_view kRecordHead = "cmkd hsm record 1";
constexpr std::size_t kRecordBytesMax = 64 << 10;

// What is tried, and how.
enum class Way { kCipher, kMac, kWrap };
enum class Parameter { kNothing, kIv8, kIv16, kCounter, kGcm, kCcm };

struct Trial {
  CK_MECHANISM_TYPE mechanism;
  Way way;
  Parameter parameter;
  CK_MECHANISM_TYPE generator;
  CK_ULONG bytes;  // of the key; 0: its type fixes it
  bool checks;     // another key must be told
};

using W = Way;
using P = Parameter;
constexpr Trial kTrials[] = {
    {CKM_AES_ECB, W::kCipher, P::kNothing, CKM_AES_KEY_GEN, 32, false},
    {CKM_AES_CBC, W::kCipher, P::kIv16, CKM_AES_KEY_GEN, 32, false},
    {CKM_AES_CBC_PAD, W::kCipher, P::kIv16, CKM_AES_KEY_GEN, 32, false},
    {CKM_AES_CTR, W::kCipher, P::kCounter, CKM_AES_KEY_GEN, 32, false},
    {CKM_AES_GCM, W::kCipher, P::kGcm, CKM_AES_KEY_GEN, 32, true},
    {CKM_AES_CCM, W::kCipher, P::kCcm, CKM_AES_KEY_GEN, 32, true},
    {CKM_AES_CMAC, W::kMac, P::kNothing, CKM_AES_KEY_GEN, 32, true},
    {CKM_AES_KEY_WRAP, W::kWrap, P::kNothing, CKM_AES_KEY_GEN, 32, true},
    {CKM_AES_KEY_WRAP_PAD, W::kWrap, P::kNothing, CKM_AES_KEY_GEN, 32, true},
    {CKM_AES_KEY_WRAP_KWP, W::kWrap, P::kNothing, CKM_AES_KEY_GEN, 32, true},
    {CKM_SHA_1_HMAC, W::kMac, P::kNothing, CKM_GENERIC_SECRET_KEY_GEN, 32, true},
    {CKM_SHA224_HMAC, W::kMac, P::kNothing, CKM_GENERIC_SECRET_KEY_GEN, 32, true},
    {CKM_SHA256_HMAC, W::kMac, P::kNothing, CKM_GENERIC_SECRET_KEY_GEN, 32, true},
    {CKM_SHA384_HMAC, W::kMac, P::kNothing, CKM_GENERIC_SECRET_KEY_GEN, 64, true},
    {CKM_SHA512_HMAC, W::kMac, P::kNothing, CKM_GENERIC_SECRET_KEY_GEN, 64, true},
    {CKM_DES_ECB, W::kCipher, P::kNothing, CKM_DES_KEY_GEN, 0, false},
    {CKM_DES_CBC, W::kCipher, P::kIv8, CKM_DES_KEY_GEN, 0, false},
    {CKM_DES_CBC_PAD, W::kCipher, P::kIv8, CKM_DES_KEY_GEN, 0, false},
    {CKM_DES3_ECB, W::kCipher, P::kNothing, CKM_DES3_KEY_GEN, 0, false},
    {CKM_DES3_CBC, W::kCipher, P::kIv8, CKM_DES3_KEY_GEN, 0, false},
    {CKM_DES3_CBC_PAD, W::kCipher, P::kIv8, CKM_DES3_KEY_GEN, 0, false},
};

// A mechanism with the parameter of a trial; the devices of this world write into some of them.
struct TrialMechanism {
  explicit TrialMechanism(const Trial& trial) : mechanism{trial.mechanism, nullptr, 0} {
    switch (trial.parameter) {
      case Parameter::kNothing: break;
      case Parameter::kIv8: Point(iv, 8); break;
      case Parameter::kIv16: Point(iv, 16); break;
      case Parameter::kCounter: Point(&counter, sizeof counter); break;
      case Parameter::kGcm: Point(&gcm, sizeof gcm); break;
      case Parameter::kCcm: Point(&ccm, sizeof ccm); break;
    }
  }
  void Point(void* parameter, CK_ULONG bytes) {
    mechanism.pParameter = parameter;
    mechanism.ulParameterLen = bytes;
  }
  CK_BYTE iv[16] = {};
  CK_AES_CTR_PARAMS counter{64, {}};
  CK_GCM_PARAMS gcm{iv, 12, 96, nullptr, 0, 128};
  CK_CCM_PARAMS ccm{32, iv, 12, nullptr, 0, 16};
  CK_MECHANISM mechanism;
};

using Block = std::array<CK_BYTE, 32>;
constexpr Block kMessage = [] {
  Block block{};
  block.fill(0x5a);
  return block;
}();

// A session with the keys of one trial; both go when it ends.
class Bench {
 public:
  Bench(CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const Trial& trial) : device_(device), trial_(trial) {
    const CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    if (opening_ = device_->C_OpenSession(slot, flags, nullptr, nullptr, &session_); opening_ != CKR_OK) session_ = 0;
  }
  ~Bench() {
    if (opening_ == CKR_OK) (void)device_->C_CloseSession(session_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  CK_RV opening() const { return opening_; }

  CK_RV MakeKey(CK_OBJECT_HANDLE& key, bool extractable = false) {
    ObjectTemplate attributes;
    for (const CK_ATTRIBUTE_TYPE yes : {CKA_PRIVATE, CKA_SENSITIVE}) attributes.AddBool(yes, true);
    for (const CK_ATTRIBUTE_TYPE yes : Usages()) attributes.AddBool(yes, true);
    attributes.AddBool(CKA_TOKEN, false);
    attributes.AddBool(CKA_EXTRACTABLE, extractable);
    if (trial_.bytes != 0) attributes.AddUlong(CKA_VALUE_LEN, trial_.bytes);
    CK_MECHANISM mechanism{trial_.generator, nullptr, 0};
    return device_->C_GenerateKey(session_, &mechanism, attributes.data(), attributes.size(), &key);
  }

  // Protects the message, or the other key, with this key.
  CK_RV Protect(CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE other, Bytes& output) {
    TrialMechanism with(trial_);
    output.assign(256, 0);
    CK_ULONG length = output.size();
    CK_RV rv = CKR_OK;
    CK_BYTE_PTR const message = const_cast<CK_BYTE_PTR>(kMessage.data());
    if (trial_.way == Way::kWrap) {
      rv = device_->C_WrapKey(session_, &with.mechanism, key, other, output.data(), &length);
    } else if (trial_.way == Way::kMac) {
      rv = device_->C_SignInit(session_, &with.mechanism, key);
      if (rv == CKR_OK) rv = device_->C_Sign(session_, message, kMessage.size(), output.data(), &length);
    } else {
      rv = device_->C_EncryptInit(session_, &with.mechanism, key);
      if (rv == CKR_OK) rv = device_->C_Encrypt(session_, message, kMessage.size(), output.data(), &length);
    }
    output.resize(rv == CKR_OK ? std::min<std::size_t>(length, output.size()) : 0);
    return rv;
  }

  // Opens or verifies what Protect gave.
  CK_RV Process(CK_OBJECT_HANDLE key, Bytes& input, bool& right) {
    TrialMechanism with(trial_);
    right = true;
    CK_RV rv = CKR_OK;
    if (trial_.way == Way::kWrap) {
      ObjectTemplate attributes;
      attributes.AddUlong(CKA_CLASS, CKO_SECRET_KEY);
      attributes.AddUlong(CKA_KEY_TYPE, CKK_AES);
      attributes.AddBool(CKA_TOKEN, false);
      for (const CK_ATTRIBUTE_TYPE yes : {CKA_PRIVATE, CKA_SENSITIVE, CKA_ENCRYPT}) attributes.AddBool(yes, true);
      CK_OBJECT_HANDLE unwrapped = CK_INVALID_HANDLE;
      return device_->C_UnwrapKey(session_, &with.mechanism, key, input.data(), input.size(), attributes.data(),
                                  attributes.size(), &unwrapped);
    }
    CK_BYTE_PTR const message = const_cast<CK_BYTE_PTR>(kMessage.data());
    if (trial_.way == Way::kMac) {
      rv = device_->C_VerifyInit(session_, &with.mechanism, key);
      return rv != CKR_OK ? rv : device_->C_Verify(session_, message, kMessage.size(), input.data(), input.size());
    }
    Bytes output(256, 0);
    CK_ULONG length = output.size();
    rv = device_->C_DecryptInit(session_, &with.mechanism, key);
    if (rv == CKR_OK) rv = device_->C_Decrypt(session_, input.data(), input.size(), output.data(), &length);
    right = rv != CKR_OK || (length == kMessage.size() && std::equal(kMessage.begin(), kMessage.end(), output.begin()));
    return rv;
  }

 private:
  std::array<CK_ATTRIBUTE_TYPE, 2> Usages() const {
    if (trial_.way == Way::kWrap) return {CKA_WRAP, CKA_UNWRAP};
    if (trial_.way == Way::kMac) return {CKA_SIGN, CKA_VERIFY};
    return {CKA_ENCRYPT, CKA_DECRYPT};
  }

  CK_FUNCTION_LIST_PTR const device_;
  const Trial& trial_;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
  CK_RV opening_ = CKR_OK;
};

enum class Outcome { kWorks, kBroken, kNothingSaid };

// A mechanism that is listed and refused, or of which the device despairs.
bool IsRefusal(CK_RV rv) {
  return rv == CKR_MECHANISM_INVALID || rv == CKR_FUNCTION_NOT_SUPPORTED || rv == CKR_GENERAL_ERROR ||
         rv == CKR_FUNCTION_FAILED;
}

// DEVICE_ERROR is said of many things; whoever says it goes on being asked.
bool IsLost(CK_RV rv) { return ClassifyLoss(rv) == Loss::kSession && rv != CKR_DEVICE_ERROR; }

struct Tried {
  Outcome outcome = Outcome::kNothingSaid;
  CK_RV rv = CKR_OK;         // why it does not work
  CK_RV other_key = CKR_OK;  // what was said of another key; CKR_OK: not asked, or let through
  bool opened_by_another = false;
};

Tried TryOnce(CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const Trial& trial) {
  Tried tried;
  Bench bench(device, slot, trial);
  const auto stop = [&](CK_RV rv) {
    tried.rv = rv;
    tried.outcome = IsRefusal(rv) ? Outcome::kBroken : Outcome::kNothingSaid;
    return tried;
  };
  CK_OBJECT_HANDLE one = 0, two = 0, cargo = 0;
  if (bench.opening() != CKR_OK) return stop(bench.opening());
  if (const CK_RV rv = bench.MakeKey(one); rv != CKR_OK) return stop(rv);
  if (const CK_RV rv = bench.MakeKey(two); rv != CKR_OK) return stop(rv);
  if (trial.way == Way::kWrap) {
    if (const CK_RV rv = bench.MakeKey(cargo, true); rv != CKR_OK) return stop(rv);
  }
  Bytes output;
  bool right = false;
  if (const CK_RV rv = bench.Protect(one, cargo, output); rv != CKR_OK) return stop(rv);
  if (const CK_RV rv = bench.Process(one, output, right); rv != CKR_OK) return stop(rv);
  if (!right) return stop(CKR_FUNCTION_FAILED);
  tried.outcome = Outcome::kWorks;
  if (!trial.checks) return tried;
  tried.other_key = bench.Process(two, output, right);
  tried.opened_by_another = tried.other_key == CKR_OK;
  return tried;
}

void Note(const Trial& trial, const Tried& tried, Capabilities& found) {
  if (tried.outcome == Outcome::kNothingSaid) return;
  // Where another key opens it, there is no check, and no version would ever be the wrong one.
  const bool works = tried.outcome == Outcome::kWorks && !tried.opened_by_another;
  (works ? found.working : found.broken).insert(trial.mechanism);
  if (!works || !trial.checks) return;
  if (MeansWrongKey(trial.mechanism, tried.other_key, {})) return;
  if (ClassifyLoss(tried.other_key) != Loss::kNone)
    found.mute.insert(trial.mechanism);
  else
    found.wrong_key[trial.mechanism] = tried.other_key;
}

template <std::size_t n>
std::string Text(const CK_UTF8CHAR (&field)[n]) {
  std::string text(reinterpret_cast<const char*>(field), n);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '|' || c == 0x7f) c = '?';
  }
  return text;
}

std::string Text(const CK_VERSION& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::optional<CK_ULONG> Number(std::string_view text) {
  CK_ULONG value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string Hex(CK_ULONG value) {
  char text[2 * sizeof value + 1];
  (void)std::snprintf(text, sizeof text, "%lx", value);
  return text;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kRecordBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

// Whole or not there. One that cannot be kept is learnt again.
void WriteFile(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) ::unlink(fresh.c_str());
}

}  // namespace

bool Capabilities::SaysWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const {
  const auto said = wrong_key.find(mechanism);
  return said != wrong_key.end() && said->second == rv;
}

std::string IdentityOf(const CK_INFO& module, const CK_TOKEN_INFO& token) {
  return Text(module.manufacturerID) + '|' + Text(module.libraryDescription) + '|' + Text(module.libraryVersion) + '|' +
         Text(token.manufacturerID) + '|' + Text(token.model) + '|' + Text(token.serialNumber) + '|' +
         Text(token.hardwareVersion) + '|' + Text(token.firmwareVersion);
}

Fallible<Capabilities> TryMechanisms(CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const MechanismMap& listed) {
  Capabilities found;
  for (const Trial& trial : kTrials) {
    if (!listed.contains(trial.mechanism) || !listed.contains(trial.generator)) continue;
    Tried tried = TryOnce(device, slot, trial);
    // Once may be an accident.
    if (tried.outcome == Outcome::kBroken) tried = TryOnce(device, slot, trial);
    if (IsLost(tried.rv) || IsLost(tried.other_key)) return DeviceRefused("trying mechanisms", tried.rv);
    Note(trial, tried, found);
  }
  return found;
}

std::string EncodeRecord(const Capabilities& capabilities) {
  std::string text = std::string(kRecordHead) + "\nidentity " + capabilities.identity + '\n';
  for (const CK_MECHANISM_TYPE type : capabilities.working) text += "works " + Hex(type) + '\n';
  for (const CK_MECHANISM_TYPE type : capabilities.broken) text += "broken " + Hex(type) + '\n';
  for (const CK_MECHANISM_TYPE type : capabilities.mute) text += "mute " + Hex(type) + '\n';
  for (const auto& [type, rv] : capabilities.wrong_key) text += "wrong-key " + Hex(type) + ' ' + Hex(rv) + '\n';
  return text + "end\n";
}

std::optional<Capabilities> DecodeRecord(std::string_view text) {
  Capabilities read;
  std::istringstream lines{std::string(text)};
  std::string line;
  if (!std::getline(lines, line) || line != kRecordHead) return std::nullopt;
  constexpr std::string_view kIdentity = "identity ";
  if (!std::getline(lines, line) || !line.starts_with(kIdentity)) return std::nullopt;
  read.identity = line.substr(kIdentity.size());
  while (std::getline(lines, line)) {
    if (line == "end") return read;
    std::istringstream words(line);
    std::string what, mechanism, code;
    words >> what >> mechanism >> code;
    const auto type = Number(mechanism);
    const auto rv = Number(code);
    if (!type || rv.has_value() != (what == "wrong-key")) return std::nullopt;
    if (what == "works")
      read.working.insert(*type);
    else if (what == "broken")
      read.broken.insert(*type);
    else if (what == "mute")
      read.mute.insert(*type);
    else if (what == "wrong-key")
      read.wrong_key[*type] = *rv;
    else
      return std::nullopt;
  }
  return std::nullopt;  // cut off
}

Fallible<Capabilities> LearnCapabilities(const std::string& path, const std::string& identity,
                                         CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const MechanismMap& listed) {
  if (!path.empty()) {
    const auto kept = DecodeRecord(ReadFile(path));
    if (kept && kept->identity == identity) return *kept;
  }
  ASSIGN_OR_RETURN(Capabilities found, TryMechanisms(device, slot, listed));
  found.identity = identity;
  if (!path.empty() && found.broken.empty()) WriteFile(path, EncodeRecord(found));
  return found;
}

}  // namespace cmkd::daemon
