"""What the task metadata endpoint shows of a task and its containers. Pure.

Source: ECS developer guide, "Amazon ECS task metadata endpoint version 4", fields of the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longshore.agent import payload
from longshore.agent.order import Container, Status
from longshore.agent.payload import PayloadContainer, PayloadTask

if TYPE_CHECKING:
    from longshore.agent.engine import State

_STATUSES = {Status.NONE: "NONE", Status.PULLED: "PULLED", Status.CREATED: "CREATED", Status.RUNNING: "RUNNING",
             Status.STOPPED: "STOPPED"}  # fmt: skip


def document(task: PayloadTask, state: State, name: str, what: str, *, cluster: str) -> Mapping[str, Any]:
    """`what`: container, task, stats, `task stats`."""
    containers = {each.name: each for each in task.containers or []}
    match what:
        case "container":
            return _container(task, containers[name], state)
        case "task":
            return _task(task, state, cluster)
        case "stats":
            return _stats(state, name)
        case _:
            return {state.seen[each].runtime_id or each: _stats(state, each) for each in state.seen}


def _task(task: PayloadTask, state: State, cluster: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Cluster": state.cluster_arn or cluster,
        "TaskARN": task.arn,
        "Family": task.family,
        "Revision": task.version,
        "DesiredStatus": "STOPPED" if state.task.is_to_stop else "RUNNING",
        "KnownStatus": _STATUSES[state.task.known],
        "LaunchType": task.launch_type or "EC2",
        "Containers": [_container(task, each, state) for each in task.containers or []],
    }
    limits = _limits(task.cpu, task.memory)
    if limits:
        shown["Limits"] = limits
    for member, moment in (("PullStartedAt", state.pull_started_at), ("PullStoppedAt", state.pull_stopped_at)):
        if moment is not None:
            shown[member] = _time(moment)
    return shown


def _container(task: PayloadTask, container: PayloadContainer, state: State) -> dict[str, Any]:
    here: Container = state.task.container(container.name)
    seen = state.seen.get(container.name)
    driver = payload.log_config(container)
    shown: dict[str, Any] = {
        "DockerId": (seen.runtime_id if seen else None) or "",
        "Name": container.name,
        "DockerName": payload.container_id(task, container),
        "Image": container.image,
        "ImageID": (seen.image_digest if seen else None) or "",
        "Labels": payload.labels(task, container),
        "DesiredStatus": "STOPPED" if state.task.is_to_stop else "RUNNING",
        "KnownStatus": _STATUSES[here.known],
        "Limits": _limits(container.cpu, container.memory),
        "Type": "NORMAL",
        "LogDriver": driver.type or "json-file",
        "LogOptions": driver.config,
        "ContainerARN": container.container_arn or "",
        "Networks": [{"NetworkMode": task.network_mode or "bridge", "IPv4Addresses": []}],
    }
    if here.exit_code is not None:
        shown["ExitCode"] = here.exit_code
    for member, moment in (
        ("CreatedAt", state.created_at),
        ("StartedAt", state.started_at.get(container.name)),
        ("FinishedAt", state.finished_at.get(container.name)),
    ):
        if moment is not None:
            shown[member] = _time(moment)
    if container.mount_points:
        shown["Volumes"] = [
            {"DockerName": each.source_volume, "Destination": each.container_path} for each in container.mount_points
        ]
    return shown


def _limits(cpu: float | None, memory: float | None) -> dict[str, float]:
    return {name: value for name, value in (("CPU", cpu), ("Memory", memory)) if value}


def _stats(state: State, name: str) -> dict[str, Any]:
    """Docker's form, without figures: what runs is not measured yet."""
    seen = state.seen.get(name)
    return {"id": (seen.runtime_id if seen else None) or "", "name": f"/{name}"}


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
