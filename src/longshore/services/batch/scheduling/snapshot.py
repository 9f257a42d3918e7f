"""What the scheduler sees. Bounded: the heads of each queue and the instances, never a record per queued job."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from longshore.services.batch.records import Trouble

HEADS_MAX = 512  # jobs of a queue that one decision looks at; reading them takes under a millisecond


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
    connected: bool = True  # whether its agent is, once it has joined
    active: bool = True  # False: drained by somebody
    outdated_until: int | None = None  # it is to be replaced, and its jobs are waited for so long; None: it is not
    used: bool = False
    asked_at: int = 0
    launched_at: int | None = None
    disconnected_at: int | None = None
    idle_since: int = 0
    held_until: int = 0
    held_because: str | None = None
    refusal: str | None = None

    @property
    def vcpus(self) -> int:
        return self.cpu // 1024

    @property
    def lasts(self) -> bool:
        """Whether it may take jobs, now or when its agent is there."""
        return self.phase != "retiring" and self.active and self.outdated_until is None

    @property
    def usable(self) -> bool:
        return self.phase == "joined" and self.connected and self.lasts


class EnvironmentView(Struct, frozen=True, kw_only=True):
    number: int
    name: str
    managed: bool
    enabled: bool
    status: str
    status_reason: str
    vcpus_min: int = 0
    vcpus_max: int = 0
    vcpus_wanted: int = 0  # desiredvCpus as it was asked for by hand; 0: not, or it was reached
    scale_down_delay_seconds: int = 0  # how long an instance is kept after its last job, at least
    may_exceed: bool = False  # whether one instance may go beyond vcpus_max
    ordered: bool = False  # types are taken in the order written, not the best fitting
    types: tuple[InstanceType, ...] = ()
    instances: tuple[InstanceView, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    diagnosis: tuple[str, ...] = ()  # why its instances are unable to join or to come back, as roles and profiles stand

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
