#!/usr/bin/env bash
# setup-valgrind.sh DIR
#
# On a Debian: unpacks its valgrind into DIR, which the system does not notice. Run it as
#   VALGRIND_LIB=DIR/usr/libexec/valgrind DIR/usr/bin/valgrind.bin PROGRAM
# Enough for cachegrind; memcheck needs the debug symbols of the C library as well.
set -euo pipefail

if [ $# -ne 1 ]; then echo "usage: $0 DIR" >&2; exit 2; fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT

# An apt that knows the system's sources and keys, and writes only into a folder that goes again.
status=$(apt-config dump | sed -n 's/^Dir::State::status "\(.*\)";$/\1/p')
mkdir -p "$fetched"/{lists,archives}/partial
cat > "$fetched/apt.conf" <<CONF
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::State::status "${status:-/var/lib/dpkg/status}";
Dir::State::lists "$fetched/lists";
Dir::Cache "$fetched";
CONF
export APT_CONFIG=$fetched/apt.conf
apt-get -qq update || echo "$0: a package source failed; trying with the others" >&2
(cd "$fetched" && apt-get -qq download valgrind)
dpkg-deb --extract "$fetched"/valgrind_*.deb "$dir"
VALGRIND_LIB=$dir/usr/libexec/valgrind "$dir/usr/bin/valgrind.bin" --version >&2
