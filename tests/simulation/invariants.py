"""What must hold after every step, whatever happened. Read from the database itself, and from what really ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from longshore.services.batch import arrays, snapshots
from longshore.services.batch.records import ACTIVE, TERMINAL, Array, Attempt, Instance, Job, Status

if TYPE_CHECKING:
    from simulation.world import World

_JOB = msgspec.json.Decoder(Job)
_INSTANCE = msgspec.json.Decoder(Instance)
_ARRAY = msgspec.json.Decoder(Array)
_LINES = (
    "SELECT e.message FROM logs_events e JOIN logs_streams s ON e.stream_key = s.key "
    "WHERE s.name = ? ORDER BY e.at, e.number"
)
LOG = ("one", "two", "three")  # what each container writes


class Submission(Struct, frozen=True):
    """What was asked for with a job whose id was answered."""

    parents: tuple[str, ...] = ()  # ids of the jobs that it depends on
    size: int | None = None  # None: no array
    is_sequential: bool = False
    counterparts: tuple[str, ...] = ()  # arrays on whose children its own depend, each on that of its index


class Watch:
    """Remembers what it saw of each job, and looks again at those that have changed."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.acknowledged: dict[str, Submission] = {}  # by job id
        self._seen: dict[int, tuple[int, Job]] = {}  # number -> version, job
        self._by_id: dict[str, Job] = {}
        self._arrays: dict[int, tuple[int, Array]] = {}  # number -> version, array
        self.steps = 0

    def check(self) -> None:
        """After each commit."""
        assert self.world is not None
        self.steps += 1
        changed = self._changed_jobs()
        for job, before in changed:
            self._check_job(job, before)
        touched = {job.array or job.number for job, _ in changed} | self._changed_arrays()
        for number in sorted(touched & self._arrays.keys()):
            self._check_array(self._arrays[number][1])
        if changed:
            self._check_capacity()
        if self.steps % 16 == 0:
            self._check_memory()

    def _changed_jobs(self) -> list[tuple[Job, Job | None]]:
        assert self.world is not None
        rows = self.world._disk._writer.execute("SELECT number, version, document FROM batch_jobs").fetchall()
        assert len(rows) >= len(self._seen), "a job was lost"
        changed: list[tuple[Job, Job | None]] = []
        for number, version, document in rows:
            seen = self._seen.get(number)
            if seen is not None and seen[0] == version:
                continue
            job = _JOB.decode(document)
            changed.append((job, seen[1] if seen else None))
            self._seen[number] = (version, job)
            self._by_id[job.job_id] = job
        return changed

    def _changed_arrays(self) -> set[int]:
        assert self.world is not None
        changed: set[int] = set()
        for number, version, document in self.world._disk._writer.execute(
            "SELECT number, version, document FROM batch_arrays"
        ).fetchall():
            seen = self._arrays.get(number)
            if seen is None or seen[0] != version:
                self._arrays[number] = (version, _ARRAY.decode(document))
                changed.add(number)
        return changed

    def _check_array(self, array: Array) -> None:
        """Each child is in one place, is counted where it is, and the parent ends with the last of them."""
        parent = self._seen[array.number][1]
        sets = [arrays.bits(kept) for kept in (array.unborn, array.waiting, array.ready, array.dropped)]
        counted = [0] * len(Status)
        counted[Status.PENDING] += sets[1].bit_count()
        counted[Status.RUNNABLE] += sets[2].bit_count()
        counted[Status.FAILED] += sets[3].bit_count()
        for index in range(array.size):
            row = self._seen.get(array.first + index)
            places = sum(each >> index & 1 for each in sets)
            assert places + (row is not None) == 1, f"child {index} is in {places} sets, with {row}: {array}"
            if row is not None:
                assert (row[1].array, row[1].index) == (array.number, index), f"it is no child of its array: {row[1]}"
                counted[row[1].status] += 1
        assert tuple(counted) == array.counts, f"counted {counted}: {array}"
        assert sum(counted) + sets[0].bit_count() == array.size
        have_ended = counted[Status.SUCCEEDED] + counted[Status.FAILED] == array.size
        assert (parent.status in TERMINAL) == have_ended, f"it ended without its children: {parent}, {array}"
        if parent.status in TERMINAL:
            succeeded = array.counts[Status.SUCCEEDED] == array.size
            assert (parent.status is Status.SUCCEEDED) == succeeded, f"it ended otherwise than its children: {parent}"

    def _submission(self, job: Job) -> Submission:
        """What a child was submitted with is what its parent was."""
        return self.acknowledged.get(job.job_id.partition(":")[0], Submission())

    def _check_job(self, job: Job, before: Job | None) -> None:
        assert self.world is not None
        assert len(job.attempts) <= job.attempts_allowed, f"more attempts than allowed: {job}"
        assert job.attempt <= job.attempts_allowed, f"more attempts than allowed: {job}"
        if before is not None:
            assert before.status not in TERMINAL or job == before, f"an end is an end: {before} became {job}"
            assert job.attempts[: len(before.attempts)] == before.attempts, f"an attempt was rewritten: {job}"
        if job.status >= Status.STARTING and job.status not in TERMINAL:
            submission = self._submission(job)
            before_it = list(submission.parents)
            if job.index is not None:
                before_it += [f"{other}:{job.index}" for other in submission.counterparts]
                if submission.is_sequential and job.index:
                    before_it.append(f"{job.job_id.partition(':')[0]}:{job.index - 1}")
            for parent in before_it:
                assert self._by_id[parent].status is Status.SUCCEEDED, f"a child ran before its parent: {job}"
        assert job.size is None or job.status not in (Status.RUNNABLE, *ACTIVE), f"an array ran itself: {job}"
        if job.status in ACTIVE:
            assert job.instance is not None and job.environment is not None, f"it runs nowhere: {job}"
        for number, attempt in enumerate(job.attempts, 1):
            self._check_attempt(job, number, attempt)
        self._check_fence(job, before)
        if job.status is Status.SUCCEEDED and job.size is None:
            assert job.attempts and job.attempts[-1].exit_code == 0, f"a false success: {job}"

    def _check_attempt(self, job: Job, number: int, attempt: Attempt) -> None:
        """An exit code is one that a container really ended with."""
        assert self.world is not None
        if attempt.exit_code is not None:
            real = self.world.containers.ran.get((job.job_id, str(number)))
            assert real == attempt.exit_code, f"attempt {number} ended with {real} and was told as {attempt}"

    def _check_fence(self, job: Job, before: Job | None) -> None:
        """Only the end of its container or of its machine ends an attempt, however silent the agent is."""
        assert self.world is not None
        first = len(before.attempts) + 1 if before is not None else 1
        ended = {(job.job_id, str(number)) for number in range(first, len(job.attempts) + 1)}
        if job.status in TERMINAL:
            ended.add((job.job_id, str(job.attempt)))
        for attempt in sorted(ended):
            assert not self.world.lives(attempt), f"attempt {attempt[1]} was ended while its container runs: {job}"
        self.world.containers.over |= ended

    def _check_capacity(self) -> None:
        assert self.world is not None
        taken: dict[int, tuple[int, int]] = {}
        for _, job in self._seen.values():
            if job.status in ACTIVE and job.instance is not None:
                cpu, memory = taken.get(job.instance, (0, 0))
                taken[job.instance] = (cpu + job.cpu, memory + job.memory_mib)
        for (document,) in self.world._disk._writer.execute("SELECT document FROM batch_instances").fetchall():
            instance = _INSTANCE.decode(document)
            cpu, memory = taken.get(instance.number, (0, 0))
            assert cpu <= instance.cpu, f"more CPU than there is: {instance}"
            assert memory <= instance.memory_mib, f"more memory than there is: {instance}"

    def _check_memory(self) -> None:
        """The scheduler's memory equals what a rebuild from the store would give."""
        assert self.world is not None
        found = snapshots.differences(self.world.assembly.house)
        assert not found, f"memory differs from the store: {found[0]}"

    def all_ended(self) -> bool:
        return all(job.status in TERMINAL for _, job in self._seen.values())

    async def check_reasons(self) -> None:
        """Every waiting job has a reason."""
        assert self.world is not None
        for job in [job for _, job in self._seen.values() if job.status not in TERMINAL]:
            # Of an array, its children, whether they have rows or not.
            ids = [f"{job.job_id}:{index}" for index in range(job.size)] if job.size is not None else []
            for job_id in [job.job_id, *ids]:
                answer = await self.world.explain(job_id)
                assert answer["reasons"], f"it waits without a reason: {answer}"

    def _check_log(self, job: Job, number: int, attempt: Attempt) -> None:
        """Each line once and in order, whatever died and whatever was sent again; all of them, but where the machine failed."""
        assert self.world is not None
        if attempt.log_stream is None:
            return
        rows = self.world._disk._writer.execute(_LINES, (attempt.log_stream,)).fetchall()
        lines = tuple(message for (message,) in rows)
        where = f"attempt {number} of {job.job_id} wrote {lines}"
        assert lines == LOG[: len(lines)], f"lines are lost, doubled or out of order: {where}"
        runtime, _ = self.world.containers.where.get((job.job_id, str(number)), (None, ""))
        if attempt.exit_code is not None and runtime is not None and runtime not in self.world.failed:
            assert lines == LOG, f"lines are lost: {where}"

    def check_end(self) -> None:
        """Once faults have ended and time has passed: nothing acknowledged was lost, and all of it has ended as it must."""
        assert self.world is not None
        parked = self.world._disk._writer.execute("SELECT * FROM outbox_parked").fetchall()
        assert not parked, f"events that could not be taken in: {parked}"
        for job_id in self.acknowledged:
            assert job_id in self._by_id, f"an acknowledged job was lost: {job_id}"
        for job in self._by_id.values():
            assert job.status in TERMINAL, f"it never ended: {job}"
            for number, attempt in enumerate(job.attempts, 1):
                self._check_log(job, number, attempt)
            asked = job.is_cancelled or job.is_terminated or job.status_reason == "Dependent Job failed"
            if job.size is not None:
                assert asked or job.status_reason in (None, "Array Child Job failed"), f"it failed for nothing: {job}"
                continue
            timed_out = job.status_reason == "Job attempt duration exceeded timeout"
            if job.status is Status.FAILED and not asked and not timed_out:
                assert len(job.attempts) == job.attempts_allowed, f"it gave up early: {job}"


def summary(watch: Watch) -> dict[str, Any]:
    """How the jobs ended: for the traces of two runs of one seed to be compared."""
    return {
        job_id: (job.status.name, job.stopped_at, [msgspec.to_builtins(each) for each in job.attempts])
        for job_id, job in sorted(watch._by_id.items())
    }
