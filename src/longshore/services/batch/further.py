"""Actions that the real Batch calls, and Longshore carries out otherwise or needs not: its role is asked for them all the same.

At AWS a compute environment's instances stand in an Auto Scaling group. Here Batch runs and terminates them itself; but a
service role that could not do it at AWS shall not do it here.

Source: the managed policies BatchServiceRolePolicy and AWSBatchServiceRole, which name the actions and their resources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.kit.access import Question
from longshore.services.batch.acting import acting
from longshore.services.batch.records import Environment, Kind

if TYPE_CHECKING:
    from longshore.aws.principal import Principal
    from longshore.kit.call import Call

# What an intent does -> the actions on the environment's Auto Scaling group.
FURTHER: dict[Kind, tuple[str, ...]] = {
    "prepare": ("autoscaling:CreateAutoScalingGroup",),
    "launch": ("autoscaling:SetDesiredCapacity",),
    "terminate": ("autoscaling:TerminateInstanceInAutoScalingGroup",),
    "dismantle": ("autoscaling:DeleteAutoScalingGroup",),
}


def require(call: Call, kind: Kind, environment: Environment, session: Principal) -> None:
    """AccessDeniedException: the service role may not do one of them."""
    if environment.type != "MANAGED":
        return
    asking = acting(call, session)
    for action in FURTHER.get(kind, ()):
        asking.house.authorizer.require(asking, Question(action, _group(environment)))


def _group(environment: Environment) -> str:
    """The ARN that the group would have; its name begins as Batch's do."""
    place = f"arn:aws:autoscaling:{environment.region}:{environment.account}"
    name = f"AWSBatch-{environment.name}-asg-{environment.uuid}"
    return f"{place}:autoScalingGroup:{environment.uuid}:autoScalingGroupName/{name}"
