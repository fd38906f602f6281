#!/usr/bin/env bash
# Checks what deploy/ holds without running it: Prometheus' configuration and rules, the dashboards, the compose file.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
. "$ROOT/tests/lib/rootfs.sh"
cd "$ROOT"

need_command jq

if command -v promtool >/dev/null 2>&1; then
	PROMTOOL=promtool
else
	prometheus_package "$CACHE/prometheus"
	PROMTOOL=$CACHE/prometheus/usr/bin/promtool
fi

say "--- Prometheus: configuration, rules, and what the alerts say in three situations"
# The rule file's path is the one in the container; here it is the one beside the configuration.
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cp deploy/prometheus/*.yml "$work/"
sed -i "s#/etc/prometheus/#$work/#" "$work/prometheus.yml"
"$PROMTOOL" check config "$work/prometheus.yml"
"$PROMTOOL" test rules deploy/prometheus/rules.test.yml

say "--- Grafana: the dashboard speaks to the provisioned data source"
uid=$(sed -n 's/^ *uid: *//p' deploy/grafana/provisioning/datasources/prometheus.yml)
for dashboard in deploy/grafana/dashboards/*.json; do
	jq -e --arg uid "$uid" '
		.uid and .title and (.panels | length > 0)
		and ([.panels[].id] | length == (unique | length))
		and ([.panels[] | select(.targets | length == 0)] | length == 0)
		and ([.. | objects | .datasource? | objects | .uid] | unique == [$uid])' "$dashboard" >/dev/null ||
		fail "$dashboard: a panel without query, an id twice, or another data source than $uid"
	mount=$(sed -n 's/^ *path: *//p' deploy/grafana/provisioning/dashboards/basalt.yml)
	grep -q "./deploy/grafana/dashboards:$mount:ro" docker-compose.yml || fail "docker-compose.yml does not mount $mount"
done

say "--- every metric that rules and dashboards name is one that the node has"
names=$(cat deploy/prometheus/rules.yml deploy/grafana/dashboards/*.json | grep -oE '\bbasalt_[a-z_]+' | sort -u)
[ -n "$names" ] || fail "no metric found"
for name in $names; do
	# In the source a metric stands without the prefix, and without the suffix of its kind and its unit.
	bare=${name#basalt_} bare=${bare%_bucket} bare=${bare%_total} bare=${bare%_seconds} bare=${bare%_bytes}
	grep -rq "\"$bare\"" node/src/monitor || fail "$name is not registered in node/src/monitor"
done

say "--- compose file: valid for each Compose at hand, ports on loopback only"
tools=0
for tool in "docker compose" docker-compose; do
	# shellcheck disable=SC2086
	if $tool version >/dev/null 2>&1; then
		$tool config --quiet || fail "$tool does not take docker-compose.yml"
		tools=$((tools + 1))
	fi
done
[ "$tools" -gt 0 ] || skip "needs Compose"
published=$(grep -oE '"[0-9.:]*[0-9]+:[0-9]+"' docker-compose.yml)
if grep -v '^"127\.0\.0\.1:' <<<"$published"; then fail "a port is published beyond loopback"; fi
say "ok"
