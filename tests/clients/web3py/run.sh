#!/usr/bin/env bash
# web3.py's own reusable tests, and contracts in Vyper, against four validators.
#
#   tests/clients/web3py/run.sh [PYTEST ARGUMENT...]
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$CLIENTS/web3py" || exit

need_command python3
if [ -z "${TEST_ISOLATED:-}" ]; then
	python_packages
	export PYTHON
fi
export PYTHONDONTWRITEBYTECODE=1
isolate "$CLIENTS/web3py/run.sh" "$@"
temporary_network
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
"$BASALT" network create network.toml --out "$work/net"
"$BASALT" network up "$work/net" --detach
on_network "$PYTHON" -m pytest -q -rs "$@"
