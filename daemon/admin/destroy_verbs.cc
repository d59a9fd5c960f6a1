// Destruction without the waiting period: asked for by several operators, and proved by a signed record.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/admin/verbs.h"
#include "daemon/crypto/digest.h"
#include "daemon/service/key_use.h"
#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kReasonBytesMax = 512;

// Approvals are remembered as what a request made, for a day: the digest of what is approved, then the users.
struct Approvals {
  Bytes subject;
  std::vector<std::uint32_t> users;
};

constexpr std::size_t kSubjectBytes = 16;
constexpr std::size_t kUsersMax = 12;

Bytes Encode(const Approvals& approvals) {
  Bytes bytes = approvals.subject;
  for (const std::uint32_t user : approvals.users) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(user >> shift));
  }
  return bytes;
}

Approvals Decode(ByteView bytes) {
  Approvals approvals;
  approvals.subject = ToBytes(bytes.first(std::min(bytes.size(), kSubjectBytes)));
  for (std::size_t at = kSubjectBytes; at + 4 <= bytes.size(); at += 4) {
    std::uint32_t user = 0;
    for (std::size_t i = 0; i < 4; ++i) user = user << 8 | bytes[at + i];
    approvals.users.push_back(user);
  }
  return approvals;
}

// The caller's approval is added, once for each user. What was approved before must be the same thing.
Fallible<Approvals> Approve(const AdminCall& call, const cmk::CmkId& id, const std::string& reason) {
  Daemon& daemon = call.daemon();
  const Digest tag = Sha256(AsBytes("destroy-now " + id.ToHex()));
  const Digest subject = Sha256(AsBytes(id.ToHex() + " " + reason));
  const Timestamp now = daemon.clock.Now();
  STORE_OR_RETURN(const auto txn, daemon.store.BeginWrite("key.destroy-approval"));
  STORE_OR_RETURN(const auto before, txn->FindRequest(tag, now));
  Approvals approvals{{subject.begin(), subject.begin() + kSubjectBytes}, {}};
  if (before) {
    Approvals known = Decode(before->body_digest);
    if (known.subject != approvals.subject)
      return Fail(CKR_ARGUMENTS_BAD, "this key's destruction was asked for today with another reason", spec::kDenied);
    approvals = std::move(known);
  }
  const std::uint32_t user = call.invocation.application->peer().uid;
  if (std::find(approvals.users.begin(), approvals.users.end(), user) == approvals.users.end()) {
    if (approvals.users.size() == kUsersMax) return Fail(CKR_ARGUMENTS_BAD, "so many approvals are not kept");
    approvals.users.push_back(user);
    RETURN_IF_STORE_ERROR(txn->PutRequest(
        {.tag = Bytes(tag.begin(), tag.end()), .body_digest = Encode(approvals), .objects = {}, .expires = {}}, now));
  }
  RETURN_IF_STORE_ERROR(txn->Commit());
  return approvals;
}

// ---- The record's signature

// ECDSA signatures as openssl reads them: SEQUENCE of two INTEGERs.
Bytes DerOf(ByteView raw) {
  const auto integer = [](ByteView number) {
    while (number.size() > 1 && number.front() == 0) number = number.subspan(1);
    Bytes der{0x02, 0};
    if ((number.front() & 0x80) != 0) der.push_back(0);
    der.insert(der.end(), number.begin(), number.end());
    der[1] = static_cast<std::uint8_t>(der.size() - 2);
    return der;
  };
  const Bytes r = integer(raw.first(raw.size() / 2));
  const Bytes s = integer(raw.subspan(raw.size() / 2));
  Bytes der{0x30};
  if (r.size() + s.size() > 127) der.push_back(0x81);
  der.push_back(static_cast<std::uint8_t>(r.size() + s.size()));
  der.insert(der.end(), r.begin(), r.end());
  der.insert(der.end(), s.begin(), s.end());
  return der;
}

struct Signer {
  ObjectPtr object;
  Records::TokenPtr token;
};

Fallible<Signer> FindSigner(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call, "sign_with"));
  ASSIGN_OR_RETURN(const auto key, call.daemon().records.GetCmk(id));
  Signer signer;
  ASSIGN_OR_RETURN(signer.token, call.daemon().records.GetToken(key->token));
  STORE_OR_RETURN(const auto read, call.daemon().store.BeginRead());
  const store::Term of_key[] = {store::OfCmk(id)};
  STORE_OR_RETURN(const auto serials, read->FindObjects(key->token, of_key));
  for (const cmk::ObjectSerial serial : serials) {
    STORE_OR_RETURN(auto record, read->GetObject(serial));
    ObjectPtr object = DecodeObject(std::move(record));
    const bool signs = object->object_class == CKO_PRIVATE_KEY && object->attributes.Bool(CKA_SIGN) &&
                       (object->key_type == CKK_RSA || object->key_type == CKK_EC);
    if (signs && (!object->version || *object->version == key->current)) signer.object = std::move(object);
  }
  if (signer.object == nullptr)
    return Fail(CKR_ARGUMENTS_BAD, "records are signed with an RSA or EC key that may sign");
  return signer;
}

// With SHA-256, as `openssl dgst -sha256 -verify` checks it.
Fallible<Bytes> Sign(const AdminCall& call, const Signer& signer, std::string_view text) {
  ASSIGN_OR_RETURN(const Candidate with,
                   CurrentCandidate(call.invocation, *signer.object, cmk::Use::kProtect, Moment::kManage));
  ASSIGN_OR_RETURN(Backend * backend, call.daemon().backends.Of(*signer.token));
  const bool rsa = signer.object->key_type == CKK_RSA;
  CK_MECHANISM mechanism{rsa ? CKM_SHA256_RSA_PKCS : CKM_ECDSA, nullptr, 0};
  const Digest digest = Sha256(AsBytes(text));
  const ByteView input = rsa ? AsBytes(text) : ByteView(digest);
  RETURN_IF_ERROR(
      CountUse(call.invocation, *signer.object, with, cmk::Use::kProtect, mechanism.mechanism, input.size()));
  Bytes signature(1024);
  CK_ULONG length = signature.size();
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(with.name, with.material);
    if (!handle.ok()) return handle.error().rv;
    if (const CK_RV rv = device->C_SignInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
    length = signature.size();
    return device->C_Sign(lease.session(), const_cast<CK_BYTE_PTR>(input.data()), input.size(), signature.data(),
                          &length);
  }));
  signature.resize(length);
  return rsa ? signature : DerOf(signature);
}

// One line with all that is to be proved, ending the way text files do.
std::string RecordText(const AdminCall& call, const cmk::Cmk& key, const store::TokenRecord& token,
                       const Approvals& approvals, const std::string& reason) {
  const Json record = {{"record", "cmkd destruction 1"},
                       {"store", call.daemon().store.id().ToHex()},
                       {"token", token.label},
                       {"hsm", token.hsm},
                       {"key", key.id.ToHex()},
                       {"name", key.name},
                       {"spec", key.spec},
                       {"versions", key.versions.size()},
                       {"created", TimeText(key.created)},
                       {"destroyed", TimeOrNull(key.dates.destroyed_at)},
                       {"reason", reason},
                       {"approved_by", approvals.users}};
  return record.dump() + "\n";
}

Fallible<Json> DestroyNow(const AdminCall& call) {
  Daemon& daemon = call.daemon();
  const std::uint32_t needed = daemon.config.tokens.destroy_now_approvals;
  if (needed == 0) return Fail(CKR_ACTION_PROHIBITED, "destroy_now_approvals is 0: keys always wait", spec::kDenied);
  ASSIGN_OR_RETURN(const std::string reason, TextArgument(call.arguments, "reason"));
  if (reason.empty() || reason.size() > kReasonBytesMax) return Fail(CKR_ARGUMENTS_BAD, "a reason has 1 to 512 bytes");
  ASSIGN_OR_RETURN(const Signer signer, FindSigner(call));
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  if (signer.object->cmk == id) return Fail(CKR_ARGUMENTS_BAD, "a key does not sign the record of its own end");
  ASSIGN_OR_RETURN(auto key, daemon.records.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, daemon.records.GetToken(key->token));
  const bool gone_already = key->state == cmk::CmkState::kDestroyed;
  if (!gone_already) RETURN_IF_ERROR(daemon.custodian.CheckDestroyNow(*key));
  if (call.request.dry_run) return Json{{"needed", needed}, {"destroyed", gone_already}};
  call.WillChange();
  ASSIGN_OR_RETURN(const Approvals approvals, Approve(call, id, reason));
  call.invocation.audit_text += " approval " + std::to_string(approvals.users.size()) + " of " + std::to_string(needed);
  call.invocation.alarm = true;
  Json answer = {{"approvals", approvals.users.size()}, {"needed", needed}, {"destroyed", false}};
  if (approvals.users.size() < needed) return answer;
  if (!gone_already) {
    // What cannot be proved afterwards is not begun.
    ASSIGN_OR_RETURN([[maybe_unused]] const Bytes trial, Sign(call, signer, "cmkd: a trial signature\n"));
    ASSIGN_OR_RETURN([[maybe_unused]] const cmk::Cmk done, daemon.custodian.DestroyNow(id));
  }
  ASSIGN_OR_RETURN(key, daemon.records.GetCmk(id));
  if (key->state != cmk::CmkState::kDestroyed)
    return Fail(CKR_DEVICE_ERROR, "the destruction has begun; when the HSM has answered, ask again for the record",
                spec::kHsmUnavailable);
  const std::string record = RecordText(call, *key, *token, approvals, reason);
  ASSIGN_OR_RETURN(const Bytes signature, Sign(call, signer, record));
  call.invocation.audit_text += ", destroyed, record " + Hex(Sha256(AsBytes(record)));
  answer["destroyed"] = true;
  answer["record"] = record;
  answer["signature"] = Hex(signature);
  return answer;
}

constexpr Verb kVerbs[] = {{"key.destroy-now", &DestroyNow, false, true}};

}  // namespace

std::span<const Verb> DestroyVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
