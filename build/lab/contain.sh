# Becomes PID 1 of a container as RouterOS starts one. Runs in new mount, PID and UTS namespaces:
#   contain.sh ROOT STATE CERTIFICATES HOSTNAME PLAIN WORD…
# ROOT is the unpacked image, STATE what is mounted at /var/lib/tailscale, CERTIFICATES a folder
# mounted at /etc/ssl/certs or "". PLAIN is 1 where the user namespace may not make devices.
# The words are the program and its environment, for `env -i`.
set -e
root=$1 state=$2 certificates=$3 plain=$5
echo "$4" > /proc/sys/kernel/hostname
shift 5
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc proc "$root/proc"
[ "$plain" = 1 ] || mount -t sysfs -o ro sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/net"
for device in null zero random urandom tty net/tun; do
	if [ "$plain" = 1 ]; then
		: > "$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	else
		cp -a "/dev/$device" "$root/dev/$device"
	fi
done
mount -t tmpfs -o mode=755 run "$root/var/run/tailscale"
mount --bind "$state" "$root/var/lib/tailscale"
if [ -n "$certificates" ]; then
	mkdir -p "$root/etc/ssl/certs"
	mount --bind "$certificates" "$root/etc/ssl/certs"
	mount -o remount,bind,ro "$root/etc/ssl/certs"
fi
cd "$root"
exec env -i "$@"
