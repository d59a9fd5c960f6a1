#!/usr/bin/env bash
# Runs cmkd-conformance on every module that is there and writes the compatibility matrix, conformance/MATRIX.md.
#
#   CMKD_BUILD_DIR=build/release bash conformance/matrix.sh
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CMKD_BUILD_DIR=${CMKD_BUILD_DIR:-$here/../build/release}
program=${CMKD_CONFORMANCE:-$CMKD_BUILD_DIR/bin/cmkd-conformance}
export CMKD_CONFORMANCE_REPORTS
CMKD_CONFORMANCE_REPORTS=$(mktemp -d "${TMPDIR:-/tmp}/matrix.XXXXXX")
trap 'rm -rf "$CMKD_CONFORMANCE_REPORTS"' EXIT

reports=()
for module in cmkd-software cmkd-softhsm2 softhsm2 nss-softokn; do
  bash "$here/../tests/conformance/run_conformance.sh" "$module" | tail -n 1 || true
  if [ -f "$CMKD_CONFORMANCE_REPORTS/$module.json" ]; then reports+=("$CMKD_CONFORMANCE_REPORTS/$module.json"); fi
done
"$program" matrix "${reports[@]}" >"$here/MATRIX.md"
echo "wrote $here/MATRIX.md"
