#!/usr/bin/env bash
# Types what docs/faults.md shows: the first example as it stands there, with a program that signs, and each script of "Examples" in a
# sandbox, where it must do what its comment says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
page=$here/../../docs/faults.md
build=${CMKD_BUILD_DIR:-$PWD}
export PATH=$build/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/faults-page.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "FAIL $1"; exit 1; }

# The script between "$ cat outage.faults" and the next command, and that command.
awk '/^\$ cat outage.faults/ { on = 1; next } on && /^\$ / { exit } on' "$page" >outage.faults
command=$(sed -n 's/^\$ \(cmkctl sandbox --hsm firmware_sim --faults outage.faults .*\)$/\1/p' "$page")
[ "$(wc -l <outage.faults)" -ge 4 ] && [ -n "$command" ] || fail "the page has no first example any more"
cat >my-program <<'PROGRAM'
#!/bin/sh
# Makes a key and signs with it, and says where its sandbox was.
tool() { pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" --login --pin "$P11_PIN" "$@"; }
echo "$CMKD_SANDBOX_DIR" >where
echo text >text
tool --keypairgen --key-type EC:prime256v1 --id 01 --label k --usage-sign >/dev/null || exit 1
signed=0
for i in 1 2 3 4 5 6 7 8; do
  tool --sign --mechanism ECDSA-SHA256 --id 01 --input-file text --output-file "signature$i" >/dev/null 2>&1 && signed=$((signed + 1))
done
# The faults were a few of the first signatures; the last ones are made.
[ "$signed" -ge 4 ] && [ -s signature8 ]
PROGRAM
chmod +x my-program
eval "$command" || fail "the program in the first example did not get its last signatures"
log=$(cat where)/cmkd.log
shown=$(sed -n 's/^\(firmware_sim: fault: line .*\)$/\1/p' "$page")
[ -n "$shown" ] || fail "the page shows no line of the log any more"
grep -qF "$shown" "$log" || { cat "$log"; fail "the log has no line as the page shows it: $shown"; }
rm -rf "$(cat where)"

# Each example has a comment and its rules. They come one after the other, the last one destroys the device.
awk '/^## Examples/ { here = 1; next } /^## / { here = 0 } here && /^```/ { on = !on; next } here && on' "$page" |
  awk -v RS= '{ print > ("example" NR) }'
count=$(ls example* | wc -l)
[ "$count" -ge 5 ] || fail "the page has only $count examples"
cat >rehearse <<'PROGRAM'
#!/bin/sh
# Puts each example in place and works until it has happened.
tool() { pkcs11-tool --module "$P11_MODULE" --token-label "$P11_TOKEN" --login --pin "$P11_PIN" "$@" 2>&1; }
echo text >text
tool --keypairgen --key-type EC:prime256v1 --id 01 --label k --usage-sign >/dev/null || exit 1
log=$CMKD_SANDBOX_DIR/cmkd.log
for example in $(ls example* | sort -V); do
  before=$(grep -c 'firmware_sim: fault:' "$log")
  cp "$example" "$CMKD_FAULTS.new" && mv "$CMKD_FAULTS.new" "$CMKD_FAULTS"
  # What is only slow says nothing in the log, and what comes at its time is not waited for: the program goes on.
  if ! grep -v '^#' "$example" | grep -qv -e delay -e ' from '; then
    tool --sign --mechanism ECDSA-SHA256 --id 01 --input-file text --output-file s >/dev/null || exit 1
    continue
  fi
  happened=0 round=0
  while [ $happened = 0 ] && [ $round -lt 1000 ]; do
    round=$((round + 1))
    tool --sign --mechanism ECDSA-SHA256 --id 01 --input-file text --output-file s >/dev/null
    # A new token has keys of its own in the device's memory.
    if grep -q '^on flash' "$example"; then
      CMKD_SO_PIN=12345678 CMKD_PIN=12345678 cmkctl token create --label "new $example $round" >/dev/null 2>&1
    fi
    [ "$(grep -c 'firmware_sim: fault:' "$log")" -gt "$before" ] && happened=1
    sleep 0.05
  done
  [ $happened = 1 ] || { echo "nothing happened by"; cat "$example"; exit 1; }
done
PROGRAM
chmod +x rehearse
echo '# Nothing, at first.' >none.faults
cmkctl sandbox --hsm firmware_sim --faults none.faults -- ./rehearse || fail "an example of the page"
echo "every example of the page did what it says"
