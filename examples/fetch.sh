# Sourced by the scripts beside it: HTTP over bash alone, since a fresh machine
# may have neither curl nor wget.

# fetch URL [FORM] prints the body of the answer; with FORM, that is posted.
fetch() {
	local url=${1#http://} form=${2-} host path method=GET
	host=${url%%/*} path=/${url#"$host"}
	path=${path/#\/\//\/}
	local port=${host##*:}
	[ "$port" != "$host" ] || port=80
	[ -z "$form" ] || method=POST
	exec 3<>"/dev/tcp/${host%%:*}/$port" || return
	printf '%s %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s' \
		"$method" "$path" "$host" ${#form} "$form" >&3
	timeout 20 cat <&3 | tr -d '\r' | {
		read -r _ status _
		sed '1,/^$/d'
		case $status in 2*|3*) ;; *) echo "$1: status $status" >&2; exit 1 ;; esac
	}
	local rc=$?
	exec 3>&-
	return $rc
}
