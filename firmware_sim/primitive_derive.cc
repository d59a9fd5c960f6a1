// Keys made of keys: HKDF (RFC 5869), SP 800-108, PBKDF2 (RFC 8018), TLS (RFC 5246, RFC 7627), digests, and PKCS#11's
// simple derivations. Agreement with another key is in primitive_ec.cc and primitive_dh.cc.
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>

#include "firmware_sim/derive.h"
#include "firmware_sim/primitive_factories.h"
#include "firmware_sim/tls_prf.h"
#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/sp800_108.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

constexpr std::size_t kTlsMasterBytes = 48;

// A list of parameters for one of the library's key derivation functions.
class KdfParameters {
 public:
  KdfParameters& Text(const char* name, const char* value) {
    list_.push_back(OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0));
    return *this;
  }
  KdfParameters& Octets(const char* name, ByteView value) {
    // The library wants an address even for no bytes.
    static std::uint8_t none = 0;
    std::uint8_t* data = value.empty() ? &none : const_cast<std::uint8_t*>(value.data());
    list_.push_back(OSSL_PARAM_construct_octet_string(name, data, value.size()));
    return *this;
  }
  KdfParameters& Number(const char* name, std::uint64_t& value) {
    list_.push_back(OSSL_PARAM_construct_uint64(name, &value));
    return *this;
  }
  KdfParameters& Number(const char* name, int& value) {
    list_.push_back(OSSL_PARAM_construct_int(name, &value));
    return *this;
  }
  Status Run(const char* algorithm, MutableBytes out) {
    list_.push_back(OSSL_PARAM_construct_end());
    const Kdf kdf(EVP_KDF_fetch(Library(), algorithm, ""));
    const KdfContext context(kdf == nullptr ? nullptr : EVP_KDF_CTX_new(kdf.get()));
    if (context == nullptr || EVP_KDF_derive(context.get(), out.data(), out.size(), list_.data()) != 1) {
      return LibraryRefusal(CKR_KEY_SIZE_RANGE, algorithm);
    }
    return {};
  }

 private:
  std::vector<OSSL_PARAM> list_;
};

const char* HashName(CK_MECHANISM_TYPE hash) { return EVP_MD_get0_name(DigestAlgorithm(hash)); }

// As many bytes as were asked for, from the front of `made`.
Fallible<SecretBytes> FirstBytes(SecretBytes made, std::optional<std::size_t> bytes) {
  if (bytes.value_or(made.size()) > made.size()) return Fail(CKR_KEY_SIZE_RANGE, "there are not that many bytes");
  made.Truncate(bytes.value_or(made.size()));
  return made;
}

Failure<Error> NoLength() { return Fail(CKR_TEMPLATE_INCOMPLETE, "the length of the key must be said"); }

Fallible<SecretBytes> Hkdf(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  const auto& parameter = *static_cast<const CK_HKDF_PARAMS*>(mechanism.pParameter);
  const std::size_t hash_bytes = spec::DigestLength(parameter.prfHashMechanism);
  if (parameter.bExpand && !input.bytes) return NoLength();
  const std::size_t bytes = input.bytes.value_or(hash_bytes);
  if (!parameter.bExpand && bytes != hash_bytes) return Fail(CKR_KEY_SIZE_RANGE, "extraction gives one hash");
  if (bytes > 255 * hash_bytes) return Fail(CKR_KEY_SIZE_RANGE, "HKDF gives 255 hashes at most");
  int mode = !parameter.bExpand    ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY
             : !parameter.bExtract ? EVP_KDF_HKDF_MODE_EXPAND_ONLY
                                   : EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
  const Bytes zeros(hash_bytes);
  ByteView salt = zeros;
  if (parameter.ulSaltType == CKF_HKDF_SALT_DATA) salt = {parameter.pSalt, parameter.ulSaltLen};
  if (parameter.ulSaltType == CKF_HKDF_SALT_KEY) {
    if (input.others.empty()) return Fail(CKR_KEY_HANDLE_INVALID, "no such key for the salt");
    salt = input.others.front()->part(Part::kValue);
  }
  KdfParameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, HashName(parameter.prfHashMechanism))
      .Octets(OSSL_KDF_PARAM_KEY, input.base)
      .Number(OSSL_KDF_PARAM_MODE, mode);
  if (parameter.bExtract) parameters.Octets(OSSL_KDF_PARAM_SALT, salt);
  if (parameter.bExpand) parameters.Octets(OSSL_KDF_PARAM_INFO, {parameter.pInfo, parameter.ulInfoLen});
  SecretBytes made(bytes);
  RETURN_IF_ERROR(parameters.Run("HKDF", made.bytes()));
  return made;
}

// SP 800-108, composed of the mechanism that is the PRF, so that all its forms of input and all three modes are there.
class Sp800 {
 public:
  Sp800(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const DeriveInput& given)
      : row_(row),
        prf_(*spec::FindMechanism(*static_cast<const CK_MECHANISM_TYPE*>(mechanism.pParameter))),
        key_(given.key),
        others_(given.others) {
    // Both structs begin the same.
    const auto& parameter = *static_cast<const CK_SP800_108_KDF_PARAMS*>(mechanism.pParameter);
    parts_ = {parameter.pDataParams, parameter.ulNumberOfDataParams};
    block_bytes_ = spec::SegmentBytes(mechanism);
    if (row.recipe == Recipe::kSp800Feedback) {
      const auto& feedback = *static_cast<const CK_SP800_108_FEEDBACK_KDF_PARAMS*>(mechanism.pParameter);
      iv_ = {feedback.pIV, feedback.ulIVLen};
    }
  }

  Fallible<SecretBytes> Make(std::size_t bytes) {
    length_ = spec::LengthOfKeys({&bytes, 1}, block_bytes_);
    const std::size_t blocks = spec::InSegments(bytes, block_bytes_) / block_bytes_;
    RETURN_IF_ERROR(CheckCounters(blocks));
    SecretBytes made(blocks * block_bytes_);
    Bytes variable = ToBytes(iv_);
    // The double pipeline's first line, whose A(0) is the fixed input.
    Bytes line;
    for (std::size_t i = 1; i <= blocks; ++i) {
      if (row_.recipe == Recipe::kSp800DoublePipeline) {
        ASSIGN_OR_RETURN(line, i == 1 ? FirstLine() : Prf(line));
        variable = line;
      }
      ASSIGN_OR_RETURN(Bytes block, PrfAndWipe(Input(i, variable)));
      std::memcpy(made.bytes().data() + (i - 1) * block_bytes_, block.data(), block_bytes_);
      if (row_.recipe == Recipe::kSp800Feedback) variable = block;
      Wipe(block);
    }
    Wipe(variable);
    Wipe(line);
    made.Truncate(bytes);
    return made;
  }

 private:
  Fallible<Bytes> Prf(ByteView data) const {
    const CK_MECHANISM prf{prf_.type, nullptr, 0};
    ASSIGN_OR_RETURN(const auto mac, MakeSignature(prf_, prf, key_));
    RETURN_IF_ERROR(mac->Update(data));
    Bytes out(block_bytes_);
    ASSIGN_OR_RETURN(const std::size_t n, mac->Sign(out));
    out.resize(n);
    return out;
  }

  // A(1) = PRF(key, A(0)), where A(0) is the input without iteration variable and counter.
  Fallible<Bytes> FirstLine() const {
    Bytes fixed = Room({});
    std::size_t keys = 0;
    for (const CK_PRF_DATA_PARAM& part : parts_) {
      const bool varies = part.type == CK_SP800_108_ITERATION_VARIABLE || part.type == CK_SP800_108_COUNTER;
      if (!varies) AppendPart(part, 0, {}, keys, fixed);
    }
    return PrfAndWipe(std::move(fixed));
  }
  // The input may have keys in it.
  Fallible<Bytes> PrfAndWipe(Bytes input) const {
    auto out = Prf(input);
    Wipe(input);
    return out;
  }

  // Room for all of the input: a vector that grows leaves copies of keys behind.
  Bytes Room(ByteView variable) const {
    std::size_t bytes = variable.size();
    for (const CK_PRF_DATA_PARAM& part : parts_) bytes += std::max<std::size_t>(part.ulValueLen, variable.size() + 8);
    for (const KeyPtr& key : others_) bytes += key->part(Part::kValue).size();
    Bytes room;
    room.reserve(bytes);
    return room;
  }

  Bytes Input(std::size_t i, ByteView variable) const {
    Bytes input = Room(variable);
    bool has_variable = false;
    for (const CK_PRF_DATA_PARAM& part : parts_) {
      has_variable = has_variable || part.type == CK_SP800_108_ITERATION_VARIABLE;
    }
    // The standard's example of the double pipeline leaves the variable out; it is then the beginning, as SP 800-108
    // has it.
    if (!has_variable) input.assign(variable.begin(), variable.end());
    std::size_t keys = 0;
    for (const CK_PRF_DATA_PARAM& part : parts_) AppendPart(part, i, variable, keys, input);
    return input;
  }

  // `keys` counts the keys that are in the input already.
  void AppendPart(const CK_PRF_DATA_PARAM& part, std::size_t i, ByteView variable, std::size_t& keys,
                  Bytes& input) const {
    const auto* value = static_cast<const std::uint8_t*>(part.pValue);
    const bool counter = part.type == CK_SP800_108_COUNTER ||
                         (part.type == CK_SP800_108_ITERATION_VARIABLE && row_.recipe == Recipe::kSp800Counter);
    if (counter) {
      CK_SP800_108_COUNTER_FORMAT format;
      std::memcpy(&format, value, sizeof format);
      spec::AppendSp800Number(i, format.ulWidthInBits, format.bLittleEndian != CK_FALSE, input);
    } else if (part.type == CK_SP800_108_ITERATION_VARIABLE) {
      input.insert(input.end(), variable.begin(), variable.end());
    } else if (part.type == CK_SP800_108_DKM_LENGTH) {
      spec::AppendDkmLength(value, length_, input);
    } else if (part.type == CK_SP800_108_KEY_HANDLE) {
      const ByteView key = others_[keys++]->part(Part::kValue);
      input.insert(input.end(), key.begin(), key.end());
    } else {
      input.insert(input.end(), value, value + part.ulValueLen);
    }
  }

  // A counter must not come round (SP 800-108 section 5.1).
  Status CheckCounters(std::size_t blocks) const {
    for (const CK_PRF_DATA_PARAM& part : parts_) {
      if (part.ulValueLen != sizeof(CK_SP800_108_COUNTER_FORMAT) || part.type == CK_SP800_108_BYTE_ARRAY) continue;
      CK_SP800_108_COUNTER_FORMAT format;
      std::memcpy(&format, part.pValue, sizeof format);
      if (format.ulWidthInBits < 64 && blocks >> format.ulWidthInBits != 0) {
        return Fail(CKR_KEY_SIZE_RANGE, "the counter has too few bits for such a key");
      }
    }
    return {};
  }

  const spec::MechanismRow& row_;
  const spec::MechanismRow& prf_;
  const Key& key_;
  std::span<const KeyPtr> others_;
  std::span<const CK_PRF_DATA_PARAM> parts_;
  ByteView iv_;
  std::size_t block_bytes_ = 0;
  spec::DkmLength length_;
};

Fallible<SecretBytes> Sp800Kdf(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  if (!input.bytes) return NoLength();
  if (!spec::AdditionalKeysIn(row, mechanism).empty())
    return Fail(CKR_MECHANISM_PARAM_INVALID, "the device derives one key at a time");
  const spec::MechanismRow& prf = *spec::FindMechanism(*static_cast<const CK_MECHANISM_TYPE*>(mechanism.pParameter));
  const bool fits = prf.recipe == Recipe::kHmac ? spec::KeyTypeBit(input.key.type()) == spec::kForGeneric
                                                : prf.key_type == input.key.type();
  if (!fits) return Fail(CKR_KEY_TYPE_INCONSISTENT, "not a key of the pseudorandom function");
  if (input.others.size() != spec::OtherKeysIn(row, mechanism).size())
    return Fail(CKR_KEY_HANDLE_INVALID, "no such key for the input");
  return Sp800(row, mechanism, input).Make(*input.bytes);
}

Fallible<SecretBytes> DigestDerive(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                   const DeriveInput& input) {
  ASSIGN_OR_RETURN(const auto digest, MakeRowDigest(row, mechanism));
  RETURN_IF_ERROR(digest->Update(input.base));
  SecretBytes made(digest->bytes());
  RETURN_IF_ERROR(digest->Final(made.bytes()));
  return FirstBytes(std::move(made), input.bytes);
}

Fallible<SecretBytes> ShakeDerive(const spec::MechanismRow& row, const CK_MECHANISM&, const DeriveInput& input) {
  if (!input.bytes) return NoLength();
  const DigestContext context(EVP_MD_CTX_new());
  SecretBytes made(*input.bytes);
  if (context == nullptr || EVP_DigestInit_ex2(context.get(), ShakeAlgorithm(row.type), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), input.base.data(), input.base.size()) != 1 ||
      EVP_DigestFinalXOF(context.get(), made.bytes().data(), made.size()) != 1) {
    return LibraryFailure("SHAKE");
  }
  return made;
}

Fallible<SecretBytes> Concatenate(ByteView first, ByteView second, std::optional<std::size_t> bytes) {
  SecretBytes made(first.size() + second.size());
  std::copy(first.begin(), first.end(), made.bytes().begin());
  std::copy(second.begin(), second.end(), made.bytes().begin() + static_cast<std::ptrdiff_t>(first.size()));
  return FirstBytes(std::move(made), bytes);
}

ByteView StringData(const CK_MECHANISM& mechanism) {
  const auto& parameter = *static_cast<const CK_KEY_DERIVATION_STRING_DATA*>(mechanism.pParameter);
  return {parameter.pData, parameter.ulLen};
}

Fallible<SecretBytes> ConcatenateKeys(const spec::MechanismRow&, const CK_MECHANISM&, const DeriveInput& input) {
  if (input.others.empty()) return Fail(CKR_KEY_HANDLE_INVALID, "no such second key");
  return Concatenate(input.base, input.others.front()->part(Part::kValue), input.bytes);
}

Fallible<SecretBytes> ConcatenateBaseAndData(const spec::MechanismRow&, const CK_MECHANISM& mechanism,
                                             const DeriveInput& input) {
  return Concatenate(input.base, StringData(mechanism), input.bytes);
}

Fallible<SecretBytes> ConcatenateDataAndBase(const spec::MechanismRow&, const CK_MECHANISM& mechanism,
                                             const DeriveInput& input) {
  return Concatenate(StringData(mechanism), input.base, input.bytes);
}

Fallible<SecretBytes> XorData(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  const ByteView data = StringData(mechanism);
  SecretBytes made(std::min(data.size(), input.base.size()));
  for (std::size_t i = 0; i < made.size(); ++i) {
    made.bytes()[i] = static_cast<std::uint8_t>(input.base[i] ^ data[i]);
  }
  return FirstBytes(std::move(made), input.bytes);
}

// Bits are counted from the most significant of the first byte, and go round at the end (PKCS#11 3.2, "Extraction of
// one key from another key").
Fallible<SecretBytes> ExtractBits(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  if (!input.bytes) return NoLength();
  const std::size_t first = spec::ReadMacGeneral(mechanism);  // one CK_ULONG, too
  const std::size_t bits = input.base.size() * 8;
  if (first >= bits) return Fail(CKR_MECHANISM_PARAM_INVALID, "the key has not so many bits");
  if (*input.bytes > input.base.size()) return Fail(CKR_KEY_SIZE_RANGE, "the key has not so many bytes");
  SecretBytes made(*input.bytes);
  for (std::size_t i = 0; i < made.size() * 8; ++i) {
    const std::size_t from = (first + i) % bits;
    const unsigned bit = input.base[from / 8] >> (7 - from % 8) & 1u;
    made.bytes()[i / 8] = static_cast<std::uint8_t>(made.bytes()[i / 8] | bit << (7 - i % 8));
  }
  return made;
}

// The base key encrypts the data of the parameter (PKCS#11 3.2, "Key derivation by data encryption").
Fallible<SecretBytes> EncryptData(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                  const DeriveInput& input) {
  const std::size_t block = spec::CipherBlockBytes(input.key.type());
  ByteView data, iv;
  if (row.recipe == Recipe::kEcbEncryptData) {
    data = StringData(mechanism);
  } else if (block == 8) {
    const auto& parameter = *static_cast<const CK_DES_CBC_ENCRYPT_DATA_PARAMS*>(mechanism.pParameter);
    iv = parameter.iv;
    data = {parameter.pData, parameter.length};
  } else {
    const auto& parameter = *static_cast<const CK_AES_CBC_ENCRYPT_DATA_PARAMS*>(mechanism.pParameter);
    iv = parameter.iv;
    data = {parameter.pData, parameter.length};
  }
  if (data.empty() || data.size() % block != 0) return Fail(CKR_MECHANISM_PARAM_INVALID, "not whole blocks of data");
  const Recipe mode = iv.empty() ? Recipe::kEcb : Recipe::kCbc;
  ASSIGN_OR_RETURN(const auto context, BorrowCipher(mode, input.key, Mode::kEncrypt));
  SecretBytes made(data.size());
  int n = 0;
  if ((!iv.empty() && EVP_CipherInit_ex2(context.get(), nullptr, nullptr, iv.data(), 1, nullptr) != 1) ||
      EVP_CipherUpdate(context.get(), made.bytes().data(), &n, data.data(), static_cast<int>(data.size())) != 1) {
    return LibraryFailure("encryption of data");
  }
  return FirstBytes(std::move(made), input.bytes);
}

// Client and server random, in one order or the other.
struct Randoms {
  ByteView client, server;
  explicit Randoms(const CK_SSL3_RANDOM_DATA& data)
      : client(data.pClientRandom, data.ulClientRandomLen), server(data.pServerRandom, data.ulServerRandomLen) {}
};

// What the premaster says of the protocol goes back to the caller, where it has room for it.
void ReturnVersion(CK_VERSION* version, ByteView premaster) {
  if (version == nullptr || premaster.size() < 2) return;
  version->major = premaster[0];
  version->minor = premaster[1];
}

Fallible<SecretBytes> TlsMaster(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                const DeriveInput& input) {
  if (input.bytes.value_or(kTlsMasterBytes) != kTlsMasterBytes)
    return Fail(CKR_KEY_SIZE_RANGE, "a master has 48 bytes");
  // The two structs begin the same.
  const auto& parameter = *static_cast<const CK_TLS12_MASTER_KEY_DERIVE_PARAMS*>(mechanism.pParameter);
  const bool tls12 = row.parameter == spec::ParameterKind::kTls12Master;
  const bool diffie_hellman = row.type == CKM_TLS12_MASTER_KEY_DERIVE_DH || row.type == CKM_TLS_MASTER_KEY_DERIVE_DH;
  if (!diffie_hellman && input.base.size() != kTlsMasterBytes) {
    return Fail(CKR_KEY_SIZE_RANGE, "an RSA premaster has 48 bytes");
  }
  if (!diffie_hellman) ReturnVersion(parameter.pVersion, input.base);
  const Randoms randoms(parameter.RandomInfo);
  const ByteView seeds[] = {AsBytes(std::string_view("master secret")), randoms.client, randoms.server};
  SecretBytes made(kTlsMasterBytes);
  RETURN_IF_ERROR(TlsPrf(tls12 ? parameter.prfHashMechanism : 0, input.base, seeds, made.bytes()));
  return made;
}

Fallible<SecretBytes> TlsExtendedMaster(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                        const DeriveInput& input) {
  if (input.bytes.value_or(kTlsMasterBytes) != kTlsMasterBytes)
    return Fail(CKR_KEY_SIZE_RANGE, "a master has 48 bytes");
  const auto& parameter = *static_cast<const CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS*>(mechanism.pParameter);
  if (row.type == CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE) ReturnVersion(parameter.pVersion, input.base);
  const ByteView seeds[] = {AsBytes(std::string_view("extended master secret")),
                            {parameter.pSessionHash, parameter.ulSessionHashLen}};
  SecretBytes made(kTlsMasterBytes);
  RETURN_IF_ERROR(TlsPrf(parameter.prfHashMechanism, input.base, seeds, made.bytes()));
  return made;
}

// RFC 5705: exported keying material.
Fallible<SecretBytes> TlsKdf(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  if (!input.bytes) return NoLength();
  const auto& parameter = *static_cast<const CK_TLS_KDF_PARAMS*>(mechanism.pParameter);
  const Randoms randoms(parameter.RandomInfo);
  const ByteView context{parameter.pContextData, parameter.ulContextDataLength};
  const std::uint8_t length[] = {static_cast<std::uint8_t>(context.size() >> 8),
                                 static_cast<std::uint8_t>(context.size())};
  const ByteView seeds[] = {{parameter.pLabel, parameter.ulLabelLength},
                            randoms.client,
                            randoms.server,
                            parameter.pContextData == nullptr ? ByteView() : ByteView(length),
                            context};
  SecretBytes made(*input.bytes);
  const CK_MECHANISM_TYPE hash = parameter.prfMechanism == CKM_TLS_PRF ? 0 : parameter.prfMechanism;
  RETURN_IF_ERROR(TlsPrf(hash, input.base, seeds, made.bytes()));
  return made;
}

struct Derivation {
  Recipe recipe;
  Fallible<SecretBytes> (*derive)(const spec::MechanismRow&, const CK_MECHANISM&, const DeriveInput&);
};
constexpr Derivation kDerivations[] = {
    {Recipe::kEcdh1, AgreeOnCurve},
    {Recipe::kDh, AgreeInField},
    {Recipe::kX942Dh, AgreeInField},
    {Recipe::kHkdf, Hkdf},
    {Recipe::kSp800Counter, Sp800Kdf},
    {Recipe::kSp800Feedback, Sp800Kdf},
    {Recipe::kSp800DoublePipeline, Sp800Kdf},
    {Recipe::kDigestDerive, DigestDerive},
    {Recipe::kShakeDerive, ShakeDerive},
    {Recipe::kConcatenateKeys, ConcatenateKeys},
    {Recipe::kConcatenateBaseAndData, ConcatenateBaseAndData},
    {Recipe::kConcatenateDataAndBase, ConcatenateDataAndBase},
    {Recipe::kXorData, XorData},
    {Recipe::kExtractBits, ExtractBits},
    {Recipe::kEcbEncryptData, EncryptData},
    {Recipe::kCbcEncryptData, EncryptData},
    {Recipe::kTlsMaster, TlsMaster},
    {Recipe::kTlsExtendedMaster, TlsExtendedMaster},
    {Recipe::kTlsKdf, TlsKdf},
};

}  // namespace

Fallible<SecretBytes> Derive(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                             std::span<const KeyPtr> others, std::optional<std::size_t> bytes) {
  const DeriveInput input{key, key.part(Part::kValue), others, bytes};
  for (const Derivation& derivation : kDerivations) {
    if (derivation.recipe == row.recipe) return derivation.derive(row, mechanism, input);
  }
  return Fail(CKR_MECHANISM_INVALID, "no derivation");
}

Fallible<SecretBytes> FromPassword(const CK_MECHANISM& mechanism, std::size_t bytes) {
  const auto& parameter = *static_cast<const CK_PKCS5_PBKD2_PARAMS2*>(mechanism.pParameter);
  std::uint64_t iterations = parameter.iterations;
  // Without the lower bounds of SP 800-132: what a program derived elsewhere it can derive here.
  int any = 1;
  SecretBytes made(bytes);
  KdfParameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, HashName(spec::Pbkdf2Digest(parameter.prf)))
      .Octets(OSSL_KDF_PARAM_PASSWORD, {parameter.pPassword, parameter.ulPasswordLen})
      .Octets(OSSL_KDF_PARAM_SALT,
              {static_cast<const std::uint8_t*>(parameter.pSaltSourceData), parameter.ulSaltSourceDataLen})
      .Number(OSSL_KDF_PARAM_ITER, iterations)
      .Number(OSSL_KDF_PARAM_PKCS5, any);
  RETURN_IF_ERROR(parameters.Run("PBKDF2", made.bytes()));
  return made;
}

Status TlsPrf(CK_MECHANISM_TYPE hash, ByteView secret, std::span<const ByteView> seeds, MutableBytes out) {
  KdfParameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, hash == 0 ? "MD5-SHA1" : HashName(hash)).Octets(OSSL_KDF_PARAM_SECRET, secret);
  for (const ByteView seed : seeds) {
    if (!seed.empty()) parameters.Octets(OSSL_KDF_PARAM_SEED, seed);
  }
  const Status made = parameters.Run("TLS1-PRF", out);
  if (!made.ok()) return Fail(CKR_DEVICE_ERROR, made.error().why);
  return {};
}

}  // namespace cmkd::sim
