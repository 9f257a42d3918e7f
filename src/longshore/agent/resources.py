"""What the instance offers and what its tasks hold. Pure.

Source: amazon-ecs-agent, agent/engine/host_resource_manager.go: a task waits, first come first served, until CPU, memory
and ports are free, since an ended task's resources may be promised again before its containers are quite gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

# ECS developer guide, "Amazon ECS container agent configuration", ECS_RESERVED_PORTS.
RESERVED_PORTS = (22, 2375, 2376, 51678, 51679)


class Need(Struct, frozen=True, kw_only=True):
    """`cpu` in CPU units (1,024 a vCPU)."""

    cpu: int = 0
    memory_mib: int = 0
    ports: frozenset[tuple[int, str]] = frozenset()  # (port, tcp or udp)


class Resources(Struct, frozen=True, kw_only=True):
    cpu: int
    memory_mib: int
    ports_taken: frozenset[tuple[int, str]] = frozenset()

    def fits(self, need: Need) -> bool:
        return need.cpu <= self.cpu and need.memory_mib <= self.memory_mib and not need.ports & self.ports_taken

    def take(self, need: Need) -> Resources:
        """May leave less than nothing: what runs already keeps what it has, also if the instance offers less than before."""
        return replace(
            self,
            cpu=self.cpu - need.cpu,
            memory_mib=self.memory_mib - need.memory_mib,
            ports_taken=self.ports_taken | need.ports,
        )

    def give(self, need: Need) -> Resources:
        return replace(
            self,
            cpu=self.cpu + need.cpu,
            memory_mib=self.memory_mib + need.memory_mib,
            ports_taken=self.ports_taken - need.ports,
        )


def total_resources(
    *, vcpus: int, memory_mib: int, reserved_memory_mib: int, reserved_ports: Iterable[int], reserved_udp: Iterable[int]
) -> list[dict[str, Any]]:
    """`totalResources` of RegisterContainerInstance."""
    return [
        {"name": "CPU", "type": "INTEGER", "integerValue": vcpus * 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": max(0, memory_mib - reserved_memory_mib)},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": [str(port) for port in reserved_ports]},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": [str(port) for port in reserved_udp]},
    ]
