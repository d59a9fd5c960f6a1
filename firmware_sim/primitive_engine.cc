// Keys of the crypto library from the parts of ours, with the checks that belong to that.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>

#include "firmware_sim/der.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/openssl.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, ReleaseWith<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, ReleaseWith<OSSL_PARAM_free>>;
using Group = std::unique_ptr<EC_GROUP, ReleaseWith<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, ReleaseWith<EC_POINT_free>>;

// OpenSSL knows curves by the same object identifiers.
int CurveNid(const spec::Curve& curve) {
  const auto* oid = reinterpret_cast<const std::uint8_t*>(curve.oid.data());
  ASN1_OBJECT* object = d2i_ASN1_OBJECT(nullptr, &oid, static_cast<long>(curve.oid.size()));
  const int nid = object == nullptr ? NID_undef : OBJ_obj2nid(object);
  ASN1_OBJECT_free(object);
  return nid;
}

// The name of the key type for the curves of RFC 7748 and RFC 8032: X25519, ED25519, …
const char* RawKeyName(const spec::Curve& curve) { return OBJ_nid2sn(CurveNid(curve)); }

PKey FromData(const char* algorithm, int selection, OSSL_PARAM_BLD* builder) {
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder));
  const PKeyContext context(EVP_PKEY_CTX_new_from_name(Library(), algorithm, nullptr));
  EVP_PKEY* key = nullptr;
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) != 1) {
    return nullptr;
  }
  return PKey(key);
}

struct RsaParameter {
  Part part;
  const char* name;
};
constexpr RsaParameter kRsaParameters[] = {
    {Part::kModulus, OSSL_PKEY_PARAM_RSA_N},           {Part::kPublicExponent, OSSL_PKEY_PARAM_RSA_E},
    {Part::kPrivateExponent, OSSL_PKEY_PARAM_RSA_D},   {Part::kPrime1, OSSL_PKEY_PARAM_RSA_FACTOR1},
    {Part::kPrime2, OSSL_PKEY_PARAM_RSA_FACTOR2},      {Part::kExponent1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {Part::kExponent2, OSSL_PKEY_PARAM_RSA_EXPONENT2}, {Part::kCoefficient, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

PKey RsaFromParts(const Parts& parts, int selection) {
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  std::array<BigNumber, std::size(kRsaParameters)> numbers;
  for (std::size_t i = 0; i < std::size(kRsaParameters); ++i) {
    const ByteView bytes = parts[kRsaParameters[i].part];
    if (bytes.empty()) continue;
    numbers[i] = ToNumber(bytes);
    if (numbers[i] == nullptr || OSSL_PARAM_BLD_push_BN(builder.get(), kRsaParameters[i].name, numbers[i].get()) != 1) {
      return nullptr;
    }
  }
  return FromData("RSA", selection, builder.get());
}

PKey EcFromParts(const spec::Curve& curve, const Parts& parts, int selection) {
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  const ByteView point = parts[Part::kPoint];
  BigNumber scalar;
  bool good =
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, OBJ_nid2sn(CurveNid(curve)), 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) == 1;
  if (selection == EVP_PKEY_KEYPAIR) {
    scalar = ToNumber(parts[Part::kValue]);
    BN_set_flags(scalar.get(), BN_FLG_CONSTTIME);
    good = good && OSSL_PARAM_BLD_push_BN_pad(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar.get(),
                                              (curve.bits + 7u) / 8) == 1;
  }
  return good ? FromData(curve.key_type == CKK_SM2 ? "SM2" : "EC", selection, builder.get()) : nullptr;
}

bool PrimesGiveModulus(const Parts& parts) {
  const BigNumberContext context(BN_CTX_new_ex(Library()));
  const BigNumber n = ToNumber(parts[Part::kModulus]);
  const BigNumber p = ToNumber(parts[Part::kPrime1]);
  const BigNumber q = ToNumber(parts[Part::kPrime2]);
  const BigNumber product(BN_new());
  return BN_mul(product.get(), p.get(), q.get(), context.get()) == 1 && BN_cmp(product.get(), n.get()) == 0;
}

// An odd modulus and an odd exponent above 1: what makes the numbers usable at all (SP 800-56B section 6.4.2 wants
// more, but exponent 3 is still met in old certificates).
bool PlausibleRsa(const Parts& parts) {
  const ByteView n = parts[Part::kModulus];
  const ByteView e = parts[Part::kPublicExponent];
  if (n.empty() || e.empty() || (n.back() & 1) == 0 || (e.back() & 1) == 0) return false;
  return spec::BitLength(e) >= 2 && spec::BitLength(e) < spec::BitLength(n);
}

// The secret of implicit rejection: SHA-256 of the private exponent, as long as the modulus
// (draft-irtf-cfrg-rsa-guidance, section 7.2).
Status DeriveRejection(const Parts& parts, MutableBytes out) {
  const ByteView d = parts[Part::kPrivateExponent];
  const std::size_t bytes = (spec::BitLength(parts[Part::kModulus]) + 7) / 8;
  ASSIGN_OR_RETURN(const std::unique_ptr<Digest> digest, MakeDigest(CKM_SHA256));
  const Bytes zeros(d.size() < bytes ? bytes - d.size() : 0);
  RETURN_IF_ERROR(digest->Update(zeros));
  RETURN_IF_ERROR(digest->Update(d));
  return digest->Final(out);
}

}  // namespace

EnginePtr PrepareSecret() { return EnginePtr(new Engine); }

Fallible<EnginePtr> PreparePrivate(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts, CK_RV refusal) {
  if (IsInField(type)) return PrepareInField(type, parts, true, refusal);
  EnginePtr engine(new Engine);
  if (type == CKK_RSA) {
    if (!PlausibleRsa(parts) || !PrimesGiveModulus(parts)) return Fail(refusal, "RSA numbers do not belong together");
    engine->pkey = RsaFromParts(parts, EVP_PKEY_KEYPAIR);
    RETURN_IF_ERROR(DeriveRejection(parts, engine->rejection));
  } else if (HasScalar(type)) {
    engine->pkey = EcFromParts(*curve, parts, EVP_PKEY_KEYPAIR);
  } else {
    // From the seed alone, so that the library computes the public half itself.
    const ByteView seed = parts[Part::kValue];
    engine->pkey =
        PKey(EVP_PKEY_new_raw_private_key_ex(Library(), RawKeyName(*curve), nullptr, seed.data(), seed.size()));
  }
  if (engine->pkey == nullptr) return LibraryRefusal(refusal, "the parts are no private key");
  return engine;
}

Fallible<EnginePtr> PreparePublic(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts) {
  if (IsInField(type)) return PrepareInField(type, parts, false, CKR_PUBLIC_KEY_INVALID);
  EnginePtr engine(new Engine);
  if (type == CKK_RSA) {
    if (!PlausibleRsa(parts)) return Fail(CKR_PUBLIC_KEY_INVALID, "RSA modulus or exponent");
    engine->pkey = RsaFromParts(parts, EVP_PKEY_PUBLIC_KEY);
  } else if (HasScalar(type)) {
    // Uncompressed only; that the point is on the curve is checked when the library reads it, and the cofactor is 1.
    const ByteView point = parts[Part::kPoint];
    if (point.size() != curve->point_bytes || point[0] != 4)
      return Fail(CKR_PUBLIC_KEY_INVALID, "not an uncompressed point");
    engine->pkey = EcFromParts(*curve, parts, EVP_PKEY_PUBLIC_KEY);
  } else {
    const ByteView point = parts[Part::kPoint];
    engine->pkey =
        PKey(EVP_PKEY_new_raw_public_key_ex(Library(), RawKeyName(*curve), nullptr, point.data(), point.size()));
  }
  if (engine->pkey == nullptr) return LibraryRefusal(CKR_PUBLIC_KEY_INVALID, "the parts are no public key");
  return engine;
}

Fallible<Bytes> ComputePoint(const spec::Curve& curve, ByteView value, CK_RV refusal) {
  Bytes point(curve.point_bytes);
  if (!HasScalar(curve.key_type)) {
    const PKey key(EVP_PKEY_new_raw_private_key_ex(Library(), RawKeyName(curve), nullptr, value.data(), value.size()));
    std::size_t bytes = point.size();
    if (key == nullptr || EVP_PKEY_get_raw_public_key(key.get(), point.data(), &bytes) != 1 || bytes != point.size()) {
      return LibraryRefusal(refusal, "not a seed of this curve");
    }
    return point;
  }
  const Group group(EC_GROUP_new_by_curve_name_ex(Library(), nullptr, CurveNid(curve)));
  const BigNumber scalar = ToNumber(value);
  const BigNumberContext context(BN_CTX_secure_new_ex(Library()));
  if (group == nullptr || scalar == nullptr || context == nullptr) return LibraryFailure("EC group");
  BN_set_flags(scalar.get(), BN_FLG_CONSTTIME);
  if (BN_is_zero(scalar.get()) || BN_cmp(scalar.get(), EC_GROUP_get0_order(group.get())) >= 0) {
    return Fail(refusal, "the scalar is not between 1 and the order of the curve");
  }
  const Point public_point(EC_POINT_new(group.get()));
  if (EC_POINT_mul(group.get(), public_point.get(), scalar.get(), nullptr, nullptr, context.get()) != 1 ||
      EC_POINT_point2oct(group.get(), public_point.get(), POINT_CONVERSION_UNCOMPRESSED, point.data(), point.size(),
                         context.get()) != point.size()) {
    return LibraryFailure("EC point");
  }
  return point;
}

}  // namespace cmkd::sim
