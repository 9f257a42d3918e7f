"""What the operations of STS ask.

Source: service authorization reference, AWS Security Token Service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from longshore.aws.errors import AwsError
from longshore.kit.access import Access, Question, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", re.ASCII)


def _role(call: Call, request: Request) -> list[str]:
    role_arn = request["RoleArn"]
    # Recorded from AWS: a bad ARN is told before any policy is asked.
    if not _ROLE_ARN.fullmatch(role_arn):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    return [role_arn]


def _federated_user(call: Call, request: Request) -> list[str]:
    return [call.arn(f"federated-user/{request['Name']}")]


def _assume_context(call: Call, request: Request) -> dict[str, str | list[str]]:
    context: dict[str, str | list[str]] = {"sts:RoleSessionName": request["RoleSessionName"]}
    if request.get("ExternalId"):
        context["sts:ExternalId"] = request["ExternalId"]
    if request.get("SourceIdentity"):
        context["sts:SourceIdentity"] = request["SourceIdentity"]
    if request.get("TransitiveTagKeys"):
        context["sts:TransitiveTagKeys"] = list(request["TransitiveTagKeys"])
    context.update(tag_context({tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}))
    return context


def _assume_further(call: Call, request: Request) -> Iterable[Question]:
    context = _assume_context(call, request)
    if request.get("Tags"):
        yield Question("sts:TagSession", request["RoleArn"], context)
    if request.get("SourceIdentity"):
        yield Question("sts:SetSourceIdentity", request["RoleArn"], context)


ACCESS = {
    "GetCallerIdentity": Access(open=True),
    "GetAccessKeyInfo": Access(),
    # STS API reference: no permissions are required to call GetSessionToken.
    "GetSessionToken": Access(open=True),
    "GetFederationToken": Access(
        resources=_federated_user,
        context=lambda call, request: tag_context({tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}),
    ),
    "AssumeRole": Access(resources=_role, context=_assume_context, further=_assume_further),
}
