// See tls_keys.h. The block of keys is PRF(master, "key expansion", server random ‖ client random), cut in the order
// MAC keys, cipher keys, IVs, the client's before the server's (RFC 2246 section 6.3, RFC 5246 section 6.3).
#include "daemon/service/tls_keys.h"

#include <algorithm>

#include "daemon/service/key_block.h"
#include "daemon/service/key_template.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {
namespace {

// CKM_TLS_KDF's parameter with a label of ours; `first` and `second` follow it as they stand. `hash` 0: that of
// TLS 1.0.
CK_TLS_KDF_PARAMS Kdf(CK_MECHANISM_TYPE hash, ByteView label, ByteView first, ByteView second) {
  const auto bytes = [](ByteView view) { return const_cast<CK_BYTE_PTR>(view.data()); };
  return {hash == 0 ? CKM_TLS_PRF : hash,
          bytes(label),
          label.size(),
          {bytes(first), first.size(), bytes(second), second.size()},
          nullptr,
          0};
}

bool IsOpen(const Object& key) {
  return !key.attributes.Bool(CKA_SENSITIVE, true) && key.attributes.Bool(CKA_EXTRACTABLE, false);
}

// One of the two kinds of key that a connection has, by its template.
struct KeyKind {
  std::size_t bytes = 0;
  KeyToBe key;
};

bool IsUsage(CK_ATTRIBUTE_TYPE type) {
  static constexpr CK_ATTRIBUTE_TYPE kUsages[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,  CKA_VERIFY,
                                                  CKA_WRAP,    CKA_UNWRAP,  CKA_DERIVE};
  return std::find(std::begin(kUsages), std::end(kUsages), type) != std::end(kUsages);
}

// The template of the MAC keys is the caller's but for what belongs to the cipher keys (3.2, "Key and MAC derivation").
std::vector<CK_ATTRIBUTE> ForMacs(std::span<const CK_ATTRIBUTE> given) {
  static const CK_KEY_TYPE kType = CKK_GENERIC_SECRET;
  static const CK_BBOOL kYes = CK_TRUE;
  std::vector<CK_ATTRIBUTE> own;
  for (const CK_ATTRIBUTE& attribute : given) {
    const bool theirs = attribute.type == CKA_KEY_TYPE || attribute.type == CKA_VALUE_LEN || IsUsage(attribute.type);
    if (!theirs) own.push_back(attribute);
  }
  own.push_back({CKA_KEY_TYPE, const_cast<CK_KEY_TYPE*>(&kType), sizeof kType});
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_SIGN, CKA_VERIFY}) {
    own.push_back({usage, const_cast<CK_BBOOL*>(&kYes), sizeof kYes});
  }
  return own;
}

Fallible<KeyKind> Describe(Invocation& invocation, const Object& base, std::span<const CK_ATTRIBUTE> given,
                           std::size_t bytes) {
  ASSIGN_OR_RETURN(spec::Attributes whole, spec::MergeForced(base.attributes.View(CKA_DERIVE_TEMPLATE), given));
  if (whole.Ulong(CKA_VALUE_LEN).value_or(bytes) != bytes)
    return Fail(CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN is not what ulKeySizeInBits says");
  if (whole.Bool(CKA_TOKEN)) return Fail(CKR_TEMPLATE_INCONSISTENT, "the keys of a connection are keys of a session");
  // What the template does not say is inherited (3.2, "Key and MAC derivation").
  for (const CK_ATTRIBUTE_TYPE type : {CKA_SENSITIVE, CKA_EXTRACTABLE}) {
    if (!whole.Has(type)) whole.SetBool(type, base.attributes.Bool(type));
  }
  const CK_ULONG type = whole.Ulong(CKA_KEY_TYPE).value_or(CKK_GENERIC_SECRET);
  if (spec::FindAttribute(CKA_VALUE_LEN, CKO_SECRET_KEY, type) != nullptr) whole.SetUlong(CKA_VALUE_LEN, bytes);
  KeyKind kind{bytes, {}};
  ASSIGN_OR_RETURN(kind.key,
                   DescribeKey(invocation, spec::Verb::kDerive, whole.ToTemplate(), {&base.attributes, true}));
  if (!spec::IsSecretLength(kind.key.type, bytes)) return Fail(CKR_KEY_SIZE_RANGE, "no length of such a key");
  return kind;
}

}  // namespace

Status DeriveTlsKeys(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                     const Object& base, std::span<const CK_ATTRIBUTE> given) {
  const spec::TlsKeyMaterialParameter parameter = spec::ReadTlsKeyMaterial(row, mechanism);
  if (parameter.iv_bytes != 0 && !IsOpen(base))
    return Fail(CKR_TEMPLATE_INCONSISTENT, "a master secret that is sensitive or does not leave gives no IVs");
  KeyKind macs, ciphers;
  if (parameter.mac_bytes != 0) {
    ASSIGN_OR_RETURN(macs, Describe(invocation, base, ForMacs(given), parameter.mac_bytes));
  }
  if (parameter.key_bytes != 0) {
    ASSIGN_OR_RETURN(ciphers, Describe(invocation, base, given, parameter.key_bytes));
  }
  ASSIGN_OR_RETURN(const Candidate from, CurrentCandidate(invocation, base, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, {}));
  RETURN_IF_ERROR(CountUse(invocation, base, from, cmk::Use::kProcess, row.type, 0));
  invocation.audit.version = from.version.value;

  const ByteView client{parameter.randoms.pClientRandom, parameter.randoms.ulClientRandomLen};
  const ByteView server{parameter.randoms.pServerRandom, parameter.randoms.ulServerRandomLen};
  CK_TLS_KDF_PARAMS kdf = Kdf(parameter.hash, AsBytes(std::string_view("key expansion")), server, client);
  // Longer than any piece that the device gives.
  constexpr std::size_t kBlockBytesMin = 64;
  const std::size_t bytes =
      std::max(2 * (parameter.mac_bytes + parameter.key_bytes + parameter.iv_bytes), kBlockBytesMin);
  ASSIGN_OR_RETURN(const Made whole, backend->DeriveKey({CKM_TLS_KDF, &kdf, sizeof kdf}, from.name, from.material, {},
                                                        CKK_GENERIC_SECRET, bytes, under.key));
  KeyBlock block(*backend, whole.material, under.key);
  CutKeys keys(*backend);
  for (int i = 0; i < 4; ++i) {
    const KeyKind& kind = i < 2 ? macs : ciphers;
    if (kind.bytes == 0) continue;
    ASSIGN_OR_RETURN(Made made, block.NextKey(kind.key.type, kind.bytes, under.key));
    keys.Add({kind.key.attributes, std::move(made)});
  }
  Bytes ivs[2];
  for (Bytes& iv : ivs) {
    if (parameter.iv_bytes == 0) continue;
    ASSIGN_OR_RETURN(iv, block.NextBytes(parameter.iv_bytes));
    if (iv.size() != parameter.iv_bytes) return Fail(CKR_DEVICE_ERROR, "the device gave too few bytes");
  }
  ASSIGN_OR_RETURN(const auto handles, KeepKeys(invocation, keys.Take(), cmk::Origin::kDerived));
  std::size_t next = 0;
  const auto handle = [&](const KeyKind& kind) { return kind.bytes == 0 ? CK_INVALID_HANDLE : handles[next++]; };
  parameter.out->hClientMacSecret = handle(macs);
  parameter.out->hServerMacSecret = handle(macs);
  parameter.out->hClientKey = handle(ciphers);
  parameter.out->hServerKey = handle(ciphers);
  std::copy(ivs[0].begin(), ivs[0].end(), parameter.out->pIVClient);
  std::copy(ivs[1].begin(), ivs[1].end(), parameter.out->pIVServer);
  return {};
}

Status DeriveTlsPrf(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                    const Object& base) {
  const auto& parameter = *static_cast<const CK_TLS_PRF_PARAMS*>(mechanism.pParameter);
  const MutableBytes out = spec::ResultsIn(row, mechanism)[0];
  const ByteView label{parameter.pLabel, parameter.ulLabelLen}, seed{parameter.pSeed, parameter.ulSeedLen};
  const bool finished = std::ranges::equal(label, AsBytes(std::string_view("client finished"))) ||
                        std::ranges::equal(label, AsBytes(std::string_view("server finished")));
  constexpr std::size_t kVerifyDataBytes = 12;
  if (!IsOpen(base) && (!finished || out.size() != kVerifyDataBytes))
    return Fail(CKR_TEMPLATE_INCONSISTENT, "a key that is sensitive or does not leave gives only verify_data");
  ASSIGN_OR_RETURN(const Candidate from, CurrentCandidate(invocation, base, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, {}));
  RETURN_IF_ERROR(CountUse(invocation, base, from, cmk::Use::kProcess, row.type, 0));
  invocation.audit.version = from.version.value;
  CK_TLS_KDF_PARAMS kdf = Kdf(0, label, seed, {});
  ASSIGN_OR_RETURN(const Bytes made, DeriveBytes(*backend, {CKM_TLS_KDF, &kdf, sizeof kdf}, from.name, from.material,
                                                 {}, out.size(), under.key));
  if (made.size() != out.size()) return Fail(CKR_DEVICE_ERROR, "the device gave too few bytes");
  std::copy(made.begin(), made.end(), out.begin());
  return {};
}

}  // namespace cmkd::daemon
