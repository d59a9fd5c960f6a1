#!/usr/bin/env bash
# tools/quickstart.sh with what this build made: the whole round, twice, and its end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CMKD_BUILD_DIR=${CMKD_BUILD_DIR:-$PWD}
CMKD_HOME=$(mktemp -d "${TMPDIR:-/tmp}/quickstart.XXXXXX")
export CMKD_HOME
# The daemon writes until it has ended.
clear_up() {
  bash "$here/../../tools/quickstart.sh" stop || true
  local i
  for ((i = 0; i < 1200; ++i)); do pgrep -f -- "--config $CMKD_HOME/cmkd.toml" >/dev/null || break; sleep 0.05; done
  rm -rf "$CMKD_HOME"
}
trap clear_up EXIT

for round in first second; do
  bash "$here/../../tools/quickstart.sh" >"$CMKD_HOME.log" 2>&1 || { cat "$CMKD_HOME.log"; rm -f "$CMKD_HOME.log"; exit 1; }
  grep -q 'is rotated: version' "$CMKD_HOME.log" || { cat "$CMKD_HOME.log"; exit 1; }
  cmp "$CMKD_HOME/letter.txt" "$CMKD_HOME/letter.dec"
  echo "the $round round is as it should be"
done
rm -f "$CMKD_HOME.log"
