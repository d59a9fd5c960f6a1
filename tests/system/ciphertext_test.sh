#!/usr/bin/env bash
# docs/ciphertext.md typed by a test: cmkctl's commands on ciphertexts and data keys, and a ciphertext under an imported
# key opened with nothing but openssl.
#
#   CMKCTL   the program under test (default: bin/cmkctl of CMKD_BUILD_DIR)
#   HSMS     the back ends to try (default: software firmware_sim softhsm2)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
need "$cmkctl" openssl cc
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

[ "${1:-}" = inside ] || on_each_hsm "$0"

work=$(mktemp -d "${TMPDIR:-/tmp}/ciphertext-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export CMKD_PIN=$P11_PIN
version_is() { ctl --json ciphertext show "$1" | grep -q "\"key_version\": *$2"; }
without_daemon() { ctl --socket /nowhere ciphertext show "$1" | grep -q AES-256-GCM; }

printf 'the password' >text
head -c 4097 /dev/zero >long
expect "a key"                                ctl key create --name pay --spec AES-256 --usage encrypt
expect "a second one"                         ctl key create --name archive --spec AES-256 --usage encrypt
expect "encrypt"                              ctl ciphertext encrypt pay --in text --out c1 --context s=billing
expect "the header without a daemon"          without_daemon c1
expect "it is of version 1"                   version_is c1 1
expect "rotate"                               ctl key rotate pay
expect "decrypt after a rotation"             ctl ciphertext decrypt --in c1 --out back --context s=billing
expect "the same text"                        cmp text back
refused "with another context"  AUTH_FAILED   ctl ciphertext decrypt --in c1 --out back --context s=other
refused "with another key" OTHER_KEYS_CIPHERTEXT ctl ciphertext decrypt archive --in c1 --out back --context s=billing
refused "more than 4096 bytes"  TOO_LONG      ctl ciphertext encrypt pay --in long --out c2
refused "what is no ciphertext" CIPHERTEXT_UNREADABLE ctl ciphertext decrypt --in long --out back
refused "what is no ciphertext, shown" CIPHERTEXT_UNREADABLE ctl ciphertext show text
refused "no such key"           NOT_FOUND     ctl ciphertext encrypt nokey --in text --out c2
expect "to the newest version"                ctl ciphertext re-encrypt pay --in c1 --out c2 --context s=billing
expect "it is of version 2"                   version_is c2 2
expect "to another key and context" \
  ctl ciphertext re-encrypt archive --in c2 --out c3 --context s=billing --new-context s=2
expect "which opens it"                       ctl ciphertext decrypt archive --in c3 --out back --context s=2
expect "to the same text"                     cmp text back
through_pipes() {
  ctl ciphertext encrypt pay --in - --out - <text | ctl ciphertext decrypt --in - --out - | cmp - text
}
expect "through pipes"                        through_pipes

expect "a data key"                           ctl data-key generate pay --out dk.cmk --plaintext-out dk --context f=1
expect "of 32 bytes"                          test "$(wc -c <dk)" = 32
expect "for its owner alone"                  test "$(stat -c %a dk)" = 600
expect "opens again"                          ctl ciphertext decrypt --in dk.cmk --out dk2 --context f=1
expect "to the same bytes"                    cmp dk dk2
expect "a data key without plaintext"         ctl data-key generate pay --bytes 16 --out dk3.cmk
expect "a key pair" ctl data-key generate-pair pay --spec EC-P256 --public-key-out pub.der --out pk.cmk \
  --plaintext-out pk.der
openssl pkey -in pk.der -inform DER -pubout -outform DER -out pub2.der 2>log
expect "whose halves fit"                     cmp pub.der pub2.der
expect "the example in C" cc -std=c11 -Wall -Wextra -Werror -I/usr/include/p11-kit-1 -I"$source/pkcs11/spec" \
  "$source/examples/data_key.c" -o data_key -ldl
expect "makes, opens and moves a data key"    ./data_key pay
cp c1 many1; cp c1 many2; echo junk >many3; cp many3 junk
expect "a dry run of many files"              ctl --dry-run ciphertext re-encrypt-all pay many1 many2 --context s=billing
expect "changes none"                         cmp c1 many1
refused "one of many is no ciphertext" CIPHERTEXT_UNREADABLE \
  ctl ciphertext re-encrypt-all pay many1 many3 many2 --context s=billing
expect "the first is encrypted anew"          test "$(cmp -s c1 many1; echo $?)" = 1
expect "and opens"                            ctl ciphertext decrypt --in many1 --out back --context s=billing
expect "the last, too"                        ctl ciphertext decrypt --in many2 --out back --context s=billing
expect "what is none is left alone"           cmp junk many3
expect "disabled"                             ctl key disable pay
refused "then nothing opens"    KEY_DISABLED  ctl ciphertext decrypt --in c1 --out back --context s=billing

# The key's owner has the material, and no cmkd.
openssl rand -out material.bin 32
expect "an external key"                      ctl key create --name brought --spec AES-256 --usage encrypt --external
ctl --json key import-params brought --public-key import.pem >params.json
token=$(sed -n 's/.*"import_token": *"\([0-9a-f]*\)".*/\1/p' params.json)
openssl pkeyutl -encrypt -pubin -inkey import.pem -in material.bin -out wrapped.bin -pkeyopt rsa_padding_mode:oaep \
  -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256
expect "imported"                             ctl key import brought --import-token "$token" --wrapped wrapped.bin
expect "encrypt under it"                     ctl ciphertext encrypt brought --in text --out secret.cmk
key=$(od -An -v -tx1 material.bin | tr -d ' \n')
printf 'CMKD-COMMIT1\0\0\0\0CMKD-COMMIT2\0\0\0\0' | openssl enc -aes-256-ecb -nopad -K "$key" >commitment
dd if=secret.cmk bs=1 skip=40 count=32 2>/dev/null >said
expect "the commitment is the key's"          cmp said commitment
iv=$(dd if=secret.cmk bs=1 skip=28 count=12 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
tail -c +73 secret.cmk | head -c -16 | openssl enc -d -aes-256-ctr -K "$key" -iv "${iv}00000002" >back
expect "openssl alone opens it"               cmp text back

echo "$failures failures"
exit $((failures != 0))
