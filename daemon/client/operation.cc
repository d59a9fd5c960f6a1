// Copies of mechanisms.
#include "daemon/client/operation.h"

#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

std::unique_ptr<OwnedMechanism> OwnedMechanism::Copy(const CK_MECHANISM& mechanism) {
  spec::Mechanism given{const_cast<CK_MECHANISM*>(&mechanism)};
  wire::Buffer buffer;
  wire::Writer writer(buffer);
  wire::EncodeRequest(writer, given);
  auto copy = std::make_unique<OwnedMechanism>();
  wire::Reader reader(buffer.view());
  if (wire::DecodeRequest(reader, copy->arena_, copy->shape_) != CKR_OK || !reader.AtEnd()) return nullptr;
  copy->Modernise();
  return copy;
}

// Devices know one layout of CK_GCM_PARAMS, the one with ulIvBits; callers may use the older one, too.
void OwnedMechanism::Modernise() {
  const spec::MechanismRow* row = spec::FindMechanism(shape_.value->mechanism);
  if (row == nullptr || row->parameter != spec::ParameterKind::kGcm ||
      shape_.value->ulParameterLen == sizeof(CK_GCM_PARAMS))
    return;
  const spec::GcmParameter given = spec::ReadGcm(*shape_.value);
  auto* modern = arena_.New<CK_GCM_PARAMS>();
  modern->pIv = const_cast<CK_BYTE_PTR>(given.iv.data());
  modern->ulIvLen = given.iv.size();
  modern->ulIvBits = given.iv.size() * 8;
  modern->pAAD = const_cast<CK_BYTE_PTR>(given.aad.data());
  modern->ulAADLen = given.aad.size();
  modern->ulTagBits = given.tag_bits;
  shape_.value->pParameter = modern;
  shape_.value->ulParameterLen = sizeof *modern;
}

}  // namespace cmkd::daemon
