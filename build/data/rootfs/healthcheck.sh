#!/bin/sh
# Healthy is a daemon that answers, logged in or not. No call of `tailscale`: unpacking that takes
# seconds and 20 MB, once a minute.
printf 'GET /localapi/v0/status?peers=false HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n' |
	timeout 8 nc local:/var/run/tailscale/tailscaled.sock 1 | grep -q '"BackendState"'
