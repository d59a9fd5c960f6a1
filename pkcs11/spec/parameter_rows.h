// How a row of the table of mechanism parameters is written: the kind, the struct of the standard, the rule for its
// values, its fields. Included by the parameters_*.cc, which have the rows by family, and by what puts them together.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::spec::parameters {

using P = ParameterKind;

// Bounds that families share; each family has its own.
inline constexpr std::uint32_t kLong = kParameterBufferBytesMax;
inline constexpr std::uint32_t kIv = kIvBytesMax;
inline constexpr std::uint32_t kLabel = 1u << 16;  // OAEP label, KDF shared data
inline constexpr std::uint32_t kRandom = 1024;     // the randoms of TLS, session hashes, feedback IVs
inline constexpr std::uint16_t kTlsIv = 64;        // an IV of TLS, at most
inline constexpr std::uint32_t kDsaSeed = 192;     // of DSA's domain parameters

// A parameter of a layout. Each gives what the field of this name says; 0 or nothing where there is no such field.
struct Fields {
  const ParameterLayout& layout;
  const void* parameter;

  CK_ULONG Value(std::string_view name) const;
  ByteView Buffer(std::string_view name) const;
};

// A parameter as a rule sees it: its length is its layout's, and its pointers and their lengths hold (CheckFields).
struct Given : Fields {
  Given(const MechanismRow& its_row, const ParameterLayout& its_layout, const CK_MECHANISM& given,
        bool encrypts = false)
      : Fields{its_layout, given.pParameter}, row(its_row), mechanism(given), encrypting(encrypts) {}

  const MechanismRow& row;
  const CK_MECHANISM& mechanism;
  bool encrypting;  // of a message: the token may make the IV

  template <class Struct>
  const Struct& As() const {
    return *static_cast<const Struct*>(parameter);
  }
};

using Rule = Status (*)(const Given&);
inline Status AnyValue(const Given&) { return {}; }

struct ParameterRow {
  ParameterKind kind;
  ParameterLayout layout;
  Rule rule;
  bool or_shorter = false;  // flat bytes of any length up to the layout's

  bool Takes(std::size_t bytes) const { return or_shorter ? bytes <= layout.bytes : bytes == layout.bytes; }
};

// The families. A kind may have several rows, which their lengths tell apart.
std::span<const ParameterRow> CipherParameters();
std::span<const ParameterRow> MacParameters();
std::span<const ParameterRow> RsaParameters();
std::span<const ParameterRow> DiscreteLogParameters();
std::span<const ParameterRow> DerivationParameters();
std::span<const ParameterRow> TlsParameters();
const ParameterRow* FindParameter(ParameterKind kind, std::size_t bytes);

// What holds for every struct: no pointer is NULL where bytes are promised, and no buffer is longer than its limit.
Status CheckFields(std::span<const ParameterField> fields, const void* parameter);
const ParameterField* FieldNamed(const ParameterLayout& layout, std::string_view name);

// Whether HMAC can be had of it: a digest of one length.
Status CheckHmacHash(CK_MECHANISM_TYPE hash);
inline bool IsAesBits(CK_ULONG bits) { return bits == 128 || bits == 192 || bits == 256; }
inline Failure<Error> Invalid(std::string why) { return Fail(CKR_MECHANISM_PARAM_INVALID, std::move(why)); }

// A CK_ULONG that need not be aligned.
inline CK_ULONG UlongAt(const void* parameter, std::size_t offset) {
  CK_ULONG value;
  std::memcpy(&value, static_cast<const std::uint8_t*>(parameter) + offset, sizeof value);
  return value;
}

constexpr ParameterRow Flat(P kind, std::size_t bytes) { return {kind, {bytes, {}, true}, AnyValue}; }
constexpr ParameterRow FlatUpTo(P kind, std::size_t bytes, Rule rule) { return {kind, {bytes, {}, true}, rule, true}; }

template <class Struct>
constexpr ParameterRow Row(P kind, Rule rule, std::span<const ParameterField> fields) {
  return {kind, {sizeof(Struct), fields, false}, rule};
}

// What a lambda without captures gives, kept where the row's span can point to it.
template <class List>
inline constexpr auto kKept = List{}();
template <class Struct, class List>
constexpr ParameterRow RowOf(P kind, Rule rule, List) {
  return Row<Struct>(kind, rule, kKept<List>);
}

// A value in the struct: how it lies there its type says.
template <class Member>
constexpr ParameterField ValueField(std::string_view name, std::uint16_t offset) {
  if (std::is_array_v<Member>) return {FieldKind::kFixedBytes, name, offset, 0, sizeof(Member)};
  static_assert(std::is_array_v<Member> || sizeof(Member) == 1 || sizeof(Member) == sizeof(CK_ULONG));
  return {sizeof(Member) == 1 ? FieldKind::kByte : FieldKind::kUlong, name, offset};
}
constexpr ParameterField Towards(Direction direction, ParameterField field) {
  field.direction = direction;
  return field;
}
constexpr ParameterField Out(ParameterField field) { return Towards(Direction::kOut, field); }
constexpr ParameterField InOut(ParameterField field) { return Towards(Direction::kInOut, field); }

}  // namespace cmkd::spec::parameters

// A row, and a list of fields for a struct that is used twice or inside another. Within them S is the struct.
#define CMKD_PARAMETER(kind, type, rule, ...) RowOf<type>(kind, rule, [] { CMKD_LIST(type, __VA_ARGS__); })
#define CMKD_FIELDS(type, ...) [] { CMKD_LIST(type, __VA_ARGS__); }()
#define CMKD_LIST(type, ...) \
  using S = type;            \
  return std::array { __VA_ARGS__ }

// Fields. `length`, `count` and `room` are not listed as fields of their own; `most` bounds what is behind the pointer.
#define CMKD_VALUE(member) ValueField<decltype(S::member)>(#member, offsetof(S, member))
#define CMKD_KEY(member) \
  ParameterField { FieldKind::kKeyHandle, #member, offsetof(S, member) }
#define CMKD_COUNTED(kind, pointer, length, size, most) \
  ParameterField { FieldKind::kind, #pointer, offsetof(S, pointer), offsetof(S, length), size, most }
#define CMKD_BUFFER(pointer, length, most) CMKD_COUNTED(kBytesWithLength, pointer, length, 0, most)
#define CMKD_BITS(pointer, length, most) CMKD_COUNTED(kBytesWithBitLength, pointer, length, 0, most)
#define CMKD_ROOM(pointer, room, most) Out(CMKD_COUNTED(kRoom, pointer, room, 0, most))
#define CMKD_BYTES(pointer, size) \
  ParameterField { FieldKind::kBytesOfFixedLength, #pointer, offsetof(S, pointer), 0, size, size }
#define CMKD_STRUCTS(pointer, count, most, fields)                                                          \
  ParameterField {                                                                                          \
    FieldKind::kStructArray, #pointer, offsetof(S, pointer), offsetof(S, count), sizeof(*S::pointer), most, \
        Direction::kIn, fields.data(), fields.size()                                                        \
  }
#define CMKD_STRUCT(pointer, fields)                                                                              \
  ParameterField {                                                                                                \
    FieldKind::kStruct, #pointer, offsetof(S, pointer), 0, sizeof(*S::pointer), 1, Direction::kIn, fields.data(), \
        fields.size()                                                                                             \
  }
