"""Makes, watches and removes instances, and finds them again after its own restart.

    instances/<id>/   order.json   what was asked for, and the first process once there is one
                      console      what boot and agent wrote
                      control      a socket, where `init` tells how things stand
                      root/        the instance's root: its disk, or where that is mounted, for the instance alone
                      disk         its disk, where files can be disks

The folder is made before anything else and goes after everything else. So what is found at a start is all there can be:
either its first process lives, and it is taken over, or whatever is left of it is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct

from longshore.host import loops, processes
from longshore.host.cgroups import DiskSpeed, Hierarchy, Limits, places_in
from longshore.host.lines import Lines, connect, listen
from longshore.host.processes import Process
from longshore.host.supervised import About, AgentState, Changed, Died, News, Options, Order, Standing
from longshore.supervisor import birth, guest, init
from longshore.supervisor.fabric import Fabric, link_name
from longshore.supervisor.giving_way import GivingWay

log = structlog.get_logger("longshore.supervisor")

T = TypeVar("T")

CGROUP = "/longshore"
# Of all instances together: as one more program of the host, or as one slice of systemd's. The server is another, and so has
# half of each processor at least. With less, on a host whose programs are in no groups, busy ones would leave jobs nothing.
# While the others leave them half they also give way at once: giving_way.py.
_WEIGHT = 100
_IO_WEIGHT = 50
# Amazon EBS user guide, "General Purpose SSD volumes": a gp3 volume of any size has 3,000 IOPS and 125 MiB/s. An instance that
# wrote as fast as the host can would have everybody wait who wants his own data safe on the same disk.
_DISK_SPEED = DiskSpeed(bytes=125 * 1024 * 1024, operations=3000)
_BIRTH_SECONDS = 20.0
_OWN_MIB = 192  # for init and agent, beside what the type has
_PIDS = 32768  # and never more than half the numbers that the host has
_GONE_SECONDS = 10.0
_DISK = re.compile(r"/(instances|trash/[^/]+)/i-[0-9a-f]{8,32}/disk$")
_RULES = (
    "c *:* m", "b *:* m",  # making a node gives nothing
    *(f"c {major}:{minor} rwm" for major, minor in birth.DEVICES.values()),
    "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm", "c 10:200 rwm",  # terminals; tun, which container runtimes allow
)  # fmt: skip


class CannotLaunch(Exception):
    """What went wrong."""


class _Note(Struct, frozen=True, kw_only=True):
    """order.json."""

    order: Order
    boot_id: str
    root_id: int = 0
    pid: int | None = None
    started_at: int | None = None
    disk: str | None = None  # the numbers of its disk; None: it has none of its own


class _Told(Struct, frozen=True, kw_only=True):
    """What `init` says."""

    is_booted: bool = False
    agent: AgentState = "none"
    agent_pid: int | None = None
    agent_starts: int = 0


class _Instance:
    def __init__(self, order: Order, folder: Path, root_id: int = 0) -> None:
        self.order = order
        self.folder = folder
        self.root_id = root_id  # the host's number of its root; 0: the host's own
        self.told = _Told()
        self.disk: str | None = None
        self.process: Process | None = None
        self.lines: Lines | None = None
        self.watching: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None

    @property
    def cgroup(self) -> str:
        return f"{CGROUP}/{self.order.instance_id}"

    def standing(self) -> Standing:
        assert self.process is not None
        order, told = self.order, self.told
        return Standing(
            instance_id=order.instance_id,
            private_ip=order.private_ip,
            vcpus=order.vcpus,
            memory_mib=order.memory_mib,
            pid=self.process.pid,
            is_booted=told.is_booted,
            agent=told.agent,
            agent_pid=told.agent_pid,
            agent_starts=told.agent_starts,
        )


class Keeper:
    def __init__(
        self, state: Path, options: Options, *, agent: tuple[str, ...] | None = None,
        on_news: Callable[[News], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._state = state
        self._options = options
        self._agent = agent
        self._on_news = on_news
        self._boot_id = processes.boot_id()
        self._fabric = Fabric(state, self._boot_id)
        # One thread: it enters namespaces, and what it does there is done in turn.
        self._network = ThreadPoolExecutor(1, "network")
        self._sweeper = ThreadPoolExecutor(1, "sweeper")
        self._programs = ThreadPoolExecutor(2, "programs")
        self._hierarchy = Hierarchy.of_this_process()
        self._giving_way = GivingWay(self._hierarchy, CGROUP)
        self._cgroups = places_in(Path("/proc/self/mountinfo").read_text())
        self._instances: dict[str, _Instance] = {}
        self._launching: dict[str, asyncio.Future[Standing]] = {}
        self._root_ids: set[int] = set()
        self._users_fault: str | None = None  # why instances have no users of their own
        self._disk_fault: str | None = None  # why they have no disks of their own
        self._house: guest.House
        self._nursery: _Nursery

    # --- its own life ---

    async def open(self) -> None:
        """Makes the fabric, takes over what lives, removes what does not."""
        images = self._state / "images"
        owner = self._state.stat()
        for folder in (images, self._folders, self._trash):
            folder.mkdir(exist_ok=True, mode=0o700)
        images.chmod(0o755)
        os.chown(images, owner.st_uid, owner.st_gid)
        self._sweep(*self._trash.iterdir())
        self._house = guest.look_around(images=images, share=self._options.share, agent=self._agent)
        self._nursery = _Nursery(self._state)
        shown = [source for source, _, _ in self._house.binds]
        with tempfile.TemporaryDirectory(dir=self._trash) as place:
            self._users_fault, self._disk_fault = await asyncio.gather(
                self._look("can_own_users", str(images), *shown), self._look("can_have_disks", place)
            )
        if self._users_fault is not None:
            log.warning("root in an instance is root on this host", why=self._users_fault)
        if self._disk_fault is not None:
            log.warning("instances' disks have no bounds", why=self._disk_fault)
        await self._on_network(lambda: self._fabric.open(has_way_out=self._options.has_way_out))
        joined = await self._on_network(self._fabric.joined)
        for folder in sorted(self._folders.iterdir()):
            await self._adopt(folder, joined)
        self._unbound_disks_of_nobody()
        known = {link_name(instance_id) for instance_id in self._instances}
        for name in joined - known:
            await self._on_network(partial(self._fabric.remove_link, name))

    async def leave(self) -> None:
        """Ends; the instances go on."""
        self._giving_way.end()
        for instance in self._instances.values():
            self._let_go(instance)
        await self._on_network(self._fabric.close)
        self._end_threads()

    async def shutdown(self) -> None:
        """Ends everything. Nothing is left behind but an empty folder or two."""
        while self._launching:
            await asyncio.wait(self._launching.values())
        await asyncio.gather(*(self.terminate(instance_id) for instance_id in list(self._instances)))
        self._giving_way.end()
        await self._on_network(self._fabric.remove)
        for folder in self._hierarchy.folders(CGROUP):
            # Alone, not what is below: that belongs to other supervisors.
            with contextlib.suppress(OSError):
                folder.rmdir()
        self._end_threads()
        for folder in (self._folders, self._trash):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def about(self) -> About:
        return About(
            options=self._options,
            pid=os.getpid(),
            fabric=self._fabric.name,
            host_address=self._fabric.host_address,
            way_out_fault=self._fabric.way_out_fault,
            users_fault=self._users_fault,
            disk_fault=self._disk_fault,
        )

    async def listen(self) -> tuple[socket.socket, socket.socket]:
        return await self._on_network(self._fabric.listen)

    # --- instances ---

    def standings(self) -> tuple[Standing, ...]:
        return tuple(instance.standing() for instance in self._instances.values() if instance.ending is None)

    def console(self, instance_id: str) -> bytes:
        instance = self._instances.get(instance_id)
        if instance is None:
            return b""
        with (instance.folder / "console").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - init.CONSOLE_BYTES))
            return file.read()

    async def launch(self, order: Order) -> Standing:
        """CannotLaunch. One that is there or on its way is found, not made again."""
        instance_id = order.instance_id
        if instance_id in self._instances:
            return self._instances[instance_id].standing()
        if instance_id not in self._launching:
            making = asyncio.ensure_future(self._make(order))
            self._launching[instance_id] = making
            making.add_done_callback(lambda _: self._launching.pop(instance_id))
        return await asyncio.shield(self._launching[instance_id])

    async def terminate(self, instance_id: str) -> None:
        """Returns when nothing is left of it."""
        if instance_id in self._launching:
            await asyncio.wait([self._launching[instance_id]])
        instance = self._instances.get(instance_id)
        if instance is not None:
            await self._end(instance)

    async def _make(self, order: Order) -> Standing:
        _check(order)
        instance = _Instance(order, self._folders / order.instance_id, self._free_root_id())
        self._root_ids.add(instance.root_id)
        try:
            instance.folder.mkdir(mode=0o700)
            (instance.folder / "root").mkdir()
            self._note(instance)
            await self._bear(instance)
        except Exception as error:
            log.exception("launch failed", instance_id=order.instance_id)
            await self._remove_all_of(instance)
            raise CannotLaunch(str(error) or type(error).__name__) from error
        self._instances[order.instance_id] = instance
        self._watch(instance)
        self._network.submit(self._fabric.keep_way_out)  # Nobody waits.
        return instance.standing()

    def _free_root_id(self) -> int:
        """0 where instances have no users of their own."""
        if self._users_fault is not None:
            return 0
        # Supervisors of one host begin at different places. Two instances with the same numbers are no harm that
        # anything else than this would keep away.
        ids = [birth.USERS_FIRST + birth.USERS * number for number in range(birth.STRETCHES)]
        start = int(hashlib.sha256(os.fsencode(self._state)).hexdigest()[:8], 16) % len(ids)
        taken = self._root_ids
        return next((each for each in ids[start:] + ids[:start] if each not in taken), ids[start])

    async def _bear(self, instance: _Instance) -> None:
        order, folder = instance.order, instance.folder
        with (
            self._nursery.bear(instance.root_id) as channel,
            listen(folder / "control") as door,
            (folder / "console").open("a+b", buffering=0) as console,
        ):
            limits = Limits(
                cpu_shares=order.vcpus * 1024, memory_mib=order.memory_mib + _OWN_MIB, pids=_pids(), devices=_RULES
            )
            self._make_cgroup(instance.cgroup, limits)
            disk = await self._make_disk(instance)
            plan = guest.birth(
                order,
                self._house,
                root=folder / "root",
                disk=disk,
                root_id=instance.root_id,
                entrances=[str(path) for path in self._hierarchy.entrances(instance.cgroup)],
                cgroups=self._cgroups,
                host_address=self._fabric.host_address,
            )
            async with asyncio.timeout(_BIRTH_SECONDS):
                await self._join(instance, channel)
                await self._talk(instance, channel, plan, [console.fileno(), door.fileno()])

    async def _make_disk(self, instance: _Instance) -> Path | None:
        size_mib = instance.order.disk_mib
        if size_mib is None or self._disk_fault is not None:
            return None
        disk = instance.folder / "disk"
        make = partial(loops.make_disk, str(disk), size_mib, owner=instance.root_id)
        await asyncio.get_running_loop().run_in_executor(self._programs, make)
        return disk

    def _bound_disk(self, instance: _Instance) -> None:
        if instance.disk is None:
            return
        instance_id = instance.order.instance_id
        try:
            self._hierarchy.set_disk_speed(instance.cgroup, instance.disk, _DISK_SPEED)
        except OSError as error:
            log.warning("an instance's disk is as fast as the host's", instance_id=instance_id, why=str(error))
        try:
            loops.bound_waiting(instance.disk)
        except OSError as error:
            log.warning(
                "what is written to an instance's disk may fill memory", instance_id=instance_id, why=str(error)
            )

    def _unbound_disk(self, instance: _Instance) -> None:
        if instance.disk is None:
            return
        file = loops.file_of(instance.disk)
        if file is None or file == str(instance.folder / "disk") or not _DISK.search(file):
            self._free(instance.cgroup, instance.disk)
        # Else its numbers are those of another instance's disk by now.

    def _unbound_disks_of_nobody(self) -> None:
        """Of instances that ended without a supervisor, and without their folder."""
        # Of a disk that is in use, what is said of it may be somebody else's word.
        unused = [disk for disk in loops.bound_disks() if loops.file_of(disk) is None]
        for disk in {*self._hierarchy.slow_disks(_DISK_SPEED), *unused}:
            if _DISK.search(loops.file_of(disk) or "") is None:
                self._free(CGROUP, disk)

    def _free(self, group: str, disk: str) -> None:
        with contextlib.suppress(OSError):
            loops.unbound_waiting(disk)
        with contextlib.suppress(OSError):
            self._hierarchy.set_disk_speed(group, disk, None)

    async def _join(self, instance: _Instance, channel: socket.socket) -> None:
        order = instance.order
        network = await _descriptor(channel)
        try:
            await self._on_network(
                lambda: self._fabric.join(
                    network, order.instance_id, order.private_ip, mac=order.mac, hop_limit=order.hop_limit
                )
            )
        finally:
            os.close(network)

    async def _talk(self, instance: _Instance, ours: socket.socket, plan: birth.Birth, files: list[int]) -> None:
        loop = asyncio.get_running_loop()
        data = json.dumps(plan).encode() + b"\n"
        sent = socket.send_fds(ours, [data[:4096]], files)
        await loop.sock_sendall(ours, data[sent:])
        said = await _line(ours)
        pid = said.get("pid")
        if not isinstance(pid, int):
            raise CannotLaunch(str(said.get("fault")))
        instance.process = Process.find(pid)
        if instance.process is None:
            raise CannotLaunch(str((await _line(ours)).get("fault")))
        instance.disk = None if said["disk"] is None else str(said["disk"])
        self._note(instance)
        self._bound_disk(instance)
        await loop.sock_sendall(ours, b"go\n")
        said = await _line(ours)
        if "ready" not in said:
            raise CannotLaunch(str(said.get("fault")))

    def _note(self, instance: _Instance) -> None:
        process = instance.process
        note = _Note(
            order=msgspec.structs.replace(instance.order, scripts=(), notes=()),
            boot_id=self._boot_id,
            root_id=instance.root_id,
            pid=process.pid if process else None,
            started_at=processes.started_at(process.pid) if process else None,
            disk=instance.disk,
        )
        # Not made durable: when the machine goes down, all that it tells of goes with it.
        draft = instance.folder / "order.draft"
        draft.write_bytes(msgspec.json.encode(note))
        draft.rename(instance.folder / "order.json")

    async def _adopt(self, folder: Path, joined: set[str]) -> None:
        try:
            note = msgspec.json.decode((folder / "order.json").read_bytes(), type=_Note)
        except (OSError, msgspec.DecodeError):
            # It was about to be made; its folder's name is its id.
            note = _Note(order=_nameless(folder.name), boot_id="")
        instance = _Instance(note.order, folder, note.root_id)
        # After another start of the host its numbers are anybody's.
        instance.disk = note.disk if note.boot_id == self._boot_id else None
        if note.boot_id == self._boot_id and note.pid is not None:
            instance.process = Process.find(note.pid, note.started_at)
        if instance.process is None or link_name(folder.name) not in joined:
            log.warning("remains of an instance", instance_id=folder.name)
            await self._remove_all_of(instance)
            return
        log.info("instance found again", instance_id=folder.name, pid=instance.process.pid)
        self._root_ids.add(instance.root_id)
        self._instances[note.order.instance_id] = instance
        self._watch(instance)

    def _watch(self, instance: _Instance) -> None:
        self._giving_way.begin()

        def on_line(line: bytes) -> None:
            instance.told = msgspec.json.decode(line, type=_Told)
            self._on_news(Changed(standing=instance.standing()))

        with contextlib.suppress(OSError):  # It is ending already.
            instance.lines = Lines(connect(instance.folder / "control"), on_line, lambda: None)
        instance.watching = asyncio.create_task(self._await_end(instance))

    async def _await_end(self, instance: _Instance) -> None:
        assert instance.process is not None
        await instance.process.exited.wait()
        instance.watching = None
        if instance.ending is None:
            last = self.console(instance.order.instance_id).rstrip().rpartition(b"\n")[2]
            is_own_wish = last.endswith(b": shuts down")
            await self._end(instance)
            reason = None if is_own_wish else "Server.InternalError: the instance's first process ended"
            log.warning("instance died", instance_id=instance.order.instance_id, reason=reason)
            self._on_news(Died(instance_id=instance.order.instance_id, reason=reason))

    async def _end(self, instance: _Instance) -> None:
        if instance.ending is None:
            instance.ending = asyncio.create_task(self._remove_all_of(instance))
        try:
            await asyncio.shield(instance.ending)
        except Exception:
            instance.ending = None  # It can be tried again.
            raise

    async def _remove_all_of(self, instance: _Instance) -> None:
        """Whatever there is of it, at whatever point it was left."""
        order = instance.order
        self._unbound_disk(instance)  # First: what waits to be written has then an end soon.
        if instance.process is not None:
            # The kernel ends all the processes of the namespace with its first one, and waits for them.
            instance.process.kill()
            async with asyncio.timeout(_GONE_SECONDS):
                await instance.process.exited.wait()
        self._hierarchy.kill_all(instance.cgroup)
        self._let_go(instance)
        try:
            await self._on_network(lambda: self._fabric.part(order.instance_id, order.private_ip))
        except Exception:
            # The rest must go all the same. The next start looks for links without an instance.
            log.exception("link stays", instance_id=order.instance_id)
        await self._remove_cgroup(instance.cgroup)
        if instance.folder.exists():
            # Under a name of its own: the same id may be launched and ended again before this is swept.
            gone = Path(tempfile.mkdtemp(dir=self._trash))
            instance.folder.rename(gone / instance.folder.name)
            self._sweep(gone)
        self._root_ids.discard(instance.root_id)
        self._instances.pop(order.instance_id, None)
        if not self._instances:
            self._giving_way.end()

    def _let_go(self, instance: _Instance) -> None:
        if instance.lines is not None:
            instance.lines.close()
        if instance.process is not None:
            instance.process.forget()
        if instance.watching is not None and instance.watching is not asyncio.current_task():
            instance.watching.cancel()

    def _make_cgroup(self, group: str, limits: Limits) -> None:
        try:
            self._hierarchy.make(CGROUP, Limits(weight=_WEIGHT, io_weight=_IO_WEIGHT))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # It is there and gives way, so that it has no weight to be told.
        if any(folder.exists() for folder in self._hierarchy.folders(group)):
            # Left by a supervisor whose state folder is gone.
            self._hierarchy.kill_all(group)
            self._hierarchy_remove(group)
        try:
            self._hierarchy.make(group, limits)
        except FileNotFoundError:
            # Another supervisor has just ended and taken the common parent away.
            self._hierarchy.make(group, limits)

    async def _remove_cgroup(self, group: str) -> None:
        # The kernel takes a moment to take the last process out.
        for _ in range(200):
            if self._hierarchy_remove(group):
                return
            await asyncio.sleep(0.005)
        log.warning("control group stays", group=group)

    def _hierarchy_remove(self, group: str) -> bool:
        try:
            return self._hierarchy.remove(group)
        except OSError:
            return False

    @property
    def _folders(self) -> Path:
        return self._state / "instances"

    @property
    def _trash(self) -> Path:
        return self._state / "trash"

    def _sweep(self, *folders: Path) -> None:
        """Unpacked images may be large: nobody waits."""
        for folder in folders:
            self._sweeper.submit(shutil.rmtree, folder, ignore_errors=True)

    async def _look(self, question: str, *words: str) -> str | None:
        """Why the host can't do what a function of `birth` tries, in a process of its own; None: it can."""
        with self._nursery.bear(birth.LOOK) as channel:
            said = json.dumps([question, *words]).encode() + b"\n"
            await asyncio.get_running_loop().sock_sendall(channel, said)
            fault = (await _line(channel))["fault"]
        return None if fault is None else str(fault)

    async def _on_network(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._network, work)

    def _end_threads(self) -> None:
        self._nursery.close()
        self._network.shutdown()
        self._sweeper.shutdown()
        self._programs.shutdown()


class _Nursery:
    """The process that instances are forked from. It ends with us."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._start()

    def bear(self, root_id: int) -> socket.socket:
        """A socket to a new process, which waits to be told what to become."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                birth.ask(self._end, theirs, root_id)
            except OSError:
                log.warning("the nursery has ended", status=self._program.poll())
                self.close()
                self._start()
                birth.ask(self._end, theirs, root_id)
        return ours

    def close(self) -> None:
        self._end.close()
        self._program.wait()

    def _start(self) -> None:
        self._end, theirs = socket.socketpair()
        with theirs:
            # The folder is there to be seen: instances keep this command line.
            self._program = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BIRTH, _SOURCE, str(theirs.fileno()), str(self._state)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={},
            )


_SOURCE = str(Path(birth.__file__).parents[2])
_BIRTH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from longshore.supervisor.birth import main; main()"


def _pids() -> int:
    return min(_PIDS, int(Path("/proc/sys/kernel/pid_max").read_text()) // 2)


def _check(order: Order) -> None:
    """Names of files and links are made of these."""
    if re.fullmatch(r"i-[0-9a-f]{8,32}", order.instance_id) is None:
        raise CannotLaunch(f"`{order.instance_id}` is no instance id")
    try:
        ipaddress.IPv4Address(order.private_ip)
    except ValueError as error:
        raise CannotLaunch(f"`{order.private_ip}` is no private address") from error


async def _descriptor(end: socket.socket) -> int:
    """The open file that comes. CannotLaunch: none does."""
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(end.fileno(), heard.set)
    try:
        await heard.wait()
    finally:
        loop.remove_reader(end.fileno())
    said, descriptors, _, _ = socket.recv_fds(end, 1, 1)
    if descriptors:
        return descriptors[0]
    # What comes instead is a line that says why.
    fault = msgspec.json.decode(said + await _rest(end), type=dict[str, object]) if said else {}
    raise CannotLaunch(str(fault.get("fault", "the instance's first process ended before it had a network")))


async def _line(end: socket.socket) -> dict[str, object]:
    """The next line, decoded. CannotLaunch: the other end has gone."""
    return msgspec.json.decode(await _rest(end), type=dict[str, object])


async def _rest(end: socket.socket) -> bytes:
    """What is still to come of a line."""
    data = b""
    while not data.endswith(b"\n"):
        # One at a time, so that nothing of the next line is taken.
        more = await asyncio.get_running_loop().sock_recv(end, 1)
        if not more:
            raise CannotLaunch("the instance's first process ended before it was ready")
        data += more
    return data


def _nameless(instance_id: str) -> Order:
    return Order(instance_id=instance_id, private_ip="0.0.0.0", vcpus=0, memory_mib=0, hostname="")
