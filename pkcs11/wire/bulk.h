// Long inputs and outputs beside a frame: the layout of C_Encrypt and C_Decrypt, which both sides need in parts. The
// client's module leaves the input where it is and sends the rest (RequestBeside); the daemon writes a long output into
// the answer, behind the head that EncodeResults would write (OutputHead), and the module reads that head before the
// output is there.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <tuple>
#include <type_traits>

#include "pkcs11/wire/codec.h"

namespace cmkd::wire {

// Calls with one input and one output, either of which may be long. (What is fed in parts may be needed for a
// resumption, and is kept.)
inline constexpr bool IsBulk(spec::CallId id) { return id == spec::CallId::C_Encrypt || id == spec::CallId::C_Decrypt; }
// What is shorter travels with the rest.
inline constexpr std::size_t kBulkBytesMin = std::size_t{64} << 10;

// Writes a request as EncodeCall does, but for the bytes of the input. Where they belong.
template <class Call>
std::size_t EncodeRequestBeside(Writer& w, Call& call) {
  static_assert(IsBulk(Call::kId));
  std::size_t at = 0;
  const auto encode = [&](auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, spec::BytesIn>) {
      w.U32(static_cast<std::uint32_t>(field.length));
      at = w.size();
    } else {
      EncodeRequest(w, field);
    }
  };
  std::apply([&](auto&... field) { (encode(field), ...); }, call.Fields());
  return at;
}

// What EncodeResults writes in front of an output.
struct OutputHead {
  static constexpr std::size_t kBytes = 2 * sizeof(std::uint64_t);

  CK_RV rv = CKR_OK;
  std::uint64_t length = 0;

  void Write(Writer& w) const {
    w.U64(rv);
    w.U64(length);
  }
  // Over the one that was written at `at`, when the length has become known.
  void Rewrite(MutableBytes at) const {
    const std::uint64_t numbers[] = {rv, length};
    std::memcpy(at.data(), numbers, sizeof numbers);
  }
  // Nothing when the bytes are not exactly one.
  static std::optional<OutputHead> Read(ByteView bytes) {
    Reader r(bytes);
    OutputHead head;
    head.rv = r.U64();
    head.length = r.U64();
    return r.AtEnd() ? std::optional(head) : std::nullopt;
  }
};

}  // namespace cmkd::wire
