#!/usr/bin/env bash
# Java's SunPKCS11 in short: keytool makes, lists and uses a key, jarsigner signs with it.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need keytool jarsigner jar pkcs11-tool
slot=$(pkcs11-tool --module "$P11_MODULE" --list-token-slots | grep -B1 -- "token label *: $P11_TOKEN *\$" |
  sed -n 's/^Slot [0-9]* (0x\([0-9a-f]*\)).*/\1/p' | head -n 1)
printf 'name = smoke\nlibrary = %s\nslot = %d\nattributes = compatibility\n' "$P11_MODULE" "0x${slot:-0}" >p11.cfg
store=(-keystore NONE -storetype PKCS11 -storepass "$P11_PIN" -addprovider SunPKCS11 -providerArg "$work/p11.cfg")
step make keytool -J-Xmx128m -genkeypair -alias j -keyalg EC -groupname secp256r1 -dname CN=smoke -validity 2 "${store[@]}"
step make-secret keytool -J-Xmx128m -genseckey -alias s -keyalg AES -keysize 256 "${store[@]}"
step list keytool -J-Xmx128m -list "${store[@]}" && shows list PrivateKeyEntry
step request keytool -J-Xmx128m -certreq -alias j -file j.csr "${store[@]}"
echo text >text
step jar jar cf a.jar text
step jarsigner jarsigner -J-Xmx128m "${store[@]}" a.jar j
step jar-verifies jarsigner -J-Xmx128m -verify a.jar && shows jar-verifies 'jar verified'
step delete keytool -J-Xmx128m -delete -alias j "${store[@]}"
finish consumer-java
