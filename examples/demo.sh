#!/bin/bash
# make demo: deploys the guestbook where light machines are possible, hello
# elsewhere, and shows that it answers. What it made stays, to be looked at.
set -euo pipefail
aloft=$(realpath "${1:?usage: demo.sh ALOFT}")
cd "$(dirname "$0")"
. ./fetch.sh

if [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; then
	system=guestbook
	echo "Deploying the guestbook on four light machines: Redis, two applications, nginx."
	echo "Their packages are installed from your distribution, inside the machines."
else
	system=hello
	echo "Light machines need root on Linux, and the guestbook installs packages in them."
	echo "So this runs hello, on two process machines: folders with loopback addresses."
fi
echo
"$aloft" up -y $system.sf

echo
if [ $system = guestbook ]; then
	url=http://$("$aloft" get guestbook web:ip)/
	fetch "$url" "entry=Signed+by+make+demo" >/dev/null
	echo "$ curl $url"
	page=$(fetch "$url")
	grep -E '<h1>|<li>|<footer>' <<<"$page" | sed 's/<[^>]*>//g; s/^/    /'
else
	url=$("$aloft" get hello second:site:uri)
	echo "$ curl $url"
	fetch "$url" | sed 's/^/    /'
fi

home=""
[ -z "${ALOFT_HOME:-}" ] || home=" --home $ALOFT_HOME"
cat <<END

It runs. What to do with it:
    curl $url
    $aloft$home status $system
    $aloft$home logs $system
    $aloft$home events $system
To remove it, and then the daemon:
    $aloft$home down $system
    $aloft$home daemon stop
END
