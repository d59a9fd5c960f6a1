#!/usr/bin/env bash
# TLS servers that run for long: nginx (with worker processes, and through a reload) and stunnel, their keys in the token.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
# On a machine that somebody lives on tests/run.sh does not install servers; anywhere else they must be there.
if ! command -v nginx stunnel4 >/dev/null && [ -d /run/systemd/system ] && [ "${CI:-}" != true ]; then
  echo "nginx and stunnel4 are not installed; tools/install-deps.sh service does that"; exit 77
fi
need pkcs11-tool openssl nginx stunnel4 curl
engine_conf
as_user rsa --keypairgen --key-type rsa:2048 --id 22 --label rsa --usage-sign
as_user ec --keypairgen --key-type EC:prime256v1 --id 23 --label ec --usage-sign
for key in rsa ec; do
  step "certificate-$key" openssl req -new -x509 -engine pkcs11 -keyform engine -key "$(key_uri $key)" -sha256 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out $key.pem
done

# Ports nobody listens on now, below those the system gives out.
free_ports() { # COUNT
  local port found=0
  for port in $(shuf -i 20000-32000 -n 50); do
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
    echo "$port"
    found=$((found + 1)); [ $found -lt "$1" ] || return
  done
}
{ read -r rsa_port; read -r ec_port; read -r stunnel_port; } < <(free_ports 3)
server() { # server PORT KEY
  echo "server { listen 127.0.0.1:$1 ssl; ssl_certificate $work/$2.pem; ssl_session_cache off; ssl_session_tickets off;"
  echo "  ssl_certificate_key \"engine:pkcs11:$(key_uri "$2")\"; location / { return 200 hello; } }"
}
{
  echo "pid $work/nginx.pid; error_log $work/nginx.log; worker_processes 2; ssl_engine pkcs11;"
  [ "$(id -u)" = 0 ] && echo "user root;"
  echo "env CMKD_SOCKET; env OPENSSL_CONF; events { worker_connections 64; } http { access_log off;"
  for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/nginx.$kind;"; done
  server "$rsa_port" rsa; server "$ec_port" ec; echo "}"
} >nginx.conf
# A page over a connection of its own: the server signs with its key for each.
page() { curl -sS --retry 10 --retry-connrefused --retry-delay 1 --cacert "$1.pem" "https://localhost:$2/" | grep -qx hello; }
export -f page
pages() { # pages NAME: each server answers, many times
  step "$1" bash -c "for i in \$(seq 20); do page rsa $rsa_port && page ec $ec_port || exit 1; done"
}
step nginx nginx -e nginx.log -c "$work/nginx.conf"
pages nginx-pages
step nginx-reload nginx -e nginx.log -c "$work/nginx.conf" -s reload
pages nginx-pages-after-reload
step nginx-stop nginx -e nginx.log -c "$work/nginx.conf" -s quit

cat >stunnel.conf <<END
pid = $work/stunnel.pid
output = $work/stunnel.log
engine = pkcs11
engineCtrl = MODULE_PATH:$P11_MODULE
engineCtrl = PIN:$P11_PIN
[echo]
accept = 127.0.0.1:$stunnel_port
exec = /bin/echo
execArgs = echo hello
engineId = pkcs11
cert = $work/ec.pem
key = $(key_uri ec)
END
greet() { openssl s_client -connect "127.0.0.1:$1" -CAfile ec.pem -verify_return_error -quiet </dev/null 2>/dev/null | grep -qx hello; }
export -f greet
step stunnel env -u OPENSSL_CONF stunnel4 stunnel.conf
step stunnel-greets env -u OPENSSL_CONF bash -c \
  "for i in \$(seq 300); do greet $stunnel_port && break; sleep 0.1; done; for i in \$(seq 10); do greet $stunnel_port || exit 1; done"
[ -f stunnel.pid ] && kill "$(cat stunnel.pid)"
finish consumer-servers
