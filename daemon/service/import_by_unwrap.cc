// C_UnwrapKey as an import.
#include "daemon/service/import_by_unwrap.h"

#include <time.h>

#include "daemon/custody/importer.h"
#include "daemon/service/key_use.h"
#include "daemon/service/new_object.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

namespace {

CK_RSA_PKCS_MGF_TYPE MaskFor(CK_MECHANISM_TYPE hash) { return hash == CKM_SHA_1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256; }

// Whether the mechanism says what the import parameters were made for. The
// daemon opens it itself (importer.cc), so the device need not have the
// mechanism.
Status CheckAlgorithm(const CK_MECHANISM& mechanism, ImportAlgorithm algorithm) {
  const spec::MechanismRow* row = spec::FindMechanism(mechanism.mechanism);
  const bool carried = algorithm == ImportAlgorithm::kRsaAesSha256;
  if (row == nullptr || row->type != (carried ? CKM_RSA_AES_KEY_WRAP : CKM_RSA_PKCS_OAEP))
    return Fail(CKR_MECHANISM_INVALID, "the import parameters are for another mechanism", spec::kMechanismNotAllowed);
  RETURN_IF_ERROR(spec::CheckParameter(*row, mechanism));
  const auto* wrap = static_cast<const CK_RSA_AES_KEY_WRAP_PARAMS*>(mechanism.pParameter);
  const auto* oaep = carried ? wrap->pOAEPParams : static_cast<const CK_RSA_PKCS_OAEP_PARAMS*>(mechanism.pParameter);
  const CK_MECHANISM_TYPE hash = algorithm == ImportAlgorithm::kOaepSha1 ? CKM_SHA_1 : CKM_SHA256;
  const bool same = oaep != nullptr && oaep->hashAlg == hash && oaep->mgf == MaskFor(hash) &&
                    oaep->ulSourceDataLen == 0 && (!carried || wrap->ulAESKeyBits == 256);
  if (!same) return Fail(CKR_MECHANISM_PARAM_INVALID, "the import parameters are for another algorithm");
  return {};
}

// The end of the last day, YYYYMMDD in UTC.
Fallible<std::optional<Timestamp>> EndOf(ByteView day) {
  if (day.empty()) return std::optional<Timestamp>{};
  tm parts{};
  const std::string text(AsText(day));
  if (text.size() != 8 || ::strptime(text.c_str(), "%Y%m%d", &parts) == nullptr)
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_END_DATE is no date");
  return std::optional<Timestamp>(Timestamp{::timegm(&parts)} + Days(1));
}

// What the template says of the key must be so already. Gives the material's
// end.
Fallible<std::optional<Timestamp>> CheckTemplateFits(const Object& key, std::span<const CK_ATTRIBUTE> attributes) {
  bool on_token = false;
  std::optional<Timestamp> end;
  for (const CK_ATTRIBUTE& given : attributes) {
    const ByteView value(static_cast<const std::uint8_t*>(given.pValue), given.ulValueLen);
    if (given.type == CKA_END_DATE) {
      ASSIGN_OR_RETURN(end, EndOf(value));
      continue;
    }
    const bool same = given.type == CKA_VALUE_LEN ? key.attributes.Ulong(CKA_VALUE_LEN).has_value() &&
                                                        Equal(key.attributes.View(CKA_VALUE_LEN), value)
                                                  : Equal(key.attributes.View(given.type), value);
    if (!same)
      return Fail(CKR_TEMPLATE_INCONSISTENT, "the template is not that of the key which waits for its material");
    on_token = on_token || given.type == CKA_TOKEN;
  }
  if (!on_token) return Fail(CKR_TEMPLATE_INCOMPLETE, "CKA_TOKEN says that a key of the token is meant");
  return end;
}

// The object of the key that waits.
Fallible<ObjectPtr> WaitingKey(Invocation& invocation, const cmk::Cmk& key) {
  const store::Term of_key[] = {store::OfCmk(key.id)};
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
  STORE_OR_RETURN(const auto serials, read->FindObjects(key.token, of_key));
  for (const cmk::ObjectSerial serial : serials) {
    ASSIGN_OR_RETURN(ObjectPtr object, invocation.daemon.records.GetObject(serial.value));
    if (object->object_class == CKO_SECRET_KEY) return object;
  }
  return Fail(CKR_UNWRAPPING_KEY_HANDLE_INVALID, "the key is gone", spec::kNotFound);
}

CK_RV CodeOf(const Error& error) {
  const auto refusal = cmk::RefusalFromNumber(error.detail);
  if (!refusal) return error.rv;
  switch (*refusal) {
    case cmk::Refusal::kMaterialLength: return CKR_WRAPPED_KEY_LEN_RANGE;
    case cmk::Refusal::kMaterialUnreadable:
    case cmk::Refusal::kMaterialMismatch: return CKR_WRAPPED_KEY_INVALID;
    case cmk::Refusal::kDateOutOfBounds: return CKR_ATTRIBUTE_VALUE_INVALID;
    default: return CKR_UNWRAPPING_KEY_HANDLE_INVALID;
  }
}

}  // namespace

ObjectPtr FindImportKey(Invocation& invocation, CK_OBJECT_HANDLE handle) {
  if (handle >= kSessionObjectBase) return nullptr;
  const auto found = invocation.daemon.records.GetObject(handle);
  if (!found.ok() || !(*found)->is_import_key() || (*found)->object_class != CKO_PRIVATE_KEY) return nullptr;
  return IsVisible(invocation, **found, UserLoggedIn(invocation)) ? *found : nullptr;
}

Fallible<CK_OBJECT_HANDLE> RepeatedImport(const Invocation& invocation, CK_OBJECT_HANDLE handle) {
  if (handle >= kSessionObjectBase || invocation.daemon.records.GetObject(handle).ok()) return CK_INVALID_HANDLE;
  const RequestName request = NameOfRequest(invocation);
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
  STORE_OR_RETURN(const auto before, read->FindRequest(request.tag, invocation.daemon.clock.Now()));
  if (!before || before->objects.empty() || before->body_digest != request.body_digest) return CK_INVALID_HANDLE;
  STORE_OR_RETURN(const auto object, read->FindObject(before->objects.front()));
  return object && object->cmk ? before->objects.front().value : CK_INVALID_HANDLE;
}

Fallible<CK_OBJECT_HANDLE> ImportByUnwrap(Invocation& invocation, const Object& import_key,
                                          const CK_MECHANISM& mechanism, ByteView wrapped,
                                          std::span<const CK_ATTRIBUTE> attributes) {
  RecordKey(invocation, import_key, mechanism.mechanism);
  ASSIGN_OR_RETURN(const auto key, invocation.daemon.records.GetCmk(*import_key.cmk));
  const auto algorithm = AlgorithmOfImportKey(import_key, *key);
  if (!algorithm) return Fail(CKR_UNWRAPPING_KEY_HANDLE_INVALID, "the import parameters are gone");
  RETURN_IF_ERROR(CheckAlgorithm(mechanism, *algorithm));
  RETURN_IF_ERROR(MayWrite(invocation, true, true));
  ASSIGN_OR_RETURN(const ObjectPtr waiting, WaitingKey(invocation, *key));
  ASSIGN_OR_RETURN(const auto end, CheckTemplateFits(*waiting, attributes));
  invocation.changed = true;
  invocation.audit_text = "key.import " + key->name;
  RequestName request = NameOfRequest(invocation);
  request.makes = {{waiting->handle}};
  const auto imported =
      ImportMaterial(invocation.daemon, key->id, Hex(import_key.attributes.View(CKA_ID)), wrapped, end, request);
  if (!imported.ok()) return Fail(CodeOf(imported.error()), imported.error().why, imported.error().detail);
  invocation.audit.object_handle = waiting->handle;
  return waiting->handle;
}

}  // namespace cmkd::daemon
