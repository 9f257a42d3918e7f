"""The life of a task on its instance. Pure: a task and an event in, the task and effects out.

Each container goes NONE -> PULLED -> CREATED -> RUNNING -> STOPPED; the shell carries one effect at a time out for it and
comes back with an event. The task is as far as the slowest of its containers. When an essential container ends, or the
server says so, all the others are brought to their end.
Source: amazon-ecs-agent, agent/engine/task_manager.go (known and desired status), and the reports captured from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from longshore.agent.order import (
    Container,
    Status,
    broken_dependency,
    essential_has_ended,
    may_start,
    may_stop,
)


class Change(Struct, frozen=True, kw_only=True):
    """News of one container for the next report."""

    container_name: str
    status: str  # RUNNING, STOPPED
    exit_code: int | None = None
    reason: str | None = None


class Task(Struct, frozen=True, kw_only=True):
    arn: str
    containers: tuple[Container, ...]
    is_to_stop: bool = False
    reported: Status = Status.NONE  # the last status that was given out in a Report
    changes: tuple[Change, ...] = ()  # not in a report yet

    @property
    def known(self) -> Status:
        if len(self.containers) == 1:
            return self.containers[0].known
        return min((container.known for container in self.containers), default=Status.STOPPED)

    @property
    def has_ended(self) -> bool:
        return self.known is Status.STOPPED

    def container(self, name: str) -> Container:
        for container in self.containers:
            if container.name == name:
                return container
        raise KeyError(name)


# Events: what has happened.


class Accepted(Struct, frozen=True):
    """The task may begin: its resources are set aside."""


class StopWanted(Struct, frozen=True):
    """The server wants the task stopped."""


class Pulled(Struct, frozen=True):
    name: str


class Created(Struct, frozen=True):
    name: str


class Started(Struct, frozen=True):
    name: str


class NotStarted(Struct, frozen=True):
    """Pull, create or start failed."""

    name: str
    reason: str  # `CannotPullContainerError: ...`


class Exited(Struct, frozen=True):
    name: str
    exit_code: int | None  # None: it is not known how it ended
    reason: str | None = None


Event = Accepted | StopWanted | Pulled | Created | Started | NotStarted | Exited


# Effects: what is to be done.


class Pull(Struct, frozen=True):
    name: str


class Create(Struct, frozen=True):
    name: str


class Start(Struct, frozen=True):
    name: str


class Stop(Struct, frozen=True):
    """SIGTERM, and SIGKILL after the grace."""

    name: str
    grace_seconds: float


class Report(Struct, frozen=True):
    status: str  # RUNNING, STOPPED
    changes: tuple[Change, ...]


class Release(Struct, frozen=True):
    """The task has ended: its resources are free, its containers can be removed."""


Effect = Pull | Create | Start | Stop | Report | Release
Step = tuple[Task, list[Effect]]


def step(task: Task, event: Event) -> Step:
    """The task after the event, and what is now to be done.

    A task that has ended ignores late news, and so does a container: an end is an end. An event may come twice.
    """
    if task.has_ended and task.reported is Status.STOPPED:
        return task, []
    changed = _REACTIONS[type(event)](task, event)
    return _advance(changed)


def _on_accepted(task: Task, event: Accepted) -> Task:
    return task


def _on_stop_wanted(task: Task, event: StopWanted) -> Task:
    return replace(task, is_to_stop=True)


def _on_pulled(task: Task, event: Pulled) -> Task:
    return _reach(task, event.name, Status.PULLED)


def _on_created(task: Task, event: Created) -> Task:
    return _reach(task, event.name, Status.CREATED)


def _on_started(task: Task, event: Started) -> Task:
    container = task.container(event.name)
    if container.known >= Status.RUNNING:
        return task
    changed = _reach(task, event.name, Status.RUNNING)
    return _tell(changed, Change(container_name=event.name, status="RUNNING"))


def _on_not_started(task: Task, event: NotStarted) -> Task:
    return _end(task, event.name, None, event.reason)


def _on_exited(task: Task, event: Exited) -> Task:
    return _end(task, event.name, event.exit_code, event.reason)


_REACTIONS: dict[type[Event], Callable[[Task, Any], Task]] = {
    Accepted: _on_accepted,
    StopWanted: _on_stop_wanted,
    Pulled: _on_pulled,
    Created: _on_created,
    Started: _on_started,
    NotStarted: _on_not_started,
    Exited: _on_exited,
}


def _advance(task: Task) -> Step:
    """Gives out every effect that can be given out now."""
    effects: list[Effect] = []
    if essential_has_ended(task.containers) and not task.is_to_stop:
        task = replace(task, is_to_stop=True)
    # One container's end can be what another waits for, hence until nothing changes any more.
    while True:
        before = task
        for name in [container.name for container in task.containers]:
            task, more = _advance_container(task, name)
            effects += more
        if essential_has_ended(task.containers) and not task.is_to_stop:
            task = replace(task, is_to_stop=True)
        if task is before or task == before:
            break
    return _report(task, effects)


def _advance_container(task: Task, name: str) -> tuple[Task, list[Effect]]:
    container = task.container(name)
    if container.has_ended:
        return task, []
    others = {each.name: each for each in task.containers}
    if task.is_to_stop:
        return _wind_down(task, container, may_stop(container, others))
    if container.busy or container.known is Status.RUNNING:
        return task, []
    broken = broken_dependency(container, others)
    if broken is not None:
        reason = f"dependency graph: container {name} can never start: its dependency on {broken} can't be met"
        return _end(task, name, None, reason), []
    if container.known is Status.NONE:
        return _put(task, replace(container, busy=True)), [Pull(name)]
    if not may_start(container, others):
        return task, []
    following: Effect = Create(name) if container.known is Status.PULLED else Start(name)
    return _put(task, replace(container, busy=True)), [following]


def _wind_down(task: Task, container: Container, may_stop_now: bool) -> tuple[Task, list[Effect]]:
    """What is running is stopped, in order; what never ran has ended at once, once nothing is under way for it."""
    if container.known is Status.RUNNING:
        if container.is_stopping or not may_stop_now:
            return task, []
        stopping = replace(container, is_stopping=True)
        return _put(task, stopping), [Stop(container.name, container.stop_timeout_seconds)]
    if container.busy:
        return task, []
    return _end(task, container.name, None, None), []


def _report(task: Task, effects: list[Effect]) -> Step:
    known = task.known
    if known is Status.RUNNING and task.reported < Status.RUNNING:
        effects.append(Report("RUNNING", task.changes))
        return replace(task, reported=Status.RUNNING, changes=()), effects
    if known is Status.STOPPED and task.reported < Status.STOPPED:
        if task.reported < Status.RUNNING and any(change.status == "RUNNING" for change in task.changes):
            # It ran, if only for a moment or in part: the server hears that before it hears of the end.
            running = tuple(change for change in task.changes if change.status == "RUNNING")
            effects.append(Report("RUNNING", running))
            task = replace(task, changes=tuple(change for change in task.changes if change.status != "RUNNING"))
        effects += [Report("STOPPED", task.changes), Release()]
        return replace(task, reported=Status.STOPPED, changes=()), effects
    return task, effects


def _reach(task: Task, name: str, status: Status) -> Task:
    container = task.container(name)
    if container.known >= status:
        return task
    return _put(task, replace(container, known=status, busy=False))


def _end(task: Task, name: str, exit_code: int | None, reason: str | None) -> Task:
    container = task.container(name)
    if container.has_ended:
        return task
    ended = replace(container, known=Status.STOPPED, busy=False, exit_code=exit_code, reason=reason)
    change = Change(container_name=name, status="STOPPED", exit_code=exit_code, reason=reason)
    return _tell(_put(task, ended), change)


def _put(task: Task, container: Container) -> Task:
    if len(task.containers) == 1:
        return replace(task, containers=(container,))
    return replace(
        task, containers=tuple(container if each.name == container.name else each for each in task.containers)
    )


def _tell(task: Task, change: Change) -> Task:
    return replace(task, changes=(*task.changes, change))
