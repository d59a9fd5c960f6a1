// See self_test.h.
#include "firmware_sim/self_test.h"

#include <algorithm>
#include <vector>

#include "firmware_sim/engine.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {

namespace {

// A self-test works with outputs of a few hundred bytes.
constexpr std::size_t kOutputBytesMax = 1024;

// A key of a known answer and the half that undoes what it does. Made once for all rows that have it: reading an RSA
// key costs more than most tests.
struct TestKey {
  ByteView encoded;
  KeyPtr own;
  KeyPtr other;
};

Fallible<TestKey> MakeTestKey(const KnownAnswer& answer) {
  TestKey key{answer.key, nullptr, nullptr};
  if (answer.key_class == CKO_SECRET_KEY) {
    ASSIGN_OR_RETURN(key.own, Key::Secret(answer.key_type, SecretBytes(answer.key)));
    key.other = key.own;
    return key;
  }
  ASSIGN_OR_RETURN(key.own, Key::Private(SecretBytes(answer.key)));
  ASSIGN_OR_RETURN(key.other, Key::Public(key.own->PublicInfo()));
  return key;
}

struct Run {
  const KnownAnswer& answer;
  const spec::MechanismRow& row;
  CK_MECHANISM mechanism;
  const TestKey* key;

  Fallible<Bytes> Cipher(const Key& with, Mode mode, ByteView in) const {
    ASSIGN_OR_RETURN(const auto cipher, MakeCipher(row, mechanism, with, mode));
    Bytes out(kOutputBytesMax);
    ASSIGN_OR_RETURN(const std::size_t bytes, cipher->Whole(in, out));
    out.resize(bytes);
    return out;
  }
  Fallible<Bytes> Sign() const {
    ASSIGN_OR_RETURN(const auto signature, MakeSignature(row, mechanism, *key->own));
    RETURN_IF_ERROR(signature->Update(answer.input));
    Bytes out(kOutputBytesMax);
    ASSIGN_OR_RETURN(const std::size_t bytes, signature->Sign(out));
    out.resize(bytes);
    return out;
  }
  bool Verifies(ByteView message, ByteView signature) const {
    const auto verification = MakeSignature(row, mechanism, *key->other);
    return verification.ok() && (*verification)->Update(message).ok() && (*verification)->Verify(signature).ok();
  }
};

bool Gives(const Fallible<Bytes>& made, ByteView expected) { return made.ok() && Equal(*made, expected); }

bool BothWays(const Run& run) {
  return Gives(run.Cipher(*run.key->other, Mode::kEncrypt, run.answer.input), run.answer.output) &&
         Gives(run.Cipher(*run.key->own, Mode::kDecrypt, run.answer.output), run.answer.input);
}
bool Decrypts(const Run& run) {
  if (!Gives(run.Cipher(*run.key->own, Mode::kDecrypt, run.answer.output), run.answer.input)) return false;
  const auto encrypted = run.Cipher(*run.key->other, Mode::kEncrypt, run.answer.input);
  return encrypted.ok() && Gives(run.Cipher(*run.key->own, Mode::kDecrypt, *encrypted), run.answer.input);
}
bool Signs(const Run& run) {
  return Gives(run.Sign(), run.answer.output) && run.Verifies(run.answer.input, run.answer.output);
}
bool Verifies(const Run& run) {
  Bytes other = ToBytes(run.answer.input);
  other[0] ^= 1;
  if (!run.Verifies(run.answer.input, run.answer.output) || run.Verifies(other, run.answer.output)) return false;
  const auto made = run.Sign();
  return made.ok() && run.Verifies(run.answer.input, *made);
}
bool Digests(const Run& run) {
  const auto digest = MakeDigest(run.row.digest);
  Bytes out(run.answer.output.size());
  return digest.ok() && (*digest)->Update(run.answer.input).ok() && (*digest)->Final(out).ok() &&
         Equal(out, run.answer.output);
}
bool Agrees(const Run& run) {
  const auto secret = Derive(run.row, run.mechanism, *run.key->own, {}, std::nullopt);
  return secret.ok() && Equal(secret->view(), run.answer.output);
}

bool Passes(const Run& run) {
  static constexpr struct {
    Check check;
    bool (*passes)(const Run&);
  } kChecks[] = {
      {Check::kBothWays, BothWays}, {Check::kDecrypts, Decrypts}, {Check::kSigns, Signs},
      {Check::kVerifies, Verifies}, {Check::kDigests, Digests},   {Check::kAgrees, Agrees},
  };
  for (const auto& candidate : kChecks) {
    if (candidate.check == run.answer.check) return candidate.passes(run);
  }
  return false;
}

}  // namespace

Status RunSelfTests(std::span<const KnownAnswer> answers) {
  std::vector<TestKey> keys;
  for (const KnownAnswer& answer : answers) {
    const spec::MechanismRow& row = *spec::FindMechanism(answer.mechanism);
    const auto failed = [&] {
      return Fail(CKR_FIPS_SELF_TEST_FAILED, "self-test " + std::string(row.name) + ", " + std::string(answer.source));
    };
    const auto same = [&](const TestKey& key) { return key.encoded.data() == answer.key.data(); };
    auto key = std::find_if(keys.begin(), keys.end(), same);
    if (key == keys.end()) {
      auto made = answer.key.empty() ? Fallible<TestKey>(TestKey{}) : MakeTestKey(answer);
      if (!made.ok()) return failed();
      key = keys.insert(keys.end(), std::move(*made));
    }
    const CK_MECHANISM mechanism{answer.mechanism, const_cast<void*>(answer.parameter), answer.parameter_bytes};
    if (!Passes(Run{answer, row, mechanism, &*key})) return failed();
  }
  return {};
}

Status CheckPair(const Key& public_key, const Key& private_key) {
  const auto failed = [] { return Fail(CKR_FIPS_SELF_TEST_FAILED, "pairwise consistency of a new key pair"); };
  if (private_key.type() == CKK_EC_MONTGOMERY) {
    const auto point = ComputePoint(*private_key.curve(), private_key.part(Part::kValue), CKR_FIPS_SELF_TEST_FAILED);
    if (!point.ok() || !Equal(*point, public_key.part(Part::kPoint))) return failed();
    return {};
  }
  // The public value of a private key was computed when it was loaded.
  if (private_key.type() == CKK_DH || private_key.type() == CKK_X9_42_DH)
    return Equal(private_key.part(Part::kPoint), public_key.part(Part::kPoint)) ? Status{} : Status(failed());
  const CK_MECHANISM_TYPE type = private_key.type() == CKK_RSA   ? CKM_RSA_PKCS
                                 : private_key.type() == CKK_DSA ? CKM_DSA
                                 : private_key.type() == CKK_EC  ? CKM_ECDSA
                                 : private_key.type() == CKK_SM2 ? CKM_SM2
                                                                 : CKM_EDDSA;
  const CK_MECHANISM mechanism{type, nullptr, 0};
  const spec::MechanismRow& row = *spec::FindMechanism(type);
  constexpr std::uint8_t kMessage[32] = {'p', 'a', 'i', 'r'};
  ASSIGN_OR_RETURN(const auto signing, MakeSignature(row, mechanism, private_key));
  ASSIGN_OR_RETURN(const auto verifying, MakeSignature(row, mechanism, public_key));
  Bytes signature((public_key.bits() + 7) / 8 * 2 + 2);
  RETURN_IF_ERROR(signing->Update(kMessage));
  const auto made = signing->Sign(signature);
  if (!made.ok()) return failed();
  RETURN_IF_ERROR(verifying->Update(kMessage));
  if (!verifying->Verify(ByteView(signature).first(*made)).ok()) return failed();
  return {};
}

}  // namespace cmkd::sim
