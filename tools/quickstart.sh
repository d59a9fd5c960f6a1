#!/usr/bin/env bash
# From a clone to a working key in one command: builds cmkd, starts a private daemon with a software token, protects a file
# with a customer master key through pkcs11-tool, rotates the key, and opens the file again. Running it again is quick.
#
#   bash tools/quickstart.sh            start (or find) the daemon and show the round
#   bash tools/quickstart.sh stop       stop the daemon; keys and audit log stay
#
#   CMKD_HOME=DIR        where its state, socket and log live (default ~/.cmkd)
#   CMKD_BUILD_DIR=DIR   uses what was built there, and builds nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

home=${CMKD_HOME:-$HOME/.cmkd}
build=${CMKD_BUILD_DIR:-$root/build/release}
token=quickstart
key=orders
key_id=01
export CMKD_SOCKET=$home/cmkd.sock
module=$build/lib/libcmkd-pkcs11.so
cmkctl=$build/bin/cmkctl

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
# Shows a command as a user would type it, then runs it.
show() {
  local shown=${*//$build\/bin\//}
  shown=${shown//$build\/lib\//}
  printf '  $ %s\n' "${shown//$home\//}"
  "$@"
}

daemon_is_up() { [ -S "$CMKD_SOCKET" ] && "$cmkctl" status >/dev/null 2>&1; }

stop_daemon() {
  local pid
  pid=$(cat "$home/cmkd.pid" 2>/dev/null) || return 0
  # The number may belong to somebody else by now.
  [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$build/bin/cmkd" ] && kill "$pid"
  rm -f "$home/cmkd.pid"
}

build_cmkd() {
  [ -z "${CMKD_BUILD_DIR:-}" ] || return 0
  bash tools/install-deps.sh build run
  [ -f "$build/build.ninja" ] || cmake --preset release >"$home/build.log" 2>&1 || fail "configuring failed: $home/build.log"
  cmake --build "$build" --target cmkd cmkctl cmkd-pkcs11 cmkd-hsm-host >>"$home/build.log" 2>&1 || fail "building failed: $home/build.log"
}

write_config() {
  [ -f "$home/cmkd.toml" ] || "$cmkctl" init --directory "$home" >/dev/null
}

start_daemon() {
  daemon_is_up && return 0
  stop_daemon
  setsid "$build/bin/cmkd" --config "$home/cmkd.toml" </dev/null >>"$home/cmkd.log" 2>&1 &
  echo $! >"$home/cmkd.pid"
  local tries
  for ((tries = 0; tries < 200; ++tries)); do
    daemon_is_up && return 0
    kill -0 "$(cat "$home/cmkd.pid")" 2>/dev/null || break
    sleep 0.05
  done
  tail -n 20 "$home/cmkd.log" >&2
  fail "the daemon did not start; its log is $home/cmkd.log"
}

new_pin() { od -An -N4 -tu4 /dev/urandom | tr -d ' '; }

make_token() {
  [ -s "$home/pin" ] || (umask 077 && new_pin >"$home/pin" && new_pin >"$home/so-pin")
  "$cmkctl" token list | grep -qw "$token" && return 0
  show "$cmkctl" token create --label "$token" --profile general --so-pin-file "$home/so-pin" --pin-file "$home/pin"
}

make_key() {
  "$cmkctl" key list --token "$token" | grep -qw "$key" && return 0
  show "$cmkctl" key create --token "$token" --name "$key" --id "$key_id" --spec AES-256 --usage wrap
}

# pkcs11-tool, logged in; its chatter is shown only when it fails.
p11() {
  local shown=$*
  printf '  $ pkcs11-tool … %s\n' "${shown//$home\//}"
  pkcs11-tool --module "$module" --token-label "$token" --login --pin env:CMKD_PIN "$@" >"$home/pkcs11-tool.log" 2>&1 ||
    { cat "$home/pkcs11-tool.log" >&2; fail "pkcs11-tool failed"; }
}

# Debian 12's pkcs11-tool (OpenSC 0.23) encrypts only with ECB and CBC, whose ciphertext cannot say which version of a key made
# it. So the file goes under a data key, and the data key under the CMK with AES-KEY-WRAP, whose integrity check finds the
# version: what one does with a CMK anyway.
protect_file() {
  local iv=000102030405060708090a0b0c0d0e0f
  printf 'This was written before the key was rotated.\n' >"$home/letter.txt"
  p11 --keygen --key-type AES:32 --id 02 --label data --usage-decrypt --sensitive --extractable
  p11 --encrypt --mechanism AES-CBC-PAD --iv $iv --id 02 --input-file "$home/letter.txt" --output-file "$home/letter.enc"
  p11 --wrap --mechanism AES-KEY-WRAP --id $key_id --application-id 02 --output-file "$home/letter.key"
  p11 --delete-object --type secrkey --id 02
}

open_file() {
  local iv=000102030405060708090a0b0c0d0e0f
  # What a key of keys wrapped comes back sensitive only.
  p11 --unwrap --mechanism AES-KEY-WRAP --id $key_id --input-file "$home/letter.key" --key-type AES: --sensitive \
    --application-id 03
  rm -f "$home/letter.dec"
  p11 --decrypt --mechanism AES-CBC-PAD --iv $iv --id 03 --input-file "$home/letter.enc" --output-file "$home/letter.dec"
  p11 --delete-object --type secrkey --id 03
  cmp -s "$home/letter.txt" "$home/letter.dec" || fail "the file did not come back as it was"
}

mkdir -p "$home" && chmod 700 "$home"
if [ "${1:-}" = stop ]; then stop_daemon; exit 0; fi

build_cmkd
write_config
start_daemon
make_token
CMKD_PIN=$(cat "$home/pin")
export CMKD_PIN
make_key

say "A file is encrypted under a data key, and the data key under the CMK '$key'"
protect_file
say "The CMK is rotated: same label, same handle, new material"
show "$cmkctl" key rotate "$token/$key"
say "The old data key still opens"
open_file
sed 's/^/  /' "$home/letter.dec"
say "What happened to the CMK, as the audit log has it"
show "$cmkctl" audit show --key "$token/$key" --limit 8

say "To go on, with any PKCS#11 program:"
cat <<LINES
  export CMKD_SOCKET=$CMKD_SOCKET
  export CMKD_PIN=\$(cat $home/pin)
  export PATH=$build/bin:\$PATH
  pkcs11-tool --module $module --token-label $token --login --pin env:CMKD_PIN --list-objects
LINES
