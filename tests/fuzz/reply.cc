// Answers as the module reads them, from a daemon that may lie. Input: u16 the call's number, u8 which request was
// made, then the response's payload. The application's memory stays whole.
#include "pkcs11/remote/resumption.h"
#include "tests/calls/fill.h"
#include "tests/fuzz/fuzz.h"

namespace {

// Room that is overstated is the application's lie, not the daemon's: here each length is of the buffer's true size.
class Honest final : public cmkd::tests::ShapeVisitor {
 public:
  bool honest = true;
  void On(cmkd::spec::Ulong&) override {}
  void On(cmkd::spec::Bool8&) override {}
  void On(cmkd::spec::BytesIn&) override {}
  void On(cmkd::spec::Label32&) override {}
  void On(cmkd::spec::Unused&) override {}
  void On(cmkd::spec::Mechanism&) override {}
  void On(cmkd::spec::DerivingMechanism&) override {}
  void On(cmkd::spec::MechanismInOut&) override {}
  void On(cmkd::spec::TemplateIn&) override {}
  void On(cmkd::spec::TemplateInOut& s) override {
    for (CK_ATTRIBUTE& a : s.view()) Limit(a.pValue, a.ulValueLen);
  }
  void On(cmkd::spec::ParameterInOut&) override {}
  void On(cmkd::spec::UlongOut&) override {}
  void On(cmkd::spec::BytesOut& s) override {
    if (s.length != nullptr) Limit(s.data, *s.length);
  }
  void On(cmkd::spec::FillOut&) override {}
  void On(cmkd::spec::UlongListOut& s) override { Limit(s.list, *s.count); }
  void On(cmkd::spec::HandlesOut& s) override { Limit(s.list, s.max); }
  void On(cmkd::spec::Document&) override {}
  void OnStruct(void*&, std::size_t) override {}

 private:
  void Limit(const void* buffer, CK_ULONG stated) { honest = honest && (buffer == nullptr || stated <= 512); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  std::uint16_t number = 0;
  if (size < sizeof number + 1) return 0;
  std::memcpy(&number, data, sizeof number);
  const spec::CallId id = spec::FromWireId(number);
  const auto call = id == spec::CallId::kCount ? nullptr : tests::MakeCall(id);
  if (call == nullptr) return 0;
  tests::RequestFiller filler(data[sizeof number]);
  call->Visit(filler);
  Honest honest;
  call->Visit(honest);
  if (call->Check() != CKR_OK || !honest.honest) return 0;
  wire::Reader r({data + sizeof number + 1, size - sizeof number - 1});
  const CK_RV rv = r.U64();
  remote::Resumption resumption;
  if (r.ok() && call->DecodeResults(r, rv)) (void)resumption.ReadTrailers(r);
  FUZZ_CHECK(filler.EndsAreWhole());
  return 0;
}
