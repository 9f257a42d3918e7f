"""Assuming roles."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, service
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.sts import session_policies, session_tags, sessions
from longshore.services.sts.access import refuse_second_factor

_DURATION_DEFAULT = 3600
_CHAINED_MAX = 3600
_SERVICE_MAX = 43_200


@operation(writes=False)
def assume_role(call: Call, request: Request) -> Response:
    """A session of the role. Trust and the caller's own policies were asked before this is reached.

    Sources: STS API reference, AssumeRole; IAM user guide, "Methods to assume a role" (chaining: one hour at most).
    """
    refuse_second_factor(request)
    caller = call.principal
    role_arn = request["RoleArn"]
    account = role_arn.split(":")[4]
    role = _role(call, role_arn, account)
    seconds = _duration(caller, request, role["MaxSessionDuration"])
    tags, transitive = session_tags.of_role_session(caller, request)
    name = request["RoleSessionName"]
    session = Principal(
        kind="assumed-role",
        account=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name}",
        user_id=f"{role['RoleId']}:{name}",
        role_arn=role_arn,
        role_id=role["RoleId"],
        session_name=name,
        session_policies=session_policies.asked(call, request, account),
        session_tags=tuple(tags.items()),
        transitive_tag_keys=transitive,
        source_identity=_source_identity(caller, request),
        multi_factor=False,
        issued_at=call.now,
        expires_at=call.now + timedelta(seconds=seconds),
        assumed_by=caller.arn,
        **_source_instance(caller, request),
    )
    made = sessions.mint(call.house.sealer, call.ids, session)
    response: Response = {
        "Credentials": made.shown(),
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
    }
    if request.get("Policy") or request.get("PolicyArns") or request.get("Tags"):
        response["PackedPolicySize"] = session_policies.packed_percent(request)
    if session.source_identity:
        response["SourceIdentity"] = session.source_identity
    return response


def _role(call: Call, role_arn: str, account: str) -> dict[str, Any]:
    """The role, seen by the service itself: the caller need not be allowed to read it."""
    found: dict[str, Any] = call.peer(
        "iam", "GetRole", {"RoleName": role_arn.rsplit("/", 1)[-1]}, as_=service("sts.amazonaws.com", account)
    )["Role"]
    if found["Arn"] != role_arn:
        raise AwsError("AccessDenied", f"{role_arn} is not the role's ARN", status=403)
    return found


def _source_instance(caller: Principal, request: Request) -> dict[str, str | None]:
    """Which instance the credentials are for; a member without a name of AWS's, which no request from outside can hold."""
    if not caller.is_service:
        return {}
    return {
        "source_instance_arn": request.get("_sourceInstanceArn"),
        "source_vpc": request.get("_sourceVpc"),
        "source_private_ip": request.get("_sourcePrivateIp"),
    }


def _source_identity(caller: Principal, request: Request) -> str | None:
    """IAM user guide, "Monitor and control actions taken with assumed roles": once set it stays, along any chain."""
    asked: str | None = request.get("SourceIdentity")
    if asked and caller.source_identity and asked != caller.source_identity:
        # The text is ours.
        raise AwsError("AccessDenied", "The source identity of the calling session cannot be changed", status=403)
    return asked or caller.source_identity


def _duration(caller: Principal, request: Request, role_max_seconds: int) -> int:
    seconds: int = request.get("DurationSeconds") or _DURATION_DEFAULT
    if caller.is_service:
        return min(seconds, _SERVICE_MAX)  # Services are not bound by the role's own limit.
    # A caller with a session of any kind is one link of a chain.
    if caller.issued_at is not None and seconds > _CHAINED_MAX:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        )
    if seconds > role_max_seconds:
        raise AwsError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    return seconds
