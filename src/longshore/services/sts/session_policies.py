"""Policies that narrow one session.

Source: IAM user guide, "Session policies"; STS API reference, AssumeRole, Policy and PolicyArns.
"""

from __future__ import annotations

from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.principal import service
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.policy import validate

_CHARACTERS_MAX = 2048  # of inline and managed policies together
_MANAGED_MAX = 10


def asked(call: Call, request: Request, account: str) -> tuple[str, ...]:
    """The inline document and the ARNs of managed ones, which are read whenever the session is asked about.

    MalformedPolicyDocument, PackedPolicyTooLarge; InvalidParameterValue: no managed policy of that ARN.
    """
    inline = request.get("Policy")
    if inline:
        validate.check_identity(inline, managed=False)
    arns = [given["arn"] for given in request.get("PolicyArns") or () if given.get("arn")]
    if len(arns) > _MANAGED_MAX:
        raise AwsError("ValidationError", f"Up to {_MANAGED_MAX} managed policies can be passed for a session.")
    if len(inline or "") + sum(map(len, arns)) > _CHARACTERS_MAX:
        raise AwsError("PackedPolicyTooLarge", f"The session policies exceed {_CHARACTERS_MAX} characters.")
    for arn in arns:
        _check_managed(call, arn, account)
    return (*([inline] if inline else []), *arns)


def _check_managed(call: Call, policy_arn: str, account: str) -> None:
    owner = policy_arn.split(":")[4:5]
    if owner not in (["aws"], [account]):
        raise AwsError("ValidationError", f"{policy_arn} is invalid")
    call.peer("iam", "GetPolicy", {"PolicyArn": policy_arn}, as_=service("sts.amazonaws.com", account))


def packed_percent(request: Request) -> int:
    """How much of the room for policies and tags is used. AWS packs by a way of its own; ours is the plain length."""
    sent: list[Any] = [request.get("PolicyArns") or [], request.get("Tags") or []]
    used = len(request.get("Policy") or "") + len(msgspec.json.encode(sent))
    return min(100, max(1, used * 100 // _CHARACTERS_MAX))
