"""What an EC2-shaped instance runs on: the verbs that every kind of machine answers.

A kind is one file here. It keeps no wish of its own: what should live is written in the room's tables, and the loop asks
for it, again after every start. So `launch` and `terminate` may be repeated, and `list` says what there really is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

MachineState = Literal["running", "terminated"]
# (instance id, its new state, why: None where there is nothing to say)
Report = Callable[[str, MachineState, str | None], None]


class InsufficientCapacity(Exception):
    """The machine cannot carry an instance of this size now."""


class LaunchOrder(Struct, frozen=True, kw_only=True):
    """One instance, as it is to be. Where the API is reached from inside is the kind's matter."""

    instance_id: str
    account: str
    region: str
    instance_type: str
    vcpus: int
    memory_mib: int
    private_ip: str
    user_data: str = ""  # decoded text
    starts_agent: bool = True  # an ECS-optimised image; else user data may start an agent
    metadata_options: Mapping[str, str | int] = {}  # HttpTokens, HttpPutResponseHopLimit, HttpEndpoint
    tags: Mapping[str, str] = {}
    architecture: str = "x86_64"


class MachineStatus(Struct, frozen=True, kw_only=True):
    instance_id: str
    state: MachineState
    reason: str | None = None


class Machines(Protocol):
    """A kind of machine. All of it is called on the server's own thread."""

    on_report: Report  # set by the room's loop before it asks for anything

    async def start(self) -> None: ...

    async def close(self, *, stop_instances: bool) -> None:
        """The server ends. `stop_instances` False: machines that can live without it go on, and are found again."""
        ...

    async def launch(self, order: LaunchOrder) -> None:
        """Makes the machine, or finds that it is there. InsufficientCapacity: it does not fit.

        `running` is reported when it has booted, before or after this returns.
        """
        ...

    async def terminate(self, instance_id: str) -> None:
        """Ends the machine; returns when it is gone. An id that is not there is already gone."""
        ...

    async def list(self) -> list[MachineStatus]: ...

    async def console_output(self, instance_id: str) -> bytes:
        """What it wrote since it booted; empty for one that is not there."""
        ...

    def capacity(self) -> tuple[int, int]:
        """(vCPUs, memory in MiB) that it offers in all."""
        ...
