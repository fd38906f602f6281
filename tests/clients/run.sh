#!/usr/bin/env bash
# Creates and runs a development network of four validators and lets ethers, viem, cast, forge and anvil loose on it.
#
#   tests/clients/run.sh                             makes a network of its own
#   NETWORK_RPC=URL,URL,… tests/clients/run.sh       uses a running one
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$CLIENTS" || exit
# devnet.test.js starts a development network of its own.
export BASALT_BIN=$BASALT

need_command node npm
[ -n "${TEST_ISOLATED:-}" ] || npm_packages "$CLIENTS"

# The tests that kill nodes come last, alone.
suites() {
	local file others=() code=0
	for file in *.test.js; do [ "$file" = websocket.test.js ] || others+=("$file"); done
	node --test "${others[@]}" || code=$?
	node --test websocket.test.js || code=$?
	return "$code"
}

if [ -n "${NETWORK_RPC:-}" ]; then
	suites
	exit
fi
isolate "$CLIENTS/run.sh" "$@"
temporary_network
dev_network "$work/net"
on_network suites
