"""What the room keeps. A change is `msgspec.structs.replace(...)`; the crossing to wire names is in shapes.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

Tags = dict[str, str]


class Cluster(Struct, frozen=True, kw_only=True):
    name: str
    arn: str
    status: str = "ACTIVE"  # ACTIVE, INACTIVE
    tags: Tags = {}
    settings: list[dict[str, Any]] = []
    configuration: dict[str, Any] | None = None
    capacity_providers: list[str] = []
    default_capacity_provider_strategy: list[dict[str, Any]] = []
    service_connect_defaults: dict[str, Any] | None = None


class TaskDefinition(Struct, frozen=True, kw_only=True):
    """`body` is what was sent to RegisterTaskDefinition, in wire names, with AWS's defaults filled in."""

    arn: str
    family: str
    revision: int
    status: str  # ACTIVE, INACTIVE
    registered_at: datetime
    registered_by: str
    body: dict[str, Any]
    requires_attributes: list[str] = []
    deregistered_at: datetime | None = None
    tags: Tags = {}


class Amounts(Struct, frozen=True):
    """Resources of a container instance, or a share of them. CPU in units (1024 a vCPU), memory in MiB."""

    cpu: int = 0
    memory: int = 0
    ports: tuple[str, ...] = ()  # of an instance: those in use; of a task: those it takes
    ports_udp: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()  # of an instance: those that are there (or free); of a task: those it takes


class Occupancy(Struct, frozen=True, kw_only=True):
    """What changes with every task on an instance; kept apart from the rest of the record, which is large."""

    remaining: Amounts
    running: int = 0  # tasks whose lastStatus is RUNNING
    pending: int = 0  # tasks that were placed and do not run yet


class ContainerInstance(Struct, frozen=True, kw_only=True):
    """`occupancy`, `agent_connected`, `connectivity_at`, `status` and `version` have columns of their own."""

    id: str  # 32 hex digits
    arn: str
    cluster: str
    cluster_arn: str
    ec2_instance_id: str
    registered: Amounts
    attributes: list[dict[str, Any]]  # [{"name", "value"?}], those sent and those that the server adds
    registered_at: datetime
    tags: Tags = {}
    version_info: dict[str, str] = {}
    gone_at: datetime | None = None  # when it became INACTIVE


class Standing(Struct, frozen=True, kw_only=True):
    """A container instance as a whole: the record and what its columns say."""

    instance: ContainerInstance
    occupancy: Occupancy
    status: str  # ACTIVE, DRAINING, INACTIVE
    agent_connected: bool
    connectivity_at: datetime | None  # None: its agent never had a stream
    version: int


class Container(Struct, frozen=True, kw_only=True):
    name: str
    arn: str
    image: str
    essential: bool
    cpu: int
    memory: int | None = None
    memory_reservation: int | None = None
    last_status: str = "PENDING"  # PENDING, RUNNING, STOPPED
    exit_code: int | None = None  # None: it never ran, or has not ended
    reason: str | None = None
    image_digest: str | None = None
    runtime_id: str | None = None
    network_bindings: list[dict[str, Any]] = []
    gpu_ids: tuple[str, ...] = ()


class Task(Struct, frozen=True, kw_only=True):
    """A task on a container instance. `overrides` are as sent."""

    id: str  # 32 hex digits
    arn: str
    cluster: str
    cluster_arn: str
    task_definition_arn: str
    family: str
    revision: int
    container_instance_id: str
    container_instance_arn: str
    ec2_instance_id: str
    availability_zone: str | None
    containers: tuple[Container, ...]
    takes: Amounts  # of its instance, until it is STOPPED
    created_at: datetime
    last_status: str = "PENDING"  # PENDING, RUNNING, STOPPED
    desired_status: str = "RUNNING"  # RUNNING, STOPPED
    version: int = 1
    cpu: int | None = None  # of the task as a whole, if it says so
    memory: int | None = None
    group: str = ""
    started_by: str | None = None
    overrides: dict[str, Any] = {}
    tags: Tags = {}
    enable_execute_command: bool = False
    task_role_arn: str | None = None
    execution_role_arn: str | None = None
    task_credentials_id: str | None = None  # by which the containers ask for the role's credentials; stays for its life
    execution_credentials_id: str | None = None
    cpu_architecture: str | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
