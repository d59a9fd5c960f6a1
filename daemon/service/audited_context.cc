// Hash or text.
#include "daemon/service/audited_context.h"

#include <algorithm>

#include "pkcs11/spec/encryption_context.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kClearBytesMax = 160;
constexpr std::uint8_t kContextTag = 0xF2;  // sets these tags apart from the sealer's other ones

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7F && c != '='; });
}

// Nothing when a reader could take it for something else.
std::string InTheClear(ByteView context) {
  const auto map = spec::DecodeContext(context);
  std::string text;
  if (!map) return text;
  for (const auto& [name, value] : *map) {
    if (!IsPrintable(name) || !IsPrintable(value)) return {};
    text += (text.empty() ? "" : " ") + name + "=" + value;
  }
  return text.size() <= kClearBytesMax ? text : std::string();
}

std::string ContextHash(const Daemon& daemon, ByteView context) {
  Bytes message{kContextTag};
  message.insert(message.end(), context.begin(), context.end());
  return Hex(daemon.object_sealer.Tag(message));
}

}  // namespace

std::string AuditedContext(const Daemon& daemon, ByteView context) {
  if (context.empty() || daemon.config.audit.contexts == AuditContexts::kNone) return {};
  std::string text;
  if (daemon.config.audit.contexts == AuditContexts::kClear) text = InTheClear(context);
  return "context " + (text.empty() ? ContextHash(daemon, context) : text);
}

}  // namespace cmkd::daemon
