# Makes this shell the container's process 1, in the mount and process namespaces it was started in: the image at
# $1 as root, a tmpfs on /tmp, no shell, uid 10001 without a way to more rights. $2 is `ro` or `rw`: the root.
set -eu
root=$1 mode=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=1g tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
for shell in dash bash; do mount --bind /dev/null "$root/usr/bin/$shell"; done
mount -o "remount,bind,$mode" "$root"
exec setpriv --no-new-privs chroot --userspec=10001:10001 "$root" "$@"
