"""The scheduler's loop: takes jobs in, has the pure middle decide, and writes its decisions down.

A turn is a few short transactions, so that requests are answered between them; each is one step that a crash cannot halve.
What is decided on the snapshot is checked once more against the store in the transaction that writes it down: what has
changed meanwhile is left out, and looked at again in the next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.services.batch import (
    children,
    environments,
    instances,
    life,
    lifecycle,
    news,
    snapshots,
    store,
    tasks,
    troubles,
    views,
)
from longshore.services.batch.acting import within
from longshore.services.batch.records import ACTIVE, Body, Environment, Instance, Job, Queue, Status
from longshore.services.batch.scheduling import joining
from longshore.services.batch.scheduling.decide import Block, Decision, Launch, Place, Retire, decide, next_wake
from longshore.services.batch.scheduling.snapshot import Snapshot
from longshore.services.batch.troubles import Later
from longshore.store.engine import TransactionLost

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House, Turn

log = structlog.get_logger("longshore.batch")

_NEVER = 1 << 62
_CLOCK_WAS_SET_MS = 10_000  # a smaller step is of no matter
_STEP = 64  # jobs that one transaction moves at most
_PORTIONS = 16  # of arrays, before the next decision: nobody else waits for ten thousand children
_QUEUE_PORTION = 4096  # jobs of a queue that is to go that are looked at; what runs at once is fewer
QUEUE_HEALTHY = "JobQueue Healthy"  # as DescribeJobQueues shows it at AWS
QUEUE_DELETED = "Job queue deleted"  # our words
QUEUE_BLOCKED = "Batch Job Queue Blocked"
LIMIT_REACHED = (
    "Canceled by JobStateTimeLimit action due to reason: {}"  # Batch user guide, "Job state time limit actions"
)


class Scheduler:
    """One for all accounts and regions. What it keeps in memory is a copy of the store."""

    name = news.SCHEDULER

    def __init__(self) -> None:
        self._has_started = False
        self._watches_since = 0  # epoch milliseconds
        self._clock_began_at = 0.0  # by the last tick, epoch milliseconds: when the loop's time was 0
        self._decides_at: int | None = None  # epoch milliseconds; None: it never has
        self._deleting: set[int] = set()  # numbers of queues that wait for their last jobs
        # number of a queue -> (the job at its head, why it was told that it stands)
        self._told: dict[int, tuple[int, str]] = {}

    async def tick(self, house: House, now: datetime) -> datetime | None:
        room = house.turn("batch")
        if not self._has_started:
            room.read(self._start)
            self._has_started = True
        self._look_at_the_clock(milliseconds(now))
        while room.read(_is_news_of_jobs):
            await room.write(_move_jobs)
        for _ in range(_PORTIONS):
            if not room.read(children.is_waited_for):
                break
            await room.write(children.move)
        taken = news.of(house).take()
        try:
            await self._settle_queues(room, taken.queues)
            has_changed = room.read(lambda call: snapshots.of(house).take_in(call, taken))
        except BaseException:
            news.of(house).put_back(taken)
            raise
        now_ms = milliseconds(house.now())
        if has_changed or self._decides_at is None or now_ms >= self._decides_at:
            self._decides_at = None  # A turn that fails half-way is taken again.
            self._decides_at = await self._decide(house, room, now_ms)
        if room.read(children.is_waited_for):
            return house.now()
        next_deadline = room.read(lambda call: store.next_deadline(call.transaction))
        return _earliest(self._decides_at if self._decides_at < _NEVER else None, next_deadline)

    async def _decide(self, house: House, room: Turn, now_ms: int) -> int:
        """Decides and writes it down. When, at the latest, the same snapshot would be decided on otherwise."""
        snapshot = snapshots.of(house).snapshot()
        await self._give_up(room, snapshot, now_ms)
        decisions = decide(snapshot, now_ms, house.settings.idle_seconds)
        acts = [decision for decision in decisions if not isinstance(decision, Block)]
        for portion in _portions(acts):
            await room.write(partial(_write_down, decisions=portion))
        await self._tell_heads(room, {each.queue: each for each in decisions if isinstance(each, Block)})
        moments = (
            next_wake(snapshot, now_ms, house.settings.idle_seconds),
            joining.next_deadline(snapshot, since=self._watches_since, join_seconds=house.settings.join_seconds),
            await self._apply_time_limits(room),
        )
        return min((moment for moment in moments if moment is not None), default=_NEVER)

    def _look_at_the_clock(self, now_ms: int) -> None:
        """A clock that was set says nothing of how long an instance had to join: it is watched from now on."""
        began_at = now_ms - asyncio.get_running_loop().time() * 1000
        if abs(began_at - self._clock_began_at) > _CLOCK_WAS_SET_MS:
            self._watches_since = now_ms
        self._clock_began_at = began_at

    def _start(self, call: Call) -> None:
        """At the start everything is news. Who was told why he stands is found at the heads of the queues."""
        marks = news.of(call.house)
        for queue in store.all_queues(call.transaction):
            marks.queues.add(queue.number)
            for head in store.heads(call.transaction, queue.number, 1):
                job = store.job(call.transaction, head[0])
                if job is not None and job.status_reason is not None:
                    self._told[queue.number] = (job.number, job.status_reason)
        marks.environments.update(one.number for one in store.all_environments(call.transaction))

    async def _settle_queues(self, room: Turn, changed: set[int]) -> None:
        for number in sorted(changed | self._deleting):
            while room.read(partial(_is_unsettled, number=number)):
                if not await room.write(partial(self._settle_queue, number=number)):
                    break

    def _settle_queue(self, call: Call, number: int) -> bool:
        """A queue is VALID as soon as it is looked at; one that is to go ends its jobs first. Whether to go on at once."""
        queue = store.queue(call.transaction, number)
        if queue is None:
            self._deleting.discard(number)
            return False
        if queue.status == "DELETING":
            self._deleting.add(number)
            return _empty_queue(call, queue)
        store.save_queue(call.transaction, replace(queue, status="VALID", status_reason=QUEUE_HEALTHY))
        return False

    async def _give_up(self, room: Turn, snapshot: Snapshot, now: int) -> None:
        seconds = room.house.settings.join_seconds
        failed = [
            number
            for number, view in snapshot.environments.items()
            if joining.has_failed(view, now, since=self._watches_since, join_seconds=seconds)
        ]
        if failed:
            await room.write(partial(_give_up, numbers=failed))

    # --- why the heads of queues stand ---

    async def _tell_heads(self, room: Turn, blocks: dict[int, Block]) -> None:
        """The job at the head of each queue is told why it stands; one that stood there before is told so no more."""
        standing = {queue: (block.job, block.because) for queue, block in blocks.items() if block.because is not None}
        if standing == self._told:
            return
        before, self._told = self._told, standing

        def tell(call: Call) -> None:
            for queue, (job, _) in sorted(before.items()):
                if queue not in standing or standing[queue][0] != job:
                    _tell(call, job, None)
            for queue, told in sorted(standing.items()):
                if before.get(queue) != told:
                    _tell(call, *told)

        try:
            await room.write(tell)
        except BaseException:
            self._told = before
            raise

    async def _apply_time_limits(self, room: Turn) -> int | None:
        """Cancels jobs that have stood at a head for as long as their queue lets them; when that is next the case."""

        def due(call: Call) -> list[tuple[int, int, str]]:
            return _time_limits(call, self._told)

        limits = room.read(due)
        now = milliseconds(room.house.now())
        if any(moment <= now for _, moment, _ in limits):
            await room.write(lambda call: _end_blocked(call, due(call)))
        return min((moment for _, moment, _ in limits if moment > now), default=None)


def _tell(call: Call, number: int, because: str | None) -> None:
    job = store.job(call.transaction, number)
    if job is None or job.status is not Status.RUNNABLE:
        return
    inner = within(call, job.account, job.region)
    after = life.apply(inner, job, lifecycle.Blocked(because))
    if because is not None and after.blocked_since != job.blocked_since and inner.is_heard(QUEUE_BLOCKED):
        # Batch user guide, "Batch job queue blocked events": detail as DescribeJobs shows the job.
        body = store.body(call.transaction, number)
        detail = views.job_detail(after, body, store.tags_of_job(call.transaction, after.submission))
        inner.emit(QUEUE_BLOCKED, views.job_arn(after), detail)


def _time_limits(call: Call, told: dict[int, tuple[int, str]]) -> list[tuple[int, int, str]]:
    """(number of a job at a head, when its queue has it cancelled, the code for which it stands)."""
    limits = []
    for queue_number, (job_number, because) in sorted(told.items()):
        queue = store.queue(call.transaction, queue_number)
        job = store.job(call.transaction, job_number) if queue is not None and queue.time_limit_actions else None
        if queue is None or job is None or job.status is not Status.RUNNABLE or job.blocked_since is None:
            continue
        code = lifecycle.blocked_code(because)
        for action in queue.time_limit_actions:
            if action["reason"] == code:
                limits.append((job_number, job.blocked_since + 1000 * action["maxTimeSeconds"], code))
    return limits


def _end_blocked(call: Call, limits: list[tuple[int, int, str]]) -> None:
    for number, moment, code in limits:
        job = store.job(call.transaction, number)
        if moment <= milliseconds(call.now) and job is not None and job.status is Status.RUNNABLE:
            inner = within(call, job.account, job.region)
            life.apply(inner, job, lifecycle.Cancelled(LIMIT_REACHED.format(code)))


def _give_up(call: Call, numbers: list[int]) -> None:
    """Environments of whose instances none joins; unless one has just done so."""
    for number in numbers:
        environment = store.environment(call.transaction, number)
        if environment is None or environment.status != "VALID":
            continue
        if not any(joining.has_joined(one) for one in store.instances_of(call.transaction, number)):
            environments.give_up(within(call, environment.account, environment.region), environment)


def _write_down(call: Call, decisions: Sequence[Decision]) -> None:
    ledger = _Ledger(call, [decision.job for decision in decisions if isinstance(decision, Place)])
    for decision in decisions:
        match decision:
            case Place():
                ledger.place(decision)
            case Launch():
                ledger.launch(decision)
            case Retire():
                ledger.retire(decision)
    ledger.close()


class _Ledger:
    """Writes decisions down in one transaction, reading each environment, each instance and the `jobs` to be placed once."""

    def __init__(self, call: Call, jobs: Sequence[int]) -> None:
        self._call = call
        self._jobs = store.jobs_with_bodies(call.transaction, jobs) if jobs else {}
        self._environments: dict[int, Environment | None] = {}
        self._instances: dict[int, Instance | None] = {}
        self._launched: set[int] = set()
        self._held: set[int] = set()  # numbers of instances on which ECS took no task
        self._troubled: set[int] = set()  # numbers of environments in which it takes none

    def place(self, decision: Place) -> None:
        """The job is STARTING and has its task; or has an intent to start it, under the token that the job bears."""
        job, body = self._jobs.get(decision.job, (None, None))
        if job is None or body is None or job.status is not Status.RUNNABLE:
            return
        environment, instance = self._environment(decision.environment), self._instance(decision.instance)
        if environment is None or instance is None or not _takes_jobs(environment, instance):
            news.environment_changed(self._call, decision.environment)
            return
        if environment.number in self._troubled or instance.number in self._held:
            return  # Its snapshot is out of date; the news of that is on its way.
        call = within(self._call, job.account, job.region)
        placed = lifecycle.Placed(decision.environment, decision.instance, call.ids.uuid())
        starting, _ = lifecycle.step(job, placed, milliseconds(call.now))
        started = self._start(call, starting, body, environment, instance)
        if isinstance(started, Later):
            life.apply(call, job, placed)
            life.intend(
                call, job.account, job.region, "start", job.number,
                token=placed.token, tries=1, after_ms=started.after_ms,
            )  # fmt: skip
        elif isinstance(started, lifecycle.Unplaced):
            self._forget(environment, instance)
        else:
            life.apply(call, job, placed, started)

    def _start(self, call: Call, job: Job, body: Body, environment: Environment, one: Instance) -> tasks.Started:
        """A fault in one start is that job's alone: it is tried again by the effects loop, later and later."""
        try:
            return call.transaction.savepoint(lambda: tasks.start_at_once(call, job, body, environment, one))
        except TransactionLost:
            raise
        except Exception:
            log.exception("start failed", job=job.job_id)
            return troubles.later(0)

    def _forget(self, environment: Environment, one: Instance) -> None:
        """ECS took no task there: nothing more is tried in this turn where the next one will not try either."""
        self._instances.pop(one.number, None)
        self._environments.pop(environment.number, None)
        held, troubled = self._instance(one.number), self._environment(environment.number)
        if held != one:
            self._held.add(one.number)
        if troubled != environment:
            self._troubled.add(environment.number)

    def launch(self, decision: Launch) -> None:
        """The wish for an instance, and the intent to launch it."""
        environment = self._environment(decision.environment)
        if environment is None or environment.status != "VALID":
            return
        call = within(self._call, environment.account, environment.region)
        number = store.next_number(call.transaction, "instance")
        intent = life.intend(call, environment.account, environment.region, "launch", number)
        wished = Instance(
            number=number,
            environment=environment.number,
            account=environment.account,
            region=environment.region,
            token=intent.token,
            instance_type=decision.instance_type,
            cpu=decision.cpu,
            memory_mib=decision.memory_mib,
            phase="asked",
            asked_at=milliseconds(call.now),
        )
        store.insert_instance(call.transaction, wished)
        news.instance_changed(call, environment.number, number)
        self._launched.add(environment.number)

    def retire(self, decision: Retire) -> None:
        instance = self._instance(decision.instance)
        if instance is None or instance.phase not in ("launched", "joined"):
            return
        if instance.outdated_at is None and store.is_used(self._call.transaction, instance.number):
            news.instance_changed(self._call, decision.environment, instance.number)
            return
        instances.retire(within(self._call, instance.account, instance.region), instance)
        self._instances[instance.number] = None

    def close(self) -> None:
        """desiredvCpus as somebody asked for it has been reached: from now on Batch itself moves it."""
        for number in sorted(self._launched):
            environment = self._environment(number)
            if environment is None or not (environment.resources or {}).get("desiredvCpus"):
                continue
            resources = dict(environment.resources or {})
            there = sum(one.cpu for one in store.instances_of(self._call.transaction, number)) // 1024
            if there >= resources.pop("desiredvCpus"):
                store.save_environment(self._call.transaction, replace(environment, resources=resources))
                news.environment_changed(self._call, number)

    def _environment(self, number: int) -> Environment | None:
        if number not in self._environments:
            self._environments[number] = store.environment(self._call.transaction, number)
        return self._environments[number]

    def _instance(self, number: int) -> Instance | None:
        if number not in self._instances:
            self._instances[number] = store.instance(self._call.transaction, number)
        return self._instances[number]


def _takes_jobs(environment: Environment | None, instance: Instance | None) -> bool:
    if environment is None or environment.status != "VALID" or environment.state != "ENABLED" or instance is None:
        return False
    return instance.phase == "joined" and instance.connected and instance.active and instance.outdated_at is None


# --- before deciding: what has been submitted, has ended, is late ---


def _is_news_of_jobs(call: Call) -> bool:
    tx = call.transaction
    if store.next_release(tx) is not None or store.submitted_jobs(tx, 1):
        return True
    deadline = store.next_deadline(tx)
    return deadline is not None and deadline <= milliseconds(call.now)


def _move_jobs(call: Call) -> None:
    """A bounded portion of each."""
    for job in store.submitted_jobs(call.transaction, _STEP):
        waits = store.count_dependencies(call.transaction, job.number) > 0
        event = lifecycle.Waits() if waits else lifecycle.Released()
        life.apply(within(call, job.account, job.region), job, event)
    _release_dependents(call)
    for job in store.overdue_jobs(call.transaction, milliseconds(call.now), _STEP):
        life.apply(within(call, job.account, job.region), job, lifecycle.TimedOut(job.attempt))


def _release_dependents(call: Call) -> None:
    """Tells a bounded number of those that wait for jobs that have ended."""
    tx, told = call.transaction, 0
    while told < _STEP and (release := store.next_release(tx)) is not None:
        ended, has_succeeded = release
        numbers = store.dependents(tx, ended, _STEP)
        for number in numbers:
            _release_dependent(call, number, ended, has_succeeded)
        if len(numbers) < _STEP:
            store.remove_release(tx, ended)
        told += 1 + len(numbers)


def _release_dependent(call: Call, number: int, ended: int, has_succeeded: bool) -> None:
    tx = call.transaction
    store.remove_dependency(tx, number, ended)
    job = store.job(tx, number)
    if job is None:
        return
    inner = within(call, job.account, job.region)
    if not has_succeeded:
        life.apply(inner, job, lifecycle.DependencyFailed())
    elif job.status is Status.PENDING and store.count_dependencies(tx, number) == 0:
        life.apply(inner, job, lifecycle.Released())


def _is_unsettled(call: Call, number: int) -> bool:
    queue = store.queue(call.transaction, number)
    return queue is not None and queue.status not in ("VALID", "INVALID")


def _empty_queue(call: Call, queue: Queue) -> bool:
    """API reference, DeleteJobQueue: all jobs in the queue are eventually terminated. The queue goes with the last.

    Whether more can be done at once: what runs is waited for.
    """
    jobs = store.unended_jobs(call.transaction, queue.number, _QUEUE_PORTION)
    if not jobs:
        store.delete_queue(call.transaction, queue.number)
        news.queue_changed(call, queue.number)
        return True
    # An array is waited for, too: its children are asked one portion after another.
    asked = [job for job in jobs if not (job.is_terminated and (job.status in ACTIVE or job.size is not None))][:_STEP]
    for job in asked:
        inner = within(call, job.account, job.region)
        after = life.apply(inner, job, lifecycle.Terminated(QUEUE_DELETED))
        if after.status is Status.PENDING:
            life.apply(inner, after, lifecycle.DependencyFailed())  # It does not wait for what it depends on.
    return bool(asked)


def _portions(decisions: Sequence[Decision]) -> Iterable[Sequence[Decision]]:
    return (decisions[at : at + _STEP] for at in range(0, len(decisions), _STEP))


def _earliest(*moments: int | None) -> datetime | None:
    """The earliest of those that there are, in epoch milliseconds."""
    first = min((moment for moment in moments if moment is not None), default=None)
    return None if first is None else from_milliseconds(first)
