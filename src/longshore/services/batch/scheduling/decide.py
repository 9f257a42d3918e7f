"""What is to be placed, launched, given back, and why a queue stands still. Pure; decisions are data.

Queues are walked by descending priority; within a queue, jobs by their order, and the first that cannot be placed holds
back those behind it. The compute environments are tried in the queue's order: the first with room takes the job; the first
that could make room by launching is waited for.

Source: AWS Batch user guide, "Job queues", "Job scheduling"; what is not said there is said here.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from longshore.services.batch.scheduling import capacity, explain
from longshore.services.batch.scheduling.placement import NOTHING, Room, Rooms, least_of
from longshore.services.batch.scheduling.snapshot import (
    EnvironmentView,
    Head,
    InstanceType,
    InstanceView,
    QueueView,
    Snapshot,
)

GIVE_WAY_SECONDS = (
    5  # after which an idle instance goes, when a job elsewhere finds no capacity: the machines are shared
)
_PLANNED = 1 << 60  # Numbers from here on are of instances that this decision launches.


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


class _Ground:
    """A compute environment during one decision."""

    def __init__(self, view: EnvironmentView, least: Head, now: int) -> None:
        self.view = view
        self.ready, self.coming = Rooms(least), Rooms(least)
        startable = not any(trouble.code == "start" and trouble.until > now for trouble in view.troubles)
        for one in view.instances:
            room = Room(one.memory_mib - one.memory_used, one.cpu - one.cpu_used, one.number)
            if one.usable and one.held_until <= now and startable:
                self.ready.add(room)
            elif _is_coming(one, now):
                self.coming.add(room)
        self.vcpus = view.vcpus
        self.vcpus_lasting = sum(one.vcpus for one in view.instances if one.lasts)
        self.launched: list[InstanceType] = []
        self.placed_on: set[int] = set()
        self.is_short = False  # whether a job finds no instance here for want of capacity alone

    def launch(self, instance_type: InstanceType) -> None:
        room = Room(instance_type.memory_mib, instance_type.cpu, _PLANNED + len(self.launched))
        self.coming.add(room)
        self.launched.append(instance_type)
        self.vcpus += instance_type.vcpus
        self.vcpus_lasting += instance_type.vcpus


def _is_coming(one: InstanceView, now: int) -> bool:
    """Whether it will soon take jobs, so that nothing need be launched for them."""
    if not one.lasts:
        return False
    if one.phase != "joined" or one.connected:
        return True
    # An agent that is away for a moment (the server was restarted, say) comes back; one that stays away is not waited for.
    return one.disconnected_at is None or one.disconnected_at + 1000 * explain.PATIENCE_SECONDS[-1] > now


def decide(snapshot: Snapshot, now: int, idle_seconds: int) -> list[Decision]:
    """`now` in epoch milliseconds. The same snapshot gives the same decisions."""
    queues = [queue for queue in snapshot.queues if queue.valid]
    least = least_of([head for queue in queues for head in queue.heads])
    grounds = {number: _Ground(view, least, now) for number, view in sorted(snapshot.environments.items())}
    decisions: list[Decision] = []
    for queue in sorted(queues, key=lambda one: (-one.priority, one.number)):
        decisions += _walk(queue, grounds, snapshot, now)
    if any(ground.is_short for ground in grounds.values()):
        idle_seconds = min(idle_seconds, GIVE_WAY_SECONDS)
    for ground in grounds.values():
        _keep_minimum(ground, now)
        decisions += [Launch(ground.view.number, one.name, one.cpu, one.memory_mib) for one in ground.launched]
        decisions += _retire(ground, _is_wanted(snapshot, ground.view.number), now, idle_seconds)
    return decisions


def _walk(queue: QueueView, grounds: dict[int, _Ground], snapshot: Snapshot, now: int) -> Iterator[Decision]:
    usable = [grounds[number] for number in queue.environments if number in grounds and grounds[number].view.usable]
    demand_cpu = _demand(queue, usable)
    is_blocked = False
    hopeless: set[tuple[int, int, int]] = set()  # sizes for which nothing is coming and nothing can be launched
    for head in queue.heads:
        placed = None if is_blocked else _place(head, usable)
        if placed is not None:
            yield placed
            demand_cpu -= head.cpu
            continue
        size = (head.cpu, head.memory_mib, head.gpus)
        launched = None if size in hopeless else _make_room(head, usable, demand_cpu, now)
        if not is_blocked:
            is_blocked = True
            yield Block(queue.number, head.job, explain.blocked_reason(snapshot, queue, head, now))
            if launched is None:
                return  # Those behind it can't start before it: nothing is launched for them.
        if launched is None:
            hopeless.add(size)
        elif launched:
            hopeless.clear()
        demand_cpu -= head.cpu


def _demand(queue: QueueView, usable: list[_Ground]) -> int:
    """CPU units of the jobs that some environment could hold."""
    found: dict[tuple[int, int, int], bool] = {}
    demand = 0
    for head in queue.heads:
        size = (head.cpu, head.memory_mib, head.gpus)
        if size not in found:
            found[size] = any(capacity.can_ever_hold(ground.view, head) for ground in usable)
        demand += head.cpu if found[size] else 0
    return demand


def _place(head: Head, usable: list[_Ground]) -> Place | None:
    for ground in usable:
        instance = ground.ready.take(head)
        if instance is not None:
            ground.placed_on.add(instance)
            return Place(head.job, ground.view.number, instance)
    return None


def _make_room(head: Head, usable: list[_Ground], demand_cpu: int, now: int) -> bool | None:
    """Counts the job against room that there is or is coming (False), or is now launched (True). None: neither.

    Room that there is: a job that only waits behind another may well fit it, and needs no instance of its own.
    """
    for ground in usable:
        if ground.ready.take(head) is not None or ground.coming.take(head) is not None:
            return False
        if not ground.view.managed:
            continue
        left = ground.view.vcpus_max - ground.vcpus
        chosen = capacity.choose(ground.view, head, demand_cpu=demand_cpu, vcpus_left=left, now=now)
        if chosen is not None:
            ground.launch(chosen)
            ground.coming.take(head)
            return True
    for ground in usable:
        left = ground.view.vcpus_max - ground.vcpus
        ground.is_short = ground.is_short or capacity.lacks(ground.view, head, vcpus_left=left, now=now)
    return None


def _keep_minimum(ground: _Ground, now: int) -> None:
    """minvCpus is kept up in a DISABLED environment, too (API reference, UpdateComputeEnvironment, state)."""
    view = ground.view
    if not view.managed or view.status != "VALID":
        return
    least = max(view.vcpus_min, view.vcpus_wanted if view.enabled else 0)
    while ground.vcpus_lasting < least:
        missing = least - ground.vcpus_lasting
        left = view.vcpus_max - ground.vcpus
        chosen = capacity.choose(
            view, NOTHING, demand_cpu=1024 * missing, vcpus_left=min(left, missing), now=now
        ) or capacity.choose(view, NOTHING, demand_cpu=0, vcpus_left=left, now=now)
        if chosen is None:
            return
        ground.launch(chosen)


def _is_wanted(snapshot: Snapshot, environment: int) -> bool:
    """Whether any job may come to the environment."""
    return any(queue.heads and environment in queue.environments for queue in snapshot.queues)


def _retire(ground: _Ground, is_wanted: bool, now: int, idle_seconds: int) -> Iterator[Retire]:
    """Instances without a job go after a while, never below minvCpus. One with a job never goes, unless it is replaced."""
    view = ground.view
    if not view.managed or view.status == "DELETING":
        return
    lasting = ground.vcpus_lasting
    for one in view.instances:
        if one.number in ground.placed_on or one.phase not in ("launched", "joined"):
            continue
        if one.outdated_until is not None:
            if not one.jobs or one.outdated_until <= now:
                yield Retire(view.number, one.number)
            continue
        # One that has not joined is given up when nobody waits for it; while somebody does, he is told what it lacks.
        if one.jobs or (one.phase == "launched" and is_wanted and view.usable):
            continue
        if idle_until(view, one, idle_seconds) > now:
            continue
        if one.lasts:
            if lasting - one.vcpus < view.vcpus_min and view.status == "VALID":
                continue
            lasting -= one.vcpus
        yield Retire(view.number, one.number)


def idle_until(view: EnvironmentView, one: InstanceView, idle_seconds: int) -> int:
    """The moment from which an instance without a job may be given back, in epoch milliseconds.

    API reference, ComputeScalingPolicy: the delay counts from the last job, and not for an instance that never had one.
    """
    if one.phase != "joined":
        return one.asked_at + 1000 * idle_seconds
    return one.idle_since + 1000 * max(idle_seconds, view.scale_down_delay_seconds if one.used else 0)


def next_wake(snapshot: Snapshot, now: int, idle_seconds: int) -> int | None:
    """When time alone can change a decision, in epoch milliseconds. None: only news can."""
    moments = list(_moments(snapshot, idle_seconds))
    if any(trouble.code == "capacity" for view in snapshot.environments.values() for trouble in view.troubles):
        moments += _moments(snapshot, min(idle_seconds, GIVE_WAY_SECONDS))
    return min((moment for moment in moments if moment > now), default=None)


def _moments(snapshot: Snapshot, idle_seconds: int) -> Iterator[int]:
    for view in snapshot.environments.values():
        for trouble in view.troubles:
            yield trouble.until
        for one in view.instances:
            yield one.held_until
            if one.outdated_until is not None:
                yield one.outdated_until
            if one.disconnected_at is not None:
                yield from (one.disconnected_at + 1000 * seconds for seconds in explain.PATIENCE_SECONDS)
            if one.launched_at is not None and not one.usable:
                yield from (one.launched_at + 1000 * seconds for seconds in explain.PATIENCE_SECONDS)
            if view.managed and not one.jobs and one.phase in ("joined", "launched"):
                yield idle_until(view, one, idle_seconds)
