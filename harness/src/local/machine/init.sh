#!/bin/sh
# First process of a node with a kernel of its own: makes the node what it is, keeps its SSH server up, and ends it in order.
# Its environment has `gainsay_address`, from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
unset TERM PWD OLDPWD

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
ln -sf pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${i%:*}" "/dev/${i#*:}"; done
mkdir -m 755 /run/sshd
mkdir -m 1777 /run/lock
modprobe -qa tun fuse
chmod 666 /dev/fuse /dev/net/tun

# Who the node is: put here once. What a node changed of it lasts, as on any machine.
if [ ! -s /etc/ssh/ssh_host_ed25519_key ]; then
    mkdir /run/seed
    mount -t hostfs -o ro none /run/seed && cp -a /run/seed/. / && sync
    umount /run/seed
    rmdir /run/seed
fi
hostname "$(cat /etc/hostname)"
ip link set lo up
# As the nodes that share the machine's kernel call it.
ip link set vec0 name eth0
ip addr add "$gainsay_address" dev eth0
ip link set eth0 up
unset gainsay_address
# Programs that become daemons close each file that they might have open, one by one.
ulimit -Hn 1048576
ulimit -Sn 4096

# Ends the node in order: `b` to begin anew, `o` for good.
end() {
    trap '' INT TERM
    kill -TERM -1
    tries=0
    while pgrep -P 1 >/dev/null && [ $tries -lt 30 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -KILL -1
    sync
    mount -o remount,ro /
    echo "$1" >/proc/sysrq-trigger
    sleep 10
}
trap 'end b' INT
trap 'end o' TERM

while :; do
    /usr/sbin/sshd -D -e &
    sshd=$!
    # A signal that is caught ends a wait too.
    while kill -0 $sshd 2>/dev/null; do wait $sshd; done
    sleep 0.5
done
