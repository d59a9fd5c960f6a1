// One of the OASIS profile test cases: a sequence of calls and what they must return, read from its XML
// (PKCS#11 Profiles 3.2, sections "PKCS#11 XML Representation" and "Conformance Test Cases").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/result.h"

namespace cmkd::conformance {

// An element of a call or of its results, with the few attributes that the representation has.
struct Element {
  std::string name;
  std::vector<std::pair<std::string, std::string>> attributes;  // value, length, type, rv, major, minor
  std::vector<Element> children;

  // The attribute, or an empty text.
  std::string Get(const std::string& attribute) const;
  bool Has(const std::string& attribute) const;
  // The first child of that name, or nullptr.
  const Element* Find(const std::string& child) const;
};

struct Step {
  Element call;
  Element result;  // of the same name, with the attribute rv
};

struct TestCase {
  std::string name;  // "BL-M-1-32"
  std::vector<Step> steps;
};

// Errors: the file cannot be read, is no XML, or a call lacks its result.
Result<TestCase, std::string> ReadTestCase(const std::string& path);

}  // namespace cmkd::conformance
