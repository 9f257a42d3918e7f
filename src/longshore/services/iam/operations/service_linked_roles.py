"""Roles that belong to a service: made for it, changed by nobody else.

Source: IAM user guide, "Create a service-linked role"; recordings of AWS for the texts.
"""

from __future__ import annotations

import json

from msgspec import Struct

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


@operation
def delete_service_linked_role(call: Call, request: Request) -> Response:
    """Deleted at once; the task that AWS answers with can be asked for afterwards."""
    role = roles.existing(call, request["RoleName"])
    if role.service is None:
        raise rules.no_role(request["RoleName"])
    store.drop(call.transaction, call.account, role)
    roles.changed(call, role)
    return {"DeletionTaskId": f"task{role.path}{role.name}/{call.ids.uuid()}"}


@operation
def get_service_linked_role_deletion_status(call: Call, request: Request) -> Response:
    parts = request["DeletionTaskId"].split("/")
    if len(parts) != 5 or parts[:2] != ["task", "aws-service-role"]:
        raise rules.missing(f"Deletion Task Id: {request['DeletionTaskId']} not found.")
    if store.find(call.transaction, Role, call.account, parts[3]) is not None:
        raise rules.missing(f"Deletion Task Id: {request['DeletionTaskId']} not found.")
    return {"Status": "SUCCEEDED"}
