#!/bin/sh
# Prepares this container for tailscaled, then becomes it: PID 1 gets the signals.

say() { echo "entrypoint: $*" >&2; }

# tailscaled itself does not reliably turn on IPv6 forwarding inside a container.
for sysctl in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; do
	if [ -w "$sysctl" ]; then
		echo 1 > "$sysctl" || say "cannot set $sysctl"
	fi
done

# tailscaled rewrites resolv.conf whenever DNS changes, and /etc is flash. So the file moves into
# the socket's tmpfs; /etc/resolv.conf becomes a link to it, written once. What the router put
# there is kept beside it for later starts. A file that is mounted there cannot be moved: then
# tailscaled is not told, and does what it does everywhere.
run=/var/run/tailscale
conf=/etc/resolv.conf
if [ ! -L "$conf" ] && { [ ! -e "$conf" ] || mv "$conf" "$conf.router" 2>/dev/null; }; then
	ln -s "$run/resolv.conf" "$conf"
fi
if [ -L "$conf" ]; then
	rm -f "$run/resolv.conf"
	[ ! -e "$conf.router" ] || cat "$conf.router" > "$run/resolv.conf"
	export MT_RESOLV_DIR="$run"
fi

# A UDP port that the router can forward. 0 lets tailscaled choose one.
PORT=${TS_PORT:-${PORT:-41641}}
case $PORT in
*[!0-9]* | ??????*) PORT="$PORT 65536" ;;
esac
if ! [ "$PORT" -le 65535 ] 2>/dev/null; then
	say "TS_PORT has to be a number up to 65535; the port is 41641"
	PORT=41641
fi
export PORT

# Settings that people have for other images (upstream's, Fluent Networks') are for the first start
# here: one `tailscale up` in the background. Values are data: split at blanks at most. The key goes
# through a pipe, and not into the daemon's environment.
login=$LOGIN_SERVER
key=${TS_AUTHKEY:-${TS_AUTH_KEY:-$AUTH_KEY}}
unset TS_AUTHKEY TS_AUTH_KEY AUTH_KEY PASSWORD TS_CLIENT_SECRET TS_ID_TOKEN
set -f
state=/var/lib/tailscale
if [ -n "$TS_STATE_DIR" ]; then
	state=$TS_STATE_DIR
	mkdir -p "$state"
	set -- "$@" --statedir="$state" --state="$state/tailscaled.state"
fi
for word in $TS_TAILSCALED_EXTRA_ARGS $TAILSCALED_ARGS; do
	set -- "$@" "$word"
done

up() {
	set -- --timeout=15m ${login:+"--login-server=$login"} ${TS_HOSTNAME:+"--hostname=$TS_HOSTNAME"} \
		${TS_ACCEPT_DNS:+"--accept-dns=$TS_ACCEPT_DNS"} ${routes:+"--advertise-routes=$routes"}
	for word in $TS_EXTRA_ARGS $TAILSCALE_ARGS; do
		set -- "$@" "$word"
	done
	until [ -S "$run/tailscaled.sock" ]; do sleep 1; done
	if [ -n "$key" ]; then
		printf %s "$key" | tailscale up --auth-key=file:/proc/self/fd/0 "$@"
	else
		tailscale up "$@"
	fi || say "not logged in; once more by hand: tailscale up"
}

routes=${TS_ROUTES:-$ADVERTISE_ROUTES}
if [ -n "$key$login$routes$TS_HOSTNAME$TS_ACCEPT_DNS$TS_EXTRA_ARGS$TAILSCALE_ARGS" ]; then
	if grep -q '"_current-profile"' "$state/tailscaled.state" 2>/dev/null; then
		say "logged in already; TS_* and others count at the first login only, now: tailscale set"
	else
		up &
	fi
fi
unset key

# What those images do and this one does not.
ignored() {
	eval "[ -z \"\${$1+x}\" ]" || say "$1 is not for this image: $2"
}
ignored UPDATE_TAILSCALE "the router's script update-tailscale fetches new images"
ignored CONTAINER_GATEWAY "the veth's gateway is used"
for name in STARTUP_SCRIPT RUNNING_SCRIPT; do
	ignored "$name" "nothing of its own is started"
done
for name in TS_CLIENT_ID TS_AUDIENCE; do
	ignored "$name" "make an auth key (tskey-auth-…) and use TS_AUTHKEY"
done
for name in TS_SERVE_CONFIG TS_DEST_IP TS_TAILNET_TARGET_IP TS_TAILNET_TARGET_FQDN \
	TS_SOCKS5_SERVER TS_OUTBOUND_HTTP_PROXY_LISTEN TS_KUBE_SECRET TS_SOCKET TS_ENABLE_METRICS; do
	ignored "$name" "see docs/USAGE.md, settings of other images"
done

exec /usr/local/bin/tailscaled "$@"
