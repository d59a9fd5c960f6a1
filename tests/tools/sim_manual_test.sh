#!/usr/bin/env bash
# The manual page of cmkd-sim names exactly the commands that the program has, with their arguments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sim=${CMKD_BUILD_DIR:-.}/bin/cmkd-sim
[ -x "$sim" ] || { echo "missing: $sim"; exit 1; }
help=$("$sim" --help | sed -n 's/^  \([a-z].*\)$/\1/p' | sort)
manual=$(sed -n 's/^\.It Li "\(.*\)"$/\1/p' "$here/../../man/cmkd-sim.1" | sort)
[ "$(wc -l <<<"$help")" -ge 15 ] || { echo "cmkd-sim --help shows too few commands: $help"; exit 1; }
diff <(echo "$help") <(echo "$manual") || { echo "help (<) and man/cmkd-sim.1 (>) differ"; exit 1; }
echo "the manual page is in step with the program"
