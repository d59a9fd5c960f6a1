// How a key of each type is made.
#include "conformance/keys.h"

#include "conformance/domain.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/return_values.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::conformance {
namespace {

const Bytes kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
const Bytes kEd25519Name = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};
const Bytes kEd25519Oid = {0x06, 0x03, 0x2b, 0x65, 0x70};
const Bytes kSm2 = {0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d};
const Bytes kX25519Name = {0x13, 0x0a, 'c', 'u', 'r', 'v', 'e', '2', '5', '5', '1', '9'};
const Bytes kX25519Oid = {0x06, 0x03, 0x2b, 0x65, 0x6e};

// How keys of a type are made. Some modules know a curve by one of its names only: the second is the other name.
struct Recipe {
  CK_MECHANISM_TYPE generator;
  CK_KEY_TYPE made_as;
  bool pair;
  Template wanted;  // of the public or secret key
  Template otherwise;
};

// A secret key of a type that nothing else is known of: by the mechanism that generates it.
Recipe FromTable(CK_KEY_TYPE type) {
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (row.key_type != type || (row.operations & CKF_GENERATE) == 0 || row.parameter != spec::ParameterKind::kNone)
      continue;
    Template wanted;
    if (row.key_bits_min != row.key_bits_max) wanted.Ulong(CKA_VALUE_LEN, row.key_bits_min / 8);
    return {row.type, type, false, wanted, {}};
  }
  return {CKM_VENDOR_DEFINED, type, false, {}, {}};
}

Recipe RecipeFor(CK_KEY_TYPE type) {
  switch (type) {
    case CKK_RSA:
      return {CKM_RSA_PKCS_KEY_PAIR_GEN,
              CKK_RSA,
              true,
              Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1}),
              {}};
    case CKK_EC: return {CKM_EC_KEY_PAIR_GEN, CKK_EC, true, Template().Raw(CKA_EC_PARAMS, kP256), {}};
    case CKK_EC_EDWARDS:
      return {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, true, Template().Raw(CKA_EC_PARAMS, kEd25519Name),
              Template().Raw(CKA_EC_PARAMS, kEd25519Oid)};
    case CKK_EC_MONTGOMERY:
      return {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, true, Template().Raw(CKA_EC_PARAMS, kX25519Name),
              Template().Raw(CKA_EC_PARAMS, kX25519Oid)};
    case CKK_SM2: return {CKM_SM2_KEY_PAIR_GEN, CKK_SM2, true, Template().Raw(CKA_EC_PARAMS, kSm2), {}};
    case CKK_DSA: return {CKM_DSA_KEY_PAIR_GEN, CKK_DSA, true, DomainOf(CKK_DSA), {}};
    case CKK_DH: return {CKM_DH_PKCS_KEY_PAIR_GEN, CKK_DH, true, DomainOf(CKK_DH), {}};
    case CKK_X9_42_DH: return {CKM_X9_42_DH_KEY_PAIR_GEN, CKK_X9_42_DH, true, DomainOf(CKK_X9_42_DH), {}};
    case CKK_AES: return {CKM_AES_KEY_GEN, CKK_AES, false, Template().Ulong(CKA_VALUE_LEN, 32), {}};
    case CKK_DES3: return {CKM_DES3_KEY_GEN, CKK_DES3, false, {}, {}};
    case CKK_DES2: return {CKM_DES2_KEY_GEN, CKK_DES2, false, {}, {}};
    case CKK_CHACHA20: return {CKM_CHACHA20_KEY_GEN, CKK_CHACHA20, false, {}, {}};
    case CKK_POLY1305: return {CKM_POLY1305_KEY_GEN, CKK_POLY1305, false, {}, {}};
    // HMAC mechanisms take a generic secret as well as a key of their own type; some want it as long as the digest.
    case CKK_GENERIC_SECRET:
      return {CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, false, Template().Ulong(CKA_VALUE_LEN, 64), {}};
    default: return FromTable(type);
  }
}

Template Usage(Purpose purpose, bool first, bool second) {
  Template usage;
  const auto may = [&](CK_ATTRIBUTE_TYPE protect, CK_ATTRIBUTE_TYPE process) {
    if (first) usage.Bool(protect, true);
    if (second) usage.Bool(process, true);
  };
  switch (purpose) {
    case Purpose::kCipher: may(CKA_ENCRYPT, CKA_DECRYPT); break;
    case Purpose::kSign: may(CKA_VERIFY, CKA_SIGN); break;
    case Purpose::kRecover:
      may(CKA_VERIFY_RECOVER, CKA_SIGN_RECOVER);
      may(CKA_VERIFY, CKA_SIGN);
      break;
    case Purpose::kWrap: may(CKA_WRAP, CKA_UNWRAP); break;
    case Purpose::kDerive:
      if (second) usage.Bool(CKA_DERIVE, true);
      break;
    case Purpose::kNothing: break;
  }
  return usage;
}

// Everything that the purpose does not name is switched off, where a token might switch it on by itself.
Template NoUsage(Purpose purpose, bool first, bool second) {
  Template usage;
  const auto may_not = [&](Purpose of, CK_ATTRIBUTE_TYPE protect, CK_ATTRIBUTE_TYPE process) {
    if (purpose == of) return;
    if (first) usage.Bool(protect, false);
    if (second) usage.Bool(process, false);
  };
  may_not(Purpose::kCipher, CKA_ENCRYPT, CKA_DECRYPT);
  if (purpose != Purpose::kRecover) may_not(Purpose::kSign, CKA_VERIFY, CKA_SIGN);
  may_not(Purpose::kWrap, CKA_WRAP, CKA_UNWRAP);
  return usage;
}

}  // namespace

void Keys::Forget() {
  made_.clear();
  session_ = 0;
}

Result<MadeKey, std::string> Keys::Get(CK_KEY_TYPE type, Purpose purpose) {
  const auto key = std::make_pair(type, purpose);
  auto at = made_.find(key);
  if (at == made_.end()) at = made_.emplace(key, Make(session_, type, purpose)).first;
  return at->second;
}

Result<MadeKey, std::string> Keys::Make(CK_SESSION_HANDLE session, CK_KEY_TYPE type, Purpose purpose,
                                        const Template& more, CK_MECHANISM_TYPE generator) const {
  const Recipe recipe = RecipeFor(type);
  CK_RV rv = CKR_OK;
  for (const Template& wanted : {recipe.wanted, recipe.otherwise}) {
    if (rv != CKR_OK && wanted.size() == 0) break;
    MadeKey made;
    CK_MECHANISM mechanism{generator != 0 ? generator : recipe.generator, nullptr, 0};
    Template common;
    common.Bool(CKA_TOKEN, false);
    if (recipe.pair) {
      Template first = common, second = common;
      first.Bool(CKA_PRIVATE, false).Add(wanted).Add(Usage(purpose, true, false)).Add(NoUsage(purpose, true, false));
      second.Add(Usage(purpose, false, true)).Add(NoUsage(purpose, false, true)).Add(more);
      rv = p11_->C_GenerateKeyPair(session, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                   &made.first, &made.second);
    } else {
      const CK_OBJECT_CLASS object_class = recipe.made_as == CKK_HOTP ? CKO_OTP_KEY : CKO_SECRET_KEY;
      common.Ulong(CKA_CLASS, object_class).Ulong(CKA_KEY_TYPE, recipe.made_as).Add(wanted);
      common.Add(Usage(purpose, true, true)).Add(NoUsage(purpose, true, true)).Add(more);
      rv = p11_->C_GenerateKey(session, &mechanism, common.data(), common.size(), &made.first);
      made.second = made.first;
    }
    if (rv == CKR_OK) return made;
  }
  return Failure{std::string(recipe.pair ? "C_GenerateKeyPair" : "C_GenerateKey") + " of a key to work with gives " +
                 spec::ReturnValueName(rv)};
}

}  // namespace cmkd::conformance
