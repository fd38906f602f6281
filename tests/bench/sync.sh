#!/usr/bin/env bash
# How fast a node that joins replays the chain: one validator under full load for a while, then a follower with an empty disk.
# Every block is checked (certificate, signatures), executed, rooted and synced, as when it was made.
#
#   tests/bench/sync.sh [SECONDS [WORKLOAD]]
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
need_command jq curl
isolate "${BASH_SOURCE[0]}" "$@"

seconds=${1:-20} workload=${2:-native}
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
work=$(mktemp -d)
net=$work/net
nodes=()
stop() {
	[ ${#nodes[@]} -eq 0 ] || kill "${nodes[@]}" 2>/dev/null || true
	wait
	rm -rf -- "$work"
}
trap stop EXIT
maker=http://127.0.0.1:8545 follower=http://127.0.0.1:8546

# transactions URL HEIGHT: how many the blocks up to HEIGHT hold.
transactions() {
	local at
	for at in $(seq 1 "$2"); do
		rpc "$1" eth_getBlockTransactionCountByNumber "[\"$(printf '0x%x' "$at")\"]"
	done | jq -s 'map(ltrimstr("0x") | explode | reduce .[] as $c (0; . * 16 + (if $c > 57 then $c - 87 else $c - 48 end))) | add'
}

"$BASALT" network create --dev --nodes 1 --followers 1 --block-interval-ms 200 --out "$net" >/dev/null
start() { # NODE
	"$BASALT" node --config "$net/nodes/node$1/node.toml" >"$work/node$1.log" 2>&1 &
	nodes+=($!)
}
start 0
wait_for 20 "the validator" height "$maker"
"$BASALT" bench run --rpc "$maker" --workload "$workload" --senders 800 --in-flight 20000 --seconds "$seconds" \
	--max-transactions 1000000 --json | jq -r '"made: \(.committed_tps | floor) per second"'
goal=$(height "$maker")
count=$(transactions "$maker" "$goal")
started=$(date +%s%N)
start 1
wait_for 600 "the follower" above "$follower" $((goal - 1))
took=$((($(date +%s%N) - started) / 1000000))
"$BASALT" bench machine --json >"$work/machine.json"
jq -n --argjson count "$count" --argjson ms "$took" --slurpfile m "$work/machine.json" --arg workload "$workload" '
	($count * 1000 / $ms) as $tps
	| (if $workload == "native" then $m[0].verify_per_s else $m[0].recover_per_s end) as $ceiling
	| {workload: $workload, transactions: $count, seconds: ($ms / 1000), replayed_tps: ($tps | floor),
	   ceiling_tps: ($ceiling | floor), ratio_to_ceiling: ($tps / $ceiling)}'
