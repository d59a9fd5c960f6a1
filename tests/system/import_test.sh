#!/usr/bin/env bash
# docs/import.md typed by a test: its openssl commands, on each back end, and what must be refused.
#
#   CMKCTL   the program under test (default: bin/cmkctl of CMKD_BUILD_DIR)
#   HSMS     the back ends to try (default: software firmware_sim softhsm2)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
need "$cmkctl" openssl
[ "${1:-}" = inside ] || on_each_hsm "$0"

work=$(mktemp -d "${TMPDIR:-/tmp}/import-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
params() { # KEY [OPTIONS]: leaves the token in $token
  ctl --json key import-params "$@" --public-key import.pem >params.json || return 1
  token=$(sed -n 's/.*"import_token": *"\([0-9a-f]*\)".*/\1/p' params.json)
  [ -n "$token" ]
}
oaep() { # HASH IN OUT
  openssl pkeyutl -encrypt -pubin -inkey import.pem -in "$2" -out "$3" -pkeyopt rsa_padding_mode:oaep \
    -pkeyopt "rsa_oaep_md:$1" -pkeyopt "rsa_mgf1_md:$1"
}
rsa_aes() { # IN OUT
  openssl rand -out transport.bin 32
  openssl enc -e -id-aes256-wrap-pad -K "$(od -An -v -tx1 transport.bin | tr -d ' \n')" -iv A65959A6 -in "$1" -out m.wrapped
  oaep sha256 transport.bin t.wrapped && cat t.wrapped m.wrapped >"$2"
}
import() { ctl key import "$1" --import-token "$token" --wrapped "$2"; }

openssl rand -out material.bin 32
openssl rand -out other.bin 32
openssl rand -out short.bin 16

expect "a key without material"          ctl key create --name brought --spec AES-256 --external
expect "it waits for its import"         state_is brought PendingImport
refused "it is not enabled"              KEY_PENDING_IMPORT ctl key enable brought
expect "parameters"                      params brought
first=$token
oaep sha256 short.bin wrapped.bin
refused "16 bytes for AES-256"           MATERIAL_LENGTH import brought wrapped.bin
head -c 384 /dev/urandom >wrapped.bin
refused "random bytes"                   MATERIAL_UNREADABLE import brought wrapped.bin
oaep sha1 material.bin wrapped.bin
refused "another algorithm"              MATERIAL_UNREADABLE import brought wrapped.bin
oaep sha256 material.bin wrapped.bin
token=00000000000000000000000000000000
refused "an unknown token"               IMPORT_PARAMETERS_STALE import brought wrapped.bin
token=$first
expect "the import"                      import brought wrapped.bin
expect "it is enabled"                   state_is brought Enabled
refused "a second import"                MATERIAL_NOT_EXPECTED import brought wrapped.bin
refused "no rotation"                    NOT_ROTATABLE ctl key rotate brought

# What openssl opens with the material, cmkd made with it: the key is the one that was brought.
uri="pkcs11:token=$P11_TOKEN;object=brought;type=secret-key?pin-value=$P11_PIN"
expect "delete the material"             ctl key delete-material brought
expect "it waits again"                  state_is brought PendingImport
refused "used parameters"                IMPORT_PARAMETERS_STALE import brought wrapped.bin
expect "new parameters"                  params brought --algorithm RSA_AES_KEY_WRAP_SHA_256
rsa_aes other.bin wrapped.bin
refused "other material"                 MATERIAL_MISMATCH import brought wrapped.bin
rsa_aes material.bin wrapped.bin
expect "the same material, wrapped otherwise" import brought wrapped.bin
expect "it is enabled again"             state_is brought Enabled
expect "a key of its own"                ctl key create --name made --spec AES-256
refused "takes no material"              NOT_IMPORTED ctl key import-params made --public-key other.pem
expect "one with an expiry"              ctl key create --name expiring --spec AES-256 --external
expect "its parameters, SHA-1"           params expiring --algorithm RSAES_OAEP_SHA_1 --bits 2048
oaep sha1 material.bin wrapped.bin
refused "an expiry in the past"          DATE_OUT_OF_BOUNDS ctl key import expiring --import-token "$token" --wrapped wrapped.bin --expiry 2001-01-01
expect "an expiry ahead"                 ctl key import expiring --import-token "$token" --wrapped wrapped.bin --expiry 2030-01-01

# SM4 where the device has it.
if [ "$2" != softhsm2 ]; then
  expect "an SM4 key without material"   ctl key create --name sm --spec SM4 --external
  expect "its parameters"                params sm
  oaep sha256 material.bin wrapped.bin
  refused "32 bytes for SM4"             MATERIAL_LENGTH import sm wrapped.bin
  oaep sha256 short.bin wrapped.bin
  expect "16 bytes for SM4"              import sm wrapped.bin
  expect "it is enabled"                 state_is sm Enabled
  expect "an SM4 key made here"          ctl key create --name sm-local --spec SM4
  refused "it does not rotate in place"  NOT_ROTATABLE ctl key rotate sm-local
  expect "it moves its label"            ctl key rotate sm-local --new-object
else
  refused "no SM4 on this device"        MECH_NOT_ALLOWED ctl key create --name sm --spec SM4 --external
fi
exit $((failures != 0))
