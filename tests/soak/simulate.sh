#!/usr/bin/env bash
# Simulates consensus for a while: as many seeds of chaos as fit, from a number that differs each hour, then twins, then a larger
# space of the model, then the property tests with new seeds. Stops at the first violation, with the command that shows it again.
#
#   tests/soak/simulate.sh [MINUTES] [FIRST_SEED]
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$ROOT"

minutes=${1:-10}
from=${2:-$(($(date +%s) / 3600 * 1000000))}
jobs=$(nproc)

# Compiled once: cargo's own output stays out of the way.
cargo build --locked --quiet -p basalt-sim
sim=${CARGO_TARGET_DIR:-target}/debug/basalt-sim

say "seeds from $from on, $minutes minutes"
"$sim" run --from "$from" --minutes "$minutes" --jobs "$jobs" || fail "a seed broke an invariant"
share=$(((minutes + 2) / 3))
for nodes in 4 7 10; do
	"$sim" twins --nodes "$nodes" --from "$from" --minutes "$share" --jobs "$jobs" || fail "twins of $nodes validators led to two blocks"
done
BASALT_MODEL_ROUNDS=2,2 cargo nextest run --locked -p basalt-sim --test model || fail "the model has an unsound state"
# CI runs the property tests with one seed, so that it says the same of the same code; here they see others.
until=$((SECONDS + share * 60)) seed=$from
while [ "$SECONDS" -lt "$until" ]; do
	PROPTEST_RNG_SEED=$seed cargo nextest run --locked --workspace \
		-E 'not (binary(e2e) | package(basalt-statetest) | package(basalt-sim))' ||
		fail "a property does not hold: PROPTEST_RNG_SEED=$seed"
	seed=$((seed + 1))
done
say "ok: no violation"
