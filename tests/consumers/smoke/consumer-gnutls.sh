#!/usr/bin/env bash
# GnuTLS in short: p11tool lists, makes a key and a certificate, and signs.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need p11tool certtool
export GNUTLS_PIN=$P11_PIN GNUTLS_SO_PIN=$P11_SO_PIN
uri="pkcs11:token=$P11_TOKEN"
provider=(--provider "$P11_MODULE")
step tokens p11tool "${provider[@]}" --list-tokens && shows tokens "token=$P11_TOKEN"
step make p11tool "${provider[@]}" --login --generate-privkey ECDSA --curve secp256r1 --label g --outfile g.pub "$uri"
step list p11tool "${provider[@]}" --login --list-all "$uri" && shows list 'object=g'
step sign p11tool "${provider[@]}" --login --test-sign "$uri;object=g;type=private"
printf 'cn = "smoke"\nexpiration_days = 2\nca\ncert_signing_key\n' >template
step certificate certtool "${provider[@]}" --generate-self-signed --template template --outfile c.pem \
  --load-privkey "$uri;object=g;type=private" --load-pubkey g.pub
step certificate-verifies certtool --verify --load-ca-certificate c.pem --infile c.pem
finish consumer-gnutls
