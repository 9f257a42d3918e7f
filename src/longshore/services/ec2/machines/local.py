"""Machines that are namespaces of this host. The supervisor makes them; here it is asked to.

The supervisor outlives this server and the other way round: after a start, what lives is found again; while the supervisor
is away, a new one is started, and what is asked meanwhile waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from longshore.host.supervised import Changed, Connection, Gone, News, Order, Standing, open_connection
from longshore.kit.house import House
from longshore.services.ec2.launching import mac
from longshore.services.ec2.machines.base import InsufficientCapacity, LaunchOrder, MachineStatus, Report
from longshore.services.ec2.machines.user_data import scripts
from longshore.services.ec2.records import internal_domain

log = structlog.get_logger("longshore.machines")

T = TypeVar("T")

# Gives the socket of a supervisor, after starting one if there is none.
Supervise = Callable[[], Awaitable[Path]]

_RESERVE_MIB_MIN = 512  # for the server, the supervisor and the rest of the host
_RESERVE_SHARE = 0.1
_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
# Of what the state's disk has free; the rest is for the database, logs and images.
_DISK_RESERVE_MIB_MIN = 2048
_DISK_RESERVE_SHARE = 0.2
_DISK_MIB_MIN = 1024
_DISK_MIB_MAX = 30 * 1024  # ECS developer guide, "Amazon ECS-optimized AMIs": one volume of 30 GiB
_AWAY_SECONDS = 60.0  # how long a request waits for a supervisor


class LocalMachines:
    """Offers what the house's settings say; else this host's vCPUs, and its memory less a reserve."""

    def __init__(self, house: House, supervise: Supervise) -> None:
        self.on_report: Report = _unheard
        self._settings = house.settings
        self._supervise = supervise
        self._capacity = capacity_of_host(house.settings.vcpus, house.settings.memory_mib)
        self._disk_mib = disk_of_host(house.settings.state, house.settings.disk_gib)
        self._sizes: dict[str, tuple[int, int]] = {}  # all that has been promised, from before the launch on
        self._alive: set[str] = set()
        self._connection: Connection | None = None
        self._is_connected = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the supervisor if there is none. The caller's error when it can't be."""
        if self._watching is not None:
            return
        await self._connect()
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="supervisor")

    async def close(self, *, stop_instances: bool) -> None:
        """`stop_instances`: everything ends, the supervisor as well, and nothing is left behind."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        connection, self._connection = self._connection, None
        self._is_connected.clear()
        if connection is None:
            return
        with contextlib.suppress(Gone):
            if stop_instances:
                await connection.shutdown()
                await connection.closed.wait()
        connection.close()
        self._sizes.clear()
        self._alive.clear()

    async def listeners(self) -> tuple[socket.socket, socket.socket]:
        """Listening sockets for the metadata service and the API, as instances reach them. Once a start of the server."""
        return await self._asked(lambda connection: connection.listeners())

    async def launch(self, order: LaunchOrder) -> None:
        instance_id = order.instance_id
        if instance_id not in self._sizes:
            self._promise(order)
            try:
                await self._asked(lambda connection: connection.launch(self._order(order)))
            except BaseException:
                self._sizes.pop(instance_id, None)
                raise
            self._alive.add(instance_id)
        if instance_id in self._alive:
            self.on_report(instance_id, "running", None)

    async def terminate(self, instance_id: str) -> None:
        # It is no news that it ends now.
        self._alive.discard(instance_id)
        await self._asked(lambda connection: connection.terminate(instance_id))
        self._sizes.pop(instance_id, None)

    async def list(self) -> list[MachineStatus]:
        standings = await self._asked(lambda connection: connection.list())
        return [MachineStatus(instance_id=each.instance_id, state="running") for each in standings]

    async def console_output(self, instance_id: str) -> bytes:
        return await self._asked(lambda connection: connection.console(instance_id))

    def capacity(self) -> tuple[int, int]:
        return self._capacity

    def _promise(self, order: LaunchOrder) -> None:
        vcpus = self._capacity[0] - sum(size[0] for size in self._sizes.values())
        memory_mib = self._capacity[1] - sum(size[1] for size in self._sizes.values())
        if order.vcpus > vcpus or order.memory_mib > memory_mib:
            raise InsufficientCapacity(
                f"{order.vcpus} vCPUs and {order.memory_mib} MiB asked, {vcpus} vCPUs and {memory_mib} MiB left"
            )
        self._sizes[order.instance_id] = (order.vcpus, order.memory_mib)

    def _order(self, order: LaunchOrder) -> Order:
        options = order.metadata_options
        environment = {"AWS_REGION": order.region, "AWS_DEFAULT_REGION": order.region}
        if self._settings.privileged:
            environment["LONGSHORE_PRIVILEGED"] = "1"
        return Order(
            instance_id=order.instance_id,
            private_ip=order.private_ip,
            vcpus=order.vcpus,
            memory_mib=order.memory_mib,
            disk_mib=disk_share(self._disk_mib, order.vcpus, self._capacity[0]),
            hostname=f"ip-{order.private_ip.replace('.', '-')}.{internal_domain(order.region)}",
            mac=mac(order.private_ip),
            hop_limit=int(options.get("HttpPutResponseHopLimit", 1)),
            scripts=tuple(scripts(order.user_data)),
            notes=tuple(notes(order)),
            starts_agent=order.starts_agent,
            environment=environment,
        )

    # --- the supervisor ---

    async def _asked(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        """Asked again of the next supervisor when one ends meanwhile: all that it is asked may be repeated."""
        async with asyncio.timeout(_AWAY_SECONDS):
            while True:
                await self._is_connected.wait()
                assert self._connection is not None
                try:
                    return await ask(self._connection)
                except Gone:
                    # Whoever watches the connection puts another in its place.
                    await asyncio.sleep(0)

    async def _connect(self) -> None:
        connection = open_connection(await self._supervise(), self._on_news)
        try:
            standings = await connection.list()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._is_connected.set()
        self._compare(standings)

    async def _watch(self) -> None:
        while True:
            assert self._connection is not None
            await self._connection.closed.wait()
            self._is_connected.clear()
            log.warning("the supervisor has ended")
            await self._reconnect()

    async def _reconnect(self) -> None:
        failures = 0
        while True:
            await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            try:
                await self._connect()
                return
            except Exception as error:
                failures += 1
                log.warning("no supervisor", error=str(error), failures=failures)

    def _compare(self, standings: tuple[Standing, ...]) -> None:
        """What there is, with what was known before: an instance may have ended while nobody could tell us."""
        there = {each.instance_id: (each.vcpus, each.memory_mib) for each in standings}
        for instance_id in self._alive - there.keys():
            self._died(instance_id, "Server.InternalError: the host failed")
        self._alive |= there.keys()
        self._sizes |= there

    def _on_news(self, news: News) -> None:
        if isinstance(news, Changed):
            standing = news.standing
            log.info("instance", instance_id=standing.instance_id, booted=standing.is_booted, agent=standing.agent)
        elif news.instance_id in self._alive:
            self._died(news.instance_id, news.reason)

    def _died(self, instance_id: str, reason: str | None) -> None:
        self._alive.discard(instance_id)
        self._sizes.pop(instance_id, None)
        self.on_report(instance_id, "terminated", reason)


def notes(order: LaunchOrder) -> list[str]:
    """How the console begins."""
    said = [f"{order.instance_id}: booting {order.instance_type}, {order.vcpus} vCPUs, {order.memory_mib} MiB"]
    said.append(f"{order.instance_id}: up at {order.private_ip}")
    kinds = {kind.lower() for kind in re.findall(r"(?im)^content-type:\s*(text/[\w.-]+)", order.user_data)}
    if order.user_data.lstrip().startswith("#cloud-config"):
        kinds.add("text/cloud-config")
    said += [f"user data: passed over: {kind}" for kind in sorted(kinds - {"text/x-shellscript", "text/plain"})]
    if order.user_data.strip() and not scripts(order.user_data) and not kinds:
        said.append("user data: passed over: it does not begin with #!")
    return said


def capacity_of_host(vcpus: int | None, memory_mib: int | None) -> tuple[int, int]:
    """(vCPUs, MiB) as given; else the host's, of memory what a reserve leaves."""
    if vcpus is None:
        # Shares, not cores: the smallest types have 2 vCPUs, and a host with one core can carry one of them.
        vcpus = max(2, len(os.sched_getaffinity(0)))
    if memory_mib is None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
        memory_mib = max(0, int(total - max(_RESERVE_MIB_MIN, total * _RESERVE_SHARE)))
    return vcpus, memory_mib


def disk_of_host(state: Path | None, disk_gib: int | None) -> int | None:
    """What instances may write in all, in MiB: as given; else of what is free now, and of what earlier ones' disks have taken.

    None: there is no disk to look at.
    """
    if disk_gib is not None:
        return disk_gib * 1024
    if state is None or not state.is_dir():
        return None
    found = os.statvfs(state)
    taken = sum(file.stat().st_blocks * 512 for file in state.glob("instances/*/disk"))
    free_mib = (found.f_bavail * found.f_frsize + taken) // (1024 * 1024)
    return max(0, int(free_mib - max(_DISK_RESERVE_MIB_MIN, free_mib * _DISK_RESERVE_SHARE)))


def disk_share(disk_mib: int | None, vcpus: int, vcpus_of_all: int) -> int | None:
    """The size of an instance's disk: its share by vCPUs, so that all together get no more than there is. Pure.

    Nobody gets less than can be worked with, though then it may be promised twice.
    """
    if disk_mib is None:
        return None
    return min(_DISK_MIB_MAX, max(_DISK_MIB_MIN, disk_mib * vcpus // max(1, vcpus_of_all)))


def _unheard(instance_id: str, state: str, reason: str | None) -> None:
    pass
