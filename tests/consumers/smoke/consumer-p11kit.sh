#!/usr/bin/env bash
# p11-kit in short: the module registered and listed, then served to another process.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need p11-kit pkcs11-tool
export HOME=$work XDG_CONFIG_HOME=$work/.config
mkdir -p "$work/.config/pkcs11/modules"
unset XDG_RUNTIME_DIR
printf 'user-config: merge\n' >"$work/.config/pkcs11/pkcs11.conf"
printf 'module: %s\n' "$P11_MODULE" >"$work/.config/pkcs11/modules/smoke.module"
# p11-kit reads no user configuration when root runs it, so root sees only that listing itself works.
step list p11-kit list-modules
[ "$(id -u)" = 0 ] || shows list "token: $P11_TOKEN"
as_user key --keypairgen --key-type EC:prime256v1 --id 31 --label k --usage-sign
client=$(find /usr/lib -name p11-kit-client.so 2>/dev/null | head -n 1)
if [ -n "$client" ]; then
  eval "$(p11-kit server --provider "$P11_MODULE" -n "$work/socket" "pkcs11:token=$P11_TOKEN" | sed 's/^P11/export P11/')"
  head -c 32 /dev/urandom >digest
  # The server says where it is before it listens.
  for _ in $(seq 300); do pkcs11-tool --module "$client" -L 2>/dev/null | grep -q "$P11_TOKEN" && break; sleep 0.1; done
  step slots pkcs11-tool --module "$client" -L && shows slots "$P11_TOKEN"
  step sign pkcs11-tool --module "$client" --token-label "$P11_TOKEN" --login --pin "$P11_PIN" --sign --mechanism ECDSA --id 31 \
    -i digest -o sig
  kill "${P11_KIT_SERVER_PID:-}" 2>/dev/null
fi
finish consumer-p11kit
