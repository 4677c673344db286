#!/bin/bash
# make smoke: the demo in a home of its own, used as people use it, and removed;
# fails if anything does not answer or anything is left.
set -euo pipefail
aloft=$(realpath "${1:?usage: smoke.sh ALOFT}")
cd "$(dirname "$0")"
. ./fetch.sh

ALOFT_HOME=$(mktemp -d)
export ALOFT_HOME
finish() {
	rc=$?
	if [ $rc != 0 ]; then
		echo "--- the daemon's log" >&2
		tail -n 50 "$ALOFT_HOME/daemon.log" >&2 || true
		for system in $("$aloft" systems -o name 2>/dev/null); do
			"$aloft" down "$system" -y --now || true
		done
		"$aloft" doctor --fix -y || true # starts a daemon if none runs
		"$aloft" daemon stop || true
	fi
	rm -rf "$ALOFT_HOME"
	exit $rc
}
trap finish EXIT
fail() { echo "smoke: $*" >&2; exit 1; }

./demo.sh "$aloft"
id=$(cat "$ALOFT_HOME/home-id")
system=$("$aloft" systems -o name)

if [ "$system" = guestbook ]; then
	url=http://$("$aloft" get guestbook web:ip)/
	fetch "$url" "entry=one+more" >/dev/null
	seen=$(for _ in 1 2 3 4 5 6; do fetch "$url"; done)
	grep -q "<li>one more</li>" <<<"$seen" || fail "the entry is not on the page"
	for app in app1 app2; do
		grep -q "answered by $app" <<<"$seen" || fail "$app never answered"
	done
fi

"$aloft" up -y $system.sf | grep "no changes" || fail "an unchanged description changes something"
"$aloft" down "$system" -y
"$aloft" daemon stop

left() {
	awk -v h="$ALOFT_HOME/" 'index($0, h)' /proc/self/mountinfo
	ls /sys/class/net | grep "$id"
	find /sys/fs/cgroup -type d -name "*$id*" 2>/dev/null
	# Machines' first processes bear the home's id; what is inside ends with them.
	grep -laE -- "$ALOFT_HOME|$id" /proc/[0-9]*/cmdline 2>/dev/null
	find "$ALOFT_HOME/machines" -mindepth 1 -maxdepth 1 -type d
}
things=$(left || true)
[ -z "$things" ] || fail "left over after down: $things"
echo "smoke: $system was deployed, answered, and was removed without a trace"
