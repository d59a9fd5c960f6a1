// OpenSSL makes the primes and knows the groups.
#include "daemon/crypto/domain_parameters.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

namespace cmkd::daemon {
namespace {

using Context = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
using Parameters = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

struct Sizes {
  DomainKind kind;
  std::size_t prime_bits, subprime_bits;
};
// What is made; of DSA's the first of a prime's size is the usual one.
constexpr Sizes kSizes[] = {
    {DomainKind::kDsa, 1024, 160},     {DomainKind::kDsa, 2048, 224},     {DomainKind::kDsa, 2048, 256},
    {DomainKind::kDsa, 3072, 256},     {DomainKind::kX942, 2048, 224},    {DomainKind::kX942, 2048, 256},
    {DomainKind::kSafePrime, 2048, 0}, {DomainKind::kSafePrime, 3072, 0}, {DomainKind::kSafePrime, 4096, 0},
    {DomainKind::kSafePrime, 6144, 0}, {DomainKind::kSafePrime, 8192, 0},
};

Bytes Number(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return {};
  Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  BN_free(number);
  return bytes;
}

Parameters Generate(DomainKind kind, std::size_t prime_bits, std::size_t subprime_bits) {
  const bool group = kind == DomainKind::kSafePrime;
  const char* type = kind == DomainKind::kDsa ? "DSA" : group ? "DH" : "DHX";
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr), &EVP_PKEY_CTX_free);
  std::string name = group ? "ffdhe" + std::to_string(prime_bits) : "fips186_4";
  std::size_t p = prime_bits, q = subprime_bits;
  const OSSL_PARAM fresh[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_FFC_TYPE, name.data(), 0),
                              OSSL_PARAM_construct_size_t(OSSL_PKEY_PARAM_FFC_PBITS, &p),
                              OSSL_PARAM_construct_size_t(OSSL_PKEY_PARAM_FFC_QBITS, &q), OSSL_PARAM_construct_end()};
  const OSSL_PARAM known[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name.data(), 0),
                              OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  const bool done = context != nullptr && EVP_PKEY_paramgen_init(context.get()) == 1 &&
                    EVP_PKEY_CTX_set_params(context.get(), group ? known : fresh) == 1 &&
                    EVP_PKEY_paramgen(context.get(), &made) == 1;
  return {done ? made : nullptr, &EVP_PKEY_free};
}

}  // namespace

bool MakesDomain(DomainKind kind, std::size_t prime_bits, std::size_t subprime_bits) {
  for (const Sizes& sizes : kSizes) {
    const bool q = kind == DomainKind::kSafePrime || sizes.subprime_bits == subprime_bits;
    if (sizes.kind == kind && sizes.prime_bits == prime_bits && q) return true;
  }
  return false;
}

std::size_t UsualSubprimeBits(std::size_t prime_bits) {
  for (const Sizes& sizes : kSizes) {
    if (sizes.kind == DomainKind::kDsa && sizes.prime_bits == prime_bits) return sizes.subprime_bits;
  }
  return 0;
}

std::optional<DomainParameters> MakeDomain(DomainKind kind, std::size_t prime_bits, std::size_t subprime_bits) {
  if (!MakesDomain(kind, prime_bits, subprime_bits)) return std::nullopt;
  const Parameters made = Generate(kind, prime_bits, subprime_bits);
  if (made == nullptr) return std::nullopt;
  DomainParameters parameters{Number(made.get(), OSSL_PKEY_PARAM_FFC_P), Number(made.get(), OSSL_PKEY_PARAM_FFC_Q),
                              Number(made.get(), OSSL_PKEY_PARAM_FFC_G)};
  if (parameters.prime.empty() || parameters.base.empty()) return std::nullopt;
  if (kind != DomainKind::kSafePrime && parameters.subprime.empty()) return std::nullopt;
  return parameters;
}

}  // namespace cmkd::daemon
