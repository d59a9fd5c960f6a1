// Slot and token management (PKCS#11 3.2 section 5.5). What changes a token works on one of its own, made in a slot
// whose token is not initialised; modules without such a slot do not offer that.
#include <algorithm>
#include <cstring>
#include <optional>

#include "conformance/plan.h"

namespace cmkd::conformance {
namespace {

constexpr char kScratchLabel[] = "conformance scratch";
const std::string kScratchSoPin = "scratch-so-1234";
const std::string kScratchPin = "scratch-user-12";

bool IsPadded(const CK_UTF8CHAR* text, std::size_t size) { return std::memchr(text, 0, size) == nullptr; }

std::vector<CK_SLOT_ID> AllSlots(Trial& t, CK_BBOOL present) {
  CK_ULONG count = 0;
  if (!WANT(t, CKR_OK, t.p11->C_GetSlotList(present, nullptr, &count))) return {};
  std::vector<CK_SLOT_ID> slots(count);
  if (count > 0 && !WANT(t, CKR_OK, t.p11->C_GetSlotList(present, slots.data(), &count))) return {};
  slots.resize(count);
  return slots;
}

CK_SLOT_ID NoSlot(Trial& t) {
  CK_SLOT_ID none = 0x7ead0000;
  for (const CK_SLOT_ID slot : AllSlots(t, CK_FALSE)) none = std::max(none, slot + 1000);
  return none;
}

void AddSlots(Plan& plan) {
  plan.Chapter("slot and token", Stage::kInitialised);
  plan.Add("C_GetSlotList", "count-then-list", [](Trial& t) {
    const auto all = AllSlots(t, CK_FALSE);
    const auto present = AllSlots(t, CK_TRUE);
    t.Check(!present.empty(), "there is a token");
    for (const CK_SLOT_ID slot : present)
      t.Check(std::find(all.begin(), all.end(), slot) != all.end(), "a slot with a token is a slot");
  });
  plan.Add("C_GetSlotList", "buffer-too-small", [](Trial& t) {
    const auto all = AllSlots(t, CK_TRUE);
    CK_ULONG count = all.size() - 1;
    std::vector<CK_SLOT_ID> slots(all.size());
    WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_GetSlotList(CK_TRUE, slots.data(), &count));
    t.Check(count == all.size(), "the count is set to what is needed");
  });
  plan.Add("C_GetSlotList", "larger-buffer", [](Trial& t) {
    const auto all = AllSlots(t, CK_TRUE);
    CK_ULONG count = all.size() + 10;
    std::vector<CK_SLOT_ID> slots(count);
    WANT(t, CKR_OK, t.p11->C_GetSlotList(CK_TRUE, slots.data(), &count));
    t.Check(count == all.size(), "the count is set to what there is");
  });
  plan.Add("C_GetSlotList", "null-count",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetSlotList(CK_TRUE, nullptr, nullptr)); });
  plan.Add("C_GetSlotInfo", "is-well-formed", [](Trial& t) {
    CK_SLOT_INFO info;
    std::memset(&info, 0, sizeof info);
    NEED(t, CKR_OK, t.p11->C_GetSlotInfo(t.slot, &info));
    t.Check((info.flags & CKF_TOKEN_PRESENT) != 0, "the slot has its token");
    t.Check((info.flags & ~CK_FLAGS{CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE | CKF_HW_SLOT}) == 0,
            "only flags of the standard");
    t.Check(IsPadded(info.slotDescription, sizeof info.slotDescription), "slotDescription is padded with blanks");
    t.Check(IsPadded(info.manufacturerID, sizeof info.manufacturerID), "manufacturerID is padded with blanks");
  });
  plan.Add("C_GetSlotInfo", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetSlotInfo(t.slot, nullptr)); });
  plan.Add("C_GetSlotInfo", "invalid-slot", [](Trial& t) {
    CK_SLOT_INFO info{};
    WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_GetSlotInfo(NoSlot(t), &info));
  });
  plan.Add("C_GetTokenInfo", "is-well-formed", [](Trial& t) {
    CK_TOKEN_INFO info;
    std::memset(&info, 0, sizeof info);
    NEED(t, CKR_OK, t.p11->C_GetTokenInfo(t.slot, &info));
    t.Check((info.flags & CKF_TOKEN_INITIALIZED) != 0, "the token is initialised");
    t.Check((info.flags & CKF_USER_PIN_INITIALIZED) != 0, "the user PIN is set");
    t.Check(info.ulMinPinLen <= info.ulMaxPinLen, "the shortest PIN is not longer than the longest");
    t.Check(IsPadded(info.label, sizeof info.label), "label is padded with blanks");
    t.Check(IsPadded(info.manufacturerID, sizeof info.manufacturerID), "manufacturerID is padded with blanks");
    t.Check(IsPadded(info.model, sizeof info.model), "model is padded with blanks");
    t.Check(IsPadded(info.serialNumber, sizeof info.serialNumber), "serialNumber is padded with blanks");
  });
  plan.Add("C_GetTokenInfo", "counts-sessions", [](Trial& t) {
    CK_TOKEN_INFO before{}, after{};
    NEED(t, CKR_OK, t.p11->C_GetTokenInfo(t.slot, &before));
    if (before.ulSessionCount == CK_UNAVAILABLE_INFORMATION) return;
    t.OpenSession();
    t.OpenSession(0);
    NEED(t, CKR_OK, t.p11->C_GetTokenInfo(t.slot, &after));
    t.Check(after.ulSessionCount == before.ulSessionCount + 2, "ulSessionCount counts sessions");
    if (after.ulRwSessionCount != CK_UNAVAILABLE_INFORMATION)
      t.Check(after.ulRwSessionCount == before.ulRwSessionCount + 1, "ulRwSessionCount counts read/write sessions");
  });
  plan.Add("C_GetTokenInfo", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetTokenInfo(t.slot, nullptr)); });
  plan.Add("C_GetTokenInfo", "invalid-slot", [](Trial& t) {
    CK_TOKEN_INFO info{};
    WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_GetTokenInfo(NoSlot(t), &info));
  });
  plan.Add("C_WaitForSlotEvent", "no-event", [](Trial& t) {
    CK_SLOT_ID slot = 0;
    CK_RV rv = CKR_OK;
    // Events that are waiting come first.
    for (int i = 0; i < 20 && rv == CKR_OK; ++i) rv = t.p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr);
    t.Expect(rv, {CKR_NO_EVENT}, "C_WaitForSlotEvent");
  });
}

void AddMechanisms(Plan& plan) {
  plan.Chapter("slot and token", Stage::kInitialised);
  plan.Add("C_GetMechanismList", "buffer-too-small", [](Trial& t) {
    CK_ULONG count = 0;
    NEED(t, CKR_OK, t.p11->C_GetMechanismList(t.slot, nullptr, &count));
    std::vector<CK_MECHANISM_TYPE> list(count);
    CK_ULONG room = count - 1;
    WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_GetMechanismList(t.slot, list.data(), &room));
    t.Check(room == count, "the count is set to what is needed");
  });
  plan.Add("C_GetMechanismList", "no-mechanism-twice", [](Trial& t) {
    CK_ULONG count = 0;
    NEED(t, CKR_OK, t.p11->C_GetMechanismList(t.slot, nullptr, &count));
    std::vector<CK_MECHANISM_TYPE> list(count);
    NEED(t, CKR_OK, t.p11->C_GetMechanismList(t.slot, list.data(), &count));
    std::sort(list.begin(), list.end());
    const auto twice = std::adjacent_find(list.begin(), list.end());
    t.Check(twice == list.end(), twice == list.end() ? "" : MechanismName(*twice) + " is listed once");
  });
  plan.Add("C_GetMechanismList", "null-count",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetMechanismList(t.slot, nullptr, nullptr)); });
  plan.Add("C_GetMechanismList", "invalid-slot", [](Trial& t) {
    CK_ULONG count = 0;
    WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_GetMechanismList(NoSlot(t), nullptr, &count));
  });
  plan.Add("C_GetMechanismInfo", "unknown-mechanism", [](Trial& t) {
    CK_MECHANISM_INFO info{};
    WANT(t, CKR_MECHANISM_INVALID, t.p11->C_GetMechanismInfo(t.slot, CKM_VENDOR_DEFINED | 0x7654321, &info));
  });
  plan.Add("C_GetMechanismInfo", "invalid-slot", [](Trial& t) {
    CK_MECHANISM_INFO info{};
    WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_GetMechanismInfo(NoSlot(t), CKM_SHA256, &info));
  });
  plan.Add("C_GetMechanismInfo", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetMechanismInfo(t.slot, CKM_SHA256, nullptr)); });
  for (const Offer& offer : plan.survey().mechanisms) {
    plan.AddFor(MechanismName(offer.type), "C_GetMechanismInfo", "is-well-formed", [offer](Trial& t) {
      CK_MECHANISM_INFO info{};
      NEED(t, CKR_OK, t.p11->C_GetMechanismInfo(t.slot, offer.type, &info));
      t.Check(info.ulMinKeySize <= info.ulMaxKeySize, "the smallest key is not larger than the largest");
      // A mechanism may do less than the table knows, and more only by accident.
      constexpr CK_FLAGS kDoes = CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_SIGN_RECOVER | CKF_VERIFY |
                                 CKF_VERIFY_RECOVER | CKF_GENERATE | CKF_GENERATE_KEY_PAIR | CKF_WRAP | CKF_UNWRAP |
                                 CKF_DERIVE | CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MESSAGE_SIGN |
                                 CKF_MESSAGE_VERIFY | CKF_ENCAPSULATE | CKF_DECAPSULATE;
      t.Check((info.flags & kDoes) != 0, "a mechanism does something");
    });
  }
}

// ---- C_InitToken, C_InitPIN, C_SetPIN

std::string PaddedLabel() {
  std::string label = kScratchLabel;
  label.resize(32, ' ');
  return label;
}

// A slot whose token is not initialised.
std::optional<CK_SLOT_ID> EmptyToken(Trial& t) {
  for (const CK_SLOT_ID slot : AllSlots(t, CK_TRUE)) {
    CK_TOKEN_INFO info{};
    if (t.p11->C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) == 0) return slot;
  }
  return std::nullopt;
}

// The token for these cases, made when it is first asked for; with a user PIN. Without one the case says so.
std::optional<CK_SLOT_ID> Scratch(Trial& t) {
  if (const auto there = FindSlot(t.p11, kScratchLabel); there.ok()) return *there;
  const auto empty = EmptyToken(t);
  if (!empty) {
    t.NotOffered("there is no slot with a token that is not initialised");
    return std::nullopt;
  }
  const std::string label = PaddedLabel();
  if (!WANT(t, CKR_OK, t.p11->C_InitToken(*empty, Ptr(kScratchSoPin), kScratchSoPin.size(), Ptr(label))))
    return std::nullopt;
  const auto made = FindSlot(t.p11, kScratchLabel);
  if (!t.Check(made.ok(), "C_InitToken makes a token with that label")) return std::nullopt;
  CK_SESSION_HANDLE session = 0;
  const bool ready =
      WANT(t, CKR_OK, t.p11->C_OpenSession(*made, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session)) &&
      WANT(t, CKR_OK, t.Login(session, CKU_SO, kScratchSoPin)) &&
      WANT(t, CKR_OK, t.p11->C_InitPIN(session, Ptr(kScratchPin), kScratchPin.size()));
  (void)t.p11->C_CloseAllSessions(*made);
  return ready ? std::optional(*made) : std::nullopt;
}

// A case on the scratch token, with a read/write session.
std::function<void(Trial&)> OnScratch(std::function<void(Trial&, CK_SLOT_ID, CK_SESSION_HANDLE)> body) {
  return [body](Trial& t) {
    const auto slot = Scratch(t);
    if (!slot) return;
    CK_SESSION_HANDLE session = 0;
    NEED(t, CKR_OK, t.p11->C_OpenSession(*slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session));
    body(t, *slot, session);
    (void)t.p11->C_CloseAllSessions(*slot);
  };
}

using Slot = CK_SLOT_ID;
using Session = CK_SESSION_HANDLE;

void AddTokenChanges(Plan& plan) {
  plan.Chapter("slot and token", Stage::kInitialised);
  plan.Add("C_InitToken", "makes-a-token", OnScratch([](Trial& t, Slot slot, Session) {
             CK_TOKEN_INFO info{};
             NEED(t, CKR_OK, t.p11->C_GetTokenInfo(slot, &info));
             t.Check((info.flags & CKF_TOKEN_INITIALIZED) != 0, "the token is initialised");
             t.Check((info.flags & CKF_USER_PIN_INITIALIZED) != 0, "C_InitPIN sets the user's PIN");
           }));
  plan.Add("C_InitToken", "session-exists", OnScratch([](Trial& t, Slot slot, Session) {
             const std::string label = PaddedLabel();
             WANT(t, CKR_SESSION_EXISTS,
                  t.p11->C_InitToken(slot, Ptr(kScratchSoPin), kScratchSoPin.size(), Ptr(label)));
           }));
  plan.Add("C_InitToken", "wrong-so-pin", OnScratch([](Trial& t, Slot slot, Session) {
             const std::string label = PaddedLabel(), wrong = "not the SO PIN";
             NEED(t, CKR_OK, t.p11->C_CloseAllSessions(slot));
             WANT(t, CKR_PIN_INCORRECT, t.p11->C_InitToken(slot, Ptr(wrong), wrong.size(), Ptr(label)));
           }));
  plan.Add("C_InitToken", "destroys-objects-and-user-pin", OnScratch([](Trial& t, Slot slot, Session session) {
             NEED(t, CKR_OK, t.Login(session, CKU_USER, kScratchPin));
             Template data;
             data.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false).Text(CKA_VALUE, "x");
             CK_OBJECT_HANDLE object = 0;
             NEED(t, CKR_OK, t.p11->C_CreateObject(session, data.data(), data.size(), &object));
             NEED(t, CKR_OK, t.p11->C_CloseAllSessions(slot));
             const std::string label = PaddedLabel();
             NEED(t, CKR_OK, t.p11->C_InitToken(slot, Ptr(kScratchSoPin), kScratchSoPin.size(), Ptr(label)));
             const auto again = FindSlot(t.p11, kScratchLabel);
             if (!t.Check(again.ok(), "the token is there again")) return;
             CK_TOKEN_INFO info{};
             NEED(t, CKR_OK, t.p11->C_GetTokenInfo(*again, &info));
             t.Check((info.flags & CKF_USER_PIN_INITIALIZED) == 0, "the user PIN is gone");
             NEED(t, CKR_OK,
                  t.p11->C_OpenSession(*again, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session));
             WANT(t, CKR_USER_PIN_NOT_INITIALIZED, t.Login(session, CKU_USER, kScratchPin));
             NEED(t, CKR_OK, t.p11->C_FindObjectsInit(session, nullptr, 0));
             CK_ULONG found = 99;
             WANT(t, CKR_OK, t.p11->C_FindObjects(session, &object, 1, &found));
             t.Check(found == 0, "the objects are gone");
             WANT(t, CKR_OK, t.p11->C_FindObjectsFinal(session));
             NEED(t, CKR_OK, t.Login(session, CKU_SO, kScratchSoPin));
             WANT(t, CKR_OK, t.p11->C_InitPIN(session, Ptr(kScratchPin), kScratchPin.size()));
             (void)t.p11->C_CloseAllSessions(*again);
           }));
  plan.Add("C_InitPIN", "not-so", OnScratch([](Trial& t, Slot, Session session) {
             WANT(t, CKR_USER_NOT_LOGGED_IN, t.p11->C_InitPIN(session, Ptr(kScratchPin), kScratchPin.size()));
             NEED(t, CKR_OK, t.Login(session, CKU_USER, kScratchPin));
             WANT(t, CKR_USER_NOT_LOGGED_IN, t.p11->C_InitPIN(session, Ptr(kScratchPin), kScratchPin.size()));
           }));
  plan.Add("C_InitPIN", "pin-length", OnScratch([](Trial& t, Slot slot, Session session) {
             CK_TOKEN_INFO info{};
             NEED(t, CKR_OK, t.p11->C_GetTokenInfo(slot, &info));
             NEED(t, CKR_OK, t.Login(session, CKU_SO, kScratchSoPin));
             const std::string pin(info.ulMaxPinLen + 1, '1');
             WANT_ONE(t, (CKR_PIN_LEN_RANGE, CKR_PIN_INVALID), t.p11->C_InitPIN(session, Ptr(pin), pin.size()));
             if (info.ulMinPinLen > 1)
               WANT_ONE(t, (CKR_PIN_LEN_RANGE, CKR_PIN_INVALID),
                        t.p11->C_InitPIN(session, Ptr(pin), info.ulMinPinLen - 1));
           }));
  plan.Add("C_InitPIN", "resets-the-user-pin", OnScratch([](Trial& t, Slot slot, Session session) {
             const std::string other = "another-pin-99";
             NEED(t, CKR_OK, t.Login(session, CKU_SO, kScratchSoPin));
             NEED(t, CKR_OK, t.p11->C_InitPIN(session, Ptr(other), other.size()));
             NEED(t, CKR_OK, t.p11->C_Logout(session));
             WANT(t, CKR_PIN_INCORRECT, t.Login(session, CKU_USER, kScratchPin));
             WANT(t, CKR_OK, t.Login(session, CKU_USER, other));
             (void)t.p11->C_Logout(session);
             (void)t.Login(session, CKU_SO, kScratchSoPin);
             WANT(t, CKR_OK, t.p11->C_InitPIN(session, Ptr(kScratchPin), kScratchPin.size()));
             (void)slot;
           }));
  plan.Add("C_SetPIN", "changes-the-user-pin", OnScratch([](Trial& t, Slot, Session session) {
             const std::string other = "another-pin-99";
             NEED(t, CKR_OK, t.Login(session, CKU_USER, kScratchPin));
             NEED(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(kScratchPin), kScratchPin.size(), Ptr(other), other.size()));
             NEED(t, CKR_OK, t.p11->C_Logout(session));
             WANT(t, CKR_PIN_INCORRECT, t.Login(session, CKU_USER, kScratchPin));
             NEED(t, CKR_OK, t.Login(session, CKU_USER, other));
             WANT(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(other), other.size(), Ptr(kScratchPin), kScratchPin.size()));
           }));
  plan.Add("C_SetPIN", "without-login-it-is-the-users", OnScratch([](Trial& t, Slot, Session session) {
             const std::string other = "another-pin-99";
             NEED(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(kScratchPin), kScratchPin.size(), Ptr(other), other.size()));
             WANT(t, CKR_OK, t.Login(session, CKU_USER, other));
             WANT(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(other), other.size(), Ptr(kScratchPin), kScratchPin.size()));
           }));
  plan.Add(
      "C_SetPIN", "changes-the-so-pin", OnScratch([](Trial& t, Slot, Session session) {
        const std::string other = "another-so-pin-99";
        NEED(t, CKR_OK, t.Login(session, CKU_SO, kScratchSoPin));
        NEED(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(kScratchSoPin), kScratchSoPin.size(), Ptr(other), other.size()));
        NEED(t, CKR_OK, t.p11->C_Logout(session));
        WANT(t, CKR_PIN_INCORRECT, t.Login(session, CKU_SO, kScratchSoPin));
        NEED(t, CKR_OK, t.Login(session, CKU_SO, other));
        WANT(t, CKR_OK, t.p11->C_SetPIN(session, Ptr(other), other.size(), Ptr(kScratchSoPin), kScratchSoPin.size()));
      }));
  plan.Add("C_SetPIN", "wrong-old-pin", OnScratch([](Trial& t, Slot, Session session) {
             const std::string wrong = "not the PIN at all", other = "another-pin-99";
             NEED(t, CKR_OK, t.Login(session, CKU_USER, kScratchPin));
             WANT(t, CKR_PIN_INCORRECT, t.p11->C_SetPIN(session, Ptr(wrong), wrong.size(), Ptr(other), other.size()));
             NEED(t, CKR_OK, t.p11->C_Logout(session));
             WANT(t, CKR_OK, t.Login(session, CKU_USER, kScratchPin));
           }));
  plan.Add(
      "C_SetPIN", "read-only-session", OnScratch([](Trial& t, Slot slot, Session) {
        Session read_only = 0;
        NEED(t, CKR_OK, t.p11->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &read_only));
        WANT(t, CKR_SESSION_READ_ONLY,
             t.p11->C_SetPIN(read_only, Ptr(kScratchPin), kScratchPin.size(), Ptr(kScratchPin), kScratchPin.size()));
      }));
}

}  // namespace

void AddSlotAndToken(Plan& plan) {
  AddSlots(plan);
  AddMechanisms(plan);
  AddTokenChanges(plan);
}

}  // namespace cmkd::conformance
