#!rsc by RouterOS
# RouterOS script: settings-tailscale
# mikrotik-tailscale v1.104.5-mt.1
#
# requires RouterOS, version=7.19
#
# Your settings for the other *-tailscale scripts. Updates never overwrite this script:
# edit it in /system/script, or with the files before the first install.
# docs/USAGE.md#settings

# where the image comes from: host/path without a tag, always with the host
:global TsImage "ghcr.io/OWNER/mikrotik-tailscale";
# "stable" follows the releases, "next" all of them at once; a tag such as "v1.102.5-mt.1"
# pins one; "" asks no registry
:global TsTag "stable";
# where to get an anonymous token. "" works it out for ghcr.io, docker.io and Gitea/Forgejo;
# "none" is for a registry that asks for no token
:global TsTokenUrl "";
# how certificates of the registry are checked: "yes-without-crl", "yes" or "no"
:global TsCertificate "yes-without-crl";

# disk slot for image and state, such as "usb1" (ext4); "" is the internal flash
:global TsDisk "";
# folder on that disk; holds a/ and b/ (images, one in use) and state/ (the node's identity)
:global TsFolder "tailscale";
# folder of the node's identity if it is not state/ in the folder above; the container's path for it
# stays /var/lib/tailscale
:global TsState "";
# where pulls unpack, if nothing is set in /container/config: "" takes RAM where there is enough, or
# the disk; "none" leaves it
:global TsTmpDir "";

# network between router and container; the name of the interface must not begin with "tailscale"
:global TsVeth "veth-tailscale";
:global TsBridge "bridge-tailscale";
:global TsGateway "172.31.200.1";
:global TsAddress "172.31.200.2";
:global TsMask 30;
# IPv6 on the same link; "" for none
:global TsGateway6 "";
:global TsAddress6 "";
:global TsMask6 64;
# name of the node; "" takes the router's identity
:global TsHostname "";
# DNS servers for the container, with commas; "" takes those of the router
:global TsDns "";
# your tailnet's MagicDNS suffix, such as "tail1234.ts.net"; "" for no DNS forwarding
:global TsMagicDns "";
# tmpfs for what need not survive; "0" for none (RouterOS 7.21.2 and newer)
:global TsTmpfs "4M";
# memory limit such as "160M"; "" for none
:global TsMemory "";

# bytes that must be free before a new image is pulled beside the old one
:global TsNeed 12582912;
# true allows, when there is less, to remove the old image before the pull: the VPN is gone
# until the pull is through, and the way back needs the registry or a file (next setting)
:global TsInPlace false;
# file for the old image before such an update, on another disk (RouterOS 7.24 and newer)
:global TsRollbackFile "";

# how often to ask the registry; the scheduler runs more often, to keep the container running
:global TsCheckEvery 1d;
# how long a new container must run, answer and be connected before the old one goes
:global TsHealthSeconds 60;
# how long a pull may take
:global TsPullSeconds 900;
# false if the container's address does not answer pings by design
:global TsPing true;
# tailnet address of another node that is always there, such as "100.64.0.9": a new container must
# reach it if the old one could. "" asks the container's own "tailscale status" (7.20 and newer)
:global TsProbe "";
# script to run when something needs you; it finds the text in the global TsAlarmText. It runs with
# the permissions of update-tailscale: ftp, read, write, policy, test
:global TsAlarmScript "";
