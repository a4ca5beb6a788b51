#!/usr/bin/env bash
# Installs the versions of Node.js that test/packed uses the packages on, into a cache that may be deleted at any time: the oldest
# one that is supported, and the long-term ones after it.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=node_modules/.cache/node-versions
versions=(20.19.0 22.23.3 24.21.0)

platform=$(node --print 'process.platform + "-" + process.arch')
specifiers=()
for version in "${versions[@]}"; do specifiers+=("node-${version%%.*}@npm:node-$platform@$version"); done
mkdir -p "$cache"
[ -e "$cache/package.json" ] || echo '{ "private": true }' >"$cache/package.json"
# The environment of an `npm run` around it would say where to install.
npm install --prefix "$cache" --prefer-offline --no-audit --no-fund --loglevel error "${specifiers[@]}" >/dev/null
