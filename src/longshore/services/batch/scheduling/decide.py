"""What is to be placed, launched, given back, and why a queue stands still. Pure; decisions are data.

Queues are walked by descending priority; within a queue, jobs by their order, and the first that cannot be placed holds
back those behind it. The compute environments are tried in the queue's order: the first with room takes the job; the first
that could make room by launching is waited for.

Source: AWS Batch user guide, "Job queues", "Job scheduling"; what is not said there is said here.
"""

from __future__ import annotations

from msgspec import Struct

from longshore.services.batch.scheduling import capacity, explain
from longshore.services.batch.scheduling.placement import Slot, best, take
from longshore.services.batch.scheduling.snapshot import EnvironmentView, Head, InstanceType, QueueView, Snapshot


class Place(Struct, frozen=True):
    job: int
    environment: int
    instance: int


class Launch(Struct, frozen=True):
    environment: int
    instance_type: str
    cpu: int
    memory_mib: int


class Retire(Struct, frozen=True):
    environment: int
    instance: int


class Block(Struct, frozen=True):
    """The job at the head of the queue stands, and why. `because` None: it only waits for what is coming."""

    queue: int
    job: int
    because: str | None


Decision = Place | Launch | Retire | Block


class _Planned:
    """An instance that this decision launches, while jobs are counted against it."""

    __slots__ = ("cpu_left", "memory_left")

    def __init__(self, instance_type: InstanceType) -> None:
        self.cpu_left = instance_type.cpu
        self.memory_left = instance_type.memory_mib


class _Ground:
    """A compute environment during one decision."""

    def __init__(self, view: EnvironmentView, now: int) -> None:
        self.view = view
        ready = [one for one in view.instances if one.phase == "joined" and one.usable and one.held_until <= now]
        self.ready = [Slot(one) for one in ready]
        self.coming: list[Slot | _Planned] = [
            Slot(one)
            for one in view.instances
            if one.phase in ("asked", "launched") or (one.phase == "joined" and one not in ready)
        ]
        self.vcpus = view.vcpus
        self.launched: list[InstanceType] = []
        self.placed_on: set[int] = set()

    def launch(self, instance_type: InstanceType) -> _Planned:
        planned = _Planned(instance_type)
        self.coming.append(planned)
        self.launched.append(instance_type)
        self.vcpus += instance_type.vcpus
        return planned


def decide(snapshot: Snapshot, now: int, idle_seconds: int) -> list[Decision]:
    """`now` in epoch milliseconds. The same snapshot gives the same decisions."""
    grounds = {number: _Ground(view, now) for number, view in sorted(snapshot.environments.items())}
    decisions: list[Decision] = []
    for queue in sorted(snapshot.queues, key=lambda one: (-one.priority, one.number)):
        if queue.valid:
            decisions += _walk(queue, grounds, snapshot, now)
    for ground in grounds.values():
        _keep_minimum(ground, now)
        decisions += [Launch(ground.view.number, one.name, one.cpu, one.memory_mib) for one in ground.launched]
        decisions += _retire(ground, _wanted(snapshot, ground.view.number), now, idle_seconds)
    return decisions


def _walk(queue: QueueView, grounds: dict[int, _Ground], snapshot: Snapshot, now: int) -> list[Decision]:
    usable = [grounds[number] for number in queue.environments if number in grounds and grounds[number].view.usable]
    decisions: list[Decision] = []
    blocked = False
    demand_cpu = sum(head.cpu for head in queue.heads)
    for head in queue.heads:
        ground = None if blocked else _place(head, usable)
        if ground is not None:
            decisions.append(ground)
            grounds[ground.environment].placed_on.add(ground.instance)
        else:
            if not blocked:
                blocked = True
                decisions.append(Block(queue.number, head.job, explain.blocked_reason(snapshot, queue, head, now)))
            _make_room(head, usable, demand_cpu, now)
        demand_cpu -= head.cpu
    return decisions


def _place(head: Head, usable: list[_Ground]) -> Place | None:
    for ground in usable:
        slot = best(head, ground.ready)
        if slot is not None:
            take(head, slot)
            return Place(head.job, ground.view.number, slot.instance.number)
    return None


def _make_room(head: Head, usable: list[_Ground], demand_cpu: int, now: int) -> None:
    """Counts the job against an instance that is coming, or against one that is now to be launched."""
    for ground in usable:
        coming = best(head, ground.coming)
        if coming is not None:
            take(head, coming)
            return
        if not ground.view.managed:
            continue
        left = ground.view.vcpus_max - ground.vcpus
        chosen = capacity.choose(ground.view, head, demand_cpu=demand_cpu, vcpus_left=left, now=now)
        if chosen is not None:
            take(head, ground.launch(chosen))
            return


def _keep_minimum(ground: _Ground, now: int) -> None:
    """minvCpus is kept up in a DISABLED environment, too (API reference, UpdateComputeEnvironment, state)."""
    view = ground.view
    if not view.managed or view.status != "VALID":
        return
    while ground.vcpus < view.vcpus_min:
        missing = view.vcpus_min - ground.vcpus
        left = view.vcpus_max - ground.vcpus
        chosen = capacity.smallest(view, vcpus_left=min(left, missing), now=now) or capacity.choose(
            view, Head(0, 0, 0), demand_cpu=0, vcpus_left=left, now=now
        )
        if chosen is None:
            return
        ground.launch(chosen)


def _wanted(snapshot: Snapshot, environment: int) -> bool:
    """Whether any job may come to the environment."""
    return any(queue.heads and environment in queue.environments for queue in snapshot.queues)


def _retire(ground: _Ground, wanted: bool, now: int, idle_seconds: int) -> list[Decision]:
    """Instances without a job go after a while, never below minvCpus. One with a job never goes."""
    view = ground.view
    if not view.managed:
        return []
    decisions: list[Decision] = []
    vcpus = ground.vcpus
    for one in view.instances:
        if one.jobs or one.number in ground.placed_on or not _is_due(view, one.phase, wanted):
            continue
        if idle_from(one.phase, one.idle_since, one.asked_at) + 1000 * idle_seconds > now:
            continue
        if vcpus - one.vcpus < view.vcpus_min and view.status == "VALID":
            continue
        vcpus -= one.vcpus
        decisions.append(Retire(view.number, one.number))
    return decisions


def _is_due(view: EnvironmentView, phase: str, wanted: bool) -> bool:
    if phase == "joined":
        return True
    # One that has not joined is given up when nobody waits for it; while somebody does, he is told what it lacks.
    return phase == "launched" and not (wanted and view.usable)


def idle_from(phase: str, idle_since: int, asked_at: int) -> int:
    return idle_since if phase == "joined" else asked_at


def next_wake(snapshot: Snapshot, now: int, idle_seconds: int) -> int | None:
    """When time alone can change a decision, in epoch milliseconds. None: only news can."""
    moments = [
        idle_from(one.phase, one.idle_since, one.asked_at) + 1000 * idle_seconds
        for view in snapshot.environments.values()
        if view.managed
        for one in view.instances
        if not one.jobs and one.phase in ("joined", "launched")
    ]
    for view in snapshot.environments.values():
        moments += [trouble.until for trouble in view.troubles]
        moments += [one.held_until for one in view.instances]
        moments += [
            moment
            for one in view.instances
            if one.phase == "launched" and one.launched_at is not None
            for moment in (one.launched_at + 1000 * seconds for seconds in explain.PATIENCE_SECONDS)
        ]
    return min((moment for moment in moments if moment > now), default=None)
