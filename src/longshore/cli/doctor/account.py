"""What doctor knows of an account: the records that `read` fills and the checks look at. Pure."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Kind = Literal["service role", "instance role", "execution role", "job role", "Spot fleet role"]
HeldAs = Literal["inline", "attached", "group", "boundary"]

BATCH = "batch.amazonaws.com"
EC2 = "ec2.amazonaws.com"
ECS_TASKS = "ecs-tasks.amazonaws.com"
SPOT_FLEET = "spotfleet.amazonaws.com"
LINKED_ROLE = "AWSServiceRoleForBatch"
NOT_THERE_YET = "0" * 32  # the id of what is asked about before there is one
_LINKED_PATH = ":role/aws-service-role/"
_AWS = "arn:aws:iam::aws:policy"

# Who takes a role of the kind, and the managed policy that AWS has for it (None: what it may do is its owner's to say).
TAKEN_BY: dict[Kind, str] = {
    "service role": BATCH,
    "instance role": EC2,
    "execution role": ECS_TASKS,
    "job role": ECS_TASKS,
    "Spot fleet role": SPOT_FLEET,
}
MANAGED: dict[Kind, str | None] = {
    "service role": f"{_AWS}/service-role/AWSBatchServiceRole",
    "instance role": f"{_AWS}/service-role/AmazonEC2ContainerServiceforEC2Role",
    "execution role": f"{_AWS}/service-role/AmazonECSTaskExecutionRolePolicy",
    "job role": None,
    "Spot fleet role": f"{_AWS}/service-role/AmazonEC2SpotFleetTaggingRole",
}


class Policy(Struct, frozen=True):
    """A policy that somebody holds. `document` None: it could not be read."""

    held_as: HeldAs
    name: str  # of an inline policy; else the ARN
    document: dict[str, Any] | None
    group: str | None = None  # through which a user has it
    oldest: str | None = None  # the version that has to go before there can be another; None: there is room


class Role(Struct, frozen=True, kw_only=True):
    name: str
    arn: str
    trust: dict[str, Any]
    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None

    @property
    def is_linked(self) -> bool:
        """Service-linked: AWS alone changes it."""
        return _LINKED_PATH in self.arn


class Profile(Struct, frozen=True, kw_only=True):
    name: str
    arn: str
    roles: tuple[str, ...]  # names


class Environment(Struct, frozen=True, kw_only=True):
    """A compute environment. `name` None: none yet; the roles of one that somebody thinks of making."""

    name: str | None
    type: str = "MANAGED"
    resources: str = "EC2"  # SPOT, FARGATE, FARGATE_SPOT
    state: str = "ENABLED"
    status: str = "VALID"
    status_reason: str = ""
    service_role: str | None = None  # as it was given: an ARN, a name; None: the service-linked one
    instance_role: str | None = None  # as it was given; None: it has no instances
    spot_fleet_role: str | None = None
    cluster: str | None = None  # ARN; None: not made yet
    is_kubernetes: bool = False  # Its instances are nodes of EKS, whose rights are others.

    @property
    def has_instances(self) -> bool:
        return self.type == "MANAGED" and self.resources in ("EC2", "SPOT") and self.instance_role is not None

    @property
    def shown(self) -> str:
        return f"compute environment {self.name}" if self.name is not None else "the compute environment to be made"


class Queue(Struct, frozen=True, kw_only=True):
    name: str
    state: str
    status: str
    status_reason: str
    environments: tuple[str, ...]  # ARNs


class Definition(Struct, frozen=True, kw_only=True):
    """A container of a job definition. `name` None: none yet."""

    name: str | None  # with its revision
    job_role: str | None = None
    execution_role: str | None = None
    image: str = ""
    log_group: str | None = "/aws/batch/job"  # None: it does not write to CloudWatch Logs
    secrets: tuple[str, ...] = ()  # ARNs
    is_fargate: bool = False

    @property
    def shown(self) -> str:
        return f"job definition {self.name}" if self.name is not None else "the job definition to be made"


class Caller(Struct, frozen=True, kw_only=True):
    """Who looks, or who is looked at in his place. `source` None: its policies are no one's to read (root, federated)."""

    arn: str  # as sts get-caller-identity says it
    source: str | None = None  # ARN of the user, or of the role behind a session
    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None

    @property
    def is_root(self) -> bool:
        return self.arn.endswith(":root")


class Unread(Struct, frozen=True, order=True):
    """What could not be looked at."""

    operation: str  # "iam:GetRole"
    of: str
    because: str


class Account(Struct, frozen=True, kw_only=True):
    number: str
    region: str
    caller: Caller
    environments: tuple[Environment, ...] = ()
    queues: tuple[Queue, ...] = ()
    definitions: tuple[Definition, ...] = ()
    profiles: dict[str, Profile] = {}  # by name; one that was looked for and is not there is not in it
    roles: dict[str, Role] = {}  # by name, likewise
    profiles_of_roles: dict[str, tuple[str, ...]] = {}  # role name -> names of the profiles that hold it
    managed: dict[str, dict[str, Any]] = {}  # ARN -> document of those of AWS's policies that are there
    unread: tuple[Unread, ...] = ()

    def could_read(self, operation: str, of: str) -> bool:
        return not any((each.operation, each.of) == (operation, of) for each in self.unread)


class Asked(Struct, frozen=True):
    """May a session of the role, or the user, do that to this?"""

    source: str  # ARN of role or user
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()  # condition keys that the call will have


class Answer(Struct, frozen=True):
    """`by`: what denies it or does not allow it. `missing`: condition keys without which it can't be told."""

    allowed: bool
    by: Literal["", "identity", "boundary", "organization"] = ""
    is_explicit: bool = False
    missing: tuple[str, ...] = ()

    @property
    def is_sure(self) -> bool:
        return not self.missing


def name_of(name_or_arn: str) -> str:
    return name_or_arn.rsplit("/", 1)[-1]


def is_role_arn(text: str) -> bool:
    return text.startswith("arn:") and ":role/" in text
