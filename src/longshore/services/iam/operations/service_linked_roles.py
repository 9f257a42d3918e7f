"""Roles that belong to a service: made for it, changed by nobody else.

Source: IAM user guide, "Create a service-linked role"; recordings of AWS for the texts.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import rules, shown, store
from longshore.services.iam.operations import roles
from longshore.services.iam.records import Role


class _Linked(Struct, frozen=True):
    role_name: str
    policy_name: str
    takes_suffix: bool = False


SERVICES = {
    "batch.amazonaws.com": _Linked("AWSServiceRoleForBatch", "BatchServiceRolePolicy"),
    "ecs.amazonaws.com": _Linked("AWSServiceRoleForECS", "AmazonECSServiceRolePolicy"),
    "spot.amazonaws.com": _Linked("AWSServiceRoleForEC2Spot", "AWSEC2SpotServiceRolePolicy"),
    "spotfleet.amazonaws.com": _Linked("AWSServiceRoleForEC2SpotFleet", "AWSEC2SpotFleetServiceRolePolicy"),
    "autoscaling.amazonaws.com": _Linked("AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy", True),
}


@operation
def create_service_linked_role(call: Call, request: Request) -> Response:
    service = request["AWSServiceName"]
    linked = SERVICES.get(service)
    if linked is None:
        raise AwsError("InvalidInput", f"Service {service} is not supported for service-linked roles.")
    suffix = request.get("CustomSuffix")
    if suffix and not linked.takes_suffix:
        raise AwsError("InvalidInput", f"Custom suffix is not allowed for {service}")
    name = f"{linked.role_name}_{suffix}" if suffix else linked.role_name
    if store.find(call.transaction, Role, call.account, name) is not None:
        raise AwsError(
            "InvalidInput",
            f"Service role name {name} has been taken in this account, please try a different suffix.",
        )
    path = f"/aws-service-role/{service}/"
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Action": ["sts:AssumeRole"], "Effect": "Allow", "Principal": {"Service": [service]}}],
        },
        separators=(",", ":"),
    )
    role = Role(
        name=name,
        path=path,
        role_id=call.ids.unique_id("AROA"),
        arn=call.arn(f"role{path}{name}"),
        created_at=call.now,
        trust=trust,
        description=request.get("Description"),
        attached=(f"arn:aws:iam::aws:policy/aws-service-role/{linked.policy_name}",),
        service=service,
    )
    store.add(call.transaction, call.account, role)
    roles.changed(call, role)
    return {"Role": shown.role(role, trust, session=False)}


class _Deletion(Struct, frozen=True):
    """What became of the attempt to delete a role. `used`: region -> ARNs; empty: it was deleted."""

    reason: str = ""
    used: dict[str, tuple[str, ...]] = {}


@operation
def delete_service_linked_role(call: Call, request: Request) -> Response:
    """Decided at once; the task that AWS answers with can be asked for afterwards. A role that is used stays."""
    role = roles.existing(call, request["RoleName"])
    if role.service is None:
        raise rules.no_role(request["RoleName"])
    used = _uses(call, role)
    if used:
        deletion = _Deletion(f"The role {role.name} is in use by resources of {role.service}.", used)
    else:
        deletion = _Deletion()
        store.drop(call.transaction, call.account, role)
        roles.changed(call, role)
    task_id = f"task{role.path}{role.name}/{call.ids.uuid()}"
    store.add_task(call.transaction, call.account, task_id, milliseconds(call.now), msgspec.json.encode(deletion))
    return {"DeletionTaskId": task_id}


@operation
def get_service_linked_role_deletion_status(call: Call, request: Request) -> Response:
    task_id = request["DeletionTaskId"]
    document = store.find_task(call.transaction, call.account, task_id)
    if document is None:
        return _of_old(call, task_id)
    deletion = msgspec.json.decode(document, type=_Deletion)
    if not deletion.used:
        return {"Status": "SUCCEEDED"}
    usage = [{"Region": region, "Resources": list(arns)} for region, arns in sorted(deletion.used.items())]
    return {"Status": "FAILED", "Reason": {"Reason": deletion.reason, "RoleUsageList": usage}}


def _of_old(call: Call, task_id: str) -> Response:
    """A task that is kept no longer: all that is known is that the role is gone. NoSuchEntity: it was no task."""
    parts = task_id.split("/")
    is_task = len(parts) == 5 and parts[:2] == ["task", "aws-service-role"]
    if not is_task or store.find(call.transaction, Role, call.account, parts[3]) is not None:
        raise rules.missing(f"Deletion Task Id: {task_id} not found.")
    return {"Status": "SUCCEEDED"}


# What a service-linked role is needed for ---------------------------------------------------------------------------
# Source: "Using service-linked roles" in the guides of Batch, ECS and EC2: what must be cleaned up before it is deleted.


def _uses(call: Call, role: Role) -> dict[str, tuple[str, ...]]:
    """region -> ARNs of what needs the role, in the caller's region and the house's own; empty: nothing does."""
    look = {
        "batch.amazonaws.com": _environments,
        "ecs.amazonaws.com": _clusters,
        "spot.amazonaws.com": _spot_instances,
    }.get(role.service or "")
    if look is None:
        return {}
    found = {}
    for region in {call.region, call.house.settings.region}:
        there = call.house.turn("iam", account=call.account, region=region).call(call.transaction)
        arns = look(there, role)
        if arns:
            found[region] = tuple(sorted(arns))
    return found


def _looked(call: Call, service: str, operation: str, request: dict[str, Any], member: str) -> list[Any]:
    """All pages of a list of another room."""
    found: list[Any] = []
    token: str | None = None
    while True:
        more = {"nextToken": token} if token else {}
        answer = call.peer(service, operation, {**request, **more}, as_=call.as_service())
        found += answer.get(member) or []
        token = answer.get("nextToken")
        if not token:
            return found


def _environments(call: Call, role: Role) -> list[str]:
    there = _looked(call, "batch", "DescribeComputeEnvironments", {}, "computeEnvironments")
    return [each["computeEnvironmentArn"] for each in there if each.get("serviceRole") == role.arn]


def _clusters(call: Call, role: Role) -> list[str]:
    return _looked(call, "ecs", "ListClusters", {}, "clusterArns")


def _spot_instances(call: Call, role: Role) -> list[str]:
    filters = [
        {"Name": "instance-lifecycle", "Values": ["spot"]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    answer = call.peer("ec2", "DescribeInstances", {"Filters": filters}, as_=call.as_service())
    return [
        call.arn(f"instance/{each['InstanceId']}", service="ec2")
        for reservation in answer["Reservations"]
        for each in reservation["Instances"]
    ]
