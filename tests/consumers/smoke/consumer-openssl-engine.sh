#!/usr/bin/env bash
# OpenSSL's engine pkcs11 in short: a certificate with the key in the token, and a signature.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need pkcs11-tool openssl
as_user key --keypairgen --key-type EC:prime256v1 --id 21 --label tls --usage-sign
engine_conf
uri=$(key_uri tls)
step certificate openssl req -new -x509 -engine pkcs11 -keyform engine -key "$uri" -sha256 -subj /CN=smoke -days 2 -out c.pem
step certificate-verifies openssl verify -CAfile c.pem c.pem
head -c 32 /dev/urandom >digest
step sign openssl pkeyutl -sign -engine pkcs11 -keyform engine -inkey "$uri" -in digest -out sig
step verify openssl pkeyutl -verify -certin -inkey c.pem -in digest -sigfile sig
finish consumer-openssl-engine
