"""Policies that narrow one session.

Source: IAM user guide, "Session policies"; STS API reference, AssumeRole, Policy and PolicyArns.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.aws.principal import service
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.policy import validate

_CHARACTERS_MAX = 2048  # of inline and managed policies together
_MANAGED_MAX = 10
_PACKED_MAX = 2048  # bytes


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
    percent = _packed(request) * 100 // _PACKED_MAX
    if len(inline or "") + sum(map(len, arns)) > _CHARACTERS_MAX or percent > 100:
        raise AwsError(
            "PackedPolicyTooLarge",
            f"Packed policy consumes {max(percent, 101)}% of allotted space, please use smaller policy.",
        )
    for arn in arns:
        _check_managed(call, arn, account)
    return (*([inline] if inline else []), *arns)


def _check_managed(call: Call, policy_arn: str, account: str) -> None:
    owner = policy_arn.split(":")[4:5]
    if owner not in (["aws"], [account]):
        raise AwsError("ValidationError", f"{policy_arn} is invalid")
    call.peer("iam", "GetPolicy", {"PolicyArn": policy_arn}, as_=service("sts.amazonaws.com", account))


def packed_percent(request: Request) -> int:
    """How much of the room for policies and tags is used."""
    return max(1, _packed(request) * 100 // _PACKED_MAX)


def _packed(request: Request) -> int:
    """Bytes. AWS packs by a way of its own, which it does not tell; ours is deflate."""
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    sent: list[Any] = [request.get("Policy"), request.get("PolicyArns"), tags]
    return len(zlib.compress(msgspec.json.encode(sent)))
