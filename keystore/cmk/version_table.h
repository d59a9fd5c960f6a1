// What an operator may do to one version of a key: for every version state and event, where it leads or why it does
// not.
#pragma once

#include <array>

#include "keystore/cmk/state.h"

namespace cmkd::cmk {

struct VersionRow {
  VersionState from;
  VersionEvent event;
  Refusal refusal;  // kNone: the row leads to `next`
  VersionState next;
};

namespace rows {

constexpr VersionRow To(VersionState from, VersionEvent event, VersionState next) {
  return {from, event, Refusal::kNone, next};
}
constexpr VersionRow No(VersionState from, VersionEvent event, Refusal refusal) { return {from, event, refusal, from}; }

}  // namespace rows

// clang-format off
inline constexpr auto kVersionTransitions = [] {
  using enum VersionState;
  using enum VersionEvent;
  using R = Refusal;
  using rows::No;
  using rows::To;
  return std::array{
    No(kPendingImport, kMakeCurrent, R::kVersionPendingImport),
    No(kPendingImport, kBlock,       R::kVersionPendingImport),
    No(kPendingImport, kUnblock,     R::kVersionNotBlocked),
    No(kPendingImport, kCompromise,  R::kVersionPendingImport),
    No(kPendingImport, kDestroy,     R::kVersionPendingImport),

    To(kCurrent,       kMakeCurrent, kCurrent),
    No(kCurrent,       kBlock,       R::kVersionCurrent),
    No(kCurrent,       kUnblock,     R::kVersionNotBlocked),
    No(kCurrent,       kCompromise,  R::kVersionCurrent),
    No(kCurrent,       kDestroy,     R::kVersionCurrent),

    To(kRetired,       kMakeCurrent, kCurrent),
    To(kRetired,       kBlock,       kBlocked),
    No(kRetired,       kUnblock,     R::kVersionNotBlocked),
    To(kRetired,       kCompromise,  kCompromised),
    To(kRetired,       kDestroy,     kDestroyed),

    No(kBlocked,       kMakeCurrent, R::kVersionBlocked),
    To(kBlocked,       kBlock,       kBlocked),
    To(kBlocked,       kUnblock,     kRetired),
    To(kBlocked,       kCompromise,  kCompromised),
    To(kBlocked,       kDestroy,     kDestroyed),

    No(kCompromised,   kMakeCurrent, R::kVersionCompromised),
    No(kCompromised,   kBlock,       R::kVersionCompromised),
    No(kCompromised,   kUnblock,     R::kVersionCompromised),
    To(kCompromised,   kCompromise,  kCompromised),
    To(kCompromised,   kDestroy,     kDestroyed),

    No(kDestroyed,     kMakeCurrent, R::kVersionDestroyed),
    No(kDestroyed,     kBlock,       R::kVersionDestroyed),
    No(kDestroyed,     kUnblock,     R::kVersionDestroyed),
    No(kDestroyed,     kCompromise,  R::kVersionDestroyed),
    No(kDestroyed,     kDestroy,     R::kVersionDestroyed),
  };
}();
// clang-format on

inline constexpr int kVersionStateCount = 6;
inline constexpr int kVersionEventCount = 5;

constexpr bool EveryVersionCellDecides() {
  int cell = 0;
  for (const VersionRow& row : kVersionTransitions) {
    if ((static_cast<int>(row.from) - 1) * kVersionEventCount + static_cast<int>(row.event) - 1 != cell) return false;
    ++cell;
  }
  return cell == kVersionStateCount * kVersionEventCount;
}
static_assert(EveryVersionCellDecides());

constexpr const VersionRow* FindVersionTransition(VersionState from, VersionEvent event) {
  for (const VersionRow& row : kVersionTransitions)
    if (row.from == from && row.event == event) return &row;
  return nullptr;
}

}  // namespace cmkd::cmk
