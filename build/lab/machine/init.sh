#!/bin/busybox sh
# PID 1 of a router-like machine: mounts, modules, the container's network namespace; then mt-guest
# takes orders from the laboratory. The kernel's command line has mt.v4=, mt.gw4=, mt.v6=, mt.gw6=.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/netns /run/lab/node /run/lab/certificates
while read -r name; do
	insmod "/modules/$name.ko" || echo "init: no module $name"
done < /modules/base
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
mount -t cgroup2 cgroup /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/node
for word in $(cat /proc/cmdline); do
	case $word in
	mt.v4=*) v4=${word#*=} ;;
	mt.gw4=*) gw4=${word#*=} ;;
	mt.v6=*) v6=${word#*=} ;;
	mt.gw6=*) gw6=${word#*=} ;;
	mt.limit=*) echo "${word#*=}" > /sys/fs/cgroup/node/memory.max ;;
	esac
done
mount -t ext4 -o noatime /dev/vda /run/lab/node || echo "init: no flash"
ip link set lo up
# As on a router: the container's network is a namespace of its own, which outlives the container.
: > /run/netns/node
unshare --net=/run/netns/node true
nsenter --net=/run/netns/node sleep 60 &
holder=$!
sleep 0.2
ip link set eth0 netns "$holder"
nsenter --net=/run/netns/node sh -e <<END || echo "init: no network"
for device in all default eth0; do
	echo 0 > /proc/sys/net/ipv6/conf/\$device/accept_dad
done
echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range
ip link set lo up
ip link set eth0 up
ip addr add $v4 dev eth0
ip -6 addr add $v6 dev eth0
ip route add default via $gw4
ip -6 route add default via $gw6
END
kill "$holder"
echo "init: ready"
mt-guest guest
poweroff -f
