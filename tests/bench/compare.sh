#!/usr/bin/env bash
# Measures cmkd and its peers in turns on this machine and writes a table and plots (docs/performance.md says how to read
# them).
#
#   bash tests/bench/compare.sh [OUTPUT_DIRECTORY]     everything; the default place is bench/ in the build directory
#   bash tests/bench/compare.sh --smoke                every case a few times, cmkd and SoftHSM2 only, nothing kept
#
#   BENCH_ROUNDS=5     how often the contenders take turns; the table has the medians
#   BENCH_MS=200       milliseconds for each case, contender and round
#   BENCH_KEYS=4000    keys to find one among by its label
#   BENCH_ONLY="cmkd softhsm2"   which contenders
#
# Contenders: cmkd (software token), cmkd-firmware-sim and cmkd-softhsm2 (the HSM in its own process), softhsm2 (in process),
# nss (softoken, in process), opencryptoki (its software token; root only, for it needs places of its own), p11-kit
# (SoftHSM2 behind p11-kit's remoting). Peers that are not installed are left out.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${CMKD_BUILD_DIR:-$here/../../build/release}
bench=${CMKD_BENCH:-$build/test-bin/cmkd-bench}
cmkctl=${CMKCTL:-$build/bin/cmkctl}

smoke=
if [ "${1:-}" = --smoke ]; then smoke=1; shift; fi
rounds=${BENCH_ROUNDS:-5} ms=${BENCH_MS:-200} keys=${BENCH_KEYS:-4000}
only=${BENCH_ONLY:-cmkd cmkd-firmware-sim cmkd-softhsm2 softhsm2 nss opencryptoki p11-kit}
limits=(--time "$ms")
if [ -n "$smoke" ]; then rounds=1 keys=20 only="cmkd softhsm2" limits=(--time 5000 --runs 5); fi

work=$(mktemp -d "${TMPDIR:-/tmp}/cmkd-bench.XXXXXX")
servers=() sandboxes=()
finish() {
  local pid
  touch "$work/done"
  for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${servers[@]}" "${sandboxes[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# ---- The contenders: a function each that prepares it, and its arguments of cmkd-bench in arguments_NAME.

contenders=()
ready() { # NAME VARIABLE... COMMAND... : the environment and what it runs in, then the arguments behind --
  contenders+=("$1")
  declare -ga "run_${1//-/_}"
  local -n run="run_${1//-/_}"
  shift
  run=("$@")
}

sandbox() { # NAME HSM
  local name=$1 dir=$work/$1 i
  mkdir "$dir"
  "$cmkctl" sandbox --hsm "$2" -- sh -c '
    env | grep -E "^(P11_MODULE|P11_TOKEN|P11_PIN|CMKD_SOCKET)=" > "$0/env.new" && mv "$0/env.new" "$0/env"
    while [ -d "$0" ] && [ ! -e "$1" ]; do sleep 0.2; done' "$dir" "$work/done" > "$dir/log" 2>&1 &
  local pid=$!
  sandboxes+=("$pid")
  for i in $(seq 300); do
    [ -e "$dir/env" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; return 1; }
    sleep 0.1
  done
  local facts
  mapfile -t facts < <(. "$dir/env"; printf '%s\n' "$P11_MODULE" "$P11_TOKEN" "$P11_PIN" "$CMKD_SOCKET")
  ready "$name" "CMKD_SOCKET=${facts[3]}" -- --module "${facts[0]}" --token "${facts[1]}" --pin "${facts[2]}"
}

softhsm_module=
for place in "${CMKD_SOFTHSM2_MODULE:-}" /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so; do
  if [ -z "$softhsm_module" ] && [ -f "$place" ]; then softhsm_module=$place; fi
done

softhsm_token() { # DIRECTORY: a token of SoftHSM2 in it
  mkdir -p "$1/tokens"
  printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$1" > "$1/softhsm2.conf"
  SOFTHSM2_CONF=$1/softhsm2.conf softhsm2-util --init-token --free --label bench --pin 123456 --so-pin 123456 > /dev/null
}

prepare_cmkd() { sandbox cmkd software; }
prepare_cmkd-firmware-sim() { sandbox cmkd-firmware-sim firmware_sim; }
prepare_cmkd-softhsm2() { [ -z "$softhsm_module" ] || sandbox cmkd-softhsm2 softhsm2; }

prepare_softhsm2() {
  [ -n "$softhsm_module" ] || return 0
  softhsm_token "$work/softhsm2"
  ready softhsm2 "SOFTHSM2_CONF=$work/softhsm2/softhsm2.conf" -- --module "$softhsm_module" --token bench --pin 123456
}

prepare_nss() {
  local module
  module=$(ls /usr/lib/*/libsoftokn3.so /usr/lib/*/nss/libsoftokn3.so 2>/dev/null | head -n 1) || true
  if [ -z "$module" ] || ! command -v certutil > /dev/null; then return 0; fi
  mkdir "$work/nss"
  certutil -N -d "sql:$work/nss" --empty-password
  ready nss "NSS_DISABLE_UNLOAD=1" -- --module "$module" --token "NSS Certificate DB" \
    --init-string "configdir='sql:$work/nss' certPrefix='' keyPrefix='' secmod='' flags=noModDB"
}

# opencryptoki knows its places by heart, so it and what calls it get a view of the file system where they are new.
prepare_opencryptoki() {
  local module pid i
  module=$(ls /usr/lib/*/opencryptoki/libopencryptoki.so 2>/dev/null | head -n 1) || true
  if [ -z "$module" ] || [ ! -x /usr/sbin/pkcsslotd ] || [ "$(id -u)" != 0 ]; then return 0; fi
  unshare --mount --ipc sh -ec '
    for place in /run /dev/shm /var/lib/opencryptoki /etc/opencryptoki; do mount -t tmpfs -o mode=0755 bench "$place"; done
    mkdir -p /run/lock/opencryptoki/swtok /var/lib/opencryptoki/swtok/TOK_OBJ
    printf "version opencryptoki-3.1\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n" > /etc/opencryptoki/opencryptoki.conf
    chgrp -R pkcs11 /run/lock /var/lib/opencryptoki
    chmod -R 0770 /run/lock /var/lib/opencryptoki
    exec /usr/sbin/pkcsslotd -f' > "$work/opencryptoki.log" 2>&1 &
  pid=$!
  servers+=("$pid")
  local inside=(nsenter --target "$pid" --mount --ipc)
  for i in $(seq 100); do "${inside[@]}" test -S /run/pkcsslotd.socket 2>/dev/null && break; sleep 0.05; done
  # A new token has the maker's PINs, which must be changed before anything else.
  if ! "${inside[@]}" sh -ec 'echo bench | pkcsconf -I -c 3 -S 87654321; pkcsconf -P -c 3 -S 87654321 -n 47110815
      pkcsconf -u -c 3 -S 47110815 -n 11112222; pkcsconf -p -c 3 -U 11112222 -n 47110815' >> "$work/opencryptoki.log" 2>&1
  then
    echo "compare: opencryptoki makes no token" >&2
    return 0
  fi
  ready opencryptoki "${inside[@]}" -- --module "$module" --token bench --pin 47110815
}

prepare_p11-kit() {
  local client
  client=$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2>/dev/null | head -n 1) || true
  if [ -z "$client" ] || [ -z "$softhsm_module" ] || ! command -v p11-kit > /dev/null; then return 0; fi
  softhsm_token "$work/p11-kit"
  SOFTHSM2_CONF=$work/p11-kit/softhsm2.conf p11-kit server --foreground --name "$work/p11-kit/socket" \
    --provider "$softhsm_module" "pkcs11:token=bench" > "$work/p11-kit/log" 2>&1 &
  servers+=($!)
  local i
  for i in $(seq 100); do [ -S "$work/p11-kit/socket" ] && break; sleep 0.05; done
  [ -S "$work/p11-kit/socket" ] || { echo "compare: p11-kit's server does not start" >&2; return 0; }
  ready p11-kit "P11_KIT_SERVER_ADDRESS=unix:path=$work/p11-kit/socket" -- --module "$client" --token bench --pin 123456
}

for name in $only; do "prepare_$name"; done

# ---- Taking turns

results=$work/results.tsv
"$bench" --header > "$results"
measure() { # NAME ARGUMENTS...
  local -n run="run_${1//-/_}"
  local environment=() i
  for ((i = 0; i < ${#run[@]}; ++i)); do
    [ "${run[i]}" = -- ] && break
    environment+=("${run[i]}")
  done
  # What a peer cannot do is a gap in the table; what cmkd cannot do is a failure.
  env "${environment[@]}" "$bench" --name "$1" "${run[@]:i+1}" "${limits[@]}" "${@:2}" >> "$results" ||
    [[ $1 != cmkd* ]] || failed=1
}
is() { [[ " $2 " = *" $1 "* ]]; }

cases=$("$bench" --list | cut -f 1 | grep -v find-label)
alone=() several=(--case gcm-32 --case hmac-64 --case ecdsa-p256)
for name in $cases; do alone+=(--case "$name"); done
failed=0
for ((round = 1; round <= rounds; ++round)); do
  [ -n "$smoke" ] || echo "round $round of $rounds" >&2
  for name in "${contenders[@]}"; do measure "$name" "${alone[@]}"; done
  for load in "2 1" "8 1" "1 8" "2 8"; do
    for name in "${contenders[@]}"; do
      # Their client module and server are for one process; NSS's database is locked by the process that has it open.
      if is "$name" "p11-kit nss" && [ "${load#* }" = 8 ]; then continue; fi
      measure "$name" --threads "${load% *}" --processes "${load#* }" "${several[@]}"
    done
  done
done
# Keys that are there slow down other cases of some modules, so they come last. Making 4,000 takes SoftHSM2 minutes.
for name in "${contenders[@]}"; do
  if is "$name" "p11-kit nss opencryptoki cmkd-firmware-sim cmkd-softhsm2"; then continue; fi
  for count in $((keys / 40 + 1)) $((keys / 8 + 1)) "$keys"; do
    measure "$name" --case find-label --case create --keys "$count"
  done
done

if [ -n "$smoke" ]; then
  cat "$results"
  # Every case ran; nothing is said of how fast.
  for name in $("$bench" --list | cut -f 1); do
    grep -q "^cmkd	$name	" "$results" || { echo "$name did not run"; failed=1; }
  done
  exit $failed
fi
out=${1:-$build/bench}
mkdir -p "$out"
cp "$results" "$out/results.tsv"
python3 "$here/report.py" "$out/results.tsv" "$out"
cat "$out/table.md"
exit $failed
