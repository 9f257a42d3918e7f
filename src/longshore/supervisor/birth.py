"""Makes instances: processes that go into namespaces of their own, build their root, and become their first process.

The program is a nursery. It has everything imported, and forks for each instance, which takes a millisecond where Python's
start takes thirty. The keeper sends it one end of a socket for each, and the host's number of the instance's root (0: its
own root). Back comes the instance's network namespace, which the keeper joins to the others. Then come what to make (`Birth`,
one JSON line) and two open files: the console, and the door where `init` tells how things stand. Back go lines: `pid` as soon
as there is one, with the numbers of its disk, then `ready`, or `fault`. The first process waits for `go` before it does
anything that lasts, so that there is never one of which the keeper has no note. When the keeper has gone, so have all of them.

The instance's root is made with all power, and then given up: who is root in it is a user like any other on the host, and can
do nothing of what the kernel asks the host's root for. It can't make devices, load modules, set the kernel, mount disks, or
write what is shown read-only. Where kernel or file system don't let that be (`can_own_users`), root in it is the host's, less
a few capabilities.

Only the standard library is imported: every instance keeps what is.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from typing import NoReturn, TypedDict

from longshore.host import loops, mounts, namespaces
from longshore.supervisor import init

_NAMESPACES = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWCGROUP
_SAFE = mounts.NO_SUID | mounts.NO_DEVICES

# capabilities(7): what reaches past namespaces (files by their handles, modules, raw devices, the clock, the kernel's log, a
# reboot, ...). The rest stays: the agent makes containers, which takes most of them.
_DROPPED = (2, 9, 16, 17, 20, 22, 25, 30, 32, 33, 34, 35, 36, 37, 38)

# 1,024 would be as much as all containers together: the agent works for each of them, and little.
_AGENT_SHARES = 4096
_AGENT_WEIGHT = 400  # on v2

USERS = 262_144  # that an instance has, root the first of them
# Where their numbers begin, a stretch an instance: above what is given to people, services, subuids and systemd's
# containers (systemd's UIDS-GIDS.md), below what some programs take for a sign.
USERS_FIRST = 0x7000_0000
STRETCHES = 1023

# (kind, hard limit): beyond what a login has, as ECS-optimised images give it to Docker. The soft ones stay.
_LIMITS = (
    (resource.RLIMIT_NOFILE, 1_048_576),
    (resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY),
    (resource.RLIMIT_CORE, resource.RLIM_INFINITY),
    (resource.RLIMIT_STACK, resource.RLIM_INFINITY),
    (resource.RLIMIT_NPROC, resource.RLIM_INFINITY),
)

LOOK = 0xFFFF_FFFF  # in place of a number: no instance is wanted, but an answer

_NUMBER = struct.Struct("I")

# name -> (major, minor)
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
}


class _Abandoned(Exception):
    """The keeper is no more, and may never have written us down."""


class Bind(TypedDict):
    source: str
    place: str  # in the instance
    is_read_only: bool


class Birth(TypedDict):
    """The instance's outside: its root and its control groups. `plan` is what happens inside."""

    root: str
    disk: str | None  # the file that is the instance's disk; None: what is below `root` is, without a bound of its own
    hostname: str
    folders: list[tuple[str, int]]  # path in the instance, mode
    files: list[tuple[str, str, int]]  # path, text, mode
    symlinks: list[tuple[str, str]]  # path, target
    binds: list[Bind]  # in this order
    run_mib: int  # the size of /run
    root_id: int  # the host's number of the instance's root
    entrances: list[str]  # the files by which the instance's control group is joined
    cgroups: list[tuple[str, str]]  # v1: place, controllers; v2: one, of controllers ""
    leaf: str  # the group below it for init, agent and all but containers
    plan: init.Plan


def main() -> None:
    keeper = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for a child's end here.
    while True:
        said, descriptors, _, _ = socket.recv_fds(keeper, _NUMBER.size, 1)
        if not said:
            return
        if os.fork() == 0:
            keeper.close()
            channel, number = socket.socket(fileno=descriptors[0]), _NUMBER.unpack(said)[0]
            if number == LOOK:
                _look(channel)
            _be_born(channel, number)
        os.close(descriptors[0])


def ask(nursery: socket.socket, channel: socket.socket, root_id: int) -> None:
    """Of the keeper: a new process, which hears what to become at the other end of `channel`."""
    socket.send_fds(nursery, [_NUMBER.pack(root_id)], [channel.fileno()])


def _look(channel: socket.socket) -> NoReturn:
    """One of the functions below, by its name and what it is to be called with: a JSON list. It answers `fault`."""
    try:
        question, *words = json.loads(channel.makefile("rb").readline())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # It runs a program, whose end it waits for.
        _say(channel, {"fault": can_own_users(*words) if question == "can_own_users" else can_have_disks(*words)})
    except Exception:
        _say(channel, {"fault": traceback.format_exc()})
    finally:
        os._exit(0)


def can_have_disks(folder: str) -> str | None:
    """None: a file in the folder can be a disk. Else why not. Called by a process of one thread, as below."""
    file, place = f"{folder}/disk", f"{folder}/mounted"
    try:
        os.mkdir(place)
        loops.make_disk(file, 16, owner=0)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private()
        loops.mount_disk(file, place)
        mounts.unmount(place)
    except OSError as error:
        return str(error)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)
        os.rmdir(place)
    return None


def can_own_users(*folders: str) -> str | None:
    """None: instances can have users of their own, who see these folders as the host's users do. Else why not.

    Called by a process of one thread, which is another one afterwards: it may have lost its place.
    """
    try:
        owned = namespaces.new_network_of_users(USERS_FIRST, USERS)
        assert owned.user is not None
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private()
        for folder in folders:
            os.close(mounts.shown_to(owned.user, folder, recursive=True))
        namespaces.become_root_of(owned.user)
    except OSError as error:
        return str(error)
    return None


def _be_born(channel: socket.socket, root_id: int) -> NoReturn:
    try:
        os.setsid()
        os.umask(0o022)
        owned = namespaces.new_network_of_users(root_id or None, USERS)
        socket.send_fds(channel, [b"."], [owned.network])
        birth, (console, door) = _receive(channel)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private()
        # Before the control group is joined: in that, no disk can be opened.
        disk = _mount_root(birth)
        for entrance in birth["entrances"]:
            with open(entrance, "w") as file:
                file.write("0")
        namespaces.enter(owned.network, namespaces.CLONE_NEWNET)
        os.close(owned.network)
        namespaces.unshare(_NAMESPACES)
        pid = os.fork()
        if pid:
            _say(channel, {"pid": pid, "disk": disk})
        else:
            _live(birth, owned.user, channel, init.Console(console), socket.socket(fileno=door))
    except _Abandoned:
        pass
    except Exception as error:
        with contextlib.suppress(OSError):
            _say(channel, {"fault": str(error), "trace": traceback.format_exc()})
    finally:
        os._exit(0)


def _live(birth: Birth, user: int | None, channel: socket.socket, console: init.Console, door: socket.socket) -> None:
    socket.sethostname(birth["hostname"])
    _build_root(birth, user)
    namespaces.pivot_root(birth["root"])
    # What only the host's root may do, and containers may ask for within these.
    init.adjust_oom("-1000")
    for kind, wanted in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (min(wanted, resource.getrlimit(kind)[0]), wanted))
    if user is not None:
        namespaces.become_root_of(user)
        os.close(user)
    namespaces.drop_capabilities(_DROPPED)
    if channel.recv(3) != b"go\n":
        raise _Abandoned
    _say(channel, {"ready": True})
    channel.close()
    init.run(birth["plan"], console, door)


def _mount_root(birth: Birth) -> str | None:
    """A mount point of its own, as pivot_root wants it, on which containers' overlays can lie. The numbers of its disk, if
    it has one."""
    root = birth["root"]
    if birth["disk"] is None:
        mounts.bind(root, root, flags=mounts.NO_DEVICES)
        return None
    disk = loops.mount_disk(birth["disk"], root, flags=mounts.NO_DEVICES)
    os.rmdir(f"{root}/lost+found")
    return disk


def _build_root(birth: Birth, user: int | None) -> None:
    root, root_id = birth["root"], birth["root_id"]
    for path, mode in birth["folders"]:
        os.makedirs(root + path, exist_ok=True)
        os.chmod(root + path, mode)
    for path, text, mode in birth["files"]:
        with open(os.open(root + path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
    for path, target in birth["symlinks"]:
        os.symlink(target, root + path)
    for bind in birth["binds"]:
        if not any(_is_below(bind["place"], other["place"]) for other in birth["binds"]):
            mounts.place_for(bind["source"], root + bind["place"])
    # Before anything is mounted: all this is the instance's own.
    _hand_over(root, root_id)
    _mount_run(root, birth["run_mib"], root_id)
    for bind in birth["binds"]:
        mounts.place_for(bind["source"], root + bind["place"])
        # What is the instance's own already belongs to its root.
        owner = None if bind["source"].startswith(root + "/") else user
        mounts.bind(
            bind["source"], root + bind["place"], read_only=bind["is_read_only"], recursive=True, flags=_SAFE, user=owner
        )  # fmt: skip
    _mount_dev(root, root_id)
    _mount_proc(root, is_guarded=user is None)
    _mount_sys(root, birth["cgroups"], birth["leaf"], root_id)


def _is_below(place: str, other: str) -> bool:
    return place.startswith(other.rstrip("/") + "/")


def _hand_over(root: str, root_id: int) -> None:
    if root_id:
        for folder, _, files in os.walk(root):
            for path in (folder, *(f"{folder}/{name}" for name in files)):
                os.lchown(path, root_id, root_id)


def _mount_run(root: str, size_mib: int, root_id: int) -> None:
    owner = f"uid={root_id},gid={root_id}"
    mounts.mount("tmpfs", root + "/run", flags=_SAFE, options=f"mode=755,size={size_mib}m,{owner}")
    os.makedirs(root + "/run/lock")
    os.chown(root + "/run/lock", root_id, root_id)


def _mount_dev(root: str, root_id: int) -> None:
    dev, owner = root + "/dev", f"uid={root_id},gid={root_id}"
    mounts.mount("tmpfs", dev, flags=mounts.NO_SUID, options=f"mode=755,size=1m,{owner}")
    before = os.umask(0)
    for name, (major, minor) in DEVICES.items():
        with contextlib.suppress(OSError):  # fuse may be out of bounds
            os.mknod(f"{dev}/{name}", 0o020666, os.makedev(major, minor))
    os.umask(before)
    for name, target in (
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"),
    ):  # fmt: skip
        os.symlink(target, f"{dev}/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{dev}/{name}")
    mounts.mount(
        "devpts",
        f"{dev}/pts",
        flags=mounts.NO_SUID | mounts.NO_EXECUTION,
        options=f"newinstance,ptmxmode=0666,mode=620,gid={root_id + 5}",
    )
    mounts.mount("tmpfs", f"{dev}/shm", flags=_SAFE, options="mode=1777")
    with contextlib.suppress(OSError):  # a kernel without message queues
        mounts.mount("mqueue", f"{dev}/mqueue", flags=_SAFE | mounts.NO_EXECUTION)


def _mount_proc(root: str, *, is_guarded: bool) -> None:
    proc = root + "/proc"
    mounts.mount("proc", proc, flags=_SAFE | mounts.NO_EXECUTION)
    if not is_guarded:
        # The kernel's settings are the host's root's alone. Nothing may cover them either, or the kernel would let no
        # container mount what seems to be hidden from its instance.
        return
    # The agent may set up its own network; the kernel's other settings are everybody's.
    guarded = [f"sys/{name}" for name in os.listdir(f"{proc}/sys") if name != "net"]
    for name in (*guarded, "sysrq-trigger", "irq", "bus"):
        if os.path.exists(f"{proc}/{name}"):
            mounts.bind(f"{proc}/{name}", f"{proc}/{name}", read_only=True)
    for name in ("kcore", "keys", "timer_list", "sched_debug"):
        if os.path.exists(f"{proc}/{name}"):
            mounts.bind(f"{root}/dev/null", f"{proc}/{name}")


def _mount_sys(root: str, cgroups: list[tuple[str, str]], leaf: str, root_id: int) -> None:
    """/sys of this network namespace, and control groups that begin at the instance's own."""
    mounts.mount("sysfs", root + "/sys", flags=mounts.READ_ONLY | _SAFE | mounts.NO_EXECUTION)
    flags = _SAFE | mounts.NO_EXECUTION
    top = root + "/sys/fs/cgroup"
    if cgroups and not cgroups[0][1]:
        mounts.mount("cgroup2", top, flags=flags)
        _enter_leaf(top, leaf, root_id)
        return
    # v1, without the empty v2 hierarchy that hybrid hosts have beside it: crun refuses to work where it sees one.
    mounts.mount("tmpfs", top, flags=flags, options="mode=755,size=1m")
    for place, controllers in cgroups:
        folder = f"{top}/{os.path.basename(place)}"
        os.mkdir(folder)
        mounts.mount("cgroup", folder, flags=flags, options=controllers)
        _enter_leaf(folder, leaf, root_id)
        for name in controllers.split(","):
            if name != os.path.basename(place):
                os.symlink(os.path.basename(place), f"{top}/{name}")


def _enter_leaf(top: str, leaf: str, root_id: int) -> None:
    folder = f"{top}/{leaf}"
    os.makedirs(folder, exist_ok=True)
    with contextlib.suppress(OSError), open(f"{folder}/cpu.shares", "w") as file:
        file.write(str(_AGENT_SHARES))
    # As a thread, where that can be had: see `Hierarchy.entrances`. While a fork bomb is at work the other way takes seconds,
    # in which nobody on the machine forks.
    entrance = "tasks" if os.path.exists(f"{folder}/tasks") else "cgroup.procs"
    with open(f"{folder}/{entrance}", "w") as file:
        file.write("0")
    if entrance == "cgroup.procs":
        # v2: now that no process is left above, what it has can be handed on.
        with contextlib.suppress(OSError):
            for path, value in (
                (f"{top}/cgroup.subtree_control", "+cpu"),
                (f"{folder}/cpu.weight", str(_AGENT_WEIGHT)),
            ):
                with open(path, "w") as file:
                    file.write(value)
    if root_id:
        # Groups below, and who is in them, are the instance's to order; the limits of its own stay the supervisor's.
        for place in (top, folder):
            for name in ("", "/cgroup.procs", "/tasks", "/cgroup.threads", "/cgroup.subtree_control"):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(place + name, root_id, root_id)


def _receive(channel: socket.socket) -> tuple[Birth, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, 2)
    while not data.endswith(b"\n"):
        more = channel.recv(65536)
        if not more:
            raise _Abandoned
        data += more
    return json.loads(data), descriptors


def _say(channel: socket.socket, what: dict[str, object]) -> None:
    channel.sendall(json.dumps(what).encode() + b"\n")
