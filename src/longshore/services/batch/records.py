"""What the room keeps. Times are epoch milliseconds; members that are AWS's own structures keep their wire form."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

from msgspec import Struct

Wire = dict[str, Any]  # a structure of the service model, with the wire's member names


class Status(IntEnum):
    """Of a job. The order is the order of its life."""

    SUBMITTED = 0
    PENDING = 1
    RUNNABLE = 2
    STARTING = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED})
ACTIVE = frozenset({Status.STARTING, Status.RUNNING})  # has a place on an instance


class Trouble(Struct, frozen=True):
    """Why nothing is launched or placed for a while. Ends at `until`, or when a role changes."""

    text: str
    code: str  # "permissions", "start" (permissions to place), "launch" (refused for another reason), "capacity"
    until: int  # epoch milliseconds
    tries: int = 1
    instance_type: str | None = None  # None: whichever type


class Environment(Struct, frozen=True, kw_only=True):
    """A compute environment. `status` is what is, `state` what the user wants."""

    number: int
    account: str
    region: str
    name: str
    arn: str
    uuid: str
    type: Literal["MANAGED", "UNMANAGED"]
    state: str  # ENABLED, DISABLED
    status: str  # CREATING, UPDATING, VALID, INVALID, DELETING
    status_reason: str
    service_role: str  # an ARN
    cluster_arn: str | None = None  # None: not made yet
    resources: Wire | None = None  # computeResources; None: unmanaged
    unmanaged_vcpus: int | None = None
    update_policy: Wire | None = None
    ecs_settings: Wire | None = None
    context: str | None = None
    tags: dict[str, str] = {}
    troubles: tuple[Trouble, ...] = ()
    tries: int = 0  # failed preparations in a row
    registered: dict[
        str, tuple[int, int]
    ] = {}  # instance type -> (CPU units, MiB) seen registered, where less than expected


class Queue(Struct, frozen=True, kw_only=True):
    number: int
    account: str
    region: str
    name: str
    arn: str
    state: str
    status: str
    status_reason: str
    priority: int
    environments: tuple[tuple[int, int], ...]  # (order, number of the environment), in order
    time_limit_actions: tuple[Wire, ...] = ()
    tags: dict[str, str] = {}


class Definition(Struct, frozen=True, kw_only=True):
    """One revision of a job definition."""

    number: int
    account: str
    region: str
    name: str
    arn: str
    revision: int
    status: str  # ACTIVE, INACTIVE
    detail: Wire  # as DescribeJobDefinitions shows it, without status and tags
    tags: dict[str, str] = {}


class EvaluateOnExit(Struct, frozen=True, omit_defaults=True):
    """A rule of the retry strategy: all that is given must match; each may end with `*`."""

    action: str  # "retry", "exit"
    on_status_reason: str | None = None
    on_reason: str | None = None
    on_exit_code: str | None = None


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An attempt that has ended."""

    status_reason: str
    started_at: int | None = None  # None: its container never ran
    stopped_at: int | None = None
    exit_code: int | None = None  # None: the container never ran, or was lost
    reason: str | None = None
    container_instance_arn: str | None = None
    task_arn: str | None = None  # None: it ended before there was a task
    log_stream: str | None = None


class Job(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What changes in a job's life, and what its life depends on. What it runs is in its `Body`."""

    number: int
    job_id: str
    account: str
    region: str
    name: str
    queue: int
    definition_arn: str
    created_at: int
    status: Status
    cpu: int  # CPU units, 1024 a vCPU
    memory_mib: int
    gpus: int = 0
    attempts_allowed: int = 1  # 1 to 10
    rules: tuple[EvaluateOnExit, ...] = ()
    timeout_seconds: int | None = None  # None: no limit
    attempt: int = 0  # of the attempt under way, or the last; 0: none yet
    attempts: tuple[Attempt, ...] = ()
    environment: int | None = None  # where the attempt under way has its place, as are the next five
    instance: int | None = None
    token: str | None = None  # the intent that starts the task; its `startedBy`
    task_arn: str | None = None
    container_instance_arn: str | None = None
    log_stream: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    status_reason: str | None = None
    blocked_since: int | None = None  # when it came to stand at the head of its queue for the reason in `status_reason`
    exit_code: int | None = None
    reason: str | None = None
    is_cancelled: bool = False
    is_terminated: bool = False
    ending: str | None = None  # why the attempt under way is being stopped, or the job ends once its dependencies have
    size: int | None = None  # of an array's parent: how many children it has, 2 to 10,000
    spawned_at: int | None = None  # of an array's parent: when its children came to wait; None: not yet
    array: int | None = None  # of an array's child: the parent's number
    index: int | None = None  # of an array's child

    @property
    def submission(self) -> int:
        """The number under which its body and its tags are: a child shares its parent's."""
        return self.array or self.number


class Array(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The children of an array job, kept on their parent. Those in one of the four sets have no row of their own.

    A set is a bitmap, the lowest bit of its first byte for child 0.
    """

    number: int  # the parent's
    queue: int
    size: int
    counts: tuple[int, int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0, 0)  # by status, those in `unborn` left out
    updated_at: int
    unborn: bytes = b""  # as SUBMITTED or PENDING as their parent, which has not been released yet
    waiting: bytes = b""  # PENDING: for their counterparts in other arrays, or their predecessors
    ready: bytes = b""  # RUNNABLE
    dropped: bytes = b""  # FAILED, before they ever were anywhere
    is_sequential: bool = False
    dropped_because: str | None = None
    dropped_at: int | None = None
    called_off: str | None = None  # why: the caller's reason; None: it was not
    is_terminated: bool = False  # of one that was called off: those that run are to be stopped
    # From which child on it is to be gone through; None: it need not.
    spawn_from: int | None = None
    call_off_from: int | None = None
    drop_from: int | None = None

    @property
    def first(self) -> int:
        """The number of child 0. The parent's is the next after that of the last child."""
        return self.number - self.size

    @property
    def is_busy(self) -> bool:
        return not (self.spawn_from is None and self.call_off_from is None and self.drop_from is None)

    @property
    def has_ended(self) -> bool:
        return self.counts[Status.SUCCEEDED] + self.counts[Status.FAILED] == self.size


class Body(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a job was submitted with, merged and frozen at submission."""

    queue_arn: str
    definition: int  # number of the definition
    definition_name: str
    container: Wire  # as DescribeJobs shows it
    override: Wire = {}  # containerOverrides of the task: what the task definition doesn't say
    parameters: dict[str, str] = {}
    depends_on: tuple[Wire, ...] = ()
    retry_strategy: Wire | None = None
    timeout: Wire | None = None
    propagate_tags: bool = False
    platform_capabilities: tuple[str, ...] = ()
    scheduling_priority: int | None = None


class Instance(Struct, frozen=True, kw_only=True):
    """An instance of a compute environment, from the wish for it until it is gone."""

    number: int
    environment: int
    account: str
    region: str
    token: str  # the intent that launches it; its ClientToken
    instance_type: str
    cpu: int  # CPU units: expected until it has joined, then as registered
    memory_mib: int
    phase: Literal["asked", "launched", "joined", "retiring"]
    asked_at: int
    instance_id: str | None = None  # None: not launched yet, as is `launched_at`
    launched_at: int | None = None
    container_instance_arn: str | None = None  # None: has not joined
    connected: bool = False  # whether its agent is
    disconnected_at: int | None = None  # since when its agent has been silent; None: it is not, or has not joined
    active: bool = True  # False: drained by somebody
    outdated_at: int | None = None  # the environment's instances are wanted otherwise since; it takes no new jobs
    used: bool = False  # whether it ever had a job
    idle_since: int = 0
    refusal: str | None = None  # the last call of its agent that was refused, and why
    held_until: int = 0  # nothing is placed on it before: ECS refused a task
    held_because: str | None = None


Kind = Literal["prepare", "dismantle", "launch", "start", "stop", "terminate"]


class Intent(Struct, frozen=True, kw_only=True):
    """An effect that is wanted. The row goes when it is done."""

    number: int
    token: str
    kind: Kind
    account: str
    region: str
    subject: int  # number of the environment, instance or job
    tries: int = 0
    text: str = ""  # of a stop: the reason
