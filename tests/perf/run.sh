#!/usr/bin/env bash
# Counts the instructions of the hot paths with callgrind and compares them with the committed baseline: fails when one has
# grown by more than 5 %. Counts are the same on a busy machine.
#
#   tests/perf/run.sh            compare
#   tests/perf/run.sh --accept   make the present counts the baseline (say in the commit why they changed)
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$ROOT"

readonly LIMIT_PERCENT=5
baseline=tests/perf/baseline.txt
need_command valgrind cargo
# The baseline belongs to the profile that CI builds with.
unset CARGO_PROFILE_DEV_OPT_LEVEL
cargo build --locked --quiet --workspace --example hot-paths
binary=$CARGO_TARGET_DIR/debug/examples/hot-paths
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# count CASE: its instructions per item, in $work/CASE.
count() {
	local items total
	items=$(timeout 300 valgrind --tool=callgrind --collect-atstart=no --toggle-collect=basalt_perf_measured \
		--callgrind-out-file="$work/$1.out" "$binary" "$1" 2>"$work/$1.log") || {
		tail -n 20 "$work/$1.log" >&2
		return 1
	}
	total=$(sed -n 's/^summary: \([0-9]*\).*/\1/p' "$work/$1.out")
	[ "${items:-0}" -gt 0 ] && [ "${total:-0}" -gt 0 ] || return 1
	printf '%s %d\n' "$1" $((total / items)) >"$work/$1"
}
export -f count
export work binary

"$binary" --list >"$work/list"
xargs -P "$(nproc)" -I {} bash -c 'count "$1"' count {} <"$work/list" || fail "a case did not run"
toolchain="$(rustc --version | cut -d ' ' -f 2), $(valgrind --version), $(uname -m)"
while read -r name; do cat "$work/$name"; done <"$work/list" >"$work/counts"

if [ "${1:-}" = --accept ]; then
	{
		printf '# Instructions per item of the hot paths, counted by tests/perf/run.sh --accept.\n# %s\n' "$toolchain"
		cat "$work/counts"
	} >"$baseline"
	cat "$baseline"
	exit
fi

[ -e "$baseline" ] || fail "there is no $baseline; record one on the machine and toolchain of CI: tests/perf/run.sh --accept"
before=$(sed -n '2s/^# //p' "$baseline")
[ "$before" = "$toolchain" ] || say "note: the baseline is of $before, this is $toolchain; if only that explains a difference, accept it"
awk -v limit="$LIMIT_PERCENT" '
	NR == FNR { if ($1 !~ /^#/) old[$1] = $2; next }
	{
		if (!($1 in old)) { printf "%-20s %10d   not in the baseline\n", $1, $2; bad++; next }
		change = ($2 - old[$1]) * 100 / old[$1]
		verdict = change > limit ? "FAILED" : change < -limit ? "better: accept it" : ""
		if (change > limit) bad++; else good++
		printf "%-20s %10d %10d %+7.2f %% %s\n", $1, old[$1], $2, change, verdict
		n++; delete old[$1]
	}
	END {
		for (name in old) { printf "%-20s is in the baseline and not measured\n", name; bad++ }
		printf "# pass %d of %d hot paths within %d %% of the baseline\n", good, n, limit
		exit bad > 0
	}' "$baseline" "$work/counts" || fail "a hot path takes more instructions; mend it, or accept it: tests/perf/run.sh --accept"
