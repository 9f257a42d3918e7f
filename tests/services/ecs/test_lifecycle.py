"""The standard three of a state machine: each row once, every event in every state, and a long random walk."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.services.ecs import lifecycle
from longshore.services.ecs.lifecycle import (
    TRANSITIONS,
    Announce,
    ContainerReport,
    ContainersReported,
    InstanceGone,
    Release,
    RoleRefused,
    StopWanted,
    TaskReported,
    TellAgent,
    step,
)  # fmt: skip
from longshore.services.ecs.records import Amounts, Container, Task

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def container(name: str = "main", essential: bool = True) -> Container:
    return Container(name=name, arn=f"arn:{name}", image="busybox", essential=essential, cpu=128)


def pending(*containers: Container) -> Task:
    return Task(
        id="t", arn="arn:t", cluster="c", cluster_arn="arn:c", task_definition_arn="arn:d", family="f", revision=1,
        container_instance_id="i", container_instance_arn="arn:i", ec2_instance_id="i-1", availability_zone=None,
        containers=containers or (container(),), takes=Amounts(128, 64), created_at=NOW,
    )  # fmt: skip


def reported(status: str, *containers: ContainerReport, reason: str = "") -> TaskReported:
    return TaskReported(status=status, reason=reason, containers=containers)


def ended(exit_code: int | None, name: str = "main", reason: str | None = None) -> ContainerReport:
    return ContainerReport(name=name, status="STOPPED", exit_code=exit_code, reason=reason)


STATES = {
    "PENDING": pending(),
    "RUNNING": replace(pending(), last_status="RUNNING", started_at=NOW),
    "STOPPED": replace(
        pending(), last_status="STOPPED", desired_status="STOPPED", stop_code="EssentialContainerExited"
    ),
}
EVENTS = [
    reported("PENDING"),
    reported("RUNNING", ContainerReport(name="main", status="RUNNING")),
    reported("STOPPED", ended(0)),
    ContainersReported((ended(1),)),
    StopWanted(reason="enough"),
    InstanceGone("i-1"),
    RoleRefused("arn:aws:iam::123456789012:role/r"),
]

# state, event -> lastStatus, desiredStatus, stopCode, effects
ROWS = [
    ("PENDING", reported("PENDING"), ("PENDING", "RUNNING", None, [])),
    (
        "PENDING",
        reported("RUNNING", ContainerReport(name="main", status="RUNNING", exit_code=3)),
        ("RUNNING", "RUNNING", None, [Announce]),
    ),
    (
        "PENDING",
        reported("STOPPED", ended(None, reason="CannotPullContainerError: no")),
        ("STOPPED", "STOPPED", "TaskFailedToStart", [Release, Announce]),
    ),
    ("PENDING", reported("STOPPED", ended(0)), ("STOPPED", "STOPPED", "EssentialContainerExited", [Release, Announce])),
    (
        "PENDING",
        ContainersReported((ended(1),)),
        ("PENDING", "STOPPED", "EssentialContainerExited", [TellAgent, Announce]),
    ),
    ("PENDING", StopWanted(reason="enough"), ("PENDING", "STOPPED", "UserInitiated", [TellAgent, Announce])),
    ("PENDING", InstanceGone("i-1"), ("STOPPED", "STOPPED", "TerminationNotice", [Release, Announce])),
    ("PENDING", RoleRefused("arn:r"), ("STOPPED", "STOPPED", "TaskFailedToStart", [Release, Announce])),
    ("RUNNING", reported("RUNNING"), ("RUNNING", "RUNNING", None, [])),
    ("RUNNING", reported("PENDING"), ("RUNNING", "RUNNING", None, [])),
    ("RUNNING", reported("STOPPED", ended(3)), ("STOPPED", "STOPPED", "EssentialContainerExited", [Release, Announce])),
    (
        "RUNNING",
        ContainersReported((ended(1),)),
        ("RUNNING", "STOPPED", "EssentialContainerExited", [TellAgent, Announce]),
    ),
    ("RUNNING", StopWanted(reason="enough"), ("RUNNING", "STOPPED", "UserInitiated", [TellAgent, Announce])),
    ("RUNNING", InstanceGone("i-1"), ("STOPPED", "STOPPED", "TerminationNotice", [Release, Announce])),
    ("RUNNING", RoleRefused("arn:r"), ("RUNNING", "RUNNING", None, [])),
]


@pytest.mark.parametrize(("state", "event", "expected"), ROWS)
def test_each_row_of_the_table(state, event, expected) -> None:  # type: ignore[no-untyped-def]
    before = STATES[state]
    after, effects = step(before, event, NOW)
    assert (after.last_status, after.desired_status, after.stop_code, [type(each) for each in effects]) == expected
    assert after.version == before.version + (after is not before)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_can_befall_a_task_in_every_state(state, event) -> None:  # type: ignore[no-untyped-def]
    assert (state, type(event)) in TRANSITIONS
    after, _ = step(STATES[state], event, NOW)
    if state == "STOPPED":
        assert after is STATES[state]


reports = st.builds(
    ContainerReport,
    name=st.sampled_from(["main", "side", "unknown"]),
    status=st.sampled_from(["PENDING", "RUNNING", "STOPPED", "RESOURCES_PROVISIONED"]),
    exit_code=st.sampled_from([None, 0, 3, 137]),
    reason=st.sampled_from([None, "CannotStartContainerError: no"]),
)
events = st.one_of(
    st.builds(
        TaskReported,
        status=st.sampled_from(["PENDING", "RUNNING", "STOPPED"]),
        containers=st.lists(reports, max_size=3).map(tuple),
    ),
    st.builds(ContainersReported, st.lists(reports, max_size=3).map(tuple)),
    st.just(StopWanted(reason="enough")),
    st.just(InstanceGone("i-1")),
    st.just(RoleRefused("arn:r")),
)
RANK = {"PENDING": 0, "RUNNING": 1, "STOPPED": 2}


@given(st.lists(events, max_size=12))
def test_whatever_happens_a_task_goes_forward_ends_once_and_has_a_reason(walk) -> None:  # type: ignore[no-untyped-def]
    task, releases = pending(container(), container("side", essential=False)), 0
    for number, event in enumerate(walk):
        before = task
        task, effects = step(task, event, NOW + timedelta(seconds=number))
        releases += sum(isinstance(effect, Release) for effect in effects)
        assert RANK[task.last_status] >= RANK[before.last_status]
        assert not (before.desired_status == "STOPPED" and task.desired_status != "STOPPED")
        assert task.version >= before.version
        assert (task.last_status != before.last_status) <= (task.version > before.version)
        for old, new in zip(before.containers, task.containers, strict=True):
            assert RANK[new.last_status] >= RANK[old.last_status]
            assert old.exit_code is None or new.exit_code == old.exit_code
            assert new.exit_code is None or new.last_status == "STOPPED"
        assert (task.stop_code is not None) == (task.desired_status == "STOPPED")
    assert releases == (task.last_status == "STOPPED")
    if task.last_status == "STOPPED":
        assert task.stopped_reason
        assert task.stopped_at is not None and task.stopping_at is not None
        assert all(each.last_status == "STOPPED" for each in task.containers)


def test_a_fast_container_has_ended_when_its_status_says_so_not_when_its_exit_code_is_there() -> None:
    """Captured: the RUNNING report of `exit 3` bears exitCode 3 already."""
    task, _ = step(pending(), reported("RUNNING", ContainerReport(name="main", status="RUNNING", exit_code=3)), NOW)
    assert task.containers[0].exit_code is None
    task, _ = step(task, reported("STOPPED", ended(3)), NOW)
    assert task.containers[0].exit_code == 3
    assert task.stopped_reason == "Essential container in task exited"


def test_one_report_may_name_a_container_twice_and_is_applied_in_order() -> None:
    """Captured: side RUNNING, side STOPPED, main RUNNING in one call."""
    task, _ = step(
        pending(container(), container("side", essential=False)),
        reported(
            "RUNNING",
            ContainerReport(name="side", status="RUNNING", runtime_id="r"),
            ended(0, "side"),
            ContainerReport(name="main", status="RUNNING"),
        ),
        NOW,
    )
    assert [(each.name, each.last_status, each.exit_code) for each in task.containers] == [
        ("main", "RUNNING", None),
        ("side", "STOPPED", 0),
    ]
    assert task.containers[1].runtime_id == "r"
    assert task.desired_status == "RUNNING"


def test_what_could_not_start_says_so_and_keeps_its_containers_reason() -> None:
    task, _ = step(pending(), reported("STOPPED", ended(None, reason="CannotPullContainerError: denied")), NOW)
    assert (task.stop_code, task.stopped_reason) == ("TaskFailedToStart", "Task failed to start")
    assert task.containers[0].reason == "CannotPullContainerError: denied"
    assert task.started_at is None


def test_a_payload_that_was_not_understood_has_its_reason_on_the_task() -> None:
    task, _ = step(pending(), reported("STOPPED", reason="UnrecogniedTaskError: Error loading task - no"), NOW)
    assert task.stopped_reason == "UnrecogniedTaskError: Error loading task - no"
    assert task.stop_code == "TaskFailedToStart"


def test_the_callers_reason_for_a_stop_outlives_the_agents_report() -> None:
    task, _ = step(STATES["RUNNING"], StopWanted(reason="no longer needed"), NOW)
    task, _ = step(task, reported("STOPPED", ended(137)), NOW)
    assert (task.stop_code, task.stopped_reason) == ("UserInitiated", "no longer needed")
    assert task.containers[0].exit_code == 137


def test_a_gone_instance_overrules_a_stop_that_was_under_way() -> None:
    task, _ = step(STATES["RUNNING"], StopWanted(reason="no longer needed"), NOW)
    task, _ = step(task, InstanceGone("i-0737c70432d64f82a"), NOW)
    assert task.stopped_reason == "Host EC2 (instance i-0737c70432d64f82a) terminated."


def test_a_task_that_ended_without_a_running_report_has_started_all_the_same() -> None:
    at = NOW + timedelta(seconds=5)
    event = TaskReported(status="STOPPED", containers=(ended(0),), execution_stopped_at=at)
    task, _ = step(pending(), event, NOW + timedelta(seconds=6))
    assert task.started_at == at


def test_the_role_refusal_is_in_awss_words() -> None:
    assert lifecycle.role_refusal("arn:aws:iam::1:role/r").startswith(
        "ECS was unable to assume the role 'arn:aws:iam::1:role/r' that was provided for this task."
    )
