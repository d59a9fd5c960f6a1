// The entry layer with a target that only looks: every C function of the three lists, its arguments, and what is
// refused before a target sees it.
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "pkcs11/entry/function_lists.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::entry {
namespace {

using spec::CallId;

enum class Fault { kNone, kNoMemory, kOther };

// What the last call brought to the target.
struct Seen {
  CallId answered = CallId::kCount;
  CallId refused = CallId::kCount;
};
Seen g_seen;
Fault g_fault = Fault::kNone;

template <class Call>
using ArgumentsOf = decltype(Arguments(std::declval<Call&>()));
template <class Call>
ArgumentsOf<Call> g_arguments;

struct LookingTarget {
  template <class Call>
  static CK_RV Answer(Call& call) {
    g_seen.answered = Call::kId;
    g_arguments<Call> = Arguments(call);
    if (g_fault == Fault::kNoMemory) throw std::bad_alloc();
    if (g_fault == Fault::kOther) throw std::runtime_error("a fault");
    return CKR_OK;
  }
  template <class Call>
  static CK_RV Refuse(Call&, CK_RV rv) {
    g_seen.refused = Call::kId;
    return rv;
  }
  static CK_RV Initialize(CK_VOID_PTR) noexcept { return CKR_OK; }
  static CK_RV Finalize(CK_VOID_PTR) noexcept { return CKR_OK; }
  static CK_RV WaitForSlotEvent(CK_FLAGS, CK_SLOT_ID_PTR, CK_VOID_PTR) noexcept { return CKR_NO_EVENT; }
};

using Lists = FunctionLists<LookingTarget>;

// Zeroes that any pointer may lead to: a mechanism without a parameter, attributes without values.
alignas(16) std::uint8_t g_zeroes[4096];

CK_RV Notified(CK_SESSION_HANDLE, CK_NOTIFICATION, CK_VOID_PTR) { return CKR_OK; }

// A different value for each argument.
template <class T>
T SomeArgument(std::size_t index) {
  if constexpr (std::is_same_v<T, CK_NOTIFY>)
    return &Notified;
  else if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<T>(g_zeroes + 64 * index);
  else
    return static_cast<T>(index + 1);
}

template <class Tuple>
Tuple SomeArguments() {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    return Tuple{SomeArgument<std::tuple_element_t<i, Tuple>>(i)...};
  }
  (std::make_index_sequence<std::tuple_size_v<Tuple>>{});
}

// Whether the standard lets this pointer be NULL though its length or count is not 0, told from the C prototype alone:
// a mechanism by which an operation would begin (3.0: then it is cancelled), a buffer or list whose length is asked
// for, and what C_OpenSession gives to callbacks.
template <CallId id, class Tuple, std::size_t i>
constexpr bool MayBeNull() {
  using T = std::tuple_element_t<i, Tuple>;
  constexpr spec::CallRow row = spec::Row(id);
  if constexpr (std::is_same_v<T, CK_NOTIFY>) return true;
  // Whose parameter tells the keys needs no phKey; where it is needed the daemon says so.
  if constexpr (id == CallId::C_DeriveKey && i + 1 == std::tuple_size_v<Tuple>) return true;
  if constexpr (std::is_same_v<T, CK_MECHANISM_PTR>) return row.phase == spec::Phase::kBegin;
  if constexpr (i + 1 < std::tuple_size_v<Tuple>) {
    using Next = std::tuple_element_t<i + 1, Tuple>;
    if constexpr (std::is_same_v<T, CK_VOID_PTR> && std::is_same_v<Next, CK_NOTIFY>) return true;
    if constexpr (std::is_same_v<T, CK_BYTE_PTR> && std::is_same_v<Next, CK_ULONG_PTR>) return true;
    if constexpr (id == CallId::C_GetSlotList || id == CallId::C_GetMechanismList) {
      return std::is_same_v<T, CK_ULONG_PTR> && std::is_same_v<Next, CK_ULONG_PTR>;
    }
  }
  return false;
}

template <CallId id, class... Args>
struct Checked {
  using Function = CK_RV (*)(Args...);
  using Tuple = std::tuple<Args...>;

  static void Reaches(Function function) {
    const auto arguments = SomeArguments<Tuple>();
    g_seen = {};
    EXPECT_EQ(std::apply(function, arguments), CKR_OK);
    EXPECT_EQ(g_seen.answered, id);
    EXPECT_TRUE(g_arguments<spec::Call<id>> == arguments) << "an argument came to another field";
  }

  static void Faults(Function function) {
    const auto arguments = SomeArguments<Tuple>();
    g_fault = Fault::kNoMemory;
    EXPECT_EQ(std::apply(function, arguments), CKR_HOST_MEMORY);
    g_fault = Fault::kOther;
    EXPECT_EQ(std::apply(function, arguments), CKR_GENERAL_ERROR);
    g_fault = Fault::kNone;
  }

  template <std::size_t i>
  static void NullAt(Function function) {
    using T = std::tuple_element_t<i, Tuple>;
    if constexpr (std::is_pointer_v<T>) {
      auto arguments = SomeArguments<Tuple>();
      std::get<i>(arguments) = nullptr;
      g_seen = {};
      const CK_RV rv = std::apply(function, arguments);
      const bool may = MayBeNull<id, Tuple, i>();
      EXPECT_EQ(rv, may ? CKR_OK : CKR_ARGUMENTS_BAD) << "argument " << i << ": " << spec::ReturnValueName(rv);
      EXPECT_EQ(g_seen.answered, may ? id : CallId::kCount) << "argument " << i;
      EXPECT_EQ(g_seen.refused, may ? CallId::kCount : id) << "argument " << i;
    }
  }
  static void Nulls(Function function) {
    [&]<std::size_t... i>(std::index_sequence<i...>) { (NullAt<i>(function), ...); }
    (std::index_sequence_for<Args...>{});
  }
};

template <CallId id, class... Args>
void CheckReaches(CK_RV (*function)(Args...)) {
  if constexpr (!spec::Row(id).local) Checked<id, Args...>::Reaches(function);
}
template <CallId id, class... Args>
void CheckNulls(CK_RV (*function)(Args...)) {
  if constexpr (!spec::Row(id).local) Checked<id, Args...>::Nulls(function);
}
template <CallId id, class... Args>
void CheckFaults(CK_RV (*function)(Args...)) {
  if constexpr (!spec::Row(id).local) Checked<id, Args...>::Faults(function);
}

TEST(Entry, EveryFunctionBringsItsArgumentsToTheCall){
#define CMKD_CHECK(name, ...)                          \
  {                                                    \
    SCOPED_TRACE(#name);                               \
    CheckReaches<CallId::name>(Lists::kV320List.name); \
  }
    CMKD_STANDARD_CALLS(CMKD_CHECK)
#undef CMKD_CHECK
}

TEST(Entry, NullIsRefusedWhereTheStandardForbidsIt){
#define CMKD_CHECK(name, ...)                        \
  {                                                  \
    SCOPED_TRACE(#name);                             \
    CheckNulls<CallId::name>(Lists::kV320List.name); \
  }
    CMKD_STANDARD_CALLS(CMKD_CHECK)
#undef CMKD_CHECK
}

TEST(Entry, NoExceptionCrossesIntoTheCaller){
#define CMKD_CHECK(name, ...)                         \
  {                                                   \
    SCOPED_TRACE(#name);                              \
    CheckFaults<CallId::name>(Lists::kV320List.name); \
  }
    CMKD_STANDARD_CALLS(CMKD_CHECK)
#undef CMKD_CHECK
}

TEST(Entry, AParameterThatIsNullMayHaveNoLength) {
  CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 16};
  EXPECT_EQ(Lists::kV320List.C_EncryptInit(1, &mechanism, 1), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(Lists::kV320List.C_WrapKey(1, &mechanism, 1, 1, nullptr, reinterpret_cast<CK_ULONG_PTR>(g_zeroes)),
            CKR_MECHANISM_PARAM_INVALID);
}

TEST(Entry, AnAttributeThatIsNullMayHaveNoLength) {
  CK_OBJECT_HANDLE object = 0;
  CK_ATTRIBUTE attributes[] = {{CKA_LABEL, nullptr, 0}, {CKA_ID, nullptr, 1}};
  EXPECT_EQ(Lists::kV320List.C_CreateObject(1, attributes, 2, &object), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(Lists::kV320List.C_CreateObject(1, attributes, 1, &object), CKR_OK);
}

TEST(Entry, NothingIsWrongWithNoBytesAtAll) {
  EXPECT_EQ(Lists::kV320List.C_SignUpdate(1, nullptr, 0), CKR_OK);
  EXPECT_EQ(Lists::kV320List.C_FindObjectsInit(1, nullptr, 0), CKR_OK);
  EXPECT_EQ(Lists::kV320List.C_Login(1, CKU_USER, nullptr, 0), CKR_OK);
  EXPECT_EQ(Lists::kV320List.C_GenerateRandom(1, nullptr, 0), CKR_OK);
}

TEST(Entry, AskingForNoAttributeIsAskingNothing) {
  EXPECT_EQ(Lists::kV320List.C_GetAttributeValue(1, 1, reinterpret_cast<CK_ATTRIBUTE_PTR>(g_zeroes), 0),
            CKR_ARGUMENTS_BAD);
}

TEST(FunctionLists, HaveEveryFunctionOfTheirVersion) {
  const auto* pointers = reinterpret_cast<const void* const*>(&Lists::kV320List.C_Initialize);
  std::set<const void*> distinct;
  for (std::size_t i = 0; i < spec::kStandardCallCount; ++i) {
    ASSERT_NE(pointers[i], nullptr) << spec::kCalls[i].name;
    distinct.insert(pointers[i]);
  }
  // The two functions of the parallel age share one body.
  EXPECT_EQ(distinct.size(), spec::kStandardCallCount - 1);
  EXPECT_EQ(std::memcmp(&Lists::kV240List.C_Initialize, &Lists::kV320List.C_Initialize,
                        sizeof(CK_FUNCTION_LIST) - offsetof(CK_FUNCTION_LIST, C_Initialize)),
            0);
}

TEST(FunctionLists, SayTheirVersion) {
  EXPECT_EQ(Lists::kV240List.version.major, 2);
  EXPECT_EQ(Lists::kV240List.version.minor, 40);
  EXPECT_EQ(Lists::kV300List.version.major, 3);
  EXPECT_EQ(Lists::kV300List.version.minor, 0);
  EXPECT_EQ(Lists::kV320List.version.major, 3);
  EXPECT_EQ(Lists::kV320List.version.minor, 2);
}

TEST(FunctionLists, TheFirstVersionsFunctionGivesTheFirstVersionsList) {
  CK_FUNCTION_LIST_PTR list = nullptr;
  EXPECT_EQ(Lists::kV240List.C_GetFunctionList(&list), CKR_OK);
  EXPECT_EQ(static_cast<void*>(list), &Lists::kV240List);
  EXPECT_EQ(Lists::kV240List.C_GetFunctionList(nullptr), CKR_ARGUMENTS_BAD);
}

TEST(Interfaces, AreListedByTheTwoCallConvention) {
  const auto& f = Lists::kV320List;
  EXPECT_EQ(f.C_GetInterfaceList(nullptr, nullptr), CKR_ARGUMENTS_BAD);
  CK_ULONG count = 0;
  EXPECT_EQ(f.C_GetInterfaceList(nullptr, &count), CKR_OK);
  ASSERT_EQ(count, 3U);
  CK_INTERFACE found[3] = {};
  count = 2;
  EXPECT_EQ(f.C_GetInterfaceList(found, &count), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(count, 3U);
  EXPECT_EQ(found[0].pFunctionList, nullptr);
  EXPECT_EQ(f.C_GetInterfaceList(found, &count), CKR_OK);
  EXPECT_EQ(found[0].pFunctionList, &Lists::kV320List);
  EXPECT_EQ(found[2].pFunctionList, &Lists::kV240List);
}

struct Asked {
  const char* name;
  int major, minor;  // -1: no version
  CK_FLAGS flags;
  const void* found;
};

TEST(Interfaces, AreFoundByNameVersionAndFlags) {
  const Asked asked[] = {
      {nullptr, -1, -1, 0, &Lists::kV320List},
      {"PKCS 11", -1, -1, 0, &Lists::kV320List},
      {"PKCS 11", 2, 40, 0, &Lists::kV240List},
      {"PKCS 11", 3, 0, 0, &Lists::kV300List},
      {nullptr, 3, 2, 0, &Lists::kV320List},
      {"PKCS 11", 3, 1, 0, nullptr},
      {"PKCS 11", 4, 0, 0, nullptr},
      {"pkcs 11", -1, -1, 0, nullptr},
      {"", -1, -1, 0, nullptr},
      {"Vendor", -1, -1, 0, nullptr},
      // A forked child has to initialise again, so fork safety is not promised.
      {nullptr, -1, -1, CKF_INTERFACE_FORK_SAFE, nullptr},
  };
  for (const Asked& a : asked) {
    CK_VERSION version{static_cast<CK_BYTE>(a.major), static_cast<CK_BYTE>(a.minor)};
    std::string name = a.name == nullptr ? "" : a.name;
    CK_INTERFACE_PTR found = nullptr;
    const CK_RV rv =
        Lists::kV320List.C_GetInterface(a.name == nullptr ? nullptr : reinterpret_cast<CK_UTF8CHAR_PTR>(name.data()),
                                        a.major < 0 ? nullptr : &version, &found, a.flags);
    SCOPED_TRACE(name + ' ' + std::to_string(a.major) + '.' + std::to_string(a.minor));
    EXPECT_EQ(rv, a.found != nullptr ? CKR_OK : CKR_FUNCTION_FAILED);
    if (a.found != nullptr && found != nullptr) {
      EXPECT_EQ(found->pFunctionList, a.found);
    } else {
      EXPECT_EQ(found, nullptr);
    }
  }
  EXPECT_EQ(Lists::kV320List.C_GetInterface(nullptr, nullptr, nullptr, 0), CKR_ARGUMENTS_BAD);
}

TEST(LocalFunctions, SayThatThereIsNoParallelOrAsynchronousWork) {
  const auto& f = Lists::kV320List;
  EXPECT_EQ(f.C_GetFunctionStatus(1), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT_EQ(f.C_CancelFunction(1), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT_EQ(f.C_AsyncComplete(1, nullptr, nullptr), CKR_FUNCTION_NOT_SUPPORTED);
  EXPECT_EQ(f.C_AsyncGetID(1, nullptr, nullptr), CKR_FUNCTION_NOT_SUPPORTED);
  EXPECT_EQ(f.C_AsyncJoin(1, nullptr, 0, nullptr, 0), CKR_FUNCTION_NOT_SUPPORTED);
}

}  // namespace
}  // namespace cmkd::entry
