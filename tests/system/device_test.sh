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

# The auditor reads what happened; nobody else does
module=${CMKD_BUILD_DIR:-.}/lib/libcmkd-firmware-sim.so
printf '12345678\n' >so.pin; printf 'an auditor\n' >auditor.pin
CMKD_FIRMWARE_SIM_DIR=$work/a pkcs11-tool --module "$module" --init-token --label t --so-pin 12345678 >/dev/null
refused a auditor auditor.pin auditor.pin
a auditor so.pin auditor.pin
refused a audit so.pin
a audit auditor.pin >audit.txt
for event in 'so set auditor PIN CKR_OK' 'auditor login CKR_PIN_INCORRECT' 'custodians backup CKR_ACTION_PROHIBITED' \
    'custodians updated CKR_OK 7' 'connector refuse update'; do
  case $event in auditor*) event="nobody login CKR_PIN_INCORRECT auditor" ;; esac
  grep -qF "$event" audit.txt || fail "the audit has no: $event"
done
public=$(sed -n 's/^public-key //p' audit.txt)
"$sim" check-audit audit.txt "$public" | grep -q whole || fail check-audit
sed 's/custodians backup/custodians restor/' audit.txt >changed.txt
refused "$sim" check-audit changed.txt "$public"

# A module that was changed after it was built does not serve, until it is sealed anew
cp "$module" changed.so
printf x >>changed.so
slots() { CMKD_FIRMWARE_SIM_DIR=$work/b pkcs11-tool --module "$work/changed.so" --list-token-slots; }
refused slots
"$sim" seal changed.so
slots >/dev/null || fail "sealed anew"

# The end
before=$(a status | grep serial)
a zeroize
[ "$(ls a | tr '\n' ' ')" = "lock " ] || fail "something is left: $(ls a)"
[ "$(a status | grep serial)" != "$before" ] || fail "a new device"
echo "all well"
