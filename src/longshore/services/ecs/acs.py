"""Messages of the agent communication service, as the original agent reads and writes them. Pure.

All frames are text, `{"type": ..., "message": {...}}`. Source: the frames captured from amazon-ecs-agent 1.105.1 and its
own model of the protocol (`ecs-agent/acs`); Docker's spellings from the Docker Engine API, containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from longshore.aws.clock import milliseconds
from longshore.services.ecs import resources
from longshore.services.ecs.records import Container, Task

Message = dict[str, Any]

APPLICATION = "TaskApplication"
EXECUTION = "TaskExecution"


class RoleCredentials(Struct, frozen=True, kw_only=True):
    """A role's session for one task. `credentials_id` stays the same when the session is renewed."""

    credentials_id: str
    role_arn: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime


def frame(kind: str, message: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"type": kind, "message": message}).decode()


class Frame(Struct, frozen=True):
    type: str = ""
    message: dict[str, Any] = {}


def parse(text: str) -> Frame | None:
    """None: it is no frame of the protocol; the original drops those too."""
    try:
        return msgspec.json.decode(text, type=Frame)
    except msgspec.MsgspecError:
        return None


# Server to agent


def heartbeat(message_id: str) -> str:
    return frame("HeartbeatMessage", {"healthy": True, "messageId": message_id})


def payload(
    tasks: list[Message], *, message_id: str, cluster_arn: str, instance_arn: str, sequence: int, now: datetime
) -> str:
    return frame(
        "PayloadMessage",
        {
            "messageId": message_id,
            "clusterArn": cluster_arn,
            "containerInstanceArn": instance_arn,
            "generatedAt": milliseconds(now),
            "seqNum": sequence,
            "tasks": tasks,
        },
    )


def role_credentials(task: Task, credentials: RoleCredentials, *, role_type: str, message_id: str) -> str:
    return frame(
        "IAMRoleCredentialsMessage",
        {
            "messageId": message_id,
            "taskArn": task.arn,
            "taskClusterArn": task.cluster_arn,
            "roleType": role_type,
            "roleCredentials": _credentials(credentials),
        },
    )


def task_manifest(
    tasks: Iterable[Task], *, message_id: str, cluster_arn: str, instance_arn: str, timeline: int, now: datetime
) -> str:
    """Every task that is to be on the instance. `timeline` must be greater than every number sent before."""
    return frame(
        "TaskManifestMessage",
        {
            "messageId": message_id,
            "clusterArn": cluster_arn,
            "containerInstanceArn": instance_arn,
            "generatedAt": milliseconds(now),
            "timeline": timeline,
            "tasks": [_identifier(task.arn, task.cluster_arn, task.desired_status) for task in tasks],
        },
    )


def stop_verification(stop: Iterable[Mapping[str, Any]], *, message_id: str, now: datetime) -> str:
    """`message_id` is that of the manifest. What is listed is killed."""
    return frame(
        "TaskStopVerificationAck",
        {
            "messageId": message_id,
            "generatedAt": milliseconds(now),
            "stopTasks": [_identifier(task["taskArn"], task.get("taskClusterArn") or "", "STOPPED") for task in stop],
        },
    )


def _identifier(task_arn: str, cluster_arn: str, desired_status: str) -> Message:
    return {"taskArn": task_arn, "taskClusterArn": cluster_arn, "desiredStatus": desired_status}


def _credentials(credentials: RoleCredentials) -> Message:
    return {
        "credentialsId": credentials.credentials_id,
        "roleArn": credentials.role_arn,
        "accessKeyId": credentials.access_key_id,
        "secretAccessKey": credentials.secret_access_key,
        "sessionToken": credentials.session_token,
        "expiration": credentials.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def payload_task(
    task: Task,
    body: Mapping[str, Any],
    *,
    account: str,
    region: str,
    endpoint: str,
    application: RoleCredentials | None = None,
    execution: RoleCredentials | None = None,
) -> Message:
    """A task as the agent runs it. `body` is its task definition; all overrides are merged here.

    `endpoint` is where this server was reached: the log driver of a container must come back to it.
    """
    containers = resources.effective_containers(body, task.overrides)
    by_name = {container.name: container for container in task.containers}
    mode = body.get("networkMode") or "bridge"
    context = _Context(task=task, mode=mode, region=region, endpoint=endpoint, has_execution_role=execution is not None)
    message: Message = {
        "arn": task.arn,
        "taskClusterArn": task.cluster_arn,
        "family": task.family,
        "version": str(task.revision),
        "desiredStatus": task.desired_status,
        "taskDefinitionAccountId": account,
        "group": task.group,
        "launchType": "EC2",
        "networkMode": mode,
        "overrides": "{}",
        "volumes": [_volume(volume) for volume in body.get("volumes") or ()],
        "containers": [_container(each, by_name[each["name"]], context) for each in containers],
        "associations": _gpu_associations(task.containers),
    }
    if task.cpu is not None:
        message["cpu"] = task.cpu / 1024
    if task.memory is not None:
        message["memory"] = task.memory
    for member in ("pidMode", "ipcMode"):
        if body.get(member):
            message[member] = body[member]
    if application is not None:
        message["roleCredentials"] = _credentials(application)
    if execution is not None:
        message["executionRoleCredentials"] = _credentials(execution)
    return message


class _Context(Struct, frozen=True, kw_only=True):
    task: Task
    mode: str
    region: str
    endpoint: str
    has_execution_role: bool


def _volume(volume: Mapping[str, Any]) -> Message:
    name = volume.get("name")
    docker = volume.get("dockerVolumeConfiguration")
    if docker is not None:
        return {"name": name, "type": "docker", "dockerVolumeConfiguration": docker}
    efs = volume.get("efsVolumeConfiguration")
    if efs is not None:
        return {"name": name, "type": "efs", "efsVolumeConfiguration": efs}
    return {"name": name, "type": "host", "host": volume.get("host") or {}}


def _container(container: Mapping[str, Any], record: Container, context: _Context) -> Message:
    environment = {pair["name"]: pair.get("value", "") for pair in container.get("environment") or ()}
    environment.setdefault("AWS_EXECUTION_ENV", "AWS_ECS_EC2")
    message: Message = {
        "name": container["name"],
        "image": container["image"],
        "command": container.get("command"),
        "entryPoint": container.get("entryPoint"),
        "cpu": container.get("cpu") or 0,
        "memory": container.get("memory") or 0,
        "essential": container.get("essential", True),
        "environment": environment,
        "links": container.get("links") or [],
        "volumesFrom": [
            {"sourceContainer": each.get("sourceContainer"), "readOnly": bool(each.get("readOnly"))}
            for each in container.get("volumesFrom") or ()
        ],
        "portMappings": [_port(mapping, context.mode) for mapping in container.get("portMappings") or ()],
        "mountPoints": [
            {
                "sourceVolume": each.get("sourceVolume"),
                "containerPath": each.get("containerPath"),
                "readOnly": bool(each.get("readOnly")),
            }
            for each in container.get("mountPoints") or ()
        ],
        "overrides": "{}",
        "containerArn": record.arn,
        "dockerConfig": {
            "version": "1.18",
            "config": _text(_docker_config(container)),
            "hostConfig": _text(_host_config(container, context)),
        },
    }
    for member in ("dependsOn", "startTimeout", "stopTimeout", "restartPolicy", "environmentFiles",
                   "firelensConfiguration"):  # fmt: skip
        if container.get(member):
            message[member] = container[member]
    if context.has_execution_role:
        message["logsAuthStrategy"] = "ExecutionRole"
    if container.get("healthCheck"):
        message["healthCheckType"] = "docker"
    if container.get("secrets"):
        message["secrets"] = [_secret(secret, context.region) for secret in container["secrets"]]
    return message


def _text(value: Message) -> str:
    return msgspec.json.encode(value).decode()


def _port(mapping: Mapping[str, Any], mode: str) -> Message:
    shown: Message = {"protocol": mapping.get("protocol") or "tcp"}
    if mapping.get("containerPortRange"):
        return {**shown, "containerPortRange": mapping["containerPortRange"]}
    host = resources.host_port(mapping, mode)
    return {**shown, "containerPort": mapping.get("containerPort"), "hostPort": host}


def _secret(secret: Mapping[str, Any], region: str) -> Message:
    source = secret["valueFrom"]
    return {
        "name": secret["name"],
        "valueFrom": source,
        "provider": "asm" if source.startswith("arn:aws:secretsmanager:") else "ssm",
        "region": source.split(":")[3] if source.startswith("arn:") else region,
        "type": "ENVIRONMENT_VARIABLE",
    }


_SECOND = 1_000_000_000  # Docker counts in nanoseconds.


def _docker_config(container: Mapping[str, Any]) -> Message:
    """Docker's container config: what the agent does not take from the container's own members."""
    config: Message = {}
    for ours, dockers in (("user", "User"), ("workingDirectory", "WorkingDir"), ("hostname", "Hostname"),
                          ("dockerLabels", "Labels"), ("pseudoTerminal", "Tty"), ("interactive", "OpenStdin"),
                          ("disableNetworking", "NetworkDisabled")):  # fmt: skip
        if container.get(ours):
            config[dockers] = container[ours]
    check = container.get("healthCheck")
    if check:
        # API reference, HealthCheck: interval 30, timeout 5, retries 3 unless said.
        config["Healthcheck"] = {
            "Test": check["command"],
            "Interval": (check.get("interval") or 30) * _SECOND,
            "Timeout": (check.get("timeout") or 5) * _SECOND,
            "Retries": check.get("retries") or 3,
            "StartPeriod": (check.get("startPeriod") or 0) * _SECOND,
        }
    return config


def _host_config(container: Mapping[str, Any], context: _Context) -> Message:
    """Docker's host config."""
    config: Message = {"NetworkMode": context.mode}
    if container.get("logConfiguration"):
        config["LogConfig"] = _log_config(container["logConfiguration"], container["name"], context)
    if container.get("memoryReservation"):
        config["MemoryReservation"] = container["memoryReservation"] * 1024 * 1024
    if container.get("ulimits"):
        config["Ulimits"] = [
            {"Name": limit["name"], "Soft": limit["softLimit"], "Hard": limit["hardLimit"]}
            for limit in container["ulimits"]
        ]
    for ours, dockers in (("privileged", "Privileged"), ("readonlyRootFilesystem", "ReadonlyRootfs"),
                          ("dnsServers", "Dns"), ("dnsSearchDomains", "DnsSearch"),
                          ("dockerSecurityOptions", "SecurityOpt")):  # fmt: skip
        if container.get(ours):
            config[dockers] = container[ours]
    if container.get("extraHosts"):
        config["ExtraHosts"] = [f"{each['hostname']}:{each['ipAddress']}" for each in container["extraHosts"]]
    if container.get("systemControls"):
        config["Sysctls"] = {
            each["namespace"]: each["value"] for each in container["systemControls"] if each.get("namespace")
        }
    config.update(_linux(container.get("linuxParameters") or {}, container.get("memory")))
    return config


def _linux(parameters: Mapping[str, Any], memory: int | None) -> Message:
    config: Message = {}
    capabilities = parameters.get("capabilities") or {}
    if capabilities.get("add"):
        config["CapAdd"] = capabilities["add"]
    if capabilities.get("drop"):
        config["CapDrop"] = capabilities["drop"]
    if parameters.get("devices"):
        config["Devices"] = [
            {
                "PathOnHost": each["hostPath"],
                "PathInContainer": each.get("containerPath") or each["hostPath"],
                "CgroupPermissions": "".join(
                    letter
                    for name, letter in (("read", "r"), ("write", "w"), ("mknod", "m"))
                    if name in (each.get("permissions") or ("read", "write", "mknod"))
                ),
            }
            for each in parameters["devices"]
        ]
    if parameters.get("initProcessEnabled"):
        config["Init"] = True
    if parameters.get("sharedMemorySize"):
        config["ShmSize"] = parameters["sharedMemorySize"] * 1024 * 1024
    if parameters.get("tmpfs"):
        config["Tmpfs"] = {
            each["containerPath"]: ",".join([*(each.get("mountOptions") or ()), f"size={each['size']}m"])
            for each in parameters["tmpfs"]
        }
    if parameters.get("maxSwap") is not None and memory:
        # Docker's MemorySwap is memory and swap together; ECS's maxSwap is swap alone.
        config["MemorySwap"] = (memory + parameters["maxSwap"]) * 1024 * 1024
    if parameters.get("swappiness") is not None:
        config["MemorySwappiness"] = parameters["swappiness"]
    return config


def _log_config(configuration: Mapping[str, Any], name: str, context: _Context) -> Message:
    """For awslogs the stream's name is made here, and the driver is told where this server is, or it goes to AWS."""
    options = dict(configuration.get("options") or {})
    if configuration["logDriver"] == "awslogs":
        prefix = options.pop("awslogs-stream-prefix", None)
        if prefix:
            # Developer guide, "Send Amazon ECS logs to CloudWatch": prefix-name/container-name/ecs-task-id.
            options.setdefault("awslogs-stream", f"{prefix}/{name}/{context.task.id}")
        options.setdefault("awslogs-region", context.region)
        options.setdefault("awslogs-endpoint", context.endpoint)
    return {"Type": configuration["logDriver"], "Config": options}


def _gpu_associations(containers: Iterable[Container]) -> list[Message]:
    return [
        {
            "containers": [container.name],
            "content": {"encoding": "base64", "value": ""},
            "name": gpu,
            "type": "gpu",
        }
        for container in containers
        for gpu in container.gpu_ids
    ]


# Telemetry


def parse_signed(text: str) -> Frame | None:
    """A frame of the telemetry stream: signed HTTP header lines, an empty line, then the JSON.

    The stream itself was signed, and only its own instance can hold it, so the lines are passed over.
    """
    head, found, body = text.replace("\r\n", "\n").partition("\n\n")
    return parse(body if found else head)


_TELEMETRY_ANSWERS = {
    "PublishMetricsRequest": "AckPublishMetric",
    "PublishHealthRequest": "AckPublishHealth",
    "PublishInstanceStatusRequest": "AckPublishInstanceStatus",
}


def telemetry_answer(received: Frame) -> str | None:
    kind = _TELEMETRY_ANSWERS.get(received.type)
    return frame(kind, {"message": "ok"}) if kind is not None else None
