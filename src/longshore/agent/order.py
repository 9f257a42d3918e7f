"""In which order the containers of a task start and end. Pure.

Source: ECS developer guide, "Container dependency": a container that waits for another starts after it and ends before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Literal

from msgspec import Struct

Condition = Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"]


class Status(IntEnum):
    """What is known of a container, in the order in which it comes about (amazon-ecs-agent's container status)."""

    NONE = 0
    PULLED = 1
    CREATED = 2
    RUNNING = 3
    STOPPED = 4


class Dependency(Struct, frozen=True):
    container_name: str
    condition: str  # a Condition


class Container(Struct, frozen=True, kw_only=True):
    """What the machine needs to know of a container. `busy`: an effect was given out and its event has not come back."""

    name: str
    essential: bool = True
    depends_on: tuple[Dependency, ...] = ()
    stop_timeout_seconds: float = 30.0
    known: Status = Status.NONE
    is_to_stop: bool = False
    busy: bool = False
    is_stopping: bool = False  # the stop was given out
    exit_code: int | None = None  # None: it has not ended, or never ran
    reason: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.known is Status.STOPPED


Containers = Mapping[str, Container]


def may_start(container: Container, containers: Containers) -> bool:
    """Whether all it waits for has come about."""
    return all(_is_met(each, containers[each.container_name]) for each in container.depends_on)


def broken_dependency(container: Container, containers: Containers) -> str | None:
    """The name of a container whose end makes it impossible that this one ever starts."""
    for each in container.depends_on:
        other = containers[each.container_name]
        if other.has_ended and not _is_met(each, other):
            return each.container_name
    return None


def may_stop(container: Container, containers: Containers) -> bool:
    """Whether all that depend on it have ended."""
    return all(
        other.has_ended or container.name not in {each.container_name for each in other.depends_on}
        for other in containers.values()
    )


def essential_has_ended(containers: Iterable[Container]) -> bool:
    return any(container.essential and container.has_ended for container in containers)


def circle(containers: Containers) -> str | None:
    """A container that waits for itself in the end or for one that is not there; None: the order is sound."""
    settled: set[str] = set()
    remaining = dict(containers)
    while remaining:
        free = [
            name for name, each in remaining.items() if {found.container_name for found in each.depends_on} <= settled
        ]
        if not free:
            return min(remaining)
        settled.update(free)
        for name in free:
            del remaining[name]
    return None


def _is_met(dependency: Dependency, other: Container) -> bool:
    match dependency.condition:
        case "COMPLETE":
            return other.has_ended
        case "SUCCESS":
            return other.has_ended and other.exit_code == 0
        case "START":
            # A container that ran and ended was started too.
            return other.known is Status.RUNNING or (other.has_ended and other.exit_code is not None)
        case _:
            # HEALTHY: health checks are not run here; the payload is refused before it comes to this.
            return False
