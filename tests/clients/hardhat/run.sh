#!/usr/bin/env bash
# An ordinary Hardhat project with OpenZeppelin's contracts, deployed to and tested against four validators.
#
#   tests/clients/hardhat/run.sh                       makes a network of its own
#   NETWORK_RPC=URL tests/clients/hardhat/run.sh       uses a running one
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$CLIENTS/hardhat" || exit

need_command node npm
if [ -z "${TEST_ISOLATED:-}" ]; then
	npm_packages "$CLIENTS"
	newer_node
	# By the newer Node: npm leaves out optional packages that say they need it.
	npm_packages "$CLIENTS/hardhat"
fi
export HARDHAT_DISABLE_TELEMETRY_PROMPT=true

suite() {
	# What OpenZeppelin's plugin remembers of a chain; this one is new.
	rm -rf .openzeppelin
	node node_modules/.bin/hardhat test mocha --network basalt
}

if [ -n "${NETWORK_RPC:-}" ]; then
	suite
	exit
fi
isolate "$CLIENTS/hardhat/run.sh" "$@"
temporary_network
dev_network "$work/net"
on_network suite
