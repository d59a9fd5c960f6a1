// Tells the service manager how the daemon is doing (sd_notify). Does nothing when there is no service manager.
#pragma once

#include <string_view>

namespace cmkd::daemon {

// All are safe from any thread and never fail: a service manager that does not listen is not the daemon's concern.
void NotifyReady(std::string_view status);
void NotifyStatus(std::string_view status);
void NotifyStopping();
// Keeps a WatchdogSec= in the unit from firing.
void NotifyAlive();

}  // namespace cmkd::daemon
