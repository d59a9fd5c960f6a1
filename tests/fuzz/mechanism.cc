// Mechanisms with their parameters. Input: a mechanism as it stands in a request. What CheckParameter lets pass is
// within bounds and can be read without following a pointer out of them.
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/template_codec.h"
#include "pkcs11/wire/codec.h"
#include "tests/fuzz/fuzz.h"

namespace {

// Touches every byte, for the sanitizer.
std::size_t Sum(cmkd::ByteView bytes) {
  std::size_t sum = 0;
  for (const std::uint8_t byte : bytes) sum += byte;
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  wire::Reader r({data, size});
  wire::Arena arena;
  spec::Mechanism shape;
  if (wire::DecodeRequest(r, arena, shape) != CKR_OK || !r.ok() || shape.value == nullptr) return 0;
  const CK_MECHANISM& mechanism = *shape.value;
  const spec::MechanismRow* row = spec::FindMechanism(mechanism.mechanism);
  if (shape.Check() != CKR_OK || row == nullptr) return 0;
  const Status checked = spec::CheckParameter(*row, mechanism);
  if (!checked.ok()) {
    FUZZ_CHECK(checked.error().rv == CKR_MECHANISM_PARAM_INVALID);
    return 0;
  }
  const spec::ParameterLayout* layout = spec::LayoutFor(row->parameter, mechanism.ulParameterLen);
  FUZZ_CHECK(layout != nullptr);
  std::size_t sum = 0;
  for (const spec::ParameterField& field : layout->fields) {
    const bool inside = field.kind == spec::FieldKind::kUlong || field.kind == spec::FieldKind::kByte ||
                        field.kind == spec::FieldKind::kFixedBytes || field.kind == spec::FieldKind::kKeyHandle;
    if (inside) continue;
    if (field.kind == spec::FieldKind::kStruct || field.kind == spec::FieldKind::kStructArray) {
      FUZZ_CHECK(spec::FieldStructCount(mechanism.pParameter, field) <= field.limit);
      continue;
    }
    FUZZ_CHECK(field.kind != spec::FieldKind::kTemplate);  // those are in structs
    const std::size_t bytes = spec::FieldBufferBytes(mechanism.pParameter, field);
    const bool fixed = field.kind == spec::FieldKind::kBytesOfFixedLength;
    FUZZ_CHECK(bytes <= field.limit || fixed);
    const auto* buffer = static_cast<const std::uint8_t*>(spec::FieldPointer(mechanism.pParameter, field));
    // The derivation of a DH master secret gives no version back, and says so with NULL.
    if (buffer == nullptr && fixed) continue;
    FUZZ_CHECK(buffer != nullptr || bytes == 0);
    if (buffer != nullptr) sum += Sum({buffer, bytes});
  }
  for (const MutableBytes piece : spec::ResultsIn(*row, mechanism)) sum += Sum(piece);
  for (const spec::OtherKeyPlace& place : spec::OtherKeysIn(*row, mechanism)) {
    FUZZ_CHECK(place.handle != nullptr);
    sum += *place.handle;  // UBSan sees one that is not aligned
  }
  for (const CK_DERIVED_KEY& key : spec::AdditionalKeysIn(*row, mechanism)) {
    FUZZ_CHECK(key.phKey != nullptr && key.ulAttributeCount <= limits::kTemplateAttributesMax);
    for (CK_ULONG i = 0; i < key.ulAttributeCount; ++i) {
      const CK_ATTRIBUTE& attribute = key.pTemplate[i];
      const bool nested = spec::IsTemplateAttribute(attribute.type);
      const auto* value = static_cast<const std::uint8_t*>(attribute.pValue);
      if (!nested && value != nullptr) sum += Sum({value, attribute.ulValueLen});
    }
  }
  if (row->parameter == spec::ParameterKind::kGcm) {
    const spec::GcmParameter gcm = spec::ReadGcm(mechanism);
    sum += Sum(gcm.iv) + Sum(gcm.aad);
    FUZZ_CHECK(gcm.tag_bits >= 96 && gcm.tag_bits <= 128);
  }
  // The length of an output is one that can be allocated, or none.
  static constexpr std::size_t kInputs[] = {0, 1, 15, 16, 17, 4096, ~std::size_t{0} - 8, ~std::size_t{0}};
  for (const std::size_t input : kInputs) {
    for (const bool encrypting : {true, false}) {
      const auto output = spec::OutputLength(*row, mechanism, 2048, input, encrypting);
      if (output && input <= 4096) FUZZ_CHECK(*output <= input + 4096);
    }
  }
  return sum == ~std::size_t{0} ? 1 : 0;
}
