#!/bin/bash
# baseline.sh make|remove DIR N: what a careful person's script does for N
# isolated machines with iproute2 and mount, four at once: a network namespace
# with an address on a bridge, a copy-on-write root over the host's, and one
# process in namespaces of its own. No daemon, no journal, no waiting for
# readiness, no packages. Addresses are of the range reserved for benchmarks.
set -eu
what=$1 dir=$2 n=$3
export dir

make_one() {
	set -eu
	i=$1 ns=abench$1
	mkdir -p "$dir/$i/upper" "$dir/$i/work" "$dir/$i/root"
	mount -t overlay "$ns" -o "lowerdir=/,upperdir=$dir/$i/upper,workdir=$dir/$i/work" "$dir/$i/root"
	ip netns add "$ns"
	ip link add "abv$i" type veth peer name eth0 netns "$ns"
	ip link set "abv$i" master abench0 up
	ip -n "$ns" addr add "198.18.$((i / 250 + 1)).$((i % 250 + 1))/15" dev eth0
	ip -n "$ns" link set lo up
	ip -n "$ns" link set eth0 up
	ip netns exec "$ns" unshare --mount --pid --uts --ipc --fork --kill-child chroot "$dir/$i/root" sleep infinity </dev/null >/dev/null 2>&1 &
	echo $! >"$dir/$i/pid"
}
remove_one() {
	i=$1
	[ ! -s "$dir/$i/pid" ] || kill -9 "$(cat "$dir/$i/pid")" || true
	ip link del "abv$i" || true
	ip netns del "abench$i" || true
	umount "$dir/$i/root" || umount -l "$dir/$i/root" || true
}
export -f make_one remove_one

case $what in
make)
	mkdir -p "$dir"
	# An upper layer has to lie elsewhere than on an overlay; memory always does.
	mount -t tmpfs abench "$dir"
	ip link add abench0 type bridge
	ip addr add 198.18.0.1/15 dev abench0
	ip link set abench0 up
	seq "$n" | xargs -P4 -I{} bash -c 'make_one {}'
	;;
remove)
	seq "$n" | xargs -P4 -I{} bash -c 'remove_one {}'
	ip link del abench0
	umount "$dir" || umount -l "$dir"
	;;
esac
