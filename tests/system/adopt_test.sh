#!/usr/bin/env bash
# cmkctl adopt: keys that lived in a SoftHSM token before cmkd came are used through cmkd under the same label and id.
#
#   CMKCTL   the program under test (default: bin/cmkctl of CMKD_BUILD_DIR)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
need "$cmkctl" pkcs11-tool softhsm2-util openssl
if [ "${1:-}" != inside ]; then
  exec "$cmkctl" sandbox --profile general --hsm softhsm2 -- bash "$0" inside
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/adopt-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# The device as an application used it before: its own module, its own PIN.
export SOFTHSM2_CONF=$CMKD_SANDBOX_DIR/softhsm2.conf
softhsm=$(sed -n 's/^module = "\(.*\)"/\1/p' "$CMKD_SANDBOX_DIR"/*.toml)
device() {
  pkcs11-tool --module "$softhsm" --token-label "$(sed -n 's/^token_label = "\(.*\)"/\1/p' "$CMKD_SANDBOX_DIR"/*.toml)" \
    --login --pin "$(cat "$CMKD_SANDBOX_DIR"/*pin*)" "$@"
}
# And as it uses cmkd now.
now() { pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" --login --pin "$P11_PIN" "$@"; }
sign() { "$1" --sign --mechanism "$2" --id "$3" --input-file data --output-file "$4"; }
same_signature() { sign now "$1" "$2" signature && cmp signature "$3"; }
encrypt() { "$1" --encrypt --mechanism AES-CBC-PAD --iv 00000000000000000000000000000000 --id 03 --input-file data --output-file "$2"; }
opens() { now --decrypt --mechanism AES-CBC-PAD --iv 00000000000000000000000000000000 --id 03 --input-file sealed \
  --output-file opened && cmp opened data; }
adopted() { ctl --json adopt "$@" >adopted.json; }
count() { grep -c "\"$1\": *$2" adopted.json; }

echo "what was there before" >data
expect "an RSA pair in the device"   device --keypairgen --key-type rsa:2048 --label web --id 01
expect "an EC pair in the device"    device --keypairgen --key-type EC:prime256v1 --label issuer --id 02 --usage-sign
expect "an AES key in the device"    device --keygen --key-type AES:32 --label disk --id 03 --usage-decrypt
expect "two keys with one id (one)"  device --keygen --key-type AES:16 --label twin --id 04
expect "two keys with one id (two)"  device --keygen --key-type AES:16 --label twin --id 04
expect "a signature from before"     sign device SHA256-RSA-PKCS 01 before.sig
expect "a ciphertext from before"    encrypt device sealed
openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out web.pem -subj /CN=web >/dev/null 2>&1
openssl x509 -in web.pem -outform der -out web.der
expect "a certificate in the device" device --write-object web.der --type cert --label web --id 01

expect "a dry run says what would happen" adopted --dry-run
expect "three keys could be adopted" test "$(count adoptable true)" = 3
expect "the twins could not"         test "$(count adoptable false)" = 2
expect "a dry run changes nothing"   test "$(ctl --json key list | grep -c '"name"')" = 0
expect "adoption"                    adopted
expect "three keys are adopted"      test "$(count adopted true)" = 3
expect "they are CMKs"               sh -c '"$0" key show web | grep -q RSA-2048' "$cmkctl"
expect "under their labels and ids"  sh -c 'pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" --login \
  --pin "$P11_PIN" -O | grep -A3 "Private Key.*RSA" | grep -q "ID: *01"'
expect "the signature is the same"   same_signature SHA256-RSA-PKCS 01 before.sig
expect "the old ciphertext opens"    opens
openssl dgst -sha256 -binary data >digest
expect "the EC key signs"            now --sign --mechanism ECDSA --id 02 --input-file digest --output-file ec.sig
expect "the certificate came along"  sh -c 'pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" -O --type cert | grep -q "ID: *01"'
expect "nothing is adopted twice"    adopted
expect "there is nothing more to do" test "$(count adopted true)" = 0
expect "nothing is wrong in the device" ctl hsm reconcile
expect "a new epoch leaves them"     ctl token new-epoch
expect "the old ciphertext opens still" opens
expect "a destroyed key is gone"     now --delete-object --type secrkey --id 03
if device -O --type secrkey 2>/dev/null | grep -q "label: *disk"; then bad "also in the device"; else ok "also in the device"; fi
exit $((failures != 0))
