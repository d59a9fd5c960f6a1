// What the families of mechanism rows share: the columns that a family has in common, so that a row says only what is
// its own. Included by the mechanism_rows_*.h only, which mechanism_table.cc puts together.
#pragma once

#include <array>

#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec::rows {

using P = ParameterKind;
using O = OutputRule;
using V = VersionSearch;
using R = Recipe;
inline constexpr Standing kApproved = Standing::kApproved;
inline constexpr Standing kLegacy = Standing::kLegacy;
inline constexpr Parts kOne = Parts::kSingle;
inline constexpr Parts kMany = Parts::kMulti;

inline constexpr CK_FLAGS kCipher = CKF_ENCRYPT | CKF_DECRYPT;
inline constexpr CK_FLAGS kMessages = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
inline constexpr CK_FLAGS kWrapping = CKF_WRAP | CKF_UNWRAP;
inline constexpr CK_FLAGS kSigning = CKF_SIGN | CKF_VERIFY;
inline constexpr CK_FLAGS kEncapsulation = CKF_ENCAPSULATE | CKF_DECAPSULATE;
inline constexpr CK_FLAGS kRecovery = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
inline constexpr CK_FLAGS kPairs = CKF_GENERATE_KEY_PAIR;
inline constexpr CK_FLAGS kNamed = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME;
inline constexpr CK_FLAGS kPoint = kNamed | CKF_EC_UNCOMPRESS;

// RSA keys below 2048 bits are of no use any more (SP 800-131A); above 8192 generation takes minutes.
inline constexpr std::uint32_t kRsaMin = 2048, kRsaMax = 16384, kRsaMadeMax = 8192;
// HMAC keys of any length that programs use; 4096 bytes is far above every block size.
inline constexpr std::uint32_t kSecretMin = 8, kSecretMax = 32768;

// Rows without a file of vectors have their known answers in this test.
inline constexpr std::string_view kKnown = "known_answers_test";

struct Name {
  CK_MECHANISM_TYPE type;
  std::string_view text;
};

constexpr MechanismRow Digest(Name name, P parameter, Standing standing) {
  return {name.type,  name.text,  parameter, kNoKeyType,    kNoKeyType, 0,          0,         SizeUnit::kNone,
          CKF_DIGEST, O::kDigest, kMany,     V::kOwnObject, standing,   R::kDigest, name.type, kKnown};
}

// A secret key and what is made with it.
constexpr MechanismRow Secret(Name name, CK_KEY_TYPE key_type, CK_KEY_TYPE other, std::uint32_t bits_min,
                              std::uint32_t bits_max, P parameter, CK_FLAGS operations, O output, Parts parts,
                              V versions, Standing standing, R recipe, CK_MECHANISM_TYPE digest,
                              std::string_view vectors) {
  return {name.type,  name.text, parameter, key_type, other,    bits_min, bits_max, SizeUnit::kBytes,
          operations, output,    parts,     versions, standing, recipe,   digest,   vectors};
}

constexpr MechanismRow Hmac(Name name, CK_KEY_TYPE typed, CK_MECHANISM_TYPE digest, Standing standing,
                            std::string_view vectors) {
  const P parameter = digest == CKM_SHA512_T ? P::kHashBits : P::kNone;
  return Secret(name, CKK_GENERIC_SECRET, typed, kSecretMin, kSecretMax, parameter, kSigning, O::kMac, kMany, V::kTrial,
                standing, R::kHmac, digest, vectors);
}

// A cut MAC is no integrity check that decides between versions.
constexpr MechanismRow HmacGeneral(Name name, CK_KEY_TYPE typed, CK_MECHANISM_TYPE digest, Standing standing) {
  return Secret(name, CKK_GENERIC_SECRET, typed, kSecretMin, kSecretMax, P::kMacGeneral, kSigning, O::kMacGeneral,
                kMany, V::kFixed, standing, R::kHmac, digest, kKnown);
}

constexpr MechanismRow SecretGen(Name name, CK_KEY_TYPE key_type, std::uint32_t bits_min, std::uint32_t bits_max,
                                 Standing standing) {
  return Secret(name, key_type, kNoKeyType, bits_min, bits_max, P::kNone, CKF_GENERATE, O::kNone, kOne, V::kOwnObject,
                standing, R::kKeyGen, 0, kKnown);
}

constexpr MechanismRow Derive(Name name, CK_KEY_TYPE key_type, CK_KEY_TYPE other, P parameter, Standing standing,
                              R recipe, CK_MECHANISM_TYPE digest, std::string_view vectors) {
  return Secret(name, key_type, other, kSecretMin, kSecretMax, parameter, CKF_DERIVE, O::kNone, kOne, V::kFixed,
                standing, recipe, digest, vectors);
}

constexpr MechanismRow Aes(Name name, P parameter, CK_FLAGS operations, O output, Parts parts, V versions,
                           Standing standing, R recipe, std::string_view vectors) {
  return Secret(name, CKK_AES, kNoKeyType, 128, 256, parameter, operations, output, parts, versions, standing, recipe,
                0, vectors);
}

}  // namespace cmkd::spec::rows

#define CMKD_NAMED(name) \
  ::cmkd::spec::rows::Name { CKM_##name, "CKM_" #name }
