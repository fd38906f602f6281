# Shared by the shell suites. Source it: `. "$(dirname "$0")/../lib/common.sh"`.
# shellcheck shell=bash
set -euo pipefail

# shellcheck disable=SC2034
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${TEST_CACHE:-$HOME/.cache/basalt}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# The binary under test.
BASALT=${BASALT_BIN:-$CARGO_TARGET_DIR/debug/basalt}

# Exit code by which a suite says that it cannot run on this machine.
readonly SKIP=77

say() { printf '%s\n' "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}
skip() {
	printf 'skipped: %s\n' "$*"
	exit "$SKIP"
}

need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
need_command() {
	local command
	for command in "$@"; do command -v "$command" >/dev/null 2>&1 || skip "needs $command"; done
}

# wait_for SECONDS WHAT COMMAND...: polls until COMMAND succeeds; fails the suite when it does not in time.
wait_for() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || fail "$what: not within the time allowed"
		sleep 0.2
	done
}

# rpc URL METHOD [PARAMS]: the result as JSON, or a non-zero exit on an error answer.
rpc() {
	curl -fsS --max-time 10 -H 'content-type: application/json' \
		-d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$2\",\"params\":${3:-[]}}" "$1" |
		jq -ce 'if has("error") then error(.error.message) else .result end'
}

# height URL: the number of the latest block, in decimal.
height() {
	local hex
	hex=$(rpc "$1" eth_blockNumber) || return 1
	printf '%d\n' "${hex//\"/}"
}

# above URL HEIGHT: true when the node's latest block is above HEIGHT.
above() {
	local number
	number=$(height "$1") && [ "$number" -gt "$2" ]
}

# isolate SCRIPT [ARG...]: runs the calling suite again in network, process and mount namespaces of its own, where every port
# is free, nothing reaches outside this machine, and all processes end with the suite. Without root it goes on as it is.
isolate() {
	if [ -n "${TEST_ISOLATED:-}" ]; then
		ip link set lo up
		# As the first process of the namespace we would ignore these.
		trap 'exit 130' INT TERM
	elif [ "$(id -u)" = 0 ] && command -v unshare ip >/dev/null 2>&1; then
		TEST_ISOLATED=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private "$@"
	fi
}

# dev_network DIRECTORY [ARG...]: creates a development network of four validators there and runs it in the background.
dev_network() {
	local dir=$1
	shift
	[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
	"$BASALT" network create --dev --nodes 4 --consensus pbft --out "$dir" "$@"
	"$BASALT" network up "$dir" --detach
}

# status_of DIRECTORY FILTER: a jq filter over `basalt network status --json`.
status_of() { "$BASALT" network status "$1" --json | jq -r "$2"; }

# level DIRECTORY: true when all nodes are on and have the same latest block.
level() { [ "$(status_of "$1" '[.nodes[] | .on, .head] | unique | length == 2 and (index(true) != null)')" = true ]; }
