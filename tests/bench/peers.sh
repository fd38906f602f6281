#!/usr/bin/env bash
# Basalt beside anvil, in turn on this machine, by the same generator: committed transfers per second, reads per second, reads
# while blocks are made, and what live subscriptions cost. Ratios are what counts; each is the median of ROUNDS (default 3).
#
#   tests/bench/peers.sh [SECONDS]        JSON goes to $BENCH_OUT, default bench-results
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
isolate "${BASH_SOURCE[0]}" "$@"

seconds=${1:-10} rounds=${ROUNDS:-3}
out=${BENCH_OUT:-$PWD/bench-results}
anvil=${ANVIL:-$ROOT/tests/clients/node_modules/.bin/anvil}
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
[ -x "$anvil" ] || fail "no anvil at $anvil; run 'npm ci' in tests/clients, or set ANVIL"
need_command jq curl
mkdir -p "$out"
work=$(mktemp -d)
peer=
stop() {
	if [ -n "$peer" ]; then kill "$peer" && wait "$peer"; fi 2>/dev/null || true
	peer=
	[ ! -e "$work/net" ] || "$BASALT" network down "$work/net" >/dev/null 2>&1 || true
	rm -rf -- "$work/net"
}
trap 'stop; rm -rf -- "$work"' EXIT

answers() { height "$1" >/dev/null; }

# Each of the two starts on an empty chain with blocks every second, as anvil's users run it under load.
start_anvil() {
	"$anvil" --port 9545 --chain-id 31337 --hardfork osaka --block-time 1 --gas-limit 600000000 --silent &
	peer=$!
	url=http://127.0.0.1:9545
	wait_for 20 "anvil" answers "$url"
}

start_basalt() { # BLOCK_INTERVAL_MS
	printf '[block]\ngas_limit = 600000000\n' >"$work/spec.toml" # as much as anvil's
	"$BASALT" network create "$work/spec.toml" --dev --nodes 1 --block-interval-ms "$1" --out "$work/net" >/dev/null
	"$BASALT" network up "$work/net" --detach >/dev/null
	url=http://127.0.0.1:8545
	wait_for 20 "basalt" answers "$url"
}

transfers() { # SECONDS ARG...
	"$BASALT" bench run --rpc "$url" --workload ethereum --method ethereum --ethereum-dev-account 0 --senders 800 \
		--in-flight 20000 --seconds "$1" --max-transactions 250000 --json "${@:2}"
}
reads() { # READ ARG...
	"$BASALT" bench reads --rpc "$url" --read "$1" --seconds "$seconds" --json "${@:2}"
}

# note NAME VALUE: a figure of this round.
note() {
	say "   $1: $2"
	printf '{"name":"%s","value":%s}\n' "$1" "$2" >>"$work/figures"
}

measure() { # WHO
	note "$1 committed" "$(transfers "$seconds" --warm-up 2 | jq .committed_tps)"
	stop
	"start_$1" "$2"
	for read in eth_getBalance eth_call; do note "$1 $read" "$(reads "$read" | jq .per_second)"; done
}

for round in $(seq "$rounds"); do
	say "== round $round of $rounds"
	start_anvil
	measure anvil 0
	stop
	start_basalt 1000
	measure basalt 1000

	# How much slower are reads while the node commits half of what it can? At a rate that leaves room for both.
	peak=$(jq -s '[.[] | select(.name == "basalt committed").value] | last' "$work/figures")
	note "basalt eth_call p99 idle" "$(reads eth_call --rate 200 | jq .latency.p99_ms)"
	half=$(jq -n "$peak / 2 | floor")
	transfers $((seconds + 6)) --rate "$half" --warm-up 4 >"$work/half.json" &
	load=$!
	sleep 5
	note "basalt eth_call p99 at half its peak" "$(reads eth_call --rate 200 --ethereum-dev-account 1 | jq .latency.p99_ms)"
	wait "$load" || fail "the load beside the reads failed"
	note "basalt committed at half its peak" "$(jq .committed_tps "$work/half.json")"
	stop

	start_basalt 200
	note "basalt committed, blocks every 200 ms" "$(transfers "$seconds" | jq .committed_tps)"
	stop
	start_basalt 200
	transfers "$seconds" --subscriptions 1000 >"$work/subscribed.json"
	[ "$(jq .notifications "$work/subscribed.json")" -ge 1000 ] || fail "the subscriptions were told nothing"
	note "basalt committed beside 1000 subscriptions" "$(jq .committed_tps "$work/subscribed.json")"
	stop
done

jq -s '
	def median: sort | .[length / 2 | floor];
	(group_by(.name) | map({key: .[0].name, value: (map(.value) | median)}) | from_entries) as $m
	| {medians: $m, ratios: {
		"transfers to anvil": ($m["basalt committed"] / $m["anvil committed"]),
		"eth_getBalance to anvil": ($m["basalt eth_getBalance"] / $m["anvil eth_getBalance"]),
		"eth_call to anvil": ($m["basalt eth_call"] / $m["anvil eth_call"]),
		"eth_call p99 at half the peak to idle": ($m["basalt eth_call p99 at half its peak"] / $m["basalt eth_call p99 idle"]),
		"transfers beside 1000 subscriptions to without": ($m["basalt committed beside 1000 subscriptions"] / $m["basalt committed, blocks every 200 ms"])
	}}' "$work/figures" | tee "$out/peers.json"
