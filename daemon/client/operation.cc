// Copies of mechanisms.
#include "daemon/client/operation.h"

namespace cmkd::daemon {

std::unique_ptr<OwnedMechanism> OwnedMechanism::Copy(const CK_MECHANISM& mechanism) {
  spec::Mechanism given{const_cast<CK_MECHANISM*>(&mechanism)};
  wire::Buffer buffer;
  wire::Writer writer(buffer);
  wire::EncodeRequest(writer, given);
  auto copy = std::make_unique<OwnedMechanism>();
  wire::Reader reader(buffer.view());
  if (wire::DecodeRequest(reader, copy->arena_, copy->shape_) != CKR_OK || !reader.AtEnd()) return nullptr;
  return copy;
}

}  // namespace cmkd::daemon
