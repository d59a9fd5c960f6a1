#!/usr/bin/env bash
# cmkctl hsm check on SoftHSM2: the report for people and for programs, and what it says when nothing comes of it.
set -u
cmkctl=${CMKCTL:-${CMKD_BUILD_DIR:-.}/bin/cmkctl}
work=$(mktemp -d "${TMPDIR:-/tmp}/hsm-check.XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

module=
for file in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do [ -f "$file" ] && module=$file; done
[ -n "$module" ] || fail "SoftHSM2 is not installed"
mkdir "$work/tokens"
export SOFTHSM2_CONF=$work/softhsm2.conf
printf 'directories.tokendir = %s/tokens\nlog.level = ERROR\n' "$work" >"$SOFTHSM2_CONF"
softhsm2-util --init-token --free --label examined --pin 12345678 --so-pin 87654321 >/dev/null || fail "no token"
(umask 077; echo 12345678 >"$work/pin"; echo 00000000 >"$work/wrong")

objects() { find "$work/tokens" -name '*.object' | wc -l; }
before=$(objects)
"$cmkctl" hsm check "$module" --token-label examined --environment "SOFTHSM2_CONF=$SOFTHSM2_CONF" >"$work/none" 2>&1 && fail "it logged in without a PIN"
"$cmkctl" hsm check "$module" --token-label examined --environment "SOFTHSM2_CONF=$SOFTHSM2_CONF" --pin-file "$work/pin" \
  >"$work/report" || fail "status $?: $(cat "$work/report")"
grep -q '^module .*SoftHSM' "$work/report" || fail "no module in the report"
grep -qE '^Edwards keys +handled' "$work/report" || fail "Edwards keys are residents in SoftHSM2"
grep -q 'can use this device' "$work/report" || fail "no verdict"
[ "$(objects)" = "$before" ] || fail "it left objects in the token"
"$cmkctl" --json hsm check "$module" --token-label examined --environment "SOFTHSM2_CONF=$SOFTHSM2_CONF" \
  --pin-file "$work/pin" >"$work/json" || fail "status $? with --json"
python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["usable"] and len(d["findings"]) > 10
assert any(m["name"] == "CKM_AES_GCM" for m in d["mechanisms"])' "$work/json" || fail "no such document"

"$cmkctl" hsm check "$module" --token-label examined --environment "SOFTHSM2_CONF=$SOFTHSM2_CONF" --pin-file "$work/wrong" \
  >"$work/out" 2>&1 && fail "it took a wrong PIN"
grep -q 00000000 "$work/out" && fail "the PIN is in the message"
"$cmkctl" hsm check "$module" --token-label other --environment "SOFTHSM2_CONF=$SOFTHSM2_CONF" >"$work/out" 2>&1
[ $? -eq 1 ] || fail "a token that is not there"
grep -q other "$work/out" || fail "which token? $(cat "$work/out")"
"$cmkctl" hsm check "$work/nothing" >"$work/out" 2>&1
[ $? -eq 2 ] || fail "a module that is not there"
"$cmkctl" hsm check "$work/pin" >"$work/out" 2>&1
[ $? -eq 1 ] || fail "a file that is no module"
echo "hsm check: all as it should be"
