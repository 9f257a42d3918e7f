"""Namespaces and what goes with them, as the kernel offers them: a thin layer over the C library.

Python has `os.unshare` and `os.setns` from 3.12 on, and never had the rest. Only the standard library is imported: the
first process of an instance starts with these pages alone, in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

CLONE_NEWNS = 0x00020000  # mounts
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000  # host name
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000  # of the children
CLONE_NEWNET = 0x40000000

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
