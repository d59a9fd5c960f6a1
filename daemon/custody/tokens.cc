// The custodian's changes of tokens: reserved, set, initialised, and their PINs.
#include <algorithm>

#include "daemon/config/config.h"
#include "daemon/custody/steps.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

// A token serial number: 16 hexadecimal characters, unique by chance and never changed (consumers keep it).
std::string NewSerial() {
  const Id16 random = RandomId();
  return Hex({random.data(), 8});
}

store::PinRecord& Of(store::TokenRecord& token, Pin pin) { return pin == Pin::kSo ? token.so_pin : token.user_pin; }

}  // namespace

Fallible<store::TokenRecord> Custodian::MakeToken(store::WriteTxn& txn, cmk::TokenProfile profile,
                                                  const std::string& hsm) {
  store::TokenRecord token;
  token.id = NewId<cmk::TokenId>();
  STORE_OR_RETURN(token.slot, txn.NextSlot());
  token.serial = NewSerial();
  token.profile = profile;
  token.bounds = config_.bounds_profile;
  token.hsm = hsm;
  token.created = clock_.Now();
  if (profile == cmk::TokenProfile::kManaged) {
    token.deletion_window = Days(config_.deletion_window_days);
    token.version_quiet = Days(config_.version_quiet_days);
  }
  return token;
}

Fallible<store::TokenRecord> Custodian::ReserveToken(const std::string& label, cmk::TokenProfile profile,
                                                     const std::string& hsm, const RequestName& request) {
  ASSIGN_OR_RETURN([[maybe_unused]] Backend * backend, backends_.Get(hsm));
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.create"));
  ASSIGN_OR_RETURN(const auto before, Earlier(*txn, request, clock_.Now()));
  STORE_OR_RETURN(const auto tokens, txn->ListTokens());
  for (const store::TokenRecord& other : tokens) {
    if (other.label != label) continue;
    if (before) {
      RETURN_IF_STORE_ERROR(txn->Commit());
      return other;
    }
    return Fail(CKR_ARGUMENTS_BAD, "a token has this label already", spec::kNameTaken);
  }
  ASSIGN_OR_RETURN(store::TokenRecord token, MakeToken(*txn, profile, hsm));
  token.label = label;
  RETURN_IF_ERROR(Remember(*txn, request, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  if (request.dry_run) return token;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return token;
}

Fallible<store::TokenRecord> Custodian::SetToken(const cmk::TokenId& id, const TokenSettings& settings,
                                                 const RequestName& request) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.set"));
  ASSIGN_OR_RETURN(const auto before, Earlier(*txn, request, clock_.Now()));
  STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
  if (before) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return token;
  }
  const cmk::Bounds bounds = BoundsOf(token);
  const auto within = [](const std::optional<Duration>& wanted, Duration least, Duration most) {
    return !wanted || (*wanted >= least && *wanted <= most);
  };
  if (!within(settings.deletion_window, bounds.window_min, bounds.window_max))
    return Translate(cmk::Refusal::kWindowOutOfBounds, Moment::kManage);
  if (!within(settings.version_quiet, bounds.quiet_min, bounds.quiet_max))
    return Translate(cmk::Refusal::kQuietTimeOutOfBounds, Moment::kManage);
  if (settings.deletion_window) token.deletion_window = settings.deletion_window;
  if (settings.version_quiet) token.version_quiet = settings.version_quiet;
  if (settings.disable_first) token.disable_first = settings.disable_first;
  RETURN_IF_ERROR(Remember(*txn, request, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  if (request.dry_run) return token;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return token;
}

Status Custodian::WipeToken(store::WriteTxn& txn, const store::TokenRecord& token, std::vector<cmk::Cmk>& destroyed) {
  STORE_OR_RETURN(destroyed, txn.ListCmksOfToken(token.id, {}, store::kNoLimit));
  const bool managed = token.profile == cmk::TokenProfile::kManaged;
  for (const cmk::Cmk& key : destroyed) {
    if (managed && key.state != cmk::CmkState::kDestroyed) {
      return Fail(CKR_TOKEN_WRITE_PROTECTED,
                  "a managed token with keys cannot be initialised: that would go round every deletion window");
    }
  }
  STORE_OR_RETURN(const auto serials, txn.FindObjects(token.id, {}));
  for (const cmk::ObjectSerial serial : serials) RETURN_IF_STORE_ERROR(txn.DeleteObject(serial));
  if (managed) {
    destroyed.clear();  // tombstones stay
    return {};
  }
  for (const cmk::Cmk& key : destroyed) RETURN_IF_STORE_ERROR(txn.DeleteCmk(key.id));
  return {};
}

Status Custodian::InitToken(CK_SLOT_ID slot, const std::string& label, Bytes so_verifier) {
  cmk::TokenId id;
  std::vector<cmk::Cmk> destroyed;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.init"));
    STORE_OR_RETURN(const auto tokens, txn->ListTokens());
    const auto found =
        std::find_if(tokens.begin(), tokens.end(), [&](const auto& token) { return token.slot == slot; });
    store::TokenRecord token;
    if (found != tokens.end()) {
      token = *found;
      RETURN_IF_ERROR(WipeToken(*txn, token, destroyed));
      if (!destroyed.empty()) NoteDestroyed(token);
    } else {
      STORE_OR_RETURN(const auto meta, txn->ReadMeta());
      if (slot != meta.next_slot || !config_.create_by_init_token) return Fail(CKR_SLOT_ID_INVALID, "no such slot");
      ASSIGN_OR_RETURN(token, MakeToken(*txn, config_.default_profile, config_.default_hsm));
    }
    token.label = label;
    const std::uint32_t generation = token.so_pin.generation + 1;
    token.so_pin = {.verifier = std::move(so_verifier), .failures = 0, .generation = generation, .retry_after = {}};
    token.user_pin = {.verifier = {}, .failures = 0, .generation = token.user_pin.generation + 1, .retry_after = {}};
    id = token.id;
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
  }
  for (const cmk::Cmk& key : destroyed) (void)DropMaterial(id, key, true);
  return EnsureWrappingKey(id);
}

Status Custodian::EditToken(const char* label, const cmk::TokenId& id,
                            const std::function<void(store::TokenRecord&)>& edit) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite(label));
  STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
  edit(token);
  RETURN_IF_STORE_ERROR(txn->PutToken(token));
  RETURN_IF_STORE_ERROR(txn->Commit());
  urgent_ = true;
  return {};
}

Status Custodian::SetPin(const cmk::TokenId& token, Pin pin, Bytes verifier) {
  return EditToken("token.pin", token, [&](store::TokenRecord& t) {
    store::PinRecord& record = Of(t, pin);
    record = {.verifier = std::move(verifier), .failures = 0, .generation = record.generation + 1, .retry_after = {}};
  });
}

Status Custodian::CountFailure(const cmk::TokenId& token, Pin pin) {
  return EditToken("token.pin-failure", token, [&](store::TokenRecord& t) { ++Of(t, pin).failures; });
}

Status Custodian::ForgetFailures(const cmk::TokenId& token, Pin pin) {
  return EditToken("token.pin-success", token, [&](store::TokenRecord& t) { Of(t, pin).failures = 0; });
}

}  // namespace cmkd::daemon
