// The table of key specs.
#include "daemon/service/key_specs.h"

#include <algorithm>

#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

constexpr KeySpec kSpecs[] = {
    {"AES-128", CKM_AES_KEY_GEN, CKK_AES, 16, ""},
    {"AES-192", CKM_AES_KEY_GEN, CKK_AES, 24, ""},
    {"AES-256", CKM_AES_KEY_GEN, CKK_AES, 32, ""},
    {"SM4", CKM_SM4_KEY_GEN, CKK_SM4, 16, ""},
    {"HMAC-224", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 28, ""},
    {"HMAC-256", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 32, ""},
    {"HMAC-384", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 48, ""},
    {"HMAC-512", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 64, ""},
    {"RSA-2048", CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, 2048, ""},
    {"RSA-3072", CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, 3072, ""},
    {"RSA-4096", CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, 4096, ""},
    {"EC-P256", CKM_EC_KEY_PAIR_GEN, CKK_EC, 0, "P-256"},
    {"EC-P384", CKM_EC_KEY_PAIR_GEN, CKK_EC, 0, "P-384"},
    {"EC-P521", CKM_EC_KEY_PAIR_GEN, CKK_EC, 0, "P-521"},
    {"EC-SECP256K1", CKM_EC_KEY_PAIR_GEN, CKK_EC, 0, "secp256k1"},
    {"ED25519", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, 0, "Ed25519"},
    {"ED448", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, 0, "Ed448"},
    {"X25519", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, 0, "X25519"},
    {"X448", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, 0, "X448"},
    {"SM2", CKM_SM2_KEY_PAIR_GEN, CKK_SM2, 0, "SM2"},
};

constexpr KeyUsage kUsages[] = {
    {"encrypt", CKA_ENCRYPT, CKA_DECRYPT},
    {"sign", CKA_SIGN, CKA_VERIFY},
    {"wrap", CKA_WRAP, CKA_UNWRAP},
    {"derive", CKA_DERIVE, CKA_DERIVE},
};

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

std::span<const KeySpec> KeySpecs() { return kSpecs; }

const KeySpec* FindKeySpec(std::string_view name) {
  for (const KeySpec& spec : kSpecs) {
    if (std::equal(spec.name.begin(), spec.name.end(), name.begin(), name.end(),
                   [](char a, char b) { return a == Upper(b); })) {
      return &spec;
    }
  }
  return nullptr;
}

const KeyUsage* FindKeyUsage(std::string_view name) {
  for (const KeyUsage& usage : kUsages) {
    if (usage.name == name) return &usage;
  }
  return nullptr;
}

bool IsSecret(const KeySpec& spec) {
  return spec.key_type == CKK_AES || spec.key_type == CKK_SM4 || spec.key_type == CKK_GENERIC_SECRET;
}

CK_MECHANISM_TYPE GeneratorOf(CK_KEY_TYPE type) {
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if ((row.operations & CKF_GENERATE) != 0 && row.key_type == type) return row.type;
  }
  return CKM_GENERIC_SECRET_KEY_GEN;
}

std::string_view DefaultUsage(const KeySpec& spec) {
  if (spec.key_type == CKK_EC_MONTGOMERY) return "derive";
  return spec.key_type == CKK_AES || spec.key_type == CKK_SM4 ? "encrypt" : "sign";
}

}  // namespace cmkd::daemon
