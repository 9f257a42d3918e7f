"""The chain that brings an instance into its cluster: instance profile -> role -> trust -> policy. Where is it broken?

Nothing is guessed. The profile is looked up in IAM as it is now, and the same authorizer that will answer the instance is
asked the same questions: whether EC2 may take the role, and whether the role's session may do what the agent must do to
join. So it is broken here exactly when it is broken there, and whole again as soon as somebody mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, service
from longshore.kit.access import Question
from longshore.services.batch.acting import acting
from longshore.services.batch.records import Environment, Instance

if TYPE_CHECKING:
    from longshore.kit.call import Call

EC2 = "ec2.amazonaws.com"


class Broken(Struct, frozen=True, kw_only=True):
    """One link that does not hold."""

    link: Literal["profile", "role", "trust", "policy"]
    text: str  # what is wrong, in AWS's words where a call is refused
    principal: str | None = None  # who is refused
    action: str | None = None
    resource: str | None = None


def diagnose(call: Call, environment: Environment, instance: Instance) -> list[Broken]:
    """The first broken link of a launched instance; of policies, every action that is missing. Empty: the chain holds.

    `call`: the room's own, in the environment's account and region.
    """
    name_or_arn = (environment.resources or {}).get("instanceRole") or ""
    profile = find_profile(call, name_or_arn)
    if profile is None:
        return [Broken(link="profile", text=f"instance profile {name_or_arn} does not exist")]
    given = _profile_of(call, instance)
    if given is None:
        return []  # The instance is gone, or has another profile by now: nothing is known of its chain.
    if given["Arn"] == profile["Arn"] and given["Id"] != profile["InstanceProfileId"]:
        text = f"instance profile {name_or_arn} was deleted and made again after instance {instance.instance_id} was launched"
        return [Broken(link="profile", text=text)]
    if given["Arn"] != profile["Arn"]:
        return []
    if not profile["Roles"]:
        return [Broken(link="role", text=f"instance profile {name_or_arn} holds no role")]
    role = profile["Roles"][0]
    return _trust(call, role, instance) or _policy(call, environment, role, instance)


def find_profile(call: Call, name_or_arn: str, as_: Principal | None = None) -> dict[str, Any] | None:
    """The instance profile as IAM has it; None: there is none of that name, or of that ARN.

    `as_` None: Batch itself looks. Else AccessDenied, where that principal may not.
    """
    name = name_or_arn.rsplit("/", 1)[-1]
    try:
        answer = call.peer("iam", "GetInstanceProfile", {"InstanceProfileName": name}, as_=as_ or call.as_service())
    except AwsError as error:
        if error.code in ("NoSuchEntity", "ValidationError"):
            return None
        raise
    profile: dict[str, Any] = answer["InstanceProfile"]
    if name_or_arn.startswith("arn:") and profile["Arn"] != name_or_arn:
        return None
    return profile


def _profile_of(call: Call, instance: Instance) -> dict[str, str] | None:
    """Which profile the instance has: {"Arn", "Id"}."""
    try:
        answer = call.peer("ec2", "DescribeInstances", {"InstanceIds": [instance.instance_id]}, as_=call.as_service())
    except AwsError:
        return None
    for reservation in answer["Reservations"]:
        for shown in reservation["Instances"]:
            profile: dict[str, str] | None = shown.get("IamInstanceProfile")
            return profile
    return None


def _trust(call: Call, role: dict[str, Any], instance: Instance) -> list[Broken]:
    """Whether EC2 may take the role, as its metadata service does for the instance."""
    metadata = acting(call, service(EC2, call.account), of="sts", via_service=EC2)
    question = Question("sts:AssumeRole", role["Arn"], {"sts:RoleSessionName": instance.instance_id or ""})
    refusal = _refusal(metadata, question)
    if refusal is None:
        return []
    text = f"EC2 can't take the role {role['RoleName']} in the instance profile: {refusal}"
    return [Broken(link="trust", text=text, principal=EC2, action=question.action, resource=question.resource)]


def _policy(call: Call, environment: Environment, role: dict[str, Any], instance: Instance) -> list[Broken]:
    """What the agent asks to join, as the session that the metadata service gives it."""
    session = _session(call, role, instance)
    agent = acting(call, session, of="ecs")
    broken = []
    for question in _to_join(environment):
        refusal = _refusal(agent, question)
        if refusal is not None:
            broken.append(
                Broken(
                    link="policy",
                    text=refusal,
                    principal=session.arn,
                    action=question.action,
                    resource=question.resource,
                )
            )
    return broken


def _session(call: Call, role: dict[str, Any], instance: Instance) -> Principal:
    name = instance.instance_id or ""
    return Principal(
        kind="assumed-role",
        account=call.account,
        arn=f"arn:aws:sts::{call.account}:assumed-role/{role['RoleName']}/{name}",
        user_id=f"{role['RoleId']}:{name}",
        role_arn=role["Arn"],
        role_id=role["RoleId"],
        session_name=name,
        multi_factor=False,
        issued_at=call.now,
        assumed_by=EC2,
        source_instance_arn=f"arn:aws:ec2:{call.region}:{call.account}:instance/{name}",
    )


def _to_join(environment: Environment) -> list[Question]:
    """In the agent's order. Its container instance has no id yet; which one it will get is for no policy to know."""
    cluster = environment.cluster_arn or ""
    container_instance = f"{cluster.replace(':cluster/', ':container-instance/')}/{'0' * 32}"
    return [
        Question("ecs:RegisterContainerInstance", cluster),
        Question("ecs:DiscoverPollEndpoint", "*"),
        Question("ecs:Poll", container_instance, {"ecs:cluster": cluster}),
    ]


def _refusal(call: Call, question: Question) -> str | None:
    """AWS's text of the refusal; None: it is allowed."""
    try:
        call.house.authorizer.require(call, question)
    except AwsError as error:
        return error.message
    return None
