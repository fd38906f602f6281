#!/usr/bin/env bash
# Shell scripts parse (and satisfy shellcheck where it is installed); no file carries what belongs to one machine.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$ROOT"

scripts=()
while IFS= read -r file; do
	case $file in
	*.sh) scripts+=("$file") ;;
	*) case $(head -c 30 "$file" | tr -d '\0' | head -n 1) in '#!'*sh) scripts+=("$file") ;; esac ;;
	esac
done < <(git ls-files)
[ ${#scripts[@]} -gt 5 ] || fail "the shell scripts were not found"
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null 2>&1; then
	shellcheck --external-sources --source-path=SCRIPTDIR --severity=warning "${scripts[@]}"
else
	say "shellcheck is not installed; scripts were only parsed"
fi

# Lock files name packages and digests only; nobody's registry, proxy or home directory.
if git grep -nE '"resolved": *"|registry *= *"?https?:|index-url|(^|[ "=:])/(root|home/[a-z]+)/' -- . ':!tests/lint/run.sh' ':!tests/bootstrap/run.sh'; then
	fail "an address or a path of one machine is in the files above"
fi
say "ok"
