"""Assuming roles."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.policy import validate
from longshore.services.sts import sessions

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(.+)")
_DURATION_DEFAULT = 3600
_CHAINED_MAX = 3600
_SERVICE_MAX = 43_200
_PACKED_MAX = 2048


@operation(writes=False)
def assume_role(call: Call, request: Request) -> Response:
    """A session of the role. Trust and the caller's own policies were asked before this is reached.

    Sources: STS API reference, AssumeRole; IAM user guide, "Methods to assume a role" (chaining: one hour at most).
    """
    caller = call.principal
    role_arn = request["RoleArn"]
    if not _ROLE_ARN.fullmatch(role_arn):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    if caller.kind == "root":
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", status=403)
    role = _role(call, role_arn)
    seconds = _duration(caller, request, role["MaxSessionDuration"])
    tags = _tags(caller, request)
    name = request["RoleSessionName"]
    session = Principal(
        kind="assumed-role",
        account=call.account,
        arn=f"arn:aws:sts::{call.account}:assumed-role/{role['RoleName']}/{name}",
        user_id=f"{role['RoleId']}:{name}",
        role_arn=role_arn,
        role_id=role["RoleId"],
        session_name=name,
        session_policies=_session_policies(call, request),
        session_tags=tuple(tags.items()),
        transitive_tag_keys=tuple(request.get("TransitiveTagKeys") or ()) + caller.transitive_tag_keys,
        source_identity=request.get("SourceIdentity") or caller.source_identity,
        multi_factor=False,
        issued_at=call.now,
        expires_at=call.now + timedelta(seconds=seconds),
        assumed_by=caller.arn,
        source_instance_arn=request.get("_sourceInstanceArn") if caller.is_service else None,
    )
    made = sessions.mint(call.house.sealer, call.ids, session)
    response: Response = {
        "Credentials": {
            "AccessKeyId": made.access_key_id,
            "SecretAccessKey": made.secret_access_key,
            "SessionToken": made.token,
            "Expiration": made.expires_at,
        },
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
    }
    if request.get("Policy") or request.get("PolicyArns") or request.get("Tags"):
        response["PackedPolicySize"] = _packed_percent(request)
    if session.source_identity:
        response["SourceIdentity"] = session.source_identity
    return response


def _role(call: Call, role_arn: str) -> dict[str, Any]:
    """The role, seen by the service itself: the caller need not be allowed to read it."""
    found: dict[str, Any] = call.peer(
        "iam", "GetRole", {"RoleName": role_arn.rsplit("/", 1)[-1]}, as_=call.as_service()
    )["Role"]
    if found["Arn"] != role_arn:
        raise AwsError("AccessDenied", f"{role_arn} is not the role's ARN", status=403)
    return found


def _duration(caller: Principal, request: Request, role_max_seconds: int) -> int:
    seconds: int = request.get("DurationSeconds") or _DURATION_DEFAULT
    if caller.is_service:
        return min(seconds, _SERVICE_MAX)  # Services are not bound by the role's own limit.
    if caller.kind == "assumed-role" and seconds > _CHAINED_MAX:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        )
    if seconds > role_max_seconds:
        raise AwsError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    return seconds


def _tags(caller: Principal, request: Request) -> dict[str, str]:
    given = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    folded = {key.lower() for key in given}
    if len(folded) != len(request.get("Tags") or ()):
        raise AwsError(
            "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    inherited = {key: value for key, value in caller.session_tags if key in caller.transitive_tag_keys}
    if folded & {key.lower() for key in inherited}:
        raise AwsError(
            "InvalidParameterValue",
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
            "from the calling session.",
        )
    if not {key.lower() for key in request.get("TransitiveTagKeys") or ()} <= folded:
        raise AwsError(
            "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags."
        )
    return {**inherited, **given}


def _session_policies(call: Call, request: Request) -> tuple[str, ...]:
    documents = []
    inline = request.get("Policy")
    if inline:
        validate.check_identity(inline, managed=False)
        documents.append(inline)
    for given in request.get("PolicyArns") or ():
        documents.append(_managed(call, given["arn"]))
    if sum(validate.size(document) for document in documents) > _PACKED_MAX and not request.get("PolicyArns"):
        raise AwsError("PackedPolicyTooLarge", "The session policy is larger than 2048 characters.")
    return tuple(documents)


def _managed(call: Call, policy_arn: str) -> str:
    from urllib.parse import unquote

    service = call.as_service()
    policy = call.peer("iam", "GetPolicy", {"PolicyArn": policy_arn}, as_=service)["Policy"]
    version = call.peer(
        "iam",
        "GetPolicyVersion",
        {"PolicyArn": policy_arn, "VersionId": policy["DefaultVersionId"]},
        as_=service,
    )
    return unquote(version["PolicyVersion"]["Document"])


def _packed_percent(request: Request) -> int:
    """How much of the room for policies and tags is used. AWS packs by a way of its own; ours is the plain length."""
    used = len(request.get("Policy") or "") + len(msgspec.json.encode(request.get("Tags") or []))
    return min(100, max(1, used * 100 // _PACKED_MAX))
