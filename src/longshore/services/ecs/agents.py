"""Whose agent calls: a session that the metadata service of an instance gave out acts for that instance alone.

The session of an instance names its instance (the session's name), and only ec2.amazonaws.com can have made it. So a
stolen or curious agent can neither take the place of another nor report for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.services.ecs import store
from longshore.services.ecs.records import ContainerInstance
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call


def instance_of(principal: Principal) -> str | None:
    """The EC2 instance whose session this is; None: it is none."""
    if principal.assumed_by != "ec2.amazonaws.com" or principal.kind != "assumed-role":
        return None
    return principal.session_name


def refused(principal: Principal, what: str) -> AwsError:
    return AwsError("AccessDeniedException", f"User: {principal.arn} may not act as {what}.")


def must_be_instance(principal: Principal, *, instance_id: str, account: str, region: str) -> None:
    """AccessDeniedException: the caller is not the agent of that instance."""
    own = instance_of(principal)
    source = principal.source_instance_arn
    expected = f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"
    if own != instance_id or principal.account != account or (source is not None and source != expected):
        raise refused(principal, f"instance {instance_id}")


def must_be_own(call: Call, instance: ContainerInstance) -> None:
    """For streams: nobody but the instance itself hears its tasks and their credentials."""
    if instance_of(call.principal) != instance.ec2_instance_id:
        raise refused(call.principal, f"container instance {instance.arn}")


def may_report(call: Call, ec2_instance_id: str, arn: str) -> None:
    """Reports: an instance's session only for its own; others as policies allow, which were asked before."""
    own = instance_of(call.principal)
    if own is not None and own != ec2_instance_id:
        raise refused(call.principal, arn)


def may_manage(call: Call, instance: ContainerInstance) -> None:
    """Draining and deregistering: the session of a container instance only its own.

    A program on an EC2 instance that is in no cluster (an autoscaler, say) may do what its policies allow.
    """
    own = instance_of(call.principal)
    if own is None or own == instance.ec2_instance_id:
        return
    if store.instances_of_ec2(place(call), own):
        raise refused(call.principal, f"container instance {instance.arn}")
