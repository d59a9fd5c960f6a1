#!/usr/bin/env bash
# Runs cmkd-conformance on one module and a token of its own. Its status is the program's; 77 for cmkd-profiles when
# the test cases are not beside the source tree (they are not part of it).
#
#   run_conformance.sh MODULE [ARGUMENTS of cmkd-conformance...]
#
#   cmkd-software, cmkd-softhsm2   cmkd with that back end, in a sandbox
#   softhsm2                       SoftHSM2 by itself
#   nss-softokn                    NSS's softoken by itself
#   cmkd-profiles                  the OASIS profile test cases on cmkd, from $CMKD_VECTORS or ../shared/vectors
#
#   CMKD_CONFORMANCE_REPORTS       a directory: the report goes there as MODULE.json
set -u
module=${1:?a module}; shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${CMKD_BUILD_DIR:-.}/bin
program=${CMKD_CONFORMANCE:-$bin/cmkd-conformance}
lists=$here/../../conformance/deviations
[ -x "$program" ] || { echo "missing: $program"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/conformance.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The first of the named libraries in the places where Debian has them.
library() {
  local file
  for file in "$@"; do
    for place in /usr/lib /usr/lib/*-linux-gnu; do [ -f "$place/$file" ] && { echo "$place/$file"; return; }; done
  done
}
report=()
[ -n "${CMKD_CONFORMANCE_REPORTS:-}" ] && { mkdir -p "$CMKD_CONFORMANCE_REPORTS"; report=(--json "$CMKD_CONFORMANCE_REPORTS/$module.json"); }
listed=()
[ -f "$lists/$module.txt" ] && listed=(--deviations "$lists/$module.txt")

sandbox() { # HSM
  [ -x "$bin/cmkctl" ] || { echo "missing: $bin/cmkctl"; exit 1; }
  "$bin/cmkctl" sandbox --profile general --hsm "$1" -- "$program" --name "cmkd, $2" "${listed[@]}" "${report[@]}" "${@:3}"
}

# Where the vectors are, as beside the source tree.
vectors=${CMKD_VECTORS:-$here/../../../shared/vectors}

case $module in
  cmkd-profiles)
    [ -d "$vectors/oasis-profiles" ] || { echo "skipped: no $vectors/oasis-profiles"; exit 77; }
    sandbox software "profiles" --profiles "$vectors/oasis-profiles" "$@" ;;
  cmkd-software) sandbox software "software token" "$@" ;;
  cmkd-softhsm2)
    command -v softhsm2-util >/dev/null || { echo "missing: softhsm2-util"; exit 1; }
    sandbox softhsm2 "SoftHSM2 behind it" "$@" ;;
  softhsm2)
    file=$(library softhsm/libsofthsm2.so)
    { [ -n "$file" ] && command -v softhsm2-util >/dev/null; } || { echo "missing: SoftHSM2"; exit 1; }
    export SOFTHSM2_CONF=$work/softhsm2.conf P11_MODULE=$file P11_TOKEN=conformance P11_PIN=12345678 P11_SO_PIN=87654321
    mkdir "$work/tokens"
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" >"$SOFTHSM2_CONF"
    softhsm2-util --init-token --free --label "$P11_TOKEN" --pin "$P11_PIN" --so-pin "$P11_SO_PIN" >/dev/null || exit 1
    "$program" --name SoftHSM2 "${listed[@]}" "${report[@]}" "$@" ;;
  nss-softokn)
    file=$(library libsoftokn3.so nss/libsoftokn3.so)
    { [ -n "$file" ] && command -v certutil >/dev/null; } || { echo "missing: NSS"; exit 1; }
    # Softoken's security officer has the user's password.
    export P11_MODULE=$file P11_TOKEN='NSS Certificate DB' P11_PIN=12345678 P11_SO_PIN=12345678
    export P11_INITIALISE="configdir='sql:$work' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    echo "$P11_PIN" >"$work/password"
    certutil -N -d "sql:$work" -f "$work/password" || exit 1
    "$program" --name "NSS softoken" "${listed[@]}" "${report[@]}" "$@" ;;
  *) echo "there is no module $module"; exit 1 ;;
esac
