#!/usr/bin/env bash
# A token on two HSMs: a second one takes over what there is, one of them goes under load and nobody notices, it comes
# back and catches up, and the first is taken off for good. With two SoftHSM2 tokens, and with the simulator in the
# daemon and a SoftHSM2 token.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cmkd=${CMKD:-${CMKD_BUILD_DIR:-.}/bin/cmkd}
p11=$(readlink -f "${CMKD_BUILD_DIR:-.}/lib/libcmkd-pkcs11.so")
need "$cmkctl" "$cmkd" pkcs11-tool softhsm2-util
module=
for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
  [ -e "$module" ] && break
done
[ -e "$module" ] || { echo "missing: SoftHSM2"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/mirror-test.XXXXXX")
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; }; }
trap 'stop; rm -rf "$work"' EXIT
printf '12345678\n' >"$work/pin"
export CMKD_SOCKET
eventually() { local i; for ((i = 0; i < 600; ++i)); do "$@" && return 0; sleep 0.1; done; return 1; }

# hsm NAME KIND: its table, and the device for it.
hsm() {
  if [ "$2" = software ]; then printf '[[hsm]]\nname = "%s"\nkind = "firmware_sim"\n' "$1"; return; fi
  if [ ! -d "$home/$1" ]; then
    mkdir -p "$home/$1"
    printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$home/$1" >"$home/$1.conf"
    SOFTHSM2_CONF=$home/$1.conf softhsm2-util --init-token --free --label "$1" --pin 12345678 --so-pin 12345678 >/dev/null
  fi
  printf '[[hsm]]\nname = "%s"\nkind = "pkcs11"\nmodule = "%s"\ntoken_label = "%s"\npin_file = "%s"\n' \
    "$1" "$module" "$1" "$work/pin"
  printf 'environment = { SOFTHSM2_CONF = "%s" }\n' "$home/$1.conf"
}
# configure DEFAULT NAME KIND...
configure() {
  local default=$1; shift
  {
    printf '[daemon]\nsocket = "cmkd.sock"\nstate_directory = "state"\nsocket_mode = 0o600\n'
    printf '[tokens]\ndefault_hsm = "%s"\n' "$default"
    while [ $# -gt 0 ]; do hsm "$1" "$2"; shift 2; done
  } >"$home/cmkd.toml"
  chmod 600 "$home/cmkd.toml" "$work/pin"
}
start() {
  "$cmkd" --config "$home/cmkd.toml" >>"$home/daemon.log" 2>&1 &
  pid=$!
  eventually serves || { tail -5 "$home/daemon.log"; return 1; }
}
serves() { ctl status >/dev/null 2>&1 || ! kill -0 "$pid" 2>/dev/null; }
# Its memory goes and its module's process is killed.
take_away() {
  local process
  mv "$home/$1" "$home/$1.away" && mkdir "$home/$1"
  for process in $(pgrep -P "$pid" cmkd-hsm-host); do
    tr '\0' ' ' <"/proc/$process/cmdline" | grep -q "/hsm-$1" && kill -KILL "$process"
  done
}
bring_back() { rm -rf "${home:?}/$1"; mv "$home/$1.away" "$home/$1"; }
state_is() { ctl hsm mirror status orders >"$log" 2>&1; grep -q "^orders  *$1  *$2" "$log"; }
in_step() { ctl hsm mirror status orders >"$log" 2>&1; }
epoch_over() { ctl --json hsm mirror status orders | tr -d ' \n' | grep -q '"not_final":\[\]'; }
sign() {
  pkcs11-tool --module "$p11" --token-label orders --login --pin 12345678 --sign --mechanism ECDSA-SHA256 --id 0a \
    --input-file "$work/pin" --output-file "$work/signature"
}
sign_often() { local i; for ((i = 0; i < 12; ++i)); do sign || return 1; done; }
decrypts() {
  rm -f "$home/opened"
  ctl ciphertext decrypt --token orders --pin-file "$work/pin" --in "$home/sealed" --out "$home/opened" &&
    cmp "$work/pin" "$home/opened"
}

# pair FIRST-KIND SECOND-KIND WHO-GOES
pair() {
  local gone=$3 stays=first fingerprint
  [ "$gone" = second ] || stays=second
  home=$work/$1-$2; CMKD_SOCKET=$home/cmkd.sock; mkdir "$home"; log=$home/log
  echo "== $1 and $2, $gone goes"
  configure first first "$1"
  expect "a daemon with one HSM" start
  expect "a token" ctl token create --label orders --profile managed --pin-file "$work/pin" --so-pin-file "$work/pin"
  expect "a key" ctl key create --token orders --name signer --spec EC-P256 --usage sign --id 0a
  expect "another" ctl key create --token orders --name data --spec AES-256 --usage encrypt
  expect "it encrypts" ctl ciphertext encrypt orders/data --pin-file "$work/pin" --in "$work/pin" --out "$home/sealed"
  stop
  configure first first "$1" second "$2"
  expect "it starts with two" start
  expect "a second one introduces itself" sh -c "'$cmkctl' --json hsm mirror add orders second >'$home/shown'"
  fingerprint=$(sed -n 's/.*"fingerprint": *"\([0-9a-f]*\)".*/\1/p' "$home/shown")
  refused "another one is refused" CKR_ARGUMENTS_BAD ctl hsm mirror add orders second --fingerprint "${fingerprint//[0-7]/8}"
  expect "it is enrolled" ctl hsm mirror add orders second --fingerprint "$fingerprint"
  expect "and comes into step" eventually in_step
  expect "nothing is out of place" ctl hsm reconcile

  sign_often >"$home/load" 2>&1 &
  local load=$!
  take_away "$gone"
  if wait "$load"; then ok "no program notices that one goes"; else log=$home/load bad "a program noticed"; fi
  expect "operators do" eventually state_is "$gone" away
  expect "it goes on signing" sign_often
  expect "and opens what was sealed" decrypts
  expect "a key is made without it" ctl key create --token orders --name later --spec AES-256 --usage encrypt
  expect "and rotates" ctl key rotate orders/data
  refused "a new epoch is over but for it" NOT_FINAL_YET ctl token new-epoch orders
  expect "deletions wait for it" sh -c "'$cmkctl' hsm mirror status orders | grep -q 'not final yet.*$gone'"
  stop
  expect "the daemon starts without it" start
  expect "and serves" sign
  refused "the other one cannot be removed" CKR_ACTION_PROHIBITED ctl hsm mirror remove orders "$stays"

  bring_back "$gone"
  expect "it comes back and into step" eventually in_step
  expect "deletions are final" eventually epoch_over
  expect "nothing is out of place" ctl hsm reconcile

  expect "the first is removed" ctl hsm mirror remove orders first
  stop
  configure second second "$2"
  expect "the daemon starts with the second alone" start
  expect "which signs" sign
  expect "and opens what was sealed" decrypts
  expect "and makes keys" ctl key create --token orders --name last --spec EC-P256 --usage sign
  stop
}

pair softhsm2 softhsm2 first
pair software softhsm2 second
echo "mirrors: $failures failures"
exit $((failures != 0))
