// Message digesting (PKCS#11 3.2 section 5.12).
#include <algorithm>

#include "conformance/output_operation.h"
#include "conformance/samples.h"

namespace cmkd::conformance {
namespace {

// Digests of the three letters "abc", from the documents that define them (FIPS 180-4, FIPS 202, RFC 1321).
struct KnownDigest {
  CK_MECHANISM_TYPE type;
  const char* hex;
};
constexpr KnownDigest kAbc[] = {
    {CKM_MD5, "900150983cd24fb0d6963f7d28e17f72"},
    {CKM_SHA_1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {CKM_SHA224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {CKM_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {CKM_SHA384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {CKM_SHA512,
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2"
     "a9"
     "ac94fa54ca49f"},
    {CKM_SHA512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"},
    {CKM_SHA512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"},
    // With the t of its sample, 160: from FIPS 180-4 section 5.3.6 with Python.
    {CKM_SHA512_T, "0a74fe1b43eecbea62182658da8a68b8acef25bf"},
    {CKM_SHA3_224, "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
    {CKM_SHA3_256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {CKM_SHA3_384, "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25"},
    {CKM_SHA3_512,
     "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56"
     "592f"
     "8274eec53f0"},
};

bool HasKnownAnswer(CK_MECHANISM_TYPE type) {
  return std::any_of(std::begin(kAbc), std::end(kAbc), [&](const KnownDigest& known) { return known.type == type; });
}

// The mechanism with its parameter: the length, for SHA-512/t.
std::shared_ptr<Sample> SampleOf(const Offer& offer) {
  auto sample = MakeSample(offer, CKF_DIGEST);
  if (sample == nullptr) sample = std::make_shared<Sample>();
  sample->mechanism.mechanism = offer.type;
  return sample;
}

CK_RV Digest(Trial& t, const Offer& offer, ByteView input, Bytes& output) {
  const auto sample = SampleOf(offer);
  Subject subject;
  subject.mechanism = &sample->mechanism;
  subject.input = ToBytes(input);
  return RunOnce(t, kDigesting, subject, output);
}

void AddKnown(Plan& plan, const Offer& offer) {
  for (const KnownDigest& known : kAbc) {
    if (known.type != offer.type) continue;
    plan.AddFor(MechanismName(offer.type), "C_Digest", "known-answer", [known, offer](Trial& t) {
      Bytes output;
      if (!t.Expect(Digest(t, offer, AsBytes("abc"), output), {CKR_OK}, "C_Digest")) return;
      t.Check(Hex(output) == known.hex, "the digest of \"abc\" is the one of its standard");
    });
  }
}

void AddKeyDigest(Plan& plan, const Offer& offer) {
  plan.AddFor(MechanismName(offer.type), "C_DigestKey", "equals-the-value", [offer](Trial& t) {
    Template secret;
    const Bytes value(32, 0x42);
    secret.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Bool(CKA_TOKEN, false);
    secret.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true).Raw(CKA_VALUE, value);
    CK_OBJECT_HANDLE key = 0;
    NEED(t, CKR_OK, t.p11->C_CreateObject(t.session, secret.data(), secret.size(), &key));
    const auto sample = SampleOf(offer);
    NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &sample->mechanism));
    const CK_RV rv = t.p11->C_DigestKey(t.session, key);
    if (!t.Expect(rv, {CKR_OK, CKR_KEY_INDIGESTIBLE}, "C_DigestKey") || rv != CKR_OK) return;
    Bytes output(64), whole;
    CK_ULONG length = output.size();
    NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, output.data(), &length));
    output.resize(length);
    if (!t.Expect(Digest(t, offer, value, whole), {CKR_OK}, "C_Digest")) return;
    t.Check(output == whole, "digesting a key is digesting its value");
  });
}

void AddLarge(Plan& plan, const Offer& offer) {
  plan.AddFor(MechanismName(offer.type), "C_DigestUpdate", "large-and-empty-parts", [offer](Trial& t) {
    const auto sample = SampleOf(offer);
    const Bytes large(3u << 20, 0x37);
    Bytes whole, output(64);
    if (!t.Expect(Digest(t, offer, large, whole), {CKR_OK}, "C_Digest")) return;
    NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &sample->mechanism));
    WANT(t, CKR_OK, t.p11->C_DigestUpdate(t.session, Ptr(large), 1u << 20));
    WANT(t, CKR_OK, t.p11->C_DigestUpdate(t.session, Ptr(large), 0));
    WANT(t, CKR_OK, t.p11->C_DigestUpdate(t.session, Ptr(large), 2u << 20));
    CK_ULONG length = output.size();
    NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, output.data(), &length));
    output.resize(length);
    t.Check(output == whole, "parts of any size give the digest of the whole");
  });
}

}  // namespace

void AddDigest(Plan& plan) {
  plan.Chapter("digest", Stage::kUser);
  for (const Offer& offer : plan.survey().mechanisms) {
    // Of a mechanism that the table does not have nobody can say how its parameter looks.
    if (!offer.Does(CKF_DIGEST) || (offer.row == nullptr && !HasKnownAnswer(offer.type))) continue;
    if (offer.row != nullptr && MakeSample(offer, CKF_DIGEST) == nullptr) continue;
    AddOutputCases(plan, kDigesting, MechanismName(offer.type), [offer](Trial& t, Subject& subject) {
      const auto sample = SampleOf(offer);
      subject.mechanism = &sample->mechanism;
      subject.keeps = sample;
      subject.input = Bytes(200, 0x61);
      subject.part = 64;
      return t.Expect(Digest(t, offer, subject.input, subject.output), {CKR_OK}, "C_Digest");
    });
    AddKnown(plan, offer);
    AddKeyDigest(plan, offer);
    AddLarge(plan, offer);
  }
}

}  // namespace cmkd::conformance
