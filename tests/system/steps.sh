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
  for hsm in ${HSMS:-software softhsm2}; do
    echo "== $hsm"
    "$cmkctl" sandbox --profile managed --hsm "$hsm" -- bash "$1" inside "$hsm" || failures=$((failures + 1))
  done
  exit $((failures != 0))
}
