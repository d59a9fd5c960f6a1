# For the scripts of this folder: steps that are counted, and what every script says of its back ends. Sourced, not run.
cmkctl=${CMKCTL:-${CMKD_BUILD_DIR:-.}/bin/cmkctl}
failures=0
log=log  # the output of the step of now
ok() { echo "ok    $1"; }
bad() { echo "FAIL  $1"; [ -s "$log" ] && sed 's/^/        /' "$log"; failures=$((failures + 1)); }
# expect NAME COMMAND...: the command succeeds.
expect() { local name=$1; shift; if "$@" >"$log" 2>&1; then ok "$name"; else bad "$name"; fi; }
# refused NAME CODE COMMAND...: it does not, and says the code.
refused() {
  local name=$1 code=$2; shift 2
  if ! "$@" >"$log" 2>&1 && grep -q "$code" "$log"; then ok "$name"; else bad "$name"; fi
}
ctl() { "$cmkctl" "$@"; }
# need PROGRAM...: one that is not there is a failure; tools/install-deps.sh test installs them.
need() { local name; for name in "$@"; do command -v "$name" >/dev/null || { echo "missing: $name"; exit 1; }; done; }
# on_each_hsm SCRIPT: runs it as "SCRIPT inside HSM" in a managed sandbox of each back end (HSMS), and ends.
on_each_hsm() {
  local hsm
  for hsm in ${HSMS:-software firmware_sim softhsm2}; do
    echo "== $hsm"
    "$cmkctl" sandbox --profile managed --hsm "$hsm" -- bash "$1" inside "$hsm" || failures=$((failures + 1))
  done
  exit $((failures != 0))
}

# ---- Scripts with a daemon of their own

cmkd=${CMKD:-${CMKD_BUILD_DIR:-.}/bin/cmkd}
daemon_pid=
daemon_env=()  # NAME=VALUE for its environment
# begin_work NAME: the script goes on in a fresh folder, $work; folder and daemon go when it ends.
begin_work() {
  need "$cmkctl" "$cmkd"
  work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX") || exit 1
  trap 'stop_daemon; rm -rf "$work"' EXIT
  cd "$work" || exit 1
  printf '12345678\n' >pin
}
# new_home NAME: the configuration of a daemon in $home; from then on cmkctl talks to that one.
new_home() {
  home=$work/$1
  ctl init --directory "$home" >/dev/null || exit 1
  export CMKD_SOCKET=$home/cmkd.sock
}
# start_daemon [ARGUMENTS]: until it answers; a failure when it ends before. What it says is in $work/daemon.log.
start_daemon() {
  env "${daemon_env[@]}" "$cmkd" --config "$home/cmkd.toml" "$@" >"$work/daemon.log" 2>&1 &
  daemon_pid=$!
  local i
  for i in $(seq 600); do
    ctl status >/dev/null 2>&1 && return 0
    kill -0 "$daemon_pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/daemon.log"
  stop_daemon
  return 1
}
# stop_daemon [SIGNAL]
stop_daemon() {
  [ -z "$daemon_pid" ] || { kill "-${1:-TERM}" "$daemon_pid"; wait "$daemon_pid"; } 2>/dev/null
  daemon_pid=
}
new_token() { ctl token create --label ring --profile managed --pin-file "$work/pin" --so-pin-file "$work/pin"; }
# state_is KEY TEXT: what cmkctl key show says of it has the text.
state_is() { ctl key show "$1" | grep -q "$2"; }
# field KEY NAME: a member of what cmkctl --json key show says.
field() { ctl --json key show "$1" | sed -n "s/.*\"$2\": *\"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
