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

# What fails without our doing earns a script another try, if nothing else failed:
# - p11-kit 0.24's proxy module loses a race between two threads that initialise it, with plain SoftHSM2 in process, too: once in
#   three runs, and nine times in ten on a busy machine;
# - its server says where it is before it listens, and to a client that is quicker it has no slots;
# - the OpenSSL script takes the log of the TLS server before for that of the next, so that its connections may come before there is
#   a server, which then says nothing but that it has its engine, or ACCEPT.
tries=1 racy='' said=''
case $script in
  consumer-p11kit) tries=40 racy='threads-through-proxy|(client-slots|(token|sign|mechs|keygen)-through-client)' said='.*' ;;
  consumer-openssl-engine) tries=5 racy='tls-(rsa|ec)-tls1_[23]' said='[0-4] of 5 handshakes: (ACCEPT|Engine "pkcs11" set\.|)' ;;
esac
only_races() {
  local name names
  names=$(sed -n 's/.*: passed .* | failing: \([^|]*\).*/\1/p' "$log" | tail -n 1)
  [ -n "$names" ] || return 1
  for name in $names; do
    [[ $name =~ ^($racy)$ ]] && { ! grep "^FAIL $name -- " "$log" | grep -qvE "^FAIL $name -- $said\$"; } || return 1
  done
}

log=$(mktemp "${TMPDIR:-/tmp}/consumer.XXXXXX")
trap 'rm -f "$log"' EXIT
for ((try = 1; try <= tries; ++try)); do
  "$cmkctl" sandbox "${options[@]}" -- bash "$file" >"$log" 2>&1 </dev/null
  status=$?
  cat "$log"
  [ $status -eq 77 ] && [[ $script = consumer-ssh || $script = consumer-servers ]] && exit 77
  # The status is the sandbox's as well: it is not 0 when the daemon failed and the program did not notice.
  [ $status -eq 0 ] && grep -qE ': passed [1-9][0-9]*, failed 0,' "$log" && exit 0
  only_races || break
done
exit 1
