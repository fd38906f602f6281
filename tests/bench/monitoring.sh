#!/usr/bin/env bash
# What monitoring costs: processor time per committed transaction of four validators with all of it (metrics scraped every 5 s,
# alert engine, a threshold that fires, a webhook that is delivered to) and with none of it (monitor.enabled and metrics.enabled
# off), in turn on fresh networks under the same offered load. Fails when the median of the rounds' ratios is above LIMIT.
#
#   tests/bench/monitoring.sh [SECONDS [ROUNDS]]     RATE (transactions per second, default 2000), LIMIT (default 1.02)
#                                                    JSON goes to $BENCH_OUT, default bench-results
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
isolate "${BASH_SOURCE[0]}" "$@"

seconds=${1:-20} rounds=${2:-10} rate=${RATE:-2000} limit=${LIMIT:-1.02}
out=${BENCH_OUT:-$PWD/bench-results}
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"
need_command jq curl python3
mkdir -p "$out"
work=$(mktemp -d)
net=$work/net
helpers=()
stop() {
	[ ! -e "$net" ] || "$BASALT" network down "$net" >/dev/null 2>&1 || true
	[ ${#helpers[@]} = 0 ] || kill "${helpers[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	helpers=()
	rm -rf -- "$net"
}
trap 'stop; rm -rf -- "$work"' EXIT

# An endpoint that takes webhooks and counts them in a file.
cat >"$work/endpoint.py" <<'PY'
import http.server, sys

class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        open(sys.argv[1], "a").write("1\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", 9800), Take).serve_forever()
PY

scrape() {
	while :; do
		for i in 0 1 2 3; do curl -fsS --max-time 5 -o "$work/scraped" "http://127.0.0.1:$((9545 + i))/metrics" || true; done
		sleep 5
	done
}

# Each node is watched: a webhook, and a threshold that the load is above.
watch_all() {
	python3 "$work/endpoint.py" "$work/delivered" &
	helpers+=($!)
	for i in 0 1 2 3; do
		rpc "http://127.0.0.1:$((8545 + i))" monitor_addWebhook '[{"url": "http://127.0.0.1:9800/", "secret": "a secret of the benchmark"}]'
		rpc "http://127.0.0.1:$((8545 + i))" monitor_setTpsThreshold '[{"upper": 100, "windowSeconds": 5}]'
	done >/dev/null
	scrape &
	helpers+=($!)
}

run() { # on|off: the processor time per transaction, in microseconds
	"$BASALT" network create --dev --nodes 4 --block-interval-ms 200 --out "$net" >/dev/null
	local switches=()
	[ "$1" = on ] || switches=(BASALT_MONITOR_ENABLED=false BASALT_METRICS_ENABLED=false)
	env "${switches[@]}" "$BASALT" network up "$net" --detach >/dev/null
	rm -f "$work/delivered"
	[ "$1" = off ] || watch_all
	"$BASALT" bench run --network "$net" --seconds "$seconds" --warm-up 6 --rate "$rate" --json >"$work/run.json"
	if [ "$1" = on ]; then
		[ -s "$work/delivered" ] || fail "no alert was delivered, so monitoring was not at work"
		grep -q '^basalt_transactions_total' "$work/scraped" || fail "nothing was scraped"
	elif rpc http://127.0.0.1:8545 monitor_tps >/dev/null 2>&1 || curl -fsS http://127.0.0.1:9545/metrics >/dev/null 2>&1; then
		fail "monitoring is not off"
	fi
	jq -e '.lost == 0 and .cpu_us_per_tx > 0' "$work/run.json" >/dev/null || fail "the run lost transactions: $(cat "$work/run.json")"
	stop
	jq .cpu_us_per_tx "$work/run.json"
}

for round in $(seq "$rounds"); do
	# Whoever is first changes from round to round.
	if [ $((round % 2)) = 1 ]; then order=(on off); else order=(off on); fi
	for which in "${order[@]}"; do
		run "$which" >"$work/figure"
		declare "$which=$(cat "$work/figure")"
	done
	# shellcheck disable=SC2154
	say "round $round of $rounds: $on µs per transaction with monitoring, $off without"
	jq -n --argjson on "$on" --argjson off "$off" '{on: $on, off: $off, ratio: ($on / $off)}' >>"$work/figures"
done

jq -s --argjson rate "$rate" --argjson limit "$limit" '
	def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
	{rounds: ., rate: $rate, median_on_us: (map(.on) | median), median_off_us: (map(.off) | median),
		median_ratio: (map(.ratio) | median), limit: $limit}' "$work/figures" >"$out/monitoring.json"
jq . "$out/monitoring.json"
jq -e '.median_ratio <= .limit' "$out/monitoring.json" >/dev/null || fail "monitoring costs more than the limit of $limit"
