"""Our records as the wire shows them: the one crossing from snake_case to AWS's names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from longshore.services.ecs import resources
from longshore.services.ecs.records import Cluster, Container, Standing, Tags, Task, TaskDefinition

Wire = dict[str, Any]


def tag_list(tags: Tags) -> list[Wire]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def cluster(record: Cluster, counts: tuple[int, int, int], include: Collection[str] = ()) -> Wire:
    """`counts`: container instances, running and pending tasks."""
    instances, running, pending = counts
    shown: Wire = {
        "clusterArn": record.arn,
        "clusterName": record.name,
        "status": record.status,
        "registeredContainerInstancesCount": instances,
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "activeServicesCount": 0,
        "statistics": [],
        "tags": tag_list(record.tags) if "TAGS" in include else [],
        "settings": record.settings if "SETTINGS" in include else [],
        "capacityProviders": record.capacity_providers,
        "defaultCapacityProviderStrategy": record.default_capacity_provider_strategy,
        "serviceConnectDefaults": record.service_connect_defaults,
    }
    if "STATISTICS" in include:
        counted = {"runningEC2TasksCount": running, "pendingEC2TasksCount": pending}
        none = ("runningFargateTasksCount", "pendingFargateTasksCount", "activeEC2ServiceCount",
                "activeFargateServiceCount", "drainingEC2ServiceCount", "drainingFargateServiceCount")  # fmt: skip
        counted.update(dict.fromkeys(none, 0))
        shown["statistics"] = [{"name": name, "value": str(value)} for name, value in counted.items()]
    if "CONFIGURATIONS" in include:
        shown["configuration"] = record.configuration
    return shown


def task_definition(record: TaskDefinition) -> Wire:
    return {
        **record.body,
        "taskDefinitionArn": record.arn,
        "revision": record.revision,
        "status": record.status,
        "requiresAttributes": [{"name": name} for name in record.requires_attributes],
        "compatibilities": ["EXTERNAL", "EC2"],
        "registeredAt": record.registered_at,
        "deregisteredAt": record.deregistered_at,
        "registeredBy": record.registered_by,
    }


def container_instance(standing: Standing, include: Collection[str] = ("TAGS",)) -> Wire:
    instance, occupancy = standing.instance, standing.occupancy
    shown: Wire = {
        "containerInstanceArn": instance.arn,
        "ec2InstanceId": instance.ec2_instance_id,
        "version": standing.version,
        "versionInfo": instance.version_info,
        "remainingResources": resources.wire(occupancy.remaining),
        "registeredResources": resources.wire(instance.registered),
        "status": standing.status,
        "agentConnected": standing.agent_connected,
        "runningTasksCount": occupancy.running,
        "pendingTasksCount": occupancy.pending,
        "attributes": instance.attributes,
        "registeredAt": instance.registered_at,
        "attachments": [],
        "tags": tag_list(instance.tags) if "TAGS" in include else [],
    }
    if "CONTAINER_INSTANCE_HEALTH" in include:
        state = "OK" if standing.agent_connected else "IMPAIRED"
        since = standing.connectivity_at or instance.registered_at
        detail = {"type": "AGENT_CONNECTIVITY", "status": state, "lastUpdated": since, "lastStatusChange": since}
        shown["healthStatus"] = {"overallStatus": state, "details": [detail]}
    return shown


def task(
    record: Task, connectivity: tuple[bool, datetime | None] | None = None, include: Collection[str] = ("TAGS",)
) -> Wire:
    """`connectivity`: whether the agent of its instance has its stream, and since when; None: not asked."""
    shown: Wire = {
        "taskArn": record.arn,
        "clusterArn": record.cluster_arn,
        "taskDefinitionArn": record.task_definition_arn,
        "containerInstanceArn": record.container_instance_arn,
        "availabilityZone": record.availability_zone,
        "attachments": [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": record.cpu_architecture}]
        if record.cpu_architecture
        else [],
        "containers": [_container(record, container) for container in record.containers],
        "createdAt": record.created_at,
        "desiredStatus": record.desired_status,
        "lastStatus": record.last_status,
        "launchType": "EC2",
        "enableExecuteCommand": record.enable_execute_command,
        "executionStoppedAt": record.execution_stopped_at,
        "group": record.group,
        "healthStatus": "UNKNOWN",
        "cpu": str(record.cpu if record.cpu is not None else _sum_cpu(record)),
        "memory": str(record.memory if record.memory is not None else _sum_memory(record)),
        "overrides": _overrides(record),
        "pullStartedAt": record.pull_started_at,
        "pullStoppedAt": record.pull_stopped_at,
        "startedAt": record.started_at,
        "startedBy": record.started_by,
        "stopCode": record.stop_code,
        "stoppedAt": record.stopped_at,
        "stoppedReason": record.stopped_reason,
        "stoppingAt": record.stopping_at,
        "tags": tag_list(record.tags) if "TAGS" in include else [],
        "version": record.version,
    }
    if connectivity is not None:
        connected, since = connectivity
        shown["connectivity"] = "CONNECTED" if connected else "DISCONNECTED"
        if since is not None:
            shown["connectivityAt"] = max(since, record.created_at)
    return {key: value for key, value in shown.items() if value is not None}


def _container(record: Task, container: Container) -> Wire:
    shown: Wire = {
        "containerArn": container.arn,
        "taskArn": record.arn,
        "name": container.name,
        "image": container.image,
        "imageDigest": container.image_digest,
        "runtimeId": container.runtime_id,
        "lastStatus": container.last_status,
        "exitCode": container.exit_code,
        "reason": container.reason,
        "networkBindings": container.network_bindings,
        "networkInterfaces": [],
        "healthStatus": "UNKNOWN",
        "cpu": str(container.cpu),
        "memory": None if container.memory is None else str(container.memory),
        "memoryReservation": None if container.memory_reservation is None else str(container.memory_reservation),
        "gpuIds": list(container.gpu_ids) or None,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _sum_cpu(record: Task) -> int:
    return sum(container.cpu for container in record.containers)


def _sum_memory(record: Task) -> int:
    return sum(container.memory or container.memory_reservation or 0 for container in record.containers)


def _overrides(record: Task) -> Wire:
    """Every container is listed, overridden or not."""
    given = {each["name"]: each for each in record.overrides.get("containerOverrides") or ()}
    return {
        **record.overrides,
        "containerOverrides": [given.get(each.name, {"name": each.name}) for each in record.containers],
        "inferenceAcceleratorOverrides": [],
    }


def event_detail(shown: Mapping[str, Any]) -> Wire:
    """The same as an event's detail: times in ISO 8601 (batch.md 12). All of a task's and an instance's stand at the top."""
    return {
        key: _iso(value) if isinstance(value, datetime) else value for key, value in shown.items() if value is not None
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
