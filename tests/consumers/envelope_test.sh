#!/usr/bin/env bash
# The README's sample: a 100 MB file through envelope encryption, with the CMK rotated in between, on both token profiles and
# every back end that is there.
#
#   ENVELOPE_BYTES   size of the file
set -u
cmkctl=${CMKCTL:-${CMKD_BUILD_DIR:-.}/bin/cmkctl}
[ -x "$cmkctl" ] || { echo "missing: $cmkctl"; exit 1; }
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/examples/envelope.c
work=$(mktemp -d "${TMPDIR:-/tmp}/envelope.XXXXXX")
trap 'rm -rf "$work"' EXIT
export cmkctl work

cc -std=c11 -O1 -Wall -Wextra -Werror -I/usr/include/p11-kit-1 "$source" -o "$work/envelope" -ldl || exit 1
head -c "${ENVELOPE_BYTES:-100000000}" /dev/urandom >"$work/plain"

# Runs inside the sandbox.
story() {
  set -e
  cd "$work"
  ./envelope encrypt plain first.sealed
  "$cmkctl" key rotate app-master
  ./envelope decrypt first.sealed opened && cmp plain opened
  # The wrapped key, behind magic and length, is another one in every file.
  ./envelope encrypt plain second.sealed
  ! cmp -s -i 12 -n 40 first.sealed second.sealed
  "$cmkctl" key rotate app-master
  for file in first second; do rm -f opened; ./envelope decrypt $file.sealed opened; cmp plain opened; done
  # Damage is refused, and leaves no half-opened file.
  head -c 1048600 second.sealed >short.sealed
  ! ./envelope decrypt short.sealed broken 2>log
  grep -q C_Decrypt log
  [ ! -e broken ]
  : >nothing && ./envelope encrypt nothing nothing.sealed && ./envelope decrypt nothing.sealed opened && cmp nothing opened
}
export -f story

failures=0
for hsm in software softhsm2; do
  for profile in managed general; do
    if "$cmkctl" sandbox --hsm "$hsm" --profile "$profile" -- bash -c story; then
      echo "ok    envelope, $profile token, $hsm"
    else
      echo "FAIL  envelope, $profile token, $hsm"; failures=$((failures + 1))
    fi
    rm -f "$work"/*.sealed "$work"/opened "$work"/broken
  done
done
[ "$failures" -eq 0 ]
