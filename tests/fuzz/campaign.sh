#!/usr/bin/env bash
# Fuzz targets for some seconds each, from their kept seeds; and afterwards, as a test of its own, what came of it.
#
#   campaign.sh run SECONDS JOBS NAME...   the targets build/fuzz/test-bin/fuzz_NAME; fails if one of them does
#   campaign.sh verdict                    fails with the ends of the logs of those that failed; a test of ctest's, so that
#                                          its summary names a failed campaign as it names every other failure
#   campaign.sh forget                     what an earlier campaign said
#
# A fuzzer's random numbers begin with the hash of the committed tree: two fresh clones of a commit try the same, so what one
# finds the other finds, and each commit tries something else. CMKD_FUZZ_SEED=N begins with N instead, 0 with the clock.
#
# What breaks a target is left in build/fuzz/artifacts, its whole log in build/fuzz/NAME.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=tests/fuzz/campaign.sh
out=build/fuzz
findings='runtime error|ERROR|SUMMARY|does not hold|the model says|Test unit written'

# Where there is no repository, one number for all.
tree=$(git rev-parse 'HEAD^{tree}' 2> /dev/null) || tree=1
seed=${CMKD_FUZZ_SEED:-$((16#${tree:0:7}))}

one() { # SECONDS NAME
  # A sequence of calls touches thousands of features, and weighing each of them took the fuzzer longer than the calls:
  # without that five times as many sequences run. Nothing is read of one behind its 48th step.
  local more=; [ "$2" = calls ] && more='-entropic=0 -reduce_inputs=0 -max_len=193'
  local status=0
  mkdir -p "$out/corpus/$2"
  # shellcheck disable=SC2086
  "$out/test-bin/fuzz_$2" -seed="$seed" -max_total_time="$1" -timeout=60 -rss_limit_mb=4096 -max_len=8192 $more \
    -print_final_stats=1 -artifact_prefix="$out/artifacts/$2-" "$out/corpus/$2" "tests/fuzz/seeds/$2" \
    > "$out/$2.log" 2>&1 || status=$?
  printf 'fuzz: %s for %s s from seed %s, %s runs%s\n' "$2" "$1" "$seed" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$2.log")" "$([ $status = 0 ] || echo ": FAILED ($status)")"
  [ $status = 0 ] && return
  grep -E "$findings" "$out/$2.log" || true
  # The steps of the fuzzer's own progress say nothing of a failure.
  { echo "fuzz_$2 ended with $status:"; grep -vE '^#[0-9]+[[:space:]]' "$out/$2.log" | tail -n 60; } > "$out/failed/$2"
  return 1
}

case $1 in
  run)
    seconds=$2 jobs=$3; shift 3
    mkdir -p "$out/artifacts" "$out/failed"
    printf '%s\n' "$@" | xargs -P "$jobs" -n 1 bash "$here" one "$seconds"
    ;;
  one) one "$2" "$3" ;;
  verdict) ! cat "$out"/failed/* 2> /dev/null ;;
  forget) rm -rf "$out/failed" ;;
  *) echo "campaign.sh: run, verdict or forget" >&2; exit 2 ;;
esac
