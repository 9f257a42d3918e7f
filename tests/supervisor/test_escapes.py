"""Root of an instance, as user data and privileged containers have it, tries to become root of the host. Each try is run by
user data, in the control group and with the capabilities that all in an instance has; beside the tries stands what it may
do in the same way, so that a refusal is no accident.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from machines_of_host import needs_root, order, supervised

pytestmark = needs_root

_DISK = os.stat("/").st_dev
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

# Python where a call has no program: it prints what the call answers, or raises.
_CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(answer):
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
"""


def python(program: str) -> str:
    return f"{sys.executable} -I -S -c {shlex.quote(_CALL + program)}"


# Name -> what is run. Each ends with a status other than 0, and changes nothing.
TRIES = {
    # What the host shows is not written, by whatever way.
    "write /usr": "touch /usr/bin/mark",
    "remount /usr": "mount -o remount,rw,bind /usr && touch /usr/bin/mark",
    "remount all": "mount -o remount,rw /usr",
    "remount images": "mount -o remount,rw,bind /var/lib/longshore/images",
    "remount in a namespace": "unshare -m sh -c 'mount -o remount,rw,bind /usr'",
    "remount in a user namespace": "unshare -U -r -m sh -c 'mount -o remount,rw,bind /usr'",
    "take the mount away": "umount /usr",
    "take the mount away, lazily": "umount -l /usr",
    "move the mount": "mkdir -p /tmp/moved && mount --make-private /usr && mount --move /usr /tmp/moved",
    "bind below a mount": "mkdir -p /tmp/b && mount --bind / /tmp/b && test -w /tmp/b/usr/bin && touch /tmp/b/usr/bin/mark",
    "remount a folder below": "mount -o remount,rw,bind /usr/lib",
    "devices on a mount without": "mount -o remount,dev,bind /usr",
    # Devices.
    "make the host's disk": f"mknod /tmp/disk b {os.major(_DISK)} {os.minor(_DISK)}",
    "make the host's memory": "mknod /tmp/mem c 1 1",
    "make the kernel's log": "mknod /tmp/kmsg c 1 11",
    "mount the host's disk": f"mount -t ext4 /dev/block/{os.major(_DISK)}:{os.minor(_DISK)} /mnt",
    "make a loop device": "mknod /tmp/loop b 7 0",
    "mount a file as a disk": (
        "dd if=/dev/zero of=/tmp/image bs=1M count=2 && mkfs.ext2 -qF /tmp/image && mount -o loop /tmp/image /mnt"
    ),
    # The kernel.
    "load a module": python('call(libc.syscall(175, b"x", 1, b""))'),
    "load a module from a file": python('call(libc.syscall(313, os.open("/bin/sh", 0), b"", 0))'),
    "core_pattern": "echo '|/tmp/run' >/proc/sys/kernel/core_pattern",
    "modprobe's path": "echo /tmp/run >/proc/sys/kernel/modprobe",
    "hotplug": "echo /tmp/run >/proc/sys/kernel/hotplug",
    "uevent_helper": "echo /tmp/run >/sys/kernel/uevent_helper",
    "a fresh sysfs that can be written": "mount -t sysfs -o rw none /mnt && echo 1 >/mnt/kernel/profiling",
    "remount /sys": "mount -o remount,rw /sys || mount -o remount,rw,bind /sys",
    "threads-max": "echo 9000 >/proc/sys/kernel/threads-max",
    "drop_caches": "echo 1 >/proc/sys/vm/drop_caches",
    "sysrq": "echo h >/proc/sysrq-trigger",
    "a fresh proc": "mount -t proc proc /mnt && echo 1 >/mnt/sys/vm/drop_caches",
    "debugfs": "mount -t debugfs none /mnt",
    "tracefs": "mount -t tracefs none /mnt",
    "securityfs": "mount -t securityfs none /mnt",
    "the clock": python("call(libc.clock_settime(0, (ctypes.c_long * 2)(1, 0)))"),
    "the kernel's log": python("call(libc.klogctl(3, ctypes.create_string_buffer(100), 100))"),
    "reboot": python("call(libc.reboot(0xfee1dead))"),
    "iopl": python("call(libc.iopl(3))"),
    "bpf": python('call(libc.syscall(321, 5, b"\\0" * 128, 128))'),
    "kexec": python("call(libc.syscall(246, 0, 0, 0, 0))"),
    "swap": "dd if=/dev/zero of=/tmp/swap bs=1M count=1 && chmod 600 /tmp/swap && mkswap /tmp/swap && swapon /tmp/swap",
    "kcore": "head -c 1 /proc/kcore | grep -q .",
    # Control groups: v1's way out is a program that the kernel runs when a group is empty.
    "release_agent": "find /sys/fs/cgroup -name release_agent | grep . >/tmp/found && echo /tmp/run >$(head -n 1 /tmp/found)",
    "another hierarchy": "mount -t cgroup -o rdma none /mnt && echo /tmp/run >/mnt/release_agent",
    "a hierarchy of its own": "mount -t cgroup -o none,name=mark none /mnt && echo /tmp/run >/mnt/release_agent",
    "a hierarchy in a namespace": (
        "unshare -C -m sh -c 'mount -t cgroup -o memory none /mnt && echo /tmp/run >/mnt/release_agent'"
    ),
    "more memory": "echo -1 >/sys/fs/cgroup/memory/memory.limit_in_bytes || echo max >/sys/fs/cgroup/memory.max",
    "more processes": "echo max >/sys/fs/cgroup/pids/pids.max || echo max >/sys/fs/cgroup/pids.max",
    "more devices": "echo a >/sys/fs/cgroup/devices/devices.allow",
    # Other processes and other namespaces.
    "the host's processes": "ls -d /proc/[0-9]* | wc -l | grep -qE '^[0-9]{3,}$'",
    "the first process's memory": "head -c 1 /proc/1/mem",
    "the first process's root": "ls /proc/1/root/home | grep -v ec2-user | grep .",
    "the network of the host": "ip link | grep -q lsh-",
    "a file by its handle": python(
        "class H(ctypes.Structure): _fields_ = [('n', ctypes.c_uint), ('t', ctypes.c_int), ('d', ctypes.c_char * 128)]\n"
        "call(libc.open_by_handle_at(os.open('/usr', 0), ctypes.byref(H(8, 1, b'\\2')), 0))"
    ),
    "out of the root": "cd / && ls ../../../../../../home | grep -v ec2-user | grep .",
    "a program that is root's": "cp /bin/sh /var/tmp/sh && chmod u+s /var/tmp/sh && chown 4000000:0 /var/tmp/sh",
}  # fmt: skip

# What is its own to do, and what a container runtime must be able to do.
MAY = {
    "mount a tmpfs": "mkdir -p /tmp/t && mount -t tmpfs none /tmp/t && touch /tmp/t/x && umount /tmp/t",
    "bind": "mkdir -p /tmp/from /tmp/to && mount --bind /tmp/from /tmp/to && umount /tmp/to",
    "processes of their own": "unshare -p -f -m sh -c 'mount -t proc proc /proc && test -d /proc/1 && ! test -d /proc/50'",
    "groups below": "cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; mkdir mark && rmdir mark",
    "network": "ip link add mark0 type veth peer name mark1 && ip link del mark0",
    "owners": "touch /var/tmp/o && chown 1000:1000 /var/tmp/o && su ec2-user -c 'test -O /var/tmp/o' || chown 1000 /var/tmp/o",
    "files of its own": "touch /etc/x /root/x /opt/x /home/x /var/lib/x && rm /etc/x /root/x /opt/x /home/x /var/lib/x",
    "read the host's": "test -r /usr/bin/env && ls /usr/lib >/dev/null",
    "attributes": python("os.setxattr('/var/tmp', 'user.mark', b'x'); os.removexattr('/var/tmp', 'user.mark')"),
}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Name of a try -> `kept` or `through`, and what was printed."""
    script = "#!/bin/sh\n"
    for number, command in enumerate((*TRIES.values(), *MAY.values())):
        quoted = shlex.quote(command)
        script += (
            f"if timeout 10 sh -c {quoted} >/tmp/said 2>&1 </dev/null; then echo {number} through; else echo {number} kept; fi"
            " | tr '\\n' ' '; head -c 200 /tmp/said | tr '\\n' ' '; echo\n"
        )
    script += "echo all tried\n"
    if shutil.which("unshare") is None:
        pytest.skip("`unshare` is not installed")
    told: dict[str, str] = {}

    async def run() -> None:
        async with supervised(tmp_path_factory.mktemp("escapes") / "state") as here:
            about = await here.connection.about()
            if about.users_fault is not None:
                pytest.skip(f"instances have no users of their own here: {about.users_fault}")
            made = order(scripts=(script,))
            await here.connection.launch(made)
            text = await here.console_when(made.instance_id, "all tried")
            names = [*TRIES, *MAY]
            for line in text.splitlines():
                number, _, rest = line.partition(" ")
                if number.isdecimal():
                    told[names[int(number)]] = rest

    before = _CORE_PATTERN.read_text()
    asyncio.run(run())
    assert _CORE_PATTERN.read_text() == before and not Path("/usr/bin/mark").exists()
    yield told


@pytest.mark.parametrize("name", TRIES)
def test_root_of_an_instance_is_kept_from(said: dict[str, str], name: str) -> None:
    assert said[name].startswith("kept"), said[name]


@pytest.mark.parametrize("name", MAY)
def test_root_of_an_instance_may(said: dict[str, str], name: str) -> None:
    assert said[name].startswith("through"), said[name]
