#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. The exit status is ctest's, and its summary comes last.
#
#   bash tests/run.sh                   everything
#   bash tests/run.sh -R Layering       only tests whose names match; arguments go to ctest
#
#   CMKD_PRESET=release|dev|asan|tsan   which build is tested (CMakePresets.json); release is what is installed
#   CMKD_ASAN=1                         before that, what parses bytes from outside, under AddressSanitizer
#   CMKD_FUZZ_SECONDS=N                 fuzz targets run so long each under clang, ASan and UBSan (default 60; 0: none)
#   CMKD_FUZZ_TARGETS="NAME..."         which (files of tests/fuzz); by default all
#   CMKD_FUZZ_SEED=N                    the fuzzers' random numbers; by default of the committed tree, 0 of the clock
#   CMKD_TEST_PARTS_MIB=N               how much data the size tests send in parts (default 64)
#   CMKD_JOBS=N                         how many at once; as many as there are processors
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${CMKD_PRESET:-release}
jobs=${CMKD_JOBS:-$(nproc)}

bash tools/install-deps.sh build run test
# Servers that would listen from now on are installed only where nobody lives: their tests are skipped elsewhere.
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
  run asan -L '^(fuzz|wire|spec|entry)$' || status=$?
fi
# All targets for some seconds each, one for each processor at a time.
fuzz() { # SECONDS
  local targets=${CMKD_FUZZ_TARGETS:-$(cd tests/fuzz && ls ./*.cc | sed -E 's|\./(.*)\.cc|\1|' | grep -vxE 'replay|make_seeds')}
  # shellcheck disable=SC2086
  build fuzz $(printf 'fuzz_%s ' $targets) || return
  # shellcheck disable=SC2086
  bash tests/fuzz/campaign.sh run "$1" "$jobs" $targets
}

bash tests/fuzz/campaign.sh forget
seconds=${CMKD_FUZZ_SECONDS:-60}
# Arguments ask for some tests only. Nobody has to have clang who did not ask for fuzzing.
if [ $# -eq 0 ] && [ "$seconds" != 0 ]; then
  if bash tools/install-deps.sh fuzz; then
    fuzz "$seconds" || status=$?
  else
    echo "run.sh: no fuzzing without clang" >&2
    [ -z "${CMKD_FUZZ_SECONDS:-}" ] || status=1
  fi
fi
build "$preset"
run "$preset" "$@" || status=$?
exit "$status"
