#!/usr/bin/env bash
# Runs docker-compose.yml for real: four validators and Prometheus, with a Docker daemon of this test's own.
#
# The images are the compose file's, built from what is at hand: the runtime stage of deploy/Dockerfile on a base made by
# debootstrap, around the binary that the other suites tested; Prometheus and Alertmanager from Debian's packages. Grafana is
# left out here; its dashboards' queries are put to Prometheus instead.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
. "$ROOT/tests/lib/rootfs.sh"

need_root
need_command dockerd docker debootstrap dpkg-deb curl jq unshare ip iptables
compose_command() {
	if docker compose version >/dev/null 2>&1; then
		echo docker compose
	elif command -v docker-compose >/dev/null; then
		echo docker-compose
	fi
}
read -ra COMPOSE < <(compose_command) || skip "needs Compose"
[ -x "$BASALT" ] || fail "no binary at $BASALT; run 'make build' first"

PROMETHEUS=$CACHE/prometheus
ALERTMANAGER=$CACHE/alertmanager
# What comes from outside is fetched before the network is cut off.
if [ -z "${TEST_ISOLATED:-}" ]; then
	tarball=$(rootfs_tarball)
	prometheus_package "$PROMETHEUS"
	alertmanager_package "$ALERTMANAGER"
	export TEST_ROOTFS=$tarball
fi
isolate "${BASH_SOURCE[0]}" "$@"

export DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=basalt-test
export BASALT_IMAGE=basalt-test/node PROMETHEUS_IMAGE=basalt-test/prometheus ALERTMANAGER_IMAGE=basalt-test/alertmanager
SERVICES=(node0 node1 node2 node3 prometheus alertmanager)
URLS=(http://127.0.0.1:8545 http://127.0.0.1:8546 http://127.0.0.1:8547 http://127.0.0.1:8548)

work=$(mktemp -d "$CACHE/container.XXXXXX")
export DOCKER_HOST=unix://$work/docker.sock
daemon=
cleanup() {
	local code=$?
	if docker info >/dev/null 2>&1; then
		if [ "$code" != 0 ]; then
			compose ps || true
			compose logs --no-color --tail 40 || true
		fi
		compose down --volumes --timeout 5 >/dev/null 2>&1 || true
	elif [ "$code" != 0 ]; then
		tail -n 20 "$work/dockerd.log" || true
	fi
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	rm -rf --one-file-system -- "$work"
}
trap cleanup EXIT

compose() { "${COMPOSE[@]}" --file "$ROOT/docker-compose.yml" "$@"; }
container() { compose ps -q "$1"; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]; }
all_healthy() {
	local node
	for node in node0 node1 node2 node3; do healthy "$node" || return 1; done
}
# query EXPRESSION: Prometheus' answer as a JSON list.
query() { curl -fsS --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -ce '.data.result'; }
series() { [ "$(query "$1" | jq length)" -ge "$2" ]; }
# balance URL ADDRESS
balance() { rpc "$1" eth_getBalance "[\"$2\",\"latest\"]"; }
same_everywhere() { # ADDRESS VALUE
	local url
	for url in "${URLS[@]}"; do [ "$(balance "$url" "$1")" = "\"$2\"" ] || return 1; done
}
# pay URL ADDRESS: one wei through this node; returns when it is in a block. Each payment comes from another development
# account, so that it does not matter whether this node has the block of the last one yet.
payer=0
pay() {
	"$BASALT" tx send --dev-account "$payer" --to "$2" --value 1 --rpc "$1" >/dev/null
	payer=$(((payer + 1) % 10))
}

say "--- a Docker daemon of our own"
echo '{}' >"$work/daemon.json"
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" --host "$DOCKER_HOST" \
	--config-file "$work/daemon.json" >"$work/dockerd.log" 2>&1 &
daemon=$!
wait_for 30 "Docker daemon" docker info

say "--- images"
docker import "$TEST_ROOTFS" basalt-test/base >/dev/null
mkdir -p "$work/node/deploy/docker"
{
	echo 'FROM basalt-test/base'
	sed '1,/^FROM debian:/d; s/^COPY --from=build \/basalt /COPY basalt /' "$ROOT/deploy/Dockerfile"
} >"$work/node/Dockerfile"
cp "$BASALT" "$work/node/basalt"
cp "$ROOT/deploy/docker/init-network.sh" "$work/node/deploy/docker/"
docker build --quiet --tag "$BASALT_IMAGE" "$work/node" >/dev/null
# service_image TAG BINARY NAME: an image that runs a Debian package's binary as nobody, with the package's shared files and
# a directory /NAME to write to.
service_image() {
	mkdir "$work/$3"
	cp "$2" "$work/$3/$3"
	cp -r "${2%/bin/*}/share" "$work/$3/share"
	cat >"$work/$3/Dockerfile" <<-DOCKERFILE
		FROM basalt-test/base
		COPY $3 /bin/$3
		COPY share /usr/share
		RUN install -d -o nobody -g nogroup /$3
		USER nobody
		ENTRYPOINT ["/bin/$3"]
	DOCKERFILE
	docker build --quiet --tag "$1" "$work/$3" >/dev/null
}
service_image "$PROMETHEUS_IMAGE" "$PROMETHEUS/usr/bin/prometheus" prometheus
service_image "$ALERTMANAGER_IMAGE" "$ALERTMANAGER/usr/bin/prometheus-alertmanager" alertmanager

say "--- up"
start=$SECONDS
compose up --detach --no-build "${SERVICES[@]}"
wait_for 60 "four healthy validators" all_healthy
say "    healthy after $((SECONDS - start)) s"

say "--- nobody is root, nobody sees another's keys"
[ "$(docker exec "$(container node0)" id -u)" = 10001 ] || fail "node0 does not run as its own user"
[ -z "$(docker exec "$(container node0)" ls /network/nodes/node1)" ] || fail "node0 sees the files of node1"
docker exec "$(container node0)" test -r /network/nodes/node0/node.key || fail "node0 does not see its own key"
if docker exec "$(container node0)" touch /network/x 2>/dev/null; then fail "node0 can write to what all share"; fi

say "--- transactions by every node, seen on every node"
target=0x00000000000000000000000000000000000ba5a1
for url in "${URLS[@]}"; do pay "$url" $target; done
wait_for 15 "balance on all nodes" same_everywhere $target 0x4

say "--- one validator is killed; the chain goes on"
docker kill "$(container node3)" >/dev/null
before=$(height "${URLS[0]}")
pay "${URLS[0]}" $target
pay "${URLS[1]}" $target
wait_for 60 "blocks with three validators" above "${URLS[0]}" $((before + 1))
compose start node3 >/dev/null
wait_for 60 "the killed validator is ready again" healthy node3
wait_for 30 "it has what it missed" same_everywhere $target 0x6

say "--- a crashed validator comes back by itself"
kill -9 "$(docker inspect -f '{{.State.Pid}}' "$(container node2)")"
restarted() { [ "$(docker inspect -f '{{.RestartCount}}' "$(container node2)")" -ge 1 ] && healthy node2; }
wait_for 60 "the crashed validator is ready again" restarted

say "--- stop, start, down and up keep the chain"
kept=$(height "${URLS[0]}")
hash_of() { rpc "$1" eth_getBlockByNumber "[\"$(printf '0x%x' "$kept")\",false]" | jq -er .hash; }
hash=$(hash_of "${URLS[0]}")
compose stop --timeout 20 >/dev/null 2>&1
compose start >/dev/null 2>&1
wait_for 60 "four healthy validators after stop and start" all_healthy
same_everywhere $target 0x6 || fail "a balance changed over stop and start"
compose down --timeout 20 >/dev/null 2>&1
compose up --detach --no-build "${SERVICES[@]}" >/dev/null 2>&1
wait_for 60 "four healthy validators after down and up" all_healthy
for url in "${URLS[@]}"; do [ "$(hash_of "$url")" = "$hash" ] || fail "$url has another block $kept"; done
pay "${URLS[2]}" $target
wait_for 30 "the chain goes on" same_everywhere $target 0x7

say "--- Prometheus reads all nodes, and the dashboard's panels have data"
wait_for 60 "basalt_height of four nodes" series basalt_height 4
wait_for 30 "the recorded series" series basalt:behind_blocks 4
while IFS= read -r expression; do
	wait_for 60 "data for the panel query $expression" series "${expression//\$node/.*}" 1
done < <(jq -r '.panels[].targets[].expr' "$ROOT"/deploy/grafana/dashboards/*.json)
[ "$(curl -fsS http://127.0.0.1:9090/api/v1/rules | jq '[.data.groups[].rules[] | select(.health != "ok")] | length')" = 0 ] ||
	fail "a rule does not evaluate"

say "--- Prometheus has found Alertmanager"
alertmanager_found() {
	curl -fsS http://127.0.0.1:9090/api/v1/alertmanagers | jq -e '.data.activeAlertmanagers | length == 1' &&
		curl -fsS http://127.0.0.1:9093/-/ready
}
wait_for 60 "Alertmanager" alertmanager_found
say "ok"
