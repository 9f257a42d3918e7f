"""The life of a job: each row of its table once, every event in every state, and a long walk by chance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.services.batch import lifecycle
from longshore.services.batch.lifecycle import (
    ARRAY_TRANSITIONS,
    TIMED_OUT,
    TRANSITIONS,
    Blocked,
    CallOffChildren,
    Cancelled,
    ChildrenEnded,
    DependencyFailed,
    DropChildren,
    FreePlace,
    HostGone,
    Placed,
    Released,
    ReleaseDependents,
    SpawnChildren,
    StartFailed,
    StopTask,
    TaskAccepted,
    TaskRunning,
    TaskStopped,
    Terminated,
    TimedOut,
    Unplaced,
    Waits,
    WithdrawStart,
    step,
)
from longshore.services.batch.records import ACTIVE, TERMINAL, Attempt, EvaluateOnExit, Job, Status

NOW = 1_000_000
EXITED = "Essential container in task exited"


def job(status: Status, **more: Any) -> Job:
    return Job(
        number=7, job_id="j", account="1", region="r", name="n", queue=1, definition_arn="d", created_at=1,
        status=status, cpu=1024, memory_mib=128, **more,
    )  # fmt: skip


SUBMITTED, PENDING, RUNNABLE = (job(each) for each in (Status.SUBMITTED, Status.PENDING, Status.RUNNABLE))
ARRAY = job(Status.SUBMITTED, size=10)
HELD = job(Status.PENDING, size=10)  # by what it depends on
SPAWNED = job(Status.PENDING, size=10, spawned_at=5)
PLACED = job(Status.STARTING, attempt=1, environment=3, instance=4, token="t")
ACCEPTED = replace(PLACED, task_arn="task", container_instance_arn="ci")
RUNNING = replace(ACCEPTED, status=Status.RUNNING, started_at=500, log_stream="s")
FREED = FreePlace(3, 4)
STOPPED = TaskStopped(task_arn="task", status_reason=EXITED, exit_code=0, stopped_at=900)
GONE = HostGone(4, "i-1")
HOST_GONE = "Host EC2 (instance i-1) terminated."

# (the job, what befalls it, its status then, some of what it is then, the effects)
ROWS: list[tuple[Job, Any, Status, dict[str, Any], list[Any]]] = [
    (SUBMITTED, Released(), Status.RUNNABLE, {}, []),
    (SUBMITTED, Waits(), Status.PENDING, {}, []),
    (SUBMITTED, DependencyFailed(), Status.FAILED, {"status_reason": "Dependent Job failed", "stopped_at": NOW},
     [ReleaseDependents(False)]),
    (SUBMITTED, Cancelled("c"), Status.FAILED, {"status_reason": "c", "is_cancelled": True}, [ReleaseDependents(False)]),
    (SUBMITTED, Terminated("t"), Status.FAILED, {"status_reason": "t", "is_terminated": True},
     [ReleaseDependents(False)]),
    (PENDING, Released(), Status.RUNNABLE, {}, []),
    (PENDING, DependencyFailed(), Status.FAILED, {"status_reason": "Dependent Job failed"}, [ReleaseDependents(False)]),
    (PENDING, Cancelled("c"), Status.PENDING, {"is_cancelled": True, "ending": "c", "status_reason": None}, []),
    (PENDING, Terminated("t"), Status.PENDING, {"is_terminated": True, "ending": "t"}, []),
    (RUNNABLE, Blocked("CODE - why"), Status.RUNNABLE, {"status_reason": "CODE - why", "blocked_since": NOW}, []),
    (RUNNABLE, Placed(3, 4, "t"), Status.STARTING,
     {"attempt": 1, "environment": 3, "instance": 4, "token": "t", "task_arn": None}, []),
    (RUNNABLE, Cancelled("c"), Status.FAILED, {"status_reason": "c", "is_cancelled": True, "attempts": ()},
     [ReleaseDependents(False)]),
    (RUNNABLE, Terminated("t"), Status.FAILED, {"status_reason": "t", "is_terminated": True},
     [ReleaseDependents(False)]),
    (PLACED, Unplaced("t"), Status.RUNNABLE, {"attempt": 0, "attempts": (), "instance": None, "token": None}, [FREED]),
    (PLACED, StartFailed("t", "no"), Status.FAILED,
     {"status_reason": "no", "attempts": (Attempt(status_reason="no", stopped_at=NOW),)},
     [ReleaseDependents(False), FREED]),
    (PLACED, TaskAccepted("t", "task", "ci"), Status.STARTING,
     {"task_arn": "task", "container_instance_arn": "ci", "token": "t"}, []),
    (ACCEPTED, TaskRunning("task", 500, "s"), Status.RUNNING, {"started_at": 500, "log_stream": "s"}, []),
    (ACCEPTED, STOPPED, Status.SUCCEEDED, {"exit_code": 0, "stopped_at": 900, "status_reason": EXITED},
     [ReleaseDependents(True), FREED]),
    (PLACED, GONE, Status.RUNNABLE, {"attempts": (), "attempt": 0}, [WithdrawStart("t"), FREED]),
    (PLACED, Terminated("t"), Status.FAILED, {"status_reason": "t", "attempts": (), "is_terminated": True},
     [WithdrawStart("t"), ReleaseDependents(False), FREED]),
    (RUNNING, replace(STOPPED, exit_code=3, reason="r"), Status.FAILED,
     {"exit_code": 3, "reason": "r", "started_at": 500, "log_stream": "s", "token": None},
     [ReleaseDependents(False), FREED]),
    (RUNNING, GONE, Status.FAILED, {"status_reason": HOST_GONE, "exit_code": None, "stopped_at": NOW},
     [ReleaseDependents(False), FREED]),
    (RUNNING, Terminated("t"), Status.RUNNING, {"ending": "t", "is_terminated": True}, [StopTask("t")]),
    (RUNNING, TimedOut(1), Status.RUNNING, {"ending": TIMED_OUT}, [StopTask(TIMED_OUT)]),
]  # fmt: skip


# The same for the parent of an array.
ARRAY_ROWS: list[tuple[Job, Any, Status, dict[str, Any], list[Any]]] = [
    (ARRAY, Released(), Status.PENDING, {"spawned_at": NOW}, [SpawnChildren()]),
    (ARRAY, Waits(), Status.PENDING, {"spawned_at": None}, []),
    (ARRAY, DependencyFailed(), Status.PENDING, {"ending": "Dependent Job failed"},
     [CallOffChildren("Dependent Job failed", False)]),
    (ARRAY, Cancelled("c"), Status.PENDING, {"ending": "c", "is_cancelled": True}, [CallOffChildren("c", False)]),
    (ARRAY, Terminated("t"), Status.PENDING, {"ending": "t", "is_terminated": True}, [CallOffChildren("t", True)]),
    (HELD, Released(), Status.PENDING, {"spawned_at": NOW}, [SpawnChildren()]),
    (HELD, DependencyFailed(), Status.PENDING, {"ending": "Dependent Job failed"},
     [CallOffChildren("Dependent Job failed", False)]),
    (HELD, Cancelled("c"), Status.PENDING, {"ending": "c", "is_cancelled": True}, []),
    (HELD, Terminated("t"), Status.PENDING, {"ending": "t", "is_terminated": True}, []),
    (SPAWNED, ChildrenEnded(True), Status.SUCCEEDED, {"status_reason": None, "stopped_at": NOW},
     [ReleaseDependents(True)]),
]  # fmt: skip


@pytest.mark.parametrize("before, event, status, expected, effects", ROWS + ARRAY_ROWS)
def test_a_row_of_the_table(before: Job, event: Any, status: Status, expected: dict[str, Any], effects: Any) -> None:
    after, followed = step(before, event, NOW)
    assert after.status is status
    assert {name: getattr(after, name) for name in expected} == expected
    assert followed == effects


def test_the_rows_above_are_those_of_the_table() -> None:
    assert sorted((before.status, type(event).__name__) for before, event, *_ in ROWS) == sorted(
        (status, event.__name__) for status, event in TRANSITIONS
    )
    assert {(before.status, type(event)) for before, event, *_ in ARRAY_ROWS} == set(ARRAY_TRANSITIONS)


EVENTS: list[Any] = [
    Released(), Waits(), DependencyFailed(), Blocked("CODE - why"), Placed(3, 4, "t"), Unplaced("t"),
    StartFailed("t", "no"), TaskAccepted("t", "task", "ci"), TaskRunning("task", 500, "s"), STOPPED, GONE,
    Cancelled("c"), Terminated("x"), TimedOut(1), ChildrenEnded(True),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("status", Status)
def test_an_event_that_can_not_befall_a_job_changes_nothing(status: Status, event: Any) -> None:
    before = replace(RUNNING, status=status)
    after, effects = step(before, event, NOW)
    if (status, type(event)) not in TRANSITIONS:
        assert after is before
        assert effects == []
    assert status not in TERMINAL or after is before


STALE: list[tuple[Job, Any]] = [
    (PLACED, Unplaced("other")),
    (PLACED, StartFailed("other", "no")),
    (PLACED, TaskAccepted("other", "task", "ci")),
    (PLACED, TaskRunning("task", 500, None)),
    (PLACED, STOPPED),
    (PLACED, HostGone(5, "i-2")),
    (ACCEPTED, Unplaced("t")),
    (ACCEPTED, StartFailed("t", "no")),
    (ACCEPTED, TaskRunning("other", 500, None)),
    (RUNNING, replace(STOPPED, task_arn="other")),
    (RUNNING, HostGone(5, "i-2")),
    (RUNNING, TimedOut(2)),
    (replace(RUNNING, ending="t"), TimedOut(1)),
]


@pytest.mark.parametrize("before, event", STALE)
def test_news_of_another_attempt_changes_nothing(before: Job, event: Any) -> None:
    assert step(before, event, NOW) == (before, [])


# --- the parent of an array ---


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("status", Status)
def test_an_event_that_can_not_befall_an_array_changes_nothing(status: Status, event: Any) -> None:
    before = replace(SPAWNED, status=status)
    after, effects = step(before, event, NOW)
    if (status, type(event)) not in ARRAY_TRANSITIONS:
        assert after is before
        assert effects == []


ARRAY_CASES: list[tuple[Job, Any, Status, dict[str, Any], list[Any]]] = [
    # What is asked of a released one goes to its children, whatever was asked before.
    (SPAWNED, Cancelled("c"), Status.PENDING, {"ending": "c", "is_cancelled": True}, [CallOffChildren("c", False)]),
    (replace(SPAWNED, ending="c", is_cancelled=True), Terminated("t"), Status.PENDING,
     {"ending": "c", "is_terminated": True}, [CallOffChildren("t", True)]),
    (SPAWNED, DependencyFailed(), Status.PENDING, {"ending": "Dependent Job failed"}, [DropChildren()]),
    # Told twice that nothing holds it, it spawns no second time.
    (SPAWNED, Released(), Status.PENDING, {"spawned_at": 5}, []),
    # One that was called off while others held it ends when these have.
    (replace(HELD, ending="t", is_terminated=True), Released(), Status.PENDING, {"spawned_at": None},
     [CallOffChildren("t", True)]),
    (replace(HELD, ending="c", is_cancelled=True), DependencyFailed(), Status.PENDING, {"ending": "c"},
     [CallOffChildren("c", False)]),
    # Its end.
    (SPAWNED, ChildrenEnded(False), Status.FAILED, {"status_reason": "Array Child Job failed", "stopped_at": NOW},
     [ReleaseDependents(False)]),
    (replace(SPAWNED, ending="enough"), ChildrenEnded(False), Status.FAILED, {"status_reason": "enough"},
     [ReleaseDependents(False)]),
    (replace(SPAWNED, ending="late"), ChildrenEnded(True), Status.SUCCEEDED, {"status_reason": None},
     [ReleaseDependents(True)]),
]  # fmt: skip


@pytest.mark.parametrize("before, event, status, expected, effects", ARRAY_CASES)
def test_an_array_by_what_it_has_been_through(
    before: Job, event: Any, status: Status, expected: dict[str, Any], effects: Any
) -> None:
    test_a_row_of_the_table(before, event, status, expected, effects)


# --- endings that were asked for ---


def test_a_terminated_attempt_bears_the_callers_reason_and_is_not_retried() -> None:
    before = replace(RUNNING, attempts_allowed=3)
    asked, _ = step(before, Terminated("enough"), NOW)
    ended, _ = step(asked, replace(STOPPED, exit_code=143), NOW)
    assert (ended.status, ended.status_reason, ended.exit_code) == (Status.FAILED, "enough", 143)
    assert [attempt.status_reason for attempt in ended.attempts] == ["enough"]


def test_an_attempt_that_was_to_be_stopped_fails_even_if_it_ends_well_first() -> None:
    asked, _ = step(RUNNING, TimedOut(1), NOW)
    ended, effects = step(asked, STOPPED, NOW)
    assert (ended.status, ended.status_reason) == (Status.FAILED, TIMED_OUT)
    assert ReleaseDependents(False) in effects


def test_the_first_request_to_end_it_gives_the_reason() -> None:
    asked, _ = step(RUNNING, Terminated("first"), NOW)
    again, effects = step(asked, Terminated("second"), NOW)
    assert (again.ending, effects) == ("first", [])


@pytest.mark.parametrize("event", [Released(), DependencyFailed()])
def test_a_cancelled_pending_job_fails_with_the_reason_once_its_dependencies_have_ended(event: Any) -> None:
    cancelled, _ = step(PENDING, Cancelled("no more"), NOW)
    ended, effects = step(cancelled, event, NOW)
    assert (ended.status, ended.status_reason, ended.is_cancelled) == (Status.FAILED, "no more", True)
    assert effects == [ReleaseDependents(False)]


def test_a_job_that_is_ended_while_its_start_is_withdrawn_does_not_come_back() -> None:
    ended, _ = step(replace(PLACED, ending="enough"), Unplaced("t"), NOW)
    assert (ended.status, ended.status_reason) == (Status.FAILED, "enough")


# --- standing at the head of a queue ---


def test_its_time_at_the_head_counts_from_when_the_code_was_first_given() -> None:
    first, _ = step(RUNNABLE, Blocked("CODE - 20 s"), 1)
    same, _ = step(first, Blocked("CODE - 120 s"), 2)
    other, _ = step(same, Blocked("OTHER - x"), 3)
    moved, _ = step(other, Blocked(None), 4)
    assert [each.blocked_since for each in (first, same, other, moved)] == [1, 1, 3, None]
    assert (same.status_reason, moved.status_reason) == ("CODE - 120 s", None)


def test_a_placed_job_is_no_longer_told_that_it_stands() -> None:
    blocked, _ = step(RUNNABLE, Blocked("CODE - x"), 1)
    placed, _ = step(blocked, Placed(3, 4, "t"), 2)
    assert (placed.status_reason, placed.blocked_since) == (None, None)


# --- once more ---


def test_a_retry_forgets_its_place_and_keeps_what_it_was() -> None:
    again, effects = step(replace(RUNNING, attempts_allowed=2), replace(STOPPED, exit_code=1), NOW)
    assert (again.status, again.status_reason, again.instance, again.environment) == (Status.RUNNABLE, None, None, None)
    assert (again.attempt, len(again.attempts), again.exit_code, again.log_stream) == (1, 1, 1, "s")
    assert effects == [FREED]
    placed, _ = step(again, Placed(3, 9, "t2"), NOW)
    assert (placed.attempt, placed.exit_code, placed.started_at, placed.log_stream) == (2, None, None, None)


def rule(action: str, **conditions: str) -> EvaluateOnExit:
    return EvaluateOnExit(action=action, **conditions)


RETRIES: list[tuple[tuple[EvaluateOnExit, ...], Attempt, bool]] = [
    ((), Attempt(status_reason=EXITED, exit_code=1), True),
    ((rule("exit", on_exit_code="1"),), Attempt(status_reason=EXITED, exit_code=1), False),
    ((rule("exit", on_exit_code="1"),), Attempt(status_reason=EXITED, exit_code=11), True),
    ((rule("exit", on_exit_code="1*"),), Attempt(status_reason=EXITED, exit_code=11), False),
    ((rule("exit", on_exit_code="*"),), Attempt(status_reason=HOST_GONE), False),
    ((rule("retry", on_status_reason="Host EC2*"), rule("exit", on_reason="*")), Attempt(status_reason=HOST_GONE), True),
    ((rule("retry", on_status_reason="Host EC2*"), rule("exit", on_reason="*")),
     Attempt(status_reason=EXITED, exit_code=1), False),
    ((rule("exit", on_reason="OutOfMemoryError*", on_exit_code="137"),),
     Attempt(status_reason=EXITED, exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), False),
    ((rule("exit", on_reason="OutOfMemoryError*", on_exit_code="137"),),
     Attempt(status_reason=EXITED, exit_code=137), True),
    ((rule("retry", on_exit_code="1"), rule("exit", on_exit_code="1")), Attempt(status_reason=EXITED, exit_code=1), True),
]  # fmt: skip


@pytest.mark.parametrize("rules, attempt, retried", RETRIES)
def test_the_first_rule_that_matches_decides(
    rules: tuple[EvaluateOnExit, ...], attempt: Attempt, retried: bool
) -> None:
    ended = replace(RUNNING, attempts_allowed=2, rules=rules, attempts=(attempt,))
    assert lifecycle.may_retry(ended, attempt) is retried


def test_a_place_that_was_taken_back_is_no_attempt() -> None:
    moved = replace(RUNNABLE, attempts_allowed=1)
    for token in ("a", "b", "c"):
        moved, _ = step(moved, Placed(3, 4, token), NOW)
        moved, _ = step(moved, Unplaced(token), NOW)
    assert (moved.status, moved.attempt, moved.attempts) == (Status.RUNNABLE, 0, ())


def test_a_long_reason_is_cut_to_what_the_api_may_show() -> None:
    ended, _ = step(RUNNING, replace(STOPPED, exit_code=1, reason="x" * 300), NOW)
    assert ended.reason == "x" * 255


# --- whatever happens ---

_tokens = st.sampled_from(["t1", "t2", "t3"])
_tasks = st.sampled_from(["task1", "task2"])
_any_event = st.one_of(
    st.just(Released()),
    st.just(Waits()),
    st.just(DependencyFailed()),
    st.builds(Blocked, st.sampled_from([None, "A - x", "A - y", "B"])),
    st.builds(Placed, st.just(3), st.sampled_from([4, 5]), _tokens),
    st.builds(Unplaced, _tokens),
    st.builds(StartFailed, _tokens, st.just("no")),
    st.builds(TaskAccepted, _tokens, _tasks, st.just("ci")),
    st.builds(TaskRunning, _tasks, st.just(5), st.just("s")),
    st.builds(
        TaskStopped,
        task_arn=_tasks,
        status_reason=st.just(EXITED),
        exit_code=st.sampled_from([None, 0, 1]),
    ),
    st.builds(HostGone, st.sampled_from([4, 5]), st.just("i-1")),
    st.builds(Cancelled, st.just("c")),
    st.builds(Terminated, st.just("t")),
    st.builds(TimedOut, st.sampled_from([1, 2])),
)


@settings(max_examples=400)
@given(st.integers(1, 3), st.lists(_any_event, max_size=60))
def test_whatever_happens_attempts_stay_within_the_allowed_and_an_end_is_an_end(
    allowed: int, events: list[Any]
) -> None:
    walked = replace(SUBMITTED, attempts_allowed=allowed)
    places = releases = 0
    for now, event in enumerate(events):
        before = walked
        walked, effects = step(before, event, now)
        released = [effect for effect in effects if isinstance(effect, ReleaseDependents)]
        freed = [effect for effect in effects if isinstance(effect, FreePlace)]
        places += (walked.status in ACTIVE and before.status not in ACTIVE) - len(freed)
        releases += len(released)
        assert len(walked.attempts) in (len(before.attempts), len(before.attempts) + 1)
        assert walked.attempts[: len(before.attempts)] == before.attempts
        assert len(walked.attempts) <= allowed
        assert places == (walked.status in ACTIVE)
        assert releases == (walked.status in TERMINAL)
        assert all(effect.succeeded == (walked.status is Status.SUCCEEDED) for effect in released)
        assert (walked.token is not None) == (walked.status in ACTIVE)
        assert walked.status is not Status.RUNNING or walked.task_arn is not None
        assert walked.attempt == len(walked.attempts) + (walked.status in ACTIVE)
        assert before.status not in TERMINAL or (walked is before and effects == [])
        assert all(before.task_arn is None for effect in effects if isinstance(effect, WithdrawStart))
        assert all(walked.task_arn is not None for effect in effects if isinstance(effect, StopTask))
        assert msgspec.json.decode(msgspec.json.encode(walked), type=Job) == walked
