// Bringing one's own key material (BYOK): a key pair in the HSM for each set of import parameters, good for one import
// into one key within 24 hours; the material opened, checked and given to the HSM.
#pragma once

#include <string>
#include <string_view>

#include "daemon/service/daemon.h"

namespace cmkd::daemon {

// How the material is wrapped. Stored with import parameters: add at the end, never renumber.
enum class ImportAlgorithm : std::uint8_t { kOaepSha256 = 1, kOaepSha1 = 2, kRsaAesSha256 = 3 };
std::string_view Name(ImportAlgorithm algorithm);
std::optional<ImportAlgorithm> ImportAlgorithmFromName(std::string_view name);

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
