"""The life of a task. Pure: a task and an event in, a task and effects out.

A task is placed before it is written down, so it begins PENDING. The states between that ECS also knows (PROVISIONING,
ACTIVATING, DEACTIVATING, DEPROVISIONING) belong to network interfaces and load balancers, which tasks on these
instances do not have; STOPPING is told by desiredStatus, as it is for tasks on EC2.

Only three voices end a task: its agent's report, the word that its instance is gone, and the refusal of its role before
it was sent. A wish to stop (`StopWanted`) never ends it: the containers may still run. A silent agent ends nothing.

Sources: ECS developer guide, "Amazon ECS task lifecycle"; API reference, Task; the agent's reports as captured.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from longshore.services.ecs.records import Container, Task

PENDING = "PENDING"
RUNNING = "RUNNING"
STOPPED = "STOPPED"

_RANK = {PENDING: 0, RUNNING: 1, STOPPED: 2}


# Events: what has happened.


class ContainerReport(Struct, frozen=True, kw_only=True):
    name: str
    status: str  # PENDING, RUNNING, STOPPED; any other leaves the container's as it is
    exit_code: int | None = None
    reason: str | None = None
    image_digest: str | None = None
    runtime_id: str | None = None
    network_bindings: list[dict[str, Any]] = []


class TaskReported(Struct, frozen=True, kw_only=True):
    """The agent said so. `containers` are changes in the order in which they happened; a name may come twice."""

    status: str  # PENDING, RUNNING, STOPPED
    reason: str = ""
    containers: tuple[ContainerReport, ...] = ()
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    execution_stopped_at: datetime | None = None


class ContainersReported(Struct, frozen=True):
    """The same for containers alone (SubmitContainerStateChange)."""

    containers: tuple[ContainerReport, ...]


class StopWanted(Struct, frozen=True, kw_only=True):
    reason: str
    code: str = "UserInitiated"


class InstanceGone(Struct, frozen=True):
    """Whoever knows says that the instance is no more."""

    ec2_instance_id: str


class RoleRefused(Struct, frozen=True):
    """ECS may not take the role of a task that was not sent to its agent yet."""

    role_arn: str


Event = TaskReported | ContainersReported | StopWanted | InstanceGone | RoleRefused


# Effects: what is to be done.


class TellAgent(Struct, frozen=True):
    """The task's wish has changed; its agent must hear."""


class Announce(Struct, frozen=True):
    """lastStatus or desiredStatus has changed; the event is to be emitted."""


class Release(Struct, frozen=True):
    """The task has ended; what it took of its instance is free."""


Effect = TellAgent | Announce | Release
Step = tuple[Task, list[Effect]]


def step(task: Task, event: Event, now: datetime) -> Step:
    """The task after the event, and what is now to be done. A task that has ended ignores late news."""
    after = TRANSITIONS[task.last_status, type(event)](task, event, now)
    if after is task:
        return task, []
    effects: list[Effect] = []
    if after.last_status == STOPPED:
        effects.append(Release())
    elif after.desired_status != task.desired_status:
        effects.append(TellAgent())
    if (after.last_status, after.desired_status) != (task.last_status, task.desired_status):
        effects.append(Announce())
    return replace(after, version=task.version + 1), effects


def on_task_reported(task: Task, event: TaskReported, now: datetime) -> Task:
    containers = merged(task.containers, event.containers)
    after = replace(
        task,
        containers=containers,
        pull_started_at=event.pull_started_at or task.pull_started_at,
        pull_stopped_at=event.pull_stopped_at or task.pull_stopped_at,
        execution_stopped_at=event.execution_stopped_at or task.execution_stopped_at,
    )
    if event.status == STOPPED:
        return _stopped(after, event.reason, now)
    if event.status == RUNNING and task.last_status == PENDING:
        after = replace(after, last_status=RUNNING, started_at=now)
    after = _essential_exit(after, now)
    return task if after == task else after


def on_containers_reported(task: Task, event: ContainersReported, now: datetime) -> Task:
    after = _essential_exit(replace(task, containers=merged(task.containers, event.containers)), now)
    return task if after == task else after


def on_stop_wanted(task: Task, event: StopWanted, now: datetime) -> Task:
    if task.desired_status == STOPPED:
        return task  # The first reason stays.
    return replace(task, desired_status=STOPPED, stop_code=event.code, stopped_reason=event.reason, stopping_at=now)


def on_instance_gone(task: Task, event: InstanceGone, now: datetime) -> Task:
    return _ended(
        task,
        "TerminationNotice",
        # Batch user guide, "Automated job retries", and users' reports: retry strategies match `Host EC2*`.
        f"Host EC2 (instance {event.ec2_instance_id}) terminated.",
        now,
        overrule=True,
    )


def on_role_refused(task: Task, event: RoleRefused, now: datetime) -> Task:
    return _ended(task, "TaskFailedToStart", role_refusal(event.role_arn), now)


def on_late_news(task: Task, event: Event, now: datetime) -> Task:
    return task


def on_role_refused_late(task: Task, event: RoleRefused, now: datetime) -> Task:
    """It runs already: its credentials will run out, the task goes on."""
    return task


Reaction = Callable[[Task, Any, datetime], Task]
TRANSITIONS: dict[tuple[str, type], Reaction] = {
    (PENDING, TaskReported): on_task_reported,
    (PENDING, ContainersReported): on_containers_reported,
    (PENDING, StopWanted): on_stop_wanted,
    (PENDING, InstanceGone): on_instance_gone,
    (PENDING, RoleRefused): on_role_refused,
    (RUNNING, TaskReported): on_task_reported,
    (RUNNING, ContainersReported): on_containers_reported,
    (RUNNING, StopWanted): on_stop_wanted,
    (RUNNING, InstanceGone): on_instance_gone,
    (RUNNING, RoleRefused): on_role_refused_late,
    (STOPPED, TaskReported): on_late_news,
    (STOPPED, ContainersReported): on_late_news,
    (STOPPED, StopWanted): on_late_news,
    (STOPPED, InstanceGone): on_late_news,
    (STOPPED, RoleRefused): on_late_news,
}


def role_refusal(role_arn: str) -> str:
    # Seen in users' reports (batch.md 6.3): the text of RunTask and of jobs whose role does not trust ecs-tasks.
    return (
        f"ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that the role"
        " being passed has the proper trust relationship and permissions and that your IAM user has permissions to"
        " pass this role."
    )


def merged(containers: tuple[Container, ...], reports: tuple[ContainerReport, ...]) -> tuple[Container, ...]:
    """The containers after the reports, applied in order, by name; a container never goes back.

    A fast container bears its exit code already in the RUNNING report: its end is told by `status` alone, so the exit
    code is kept only from the report of the end (the agent repeats it there).
    """
    by_name = {container.name: container for container in containers}
    for report in reports:
        container = by_name.get(report.name)
        if container is None or container.last_status == STOPPED:
            continue
        # A status that is none of ours (MANIFEST_PULLED) brings other news, of the image say, and leaves it where it is.
        forward = _RANK.get(report.status, -1) >= _RANK[container.last_status]
        status = report.status if forward else container.last_status
        by_name[report.name] = replace(
            container,
            last_status=status,
            exit_code=report.exit_code if status == STOPPED else container.exit_code,
            reason=report.reason or container.reason,
            image_digest=report.image_digest or container.image_digest,
            runtime_id=report.runtime_id or container.runtime_id,
            network_bindings=report.network_bindings or container.network_bindings,
        )
    return tuple(by_name[container.name] for container in containers)


def _essential_exit(task: Task, now: datetime) -> Task:
    """When an essential container has ended, the rest is to stop. The agent knows that too, and sees to it itself."""
    if task.desired_status == STOPPED:
        return task
    if not any(container.essential and container.last_status == STOPPED for container in task.containers):
        return task
    code, reason = _why(task)
    return replace(task, desired_status=STOPPED, stop_code=code, stopped_reason=reason, stopping_at=now)


def _stopped(task: Task, reason: str, now: datetime) -> Task:
    code, text = _why(task)
    ran = any(container.exit_code is not None for container in task.containers)
    if task.started_at is None and ran:
        # A task may go to STOPPED without a RUNNING report between; then its end is the best that is known.
        task = replace(task, started_at=task.execution_stopped_at or now)
    return _ended(task, code, reason or text, now)


def _why(task: Task) -> tuple[str, str]:
    """stopCode and stoppedReason of a task that was not told to stop."""
    if task.started_at is None and all(container.exit_code is None for container in task.containers):
        return "TaskFailedToStart", "Task failed to start"
    return "EssentialContainerExited", "Essential container in task exited"


def _ended(task: Task, code: str, reason: str, now: datetime, *, overrule: bool = False) -> Task:
    """`overrule`: this end's reason replaces that of a stop that was under way."""
    keep = task.stop_code is not None and not overrule
    return replace(
        task,
        last_status=STOPPED,
        desired_status=STOPPED,
        stop_code=task.stop_code if keep else code,
        stopped_reason=task.stopped_reason if keep else reason,
        stopping_at=task.stopping_at or now,
        stopped_at=now,
        containers=tuple(
            container if container.last_status == STOPPED else replace(container, last_status=STOPPED)
            for container in task.containers
        ),
    )
