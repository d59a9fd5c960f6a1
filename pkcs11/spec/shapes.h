// The parameter shapes of PKCS#11: what one or more neighbouring C parameters mean together. A call (calls.h) is a list
// of shapes in C order. A shape holds the C parameters themselves; in the daemon they point into the decoded frame, so
// the same call can be answered by a handler or passed to any function list.
//
// Each shape has Args (its C types in order), args(), FromArgs() and Check(): the return value for pointers that may
// not be NULL (PKCS#11, "Conventions for functions returning output in a variable-length buffer" and general rules).
#pragma once

#include <cstdint>
#include <span>
#include <tuple>

#include "common/bytes.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

// A handle, slot, type, count or flags.
struct Ulong {
  CK_ULONG value = 0;
  using Args = std::tuple<CK_ULONG>;
  static constexpr const char* kName = "Ulong";
  Args args() const { return {value}; }
  static Ulong FromArgs(CK_ULONG v) { return {v}; }
  CK_RV Check() const { return CKR_OK; }
};

struct Bool8 {
  CK_BBOOL value = CK_FALSE;
  using Args = std::tuple<CK_BBOOL>;
  static constexpr const char* kName = "Bool8";
  Args args() const { return {value}; }
  static Bool8 FromArgs(CK_BBOOL v) { return {v}; }
  CK_RV Check() const { return CKR_OK; }
};

// Bytes from the caller. NULL stays different from empty: some calls give it a meaning.
struct BytesIn {
  CK_BYTE_PTR data = nullptr;
  CK_ULONG length = 0;
  using Args = std::tuple<CK_BYTE_PTR, CK_ULONG>;
  static constexpr const char* kName = "BytesIn";
  Args args() const { return {data, length}; }
  static BytesIn FromArgs(CK_BYTE_PTR d, CK_ULONG n) { return {d, n}; }
  CK_RV Check() const { return data == nullptr && length != 0 ? CKR_ARGUMENTS_BAD : CKR_OK; }
  ByteView view() const { return {data, length}; }
};

// A PIN: carried like BytesIn; logs show nothing of it, not even its length.
struct SecretIn : BytesIn {
  static constexpr const char* kName = "SecretIn";
  static SecretIn FromArgs(CK_BYTE_PTR d, CK_ULONG n) { return {{d, n}}; }
};

// A label of exactly 32 characters, padded with blanks.
struct Label32 {
  CK_UTF8CHAR_PTR text = nullptr;
  using Args = std::tuple<CK_UTF8CHAR_PTR>;
  static constexpr const char* kName = "Label32";
  Args args() const { return {text}; }
  static Label32 FromArgs(CK_UTF8CHAR_PTR t) { return {t}; }
  CK_RV Check() const { return text == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }
  ByteView view() const { return {text, 32}; }
};

// The application pointer and callback of C_OpenSession: cmkd makes no callbacks, so they do not travel.
struct Unused {
  CK_VOID_PTR application = nullptr;
  CK_NOTIFY notify = nullptr;
  using Args = std::tuple<CK_VOID_PTR, CK_NOTIFY>;
  static constexpr const char* kName = "Unused";
  Args args() const { return {application, notify}; }
  static Unused FromArgs(CK_VOID_PTR a, CK_NOTIFY n) { return {a, n}; }
  CK_RV Check() const { return CKR_OK; }
};

// A mechanism with its parameter.
struct Mechanism {
  CK_MECHANISM_PTR value = nullptr;
  using Args = std::tuple<CK_MECHANISM_PTR>;
  static constexpr const char* kName = "Mechanism";
  Args args() const { return {value}; }
  static Mechanism FromArgs(CK_MECHANISM_PTR m) { return {m}; }
  CK_RV Check() const {
    if (value == nullptr) return CKR_ARGUMENTS_BAD;
    return value->pParameter == nullptr && value->ulParameterLen != 0 ? CKR_MECHANISM_PARAM_INVALID : CKR_OK;
  }
};

// A mechanism that may be NULL: then the call cancels the operation (3.0, "C_EncryptInit").
struct MechanismOrCancel : Mechanism {
  static constexpr const char* kName = "MechanismOrCancel";
  static MechanismOrCancel FromArgs(CK_MECHANISM_PTR m) { return {{m}}; }
  CK_RV Check() const { return value == nullptr ? CKR_OK : Mechanism::Check(); }
};

inline CK_RV CheckAttributes(const CK_ATTRIBUTE* list, CK_ULONG count) {
  if (list == nullptr) return count == 0 ? CKR_OK : CKR_ARGUMENTS_BAD;
  return CKR_OK;
}

// A mechanism through whose parameter C_DeriveKey and C_GenerateKey may give results (ResultsIn in
// mechanism_parameters.h): the version of a TLS master secret, TLS keys and IVs, the seed of domain parameters.
struct DerivingMechanism : Mechanism {
  static constexpr const char* kName = "DerivingMechanism";
  static DerivingMechanism FromArgs(CK_MECHANISM_PTR m) { return {{m}}; }
};

// A template with values.
struct TemplateIn {
  CK_ATTRIBUTE_PTR list = nullptr;
  CK_ULONG count = 0;
  using Args = std::tuple<CK_ATTRIBUTE_PTR, CK_ULONG>;
  static constexpr const char* kName = "TemplateIn";
  Args args() const { return {list, count}; }
  static TemplateIn FromArgs(CK_ATTRIBUTE_PTR l, CK_ULONG n) { return {l, n}; }
  CK_RV Check() const {
    if (const CK_RV rv = CheckAttributes(list, count); rv != CKR_OK) return rv;
    for (CK_ULONG i = 0; i < count; ++i) {
      if (list[i].pValue == nullptr && list[i].ulValueLen != 0) return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    return CKR_OK;
  }
  std::span<const CK_ATTRIBUTE> view() const { return {list, count}; }
};

// A template whose values are to be filled in.
struct TemplateInOut {
  CK_ATTRIBUTE_PTR list = nullptr;
  CK_ULONG count = 0;
  using Args = std::tuple<CK_ATTRIBUTE_PTR, CK_ULONG>;
  static constexpr const char* kName = "TemplateInOut";
  Args args() const { return {list, count}; }
  static TemplateInOut FromArgs(CK_ATTRIBUTE_PTR l, CK_ULONG n) { return {l, n}; }
  CK_RV Check() const { return list == nullptr || count == 0 ? CKR_ARGUMENTS_BAD : CKR_OK; }
  std::span<CK_ATTRIBUTE> view() const { return {list, count}; }
};

// The parameter of a message call (3.0): partly read, partly written. Its length says its layout
// (mechanism_parameters.h).
struct ParameterInOut {
  CK_VOID_PTR data = nullptr;
  CK_ULONG length = 0;
  using Args = std::tuple<CK_VOID_PTR, CK_ULONG>;
  static constexpr const char* kName = "ParameterInOut";
  Args args() const { return {data, length}; }
  static ParameterInOut FromArgs(CK_VOID_PTR d, CK_ULONG n) { return {d, n}; }
  CK_RV Check() const { return data == nullptr && length != 0 ? CKR_ARGUMENTS_BAD : CKR_OK; }
};

// A mechanism whose parameter is that of a message call: C_WrapKeyAuthenticated, to which the token writes the IV that
// it made and the tag (3.2, "AES-GCM Authenticated Wrap / Unwrap").
struct MechanismInOut : Mechanism {
  static constexpr const char* kName = "MechanismInOut";
  static MechanismInOut FromArgs(CK_MECHANISM_PTR m) { return {{m}}; }
  ParameterInOut parameter() const {
    return value == nullptr ? ParameterInOut{} : ParameterInOut{value->pParameter, value->ulParameterLen};
  }
};

// The same, or NULL to cancel: C_MessageEncryptInit. Programs hand in the first message's parameter already here (3.0's
// examples do) or none; it is only read.
struct MessageMechanismOrCancel : MechanismInOut {
  static constexpr const char* kName = "MessageMechanismOrCancel";
  static MessageMechanismOrCancel FromArgs(CK_MECHANISM_PTR m) { return {{{m}}}; }
  CK_RV Check() const { return value == nullptr ? CKR_OK : Mechanism::Check(); }
};

struct UlongOut {
  CK_ULONG_PTR value = nullptr;
  using Args = std::tuple<CK_ULONG_PTR>;
  static constexpr const char* kName = "UlongOut";
  Args args() const { return {value}; }
  static UlongOut FromArgs(CK_ULONG_PTR v) { return {v}; }
  CK_RV Check() const { return value == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }
};

// A handle that goes nowhere when the pointer is NULL: phKey of C_DeriveKey, for mechanisms whose keys are told through
// their parameter. Whether it may be NULL the handler says.
struct UlongOutOrNull : UlongOut {
  static constexpr const char* kName = "UlongOutOrNull";
  static UlongOutOrNull FromArgs(CK_ULONG_PTR v) { return {{v}}; }
  CK_RV Check() const { return CKR_OK; }
};

// A variable-length buffer: `data` NULL asks for the length; too short a buffer gives CKR_BUFFER_TOO_SMALL and the
// length.
//
// On the serving side of a wire a caller's buffer of 64 MiB must cost nothing before it is known how much of it is
// needed: there `data` only says that a buffer was given until Room() makes one.
struct BytesOut {
  CK_BYTE_PTR data = nullptr;
  CK_ULONG_PTR length = nullptr;
  CK_BYTE_PTR (*make)(void* maker, std::size_t bytes) = nullptr;
  void* maker = nullptr;
  using Args = std::tuple<CK_BYTE_PTR, CK_ULONG_PTR>;
  static constexpr const char* kName = "BytesOut";
  Args args() const { return {data, length}; }
  static BytesOut FromArgs(CK_BYTE_PTR d, CK_ULONG_PTR n) { return {d, n, nullptr, nullptr}; }
  CK_RV Check() const { return length == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }
  bool query() const { return data == nullptr; }
  CK_ULONG capacity() const { return query() ? 0 : *length; }

  // Where the output goes, with room for `bytes`, at most capacity().
  CK_BYTE_PTR Room(std::size_t bytes) {
    if (make != nullptr) data = make(maker, bytes);
    make = nullptr;
    return data;
  }

  // Answers with `content` by the two-call convention.
  CK_RV Put(ByteView content) {
    const bool fits = !query() && content.size() <= *length;
    const bool asked = query();
    *length = content.size();
    if (asked) return CKR_OK;
    if (!fits) return CKR_BUFFER_TOO_SMALL;
    CK_BYTE_PTR room = Room(content.size());
    if (!content.empty()) std::memcpy(room, content.data(), content.size());
    return CKR_OK;
  }
};

// BytesOut whose length pointer may be NULL as well: C_SignMessageNext with more parts to come.
struct BytesOutOrMore : BytesOut {
  static constexpr const char* kName = "BytesOutOrMore";
  static BytesOutOrMore FromArgs(CK_BYTE_PTR d, CK_ULONG_PTR n) { return {{d, n, nullptr, nullptr}}; }
  CK_RV Check() const { return data != nullptr && length == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }
};

// A buffer to be filled to its end.
struct FillOut {
  CK_BYTE_PTR data = nullptr;
  CK_ULONG length = 0;
  using Args = std::tuple<CK_BYTE_PTR, CK_ULONG>;
  static constexpr const char* kName = "FillOut";
  Args args() const { return {data, length}; }
  static FillOut FromArgs(CK_BYTE_PTR d, CK_ULONG n) { return {d, n}; }
  CK_RV Check() const { return data == nullptr && length != 0 ? CKR_ARGUMENTS_BAD : CKR_OK; }
  MutableBytes view() const { return {data, length}; }
};

// A list by the two-call convention (slots, mechanisms): `list` NULL asks for the count.
struct UlongListOut {
  CK_ULONG_PTR list = nullptr;
  CK_ULONG_PTR count = nullptr;
  using Args = std::tuple<CK_ULONG_PTR, CK_ULONG_PTR>;
  static constexpr const char* kName = "UlongListOut";
  Args args() const { return {list, count}; }
  static UlongListOut FromArgs(CK_ULONG_PTR l, CK_ULONG_PTR n) { return {l, n}; }
  CK_RV Check() const { return count == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }

  CK_RV Put(std::span<const CK_ULONG> content) const {
    const bool fits = list != nullptr && content.size() <= *count;
    *count = content.size();
    if (list == nullptr) return CKR_OK;
    if (!fits) return CKR_BUFFER_TOO_SMALL;
    if (!content.empty()) std::memcpy(list, content.data(), content.size_bytes());
    return CKR_OK;
  }
};

// Up to `max` handles and how many there were (C_FindObjects).
struct HandlesOut {
  CK_OBJECT_HANDLE_PTR list = nullptr;
  CK_ULONG max = 0;
  CK_ULONG_PTR count = nullptr;
  using Args = std::tuple<CK_OBJECT_HANDLE_PTR, CK_ULONG, CK_ULONG_PTR>;
  static constexpr const char* kName = "HandlesOut";
  Args args() const { return {list, max, count}; }
  static HandlesOut FromArgs(CK_OBJECT_HANDLE_PTR l, CK_ULONG m, CK_ULONG_PTR n) { return {l, m, n}; }
  CK_RV Check() const { return count == nullptr || (list == nullptr && max != 0) ? CKR_ARGUMENTS_BAD : CKR_OK; }
};

// One of the standard's information structures. All members are of fixed size, so it travels as it is.
template <class T>
struct StructOut {
  T* value = nullptr;
  using Args = std::tuple<T*>;
  static constexpr const char* kName = "StructOut";
  Args args() const { return {value}; }
  static StructOut FromArgs(T* v) { return {v}; }
  CK_RV Check() const { return value == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK; }
};

// The answer of a call of our own wire: as long as it is. Has no C form.
struct Document {
  Bytes value;
  using Args = std::tuple<>;
  static constexpr const char* kName = "Document";
  Args args() const { return {}; }
  CK_RV Check() const { return CKR_OK; }
};

}  // namespace cmkd::spec
