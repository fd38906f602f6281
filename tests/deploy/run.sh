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

alertmanager_package "$CACHE/alertmanager"
say "--- Alertmanager: its configuration"
"$CACHE/alertmanager/usr/bin/amtool" check-config deploy/alertmanager/alertmanager.yml

say "--- Prometheus: configuration, rules, and what the alerts say in four situations"
# The rule file's path is the one in the container; here it is the one beside the configuration.
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cp deploy/prometheus/*.yml "$work/"
sed -i "s#/etc/prometheus/#$work/#" "$work/prometheus.yml"
"$PROMTOOL" check config "$work/prometheus.yml"
"$PROMTOOL" test rules deploy/prometheus/rules.test.yml

[ "$(ls deploy/grafana/dashboards/*.json | wc -l)" = 4 ] || fail "four dashboards are expected"
say "--- Grafana: the dashboards speak to the provisioned data source"
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

say "--- every metric that rules and dashboards name is one that a node serves"
names=$(cat deploy/prometheus/rules.yml deploy/grafana/dashboards/*.json | grep -oE '\bbasalt_[a-z_]+' | sort -u)
[ -n "$names" ] || fail "no metric found"
for name in $names; do
	# The catalogue is held to what a node serves by a test; there a metric stands without the suffix of its kind.
	bare=${name%_bucket} bare=${bare%_total} bare=${bare%_info}
	grep -q "^| \`$bare\` " docs/metrics.md || fail "$name is not in docs/metrics.md"
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
