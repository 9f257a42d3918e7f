"""The scheduler's snapshot: built from the store, and kept up to date by news.

What is kept is a copy of what the store says, never more: `differences` compares the two, for tests and simulation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.services.batch import chain, store
from longshore.services.batch.acting import within
from longshore.services.batch.news import News
from longshore.services.batch.records import Environment, Instance, Queue
from longshore.services.batch.scheduling import capacity
from longshore.services.batch.scheduling.snapshot import (
    HEADS_MAX,
    EnvironmentView,
    Head,
    InstanceType,
    InstanceView,
    QueueView,
    Snapshot,
)

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House

_PORT = "batch.snapshot"
_TYPES_PORT = "batch.instance_types"
_ORDERED = frozenset({"BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"})
_REPLACEMENT_MINUTES = 30  # API reference, UpdatePolicy, jobExecutionTimeoutMinutes: the default


def build(call: Call) -> Snapshot:
    """All queues and environments of all accounts, as the store has them."""
    kept = Kept()
    kept.rebuild(call)
    return kept.snapshot()


def current(call: Call) -> Snapshot:
    """The queues and environments of the call's account and region, to explain from; without the queues' heads."""
    tx = call.transaction
    here = (call.account, call.region)
    queues = [one for one in store.all_queues(tx) if (one.account, one.region) == here]
    environments = [one for one in store.environments_of_account(tx, call.account) if one.region == call.region]
    return Snapshot(
        tuple(_queue_view(call, one, heads_max=0) for one in queues),
        {one.number: _environment_view(call, one) for one in environments},
    )


def differences(house: House) -> list[str]:
    """Where what is kept differs from what the store says, unless there is news that was not taken in yet.

    Diagnoses are left out: they follow the state of IAM, whose changes reach the room as events, a moment later.
    """
    from longshore.services.batch import news

    kept = of(house)
    if news.of(house) or not kept.is_built:
        return []
    built = house.turn("batch").read(build)
    memory = kept.snapshot()
    found = [
        f"queue {one.number}: kept {mine}, is {one}"
        for one, mine in _pairs({q.number: q for q in built.queues}, {q.number: q for q in memory.queues})
        if one != mine
    ]
    for one, mine in _pairs(built.environments, memory.environments):
        if _undiagnosed(one) != _undiagnosed(mine):
            found.append(f"environment: kept {mine}, is {one}")
    return found


def _pairs(first: dict[int, Any], second: dict[int, Any]) -> list[tuple[Any, Any]]:
    return [(first.get(number), second.get(number)) for number in sorted(first.keys() | second.keys())]


def _undiagnosed(view: EnvironmentView | None) -> EnvironmentView | None:
    return None if view is None else replace(view, diagnosis=())


Absent = tuple[int, str]  # an instance's number and phase


class Kept:
    """The views in memory. Changed only by reading the store again."""

    def __init__(self) -> None:
        self.is_built = False
        self._queues: dict[int, QueueView] = {}
        self._ends: dict[int, int] = {}  # number of a queue -> the position of the last of its heads
        self._environments: dict[int, EnvironmentView] = {}
        self._diagnosed: dict[int, Absent] = {}  # number of an environment -> of what its diagnosis was made

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self._queues[number] for number in sorted(self._queues)), dict(self._environments))

    def rebuild(self, call: Call) -> None:
        self._queues, self._ends, self._environments, self._diagnosed = {}, {}, {}, {}
        for queue in store.all_queues(call.transaction):
            self._read_queue(call, queue)
        for environment in store.all_environments(call.transaction):
            self._read_environment(call, environment)
        self.is_built = True

    def take_in(self, call: Call, news: News) -> bool:
        """Reads again what the news say has changed. Whether any of it is seen."""
        if not self.is_built:
            self.rebuild(call)
            return True
        before = dict(self._queues)
        behind = {number for number, arrivals in news.arrived.items() if self._take_behind(number, arrivals)}
        for number in sorted(news.queues | news.arrived.keys()):
            if number in behind and number not in news.queues:
                continue
            queue = store.queue(call.transaction, number)
            if queue is None:
                self._queues.pop(number, None)
                self._ends.pop(number, None)
            else:
                self._read_queue(call, queue)
        for number in sorted(news.environments):
            environment = store.environment(call.transaction, number)
            if environment is None:
                self._environments.pop(number, None)
                self._diagnosed.pop(number, None)
            else:
                self._read_environment(call, environment)
        for number in sorted(news.instances.keys() - news.environments):
            if number in self._environments:
                self._read_instances(call, number, sorted(news.instances[number]))
        return bool(news.environments or news.instances) or before != self._queues

    def _read_queue(self, call: Call, queue: Queue) -> None:
        view = self._queues[queue.number] = _queue_view(call, queue)
        self._ends.pop(queue.number, None)
        if view.heads:
            last = store.job(call.transaction, view.heads[-1].job)
            assert last is not None
            self._ends[queue.number] = store.position(last)

    def _take_behind(self, number: int, arrivals: list[tuple[int, Head]]) -> bool:
        """Jobs that come behind all that is seen of a queue are put there, as far as there is room; without a look at
        the store, so that a million of them cost no more than one. False: some come further to the front."""
        view = self._queues.get(number)
        arrivals = sorted(arrivals, key=lambda arrival: arrival[0])
        if view is None or arrivals[0][0] <= self._ends.get(number, arrivals[0][0] - 1):
            return False
        seen = arrivals[: max(0, HEADS_MAX - len(view.heads))]
        if seen:
            self._queues[number] = replace(view, heads=(*view.heads, *(head for _, head in seen)))
            self._ends[number] = seen[-1][0]
        return True

    def _read_environment(self, call: Call, environment: Environment) -> None:
        instances = store.instances_of(call.transaction, environment.number)
        self._environments[environment.number] = _environment_view(call, environment, instances)
        absent = _first_absent(self._environments[environment.number])
        self._diagnosed.pop(environment.number, None)
        if absent is not None:
            self._diagnosed[environment.number] = absent

    def _read_instances(self, call: Call, number: int, changed: list[int]) -> None:
        """These alone; the environment's diagnosis only when the instance that it was made of has joined or gone."""
        view = self._environments[number]
        environment: Environment | None = None
        views = {one.number: one for one in view.instances}
        for each in changed:
            one = store.instance(call.transaction, each)
            if one is None or one.environment != number:
                views.pop(each, None)
                continue
            if one.outdated_at is not None and environment is None:
                environment = store.environment(call.transaction, number)
            views[each] = _instance_view(one, environment, store.used_on_instance(call.transaction, each))
        view = replace(view, instances=tuple(views[each] for each in sorted(views)))
        absent = _first_absent(view)
        if absent != self._diagnosed.get(number):
            environment = environment or store.environment(call.transaction, number)
            if environment is None or absent is None:
                self._diagnosed.pop(number, None)
                view = replace(view, diagnosis=())
            else:
                self._diagnosed[number] = absent
                view = replace(view, diagnosis=_diagnosis(call, environment, absent[0]))
        self._environments[number] = view


def of(house: House) -> Kept:
    kept = house.ports.get(_PORT)
    if kept is None:
        kept = house.ports[_PORT] = Kept()
    assert isinstance(kept, Kept)
    return kept


def _queue_view(call: Call, queue: Queue, heads_max: int = HEADS_MAX) -> QueueView:
    rows = store.heads(call.transaction, queue.number, heads_max) if heads_max else []
    return QueueView(
        number=queue.number,
        name=queue.name,
        priority=queue.priority,
        valid=queue.status == "VALID",
        environments=tuple(number for _, number in queue.environments),
        heads=tuple(Head(*row) for row in rows),
    )


def _environment_view(call: Call, environment: Environment, instances: list[Instance] | None = None) -> EnvironmentView:
    tx = call.transaction
    instances = store.instances_of(tx, environment.number) if instances is None else instances
    used = store.used_in_environment(tx, environment.number)
    resources = environment.resources or {}
    strategy = resources.get("allocationStrategy") or "BEST_FIT"
    view = EnvironmentView(
        number=environment.number,
        name=environment.name,
        managed=environment.type == "MANAGED",
        enabled=environment.state == "ENABLED",
        status=environment.status,
        status_reason=environment.status_reason,
        vcpus_min=resources.get("minvCpus") or 0,
        vcpus_max=resources.get("maxvCpus") or 0,
        vcpus_wanted=resources.get("desiredvCpus") or 0,
        scale_down_delay_seconds=60 * ((resources.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes") or 0),
        may_exceed=strategy != "BEST_FIT" or resources.get("type") == "SPOT",
        ordered=strategy in _ORDERED,
        types=_types(call, environment),
        instances=tuple(_instance_view(one, environment, used.get(one.number, (0, 0, 0))) for one in instances),
        troubles=environment.troubles,
    )
    absent = _first_absent(view)
    return view if absent is None else replace(view, diagnosis=_diagnosis(call, environment, absent[0]))


def _instance_view(one: Instance, environment: Environment | None, used: tuple[int, int, int]) -> InstanceView:
    """`environment` may be left out for an instance that is not to be replaced."""
    jobs, cpu_used, memory_used = used
    outdated_until = None
    if one.outdated_at is not None:
        outdated_until = one.outdated_at + _patience_ms(environment)
    return InstanceView(
        number=one.number,
        instance_id=one.instance_id,
        instance_type=one.instance_type,
        cpu=one.cpu,
        memory_mib=one.memory_mib,
        cpu_used=cpu_used,
        memory_used=memory_used,
        jobs=jobs,
        phase=one.phase,
        connected=one.connected,
        active=one.active,
        outdated_until=outdated_until,
        used=one.used,
        asked_at=one.asked_at,
        launched_at=one.launched_at,
        disconnected_at=one.disconnected_at,
        idle_since=one.idle_since,
        held_until=one.held_until,
        held_because=one.held_because,
        refusal=one.refusal,
    )


def _patience_ms(environment: Environment | None) -> int:
    """How long the jobs on instances that are to be replaced may go on."""
    policy = (environment.update_policy if environment is not None else None) or {}
    if policy.get("terminateJobsOnUpdate"):
        return 0
    return 60_000 * int(policy.get("jobExecutionTimeoutMinutes") or _REPLACEMENT_MINUTES)


def _first_absent(view: EnvironmentView) -> Absent | None:
    """The first instance that was launched and has not joined, or whose agent is silent: the diagnosis is made of it."""
    for one in view.instances:
        if one.lasts and (one.phase == "launched" or (one.phase == "joined" and not one.connected)):
            return one.number, one.phase
    return None


def _diagnosis(call: Call, environment: Environment, number: int) -> tuple[str, ...]:
    instance = store.instance(call.transaction, number)
    assert instance is not None
    inner = within(call, environment.account, environment.region)
    return tuple(broken.text for broken in chain.diagnose(inner, environment, instance) if not broken.unsure)


def _types(call: Call, environment: Environment) -> tuple[InstanceType, ...]:
    """Those that the environment may have, each as large as its agent registers it."""
    if environment.resources is None:
        return ()
    types = capacity.expand(environment.resources["instanceTypes"], catalogue(call))
    seen = environment.registered
    return tuple(InstanceType(one.name, *seen[one.name]) if one.name in seen else one for one in types)


def catalogue(call: Call) -> tuple[InstanceType, ...]:
    """All types that EC2 offers, the smallest first. They do not change while the house stands."""
    ports = call.house.ports
    known: tuple[InstanceType, ...] | None = ports.get(_TYPES_PORT)
    if known is None:
        found: list[InstanceType] = []
        request: dict[str, Any] = {}
        while True:
            answer = call.peer("ec2", "DescribeInstanceTypes", request, as_=call.as_service())
            for shown in answer["InstanceTypes"]:
                memory_mib = shown["MemoryInfo"]["SizeInMiB"] - capacity.RESERVED_MIB
                found.append(InstanceType(shown["InstanceType"], 1024 * shown["VCpuInfo"]["DefaultVCpus"], memory_mib))
            if not answer.get("NextToken"):
                break
            request = {"NextToken": answer["NextToken"]}
        known = ports[_TYPES_PORT] = tuple(sorted(found, key=lambda one: (one.cpu, one.memory_mib, one.name)))
    return known
