// Finds the row of a mechanism parameter among the families, and checks the parameter by it.
#include "pkcs11/spec/mechanism_parameters.h"

#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace parameters {

const ParameterRow* FindParameter(ParameterKind kind, std::size_t bytes) {
  for (const auto family :
       {CipherParameters, MacParameters, RsaParameters, DiscreteLogParameters, DerivationParameters, TlsParameters}) {
    for (const ParameterRow& row : family()) {
      if (row.kind == kind && row.Takes(bytes)) return &row;
    }
  }
  return nullptr;
}

Status CheckHmacHash(CK_MECHANISM_TYPE hash) {
  if (DigestLength(hash) == 0 || hash == CKM_SHA512_T) return Invalid("unknown hash");
  return {};
}

}  // namespace parameters

const ParameterLayout* LayoutFor(ParameterKind kind, std::size_t parameter_bytes) {
  const parameters::ParameterRow* row = parameters::FindParameter(kind, parameter_bytes);
  return row == nullptr ? nullptr : &row->layout;
}

Status CheckParameter(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  using parameters::Invalid;
  const std::size_t bytes = mechanism.ulParameterLen;
  const parameters::ParameterRow* parameter = parameters::FindParameter(row.parameter, bytes);
  if (parameter == nullptr) {
    return Invalid(std::string(row.name) + " takes no parameter of " + std::to_string(bytes) + " bytes");
  }
  if (bytes > 0 && mechanism.pParameter == nullptr) return Invalid("pParameter is NULL but has a length");
  RETURN_IF_ERROR(parameters::CheckFields(parameter->layout.fields, mechanism.pParameter));
  return parameter->rule({row, parameter->layout, mechanism});
}

}  // namespace cmkd::spec
