#!/usr/bin/env bash
# Measures a fresh network of four local validators: throughput at full load, then latency at light load; JSON, one line each.
#
#   tests/bench/run.sh [SECONDS]
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
isolate "${BASH_SOURCE[0]}" "$@"

seconds=${1:-20}
work=$(mktemp -d)
trap '"$BASALT" network down "$work/net" >/dev/null 2>&1 || true; rm -rf -- "$work"' EXIT
dev_network "$work/net" >/dev/null
"$BASALT" bench run --network "$work/net" --seconds "$seconds" --json
"$BASALT" bench run --network "$work/net" --seconds "$seconds" --rate 20 --batch 1 --json
