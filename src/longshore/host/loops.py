"""Files as disks: a file's own size bounds what can be written to the file system in it. Only the standard library is
imported, as in namespaces.py.

A disk is named by its numbers, `7:3`. What is said about those numbers stays said when the disk is gone and another file gets
them, so whoever bounds a disk says so for each, and takes it back.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import struct
import subprocess

from longshore.host import mounts

_CONTROL = "/dev/loop-control"
_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A  # Linux 5.8: all at once, so that no other process sees it half done
_AUTOMATIC_END = 4
_DIRECT = 16  # past the page cache, which has these pages already, as the file system's
# struct loop_config: the file's descriptor, block size, struct loop_info64 (of which only lo_flags), reserved.
_CONFIG = struct.Struct("=II 52x I 176x 64x")
_MAJOR = 7
# Of what is written to a disk, how much may wait in memory. Enough to write at full speed; what is more would be in the way of
# others who want to write, and make the end of the disk, when all of it is written, slow.
_WAITING_BYTES = 64 * 1024 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_disk(file: str, size_mib: int, *, owner: int) -> None:
    """An empty file system in a new file, whose root belongs to `owner`. OSError.

    The file takes of its own disk what is written to it, and no more than its size. Nothing in it outlives a crash of the
    machine, so there is no journal.
    """
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as made:
        made.truncate(size_mib * 1024 * 1024)
    command = [
        "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal",
        "-E", f"lazy_itable_init=1,nodiscard,root_owner={owner}:{owner}", file,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": _PATH}, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "the program `mkfs.ext4` is not installed") from None
    if done.returncode != 0:
        raise OSError(errno.EIO, f"mkfs.ext4: {done.stderr.strip()}")


def mount_disk(file: str, place: str, *, flags: int = 0) -> str:
    """Mounts a disk of `make_disk`; its numbers. When the last mount of it is gone the kernel lets go of the file. OSError."""
    device, opened = _attach(file)
    try:
        # Its tables of inodes are zero, as the file is: nobody needs to write that down.
        mounts.mount("ext4", place, source=device, flags=flags, options="noinit_itable")
        return f"{_MAJOR}:{os.minor(os.fstat(opened).st_rdev)}"
    finally:
        os.close(opened)


def bound_waiting(disk: str, *, sys: str = "/sys") -> None:
    """Only a little of what is written to the disk waits in memory; who writes more waits instead. OSError: not here."""
    folder = f"{sys}/class/bdi/{disk}"
    if os.path.exists(f"{folder}/max_bytes"):
        _write(f"{folder}/max_bytes", str(_WAITING_BYTES))
    else:
        # Older kernels: in hundredths of what all that is written may take.
        _write(f"{folder}/max_ratio", "1")
    # Without this, as before Linux 6.2, the bound holds only where all together write too much.
    if os.path.exists(f"{folder}/strict_limit"):
        _write(f"{folder}/strict_limit", "1")


def unbound_waiting(disk: str, *, sys: str = "/sys") -> None:
    """As the kernel has it for a disk of which nothing was said. OSError."""
    folder = f"{sys}/class/bdi/{disk}"
    _write(f"{folder}/max_ratio", "100")
    if os.path.exists(f"{folder}/strict_limit"):
        _write(f"{folder}/strict_limit", "0")


def bound_disks(*, sys: str = "/sys") -> list[str]:
    """Those of which `bound_waiting` was said, and not taken back."""
    found = []
    for folder in glob.glob(f"{sys}/class/bdi/{_MAJOR}:*"):
        # What is written last of the two, by kernels that have it.
        for name in ("strict_limit", "max_ratio"):
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}") as file:
                    if file.read().strip() == "1":
                        found.append(os.path.basename(folder))
                break
    return sorted(found)


def file_of(disk: str, *, sys: str = "/sys") -> str | None:
    """The file that the disk is in now; None: in none."""
    try:
        with open(f"{sys}/dev/block/{disk}/loop/backing_file") as file:
            text = file.read()
    except OSError:
        return None
    return text.rstrip("\n").removesuffix(" (deleted)") or None


def _write(path: str, value: str) -> None:
    # Not made where it is not: `open` would say that it may not, instead of that there is none.
    with open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "w") as file:
        file.write(value)


def _attach(file: str) -> tuple[str, int]:
    """(the device, a descriptor that holds it)."""
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            device = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            opened = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(opened, _CONFIGURE, _CONFIG.pack(backing, 0, _AUTOMATIC_END | _DIRECT))
                return device, opened
            except OSError as error:
                os.close(opened)
                if error.errno != errno.EBUSY:  # Somebody else was given the same free one.
                    raise
    finally:
        os.close(control)
        os.close(backing)
