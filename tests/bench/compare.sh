#!/usr/bin/env bash
# Measures cmkd and its peers in turns on this machine and writes a table and plots (docs/performance.md says how to read
# them).
#
#   bash tests/bench/compare.sh [OUTPUT_DIRECTORY]     everything; the default place is bench/ in the build directory
#   bash tests/bench/compare.sh --smoke                every case a few times, cmkd and SoftHSM2 only, nothing kept
#   bash tests/bench/compare.sh --document DIRECTORY   the tables of docs/performance.md and its plots anew, from such a run
#
#   BENCH_ROUNDS=5     how often the contenders take turns; the table has the medians
#   BENCH_MS=200       milliseconds for each case, contender and round
#   BENCH_KEYS=4000    keys to find one among by its label
#   BENCH_VERSIONS="1 10 100 1000"   versions of one key; one key is rotated for each number
#   BENCH_CLIENTS="1 10 100 1000"    connected processes, of which one calls; then 100 that call
#   BENCH_ONLY="cmkd softhsm2"       which contenders
#   BENCH_STORE_KEYS="4000 1000000"  keys in the store alone, which is made in BENCH_STORE_DIRECTORY (/var/tmp)
#   BENCH_PARTS="single load versions clients memory store keys"   which measurements
#
# Contenders: cmkd (software token), cmkd-strict (the same with audit.strict, single only), cmkd-firmware-sim and cmkd-softhsm2
# (the HSM in its own process), softhsm2 (in process), nss (softoken, in process), opencryptoki (its software token; root
# only, for it needs places of its own), p11-kit (SoftHSM2 behind p11-kit's remoting). Peers that are missing are
# installed where that is possible (tools/install-deps.sh bench), and left out where it is not.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${CMKD_BUILD_DIR:-$here/../../build/release}
bench=${CMKD_BENCH:-$build/test-bin/cmkd-bench}
cmkctl=${CMKCTL:-$build/bin/cmkctl}

memory=${CMKD_BENCH_MEMORY:-$build/test-bin/cmkd-bench-memory}
scale=${CMKD_BENCH_SCALE:-$build/test-bin/cmkd-bench-scale}
if [ "${1:-}" = --document ]; then
  exec python3 "$here/report.py" "${2:?the directory of a run}/results.tsv" "$2" "$here/../../docs"
fi

smoke=
if [ "${1:-}" = --smoke ]; then smoke=1; shift; fi
rounds=${BENCH_ROUNDS:-5} ms=${BENCH_MS:-200} keys=${BENCH_KEYS:-4000}
versions=${BENCH_VERSIONS:-1 10 100 1000} clients=${BENCH_CLIENTS:-1 10 100 1000} active=100
only=${BENCH_ONLY:-cmkd cmkd-strict cmkd-firmware-sim cmkd-softhsm2 softhsm2 nss opencryptoki p11-kit}
parts=${BENCH_PARTS:-single load versions clients memory store keys} store_keys=${BENCH_STORE_KEYS:-4000 1000000}
limits=(--time "$ms")
memory_of=(client=1000 session=100000 session-key=5000 token-key=1000)
if [ -n "$smoke" ]; then
  rounds=1 keys=20 versions="1 3" clients="1 3" active=9 store_keys="50 100" only="cmkd cmkd-strict softhsm2" limits=(--time 5000 --runs 5)
  memory_of=(client=3 session=100 session-key=20 token-key=20)
else
  bash "$here/../../tools/install-deps.sh" bench || echo "compare: what is not installed is left out" >&2
fi
for program in "$bench" "$memory" "$scale" "$cmkctl"; do
  [ -x "$program" ] || { echo "compare: no $program; build it: cmake --preset release -DCMKD_TESTS=ON &&" \
    "cmake --build build/release" >&2; exit 1; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/cmkd-bench.XXXXXX")
servers=() sandboxes=()
finish() {
  local pid
  if [ -n "${hold:-}" ]; then exec {hold}>&-; fi
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

# Room for the growth with clients and sessions; everything else is the default.
room=(--set daemon.max_connections=4000 --set daemon.max_connections_per_uid=4000
      --set limits.sessions_per_application=110000)
declare -A socket_of
# Sandboxes stay as long as this pipe has a writer, and that is this script: one that looked again and again would be measured.
mkfifo "$work/hold"
exec {hold}<> "$work/hold"
sandbox() { # NAME HSM [OPTIONS OF THE SANDBOX...]
  local name=$1 dir=$work/$1 i
  mkdir "$dir"
  "$cmkctl" sandbox "${room[@]}" --hsm "$2" "${@:3}" -- sh -c '
    env | grep -E "^(P11_MODULE|P11_TOKEN|P11_PIN|CMKD_SOCKET)=" > "$0/env.new" && mv "$0/env.new" "$0/env"
    read -r _ < "$1"; true' "$dir" "$work/hold" > "$dir/log" 2>&1 {hold}>&- &
  local pid=$!
  sandboxes+=("$pid")
  for i in $(seq 900); do
    [ -e "$dir/env" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; return 1; }
    sleep 0.1
  done
  local facts
  mapfile -t facts < <(. "$dir/env"; printf '%s\n' "$P11_MODULE" "$P11_TOKEN" "$P11_PIN" "$CMKD_SOCKET")
  socket_of[$name]=${facts[3]}
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
prepare_cmkd-strict() { sandbox cmkd-strict software --set audit.strict=true; }
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
{
  printf 'fact\tvalue\n'
  printf '%s\t%s\n' date "$(date -u +%Y-%m-%d)" processors "$(nproc)" model \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | sed -n 1p)" kernel "$(uname -r)" \
    system "$(. /etc/os-release; echo "${PRETTY_NAME:-}")" openssl "$(openssl version 2> /dev/null | cut -d ' ' -f 2)" \
    rounds "$rounds" ms "$ms" load_before "$(cut -d ' ' -f 1 /proc/loadavg)"
} > "$work/facts.tsv"
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

alone=() several=(--case gcm-32 --case hmac-64 --case ecdsa-p256) protected=(--case gcm-32 --case ecdsa-p256)
for name in $("$bench" --list | awk -F '\t' '$2 == "" {print $1}'); do alone+=(--case "$name"); done
failed=0
part() { is "$1" "$parts"; }
each_round() { # FUNCTION: it measures everybody once
  for ((round = 1; round <= rounds; ++round)); do
    [ -n "$smoke" ] || echo "$1: round $round of $rounds, $((SECONDS / 60)) minutes since the start" >&2
    "$1"
  done
}

single_and_load() {
  local name load
  if part single; then "$bench" --name floor --floor 3 "${limits[@]}" >> "$results"; fi
  for name in "${contenders[@]}"; do
    part single || break
    case $name in
      cmkd-strict) measure "$name" "${protected[@]}" ;;
      *) measure "$name" "${alone[@]}" ;;
    esac
  done
  for load in "2 1" "8 1" "1 8" "2 8"; do
    part load || break
    for name in "${contenders[@]}"; do
      if [ "$name" = cmkd-strict ]; then continue; fi
      # Their client module and server are for one process; NSS's database is locked by the process that has it open.
      if is "$name" "p11-kit nss" && [ "${load#* }" = 8 ]; then continue; fi
      measure "$name" --threads "${load% *}" --processes "${load#* }" "${several[@]}"
    done
  done
}
if part single || part load; then each_round single_and_load; fi

# Only cmkd has versions, and clients beside the one that is measured.
control() { CMKD_SOCKET=${socket_of[cmkd]} "$cmkctl" "$@" > "$work/control.log" || { cat "$work/control.log" >&2; failed=1; }; }
if is cmkd "${contenders[*]}" && part versions; then
  for count in $versions; do
    control key create --token cmkd-sandbox --name "bench-rotated-$count"
    measure cmkd --prepare --versions "$count" --old "$work/old-$count"
    for ((i = 1; i < count; ++i)); do control key rotate "cmkd-sandbox/bench-rotated-$count"; done
  done
  with_versions() {
    local count name arguments=()
    for name in $("$bench" --list | awk -F '\t' '$2 == "versions" {print $1}'); do arguments+=(--case "$name"); done
    for count in $versions; do measure cmkd --versions "$count" --old "$work/old-$count" "${arguments[@]}"; done
  }
  each_round with_versions
fi
if is cmkd "${contenders[*]}" && part clients; then
  with_clients() {
    local count
    for count in $clients; do measure cmkd --idle $((count - 1)) --case gcm-32 --case hmac-64; done
    measure cmkd --processes "$active" --case gcm-32 --case hmac-64
  }
  each_round with_clients
fi
if is cmkd "${contenders[*]}" && part memory; then
  # A new daemon for each: what it keeps of one would serve the next.
  "$memory" --header > "$work/memory.tsv"
  for what in "${memory_of[@]}"; do
    "$cmkctl" sandbox "${room[@]}" -- sh -c '"$0" --module "$P11_MODULE" --token "$P11_TOKEN" --pin "$P11_PIN" \
      --of "$CMKD_DAEMON_PID" --what "${1%=*}" --count "${1#*=}"' "$memory" "$what" >> "$work/memory.tsv" || failed=1
  done
fi
if is cmkd "${contenders[*]}" && part store; then
  "$scale" --directory "${BENCH_STORE_DIRECTORY:-/var/tmp}" $(printf -- '--keys %s ' $store_keys) > "$work/store.tsv" || failed=1
fi

# Keys that are there slow down other cases of some modules, so they come last. Making 4,000 takes SoftHSM2 minutes.
for name in "${contenders[@]}"; do
  part keys || break
  if is "$name" "p11-kit nss opencryptoki cmkd-firmware-sim cmkd-softhsm2 cmkd-strict"; then continue; fi
  for count in $((keys / 40 + 1)) $((keys / 8 + 1)) "$keys"; do
    measure "$name" --case find-label --case create --keys "$count"
  done
done

if [ -n "$smoke" ]; then
  cat "$results" "$work/memory.tsv" "$work/store.tsv"
  # Every case ran; nothing is said of how fast. The report can be made of it, which nobody keeps.
  for name in $("$bench" --list | cut -f 1); do
    grep -q "^cmkd	$name	" "$results" || { echo "$name did not run"; failed=1; }
  done
  for name in client session session-key token-key; do
    grep -q "^$name	" "$work/memory.tsv" || { echo "the memory of a $name was not measured"; failed=1; }
  done
  mkdir "$work/report" "$work/docs"
  cp "$here/../../docs/performance.md" "$work/docs"
  python3 "$here/report.py" "$results" "$work/report" "$work/docs" || failed=1
  exit $failed
fi
out=${1:-$build/bench}
mkdir -p "$out"
rm -f "$out"/{memory,store}.tsv
cp "$work"/*.tsv "$out"
python3 "$here/report.py" "$out/results.tsv" "$out"
cat "$out/table.md"
echo "compare: $((SECONDS / 60)) minutes; $out has results.tsv, table.md and the plots" >&2
exit $failed
