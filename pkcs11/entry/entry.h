// Entry<Call, Target>: the body of every C function. It fills the call from the C arguments, refuses NULL where the
// standard forbids it, and hands the call to the target: a connection to the daemon, or the simulated device itself.
//
// A Target has
//   template <class Call> static CK_RV Answer(Call&)           for calls that are not local
//   template <class Call> static CK_RV Refuse(Call&, CK_RV)    when CheckArguments found `rv`; returns what the caller
//   sees static CK_RV Initialize(CK_VOID_PTR), Finalize(CK_VOID_PTR), WaitForSlotEvent(CK_FLAGS, CK_SLOT_ID*,
//   CK_VOID_PTR)
#pragma once

#include <cstddef>
#include <new>
#include <tuple>
#include <utility>

#include "pkcs11/spec/calls.h"

namespace cmkd::entry {

template <class... Shapes>
using JoinedArgs = decltype(std::tuple_cat(std::declval<typename Shapes::Args>()...));

template <class Fields>
struct ArgsOf;
template <class... Shapes>
struct ArgsOf<std::tuple<Shapes&...>> {
  using Type = JoinedArgs<Shapes...>;
};

// Gives each field its slice of the C arguments.
template <std::size_t field, std::size_t offset, class Fields, class Args>
void Fill(Fields& fields, const Args& args) {
  if constexpr (field < std::tuple_size_v<Fields>) {
    using Shape = std::remove_reference_t<std::tuple_element_t<field, Fields>>;
    constexpr std::size_t kArity = std::tuple_size_v<typename Shape::Args>;
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      std::get<field>(fields) = Shape::FromArgs(std::get<offset + i>(args)...);
    }
    (std::make_index_sequence<kArity>{});
    Fill<field + 1, offset + kArity>(fields, args);
  }
}

// The first complaint of a shape about its arguments, or CKR_OK.
template <class Call>
CK_RV CheckArguments(Call& call) {
  CK_RV rv = CKR_OK;
  std::apply([&](auto&... field) { (void)((rv = field.Check(), rv == CKR_OK) && ...); }, call.Fields());
  return rv;
}

// All C arguments of a call, in order: what a function list's function takes.
template <class Call>
auto Arguments(Call& call) {
  return std::apply([](auto&... field) { return std::tuple_cat(field.args()...); }, call.Fields());
}

template <class Call, class Target, class Signature>
struct Entry;

template <class Call, class Target, class... Args>
struct Entry<Call, Target, CK_RV (*)(Args...)> {
  static_assert(spec::IsOwn(Call::kId) || sizeof...(Args) == spec::Row(Call::kId).arity,
                "the row's arity is not the prototype's");
  static_assert(std::is_same_v<typename ArgsOf<decltype(std::declval<Call&>().Fields())>::Type, std::tuple<Args...>>,
                "the row's shapes are not the prototype's parameters");

  static CK_RV Invoke(Args... args) noexcept {
    // No exception may cross into somebody else's C program.
    try {
      Call call;
      auto fields = call.Fields();
      Fill<0, 0>(fields, std::tuple<Args...>(args...));
      if (const CK_RV rv = CheckArguments(call); rv != CKR_OK) return Target::template Refuse<Call>(call, rv);
      return Target::Answer(call);
    } catch (const std::bad_alloc&) {
      return CKR_HOST_MEMORY;
    } catch (...) {
      return CKR_GENERAL_ERROR;
    }
  }
};

}  // namespace cmkd::entry
