// ASN.1 DER, as much as an RSA public key needs.
#include "daemon/crypto/rsa_public_key.h"

#include <initializer_list>

namespace cmkd::daemon {

namespace {

void AppendLength(Bytes& der, std::size_t length) {
  if (length < 128) {
    der.push_back(static_cast<std::uint8_t>(length));
    return;
  }
  Bytes bytes;
  for (; length != 0; length >>= 8) bytes.insert(bytes.begin(), static_cast<std::uint8_t>(length));
  der.push_back(static_cast<std::uint8_t>(0x80 | bytes.size()));
  der.insert(der.end(), bytes.begin(), bytes.end());
}
Bytes Tagged(std::uint8_t tag, ByteView content) {
  Bytes der{tag};
  AppendLength(der, content.size());
  der.insert(der.end(), content.begin(), content.end());
  return der;
}
Bytes Joined(std::initializer_list<ByteView> parts) {
  Bytes all;
  for (const ByteView part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
Bytes Integer(ByteView number) {
  while (number.size() > 1 && number.front() == 0) number = number.subspan(1);
  Bytes content;
  if (!number.empty() && (number.front() & 0x80) != 0) content.push_back(0);
  content.insert(content.end(), number.begin(), number.end());
  return Tagged(0x02, content);
}

}  // namespace

Bytes RsaPublicKeyInfo(ByteView modulus, ByteView exponent) {
  constexpr std::uint8_t kRsaEncryption[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                             0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
  const Bytes key = Tagged(0x30, Joined({Integer(modulus), Integer(exponent)}));
  const std::uint8_t no_unused_bits[] = {0};
  return Tagged(0x30, Joined({kRsaEncryption, Tagged(0x03, Joined({no_unused_bits, key}))}));
}

}  // namespace cmkd::daemon
