"""Every operation of every room against the service authorization reference: what is asked is what AWS asks.

Operations are called by a user who may do everything, with requests by the model; what the authorizer is asked is written down.
Then each question must be of an action that AWS has, about a resource that the action takes, with condition keys that
action, resource or all services know.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from longshore.aws import model
from longshore.services.iam.reference import reference
from people import Person, allow, document
from refusals import unchecked
from services.test_whatever_is_sent import ACCOUNT, ROOMS, WORDS, Sender, _things

ROUNDS = 9
# Actions of ours, for what AWS has no operation for.
OWN = ("longshore:", "organizations:")

# (action, the form of what is asked about) -> why that is right though the reference does not say it.
EXCEPTIONS: dict[tuple[str, str], str] = {
    **{
        (f"iam:List{what}", rf"arn:aws:iam::\d+:{kind}/.*"): "AWS's own refusals name the path, as `role/`"
        for what, kind in (
            ("Roles", "role"), ("Users", "user"), ("Groups", "group"), ("InstanceProfiles", "instance-profile"),
        )
    },
    ("logs:DescribeLogGroups", r"arn:aws:logs:[^:]*:\d+:log-group:.*:log-stream:"): "AWS's own refusals name it so",
    ("sts:TagSession", r"arn:aws:sts::\d+:federated-user/.*"): "GetFederationToken: the user guide has its tags asked for",
    ("batch:DeregisterJobDefinition", r".*:job-definition/[^:]*"): "without a revision it is refused, after being asked for",
    ("ec2:CreateTags", r".*:resource/.*"): "an id of no kind that is known is refused, after being asked for",
    ("ec2:DeleteTags", r".*:resource/.*"): "an id of no kind that is known is refused, after being asked for",
    ("ecs:ListTasks", r"\*"): "no container instance is named, where one may be",
    ("ecs:PutAttributes", r"\*"): "no target is named: refused, after being asked for",
    ("ecs:DeleteAttributes", r"\*"): "no target is named: refused, after being asked for",
}  # fmt: skip
# Operations that would take away what the test stands on.
SPARED = ("DeleteUser", "DeleteAccessKey", "UpdateAccessKey", "UpdateUser", "DeleteUserPolicy", "PutUserPolicy")
ARNS = [f"arn:aws:iam::{ACCOUNT}:{each}" for each in (*["role/ops"] * 3, "user/a", "policy/a")]
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


class Asked(Struct, frozen=True):
    operation: str  # "iam:CreateRole": by which operation
    action: str
    resource: str
    keys: frozenset[str]
    is_callers: bool  # The resource stands in the request as it is: nobody but the caller can be wrong about it.


class Fuller(Sender):
    """Fewer or more optional members than the model's own sender sends; paths are paths, and kinds of resources are kinds."""

    wanted = 0.5

    def value(self, shape: Any, depth: int = 0) -> Any:
        if shape.type_name == "structure" and depth < 5:
            return {
                name: self.value(member, depth + 1)
                for name, member in shape.members.items()
                if self._chance.random() < (1 if name in shape.required_members else self.wanted)
            }
        if shape.type_name == "string" and "path" in shape.name.lower():
            return self._chance.choice(("/", "/a/"))
        if shape.type_name == "string" and shape.name == "arnType":
            return self._chance.choice(ARNS)
        if shape.name == "ResourceType":
            return self._chance.choice(("instance", "vpc", "subnet", "security-group", "volume"))
        return super().value(shape, depth)


def _tagged_things(house: Any) -> list[str]:
    """Things to ask about in every room, with tags and boundaries, so that their condition keys are seen."""
    found = _things(house)
    tags = [{"Key": "team", "Value": "blue"}]
    iam, ecs, batch = house.client("iam"), house.client("ecs"), house.client("batch")
    iam.tag_role(RoleName="ops", Tags=tags)
    iam.put_role_permissions_boundary(RoleName="ops", PermissionsBoundary=ADMINISTRATOR)
    iam.tag_instance_profile(InstanceProfileName="worker", Tags=tags)
    iam.create_user(UserName="a", Tags=tags, PermissionsBoundary=ADMINISTRATOR)
    iam.create_policy(PolicyName="a", PolicyDocument=document(allow("s3:*")), Tags=tags)
    iam.create_group(GroupName="a")
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/batch/job"
    house.client("logs").tag_resource(resourceArn=group, tags={"team": "blue"})
    house.client("ec2").create_tags(Resources=found[1:], Tags=tags)
    ecs.create_cluster(clusterName="default", tags=[{"key": "team", "value": "blue"}])
    container = {"image": "busybox", "command": ["true"], "memory": 128, "vcpus": 1}
    batch.register_job_definition(
        jobDefinitionName="a", type="container", containerProperties=container, tags={"team": "blue"}
    )
    return found


@pytest.fixture(scope="module")
def asked() -> dict[str, list[Asked]]:
    """Operation -> what was asked for it, in all rounds."""
    from in_process import InProcessHouse

    house = InProcessHouse()
    found: dict[str, list[Asked]] = defaultdict(list)
    anna = Person(house, "anna")
    anna.may(allow("*"))
    sent: set[str] = set()
    watch(house, anna.arn, lambda each: found[each.operation].append(each), lambda: sent)
    sender = Fuller(random.Random(5), [*WORDS, *_tagged_things(house) * 4, *["a", "ops", "worker"] * 12])
    offered = [
        (client, name, client.meta.service_model.operation_model(name).input_shape)
        for client in (unchecked(anna.client(room)) for room in ROOMS)
        for name in client.meta.service_model.operation_names
        if house.assembly.dispatcher._services[client.meta.service_model.service_name].operation(name) is not None
        and name not in SPARED
    ]
    for number in range(ROUNDS):
        sender.wanted = (0.0, 0.5, 1.0)[number % 3]
        for client, name, shape in offered:
            request = sender.value(shape) if shape is not None else {}
            sent = set(_texts(request))
            with contextlib.suppress(ClientError, BotoCoreError, ValueError, TypeError, AttributeError, KeyError):
                getattr(client, xform_name(name))(**request)
    house.close()
    return dict(found)


def watch(house: Any, who: str, tell: Callable[[Asked], None], sent: Callable[[], set[str]]) -> None:
    """Tells each question that is asked for one who calls, and lets it be answered."""
    authorizer = house.house.authorizer
    decide = authorizer.decide

    def told(call: Any, question: Any) -> Any:
        if call.principal.arn == who and not call.via_service:
            name, keys = f"{call.service}:{call.operation}", frozenset(question.context)
            # What is looked up only when a policy asks for it.
            context = authorizer._context(call, question)
            keys |= {key for key in (TEAM, IAM_TEAM) if context.get(key.lower()) is not None}
            tell(Asked(name, question.action, question.resource, keys, question.resource in sent()))
        return decide(call, question)

    authorizer.decide = told


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


@pytest.mark.parametrize("room", ROOMS)
def test_every_operation_that_is_offered_has_a_row(room: str) -> None:
    from longshore.server.assemble import SERVICES

    service = SERVICES[room]
    rows = {name.lower() for name in service.access}
    assert set(service.operations) <= rows, "an operation without a row is asked about `*`: say so, if that is right"
    streams = {stream.action.partition(":")[2].lower() for stream in service.streams}
    assert rows <= set(service.operations) | streams


@lru_cache
def _forms(action: str) -> list[tuple[str, re.Pattern[str], bool]]:
    service, _, name = action.partition(":")
    data = reference()
    found = []
    for each in data.actions.get_action_details(service, name)["resourceTypes"]:
        form = data.resources.get_resource_type_details(service, each["name"])["arn"]
        expression = re.sub(r"\\\$\\\{[^}]*\\\}", ".*", re.escape(form))
        found.append((each["name"], re.compile(expression, re.DOTALL), each["required"]))
    return found


@lru_cache
def _keys(action: str) -> list[re.Pattern[str]]:
    """The condition keys of the action and of its resource types, tags for any key."""
    service, _, name = action.partition(":")
    data = reference()
    details = data.actions.get_action_details(service, name)
    keys = list(details["conditionKeys"])
    for each in details["resourceTypes"]:
        keys += each["conditionKeys"]
        keys += data.resources.get_resource_type_details(service, each["name"]).get("conditionKeys", [])
    return [
        re.compile(re.sub(r"(\\\$\\\{[^}]*\\\}|<[^>]*>)", ".*", re.escape(key)), re.DOTALL | re.IGNORECASE)
        for key in keys
    ]


def test_what_is_asked_is_what_the_reference_knows(asked: dict[str, list[Asked]]) -> None:
    wrong = set()
    for questions in asked.values():
        for each in questions:
            if each.action.startswith(OWN):
                continue
            service, _, name = each.action.partition(":")
            if not reference().actions.action_exists(service, name):
                wrong.add((each.operation, each.action, "no such action"))
                continue
            if fault := _wrong_resource(each):
                wrong.add((each.operation, each.action, fault))
            for key in each.keys:
                if not any(known.fullmatch(key) for known in _keys(each.action)):
                    wrong.add((each.operation, each.action, f"condition key {key}"))
    assert not wrong, "\n".join(map(str, sorted(wrong)))


def _wrong_resource(asked: Asked) -> str | None:
    if asked.is_callers:
        return None
    if any(action == asked.action and re.fullmatch(form, asked.resource, re.DOTALL) for action, form in EXCEPTIONS):
        return None
    forms = _forms(asked.action)
    if asked.resource == "*":
        required = [kind for kind, _, is_required in forms if is_required]
        return f"`*` where {required} are needed" if required else None
    if any(form.fullmatch(asked.resource) for _, form, _ in forms):
        return None
    return f"{asked.resource} is none of {[kind for kind, _, _ in forms]}"


def test_every_operation_was_asked_for(asked: dict[str, list[Asked]]) -> None:
    from longshore.server.assemble import SERVICES

    open_rows = {
        f"{room}:{name}" for room, service in SERVICES.items() for name, row in service.access.items() if row.open
    }
    offered = {
        f"{room}:{name}"
        for room in ROOMS
        for name in model.model(room).operations
        if SERVICES[room].operation(name) is not None and name not in SPARED
    }
    assert offered - set(asked) - open_rows == set()


def test_no_exception_is_left_that_none_needs(asked: dict[str, list[Asked]]) -> None:
    met = {
        (action, form)
        for questions in asked.values()
        for each in questions
        for action, form in EXCEPTIONS
        if action == each.action and re.fullmatch(form, each.resource, re.DOTALL)
    }
    assert met == set(EXCEPTIONS)


TEAM, IAM_TEAM, EC2_TEAM = "aws:ResourceTag/team", "iam:ResourceTag/team", "ec2:ResourceTag/team"
BOUNDARY = "iam:PermissionsBoundary"
ROLE_ARN, CLUSTER = f"arn:aws:iam::{ACCOUNT}:role/ops", f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/default"
GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/batch/job"
NEW_TAGS = {"aws:RequestTag/cost", "aws:TagKeys"}
COST = [{"Key": "cost", "Value": "1"}]

# Operation, request, action that is asked, condition keys that must be told with it.
TOLD: list[tuple[str, str, dict[str, Any], str, set[str]]] = [
    ("iam", "get_role", {"RoleName": "ops"}, "iam:GetRole", {TEAM, IAM_TEAM, BOUNDARY}),
    ("iam", "tag_role", {"RoleName": "ops", "Tags": COST}, "iam:TagRole", {TEAM, IAM_TEAM, *NEW_TAGS}),
    ("iam", "untag_role", {"RoleName": "ops", "TagKeys": ["x"]}, "iam:UntagRole", {TEAM, IAM_TEAM, "aws:TagKeys"}),
    (
        "iam", "attach_role_policy", {"RoleName": "ops", "PolicyArn": ADMINISTRATOR}, "iam:AttachRolePolicy",
        {TEAM, IAM_TEAM, BOUNDARY, "iam:PolicyARN"},
    ),
    (
        "iam", "put_role_permissions_boundary", {"RoleName": "ops", "PermissionsBoundary": ADMINISTRATOR},
        "iam:PutRolePermissionsBoundary", {TEAM, BOUNDARY},
    ),
    ("iam", "get_user", {"UserName": "a"}, "iam:GetUser", {TEAM, IAM_TEAM}),
    ("iam", "put_user_policy", {"UserName": "a", "PolicyName": "p", "PolicyDocument": document(allow("s3:*"))},
     "iam:PutUserPolicy", {TEAM, BOUNDARY}),
    ("iam", "get_instance_profile", {"InstanceProfileName": "worker"}, "iam:GetInstanceProfile", {TEAM}),
    ("iam", "get_policy", {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/a"}, "iam:GetPolicy", {TEAM}),
    (
        "iam", "create_user", {"UserName": "n", "PermissionsBoundary": ADMINISTRATOR, "Tags": COST}, "iam:CreateUser",
        {BOUNDARY, *NEW_TAGS},
    ),
    ("iam", "create_service_linked_role", {"AWSServiceName": "batch.amazonaws.com"}, "iam:CreateServiceLinkedRole",
     {"iam:AWSServiceName"}),
    (
        "sts", "assume_role", {"RoleArn": ROLE_ARN, "RoleSessionName": "se", "ExternalId": "ext", "Tags": COST},
        "sts:AssumeRole", {"sts:RoleSessionName", "sts:ExternalId", TEAM, IAM_TEAM, *NEW_TAGS},
    ),
    ("ecs", "describe_clusters", {}, "ecs:DescribeClusters", {TEAM}),
    ("ecs", "list_container_instances", {}, "ecs:ListContainerInstances", {TEAM}),
    ("ecs", "list_tasks", {}, "ecs:ListTasks", {"ecs:cluster"}),
    (
        "ecs", "start_task", {"taskDefinition": "t", "containerInstances": ["a"]}, "ecs:StartTask",
        {"ecs:cluster", "ecs:container-instances", TEAM},
    ),
    ("ecs", "run_task", {"taskDefinition": "t"}, "ecs:RunTask", {"ecs:cluster", TEAM}),
    ("ecs", "list_tags_for_resource", {"resourceArn": CLUSTER}, "ecs:ListTagsForResource", {TEAM}),
    (
        "batch", "register_job_definition",
        {"jobDefinitionName": "d", "type": "container", "containerProperties": {
            "image": "busybox", "user": "u", "privileged": True, "memory": 64, "vcpus": 1,
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
        }},
        "batch:RegisterJobDefinition",
        {"batch:Image", "batch:User", "batch:Privileged", "batch:LogDriver", "batch:AWSLogsGroup"},
    ),
    (
        "batch", "submit_job", {"jobName": "j", "jobQueue": "q", "jobDefinition": "a:1", "shareIdentifier": "s"},
        "batch:SubmitJob", {"batch:ShareIdentifier", TEAM},
    ),
    ("ec2", "terminate_instances", {"InstanceIds": ["INSTANCE"]}, "ec2:TerminateInstances",
     {TEAM, EC2_TEAM, "ec2:InstanceType", "ec2:Region", "ec2:AvailabilityZone"}),
    (
        "ec2", "run_instances",
        {"ImageId": "IMAGE", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1,
         "IamInstanceProfile": {"Name": "worker"}, "MetadataOptions": {"HttpTokens": "required"}},
        "ec2:RunInstances",
        {"ec2:InstanceType", "ec2:InstanceProfile", "ec2:MetadataHttpTokens", "ec2:AvailabilityZone", "ec2:Vpc", "ec2:Subnet",
         "ec2:SubnetID", "ec2:SecurityGroupID", "ec2:ImageID", TEAM},
    ),
    ("logs", "put_log_events", {"logGroupName": "/aws/batch/job", "logStreamName": "a", "logEvents": [
        {"timestamp": 1767225600000, "message": "m"}]}, "logs:PutLogEvents", {TEAM}),
    ("logs", "list_tags_for_resource", {"resourceArn": GROUP}, "logs:ListTagsForResource", {TEAM}),
]  # fmt: skip


def test_condition_keys_are_told(house: Any) -> None:
    found: list[Asked] = []
    anna = Person(house, "anna")
    anna.may(allow("*"))
    image, instance, *_ = _tagged_things(house)
    container = {"name": "c", "image": "busybox", "memory": 64}
    house.client("ecs").register_task_definition(
        family="t", containerDefinitions=[container], tags=[{"key": "team", "value": "blue"}]
    )
    watch(house, anna.arn, found.append, set)
    missing = {}
    for room, operation, request, action, keys in TOLD:
        text = json.dumps(request).replace("INSTANCE", instance).replace("IMAGE", image)
        found.clear()
        with contextlib.suppress(ClientError):
            getattr(anna.client(room), operation)(**json.loads(text))
        told = frozenset().union(*(each.keys for each in found if each.action == action))
        if keys - told:
            missing[f"{room}.{operation}"] = keys - told
    assert missing == {}
