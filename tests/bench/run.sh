#!/usr/bin/env bash
# Measures fresh networks of this machine: throughput of each workload at full load, then latency at light load with blocks at
# once; a table and a JSON file each.
#
#   tests/bench/run.sh [SECONDS [NODES]]        JSON goes to $BENCH_OUT, default bench-results
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
isolate "${BASH_SOURCE[0]}" "$@"

seconds=${1:-20} nodes=${2:-4}
out=${BENCH_OUT:-$PWD/bench-results}
mkdir -p "$out"
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
run() { # NAME ARG...
	local name=$1
	shift
	say "== $name: basalt bench run --local $*"
	"$BASALT" bench run --local --seconds "$seconds" --out "$out/$name.json" --html "$out/$name.html" "$@"
}
for workload in native ethereum erc20 contended record mixed; do
	run "$workload" --nodes "$nodes" --workload "$workload"
done
run one-node --nodes 1 --workload native
run light --nodes "$nodes" --workload native --block-interval-ms 0 --rate 20 --senders 50
say "the figures are in $out; compare with earlier ones: basalt bench compare OLD.json NEW.json"
