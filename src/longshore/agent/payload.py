"""A task as the payload tells it, and what it means for this instance. Pure.

Source: the payloads captured from amazon-ecs-agent 1.105.1 and its `agent/api/task`; Docker's spellings from the Docker
Engine API, containers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from longshore.agent import machine, order
from longshore.agent.config import AgentConfig, container_endpoints
from longshore.agent.protocol import RoleCredentials
from longshore.agent.resources import Need
from longshore.agent.runtimes.base import ContainerSpec, Device, Mount, NetworkMode, Tmpfs, Ulimit

T = TypeVar("T")

_MIB = 1024 * 1024
_TASK_ENDPOINT = "http://169.254.170.2"
_MODES: dict[str, NetworkMode] = {"": "bridge", "default": "bridge", "bridge": "bridge", "host": "host", "none": "none"}
_NAME_LENGTH = 48  # of a container's name in its id: the id names files and groups, whose names may have 255 letters
_LOG_DRIVERS = ("awslogs", "json-file", "none", "")
_AWSLOGS_OPTIONS = frozenset(
    {
        "awslogs-create-group", "awslogs-endpoint", "awslogs-group", "awslogs-region", "awslogs-stream",
        "max-buffer-size", "mode",
    }
)  # fmt: skip


class BadTask(Exception):
    """The payload can't be understood. The text follows `UnrecogniedTaskError: Error loading task - `."""


class NotOffered(Exception):
    """A container asks for what this agent can't give. The text is the container's reason."""


# The payload, as far as it is read.


class DockerConfig(Struct, frozen=True, rename="camel"):
    config: str = "{}"
    host_config: str = "{}"


class PortMapping(Struct, frozen=True, rename="camel"):
    container_port: int | None = None
    host_port: int | None = None
    protocol: str | None = None


class MountPoint(Struct, frozen=True, rename="camel"):
    source_volume: str | None = None
    container_path: str | None = None
    read_only: bool | None = None


class VolumeFrom(Struct, frozen=True, rename="camel"):
    source_container: str | None = None
    read_only: bool | None = None


class DependsOn(Struct, frozen=True, rename="camel"):
    container_name: str
    condition: str


class PayloadContainer(Struct, frozen=True, rename="camel", kw_only=True):
    name: str
    image: str
    command: list[str] | None = None
    entry_point: list[str] | None = None
    cpu: float | None = None
    memory: float | None = None
    essential: bool | None = None
    environment: dict[str, str] | None = None
    links: list[str] | None = None
    volumes_from: list[VolumeFrom] | None = None
    port_mappings: list[PortMapping] | None = None
    mount_points: list[MountPoint] | None = None
    depends_on: list[DependsOn] | None = None
    start_timeout: float | None = None
    stop_timeout: float | None = None
    overrides: str | None = None
    container_arn: str | None = None
    docker_config: DockerConfig = DockerConfig()
    logs_auth_strategy: str | None = None
    secrets: list[dict[str, Any]] | None = None
    environment_files: list[dict[str, Any]] | None = None
    registry_authentication: dict[str, Any] | None = None
    firelens_configuration: dict[str, Any] | None = None
    restart_policy: dict[str, Any] | None = None


class VolumeHost(Struct, frozen=True, rename="camel"):
    source_path: str | None = None


class Volume(Struct, frozen=True, rename="camel"):
    name: str
    type: str | None = None
    host: VolumeHost | None = None
    docker_volume_configuration: dict[str, Any] | None = None


class PayloadTask(Struct, frozen=True, rename="camel", kw_only=True):
    arn: str
    task_cluster_arn: str | None = None
    family: str = ""
    version: str = ""
    desired_status: str = "RUNNING"
    launch_type: str | None = None
    network_mode: str | None = None
    cpu: float | None = None  # vCPUs
    memory: float | None = None  # MiB
    overrides: str | None = None
    volumes: list[Volume] | None = None
    containers: list[PayloadContainer] | None = None
    associations: list[dict[str, Any]] | None = None
    pid_mode: str | None = None
    ipc_mode: str | None = None
    role_credentials: RoleCredentials | None = None
    execution_role_credentials: RoleCredentials | None = None

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


class _HostUlimit(Struct, frozen=True, rename="pascal"):
    name: str
    soft: int
    hard: int


class _HostDevice(Struct, frozen=True, rename="pascal"):
    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class LogConfig(Struct, frozen=True, rename="pascal"):
    type: str = ""
    config: dict[str, str] = {}


class HostConfig(Struct, frozen=True, rename="pascal"):
    network_mode: str | None = None
    log_config: LogConfig | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    ulimits: list[_HostUlimit] | None = None
    privileged: bool | None = None
    readonly_rootfs: bool | None = None
    dns: list[str] | None = None
    dns_search: list[str] | None = None
    security_opt: list[str] | None = None
    extra_hosts: list[str] | None = None
    sysctls: dict[str, str] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    devices: list[_HostDevice] | None = None
    init: bool | None = None
    shm_size: int | None = None
    tmpfs: dict[str, str] | None = None


class ContainerConfig(Struct, frozen=True, rename="pascal"):
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    labels: dict[str, str] | None = None
    tty: bool | None = None
    network_disabled: bool | None = None


def without_secrets(task: dict[str, Any]) -> dict[str, Any]:
    """The task as it may lie on the instance's disk: which roles it has stays, their sessions go."""
    kept = dict(task)
    for member in ("roleCredentials", "executionRoleCredentials"):
        given = kept.get(member)
        if isinstance(given, dict):
            kept[member] = {name: given.get(name, "") for name in ("credentialsId", "roleArn")}
    return kept


def read_task(raw: Mapping[str, Any]) -> PayloadTask:
    """BadTask: a member is missing or of a wrong type, or the task can't be run in any order."""
    task = _converted(raw, PayloadTask)
    containers = task.containers or []
    names = [container.name for container in containers]
    if len(set(names)) != len(names):
        raise BadTask("two containers of one name")
    by_name = {container.name: _container(container) for container in containers}
    for container in containers:
        _check_container(container, by_name)
    stuck = order.circle(by_name)
    if stuck is not None:
        raise BadTask(f"dependency graph: the dependencies of container {stuck} form a circle")
    volumes = {volume.name for volume in task.volumes or []}
    for container in containers:
        for point in container.mount_points or []:
            if point.source_volume not in volumes:
                raise BadTask(f"invalid volume referenced: {point.source_volume}")
            if not (point.container_path or "").startswith("/"):
                raise BadTask(f"invalid container path: {point.container_path}")
        for source in container.volumes_from or []:
            if source.source_container not in by_name:
                raise BadTask(f"could not find container with name {source.source_container}")
    if task.desired_status == "RUNNING" and not containers:
        raise BadTask("the task has no containers")
    for session in (task.role_credentials, task.execution_role_credentials):
        if session is not None and session.is_whole:
            try:
                session.as_credentials()
            except ValueError as error:
                raise BadTask(f"credentials of {session.role_arn}: {error}") from error
    try:
        need(task)
    except NotOffered as refused:
        raise BadTask(str(refused)) from refused
    return task


def _check_container(container: PayloadContainer, by_name: Mapping[str, Any]) -> None:
    overrides = _decoded(container.overrides or "{}", dict[str, Any])
    if set(overrides) - {"command"}:
        # The original knows no other; the server merges the rest.
        raise BadTask(f"unsupported overrides: {', '.join(sorted(set(overrides) - {'command'}))}")
    for each in container.depends_on or []:
        if each.container_name not in by_name:
            raise BadTask(f"container {container.name} depends on {each.container_name}, which is not in the task")
        if each.condition not in ("START", "COMPLETE", "SUCCESS"):
            raise BadTask(f"dependency condition {each.condition} is not offered")
    _decoded(container.docker_config.config or "{}", ContainerConfig)
    host_config(container)


def machine_task(task: PayloadTask, config: AgentConfig) -> machine.Task:
    """How the task begins."""
    containers = tuple(_container(each, config.stop_timeout_seconds) for each in task.containers or [])
    return machine.Task(arn=task.arn, containers=containers)


def _container(container: PayloadContainer, stop_timeout_seconds: float = 30.0) -> order.Container:
    return order.Container(
        name=container.name,
        essential=container.essential is not False,
        depends_on=tuple(order.Dependency(each.container_name, each.condition) for each in container.depends_on or []),
        stop_timeout_seconds=container.stop_timeout or stop_timeout_seconds,
    )


def need(task: PayloadTask) -> Need:
    """A size of the task as a whole counts before its containers'; a soft memory limit before a hard one."""
    containers = task.containers or []
    cpu = round(task.cpu * 1024) if task.cpu else round(sum(each.cpu or 0 for each in containers))
    memory = task.memory or sum(_memory_wanted(each) for each in containers)
    return Need(
        cpu=cpu,
        memory_mib=round(memory),
        ports=frozenset(
            (each["hostPort"], each["protocol"])
            for container in containers
            for each in network_bindings(task, container)
        ),
    )


def _memory_wanted(container: PayloadContainer) -> float:
    reservation = host_config(container).memory_reservation
    return reservation / _MIB if reservation else container.memory or 0


def network_bindings(task: PayloadTask, container: PayloadContainer) -> tuple[dict[str, Any], ...]:
    """Which ports of the instance lead to the container, as reports show them."""
    if _mode(task, container) != "host":
        return ()
    return tuple(
        {
            "bindIP": "0.0.0.0",
            "containerPort": each.container_port,
            "hostPort": each.host_port or each.container_port,
            "protocol": each.protocol or "tcp",
        }
        for each in container.port_mappings or []
        if each.container_port
    )


def host_config(container: PayloadContainer) -> HostConfig:
    """BadTask: it can't be read."""
    return _host_config(container.docker_config.host_config or "{}")


@lru_cache(256)
def _host_config(text: str) -> HostConfig:
    """Read once for all that ask within a task's start."""
    return _decoded(text, HostConfig)


def log_config(container: PayloadContainer) -> LogConfig:
    return host_config(container).log_config or LogConfig()


def container_id(task: PayloadTask, container: PayloadContainer) -> str:
    """The same at every start of the agent: the payload is kept."""
    containers = task.containers or []
    return f"{task.id}-{containers.index(container)}-{container.name[:_NAME_LENGTH]}"


def container_spec(
    task: PayloadTask, container: PayloadContainer, config: AgentConfig, *, endpoint_id: str
) -> ContainerSpec:
    """`endpoint_id`: under which the container finds its metadata. NotOffered."""
    host = host_config(container)
    own = _decoded(container.docker_config.config or "{}", ContainerConfig)
    _check_offered(task, container, host, config)
    override = _decoded(container.overrides or "{}", dict[str, Any]).get("command")
    command = override if override is not None else container.command
    memory = round(container.memory) if container.memory else None
    return ContainerSpec(
        container_id=container_id(task, container),
        task_id=task.id,
        name=container.name,
        image=container.image,
        command=_words(command),
        entry_point=_words(container.entry_point),
        environment=_environment(task, container, config, endpoint_id),
        user=own.user or None,
        working_directory=own.working_dir or None,
        hostname=own.hostname or None,
        network_mode="none" if own.network_disabled else _mode(task, container),
        cpu_shares=round(container.cpu or 0),
        memory_mib=memory,
        memory_reservation_mib=host.memory_reservation // _MIB if host.memory_reservation else None,
        memory_swap_mib=host.memory_swap // _MIB if host.memory_swap else None,
        is_privileged=bool(host.privileged),
        is_root_read_only=bool(host.readonly_rootfs),
        has_init=bool(host.init),
        capabilities_added=tuple(host.cap_add or ()),
        capabilities_dropped=tuple(host.cap_drop or ()),
        mounts=_mounts(task, container),
        tmpfs=tuple(_tmpfs(path, options) for path, options in (host.tmpfs or {}).items()),
        shm_mib=max(1, host.shm_size // _MIB) if host.shm_size else 64,
        ulimits=tuple(Ulimit(name=each.name, soft=each.soft, hard=each.hard) for each in host.ulimits or ()),
        devices=tuple(
            Device(
                source=each.path_on_host,
                destination=each.path_in_container or each.path_on_host,
                permissions=each.cgroup_permissions or "rwm",
            )
            for each in host.devices or ()
        ),
        sysctls=dict(host.sysctls or {}),
        extra_hosts=tuple(_extra_host(each) for each in host.extra_hosts or ()),
        dns_servers=tuple(host.dns or ()),
        dns_search=tuple(host.dns_search or ()),
        labels={**(own.labels or {}), **labels(task, container)},
        # With json-file nobody could read what the runtime would keep: there is no `docker logs` here.
        is_logged=log_config(container).type == "awslogs",
    )


def labels(task: PayloadTask, container: PayloadContainer) -> dict[str, str]:
    return {
        "com.amazonaws.ecs.cluster": (task.task_cluster_arn or "").rpartition("/")[2],
        "com.amazonaws.ecs.container-name": container.name,
        "com.amazonaws.ecs.task-arn": task.arn,
        "com.amazonaws.ecs.task-definition-family": task.family,
        "com.amazonaws.ecs.task-definition-version": task.version,
    }


def _check_offered(task: PayloadTask, container: PayloadContainer, host: HostConfig, config: AgentConfig) -> None:
    """What would change how a container runs and can't be done is refused, never passed over."""
    driver = log_config(container)
    if driver.type not in _LOG_DRIVERS:
        raise NotOffered(_cannot_create(f"logger: no log driver named '{driver.type}' is registered"))
    if driver.type == "awslogs":
        for option in sorted(driver.config):
            if option not in _AWSLOGS_OPTIONS:
                raise NotOffered(_cannot_create(f"unknown log opt '{option}' for awslogs log driver"))
        if not driver.config.get("awslogs-group"):
            raise NotOffered(_cannot_create("must specify a value for log opt 'awslogs-group'"))
        region = driver.config.get("awslogs-region") or config.region
        if region != config.region:
            raise NotOffered(_cannot_create(f"this agent writes logs to {config.region} alone, not to {region}"))
    if container.secrets:
        raise NotOffered(
            "ResourceInitializationError: unable to pull secrets or registry auth: this agent gets no secrets"
        )
    if host.privileged and not config.is_privileged_allowed:
        raise NotOffered(_cannot_create("privileged containers are not allowed on this instance"))
    mode = _mode(task, container)
    has_ports = any(each.container_port for each in container.port_mappings or [])
    for is_asked, what in (
        (container.environment_files, "environment files"),
        (container.registry_authentication, "registry authentication"),
        (container.firelens_configuration, "FireLens"),
        ((container.restart_policy or {}).get("enabled"), "restart policies"),
        (container.links, "links"),
        (mode == "bridge" and has_ports, "port mappings in the network mode bridge"),
        (host.security_opt, "security options"),
        (task.pid_mode, "a shared PID namespace"),
        (task.ipc_mode not in (None, "", "none"), "a shared IPC namespace"),
        (task.associations, "GPUs"),
    ):
        if is_asked:
            raise NotOffered(_cannot_create(f"this agent does not offer {what}"))


def _cannot_create(text: str) -> str:
    return f"CannotCreateContainerError: Error response from daemon: {text}"


def _mode(task: PayloadTask, container: PayloadContainer) -> NetworkMode:
    asked = task.network_mode or host_config(container).network_mode or ""
    if asked not in _MODES:
        raise NotOffered(_cannot_create(f"this agent does not offer the network mode {asked}"))
    return _MODES[asked]


def _environment(
    task: PayloadTask, container: PayloadContainer, config: AgentConfig, endpoint_id: str
) -> dict[str, str]:
    """What the task definition says wins over the services' addresses and the region, not over the task's own identity."""
    said = container.environment or {}
    environment = {"AWS_REGION": config.region, "AWS_DEFAULT_REGION": config.region}
    if "AWS_ENDPOINT_URL" not in said:
        environment.update(container_endpoints(config))
    environment.update(said)
    environment["ECS_CONTAINER_METADATA_URI"] = f"{_TASK_ENDPOINT}/v3/{endpoint_id}"
    environment["ECS_CONTAINER_METADATA_URI_V4"] = f"{_TASK_ENDPOINT}/v4/{endpoint_id}"
    environment["ECS_AGENT_URI"] = f"{_TASK_ENDPOINT}/api/{endpoint_id}"
    if task.role_credentials is not None:
        environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = (
            f"/v2/credentials/{task.role_credentials.credentials_id}"
        )
    return environment


def _mounts(task: PayloadTask, container: PayloadContainer) -> tuple[Mount, ...]:
    volumes = {volume.name: volume for volume in task.volumes or []}
    containers = {each.name: each for each in task.containers or []}
    found = {}
    for source in container.volumes_from or []:
        for point in containers[source.source_container or ""].mount_points or []:
            mount = _mount(volumes, point, is_read_only=bool(source.read_only))
            found[mount.destination] = mount
    for point in container.mount_points or []:
        mount = _mount(volumes, point)
        found[mount.destination] = mount
    return tuple(found.values())


def _mount(volumes: Mapping[str, Volume], point: MountPoint, *, is_read_only: bool = False) -> Mount:
    volume = volumes[point.source_volume or ""]
    if volume.type not in (None, "", "host", "docker"):
        raise NotOffered(_cannot_create(f"this agent does not offer volumes of type {volume.type}"))
    docker = volume.docker_volume_configuration or {}
    if docker.get("scope") == "shared" or docker.get("driver") not in (None, "", "local"):
        raise NotOffered(
            _cannot_create("this agent offers docker volumes of the scope task and the driver local alone")
        )
    return Mount(
        destination=point.container_path or "",
        source=(volume.host.source_path if volume.host else None) or None,
        volume=volume.name,
        is_read_only=bool(point.read_only) or is_read_only,
    )


def _tmpfs(path: str, options: str) -> Tmpfs:
    """`rw,noexec,size=64m`, as Docker writes it."""
    size, others = 64, []
    for option in options.split(","):
        name, _, value = option.partition("=")
        if name == "size" and value[:-1].isdigit() and value[-1:] in "mk":
            size = int(value[:-1]) if value[-1] == "m" else max(1, int(value[:-1]) // 1024)
        elif name == "size" and value.isdigit():
            size = max(1, int(value) // _MIB)
        elif option:
            others.append(option)
    return Tmpfs(destination=path, size_mib=size, options=tuple(others))


def _extra_host(text: str) -> tuple[str, str]:
    name, _, address = text.partition(":")
    return name, address


def _words(words: Sequence[str] | None) -> tuple[str, ...] | None:
    """None and the empty list both mean what the image says, as with Docker."""
    return tuple(words) if words else None


def _converted(raw: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise BadTask(str(error)) from error


def _decoded(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise BadTask(str(error)) from error
