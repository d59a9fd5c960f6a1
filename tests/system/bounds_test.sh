#!/usr/bin/env bash
# The bounds profiles with a real daemon: what each service allows is allowed, one step beyond is refused and named.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
begin_work bounds-test
start() {
  new_home "$profile"
  sed -i "s/^\[tokens\]$/[tokens]\nbounds_profile = \"$profile\"/" "$home/cmkd.toml"
  start_daemon
}

#   profile  window from-to  rotation from-to  disabled first  a cancelled deletion leads to
while read -r profile window_min window_max rotation_min rotation_max disable_first cancelled; do
  echo "== $profile"
  expect "a daemon" start
  expect "a token" new_token
  expect "shortest rotation period" ctl key create --name key --rotation-days "$rotation_min"
  expect "longest rotation period" ctl key set key --rotation-days "$rotation_max"
  refused "a longer one" ROTATION_PERIOD_OUT_OF_BOUNDS ctl key set key --rotation-days $((rotation_max + 1))
  if [ "$rotation_min" -gt 1 ]; then
    refused "a shorter one" ROTATION_PERIOD_OUT_OF_BOUNDS ctl key set key --rotation-days $((rotation_min - 1))
  fi
  if [ "$disable_first" = yes ]; then
    refused "deletion of a key in use" DISABLE_FIRST ctl key schedule-deletion key --days "$window_min"
    expect "disabled first" ctl key disable key
  fi
  refused "too short a window" WINDOW_OUT_OF_BOUNDS ctl key schedule-deletion key --days $((window_min - 1))
  refused "too long a window" WINDOW_OUT_OF_BOUNDS ctl key schedule-deletion key --days $((window_max + 1))
  expect "the shortest window" ctl key schedule-deletion key --days "$window_min"
  expect "the longest window, later" ctl key schedule-deletion key --days "$window_max"
  refused "never earlier" DELETION_ONLY_EXTENDS ctl key schedule-deletion key --days "$window_min"
  expect "cancelled" ctl key cancel-deletion key
  expect "the longest quiet time of a version" ctl token set ring --version-quiet-days 366
  refused "a longer one" QUIET_TIME_OUT_OF_BOUNDS ctl token set ring --version-quiet-days 367
  refused "none" QUIET_TIME_OUT_OF_BOUNDS ctl token set ring --version-quiet-days 0
  expect "a token's own window" ctl token set ring --deletion-window-days "$window_max"
  refused "beyond the bounds" WINDOW_OUT_OF_BOUNDS ctl token set ring --deletion-window-days $((window_max + 1))
  expect "back to $cancelled" state_is key "$cancelled"
  stop_daemon
done <<'E2'
default 7 366 1 3650 no Disabled
tencent 7 30 7 365 yes Disabled
alibaba 7 366 7 730 no Enabled
aws 7 30 90 2560 no Disabled
E2
exit $((failures != 0))
