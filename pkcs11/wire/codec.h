// Encodes and decodes any call from its fields. Request: what goes in. Response: what comes out, which depends on the
// return value. Decoding a request builds the C parameters in an Arena; decoding a response writes through the caller's
// pointers, within the room that the caller gave.
#pragma once

#include <algorithm>
#include <concepts>
#include <tuple>

#include "pkcs11/spec/calls.h"
#include "pkcs11/wire/arena.h"
#include "pkcs11/wire/frame.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::wire {

// ---- Shapes. EncodeRequest/DecodeRequest and EncodeResponse/DecodeResponse are pairs. A decoder returns CKR_OK or why
// it refuses; bounds of the frame itself are the Reader's.

void EncodeRequest(Writer& w, const spec::Mechanism& shape);
CK_RV DecodeRequest(Reader& r, Arena& arena, spec::Mechanism& shape);
void EncodeRequest(Writer& w, const spec::TemplateIn& shape);
CK_RV DecodeRequest(Reader& r, Arena& arena, spec::TemplateIn& shape);
void EncodeRequest(Writer& w, const spec::TemplateInOut& shape);
CK_RV DecodeRequest(Reader& r, Arena& arena, spec::TemplateInOut& shape);
void EncodeResponse(Writer& w, const spec::TemplateInOut& shape, CK_RV rv);
void DecodeResponse(Reader& r, spec::TemplateInOut& shape, CK_RV rv);
void EncodeRequest(Writer& w, const spec::ParameterInOut& shape);
CK_RV DecodeRequest(Reader& r, Arena& arena, spec::ParameterInOut& shape);
void EncodeResponse(Writer& w, const spec::ParameterInOut& shape, CK_RV rv);
void DecodeResponse(Reader& r, spec::ParameterInOut& shape, CK_RV rv);
void EncodeResponse(Writer& w, const spec::DerivingMechanism& shape, CK_RV rv);
void DecodeResponse(Reader& r, spec::DerivingMechanism& shape, CK_RV rv);
void EncodeRequest(Writer& w, const spec::MechanismInOut& shape);
CK_RV DecodeRequest(Reader& r, Arena& arena, spec::MechanismInOut& shape);
void EncodeResponse(Writer& w, const spec::MechanismInOut& shape, CK_RV rv);
void DecodeResponse(Reader& r, spec::MechanismInOut& shape, CK_RV rv);

inline void EncodeRequest(Writer& w, const spec::Ulong& s) { w.U64(s.value); }
inline CK_RV DecodeRequest(Reader& r, Arena&, spec::Ulong& s) {
  s.value = r.U64();
  return CKR_OK;
}

inline void EncodeRequest(Writer& w, const spec::Bool8& s) { w.U8(s.value); }
inline CK_RV DecodeRequest(Reader& r, Arena&, spec::Bool8& s) {
  s.value = r.U8();
  return CKR_OK;
}

// The handlers only read what a BytesIn points at, so it may stay in the frame; C's types have no const for it.
inline void EncodeRequest(Writer& w, const spec::BytesIn& s) { w.Blob(s.data, s.length); }
inline CK_RV DecodeRequest(Reader& r, Arena&, spec::BytesIn& s) {
  static CK_BYTE empty = 0;
  bool null = false;
  const ByteView bytes = r.Blob(&null);
  s.data = null ? nullptr : (bytes.empty() ? &empty : const_cast<CK_BYTE_PTR>(bytes.data()));
  s.length = bytes.size();
  return CKR_OK;
}

inline void EncodeRequest(Writer& w, const spec::Label32& s) { w.Raw(s.view()); }
inline CK_RV DecodeRequest(Reader& r, Arena&, spec::Label32& s) {
  const ByteView text = r.Raw(32);
  if (!r.ok()) return CKR_ARGUMENTS_BAD;
  s.text = const_cast<CK_UTF8CHAR_PTR>(text.data());
  return CKR_OK;
}

inline void EncodeRequest(Writer&, const spec::Unused&) {}
inline CK_RV DecodeRequest(Reader&, Arena&, spec::Unused&) { return CKR_OK; }

inline void EncodeRequest(Writer& w, const spec::UlongOutOrNull& s) { w.U8(s.value != nullptr ? 1 : 0); }
inline CK_RV DecodeRequest(Reader& r, Arena& arena, spec::UlongOutOrNull& s) {
  const std::uint8_t given = r.U8();
  if (given > 1) return CKR_ARGUMENTS_BAD;
  if (given == 1) s.value = arena.New<CK_ULONG>();
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::UlongOutOrNull& s, CK_RV rv) {
  if (rv == CKR_OK && s.value != nullptr) w.U64(*s.value);
}
inline void DecodeResponse(Reader& r, spec::UlongOutOrNull& s, CK_RV rv) {
  if (rv != CKR_OK || s.value == nullptr) return;
  const CK_ULONG value = r.U64();
  if (r.ok()) *s.value = value;
}

inline void EncodeRequest(Writer&, const spec::UlongOut&) {}
inline CK_RV DecodeRequest(Reader&, Arena& arena, spec::UlongOut& s) {
  s.value = arena.New<CK_ULONG>();
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::UlongOut& s, CK_RV rv) {
  if (rv == CKR_OK) w.U64(*s.value);
}
inline void DecodeResponse(Reader& r, spec::UlongOut& s, CK_RV rv) {
  if (rv != CKR_OK) return;
  const CK_ULONG value = r.U64();
  if (r.ok()) *s.value = value;
}

// A caller may say that its buffer is as long as it likes; the daemon hears of at most as much as an answer can fill.
// Decoders refuse what no encoder writes, so a request has one form.
inline constexpr std::uint64_t kListEntriesMax = limits::kFrameBytesMax / sizeof(CK_ULONG) / 64;

inline void EncodeRequest(Writer& w, const spec::BytesOut& s) {
  w.U8(static_cast<std::uint8_t>((s.data != nullptr ? 1 : 0) | (s.length != nullptr ? 2 : 0)));
  w.U64(s.data != nullptr && s.length != nullptr ? std::min<std::uint64_t>(*s.length, limits::kFrameBytesMax) : 0);
}
inline CK_RV DecodeRequest(Reader& r, Arena& arena, spec::BytesOut& s) {
  const std::uint8_t given = r.U8();
  const std::uint64_t capacity = r.U64();
  if (!r.ok() || given > 3 || capacity > (given == 3 ? limits::kFrameBytesMax : 0)) return CKR_ARGUMENTS_BAD;
  if ((given & 2) != 0) {
    s.length = arena.New<CK_ULONG>();
    *s.length = capacity;
  }
  if ((given & 1) == 0) return CKR_OK;
  static CK_BYTE given_but_not_made = 0;
  s.data = &given_but_not_made;
  s.make = [](void* maker, std::size_t bytes) { return static_cast<Arena*>(maker)->Allocate(bytes); };
  s.maker = &arena;
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::BytesOut& s, CK_RV rv) {
  if ((rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) || s.length == nullptr) return;
  const bool written = rv == CKR_OK && s.data != nullptr;
  // No room was made, so nothing was written.
  const CK_ULONG length = written && s.make != nullptr ? 0 : *s.length;
  w.U64(length);
  if (written) w.Raw({s.data, length});
}
inline void DecodeResponse(Reader& r, spec::BytesOut& s, CK_RV rv) {
  if ((rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) || s.length == nullptr) return;
  const std::uint64_t length = r.U64();
  if (rv == CKR_OK && s.data != nullptr) {
    // A daemon that sends more than was asked for is not believed.
    if (length > *s.length) return r.Fail();
    const ByteView bytes = r.Raw(length);
    if (r.ok() && length != 0) std::memcpy(s.data, bytes.data(), length);
  }
  if (r.ok()) *s.length = length;
}

inline void EncodeRequest(Writer& w, const spec::FillOut& s) { w.U64(s.length); }
inline CK_RV DecodeRequest(Reader& r, Arena& arena, spec::FillOut& s) {
  s.length = r.U64();
  if (!r.ok() || s.length > limits::kRandomBytesMax) return CKR_ARGUMENTS_BAD;
  s.data = arena.Allocate(s.length);
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::FillOut& s, CK_RV rv) {
  if (rv == CKR_OK) w.Raw(s.view());
}
inline void DecodeResponse(Reader& r, spec::FillOut& s, CK_RV rv) {
  if (rv != CKR_OK) return;
  const ByteView bytes = r.Raw(s.length);
  if (r.ok() && s.length != 0) std::memcpy(s.data, bytes.data(), s.length);
}

inline void EncodeRequest(Writer& w, const spec::UlongListOut& s) {
  w.U8(s.list != nullptr ? 1 : 0);
  w.U64(s.list != nullptr ? std::min<std::uint64_t>(*s.count, kListEntriesMax) : 0);
}
inline CK_RV DecodeRequest(Reader& r, Arena& arena, spec::UlongListOut& s) {
  const std::uint8_t given = r.U8();
  const std::uint64_t capacity = r.U64();
  if (!r.ok() || given > 1 || capacity > (given == 1 ? kListEntriesMax : 0)) return CKR_ARGUMENTS_BAD;
  s.count = arena.New<CK_ULONG>();
  *s.count = capacity;
  if (given == 1) s.list = reinterpret_cast<CK_ULONG_PTR>(arena.Allocate(capacity * sizeof(CK_ULONG)));
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::UlongListOut& s, CK_RV rv) {
  if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return;
  w.U64(*s.count);
  if (rv == CKR_OK && s.list != nullptr) w.Raw({reinterpret_cast<CK_BYTE_PTR>(s.list), *s.count * sizeof(CK_ULONG)});
}
inline void DecodeResponse(Reader& r, spec::UlongListOut& s, CK_RV rv) {
  if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return;
  const std::uint64_t count = r.U64();
  if (rv == CKR_OK && s.list != nullptr) {
    // Against what is there first: the caller's count may be so large that the product would wrap.
    if (count > r.remaining() / sizeof(CK_ULONG) || count > *s.count) return r.Fail();
    const ByteView bytes = r.Raw(count * sizeof(CK_ULONG));
    if (r.ok() && count != 0) std::memcpy(s.list, bytes.data(), bytes.size());
  }
  if (r.ok()) *s.count = count;
}

inline void EncodeRequest(Writer& w, const spec::HandlesOut& s) {
  w.U64(std::min<std::uint64_t>(s.max, limits::kFindBatchMax));
}
inline CK_RV DecodeRequest(Reader& r, Arena& arena, spec::HandlesOut& s) {
  s.max = r.U64();
  if (!r.ok() || s.max > limits::kFindBatchMax) return CKR_ARGUMENTS_BAD;
  s.count = arena.New<CK_ULONG>();
  s.list = reinterpret_cast<CK_OBJECT_HANDLE_PTR>(arena.Allocate(s.max * sizeof(CK_OBJECT_HANDLE)));
  return CKR_OK;
}
inline void EncodeResponse(Writer& w, const spec::HandlesOut& s, CK_RV rv) {
  if (rv != CKR_OK) return;
  w.U64(*s.count);
  w.Raw({reinterpret_cast<CK_BYTE_PTR>(s.list), *s.count * sizeof(CK_OBJECT_HANDLE)});
}
inline void DecodeResponse(Reader& r, spec::HandlesOut& s, CK_RV rv) {
  if (rv != CKR_OK) return;
  const std::uint64_t count = r.U64();
  if (count > r.remaining() / sizeof(CK_OBJECT_HANDLE) || count > s.max) return r.Fail();
  const ByteView bytes = r.Raw(count * sizeof(CK_OBJECT_HANDLE));
  if (!r.ok()) return;
  if (count != 0) std::memcpy(s.list, bytes.data(), bytes.size());
  *s.count = count;
}

template <class T>
void EncodeRequest(Writer&, const spec::StructOut<T>&) {}
template <class T>
CK_RV DecodeRequest(Reader&, Arena& arena, spec::StructOut<T>& s) {
  s.value = arena.New<T>();
  return CKR_OK;
}
template <class T>
void EncodeResponse(Writer& w, const spec::StructOut<T>& s, CK_RV rv) {
  if (rv == CKR_OK) w.Raw({reinterpret_cast<const std::uint8_t*>(s.value), sizeof(T)});
}
template <class T>
void DecodeResponse(Reader& r, spec::StructOut<T>& s, CK_RV rv) {
  if (rv != CKR_OK) return;
  const ByteView bytes = r.Raw(sizeof(T));
  if (r.ok()) std::memcpy(s.value, bytes.data(), sizeof(T));
}

inline void EncodeRequest(Writer&, const spec::Document&) {}
inline CK_RV DecodeRequest(Reader&, Arena&, spec::Document&) { return CKR_OK; }
inline void EncodeResponse(Writer& w, const spec::Document& s, CK_RV) { w.Blob(s.value); }
inline void DecodeResponse(Reader& r, spec::Document& s, CK_RV) { s.value = ToBytes(r.Blob()); }

// Shapes that only go in have nothing to bring back. (A BytesOutOrMore is answered as the BytesOut that it is.)
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) void EncodeResponse(Writer&, const Shape&, CK_RV) {}
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) void DecodeResponse(Reader&, Shape&, CK_RV) {}

// ---- Calls

template <class Call>
void EncodeCall(Writer& w, Call& call) {
  std::apply([&](auto&... field) { (EncodeRequest(w, field), ...); }, call.Fields());
}

// Reads a request to its end. CKR_OK, or the first field's complaint, or CKR_ARGUMENTS_BAD for a malformed payload.
template <class Call>
CK_RV DecodeCall(Reader& r, Arena& arena, Call& call) {
  CK_RV rv = CKR_OK;
  std::apply([&](auto&... field) { (void)((rv = DecodeRequest(r, arena, field), rv == CKR_OK && r.ok()) && ...); },
             call.Fields());
  if (rv != CKR_OK) return rv;
  return r.AtEnd() ? CKR_OK : CKR_ARGUMENTS_BAD;
}

template <class Call>
void EncodeResults(Writer& w, Call& call, CK_RV rv) {
  std::apply([&](auto&... field) { (EncodeResponse(w, field, rv), ...); }, call.Fields());
}

// Reads the results; the trailers stay in the reader.
template <class Call>
bool DecodeResults(Reader& r, Call& call, CK_RV rv) {
  std::apply([&](auto&... field) { (DecodeResponse(r, field, rv), ...); }, call.Fields());
  return r.ok();
}

}  // namespace cmkd::wire
