# For the smoke scripts: counts steps and ends with the line that run_consumer.sh reads. Sourced, not run.
set -u
export LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/smoke.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0
failing=()

# need COMMAND...: a program that is not installed is a failure; tools/install-deps.sh test installs it.
need() { local name; for name in "$@"; do command -v "$name" >/dev/null || { echo "missing: $name"; exit 1; }; done; }
# step NAME COMMAND...: the command succeeds within two minutes.
step() {
  local name=$1; shift
  if timeout 120 "$@" >"log.$name" 2>&1 </dev/null; then passed=$((passed + 1)); return 0; fi
  failing+=("$name"); echo "FAIL $name"; tail -n 5 "log.$name"; return 1
}
# shows NAME TEXT: the output of step NAME has the text.
shows() { step "$1-shows" grep -q -- "$2" "log.$1"; }
tool() { pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" "$@"; }
user() { tool --login --pin "$P11_PIN" "$@"; }
export -f tool user
# as_user NAME ARGUMENTS...: a step of pkcs11-tool, logged in.
as_user() { local name=$1; shift; step "$name" bash -c 'user "$@"' _ "$@"; }
key_uri() { echo "pkcs11:token=$P11_TOKEN;object=$1;type=private"; }
# engine_conf: OpenSSL has the engine pkcs11 from now on, with the module and its PIN.
engine_conf() {
  cat >engine.cnf <<END
openssl_conf = main
[main]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = $P11_MODULE
PIN = $P11_PIN
init = 1
[req]
distinguished_name = name
[name]
END
  export OPENSSL_CONF=$work/engine.cnf
}
finish() {
  echo "$1: passed $passed, failed ${#failing[@]}, skipped 0${failing:+ | failing: ${failing[*]}}"
  [ ${#failing[@]} -eq 0 ]
}
