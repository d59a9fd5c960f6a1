#!/usr/bin/env bash
# Installs the Debian packages that cmkd needs, and only those that are missing. This is the one list of them.
#
#   bash tools/install-deps.sh GROUP...        install what is missing of these groups
#   bash tools/install-deps.sh --list GROUP... print the names, one a line
#
#   build     compiler, CMake and the libraries that cmkd is made from
#   run       what tools/quickstart.sh uses beside cmkd itself
#   test      GoogleTest and the programs that the tests drive
#   service   packages that bring a service of their own (SSH and TLS servers, opencryptoki's slot daemon)
#   bench     what tests/bench/compare.sh compares cmkd with
#   fuzz      the compiler and runtime of the fuzz targets
#   develop   compiler cache, formatter, debugger
#
# Nothing is downloaded, and nothing asked for, when all is there; that answer takes some hundredths of a second.
set -euo pipefail

packages_of() {
  case $1 in
    build) echo g++ cmake ninja-build pkg-config libssl-dev liblmdb-dev libp11-kit-dev libboost-dev libcli11-dev \
                libtomlplusplus-dev nlohmann-json3-dev libsystemd-dev libseccomp-dev ;;
    run) echo opensc openssl procps ;;
    test) echo libgtest-dev libgmock-dev libbenchmark-dev libpugixml-dev libnss3 libopencryptoki-dev softhsm2 opensc openssl \
               libengine-pkcs11-openssl p11-kit p11-kit-modules gnutls-bin openjdk-17-jdk-headless python3 libnss3-dev \
               libnss3-tools openssh-client xxd lmdb-utils procps binutils systemd faketime curl osslsigncode openvpn \
               strongswan-pki libhsm-bin python3-pykcs11 libderby-java libhsqldb-java ;;
    service) echo openssh-server nginx-light stunnel4 opencryptoki ;;
    bench) echo softhsm2 p11-kit p11-kit-modules libnss3 libnss3-tools opencryptoki python3 ;;
    fuzz) echo clang libclang-rt-14-dev llvm ;;
    develop) echo ccache clang clang-format clang-tidy libclang-rt-14-dev gdb ;;
    *) echo "install-deps: no group named '$1'; there are build, run, test, service, bench, fuzz, develop" >&2; return 1 ;;
  esac
}

# As root, or through sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo env DEBIAN_FRONTEND="$DEBIAN_FRONTEND" "$@"; fi
}

apt() {
  as_root apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >&2
}

# Runs a command up to three times: mirrors have bad minutes.
persistently() {
  local try
  for try in 1 2 3; do
    if "$@"; then return 0; fi
    [ "$try" -eq 3 ] || { echo "install-deps: trying again in $((try * 5)) s: $*" >&2; sleep $((try * 5)); }
  done
  return 1
}

# Runs a command while Debian's packages are told not to start what they install; nobody asked for a listening server.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ]; then "$@"; return; fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
  "$@" || status=$?
  as_root rm -f "$policy"
  return "$status"
}

list_only=
if [ "${1:-}" = --list ]; then list_only=1; shift; fi
[ $# -gt 0 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

wanted=()
for group in "$@"; do
  names=$(packages_of "$group")
  # shellcheck disable=SC2206  # names are words
  wanted+=($names)
done
if [ -n "$list_only" ]; then printf '%s\n' "${wanted[@]}" | sort -u; exit 0; fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: this is no Debian; install by your own means what corresponds to: ${wanted[*]}" >&2
  exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
missing=()
for package in "${wanted[@]}"; do
  case $'\n'"$installed"$'\n' in *$'\n'"$package"$'\n'*) ;; *) missing+=("$package") ;; esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

export DEBIAN_FRONTEND=noninteractive
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
  echo "install-deps: these packages are missing, and only root can install them:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "install-deps: installing ${missing[*]}" >&2
# The JDK's own installation fails on images from which the manual pages were removed.
[ -d /usr/share/man/man1 ] || as_root mkdir -p /usr/share/man/man1
persistently apt update || { echo "install-deps: 'apt-get update' failed; is there a Debian mirror in reach?" >&2; exit 1; }
without_starting_services persistently apt install -y --no-install-recommends "${missing[@]}" ||
  { echo "install-deps: could not install ${missing[*]}" >&2; exit 1; }
