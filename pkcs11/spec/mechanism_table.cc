// The mechanism table: the families' rows, put together and sorted while compiling. A new mechanism is one line in the
// mechanism_rows_*.h of its family, its known answers, and nothing else.
#include "pkcs11/spec/mechanism_table.h"

#include <algorithm>
#include <array>

#include "pkcs11/spec/mechanism_rows_aes.h"
#include "pkcs11/spec/mechanism_rows_curves.h"
#include "pkcs11/spec/mechanism_rows_derivation.h"
#include "pkcs11/spec/mechanism_rows_des.h"
#include "pkcs11/spec/mechanism_rows_digests.h"
#include "pkcs11/spec/mechanism_rows_discrete_log.h"
#include "pkcs11/spec/mechanism_rows_otp.h"
#include "pkcs11/spec/mechanism_rows_rsa.h"

namespace cmkd::spec {
namespace {

constexpr bool Before(const MechanismRow& a, const MechanismRow& b) { return a.type < b.type; }

constexpr auto DigestFamilyRows() {
  std::array<MechanismRow, rows::kDigestFamilies.size() * 5> all{};
  auto at = all.begin();
  for (const auto& family : rows::kDigestFamilies) at = std::copy(family.begin(), family.end(), at);
  return all;
}

template <class... Families>
constexpr auto Together(const Families&... families) {
  std::array<MechanismRow, (std::tuple_size_v<Families> + ...)> all{};
  auto at = all.begin();
  ((at = std::copy(families.begin(), families.end(), at)), ...);
  std::sort(all.begin(), all.end(), Before);
  return all;
}

constexpr auto kRows =
    Together(DigestFamilyRows(), rows::kOtherDigestRows, rows::kRsaRows, rows::kCurveRows, rows::kSm2Rows,
             rows::kDiscreteLogRows, rows::kAesRows, rows::kChachaRows, rows::kSm4Rows, rows::kDesRows,
             rows::kGenericRows, rows::kDerivationRows, rows::kTlsRows, rows::kOtpRows);

constexpr bool StrictlySorted() {
  return std::adjacent_find(kRows.begin(), kRows.end(), [](const auto& a, const auto& b) { return !Before(a, b); }) ==
         kRows.end();
}
static_assert(StrictlySorted(), "a mechanism has two rows");

}  // namespace

std::span<const MechanismRow> Mechanisms() { return kRows; }

const MechanismRow* FindMechanism(CK_MECHANISM_TYPE type) {
  const auto row = std::lower_bound(kRows.begin(), kRows.end(), type,
                                    [](const MechanismRow& r, CK_MECHANISM_TYPE t) { return r.type < t; });
  return row != kRows.end() && row->type == type ? &*row : nullptr;
}

std::size_t DigestLength(CK_MECHANISM_TYPE digest) {
  switch (digest) {
    case CKM_MD5: return 16;
    case CKM_SHA_1: return 20;
    case CKM_SHA224:
    case CKM_SHA512_224:
    case CKM_SHA3_224: return 28;
    case CKM_SHA256:
    case CKM_SHA512_256:
    case CKM_SHA3_256:
    case CKM_SM3: return 32;
    case CKM_SHA384:
    case CKM_SHA3_384: return 48;
    case CKM_SHA512:
    case CKM_SHA512_T:
    case CKM_SHA3_512:
    case CKM_BLAKE2B_512: return 64;
    default: return 0;
  }
}

bool InheritsSecrecy(Recipe recipe, bool other_keys) {
  switch (recipe) {
    case Recipe::kSp800Counter:
    case Recipe::kSp800Feedback:
    case Recipe::kSp800DoublePipeline: return other_keys;
    case Recipe::kConcatenateKeys:
    case Recipe::kConcatenateBaseAndData:
    case Recipe::kConcatenateDataAndBase:
    case Recipe::kXorData:
    case Recipe::kExtractBits:
    case Recipe::kEcbEncryptData:
    case Recipe::kCbcEncryptData:
    case Recipe::kDigestDerive:
    case Recipe::kShakeDerive: return true;
    default: return false;
  }
}

}  // namespace cmkd::spec
