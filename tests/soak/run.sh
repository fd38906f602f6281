#!/usr/bin/env bash
# Keeps a network of four validators under load, and kills one or all of them every half minute. No accepted transaction may
# be lost (the benchmark checks that), and in the end all nodes must agree. Then as many seeds of the level-2 simulator as fit in
# half that time.
#
#   tests/soak/run.sh [MINUTES]
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
isolate "${BASH_SOURCE[0]}" "$@"

minutes=${1:-10}
work=$(mktemp -d)
trap '"$BASALT" network down "$work/net" >/dev/null 2>&1 || true; rm -rf -- "$work"' EXIT
dev_network "$work/net"

# crash NUMBERS: kills these nodes without warning.
crash() { # as a list for jq: 0 or 0,1,2,3
	local pids pid
	pids=$(status_of "$work/net" "[.nodes[$1].pid] | map(select(.)) | .[]")
	for pid in $pids; do kill -9 "$pid"; done
}
recover() {
	"$BASALT" network up "$work/net" --detach >/dev/null
	wait_for 60 "all nodes level after a crash" level "$work/net"
}

end=$((SECONDS + minutes * 60))
round=0
while [ "$SECONDS" -lt "$end" ]; do
	victim=$((round % 4))
	# The load goes to the nodes that stay.
	rpc=$(status_of "$work/net" "[.nodes[] | select(.name != \"node$victim\") | .rpc] | join(\",\")")
	"$BASALT" bench run --rpc "$rpc" --seconds 15 --rate 100 --json >"$work/load.json" &
	load=$!
	sleep 5
	crash "$victim"
	wait "$load" || fail "transactions were lost while node$victim was down"
	recover
	if [ $((round % 4)) = 3 ]; then
		crash 0,1,2,3
		recover
	fi
	round=$((round + 1))
	say "round $round: height $(status_of "$work/net" '.nodes[0].height'), memory of node0 $(awk '/VmRSS/ { print $2 " kB" }' \
		"/proc/$(status_of "$work/net" '.nodes[0].pid')/status")"
done
say "$round rounds; now simulated nodes, with seeds nobody has seen"
from=$((RANDOM * 1000000))
"${BASALT%/*}/basalt-sim" run --level 2 --from "$from" --minutes $((minutes / 2 + 1)) --jobs "$(nproc)"
say "ok: $round rounds"
