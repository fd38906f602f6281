#!/usr/bin/env bash
# Creates and runs a development network of four validators and lets ethers, viem, solc and cast loose on it.
#
#   tests/clients/run.sh                             makes a network of its own
#   NETWORK_RPC=URL,URL,… tests/clients/run.sh       uses a running one
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$ROOT/tests/clients"
# devnet.test.js starts a development network of its own.
export BASALT_BIN=$BASALT

need_command node npm
if [ -z "${TEST_ISOLATED:-}" ]; then
	# npm ci begins by deleting everything; not needed while nothing changed.
	if ! cmp -s package-lock.json node_modules/.locked; then
		npm ci >/dev/null 2>&1 || npm ci
		cp package-lock.json node_modules/.locked
	fi
fi

if [ -z "${NETWORK_RPC:-}" ]; then
	isolate "$ROOT/tests/clients/run.sh" "$@"
	work=$(mktemp -d)
	trap '"$BASALT" network down "$work/net" >/dev/null 2>&1 || true; rm -rf -- "$work"' EXIT
	dev_network "$work/net"
	export NETWORK_RPC=http://127.0.0.1:8545,http://127.0.0.1:8546,http://127.0.0.1:8547,http://127.0.0.1:8548
	export BASALT_BIN=$BASALT
	code=0
	node --test *.test.js || code=$?
	if [ "$code" != 0 ]; then tail -n 20 "$work"/net/nodes/*/node.log; fi
	exit "$code"
fi
node --test *.test.js
