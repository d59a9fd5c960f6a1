// The exported functions. Each is its row's Entry with the daemon as target; nothing is written by hand for any of
// them.
#include "pkcs11/entry/function_lists.h"
#include "pkcs11/module/any_size.h"
#include "pkcs11/module/library.h"
#include "pkcs11/module/old_parameters.h"
#include "pkcs11/spec/product.h"

namespace cmkd::module {

namespace {

// Answers a call through the application's connection to the daemon.
struct DaemonTarget {
  static constexpr bool kOwnInterface = true;

  template <class Call>
  static CK_RV Answer(Call& call) {
    remote::Client* client = Library::Current();
    if (client == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
    CK_RV rv;
    if constexpr (Call::kId == spec::CallId::C_GenerateKey) {
      const NewPasswordLength in_new_form(call);
      rv = client->Answer(call);
    } else {
      rv = AnswerAnySize(*client, call);
    }
    if constexpr (Call::kId == spec::CallId::C_GetSlotList) {
      // A daemon that has not started yet has no slots to show; the application finds them on a later look.
      if (rv == CKR_DEVICE_REMOVED && !client->connected_before()) {
        *call.slots.count = 0;
        return CKR_OK;
      }
    } else if constexpr (Call::kId == spec::CallId::C_GetInfo) {
      if (rv == CKR_DEVICE_REMOVED) return LocalInfo(*call.info.value);
    }
    return rv;
  }

  template <class Call>
  static CK_RV Refuse(Call& call, CK_RV rv) {
    remote::Client* client = Library::Current();
    if (client == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
    EndRefused(*client, call);
    return rv;
  }

  static CK_RV Initialize(CK_VOID_PTR arguments) noexcept {
    return Guard([&] { return Library::Initialize(arguments); });
  }
  static CK_RV Finalize(CK_VOID_PTR reserved) noexcept {
    return Guard([&] { return Library::Finalize(reserved); });
  }

  static CK_RV WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved) noexcept {
    if (reserved != nullptr) return Library::Current() == nullptr ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_ARGUMENTS_BAD;
    return Guard([&] { return Library::WaitForSlotEvent(flags, slot); });
  }

 private:
  // C_GetInfo describes the library, so it answers without a daemon, too.
  static CK_RV LocalInfo(CK_INFO& info);

  template <class Function>
  static CK_RV Guard(Function function) noexcept {
    try {
      return function();
    } catch (const std::bad_alloc&) {
      return CKR_HOST_MEMORY;
    } catch (...) {
      return CKR_GENERAL_ERROR;
    }
  }
};

CK_RV DaemonTarget::LocalInfo(CK_INFO& info) {
  spec::FillInfo(info);
  return CKR_OK;
}

}  // namespace

}  // namespace cmkd::module

// One definition for each row, by its arity; the parameter types are taken from the standard's prototype.
namespace {
template <std::size_t i, class Signature>
struct ParameterOf;
template <std::size_t i, class... Args>
struct ParameterOf<i, CK_RV (*)(Args...)> {
  using Type = std::tuple_element_t<i, std::tuple<Args...>>;
};
}  // namespace

#define P(name, i) ParameterOf<i, decltype(&::name)>::Type a##i
#define CMKD_PARAMETERS_1(n) P(n, 0)
#define CMKD_PARAMETERS_2(n) CMKD_PARAMETERS_1(n), P(n, 1)
#define CMKD_PARAMETERS_3(n) CMKD_PARAMETERS_2(n), P(n, 2)
#define CMKD_PARAMETERS_4(n) CMKD_PARAMETERS_3(n), P(n, 3)
#define CMKD_PARAMETERS_5(n) CMKD_PARAMETERS_4(n), P(n, 4)
#define CMKD_PARAMETERS_6(n) CMKD_PARAMETERS_5(n), P(n, 5)
#define CMKD_PARAMETERS_7(n) CMKD_PARAMETERS_6(n), P(n, 6)
#define CMKD_PARAMETERS_8(n) CMKD_PARAMETERS_7(n), P(n, 7)
#define CMKD_PARAMETERS_9(n) CMKD_PARAMETERS_8(n), P(n, 8)
#define CMKD_PARAMETERS_10(n) CMKD_PARAMETERS_9(n), P(n, 9)
#define CMKD_ARGUMENTS_1 a0
#define CMKD_ARGUMENTS_2 CMKD_ARGUMENTS_1, a1
#define CMKD_ARGUMENTS_3 CMKD_ARGUMENTS_2, a2
#define CMKD_ARGUMENTS_4 CMKD_ARGUMENTS_3, a3
#define CMKD_ARGUMENTS_5 CMKD_ARGUMENTS_4, a4
#define CMKD_ARGUMENTS_6 CMKD_ARGUMENTS_5, a5
#define CMKD_ARGUMENTS_7 CMKD_ARGUMENTS_6, a6
#define CMKD_ARGUMENTS_8 CMKD_ARGUMENTS_7, a7
#define CMKD_ARGUMENTS_9 CMKD_ARGUMENTS_8, a8
#define CMKD_ARGUMENTS_10 CMKD_ARGUMENTS_9, a9

#define CMKD_EXPORT(name, arity, ...)                                                                       \
  extern "C" __attribute__((visibility("default"))) CK_RV name(CMKD_PARAMETERS_##arity(name)) {             \
    constexpr auto entry =                                                                                  \
        cmkd::entry::EntryPoint<cmkd::module::DaemonTarget, cmkd::spec::CallId::name, decltype(&::name)>(); \
    return entry(CMKD_ARGUMENTS_##arity);                                                                   \
  }
CMKD_STANDARD_CALLS(CMKD_EXPORT)
