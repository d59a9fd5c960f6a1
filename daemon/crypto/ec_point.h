// Whether a public point is one of its curve. Any thread.
#pragma once

#include <string_view>

#include "common/bytes.h"

namespace cmkd::daemon {

// `curve` is printed as in the table of curves (P-256); `point` is 04‖x‖y. True also for curves that OpenSSL has not:
// then the device is the judge.
bool IsOnCurve(std::string_view curve, ByteView point);

}  // namespace cmkd::daemon
