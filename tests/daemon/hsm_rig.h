// What the tests of the HSM back ends stand on: a device of each kind in a folder of its own, and keys made in it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "daemon/hsm/backend.h"
#include "daemon/hsm/backend_factory.h"

namespace cmkd::daemon {

enum class RigKind { kSimulatorInside, kSoftHsmHosted, kSimulatorHosted, kNssHosted, kOpencryptokiHosted };
std::string NameOf(RigKind kind);

// A device and the configuration that leads to it. The folder goes with the rig.
class HsmRig {
 public:
  explicit HsmRig(RigKind kind);
  ~HsmRig();
  HsmRig(const HsmRig&) = delete;
  HsmRig& operator=(const HsmRig&) = delete;

  // Why this kind of device cannot be tested here; empty when it can.
  const std::string& missing() const { return missing_; }
  bool hosted() const { return kind_ != RigKind::kSimulatorInside; }
  const std::string& folder() const { return folder_; }
  // Where the device keeps what it has.
  std::string memory() const { return kind_ == RigKind::kOpencryptokiHosted ? "/var/lib/opencryptoki" : folder_; }
  HsmConfig& config() { return config_; }
  BackendSurroundings& surroundings() { return surroundings_; }

  std::unique_ptr<Backend> Start();
  // The process of the only host that runs for this test program; 0 when there is none.
  static int HostPid();
  // The host program of this build.
  static std::string HostProgram();

 private:
  void PrepareSoftHsm();
  void PrepareHostedSimulator();
  void PrepareNss();
  void PrepareOpencryptoki();

  const RigKind kind_;
  pid_t slot_daemon_ = 0;  // opencryptoki's
  std::string folder_;
  std::string missing_;
  HsmConfig config_;
  BackendSurroundings surroundings_;
};

// A key as the daemon keeps it: its material and what it takes to load it.
struct TestKey {
  KeyName name;
  KeyMaterial material;
  spec::Attributes computed;
  // The other half of a pair.
  std::shared_ptr<spec::Attributes> public_attributes;
  KeyMaterial PublicMaterial() const;
  KeyName PublicName() const;
};

// Makes and uses keys through a Backend; every failure is a failure of the test.
class KeyBench {
 public:
  explicit KeyBench(Backend& backend);
  Backend& backend() { return backend_; }
  const WrappingKey& under() const { return under_; }

  TestKey Aes(CK_ULONG bytes = 32, bool extractable = false);
  TestKey Generic(CK_ULONG bytes, bool extractable = false);
  TestKey Rsa();
  TestKey Curve(CK_MECHANISM_TYPE mechanism, CK_KEY_TYPE type, std::string_view curve);
  TestKey Keep(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, Made made, bool extractable);

  // Single-part operations through Run: the output, or the error.
  Fallible<Bytes> Encrypt(const TestKey& key, CK_MECHANISM mechanism, ByteView input, bool with_public = false);
  Fallible<Bytes> Decrypt(const TestKey& key, CK_MECHANISM mechanism, ByteView input);
  Fallible<Bytes> Sign(const TestKey& key, CK_MECHANISM mechanism, ByteView input);
  Status Verify(const TestKey& key, CK_MECHANISM mechanism, ByteView input, ByteView signature, bool with_public);
  // Encrypts with AES and a fixed IV, which is enough to tell whether two keys are the same.
  Fallible<Bytes> Fingerprint(const TestKey& key);
  // All objects in the device, session objects included. One that is away fails the test.
  std::size_t CountObjects();
  // Token objects only. Nothing while the device is away.
  std::optional<std::size_t> CountTokenObjects();

 private:
  std::optional<std::size_t> Count(std::span<CK_ATTRIBUTE> wanted);
  using Init = CK_RV (*CK_FUNCTION_LIST::*)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
  using Transform = CK_RV (*CK_FUNCTION_LIST::*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
  Fallible<Bytes> Do(const KeyName& name, const KeyMaterial& material, CK_MECHANISM mechanism, ByteView input,
                     Init init, Transform transform);

  Backend& backend_;
  WrappingKey under_;
  std::uint32_t next_ = 1;
};

inline CK_MECHANISM Plain(CK_MECHANISM_TYPE type) { return {type, nullptr, 0}; }
template <class Parameter>
CK_MECHANISM With(CK_MECHANISM_TYPE type, Parameter& parameter) {
  return {type, &parameter, sizeof parameter};
}

}  // namespace cmkd::daemon
