"""What the scheduler sees. Bounded: the heads of each queue and the instances, never a record per queued job."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from longshore.services.batch.records import Trouble


class Head(Struct, frozen=True):
    """One of the first jobs of a queue."""

    job: int
    cpu: int
    memory_mib: int
    gpus: int = 0


class InstanceType(Struct, frozen=True):
    name: str
    cpu: int
    memory_mib: int  # what its agent will register: less than the nominal size

    @property
    def vcpus(self) -> int:
        return self.cpu // 1024


class InstanceView(Struct, frozen=True, kw_only=True):
    number: int
    instance_id: str | None  # None: not launched yet
    instance_type: str
    cpu: int
    memory_mib: int
    cpu_used: int = 0
    memory_used: int = 0
    jobs: int = 0
    phase: Literal["asked", "launched", "joined", "retiring"]
    usable: bool = True  # joined, its agent connected, not drained by somebody
    asked_at: int = 0
    launched_at: int | None = None
    idle_since: int = 0
    held_until: int = 0
    refusal: str | None = None

    @property
    def vcpus(self) -> int:
        return self.cpu // 1024


class EnvironmentView(Struct, frozen=True, kw_only=True):
    number: int
    name: str
    managed: bool
    enabled: bool
    status: str
    status_reason: str
    vcpus_min: int = 0
    vcpus_max: int = 0
    ordered: bool = False  # types are taken in the order written, not the best fitting
    types: tuple[InstanceType, ...] = ()
    instances: tuple[InstanceView, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    diagnosis: tuple[str, ...] = ()  # why its instances may be unable to join, as roles and profiles stand
    architecture_error: str | None = None

    @property
    def usable(self) -> bool:
        return self.enabled and self.status == "VALID"

    @property
    def vcpus(self) -> int:
        return sum(one.vcpus for one in self.instances)


class QueueView(Struct, frozen=True, kw_only=True):
    number: int
    name: str
    priority: int
    valid: bool
    environments: tuple[int, ...]  # in order
    heads: tuple[Head, ...] = ()


class Snapshot(Struct, frozen=True):
    queues: tuple[QueueView, ...]
    environments: dict[int, EnvironmentView]
