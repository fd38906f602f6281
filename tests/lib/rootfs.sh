# A bare system of this machine's own release, made by debootstrap and kept as a tarball in the cache. Sourced after
# common.sh. The mirror is the one that this machine's apt uses, read when the test runs.
# shellcheck shell=bash

# debian_mirror: the URI and the suite that apt gets this release's main packages from.
debian_mirror() {
	local codename
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	[ -n "$codename" ] || skip "needs a Debian or Ubuntu release with a code name"
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v suite="$codename" '$2 == suite && $3 == "main" { print $1, $2; exit }'
}

# rootfs_tarball: its path; made when there is none or when it is older than a month.
rootfs_tarball() {
	local uri suite tarball work
	read -r uri suite < <(debian_mirror)
	[ -n "${uri:-}" ] || skip "needs an apt source of this release"
	tarball=$CACHE/rootfs/$suite-$(dpkg --print-architecture).tar
	if [ -z "$(find "$tarball" -mtime -30 2>/dev/null)" ]; then
		mkdir -p "$CACHE/rootfs"
		work=$(mktemp -d "$CACHE/rootfs/work.XXXXXX")
		printf 'debootstrap %s\n' "$suite" >&2
		if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" "$uri" >"$work/log" 2>&1; then
			tail -n 20 "$work/log" >&2
			fail "debootstrap did not finish"
		fi
		printf 'deb %s %s main\n' "$uri" "$suite" >"$work/root/etc/apt/sources.list"
		rm -rf "$work/root/var/cache/apt/archives/"*.deb
		tar -C "$work/root" -cf "$work/tar" .
		mv "$work/tar" "$tarball"
		rm -rf -- "$work"
	fi
	printf '%s\n' "$tarball"
}

# unpacked PACKAGE BINARY DIRECTORY: a Debian package unpacked there, until it has that binary; nothing is installed.
unpacked() {
	[ ! -x "$3/usr/bin/$2" ] || return 0
	local work
	work=$(mktemp -d)
	chmod 755 "$work"
	(cd "$work" && apt-get -qq download "$1") >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		skip "needs the package $1"
	}
	mkdir -p "$3"
	dpkg-deb -x "$work/$1"_*.deb "$3"
	rm -rf -- "$work"
}

# prometheus_package DIRECTORY, alertmanager_package DIRECTORY
prometheus_package() { unpacked prometheus prometheus "$1"; }
alertmanager_package() { unpacked prometheus-alertmanager prometheus-alertmanager "$1"; }
