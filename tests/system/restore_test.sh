#!/usr/bin/env bash
# An old copy of the store is refused at start, by what the HSM remembers and by what the audit log does; an operator can
# accept it, once.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
begin_work restore-test
is_refused() {
  if start_daemon; then stop_daemon; return 1; fi
  grep -q "this is a copy from before" "$work/daemon.log" && grep -q -- "--accept-older-store" "$work/daemon.log"
}
store=$work/home/state/store
put() { rm -rf "$store" && cp -a "$work/$1" "$store"; }

new_home home
expect "a daemon" start_daemon
expect "a token" new_token
expect "a key" ctl key create --name key
stop_daemon
cp -a "$store" "$work/old"
expect "a second start" start_daemon
expect "the key is disabled" ctl key disable key
stop_daemon
cp -a "$store" "$work/today"
cp -a "$work/home/state/audit" "$work/audit"

put old
expect "the copy from before is refused" is_refused
rm -rf "$work/home/state/audit"
expect "also by the HSM alone" is_refused
rm -rf "$work/home/state/audit" && cp -a "$work/audit" "$work/home/state/audit"
expect "an operator accepts it" start_daemon --accept-older-store
expect "the key is as it was then" state_is key Enabled
expect "the log says so" sh -c '"$0" audit show | grep -q "older store"' "$cmkctl"
stop_daemon
expect "from then on it is the store" start_daemon
stop_daemon KILL
expect "also after a kill" start_daemon
stop_daemon
put today
expect "and the one it replaced is refused" is_refused
exit $((failures != 0))
