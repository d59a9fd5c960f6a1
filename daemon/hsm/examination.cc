// The probes: each tries one thing that cmkd wants of a device and says how it went. A new one is a function and a line
// in kProbes.
#include "daemon/hsm/examination.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "daemon/crypto/random.h"
#include "daemon/hsm/capabilities.h"
#include "daemon/hsm/quirks.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kGcmTagBytes = 16;
constexpr CK_ULONG kRsaBits = 2048;
constexpr int kThreads = 4;
constexpr int kUsesOfEachThread = 25;

CK_MECHANISM Plain(CK_MECHANISM_TYPE type) { return {type, nullptr, 0}; }

std::string Why(const Error& error) {
  const spec::ReturnValueRow* row = spec::FindReturnValue(error.rv);
  if (row == nullptr || error.why.find(row->name) != std::string::npos) return error.why;
  return error.why + " (" + std::string(row->name) + ")";
}

// A throw-away key with its name, destroyed with the bench.
struct TrialKey {
  KeyName name;
  KeyMaterial material;
  spec::Attributes computed;
  spec::Attributes public_half;
};

// The device under examination: a wrapping key of its own, and keys made under it.
class Bench {
 public:
  explicit Bench(Backend& backend) : backend_(backend), under_(backend.MakeWrappingKey(1)) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    for (const TrialKey& key : kept_) {
      backend_.Forget(key.name);
      (void)backend_.DestroyMaterial(key.material.material);
    }
    if (under_.ok()) (void)backend_.DestroyWrappingKey(*under_);
  }

  Backend& backend() { return backend_; }
  const Fallible<WrappingKey>& under() const { return under_; }
  bool Has(CK_MECHANISM_TYPE type) const { return backend_.FindMechanism(type) != nullptr; }

  Fallible<TrialKey> Secret(CK_MECHANISM_TYPE by, CK_KEY_TYPE type, CK_ULONG bytes) {
    if (!under_.ok()) return Failure<Error>{under_.error()};
    ASSIGN_OR_RETURN(Made made, backend_.GenerateKey(Plain(by), type, bytes, *under_));
    return Keep(CKO_SECRET_KEY, type, std::move(made.material), std::move(made.computed), {});
  }
  Fallible<TrialKey> Pair(CK_MECHANISM_TYPE by, CK_KEY_TYPE type, const spec::Attributes& parameters) {
    if (!under_.ok()) return Failure<Error>{under_.error()};
    ASSIGN_OR_RETURN(MadePair made, backend_.GenerateKeyPair(Plain(by), type, parameters, *under_));
    return Keep(CKO_PRIVATE_KEY, type, std::move(made.material), std::move(made.private_computed),
                std::move(made.public_computed));
  }

  using Init = CK_RV (*CK_FUNCTION_LIST::*)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
  using Transform = CK_RV (*CK_FUNCTION_LIST::*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
  Fallible<Bytes> Encrypt(const TrialKey& key, CK_MECHANISM mechanism, ByteView input) {
    return Do(key, mechanism, input, &CK_FUNCTION_LIST::C_EncryptInit, &CK_FUNCTION_LIST::C_Encrypt);
  }
  Fallible<Bytes> Decrypt(const TrialKey& key, CK_MECHANISM mechanism, ByteView input) {
    return Do(key, mechanism, input, &CK_FUNCTION_LIST::C_DecryptInit, &CK_FUNCTION_LIST::C_Decrypt);
  }
  Fallible<Bytes> Sign(const TrialKey& key, CK_MECHANISM mechanism, ByteView input) {
    return Do(key, mechanism, input, &CK_FUNCTION_LIST::C_SignInit, &CK_FUNCTION_LIST::C_Sign);
  }

 private:
  TrialKey Keep(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, cmk::Material material, spec::Attributes computed,
                spec::Attributes public_half) {
    TrialKey key;
    key.name.id = RandomId();
    key.name.version = 1;
    key.material.object_class = object_class;
    key.material.key_type = type;
    key.material.material = std::move(material);
    if (under_.ok()) key.material.wrapping_reference = under_->reference;
    key.computed = std::move(computed);
    key.public_half = std::move(public_half);
    kept_.push_back(key);
    return key;
  }
  Fallible<Bytes> Do(const TrialKey& key, CK_MECHANISM mechanism, ByteView input, Init init, Transform transform) {
    Bytes output;
    Error loading;
    const Status done = backend_.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
      const auto handle = lease.Load(key.name, key.material);
      if (!handle.ok()) {
        loading = handle.error();
        return loading.rv;
      }
      if (const CK_RV rv = (f->*init)(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
      output.assign(input.size() + 1024, 0);
      CK_ULONG length = output.size();
      const CK_RV rv =
          (f->*transform)(lease.session(), const_cast<CK_BYTE_PTR>(input.data()), input.size(), output.data(), &length);
      output.resize(rv == CKR_OK ? length : 0);
      return rv;
    });
    if (!done.ok())
      return Failure<Error>{loading.rv == done.error().rv && loading.rv != CKR_OK ? loading : done.error()};
    return output;
  }

  Backend& backend_;
  const Fallible<WrappingKey> under_;
  std::vector<TrialKey> kept_;
};

Bytes Message() { return Bytes(32, 0x5a); }

// AES-GCM with a fixed IV: the keys are thrown away.
struct Gcm {
  CK_BYTE iv[12] = {};
  CK_GCM_PARAMS parameters{iv, sizeof iv, sizeof iv * 8, nullptr, 0, kGcmTagBytes * 8};
  CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
};

Fallible<TrialKey> AesKey(Bench& bench, CK_ULONG bytes = 32) { return bench.Secret(CKM_AES_KEY_GEN, CKK_AES, bytes); }

Finding Keeping(std::string subject, const Fallible<TrialKey>& key) {
  if (!key.ok()) return {std::move(subject), Verdict::kFault, Why(key.error())};
  if (key->material.material.kind == cmk::Material::Kind::kWrapped)
    return {std::move(subject), Verdict::kGood, "wrapped by the device and kept in cmkd's store"};
  return {std::move(subject), Verdict::kHandled, "the device cannot wrap it: kept in the device, one object a key"};
}

Finding Absent(std::string subject, std::string_view what) {
  return {std::move(subject), Verdict::kMissing, "the device has no " + std::string(what)};
}

// How the device keeps a key whose length is a matter of course.
cmk::Material::Kind AesKept(Bench& bench) {
  const auto key = AesKey(bench);
  return key.ok() ? key->material.material.kind : cmk::Material::Kind::kWrapped;
}

// ---- The probes

Finding ProbeWrappingKey(Bench& bench) {
  if (!bench.under().ok()) return {"wrapping key", Verdict::kFault, Why(bench.under().error())};
  return {"wrapping key", Verdict::kGood, "made in the device, never extractable"};
}

Finding ProbeAes(Bench& bench) { return Keeping("AES keys", AesKey(bench)); }

Finding ProbeLengths(Bench& bench) {
  constexpr char kSubject[] = "secrets of odd lengths";
  if (!bench.Has(CKM_GENERIC_SECRET_KEY_GEN)) return Absent(kSubject, "CKM_GENERIC_SECRET_KEY_GEN");
  std::string kept_in_device;
  for (const CK_ULONG bytes : {20, 32, 33, 64}) {
    const auto key = bench.Secret(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, bytes);
    if (!key.ok()) return {kSubject, Verdict::kFault, std::to_string(bytes) + " bytes: " + Why(key.error())};
    if (key->material.material.kind == cmk::Material::Kind::kResident)
      kept_in_device += (kept_in_device.empty() ? "" : ", ") + std::to_string(bytes);
  }
  if (AesKept(bench) == cmk::Material::Kind::kResident)
    return {kSubject, Verdict::kHandled, "the device cannot wrap them: kept in the device, one object a key"};
  if (kept_in_device.empty()) return {kSubject, Verdict::kGood, "come back from a wrapping as long as they were"};
  return {kSubject, Verdict::kHandled, "kept in the device, which loses their length when it wraps: " + kept_in_device};
}

Fallible<TrialKey> RsaPair(Bench& bench) {
  spec::Attributes parameters;
  parameters.SetUlong(CKA_MODULUS_BITS, kRsaBits);
  parameters.SetBytes(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
  return bench.Pair(CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, parameters);
}

Finding ProbeRsa(Bench& bench) {
  if (!bench.Has(CKM_RSA_PKCS_KEY_PAIR_GEN)) return Absent("RSA keys", "CKM_RSA_PKCS_KEY_PAIR_GEN");
  return Keeping("RSA keys", RsaPair(bench));
}

Finding ProbeCurve(Bench& bench, std::string subject, CK_MECHANISM_TYPE by, CK_KEY_TYPE type, std::string_view curve) {
  if (!bench.Has(by)) return Absent(std::move(subject), spec::FindMechanism(by)->name);
  spec::Attributes parameters;
  parameters.Set(CKA_EC_PARAMS, AsBytes(spec::FindCurveByName(curve)->oid));
  return Keeping(std::move(subject), bench.Pair(by, type, parameters));
}
Finding ProbeEc(Bench& b) { return ProbeCurve(b, "EC keys", CKM_EC_KEY_PAIR_GEN, CKK_EC, "P-256"); }
Finding ProbeEdwards(Bench& b) {
  return ProbeCurve(b, "Edwards keys", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, "Ed25519");
}

// Whether old versions of a key can be told by the code of a failed check.
Finding ProbeGcmVersions(Bench& bench) {
  constexpr char kSubject[] = "versions found under AES-GCM";
  if (!bench.Has(CKM_AES_GCM)) return Absent(kSubject, "CKM_AES_GCM");
  const auto one = AesKey(bench), two = AesKey(bench);
  if (!one.ok() || !two.ok()) return {kSubject, Verdict::kFault, Why(one.ok() ? two.error() : one.error())};
  Gcm gcm;
  const auto sealed = bench.Encrypt(*one, gcm.mechanism, Message());
  if (!sealed.ok()) return {kSubject, Verdict::kFault, Why(sealed.error())};
  const auto opened = bench.Decrypt(*one, gcm.mechanism, *sealed);
  if (!opened.ok() || *opened != Message()) return {kSubject, Verdict::kFault, "what it encrypts it does not decrypt"};
  const auto refused = bench.Decrypt(*two, gcm.mechanism, *sealed);
  if (refused.ok()) return {kSubject, Verdict::kFault, "another key opens it"};
  if (!bench.backend().IsWrongKey(CKM_AES_GCM, refused.error().rv))
    return {kSubject, Verdict::kFault, "a wrong key is not told from a fault: " + Why(refused.error())};
  return {kSubject, Verdict::kGood, "a wrong key is told by its code"};
}

Finding ProbeKeyWrapVersions(Bench& bench) {
  constexpr char kSubject[] = "versions found under AES key wrap";
  if (!bench.Has(CKM_AES_KEY_WRAP)) return Absent(kSubject, "CKM_AES_KEY_WRAP");
  const auto one = AesKey(bench), two = AesKey(bench);
  auto key = AesKey(bench);
  if (!one.ok() || !two.ok() || !key.ok()) return {kSubject, Verdict::kFault, "AES keys cannot be made"};
  key->material.extractable = true;
  const CK_MECHANISM wrap = Plain(CKM_AES_KEY_WRAP);
  const auto wrapped = bench.backend().WrapKey(wrap, one->name, one->material, key->name, key->material);
  if (!wrapped.ok()) return {kSubject, Verdict::kFault, Why(wrapped.error())};
  const auto refused =
      bench.backend().UnwrapKey(wrap, two->name, two->material, *wrapped, CKO_SECRET_KEY, CKK_AES, 0, *bench.under());
  if (refused.ok()) return {kSubject, Verdict::kFault, "another key unwraps it"};
  if (!bench.backend().IsWrongKey(CKM_AES_KEY_WRAP, refused.error().rv))
    return {kSubject, Verdict::kFault, "a wrong key is not told from a fault: " + Why(refused.error())};
  return {kSubject, Verdict::kGood, "a wrong key is told by its code"};
}

Finding ProbeHmac(Bench& bench) {
  constexpr char kSubject[] = "HMAC-SHA-256";
  if (!bench.Has(CKM_SHA256_HMAC)) return Absent(kSubject, "CKM_SHA256_HMAC");
  const auto key = bench.Secret(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 32);
  if (!key.ok()) return {kSubject, Verdict::kFault, Why(key.error())};
  const auto mac = bench.Sign(*key, Plain(CKM_SHA256_HMAC), Message());
  if (!mac.ok()) return {kSubject, Verdict::kFault, Why(mac.error())};
  if (mac->size() != 32) return {kSubject, Verdict::kFault, "a MAC of " + std::to_string(mac->size()) + " bytes"};
  return {kSubject, Verdict::kGood, "works"};
}

// By the raw operation where there is one, as the daemon itself does it (service/rsa_padding.h).
Finding ProbeOaep(Bench& bench) {
  constexpr char kSubject[] = "RSA-OAEP with SHA-256";
  const bool raw = bench.Has(CKM_RSA_X_509);
  if (!raw && !bench.Has(CKM_RSA_PKCS_OAEP)) return Absent(kSubject, "OAEP and no raw RSA");
  const auto key = RsaPair(bench);
  if (!key.ok()) return {kSubject, Verdict::kFault, Why(key.error())};
  TrialKey public_half = *key;
  public_half.name.is_public = true;
  public_half.material = {};
  public_half.material.object_class = CKO_PUBLIC_KEY;
  public_half.material.key_type = CKK_RSA;
  public_half.material.public_key = &public_half.public_half;
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  const CK_MECHANISM mechanism = raw ? Plain(CKM_RSA_X_509) : CK_MECHANISM{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
  Bytes message = raw ? Bytes(kRsaBits / 8, 0x5a) : Message();
  message[0] = 0;  // below the modulus
  const auto sealed = bench.Encrypt(public_half, mechanism, message);
  bench.backend().Forget(public_half.name);
  if (!sealed.ok()) return {kSubject, Verdict::kFault, Why(sealed.error())};
  const auto opened = bench.Decrypt(*key, mechanism, *sealed);
  if (!opened.ok()) return {kSubject, Verdict::kFault, Why(opened.error())};
  if (*opened != message) return {kSubject, Verdict::kFault, "what it encrypts it does not decrypt"};
  if (!raw) return {kSubject, Verdict::kGood, "works"};
  return {kSubject, Verdict::kHandled, "raw RSA works; cmkd takes off the padding where the device knows SHA-1 only"};
}

// Several threads with one key, each in a session of its own.
Finding ProbeThreads(Bench& bench) {
  constexpr char kSubject[] = "threads";
  const auto key = AesKey(bench);
  if (!key.ok()) return {kSubject, Verdict::kFault, Why(key.error())};
  // Always the same output, with a parameter of each thread's own.
  struct Deterministic {
    explicit Deterministic(const Bench& on) : mechanism(on.Has(CKM_AES_GCM) ? gcm.mechanism : cbc) {}
    Gcm gcm;
    CK_BYTE iv[16] = {};
    CK_MECHANISM cbc{CKM_AES_CBC_PAD, iv, sizeof iv};
    CK_MECHANISM mechanism;
  };
  const Deterministic first(bench);
  const auto expected = bench.Encrypt(*key, first.mechanism, Message());
  if (!expected.ok()) return {kSubject, Verdict::kFault, Why(expected.error())};
  std::atomic<int> wrong{0}, failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      const Deterministic mine(bench);
      for (int i = 0; i < kUsesOfEachThread; ++i) {
        const auto sealed = bench.Encrypt(*key, mine.mechanism, Message());
        if (!sealed.ok()) ++failed;
        if (sealed.ok() && *sealed != *expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (wrong != 0) return {kSubject, Verdict::kFault, "wrong answers: set serialise = true for this module"};
  if (failed != 0)
    return {kSubject, Verdict::kFault,
            std::to_string(failed) + " of " + std::to_string(kThreads * kUsesOfEachThread) +
                " calls failed: set serialise = true for this module"};
  return {kSubject, Verdict::kGood, std::to_string(kThreads) + " at once work"};
}

Finding ProbeRandom(Bench& bench) {
  Bytes one(32), two(32);
  const Status first = bench.backend().FillRandom(one), second = bench.backend().FillRandom(two);
  if (!first.ok() || !second.ok())
    return {"random numbers", Verdict::kFault, Why((first.ok() ? second : first).error())};
  if (one == two) return {"random numbers", Verdict::kFault, "the same 32 bytes twice"};
  return {"random numbers", Verdict::kGood, "two blocks differ"};
}

constexpr Finding (*kProbes[])(Bench&) = {
    ProbeWrappingKey,     ProbeAes,  ProbeLengths, ProbeRsa,     ProbeEc,     ProbeEdwards, ProbeGcmVersions,
    ProbeKeyWrapVersions, ProbeHmac, ProbeOaep,    ProbeThreads, ProbeRandom,
};

// ---- What the module says of itself

template <std::size_t n>
std::string Text(const CK_UTF8CHAR (&field)[n]) {
  std::string_view text(reinterpret_cast<const char*>(field), n);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  return std::string(text);
}

std::string Text(const CK_VERSION& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string Names(const std::set<CK_MECHANISM_TYPE>& types) {
  std::string names;
  for (const CK_MECHANISM_TYPE type : types) {
    const spec::MechanismRow* row = spec::FindMechanism(type);
    names += (names.empty() ? "" : ", ") + (row == nullptr ? std::to_string(type) : std::string(row->name));
  }
  return names;
}

// What the back end saw when it started.
void DescribeTrials(Backend& backend, Examination& result) {
  const Capabilities* const seen = backend.capabilities();
  if (seen == nullptr || (seen->working.empty() && seen->broken.empty())) return;
  std::set<CK_MECHANISM_TYPE> otherwise;
  for (const auto& [type, rv] : seen->wrong_key) otherwise.insert(type);
  if (!seen->broken.empty())
    result.findings.push_back(
        {"listed mechanisms", Verdict::kHandled, "listed, and do not work; not offered: " + Names(seen->broken)});
  if (!seen->mute.empty())
    result.findings.push_back({"integrity checks", Verdict::kHandled,
                               "a failed check looks like a lost device; not offered: " + Names(seen->mute)});
  if (!otherwise.empty())
    result.findings.push_back({"codes of failed checks", Verdict::kHandled,
                               "not the standard's, and understood all the same: " + Names(otherwise)});
}

void Describe(Backend& backend, Examination& result) {
  (void)backend.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
    CK_INFO info{};
    CK_TOKEN_INFO token{};
    CK_SESSION_INFO session{};
    if (const CK_RV rv = f->C_GetInfo(&info); rv != CKR_OK) return rv;
    if (const CK_RV rv = f->C_GetSessionInfo(lease.session(), &session); rv != CKR_OK) return rv;
    if (const CK_RV rv = f->C_GetTokenInfo(session.slotID, &token); rv != CKR_OK) return rv;
    result.manufacturer = Text(info.manufacturerID);
    result.library = Text(info.libraryDescription);
    result.library_version = Text(info.libraryVersion);
    result.cryptoki_version = Text(info.cryptokiVersion);
    result.token = Text(token.label);
    result.token_manufacturer = Text(token.manufacturerID);
    result.model = Text(token.model);
    result.serial = Text(token.serialNumber);
    result.firmware_version = Text(token.firmwareVersion);
    const auto rows = std::count_if(Quirks().begin(), Quirks().end(), [&](const Quirk& quirk) {
      return result.manufacturer.starts_with(quirk.manufacturer) && quirk.major == info.libraryVersion.major;
    });
    if (rows != 0)
      result.findings.push_back({"return values", Verdict::kHandled,
                                 std::to_string(rows) + " known slips of this module are corrected in its host"});
    return CKR_OK;
  });
  DescribeTrials(backend, result);
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (backend.FindMechanism(row.type) != nullptr) result.mechanisms.emplace_back(row.name);
  }
}

}  // namespace

std::string_view NameOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood: return "good";
    case Verdict::kHandled: return "handled";
    case Verdict::kMissing: return "missing";
    case Verdict::kFault: return "fault";
  }
  return "";
}

bool Examination::usable() const {
  const auto named = [&](std::string_view subject) {
    return std::any_of(findings.begin(), findings.end(),
                       [&](const Finding& f) { return f.subject == subject && f.verdict != Verdict::kFault; });
  };
  return named("wrapping key") && named("AES keys");
}

Examination Examine(Backend& backend) {
  Examination result;
  Describe(backend, result);
  Bench bench(backend);
  for (const auto probe : kProbes) result.findings.push_back(probe(bench));
  return result;
}

}  // namespace cmkd::daemon
