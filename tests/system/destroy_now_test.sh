#!/usr/bin/env bash
# cmkctl key destroy-now: approvals of different users, what is refused, and a record that openssl verifies.
#
#   CMKCTL, CMKD   the programs under test (default: of CMKD_BUILD_DIR/bin)
set -u
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
need openssl pkcs11-tool
begin_work destroy-test
chmod 755 "$work"
# A second operator is another user, for whom only root can act. For anybody else the rule is as strict: two approvals are
# needed, and one user gives one; then, to see a record, the configuration is changed to want one.
other() { setpriv --reuid=65534 --clear-groups "$cmkctl" "$@"; }
want() { stop_daemon; sed -i "s/^destroy_now_approvals = .*/destroy_now_approvals = $1/" home/cmkd.toml; start_daemon; }
says() { grep -q "$1" log; }

new_home home
chmod 755 home
sed -i "s/^socket_mode = .*/socket_mode = 0o666\noperators = [65534]/; s/^\[tokens\]$/[tokens]\ndestroy_now_approvals = 2/" \
  home/cmkd.toml
expect "a daemon" start_daemon
expect "a token" new_token
for spec in EC-P256 RSA-2048; do
  expect "$spec: a key that signs records" ctl key create --name "records-$spec" --spec "$spec" --usage sign --id 0a
  expect "$spec: a key" ctl key create --name "doomed-$spec"
  now() { "$1" key destroy-now "doomed-$spec" --reason "$2" --sign-with "records-$spec" --record "$spec.json"; }
  refused "$spec: not while it is in use" DISABLE_FIRST now ctl "erasure 4711"
  expect "$spec: disabled" ctl key disable "doomed-$spec"
  expect "$spec: the first approval" now ctl "erasure 4711"
  expect "$spec: destroys nothing" state_is "doomed-$spec" Disabled
  expect "$spec: the same user again" now ctl "erasure 4711"
  expect "$spec: counts once" state_is "doomed-$spec" Disabled
  refused "$spec: another reason is another matter" "another reason" now ctl "just so"
  if [ "$(id -u)" = 0 ]; then
    touch "$spec.json" "$spec.json.sig"; chmod 666 "$spec.json" "$spec.json.sig"
    expect "$spec: the second user's approval" now other "erasure 4711"
  else
    expect "$spec: one approval is to be enough" want 1
    expect "$spec: the only approval" now ctl "erasure 4711"
    expect "$spec: two are needed again" want 2
  fi
  id=$(sed -n 's/.*"key":"\([0-9a-f]*\)".*/\1/p' "$spec.json")
  expect "$spec: it is destroyed" state_is "$id" Destroyed
  pkcs11-tool --module "${CMKD_BUILD_DIR:-.}/lib/libcmkd-pkcs11.so" --token-label ring --read-object --type pubkey \
    --label "records-$spec" --output-file public.der >log 2>&1
  openssl pkey -pubin -inform der -in public.der -out public.pem >>log 2>&1
  expect "$spec: openssl verifies the record" openssl dgst -sha256 -verify public.pem -signature "$spec.json.sig" "$spec.json"
  expect "$spec: and it says why" grep -q '"reason":"erasure 4711"' "$spec.json"
  sed 's/erasure 4711/erasure 4712/' "$spec.json" >forged.json
  if openssl dgst -sha256 -verify public.pem -signature "$spec.json.sig" forged.json >log 2>&1; then bad "a forged record"; else ok "$spec: no other"; fi
done
expect "a protected key" ctl key create --name kept --deletion-protection
expect "disabled" ctl key disable kept
refused "is not destroyed either" DELETION_PROTECTED ctl key destroy-now kept --reason x --sign-with records-EC-P256 --record x.json
exit $((failures != 0))
