#!/usr/bin/env bash
# Fetches what the guests in v86 boot from: Debian's i386 kernel, busybox and BIOS, unpacked into a cache that may be deleted at
# any time. apt works on lists of its own here: the machine doesn't become one that also installs i386 packages. For Debian and
# its kin.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian 12 is the last release with an i386 kernel.
metapackage=linux-image-686
others=(busybox-static seabios)

fail() {
  echo "install-v86-guest: $1" >&2
  exit 1
}

mkdir -p node_modules/.cache/v86-guest
cd node_modules/.cache/v86-guest
if [ -e complete ]; then exit 0; fi
rm -rf ./*
for command in apt-get dpkg-deb; do
  if ! command -v "$command" >/dev/null; then fail "there is no $command here: it takes a Debian or one of its kin"; fi
done
mkdir -p apt/lists/partial apt/cache/archives/partial
touch apt/status

for_i386=(
  -o APT::Architecture=i386 -o APT::Architectures=i386 -o APT::Sandbox::User=root
  -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache" -o "Dir::State::status=$PWD/apt/status"
  -o Acquire::Languages=none
)
# A source that can't be read, or has nothing for i386, matters only if a package is missing then.
complaints=$(apt-get -qq "${for_i386[@]}" update 2>&1) || true
kernel=$(apt-cache "${for_i386[@]}" depends "$metapackage" 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
if [ -z "$kernel" ]; then
  fail "apt's sources have no $metapackage for i386: add Debian 12's main section to them
$complaints"
fi

apt-get -qq "${for_i386[@]}" download "$kernel" "${others[@]}"
for package in ./*.deb; do dpkg-deb -x "$package" root; done
rm -rf ./*.deb apt
touch complete
