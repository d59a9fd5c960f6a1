// Brown-outs: before a deletion that was announced begins to wait, the key is refused for short times that grow, so
// that whoever still needs it finds out while it is there. When is decided by the dates alone. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "keystore/cmk/cmk.h"

namespace cmkd::cmk {

// How long a deletion may be announced, in whole days.
inline constexpr Duration kNoticeMin = Days(1);
inline constexpr Duration kNoticeMax = Days(90);

struct BrownOut {
  Timestamp begins;
  Timestamp ends;  // from here on the key is itself again

  bool operator==(const BrownOut&) const = default;
};

// The one of the notice's day `day`, counted from 0. One a day: half a day long on the last day, half as long on each
// day before, a minute at least; at another time of the day each day, to meet jobs that run once a day; none begins
// with the announcement itself.
constexpr BrownOut BrownOutOfDay(Timestamp announced, std::int64_t days, std::int64_t day) {
  const std::int64_t halvings = std::min<std::int64_t>(days - 1 - day, 20);
  const std::int64_t length = std::max<std::int64_t>((Hours(12).seconds >> halvings), 60);
  const std::int64_t offset = (day + 1) * Hours(7).seconds % (Days(1).seconds - length);
  const Timestamp begins = announced + Days(day) + Seconds(offset);
  return {begins, begins + Seconds(length)};
}

constexpr std::int64_t NoticeDays(const Dates& dates) {
  if (!dates.announced_at || !dates.announced_until) return 0;
  return (dates.announced_until->seconds - dates.announced_at->seconds) / Days(1).seconds;
}

// The one that is under way at `now`.
constexpr std::optional<BrownOut> BrownOutAt(const Dates& dates, Timestamp now) {
  const std::int64_t days = NoticeDays(dates);
  if (days <= 0 || now < *dates.announced_at) return std::nullopt;
  const std::int64_t day = (now.seconds - dates.announced_at->seconds) / Days(1).seconds;
  if (day >= days) return std::nullopt;
  const BrownOut today = BrownOutOfDay(*dates.announced_at, days, day);
  return now >= today.begins && now < today.ends ? std::optional(today) : std::nullopt;
}

// The first that operators have not been told of (Dates::warned_at).
constexpr std::optional<BrownOut> NextBrownOut(const Dates& dates) {
  const std::int64_t days = NoticeDays(dates);
  const bool told = days > 0 && dates.warned_at && *dates.warned_at >= *dates.announced_at;
  const std::int64_t from =
      told ? (dates.warned_at->seconds - dates.announced_at->seconds) / Days(1).seconds : std::int64_t{0};
  for (std::int64_t day = from; day < days; ++day) {
    const BrownOut next = BrownOutOfDay(*dates.announced_at, days, day);
    if (!told || next.begins > *dates.warned_at) return next;
  }
  return std::nullopt;
}

}  // namespace cmkd::cmk
