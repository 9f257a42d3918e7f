"""Checks that the service model states only in prose.

Sources: ECS API reference, the members' descriptions; messages as users have reported them, or our own where none was
found (those are said so).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.services.ecs import resources

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_STARTED_BY = re.compile(r"[A-Za-z0-9_\-/.]*")
_OVERRIDES_MAX = 8192
TAGS_MAX = 50
MEMORY_MIN_MIB = 6  # API reference, ContainerDefinition, memory: Docker 20.10.0 or later reserves at least 6 MiB.


def client_error(message: str) -> AwsError:
    return AwsError("ClientException", message)


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def check_cluster_name(name: str) -> None:
    """API reference, CreateCluster: up to 255 letters, numbers, underscores and hyphens. The message is ours."""
    if not _NAME.fullmatch(name):
        raise invalid("Cluster name contains invalid characters.")


def check_tags(tags: Sequence[Mapping[str, str]] | None, by: str | None = None) -> dict[str, str]:
    """Tags as key -> value. API reference: 50 at most, no key twice, `aws:` is reserved.

    `by`: the service that calls for the principal, which may set tags of its own. None: none does.
    """
    if not tags:
        return {}
    found: dict[str, str] = {}
    for tag in tags:
        key = tag.get("key") or ""
        if not key:
            raise invalid("Tag keys can not be null or empty.")
        if is_reserved(key) and not is_own(key, by):
            raise invalid("Tag keys can not start with 'aws:'.")
        if key in found:
            raise invalid("Duplicate tag keys found.")
        found[key] = tag.get("value") or ""
    check_tag_count(found)
    return found


def is_reserved(key: str) -> bool:
    return key.lower().startswith("aws:")


def is_own(key: str, by: str | None) -> bool:
    """Whether a tag is one of those that a service keeps for itself: `aws:batch:job-queue` is batch.amazonaws.com's."""
    return by is not None and key.startswith(f"aws:{by.partition('.')[0]}:")


def check_tag_count(tags: Mapping[str, str]) -> None:
    """Tagging guide, "Tag naming limits": those that begin with `aws:` do not count."""
    if sum(not is_reserved(key) for key in tags) > TAGS_MAX:
        raise invalid(f"The maximum number of tags is {TAGS_MAX}.")


def check_started_by(started_by: str | None, longest: int) -> None:
    """API reference: RunTask up to 128, StartTask up to 36 letters, numbers, - _ / and . ."""
    if started_by is None:
        return
    if len(started_by) > longest:
        raise invalid(f"startedBy must be no longer than {longest} characters.")
    if not _STARTED_BY.fullmatch(started_by):
        raise invalid("startedBy contains invalid characters.")


def check_overrides(overrides: Mapping[str, Any] | None, definition: Mapping[str, Any]) -> dict[str, Any]:
    """API reference, TaskOverride: 8192 characters in all; each names a container of the definition."""
    if not overrides:
        return {}
    given = {key: value for key, value in overrides.items() if value is not None}
    if len(msgspec.json.encode(given).decode()) > _OVERRIDES_MAX:
        raise invalid("Container Overrides length must be at most 8192")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in given.get("containerOverrides") or ():
        if override.get("name") not in names:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
        if not _has_names(override.get("environment")):
            raise invalid("An environment variable's name should not be null or empty.")
    for member, read in (("cpu", resources.cpu_units), ("memory", resources.memory_mib)):
        if given.get(member):
            _check_size(member, given[member], read)
    return given


def _has_names(environment: Iterable[Mapping[str, str]] | None) -> bool:
    return all(pair.get("name") for pair in environment or ())


def _check_size(member: str, value: str, read: Any) -> None:
    try:
        size = read(value)
    except ValueError:
        size = 0
    if size <= 0:
        raise client_error(f"Invalid '{member}' setting for task: {value}")


def check_task_definition(request: Mapping[str, Any]) -> dict[str, Any]:
    """What RegisterTaskDefinition keeps, with AWS's defaults filled in. ClientException: it can't be."""
    family = request["family"]
    if not _NAME.fullmatch(family):
        raise client_error("Family contains invalid characters." if family else "Family should not be null or empty.")
    containers = request["containerDefinitions"]
    if not containers:
        raise client_error("Container list cannot be empty.")
    for member, read in (("cpu", resources.cpu_units), ("memory", resources.memory_mib)):
        if request.get(member):
            _check_size(member, request[member], read)
    mode = request.get("networkMode")
    if mode == "awsvpc":
        # Ours: the instances here have no network interfaces to give to tasks.
        raise client_error("Network mode awsvpc is not supported by this endpoint; use host or bridge.")
    volumes = {volume.get("name") for volume in request.get("volumes") or ()}
    names: set[str] = set()
    for container in containers:
        _check_container(container, request, names, volumes)
    for container in containers:
        _check_references(container, names, mode)
    if not any(container.get("essential", True) for container in containers):
        raise client_error("At least one container in the task definition must be essential.")
    body = {key: value for key, value in request.items() if key != "tags" and value is not None}
    body["containerDefinitions"] = [_with_defaults(container) for container in containers]
    body.setdefault("volumes", [])
    body.setdefault("placementConstraints", [])
    return body


def _check_container(
    container: Mapping[str, Any], request: Mapping[str, Any], names: set[str], volumes: set[str | None]
) -> None:
    name = container.get("name") or ""
    if not name:
        raise client_error("Container.name should not be null or empty.")
    if not _NAME.fullmatch(name):
        raise client_error("Container.name contains invalid characters.")
    if name in names:
        raise client_error(f"Container names must be unique: {name}")
    names.add(name)
    if not _has_names(container.get("environment")):
        raise client_error("An environment variable's name should not be null or empty.")
    if not container.get("image"):
        raise client_error("Container.image should not be null or empty.")
    hard, soft = container.get("memory"), container.get("memoryReservation")
    if not request.get("memory") and not hard and not soft:
        raise client_error(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified."
        )
    for value in (hard, soft):
        if value is not None and value < MEMORY_MIN_MIB:
            raise client_error(f"Invalid 'memory' setting for container '{name}': it must be at least 6 MiB.")
    if hard is not None and soft is not None and soft > hard:
        raise client_error(
            f"Invalid setting for container '{name}'. 'memory' must be greater than or equal to 'memoryReservation'."
        )
    if (container.get("cpu") or 0) < 0:
        raise client_error(f"Invalid 'cpu' setting for container '{name}'")
    for mount in container.get("mountPoints") or ():
        if mount.get("sourceVolume") not in volumes:
            raise client_error(f"Unknown volume '{mount.get('sourceVolume')}'.")
    for requirement in container.get("resourceRequirements") or ():
        value = requirement.get("value") or ""
        if requirement["type"] == "GPU" and not (value.isascii() and value.isdigit() and int(value) > 0):
            raise client_error(f"Invalid GPU value for container '{name}': {value}")


def _check_references(container: Mapping[str, Any], names: set[str], mode: str | None) -> None:
    name = container["name"]
    if container.get("links") and mode in ("host", "none"):
        raise client_error(f"Links are not supported when networkMode={mode}.")
    for link in container.get("links") or ():
        if link.partition(":")[0] not in names:
            raise client_error(f"Container '{name}' links to an unknown container: {link}")
    for source in container.get("volumesFrom") or ():
        if source.get("sourceContainer") not in names:
            raise client_error(f"Container '{name}' takes volumes from an unknown container.")
    for dependency in container.get("dependsOn") or ():
        if dependency["containerName"] not in names or dependency["containerName"] == name:
            raise client_error(f"Container '{name}' depends on an unknown container: {dependency['containerName']}")
    if mode == "host":
        for mapping in container.get("portMappings") or ():
            inside, outside = mapping.get("containerPort"), mapping.get("hostPort")
            if outside and inside and outside != inside:
                raise client_error(
                    "When networkMode=host, the host ports and container ports in port mappings must match."
                )


def _with_defaults(container: Mapping[str, Any]) -> dict[str, Any]:
    """As DescribeTaskDefinition shows a container: the defaults stand where nothing was said."""
    shown = {key: value for key, value in container.items() if value is not None}
    shown.setdefault("cpu", 0)
    shown.setdefault("essential", True)
    for empty in ("portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"):
        shown.setdefault(empty, [])
    shown["portMappings"] = [
        {"protocol": "tcp", **({"hostPort": 0} if "containerPortRange" not in mapping else {}), **mapping}
        for mapping in shown["portMappings"]
    ]
    return shown


def required_attributes(body: Mapping[str, Any]) -> list[str]:
    """Attributes that an instance must have to run such a task.

    Source: developer guide, "Amazon ECS container agent configuration" and the agent's own list of capabilities.
    """
    found: set[str] = set()
    for container in body["containerDefinitions"]:
        logging = container.get("logConfiguration")
        if logging and logging["logDriver"] != "awsfirelens":
            found.add(f"com.amazonaws.ecs.capability.logging-driver.{logging['logDriver']}")
            if logging["logDriver"] == "awslogs" and body.get("executionRoleArn"):
                found.add("ecs.capability.execution-role-awslogs")
        if container.get("privileged"):
            found.add("com.amazonaws.ecs.capability.privileged-container")
        if container.get("dependsOn"):
            found.add("ecs.capability.container-ordering")
    if body.get("taskRoleArn"):
        host = body.get("networkMode") == "host"
        found.add("com.amazonaws.ecs.capability.task-iam-role" + ("-network-host" if host else ""))
    return sorted(found)
