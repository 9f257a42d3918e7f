"""What agents report: tasks, containers, attachments. lifecycle.py says what a report means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import agents, changes, lifecycle, references, store
from longshore.services.ecs.records import Task
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call

_STATUSES = (lifecycle.PENDING, lifecycle.RUNNING, lifecycle.STOPPED)


@operation
def submit_task_state_change(call: Call, request: Request) -> Response:
    """One report; repeated or late, it changes nothing."""
    task = _reported(call, request)
    status = request.get("status") or ""
    containers = tuple(_container(report, report.get("containerName")) for report in request.get("containers") or ())
    if status in _STATUSES:
        event: lifecycle.Event = lifecycle.TaskReported(
            status=status,
            reason=request.get("reason") or "",
            containers=containers,
            pull_started_at=request.get("pullStartedAt"),
            pull_stopped_at=request.get("pullStoppedAt"),
            execution_stopped_at=request.get("executionStoppedAt"),
        )
    else:
        # MANIFEST_PULLED, attachments or managed agents: news of the containers alone.
        event = lifecycle.ContainersReported(containers)
    changes.apply(call, task, event)
    return {"acknowledgment": call.request_id}


@operation
def submit_container_state_change(call: Call, request: Request) -> Response:
    """As agents before 1.16 reported; today's send containers with their task."""
    task = _reported(call, request)
    report = _container(request, request.get("containerName"))
    changes.apply(call, task, lifecycle.ContainersReported((report,)))
    return {"acknowledgment": call.request_id}


@operation
def submit_attachment_state_changes(call: Call, request: Request) -> Response:
    """No task or instance here has attachments, so there is none whose state could change."""
    references.find_cluster(call, request.get("cluster"))
    if request["attachments"]:
        raise invalid("The referenced attachment was not found.")
    return {"acknowledgment": call.request_id}


def _reported(call: Call, request: Request) -> Task:
    """InvalidParameterException lets the agent drop the report: nobody knows the task any more."""
    reference = request.get("task") or ""
    if not reference:
        raise invalid("Task can not be blank.")
    known = not reference.startswith("arn:") or not references.is_foreign(call, reference)
    task = store.find_task(place(call), references.last_part(reference)) if known else None
    if task is None:
        raise invalid("The referenced task was not found.")
    agents.may_report(call, task.ec2_instance_id, task.arn)
    return task


def _container(report: Mapping[str, Any], name: str | None) -> lifecycle.ContainerReport:
    return lifecycle.ContainerReport(
        name=name or "",
        status=report.get("status") or "",
        exit_code=report.get("exitCode"),
        reason=report.get("reason") or None,
        image_digest=report.get("imageDigest") or None,
        runtime_id=report.get("runtimeId") or None,
        network_bindings=list(report.get("networkBindings") or ()),
    )
