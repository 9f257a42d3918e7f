"""What each operation asks of its caller.

Sources: service authorization reference, "Actions, resources, and condition keys for AWS Batch"; Batch user guide,
"Supported resource-level permissions". A definition that is named without its revision is asked for without it
(aws/aws-sdk-js#4280), as is the one that is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from longshore.kit.access import Access, Question, pass_role, tag_context
from longshore.kit.operation import Request
from longshore.services.batch import roles
from longshore.services.batch.operations.tags import tags_of

if TYPE_CHECKING:
    from longshore.kit.call import Call

EC2 = "ec2.amazonaws.com"
ECS_TASKS = "ecs-tasks.amazonaws.com"
SPOT_FLEET = "spotfleet.amazonaws.com"

Ask = Callable[["Call", Request], Iterable[Question]]
Keys = dict[str, Any]


def _arn(call: Call, kind: str, name_or_arn: str) -> str:
    return name_or_arn if name_or_arn.startswith("arn:") else call.arn(f"{kind}/{name_or_arn}")


def _one(kind: str, member: str) -> Callable[[Call, Request], list[str]]:
    """The resource that a member names, by name or by ARN."""

    def resources(call: Call, request: Request) -> list[str]:
        return [_arn(call, kind, request[member])]

    return resources


def _resource_tags(call: Call, arn: str) -> Keys:
    return {f"aws:ResourceTag/{key}": value for key, value in tags_of(call, arn).items()}


def _tags(call: Call, request: Request) -> Keys:
    return tag_context(request.get("tags"))


def _tags_of(kind: str, member: str) -> Callable[[Call, Request], Keys]:
    """aws:ResourceTag of what a member names."""

    def context(call: Call, request: Request) -> Keys:
        return _resource_tags(call, _arn(call, kind, request[member]))

    return context


def _existing(kind: str, member: str, further: Ask | None = None) -> Access:
    """An operation on something that is there."""
    row = Access(_one(kind, member), _tags_of(kind, member))
    return row if further is None else Access(row.resources, row.context, further)


def _tags_at_creation(arn: str, tags: Mapping[str, str] | None) -> Iterable[Question]:
    """Who tags what he makes needs batch:TagResource too (user guide, "Tag your resources")."""
    if tags:
        yield Question("batch:TagResource", arn, tag_context(tags))


# Compute environments.


def _makes_environment(call: Call, request: Request) -> Iterable[Question]:
    arn = call.arn(f"compute-environment/{request['computeEnvironmentName']}")
    yield from _tags_at_creation(arn, request.get("tags"))
    yield from _hands_over_roles(call, request)


def _hands_over_roles(call: Call, request: Request) -> Iterable[Question]:
    """The service role to Batch, the role in the instance profile to EC2, that of the Spot fleet to it."""
    if request.get("serviceRole"):
        yield pass_role(roles.service_role_arn(call, request["serviceRole"]), roles.SERVICE)
    resources = request.get("computeResources") or {}
    if resources.get("instanceRole"):
        inside = roles.role_in_profile(call, resources["instanceRole"])
        if inside is not None:
            yield pass_role(inside, EC2)
    if resources.get("spotIamFleetRole"):
        yield pass_role(roles.role_arn(call, resources["spotIamFleetRole"]), SPOT_FLEET)


# Job queues: asked for themselves and for each compute environment that they name.


def _new_queue(call: Call, request: Request) -> Iterable[Question]:
    yield from _its_environments(call, request)
    yield from _tags_at_creation(call.arn(f"job-queue/{request['jobQueueName']}"), request.get("tags"))


def _its_environments(call: Call, request: Request) -> Iterable[Question]:
    for entry in request.get("computeEnvironmentOrder") or ():
        arn = _arn(call, "compute-environment", entry["computeEnvironment"])
        yield Question(f"batch:{call.operation}", arn, {**_tags(call, request), **_resource_tags(call, arn)})


# Job definitions.


def _container_keys(call: Call, request: Request) -> Keys:
    """The service's own condition keys: what the definition's container is."""
    keys = _tags(call, request)
    container = request.get("containerProperties") or {}
    if container.get("image"):
        keys["batch:Image"] = container["image"]
    keys["batch:Privileged"] = "true" if container.get("privileged") else "false"
    if container.get("user"):
        keys["batch:User"] = container["user"]
    logging = container.get("logConfiguration") or {}
    if logging.get("logDriver"):
        keys["batch:LogDriver"] = logging["logDriver"]
    options = logging.get("options") or {}
    for option, key in (
        ("awslogs-group", "batch:AWSLogsGroup"),
        ("awslogs-region", "batch:AWSLogsRegion"),
        ("awslogs-stream-prefix", "batch:AWSLogsStreamPrefix"),
        ("awslogs-create-group", "batch:AWSLogsCreateGroup"),
    ):
        if options.get(option):
            keys[key] = options[option]
    return keys


def _new_definition(call: Call, request: Request) -> Iterable[Question]:
    container = request.get("containerProperties") or {}
    for member in ("jobRoleArn", "executionRoleArn"):
        if container.get(member):
            yield pass_role(roles.role_arn(call, container[member]), ECS_TASKS)
    # Tags are a revision's, and which one it will be is not known yet.
    yield from _tags_at_creation(call.arn(f"job-definition/{request['jobDefinitionName']}:*"), request.get("tags"))


# Jobs. A submission must be allowed for the definition and for the queue, the definition first.


def _submission_keys(call: Call, request: Request, arn: str) -> Keys:
    keys = {**_tags(call, request), **_resource_tags(call, arn)}
    if request.get("shareIdentifier"):
        keys["batch:ShareIdentifier"] = request["shareIdentifier"]
    return keys


def _submitted(call: Call, request: Request) -> Keys:
    if call.principal.kind == "root":
        return {}  # Never asked, so not worth the looking up.
    return _submission_keys(call, request, _arn(call, "job-definition", request["jobDefinition"]))


def _to_queue(call: Call, request: Request) -> Iterable[Question]:
    arn = _arn(call, "job-queue", request["jobQueue"])
    keys = {} if call.principal.kind == "root" else _submission_keys(call, request, arn)
    yield Question("batch:SubmitJob", arn, keys)
    if request.get("tags"):
        yield from _tags_at_creation(call.arn("job/*"), request["tags"])


# Tags.


def _tagged(call: Call, request: Request) -> list[str]:
    return [request["resourceArn"]]


def _retagged(call: Call, request: Request) -> Keys:
    keys = {**_tags(call, request), **_resource_tags(call, request["resourceArn"])}
    if request.get("tagKeys"):
        keys["aws:TagKeys"] = list(request["tagKeys"])
    return keys


_ANY = Access()
_TAGS = Access(_tagged, _retagged)

ACCESS: dict[str, Access] = {
    # compute environments
    "CreateComputeEnvironment": Access(
        _one("compute-environment", "computeEnvironmentName"), _tags, _makes_environment
    ),
    "DescribeComputeEnvironments": _ANY,
    "UpdateComputeEnvironment": _existing("compute-environment", "computeEnvironment", _hands_over_roles),
    "DeleteComputeEnvironment": _existing("compute-environment", "computeEnvironment"),
    # job queues
    "CreateJobQueue": Access(_one("job-queue", "jobQueueName"), _tags, _new_queue),
    "DescribeJobQueues": _ANY,
    "UpdateJobQueue": _existing("job-queue", "jobQueue", _its_environments),
    "DeleteJobQueue": _existing("job-queue", "jobQueue"),
    # job definitions
    "RegisterJobDefinition": Access(_one("job-definition", "jobDefinitionName"), _container_keys, _new_definition),
    "DescribeJobDefinitions": _ANY,
    "DeregisterJobDefinition": _existing("job-definition", "jobDefinition"),
    # jobs
    "SubmitJob": Access(_one("job-definition", "jobDefinition"), _submitted, _to_queue),
    "DescribeJobs": _ANY,
    "ListJobs": _ANY,
    "CancelJob": _existing("job", "jobId"),
    "TerminateJob": _existing("job", "jobId"),
    # tags
    "ListTagsForResource": _TAGS,
    "TagResource": _TAGS,
    "UntagResource": _TAGS,
}
