#!/usr/bin/env bash
# Clocks that jump, with a real daemon: an hour, 31 days, ten years ahead, to 1970 and to 2106, and over restarts. No key is
# destroyed early, none rotates twice, and every jump is an alarm.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
bin=${CMKD_BUILD_DIR:-.}/bin
cmkctl=${CMKCTL:-$bin/cmkctl}
cmkd=${CMKD:-$bin/cmkd}
# The multi-threaded library; the other one is not safe in a daemon.
faketime=$(find /usr/lib /usr/local/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$faketime" ] || { echo "FAIL  no libfaketime (package faketime)"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/faketime-test.XXXXXX")
pid=
cleanup() { [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; rm -rf "$work"; }
trap cleanup EXIT
failures=0
ok() { echo "ok    $1"; }
bad() { echo "FAIL  $1"; [ -s "$work/log" ] && sed 's/^/        /' "$work/log"; failures=$((failures + 1)); }
expect() { local name=$1; shift; if "$@" >"$work/log" 2>&1; then ok "$name"; else bad "$name"; fi; }

"$cmkctl" init --directory "$work/home" >/dev/null || exit 1
export CMKD_SOCKET=$work/home/cmkd.sock
ctl() { "$cmkctl" "$@"; }

# The daemon believes what the file says, second by second; time since the machine's start stays the real one.
say() { echo "$1" >"$work/now"; }
start() {
  env LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$work/now" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
    DONT_FAKE_MONOTONIC=1 "$cmkd" --config "$work/home/cmkd.toml" >>"$work/daemon.log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do
    if ctl status >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  cat "$work/daemon.log"
  return 1
}
stop() { kill "$1" "$pid" && wait "$pid" 2>/dev/null; pid=; }
field() { ctl --json key show "$1" | sed -n "s/.*\"$2\": *\"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
is() { [ "$(field "$1" "$2")" = "$3" ] || { echo "$1: $2 is $(field "$1" "$2"), not $3"; return 1; }; }
alarms() { ctl --json audit show --limit 10000 | grep -c "the clock jumped"; }
more_alarms_than() { [ "$(alarms)" -gt "$1" ]; }
# Until the scheduler has looked at the clock a few times.
look() { sleep 2.5; }

say "+0"
expect "a daemon under a clock that can be set" start
printf '12345678\n' >"$work/pin"
expect "a token" ctl token create --label ring --profile managed --pin-file "$work/pin" --so-pin-file "$work/pin"
expect "a key" ctl key create --token ring --name doomed
expect "to be deleted in 30 days" ctl key schedule-deletion doomed --days 30
expect "a key that rotates every 30 days" ctl key create --token ring --name turns --rotation-days 30
for jump in "+1h" "+31d" "+3650d" "@1970-01-02 00:00:00" "@2106-01-01 00:00:00"; do
  before=$(alarms)
  versions=$(field turns versions)
  say "$jump"; look
  expect "$jump: an alarm" more_alarms_than "$before"
  expect "$jump: nothing is destroyed" is doomed state PendingDeletion
  stop -TERM
  expect "$jump: the daemon starts again" start
  look
  expect "$jump: nor after a restart" is doomed state PendingDeletion
  say "+0"; look
  stop -KILL
  expect "$jump: and again, the clock set right" start
  say "$jump"; look
  after=$(field turns versions)
  expect "$jump: at most one rotation (from $versions to $after versions)" test "$after" -le $((versions + 1))
  expect "$jump: nor destroyed now" is doomed state PendingDeletion
done
# Since the first jump there was no day without one.
expect "one rotation for all the jumps" test "$(field turns versions)" -le 2
expect "the deletion can still be cancelled" ctl key cancel-deletion doomed
exit $((failures != 0))
