"""What the agent is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from longshore.agent.resources import RESERVED_PORTS

ECS_CONFIG = Path("/etc/ecs/ecs.config")

# Services of the house that an SDK inside a job must find here and not at AWS. S3 and the rest stay as they are.
_SERVICES = ("IAM", "STS", "EC2", "ECS", "BATCH", "CLOUDWATCH_LOGS", "CLOUDTRAIL")


class AgentConfig(Struct, frozen=True, kw_only=True):
    """Names of settings as in the ECS developer guide, "Amazon ECS container agent configuration"."""

    endpoint: str  # the API's URL as seen from the instance
    region: str
    vcpus: int
    memory_mib: int
    cluster: str = ""  # "": the cluster `default`, made if it is not there
    reserved_memory_mib: int = 0
    reserved_ports: tuple[int, ...] = RESERVED_PORTS
    reserved_ports_udp: tuple[int, ...] = ()
    instance_attributes: tuple[tuple[str, str], ...] = ()
    instance_tags: tuple[tuple[str, str], ...] = ()
    stop_timeout_seconds: float = 30.0
    images: Path | None = None  # imported images, read only
    data: Path | None = None  # None: nothing outlives the agent
    metadata: str = "http://169.254.169.254"
    credentials_bind: str | None = None  # None: no task credentials endpoint of our own
    cgroup: str = ""  # relative, `/longshore/i-...`; "": the agent's own
    is_privileged_allowed: bool = False
    gives_endpoints: bool = True  # whether containers get AWS_ENDPOINT_URL_<SERVICE>
    metrics_seconds: float = 20.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], ecs_config: str = "") -> AgentConfig:
        """`ecs_config` is the text of /etc/ecs/ecs.config. The environment wins, as with the original."""
        given = {**read_ecs_config(ecs_config), **environment}
        images, data = given.get("LONGSHORE_IMAGES"), given.get("LONGSHORE_AGENT_DATA")
        return cls(
            endpoint=given["LONGSHORE_ENDPOINT"].rstrip("/"),
            region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1",
            vcpus=int(given["LONGSHORE_INSTANCE_VCPUS"]),
            memory_mib=int(given["LONGSHORE_INSTANCE_MEMORY_MIB"]),
            cluster=given.get("ECS_CLUSTER", ""),
            reserved_memory_mib=int(given.get("ECS_RESERVED_MEMORY") or 0),
            reserved_ports=_ports(given.get("ECS_RESERVED_PORTS"), RESERVED_PORTS),
            reserved_ports_udp=_ports(given.get("ECS_RESERVED_PORTS_UDP"), ()),
            instance_attributes=_pairs(given.get("ECS_INSTANCE_ATTRIBUTES")),
            instance_tags=_pairs(given.get("ECS_CONTAINER_INSTANCE_TAGS")),
            stop_timeout_seconds=_seconds(given.get("ECS_CONTAINER_STOP_TIMEOUT"), 30.0),
            images=Path(images) if images else None,
            data=Path(data) if data else None,
            metadata=given.get("LONGSHORE_METADATA", "http://169.254.169.254").rstrip("/"),
            credentials_bind=given.get("LONGSHORE_CREDENTIALS_BIND", "169.254.170.2:80") or None,
            cgroup=given.get("LONGSHORE_CGROUP", "").rstrip("/"),
            is_privileged_allowed=given.get("LONGSHORE_PRIVILEGED") == "1",
            gives_endpoints=given.get("LONGSHORE_JOB_ENDPOINTS", "1") != "0",
        )


def container_endpoints(config: AgentConfig) -> dict[str, str]:
    """What a job's SDK needs to come back to this house."""
    return {f"AWS_ENDPOINT_URL_{service}": config.endpoint for service in _SERVICES} if config.gives_endpoints else {}


def read_ecs_config(text: str) -> dict[str, str]:
    """KEY=VALUE lines; comments and anything else are passed over."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _ports(text: str | None, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(msgspec.json.decode(text, type=list[int])) if text else otherwise


def _pairs(text: str | None) -> tuple[tuple[str, str], ...]:
    return tuple(msgspec.json.decode(text, type=dict[str, str]).items()) if text else ()


def _seconds(text: str | None, otherwise: float) -> float:
    """`30s`, `2m`, `1m30s`: Go's durations as far as people write them."""
    if not text:
        return otherwise
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, digits = 0.0, ""
    for letter in text:
        if letter in units:
            total += float(digits) * units[letter]
            digits = ""
        else:
            digits += letter
    return total + (float(digits) if digits else 0.0)
