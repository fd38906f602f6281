#!/usr/bin/env bash
# Compiles the system contracts with the pinned compiler and compares them with the committed artefacts, byte for byte.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$ROOT/contracts"

need_command node npm
# npm ci begins by deleting everything; not needed while nothing changed.
if ! cmp -s package-lock.json node_modules/.locked; then
	npm ci >/dev/null 2>&1 || npm ci
	cp package-lock.json node_modules/.locked
fi
node compile.mjs
