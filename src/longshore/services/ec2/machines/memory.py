"""Machines that are tasks of the server's own process: for simulation, for tests without root, for load.

An instance boots by reading its user data and runs our agent, made by the factory that the server hands in. Capacity is
counted as if the machines were real.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from longshore.kit.house import House
from longshore.services.ec2.machines.base import InsufficientCapacity, LaunchOrder, MachineStatus, Report
from longshore.services.ec2.machines.user_data import boot

log = structlog.get_logger("longshore.machines")

# (order, KEY=VALUE of /etc/ecs/ecs.config, what prints on the console) -> an agent, which runs until it is cancelled.
AgentFactory = Callable[[LaunchOrder, dict[str, str], Callable[[str], None]], Coroutine[Any, Any, None]]

VCPUS = 1024  # what is offered when the operator says nothing: nothing real is used up
MEMORY_MIB = 4 * 1024 * 1024
_CONSOLE_LINES = 1000  # EC2 keeps the last 64 KiB
_RESTART_SECONDS = (1.0, 2.0, 5.0)  # systemd restarts the ECS agent in the same way


class _Machine:
    def __init__(self, order: LaunchOrder) -> None:
        self.order = order
        self.console: deque[str] = deque(maxlen=_CONSOLE_LINES)
        self.task: asyncio.Task[None] | None = None


class MemoryMachines:
    """Offers what the house's settings say, in all; `boot_seconds` is what a boot takes."""

    def __init__(self, house: House, agent_factory: AgentFactory, *, boot_seconds: float = 0.0) -> None:
        self.on_report: Report = _unheard
        self._agent_factory = agent_factory
        self._capacity = (house.settings.vcpus or VCPUS, house.settings.memory_mib or MEMORY_MIB)
        self._boot_seconds = boot_seconds
        self._machines: dict[str, _Machine] = {}

    async def start(self) -> None:
        pass

    async def close(self, *, stop_instances: bool = True) -> None:
        """Ends every machine without a report, as pulling the plug of the host would."""
        tasks = [machine.task for machine in self._machines.values() if machine.task is not None]
        self._machines.clear()
        await _cancel(tasks)

    async def launch(self, order: LaunchOrder) -> None:
        if order.instance_id in self._machines:
            return
        vcpus, memory_mib = self._used()
        if vcpus + order.vcpus > self._capacity[0] or memory_mib + order.memory_mib > self._capacity[1]:
            raise InsufficientCapacity(
                f"{order.vcpus} vCPUs and {order.memory_mib} MiB asked, "
                f"{self._capacity[0] - vcpus} vCPUs and {self._capacity[1] - memory_mib} MiB left"
            )
        machine = _Machine(order)
        self._machines[order.instance_id] = machine
        machine.task = asyncio.get_running_loop().create_task(self._live(machine), name=order.instance_id)

    async def terminate(self, instance_id: str) -> None:
        machine = self._machines.pop(instance_id, None)
        if machine is not None and machine.task is not None:
            await _cancel([machine.task])

    async def list(self) -> list[MachineStatus]:
        return [MachineStatus(instance_id=instance_id, state="running") for instance_id in self._machines]

    async def console_output(self, instance_id: str) -> bytes:
        machine = self._machines.get(instance_id)
        return "".join(f"{line}\n" for line in machine.console).encode() if machine is not None else b""

    def capacity(self) -> tuple[int, int]:
        return self._capacity

    def fail(self, instance_id: str, reason: str = "Server.InternalError: the host failed") -> None:
        """The host under the instance dies, of itself. For tests and simulation."""
        machine = self._machines.pop(instance_id, None)
        if machine is None:
            return
        if machine.task is not None:
            machine.task.cancel()
        self.on_report(instance_id, "terminated", reason)

    def _used(self) -> tuple[int, int]:
        orders = [machine.order for machine in self._machines.values()]
        return sum(order.vcpus for order in orders), sum(order.memory_mib for order in orders)

    async def _live(self, machine: _Machine) -> None:
        order, say = machine.order, machine.console.append
        say(f"{order.instance_id}: booting {order.instance_type}, {order.vcpus} vCPUs, {order.memory_mib} MiB")
        if self._boot_seconds:
            await asyncio.sleep(self._boot_seconds)
        left = boot(order.user_data)
        for line in left.console:
            say(line)
        config = left.ecs_config
        say(f"{order.instance_id}: up at {order.private_ip}")
        self.on_report(order.instance_id, "running", None)
        if not order.starts_agent and not left.starts_agent:
            say("no ECS agent on this image, and user data starts none")
            return
        failures = 0
        while True:
            say(f"starting the ECS agent for cluster {config.get('ECS_CLUSTER', 'default')}")
            try:
                await self._agent_factory(order, dict(config), say)
                say("the ECS agent ended")
            except Exception as error:
                # An agent that cannot go on is started again, as the original one is by systemd.
                say(f"the ECS agent ended: {error}")
                log.warning("agent ended", instance_id=order.instance_id, error=repr(error))
            await asyncio.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
            failures += 1


def _unheard(instance_id: str, state: str, reason: str | None) -> None:
    pass


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
