# Becomes PID 1 of a container as RouterOS starts one. Runs in new mount, PID and UTS namespaces:
#   contain.sh ROOT STATE CERTIFICATES HOSTNAME EMULATOR WORD…
# ROOT is the unpacked image, STATE what is mounted at /var/lib/tailscale, CERTIFICATES a folder
# mounted at /etc/ssl/certs or "". EMULATOR is qemu-arm, qemu-aarch64 or "": it is set in a user
# namespace only, which has a binfmt_misc of its own (Linux 6.7) but may not make devices.
# The words are the program and its environment, for `env -i`.
set -e
root=$1 state=$2 certificates=$3 emulator=$5
echo "$4" > /proc/sys/kernel/hostname
shift 5
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc proc "$root/proc"
[ -n "$emulator" ] || mount -t sysfs -o ro sys "$root/sys"
# Only a router-like machine has this group: what a container sees of this machine's would be chance.
if [ -d /sys/fs/cgroup/node ]; then
	mount -t cgroup2 -o ro cgroup "$root/sys/fs/cgroup"
fi
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/net"
for device in null zero random urandom tty net/tun; do
	if [ -n "$emulator" ]; then
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
# Magic of ELF executables for the machine, from scripts/qemu-binfmt-conf.sh of QEMU. F: the
# emulator is opened now, so that it is found from inside the image.
case $emulator in
qemu-arm) class='\x01' machine='\x28' ;;
qemu-aarch64) class='\x02' machine='\xb7' ;;
esac
if [ -n "$emulator" ]; then
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	magic="\\x7fELF$class\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00$machine\\x00"
	mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
	path=$(command -v "$emulator-static" || command -v "$emulator")
	printf '%s' ":$emulator:M::$magic:$mask:$path:F" > /proc/sys/fs/binfmt_misc/register
fi
cd "$root"
exec env -i "$@"
