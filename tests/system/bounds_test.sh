#!/usr/bin/env bash
# The bounds profiles with a real daemon: what each service allows is allowed, one step beyond is refused and named.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
bin=${CMKD_BUILD_DIR:-.}/bin
cmkctl=${CMKCTL:-$bin/cmkctl}
cmkd=${CMKD:-$bin/cmkd}
work=$(mktemp -d "${TMPDIR:-/tmp}/bounds-test.XXXXXX")
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; }; }
trap 'stop; rm -rf "$work"' EXIT
failures=0
ok() { echo "ok    $profile: $1"; }
bad() { echo "FAIL  $profile: $1"; [ -s "$work/log" ] && sed 's/^/        /' "$work/log"; failures=$((failures + 1)); }
expect() { local name=$1; shift; if "$@" >"$work/log" 2>&1; then ok "$name"; else bad "$name"; fi; }
refused() { # NAME CODE COMMAND...
  local name=$1 code=$2; shift 2
  if ! "$@" >"$work/log" 2>&1 && grep -q "$code" "$work/log"; then ok "$name"; else bad "$name"; fi
}
ctl() { "$cmkctl" "$@"; }
state_is() { ctl key show "$1" | grep -q "$2"; }

start() {
  local home=$work/$profile
  ctl init --directory "$home" >/dev/null || return 1
  sed -i "s/^\[tokens\]$/[tokens]\nbounds_profile = \"$profile\"/" "$home/cmkd.toml"
  export CMKD_SOCKET=$home/cmkd.sock
  "$cmkd" --config "$home/cmkd.toml" >"$work/log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do ctl status >/dev/null 2>&1 && return 0; sleep 0.1; done
  return 1
}

printf '12345678\n' >"$work/pin"
#   profile  window from-to  rotation from-to  disabled first  a cancelled deletion leads to
while read -r profile window_min window_max rotation_min rotation_max disable_first cancelled; do
  expect "a daemon" start
  expect "a token" ctl token create --label ring --profile managed --pin-file "$work/pin" --so-pin-file "$work/pin"
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
  expect "back to $cancelled" state_is key "$cancelled"
  stop
done <<'E2'
default 7 366 1 3650 no Disabled
tencent 7 30 7 365 yes Disabled
alibaba 7 366 7 730 no Enabled
aws 7 30 90 2560 no Disabled
E2
exit $((failures != 0))
