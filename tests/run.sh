#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. The exit status is ctest's, and its summary comes last.
#
#   bash tests/run.sh                   everything
#   bash tests/run.sh -R Layering       only tests whose names match; arguments go to ctest
#
#   CMKD_PRESET=release|dev|asan|tsan   which build is tested (CMakePresets.json); release is what is installed
#   CMKD_ASAN=1                         before that, what parses bytes from outside, under AddressSanitizer
#   CMKD_JOBS=N                         how many at once; as many as there are processors
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${CMKD_PRESET:-release}
jobs=${CMKD_JOBS:-$(nproc)}

bash tools/install-deps.sh build run test
# A server that would listen from now on is installed only where nobody lives: its test is skipped elsewhere.
if [ "${CI:-}" = true ] || [ ! -d /run/systemd/system ]; then bash tools/install-deps.sh service; fi

build() { # PRESET [TARGET...]
  local name=$1; shift
  cmake --preset "$name" -DCMKD_TESTS=ON
  if [ $# -gt 0 ]; then cmake --build "build/$name" -j "$jobs" --target "$@"; else cmake --build "build/$name" -j "$jobs"; fi
}

run() { # PRESET ARGUMENTS...
  local name=$1; shift
  ctest --test-dir "build/$name" --output-on-failure --no-tests=error -j "$jobs" "$@"
}

status=0
if [ "${CMKD_ASAN:-}" = 1 ]; then
  build asan parsers
  run asan -L '^(fuzz|wire|spec)$' || status=$?
fi
build "$preset"
run "$preset" "$@" || status=$?
exit "$status"
