#!/bin/sh
# Boots a kernel of Debian's in a virtual machine whose root is this machine's, read-only below an overlay, and runs a job.
# Arguments: a directory to work in, the kernel's package, unpacked there below `kernel`, and the job. Prints the console.
set -eu
cd "$1"
version=$(ls kernel/lib/modules)
rm -rf root disk.img
mkdir -p root/bin root/dev root/proc root/sys "root/lib/modules/$version"
cp "$(command -v busybox)" root/bin/busybox
install -m 755 "$3/init.sh" root/init
cp "$2" root/job
busybox depmod -b "$PWD/kernel" "$version"
list=kernel/lib/modules/$version/modules.dep
for name in crc32c_generic virtio_pci virtio_blk ext4 9pnet_virtio 9p overlay; do
    for file in $(grep -E "/$name\.ko(\.xz)?:" "$list" | tr -d ':'); do
        mkdir -p "root/lib/modules/$version/$(dirname "$file")"
        cp "kernel/lib/modules/$version/$file" "root/lib/modules/$version/$file"
    done
done
find root -name '*.ko.xz' -exec xz -d {} +
busybox depmod -b "$PWD/root" "$version"
(cd root && find . | cpio -o -H newc --quiet) > root.cpio
truncate -s 4G disk.img
mkfs.ext4 -q disk.img
# Emulated: slow, and the same on every machine.
exec qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -m 3G -smp 2 -no-reboot \
    -display none -monitor none -serial stdio \
    -kernel "kernel/boot/vmlinuz-$version" -initrd root.cpio \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 cgroup_no_v1=all random.trust_cpu=on" \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    -drive file=disk.img,format=raw,if=virtio < /dev/null
