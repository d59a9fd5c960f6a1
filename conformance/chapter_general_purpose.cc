// General-purpose functions (PKCS#11 3.2 section 5.4), and what holds for every function: before C_Initialize, with a
// session that is none, with nothing in its arguments.
#include <cstring>

#include "conformance/plan.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

using spec::CallId;

// Calls a function with `first` as its session or slot, and zero or NULL for everything else.
template <class First, class... Others>
CK_RV CallWithNothing(CK_RV (*function)(First, Others...), CK_ULONG first) {
  if constexpr (std::is_same_v<First, CK_ULONG>) {
    return function(first, Others{}...);
  } else {
    return function(First{}, Others{}...);
  }
}

using Caller = CK_RV (*)(const Module&, CK_ULONG);
template <auto member>
CK_RV Through(const Module& p11, CK_ULONG first) {
  return CallWithNothing(p11.list().*member, first);
}

struct EmptyCall {
  const spec::CallRow& row;
  Caller call;
};
const std::vector<EmptyCall>& EmptyCalls() {
  static const std::vector<EmptyCall> calls = {
#define CMKD_EMPTY(name, ...) {spec::Row(CallId::name), &Through<&CK_FUNCTION_LIST_3_2::name>},
      CMKD_STANDARD_CALLS(CMKD_EMPTY)
#undef CMKD_EMPTY
  };
  return calls;
}

bool MayComeFirst(CallId id) {
  return id == CallId::C_Initialize || id == CallId::C_GetFunctionList || id == CallId::C_GetInterfaceList ||
         id == CallId::C_GetInterface;
}
// These two answer for operations that no longer exist, and async calls may know no session either.
bool IsParallel(CallId id) { return id == CallId::C_GetFunctionStatus || id == CallId::C_CancelFunction; }
bool IsAsync(CallId id) {
  return id == CallId::C_AsyncComplete || id == CallId::C_AsyncGetID || id == CallId::C_AsyncJoin;
}
bool TakesSession(const spec::CallRow& row) {
  return row.gate == spec::Gate::kSession || row.gate == spec::Gate::kReadWriteSession;
}

void AddForEveryFunction(Plan& plan) {
  plan.Chapter("every function", Stage::kLoaded);
  for (const EmptyCall& one : EmptyCalls()) {
    if (MayComeFirst(one.row.id) || IsParallel(one.row.id)) continue;
    plan.Add(std::string(one.row.name), "before-initialize",
             [one](Trial& t) { t.Expect(one.call(t.p11, 0), {CKR_CRYPTOKI_NOT_INITIALIZED}, one.row.name); });
  }
  plan.Chapter("every function", Stage::kPublic);
  for (const EmptyCall& one : EmptyCalls()) {
    if (!TakesSession(one.row)) continue;
    // Of two mistakes in one call either may be told.
    plan.Add(std::string(one.row.name), "invalid-session", [one](Trial& t) {
      t.Expect(one.call(t.p11, t.session + 4711), {CKR_SESSION_HANDLE_INVALID, CKR_ARGUMENTS_BAD}, one.row.name);
    });
  }
  plan.Chapter("every function", Stage::kUser);
  for (const EmptyCall& one : EmptyCalls()) {
    const CallId id = one.row.id;
    if (!TakesSession(one.row) || id == CallId::C_CloseSession || id == CallId::C_Logout || IsAsync(id)) continue;
    plan.Add(std::string(one.row.name), "null-arguments", [one](Trial& t) {
      const CK_RV rv = one.call(t.p11, t.session);
      if (rv == CKR_FUNCTION_NOT_SUPPORTED) return (void)t.Expect(rv, {}, one.row.name);
      t.Check(spec::FindReturnValue(rv) != nullptr, spec::ReturnValueName(rv) + " is no return value of the standard");
      CK_SESSION_INFO info{};
      WANT(t, CKR_OK, t.p11->C_GetSessionInfo(t.session, &info));
    });
  }
}

// ---- C_Initialize, C_Finalize

CK_RV CreateNothing(void** mutex) {
  static int any;
  *mutex = &any;
  return CKR_OK;
}
CK_RV DoNothing(void*) { return CKR_OK; }

CK_RV InitialiseWith(Trial& t, CK_FLAGS flags, bool callbacks) {
  struct {
    CK_C_INITIALIZE_ARGS standard{};
    void* beyond = nullptr;
  } arguments;
  arguments.standard.flags = flags;
  if (callbacks) {
    arguments.standard.CreateMutex = CreateNothing;
    arguments.standard.DestroyMutex = DoNothing;
    arguments.standard.LockMutex = DoNothing;
    arguments.standard.UnlockMutex = DoNothing;
  }
  if (!t.settings.initialise_with.empty())
    arguments.standard.pReserved = const_cast<char*>(t.settings.initialise_with.c_str());
  return t.p11->C_Initialize(&arguments.standard);
}

void InitialiseForm(Trial& t, CK_FLAGS flags, bool callbacks) {
  if (!t.Expect(InitialiseWith(t, flags, callbacks), {CKR_OK, CKR_CANT_LOCK, CKR_NEED_TO_CREATE_THREADS},
                "C_Initialize"))
    return;
  WANT_ONE(t, (CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED), t.p11->C_Finalize(nullptr));
}

void AddInitialise(Plan& plan) {
  plan.Chapter("general purpose", Stage::kLoaded);
  plan.Add("C_Initialize", "null-arguments", [](Trial& t) {
    if (!t.settings.initialise_with.empty()) return t.NotOffered("this module must be told its configuration");
    NEED(t, CKR_OK, t.p11->C_Initialize(nullptr));
    WANT(t, CKR_OK, t.p11->C_Finalize(nullptr));
  });
  plan.Add("C_Initialize", "single-threaded", [](Trial& t) { InitialiseForm(t, 0, false); });
  plan.Add("C_Initialize", "os-locking", [](Trial& t) { InitialiseForm(t, CKF_OS_LOCKING_OK, false); });
  plan.Add("C_Initialize", "mutex-functions", [](Trial& t) { InitialiseForm(t, 0, true); });
  plan.Add("C_Initialize", "either-lock", [](Trial& t) { InitialiseForm(t, CKF_OS_LOCKING_OK, true); });
  plan.Add("C_Initialize", "no-threads-of-its-own",
           [](Trial& t) { InitialiseForm(t, CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK, false); });
  plan.Add("C_Initialize", "some-mutex-functions", [](Trial& t) {
    CK_C_INITIALIZE_ARGS arguments{};
    arguments.CreateMutex = CreateNothing;
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_Initialize(&arguments));
    WANT(t, CKR_CRYPTOKI_NOT_INITIALIZED, t.p11->C_Finalize(nullptr));
  });
  plan.Add("C_Initialize", "reserved-not-null", [](Trial& t) {
    if (!t.settings.initialise_with.empty()) return t.NotOffered("this module takes its configuration there");
    int something = 0;
    CK_C_INITIALIZE_ARGS arguments{};
    arguments.pReserved = &something;
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_Initialize(&arguments));
    WANT(t, CKR_CRYPTOKI_NOT_INITIALIZED, t.p11->C_Finalize(nullptr));
  });
  plan.Add("C_Initialize", "twice", [](Trial& t) {
    NEED(t, CKR_OK, Initialise(t.p11, t.settings));
    WANT(t, CKR_CRYPTOKI_ALREADY_INITIALIZED, Initialise(t.p11, t.settings));
    CK_INFO info{};
    WANT(t, CKR_OK, t.p11->C_GetInfo(&info));
    WANT(t, CKR_OK, t.p11->C_Finalize(nullptr));
  });
  plan.Add("C_Initialize", "again-after-finalize", [](Trial& t) {
    for (int round = 0; round < 3; ++round) {
      NEED(t, CKR_OK, Initialise(t.p11, t.settings));
      NEED(t, CKR_OK, t.p11->C_Finalize(nullptr));
    }
  });
  plan.Chapter("general purpose", Stage::kInitialised);
  plan.Add("C_Finalize", "ends-everything", [](Trial& t) {
    const CK_SESSION_HANDLE session = t.OpenSession();
    NEED(t, CKR_OK, t.p11->C_Finalize(nullptr));
    WANT(t, CKR_CRYPTOKI_NOT_INITIALIZED, t.p11->C_Finalize(nullptr));
    NEED(t, CKR_OK, Initialise(t.p11, t.settings));
    CK_SESSION_INFO info{};
    WANT(t, CKR_SESSION_HANDLE_INVALID, t.p11->C_GetSessionInfo(session, &info));
  });
  plan.Add("C_Finalize", "reserved-not-null", [](Trial& t) {
    int something = 0;
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_Finalize(&something));
    CK_INFO info{};
    WANT(t, CKR_OK, t.p11->C_GetInfo(&info));
  });
}

// ---- C_GetInfo, function lists, interfaces

bool IsPadded(const CK_UTF8CHAR* text, std::size_t size) { return std::memchr(text, 0, size) == nullptr; }

void AddInformation(Plan& plan) {
  plan.Chapter("general purpose", Stage::kInitialised);
  plan.Add("C_GetInfo", "is-well-formed", [](Trial& t) {
    CK_INFO info;
    std::memset(&info, 0xEE, sizeof info);
    NEED(t, CKR_OK, t.p11->C_GetInfo(&info));
    t.Check(info.cryptokiVersion.major == 2 || info.cryptokiVersion.major == 3, "cryptokiVersion is 2.x or 3.x");
    t.Check(info.flags == 0, "flags is 0");
    t.Check(IsPadded(info.manufacturerID, sizeof info.manufacturerID), "manufacturerID is padded with blanks");
    t.Check(IsPadded(info.libraryDescription, sizeof info.libraryDescription),
            "libraryDescription is padded with blanks");
  });
  plan.Add("C_GetInfo", "null", [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetInfo(nullptr)); });

  plan.Add("C_GetFunctionList", "is-complete", [](Trial& t) {
    CK_FUNCTION_LIST* list = nullptr;
    NEED(t, CKR_OK, t.p11->C_GetFunctionList(&list));
    if (!t.Check(list != nullptr, "there is a list")) return;
    t.Check(list->version.major == 2, "C_GetFunctionList gives the list of version 2.x");
    const CK_FUNCTION_LIST& all = *list;
    t.Check(all.C_Initialize != nullptr && all.C_WaitForSlotEvent != nullptr && all.C_SignRecover != nullptr &&
                all.C_GetOperationState != nullptr && all.C_DecryptVerifyUpdate != nullptr,
            "no function pointer is NULL");
  });
  plan.Add("C_GetFunctionList", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetFunctionList(nullptr)); });
  plan.Add("C_GetFunctionList", "exported", [](Trial& t) {
    t.Check(t.p11.Symbol("C_GetFunctionList") != nullptr, "the module exports C_GetFunctionList");
  });

  plan.Add("C_GetInterfaceList", "lists-what-get-interface-gives", [](Trial& t) {
    CK_ULONG count = 0;
    NEED(t, CKR_OK, t.p11->C_GetInterfaceList(nullptr, &count));
    if (!t.Check(count > 0, "there is an interface")) return;
    std::vector<CK_INTERFACE> list(count);
    if (count > 1) {
      CK_ULONG short_of_one = count - 1;
      WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_GetInterfaceList(list.data(), &short_of_one));
      t.Check(short_of_one == count, "CKR_BUFFER_TOO_SMALL comes with the right count");
    }
    NEED(t, CKR_OK, t.p11->C_GetInterfaceList(list.data(), &count));
    for (const CK_INTERFACE& one : list) {
      CK_INTERFACE* same = nullptr;
      CK_VERSION version{};
      std::memcpy(&version, one.pFunctionList, sizeof version);
      NEED(t, CKR_OK, t.p11->C_GetInterface(one.pInterfaceName, &version, &same, one.flags));
      t.Check(same->pFunctionList == one.pFunctionList, "C_GetInterface gives the same list");
    }
  });
  plan.Add("C_GetInterfaceList", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetInterfaceList(nullptr, nullptr)); });
  plan.Add("C_GetInterface", "default", [](Trial& t) {
    CK_INTERFACE* found = nullptr;
    NEED(t, CKR_OK, t.p11->C_GetInterface(nullptr, nullptr, &found, 0));
    t.Check(found != nullptr && std::strcmp(reinterpret_cast<char*>(found->pInterfaceName), "PKCS 11") == 0,
            "the default interface is \"PKCS 11\"");
  });
  plan.Add("C_GetInterface", "version", [](Trial& t) {
    CK_UTF8CHAR name[] = "PKCS 11";
    CK_VERSION version = t.p11.version();
    CK_INTERFACE* found = nullptr;
    NEED(t, CKR_OK, t.p11->C_GetInterface(name, &version, &found, 0));
    CK_VERSION got{};
    std::memcpy(&got, found->pFunctionList, sizeof got);
    t.Check(got.major == version.major && got.minor == version.minor, "the list has the version asked for");
  });
  plan.Add("C_GetInterface", "unknown-name", [](Trial& t) {
    CK_UTF8CHAR name[] = "Not a name of any vendor";
    CK_INTERFACE* found = nullptr;
    WANT_REFUSAL(t, t.p11->C_GetInterface(name, nullptr, &found, 0));
  });
  plan.Add("C_GetInterface", "unknown-version", [](Trial& t) {
    CK_UTF8CHAR name[] = "PKCS 11";
    CK_VERSION version{9, 9};
    CK_INTERFACE* found = nullptr;
    WANT_REFUSAL(t, t.p11->C_GetInterface(name, &version, &found, 0));
  });
  plan.Add("C_GetInterface", "null",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetInterface(nullptr, nullptr, nullptr, 0)); });

  plan.Chapter("parallel functions", Stage::kPublic);
  plan.Add("C_GetFunctionStatus", "is-not-parallel",
           [](Trial& t) { WANT(t, CKR_FUNCTION_NOT_PARALLEL, t.p11->C_GetFunctionStatus(t.session)); });
  plan.Add("C_CancelFunction", "is-not-parallel",
           [](Trial& t) { WANT(t, CKR_FUNCTION_NOT_PARALLEL, t.p11->C_CancelFunction(t.session)); });
}

}  // namespace

void AddGeneralPurpose(Plan& plan) {
  AddInitialise(plan);
  AddInformation(plan);
  AddForEveryFunction(plan);
}

}  // namespace cmkd::conformance
