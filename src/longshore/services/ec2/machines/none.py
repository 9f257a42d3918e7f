"""No machines: the server alone. What asks for an instance is told that there is no capacity."""

from __future__ import annotations

from longshore.services.ec2.machines.base import InsufficientCapacity, LaunchOrder, MachineStatus, Report


class NoMachines:
    def __init__(self) -> None:
        self.on_report: Report = _unheard

    async def start(self) -> None:
        pass

    async def close(self, *, stop_instances: bool) -> None:
        pass

    async def launch(self, order: LaunchOrder) -> None:
        raise InsufficientCapacity("this server was started without machines")

    async def terminate(self, instance_id: str) -> None:
        pass

    async def list(self) -> list[MachineStatus]:
        return []

    async def console_output(self, instance_id: str) -> bytes:
        return b""

    def capacity(self) -> tuple[int, int]:
        return 0, 0


def _unheard(instance_id: str, state: str, reason: str | None) -> None:
    pass
