#!/usr/bin/env bash
# A real Prometheus and a real Alertmanager, with the configuration that deploy/ ships, on a real network of four
# processes: every panel of every dashboard and every rule has data, and a crossed TPS threshold and a killed node arrive as
# alerts.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
. "$ROOT/tests/lib/rootfs.sh"

need_root
need_command curl jq dpkg-deb
PROMETHEUS=$CACHE/prometheus
ALERTMANAGER=$CACHE/alertmanager
# What comes from outside is fetched before the network is cut off.
if [ -z "${TEST_ISOLATED:-}" ]; then
	prometheus_package "$PROMETHEUS"
	alertmanager_package "$ALERTMANAGER"
fi
isolate "${BASH_SOURCE[0]}" "$@"
# Debian's Alertmanager reads its templates from where the package would have installed them; only we see them there.
mount -t overlay -o "lowerdir=$ALERTMANAGER/usr/share:/usr/share" overlay /usr/share

work=$(mktemp -d "$CACHE/monitor.XXXXXX")
net=$work/net
pids=()
cleanup() {
	local code=$?
	[ "$code" = 0 ] || tail -n 20 "$work"/*.log || true
	"$BASALT" network down "$net" >/dev/null 2>&1 || true
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf -- "$work"
}
trap cleanup EXIT

query() { curl -fsS --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -ce '.data.result'; }
series() { [ "$(query "$1" | jq length)" -ge "$2" ]; }
# arrived NAME [LABEL VALUE]: Alertmanager has it.
arrived() {
	curl -fsS http://127.0.0.1:9093/api/v2/alerts |
		jq -e --arg name "$1" --arg key "${2:-alertname}" --arg value "${3:-$1}" \
			'any(.[]; .labels.alertname == $name and .labels[$key] == $value)'
}

say "--- four validators, Prometheus, Alertmanager"
dev_network "$net" >/dev/null
# The shipped configuration, with this machine's addresses for the containers' and their names as labels.
mkdir "$work/prometheus"
cp "$ROOT/deploy/prometheus/rules.yml" "$work/prometheus/"
sed -e "s#/etc/prometheus/#$work/prometheus/#" -e 's#alertmanager:9093#127.0.0.1:9093#' -e '/^scrape_configs:/,$d' \
	"$ROOT/deploy/prometheus/prometheus.yml" | sed 's/: 5s$/: 1s/' >"$work/prometheus/prometheus.yml"
{
	echo 'scrape_configs:'
	echo '  - job_name: basalt'
	echo '    static_configs:'
	for i in 0 1 2 3; do echo "      - {targets: [\"127.0.0.1:$((9545 + i))\"], labels: {node: node$i}}"; done
} >>"$work/prometheus/prometheus.yml"
"$ALERTMANAGER/usr/bin/prometheus-alertmanager" --config.file="$ROOT/deploy/alertmanager/alertmanager.yml" \
	--storage.path="$work/alertmanager" --cluster.listen-address= --web.listen-address=127.0.0.1:9093 >"$work/alertmanager.log" 2>&1 &
pids+=($!)
"$PROMETHEUS/usr/bin/prometheus" --config.file="$work/prometheus/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
	--web.listen-address=127.0.0.1:9090 >"$work/prometheus.log" 2>&1 &
pids+=($!)
wait_for 30 "Alertmanager is ready" curl -fsS http://127.0.0.1:9093/-/ready
wait_for 60 "four nodes are scraped" series 'up{job="basalt"} == 1' 4

say "--- every panel of every dashboard has data"
for account in 0 1 2; do
	"$BASALT" tx send --dev-account $account --to 0x00000000000000000000000000000000000ba5a1 --value 1 >/dev/null
done
panels=0
while IFS= read -r expression; do
	wait_for 90 "data for the panel query $expression" series "${expression//\$node/.*}" 1
	panels=$((panels + 1))
done < <(jq -r '.panels[].targets[].expr' "$ROOT"/deploy/grafana/dashboards/*.json)
[ "$panels" -gt 40 ] || fail "only $panels queries were found"
say "    $panels queries"

say "--- every rule evaluates, and every series it names is there"
rules() { curl -fsS http://127.0.0.1:9090/api/v1/rules; }
evaluated() { [ "$(rules | jq '[.data.groups[].rules[] | select(.health != "ok")] | length')" = 0 ]; }
wait_for 30 "all rules evaluate" evaluated
for name in $(grep -oE '\bbasalt_[a-z_]+' "$ROOT/deploy/prometheus/rules.yml" | sort -u); do
	# Counters of what has not happened have no series yet.
	[ "$name" = basalt_webhook_deliveries_total ] || wait_for 30 "series of $name" series "$name" 1
done

say "--- a crossed threshold is an alert at Alertmanager"
rpc http://127.0.0.1:8545 monitor_setTpsThreshold '[{"lower": 1000, "windowSeconds": 3}]' >/dev/null
wait_for 60 "the alert of node0's TPS threshold" arrived BasaltTpsThreshold node node0
if arrived BasaltTpsThreshold node node1 >/dev/null; then fail "node1 has no threshold, but an alert of it"; fi
rpc http://127.0.0.1:8545 monitor_setTpsThreshold '[{"lower": null}]' >/dev/null

say "--- a killed node is an alert, by Prometheus and by the other nodes"
kill -9 "$(status_of "$net" '.nodes[3].pid')"
wait_for 120 "the alert that node3 is down" arrived BasaltNodeDown node node3
wait_for 120 "node0 misses a node" arrived BasaltPeerUnseen node node0
say ok
