#!/usr/bin/env bash
# Installs what Basalt needs to be built, on Debian and Ubuntu. Idempotent; says nothing when there is nothing to do and
# never asks a question.
#
#   deploy/bootstrap.sh           what `make up` needs: a C/C++ compiler, libclang, ccache, a Rust toolchain
#   deploy/bootstrap.sh --test    and what `make test` needs: cargo-nextest, clippy, rustfmt, Node.js, npm, Python
#   deploy/bootstrap.sh --ci      and what only a disposable machine should get: Docker, docker-compose, debootstrap
set -euo pipefail

readonly RUST_MIN=1.95
readonly NODE_MIN=18

say() { printf 'bootstrap: %s\n' "$*"; }
die() {
	printf 'bootstrap: %s\n' "$*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANT: dotted versions, numerically.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "root rights are needed to run '$*'; install sudo or run this script as root"
	fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# need_packages PACKAGE...: installs those that are missing.
need_packages() {
	local missing=() package
	for package in "$@"; do installed "$package" || missing+=("$package"); done
	[ ${#missing[@]} -gt 0 ] || return 0
	have apt-get || die "this is not Debian or Ubuntu; install the equivalents of: ${missing[*]}"
	say "installing ${missing[*]}"
	# A failed update of one list (some third party's) is no reason to stop: the install says if a package is missing.
	local log
	log=$(mktemp)
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >"$log" 2>&1 || true
	if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
		grep -E '^[EW]:' "$log" >&2 || tail -n 20 "$log" >&2
		die "apt-get could not install ${missing[*]} (its log: $log)"
	fi
	rm -f "$log"
}

rust_version() { { cargo --version 2>/dev/null || true; } | sed -n 's/^cargo \([0-9.]*\).*/\1/p'; }

need_rust() {
	local found
	found=$(rust_version)
	if [ -n "$found" ] && at_least "$found" "$RUST_MIN"; then return 0; fi
	if have rustup; then
		say "updating Rust ${found:-(none)} to the stable toolchain (at least $RUST_MIN is needed)"
		rustup --quiet toolchain install stable --profile minimal
		rustup --quiet default stable
	else
		say "installing Rust by rustup (at least $RUST_MIN is needed, found ${found:-none})"
		curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y -q --profile minimal --no-modify-path
	fi
	found=$(rust_version)
	if [ -z "$found" ] || ! at_least "$found" "$RUST_MIN"; then
		die "Rust $RUST_MIN is needed, found ${found:-none}; install it from https://rustup.rs"
	fi
}

need_component() { # COMMAND COMPONENT
	cargo "$1" --version >/dev/null 2>&1 && return 0
	have rustup || die "'cargo $1' is missing; install the Rust component $2"
	say "adding the Rust component $2"
	rustup --quiet component add "$2"
}

need_nextest() {
	cargo nextest --version >/dev/null 2>&1 && return 0
	say "building cargo-nextest (once; some minutes)"
	cargo install --quiet --locked cargo-nextest
}

node_version() { { node --version 2>/dev/null || true; } | sed 's/^v//'; }

need_node() {
	[ -n "$(node_version)" ] || need_packages nodejs
	have npm || need_packages npm
	at_least "$(node_version)" "$NODE_MIN" || die "Node.js $NODE_MIN is needed, found $(node_version); see https://nodejs.org"
}

main() {
	local test=no ci=no
	case "${1:-}" in
	'') ;;
	--test) test=yes ;;
	--ci) test=yes ci=yes ;;
	*) die "unknown argument '$1'; use no argument, --test or --ci" ;;
	esac

	# cargo's bin directory may not be on the PATH of this shell yet.
	export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
	# RUSTUP asks about nothing and downloads only what is named here.
	export RUSTUP_AUTO_INSTALL=0

	need_packages build-essential libclang-dev ccache curl ca-certificates git make
	need_rust
	if [ "$test" = yes ]; then
		need_packages jq python3-venv valgrind
		need_component clippy clippy
		need_component fmt rustfmt
		need_nextest
		need_node
	fi
	if [ "$ci" = yes ]; then need_packages docker.io docker-compose debootstrap; fi
}

main "$@"
