#!/usr/bin/env bash
# Clocks that jump, with a real daemon: an hour, 31 days, ten years ahead, to 1970 and to 2106, and over restarts. No key is
# destroyed early, none rotates twice, and every jump is an alarm.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
# The multi-threaded library; the other one is not safe in a daemon.
faketime=$(find /usr/lib /usr/local/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$faketime" ] || { echo "FAIL  no libfaketime (package faketime)"; exit 1; }

begin_work faketime-test
new_home home

# The daemon believes what the file says, second by second; time since the machine's start stays the real one.
say() { echo "$1" >"$work/now.new" && mv "$work/now.new" "$work/now"; }  # the daemon never reads half of it
daemon_env=(LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$work/now" FAKETIME_NO_CACHE=1
  FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1)
is() { [ "$(field "$1" "$2")" = "$3" ] || { echo "$1: $2 is $(field "$1" "$2"), not $3"; return 1; }; }
alarms() { ctl --json audit show --limit 10000 | grep -c "the clock jumped"; }
more_alarms_than() { local i; for ((i = 0; i < 60; ++i)); do [ "$(alarms)" -gt "$1" ] && return; sleep 1; done; return 1; }
# Until the scheduler has looked at the clock a few times.
look() { sleep 2.5; }

say "+0"
expect "a daemon under a clock that can be set" start_daemon
expect "a token" new_token
expect "a key" ctl key create --token ring --name doomed
expect "to be deleted in 30 days" ctl key schedule-deletion doomed --days 30
expect "a key that rotates every 30 days" ctl key create --token ring --name turns --rotation-days 30
for jump in "+1h" "+31d" "+40d" "+3650d" "@1970-01-02 00:00:00" "@2106-01-01 00:00:00"; do
  before=$(alarms)
  versions=$(field turns versions)
  say "$jump"; look
  expect "$jump: an alarm" more_alarms_than "$before"
  expect "$jump: nothing is destroyed" is doomed state PendingDeletion
  stop_daemon
  expect "$jump: the daemon starts again" start_daemon
  look
  expect "$jump: nor after a restart" is doomed state PendingDeletion
  say "+0"; look
  stop_daemon KILL
  expect "$jump: and again, the clock set right" start_daemon
  say "$jump"; look
  after=$(field turns versions)
  expect "$jump: at most one rotation (from $versions to $after versions)" test "$after" -le $((versions + 1))
  expect "$jump: nor destroyed now" is doomed state PendingDeletion
done
# Since the first jump there was no day without one.
expect "one rotation for all the jumps" test "$(field turns versions)" -le 2
expect "the deletion can still be cancelled" ctl key cancel-deletion doomed
exit $((failures != 0))
