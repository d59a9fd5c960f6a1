// Session management (PKCS#11 3.2 section 5.6): sessions, login, and which of the two ends with which.
#include "conformance/plan.h"

namespace cmkd::conformance {
namespace {

// CKS_LAST_VALIDATION_OK of 3.2.
constexpr CK_ULONG kLastValidationOk = 1;

CK_STATE StateOf(Trial& t, CK_SESSION_HANDLE session) {
  CK_SESSION_INFO info{};
  return WANT(t, CKR_OK, t.p11->C_GetSessionInfo(session, &info)) ? info.state : CK_UNAVAILABLE_INFORMATION;
}

void AddSessions(Plan& plan) {
  plan.Chapter("session", Stage::kInitialised);
  plan.Add("C_OpenSession", "read-write", [](Trial& t) {
    const CK_SESSION_HANDLE session = t.OpenSession();
    CK_SESSION_INFO info{};
    NEED(t, CKR_OK, t.p11->C_GetSessionInfo(session, &info));
    t.Check(info.slotID == t.slot, "the session is of the slot");
    t.Check(info.state == CKS_RW_PUBLIC_SESSION, "the state is CKS_RW_PUBLIC_SESSION");
    t.Check(info.flags == (CKF_SERIAL_SESSION | CKF_RW_SESSION), "the flags are those asked for");
  });
  plan.Add("C_OpenSession", "read-only", [](Trial& t) {
    const CK_SESSION_HANDLE session = t.OpenSession(0);
    CK_SESSION_INFO info{};
    NEED(t, CKR_OK, t.p11->C_GetSessionInfo(session, &info));
    t.Check(info.state == CKS_RO_PUBLIC_SESSION, "the state is CKS_RO_PUBLIC_SESSION");
    t.Check(info.flags == CKF_SERIAL_SESSION, "the flags are those asked for");
  });
  plan.Add("C_OpenSession", "not-serial", [](Trial& t) {
    CK_SESSION_HANDLE session = 0;
    WANT(t, CKR_SESSION_PARALLEL_NOT_SUPPORTED,
         t.p11->C_OpenSession(t.slot, CKF_RW_SESSION, nullptr, nullptr, &session));
  });
  plan.Add("C_OpenSession", "invalid-slot", [](Trial& t) {
    CK_SESSION_HANDLE session = 0;
    WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_OpenSession(0x7ead0007, CKF_SERIAL_SESSION, nullptr, nullptr, &session));
  });
  plan.Add("C_OpenSession", "null-handle", [](Trial& t) {
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_OpenSession(t.slot, CKF_SERIAL_SESSION, nullptr, nullptr, nullptr));
  });
  plan.Add("C_OpenSession", "handles-differ-and-are-not-zero", [](Trial& t) {
    std::vector<CK_SESSION_HANDLE> open;
    for (int i = 0; i < 100; ++i) {
      const CK_SESSION_HANDLE session = t.OpenSession(i % 2 == 0 ? CKF_RW_SESSION : 0);
      if (!t.Check(session != 0, "a handle is not 0")) return;
      for (const CK_SESSION_HANDLE other : open) t.Check(other != session, "each session has its own handle");
      open.push_back(session);
    }
  });
  plan.Add("C_OpenSession", "many", [](Trial& t) {
    CK_TOKEN_INFO info{};
    NEED(t, CKR_OK, t.p11->C_GetTokenInfo(t.slot, &info));
    CK_ULONG most = 1500;
    if (info.ulMaxSessionCount != CK_EFFECTIVELY_INFINITE && info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION)
      most = std::min(most, info.ulMaxSessionCount);
    for (CK_ULONG i = 0; i < most && t.outcome() == Outcome::kPassed; ++i) t.OpenSession();
    WANT(t, CKR_OK, t.p11->C_CloseAllSessions(t.slot));
  });
  plan.Add("C_CloseSession", "closes", [](Trial& t) {
    const CK_SESSION_HANDLE session = t.OpenSession(), other = t.OpenSession();
    NEED(t, CKR_OK, t.p11->C_CloseSession(session));
    WANT(t, CKR_SESSION_HANDLE_INVALID, t.p11->C_CloseSession(session));
    CK_SESSION_INFO info{};
    WANT(t, CKR_SESSION_HANDLE_INVALID, t.p11->C_GetSessionInfo(session, &info));
    WANT(t, CKR_OK, t.p11->C_GetSessionInfo(other, &info));
  });
  plan.Add("C_CloseSession", "destroys-its-session-objects", [](Trial& t) {
    const CK_SESSION_HANDLE session = t.OpenSession(), other = t.OpenSession();
    NEED(t, CKR_OK, t.Login(session, CKU_USER, t.settings.pin));
    Template data;
    data.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, false).Bool(CKA_PRIVATE, false).Text(CKA_VALUE, "x");
    CK_OBJECT_HANDLE object = 0;
    NEED(t, CKR_OK, t.p11->C_CreateObject(session, data.data(), data.size(), &object));
    CK_ULONG size = 0;
    WANT(t, CKR_OK, t.p11->C_GetObjectSize(other, object, &size));
    NEED(t, CKR_OK, t.p11->C_CloseSession(session));
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetObjectSize(other, object, &size));
  });
  plan.Add("C_CloseSession", "the-last-one-logs-out", [](Trial& t) {
    const CK_SESSION_HANDLE first = t.OpenSession(), second = t.OpenSession();
    NEED(t, CKR_OK, t.Login(first, CKU_USER, t.settings.pin));
    NEED(t, CKR_OK, t.p11->C_CloseSession(first));
    t.Check(StateOf(t, second) == CKS_RW_USER_FUNCTIONS, "login outlives a session while another is open");
    NEED(t, CKR_OK, t.p11->C_CloseSession(second));
    t.Check(StateOf(t, t.OpenSession()) == CKS_RW_PUBLIC_SESSION, "login ends with the last session");
  });
  plan.Add("C_CloseAllSessions", "closes-all-and-logs-out", [](Trial& t) {
    const CK_SESSION_HANDLE first = t.OpenSession(), second = t.OpenSession(0);
    NEED(t, CKR_OK, t.Login(first, CKU_USER, t.settings.pin));
    NEED(t, CKR_OK, t.p11->C_CloseAllSessions(t.slot));
    CK_SESSION_INFO info{};
    WANT(t, CKR_SESSION_HANDLE_INVALID, t.p11->C_GetSessionInfo(first, &info));
    WANT(t, CKR_SESSION_HANDLE_INVALID, t.p11->C_GetSessionInfo(second, &info));
    t.Check(StateOf(t, t.OpenSession()) == CKS_RW_PUBLIC_SESSION, "the next session is a public one");
  });
  plan.Add("C_CloseAllSessions", "invalid-slot",
           [](Trial& t) { WANT(t, CKR_SLOT_ID_INVALID, t.p11->C_CloseAllSessions(0x7ead0007)); });
  plan.Add("C_GetSessionInfo", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetSessionInfo(t.OpenSession(), nullptr)); });
}

void AddLogin(Plan& plan) {
  plan.Chapter("session", Stage::kPublic);
  plan.Add("C_Login", "user", [](Trial& t) {
    const CK_SESSION_HANDLE read_only = t.OpenSession(0);
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    t.Check(StateOf(t, t.session) == CKS_RW_USER_FUNCTIONS, "the session becomes CKS_RW_USER_FUNCTIONS");
    t.Check(StateOf(t, read_only) == CKS_RO_USER_FUNCTIONS, "another session becomes CKS_RO_USER_FUNCTIONS");
    t.Check(StateOf(t, t.OpenSession()) == CKS_RW_USER_FUNCTIONS, "a new session is logged in");
  });
  plan.Add("C_Login", "so", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_SO, t.settings.so_pin));
    t.Check(StateOf(t, t.session) == CKS_RW_SO_FUNCTIONS, "the session becomes CKS_RW_SO_FUNCTIONS");
    CK_SESSION_HANDLE read_only = 0;
    WANT(t, CKR_SESSION_READ_WRITE_SO_EXISTS,
         t.p11->C_OpenSession(t.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &read_only));
  });
  plan.Add("C_Login", "so-with-read-only-session", [](Trial& t) {
    t.OpenSession(0);
    WANT(t, CKR_SESSION_READ_ONLY_EXISTS, t.Login(t.session, CKU_SO, t.settings.so_pin));
    t.Check(StateOf(t, t.session) == CKS_RW_PUBLIC_SESSION, "nobody is logged in");
  });
  plan.Add("C_Login", "wrong-pin", [](Trial& t) {
    WANT(t, CKR_PIN_INCORRECT, t.Login(t.session, CKU_USER, "not the PIN at all"));
    t.Check(StateOf(t, t.session) == CKS_RW_PUBLIC_SESSION, "nobody is logged in");
    WANT(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
  });
  plan.Add("C_Login", "empty-pin", [](Trial& t) {
    WANT_ONE(t, (CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE, CKR_ARGUMENTS_BAD), t.Login(t.session, CKU_USER, ""));
    WANT(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
  });
  plan.Add("C_Login", "null-pin", [](Trial& t) {
    WANT_ONE(t, (CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE),
             t.p11->C_Login(t.session, CKU_USER, nullptr, 4));
  });
  plan.Add("C_Login", "twice", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    WANT(t, CKR_USER_ALREADY_LOGGED_IN, t.Login(t.session, CKU_USER, t.settings.pin));
    WANT(t, CKR_USER_ALREADY_LOGGED_IN, t.Login(t.OpenSession(), CKU_USER, t.settings.pin));
  });
  plan.Add("C_Login", "another-user", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    WANT_ONE(t, (CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_TOO_MANY_TYPES),
             t.Login(t.session, CKU_SO, t.settings.so_pin));
  });
  plan.Add("C_Login", "user-type",
           [](Trial& t) { WANT(t, CKR_USER_TYPE_INVALID, t.Login(t.session, 77, t.settings.pin)); });
  plan.Add("C_Login", "context-specific-without-operation", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.Login(t.session, CKU_CONTEXT_SPECIFIC, t.settings.pin));
  });
  plan.Add("C_LoginUser", "user", [](Trial& t) {
    NEED(t, CKR_OK, t.p11->C_LoginUser(t.session, CKU_USER, Ptr(t.settings.pin), t.settings.pin.size(), nullptr, 0));
    t.Check(StateOf(t, t.session) == CKS_RW_USER_FUNCTIONS, "the session becomes CKS_RW_USER_FUNCTIONS");
  });
  plan.Add("C_LoginUser", "wrong-pin", [](Trial& t) {
    const std::string wrong = "not the PIN at all";
    WANT(t, CKR_PIN_INCORRECT, t.p11->C_LoginUser(t.session, CKU_USER, Ptr(wrong), wrong.size(), nullptr, 0));
    // A right one, so that wrong ones do not add up to a lock.
    WANT(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
  });
  plan.Add("C_Logout", "all-sessions", [](Trial& t) {
    const CK_SESSION_HANDLE other = t.OpenSession(0);
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    NEED(t, CKR_OK, t.p11->C_Logout(other));
    t.Check(StateOf(t, t.session) == CKS_RW_PUBLIC_SESSION, "logging out is for all sessions");
  });
  plan.Add("C_Logout", "not-logged-in", [](Trial& t) { WANT(t, CKR_USER_NOT_LOGGED_IN, t.p11->C_Logout(t.session)); });
  plan.Add("C_Logout", "private-objects-disappear", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    Template data;
    data.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, false).Bool(CKA_PRIVATE, true).Text(CKA_VALUE, "x");
    CK_OBJECT_HANDLE object = 0;
    NEED(t, CKR_OK, t.p11->C_CreateObject(t.session, data.data(), data.size(), &object));
    NEED(t, CKR_OK, t.p11->C_Logout(t.session));
    CK_ULONG size = 0;
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetObjectSize(t.session, object, &size));
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    // Handles of private session objects do not come back (3.2, C_Logout).
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetObjectSize(t.session, object, &size));
  });
}

void AddCancel(Plan& plan) {
  plan.Chapter("session", Stage::kUser);
  plan.Add("C_SessionCancel", "nothing", [](Trial& t) {
    WANT(t, CKR_OK, t.p11->C_SessionCancel(t.session, 0));
    WANT(t, CKR_OK, t.p11->C_SessionCancel(t.session, CKF_DIGEST | CKF_ENCRYPT | CKF_FIND_OBJECTS));
  });
  plan.Add("C_SessionCancel", "digest", [](Trial& t) {
    CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
    CK_BYTE out[64];
    CK_ULONG length = sizeof out;
    NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &sha));
    NEED(t, CKR_OK, t.p11->C_SessionCancel(t.session, CKF_SIGN));
    WANT(t, CKR_OK, t.p11->C_DigestUpdate(t.session, out, 1));
    NEED(t, CKR_OK, t.p11->C_SessionCancel(t.session, CKF_DIGEST));
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_DigestFinal(t.session, out, &length));
    WANT(t, CKR_OK, t.p11->C_DigestInit(t.session, &sha));
  });
  plan.Add("C_SessionCancel", "search", [](Trial& t) {
    NEED(t, CKR_OK, t.p11->C_FindObjectsInit(t.session, nullptr, 0));
    NEED(t, CKR_OK, t.p11->C_SessionCancel(t.session, CKF_FIND_OBJECTS));
    CK_OBJECT_HANDLE found[1];
    CK_ULONG count = 0;
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_FindObjects(t.session, found, 1, &count));
  });
  plan.Add("C_GetSessionValidationFlags", "last-operation", [](Trial& t) {
    CK_FLAGS flags = ~CK_FLAGS{0};
    WANT(t, CKR_OK, t.p11->C_GetSessionValidationFlags(t.session, kLastValidationOk, &flags));
  });
  plan.Add("C_GetSessionValidationFlags", "null", [](Trial& t) {
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetSessionValidationFlags(t.session, kLastValidationOk, nullptr));
  });
}

void AddOperationState(Plan& plan) {
  plan.Chapter("session", Stage::kUser);
  plan.Add("C_GetOperationState", "no-operation", [](Trial& t) {
    CK_ULONG length = 0;
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_GetOperationState(t.session, nullptr, &length));
  });
  plan.Add("C_SetOperationState", "continues-a-digest", [](Trial& t) {
    CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
    const Bytes first(80, 0x11), second(40, 0x22);
    NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &sha));
    NEED(t, CKR_OK, t.p11->C_DigestUpdate(t.session, Ptr(first), first.size()));
    CK_ULONG length = 0;
    NEED(t, CKR_OK, t.p11->C_GetOperationState(t.session, nullptr, &length));
    Bytes state(length);
    CK_ULONG room = length - 1;
    WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_GetOperationState(t.session, state.data(), &room));
    NEED(t, CKR_OK, t.p11->C_GetOperationState(t.session, state.data(), &length));
    state.resize(length);
    const CK_SESSION_HANDLE other = t.OpenSession();
    NEED(t, CKR_OK, t.p11->C_SetOperationState(other, state.data(), state.size(), 0, 0));
    Bytes here(32), there(32);
    CK_ULONG size = here.size();
    NEED(t, CKR_OK, t.p11->C_DigestUpdate(t.session, Ptr(second), second.size()));
    NEED(t, CKR_OK, t.p11->C_DigestFinal(t.session, here.data(), &size));
    NEED(t, CKR_OK, t.p11->C_DigestUpdate(other, Ptr(second), second.size()));
    size = there.size();
    NEED(t, CKR_OK, t.p11->C_DigestFinal(other, there.data(), &size));
    t.Check(here == there, "the copy goes on as the original does");
    (void)t.p11->C_CloseSession(other);
  });
  plan.Add("C_SetOperationState", "invalid-state", [](Trial& t) {
    Bytes state(200, 0x5A);
    WANT(t, CKR_SAVED_STATE_INVALID, t.p11->C_SetOperationState(t.session, state.data(), state.size(), 0, 0));
  });
  plan.Add("C_SetOperationState", "altered-state", [](Trial& t) {
    CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
    CK_ULONG length = 0;
    NEED(t, CKR_OK, t.p11->C_DigestInit(t.session, &sha));
    NEED(t, CKR_OK, t.p11->C_GetOperationState(t.session, nullptr, &length));
    Bytes state(length);
    NEED(t, CKR_OK, t.p11->C_GetOperationState(t.session, state.data(), &length));
    const CK_SESSION_HANDLE other = t.OpenSession();
    WANT(t, CKR_SAVED_STATE_INVALID, t.p11->C_SetOperationState(other, state.data(), length / 2, 0, 0));
    (void)t.p11->C_CloseSession(other);
  });
}

}  // namespace

void AddSession(Plan& plan) {
  AddSessions(plan);
  AddLogin(plan);
  AddCancel(plan);
  AddOperationState(plan);
}

}  // namespace cmkd::conformance
