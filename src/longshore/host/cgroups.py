"""Control groups: what a group of processes may take of the machine, told the same way on cgroups v1, hybrid and v2.

A group is named by its path from the root of the hierarchy, `/longshore/i-0123`, whatever the kernel's layout: on v2 that
is one folder, on v1 one in each of the controllers that we use. Hybrid is v1 for us: its controllers are there. Of v2 one
rule shows through: a group that has processes of its own can't hand limits to groups below it, so those who have children
keep their processes in a leaf (`/longshore/i-0123/agent`).

Source: Linux, Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import time
from pathlib import Path

from msgspec import Struct

# What we put limits on. cpuacct goes along with cpu, so that a group's use can be read.
_CONTROLLERS_V1 = ("cpu", "cpuacct", "memory", "pids", "devices")
_CONTROLLERS_V2 = ("cpu", "memory", "pids", "io")

_MIB = 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """None: no limit of this kind."""

    cpu_shares: int | None = None  # 2 to 262144, 1,024 a vCPU; what a group gets when all want more than there is
    weight: int | None = None  # the same beside groups that nobody has told anything, who have 100; 1 to 10000
    cpus: float | None = None  # what it gets at most
    memory_mib: int | None = None
    memory_swap_mib: int | None = None  # memory and swap together; not below memory_mib
    memory_reservation_mib: int | None = None
    pids: int | None = None
    devices: tuple[str, ...] | None = None  # `c 1:3 rwm`; v1 alone: v2 knows device rules as programs only
    io_weight: int | None = None  # 1 to 10000, 100 where nothing is said; v2 alone


NO_LIMITS = Limits()


class DiskSpeed(Struct, frozen=True):
    """What may be done to a disk in a second at most: read, and as much written."""

    bytes: int
    operations: int


class Mounted(Struct, frozen=True):
    """A hierarchy, or only a branch of it, as an instance sees its own."""

    place: Path
    root: str = "/"  # the group that `place` shows

    def folder(self, group: str) -> Path:
        parts = [part for part in group.removeprefix(self.root.rstrip("/")).split("/") if part]
        assert ".." not in parts, group
        return self.place.joinpath(*parts)


class Hierarchy:
    """The host's control groups as this process sees them mounted."""

    def __init__(self, mounts: dict[str, Mounted], *, disks: Path | None = None) -> None:
        """`mounts`: controller -> where it is mounted; v2 under the name `unified`, alone. `disks`: v1's `blkio`, its root."""
        self._mounts = mounts
        self._disks = disks
        self._distinct = list(dict.fromkeys(mounts.values()))
        self.version = 2 if "unified" in mounts else 1

    @classmethod
    def of_this_process(cls) -> Hierarchy:
        """OSError: there are no control groups to use."""
        mountinfo = Path("/proc/self/mountinfo").read_text()
        mounts = mounts_in(mountinfo)
        if not mounts:
            raise OSError(errno.ENOENT, "no control groups are mounted under /sys/fs/cgroup")
        return cls(mounts, disks=disks_in(mountinfo))

    def folders(self, group: str) -> list[Path]:
        """The group's folders, each once, also where controllers share a mount."""
        return [mounted.folder(group) for mounted in self._distinct]

    def entrances(self, group: str) -> list[Path]:
        """The files into which a process of one thread writes `0` to join the group.

        On v1 it joins as a thread: for that the kernel (5.14 and later) need not stop all forks of the machine, which takes
        an RCU grace period, 5 to 20 ms against 0.3. v2 has no such way for a group of its own.
        """
        file = "tasks" if self.version == 1 else "cgroup.procs"
        return [folder / file for folder in self.folders(group)]

    def make(self, group: str, limits: Limits = NO_LIMITS) -> None:
        """The group with these limits; one that is there gets them too. OSError: a limit can't be had."""
        if self.version == 2:
            self._delegate(group)
        for folder in self.folders(group):
            os.makedirs(folder, exist_ok=True)
        values = limits_v2(limits) if self.version == 2 else limits_v1(limits)
        for file, together in itertools.groupby(values, key=lambda pair: pair[0]):
            self._write(group, file, [value for _, value in together])

    def join(self, group: str, pid: int) -> None:
        for entrance in self.entrances(group):
            entrance.write_text(str(pid))

    def processes(self, group: str) -> list[int]:
        """Those in the group and below."""
        found: set[int] = set()
        for folder in self.folders(group):
            for path, _, _ in os.walk(folder):
                # A group may go while it is read.
                with contextlib.suppress(OSError):
                    found.update(map(int, Path(path, "cgroup.procs").read_text().split()))
        return sorted(found)

    def kill_all(self, group: str) -> None:
        """SIGKILL to all that is in the group and below, and to what they start meanwhile."""
        for folder in self.folders(group):
            kill = folder / "cgroup.kill"  # v2, Linux 5.14 and later
            if kill.exists():
                kill.write_text("1")
                return
        # Without it a fork may slip through between reading and killing, hence again until none is left.
        for _ in range(100):
            pids = self.processes(group)
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)

    def remove(self, group: str) -> bool:
        """Removes the group and those below. False: some process is still in it."""
        gone = [
            _remove(str(folder)) for folder in self.folders(group)
        ]  # Each is tried, whatever became of the one before.
        return all(gone)

    def groups(self, parent: str) -> list[str]:
        """The groups right below one."""
        names: set[str] = set()
        for folder in self.folders(parent):
            with contextlib.suppress(FileNotFoundError):
                names.update(entry.name for entry in os.scandir(folder) if entry.is_dir())
        return [f"{parent.rstrip('/')}/{name}" for name in sorted(names)]

    def set_idle(self, group: str, is_idle: bool) -> bool:
        """Whether all others come before the group at any time, whatever its weight. A weight can't be told to a group that
        is so; when it no longer is, it has that of one that nobody told anything. False: that can't be had, or there is no
        such group.
        """
        value = "1" if is_idle else "0"
        try:
            file = self._file(group, "cpu.idle")
            if file.read_text().strip() != value:
                file.write_text(value)
        except OSError:
            return False
        return True

    def set_disk_speed(self, group: str, disk: str, speed: DiskSpeed | None) -> None:
        """Of a disk (`7:3`) that is the group's alone; None: no limit any more. OSError: it can't be had.

        v1 counts what is written through the page cache as its root's, whoever wrote it, so there the disk is slow for
        everybody, and stays so when the group is gone. On v2 it is for the group.
        """
        if self.version == 2:
            self._mounts["unified"].folder(group).joinpath("io.max").write_text(_io_max(disk, speed))
            return
        if self._disks is None:
            raise OSError(errno.ENOENT, "the root of the `blkio` control groups is not mounted")
        for kind, limit in (("bps", speed.bytes if speed else 0), ("iops", speed.operations if speed else 0)):
            for direction in ("read", "write"):
                (self._disks / f"blkio.throttle.{direction}_{kind}_device").write_text(f"{disk} {limit}")

    def slow_disks(self, speed: DiskSpeed) -> list[str]:
        """Those that `set_disk_speed` made so slow, and that are so still; on v2 none is without its group."""
        if self.version == 2 or self._disks is None:
            return []
        lines = (self._disks / "blkio.throttle.write_bps_device").read_text().splitlines()
        return [disk for disk, limit in (line.split() for line in lines) if int(limit) == speed.bytes]

    def oom_kills(self, group: str) -> int:
        """How many processes of the group the kernel has killed for want of memory; 0 also if that can't be read.

        On v2 those of the groups below count too, on v1 they don't.
        """
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        try:
            text = self._file(group, file).read_text()
        except OSError:
            return 0
        pairs = (line.split() for line in text.splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == "oom_kill"), 0)

    def memory_bytes(self, group: str) -> int | None:
        """What the group uses now; None: it can't be read."""
        file = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        try:
            return int(self._file(group, file).read_text())
        except OSError:
            return None

    def cpu_seconds(self, group: str) -> float | None:
        """What the group has used since it was made; None: it can't be read."""
        try:
            if self.version == 1:
                return int(self._file(group, "cpuacct.usage").read_text()) / 1e9
            pairs = (line.split() for line in self._file(group, "cpu.stat").read_text().splitlines())
            return next((int(pair[1]) / 1e6 for pair in pairs if pair[0] == "usage_usec"), None)
        except OSError:
            return None

    def _file(self, group: str, file: str) -> Path:
        controller = "unified" if self.version == 2 else file.partition(".")[0]
        mount = self._mounts.get(controller)
        if mount is None:
            raise OSError(errno.ENOENT, f"the `{controller}` control group is not mounted")
        return mount.folder(group) / file

    def _write(self, group: str, file: str, values: list[str]) -> None:
        """Each value by a write of its own, as these files want it."""
        value = values[0]
        try:
            opened = os.open(self._file(group, file), os.O_WRONLY | os.O_CLOEXEC)
            try:
                for value in values:
                    os.write(opened, value.encode())
            finally:
                os.close(opened)
        except OSError as error:
            if file in _MAY_BE_MISSING and error.errno in (errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP):
                return
            raise OSError(error.errno, f"{file} of {group} can't be set to {value}: {error.strerror}") from error

    def _delegate(self, group: str) -> None:
        """v2: each group on the way down hands its controllers on to its children."""
        mounted = self._mounts["unified"]
        folder = mounted.place
        for part in mounted.folder(group).relative_to(folder).parts:
            offered = (folder / "cgroup.controllers").read_text().split()
            handed_on = (folder / "cgroup.subtree_control").read_text().split()
            wanted = [name for name in _CONTROLLERS_V2 if name in offered and name not in handed_on]
            if wanted:
                self._hand_on(folder, wanted)
            folder = folder / part
            folder.mkdir(exist_ok=True)
            _let_pass(folder)

    def _hand_on(self, folder: Path, controllers: list[str]) -> None:
        file = folder / "cgroup.subtree_control"
        words = " ".join(f"+{name}" for name in controllers)
        for _ in range(100):
            try:
                file.write_text(words)
                return
            except OSError as error:
                # The first group that we see has processes, and so is not the kernel's first one but a container's, which
                # all that runs in it started from.
                if error.errno != errno.EBUSY or folder != self._mounts["unified"].place:
                    raise OSError(error.errno, f"{folder} can't hand on {words}: {error.strerror}") from error
            # They may be ending, and they may fork meanwhile.
            _step_down(folder)
            time.sleep(0.001)
        raise OSError(errno.EBUSY, f"{folder} can't hand on {words}: it has processes of its own")


# Kernels without accounting of swap, and hosts that hand on only some controllers, lack these; a job runs all the same.
# Memory is another matter: without its limit a job would take that of the others.
_MAY_BE_MISSING = {
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpu.shares",
    "cpu.weight",
    "io.weight",
    "memory.memsw.limit_in_bytes",
    "memory.swap.max",
    "pids.max",
}

_PERIOD_US = 100_000


def limits_v1(limits: Limits) -> list[tuple[str, str]]:
    """(file, value) in the order in which they must be written. Pure."""
    values: list[tuple[str, str]] = []
    if limits.cpu_shares is not None:
        values.append(("cpu.shares", str(max(2, limits.cpu_shares))))
    if limits.weight is not None:
        values.append(("cpu.shares", str(max(2, 1024 * limits.weight // 100))))
    if limits.cpus is not None:
        values += [("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", str(round(limits.cpus * _PERIOD_US)))]
    if limits.memory_reservation_mib is not None:
        values.append(("memory.soft_limit_in_bytes", str(limits.memory_reservation_mib * _MIB)))
    if limits.memory_mib is not None:
        values.append(("memory.limit_in_bytes", str(limits.memory_mib * _MIB)))
        if limits.memory_swap_mib is not None:
            # Never below memory alone, hence after it.
            values.append(("memory.memsw.limit_in_bytes", str(limits.memory_swap_mib * _MIB)))
    if limits.pids is not None:
        values.append(("pids.max", str(limits.pids)))
    if limits.devices is not None:
        values.append(("devices.deny", "a"))
        values += [("devices.allow", rule) for rule in limits.devices]
    return values


def limits_v2(limits: Limits) -> list[tuple[str, str]]:
    """(file, value). Pure."""
    values: list[tuple[str, str]] = []
    if limits.cpu_shares is not None:
        values.append(("cpu.weight", str(weight(limits.cpu_shares))))
    if limits.weight is not None:
        values.append(("cpu.weight", str(limits.weight)))
    if limits.cpus is not None:
        values.append(("cpu.max", f"{round(limits.cpus * _PERIOD_US)} {_PERIOD_US}"))
    if limits.memory_reservation_mib is not None:
        values.append(("memory.low", str(limits.memory_reservation_mib * _MIB)))
    if limits.memory_mib is not None:
        values.append(("memory.max", str(limits.memory_mib * _MIB)))
        if limits.memory_swap_mib is not None:
            values.append(("memory.swap.max", str((limits.memory_swap_mib - limits.memory_mib) * _MIB)))
    if limits.pids is not None:
        values.append(("pids.max", str(limits.pids)))
    if limits.io_weight is not None:
        values.append(("io.weight", f"default {limits.io_weight}"))
    return values


def _io_max(disk: str, speed: DiskSpeed | None) -> str:
    much, often = (speed.bytes, speed.operations) if speed else ("max", "max")
    return f"{disk} rbps={much} wbps={much} riops={often} wiops={often}"


def weight(cpu_shares: int) -> int:
    """v2's weight, 1 to 10000, for v1's shares, 2 to 262144. The line that runc and crun draw between the two ranges."""
    shares = min(max(2, cpu_shares), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def mounts_in(mountinfo: str) -> dict[str, Mounted]:
    """Controller -> mount; `unified` alone where v2 has the controllers. Pure: the text of /proc/self/mountinfo."""
    v1: dict[str, Mounted] = {}
    unified: Mounted | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        root, place = before.split()[3:5]
        mounted = Mounted(Path(place), root)
        if kind == "cgroup":
            v1.update({name: mounted for name in options.split(",") if name in _CONTROLLERS_V1})
        elif kind == "cgroup2":
            unified = mounted
    if v1:
        return {name: v1[name] for name in _CONTROLLERS_V1 if name in v1}
    return {"unified": unified} if unified is not None else {}


def disks_in(mountinfo: str) -> Path | None:
    """Where v1's `blkio` is mounted, if it is, and from its root. Pure."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        root, place = before.split()[3:5]
        if kind == "cgroup" and "blkio" in options.split(",") and root == "/":
            return Path(place)
    return None


def places_in(mountinfo: str) -> list[tuple[str, str]]:
    """(where a hierarchy that we use is mounted, its controllers as mount(8) wants them all named; "" for v2). Pure."""
    used = {str(mounted.place) for mounted in mounts_in(mountinfo).values()}
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place = before.split()[4]
        if place in used:
            options = after.split()[2].split(",")
            found[place] = ",".join(name for name in options if name in _ALL_CONTROLLERS_V1)
    return sorted(found.items())


_ALL_CONTROLLERS_V1 = (
    "cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb",
    "pids", "rdma", "misc",
)  # fmt: skip


# The name that Docker's images give it.
_LEAF = "init"


def _step_down(folder: Path) -> None:
    """v2: the group's own processes go into a leaf below it, since a group that has some hands nothing on."""
    leaf = folder / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        # 0: one that is not in our namespace, and to the kernel a word for ourselves.
        if pid != "0":
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)


def _let_pass(folder: Path) -> None:
    """v2, whatever the umask: who mounts control groups in a namespace must be allowed to search all folders down to the group
    where that begins, and the root of an instance is nobody on the host."""
    status = folder.stat()
    if status.st_mode & 0o111 != 0o111 and status.st_uid == os.geteuid():
        folder.chmod(0o755)


def _remove(folder: str) -> bool:
    """A branch of groups, the lowest first. Most have none below, which one call tells."""
    try:
        os.rmdir(folder)
        return True
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
    with contextlib.suppress(FileNotFoundError):
        below = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        gone = [_remove(path) for path in below]
        if not below or not all(gone):
            return False
        return _remove_emptied(folder)
    return True


def _remove_emptied(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
