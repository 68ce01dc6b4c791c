#!/usr/bin/env bash
# setup-aarch64.sh DIR
#
# On an amd64 Debian: fills DIR, and nothing else, with what it takes to build this workspace for
# aarch64-unknown-linux-gnu and to run its tests.
#   rustc    Debian's rustc-web (the compiler that its browsers need, so it is recent) with the
#            std of both architectures, and clippy of the same version
#   linker   the gcc for the other architecture, with its glibc
#   runner   qemu's user-mode emulator; also the one for x86-64, to try an older CPU
# apt fetches and verifies the packages with lists and a cache of its own, dpkg-deb unpacks them;
# the system stays as it is. 180 MB and half a minute. cargo is the one on PATH.
#
#   tools/setup-aarch64.sh target/aarch64-tools && . target/aarch64-tools/env.sh
#   cargo test --target aarch64-unknown-linux-gnu
#
# A second run returns at once. To start anew, remove DIR.
set -euo pipefail

recipe=1 # raise it when what is installed changes: an older DIR is then filled again
if [ $# -ne 1 ]; then echo "usage: $0 DIR" >&2; exit 2; fi
if [ "$(dpkg --print-architecture)" != amd64 ]; then echo "$0: needs an amd64 Debian" >&2; exit 2; fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
say() { echo "setup-aarch64: $*" >&2; }

# An apt that shares the sources, the keys and the knowledge of installed packages with the
# system, and writes only below DIR.
private_apt() {
  local status
  status=$(apt-config dump | sed -n 's/^Dir::State::status "\(.*\)";$/\1/p')
  mkdir -p "$dir"/apt/{lists,archives}/partial
  cat > "$dir/apt/apt.conf" <<CONF
APT::Architectures { "amd64"; "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::State::status "${status:-/var/lib/dpkg/status}";
Dir::State::lists "$dir/apt/lists";
Dir::State::extended_states "$dir/apt/extended_states";
Dir::Cache "$dir/apt";
CONF
  export APT_CONFIG=$dir/apt/apt.conf
}

fetch_packages() {
  apt-get -qq update || say 'a package source failed; trying with the others'
  local version
  version=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: //p')
  case $version in
    '' | '(none)') say 'the package sources of this machine have no rustc-web'; exit 1 ;;
  esac
  say "rustc-web $version"
  # Comes with what these packages need and the machine lacks.
  apt-get -qq -y --download-only --reinstall install \
    "rustc-web=$version" "libstd-rust-web-dev=$version" "rust-web-clippy=$version" \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
  # Of the other architecture only the static std, without what it depends on.
  (cd "$dir/apt/archives" && apt-get -qq download "libstd-rust-web-dev:arm64=$version")
  # A second C library for amd64 would hide the one of the machine.
  rm -f "$dir"/apt/archives/libc6{,-dev}_*_amd64.deb
}

unpack_packages() {
  local deb
  for deb in "$dir"/apt/archives/*.deb; do dpkg-deb --extract "$deb" "$dir/root"; done
  rm -rf "$dir/apt" "$dir/root/usr/share/"{doc,man,lintian}
  find "$dir/root/usr/bin" -name 'qemu-*' ! -name qemu-aarch64 ! -name qemu-x86_64 -delete
  find "$dir/root/usr" \( -name 'lib*san.a' -o -name lto1 \) -delete
}

# A command in DIR/bin. It finds DIR from its own path, so DIR may be moved.
wrap() { # NAME BODY
  cat > "$dir/bin/$1" <<SH
#!/bin/sh
d=\$(cd "\$(dirname "\$0")/.." && pwd)
lib=\$d/root/usr/lib/x86_64-linux-gnu
$2
SH
  chmod +x "$dir/bin/$1"
}

make_wrappers() {
  local tool cpu with_lib sysroot
  mkdir -p "$dir/bin"
  with_lib='export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"'
  for tool in rustc rustdoc cargo-clippy clippy-driver; do
    wrap $tool "$with_lib
exec \"\$d/root/usr/bin/$tool\" \"\$@\""
  done
  wrap aarch64-linux-gnu-gcc "$with_lib
exec \"\$d/root/usr/bin/aarch64-linux-gnu-gcc\" --sysroot=\"\$d/root\" \"\$@\""
  wrap aarch64-linux-gnu-ar "$with_lib
exec \"\$d/root/usr/bin/aarch64-linux-gnu-ar\" \"\$@\""
  # The library path is for the emulator; the program inside gets the caller's.
  for cpu in aarch64 x86_64; do
    sysroot=
    [ $cpu = aarch64 ] && sysroot='set -- -L "$d/root/usr/aarch64-linux-gnu" "$@"'
    wrap qemu-$cpu "export QEMU_CPU=\"\${QEMU_CPU:-max}\"
if [ -n \"\${LD_LIBRARY_PATH-}\" ]; then set -- -E \"LD_LIBRARY_PATH=\$LD_LIBRARY_PATH\" \"\$@\"
else set -- -U LD_LIBRARY_PATH \"\$@\"; fi
$sysroot
export LD_LIBRARY_PATH=\"\$lib\"
exec \"\$d/root/usr/bin/qemu-$cpu\" \"\$@\""
  done
}

if [ "$(cat "$dir/.recipe" 2>/dev/null)" != $recipe ]; then
  if [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/.setup-aarch64" ]; then
    say "$dir holds something else"; exit 2
  fi
  touch "$dir/.setup-aarch64"
  rm -rf "$dir"/{root,apt,bin,env.sh,.recipe}
  mkdir -p "$dir/root"
  private_apt
  fetch_packages
  unpack_packages
  make_wrappers
  "$dir/bin/rustc" --version >&2
  "$dir/bin/qemu-aarch64" --version | head -n 1 >&2
  echo $recipe > "$dir/.recipe"
fi

# Written each time, since DIR may have been moved.
cat > "$dir/env.sh" <<SH
# Source it, then: cargo test --target aarch64-unknown-linux-gnu
# QEMU_CPU: cortex-a53 (plain NEON), cortex-a76 (dot product), max (everything; the default).
export RUSTC="$dir/bin/rustc" RUSTDOC="$dir/bin/rustdoc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="$dir/bin/aarch64-linux-gnu-gcc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$dir/bin/qemu-aarch64"
export CC_aarch64_unknown_linux_gnu="$dir/bin/aarch64-linux-gnu-gcc"
export AR_aarch64_unknown_linux_gnu="$dir/bin/aarch64-linux-gnu-ar"
SH
say "ready: . $dir/env.sh"
