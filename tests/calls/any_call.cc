// One class for each row, made from the call table.
#include "tests/calls/any_call.h"

namespace cmkd::tests {

namespace {

using spec::CallId;

template <class Shape>
void Show(ShapeVisitor& visitor, Shape& shape) {
  visitor.On(shape);
}
template <class T>
void Show(ShapeVisitor& visitor, spec::StructOut<T>& shape) {
  void* value = shape.value;
  visitor.OnStruct(value, sizeof(T));
  shape.value = static_cast<T*>(value);
}

template <CallId id>
class CallOfRow final : public AnyCall {
 public:
  const spec::CallRow& row() const override { return spec::Row(id); }
  void Visit(ShapeVisitor& visitor) override {
    std::apply([&](auto&... field) { (Show(visitor, field), ...); }, call_.Fields());
  }
  CK_RV Check() override {
    CK_RV rv = CKR_OK;
    std::apply([&](auto&... field) { (void)((rv = field.Check(), rv == CKR_OK) && ...); }, call_.Fields());
    return rv;
  }
  void Encode(wire::Writer& w) override { wire::EncodeCall(w, call_); }
  CK_RV Decode(wire::Reader& r, wire::Arena& arena) override { return wire::DecodeCall(r, arena, call_); }
  void EncodeResults(wire::Writer& w, CK_RV rv) override { wire::EncodeResults(w, call_, rv); }
  bool DecodeResults(wire::Reader& r, CK_RV rv) override { return wire::DecodeResults(r, call_, rv); }

 private:
  spec::Call<id> call_;
};

using Make = std::unique_ptr<AnyCall> (*)();

template <CallId id>
constexpr Make MakeOrNothing() {
  if constexpr (spec::Row(id).local)
    return nullptr;
  else
    return []() -> std::unique_ptr<AnyCall> { return std::make_unique<CallOfRow<id>>(); };
}

constexpr std::array<Make, spec::kCallCount> kMake = {
#define CMKD_MAKE(name, ...) MakeOrNothing<CallId::name>(),
    CMKD_STANDARD_CALLS(CMKD_MAKE) CMKD_OWN_CALLS(CMKD_MAKE)
#undef CMKD_MAKE
};

}  // namespace

std::unique_ptr<AnyCall> MakeCall(CallId id) {
  const Make make = kMake[spec::Index(id)];
  return make == nullptr ? nullptr : make();
}

const std::vector<CallId>& CallsOnTheWire() {
  static const std::vector<CallId> all = [] {
    std::vector<CallId> ids;
    for (const spec::CallRow& row : spec::kCalls) {
      if (!row.local) ids.push_back(row.id);
    }
    return ids;
  }();
  return all;
}

}  // namespace cmkd::tests
