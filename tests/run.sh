#!/usr/bin/env bash
# Runs the test suites, each with its time, and closes with one line: "N passed, N failed".
#
#   tests/run.sh               every suite
#   tests/run.sh NAME...       these only
#   tests/run.sh --list        their names
#
# Output of a suite goes to a log; the end of it is shown when the suite fails. A suite that cannot run on this machine
# (no root, no Docker) is skipped with its reason; where CI=true that is a failure.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"

LOGS=${TEST_LOGS:-$CACHE/test-logs}

# Property tests see the same cases at every run; `make soak` gives them others.
# name | most seconds | what it does | command
suites() {
	cat <<'TABLE'
fmt       |   60 | formatting                                     | cargo fmt --all --check
shell     |   60 | shell scripts parse; files carry no addresses  | tests/lint/run.sh
build     | 3000 | the binary                                     | cargo build --locked --workspace --bins
lint      | 1500 | clippy without warnings                        | cargo clippy --locked --workspace --all-targets -- -D warnings
rust      | 3000 | unit, golden-vector, simulation and e2e tests  | PROPTEST_RNG_SEED=1 cargo nextest run --locked --workspace
mutations |  600 | deliberate bugs in the engines are found       | cargo nextest run --locked -p basalt-bft -p basalt-pow --features mutations --test mutations
contracts |  300 | system contracts compile to their artefacts    | tests/contracts/run.sh
deploy    |  120 | Prometheus rules, dashboards, compose file     | tests/deploy/run.sh
monitor   |  420 | Prometheus and Alertmanager on a real network   | tests/monitor/run.sh
clients   |  900 | ethers, viem, cast, forge; the same as anvil   | tests/clients/run.sh
hardhat   |  600 | Hardhat with OpenZeppelin's contracts          | tests/clients/hardhat/run.sh
web3py    |  900 | web3.py's own tests; contracts in Vyper        | tests/clients/web3py/run.sh
readme    | 1200 | the README's commands from a clean clone       | tests/readme/run.sh
container | 1200 | docker-compose.yml with four validators        | tests/container/run.sh
bootstrap | 1200 | deploy/bootstrap.sh in a bare system           | tests/bootstrap/run.sh
TABLE
}

# select_suites NAME...: their rows, in the table's order; all rows without a name.
select_suites() {
	if [ $# -eq 0 ]; then
		suites
		return
	fi
	local name
	for name in "$@"; do suites | grep -q "^$name " || fail "no suite '$name'; tests/run.sh --list names them"; done
	suites | while IFS= read -r row; do
		for name in "$@"; do
			if [[ $row == "$name "* ]]; then printf '%s\n' "$row"; fi
		done
	done
}

# summary LOG: what a runner said at its end, in a few words.
summary() {
	sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -oE '[0-9]+ tests? run: .*|^# pass [0-9]+|^[0-9]+ passed.*|[0-9]+ passing' | tail -n 1 | cut -c 1-70 || true
}

# A suite is a process group of its own: an interrupted run ends it.
running=
trap 'if [ -n "$running" ]; then kill -TERM "$running"; wait "$running"; fi; exit 130' INT TERM

main() {
	case "${1:-}" in --list)
		suites | cut -d '|' -f 1,3
		return
		;;
	esac
	mkdir -p "$LOGS"
	local rows passed=0 failed=0 skipped=0 all=$SECONDS
	rows=$(select_suites "$@")
	while IFS='|' read -r name limit what command <&3; do
		name=${name// /}
		local log=$LOGS/$name.log start=$SECONDS code=0
		what=${what%"${what##*[! ]}"}
		timeout --kill-after=20 "${limit// /}" bash -c "$command" >"$log" 2>&1 </dev/null &
		running=$!
		wait "$running" || code=$?
		running=
		local took=$((SECONDS - start))
		if [ "$code" = 0 ]; then
			passed=$((passed + 1))
			printf 'suite %-10s ok      %4d s %s %s\n' "$name" "$took" "$what" "$(summary "$log")"
		elif [ "$code" = "$SKIP" ] && [ "${CI:-}" != true ]; then
			skipped=$((skipped + 1))
			printf 'suite %-10s skipped        %s (%s)\n' "$name" "$what" "$(tail -n 1 "$log")"
		else
			failed=$((failed + 1))
			printf 'suite %-10s FAILED  %4d s %s (exit code %d; %s)\n' "$name" "$took" "$what" "$code" "$log"
			grep -E '^(FAILED:|error|test .* FAILED|not ok|\s+FAIL )' "$log" | head -n 40 | sed 's/^/    /' || true
			printf '    ...\n'
			tail -n 60 "$log" | sed 's/^/    /'
		fi
	done 3<<<"$rows"
	printf 'all suites: %d s\n' $((SECONDS - all))
	if [ "$skipped" -gt 0 ]; then
		printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	else
		printf '%d passed, %d failed\n' "$passed" "$failed"
	fi
	[ "$failed" = 0 ]
}

main "$@"
