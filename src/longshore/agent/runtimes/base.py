"""What runs containers: the verbs that every runtime answers, and what they are asked with.

A runtime keeps no wish of its own: the engine (`engine.py`) asks, and asks again after the agent's restart. So every verb
may be repeated: a container that was created is found, one that has ended says so again, one that is gone is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from msgspec import Struct

NetworkMode = Literal["host", "bridge", "none"]


class Mount(Struct, frozen=True, kw_only=True):
    """A volume in the container."""

    destination: str  # absolute, in the container
    source: str | None = None  # absolute, on the instance, made if absent; None: a fresh directory of the task's
    volume: str = ""  # the volume's name in the task: containers of a task that name the same share it
    is_read_only: bool = False


class Tmpfs(Struct, frozen=True, kw_only=True):
    destination: str
    size_mib: int
    options: tuple[str, ...] = ()


class Ulimit(Struct, frozen=True, kw_only=True):
    name: str  # nofile, nproc ... without RLIMIT_
    soft: int
    hard: int


class Device(Struct, frozen=True, kw_only=True):
    source: str
    destination: str
    permissions: str = "rwm"


class ContainerSpec(Struct, frozen=True, kw_only=True):
    """A container as it is to be, Docker's defaults filled in by the runtime. None: the image's own."""

    container_id: str  # unique on the instance, [a-zA-Z0-9_-]: task id and container's name
    task_id: str
    name: str
    image: str
    command: tuple[str, ...] | None = None
    entry_point: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    user: str | None = None  # user, user:group, uid, uid:gid
    working_directory: str | None = None
    hostname: str | None = None
    network_mode: NetworkMode = "host"
    cpu_shares: int = 0  # CPU units; 0: the least
    memory_mib: int | None = None  # hard limit; None: the instance's
    memory_reservation_mib: int | None = None
    memory_swap_mib: int | None = None  # memory and swap together; None: as much swap as memory
    is_privileged: bool = False
    is_root_read_only: bool = False
    has_init: bool = False
    capabilities_added: tuple[str, ...] = ()
    capabilities_dropped: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    shm_mib: int = 64
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[Device, ...] = ()
    sysctls: dict[str, str] = {}
    extra_hosts: tuple[tuple[str, str], ...] = ()  # (name, address)
    dns_servers: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    is_logged: bool = True  # False: what it writes is thrown away (log driver none)


class Image(Struct, frozen=True, kw_only=True):
    """An image that is on the instance."""

    reference: str
    digest: str  # sha256:..., of the manifest


class Exit(Struct, frozen=True, kw_only=True):
    exit_code: int | None  # 128 + n: ended by signal n. None: it is not known how it ended
    reason: str | None = None  # `OutOfMemoryError: Container killed due to memory usage`


class Chunk(Struct, frozen=True, kw_only=True):
    """Some of what a container wrote, both streams in the order of writing. `end` counts bytes since its start."""

    data: bytes
    end: int


class ContainerError(Exception):
    """Pull, create or start failed. The text is what a task's container shows: `CannotPullContainerError: ...`."""


class Runtime(Protocol):
    """All verbs are coroutines of the agent's loop; none blocks it."""

    async def pull(self, image: str) -> Image:
        """Makes the image be on the instance. ContainerError `CannotPullContainerError: ...`."""
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Sets the container up; its runtime id. ContainerError `CannotCreateContainerError: ...`."""
        ...

    async def start(self, container_id: str) -> None:
        """Runs its program. ContainerError `CannotStartContainerError: ...`: the program never ran.

        A container that was started before, whatever has become of it, is left as it is.
        """
        ...

    async def stop(self, container_id: str, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after the grace. Returns when it has ended; at once when it ran no more."""
        ...

    async def wait(self, container_id: str) -> Exit:
        """Returns when it has ended, also if that was under an earlier agent. Unknown: `exit_code` None."""
        ...

    async def remove(self, container_id: str) -> None:
        """Removes what is left of an ended container; one that is not there is removed already."""
        ...

    def logs(self, container_id: str, after: int) -> AsyncIterator[Chunk]:
        """What it wrote from byte `after` on, as it comes. Ends when the container has ended and all has been given."""
        ...

    async def inspect(self) -> list[str]:
        """The ids of all containers that are there: created, running or ended and not removed."""
        ...
