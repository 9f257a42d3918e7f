"""The chain of roles that a job hangs on, link by link. Where is it broken?

The service role lets Batch launch the instance; instance profile -> role -> trust -> policy brings the instance into its
cluster; the execution role writes the job's log, and the job role is the job's own.

Nothing is guessed. Profiles and roles are looked up in IAM as they are now, and the same authorizer that will answer the
real calls is asked the same questions. So a link is broken here exactly when it is broken there, and whole again as soon as
somebody mends it. Where a policy looks at what only the real call knows (from which address it comes), that is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, service
from longshore.kit.access import Question
from longshore.services.batch.acting import SESSION_NAME, acting
from longshore.services.batch.records import Environment, Instance, Trouble
from longshore.services.batch.roles import SERVICE, find_profile

if TYPE_CHECKING:
    from longshore.kit.call import Call

EC2 = "ec2.amazonaws.com"
ECS_TASKS = "ecs-tasks.amazonaws.com"
Link = Literal["profile", "role", "trust", "policy"]
Of = Literal["service role", "instance role", "execution role", "job role"]

# Condition keys that only the call itself knows, in lower case; of a session that is not there yet, its name too.
OF_THE_CALL = frozenset({"aws:sourceip", "aws:useragent", "aws:securetransport"})
OF_THE_SESSION = OF_THE_CALL | {"aws:userid", "ec2:sourceinstancearn"}
_REFUSED = re.compile(r"User: (\S+) is not authorized to perform: (\S+) on resource: (\S+)")
_NOBODY = "-"  # the name of a session that is not there yet


class Broken(Struct, frozen=True, kw_only=True):
    """One link that does not hold."""

    link: Link
    of: Of = "instance role"
    name: str  # of the role, or of the profile: what must be mended
    text: str  # what is wrong, in AWS's words where a call is refused
    principal: str | None = None  # who is refused
    action: str | None = None
    resource: str | None = None
    unsure: tuple[str, ...] = ()  # condition keys by which only the call itself can tell; empty: it is broken
    association: str | None = None  # of a profile that was made again: the instance that has the old one


class Refusal(Struct, frozen=True):
    """What AWS's text of a refusal says."""

    principal: str
    action: str
    resource: str


def refusal_in(text: str | None) -> Refusal | None:
    """None: the text tells of no refusal."""
    found = _REFUSED.search(text or "")
    return Refusal(*found.groups()) if found is not None else None


# --- the instance ---


def diagnose(call: Call, environment: Environment, instance: Instance | None) -> list[Broken]:
    """The first broken link of an instance; of policies, every action that is missing to join. Empty: the chain holds.

    `instance` None: one that will be launched. `call`: the room's own, in the environment's account and region.
    """
    name_or_arn = (environment.resources or {}).get("instanceRole") or ""
    name = name_or_arn.rsplit("/", 1)[-1]
    profile = find_profile(call, name_or_arn)
    if profile is None:
        return [Broken(link="profile", name=name, text=f"instance profile {name_or_arn} does not exist")]
    if instance is not None:
        given = _profile_of(call, instance)
        if given is None or given["Arn"] != profile["Arn"]:
            return []  # The instance is gone, or has another profile by now: nothing is known of its chain.
        if given["Id"] != profile["InstanceProfileId"]:
            text = f"instance profile {name_or_arn} was deleted and made again after instance {instance.instance_id} was launched"
            return [Broken(link="profile", name=name, text=text, association=instance.instance_id)]
    if not profile["Roles"]:
        return [Broken(link="role", name=name, text=f"instance profile {name_or_arn} holds no role")]
    role = profile["Roles"][0]
    session_name = instance.instance_id or _NOBODY if instance is not None else _NOBODY
    context = {"sts:RoleSessionName": session_name}
    broken = _trust(call, role, EC2, "instance role", context)
    questions = _to_join(environment, instance.container_instance_arn if instance is not None else None)
    return broken or _asked(call, role, EC2, session_name, "instance role", questions, of="ecs")


def is_orphaned(call: Call, environment: Environment, instance: Instance) -> bool:
    """Whether the instance bears a profile that is no more, while the one of that name now could serve a new instance."""
    profile = find_profile(call, (environment.resources or {}).get("instanceRole") or "")
    given = _profile_of(call, instance) if profile is not None and profile["Roles"] else None
    return given is not None and profile is not None and given["Id"] != profile["InstanceProfileId"]


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


def _to_join(environment: Environment, container_instance: str | None) -> list[Question]:
    """In the agent's order. None: it has not registered, and which id it will get is for no policy to know."""
    cluster = environment.cluster_arn
    if cluster is None:
        return []
    container_instance = container_instance or f"{cluster.replace(':cluster/', ':container-instance/')}/{'0' * 32}"
    return [
        Question("ecs:RegisterContainerInstance", cluster),
        Question("ecs:DiscoverPollEndpoint", "*"),
        Question("ecs:Poll", container_instance, {"ecs:cluster": cluster}),
    ]


# --- the job ---


def diagnose_reports(call: Call, environment: Environment, instance: Instance | None) -> list[Broken]:
    """Whether the agent of an instance that has joined may say what becomes of its tasks."""
    profile = find_profile(call, (environment.resources or {}).get("instanceRole") or "")
    if profile is None or not profile["Roles"] or environment.cluster_arn is None:
        return []
    session_name = instance.instance_id or _NOBODY if instance is not None else _NOBODY
    question = Question("ecs:SubmitTaskStateChange", environment.cluster_arn)
    return _asked(call, profile["Roles"][0], EC2, session_name, "instance role", [question], of="ecs")


def diagnose_roles(
    call: Call,
    environment: Environment | None,
    *,
    job_role: str | None,
    execution_role: str | None,
    log_stream: tuple[str, str] | None,
) -> list[Broken]:
    """The first broken link of what the job itself is given, as its task will use it.

    `log_stream`: group and stream that its container writes to; None: it does not write to CloudWatch Logs.
    """
    for arn, of in ((execution_role, "execution role"), (job_role, "job role")):
        if arn is None:
            continue
        role, broken = _task_role(call, arn, "execution role" if of == "execution role" else "job role")
        if broken:
            return broken
        if of == "execution role" and role is not None and log_stream is not None:
            broken = _asked(call, role, ECS_TASKS, _NOBODY, "execution role", _to_log(call, *log_stream), of="logs")
            if broken:
                return broken
    if execution_role is not None or log_stream is None or environment is None:
        return []
    # Without an execution role the agent writes the log as the instance's.
    profile = find_profile(call, (environment.resources or {}).get("instanceRole") or "")
    if profile is None or not profile["Roles"]:
        return []
    role = profile["Roles"][0]
    return _asked(call, role, EC2, _NOBODY, "instance role", _to_log(call, *log_stream), of="logs")


def _task_role(call: Call, arn: str, of: Of) -> tuple[dict[str, Any] | None, list[Broken]]:
    role = find_role(call, arn)
    if role is not None:
        return role, _trust(
            call, role, ECS_TASKS, of, {"sts:RoleSessionName": _NOBODY, "aws:SourceArn": call.arn("*", service="ecs")}
        )
    question = Question("sts:AssumeRole", arn)
    return None, [_missing(arn, of, ECS_TASKS, question)]


def _to_log(call: Call, group: str, stream: str) -> list[Question]:
    resource = call.arn(f"log-group:{group}:log-stream:{stream}", service="logs")
    return [Question("logs:CreateLogStream", resource), Question("logs:PutLogEvents", resource)]


# --- the service role ---


def diagnose_service_role(call: Call, environment: Environment) -> list[Broken]:
    """Whether Batch may take it, and what was refused to it last and still is."""
    arn = environment.service_role
    role = find_role(call, arn)
    if role is None:
        return [_missing(arn, "service role", SERVICE, Question("sts:AssumeRole", arn))]
    broken = _trust(
        call, role, SERVICE, "service role", {"sts:RoleSessionName": SESSION_NAME, "aws:SourceArn": environment.arn}
    )
    if broken:
        return broken
    texts = [one.text for one in environment.troubles if one.code in ("permissions", "start")]
    if environment.status == "INVALID":
        texts.append(environment.status_reason)
    return [each for text in texts if (each := refused_to_service(text, role)) is not None]


def refused_to_service(text: str | None, role: dict[str, Any]) -> Broken | None:
    """What the text says was refused to the session of the service role."""
    refused = refusal_in(text)
    if refused is None or f":assumed-role/{role['RoleName']}/" not in refused.principal:
        return None
    return Broken(
        link="policy",
        of="service role",
        name=role["RoleName"],
        text=(text or "").removeprefix("CLIENT_ERROR - "),
        principal=refused.principal,
        action=refused.action,
        resource=refused.resource,
    )


def stands(call: Call, environment: Environment, trouble: Trouble) -> bool:
    """Whether what a trouble says still holds, as roles and profiles are now. `call` writes."""
    refused = refusal_in(trouble.text)
    if refused is not None:
        passed_to = ECS_TASKS if trouble.code == "start" else EC2
        context = {"iam:PassedToService": passed_to} if refused.action == "iam:PassRole" else {}
        try:
            session = call.assume(
                environment.service_role, SERVICE, session_name=SESSION_NAME, source_arn=environment.arn
            )
        except AwsError:
            return True
        asking = acting(call, session, via_service=SERVICE)
        return not asking.is_allowed(refused.action, refused.resource, context)
    if trouble.code == "launch" and "Instance Profile" in trouble.text:
        profile = find_profile(call, (environment.resources or {}).get("instanceRole") or "")
        return profile is None or not profile["Roles"]
    return True


# --- links ---


def find_role(call: Call, arn: str) -> dict[str, Any] | None:
    """None: there is no role of that ARN."""
    try:
        role: dict[str, Any] = call.peer("iam", "GetRole", {"RoleName": arn.rsplit("/", 1)[-1]}, as_=call.as_service())[
            "Role"
        ]
    except AwsError as error:
        if error.code in ("NoSuchEntity", "ValidationError"):
            return None
        raise
    return role if role["Arn"] == arn else None


def _missing(arn: str, of: Of, by: str, question: Question) -> Broken:
    text = f"User: {by} is not authorized to perform: sts:AssumeRole on resource: {arn}; there is no such role"
    return Broken(
        link="role",
        of=of,
        name=arn.rsplit("/", 1)[-1],
        text=text,
        principal=by,
        action=question.action,
        resource=question.resource,
    )


def _trust(call: Call, role: dict[str, Any], by: str, of: Of, context: dict[str, str]) -> list[Broken]:
    """Whether the service may take the role."""
    asking = acting(call, service(by, call.account), of="sts", via_service=by)
    question = Question("sts:AssumeRole", role["Arn"], context)
    # The service asks by itself: only the name of a session that is not there yet is unknown.
    unsure = _open_keys(
        asking, question, frozenset({"sts:rolesessionname"}) if _NOBODY in context.values() else frozenset()
    )
    refusal = _refusal(asking, question)
    if refusal is None and not unsure:
        return []
    text = f"EC2 can't take the role {role['RoleName']} in the instance profile: {refusal}" if by == EC2 else refusal
    return [_broken("trust", of, role, question, by, text or "", unsure)]


def _asked(
    call: Call, role: dict[str, Any], by: str, session_name: str, to: Of, questions: list[Question], *, of: str
) -> list[Broken]:
    """What a session of the role may not do, of what it will be asked; in the form of the service `of`."""
    session = _session(call, role, by, session_name)
    asking = acting(call, session, of=of)
    broken = []
    for question in questions:
        unsure = _open_keys(asking, question, OF_THE_SESSION if session_name == _NOBODY else OF_THE_CALL)
        refusal = _refusal(asking, question)
        if refusal is not None or unsure:
            broken.append(_broken("policy", to, role, question, session.arn, refusal or "", unsure))
    return broken


def _broken(
    link: Link, of: Of, role: dict[str, Any], question: Question, principal: str, text: str, unsure: tuple[str, ...]
) -> Broken:
    if unsure:
        keys = " and ".join(unsure)
        text = (
            f"whether {principal} may do {question.action} on {question.resource} only the call itself can tell: {keys}"
        )
    return Broken(
        link=link,
        of=of,
        name=role["RoleName"],
        text=text,
        principal=principal,
        action=question.action,
        resource=question.resource,
        unsure=unsure,
    )


def _session(call: Call, role: dict[str, Any], by: str, name: str) -> Principal:
    source = f"arn:aws:ec2:{call.region}:{call.account}:instance/{name}" if by == EC2 else None
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
        assumed_by=by,
        source_instance_arn=source,
    )


def _open_keys(call: Call, question: Question, unknown: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(call.house.authorizer.open_keys(call, question, unknown)))


def _refusal(call: Call, question: Question) -> str | None:
    """AWS's text of the refusal; None: it is allowed."""
    try:
        call.house.authorizer.require(call, question)
    except AwsError as error:
        return error.message
    return None
