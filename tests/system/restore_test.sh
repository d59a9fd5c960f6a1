#!/usr/bin/env bash
# An old copy of the store is refused at start, by what the HSM remembers and by what the audit log does; an operator can
# accept it, once.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
bin=${CMKD_BUILD_DIR:-.}/bin
cmkctl=${CMKCTL:-$bin/cmkctl}
cmkd=${CMKD:-$bin/cmkd}
work=$(mktemp -d "${TMPDIR:-/tmp}/restore-test.XXXXXX")
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; }; }
trap 'stop; rm -rf "$work"' EXIT
failures=0
ok() { echo "ok    $1"; }
bad() { echo "FAIL  $1"; [ -s "$work/log" ] && sed 's/^/        /' "$work/log"; failures=$((failures + 1)); }
expect() { local name=$1; shift; if "$@" >"$work/log" 2>&1; then ok "$name"; else bad "$name"; fi; }
ctl() { "$cmkctl" "$@"; }
state_is() { ctl key show key | grep -q "$1"; }
start() {
  "$cmkd" --config "$work/home/cmkd.toml" "$@" >"$work/daemon.log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do
    ctl status >/dev/null 2>&1 && return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/daemon.log"
  wait "$pid"; pid=
  return 1
}
refused() {
  if start; then stop; return 1; fi
  grep -q "this is a copy from before" "$work/daemon.log" && grep -q -- "--accept-older-store" "$work/daemon.log"
}
store=$work/home/state/store
put() { rm -rf "$store" && cp -a "$work/$1" "$store"; }

printf '12345678\n' >"$work/pin"
"$cmkctl" init --directory "$work/home" >/dev/null || exit 1
export CMKD_SOCKET=$work/home/cmkd.sock
expect "a daemon" start
expect "a token" ctl token create --label ring --profile managed --pin-file "$work/pin" --so-pin-file "$work/pin"
expect "a key" ctl key create --name key
stop
cp -a "$store" "$work/old"
expect "a second start" start
expect "the key is disabled" ctl key disable key
stop
cp -a "$store" "$work/today"
cp -a "$work/home/state/audit" "$work/audit"

put old
expect "the copy from before is refused" refused
rm -rf "$work/home/state/audit"
expect "also by the HSM alone" refused
rm -rf "$work/home/state/audit" && cp -a "$work/audit" "$work/home/state/audit"
expect "an operator accepts it" start --accept-older-store
expect "the key is as it was then" state_is Enabled
expect "the log says so" sh -c '"$0" audit show | grep -q "older store"' "$cmkctl"
stop
expect "from then on it is the store" start
kill -KILL "$pid"; wait "$pid" 2>/dev/null; pid=
expect "also after a kill" start
stop
put today
expect "and the one it replaced is refused" refused
exit $((failures != 0))
