// Backend: one HSM as the daemon uses it, over any PKCS#11 function list: the simulated device in the process, or a
// foreign module behind an HSM host. It keeps a pool of logged-in sessions and a bounded cache of unwrapped keys, and
// recovers both when the device loses them. It knows no client, no policy and no CMK: it is told what to do with which
// material.
//
// Material (cmk::Material) is made in the device, wrapped there under a wrapping key of an epoch, and lives in the
// store; a device that cannot wrap a kind of key keeps it as a token object with a random CKA_ID (kResident).
//
// All functions are safe from any thread. Errors: CKR_DEVICE_ERROR with detail kHsmUnavailable when the device is away;
// otherwise what the device said, in the standard's codes, its known slips corrected.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "common/secret.h"
#include "keystore/cmk/cmk.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::daemon {

struct Capabilities;

// What a key object in the device is made from.
struct KeyMaterial {
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_KEY_TYPE key_type = CKK_AES;
  cmk::Material material;    // secret and private keys
  Bytes wrapping_reference;  // CKA_ID of the wrapping key of material.epoch, for kWrapped material
  const spec::Attributes* public_key =
      nullptr;               // public keys: their attributes (MODULUS…, EC_PARAMS, EC_POINT); borrowed
  bool extractable = false;  // may be wrapped by another key or read: unwrapped so that the device allows it
};

// Names a key in the cache: 16 bytes of id, a version, and whether it is the public half.
struct KeyName {
  std::array<std::uint8_t, 16> id{};
  std::uint32_t version = 0;
  bool is_public = false;
  auto operator<=>(const KeyName&) const = default;
};

// A wrapping key of the device.
struct WrappingKey {
  std::uint32_t epoch = 0;
  Bytes reference;       // its CKA_ID
  bool session = false;  // for session objects: what resides in the device instead is labelled so
  // What GenerateKey makes next may be wrapped by others, and is likely to be: it stays loaded (Made::loaded_as).
  bool stays_loaded = false;
};

// A random CKA_ID for a wrapping key that is to be made.
Bytes NewReference();

// What making a key gave: its material, and the attributes that follow from it (CKA_VALUE_LEN, CKA_MODULUS,
// CKA_EC_POINT, CKA_PUBLIC_KEY_INFO, CKA_CHECK_VALUE of secret keys, …).
struct Made {
  cmk::Material material;
  spec::Attributes computed;
  // The id by which it is loaded already, as extractable; it costs one unwrapping less when its owner takes this name.
  std::optional<std::array<std::uint8_t, 16>> loaded_as{};
};
struct MadePair {
  cmk::Material material;
  spec::Attributes public_computed;
  spec::Attributes private_computed;
};

// A key that stands in a mechanism's parameter beside the key of the call: where its handle goes.
struct OtherKey {
  KeyName name;
  KeyMaterial material;
  CK_OBJECT_HANDLE* handle;
};

// An object of the device's token as an examination finds it.
struct DeviceObject {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  spec::Attributes attributes;  // what it is, is called and may do; never a secret part
};

class Backend {
 public:
  virtual ~Backend() = default;

  // A device session, and a pin on cached keys, for as long as the lease lives. Returned to the pool by the destructor;
  // one with an operation left active must be marked broken.
  class Lease {
   public:
    virtual ~Lease() = default;
    virtual CK_SESSION_HANDLE session() const = 0;
    // The function list of the device whose session this is: of several devices, only this one knows it.
    virtual CK_FUNCTION_LIST_PTR functions() const = 0;
    // The key's handle in the device: cached, or unwrapped now. Good while the lease lives.
    virtual Fallible<CK_OBJECT_HANDLE> Load(const KeyName& name, const KeyMaterial& key) = 0;
    // The session is not to be used again: an operation is still active in it or the device misbehaved.
    virtual void Break() = 0;
  };

  virtual const std::string& name() const = 0;
  // Whether the device is inside the daemon (protection level software).
  virtual bool software() const = 0;
  // Whether the device is there and logged in.
  virtual bool available() const = 0;
  // What the device says of a mechanism; nullptr when it does not have it, or was seen not to do it. Known when the
  // device has been there once.
  virtual const CK_MECHANISM_INFO* FindMechanism(CK_MECHANISM_TYPE type) const = 0;

  // What was seen of it when it started, beyond its list; nullptr when nothing was tried.
  virtual const Capabilities* capabilities() const { return nullptr; }

  virtual Fallible<std::unique_ptr<Lease>> Acquire() = 0;

  // Runs `work` with a lease, and once more with a fresh one when the device lost its sessions, login or keys in
  // between (codes that say so). `work` gets the function list and the lease and returns the device's code; what it did
  // before a failure must be repeatable.
  using Work = std::function<CK_RV(CK_FUNCTION_LIST_PTR, Lease&)>;
  virtual Status Run(const Work& work) = 0;
  // The same for work that leaves an operation active (an Init whose parts come later): on success the lease in which
  // it runs.
  virtual Fallible<std::unique_ptr<Lease>> Begin(const Work& work) = 0;

  // Makes the wrapping key of a new epoch: AES-256, a token object of the device, sensitive, never extractable. Its
  // reference is NewReference's and can be written down before; nothing of a failed attempt stays behind.
  virtual Status MakeWrappingKey(const WrappingKey& planned) = 0;
  // The same with a reference of its own.
  Fallible<WrappingKey> MakeWrappingKey(std::uint32_t epoch);
  // Destroys it; verified gone.
  virtual Status DestroyWrappingKey(const WrappingKey& key) = 0;

  // Making keys. The material is wrapped under `under` before the call returns. value_bytes 0: the key type fixes it.
  virtual Fallible<Made> GenerateKey(const CK_MECHANISM& mechanism, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                     const WrappingKey& under) = 0;
  // `parameters`: CKA_MODULUS_BITS and CKA_PUBLIC_EXPONENT, or CKA_EC_PARAMS.
  virtual Fallible<MadePair> GenerateKeyPair(const CK_MECHANISM& mechanism, CK_KEY_TYPE type,
                                             const spec::Attributes& parameters, const WrappingKey& under) = 0;
  // A key given in the clear: CKA_CLASS, CKA_KEY_TYPE and the parts that the key type has.
  virtual Fallible<Made> Import(const spec::Attributes& key, const WrappingKey& under) = 0;
  // The same key once more under another wrapping key or for another name (C_CopyObject, new epoch): unwrapped and
  // wrapped in the device, and seen to open there.
  virtual Fallible<cmk::Material> Rewrap(const KeyName& name, const KeyMaterial& key, const WrappingKey& under) = 0;

  // C_UnwrapKey and C_DeriveKey in the device, the new key wrapped under `under` and gone from the device again.
  virtual Fallible<Made> UnwrapKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& with,
                                   ByteView wrapped, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                                   CK_ULONG value_bytes, const WrappingKey& under) = 0;
  // `others` are the keys that the mechanism's parameter names.
  virtual Fallible<Made> DeriveKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& base,
                                   std::span<const OtherKey> others, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                   const WrappingKey& under) = 0;
  // C_WrapKey: `key` must be extractable.
  virtual Fallible<Bytes> WrapKey(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                  const KeyMaterial& wrapping, const KeyName& name, const KeyMaterial& key) = 0;
  // The same with an AEAD and associated data (3.2). The mechanism has a message's parameter with the IV chosen;
  // wrapping writes the tag to where it points. CKR_FUNCTION_NOT_SUPPORTED when the device knows no 3.2.
  virtual Fallible<Bytes> WrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                               const KeyMaterial& wrapping, const KeyName& name, const KeyMaterial& key,
                                               ByteView associated_data) = 0;
  virtual Fallible<Made> UnwrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& name,
                                                const KeyMaterial& with, ByteView wrapped, ByteView associated_data,
                                                CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                                                const WrappingKey& under) = 0;
  // The secret parts of a key that may be read (not sensitive, extractable): CKA_VALUE, CKA_PRIVATE_EXPONENT, …
  virtual Fallible<spec::Attributes> ReadSecret(const KeyName& name, const KeyMaterial& key,
                                                std::span<const CK_ATTRIBUTE_TYPE> types) = 0;

  // Drops the key from cache and device: it was destroyed, disabled or changed.
  virtual void Forget(const KeyName& name) = 0;
  // Destroys material that is resident in the device; wrapped material has nothing there. Verified gone.
  virtual Status DestroyMaterial(const cmk::Material& material) = 0;

  // ---- What lies in the device's token

  // The label of what is made there from now on begins with these words, so that an examination knows whose it is.
  virtual void SetOwner(const std::string& words) = 0;
  // The token objects that the login sees.
  virtual Fallible<std::vector<DeviceObject>> ListObjects() = 0;
  // More attributes of one of them; those that the device has and shows.
  virtual Fallible<spec::Attributes> ReadObject(const DeviceObject& object,
                                                std::span<const CK_ATTRIBUTE_TYPE> types) = 0;
  // Destroys what ListObjects gave, if it is still the same; verified gone where it has an id.
  virtual Status DestroyObject(const DeviceObject& object) = 0;
  // Notes: data objects of this name. Replacing leaves one, and leaves at least one at every moment.
  virtual Fallible<std::vector<Bytes>> ReadNotes(std::string_view name) = 0;
  virtual Status ReplaceNote(std::string_view name, ByteView value) = 0;

  // ---- Wrapping keys that several devices hold (mirror_set.h has how they are put together)

  // The public half of the key pair under which other devices send wrapping keys to this one: CKA_MODULUS and
  // CKA_PUBLIC_EXPONENT. Its private half (CKA_ID `id`) may unwrap, nothing else, and never leaves the device.
  // `make`: makes it when it is not there; CKR_KEY_NEEDED otherwise.
  virtual Fallible<spec::Attributes> TransportKey(ByteView id, bool make) = 0;
  // Makes an AES-256 key that leaves this device wrapped by RSA-OAEP with `hash` (CKM_SHA256, CKM_SHA_1) under each of
  // `recipients`, and stays nowhere.
  virtual Fallible<std::vector<Bytes>> MakeCarried(std::span<const spec::Attributes> recipients,
                                                   CK_MECHANISM_TYPE hash) = 0;
  // Unwraps what MakeCarried gave as the wrapping key `planned`: like one that MakeWrappingKey makes.
  virtual Status ReceiveCarried(const WrappingKey& planned, ByteView transport_id, ByteView carried,
                                CK_MECHANISM_TYPE hash) = 0;
  // Whether the device has this wrapping key, once.
  virtual Fallible<bool> HasWrappingKey(ByteView reference) = 0;
  // Whether the device opens this material: what it says when it does not.
  virtual Status Opens(const KeyMaterial& key) = 0;

  virtual Status FillRandom(MutableBytes out) = 0;

  // Whether this code of the device, given by this mechanism, means "the integrity check failed": the sign to try an
  // older version. Foreign devices say it in different ways.
  virtual bool IsWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const = 0;
};

}  // namespace cmkd::daemon
