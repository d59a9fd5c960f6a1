// D: cryptographic oracles and misuse.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <random>

#include "tests/attacks/cases.h"
#include "tests/attacks/children.h"

namespace cmkd::attacks {
namespace {

const std::initializer_list<CK_RV> kNoMechanism = {CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED};

// How many blobs the oracle cases try; the catalogue's release run has a million.
int Tries(int usual) {
  const char* more = std::getenv("CMKD_ATTACK_TRIES");
  return more == nullptr ? usual : std::atoi(more);
}

// What a series of calls answered, and how often.
class Answers {
 public:
  void Add(CK_RV rv) { ++counts_[rv]; }
  std::size_t kinds() const { return counts_.size(); }
  int Count(CK_RV rv) const { return counts_.contains(rv) ? counts_.at(rv) : 0; }
  CK_RV first() const { return counts_.empty() ? CKR_OK : counts_.begin()->first; }

 private:
  std::map<CK_RV, int> counts_;
};

// A key that wraps and unwraps and has wrapped a sensitive key, whose blob is what an oracle would open.
CK_RV MakeUsed(Bench& bench, CK_OBJECT_HANDLE& wrapping, CK_OBJECT_HANDLE& target, Bytes& blob) {
  if (const CK_RV rv = bench.MakeWrappingKey(wrapping); rv != CKR_OK) return rv;
  if (const CK_RV rv = bench.MakeTarget(target); rv != CKR_OK) return rv;
  return bench.Wrap(Mechanism(CKM_AES_KEY_WRAP), wrapping, target, blob);
}

CK_RV MakeRsa(const Bench& bench, std::initializer_list<CK_ATTRIBUTE_TYPE> usages, CK_OBJECT_HANDLE& pub,
              CK_OBJECT_HANDLE& priv) {
  const auto has = [&](CK_ATTRIBUTE_TYPE usage) {
    return std::find(usages.begin(), usages.end(), usage) != usages.end();
  };
  Template open =
      Template().Bool(CKA_ENCRYPT, has(CKA_DECRYPT)).Bool(CKA_WRAP, has(CKA_UNWRAP)).Bool(CKA_VERIFY, has(CKA_SIGN));
  Template closed =
      Template().Bool(CKA_DECRYPT, has(CKA_DECRYPT)).Bool(CKA_UNWRAP, has(CKA_UNWRAP)).Bool(CKA_SIGN, has(CKA_SIGN));
  return bench.GenerateRsa(open, closed.Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false), pub, priv);
}

// A number below any modulus of 2048 bits.
Bytes RandomBlock() {
  Bytes block = Random(256);
  block[0] = static_cast<std::uint8_t>(block[0] & 0x3F);
  return block;
}

void D01(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  Bytes sealed, plain, again;
  if (!trial.Ready("C_GenerateKeyPair", MakeRsa(bench, {CKA_DECRYPT}, pub, priv))) return;
  if (!trial.Through("C_EncryptInit", bench.Encrypt(Mechanism(CKM_RSA_PKCS), pub, Bytes(16, 1), sealed), kNoMechanism))
    return;
  if (!trial.Through("C_DecryptInit", bench.Decrypt(Mechanism(CKM_RSA_PKCS), priv, sealed, plain), kNoMechanism))
    return;
  if (plain != Bytes(16, 1)) trial.Broken("v1.5 decryption is wrong");
  Answers answers;
  for (int i = 0; i < Tries(60); ++i) {
    const Bytes block = RandomBlock();
    answers.Add(bench.Decrypt(Mechanism(CKM_RSA_PKCS), priv, block, plain));
    bench.Decrypt(Mechanism(CKM_RSA_PKCS), priv, block, again);
    if (plain != again) trial.Broken("made-up bytes differ from call to call");
  }
  if (answers.kinds() != 1 || answers.first() != CKR_OK) {
    trial.Broken("C_Decrypt tells a wrong v1.5 padding");
  } else {
    trial.Held("C_Decrypt gives made-up bytes for a wrong padding");
  }
}

void D02(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, key = 0, target = 0;
  Bytes blob;
  const OwnRsa own;
  if (!trial.Ready("C_GenerateKeyPair", MakeRsa(bench, {CKA_UNWRAP}, pub, priv))) return;
  if (!trial.Ready("target", bench.MakeTarget(target))) return;
  const bool wrapped = trial.Through("C_WrapKey", bench.Wrap(Mechanism(CKM_RSA_PKCS), pub, target, blob),
                                     {CKR_MECHANISM_INVALID, CKR_KEY_NOT_WRAPPABLE});
  // Whatever the key has wrapped by another mechanism can be put to the same oracle.
  if (!wrapped && !trial.Ready("C_WrapKey OAEP", bench.Wrap(Mechanism::Oaep(), pub, target, blob))) return;
  Answers answers;
  const Template closed = WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), {CKA_SIGN});
  for (int i = 0; i < Tries(60); ++i)
    answers.Add(bench.Unwrap(Mechanism(CKM_RSA_PKCS), priv, RandomBlock(), closed, key));
  answers.Add(bench.Unwrap(Mechanism(CKM_RSA_PKCS), priv, blob, closed, key));
  if (answers.kinds() != 1) {
    trial.Broken("C_UnwrapKey tells a wrong v1.5 padding");
  } else if (trial.Through("C_UnwrapKey", answers.first(), kNoMechanism)) {
    trial.Held("C_UnwrapKey makes keys up for wrong paddings");
  }
  // 15 bytes are no AES key.
  const Template aes = WithUsages(SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, true), {CKA_ENCRYPT});
  Bytes odd;
  CK_OBJECT_HANDLE pub2 = 0, priv2 = 0;
  Template both = Template().Bool(CKA_ENCRYPT, true).Bool(CKA_WRAP, true);
  const CK_RV pair = bench.GenerateRsa(both, Template().Bool(CKA_UNWRAP, true).Bool(CKA_DECRYPT, false), pub2, priv2);
  if (trial.Through("C_GenerateKeyPair", pair, {CKR_TEMPLATE_INCONSISTENT}) &&
      trial.Ready("C_Encrypt", bench.Encrypt(Mechanism(CKM_RSA_PKCS), pub2, Bytes(15, 1), odd)))
    trial.MustRefuse("C_UnwrapKey of 15 bytes", bench.Unwrap(Mechanism(CKM_RSA_PKCS), priv2, odd, aes, key),
                     {CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE, CKR_MECHANISM_INVALID},
                     "15 bytes are taken for an AES key");
}

void D03(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, key = 0;
  Bytes blob, plain;
  if (!trial.Ready("C_WrapKey", MakeUsed(bench, wrapping, target, blob))) return;
  Answers unwrapped, decrypted;
  const Template closed = WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), {CKA_SIGN});
  for (int i = 0; i < Tries(400); ++i) {
    const auto cbc = [] { return Mechanism::Flat(CKM_AES_CBC_PAD, Bytes(16)); };
    unwrapped.Add(bench.Unwrap(cbc(), wrapping, Random(32), closed, key));
    decrypted.Add(bench.Decrypt(cbc(), wrapping, Random(32), plain));
  }
  if (unwrapped.kinds() != 1) trial.Broken("C_UnwrapKey tells a wrong padding");
  if (decrypted.kinds() != 1) trial.Broken("C_Decrypt tells a wrong padding of what the key wrapped");
  trial.MustRefuse("C_UnwrapKey", unwrapped.first(), kNoMechanism, "CBC_PAD unwraps with the key");
  trial.MustRefuse("C_DecryptInit", decrypted.first(), kNoMechanism, "CBC_PAD decrypts with the key");
  // With a key for data the caller decrypts what he likes; still all wrong paddings look alike.
  Answers data;
  const CK_RV made = bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}), key);
  if (!trial.Ready("C_GenerateKey", made)) return;
  for (int i = 0; i < Tries(400); ++i) {
    const CK_RV rv = bench.Decrypt(Mechanism::Flat(CKM_AES_CBC_PAD, Bytes(16)), key, Random(32), plain);
    if (rv != CKR_OK) data.Add(rv);
  }
  if (data.kinds() > 1) trial.Broken("wrong paddings of data differ");
  trial.Through("C_Decrypt of data", data.first(), {CKR_ENCRYPTED_DATA_INVALID, CKR_MECHANISM_INVALID});
}

void D04(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0, unwrapping = 0, wrapping = 0, key = 0;
  Bytes plain, sealed;
  if (!trial.Ready("C_GenerateKeyPair", MakeRsa(bench, {CKA_DECRYPT}, pub, priv)) ||
      !trial.Ready("C_GenerateKeyPair", MakeRsa(bench, {CKA_UNWRAP}, wrapping, unwrapping)) ||
      !trial.Ready("C_Encrypt", bench.Encrypt(Mechanism::Oaep(), pub, Bytes(16, 1), sealed)))
    return;
  Answers decrypted, unwrapped;
  const Template closed = WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), {CKA_SIGN});
  for (int i = 0; i < Tries(40); ++i) {
    // Small numbers have a leading zero byte more often than not; random ones nearly never.
    decrypted.Add(bench.Decrypt(Mechanism::Oaep(), priv, RandomBlock(), plain));
    unwrapped.Add(bench.Unwrap(Mechanism::Oaep(), unwrapping, RandomBlock(), closed, key));
  }
  // One where the leading byte is right and the label's hash is wrong.
  const auto label = std::make_shared<Bytes>(Bytes{'l'});
  decrypted.Add(bench.Decrypt(
      Mechanism::Of(CKM_RSA_PKCS_OAEP,
                    CK_RSA_PKCS_OAEP_PARAMS{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, label->data(), label->size()},
                    {label}),
      priv, sealed, plain));
  if (decrypted.kinds() != 1) trial.Broken("C_Decrypt tells why an OAEP block is wrong");
  if (unwrapped.kinds() != 1) trial.Broken("C_UnwrapKey tells why an OAEP block is wrong");
  trial.MustRefuse("C_Decrypt", decrypted.first(), {CKR_ENCRYPTED_DATA_INVALID}, "a random block is OAEP");
  trial.MustRefuse("C_UnwrapKey", unwrapped.first(), {CKR_WRAPPED_KEY_INVALID}, "a random block is a wrapped key");
}

void D05(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, key = 0;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping))) return;
  const Template closed = AesTemplate({CKA_ENCRYPT});
  for (const CK_MECHANISM_TYPE type : {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD}) {
    if (!bench.Offers(type, CKF_UNWRAP)) continue;
    Answers answers;
    for (int i = 0; i < Tries(500); ++i) {
      // Some devices take more for garbage than they need and tell of it in a code of its own: lengths that fit.
      answers.Add(bench.Unwrap(Mechanism(type), wrapping, Random(40), closed, key));
    }
    if (answers.Count(CKR_OK) != 0) trial.Broken("random bytes are unwrapped");
    if (answers.kinds() != 1) trial.Broken("random bytes are refused in several ways");
    trial.Through("C_UnwrapKey", answers.first(), {CKR_WRAPPED_KEY_INVALID});
  }
}

void D06(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, key = 0;
  Bytes blob;
  if (!trial.Ready("C_WrapKey", MakeUsed(bench, wrapping, target, blob))) return;
  const struct {
    const char* name;
    Mechanism mechanism;
  } modes[] = {{"CBC", Mechanism::Flat(CKM_AES_CBC, Bytes(16))},
               {"ECB", Mechanism(CKM_AES_ECB)},
               {"CTR", Mechanism::Ctr()},
               {"CBC_PAD", Mechanism::Flat(CKM_AES_CBC_PAD, Bytes(16))}};
  for (const auto& mode : modes) {
    int made = 0;
    CK_RV last = CKR_OK;
    for (int i = 0; i < 50; ++i) {
      last = bench.Unwrap(mode.mechanism, wrapping, Random(32), AesTemplate({CKA_ENCRYPT}), key);
      made += last == CKR_OK ? 1 : 0;
    }
    if (made != 0) {
      trial.Broken(std::string("keys are conjured from random bytes by ") + mode.name);
    } else {
      trial.Through(std::string("C_UnwrapKey ") + mode.name, last, kNoMechanism);
    }
  }
}

// Blocks of one wrapped key put together with blocks of another.
void D07(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, one = 0, two = 0, key = 0;
  Bytes first, second;
  if (!trial.Ready("wrapping key", bench.MakeWrappingKey(wrapping)) || !trial.Ready("target", bench.MakeTarget(one)) ||
      !trial.Ready("target", bench.MakeTarget(two)))
    return;
  for (const CK_MECHANISM_TYPE type : {CKM_AES_ECB, CKM_AES_KEY_WRAP}) {
    const std::string name = type == CKM_AES_ECB ? " ECB" : " KEY_WRAP";
    if (!trial.Through("C_WrapKey" + name, bench.Wrap(Mechanism(type), wrapping, one, first), kNoMechanism) ||
        !trial.Ready("C_WrapKey", bench.Wrap(Mechanism(type), wrapping, two, second)))
      continue;
    std::copy(second.begin() + 16, second.begin() + 32, first.begin() + 16);
    trial.MustRefuse("C_UnwrapKey" + name,
                     bench.Unwrap(Mechanism(type), wrapping, first, AesTemplate({CKA_ENCRYPT}), key),
                     {CKR_WRAPPED_KEY_INVALID, CKR_MECHANISM_INVALID}, "a key spliced from two is unwrapped");
  }
}

void D08(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, key = 0;
  Bytes blob;
  if (!trial.Ready("C_WrapKey", MakeUsed(bench, wrapping, target, blob))) return;
  const Template cut =
      WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true), {CKA_SIGN}).Ulong(CKA_VALUE_LEN, 1);
  trial.MustRefuse("C_UnwrapKey", bench.Unwrap(Mechanism(CKM_AES_KEY_WRAP), wrapping, blob, cut, key),
                   {CKR_WRAPPED_KEY_LEN_RANGE, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT,
                    CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE},
                   "one byte of a key is unwrapped");
}

// The blob of a secret key has no type in it. What must not happen is that secret bytes become a private key or the
// other way round, or that what comes out is weaker or readable.
void D09(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE wrapping = 0, target = 0, key = 0;
  Bytes blob, value;
  if (!trial.Ready("C_WrapKey", MakeUsed(bench, wrapping, target, blob))) return;
  const std::initializer_list<CK_RV> right = {
      CKR_WRAPPED_KEY_INVALID,     CKR_TEMPLATE_INCONSISTENT, CKR_MECHANISM_INVALID,    CKR_WRAPPED_KEY_LEN_RANGE,
      CKR_ATTRIBUTE_VALUE_INVALID, CKR_FUNCTION_FAILED,       CKR_KEY_TYPE_INCONSISTENT};
  const auto unwrap = [&](Template shape) {
    return bench.Unwrap(Mechanism(CKM_AES_KEY_WRAP), wrapping, blob, shape, key);
  };
  Template des = Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_DES3).Bool(CKA_SENSITIVE, true);
  trial.MustRefuse("C_UnwrapKey as DES3", unwrap(des), right, "an AES key of 32 bytes is unwrapped as DES3");
  Template rsa = Template().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA).Bool(CKA_SENSITIVE, true);
  trial.MustRefuse("C_UnwrapKey as RSA", unwrap(rsa), right, "an AES key is unwrapped as a private key");
  Template data = Template().Ulong(CKA_CLASS, CKO_DATA);
  trial.MustRefuse("C_UnwrapKey as data", unwrap(data), right, "a wrapped key is unwrapped as data");
  const Template generic =
      WithUsages(SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true), {CKA_SIGN});
  if (trial.Through("C_UnwrapKey as readable GENERIC", unwrap(generic), right) &&
      bench.Get(key, CKA_VALUE, value) == CKR_OK && bench.IsTarget(value))
    trial.Broken("an AES key is read as a generic secret");
}

// Whoever may encrypt and not decrypt reads what others encrypted, if he may choose their IV again.
void D10(Bench& bench, Trial& trial) {
  const Bytes iv = Random(16), nonce = Random(12), secret = Random(32), zeros(32);
  auto held = std::make_shared<Bytes>(nonce);
  CK_CCM_PARAMS ccm{};
  ccm.ulDataLen = secret.size();
  ccm.pNonce = held->data();
  ccm.ulNonceLen = held->size();
  ccm.ulMACLen = 16;
  // The first block is what all of them give away.
  const Mechanism mechanisms[] = {Mechanism::Gcm(nonce), Mechanism::Ctr(), Mechanism::Of(CKM_AES_CCM, ccm, {held}),
                                  Mechanism::Flat(CKM_AES_OFB, iv), Mechanism::Flat(CKM_AES_CFB128, iv)};
  const std::initializer_list<CK_RV> right = {CKR_MECHANISM_PARAM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED};
  for (const Mechanism& mechanism : mechanisms) {
    if (!bench.Offers(mechanism.type(), CKF_ENCRYPT)) continue;
    CK_OBJECT_HANDLE key = 0;
    Bytes sealed, stream;
    const Template only = AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, false);
    if (!trial.Ready("C_GenerateKey", bench.GenerateAes(only, key))) return;
    if (!trial.Through("C_EncryptInit", bench.Encrypt(mechanism, key, secret, sealed), right)) continue;
    if (!trial.Through("C_EncryptInit again", bench.Encrypt(mechanism, key, zeros, stream), right)) continue;
    bool same = true;
    for (std::size_t i = 0; i < 16; ++i) same = same && (sealed[i] ^ stream[i]) == secret[i];
    if (same) trial.Broken("the same IV twice: the keystream opens the first message");
  }
}

void D11(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  const std::initializer_list<CK_RV> right = {CKR_MECHANISM_PARAM_INVALID};
  const Template both = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false);
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(both, key))) return;
  Bytes out;
  for (const CK_ULONG bits : {0, 8, 32, 64, 95, 136}) {
    trial.MustRefuse("C_EncryptInit, tag of " + std::to_string(bits) + " bits",
                     bench.Encrypt(Mechanism::Gcm(Random(12), bits), key, Bytes(16), out), right,
                     "GCM tag of " + std::to_string(bits) + " bits");
  }
  trial.MustRefuse("C_EncryptInit, no IV", bench.Encrypt(Mechanism::Gcm({}), key, Bytes(16), out), right,
                   "GCM without IV");
  Mechanism lying = Mechanism::Gcm(Random(12));
  CK_GCM_PARAMS parameter{};
  std::memcpy(&parameter, lying.get()->pParameter, sizeof parameter);
  parameter.ulAADLen = ~CK_ULONG{0} - 7;
  parameter.pAAD = nullptr;
  std::memcpy(lying.get()->pParameter, &parameter, sizeof parameter);
  trial.MustRefuse("C_EncryptInit, AAD of 2^64 bytes", bench.Encrypt(lying, key, Bytes(16), out),
                   {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD}, "a length of AAD that wraps round");
}

void D12(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  const Bytes iv = Random(12), secret = Random(64);
  const Template both = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false);
  Bytes sealed;
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(both, key)) ||
      !trial.Ready("C_Encrypt", bench.Encrypt(Mechanism::Gcm(iv), key, secret, sealed)))
    return;
  sealed.back() = static_cast<std::uint8_t>(sealed.back() ^ 1);
  Mechanism mechanism = Mechanism::Gcm(iv);
  Bytes plain(256, 0xEE);
  CK_ULONG length = plain.size();
  const std::initializer_list<CK_RV> right = {CKR_ENCRYPTED_DATA_INVALID};
  const auto untouched = [&] {
    return std::search(plain.begin(), plain.end(), secret.begin(), secret.begin() + 8) == plain.end();
  };
  if (!trial.Ready("C_DecryptInit", bench.f()->C_DecryptInit(bench.session(), mechanism.get(), key))) return;
  trial.MustRefuse("C_Decrypt",
                   bench.f()->C_Decrypt(bench.session(), sealed.data(), sealed.size(), plain.data(), &length), right,
                   "a wrong tag is not found");
  if (!untouched()) trial.Broken("C_Decrypt leaves plaintext behind a wrong tag");
  if (!trial.Ready("C_DecryptInit", bench.f()->C_DecryptInit(bench.session(), mechanism.get(), key))) return;
  length = plain.size();
  const CK_RV fed = bench.f()->C_DecryptUpdate(bench.session(), sealed.data(), sealed.size(), plain.data(), &length);
  if (trial.Through("C_DecryptUpdate", fed, {CKR_ENCRYPTED_DATA_INVALID, CKR_FUNCTION_NOT_SUPPORTED})) {
    if (length != 0 || !untouched()) trial.Broken("plaintext comes out before the tag was checked");
    length = plain.size();
    trial.MustRefuse("C_DecryptFinal", bench.f()->C_DecryptFinal(bench.session(), plain.data(), &length), right,
                     "a wrong tag is not found");
    if (!untouched()) trial.Broken("C_DecryptFinal leaves plaintext behind a wrong tag");
  }
  length = plain.size();
  trial.Through("C_DecryptFinal again", bench.f()->C_DecryptFinal(bench.session(), plain.data(), &length),
                {CKR_OPERATION_NOT_INITIALIZED});
}

// 2^32 encryptions cannot be run here; the operator draws the same limit lower (cmkctl key set --usage-limit). A key
// that also does CTR does not rotate by itself, so at its limit it stops.
void D13(Bench& bench, Trial& trial) {
  constexpr int kLimit = 20;
  const char* cmkctl = std::getenv("CMKCTL");
  if (std::getenv("CMKD_SOCKET") == nullptr)
    return trial.NotApplicable("2^32 encryptions cannot be run, and there is no lower limit to set");
  if (cmkctl == nullptr) return trial.NotApplicable("CMKCTL does not say where cmkctl is");
  const CK_MECHANISM_TYPE allowed[] = {CKM_AES_GCM, CKM_AES_CTR};
  const auto* raw = reinterpret_cast<const std::uint8_t*>(allowed);
  CK_OBJECT_HANDLE key = 0;
  const std::string label = "worn-" + Hex(Random(4));
  const Template worn = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT})
                            .Bool(CKA_TOKEN, true)
                            .Text(CKA_LABEL, label)
                            .Raw(CKA_ALLOWED_MECHANISMS, Bytes(raw, raw + sizeof allowed))
                            .Bool(CKA_EXTRACTABLE, false);
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(worn, key))) return;
  const std::string name = std::string(std::getenv("P11_TOKEN")) + "/" + label, limit = std::to_string(kLimit);
  const int status = InFork([&] {
    ::close(STDOUT_FILENO);
    ::execl(cmkctl, cmkctl, "key", "set", name.c_str(), "--usage-limit", limit.c_str(), nullptr);
    return 119;
  });
  if (status != 0) return trial.NotApplicable("cmkctl key set --usage-limit failed");
  int made = 0;
  CK_RV last = CKR_OK;
  for (int i = 0; i < 2 * kLimit; ++i) {
    Bytes sealed;
    last = bench.Encrypt(Mechanism::Gcm(Random(12)), key, Bytes(16, 1), sealed);
    made += last == CKR_OK ? 1 : 0;
  }
  if (made > kLimit) trial.Broken("a GCM key encrypts " + std::to_string(made) + " times under a limit of " + limit);
  if (trial.Through("C_Encrypt beyond the limit", last, {CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_FUNCTION_FAILED}))
    trial.Broken("a GCM key goes on at its limit");
}

void D14(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  Bytes value;
  const Template both = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false);
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(both, key))) return;
  const CK_RV rv = bench.Get(key, CKA_CHECK_VALUE, value);
  if (trial.Through("C_GetAttributeValue", rv, {CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE})) {
    if (value.empty()) {
      trial.Held("CKA_CHECK_VALUE is empty");
    } else {
      trial.Broken("CKA_CHECK_VALUE shows 24 bits of GHASH's key");
    }
  }
}

void D15(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, found = 0;
  const Bytes value = Random(32);
  const Template closed = AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, false).Raw(CKA_VALUE, value);
  if (!trial.Ready("C_CreateObject", bench.Create(closed, key))) return;
  Template guess = Template().Raw(CKA_VALUE, value);
  CK_ULONG count = 0;
  if (!trial.Ready("C_FindObjectsInit", bench.f()->C_FindObjectsInit(bench.session(), guess.data(), guess.size())))
    return;
  bench.f()->C_FindObjects(bench.session(), &found, 1, &count);
  bench.f()->C_FindObjectsFinal(bench.session());
  if (count != 0) {
    trial.Broken("a search tells whether a guess of a sensitive value is right");
  } else {
    trial.Held("C_FindObjects finds nothing by a sensitive value");
  }
}

void D16(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes prefix = {'x'};
  const Template closed = AesTemplate({CKA_ENCRYPT}).Bool(CKA_EXTRACTABLE, false);
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(closed, key)) ||
      !trial.Ready("C_DigestInit", bench.f()->C_DigestInit(bench.session(), &sha)) ||
      !trial.Ready("C_DigestUpdate", bench.f()->C_DigestUpdate(bench.session(), prefix.data(), prefix.size())))
    return;
  trial.MustRefuse("C_DigestKey", bench.f()->C_DigestKey(bench.session(), key),
                   {CKR_KEY_INDIGESTIBLE, CKR_FUNCTION_NOT_SUPPORTED}, "a sensitive key is digested");
}

// Welch's t of two series, without their slowest tenth.
double Welch(std::vector<double> a, std::vector<double> b) {
  const auto moments = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    v.resize(v.size() * 9 / 10);
    double mean = 0, variance = 0;
    for (const double x : v) mean += x / static_cast<double>(v.size());
    for (const double x : v) variance += (x - mean) * (x - mean) / static_cast<double>(v.size() - 1);
    return std::pair{mean, variance / static_cast<double>(v.size())};
  };
  const auto [mean_a, error_a] = moments(a);
  const auto [mean_b, error_b] = moments(b);
  return std::abs(mean_a - mean_b) / std::sqrt(error_a + error_b + 1e-12);
}

// MACs that are wrong in the first byte against such that are wrong in the last. A machine at work gives spurious
// differences; one that the token makes is there each time.
void D17(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  Bytes mac;
  const Bytes data(32, 'x');
  if (!trial.Ready("C_GenerateKey",
                   bench.GenerateSecret(WithUsages(SecretTemplate(CKK_GENERIC_SECRET), {CKA_SIGN, CKA_VERIFY}), key)) ||
      !trial.Ready("C_Sign", bench.Sign(Mechanism(CKM_SHA256_HMAC), key, data, mac)))
    return;
  std::mt19937 random(1);
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::vector<double> times[2];
    for (int i = 0; i < Tries(1500); ++i) {
      const std::size_t late = random() % 2;
      Bytes wrong = mac;
      std::uint8_t& byte = late != 0 ? wrong.back() : wrong.front();
      byte = static_cast<std::uint8_t>(byte ^ 1);
      const auto begin = std::chrono::steady_clock::now();
      const CK_RV rv = bench.Verify(Mechanism(CKM_SHA256_HMAC), key, data, wrong);
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
      if (rv == CKR_OK) return trial.Broken("a wrong MAC is right");
      times[late].push_back(took.count());
    }
    if (Welch(times[0], times[1]) < 4.5) return trial.Held("C_Verify takes as long for each wrong byte (t below 4.5)");
  }
  trial.Broken("C_Verify tells by time where a MAC is wrong");
}

Template RsaPublic(const Bytes& modulus, const Bytes& exponent) {
  Template attributes = Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA);
  return attributes.Bool(CKA_VERIFY, true)
      .Bool(CKA_ENCRYPT, false)
      .Bool(CKA_WRAP, false)
      .Raw(CKA_MODULUS, modulus)
      .Raw(CKA_PUBLIC_EXPONENT, exponent);
}

void D18(Bench& bench, Trial& trial) {
  const std::initializer_list<CK_RV> right = {CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE,
                                              CKR_TEMPLATE_INCONSISTENT,   CKR_PUBLIC_KEY_INVALID,
                                              CKR_CURVE_NOT_SUPPORTED,     CKR_DOMAIN_PARAMS_INVALID};
  CK_OBJECT_HANDLE pub = 0, priv = 0, key = 0;
  trial.MustRefuse("C_GenerateKeyPair RSA-512", bench.GenerateRsa(Template(), Template(), pub, priv, 512), right,
                   "RSA-512");
  trial.MustRefuse("C_GenerateKeyPair RSA-1024", bench.GenerateRsa(Template(), Template(), pub, priv, 1024), right,
                   "RSA-1024");
  for (const Bytes& exponent : {Bytes{1}, Bytes{2}, Bytes{3}, Bytes{1, 0, 0}}) {
    CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
    Template shape = Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, exponent), none;
    const CK_RV rv = bench.f()->C_GenerateKeyPair(bench.session(), &mechanism, shape.data(), shape.size(), none.data(),
                                                  0, &pub, &priv);
    trial.MustRefuse("C_GenerateKeyPair, exponent " + Hex(exponent), rv, right, "RSA exponent " + Hex(exponent));
  }
  const OwnRsa own, tiny(1024);
  const Bytes f4 = {1, 0, 1};
  trial.MustRefuse("C_CreateObject RSA-1024", bench.Create(RsaPublic(tiny.modulus(), f4), key), right,
                   "import of RSA-1024");
  trial.MustRefuse("C_CreateObject, exponent 1", bench.Create(RsaPublic(own.modulus(), {1}), key), right, "exponent 1");
  trial.MustRefuse("C_CreateObject, exponent 2", bench.Create(RsaPublic(own.modulus(), {2}), key), right, "exponent 2");
  const struct {
    const char* name;
    Bytes modulus;
  } weak[] = {{"even", EvenModulus()},
              {"small factor", ModulusWithSmallFactor()},
              {"close primes", ModulusOfClosePrimes()},
              {"ROCA", RocaModulus()}};
  for (const auto& modulus : weak) {
    trial.MustRefuse(std::string("C_CreateObject, modulus: ") + modulus.name,
                     bench.Create(RsaPublic(modulus.modulus, f4), key), right,
                     std::string("weak modulus: ") + modulus.name);
  }
  Bytes off_curve = {0x04, 0x41};
  Bytes point = P256Generator();
  point[64] = static_cast<std::uint8_t>(point[64] ^ 1);
  off_curve.insert(off_curve.end(), point.begin(), point.end());
  Template ec =
      Template().Ulong(CKA_CLASS, CKO_PUBLIC_KEY).Ulong(CKA_KEY_TYPE, CKK_EC).Raw(CKA_EC_PARAMS, P256Parameters());
  trial.MustRefuse("C_CreateObject, point off the curve", bench.Create(ec.Raw(CKA_EC_POINT, off_curve), key), right,
                   "a point off the curve is imported");
  // Known-answer tests import keys of zeros; one must not wrap what is sensitive.
  CK_OBJECT_HANDLE zeros = 0, target = 0;
  Bytes blob;
  if (!trial.Through("C_CreateObject, AES key of zeros",
                     bench.Create(AesTemplate({CKA_WRAP}).Raw(CKA_VALUE, Bytes(32)), zeros), right))
    return;
  if (trial.Ready("target", bench.MakeTarget(target)))
    trial.MustRefuse("C_WrapKey under zeros", bench.Wrap(Mechanism(CKM_AES_KEY_WRAP), zeros, target, blob),
                     {CKR_KEY_NOT_WRAPPABLE}, "a key of zeros wraps");
}

// No call makes a fault: a token of the same profile on the same device, in a process of its own, gets a script of them
// ("on signature flip", docs/faults.md). children.cc has what is tried there.
void D19(Bench&, Trial& trial) {
  const char* cmkctl = std::getenv("CMKCTL");
  const char* profile = std::getenv("CMKD_ATTACK_PROFILE");
  const char* hsm = std::getenv("CMKD_ATTACK_HSM");
  if (hsm == nullptr || std::string(hsm) != "software")
    return trial.NotApplicable("nobody can make a fault inside SoftHSM2 by calls");
  if (cmkctl == nullptr || profile == nullptr) return trial.NotApplicable("CMKCTL does not say where cmkctl is");
  char script[] = "/tmp/attack.faults.XXXXXX";
  const int file = ::mkstemp(script);
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self - 1);
  if (file < 0 || length <= 0) return trial.NotApplicable("no script of faults could be written");
  ::close(file);
  self[length] = '\0';
  const int status = InFork(
      [&] {
        const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(nowhere, STDOUT_FILENO);
        ::dup2(nowhere, STDERR_FILENO);
        ::execl(cmkctl, cmkctl, "sandbox", "--profile", profile, "--hsm", "firmware_sim", "--faults", script, "--",
                self, "--part", "fault", nullptr);
        return 119;
      },
      60);
  ::unlink(script);
  if (status == kGivesWrongSignatures) return trial.Broken("a signature with a wrong bit leaves the token");
  if (status != 0) return trial.Broken("a token that computed wrongly once: " + std::to_string(status));
  trial.Held("no signature, or the right one");
}

void D20(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  Bytes signature;
  const std::initializer_list<CK_RV> right = {CKR_DATA_LEN_RANGE, CKR_DATA_INVALID};
  if (trial.Ready("C_GenerateKeyPair", MakeRsa(bench, {CKA_SIGN}, pub, priv))) {
    trial.MustRefuse("C_Sign RSA_PKCS of 246 bytes",
                     bench.Sign(Mechanism(CKM_RSA_PKCS), priv, Bytes(246, 1), signature), right,
                     "more than fits the modulus is signed");
    // The DigestInfo of SHA-256 with a hash of 20 bytes.
    Bytes mixed = {0x30, 0x25, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x14};
    mixed.insert(mixed.end(), 20, 7);
    trial.MustRefuse("C_Sign RSA_PKCS of a wrong DigestInfo",
                     bench.Sign(Mechanism(CKM_RSA_PKCS), priv, mixed, signature), right,
                     "a DigestInfo whose hash has another length is signed");
  }
  if (trial.Ready("C_GenerateKeyPair EC",
                  bench.GenerateEc(Template().Bool(CKA_VERIFY, true), Template().Bool(CKA_SIGN, true), pub, priv))) {
    trial.MustRefuse("C_Sign ECDSA of nothing", bench.Sign(Mechanism(CKM_ECDSA), priv, {}, signature),
                     {CKR_DATA_LEN_RANGE, CKR_DATA_INVALID, CKR_ARGUMENTS_BAD}, "an empty hash is signed");
    trial.MustRefuse("C_Sign ECDSA of 4096 bytes", bench.Sign(Mechanism(CKM_ECDSA), priv, Bytes(4096, 1), signature),
                     right, "what is no hash is signed");
  }
}

constexpr Case kCases[] = {
    {"D01", "asks C_Decrypt about v1.5 paddings (Bleichenbacher)", D01},
    {"D02", "asks C_UnwrapKey about v1.5 paddings", D02},
    {"D03", "asks about CBC paddings (Vaudenay)", D03},
    {"D04", "asks about OAEP blocks (Manger)", D04},
    {"D05", "unwraps random bytes with AES key wrap", D05},
    {"D06", "conjures keys from random bytes", D06},
    {"D07", "splices wrapped keys", D07},
    {"D08", "unwraps one byte of a key", D08},
    {"D09", "unwraps a key as another type", D09},
    {"D10", "encrypts twice with one IV", D10},
    {"D11", "asks for short tags and odd IVs", D11},
    {"D12", "wants plaintext before the tag is checked", D12},
    {"D13", "wears a GCM key out", D13},
    {"D14", "reads GHASH's key from the check value", D14},
    {"D15", "searches by the value of a sensitive key", D15},
    {"D16", "digests a sensitive key", D16},
    {"D17", "measures how long a wrong MAC takes", D17},
    {"D18", "brings or asks for weak keys", D18},
    {"D19", "makes a fault while signing", D19, "SoftHSM2 takes no faults"},
    {"D20", "signs hashes of the wrong size", D20},
};

}  // namespace

std::span<const Case> OracleCases() { return kCases; }

}  // namespace cmkd::attacks
