#!/usr/bin/env bash
# The HSM goes away under a running daemon and comes back: what still works meanwhile, what operators see, and that
# programs go on afterwards without a new login.
#
#   CMKCTL   the program under test (default: bin/cmkctl of CMKD_BUILD_DIR)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
need "$cmkctl" pkcs11-tool softhsm2-util
if [ "${1:-}" != inside ]; then exec "$cmkctl" sandbox --profile managed --hsm softhsm2 -- bash "$0" inside; fi

log=$(mktemp "${TMPDIR:-/tmp}/hsm-away.XXXXXX")
eventually() { local i; for ((i = 0; i < 600; ++i)); do "$@" && return 0; sleep 0.1; done; return 1; }
state_is() { "$cmkctl" --json key show "$1" | grep -q "\"state\": *\"$2\""; }
sign() {
  echo data >"$log.in"
  pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" --login --pin "$P11_PIN" --sign --mechanism ECDSA-SHA256 \
    --id 0a --input-file "$log.in" --output-file "$log.out"
}
trap 'rm -f "$log" "$log.in" "$log.out"' EXIT

expect "a key" "$cmkctl" key create --name signer --spec EC-P256 --usage sign --id 0a
expect "a second" "$cmkctl" key create --name other --spec AES-256 --usage wrap
expect "it signs" sign

# The token's files are moved away and the module's process is killed: the module starts again and finds no token.
data=$CMKD_SANDBOX_DIR/hsm
mv "$data" "$data.away" && mkdir "$data"
pkill -KILL -P "$CMKD_DAEMON_PID" cmkd-hsm-host || bad "there is no host to kill"
expect "operators see it" eventually state_is signer Unavailable
expect "and find it" sh -c "'$cmkctl' key list --state Unavailable | grep -q signer"
refused "it does not sign" CKR_DEVICE_ERROR sign
# The quickest of some: a daemon that waited for the HSM would do so each time, a busy machine does not.
for ((i = 0; i < 5; ++i)); do
  begun=$(date +%s)
  refused "another refusal" CKR_DEVICE_ERROR sign
  took=$(($(date +%s) - begun))
  [ $took -gt 4 ] || break
done
[ $took -le 4 ] && ok "comes quickly" || bad "each refusal took more than four seconds"
refused "no key is made, and it says why" HSM_UNAVAILABLE "$cmkctl" key create --name third --spec AES-256 --usage wrap
expect "a key can be disabled" "$cmkctl" key disable other
expect "its deletion scheduled" "$cmkctl" key schedule-deletion other --days 7
expect "and cancelled" "$cmkctl" key cancel-deletion other
expect "it is Disabled" state_is other Disabled

rm -rf "$data"; mv "$data.away" "$data"
expect "the HSM is back" eventually state_is signer Enabled
expect "it signs again" sign
expect "what was changed meanwhile stayed" state_is other Disabled
expect "and can be enabled" "$cmkctl" key enable other
echo "hsm away: $failures failures"
exit $((failures != 0))
