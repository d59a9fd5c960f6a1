// See self_test.h.
#include "firmware_sim/self_test.h"

#include "firmware_sim/engine.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {

Status RunSelfTests() { return {}; }

Status CheckPair(const Key& public_key, const Key& private_key) {
  const auto failed = [] { return Fail(CKR_FIPS_SELF_TEST_FAILED, "pairwise consistency of a new key pair"); };
  if (private_key.type() == CKK_EC_MONTGOMERY) {
    const auto point = ComputePoint(*private_key.curve(), private_key.part(Part::kValue), CKR_FIPS_SELF_TEST_FAILED);
    if (!point.ok() || !Equal(*point, public_key.part(Part::kPoint))) return failed();
    return {};
  }
  const CK_MECHANISM_TYPE type = private_key.type() == CKK_RSA ? CKM_RSA_PKCS : private_key.type() == CKK_EC ? CKM_ECDSA : CKM_EDDSA;
  const CK_MECHANISM mechanism{type, nullptr, 0};
  const spec::MechanismRow& row = *spec::FindMechanism(type);
  constexpr std::uint8_t kMessage[32] = {'p', 'a', 'i', 'r'};
  ASSIGN_OR_RETURN(const auto signing, MakeSignature(row, mechanism, private_key));
  ASSIGN_OR_RETURN(const auto verifying, MakeSignature(row, mechanism, public_key));
  Bytes signature((public_key.bits() + 7) / 8 * 2 + 2);
  RETURN_IF_ERROR(signing->Update(kMessage));
  const auto made = signing->Sign(signature);
  if (!made.ok()) return failed();
  RETURN_IF_ERROR(verifying->Update(kMessage));
  if (!verifying->Verify(ByteView(signature).first(*made)).ok()) return failed();
  return {};
}

}  // namespace cmkd::sim
