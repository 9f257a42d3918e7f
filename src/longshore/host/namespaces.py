"""Namespaces and what goes with them, as the kernel offers them: a thin layer over the C library.

Python has `os.unshare` and `os.setns` from 3.12 on, and never had the rest. Only the standard library is imported: the
first process of an instance starts with these pages alone, in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import NamedTuple

CLONE_NEWNS = 0x00020000  # mounts
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000  # host name
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000  # of the children
CLONE_NEWNET = 0x40000000

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_MNT_DETACH = 2
_BIND = 0x1000
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # The C library has no function for it.

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """`result` of a C function, or the OSError that it left behind."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    checked(libc.unshare(flags), "unshare")


def enter(descriptor: int, kind: int) -> None:
    """Moves the calling thread into the namespace that `descriptor` stands for."""
    checked(libc.setns(descriptor, kind), "setns")


def pivot_root(new_root: str) -> None:
    """Makes `new_root`, a mount point, the root of this mount namespace; the old root is gone."""
    number = _PIVOT_ROOT[os.uname().machine]
    os.chdir(new_root)
    # Stacked on the same place, the old root needs no folder of its own: pivot_root(2), "pivot_root(".", ".")".
    checked(libc.syscall(number, b".", b"."), f"pivot_root to {new_root}")
    checked(libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir("/")


def drop_capabilities(numbers: tuple[int, ...]) -> None:
    """Takes them from this process and all that it will start, for good."""
    for number in numbers:
        if libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            checked(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"dropping capability {number}")


def adopt_orphans() -> None:
    """The children of dead children become this process's own, not those of the host's first process."""
    checked(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def be_inspectable() -> None:
    """Lets this process's own user look into it, and change what /proc lets one change of oneself.

    The kernel takes that away from a process that has changed its user, until it starts a program.
    """
    checked(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


class Owned(NamedTuple):
    """Descriptors of new namespaces, which live as long as something holds them."""

    user: int | None
    network: int


def new_network_of_users(first: int | None, count: int) -> Owned:
    """A network namespace that belongs to users of its own: `count` of them, whom the host knows by the numbers from
    `first` on. None: the host's users own it. Only for a process of one thread; needs root.
    """
    if first is None:
        return Owned(None, new_network())
    made, say_made = os.pipe()
    seen, say_seen = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(say_seen)
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
            os.write(say_made, b".")
            os.read(seen, 1)
        finally:
            os._exit(0)
    try:
        os.close(say_made)
        if not os.read(made, 1):
            raise OSError(errno.EPERM, "a user namespace can't be made")
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w") as file:
                file.write(f"0 {first} {count}")
        user, network = (os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
        return Owned(user, network)
    finally:
        for descriptor in (made, seen, say_seen):
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):  # Where nobody waits for children.
            os.waitpid(pid, 0)


def become_root_of(user: int) -> None:
    """Root of the user namespace, with all of its power and none beyond. What was mounted before is locked from then on:
    what is read-only stays so, and what lies under a mount stays hidden (user_namespaces(7), mount_namespaces(7)).
    """
    enter(user, CLONE_NEWUSER)
    unshare(CLONE_NEWNS)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def is_root_of_the_host() -> bool:
    """Whether this process's users are the host's own: False in a user namespace."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def new_network() -> int:
    """A descriptor of a new network namespace, which lives as long as something holds it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            enter(before, CLONE_NEWNET)
    finally:
        os.close(before)


def name_network(descriptor: int, path: str) -> None:
    """Holds the network namespace by a mount at `path`, until `remove_network`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        bound = libc.mount(b"/proc/thread-self/fd/%d" % descriptor, os.fsencode(path), None, _BIND, None)
        checked(bound, f"mount of a network namespace at {path}")
    except OSError:
        os.unlink(path)
        raise


def remove_network(path: str) -> None:
    """The name goes; the namespace goes with the last process and socket in it."""
    libc.umount2(os.fsencode(path), _MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
