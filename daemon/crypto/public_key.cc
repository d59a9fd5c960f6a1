// One header after the other, by OpenSSL's reader of headers.
#include "daemon/crypto/public_key.h"

#include <openssl/asn1.h>

namespace cmkd::daemon {
namespace {

// The content of the element that `in` begins with, if it has that tag; `in` goes behind it.
std::optional<ByteView> Take(ByteView& in, int wanted) {
  const unsigned char* content = in.data();
  long length = 0;
  int tag = 0, tag_class = 0;
  const int read = ASN1_get_object(&content, &length, &tag, &tag_class, static_cast<long>(in.size()));
  if ((read & 0x81) != 0 || tag != wanted || tag_class != V_ASN1_UNIVERSAL) return std::nullopt;
  const auto header = static_cast<std::size_t>(content - in.data());
  const ByteView taken = in.subspan(header, static_cast<std::size_t>(length));
  in = in.subspan(header + taken.size());
  return taken;
}

}  // namespace

std::optional<Bytes> PublicPoint(ByteView info) {
  auto whole = Take(info, V_ASN1_SEQUENCE);
  if (!whole || !Take(*whole, V_ASN1_SEQUENCE)) return std::nullopt;
  const auto bits = Take(*whole, V_ASN1_BIT_STRING);
  if (!bits || bits->size() < 2 || (*bits)[0] != 0) return std::nullopt;
  return ToBytes(bits->subspan(1));
}

std::optional<Bytes> PublicNumber(ByteView info) {
  const auto bytes = PublicPoint(info);
  if (!bytes) return std::nullopt;
  ByteView rest(*bytes);
  auto number = Take(rest, V_ASN1_INTEGER);
  if (!number || number->empty()) return std::nullopt;
  while (number->size() > 1 && (*number)[0] == 0) number = number->subspan(1);
  return ToBytes(*number);
}

Bytes AsOctetString(ByteView bytes) {
  Bytes out(static_cast<std::size_t>(ASN1_object_size(0, static_cast<int>(bytes.size()), V_ASN1_OCTET_STRING)));
  unsigned char* at = out.data();
  ASN1_put_object(&at, 0, static_cast<int>(bytes.size()), V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL);
  std::copy(bytes.begin(), bytes.end(), at);
  return out;
}

}  // namespace cmkd::daemon
