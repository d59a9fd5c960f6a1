// The survey crosses a pipe from the child that took it, as plain structs.
#include "conformance/survey.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

std::string Because(const char* call, CK_RV rv) { return std::string(call) + " gives " + spec::ReturnValueName(rv); }

Result<std::vector<CK_SLOT_ID>, std::string> Slots(const Module& module) {
  CK_ULONG count = 0;
  CK_RV rv = module->C_GetSlotList(CK_TRUE, nullptr, &count);
  std::vector<CK_SLOT_ID> slots(count);
  if (rv == CKR_OK && count > 0) rv = module->C_GetSlotList(CK_TRUE, slots.data(), &count);
  if (rv != CKR_OK) return Failure{Because("C_GetSlotList", rv)};
  slots.resize(count);
  return slots;
}

Result<std::vector<Offer>, std::string> Offers(const Module& module, CK_SLOT_ID slot) {
  CK_ULONG count = 0;
  CK_RV rv = module->C_GetMechanismList(slot, nullptr, &count);
  std::vector<CK_MECHANISM_TYPE> types(count);
  if (rv == CKR_OK) rv = module->C_GetMechanismList(slot, types.data(), &count);
  if (rv != CKR_OK) return Failure{Because("C_GetMechanismList", rv)};
  types.resize(count);
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  std::vector<Offer> offers;
  for (const CK_MECHANISM_TYPE type : types) {
    Offer offer{type, {}, CKR_OK, spec::FindMechanism(type)};
    offer.info_rv = module->C_GetMechanismInfo(slot, type, &offer.info);
    offers.push_back(offer);
  }
  return offers;
}

// What precedes the mechanisms in the pipe; a text follows instead of them when there is no survey.
struct Head {
  bool ok;
  CK_VERSION list_version;
  CK_INFO info;
  CK_TOKEN_INFO token;
  std::size_t follows;  // mechanisms, or bytes of text
};

void Send(int to, const void* data, std::size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t done = ::write(to, at, size);
    if (done <= 0) return;
    at += done;
    size -= static_cast<std::size_t>(done);
  }
}

bool Receive(int from, void* data, std::size_t size) {
  for (char* at = static_cast<char*>(data); size > 0;) {
    const ssize_t done = ::read(from, at, size);
    if (done <= 0) return false;
    at += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

void SendSurvey(int to, const Result<Survey, std::string>& survey) {
  Head head{};
  head.ok = survey.ok();
  if (!survey.ok()) {
    head.follows = survey.error().size();
    Send(to, &head, sizeof head);
    return Send(to, survey.error().data(), head.follows);
  }
  head.list_version = survey->list_version;
  head.info = survey->info;
  head.token = survey->token;
  head.follows = survey->mechanisms.size();
  Send(to, &head, sizeof head);
  Send(to, survey->mechanisms.data(), head.follows * sizeof(Offer));
}

Result<Survey, std::string> ReceiveSurvey(int from) {
  Head head{};
  if (!Receive(from, &head, sizeof head)) return Failure{std::string("the module ends the process that loads it")};
  if (!head.ok) {
    std::string text(head.follows, ' ');
    (void)Receive(from, text.data(), text.size());
    return Failure{text};
  }
  Survey survey{head.list_version, head.info, head.token, std::vector<Offer>(head.follows)};
  if (!Receive(from, survey.mechanisms.data(), head.follows * sizeof(Offer)))
    return Failure{std::string("the module ends the process that asks it")};
  for (Offer& offer : survey.mechanisms) offer.row = spec::FindMechanism(offer.type);
  return survey;
}

// Mechanisms of the referees that are not in the table: named in reports, not tried.
const std::map<CK_MECHANISM_TYPE, std::string>& OtherNames() {
  static const std::map<CK_MECHANISM_TYPE, std::string> names = {
#define CMKD_OTHER(name) {CKM_##name, "CKM_" #name},
      CMKD_OTHER(RC2_KEY_GEN) CMKD_OTHER(RC2_ECB) CMKD_OTHER(RC2_CBC) CMKD_OTHER(RC2_MAC) CMKD_OTHER(RC2_MAC_GENERAL)
          CMKD_OTHER(RC2_CBC_PAD) CMKD_OTHER(RC4_KEY_GEN) CMKD_OTHER(RC4) CMKD_OTHER(DES_KEY_GEN) CMKD_OTHER(DES_ECB)
              CMKD_OTHER(DES_CBC) CMKD_OTHER(DES_MAC) CMKD_OTHER(DES_MAC_GENERAL) CMKD_OTHER(DES_CBC_PAD)
                  CMKD_OTHER(MD2) CMKD_OTHER(MD2_RSA_PKCS) CMKD_OTHER(MD2_HMAC) CMKD_OTHER(MD2_HMAC_GENERAL)
                      CMKD_OTHER(CDMF_KEY_GEN) CMKD_OTHER(RC5_KEY_GEN) CMKD_OTHER(RC5_ECB) CMKD_OTHER(RC5_CBC)
                          CMKD_OTHER(RC5_CBC_PAD) CMKD_OTHER(RC5_MAC) CMKD_OTHER(RC5_MAC_GENERAL)
#undef CMKD_OTHER
  };
  return names;
}

}  // namespace

const Offer* Survey::Find(CK_MECHANISM_TYPE type) const {
  const auto at =
      std::find_if(mechanisms.begin(), mechanisms.end(), [&](const Offer& offer) { return offer.type == type; });
  return at == mechanisms.end() ? nullptr : &*at;
}

bool Survey::Offers(CK_MECHANISM_TYPE type, CK_FLAGS operations) const {
  const Offer* offer = Find(type);
  return offer != nullptr && offer->Does(operations);
}

std::string MechanismName(CK_MECHANISM_TYPE type) {
  if (const spec::MechanismRow* row = spec::FindMechanism(type)) return std::string(row->name);
  const auto other = OtherNames().find(type);
  if (other != OtherNames().end()) return other->second;
  char text[32];
  std::snprintf(text, sizeof text, "0x%08lX", type);
  return text;
}

Result<CK_SLOT_ID, std::string> FindSlot(const Module& module, const std::string& label) {
  ASSIGN_OR_RETURN(const std::vector<CK_SLOT_ID> slots, Slots(module));
  std::string padded = label;
  padded.resize(sizeof(CK_TOKEN_INFO::label), ' ');
  for (const CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info{};
    if (module->C_GetTokenInfo(slot, &info) == CKR_OK && std::memcmp(info.label, padded.data(), padded.size()) == 0 &&
        (info.flags & CKF_TOKEN_INITIALIZED) != 0)
      return slot;
  }
  return Failure{"there is no token \"" + label + "\""};
}

Result<Survey, std::string> TakeSurvey(const Module& module, const Settings& settings) {
  const CK_RV rv = Initialise(module, settings);
  if (rv != CKR_OK) return Failure{Because("C_Initialize", rv)};
  Survey survey;
  survey.list_version = module.version();
  (void)module->C_GetInfo(&survey.info);
  ASSIGN_OR_RETURN(const CK_SLOT_ID slot, FindSlot(module, settings.token));
  (void)module->C_GetTokenInfo(slot, &survey.token);
  ASSIGN_OR_RETURN(survey.mechanisms, Offers(module, slot));
  (void)module->C_Finalize(nullptr);
  return survey;
}

Result<Survey, std::string> SurveyInChild(const Settings& settings) {
  int ends[2];
  if (::pipe(ends) != 0) return Failure{std::string("no pipe")};
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    auto module = Module::Load(settings.module);
    SendSurvey(ends[1], module.ok() ? TakeSurvey(*module, settings) : Failure{module.error()});
    ::_exit(0);
  }
  ::close(ends[1]);
  auto survey = ReceiveSurvey(ends[0]);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return survey;
}

}  // namespace cmkd::conformance
