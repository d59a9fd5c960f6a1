// JSON as this tool needs it: documents to read without trusting their shape, and objects to send. The JSON library
// stays behind these two types.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cmkd::tools {

// A value of a document. Reading never fails: what is missing, or of another type, reads as empty, zero or false.
class Value {
 public:
  // Nothing when `text` is not exactly one JSON value.
  static std::optional<Value> Parse(std::string_view text);

  bool IsObject() const;
  // Whether the member is there and not null.
  bool Has(std::string_view key) const;
  // The member; a value like null when there is none.
  Value At(std::string_view key) const;
  // A string as it is, a number in decimal, true and false as "yes" and "no", everything else as "".
  std::string Text(std::string_view key) const;
  std::int64_t Number(std::string_view key) const;
  bool Flag(std::string_view key) const;
  // The elements of an array.
  std::vector<Value> Items(std::string_view key) const;
  // The elements of this value, if it is an array, as texts (by the rules of Text).
  std::vector<std::string> Texts(std::string_view key) const;
  // Indented for people, without a line end.
  std::string Print() const;

 private:
  friend class Object;
  struct Node;
  explicit Value(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
};

// An object under construction.
class Object {
 public:
  Object();
  ~Object();
  Object(Object&&) noexcept;
  Object& operator=(Object&&) noexcept;

  Object& Set(std::string_view key, std::string_view text);
  Object& Set(std::string_view key, const char* text) { return Set(key, std::string_view(text)); }
  Object& Set(std::string_view key, std::int64_t number);
  Object& Set(std::string_view key, std::uint64_t number);
  Object& Set(std::string_view key, bool flag);
  Object& Set(std::string_view key, const Object& object);
  Object& Set(std::string_view key, const Value& value);
  Object& Set(std::string_view key, const std::vector<Object>& list);
  Object& Set(std::string_view key, const std::vector<Value>& list);
  // Leaves the member out when the text is empty.
  Object& SetIfAny(std::string_view key, std::string_view text);

  Value ToValue() const;
  // On one line. Bytes that are not UTF-8 are replaced.
  std::string Line() const;

 private:
  struct Node;
  std::unique_ptr<Node> node_;
};

}  // namespace cmkd::tools
