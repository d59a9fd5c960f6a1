// The daemon's own messages: one line each on stderr, with the journal's level prefix when the journal reads it. No
// format strings, no secrets, and not the audit log: what was done with keys is recorded in daemon/audit.
#pragma once

#include <string_view>

namespace cmkd::daemon {

// The numbers are those of syslog(3), which the journal understands as "<n>".
enum class LogLevel { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6, kDebug = 7 };

// Messages less urgent than `level` are dropped. Default kInfo. Any thread.
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);

// Writes one line with one write(2): lines of several threads never mix. Control characters in `message` are shown as
// '?', so that a label chosen by an application cannot forge a line. Any thread.
void Log(LogLevel level, std::string_view message);

inline void LogError(std::string_view message) { Log(LogLevel::kError, message); }
inline void LogWarning(std::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogInfo(std::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogDebug(std::string_view message) { Log(LogLevel::kDebug, message); }

}  // namespace cmkd::daemon
