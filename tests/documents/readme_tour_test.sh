#!/usr/bin/env bash
# Types what README's five minutes say, in a home of its own: every command must do what stands below it, and one whose output
# is an error must be refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readme=$here/../../README.md
build=${CMKD_BUILD_DIR:-$PWD}

home=$(mktemp -d "${TMPDIR:-/tmp}/readme.XXXXXX")
# The daemon writes until it has ended.
clear_up() {
  local i
  for ((i = 0; i < 1200; ++i)); do pkill -f -- "--config $home/keys/cmkd.toml" || break; sleep 0.05; done
  rm -rf "$home"
}
trap clear_up EXIT
mkdir -p "$home/cmkd/build"
ln -s "$build" "$home/cmkd/build/release"
cp "$readme" "$home/cmkd/"

# Commands of the console blocks, one a line; "!" before one that the page shows as refused.
commands() {
  awk '
    function flush() { if (command != "") print (refused ? "!" : "") command; command = ""; refused = 0 }
    /^## / { here = ($0 == "## Five minutes") }
    !here { next }
    /^```/ { flush(); console = ($0 == "```console"); next }
    !console { next }
    /^\$ / { flush(); command = substr($0, 3); more = sub(/\\$/, "", command); next }
    more { sub(/^ +/, ""); command = command $0; more = sub(/\\$/, "", command); next }
    /^error: / { refused = 1 }
    END { flush() }' "$readme"
}

tour=$home/tour.sh
{
  # A person answers the prompts; here the environment and the command line do.
  printf '%s\n' 'set -u' 'export CMKD_SO_PIN=12345678 CMKD_PIN=1234' \
    'pkcs11-tool() { command pkcs11-tool "$@" --pin "$CMKD_PIN"; }' 'failed=0' \
    'wait_for_daemon() { for ((i = 0; i < 3000; ++i)); do [ -S "$HOME/keys/cmkd.sock" ] && return; sleep 0.02; done; }'
  commands | while IFS= read -r command; do
    expected=0
    if [ "${command:0:1}" = '!' ]; then expected=1; command=${command:1}; fi
    printf 'printf "%%s\\n" %q\n%s\nstatus=$?\n' "$ $command" "$command"
    printf '[ $((status != 0)) = %s ] || { echo "README: that ended with status $status"; failed=1; }\n' "$expected"
    case $command in 'cmkd '*) echo wait_for_daemon ;; esac
  done
  echo 'exit $failed'
} >"$tour"

[ "$(commands | wc -l)" -ge 15 ] || { echo "README has fewer commands than it had: is the section still called so?"; exit 1; }
cd "$home/cmkd"
HOME=$home bash "$tour" </dev/null
echo "every command of the tour did what README says"
