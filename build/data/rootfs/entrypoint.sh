#!/bin/sh
# Turns on forwarding in this network namespace, then becomes tailscaled: PID 1 gets the signals.
# tailscaled itself does not reliably turn on IPv6 forwarding inside a container.
for sysctl in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; do
	if [ -w "$sysctl" ]; then
		echo 1 > "$sysctl" || echo "entrypoint: cannot set $sysctl" >&2
	fi
done
exec /usr/local/bin/tailscaled "$@"
