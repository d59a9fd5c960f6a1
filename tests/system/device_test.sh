#!/usr/bin/env bash
# cmkd-sim: the simulated device at its own connector, from its first start to its end.
set -eu
sim=${CMKD_BUILD_DIR:-.}/bin/cmkd-sim
[ -x "$sim" ] || { echo "missing: $sim"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/device-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir a b
fail() { echo "FAIL $1"; exit 1; }
refused() { if "$@" >refused.log 2>&1; then fail "not refused: $*"; fi; }
a() { "$sim" --directory a "$@"; }
b() { "$sim" --directory b "$@"; }

refused "$sim" --directory nowhere status
[ ! -e nowhere ] || fail "a mistyped name made a device"
a status | grep -q '^state       operational' || fail status
a status | grep -q 'not validated' || fail "says that it is a simulation"
a self-test >/dev/null
a attest 000102030405060708090a0b0c0d0e0f | grep -q '^signature [0-9a-f]\{128\}$' || fail attest
refused a attest 00

# Firmware
vendor=$("$sim" key vendor.key)
a vendor "$vendor"
refused a vendor "$vendor"
echo image >image
"$sim" sign 7 image vendor.key seven
"$sim" sign 6 image vendor.key six
a update seven
a status | grep -q '^firmware    7' || fail "version 7 runs"
refused a update six

# Two of three custodians
one=$("$sim" key one.key) two=$("$sim" key two.key) three=$("$sim" key three.key)
a quorum 2 "$one" "$two" "$three"
head -c 32 /dev/urandom >part1; head -c 32 /dev/urandom >part2
a domain part1 part2
refused a backup out
a request backup - 1 request
"$sim" approve request one.key approval1
refused a backup out request approval1
"$sim" approve request three.key approval3
a backup out request approval1 approval3
refused a backup again request approval1 approval3
b domain part1 part2
b restore out | grep -q '^0 objects' || fail restore
printf '0\n' >nobody
a request quorum nobody 1 request2
"$sim" approve request2 one.key approval4; "$sim" approve request2 two.key approval5
a quorum 0 -- request2 approval4 approval5
a status | grep -q '^quorum      0 of 0' || fail "no quorum any more"

# The end
before=$(a status | grep serial)
a zeroize
[ "$(ls a | tr '\n' ' ')" = "lock " ] || fail "something is left: $(ls a)"
[ "$(a status | grep serial)" != "$before" ] || fail "a new device"
echo "all well"
