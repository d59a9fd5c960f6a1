// Mechanism parameters from text, so that known answers can be tables: the parts of a parameter, separated by |, by the
// kind that the mechanism's row says.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::sim {

// A mechanism and everything that its parameter points to.
class ParameterFromText {
 public:
  ParameterFromText(CK_MECHANISM_TYPE type, std::string_view text);
  ParameterFromText(const ParameterFromText&) = delete;
  ParameterFromText& operator=(const ParameterFromText&) = delete;
  operator CK_MECHANISM*() { return &mechanism_; }  // NOLINT

 private:
  template <class Struct>
  Struct& New() {
    auto made = std::make_shared<Struct>();
    mechanism_.pParameter = made.get();
    mechanism_.ulParameterLen = sizeof(Struct);
    Struct& kept = *made;
    kept_.push_back(std::move(made));
    return kept;
  }
  // Bytes that stay where they are.
  CK_BYTE* Keep(const Bytes& bytes);
  CK_BYTE* Part(std::size_t i, CK_ULONG& length);
  CK_ULONG Number(std::size_t i) const;
  CK_MECHANISM_TYPE Named(std::size_t i) const;
  void FillSp800(bool feedback, bool counter);

  CK_MECHANISM mechanism_;
  std::vector<std::string_view> parts_;
  std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace cmkd::sim
