#!/bin/sh
# Prepares this container for tailscaled, then becomes it: PID 1 gets the signals.

# tailscaled itself does not reliably turn on IPv6 forwarding inside a container.
for sysctl in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; do
	if [ -w "$sysctl" ]; then
		echo 1 > "$sysctl" || echo "entrypoint: cannot set $sysctl" >&2
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

exec /usr/local/bin/tailscaled "$@"
