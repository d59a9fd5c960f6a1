// The functions of the interface "CMKD" (pkcs11/spec/cmkd_pkcs11.h): data keys, and managed ciphertexts in one call
// each. Plaintext of data keys is in locked memory here for the length of a call, and in the answer when it was asked
// for.
#include "daemon/crypto/key_wrap.h"
#include "daemon/crypto/private_key.h"
#include "daemon/service/default_key.h"
#include "daemon/service/handlers.h"
#include "daemon/service/key_role.h"
#include "daemon/service/managed_cipher.h"
#include "daemon/service/new_object.h"
#include "daemon/service/operation_run.h"
#include "daemon/service/short_lived.h"
#include "pkcs11/spec/managed_ciphertext.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

// The most that a private key may be: one managed ciphertext holds it. RSA of 4096 bits needs about 2400 bytes.
constexpr std::size_t kPrivateKeyMax = CMKD_MANAGED_PLAINTEXT_MAX;
constexpr std::size_t kPublicKeyMax = 1024;
constexpr CK_ULONG kRsaBitsMax = 4096;

// The key for one direction of the managed mechanism, checked like at an Init. Without a handle the token's default key
// encrypts.
Fallible<ObjectPtr> FindFor(Invocation& invocation, const CK_MECHANISM& mechanism, CK_OBJECT_HANDLE handle,
                            CK_FLAGS operation) {
  invocation.audit.mechanism = mechanism.mechanism;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, mechanism, operation));
  if (row->recipe != spec::Recipe::kManaged)
    return Fail(CKR_MECHANISM_INVALID, "data keys go under the managed mechanism", spec::kMechanismNotAllowed);
  if (handle == CK_INVALID_HANDLE && operation == CKF_ENCRYPT) {
    if (!UserLoggedIn(invocation)) return Fail(CKR_USER_NOT_LOGGED_IN, "the default key is private");
    ASSIGN_OR_RETURN(handle, FindDefaultKey(invocation.daemon, invocation.session->token));
  }
  ASSIGN_OR_RETURN(ObjectPtr key, FindVisible(invocation, handle, CKR_KEY_HANDLE_INVALID));
  RecordKey(invocation, *key, mechanism.mechanism);
  RETURN_IF_ERROR(CheckKeyUse(invocation, *row, *key, operation == CKF_ENCRYPT ? CKA_ENCRYPT : CKA_DECRYPT));
  return key;
}

// The handle that was given, or that of the key which the ciphertext names.
Fallible<CK_OBJECT_HANDLE> HandleFor(Invocation& invocation, CK_OBJECT_HANDLE given, ByteView ciphertext) {
  if (given != CK_INVALID_HANDLE) return given;
  const auto header = spec::ReadManagedHeader(ciphertext);
  if (!header) return Fail(CKR_ENCRYPTED_DATA_INVALID, "the header cannot be read", spec::kCiphertextUnreadable);
  std::string unique = Hex(header->key_id);
  const CK_ATTRIBUTE wanted[] = {{CKA_UNIQUE_ID, unique.data(), unique.size()}};
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
  STORE_OR_RETURN(const auto serials, read->FindObjects(invocation.session->token, TermsOf(wanted)));
  if (serials.empty())
    return Fail(CKR_KEY_HANDLE_INVALID, "the token has not the key of the ciphertext", spec::kNotFound);
  return serials.front().value;
}

struct Output {
  spec::BytesOut& to;
  std::size_t bytes;
};

// True: there is room for every output. False: only the lengths were asked for. An output without a length pointer is
// not wanted at all.
Fallible<bool> HaveRoom(std::initializer_list<Output> outputs) {
  std::size_t wanted = 0, asked = 0;
  bool fits = true;
  for (const Output& output : outputs) {
    if (output.to.length == nullptr) continue;
    ++wanted;
    asked += output.to.query() ? 1 : 0;
    fits = fits && output.to.capacity() >= output.bytes;
  }
  if (asked != 0 && asked != wanted) return Fail(CKR_ARGUMENTS_BAD, "lengths are asked for together");
  if (fits) return true;
  for (const Output& output : outputs) {
    if (output.to.length != nullptr) *output.to.length = output.bytes;
  }
  if (asked != 0) return false;
  return TooSmall();
}

// `plain` encrypted, and as it is where that is wanted.
Status HandOut(Invocation& invocation, const Object& key, const CK_MECHANISM& mechanism, ByteView plain,
               spec::BytesOut& plaintext, spec::BytesOut& ciphertext) {
  ASSIGN_OR_RETURN(const Bytes sealed,
                   EncryptManaged(invocation, key, spec::ReadContext(mechanism), plain, Moment::kInit));
  if (plaintext.length != nullptr) (void)plaintext.Put(plain);
  (void)ciphertext.Put(sealed);
  invocation.audit.output_bytes = sealed.size();
  return {};
}

// A private key leaves its device wrapped under a key that is known here for as long as that takes.
Fallible<EncodedPair> TakeOut(Backend& backend, const ShortLived& pair, CK_KEY_TYPE type, const WrappingKey& under) {
  const SecretBytes transport = RandomKey(32);
  spec::Attributes attributes;
  attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  attributes.SetUlong(CKA_KEY_TYPE, CKK_AES);
  attributes.Set(CKA_VALUE, transport.view());
  ASSIGN_OR_RETURN(Made made, backend.Import(attributes, under));
  const ShortLived carrier(backend, std::move(made.material));
  KeyMaterial private_key = Temporary(CKO_PRIVATE_KEY, type, pair.material(), under);
  private_key.extractable = true;
  CK_MECHANISM wrap{CKM_AES_KEY_WRAP_KWP, nullptr, 0};
  if (backend.FindMechanism(wrap.mechanism) == nullptr) wrap.mechanism = CKM_AES_KEY_WRAP_PAD;
  ASSIGN_OR_RETURN(const Bytes wrapped,
                   backend.WrapKey(wrap, carrier.name(), Temporary(CKO_SECRET_KEY, CKK_AES, carrier.material(), under),
                                   pair.name(), private_key));
  const auto bare = UnwrapPadded(transport.view(), wrapped);
  if (!bare) return Fail(CKR_DEVICE_ERROR, "the device wrapped the private key in another way than RFC 5649");
  auto encoded = EncodePair(bare->view());
  if (!encoded) return Fail(CKR_DEVICE_ERROR, "the device's form of the private key cannot be read");
  if (encoded->private_key.size() > kPrivateKeyMax || encoded->public_key.size() > kPublicKeyMax)
    return Fail(CKR_KEY_SIZE_RANGE, "the private key is too long for a managed ciphertext");
  return std::move(*encoded);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::GenerateDataKey>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  const std::size_t bytes = call.bytes.value;
  ASSIGN_OR_RETURN(const ObjectPtr key, FindFor(invocation, mechanism, call.key.value, CKF_ENCRYPT));
  if (bytes < 1 || bytes > CMKD_DATA_KEY_MAX) return Fail(CKR_KEY_SIZE_RANGE, "a data key has 1 to 1024 bytes");
  ASSIGN_OR_RETURN(const bool room,
                   HaveRoom({{call.plaintext, bytes}, {call.ciphertext, bytes + CMKD_MANAGED_OVERHEAD}}));
  if (!room) return {};
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  SecretBytes data_key(bytes);
  RETURN_IF_ERROR(backend->FillRandom(data_key.bytes()));
  return HandOut(invocation, *key, mechanism, data_key.view(), call.plaintext, call.ciphertext);
}

Status Handle(Invocation& invocation, spec::Call<CallId::GenerateDataKeyPair>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  const CK_MECHANISM& generator = *call.generator.value;
  ASSIGN_OR_RETURN(const ObjectPtr key, FindFor(invocation, mechanism, call.key.value, CKF_ENCRYPT));
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckMechanism(invocation, generator, CKF_GENERATE_KEY_PAIR));
  const bool known = row->key_type == CKK_RSA || row->key_type == CKK_EC || row->key_type == CKK_EC_EDWARDS ||
                     row->key_type == CKK_EC_MONTGOMERY;
  if (!known) return Fail(CKR_MECHANISM_INVALID, "no key pair that is made as a data key", spec::kMechanismNotAllowed);
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  spec::TemplateContext context;
  context.verb = spec::Verb::kGenerate;
  context.object_class = CKO_PUBLIC_KEY;
  context.key_type = row->key_type;
  context.profile = ProfileOf(*token);
  ASSIGN_OR_RETURN(const spec::Attributes attributes,
                   spec::NewAttributes(context, call.attributes.view(), generator.mechanism));
  if (attributes.Ulong(CKA_MODULUS_BITS).value_or(0) > kRsaBitsMax)
    return Fail(CKR_KEY_SIZE_RANGE, "an RSA data key has at most 4096 bits");
  ASSIGN_OR_RETURN(const bool room, HaveRoom({{call.public_key, kPublicKeyMax},
                                              {call.plaintext, kPrivateKeyMax},
                                              {call.ciphertext, kPrivateKeyMax + CMKD_MANAGED_OVERHEAD}}));
  if (!room) return {};
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under,
                   invocation.daemon.custodian.WrappingKeyFor(token->id, Custodian::Keep::kSession));
  ASSIGN_OR_RETURN(MadePair made, backend->GenerateKeyPair(generator, row->key_type, attributes, under));
  const ShortLived pair(*backend, std::move(made.material));
  ASSIGN_OR_RETURN(const EncodedPair encoded, TakeOut(*backend, pair, row->key_type, under));
  RETURN_IF_ERROR(HandOut(invocation, *key, mechanism, encoded.private_key.view(), call.plaintext, call.ciphertext));
  (void)call.public_key.Put(encoded.public_key);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::EncryptManaged>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  invocation.audit.input_bytes = call.input.length;
  ASSIGN_OR_RETURN(const ObjectPtr key, FindFor(invocation, mechanism, call.key.value, CKF_ENCRYPT));
  if (call.input.length > CMKD_MANAGED_PLAINTEXT_MAX) return Fail(CKR_DATA_LEN_RANGE, "more is for a data key");
  ASSIGN_OR_RETURN(const bool room, HaveRoom({{call.output, call.input.length + CMKD_MANAGED_OVERHEAD}}));
  if (!room) return {};
  spec::BytesOut no_plaintext;
  return HandOut(invocation, *key, mechanism, call.input.view(), no_plaintext, call.output);
}

Status Handle(Invocation& invocation, spec::Call<CallId::DecryptManaged>& call) {
  const CK_MECHANISM& mechanism = *call.mechanism.value;
  const ByteView sealed = call.input.view();
  invocation.audit.input_bytes = sealed.size();
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE handle, HandleFor(invocation, call.key.value, sealed));
  ASSIGN_OR_RETURN(const ObjectPtr key, FindFor(invocation, mechanism, handle, CKF_DECRYPT));
  if (sealed.size() < CMKD_MANAGED_OVERHEAD) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "shorter than any ciphertext");
  ASSIGN_OR_RETURN(const bool room, HaveRoom({{call.output, sealed.size() - CMKD_MANAGED_OVERHEAD}}));
  if (!room) return {};
  ASSIGN_OR_RETURN(const SecretBytes plain,
                   DecryptManaged(invocation, *key, spec::ReadContext(mechanism), sealed, Moment::kInit));
  (void)call.output.Put(plain.view());
  invocation.audit.output_bytes = plain.size();
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::ReEncrypt>& call) {
  const ByteView sealed = call.input.view();
  invocation.audit.input_bytes = sealed.size();
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE handle, HandleFor(invocation, call.from_key.value, sealed));
  ASSIGN_OR_RETURN(const ObjectPtr from, FindFor(invocation, *call.from_mechanism.value, handle, CKF_DECRYPT));
  ASSIGN_OR_RETURN(const ObjectPtr to, FindFor(invocation, *call.to_mechanism.value, call.to_key.value, CKF_ENCRYPT));
  invocation.audit_text = "from " + std::string(from->attributes.Text(CKA_UNIQUE_ID));
  ASSIGN_OR_RETURN(const bool room, HaveRoom({{call.output, sealed.size()}}));
  if (!room) return {};
  ASSIGN_OR_RETURN(
      const SecretBytes plain,
      DecryptManaged(invocation, *from, spec::ReadContext(*call.from_mechanism.value), sealed, Moment::kInit));
  spec::BytesOut no_plaintext;
  return HandOut(invocation, *to, *call.to_mechanism.value, plain.view(), no_plaintext, call.output);
}

}  // namespace cmkd::daemon
