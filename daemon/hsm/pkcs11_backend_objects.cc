// What lies in the device's token: listed, destroyed, and small notes kept there.
#include <algorithm>

#include "daemon/hsm/loss.h"
#include "daemon/hsm/pkcs11_backend.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kFoundAtOnce = 64;
constexpr std::size_t kNoteBytesMax = 1024;

// What an examination looks at; a device shows what it has.
constexpr CK_ATTRIBUTE_TYPE kExamined[] = {
    CKA_CLASS,     CKA_KEY_TYPE,          CKA_ID,          CKA_LABEL,  CKA_TOKEN,
    CKA_PRIVATE,   CKA_SENSITIVE,         CKA_EXTRACTABLE, CKA_WRAP,   CKA_UNWRAP,
    CKA_ENCRYPT,   CKA_DECRYPT,           CKA_SIGN,        CKA_VERIFY, CKA_DERIVE,
    CKA_VALUE_LEN, CKA_NEVER_EXTRACTABLE, CKA_LOCAL};

Fallible<std::vector<CK_OBJECT_HANDLE>> FindAll(CK_FUNCTION_LIST_PTR f, CK_SESSION_HANDLE session,
                                                ObjectTemplate& wanted) {
  RETURN_IF_ERROR(Device(f).BeginSearch(session, wanted.data(), wanted.size()));
  std::vector<CK_OBJECT_HANDLE> all;
  CK_OBJECT_HANDLE found[kFoundAtOnce];
  CK_ULONG count = 0;
  CK_RV rv = CKR_OK;
  do {
    count = 0;
    rv = f->C_FindObjects(session, found, kFoundAtOnce, &count);
    if (rv == CKR_OK) all.insert(all.end(), found, found + std::min<CK_ULONG>(count, kFoundAtOnce));
  } while (rv == CKR_OK && count != 0);
  (void)f->C_FindObjectsFinal(session);
  if (rv != CKR_OK) return DeviceRefused("C_FindObjects", rv);
  return all;
}

void WantNote(ObjectTemplate& wanted, const CK_OBJECT_CLASS& data, std::string_view name) {
  wanted.AddUlong(CKA_CLASS, data);
  wanted.AddBool(CKA_TOKEN, true);
  wanted.AddBytes(CKA_LABEL, AsBytes(name));
}

}  // namespace

void Pkcs11Backend::SetOwner(const std::string& words) {
  const std::lock_guard lock(owner_mutex_);
  owner_ = words;
}

std::string Pkcs11Backend::LabelOf(std::string_view what) const {
  const std::lock_guard lock(owner_mutex_);
  return owner_ + " " + std::string(what);
}

Fallible<std::vector<DeviceObject>> Pkcs11Backend::ListObjects() {
  std::vector<DeviceObject> listed;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    listed.clear();
    ObjectTemplate wanted;
    wanted.AddBool(CKA_TOKEN, true);
    ASSIGN_OR_RETURN(const auto handles, FindAll(functions(), session.session(), wanted));
    for (const CK_OBJECT_HANDLE handle : handles) {
      auto attributes = link_.device().ReadAttributes(session.session(), handle, kExamined);
      // It went while we looked, or is one that the device itself cannot read.
      if (!attributes.ok() && ClassifyLoss(attributes.error().rv) != Loss::kNone &&
          attributes.error().rv != CKR_OBJECT_HANDLE_INVALID)
        return Failure<Error>{std::move(attributes.error())};
      if (!attributes.ok()) continue;
      listed.push_back({handle, std::move(*attributes)});
    }
    return {};
  }));
  return listed;
}

Fallible<spec::Attributes> Pkcs11Backend::ReadObject(const DeviceObject& object,
                                                     std::span<const CK_ATTRIBUTE_TYPE> types) {
  spec::Attributes read;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    ASSIGN_OR_RETURN(read, link_.device().ReadAttributes(session.session(), object.handle, types));
    return {};
  }));
  return read;
}

Status Pkcs11Backend::DestroyObject(const DeviceObject& object) {
  const ByteView id = object.attributes.View(CKA_ID);
  const CK_OBJECT_CLASS object_class = object.attributes.Ulong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  return Attempt([&](Session& session) -> Status {
    if (!id.empty()) return link_.device().DestroyById(session.session(), object_class, id);
    // Without an id there is only the handle; it must still be what was looked at.
    const auto now = link_.device().ReadAttributes(session.session(), object.handle, kExamined);
    if (!now.ok() || *now != object.attributes)
      return Fail(CKR_OBJECT_HANDLE_INVALID, "the object has changed since it was looked at");
    const CK_RV rv = functions()->C_DestroyObject(session.session(), object.handle);
    if (rv != CKR_OK) return DeviceRefused("C_DestroyObject", rv);
    return {};
  });
}

Fallible<std::vector<Bytes>> Pkcs11Backend::ReadNotes(std::string_view name) {
  std::vector<Bytes> notes;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    notes.clear();
    ObjectTemplate wanted;
    WantNote(wanted, CKO_DATA, name);
    ASSIGN_OR_RETURN(const auto handles, FindAll(functions(), session.session(), wanted));
    constexpr CK_ATTRIBUTE_TYPE kValue[] = {CKA_VALUE};
    for (const CK_OBJECT_HANDLE handle : handles) {
      ASSIGN_OR_RETURN(const spec::Attributes read, link_.device().ReadAttributes(session.session(), handle, kValue));
      if (read.View(CKA_VALUE).size() <= kNoteBytesMax) notes.push_back(ToBytes(read.View(CKA_VALUE)));
    }
    return {};
  }));
  return notes;
}

// The new note is there before an old one goes: at every moment there is at least one.
Status Pkcs11Backend::ReplaceNote(std::string_view name, ByteView value) {
  return Attempt([&](Session& session) -> Status {
    ObjectTemplate wanted;
    WantNote(wanted, CKO_DATA, name);
    ASSIGN_OR_RETURN(const auto old, FindAll(functions(), session.session(), wanted));
    ObjectTemplate attributes;
    WantNote(attributes, CKO_DATA, name);
    attributes.AddBool(CKA_PRIVATE, true);
    attributes.AddBytes(CKA_APPLICATION, AsBytes("cmkd"));
    attributes.AddBytes(CKA_VALUE, value);
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    const CK_RV rv = functions()->C_CreateObject(session.session(), attributes.data(), attributes.size(), &made);
    if (rv != CKR_OK) return DeviceRefused("C_CreateObject", rv);
    for (const CK_OBJECT_HANDLE each : old) (void)functions()->C_DestroyObject(session.session(), each);
    return {};
  });
}

}  // namespace cmkd::daemon
