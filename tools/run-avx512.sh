#!/usr/bin/env bash
# run-avx512.sh PROGRAM [ARGUMENT...]
#
# Runs a static x86-64 program on an emulated CPU with AVX-512, for machines without: Linux boots in
# Bochs (a minute), the program runs as its first process, what it prints comes out here, and its exit
# code is that of the script. Some 50 million instructions a second.
#
#   BOCHS        the emulator: 3.0 or newer, built with --with-nogui --enable-cpu-level=6 --enable-x86-64
#                --enable-avx --enable-evex --enable-all-optimizations (Debian's own has no `nogui`)
#   KERNEL       a Linux kernel; else the newest /boot/vmlinuz-*
#   BOCHS_CPU    its model; corei7_skylake_x unless given. Newer ones hang in Debian's kernel 6.1
#   FEATURES     instructions beyond the model: avx512vnni avx512bf16 avx_vnni
#
# Besides, from Debian: bochsbios vgabios isolinux syslinux-common xorriso busybox-static cpio
#
#   RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=target/static \
#     cargo test -p depthwise-kernels --lib --no-run --target x86_64-unknown-linux-gnu
#   tools/run-avx512.sh target/static/x86_64-unknown-linux-gnu/debug/deps/depthwise_kernels-* --test-threads 1
set -euo pipefail

if [ $# -lt 1 ]; then echo "usage: $0 PROGRAM [ARGUMENT...]" >&2; exit 2; fi
program=$1; shift
bochs=${BOCHS:-bochs}
kernel=${KERNEL:-$(ls -t /boot/vmlinuz-* 2>/dev/null | head -n 1)}
for file in "$program" "$kernel" /bin/busybox /usr/lib/ISOLINUX/isolinux.bin; do
  if [ ! -e "$file" ]; then echo "$0: no ${file:-kernel}" >&2; exit 2; fi
done

dir=$(mktemp -d)
emulator=
finish() { [ -z "$emulator" ] || kill "$emulator" 2>/dev/null || true; rm -rf "$dir"; }
trap finish EXIT

mkdir -p "$dir"/guest/{bin,proc,dev,tmp} "$dir/iso/isolinux"
cp /bin/busybox "$dir/guest/bin/busybox"
cp "$program" "$dir/guest/program"
chmod +x "$dir/guest/program"
{
  echo '#!/bin/busybox sh'
  echo '/bin/busybox mount -t proc proc /proc'
  echo '/bin/busybox mount -t devtmpfs dev /dev'
  echo 'cd /tmp; echo; echo "<<<begin>>>"'
  printf '/program'; printf ' %q' "$@"; echo
  echo 'echo "<<<end $?>>>"; /bin/busybox sleep 1; /bin/busybox poweroff -f'
} > "$dir/guest/init"
chmod +x "$dir/guest/init"
(cd "$dir/guest" && find . | cpio -o -H newc --quiet | gzip -1 > "$dir/iso/initrd.gz")
cp "$kernel" "$dir/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$dir/iso/isolinux"
cat > "$dir/iso/isolinux/isolinux.cfg" <<CFG
default linux
prompt 0
timeout 1
label linux
  kernel /vmlinuz
  append initrd=/initrd.gz console=ttyS0 loglevel=1 mitigations=off nokaslr random.trust_cpu=on panic=-1 lsm= nopcid noinvpcid
CFG
xorriso -as mkisofs -quiet -o "$dir/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
  -no-emul-boot -boot-load-size 4 -boot-info-table "$dir/iso" 2> "$dir/xorriso.log" \
  || { cat "$dir/xorriso.log" >&2; exit 2; }
features=
[ -z "${FEATURES:-}" ] || features=", add_features=\"$FEATURES\""
cat > "$dir/bochsrc" <<RC
cpu: model=${BOCHS_CPU:-corei7_skylake_x}$features, count=1, ips=100000000, ignore_bad_msrs=1
memory: guest=2048, host=2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$dir/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$dir/serial
display_library: nogui
clock: sync=none
log: $dir/log
RC

: > "$dir/serial"
"$bochs" -q -f "$dir/bochsrc" < /dev/null > "$dir/out" 2>&1 &
emulator=$!
tail --pid="$emulator" -f "$dir/serial" 2>/dev/null | tr -d '\r' \
  | sed -u -n '/<<<begin>>>/,/<<<end/{/<<<begin>>>/d;/<<<end/q;p}'
code=$(tr -d '\r' < "$dir/serial" | sed -n 's/.*<<<end \([0-9]*\)>>>.*/\1/p')
if [ -z "$code" ]; then
  echo "$0: the emulator ended before the program did" >&2
  tail -n 5 "$dir/log" "$dir/out" >&2
  exit 2
fi
exit "$code"
