#!/usr/bin/env bash
# OpenSC's pkcs11-tool in short: keys, a signature that OpenSSL checks, AES and HMAC, wrapping, objects, PINs.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need pkcs11-tool openssl
printf 'sixteen bytes...' >block
head -c 1000 /dev/urandom >message
step mechanisms bash -c 'tool --list-mechanisms' && shows mechanisms AES-GCM
as_user make-rsa --keypairgen --key-type RSA:2048 --id 11 --label r --usage-sign --usage-decrypt
as_user make-ec --keypairgen --key-type EC:prime256v1 --id 12 --label e --usage-sign
as_user make-aes --keygen --key-type AES:32 --id 13 --label a --usage-decrypt
as_user make-hmac --keygen --key-type GENERIC:64 --id 14 --label h --usage-sign
for key in "11 SHA256-RSA-PKCS" "12 ECDSA-SHA256"; do
  set -- $key
  step "read-$1" bash -c "tool --read-object --type pubkey --id $1 -o $1.der"
  as_user "sign-$1" --sign --mechanism "$2" --id "$1" --signature-format openssl -i message -o "$1.sig"
  step "openssl-verifies-$1" openssl dgst -sha256 -keyform DER -verify "$1.der" -signature "$1.sig" message
done
as_user hmac --sign --mechanism SHA256-HMAC --id 14 -i message -o mac
as_user encrypt --encrypt --mechanism AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f --id 13 -i message -o sealed
as_user decrypt --decrypt --mechanism AES-CBC-PAD --iv 000102030405060708090a0b0c0d0e0f --id 13 -i sealed -o opened
step same cmp message opened
as_user write-data --write-object message --type data --label d --private
as_user read-data --read-object --type data --label d -o data
step same-data cmp message data
as_user list --list-objects && shows list 'label:      e'
as_user change-pin --change-pin --new-pin "9$P11_PIN"
export P11_PIN=9$P11_PIN
for kind in "privkey 11" "pubkey 11" "privkey 12" "pubkey 12" "secrkey 13" "secrkey 14"; do
  set -- $kind
  as_user "delete-$1-$2" --delete-object --type "$1" --id "$2"
done
finish suite-pkcs11-tool
