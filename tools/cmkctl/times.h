// Times as people at this terminal read them. On the wire they are RFC 3339 in UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cmkd::tools {

// Seconds since 1970 of a UTC time such as 2026-11-22T06:08:15Z, with or without a fraction; nothing for any other
// text.
std::optional<std::int64_t> ParseUtc(std::string_view text);

// "2026-11-22 07:08" in the zone of this process; empty for an empty text, and anything that is no time as it is.
std::string LocalTime(std::string_view utc);
// The same with seconds, for logs.
std::string LocalTimeWithSeconds(std::string_view utc);
// "2026-11-22 07:08:15" of a count of nanoseconds since 1970.
std::string LocalTimeOf(std::int64_t nanoseconds);

// "3 d 4 h", "12 min", "45 s": the two largest units at most.
std::string Span(std::int64_t seconds);

}  // namespace cmkd::tools
