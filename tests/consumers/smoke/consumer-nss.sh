#!/usr/bin/env bash
# NSS in short: modutil loads the module, certutil makes a key and a certificate in the token, cmsutil signs with it.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need modutil certutil cmsutil openssl
db=sql:$work/db
mkdir db
printf '%s' "$P11_PIN" >pin
printf '%s\n' "$P11_TOKEN:$P11_PIN" "NSS Certificate DB:" >pins
head -c 64 /dev/urandom >noise
token=(-d "$db" -h "$P11_TOKEN" -f pins)
step database certutil -N -d "$db" --empty-password
step module modutil -force -dbdir "$db" -add kms -libfile "$P11_MODULE"
step list modutil -dbdir "$db" -list && shows list "$P11_TOKEN"
step make certutil "${token[@]}" -S -n smoke -s CN=smoke -x -t CT,C,C -k ec -q nistp256 -m 1 -v 2 -z noise -Z SHA256
step keys certutil "${token[@]}" -K && shows keys smoke
step certificate certutil "${token[@]}" -L -n "$P11_TOKEN:smoke" -a -o c.pem
echo text >text
step sign cmsutil -d "$db" -f pins -S -N "$P11_TOKEN:smoke" -G -T -H SHA256 -i text -o text.cms
step verifies openssl cms -verify -inform DER -in text.cms -content text -binary -CAfile c.pem -purpose any -out /dev/null
finish consumer-nss
