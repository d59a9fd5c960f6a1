// Wrapping keys: made, destroyed, and carried from device to device: made in one, wrapped there for the transport key
// of another, unwrapped in that one for good. On the way there is a session object that may leave its device, for as
// long as the wrapping takes; what stays in a device never may.
#include <utility>

#include "daemon/crypto/random.h"
#include "daemon/hsm/loss.h"
#include "daemon/hsm/pkcs11_backend.h"

namespace cmkd::daemon {

namespace {

constexpr CK_ULONG kTransportBits = 3072;
constexpr std::uint8_t kPublicExponent[] = {1, 0, 1};

CK_RSA_PKCS_OAEP_PARAMS OaepOf(CK_MECHANISM_TYPE hash) {
  const CK_RSA_PKCS_MGF_TYPE mask = hash == CKM_SHA_1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256;
  return {hash, mask, CKZ_DATA_SPECIFIED, nullptr, 0};
}

// It unwraps, and does nothing else: what is sent to the device cannot be decrypted by it.
void FillTransportKey(ByteView id, const std::string& label, ObjectTemplate& out) {
  out.AddBytes(CKA_ID, id);
  out.AddBytes(CKA_LABEL, AsBytes(label));
  for (const CK_ATTRIBUTE_TYPE yes : {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_UNWRAP}) out.AddBool(yes, true);
  for (const CK_ATTRIBUTE_TYPE no : {CKA_EXTRACTABLE, CKA_DECRYPT, CKA_SIGN}) out.AddBool(no, false);
}

}  // namespace

Bytes NewReference() {
  const Id16 id = RandomId();
  return {id.begin(), id.end()};
}

Fallible<WrappingKey> Backend::MakeWrappingKey(std::uint32_t epoch) {
  WrappingKey planned{epoch, NewReference(), false};
  RETURN_IF_ERROR(MakeWrappingKey(planned));
  return planned;
}

void Pkcs11Backend::FillWrappingKey(const WrappingKey& planned, const std::string& label, ObjectTemplate& out) {
  out.AddUlong(CKA_CLASS, CKO_SECRET_KEY);
  out.AddUlong(CKA_KEY_TYPE, CKK_AES);
  out.AddBytes(CKA_ID, planned.reference);
  out.AddBytes(CKA_LABEL, AsBytes(label));
  for (const CK_ATTRIBUTE_TYPE yes : {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_WRAP, CKA_UNWRAP}) {
    out.AddBool(yes, true);
  }
  for (const CK_ATTRIBUTE_TYPE no : {CKA_EXTRACTABLE, CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE}) {
    out.AddBool(no, false);
  }
}

Status Pkcs11Backend::MakeWrappingKey(const WrappingKey& planned) {
  const std::string label = WrappingKeyLabel(planned);
  bool again = false;
  const Status status = Attempt([&](Session& session) -> Status {
    // A first attempt may have got as far as the key.
    if (std::exchange(again, true)) {
      RETURN_IF_ERROR(link_.device().DestroyById(session.session(), CKO_SECRET_KEY, planned.reference));
    }
    ObjectTemplate attributes;
    FillWrappingKey(planned, label, attributes);
    attributes.AddUlong(CKA_VALUE_LEN, kWrappingKeyBytes);
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv =
        functions()->C_GenerateKey(session.session(), &mechanism, attributes.data(), attributes.size(), &handle);
    if (rv != CKR_OK) return DeviceRefused("C_GenerateKey", rv);
    return {};
  });
  if (!status.ok()) DestroyLater(CKO_SECRET_KEY, planned.reference);
  return status;
}

Status Pkcs11Backend::DestroyWrappingKey(const WrappingKey& key) {
  const Status status = Attempt(
      [&](Session& session) { return link_.device().DestroyById(session.session(), CKO_SECRET_KEY, key.reference); });
  wrapping_.Forget(key.reference);
  cache_.ForgetWrappedUnder(key.reference);
  return status;
}

// ---- From device to device

Fallible<spec::Attributes> Pkcs11Backend::TransportKey(ByteView id, bool make) {
  const std::string label = LabelOf("transport key");
  spec::Attributes shown;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    const Device& device = link_.device();
    ASSIGN_OR_RETURN(const auto found, device.FindById(session.session(), CKO_PRIVATE_KEY, id));
    if (found.size() > 1) return Fail(CKR_FUNCTION_FAILED, "the device has several transport keys");
    CK_OBJECT_HANDLE key = found.empty() ? CK_INVALID_HANDLE : found.front();
    if (found.empty()) {
      // Not a handle that was lost: nobody is to look after the device for it.
      if (!make) return Fail(CKR_KEY_NEEDED, "the device has no transport key");
      ObjectTemplate for_public;
      for_public.AddBool(CKA_TOKEN, false);
      for_public.AddBool(CKA_WRAP, true);
      for_public.AddUlong(CKA_MODULUS_BITS, kTransportBits);
      for_public.AddBytes(CKA_PUBLIC_EXPONENT, kPublicExponent);
      ObjectTemplate for_private;
      FillTransportKey(id, label, for_private);
      CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
      TemporaryObject public_key(functions(), session.session());
      const CK_RV rv =
          functions()->C_GenerateKeyPair(session.session(), &mechanism, for_public.data(), for_public.size(),
                                         for_private.data(), for_private.size(), public_key.out(), &key);
      if (rv != CKR_OK) return DeviceRefused("C_GenerateKeyPair", rv);
    }
    constexpr CK_ATTRIBUTE_TYPE kPublic[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT};
    ASSIGN_OR_RETURN(shown, device.ReadAttributes(session.session(), key, kPublic));
    if (shown.View(CKA_MODULUS).empty()) return Fail(CKR_FUNCTION_FAILED, "the device does not show its transport key");
    if (shown.View(CKA_PUBLIC_EXPONENT).empty()) shown.SetBytes(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
    return {};
  }));
  return shown;
}

Fallible<Bytes> Pkcs11Backend::WrapFor(Session& session, CK_OBJECT_HANDLE key, const spec::Attributes& recipient,
                                       CK_MECHANISM_TYPE hash) {
  ObjectTemplate attributes;
  attributes.AddUlong(CKA_CLASS, CKO_PUBLIC_KEY);
  attributes.AddUlong(CKA_KEY_TYPE, CKK_RSA);
  attributes.AddBool(CKA_TOKEN, false);
  attributes.AddBool(CKA_PRIVATE, false);
  attributes.AddBool(CKA_WRAP, true);
  attributes.AddBytes(CKA_MODULUS, recipient.View(CKA_MODULUS));
  attributes.AddBytes(CKA_PUBLIC_EXPONENT, recipient.View(CKA_PUBLIC_EXPONENT));
  TemporaryObject to(functions(), session.session());
  const CK_RV rv = functions()->C_CreateObject(session.session(), attributes.data(), attributes.size(), to.out());
  if (rv != CKR_OK) return DeviceRefused("C_CreateObject", rv);
  CK_RSA_PKCS_OAEP_PARAMS oaep = OaepOf(hash);
  const CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
  auto wrapped = link_.device().WrapKey(session.session(), mechanism, to.handle(), key);
  if (to.Destroy() != CKR_OK) session.Break();
  return wrapped;
}

Fallible<std::vector<Bytes>> Pkcs11Backend::MakeCarried(std::span<const spec::Attributes> recipients,
                                                        CK_MECHANISM_TYPE hash) {
  std::vector<Bytes> carried;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    carried.clear();
    ObjectTemplate attributes;
    attributes.AddUlong(CKA_CLASS, CKO_SECRET_KEY);
    attributes.AddUlong(CKA_KEY_TYPE, CKK_AES);
    attributes.AddUlong(CKA_VALUE_LEN, kWrappingKeyBytes);
    for (const CK_ATTRIBUTE_TYPE yes : {CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE}) attributes.AddBool(yes, true);
    for (const CK_ATTRIBUTE_TYPE no :
         {CKA_TOKEN, CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE, CKA_WRAP, CKA_UNWRAP}) {
      attributes.AddBool(no, false);
    }
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    TemporaryObject key(functions(), session.session());
    const CK_RV rv =
        functions()->C_GenerateKey(session.session(), &mechanism, attributes.data(), attributes.size(), key.out());
    if (rv != CKR_OK) return DeviceRefused("C_GenerateKey", rv);
    Status status;
    for (const spec::Attributes& recipient : recipients) {
      auto wrapped = WrapFor(session, key.handle(), recipient, hash);
      if (!wrapped.ok()) {
        status = Failure<Error>{wrapped.error()};
        break;
      }
      carried.push_back(std::move(*wrapped));
    }
    // What does not go by itself goes with its session.
    if (key.Destroy() != CKR_OK) session.Break();
    return status;
  }));
  return carried;
}

Status Pkcs11Backend::ReceiveCarried(const WrappingKey& planned, ByteView transport_id, ByteView carried,
                                     CK_MECHANISM_TYPE hash) {
  const std::string label = WrappingKeyLabel(planned);
  const Status status = Attempt([&](Session& session) -> Status {
    // An attempt before may have got as far as the key.
    RETURN_IF_ERROR(link_.device().DestroyById(session.session(), CKO_SECRET_KEY, planned.reference));
    ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE transport,
                     link_.device().FindOne(session.session(), CKO_PRIVATE_KEY, transport_id));
    ObjectTemplate attributes;
    FillWrappingKey(planned, label, attributes);
    CK_RSA_PKCS_OAEP_PARAMS oaep = OaepOf(hash);
    CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv =
        functions()->C_UnwrapKey(session.session(), &mechanism, transport, const_cast<CK_BYTE_PTR>(carried.data()),
                                 carried.size(), attributes.data(), attributes.size(), &handle);
    if (rv != CKR_OK) return DeviceRefused("C_UnwrapKey", rv);
    return {};
  });
  wrapping_.Forget(planned.reference);
  if (!status.ok()) DestroyLater(CKO_SECRET_KEY, planned.reference);
  return status;
}

Fallible<bool> Pkcs11Backend::HasWrappingKey(ByteView reference) {
  bool has = false;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    ASSIGN_OR_RETURN(const auto found, link_.device().FindById(session.session(), CKO_SECRET_KEY, reference));
    has = found.size() == 1;
    return {};
  }));
  return has;
}

Status Pkcs11Backend::Opens(const KeyMaterial& key) {
  KeyName name;
  name.id = RandomId();
  const Status opened = Run([&](CK_FUNCTION_LIST_PTR, Lease& lease) -> CK_RV {
    const auto handle = lease.Load(name, key);
    return handle.ok() ? CKR_OK : handle.error().rv;
  });
  Forget(name);
  return opened;
}

}  // namespace cmkd::daemon
