// The function lists and interfaces of 2.40, 3.0 and 3.2 for any Target, made from the call table, and the functions
// that are the same for every module: the list getters, the two legacy parallel functions, the asynchronous calls.
#pragma once

#include <array>
#include <cstring>

#include "pkcs11/entry/entry.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::entry {

template <class Target>
struct FunctionLists;

inline constinit CK_UTF8CHAR kStandardInterface[] = "PKCS 11";
inline constinit CK_UTF8CHAR kOwnInterface[] = CMKD_INTERFACE;

// The C function of one row.
template <class Target, spec::CallId id, class Signature>
constexpr Signature EntryPoint();

template <class Target>
struct LocalFunctions {
  static CK_RV GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) noexcept {
    if (list == nullptr) return CKR_ARGUMENTS_BAD;
    *list = FunctionLists<Target>::V240();
    return CKR_OK;
  }
  static CK_RV GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count) noexcept {
    if (count == nullptr) return CKR_ARGUMENTS_BAD;
    const auto& all = FunctionLists<Target>::kInterfaces;
    const bool fits = *count >= all.size();
    *count = all.size();
    if (list == nullptr) return CKR_OK;
    if (!fits) return CKR_BUFFER_TOO_SMALL;
    std::memcpy(list, all.data(), sizeof all);
    return CKR_OK;
  }
  // 3.0, "C_GetInterface": without a name the standard's, without a version the newest; all flags asked for must be
  // there.
  static CK_RV GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR found,
                            CK_FLAGS flags) noexcept {
    if (found == nullptr) return CKR_ARGUMENTS_BAD;
    for (CK_INTERFACE& candidate : FunctionLists<Target>::kInterfaces) {
      const auto* wanted = reinterpret_cast<const char*>(name != nullptr ? name : kStandardInterface);
      if (std::strcmp(wanted, reinterpret_cast<const char*>(candidate.pInterfaceName)) != 0) continue;
      const auto* has = static_cast<const CK_VERSION*>(candidate.pFunctionList);
      if (version != nullptr && (version->major != has->major || version->minor != has->minor)) continue;
      if ((flags & candidate.flags) != flags) continue;
      *found = &candidate;
      return CKR_OK;
    }
    return CKR_FUNCTION_FAILED;
  }
  static CK_RV NotParallel(CK_SESSION_HANDLE) noexcept { return CKR_FUNCTION_NOT_PARALLEL; }
  // cmkd's sessions are synchronous: CKF_ASYNC_SESSION is refused at C_OpenSession, so nothing can be pending.
  static CK_RV AsyncComplete(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ASYNC_DATA_PTR) noexcept {
    return CKR_FUNCTION_NOT_SUPPORTED;
  }
  static CK_RV AsyncGetId(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG_PTR) noexcept {
    return CKR_FUNCTION_NOT_SUPPORTED;
  }
  static CK_RV AsyncJoin(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG) noexcept {
    return CKR_FUNCTION_NOT_SUPPORTED;
  }
};

template <class Target, spec::CallId id, class Signature>
constexpr Signature EntryPoint() {
  using spec::CallId;
  using Local = LocalFunctions<Target>;
  if constexpr (!spec::Row(id).local)
    return &Entry<spec::Call<id>, Target, Signature>::Invoke;
  else if constexpr (id == CallId::C_Initialize)
    return &Target::Initialize;
  else if constexpr (id == CallId::C_Finalize)
    return &Target::Finalize;
  else if constexpr (id == CallId::C_WaitForSlotEvent)
    return &Target::WaitForSlotEvent;
  else if constexpr (id == CallId::C_GetFunctionList)
    return &Local::GetFunctionList;
  else if constexpr (id == CallId::C_GetInterfaceList)
    return &Local::GetInterfaceList;
  else if constexpr (id == CallId::C_GetInterface)
    return &Local::GetInterface;
  else if constexpr (id == CallId::C_AsyncComplete)
    return &Local::AsyncComplete;
  else if constexpr (id == CallId::C_AsyncGetID)
    return &Local::AsyncGetId;
  else if constexpr (id == CallId::C_AsyncJoin)
    return &Local::AsyncJoin;
  else
    return &Local::NotParallel;
}

template <class Target>
constexpr CK_FUNCTION_LIST_3_2 MakeList(CK_BYTE major, CK_BYTE minor) {
  return {{major, minor},
#define CMKD_POINTER(name, ...) EntryPoint<Target, spec::CallId::name, decltype(&::name)>(),
          CMKD_STANDARD_CALLS(CMKD_POINTER)
#undef CMKD_POINTER
  };
}

// Targets with `kOwnInterface` true answer the calls of the interface "CMKD" as well.
template <class Target>
constexpr bool HasOwnInterface() {
  if constexpr (requires { Target::kOwnInterface; }) return Target::kOwnInterface;
  return false;
}

template <class Target>
struct OwnFunctions {
#define CMKD_POINTER(name) &Entry<spec::Call<spec::CallId::name>, Target, decltype(CK_CMKD_FUNCTION_LIST::name)>::Invoke
  inline static constinit CK_CMKD_FUNCTION_LIST kList = {
      {1, 0},
      CMKD_POINTER(GenerateDataKey),
      CMKD_POINTER(GenerateDataKeyPair),
      CMKD_POINTER(EncryptManaged),
      CMKD_POINTER(DecryptManaged),
      CMKD_POINTER(ReEncrypt),
  };
#undef CMKD_POINTER
};

template <class Target>
struct FunctionLists {
  inline static constinit CK_FUNCTION_LIST_3_2 kV320List = MakeList<Target>(3, 2);
  inline static constinit CK_FUNCTION_LIST_3_2 kV300List = MakeList<Target>(3, 0);
  inline static constinit CK_FUNCTION_LIST_3_2 kV240List = MakeList<Target>(2, 40);
  // Newest first, so that the first match of C_GetInterface is the newest. No flags: CKF_INTERFACE_FORK_SAFE would
  // promise that a forked child keeps sessions and logins; ours has to initialise again.
  static constexpr auto MakeInterfaces() {
    std::array<CK_INTERFACE, HasOwnInterface<Target>() ? 4 : 3> all = {{
        {kStandardInterface, &kV320List, 0},
        {kStandardInterface, &kV300List, 0},
        {kStandardInterface, &kV240List, 0},
    }};
    if constexpr (HasOwnInterface<Target>()) all[3] = {kOwnInterface, &OwnFunctions<Target>::kList, 0};
    return all;
  }
  inline static constinit auto kInterfaces = MakeInterfaces();
  static_assert(sizeof(CK_FUNCTION_LIST) == offsetof(CK_FUNCTION_LIST_3_2, C_GetInterfaceList),
                "the first rows of the call table are not the functions of 2.40");
  static CK_FUNCTION_LIST_PTR V240() { return reinterpret_cast<CK_FUNCTION_LIST_PTR>(&kV240List); }
};

// Each list that is made here is whole, whatever version it shows: the same functions from the first to the last. Only
// for lists of FunctionLists.
inline const CK_FUNCTION_LIST_3_2* WholeList(CK_FUNCTION_LIST_PTR ours) {
  return reinterpret_cast<const CK_FUNCTION_LIST_3_2*>(ours);
}

}  // namespace cmkd::entry
