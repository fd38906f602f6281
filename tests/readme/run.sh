#!/usr/bin/env bash
# Follows the README from a clean clone, as a newcomer would with two terminals.
#
# Every fenced block marked `sh` is run, in order. The block `make up` goes to the first terminal and stays there; the others
# go to the second. The line <!-- Ctrl-C in the first terminal --> does what it says.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need_command git make jq curl
cast=$ROOT/tests/clients/node_modules/.bin/cast
[ -x "$cast" ] || skip "needs cast; run tests/clients/run.sh first"
isolate "${BASH_SOURCE[0]}" "$@"

work=$(mktemp -d "$CACHE/readme.XXXXXX")
clone=$work/clone
mkdir "$work/bin" "$work/blocks"
cp -L "$cast" "$work/bin/cast"
git clone --quiet --no-hardlinks "$ROOT" "$clone"
if [ -n "${TEST_ISOLATED:-}" ] && [ -z "$(git -C "$ROOT" status --porcelain)" ]; then
	# Nothing differs from what the suite `build` compiled. Laid over its place, with the times of its files and folders, the
	# clone is built by looking, instead of by compiling everything a second time under another path.
	(cd "$clone" && find . -depth -not -path ./.git -not -path './.git/*' -print0) | while IFS= read -r -d '' path; do
		touch --no-create -r "$ROOT/$path" "$clone/$path"
	done
	mount --bind "$clone" "$ROOT"
	clone=$ROOT
fi
cd "$clone"

first=
cleanup() {
	local code=$?
	cd /
	if [ -n "$first" ]; then kill -TERM -- "-$first" 2>/dev/null || true; fi
	"$BASALT" network down "$clone/basalt-net" >/dev/null 2>&1 || true
	if [ "$code" != 0 ]; then tail -n 40 "$work/first.log" 2>/dev/null || true; fi
	if mountpoint -q "$ROOT"; then umount --lazy "$ROOT"; fi
	rm -rf --one-file-system -- "$work"
}
trap cleanup EXIT

export PATH=$work/bin:$PATH
# In the network namespace nothing can be fetched; what the README installs is installed by now.
export CARGO_NET_OFFLINE=true
# `make test` is one of the commands; it must not begin this suite again.
export SUITES="fmt shell"

# The README's blocks, each in a file of its own.
awk '/^```sh$/ { inside = 1; n += 1; next } /^```/ { inside = 0 }
	/^<!-- Ctrl-C in the first terminal -->$/ { n += 1; print "CTRL-C" > sprintf("%s/%02d", out, n) }
	inside { print > sprintf("%s/%02d", out, n) }' out="$work/blocks" README.md
blocks=("$work"/blocks/*)
[ ${#blocks[@]} -ge 4 ] || fail "the README's commands were not found"

network_answers() { height http://127.0.0.1:8545 && height http://127.0.0.1:8548; }
stopped() { ! kill -0 "$first" 2>/dev/null; }

for block in "${blocks[@]}"; do
	say "--- $(basename "$block"): $(head -n 1 "$block")"
	if [ "$(cat "$block")" = "make up" ]; then
		# A terminal's foreground job is a process group of its own, and Ctrl-C goes to all of it.
		set -m
		make up >"$work/first.log" 2>&1 </dev/null &
		first=$!
		set +m
		wait_for 1100 "the network of make up" network_answers
		grep -q 'http://127.0.0.1:8545' "$work/first.log" || fail "make up did not print its endpoints"
		grep -qi '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266' "$work/first.log" || fail "make up did not print funded accounts"
	elif [ "$(cat "$block")" = CTRL-C ]; then
		kill -INT -- "-$first"
		wait_for 30 "make up ends on Ctrl-C" stopped
		wait "$first" && code=0 || code=$?
		# 130 is how make itself reports that it was interrupted.
		[ "$code" = 0 ] || [ "$code" = 130 ] || fail "make up ended with exit code $code on Ctrl-C"
		first=
		[ "$(status_of basalt-net '[.nodes[].on] | any')" = false ] || fail "a node still runs after Ctrl-C"
	else
		bash -euo pipefail "$block" </dev/null || fail "the README's commands in $(basename "$block")"
	fi
done
say "--- the operator guide's spec is what it claims to be: every key, at its default"
# The first block; those after it are of a node's configuration.
awk '/^```toml$/ { in_block = 1; next } in_block && /^```$/ { exit } in_block' docs/operator-guide.md >"$work/spec.toml"
"$BASALT" network create "$work/spec.toml" --out "$work/by-spec" >/dev/null
"$BASALT" network create --out "$work/by-default" >/dev/null
# The validator contract's storage holds the keys of the validators.
rules() { jq --sort-keys 'del(.validators, .genesisTimeMs, .chainId, .alloc[].storage)' "$1/genesis.json"; }
[ "$(rules "$work/by-spec")" = "$(rules "$work/by-default")" ] || fail "the spec in docs/operator-guide.md gives other rules than no spec"
say "ok: ${#blocks[@]} blocks"
