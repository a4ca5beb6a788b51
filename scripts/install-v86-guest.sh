#!/usr/bin/env bash
# Fetches what the guests in v86 boot from: Debian's i386 kernel, busybox and BIOS, unpacked into a cache that may be deleted at
# any time. apt works on lists of its own here: the machine doesn't become one that also installs i386 packages.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p node_modules/.cache/v86-guest
cd node_modules/.cache/v86-guest
# Debian's last release with an i386 kernel is 12.
metapackage=linux-image-686
others=(busybox-static seabios)

if [ -e complete ]; then exit 0; fi
rm -rf ./*
mkdir -p apt/lists/partial apt/cache/archives/partial
touch apt/status

for_i386=(
  -o APT::Architecture=i386 -o APT::Architectures=i386 -o APT::Sandbox::User=root
  -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache" -o "Dir::State::status=$PWD/apt/status"
  -o Acquire::Languages=none
)
# A source that has nothing for i386 makes this fail, and need not matter: what is missing is seen below.
apt-get -qq "${for_i386[@]}" update || true
kernel=$(apt-cache "${for_i386[@]}" depends "$metapackage" 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
if [ -z "$kernel" ]; then
  echo "install-v86-guest: apt's sources have no package $metapackage for i386: add Debian 12's main section to them" >&2
  exit 1
fi

apt-get -qq "${for_i386[@]}" download "$kernel" "${others[@]}"
for package in ./*.deb; do dpkg-deb -x "$package" root; done
rm -rf ./*.deb apt
touch complete
