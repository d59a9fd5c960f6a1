// From XML to elements of our own, so that nothing else sees the XML library.
#include "conformance/profiles/test_case.h"

#include <pugixml.hpp>

#include <filesystem>

namespace cmkd::conformance {
namespace {

Element FromXml(const pugi::xml_node& node) {
  Element element;
  element.name = node.name();
  for (const pugi::xml_attribute& attribute : node.attributes())
    element.attributes.push_back({attribute.name(), attribute.value()});
  for (const pugi::xml_node& child : node.children()) {
    if (child.type() == pugi::node_element) element.children.push_back(FromXml(child));
  }
  return element;
}

}  // namespace

std::string Element::Get(const std::string& attribute) const {
  for (const auto& [key, value] : attributes) {
    if (key == attribute) return value;
  }
  return {};
}

bool Element::Has(const std::string& attribute) const {
  for (const auto& [key, value] : attributes) {
    if (key == attribute) return true;
  }
  return false;
}

const Element* Element::Find(const std::string& child) const {
  for (const Element& one : children) {
    if (one.name == child) return &one;
  }
  return nullptr;
}

Result<TestCase, std::string> ReadTestCase(const std::string& path) {
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_file(path.c_str());
  if (!parsed) return Failure{path + ": " + parsed.description()};
  const Element root = FromXml(document.document_element());
  if (root.name != "PKCS11") return Failure{path + ": the root is not PKCS11"};
  TestCase test{std::filesystem::path(path).stem().string(), {}};
  for (std::size_t i = 0; i < root.children.size(); i += 2) {
    if (i + 1 == root.children.size() || root.children[i + 1].name != root.children[i].name ||
        !root.children[i + 1].Has("rv"))
      return Failure{path + ": " + root.children[i].name + " has no result"};
    test.steps.push_back({root.children[i], root.children[i + 1]});
  }
  return test;
}

}  // namespace cmkd::conformance
