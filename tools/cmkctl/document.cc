// The two JSON types on top of the JSON library.
#include "tools/cmkctl/document.h"

#include <nlohmann/json.hpp>

namespace cmkd::tools {

namespace {

using Json = nlohmann::ordered_json;

const Json kNull;

const Json& Member(const Json& json, std::string_view key) {
  if (!json.is_object()) return kNull;
  const auto it = json.find(key);
  return it == json.end() ? kNull : *it;
}

std::string TextOf(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_boolean()) return json.get<bool>() ? "yes" : "no";
  if (json.is_number()) return json.dump();
  return {};
}

std::string Dump(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

}  // namespace

// A node shares the whole document and points at its place in it.
struct Value::Node {
  std::shared_ptr<const Json> document;
  const Json* place;
};

std::optional<Value> Value::Parse(std::string_view text) {
  auto document = std::make_shared<const Json>(Json::parse(text, nullptr, /*allow_exceptions=*/false));
  if (document->is_discarded()) return std::nullopt;
  const Json* place = document.get();
  return Value(std::make_shared<const Node>(Node{std::move(document), place}));
}

bool Value::IsObject() const { return node_->place->is_object(); }
bool Value::Has(std::string_view key) const { return !Member(*node_->place, key).is_null(); }
Value Value::At(std::string_view key) const {
  return Value(std::make_shared<const Node>(Node{node_->document, &Member(*node_->place, key)}));
}
std::string Value::Text(std::string_view key) const { return TextOf(Member(*node_->place, key)); }
std::int64_t Value::Number(std::string_view key) const {
  const Json& member = Member(*node_->place, key);
  return member.is_number_integer() ? member.get<std::int64_t>() : 0;
}
bool Value::Flag(std::string_view key) const {
  const Json& member = Member(*node_->place, key);
  return member.is_boolean() && member.get<bool>();
}
std::vector<Value> Value::Items(std::string_view key) const {
  std::vector<Value> items;
  const Json& member = Member(*node_->place, key);
  if (!member.is_array()) return items;
  items.reserve(member.size());
  for (const Json& item : member) items.push_back(Value(std::make_shared<const Node>(Node{node_->document, &item})));
  return items;
}
std::vector<std::string> Value::Texts(std::string_view key) const {
  std::vector<std::string> texts;
  const Json& member = Member(*node_->place, key);
  if (!member.is_array()) return texts;
  for (const Json& item : member) texts.push_back(TextOf(item));
  return texts;
}
std::string Value::Print() const { return Dump(*node_->place, 2); }

struct Object::Node {
  Json json = Json::object();
};

Object::Object() : node_(std::make_unique<Node>()) {}
Object::~Object() = default;
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(Object&&) noexcept = default;

Object& Object::Set(std::string_view key, std::string_view text) {
  node_->json[std::string(key)] = std::string(text);
  return *this;
}
Object& Object::Set(std::string_view key, std::int64_t number) {
  node_->json[std::string(key)] = number;
  return *this;
}
Object& Object::Set(std::string_view key, std::uint64_t number) {
  node_->json[std::string(key)] = number;
  return *this;
}
Object& Object::Set(std::string_view key, bool flag) {
  node_->json[std::string(key)] = flag;
  return *this;
}
Object& Object::Set(std::string_view key, const Object& object) {
  node_->json[std::string(key)] = object.node_->json;
  return *this;
}
Object& Object::Set(std::string_view key, const Value& value) {
  node_->json[std::string(key)] = *value.node_->place;
  return *this;
}
Object& Object::Set(std::string_view key, const std::vector<Object>& list) {
  Json array = Json::array();
  for (const Object& object : list) array.push_back(object.node_->json);
  node_->json[std::string(key)] = std::move(array);
  return *this;
}
Object& Object::Set(std::string_view key, const std::vector<Value>& list) {
  Json array = Json::array();
  for (const Value& value : list) array.push_back(*value.node_->place);
  node_->json[std::string(key)] = std::move(array);
  return *this;
}
Object& Object::SetIfAny(std::string_view key, std::string_view text) { return text.empty() ? *this : Set(key, text); }

Value Object::ToValue() const {
  auto document = std::make_shared<const Json>(node_->json);
  const Json* place = document.get();
  return Value(std::make_shared<const Value::Node>(Value::Node{std::move(document), place}));
}
std::string Object::Line() const { return Dump(node_->json, -1); }

}  // namespace cmkd::tools
