#!/usr/bin/env bash
# Runs the catalogue of attacks on one kind of token and keeps the result for the table of SECURITY.md.
#
#   run_attacks.sh managed|general software|softhsm2 [CASE...]   a token of cmkd
#   run_attacks.sh plain softhsm2 [CASE...]                      SoftHSM2 by itself, for comparison: never fails for being broken
#
# CMKCTL, CMKD_ATTACKS: the programs (default: those of CMKD_BUILD_DIR). CMKD_ATTACK_RUNS: where the results go.
set -u
profile=${1:?managed, general or plain}; hsm=${2:?software or softhsm2}; shift 2
build=${CMKD_BUILD_DIR:-.}
cmkctl=${CMKCTL:-$build/bin/cmkctl}
attacks=${CMKD_ATTACKS:-$build/test-bin/attacks}
runs=${CMKD_ATTACK_RUNS:-$build/attacks}
[ -x "$attacks" ] || { echo "missing: $attacks"; exit 1; }
if [ "$hsm" = softhsm2 ] && ! command -v softhsm2-util >/dev/null; then echo "missing: softhsm2-util"; exit 1; fi
mkdir -p "$runs" || exit 1
result=$runs/$profile.$hsm
# A run of single cases is no result for the table.
out=(--out "$result.new"); [ $# -eq 0 ] || out=()

status=0
if [ "$profile" = plain ]; then
  place=$(mktemp -d "${TMPDIR:-/tmp}/attacks.XXXXXX")
  trap 'rm -rf "$place"' EXIT
  mkdir "$place/tokens"
  printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$place/tokens" >"$place/softhsm2.conf"
  export SOFTHSM2_CONF=$place/softhsm2.conf P11_TOKEN=plain P11_PIN=24681357 P11_SO_PIN=13572468
  softhsm2-util --init-token --free --label "$P11_TOKEN" --pin "$P11_PIN" --so-pin "$P11_SO_PIN" >/dev/null || exit 1
  for module in "${CMKD_SOFTHSM2_MODULE:-}" /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
                /usr/local/lib/softhsm/libsofthsm2.so; do
    [ -n "$module" ] && [ -f "$module" ] && { export P11_MODULE=$module; break; }
  done
  CMKD_ATTACK_PROFILE=plain "$attacks" --referee "${out[@]}" "$@" || status=$?
else
  [ -x "$cmkctl" ] || { echo "missing: $cmkctl"; exit 1; }
  CMKCTL=$cmkctl CMKD_ATTACK_PROFILE=$profile CMKD_ATTACK_HSM=$hsm "$cmkctl" sandbox --profile "$profile" --hsm "$hsm" -- "$attacks" "${out[@]}" "$@" || status=$?
fi
[ $# -ne 0 ] || [ ! -f "$result.new" ] || mv "$result.new" "$result"
exit $status
