"""The agent's words to ECS and ECS's to it: frames of the two streams, registration, reports. Pure.

Source: the frames and requests captured from amazon-ecs-agent 1.105.1, and its own model of the protocol (`ecs-agent/acs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from longshore.agent.config import AgentConfig
from longshore.agent.machine import Change, Report
from longshore.agent.resources import total_resources
from longshore.agent.transport import Credentials

VERSION = "0.1.0"
HASH = "longshor"  # eight letters, where the original shows its commit

APPLICATION = "TaskApplication"
EXECUTION = "TaskExecution"

# Of the original's list, what this agent really does: the server places tasks by it.
_CAPABILITIES = (
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.docker-remote-api.1.23",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.25",
    "com.amazonaws.ecs.capability.docker-remote-api.1.26",
    "com.amazonaws.ecs.capability.docker-remote-api.1.27",
    "com.amazonaws.ecs.capability.docker-remote-api.1.28",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.docker-remote-api.1.30",
    "com.amazonaws.ecs.capability.docker-remote-api.1.31",
    "com.amazonaws.ecs.capability.docker-remote-api.1.32",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.container-ordering",
    "ecs.capability.full-sync",
    "ecs.capability.logging-driver.awslogs.log-driver-buffer-size",
)
_PRIVILEGED = "com.amazonaws.ecs.capability.privileged-container"

# API reference, Container and Task, `reason`. The original cuts a container's at 255; then the end of a policy's refusal,
# which says what is missing, would be lost.
_REASON_LENGTH_MAX = 1024


class Frame(Struct, frozen=True):
    type: str = ""
    message: dict[str, Any] = {}


def frame(kind: str, message: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"type": kind, "message": message}).decode()


def parse(text: str) -> Frame | None:
    """None: no frame of the protocol. The original drops those."""
    try:
        return msgspec.json.decode(text, type=Frame)
    except msgspec.MsgspecError:
        return None


# Registration


def attributes(config: AgentConfig, machine: Mapping[str, str], *, is_known: bool) -> list[dict[str, str]]:
    """`machine`: `ecs.vpc-id` and the like. `is_known`: the instance registered before, and keeps its own attributes."""
    own = () if is_known else config.instance_attributes
    found: list[dict[str, str]] = [{"name": name, "value": value} for name, value in own]
    found += [{"name": name} for name in _CAPABILITIES]
    if config.is_privileged_allowed:
        found.append({"name": _PRIVILEGED})
    found.append({"name": "ecs.os-type", "value": "linux"})
    found += [{"name": name, "value": value} for name, value in machine.items() if value]
    return found


def registration(
    config: AgentConfig,
    *,
    document: str,
    signature: str,
    sent: Sequence[Mapping[str, str]],
    arn: str | None,
    token: str,
) -> dict[str, Any]:
    """RegisterContainerInstance. `arn`: as the kept data say; None: the instance is new."""
    request: dict[str, Any] = {
        "cluster": config.cluster or "default",
        "clientToken": token,
        "instanceIdentityDocument": document,
        "instanceIdentityDocumentSignature": signature,
        "attributes": list(sent),
        "tags": [{"key": key, "value": value} for key, value in config.instance_tags],
        "totalResources": total_resources(
            vcpus=config.vcpus,
            memory_mib=config.memory_mib,
            reserved_memory_mib=config.reserved_memory_mib,
            reserved_ports=config.reserved_ports,
            reserved_udp=config.reserved_ports_udp,
        ),
    }
    if arn is not None:
        request["containerInstanceArn"] = arn
    return request


def unanswered_attribute(sent: Iterable[Mapping[str, str]], answered: Iterable[Mapping[str, str | None]]) -> str | None:
    """The name of an attribute that the server did not take as it was sent; None: it took them all."""
    known = {each["name"]: each.get("value") or "" for each in answered}
    for each in sent:
        if known.get(each["name"]) != each.get("value", ""):
            return each["name"]
    return None


# Handshakes


def poll_query(*, cluster: str, arn: str, sends_credentials: bool) -> dict[str, str]:
    return {
        "agentHash": HASH,
        "agentVersion": VERSION,
        "clusterArn": cluster,
        "containerInstanceArn": arn,
        "dockerVersion": f"longshore: {VERSION}",
        "protocolVersion": "2",
        "sendCredentials": "true" if sends_credentials else "false",
        "seqNum": "1",
    }


def telemetry_query(*, cluster: str, arn: str) -> dict[str, str]:
    return {
        "agentHash": HASH,
        "agentVersion": VERSION,
        "cluster": cluster,
        "containerInstance": arn,
        "dockerVersion": f"longshore: {VERSION}",
    }


# What the agent says on its streams


def acknowledgement(message: Mapping[str, Any]) -> str:
    """Of a payload or a manifest."""
    return frame(
        "AckRequest",
        {
            "cluster": message.get("clusterArn"),
            "containerInstance": message.get("containerInstanceArn"),
            "messageId": message.get("messageId"),
        },
    )


def heartbeat_acknowledgement(message_id: str) -> str:
    return frame("HeartbeatAckRequest", {"messageId": message_id})


def credentials_acknowledgement(*, credentials_id: str, expiration: str, message_id: str) -> str:
    return frame(
        "IAMRoleCredentialsAckRequest",
        {"credentialsId": credentials_id, "expiration": expiration, "messageId": message_id},
    )


def stop_verification(message_id: str, candidates: Iterable[tuple[str, str]]) -> str:
    """`candidates`: (task ARN, cluster ARN)."""
    return frame(
        "TaskStopVerificationMessage",
        {
            "messageId": message_id,
            "stopCandidates": [
                {"taskArn": arn, "taskClusterArn": cluster_arn, "desiredStatus": "STOPPED"}
                for arn, cluster_arn in candidates
            ],
        },
    )


def update_refused(message: Mapping[str, Any]) -> str:
    return frame(
        "NackRequest",
        {
            "cluster": message.get("clusterArn"),
            "containerInstance": message.get("containerInstanceArn"),
            "messageId": message.get("messageId"),
            "reason": "Updates are disabled",
        },
    )


def publish_metrics(*, cluster: str, arn: str, message_id: str, is_idle: bool, now: datetime) -> str:
    """What runs is not measured yet, so no figures of tasks are in it."""
    return frame(
        "PublishMetricsRequest",
        {
            "metadata": {
                "cluster": cluster,
                "containerInstance": arn,
                "fin": True,
                "idle": is_idle,
                "messageId": message_id,
            },
            "timestamp": now.timestamp(),
        },
    )


def publish_status(*, cluster: str, arn: str, request_id: str, since: datetime, now: datetime) -> str:
    return frame(
        "PublishInstanceStatusRequest",
        {
            "metadata": {"cluster": cluster, "containerInstance": arn, "requestId": request_id},
            "statuses": [
                {
                    "type": "ContainerRuntime",
                    "status": "OK",
                    "lastUpdated": now.timestamp(),
                    "lastStatusChange": since.timestamp(),
                }
            ],
            "timestamp": now.timestamp(),
        },
    )


# Credentials of roles


class RoleCredentials(Struct, frozen=True, rename="camel"):
    """As they arrive in payloads and in messages of their own."""

    credentials_id: str
    role_arn: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    expiration: str = ""  # 2026-11-23T18:48:25Z

    @property
    def is_whole(self) -> bool:
        """False: only which role it is, as a payload is kept."""
        return bool(self.access_key_id and self.expiration)

    def as_credentials(self) -> Credentials:
        """ValueError: the expiration is no time."""
        return Credentials(
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            session_token=self.session_token or None,
            expires_at=datetime.fromisoformat(self.expiration),
        )


# Reports


class Seen(Struct, frozen=True, kw_only=True):
    """What the engine knows of a container beside its state."""

    runtime_id: str | None = None
    image_digest: str | None = None
    network_bindings: tuple[dict[str, Any], ...] = ()


def task_report(
    report: Report,
    *,
    cluster: str,
    task_arn: str,
    seen: Mapping[str, Seen],
    reason: str = "",
    pulled: tuple[datetime | None, datetime | None] = (None, None),
    ended_at: datetime | None = None,
) -> dict[str, Any]:
    """SubmitTaskStateChange. The times of pulling, where a pull was tried; the end's, where one ended."""
    request: dict[str, Any] = {
        "cluster": cluster,
        "task": task_arn,
        "status": report.status,
        "reason": reason[:_REASON_LENGTH_MAX],
        "containers": [_container(change.container_name, change, seen) for change in report.changes],
    }
    for member, moment in (
        ("pullStartedAt", pulled[0]),
        ("pullStoppedAt", pulled[1]),
        ("executionStoppedAt", ended_at if report.status == "STOPPED" else None),
    ):
        if moment is not None:
            request[member] = moment.timestamp()
    return request


def _container(name: str, change: Change, seen: Mapping[str, Seen]) -> dict[str, Any]:
    known = seen.get(name, Seen())
    shown: dict[str, Any] = {"containerName": name, "status": change.status}
    if change.exit_code is not None:
        shown["exitCode"] = change.exit_code
    if change.reason:
        shown["reason"] = change.reason[:_REASON_LENGTH_MAX]
    if known.runtime_id:
        shown["runtimeId"] = known.runtime_id
    if known.image_digest:
        shown["imageDigest"] = known.image_digest
    if known.network_bindings and change.status == "RUNNING":
        shown["networkBindings"] = list(known.network_bindings)
    return shown
