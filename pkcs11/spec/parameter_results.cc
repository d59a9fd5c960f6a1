// Where C_DeriveKey writes through a mechanism parameter.
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace {

using namespace parameters;
using Results = std::array<MutableBytes, kAdditionalKeysMax>;

Results AdditionalHandles(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  Results handles;
  std::size_t count = 0;
  for (const CK_DERIVED_KEY& key : AdditionalKeysIn(row, mechanism)) {
    auto* at = reinterpret_cast<std::uint8_t*>(key.phKey);
    if (at != nullptr) handles[count++] = MutableBytes(at, sizeof *key.phKey);
  }
  return handles;
}

Results KeyMaterial(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  const TlsKeyMaterialParameter given = ReadTlsKeyMaterial(row, mechanism);
  if (given.out == nullptr || given.iv_bytes > kTlsIv) return {};
  const auto iv = [&](CK_BYTE* at) { return at == nullptr ? MutableBytes() : MutableBytes(at, given.iv_bytes); };
  constexpr std::size_t kHandles = offsetof(CK_SSL3_KEY_MAT_OUT, pIVClient);
  return {MutableBytes(reinterpret_cast<std::uint8_t*>(given.out), kHandles), iv(given.out->pIVClient),
          iv(given.out->pIVServer)};
}

Results Seed(const CK_MECHANISM& mechanism) {
  const auto& given = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(mechanism.pParameter);
  if (given.pSeed == nullptr || given.ulSeedLen > kDsaSeed) return {};
  return {MutableBytes(given.pSeed, given.ulSeedLen)};
}

// The one field of the struct that is written: the version of a TLS master secret, the output of the TLS PRF.
Results WrittenField(const ParameterLayout& layout, const void* parameter) {
  for (const ParameterField& field : layout.fields) {
    const bool alone = field.kind == FieldKind::kRoom || field.kind == FieldKind::kBytesOfFixedLength;
    if (!alone || field.direction == Direction::kIn) continue;
    auto* at = static_cast<std::uint8_t*>(const_cast<void*>(FieldPointer(parameter, field)));
    const std::size_t bytes = FieldBufferBytes(parameter, field);
    if (at != nullptr && bytes <= field.limit) return {MutableBytes(at, bytes)};
  }
  return {};
}

}  // namespace

Results ResultsIn(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(row.parameter, mechanism.ulParameterLen);
  if (layout == nullptr || mechanism.pParameter == nullptr) return {};
  switch (row.parameter) {
    case P::kSp800Kdf:
    case P::kSp800Feedback: return AdditionalHandles(row, mechanism);
    case P::kTlsKeyMaterial:
    case P::kTls12KeyMaterial: return KeyMaterial(row, mechanism);
    case P::kDsaSeedOut: return Seed(mechanism);
    default: return WrittenField(*layout, mechanism.pParameter);
  }
}

}  // namespace cmkd::spec
