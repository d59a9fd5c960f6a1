// CKA_CMKD_…: what an application may know of its key's life.
#include "daemon/service/lifecycle_attributes.h"

#include <time.h>

#include <algorithm>
#include <cstdio>

#include "daemon/service/access.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

// YYYYMMDDhhmmss in UTC, empty for none (spec/vendor.h).
std::string TimeText(std::optional<Timestamp> time) {
  if (!time) return {};
  const time_t seconds = time->seconds;
  tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return {};
  char text[32];
  const std::size_t length = ::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
  return {text, length};
}

}  // namespace

std::string_view OriginText(cmk::Origin origin) {
  switch (origin) {
    case cmk::Origin::kLocal: return "local";
    case cmk::Origin::kImportedClear: return "imported-in-clear";
    case cmk::Origin::kUnwrapped: return "imported";
    case cmk::Origin::kDerived: return "derived";
    case cmk::Origin::kAdopted: return "adopted";
  }
  return "";
}

std::string_view ShownState(const Daemon& daemon, const cmk::Cmk& key) {
  const cmk::CmkState state = cmk::EffectiveState(key, daemon.clock.Now());
  if (state != cmk::CmkState::kEnabled && state != cmk::CmkState::kArchived) return cmk::Name(state);
  const auto token = daemon.records.GetToken(key.token);
  if (!token.ok()) return cmk::Name(state);
  const auto backend = daemon.backends.Of(**token);
  return backend.ok() && (*backend)->available() ? cmk::Name(state) : kUnavailable;
}

spec::Attributes LifecycleAttributes(const Invocation& invocation, const Object& object,
                                     std::span<const CK_ATTRIBUTE> wanted) {
  spec::Attributes shown;
  const bool asked = std::any_of(wanted.begin(), wanted.end(), [](const CK_ATTRIBUTE& attribute) {
    return (attribute.type & ~CK_ATTRIBUTE_TYPE{0xFF}) == CKA_CMKD_BASE;
  });
  if (!asked || !object.cmk) return shown;
  const auto key = invocation.daemon.records.GetCmk(*object.cmk);
  if (!key.ok()) return shown;
  const cmk::Cmk& record = **key;
  shown.SetText(CKA_CMKD_STATE, ShownState(invocation.daemon, record));
  shown.SetUlong(CKA_CMKD_VERSION, object.version ? object.version->value : record.current.value);
  shown.SetUlong(CKA_CMKD_VERSION_COUNT, record.versions.size());
  shown.SetText(CKA_CMKD_ORIGIN, OriginText(record.origin));
  shown.SetText(CKA_CMKD_NEXT_ROTATION, TimeText(record.dates.next_rotation));
  shown.SetText(CKA_CMKD_DELETION_DATE, TimeText(record.dates.deletion_date));
  const auto token = invocation.daemon.records.GetToken(object.token);
  const auto backend = token.ok() ? invocation.daemon.backends.Of(**token) : Fallible<Backend*>(Failure{token.error()});
  if (backend.ok()) shown.SetText(CKA_CMKD_PROTECTION, (*backend)->software() ? "software" : "hsm");
  return shown;
}

}  // namespace cmkd::daemon
