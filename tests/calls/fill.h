// Fills calls with values: RequestFiller as an application would, from NULL to the largest that a shape takes;
// ResultFiller as a daemon would. The same seed gives the same values.
#pragma once

#include <random>
#include <utility>
#include <vector>

#include "pkcs11/spec/mechanism_parameters.h"
#include "tests/calls/any_call.h"

namespace cmkd::tests {

// How far the values go: the largest take time, so most runs are without them.
enum class Size { kSmall, kLarge };

class RequestFiller final : public ShapeVisitor {
 public:
  explicit RequestFiller(std::uint64_t seed, Size size = Size::kSmall) : random_(seed), size_(size) {}

  void On(spec::Ulong& shape) override;
  void On(spec::Bool8& shape) override;
  void On(spec::BytesIn& shape) override;
  void On(spec::Label32& shape) override;
  void On(spec::Unused&) override {}
  void On(spec::Mechanism& shape) override;
  void On(spec::DerivingMechanism& shape) override { On(static_cast<spec::Mechanism&>(shape)); }
  void On(spec::MechanismInOut& shape) override;
  void On(spec::TemplateIn& shape) override;
  void On(spec::TemplateInOut& shape) override;
  void On(spec::ParameterInOut& shape) override;
  void On(spec::UlongOut& shape) override;
  void On(spec::BytesOut& shape) override;
  void On(spec::FillOut& shape) override;
  void On(spec::UlongListOut& shape) override;
  void On(spec::HandlesOut& shape) override;
  void On(spec::Document&) override {}
  void OnStruct(void*& value, std::size_t bytes) override;

  // Whether nobody wrote behind the end of a buffer that was given for results.
  bool EndsAreWhole() const;

 private:
  std::uint64_t Below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }
  CK_ULONG Number();
  std::size_t Length();
  CK_BYTE_PTR Random(std::size_t bytes);
  // A buffer for results with a mark behind it.
  CK_BYTE_PTR Room(std::size_t bytes);
  void FillStructs(std::uint8_t* parameter, const spec::ParameterField& field);
  void FillTemplate(std::uint8_t* parameter, const spec::ParameterField& field);
  void FillParameter(std::uint8_t* parameter, std::span<const spec::ParameterField> fields);
  CK_ATTRIBUTE Attribute(std::size_t depth, std::size_t bytes_max);
  std::pair<CK_ATTRIBUTE*, std::size_t> Attributes(std::size_t count, std::size_t depth, std::size_t bytes_max);

  std::mt19937_64 random_;
  Size size_;
  wire::Arena memory_;
  std::vector<const std::uint8_t*> ends_;
};

// Results that fit what the request gave room for. Run over a decoded call.
class ResultFiller final : public ShapeVisitor {
 public:
  ResultFiller(std::uint64_t seed, CK_RV rv) : random_(seed), rv_(rv) {}

  void On(spec::Ulong&) override {}
  void On(spec::Bool8&) override {}
  void On(spec::BytesIn&) override {}
  void On(spec::Label32&) override {}
  void On(spec::Unused&) override {}
  void On(spec::Mechanism&) override {}
  void On(spec::DerivingMechanism& shape) override;
  void On(spec::MechanismInOut& shape) override;
  void On(spec::TemplateIn&) override {}
  void On(spec::TemplateInOut& shape) override;
  void On(spec::ParameterInOut& shape) override;
  void On(spec::UlongOut& shape) override;
  void On(spec::BytesOut& shape) override;
  void On(spec::FillOut& shape) override;
  void On(spec::UlongListOut& shape) override;
  void On(spec::HandlesOut& shape) override;
  void On(spec::Document& shape) override;
  void OnStruct(void*& value, std::size_t bytes) override;

 private:
  std::uint64_t Below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }
  void Fill(void* into, std::size_t bytes);

  std::mt19937_64 random_;
  CK_RV rv_;
};

}  // namespace cmkd::tests
