// Result<T, E>: a value or the reason why there is none. Knows no error vocabulary; each layer brings its own E.
#pragma once

#include <utility>
#include <variant>

namespace cmkd {

// Marks an error on its way into a Result, so that T and E may be the same type.
template <class E>
struct Failure {
  E error;
};
template <class E>
Failure(E) -> Failure<E>;

template <class T, class E>
class [[nodiscard]] Result {
 public:
  using Value = T;
  using Error = E;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}                     // NOLINT
  Result(Failure<E> failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  E& error() & { return *std::get_if<1>(&state_); }
  const E& error() const& { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, E> state_;
};

// Success without a value.
struct Unit {};

template <class E>
class [[nodiscard]] Result<void, E> : public Result<Unit, E> {
 public:
  Result() : Result<Unit, E>(Unit{}) {}
  Result(Failure<E> failure) : Result<Unit, E>(std::move(failure)) {}  // NOLINT
};

}  // namespace cmkd

#define CMKD_CONCAT_INNER(a, b) a##b
#define CMKD_CONCAT(a, b) CMKD_CONCAT_INNER(a, b)

// Leaves the function with the error of `expression`, if it has one.
#define RETURN_IF_ERROR(expression) RETURN_IF_ERROR_NAMED(CMKD_CONCAT(status_, __LINE__), expression)
#define RETURN_IF_ERROR_NAMED(name, expression)                      \
  do {                                                               \
    auto name = (expression);                                        \
    if (!name.ok()) return ::cmkd::Failure{std::move(name.error())}; \
  } while (false)

// Declares or assigns `target` from the value of `expression`, or leaves with its error.
#define ASSIGN_OR_RETURN(target, ...) ASSIGN_OR_RETURN_NAMED(CMKD_CONCAT(result_, __LINE__), target, __VA_ARGS__)
#define ASSIGN_OR_RETURN_NAMED(name, target, ...)                  \
  auto name = (__VA_ARGS__);                                       \
  if (!name.ok()) return ::cmkd::Failure{std::move(name.error())}; \
  target = std::move(name).value()
