// Written apart from the codec, from the meaning of the shapes, so that a fault of the codec does not hide in both.
#include "tests/calls/describe.h"

#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::tests {

namespace {

class Describer : public ShapeVisitor {
 public:
  std::string text;

 protected:
  void Number(CK_ULONG value) { text += std::to_string(value) + ' '; }
  void Flag(bool value) { text += value ? "given " : "NULL "; }
  void Data(const void* data, std::size_t bytes) {
    Number(bytes);
    text += Hex({static_cast<const std::uint8_t*>(data), bytes}) + ' ';
  }
  void Structs(const void* parameter, const spec::ParameterField& field) {
    const auto* first = static_cast<const std::uint8_t*>(spec::FieldPointer(parameter, field));
    const std::size_t count = spec::FieldStructCount(parameter, field);
    Number(count);
    Flag(first != nullptr);
    for (std::size_t i = 0; first != nullptr && i < count; ++i) {
      for (const spec::ParameterField& inner : field.inner()) Field(first + i * field.size, inner);
    }
  }
  void Attributes(const CK_ATTRIBUTE* list, std::size_t count, bool null_differs) {
    Number(count);
    for (std::size_t i = 0; i < count; ++i) {
      Number(list[i].type);
      if (spec::IsTemplateAttribute(list[i].type)) {
        text += "( ";
        Attributes(static_cast<const CK_ATTRIBUTE*>(list[i].pValue), list[i].ulValueLen / sizeof(CK_ATTRIBUTE), false);
        text += ") ";
        continue;
      }
      // Inside a nested template NULL and empty travel alike.
      if (null_differs) Flag(list[i].pValue != nullptr);
      Data(list[i].pValue, list[i].ulValueLen);
    }
  }
  void Template(const void* parameter, const spec::ParameterField& field) {
    const auto* list = static_cast<const CK_ATTRIBUTE*>(spec::FieldPointer(parameter, field));
    const std::size_t count = spec::FieldStructCount(parameter, field);
    Number(count);
    Flag(list != nullptr);
    if (list != nullptr) Attributes(list, count, true);
  }
  void Field(const void* parameter, const spec::ParameterField& field) {
    text += std::string(field.name) + ' ';
    const auto* base = static_cast<const std::uint8_t*>(parameter);
    switch (field.kind) {
      case spec::FieldKind::kStruct:
      case spec::FieldKind::kStructArray: return Structs(parameter, field);
      case spec::FieldKind::kTemplate: return Template(parameter, field);
      case spec::FieldKind::kKeyHandle:
      case spec::FieldKind::kUlong:
      case spec::FieldKind::kByte: return Number(spec::FieldUlong(parameter, field));
      case spec::FieldKind::kFixedBytes: return Data(base + field.offset, field.size);
      default: break;
    }
    CK_ULONG length = 0;
    if (field.kind == spec::FieldKind::kRoom) {
      length = spec::FieldBufferBytes(parameter, field);
    } else if (field.kind != spec::FieldKind::kBytesOfFixedLength) {
      std::memcpy(&length, base + field.length_offset, sizeof length);
    }
    Number(length);
    const void* buffer = spec::FieldPointer(parameter, field);
    Flag(buffer != nullptr);
    const bool only_out = field.direction == spec::Direction::kOut;
    if (buffer != nullptr && !only_out) Data(buffer, spec::FieldBufferBytes(parameter, field));
  }
};

class RequestDescriber final : public Describer {
 public:
  void On(spec::Ulong& shape) override { Number(shape.value); }
  void On(spec::Bool8& shape) override { Number(shape.value); }
  void On(spec::BytesIn& shape) override {
    Flag(shape.data != nullptr);
    if (shape.data != nullptr) Data(shape.data, shape.length);
  }
  void On(spec::Label32& shape) override { Data(shape.text, 32); }
  void On(spec::Unused&) override {}
  void On(spec::DerivingMechanism& shape) override { On(static_cast<spec::Mechanism&>(shape)); }
  void On(spec::Mechanism& shape) override {
    Flag(shape.value != nullptr);
    if (shape.value == nullptr) return;
    const CK_MECHANISM& m = *shape.value;
    Number(m.mechanism);
    Flag(m.pParameter != nullptr);
    if (m.pParameter == nullptr) return;
    const spec::MechanismRow* row = spec::FindMechanism(m.mechanism);
    const spec::ParameterLayout* layout = row == nullptr ? nullptr : spec::LayoutFor(row->parameter, m.ulParameterLen);
    if (layout == nullptr || layout->flat) return Data(m.pParameter, m.ulParameterLen);
    Number(m.ulParameterLen);
    for (const spec::ParameterField& field : layout->fields) Field(m.pParameter, field);
  }
  void On(spec::MechanismInOut& shape) override {
    Flag(shape.value != nullptr);
    if (shape.value == nullptr) return;
    Number(shape.value->mechanism);
    spec::ParameterInOut parameter = shape.parameter();
    On(parameter);
  }
  void On(spec::TemplateIn& shape) override { Attributes(shape.list, shape.count, true); }
  void On(spec::TemplateInOut& shape) override {
    Number(shape.count);
    for (const CK_ATTRIBUTE& attribute : shape.view()) {
      Number(attribute.type);
      Flag(attribute.pValue != nullptr);
      if (attribute.pValue == nullptr) continue;
      if (!spec::IsTemplateAttribute(attribute.type)) {
        Number(std::min<CK_ULONG>(attribute.ulValueLen, limits::kAttributeBytesMax));
        continue;
      }
      // Of an array of attributes its entries count, and what room each has.
      const std::size_t entries =
          attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : attribute.ulValueLen / sizeof(CK_ATTRIBUTE);
      Number(std::min(entries, spec::kTemplateCountMax));
      for (std::size_t i = 0; i < std::min(entries, spec::kTemplateCountMax); ++i) {
        const CK_ATTRIBUTE& inner = static_cast<const CK_ATTRIBUTE*>(attribute.pValue)[i];
        Flag(inner.pValue != nullptr);
        if (inner.pValue != nullptr) Number(std::min<CK_ULONG>(inner.ulValueLen, limits::kAttributeBytesMax));
      }
    }
  }
  void On(spec::ParameterInOut& shape) override {
    Flag(shape.data != nullptr);
    const spec::ParameterLayout* layout = shape.data == nullptr ? nullptr : spec::MessageLayout(shape.length);
    if (layout == nullptr) return;
    Number(shape.length);
    for (const spec::ParameterField& field : layout->fields) Field(shape.data, field);
  }
  void On(spec::UlongOut&) override {}
  void On(spec::BytesOut& shape) override {
    Flag(shape.data != nullptr);
    Flag(shape.length != nullptr);
    if (shape.data != nullptr && shape.length != nullptr) {
      Number(std::min<CK_ULONG>(*shape.length, limits::kFrameBytesMax));
    }
  }
  void On(spec::FillOut& shape) override { Number(shape.length); }
  void On(spec::UlongListOut& shape) override {
    Flag(shape.list != nullptr);
    if (shape.list != nullptr) Number(std::min<CK_ULONG>(*shape.count, wire::kListEntriesMax));
  }
  void On(spec::HandlesOut& shape) override { Number(std::min<CK_ULONG>(shape.max, limits::kFindBatchMax)); }
  void On(spec::Document&) override {}
  void OnStruct(void*&, std::size_t) override {}
};

class ResultDescriber final : public Describer {
 public:
  explicit ResultDescriber(CK_RV rv)
      : ok_(rv == CKR_OK),
        sized_(ok_ || rv == CKR_BUFFER_TOO_SMALL),
        attributes_(sized_ || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID) {}

  void On(spec::Ulong&) override {}
  void On(spec::Bool8&) override {}
  void On(spec::BytesIn&) override {}
  void On(spec::Label32&) override {}
  void On(spec::Unused&) override {}
  void On(spec::Mechanism&) override {}
  void Handles(const CK_DERIVED_KEY* keys, CK_ULONG count) {
    for (CK_ULONG i = 0; keys != nullptr && i < count; ++i) {
      if (keys[i].phKey != nullptr) Number(*keys[i].phKey);
    }
  }
  // Written from the meaning: what a derivation gives beside its key.
  void On(spec::DerivingMechanism& shape) override {
    if (!ok_ || shape.value == nullptr || shape.value->pParameter == nullptr) return;
    const CK_MECHANISM& m = *shape.value;
    const auto given = [&](std::size_t bytes) { return m.ulParameterLen == bytes; };
    const bool tls12 = m.mechanism == CKM_TLS12_KEY_AND_MAC_DERIVE || m.mechanism == CKM_TLS12_KEY_SAFE_DERIVE;
    if ((tls12 && given(sizeof(CK_TLS12_KEY_MAT_PARAMS))) ||
        (m.mechanism == CKM_TLS_KEY_AND_MAC_DERIVE && given(sizeof(CK_SSL3_KEY_MAT_PARAMS)))) {
      const auto& keys = *static_cast<const CK_SSL3_KEY_MAT_PARAMS*>(m.pParameter);
      const CK_SSL3_KEY_MAT_OUT* out = keys.pReturnedKeyMaterial;
      const CK_ULONG iv = m.mechanism == CKM_TLS12_KEY_SAFE_DERIVE ? 0 : keys.ulIVSizeInBits / 8;
      if (out == nullptr || iv > 64) return;
      for (const CK_ULONG handle : {out->hClientMacSecret, out->hServerMacSecret, out->hClientKey, out->hServerKey}) {
        Number(handle);
      }
      if (out->pIVClient != nullptr) Data(out->pIVClient, iv);
      if (out->pIVServer != nullptr) Data(out->pIVServer, iv);
    } else if (m.mechanism == CKM_TLS_PRF && given(sizeof(CK_TLS_PRF_PARAMS))) {
      const auto& prf = *static_cast<const CK_TLS_PRF_PARAMS*>(m.pParameter);
      if (prf.pOutput != nullptr) Data(prf.pOutput, *prf.pulOutputLen);
    } else if ((m.mechanism == CKM_DSA_PROBABILISTIC_PARAMETER_GEN ||
                m.mechanism == CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN) &&
               given(sizeof(CK_DSA_PARAMETER_GEN_PARAM))) {
      const auto& domain = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(m.pParameter);
      if (domain.pSeed != nullptr) Data(domain.pSeed, domain.ulSeedLen);
    } else if ((m.mechanism == CKM_SP800_108_COUNTER_KDF || m.mechanism == CKM_SP800_108_DOUBLE_PIPELINE_KDF) &&
               given(sizeof(CK_SP800_108_KDF_PARAMS))) {
      const auto& kdf = *static_cast<const CK_SP800_108_KDF_PARAMS*>(m.pParameter);
      Handles(kdf.pAdditionalDerivedKeys, kdf.ulAdditionalDerivedKeys);
    } else if (m.mechanism == CKM_SP800_108_FEEDBACK_KDF && given(sizeof(CK_SP800_108_FEEDBACK_KDF_PARAMS))) {
      const auto& kdf = *static_cast<const CK_SP800_108_FEEDBACK_KDF_PARAMS*>(m.pParameter);
      Handles(kdf.pAdditionalDerivedKeys, kdf.ulAdditionalDerivedKeys);
    } else if (m.mechanism == CKM_TLS12_MASTER_KEY_DERIVE && given(sizeof(CK_TLS12_MASTER_KEY_DERIVE_PARAMS))) {
      const CK_VERSION* version = static_cast<const CK_TLS12_MASTER_KEY_DERIVE_PARAMS*>(m.pParameter)->pVersion;
      if (version != nullptr) Data(version, 2);
    }
  }
  void On(spec::MechanismInOut& shape) override {
    spec::ParameterInOut parameter = shape.parameter();
    On(parameter);
  }
  void On(spec::TemplateIn&) override {}
  void On(spec::TemplateInOut& shape) override {
    if (!attributes_) return;
    for (const CK_ATTRIBUTE& attribute : shape.view()) {
      Number(attribute.ulValueLen);
      const bool has_value = attribute.pValue != nullptr && attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION;
      if (!has_value) continue;
      if (!spec::IsTemplateAttribute(attribute.type)) {
        Data(attribute.pValue, attribute.ulValueLen);
        continue;
      }
      for (std::size_t i = 0; i < attribute.ulValueLen / sizeof(CK_ATTRIBUTE); ++i) {
        const CK_ATTRIBUTE& inner = static_cast<const CK_ATTRIBUTE*>(attribute.pValue)[i];
        Number(inner.type);
        Number(inner.ulValueLen);
        if (inner.pValue != nullptr) Data(inner.pValue, inner.ulValueLen);
      }
    }
  }
  void On(spec::ParameterInOut& shape) override {
    const spec::ParameterLayout* layout = !ok_ || shape.data == nullptr ? nullptr : spec::MessageLayout(shape.length);
    if (layout == nullptr) return;
    for (const spec::ParameterField& field : layout->fields) Field(shape.data, field);
  }
  void On(spec::UlongOut& shape) override {
    if (ok_) Number(*shape.value);
  }
  void On(spec::BytesOut& shape) override {
    if (!sized_ || shape.length == nullptr) return;
    Number(*shape.length);
    if (ok_ && shape.data != nullptr) Data(shape.data, *shape.length);
  }
  void On(spec::FillOut& shape) override {
    if (ok_) Data(shape.data, shape.length);
  }
  void On(spec::UlongListOut& shape) override {
    if (!sized_) return;
    Number(*shape.count);
    if (ok_ && shape.list != nullptr) Data(shape.list, *shape.count * sizeof(CK_ULONG));
  }
  void On(spec::HandlesOut& shape) override {
    if (ok_) Data(shape.list, *shape.count * sizeof(CK_OBJECT_HANDLE));
  }
  void On(spec::Document& shape) override { Data(shape.value.data(), shape.value.size()); }
  void OnStruct(void*& value, std::size_t bytes) override {
    if (ok_) Data(value, bytes);
  }

 private:
  bool ok_, sized_, attributes_;
};

}  // namespace

std::string DescribeRequest(AnyCall& call) {
  RequestDescriber describer;
  call.Visit(describer);
  return describer.text;
}

std::string DescribeResults(AnyCall& call, CK_RV rv) {
  ResultDescriber describer(rv);
  call.Visit(describer);
  return describer.text;
}

}  // namespace cmkd::tests
