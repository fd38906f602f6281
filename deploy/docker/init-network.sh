#!/bin/sh
# Creates the network of docker-compose.yml in its volumes, once. Each node gets a volume of its own, so that no container
# sees another's keys; what all may read (genesis.json, network.toml) is in the volume `network`.
#
#   init-network NODE...        the names are also the host names of the containers
set -eu

volumes=/volumes
# Written last: where it stands, everything else does.
marker=$volumes/network/genesis.json

if [ -e "$marker" ]; then
	echo "the network exists; going on with its chain"
	exit 0
fi

for node in "$@"; do
	if [ -e "$volumes/$node/data/CURRENT" ] || [ -n "$(find "$volumes/$node" -path '*/data/*' -name '*.sst' 2>/dev/null | head -n 1)" ]; then
		echo "volume $node holds a chain, but the network's genesis is missing: restore the volume 'network'," \
			"or delete all volumes of this project to begin a new chain" >&2
		exit 1
	fi
done

hosts=$(echo "$@" | tr ' ' ',')
staging=$(mktemp -d)
basalt network create --dev --open --consensus pbft --hosts "$hosts" --out "$staging/network"
for node in "$@"; do
	# What an interrupted run left.
	find "$volumes/$node" -mindepth 1 -delete
	cp -R "$staging/network/nodes/$node/." "$volumes/$node/"
	mkdir -p "$volumes/network/nodes/$node"
done
cp "$staging/network/network.toml" "$volumes/network/"
cp "$staging/network/genesis.json" "$marker.new"
sync
mv "$marker.new" "$marker"
rm -rf "$staging"
