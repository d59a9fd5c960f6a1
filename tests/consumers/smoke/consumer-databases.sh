#!/usr/bin/env bash
# Databases that encrypt what they keep through Java's provider over PKCS#11: Apache Derby its pages, HSQLDB its files.
# OpenSC's spy between provider and module counts that it is the module which encrypts.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need java javac
source=$(dirname "${BASH_SOURCE[0]}")/Database.java
case $source in /*) ;; *) source=$OLDPWD/$source ;; esac
spy=$(find /usr/lib -name pkcs11-spy.so | head -n 1)
[ -n "$spy" ] || { echo "missing: pkcs11-spy.so"; exit 1; }
export PKCS11SPY=$P11_MODULE PKCS11SPY_OUTPUT=$work/spy.log SPIED_MODULE=$spy
jars=/usr/share/java/derby.jar:/usr/share/java/hsqldb.jar
step compile javac -d "$work" "$source"
database() { java -Xshare:auto -cp "$work:$jars" Database "$@"; }
export -f database
export work jars
# encrypts NAME CREATE_URL OPEN_URL FOLDER
encrypts() {
  : >spy.log
  step "$1-write" bash -c 'database "$@"' _ "$2" write && shows "$1-write" "rows 1000"
  step "$1-in-the-module" bash -c '[ "$(grep -cE "C_Encrypt(Update|Final)?$" spy.log)" -ge 50 ]'
  step "$1-not-in-the-clear" bash -c "! grep -rqF secret-text- $4"
  : >spy.log
  step "$1-read" bash -c 'database "$@"' _ "$3" read && shows "$1-read" "rows 1000"
  step "$1-read-by-the-module" bash -c 'grep -qE "C_Decrypt(Update|Final)?$" spy.log'
}
derby="jdbc:derby:derby;bootPassword=correct-horse-1"
encrypts derby "$derby;create=true;dataEncryption=true;encryptionAlgorithm=AES/CBC/NoPadding;encryptionKeyLength=256" "$derby" derby
hsqldb="jdbc:hsqldb:file:hsqldb/db;crypt_type=AES;crypt_provider=SunPKCS11-token;shutdown=true"
hsqldb="$hsqldb;crypt_key=$(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"
encrypts hsqldb "$hsqldb" "$hsqldb" hsqldb
finish consumer-databases
