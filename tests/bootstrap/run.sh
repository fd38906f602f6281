#!/usr/bin/env bash
# Proves deploy/bootstrap.sh in a bare system: a debootstrap tree without compiler, libclang or Rust.
#
#   1. first run: installs the packages by apt, and Rust by rustup
#   2. second run: nothing to do, so not a word
#   3. what the build needs is there: C++, bindgen through libclang, cargo reading this workspace
#
# What such a system takes from the Internet by rustup comes from this machine's own toolchain: `curl` of the installer
# is answered by a stand-in that accepts what the real one accepts and puts that toolchain in place.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
. "$ROOT/tests/lib/rootfs.sh"

need_root
need_command debootstrap unshare cargo rustup

# Everything that follows runs in a mount namespace of its own, so no mount outlives it.
if [ -z "${TEST_IN_NAMESPACE:-}" ]; then
	TEST_IN_NAMESPACE=1 exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi

tarball=$(rootfs_tarball)
work=$(mktemp -d "$CACHE/bootstrap.XXXXXX")
box=$work/root
cleanup() {
	umount --recursive --lazy "$box" 2>/dev/null || true
	# Never delete through a mount that is still there.
	rm -rf --one-file-system -- "$work"
}
trap cleanup EXIT

mkdir -p "$box"
mount --bind "$box" "$box"
tar -C "$box" -xf "$tarball"
mount -t proc proc "$box/proc"
mount --rbind /dev "$box/dev"
mkdir -p "$CACHE/apt-archives/partial"
mount --bind "$CACHE/apt-archives" "$box/var/cache/apt/archives"

# The network set-up of this machine: names, trusted certificates, apt's acquisition settings. Copied, never committed.
cp /etc/resolv.conf /etc/hosts "$box/etc/"
cat /etc/ssl/certs/ca-certificates.crt >"$box/etc/ssl/certs/ca-certificates.crt"
for file in /etc/apt/apt.conf.d/*; do
	if grep -qi 'acquire' "$file" && ! grep -qi 'docker-clean' <<<"$file"; then cp "$file" "$box/etc/apt/apt.conf.d/"; fi
done
for file in "${CARGO_HOME:-$HOME/.cargo}"/config.toml "${CARGO_HOME:-$HOME/.cargo}"/registry; do
	[ -e "$file" ] || continue
	if [ -d "$file" ]; then
		mkdir -p "$box/root/.cargo/$(basename "$file")"
		mount --bind "$file" "$box/root/.cargo/$(basename "$file")"
	else
		mkdir -p "$box/root/.cargo" && cp "$file" "$box/root/.cargo/"
	fi
done

# This machine's toolchain, where the stand-in finds it.
mkdir -p "$box/host/rustup" "$box/host/cargo-bin" "$box/source"
mount --bind "${RUSTUP_HOME:-$HOME/.rustup}" "$box/host/rustup"
mount --bind "${CARGO_HOME:-$HOME/.cargo}/bin" "$box/host/cargo-bin"
mount --bind "$ROOT" "$box/source"
mount -o remount,bind,ro "$box/source"

cat >"$box/host/installer" <<'SCRIPT'
# Stands in for the rustup installer: same arguments, the toolchain from /host.
set -eu
unattended=no profile=default
while [ $# -gt 0 ]; do
	case $1 in
	-y) unattended=yes ;;
	-q | --no-modify-path) ;;
	--profile) profile=$2; shift ;;
	*) echo "installer: unexpected argument $1" >&2; exit 1 ;;
	esac
	shift
done
[ "$unattended" = yes ] || { echo "installer: would have asked a question" >&2; exit 1; }
[ "$profile" = minimal ] || { echo "installer: profile $profile" >&2; exit 1; }
mkdir -p "$HOME/.cargo"
ln -s /host/cargo-bin "$HOME/.cargo/bin"
ln -s /host/rustup "$HOME/.rustup"
SCRIPT
mkdir -p "$box/usr/local/bin"
cat >"$box/usr/local/bin/curl" <<'SCRIPT'
#!/bin/sh
# Answers for the rustup installer only; everything else is the real curl.
for argument; do [ "$argument" != https://sh.rustup.rs ] || exec cat /host/installer; done
exec /usr/bin/curl "$@"
SCRIPT
chmod +x "$box/usr/local/bin/curl"

# in_box COMMAND...: runs it in the bare system with a clean environment; proxies are passed on.
in_box() {
	local pass=(SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt) name
	while IFS= read -r name; do pass+=("$name=${!name}"); done < <(compgen -e | grep -Ei '_proxy$' || true)
	# </dev/null: whoever asks a question gets no answer.
	env -i "${pass[@]}" HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
		chroot "$box" "$@" </dev/null
}

say "--- before: nothing is there"
for command in cc make git cargo; do
	if in_box /bin/sh -c "command -v $command" >/dev/null; then fail "the bare system already has $command"; fi
done

say "--- first run"
start=$SECONDS
in_box /source/deploy/bootstrap.sh || fail "bootstrap.sh in a bare system"
say "    $((SECONDS - start)) s"

say "--- second run is quiet"
output=$(in_box /source/deploy/bootstrap.sh 2>&1) || fail "second run: $output"
[ -z "$output" ] || fail "the second run was not quiet: $output"

say "--- a wrong argument is one clear error"
if output=$(in_box /source/deploy/bootstrap.sh --nonsense 2>&1); then fail "a wrong argument was accepted"; fi
[ "$(wc -l <<<"$output")" = 1 ] || fail "not one line: $output"

say "--- what the build needs"
in_box /usr/bin/env PATH=/root/.cargo/bin:/usr/bin:/bin CARGO_NET_OFFLINE=false cargo metadata --locked --format-version 1 \
	--no-deps --manifest-path /source/Cargo.toml >/dev/null || fail "cargo cannot read the workspace"

# A crate with the build needs of RocksDB's bindings: C++ through cc, bindgen through libclang and its headers.
probe=$box/probe
mkdir -p "$probe/src" "$CACHE/bootstrap-probe" "$box/target"
mount --bind "$CACHE/bootstrap-probe" "$box/target"
version() { awk -v name="$1" '$0 == "name = \"" name "\"" { getline; gsub(/[^0-9.]/, ""); print; exit }' "$ROOT/Cargo.lock"; }
cat >"$probe/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[build-dependencies]
bindgen = { version = "=$(version bindgen)", default-features = false, features = ["runtime"] }
cc = "=$(version cc)"
[workspace]
TOML
cp "$ROOT/Cargo.lock" "$probe/Cargo.lock"
cat >"$probe/build.rs" <<'RUST'
fn main() {
    cc::Build::new().cpp(true).file("sum.cc").compile("sum");
    let text = bindgen::Builder::default().header("sum.h").generate().expect("libclang and its headers").to_string();
    std::fs::write(std::path::Path::new(&std::env::var("OUT_DIR").expect("cargo sets it")).join("sum.rs"), text).expect("write");
}
RUST
printf '#include <stdint.h>\n#include <stddef.h>\n#ifdef __cplusplus\nextern "C"\n#endif\nuint64_t sum(const uint64_t *values, size_t count);\n' >"$probe/sum.h"
cat >"$probe/sum.cc" <<'CPP'
#include "sum.h"
#include <numeric>
#include <vector>
uint64_t sum(const uint64_t *values, size_t count) {
    std::vector<uint64_t> copy(values, values + count);
    return std::accumulate(copy.begin(), copy.end(), uint64_t{0});
}
CPP
cat >"$probe/src/main.rs" <<'RUST'
#![allow(non_camel_case_types, non_upper_case_globals, dead_code)]
include!(concat!(env!("OUT_DIR"), "/sum.rs"));
fn main() {
    let values = [20u64, 22];
    println!("{}", unsafe { sum(values.as_ptr(), values.len() as _) });
}
RUST
start=$SECONDS
answer=$(in_box /usr/bin/env PATH=/usr/lib/ccache:/root/.cargo/bin:/usr/bin:/bin CARGO_TARGET_DIR=/target \
	cargo run --quiet --manifest-path /probe/Cargo.toml) || fail "a crate with RocksDB's build needs does not build"
[ "$answer" = 42 ] || fail "the probe computed '$answer'"
say "    C++ and bindgen: $((SECONDS - start)) s"
say "ok"
