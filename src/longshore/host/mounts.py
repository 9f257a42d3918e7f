"""Mounts. Only the standard library is imported, as in namespaces.py."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from longshore.host.namespaces import checked, libc

READ_ONLY = 0x1
NO_SUID = 0x2
NO_DEVICES = 0x4
NO_EXECUTION = 0x8
_REMOUNT = 0x20
_BIND = 0x1000
_RECURSIVE = 0x4000
_PRIVATE = 0x40000
_MNT_DETACH = 2
# The same numbers on every machine.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_CLONE = 1  # of open_tree(2)
_FROM_EMPTY_PATH = 4  # of move_mount(2)
_ID_MAPPED = 0x100000
# struct statvfs, f_flag: the same bits as mount(2) has, but for this one.
_RELATIME = 0x200000
_ST_RELATIME = 0x1000


def mount(kind: str, place: str, *, source: str | None = None, flags: int = 0, options: str = "") -> None:
    """A file system of a kind: tmpfs, proc, sysfs, cgroup ..."""
    said = os.fsencode(options) if options else None
    made = libc.mount(os.fsencode(source or kind), os.fsencode(place), os.fsencode(kind), flags, said)
    checked(made, f"mount of {kind} at {place}")


def bind(
    source: str, place: str, *, read_only: bool = False, recursive: bool = False, flags: int = 0, user: int | None = None
) -> None:  # fmt: skip
    """Shows `source`, a folder or a file, at `place`, which must be there.

    `recursive`: with the file systems that are mounted below it. `flags` (NO_SUID ...) and `read_only` hold for all.
    `user`: a descriptor of the user namespace whose root is shown as the owner of what is root's, and so on. OSError,
    EINVAL among others: the kernel or the file system can't do that.
    """
    if user is not None:
        _bind_for(user, source, place, flags | (READ_ONLY if read_only else 0), recursive)
        return
    how = _BIND | (_RECURSIVE if recursive else 0)
    checked(libc.mount(os.fsencode(source), os.fsencode(place), None, how, None), f"bind of {source} at {place}")
    flags |= READ_ONLY if read_only else 0
    if flags:
        _restrict(place, flags, recursive)


def _bind_for(user: int, source: str, place: str, flags: int, recursive: bool) -> None:
    tree = shown_to(user, source, flags=flags, recursive=recursive)
    try:
        moved = libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(place), _FROM_EMPTY_PATH)
        checked(moved, f"bind of {source} at {place}")
    finally:
        os.close(tree)


def shown_to(user: int, source: str, *, flags: int = 0, recursive: bool = False) -> int:
    """A descriptor of `source` as the user namespace is to see it, mounted nowhere yet."""
    how = _AT_RECURSIVE if recursive else 0
    tree = libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _CLONE | os.O_CLOEXEC | how)
    checked(tree, f"view of {source}")
    try:
        # struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
        attributes = (ctypes.c_uint64 * 4)(flags | _ID_MAPPED, 0, 0, user)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        mapped = libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | how, ctypes.byref(attributes), size)
        checked(mapped, f"owners of {source} for a user namespace")
    except OSError:
        os.close(tree)
        raise
    return int(tree)


def _restrict(place: str, flags: int, recursive: bool) -> None:
    # mount_setattr(2), Linux 5.12: the first call that can restrict what is mounted below as well. Its bits for
    # read-only, nosuid, nodev and noexec are those of mount(2).
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    done = libc.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(place), _AT_RECURSIVE if recursive else 0,
        ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)),
    )  # fmt: skip
    if done == 0:
        return
    if ctypes.get_errno() != errno.ENOSYS:
        checked(done, f"read-only mount at {place}")
    # What the file system forbids already must be said again, or the kernel refuses.
    kept = os.statvfs(place).f_flag
    flags |= (kept & 0xF) | (_RELATIME if kept & _ST_RELATIME else 0)
    remounted = libc.mount(None, os.fsencode(place), None, _BIND | _REMOUNT | flags, None)
    checked(remounted, f"read-only mount at {place}")


def make_private() -> None:
    """Nothing mounted in this namespace from now on is seen outside, nor the other way round."""
    checked(libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None), "private mounts")


def unmount(place: str) -> None:
    """Also when something is still at work there: it goes when that ends."""
    checked(libc.umount2(os.fsencode(place), _MNT_DETACH), f"umount of {place}")


def place_for(source: str, place: str) -> None:
    """Makes the folder or the empty file that `source` can be bound at, if it is not there."""
    if os.path.exists(place):
        return
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(place)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
