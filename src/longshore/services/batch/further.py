"""Actions that the real Batch calls, and Longshore carries out otherwise or needs not: its role is asked for them all the same.

At AWS a compute environment's instances stand in an Auto Scaling group, made from a launch template. Here Batch runs and
terminates them itself; but a service role that could not do it at AWS shall not do it here.

Source: the managed policies BatchServiceRolePolicy and AWSBatchServiceRole, which name the actions and their resources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.kit.access import Question, tag_context
from longshore.services.batch.acting import acting
from longshore.services.batch.records import Environment, Kind
from longshore.services.batch.roles import SERVICE

if TYPE_CHECKING:
    from longshore.aws.principal import Principal
    from longshore.kit.call import Call

SERVICE_TAG = {"AWSBatchServiceTag": "batch"}
_MAKES: dict[str, Any] = tag_context(SERVICE_TAG)
_HAS: dict[str, Any] = {f"aws:ResourceTag/{key}": value for key, value in SERVICE_TAG.items()}


class _Action(Struct, frozen=True):
    action: str
    on: str = "group"  # or "template"
    context: dict[str, Any] = {}


# What an intent does -> the actions on the environment's launch template and Auto Scaling group.
FURTHER: dict[Kind, tuple[_Action, ...]] = {
    "prepare": (
        _Action("ec2:CreateLaunchTemplate", "template", _MAKES),
        _Action("autoscaling:CreateAutoScalingGroup", context=_MAKES),
        _Action("autoscaling:CreateOrUpdateTags", context=_MAKES),
    ),
    "launch": (_Action("autoscaling:SetDesiredCapacity"),),
    "terminate": (_Action("autoscaling:TerminateInstanceInAutoScalingGroup"),),
    "dismantle": (
        _Action("autoscaling:DeleteAutoScalingGroup"),
        _Action("ec2:DeleteLaunchTemplate", "template", _HAS),
    ),
}


def require(call: Call, kind: Kind, environment: Environment, session: Principal) -> None:
    """AccessDenied, UnauthorizedOperation: the service role may not do one of them. The trail is told, as of a real call."""
    if environment.type != "MANAGED":
        return
    for each in FURTHER.get(kind, ()):
        service, _, operation = each.action.partition(":")
        asking = acting(call, session, of=service, source_ip=SERVICE, via_service=SERVICE)
        asking.operation = operation
        asking.resource = _template(environment) if each.on == "template" else _group(environment)
        try:
            asking.house.authorizer.require(asking, Question(each.action, asking.resource, each.context))
        except AwsError as error:
            asking.house.peers.tell(asking, True, error)
            raise


def _group(environment: Environment) -> str:
    """The ARN that the group would have; its name begins as Batch's do."""
    place = f"arn:aws:autoscaling:{environment.region}:{environment.account}"
    name = f"AWSBatch-{environment.name}-asg-{environment.uuid}"
    return f"{place}:autoScalingGroup:{environment.uuid}:autoScalingGroupName/{name}"


def _template(environment: Environment) -> str:
    """The service authorization reference names no more of a template that is being made than its kind."""
    return f"arn:aws:ec2:{environment.region}:{environment.account}:launch-template/*"
