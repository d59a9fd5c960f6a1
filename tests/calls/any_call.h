// AnyCall: the call of any row of the call table behind one face, so that a test goes through the whole table without
// knowing one call, and the templates of 90 calls are compiled once.
#pragma once

#include <memory>

#include "pkcs11/spec/calls.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::tests {

// One field of a call, by its shape. A shape that travels as another (a PIN as bytes) comes as that one.
class ShapeVisitor {
 public:
  virtual ~ShapeVisitor() = default;
  virtual void On(spec::Ulong& shape) = 0;
  virtual void On(spec::Bool8& shape) = 0;
  virtual void On(spec::BytesIn& shape) = 0;
  virtual void On(spec::Label32& shape) = 0;
  virtual void On(spec::Unused& shape) = 0;
  virtual void On(spec::Mechanism& shape) = 0;
  virtual void On(spec::DerivingMechanism& shape) = 0;
  virtual void On(spec::MechanismInOut& shape) = 0;
  virtual void On(spec::TemplateIn& shape) = 0;
  virtual void On(spec::TemplateInOut& shape) = 0;
  virtual void On(spec::ParameterInOut& shape) = 0;
  virtual void On(spec::UlongOut& shape) = 0;
  virtual void On(spec::BytesOut& shape) = 0;
  virtual void On(spec::FillOut& shape) = 0;
  virtual void On(spec::UlongListOut& shape) = 0;
  virtual void On(spec::HandlesOut& shape) = 0;
  virtual void On(spec::Document& shape) = 0;
  // A StructOut: where its pointer is, and how long the structure is.
  virtual void OnStruct(void*& value, std::size_t bytes) = 0;
};

class AnyCall {
 public:
  virtual ~AnyCall() = default;
  virtual const spec::CallRow& row() const = 0;
  virtual void Visit(ShapeVisitor& visitor) = 0;
  // The shapes' own checks, as entry and dispatcher make them.
  virtual CK_RV Check() = 0;
  // pkcs11/wire/codec.h
  virtual void Encode(wire::Writer& w) = 0;
  virtual CK_RV Decode(wire::Reader& r, wire::Arena& arena) = 0;
  virtual void EncodeResults(wire::Writer& w, CK_RV rv) = 0;
  virtual bool DecodeResults(wire::Reader& r, CK_RV rv) = 0;
};

// A call with empty fields; nullptr for a row that never crosses the wire.
std::unique_ptr<AnyCall> MakeCall(spec::CallId id);

// Every row that crosses the wire, in the table's order.
const std::vector<spec::CallId>& CallsOnTheWire();

}  // namespace cmkd::tests
