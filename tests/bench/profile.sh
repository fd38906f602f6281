#!/usr/bin/env bash
# Profiles a fresh network of this machine under full load: a flame graph, and where the time of a transaction goes.
#
#   tests/bench/profile.sh [NODES [WORKLOAD]]        files go to $BENCH_OUT, default bench-results
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
need_command perf jq
isolate "${BASH_SOURCE[0]}" "$@"

nodes=${1:-1} workload=${2:-ethereum} seconds=5
out=${BENCH_OUT:-$PWD/bench-results}
tool=$(dirname "$BASALT")/basalt-profile
[ -x "$BASALT" ] && [ -x "$tool" ] || fail "no binary at $BASALT or $tool; run 'make build' first"
mkdir -p "$out"
work=$(mktemp -d)
stop() {
	[ ! -e "$work/net" ] || "$BASALT" network down "$work/net" >/dev/null 2>&1 || true
	rm -rf -- "$work"
}
trap stop EXIT

"$BASALT" network create --dev --nodes "$nodes" --block-interval-ms 200 --out "$work/net" >/dev/null
"$BASALT" network up "$work/net" --detach >/dev/null
method=basalt
[ "$workload" = native ] || method=ethereum
"$BASALT" bench run --rpc http://127.0.0.1:8545 --workload "$workload" --method "$method" --ethereum-dev-account 0 \
	--senders 800 --in-flight 20000 --seconds 14 --warm-up 2 --max-transactions 400000 --json >"$work/run.json" &
load=$!
pending() {
	curl -s -m 1 -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"txpool_status","params":[]}' \
		http://127.0.0.1:8545 | jq -e '.result.pending | ltrimstr("0x") | length >= 4' >/dev/null
}
# Signing the load ahead takes a while; what makes it ready never has thousands waiting.
wait_for 120 "load" pending
sleep 3
perf record -q -a -e cpu-clock -F 199 --call-graph dwarf,8192 -o "$work/perf.data" -- sleep "$seconds"
wait "$load" || fail "the load failed"
perf script -i "$work/perf.data" --no-inline >"$work/script" 2>/dev/null
jq -r '"\(.workload), \(.nodes) node(s): \(.committed_tps | floor) committed per second, ceiling \(.ceiling_tps | floor)"' "$work/run.json"
# The ceiling is what signature checks alone would allow: processors ÷ nodes ÷ time of one check.
floor=$(jq --argjson cpus "$(nproc)" --argjson nodes "$nodes" '$cpus * 1e6 / .ceiling_tps / $nodes' "$work/run.json")
"$tool" "$work/script" --svg "$out/profile-$workload-$nodes.svg" --processors "$(nproc)" \
	--tps "$(jq .committed_tps "$work/run.json")" --floor-us "$floor" | tee "$out/profile-$workload-$nodes.md"
say "flame graph: $out/profile-$workload-$nodes.svg"
