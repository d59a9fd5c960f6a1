// Trailers: what a response carries behind the call's results (PROTOCOL.md, "Trailers"). A row says what stands in a
// trailer of each kind, for who writes and for who reads.
#pragma once

#include <optional>

#include "pkcs11/spec/cryptoki.h"
#include "pkcs11/wire/frame.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::wire {

struct TrailerRow {
  TrailerKind kind;
  bool has_session;
  bool has_object;
  bool has_blob;
};
inline constexpr TrailerRow kTrailerRows[] = {
    {TrailerKind::kEnd, false, false, false},          {TrailerKind::kTicket, false, false, true},
    {TrailerKind::kSessionObject, true, true, true},   {TrailerKind::kForgetObject, false, true, false},
    {TrailerKind::kOtpSignature, false, false, false}, {TrailerKind::kRefusedKey, false, true, false},
};

// One of them. What its row does not have is zero or empty.
struct TrailerView {
  TrailerKind kind = TrailerKind::kEnd;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  ByteView blob;
};

constexpr const TrailerRow* FindTrailer(TrailerKind kind) {
  for (const TrailerRow& row : kTrailerRows) {
    if (row.kind == kind) return &row;
  }
  return nullptr;
}

inline void WriteTrailer(Writer& w, const TrailerView& trailer) {
  const TrailerRow& row = *FindTrailer(trailer.kind);
  w.U8(static_cast<std::uint8_t>(trailer.kind));
  if (row.has_session) w.U64(trailer.session);
  if (row.has_object) w.U64(trailer.object);
  if (row.has_blob) w.Blob(trailer.blob);
}

// The next one; nothing, and the reader has failed, when it is malformed. The blob points into what is read.
inline std::optional<TrailerView> ReadTrailer(Reader& r) {
  TrailerView trailer;
  trailer.kind = static_cast<TrailerKind>(r.U8());
  const TrailerRow* row = FindTrailer(trailer.kind);
  if (row == nullptr) r.Fail();
  if (!r.ok()) return std::nullopt;
  if (row->has_session) trailer.session = r.U64();
  if (row->has_object) trailer.object = r.U64();
  if (row->has_blob) trailer.blob = r.Blob();
  if (!r.ok()) return std::nullopt;
  return trailer;
}

// Which kinds there were.
class TrailerKinds {
 public:
  void Add(const TrailerView& trailer) {
    bits_ |= Bit(trailer.kind);
    if (trailer.kind == TrailerKind::kRefusedKey) refused_key_ = trailer.object;
  }
  // The index in a kRefusedKey, if there was one.
  std::optional<CK_ULONG> refused_key() const { return refused_key_; }
  bool Has(TrailerKind kind) const { return (bits_ & Bit(kind)) != 0; }

 private:
  static constexpr std::uint32_t Bit(TrailerKind kind) { return 1u << static_cast<std::uint8_t>(kind); }
  std::uint32_t bits_ = 0;
  std::optional<CK_ULONG> refused_key_;
};

}  // namespace cmkd::wire
