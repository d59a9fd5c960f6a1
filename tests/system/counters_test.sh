#!/usr/bin/env bash
# Uses of each version and client, over kill -9: after it a count is too high by one block at most, and never too low.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
begin_work counters-test
echo "a small secret" >plain

# seal COUNT: so many encryptions, one after the other; each that was answered is a line of "answered".
seal() {
  local i
  for i in $(seq "$1"); do
    ctl ciphertext encrypt ring/counted --pin-file pin --in plain --out sealed >/dev/null 2>&1 || return 1
    echo >>answered
  done
}
open() { ctl ciphertext decrypt ring/counted --pin-file pin --in first --out opened && cmp plain opened; }
# counted VERSION MEMBER: what the report says of the only client.
counted() { ctl --json key users counted --version "$1" | sed -n "s/.*\"$2\": *\([0-9]*\).*/\1/p"; }
is() { [ "$(counted "$1" "$2")" = "$3" ] || { echo "version $1: $2 is $(counted "$1" "$2"), not $3"; return 1; }; }
within() { # VERSION MEMBER LEAST MOST
  local now; now=$(counted "$1" "$2")
  [ "$now" -ge "$3" ] && [ "$now" -le "$4" ] || { echo "version $1: $2 is $now, not $3 to $4"; return 1; }
}
block=16  # the smallest; counts here stay small

new_home home
expect "a daemon" start_daemon
expect "a token" new_token
expect "a key" ctl key create --name counted
expect "eight encryptions" seal 8
cp sealed first
expect "are eight" is 1 protects 8
for i in 1 2 3; do expect "decryption $i" open; done
expect "are three" is 1 processes 3
stop_daemon KILL
expect "after a kill the daemon starts" start_daemon
expect "no encryption is missing" within 1 protects 8 $((8 + block))
expect "no decryption is missing" within 1 processes 3 $((3 + block))
before=$(counted 1 protects)
: >answered
seal 1000 &
busy=$!
until [ "$(wc -l <answered)" -ge 5 ]; do sleep 0.05; done
stop_daemon KILL
wait "$busy"
answered=$(wc -l <answered)
expect "after a kill in the midst of uses" start_daemon
expect "none of $answered is missing" within 1 protects $((before + answered)) $((before + answered + 1 + 2 * block))
expect "a rotation" ctl key rotate counted
expect "the old version still opens" open
used=$(counted 1 processes)
stop_daemon
expect "a clean stop, and a start" start_daemon
expect "gives back what was not used" is 1 processes "$used"
expect "an encryption by the new version" seal 1
expect "counts for that one" is 2 protects 1
exit $((failures != 0))
