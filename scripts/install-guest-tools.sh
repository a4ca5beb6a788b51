#!/usr/bin/env bash
# Installs what test/guests boots: QEMU and its helpers, and Debian's kernel, unpacked into a cache that may be deleted at
# any time. For Debian and its kin on x86-64: guest and host share an architecture, so the host's programs run in the guest.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=node_modules/.cache/guest
packages=(qemu-system-x86 qemu-utils busybox-static cpio seabios fio e2fsprogs util-linux)
# The cloud flavour has a virtual machine's drivers alone: a third of the size, and it boots in half the time.
metapackage=linux-image-cloud-amd64

if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"; }
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
find_kernel() { kernel=$(apt-cache depends "$metapackage" 2>/dev/null | sed -n '0,/^ *Depends: linux-image-/s/^ *Depends: //p'); }

missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
find_kernel
if [ "${#missing[@]}" -gt 0 ] || [ -z "$kernel" ]; then
  apt_get update
  find_kernel
fi
if [ "${#missing[@]}" -gt 0 ]; then apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null; fi
if [ -z "$kernel" ]; then
  echo "install-guest-tools: apt-cache knows no package $metapackage: add Debian's main section to apt's sources" >&2
  exit 1
fi

# One kernel at a time, and one that was unpacked to its end.
if [ -e "$cache/$kernel/complete" ]; then exit 0; fi
rm -rf "$cache"
mkdir -p "$cache"
cd "$cache"
download() { apt-get -qq -o APT::Sandbox::User=root download "$kernel"; }
if ! download; then
  # The archive keeps the latest only, and this list of it was older.
  apt_get update
  find_kernel
  download
fi
dpkg-deb -x "${kernel}"_*.deb "$kernel"
rm "${kernel}"_*.deb
[ -e "$kernel/lib" ] || ln -s usr/lib "$kernel/lib"
busybox depmod -b "$PWD/$kernel" "${kernel#linux-image-}"
touch "$kernel/complete"
