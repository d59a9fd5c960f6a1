#!/usr/bin/env bash
# Runs one script with a real program against a daemon and a general token of its own; passes when the script's last line
# counts no failure.
#
#   run_consumer.sh SCRIPT HSM [RESTART_MS [kill|graceful]]
#
# SCRIPT is a name without .sh: looked for in $CMKD_CONSUMERS, then in ../shared/consumers beside the source tree; without
# either, the smaller script of the same name in smoke/ is run. With RESTART_MS the daemon is restarted that often meanwhile.
# Exit status: 0 or 1; 77 for a script that says so itself where a server it needs was not installed (consumer-ssh,
# consumer-servers).
set -u
script=${1:?a script}; hsm=${2:?a back end}; restart_ms=${3:-}; restart_how=${4:-kill}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cmkctl=${CMKCTL:-${CMKD_BUILD_DIR:-.}/bin/cmkctl}
[ -x "$cmkctl" ] || { echo "missing: $cmkctl"; exit 1; }
if [ "$hsm" = softhsm2 ] && ! command -v softhsm2-util >/dev/null; then echo "missing: softhsm2-util"; exit 1; fi

file=
for place in "${CMKD_CONSUMERS:-}" "$here/../../../shared/consumers" "$here/smoke"; do
  [ -n "$place" ] && [ -f "$place/$script.sh" ] && { file=$place/$script.sh; break; }
done
[ -n "$file" ] || { echo "there is no $script.sh"; exit 1; }
echo "runs $file"

options=(--profile general --hsm "$hsm")
[ -n "$restart_ms" ] && options+=(--restart-after "$restart_ms")
[ -n "$restart_ms" ] && [ "$restart_how" = graceful ] && options+=(--restart-graceful)

# p11-kit 0.24's proxy module can lose a race between two threads that initialise it: its step threads-through-proxy fails
# about once in three runs with plain SoftHSM2 in process, too. The OpenSSL script takes the log of the TLS server before
# for that of the next, and on a busy machine its first connection comes before there is a server ("4 of 5 handshakes", and
# the server says nothing but ACCEPT). Only these steps earn their script another try.
tries=1 racy='nothing'
case $script in
  consumer-p11kit) tries=10 racy='failed 1,.*\| failing: threads-through-proxy( \||$)' ;;
  consumer-openssl-engine) tries=10 racy='^FAIL tls-[a-z0-9_-]* -- 4 of 5 handshakes: ACCEPT$' ;;
esac

log=$(mktemp "${TMPDIR:-/tmp}/consumer.XXXXXX")
trap 'rm -f "$log"' EXIT
for ((try = 1; try <= tries; ++try)); do
  "$cmkctl" sandbox "${options[@]}" -- bash "$file" >"$log" 2>&1 </dev/null
  status=$?
  cat "$log"
  [ $status -eq 77 ] && [[ $script = consumer-ssh || $script = consumer-servers ]] && exit 77
  # The status is the sandbox's as well: it is not 0 when the daemon failed and the program did not notice.
  [ $status -eq 0 ] && grep -qE ': passed [1-9][0-9]*, failed 0,' "$log" && exit 0
  # Nothing else failed.
  grep -qE "$racy" "$log" && grep -q ' failed 1,' "$log" || break
done
exit 1
