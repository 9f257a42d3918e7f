"""The life of a job. Pure: a job and an event in, a job and effects out.

    SUBMITTED -> PENDING -> RUNNABLE -> STARTING -> RUNNING -> SUCCEEDED
        |           |          |  ^        |           |
        |           |          |  +--------+-----------+   another attempt
        +-----------+----------+-----------+-----------+-> FAILED

An attempt begins with `Placed` and ends once: with `TaskStopped`, `StartFailed` or `HostGone`. `Unplaced` takes back a
place before there was a task, so it is no attempt. What is asked of a running attempt (terminate, timeout) is kept in
`ending`, and decides when the task has stopped.

The parent of an array never runs. It is PENDING until all its children have ended, each of which lives as above:

    SUBMITTED -> PENDING -> SUCCEEDED | FAILED

What is asked of it is asked of its children; what they are told is among its effects.

Sources: AWS Batch user guide, "Job states", "Array jobs", "Automated job retries", "Job timeouts"; API reference, CancelJob,
TerminateJob.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from longshore.services.batch.records import TERMINAL, Attempt, EvaluateOnExit, Job, Status

DEPENDENCY_FAILED = "Dependent Job failed"
TIMED_OUT = "Job attempt duration exceeded timeout"
CHILD_FAILED = "Array Child Job failed"
EXITED = "Essential container in task exited"
REASON_LENGTH_MAX = 255  # API reference, ContainerDetail, reason: up to 255 characters.


class Released(Struct, frozen=True):
    """All that it waited for has succeeded, or there was nothing."""


class Waits(Struct, frozen=True):
    """Some of what it depends on has not ended."""


class DependencyFailed(Struct, frozen=True):
    pass


class Blocked(Struct, frozen=True):
    """It stands at the head of its queue and can't be placed. `because` None: only time stands in the way."""

    because: str | None


class Placed(Struct, frozen=True):
    environment: int
    instance: int
    token: str


class Unplaced(Struct, frozen=True):
    """The task was never accepted, and could not have been the job's fault."""

    token: str


class StartFailed(Struct, frozen=True):
    """ECS refused the task for what it is: this is an attempt, and it failed."""

    token: str
    reason: str


class TaskAccepted(Struct, frozen=True):
    token: str
    task_arn: str
    container_instance_arn: str


class TaskRunning(Struct, frozen=True):
    task_arn: str
    started_at: int
    log_stream: str | None


class TaskStopped(Struct, frozen=True, kw_only=True):
    task_arn: str
    status_reason: str
    exit_code: int | None = None
    reason: str | None = None
    log_stream: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None


class HostGone(Struct, frozen=True):
    """The kind of machine says that the instance is no more. A silent agent is not this."""

    instance: int
    instance_id: str


class Cancelled(Struct, frozen=True):
    reason: str


class Terminated(Struct, frozen=True):
    reason: str


class TimedOut(Struct, frozen=True):
    attempt: int


class ChildrenEnded(Struct, frozen=True):
    """Of an array's parent: none of its children is left."""

    succeeded: bool  # all of them


Event = (
    Released | Waits | DependencyFailed | Blocked | Placed | Unplaced | StartFailed | TaskAccepted | TaskRunning | TaskStopped
    | HostGone | Cancelled | Terminated | TimedOut | ChildrenEnded
)  # fmt: skip


class StopTask(Struct, frozen=True):
    reason: str


class WithdrawStart(Struct, frozen=True):
    """The intent to start its task is void."""

    token: str


class ReleaseDependents(Struct, frozen=True):
    succeeded: bool


class FreePlace(Struct, frozen=True):
    environment: int
    instance: int


class SpawnChildren(Struct, frozen=True):
    """They come to wait for a place, or for what they depend on by themselves."""


class CallOffChildren(Struct, frozen=True):
    """All that have not ended are called off as single jobs are."""

    reason: str
    stops: bool  # those that run, too


class DropChildren(Struct, frozen=True):
    """What those that wait for other jobs depend on will not succeed."""


Effect = StopTask | WithdrawStart | ReleaseDependents | FreePlace | SpawnChildren | CallOffChildren | DropChildren
Step = tuple[Job, list[Effect]]


def step(job: Job, event: Event, now: int) -> Step:
    """The job after the event, and what is now to be done. `now` in epoch milliseconds.

    News of an attempt that is over, and requests that come too late, change nothing.
    """
    table = TRANSITIONS if job.size is None else ARRAY_TRANSITIONS
    reaction = table.get((job.status, type(event)))
    return (job, []) if reaction is None else reaction(job, event, now)


def _end(job: Job, status: Status, reason: str | None, now: int) -> Step:
    ended = replace(job, status=status, status_reason=reason, stopped_at=now, token=None)
    return ended, [ReleaseDependents(status is Status.SUCCEEDED)]


def on_released(job: Job, event: Released, now: int) -> Step:
    if job.ending is not None:
        return _end(job, Status.FAILED, job.ending, now)
    return replace(job, status=Status.RUNNABLE, status_reason=None), []


def on_waits(job: Job, event: Waits, now: int) -> Step:
    return replace(job, status=Status.PENDING), []


def on_dependency_failed(job: Job, event: DependencyFailed, now: int) -> Step:
    return _end(job, Status.FAILED, job.ending or DEPENDENCY_FAILED, now)


def on_blocked(job: Job, event: Blocked, now: int) -> Step:
    if event.because == job.status_reason:
        return job, []
    if event.because is None:
        return replace(job, status_reason=None, blocked_since=None), []
    # Its time counts from when the same code was first given, whatever the words behind the code.
    same = job.status_reason is not None and blocked_code(job.status_reason) == blocked_code(event.because)
    since = job.blocked_since if same else now
    return replace(job, status_reason=event.because, blocked_since=since), []


def blocked_code(because: str) -> str:
    """`CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY` of the text that begins so."""
    return because.split(" ", 1)[0]


def on_placed(job: Job, event: Placed, now: int) -> Step:
    placed = replace(
        job, status=Status.STARTING, status_reason=None, blocked_since=None, attempt=len(job.attempts) + 1,
        environment=event.environment, instance=event.instance, token=event.token,
        task_arn=None, container_instance_arn=None, log_stream=None, started_at=None, stopped_at=None,
        exit_code=None, reason=None,
    )  # fmt: skip
    return placed, []


def on_unplaced(job: Job, event: Unplaced, now: int) -> Step:
    if event.token != job.token or job.task_arn is not None:
        return job, []
    freed = _free(job)
    if job.ending is not None:
        ended, effects = _end(_unplace(job), Status.FAILED, job.ending, now)
        return ended, [*effects, *freed]
    return replace(_unplace(job), status=Status.RUNNABLE), freed


def _unplace(job: Job) -> Job:
    return replace(job, attempt=len(job.attempts), environment=None, instance=None, token=None)


def _free(job: Job) -> list[Effect]:
    if job.environment is None or job.instance is None:
        return []
    return [FreePlace(job.environment, job.instance)]


def on_start_failed(job: Job, event: StartFailed, now: int) -> Step:
    if event.token != job.token or job.task_arn is not None:
        return job, []
    return _end_attempt(job, Attempt(status_reason=event.reason, stopped_at=now), now)


def on_task_accepted(job: Job, event: TaskAccepted, now: int) -> Step:
    if event.token != job.token:
        return job, []
    accepted = replace(job, task_arn=event.task_arn, container_instance_arn=event.container_instance_arn)
    return accepted, []


def on_task_running(job: Job, event: TaskRunning, now: int) -> Step:
    if event.task_arn != job.task_arn:
        return job, []
    started_at = event.started_at
    return replace(job, status=Status.RUNNING, started_at=started_at, log_stream=event.log_stream), []


def on_task_stopped(job: Job, event: TaskStopped, now: int) -> Step:
    if event.task_arn != job.task_arn:
        return job, []
    reason = event.reason[:REASON_LENGTH_MAX] if event.reason else None
    started_at = job.started_at if job.started_at is not None else event.started_at
    attempt = Attempt(
        status_reason=event.status_reason,
        started_at=started_at,
        stopped_at=event.stopped_at or now,
        exit_code=event.exit_code,
        reason=reason,
        container_instance_arn=job.container_instance_arn,
        task_arn=job.task_arn,
        log_stream=event.log_stream or job.log_stream,
    )
    return _end_attempt(job, attempt, now)


def on_host_gone(job: Job, event: HostGone, now: int) -> Step:
    if event.instance != job.instance:
        return job, []
    if job.task_arn is None:
        # No task was accepted, so nothing can have run: the place is lost, the attempt is not.
        moved, effects = on_unplaced(job, Unplaced(job.token or ""), now)
        return moved, [WithdrawStart(job.token or ""), *effects]
    attempt = Attempt(
        status_reason=f"Host EC2 (instance {event.instance_id}) terminated.",
        started_at=job.started_at,
        stopped_at=now,
        container_instance_arn=job.container_instance_arn,
        task_arn=job.task_arn,
        log_stream=job.log_stream,
    )
    return _end_attempt(job, attempt, now)


def _end_attempt(job: Job, attempt: Attempt, now: int) -> Step:
    """Notes the attempt, and decides: succeeded, failed, or once more."""
    succeeded = attempt.exit_code == 0 and job.ending is None
    # A terminated or timed-out attempt tells the caller's reason, not what the container died of.
    status_reason = job.ending or attempt.status_reason
    attempt = replace(attempt, status_reason=status_reason)
    noted = replace(
        job, attempts=(*job.attempts, attempt), exit_code=attempt.exit_code, reason=attempt.reason,
        log_stream=attempt.log_stream, started_at=attempt.started_at, stopped_at=attempt.stopped_at, token=None,
    )  # fmt: skip
    freed = _free(job)
    if not succeeded and may_retry(noted, attempt):
        again = replace(noted, status=Status.RUNNABLE, status_reason=None, environment=None, instance=None)
        return again, freed
    ended = replace(noted, status=Status.SUCCEEDED if succeeded else Status.FAILED, status_reason=status_reason)
    return ended, [ReleaseDependents(succeeded), *freed]


def on_cancelled(job: Job, event: Cancelled, now: int) -> Step:
    return _end(replace(job, is_cancelled=True), Status.FAILED, event.reason, now)


def on_terminated(job: Job, event: Terminated, now: int) -> Step:
    return _end(replace(job, is_terminated=True), Status.FAILED, event.reason, now)


def on_cancelled_pending(job: Job, event: Cancelled, now: int) -> Step:
    """It becomes FAILED when its dependencies have ended (API reference, CancelJob)."""
    return replace(job, is_cancelled=True, ending=job.ending or event.reason), []


def on_terminated_pending(job: Job, event: Terminated, now: int) -> Step:
    return replace(job, is_terminated=True, ending=job.ending or event.reason), []


def on_terminated_active(job: Job, event: Terminated, now: int) -> Step:
    if job.ending is not None:
        return replace(job, is_terminated=True), []
    asked = replace(job, is_terminated=True, ending=event.reason)
    return _stop(asked, now)


def on_timed_out(job: Job, event: TimedOut, now: int) -> Step:
    if event.attempt != job.attempt or job.ending is not None:
        return job, []
    return _stop(replace(job, ending=TIMED_OUT), now)


def _stop(job: Job, now: int) -> Step:
    if job.task_arn is not None:
        return job, [StopTask(job.ending or "")]
    # The task was not accepted yet: what was never started needs no stopping.
    token = job.token or ""
    ended, effects = _end(_unplace(job), Status.FAILED, job.ending, now)
    return ended, [WithdrawStart(token), *effects, *_free(job)]


def may_retry(job: Job, attempt: Attempt) -> bool:
    """Whether the job, its last attempt noted, gets another one.

    Never after a request to end it or a timeout. The first rule that matches decides; where none does, RETRY.
    Source: API reference, RetryStrategy, EvaluateOnExit.
    """
    if job.ending is not None or len(job.attempts) >= job.attempts_allowed:
        return False
    for rule in job.rules:
        if _matches(rule, attempt):
            return rule.action == "retry"
    return True


def _matches(rule: EvaluateOnExit, attempt: Attempt) -> bool:
    exit_code = "" if attempt.exit_code is None else str(attempt.exit_code)
    return (
        _fits(rule.on_status_reason, attempt.status_reason)
        and _fits(rule.on_reason, attempt.reason or "")  # `*` matches a missing reason (user guide's example)
        and _fits(rule.on_exit_code, exit_code)
    )


def _fits(pattern: str | None, text: str) -> bool:
    if pattern is None:
        return True
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


# --- the parent of an array ---


def on_array_released(job: Job, event: Released, now: int) -> Step:
    if job.spawned_at is not None:
        return job, []
    if job.ending is not None:
        return job, [CallOffChildren(job.ending, job.is_terminated)]
    return replace(job, status=Status.PENDING, spawned_at=now), [SpawnChildren()]


def on_array_dependency_failed(job: Job, event: DependencyFailed, now: int) -> Step:
    ending = job.ending or DEPENDENCY_FAILED
    failing = replace(job, status=Status.PENDING, ending=ending)
    if job.spawned_at is None:
        return failing, [CallOffChildren(ending, job.is_terminated)]
    return failing, [DropChildren()]


def on_array_cancelled(job: Job, event: Cancelled, now: int) -> Step:
    return _call_off(replace(job, is_cancelled=True), event.reason, stops=False)


def on_array_terminated(job: Job, event: Terminated, now: int) -> Step:
    return _call_off(replace(job, is_terminated=True), event.reason, stops=True)


def _call_off(job: Job, reason: str, *, stops: bool) -> Step:
    """One that depends on others waits for their end first, as a single job does."""
    waits = job.status is Status.PENDING and job.spawned_at is None
    asked = replace(job, status=Status.PENDING, ending=job.ending or reason)
    return asked, [] if waits else [CallOffChildren(reason, stops)]


def on_children_ended(job: Job, event: ChildrenEnded, now: int) -> Step:
    if event.succeeded:
        return _end(job, Status.SUCCEEDED, None, now)
    return _end(job, Status.FAILED, job.ending or CHILD_FAILED, now)


Reaction = Callable[[Job, Any, int], Step]

TRANSITIONS: dict[tuple[Status, type[Struct]], Reaction] = {
    (Status.SUBMITTED, Released): on_released,
    (Status.SUBMITTED, Waits): on_waits,
    (Status.SUBMITTED, DependencyFailed): on_dependency_failed,
    (Status.SUBMITTED, Cancelled): on_cancelled,
    (Status.SUBMITTED, Terminated): on_terminated,
    (Status.PENDING, Released): on_released,
    (Status.PENDING, DependencyFailed): on_dependency_failed,
    (Status.PENDING, Cancelled): on_cancelled_pending,
    (Status.PENDING, Terminated): on_terminated_pending,
    (Status.RUNNABLE, Blocked): on_blocked,
    (Status.RUNNABLE, Placed): on_placed,
    (Status.RUNNABLE, Cancelled): on_cancelled,
    (Status.RUNNABLE, Terminated): on_terminated,
    (Status.STARTING, Unplaced): on_unplaced,
    (Status.STARTING, StartFailed): on_start_failed,
    (Status.STARTING, TaskAccepted): on_task_accepted,
    (Status.STARTING, TaskRunning): on_task_running,
    (Status.STARTING, TaskStopped): on_task_stopped,
    (Status.STARTING, HostGone): on_host_gone,
    (Status.STARTING, Terminated): on_terminated_active,
    (Status.RUNNING, TaskStopped): on_task_stopped,
    (Status.RUNNING, HostGone): on_host_gone,
    (Status.RUNNING, Terminated): on_terminated_active,
    (Status.RUNNING, TimedOut): on_timed_out,
}

ARRAY_TRANSITIONS: dict[tuple[Status, type[Struct]], Reaction] = {
    (Status.SUBMITTED, Released): on_array_released,
    (Status.SUBMITTED, Waits): on_waits,
    (Status.SUBMITTED, DependencyFailed): on_array_dependency_failed,
    (Status.SUBMITTED, Cancelled): on_array_cancelled,
    (Status.SUBMITTED, Terminated): on_array_terminated,
    (Status.PENDING, Released): on_array_released,
    (Status.PENDING, DependencyFailed): on_array_dependency_failed,
    (Status.PENDING, Cancelled): on_array_cancelled,
    (Status.PENDING, Terminated): on_array_terminated,
    (Status.PENDING, ChildrenEnded): on_children_ended,
}

assert not any(status in TERMINAL for status, _ in (*TRANSITIONS, *ARRAY_TRANSITIONS))  # Invariant: an end is an end.
