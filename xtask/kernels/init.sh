#!/bin/busybox sh
# The virtual machine's first process: mounts what a Debian of today has, with cgroup v2, and runs the job.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in crc32c_generic virtio_pci virtio_blk ext4 9pnet_virtio 9p overlay; do
    modprobe "$module" 2> /dev/null
done
mkdir /host /disk /new
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro host /host
mount -t ext4 /dev/vda /disk
mkdir /disk/up /disk/work
mount -t overlay -o lowerdir=/host,upperdir=/disk/up,workdir=/disk/work none /new
mkdir -p /new/place
mount --bind /disk /new/place
mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs -o mode=1777 tmp /new/tmp
mount -t cgroup2 none /new/sys/fs/cgroup
ln -s /proc/self/fd /new/dev/fd
for link in 0:stdin 1:stdout 2:stderr; do
    ln -s "/proc/self/fd/${link%%:*}" "/new/dev/${link#*:}"
done
ip link set lo up
cp /job /new/place/job
# Not chroot: the kernel makes no user namespaces in one.
exec switch_root /new /bin/sh -c '/bin/sh /place/job; echo o > /proc/sysrq-trigger; while :; do sleep 1; done'
