// Bringing one's own key material (BYOK): a key pair in the HSM for each set of import parameters, good for one import
// into one key within 24 hours; the material opened, checked and given to the HSM.
#pragma once

#include <string>
#include <string_view>

#include "daemon/service/daemon.h"
#include "daemon/service/key_specs.h"

namespace cmkd::daemon {

// How the material is wrapped. Stored with import parameters: add at the end, never renumber.
enum class ImportAlgorithm : std::uint8_t { kOaepSha256 = 1, kOaepSha1 = 2, kRsaAesSha256 = 3 };
std::string_view Name(ImportAlgorithm algorithm);
std::optional<ImportAlgorithm> ImportAlgorithmFromName(std::string_view name);

// Whether keys of this spec take imported material under this crypto profile: `aes` 32 bytes of AES, `sm` 16 bytes of
// SM4, `any` both and the shorter AES keys. kMaterialLength otherwise.
Status CheckImportable(CryptoProfile profile, const KeySpec& spec);

// The days that an object shows, YYYYMMDD in UTC.
std::string DayOf(Timestamp time);

// Makes the objects that stand for a key's import parameters what its record says: a private and a public key for each
// set, labelled "kms-import:NAME", with the import token as CKA_ID; none for sets that are gone. Part of the
// transaction that changes the record.
Status KeepImportKeys(store::WriteTxn& txn, const cmk::Cmk& key);
// Whether the import parameters that an object stands for are good now.
bool IsGoodImportKey(const Object& object, const cmk::Cmk& key, Timestamp now);
// How they want the material wrapped.
std::optional<ImportAlgorithm> AlgorithmOfImportKey(const Object& object, const cmk::Cmk& key);

struct ImportParameters {
  std::string token;  // names them in the import, in hexadecimal
  Bytes public_key;   // SubjectPublicKeyInfo, DER
  Timestamp expires;
};

// New parameters for a key of origin external. Earlier ones stay good for their time; of many the oldest goes.
// Refusals: kNotImported for other keys; those of the lifecycle.
Fallible<ImportParameters> MakeImportParameters(Daemon& daemon, const cmk::CmkId& id, ImportAlgorithm algorithm,
                                                CK_ULONG bits);

// Opens `wrapped` and makes it the key's material; the parameters are spent in the same transaction. `expires`: the
// material is wiped then. Refusals: kImportParametersStale, kMaterialUnreadable, kMaterialLength, kMaterialMismatch,
// kDateOutOfBounds, kMaterialNotExpected, …; each leaves everything as it was.
Fallible<cmk::Cmk> ImportMaterial(Daemon& daemon, const cmk::CmkId& id, const std::string& token, ByteView wrapped,
                                  std::optional<Timestamp> expires, const RequestName& request);

}  // namespace cmkd::daemon
