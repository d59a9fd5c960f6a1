// The hashes that a DigestInfo may name.
#include "pkcs11/spec/signed_data.h"

#include <algorithm>

namespace cmkd::spec {
namespace {

// No hash is longer; more is a message that was to be hashed.
constexpr std::size_t kHashBytesMax = 128;

struct HashOid {
  std::string_view oid;  // with tag and length
  std::size_t bytes;
};
using namespace std::string_view_literals;
constexpr HashOid kHashes[] = {
    {"\x06\x05\x2B\x0E\x03\x02\x1A"sv, 20},                  // SHA-1
    {"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04"sv, 28},  // SHA-224
    {"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"sv, 32},  // SHA-256
    {"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02"sv, 48},  // SHA-384
    {"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03"sv, 64},  // SHA-512
};

// SEQUENCE { SEQUENCE { oid, … }, OCTET STRING hash }, all of it shorter than 128 bytes: whether a named hash stands
// there with another length than it has. What is no such structure is not judged.
bool HoldsAnotherHash(ByteView data) {
  if (data.size() < 4 || data[0] != 0x30 || data[1] != data.size() - 2 || data[2] != 0x30) return false;
  const std::size_t algorithm = data[3];
  if (algorithm > data.size() - 4 || data.size() - 4 - algorithm < 2) return false;
  const ByteView inner = data.subspan(4, algorithm);
  const ByteView hash = data.subspan(4 + algorithm);
  return std::any_of(std::begin(kHashes), std::end(kHashes), [&](const HashOid& known) {
    const bool named = inner.size() >= known.oid.size() && Equal(inner.first(known.oid.size()), AsBytes(known.oid));
    return named && (hash[0] != 0x04 || hash[1] != known.bytes || hash.size() != 2 + known.bytes);
  });
}

}  // namespace

Status CheckSignedData(const MechanismRow& row, ByteView data) {
  if (row.digest != 0) return {};
  if (row.recipe == Recipe::kRsaPkcs && HoldsAnotherHash(data)) {
    return Fail(CKR_DATA_INVALID, "the DigestInfo holds no hash of the algorithm that it names");
  }
  if (row.recipe == Recipe::kEcdsa && (data.empty() || data.size() > kHashBytesMax)) {
    return Fail(CKR_DATA_LEN_RANGE, "what is signed is no hash");
  }
  // 3.2, "DSA without hashing": one of the lengths of SHA-1 and SHA-2.
  constexpr std::size_t kDsaLengths[] = {20, 28, 32, 48, 64};
  if (row.recipe == Recipe::kDsa &&
      std::find(std::begin(kDsaLengths), std::end(kDsaLengths), data.size()) == std::end(kDsaLengths)) {
    return Fail(CKR_DATA_LEN_RANGE, "what is signed is no hash");
  }
  return {};
}

}  // namespace cmkd::spec
