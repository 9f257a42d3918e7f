"""Containers by crun, without an engine: an overlay over the unpacked image, a control group, and a holder (`holder.py`).

In one folder, on disk:

    layers/<name>/      what a container writes: `layers.py`
    volumes/<task>/     fresh directories that a task's containers share
    images/             what was pulled here; imported images come from a folder that the instance shares with others
    trash/

In another, best in memory, since a disk on which a database commits makes whoever creates files there wait:

    containers/<id>/    pipes, claim, exit ...; `config.json`, written last, says that the container was created
    roots/<name>        where its layer is mounted
    fixed/<id>.<n>      the instance's folders that a container has, as they were when it was created
    addresses/  pids/  crun/

A container's start is at most once by its holder's claim, whatever happens to the agent. Everything else may be done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from longshore.agent.runtimes import holder, oci
from longshore.agent.runtimes.base import Chunk, ContainerError, ContainerSpec, Exit, Image, Mount
from longshore.agent.runtimes.bridge import Bridge, Place
from longshore.agent.runtimes.container import Container, Record, read_record
from longshore.agent.runtimes.layers import Layers
from longshore.agent.runtimes.watch import FolderWatch
from longshore.host import mounts
from longshore.host.cgroups import Hierarchy, Limits
from longshore.host.image_names import UnpackedImage
from longshore.host.images import ImageError, ImageStore
from longshore.host.namespaces import is_root_of_the_host

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_RECHECK_SECONDS = 1.0  # for the case that the kernel dropped an event
_EXEC_LOOK_SECONDS = 0.0005
_EXEC_LOOKS_MAX = 4000
_KILL_SECONDS = 10.0
_TRASH_SECONDS = 0.5
# So that a fork bomb meets a wall of its own before the machine's. By its memory, since each process takes some of the
# kernel's, which counts: at the memory's end the kernel would look for a victim among thousands again and again, at a cost to
# everybody. Java's threads, of which large programs have many, take more of it than that.
_PIDS_MAX = 8192
_PIDS_MIN = 512
_PIDS_PER_MIB = 4


class CrunRuntime:
    """The verbs of base.py. Of one event loop; needs root, crun and control groups that can be written.

    A container that is logged has to be read with `logs`: when 8 MiB of its output wait it stands still, as with a blocking
    log driver. What was given out is kept for another 8 MiB.
    """

    def __init__(
        self,
        root: Path,
        *,
        run: Path | None = None,
        images: Path | None = None,
        cgroup: str = "",
        is_privileged_allowed: bool = False,
        pids_max: int = _PIDS_MAX,
        starts_max: int | None = None,
    ) -> None:
        """`root`: of this agent alone, on a file system that can be an overlay's upper layer. `run`: of this agent alone too,
        for as long as containers live; None: in /run where that is in memory, else in `root`. `images`: imported ones, read
        only. `cgroup`: under which containers get groups of their own; on v2 it must have no processes itself.
        `starts_max`: how many are on their way at once; None: two a core.
        """
        run = run or _default_run(root)
        self._containers = run / "containers"
        self._pids = run / "pids"
        self._state = run / "crun"
        self._fixed = run / "fixed"
        self._own = (str(root.resolve()), str(run.resolve()))
        self._volumes = root / "volumes"
        self._trash = root / "trash"
        for folder in (self._containers, self._pids, self._state, self._fixed, self._volumes, self._trash):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._layers = Layers(root / "layers", run / "roots", self._throw_away)
        self._bridge = Bridge(run / "addresses")
        self._bridging = asyncio.Lock()
        self._own_images = ImageStore(root / "images")
        self._stores = {str(root / "images"): self._own_images}
        if images is not None:
            self._stores = {str(images): ImageStore(images), **self._stores}
        self._hierarchy = Hierarchy.of_this_process()
        self._cgroup = cgroup.rstrip("/") or _own_group(self._hierarchy.version)
        self._is_privileged_allowed = is_privileged_allowed
        self._is_root_of_the_host = is_root_of_the_host()
        self._pids_max = pids_max
        self._crun = shutil.which("crun")
        self._capabilities = _possible_capabilities()
        self._starts = asyncio.Semaphore(starts_max or 2 * (os.cpu_count() or 1))
        self._pulls: dict[str, asyncio.Lock] = {}
        self._known: dict[str, Container] = {}
        self._watch: FolderWatch | None = None
        self._emptying: asyncio.TimerHandle | None = None
        self._has_swept = False

    # Verbs.

    async def pull(self, image: str) -> Image:
        """An image that is here is not asked for again, whatever its tag: as with ECS_IMAGE_PULL_BEHAVIOR=prefer-cached."""
        try:
            found = self._find(image)
            if found is None:
                async with self._pulls.setdefault(image, asyncio.Lock()):
                    found = self._find(image)
                    if found is None:
                        return Image(reference=image, digest=(await self._fetch(image)).digest)
        except (ImageError, ValueError) as error:
            raise ContainerError(f"CannotPullContainerError: Error response from daemon: {error}") from error
        return Image(reference=image, digest=found[1].digest)

    async def create(self, spec: ContainerSpec) -> str:
        if not _ID.fullmatch(spec.container_id):
            raise oci.refused(f"`{spec.container_id}` is no id of a container")
        self._sweep()
        folder = self._containers / spec.container_id
        if read_record(folder) is None:
            if folder.exists():
                self._discard(spec.container_id)
            try:
                place = await self._network(spec)
                self._set_up(folder, spec, place)
            except (ContainerError, OSError, ValueError) as error:
                await self._remove_group(self._group(spec.container_id))
                self._discard(spec.container_id)
                if isinstance(error, ContainerError):
                    raise
                raise oci.refused(str(error)) from error
        return hashlib.sha256(spec.container_id.encode()).hexdigest()

    async def start(self, container_id: str) -> None:
        container = self._get(container_id)
        if container is None:
            raise _not_started(f"No such container: {container_id}")
        async with container.lock:
            if not holder.is_claimed(container.folder):
                async with self._starts:
                    try:
                        self._begin(container)
                    except OSError as error:
                        raise _not_started(str(error)) from error
                    await self._until_running(container)
            else:
                await self._until_running(container)
        failure = container.failure() if container.ended.is_set() else None
        if failure is not None:
            raise failure

    async def stop(self, container_id: str, grace_seconds: float) -> None:
        container = self._get(container_id)
        if container is None or not holder.is_claimed(container.folder):
            return
        async with container.lock:
            container.kill(_signal_number(container.record.stop_signal))
            if not await _within(container.ended, grace_seconds):
                await self._kill(container)

    async def wait(self, container_id: str) -> Exit:
        container = self._get(container_id)
        if container is None:
            return Exit(exit_code=None)
        await container.ended.wait()
        return container.exit()

    async def remove(self, container_id: str) -> None:
        if not _ID.fullmatch(container_id):
            return
        container = self._get(container_id)
        if container is not None:
            async with container.lock:
                if holder.is_claimed(container.folder) and not container.ended.is_set():
                    await self._kill(container)
                self._known.pop(container_id, None)
                container.close()
        await self._remove_group(self._group(container_id))
        if self._bridge.has(container_id):
            async with self._bridging:
                await asyncio.to_thread(self._bridge.remove, container_id)
        record = container.record if container else None
        if record is not None and not self._layers.give_back(record.layer, record.digest, lambda: self._hold(record)):
            # The kernel takes some milliseconds for it.
            await asyncio.to_thread(self._layers.unmount, record.layer)
            self._layers.drop(record.layer)
        self._discard(container_id, record.task_id if record else None)

    async def logs(self, container_id: str, after: int) -> AsyncIterator[Chunk]:
        container = self._get(container_id)
        if container is not None and container.record.is_logged:
            async for chunk in container.spool.read(after):
                yield chunk

    async def inspect(self) -> list[str]:
        self._sweep()
        return sorted(each.name for each in self._containers.iterdir() if (each / "config.json").exists())

    def close(self) -> None:
        """The agent goes; its containers go on."""
        for container in self._known.values():
            container.close()
        self._known.clear()
        self._layers.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._emptying is not None:
            self._emptying.cancel()

    # Images.

    def _find(self, image: str) -> tuple[ImageStore, UnpackedImage, str] | None:
        for place, store in self._stores.items():
            found = store.find(image)
            if found is not None:
                return store, found, place
        return None

    def _hold(self, record: Record) -> int | None:
        store = self._stores.get(record.store) or ImageStore(Path(record.store))
        return store.hold(record.digest)

    async def _fetch(self, image: str) -> UnpackedImage:
        return await asyncio.to_thread(self._own_images.pull, image)

    # Creation.

    async def _network(self, spec: ContainerSpec) -> Place | None:
        if spec.network_mode != "bridge":
            return None
        async with self._bridging:
            return await asyncio.to_thread(self._bridge.add, spec.container_id)

    def _set_up(self, folder: Path, spec: ContainerSpec, place: Place | None) -> None:
        if self._crun is None:
            raise oci.refused("the program `crun` is not installed on this instance")
        if not self._is_privileged_allowed:
            oci.refuse_what_reaches_past(spec)
        found = self._find(spec.image)
        if found is None:
            raise oci.refused(f"No such image: {spec.image}")
        store, image, store_folder = found
        facts = self._facts(spec)
        held = store.hold(image.digest)
        if held is None:
            raise oci.refused(f"No such image: {spec.image}")
        layer = ""  # that is nobody's yet
        try:
            folder.mkdir(mode=0o700)
            for pipe in holder.PIPES:
                os.mkfifo(folder / pipe, 0o600)
            layer = self._layers.take(image.digest, store.rootfs(image.digest))
            rootfs = self._layers.root(layer)
            binds = [
                *self._files(layer, spec, oci.hostname_of(spec, facts), place),
                *self._binds(spec, rootfs),
            ]
            network = place.path if place else None
            configuration = oci.configuration(spec, image, facts, rootfs=str(rootfs), binds=binds, network=network)
            group = self._group(spec.container_id)
            self._hierarchy.make(group, self._limits(spec, facts))
            record = Record(
                container_id=spec.container_id,
                task_id=spec.task_id,
                store=store_folder,
                digest=image.digest,
                layer=layer,
                cgroup=group,
                stop_signal=image.stop_signal or "SIGTERM",
                is_logged=spec.is_logged,
            )
            (folder / "record.json").write_bytes(msgspec.json.encode(record))
            fresh = folder / "config.json~"
            fresh.write_bytes(msgspec.json.encode(configuration))
            container = self._container(record)
            container.image, held = held, -1
            fresh.rename(folder / "config.json")
            self._known[spec.container_id] = container
            layer = ""
        finally:
            if held >= 0:
                os.close(held)
            if layer:
                self._layers.drop(layer)

    def _container(self, record: Record) -> Container:
        name = record.container_id
        return Container(
            self._containers / name,
            record,
            self._hierarchy,
            output=self._layers.folder(record.layer) / "output",
            pid_file=self._pids / name,
        )

    def _facts(self, spec: ContainerSpec) -> oci.Facts:
        devices = tuple(_device_node(device.source) for device in spec.devices)
        return oci.Facts(
            machine=os.uname().machine,
            hostname=socket.gethostname(),
            capabilities=self._capabilities,
            nofile_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            init=_static_busybox() if spec.has_init else None,
            devices=devices,
            is_root_of_the_host=self._is_root_of_the_host,
        )

    def _limits(self, spec: ContainerSpec, facts: oci.Facts) -> Limits:
        swap = spec.memory_swap_mib
        if swap is None and spec.memory_mib is not None:
            swap = 2 * spec.memory_mib  # As Docker has it where nothing is said.
        # Where users are not the host's, nobody makes devices, and nobody may write rules for them.
        is_bound = spec.is_privileged or not self._is_root_of_the_host
        devices = None if is_bound else oci.device_rules(spec, facts.devices)
        return Limits(
            cpu_shares=max(2, spec.cpu_shares),
            memory_mib=spec.memory_mib,
            memory_swap_mib=swap,
            memory_reservation_mib=spec.memory_reservation_mib,
            pids=pids_for(spec.memory_mib, self._pids_max),
            devices=devices,
        )

    def _files(self, layer: str, spec: ContainerSpec, hostname: str, place: Place | None) -> list[oci.Bind]:
        address = place.address if place else "127.0.0.1"
        texts = {
            "hosts": oci.hosts_file(spec, hostname, _text("/etc/hosts"), address),
            "hostname": f"{hostname}\n",
            "resolv.conf": oci.resolver_file(spec, _text("/etc/resolv.conf")),
        }
        self._layers.write(layer, texts)
        folder = self._layers.folder(layer)
        return [oci.Bind(source=str(folder / file), destination=f"/etc/{file}") for file in texts]

    def _binds(self, spec: ContainerSpec, rootfs: Path) -> list[oci.Bind]:
        binds = []
        for number, mount in enumerate(spec.mounts):
            if mount.source is None:
                # Without a name it is this container's alone.
                name = mount.volume or f"{spec.container_id}-{number}"
                source = self._volume(spec.task_id, name, rootfs, mount.destination)
            else:
                source = self._host_path(spec.container_id, number, mount)
            bind = oci.Bind(source=str(source), destination=mount.destination, is_read_only=mount.is_read_only)
            binds.append(bind)
        return binds

    def _host_path(self, container_id: str, number: int, mount: Mount) -> Path:
        """A path of the instance, made if it is not there."""
        assert mount.source is not None
        path = Path(mount.source)
        if not path.is_absolute() or ".." in path.parts:
            raise oci.refused(f"invalid volume specification: '{path}' must be an absolute path without `..`")
        if self._is_privileged_allowed:
            if not path.exists():
                path.mkdir(parents=True, exist_ok=True)
            return path
        path = Path(os.path.realpath(path))
        oci.refuse_the_agents_own(str(path), is_read_only=mount.is_read_only, own=self._own)
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
        return self._fix(path, f"{container_id}.{number}")

    def _fix(self, path: Path, name: str) -> Path:
        """The folder itself, by another name: another job may put a link in its place until crun comes to it."""
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            shown = f"/proc/self/fd/{opened}"
            if os.readlink(shown) != str(path):
                raise oci.refused(f"the host path {path} was changed while it was looked at")
            place = self._fixed / name
            mounts.place_for(shown, str(place))
            mounts.bind(shown, str(place), recursive=True)
        finally:
            os.close(opened)
        return place

    def _unfix(self, container_id: str) -> None:
        for place in self._fixed.glob(f"{container_id}.*"):
            with contextlib.suppress(OSError):
                mounts.unmount(str(place))
            with contextlib.suppress(OSError):
                place.rmdir() if place.is_dir() else place.unlink()

    def _volume(self, task_id: str, name: str, rootfs: Path, destination: str) -> Path:
        """A fresh directory: with the owner and mode that the image has for the place, as with Docker's volumes."""
        place = self._task_volumes(task_id) / hashlib.sha256(name.encode()).hexdigest()[:32]
        if not place.is_dir():
            place.parent.mkdir(exist_ok=True, mode=0o711)
            fresh = place.with_name(place.name + "~")
            fresh.mkdir(exist_ok=True)
            model = _directory_inside(rootfs, destination)
            fresh.chmod(stat.S_IMODE(model.st_mode) if model else 0o755)
            if model:
                os.chown(fresh, model.st_uid, model.st_gid)
            fresh.rename(place)
        return place

    def _task_volumes(self, task_id: str) -> Path:
        return self._volumes / hashlib.sha256(task_id.encode()).hexdigest()[:32]

    def _group(self, container_id: str) -> str:
        return f"{self._cgroup}/{container_id}"

    # The running ones.

    def _get(self, container_id: str) -> Container | None:
        """What is known of it, read from its folder if it comes from an earlier agent."""
        known = self._known.get(container_id)
        if known is not None or not _ID.fullmatch(container_id):
            return known
        folder = self._containers / container_id
        record = read_record(folder)
        if record is None:
            return None
        container = self._container(record)
        self._known[container_id] = container
        self._watch_pids()
        if holder.is_claimed(folder):
            container.resume()
        return container

    def _begin(self, container: Container) -> None:
        if self._crun is None:
            raise _not_started("the program `crun` is not installed on this instance")
        self._watch_pids()
        if container.image is None:
            container.image = self._hold(container.record)
            if container.image is None:
                raise _not_started(f"its image {container.record.digest} is no longer here")
        container.begin()
        pid = holder.spawn(
            container.folder,
            crun=self._crun,
            state=self._state,
            pids=self._pids,
            container_id=container.id,
            entrances=self._hierarchy.entrances(container.record.cgroup),
            image=container.image,
            is_logged=container.record.is_logged,
        )
        container.release_image()
        _bury(pid, container.on_holder_gone)

    async def _until_running(self, container: Container) -> None:
        """Until its program runs or has ended. Never longer than crun takes."""
        while not await _within(container.news, _RECHECK_SECONDS):
            if container.pid() is not None:
                container.news.set()
        # crun tells the pid a moment before it becomes the container's program, or fails to. There is no event for this.
        looks = 0
        while not container.ended.is_set() and self._is_still_crun(container.pid()) and looks < _EXEC_LOOKS_MAX:
            await _within(container.ended, _EXEC_LOOK_SECONDS)
            looks += 1
        if not container.ended.is_set():
            container.is_seen_running = True

    def _is_still_crun(self, pid: int | None) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return True  # It is ending, and the holder will say how.
        return not command or command.startswith(f"{self._crun}\0--root\0{self._state}\0".encode())

    async def _kill(self, container: Container) -> None:
        if container.pid() is not None:
            container.kill(signal.SIGKILL)
            if await _within(container.ended, _KILL_SECONDS):
                return
        # Its program is not there yet, or crun is stuck: then all goes, and with it the exit status.
        self._hierarchy.kill_all(container.record.cgroup)
        await container.ended.wait()

    def _watch_pids(self) -> None:
        if self._watch is None:
            self._watch = FolderWatch(self._pids, self._on_pid)

    def _on_pid(self, name: str) -> None:
        container = self._known.get(name)
        if container is not None:
            container.news.set()

    # Removal.

    async def _remove_group(self, group: str) -> None:
        """The holder may take a moment to leave it."""
        for attempt in range(12):
            if self._hierarchy.remove(group):
                return
            if attempt == 8:
                self._hierarchy.kill_all(group)
            await asyncio.sleep(0.001 * 2**attempt)

    def _discard(self, container_id: str, task_id: str | None = None) -> None:
        """What is left of a container that does not run. The folder goes last: what is there is found again and removed."""
        folder = self._containers / container_id
        if task_id is None and (record := read_record(folder)) is not None:
            task_id = record.task_id
        self._bridge.remove(container_id)
        self._unfix(container_id)
        (self._pids / container_id).unlink(missing_ok=True)
        if task_id is not None and not self._has_others(task_id, container_id):
            self._throw_away(self._task_volumes(task_id))
        for place in (self._state / container_id, folder):
            shutil.rmtree(place, ignore_errors=True)

    def _has_others(self, task_id: str, container_id: str) -> bool:
        """Whether the task has more containers here, for whom its volumes are kept."""
        if not self._task_volumes(task_id).exists():
            return True  # There is nothing to keep or to throw away.
        others = (each for each in self._containers.iterdir() if each.name != container_id)
        return any((record := read_record(each)) is not None and record.task_id == task_id for each in others)

    def _throw_away(self, place: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            place.rename(self._trash / secrets.token_hex(8))
            self._empty_trash_soon()

    def _empty_trash_soon(self) -> None:
        if self._emptying is None:
            self._emptying = asyncio.get_running_loop().call_later(_TRASH_SECONDS, self._empty_trash)

    def _empty_trash(self) -> None:
        """By a program, many at once: a job's files may be many, and this process has better things to do."""
        self._emptying = None
        waste = [entry.path for entry in os.scandir(self._trash)]
        if waste:
            _bury(_spawn_quietly(["rm", "-rf", "--", *waste]), lambda: None)

    def _sweep(self) -> None:
        """Once: containers that an earlier agent began to create and did not finish, and layers that are left of a machine
        that went down."""
        if self._has_swept:
            return
        self._has_swept = True
        used = set()
        fixed = (each.name.partition(".")[0] for each in self._fixed.iterdir())
        for name in {*(each.name for each in self._containers.iterdir()), *self._bridge.names(), *fixed}:
            record = read_record(self._containers / name)
            if record is None:
                self._hierarchy.remove(self._group(name))
                self._discard(name)
            else:
                used.add(record.layer)
        self._layers.sweep(used)
        self._empty_trash_soon()


def pids_for(memory_mib: int | None, most: int) -> int:
    """How many processes and threads a container may have. Pure."""
    return most if memory_mib is None else min(most, max(_PIDS_MIN, _PIDS_PER_MIB * memory_mib))


def _default_run(root: Path) -> Path:
    places = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    if any(place == "/run" and kind == "tmpfs" for _, place, kind, *_ in places):
        return Path("/run/longshore") / f"agent-{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]}"
    return root / "run"


def _not_started(why: str) -> ContainerError:
    return ContainerError(f"CannotStartContainerError: Error response from daemon: {why}")


def _directory_inside(root: Path, destination: str) -> os.stat_result | None:
    """The directory at a place of the container; None: there is none, or it would take a link to get there."""
    here = root
    for part in Path(destination).parts[1:]:
        here = here / part
        if part == ".." or here.is_symlink() or not here.is_dir():
            return None
    return here.stat()


def _device_node(path: str) -> oci.DeviceNode:
    if not oci.is_safe_device(path):
        raise oci.refused(f'device "{path}" may not be given to a container')
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise oci.refused(
            f'error gathering device information while adding custom device "{path}": no such file or directory'
        ) from error
    if not stat.S_ISCHR(found.st_mode):
        raise oci.refused(f'error gathering device information while adding custom device "{path}": not a device node')
    return oci.DeviceNode(path=path, kind="c", major=os.major(found.st_rdev), minor=os.minor(found.st_rdev))


def _static_busybox() -> str | None:
    for place in ("/bin/busybox", "/usr/bin/busybox"):
        with contextlib.suppress(OSError), open(place, "rb") as file:
            # A program that needs libraries names its loader, `/lib64/ld-linux-x86-64.so.2`, near its beginning.
            if b"/ld-" not in file.read(4096):
                return os.path.realpath(place)
    return None


def _possible_capabilities() -> tuple[str, ...]:
    status = Path("/proc/self/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    return tuple(name for bit, name in enumerate(oci.CAPABILITIES) if mask >> bit & 1)


def _own_group(version: int) -> str:
    """This process's group, or on v2, where a group with processes can have no limited children, the one above it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if version == 2 and controllers == "":
            return str(Path(group).parent).rstrip("/")
        if version == 1 and "memory" in controllers.split(","):
            return group.rstrip("/")
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _signal_number(name: str) -> int:
    """The image's stop signal, `SIGINT`, `INT` or a number; SIGTERM where it is none."""
    if name.isdecimal():
        return int(name) if 0 < int(name) < signal.NSIG else signal.SIGTERM
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    return signal.Signals[full] if full in signal.Signals.__members__ else signal.SIGTERM


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it came within the time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _bury(pid: int, on_gone: Callable[[], None]) -> None:
    """Takes the child's status when it has ended, so that it is no zombie, and calls `on_gone`."""
    loop = asyncio.get_running_loop()
    opened = os.pidfd_open(pid)

    def on_end() -> None:
        loop.remove_reader(opened)
        os.close(opened)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        on_gone()

    loop.add_reader(opened, on_end)


def _spawn_quietly(command: list[str]) -> int:
    """Its pid. What it says is nobody's business."""
    null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
    return os.posix_spawnp(command[0], command, {"PATH": oci.PATH}, file_actions=null, setsid=True)
