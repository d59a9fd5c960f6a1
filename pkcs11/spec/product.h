// What the product says of itself in C_GetInfo, C_GetSlotInfo and C_GetTokenInfo.
#pragma once

#include <cstring>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

inline constexpr std::string_view kManufacturer = "cmkd project";
inline constexpr std::string_view kLibraryDescription = "cmkd key management";
inline constexpr std::string_view kModel = "cmkd";
inline constexpr CK_VERSION kLibraryVersion = {0, 1};
inline constexpr CK_VERSION kCryptokiVersion = {3, 2};

// The standard's text fields: blank padded, no terminator; text that is too long is cut between characters of UTF-8.
template <std::size_t n>
void PadText(unsigned char (&field)[n], std::string_view text) {
  std::size_t length = text.size() < n ? text.size() : n;
  if (length < text.size()) {
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  }
  std::memset(field, ' ', n);
  std::memcpy(field, text.data(), length);
}

inline void FillInfo(CK_INFO& info) {
  info = {};
  info.cryptokiVersion = kCryptokiVersion;
  PadText(info.manufacturerID, kManufacturer);
  PadText(info.libraryDescription, kLibraryDescription);
  info.libraryVersion = kLibraryVersion;
}

}  // namespace cmkd::spec
