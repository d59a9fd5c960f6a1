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

# Whoever keeps only the end of a long log finds there what the failed tests said last, and ctest's summary behind it.
say_again() { # BUILD-FOLDER
  local logs=$1/Testing/Temporary
  [ -s "$logs/LastTestsFailed.log" ] || return 0
  awk -v tests=5 -v lines=70 '
    FNR == NR { sub(/^[0-9]+:/, ""); failed[$0]; ++count; next }
    /^[0-9]+\/[0-9]+ Test: / {
      name = substr($0, index($0, ": ") + 2)
      if (!(name in failed) || told == tests) next
      printf "---- the end of what %s said (%d of %d that failed)\n", name, ++told, count
      while ((getline line) > 0 && line != "Output:") { }
      getline line
      for (at = 0; (getline line) > 0 && line != "<end of output>"; ++at) kept[at] = line
      share = int(lines / (count < tests ? count : tests))
      for (i = at > share ? at - share : 0; i < at; ++i) print substr(kept[i], 1, 500)
    }' "$logs/LastTestsFailed.log" "$logs/LastTest.log"
  sed -n '/^[0-9]*% tests passed/,$p' "$1/tests.log"
}

run() { # PRESET ARGUMENTS...
  local folder=build/$1 status=0; shift
  rm -f "$folder/Testing/Temporary/LastTestsFailed.log"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" "$@" 2>&1 | tee "$folder/tests.log" || status=$?
  [ $status = 0 ] || say_again "$folder"
  return $status
}

status=0
if [ "${CMKD_ASAN:-}" = 1 ]; then
  build asan parsers
  run asan -L '^(fuzz|wire|spec|entry)$' || status=$?
fi
# All targets for some seconds each, one for each processor at a time.
fuzz() { # SECONDS
  local targets=${CMKD_FUZZ_TARGETS:-$(cd tests/fuzz && printf '%s\n' ./*.cc | sed -E 's|\./(.*)\.cc|\1|' | grep -vxE 'replay|make_seeds')}
  # shellcheck disable=SC2046,SC2086
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
