// sd_notify(3).
#include "daemon/system/notify.h"

#include <systemd/sd-daemon.h>

#include <string>

namespace cmkd::daemon {
namespace {

void Send(const std::string& state) { (void)::sd_notify(0, state.c_str()); }

// A status is one line.
std::string OneLine(std::string_view status) { return std::string(status.substr(0, status.find('\n'))); }

}  // namespace

void NotifyReady(std::string_view status) { Send("READY=1\nSTATUS=" + OneLine(status)); }
void NotifyStatus(std::string_view status) { Send("STATUS=" + OneLine(status)); }
void NotifyStopping() { Send("STOPPING=1"); }
void NotifyAlive() { Send("WATCHDOG=1"); }

}  // namespace cmkd::daemon
