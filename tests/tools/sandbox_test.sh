#!/usr/bin/env bash
# cmkctl sandbox with the real daemon: statuses, what the command finds, and that nothing is left behind, whoever is killed.
#
#   CMKCTL      the program under test (default: bin/cmkctl of CMKD_BUILD_DIR)
#   HSMS        the back ends to try (default: all three)
set -u
cmkctl=${CMKCTL:-${CMKD_BUILD_DIR:-.}/bin/cmkctl}
[ -x "$cmkctl" ] || { echo "missing: $cmkctl"; exit 1; }
daemon=${CMKD_DAEMON:-$(dirname "$cmkctl")/cmkd}
[ -x "$daemon" ] || { echo "missing: $daemon"; exit 1; }
hsms=${HSMS:-software firmware_sim softhsm2}

work=$(mktemp -d "${TMPDIR:-/tmp}/sandbox-test.XXXXXX")
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
trap 'rm -rf "$work"' EXIT
failures=0
log=$work/log

ok() { echo "ok    $1"; }
bad() { echo "FAIL  $1"; [ -s "$log" ] && sed 's/^/        /' "$log"; failures=$((failures + 1)); }
# expect NAME COMMAND...: the command succeeds.
expect() { local name=$1; shift; if "$@"; then ok "$name"; else bad "$name"; fi; }
sandbox() { "$cmkctl" sandbox "$@" >"$log" 2>&1; }

is_gone() { ! kill -0 "$1" 2>/dev/null; }
nothing_left() { [ -z "$(ls -A "$TMPDIR")" ]; }
# Waits up to a minute for a command to succeed.
eventually() { local i; for ((i = 0; i < 1200; ++i)); do "$@" && return 0; sleep 0.05; done; return 1; }
has() { [ -s "$1" ]; }

# ---- Statuses

status_is() { # STATUS OPTIONS... -- COMMAND...
  local wanted=$1 got=0; shift
  sandbox "$@" || got=$?
  [ "$got" -eq "$wanted" ] && nothing_left
}
expect "status 0 is passed on"              status_is 0 -- true
expect "status 7 is passed on"              status_is 7 -- sh -c 'exit 7'
expect "a signal's end is 128 and more"     status_is 137 -- sh -c 'kill -9 $$'
expect "a command that is not there is 127" status_is 127 -- "$work/nowhere"
expect "a command that cannot run is 126"   status_is 126 -- "$work"
expect "no command is a mistake"            status_is 2
no_daemon() { CMKD_DAEMON=$work/nowhere status_is 125 -- true; }
expect "no daemon is 125"                   no_daemon
failing_daemon() { CMKD_DAEMON=$(command -v false) status_is 125 -- true; }
expect "a daemon that does not start is 125" failing_daemon

# ---- What the command finds

cat >"$work/look" <<'LOOK'
set -eu
[ -S "$CMKD_SOCKET" ] && [ -f "$P11_MODULE" ] && [ "${P11_MODULE#/}" != "$P11_MODULE" ]
[ "$P11_TOKEN" = "$1" ]
case $P11_PIN$P11_SO_PIN in *[!0-9]*) exit 1 ;; esac
[ ${#P11_PIN} -eq 8 ] && [ ${#P11_SO_PIN} -eq 8 ]
kill -0 "$CMKD_DAEMON_PID"
[ "$(cat "$CMKD_SANDBOX_DIR/cmkd.pid")" = "$CMKD_DAEMON_PID" ]
[ "$(stat -c %a "$CMKD_SANDBOX_DIR")" = 700 ]
LOOK
expect "everything is in the environment"   sandbox -- sh "$work/look" cmkd-sandbox
expect "the label may be chosen"            sandbox --label 'other one' -- sh "$work/look" 'other one'
arguments_arrive() { sandbox -- sh -c '[ "$*" = "--hsm -- x" ]' sh --hsm -- x; }
expect "the command's options are its own"  arguments_arrive

cat >"$work/use" <<USE
set -eu
"$cmkctl" token list | grep -q cmkd-sandbox
"$cmkctl" key create --token cmkd-sandbox --name k
"$cmkctl" key rotate cmkd-sandbox/k
"$cmkctl" key show cmkd-sandbox/k | grep -q '2 of 2'
USE
for hsm in $hsms; do
  for profile in general managed; do
    expect "a key is made and rotated: $hsm, $profile" sandbox --hsm "$hsm" --profile "$profile" -- sh "$work/use"
    expect "nothing is left: $hsm, $profile"           nothing_left
  done
done

# ---- The end, whatever it is

# ended_by SIGNAL STATUS: the command waits; the sandbox gets the signal.
ended_by() {
  local signal=$1 wanted=$2 got=0 pid
  rm -f "$work/daemon"
  # A shell starts background jobs with SIGINT ignored.
  env --default-signal=INT "$cmkctl" sandbox -- sh -c 'echo "$CMKD_DAEMON_PID" >"$1.new"; mv "$1.new" "$1"; exec sleep 60' sh \
    "$work/daemon" >"$log" 2>&1 &
  pid=$!
  eventually has "$work/daemon" || return 1
  kill "-$signal" "$pid"
  wait "$pid" || got=$?
  [ "$got" -eq "$wanted" ] || { echo "status $got" >>"$log"; return 1; }
  eventually is_gone "$(cat "$work/daemon")" && eventually nothing_left
}
expect "SIGTERM reaches the command, and nothing is left" ended_by TERM 143
expect "SIGINT reaches the command, and nothing is left"  ended_by INT 130
expect "SIGKILL leaves no daemon and no directory"        ended_by KILL 137

interrupted_early() {
  local got=0
  timeout --signal=TERM 0.02 "$cmkctl" sandbox -- sleep 5 >"$log" 2>&1 || got=$?
  [ "$got" -ne 0 ] && eventually nothing_left
}
expect "a signal during the start leaves nothing" interrupted_early

kept() {
  sandbox --keep -- true || return 1
  local directory
  directory=$(sed -n 's/.*kept \(.*\)$/\1/p' "$log")
  [ -f "$directory/cmkd.log" ] && rm -rf "$directory"
}
expect "--keep keeps the directory" kept

long_temporary_directory() {
  local deep=$work/$(printf 'd%.0s' {1..100})
  mkdir "$deep"
  TMPDIR=$deep "$cmkctl" sandbox -- true >"$log" 2>&1 && [ -z "$(ls -A "$deep")" ]
}
expect "a TMPDIR that is too long for sockets does no harm" long_temporary_directory

# ---- Restarts

cat >"$work/across" <<ACROSS
set -eu
first=\$CMKD_DAEMON_PID
for i in \$(seq 100); do
  "$cmkctl" status >/dev/null 2>&1 || true
  now=\$(cat "\$CMKD_SANDBOX_DIR/cmkd.pid")
  [ "\$now" = "\$first" ] || n=\$((\${n:-0} + 1))
  [ "\${n:-0}" -lt 5 ] || exit 0
  sleep 0.05
done
exit 1
ACROSS
expect "--restart-after puts a new daemon in the place of the old one" sandbox --restart-after 100 -- sh "$work/across"
expect "so it does gracefully" sandbox --restart-after 100 --restart-graceful -- sh "$work/across"
expect "nothing is left of either" nothing_left

[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
