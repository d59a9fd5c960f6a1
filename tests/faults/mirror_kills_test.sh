#!/usr/bin/env bash
# A token on two HSMs whose processes are killed in turns while a program is at work (kills_test.cc): what one call does
# with a key that is there never fails. CMKD_HOST_KILLS says how often.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../system/steps.sh"
build=${CMKD_BUILD_DIR:-.}
P11_MODULE=$(readlink -f "$build/lib/libcmkd-pkcs11.so")
simulator=$(readlink -f "$build/lib/libcmkd-firmware-sim.so")
program=$build/test-bin/kills_test
need pkcs11-tool "$program"
begin_work mirror-kills
export P11_MODULE P11_TOKEN=ring P11_PIN=12345678 CMKD_MIRRORED=1
chmod 600 pin
mkdir home
home=$work/home
export CMKD_SOCKET=$home/cmkd.sock

# device NAME: a simulated device with a token, and its table of the configuration.
device() {
  local memory=$work/$1
  mkdir "$memory"
  CMKD_FIRMWARE_SIM_DIR=$memory pkcs11-tool --module "$simulator" --init-token --slot-index 0 --label "$1" --so-pin 12345678 \
    >/dev/null 2>&1 &&
    CMKD_FIRMWARE_SIM_DIR=$memory pkcs11-tool --module "$simulator" --init-pin --token-label "$1" --so-pin 12345678 \
      --login --login-type so --pin 12345678 >/dev/null 2>&1 || return 1
  printf '[[hsm]]\nname = "%s"\nkind = "pkcs11"\nmodule = "%s"\ntoken_label = "%s"\npin_file = "%s"\n' \
    "$1" "$simulator" "$1" "$work/pin" >>"$home/cmkd.toml"
  printf 'environment = { CMKD_FIRMWARE_SIM_DIR = "%s" }\n' "$memory" >>"$home/cmkd.toml"
}
printf '[daemon]\nsocket = "cmkd.sock"\nstate_directory = "state"\nsocket_mode = 0o600\n[tokens]\ndefault_hsm = "first"\n' \
  >"$home/cmkd.toml"
chmod 600 "$home/cmkd.toml"
expect "a device" device first
expect "another" device second
expect "a daemon with both" start_daemon
expect "a token" ctl token create --label ring --profile general --pin-file "$work/pin" --so-pin-file "$work/pin"
ctl --json hsm mirror add ring second >shown 2>&1
fingerprint=$(sed -n 's/.*"fingerprint": *"\([0-9a-f]*\)".*/\1/p' shown)
expect "the second is enrolled" ctl hsm mirror add ring second --fingerprint "$fingerprint"
in_step() { local i; for ((i = 0; i < 600; ++i)); do ctl hsm mirror status ring && return 0; sleep 0.1; done; return 1; }
expect "and comes into step" in_step
CMKD_DAEMON_PID=$daemon_pid "$program" || failures=$((failures + 1))
expect "both are in step at the end" in_step
expect "nothing is out of place" ctl hsm reconcile
echo "mirrors under kills: $failures failures"
exit $((failures != 0))
