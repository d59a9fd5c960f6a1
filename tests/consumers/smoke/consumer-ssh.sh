#!/usr/bin/env bash
# OpenSSH in short: the token's public keys, a login to a server of our own on the loopback, and the agent.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need ssh ssh-keygen ssh-add ssh-agent pkcs11-tool
# An SSH server is installed only where nobody lives (tests/run.sh).
[ -x /usr/sbin/sshd ] || { echo 'skipped: no SSH server'; exit 77; }
export HOME=$work DISPLAY=:0 SSH_ASKPASS=$work/ask SSH_ASKPASS_REQUIRE=force
chmod 700 "$work"
printf '#!/bin/sh\necho "$P11_PIN"\n' >ask
chmod +x ask
as_user make --keypairgen --key-type EC:prime256v1 --id 51 --label smoke --usage-sign
step public-keys ssh-keygen -D "$P11_MODULE" && shows public-keys ecdsa-sha2-nistp256
grep ^ecdsa log.public-keys >ec.pub
step host-key ssh-keygen -q -t ed25519 -N '' -f host
# A port nobody listens on now.
for port in $(shuf -i 26000-30000 -n 50); do (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break; done
printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $work/host" "AuthorizedKeysFile $work/ec.pub" \
  "PidFile $work/sshd.pid" 'StrictModes no' 'UsePAM no' 'PasswordAuthentication no' 'PermitRootLogin yes' >config
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
trap 'kill "$(cat "$work/sshd.pid" 2>/dev/null)" "${SSH_AGENT_PID:-}" 2>/dev/null; rm -rf "$work"' EXIT
step server /usr/sbin/sshd -f "$work/config" -E "$work/sshd.log"
for _ in $(seq 300); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
client=(ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -i ec.pub -p "$port")
step login "${client[@]}" -o PKCS11Provider="$P11_MODULE" 127.0.0.1 echo inside && shows login inside
eval "$(ssh-agent -P "$(dirname "$(readlink -f "$P11_MODULE")")/*")" >/dev/null
step agent-takes ssh-add -s "$P11_MODULE"
step agent-login "${client[@]}" 127.0.0.1 echo inside && shows agent-login inside
step agent-forgets ssh-add -e "$P11_MODULE"
finish consumer-ssh
