"""What the operations of STS ask.

Source: service authorization reference, AWS Security Token Service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.access import Access, Question, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.sts import session_tags

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", re.ASCII)


def refuse_second_factor(request: Request) -> None:
    """There are no devices here for a second factor, so no code of one is right."""
    if request.get("SerialNumber") or request.get("TokenCode"):
        text = "MultiFactorAuthentication failed with invalid MFA one time pass code. "
        raise AwsError("AccessDenied", text, status=403)


def _role(call: Call, request: Request) -> list[str]:
    """What is refused whatever any policy says comes first: a bad ARN, and callers that take no roles at all."""
    role_arn = request["RoleArn"]
    # Recorded from AWS: a bad ARN is told before any policy is asked.
    if not _ROLE_ARN.fullmatch(role_arn):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    if call.principal.kind == "root":
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", status=403)
    if call.principal.kind == "federated-user":
        # STS API reference, GetFederationToken: of STS such a session calls GetCallerIdentity alone. The text is ours.
        raise AwsError("AccessDenied", "Cannot call AssumeRole with the credentials of a federated user", status=403)
    return [role_arn]


def _federation_further(call: Call, request: Request) -> Iterable[Question]:
    """IAM user guide, "Pass session tags in AWS STS": who passes tags needs sts:TagSession."""
    if request.get("Tags"):
        context = tag_context({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        yield Question("sts:TagSession", call.arn(f"federated-user/{request['Name']}"), context)


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
    if call.principal.is_service and request.get("_sourceArn"):
        context["aws:SourceArn"] = request["_sourceArn"]
    context.update(tag_context({tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}))
    return context


def _assume_further(call: Call, request: Request) -> Iterable[Question]:
    """What goes on along a chain of roles is asked at each link as if it were given there.

    Source: IAM user guide, "Pass session tags in AWS STS", "Monitor and control actions taken with assumed roles".
    """
    caller = call.principal
    context = _assume_context(call, request)
    inherited = session_tags.inherited(caller)
    if request.get("Tags") or inherited:
        given = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
        yield Question("sts:TagSession", request["RoleArn"], {**context, **tag_context({**inherited, **given})})
    identity = request.get("SourceIdentity") or caller.source_identity
    if identity:
        yield Question("sts:SetSourceIdentity", request["RoleArn"], {**context, "sts:SourceIdentity": identity})


def _for_long_term_keys(row: Access) -> Access:
    """STS API reference, GetSessionToken: of STS such a session calls AssumeRole and GetCallerIdentity alone; so with
    federated users, who call GetCallerIdentity alone."""
    inner = row.resources

    def resources(call: Call, request: Request) -> Iterable[str]:
        principal = call.principal
        if principal.kind == "federated-user" or (
            principal.kind in ("user", "root") and principal.issued_at is not None
        ):
            raise AwsError("AccessDenied", f"Cannot call {call.operation} with session credentials", status=403)
        return inner(call, request) if inner is not None else ["*"]

    return replace(row, resources=resources)


ACCESS = {
    "GetCallerIdentity": Access(open=True),
    "GetAccessKeyInfo": _for_long_term_keys(Access()),
    "DecodeAuthorizationMessage": _for_long_term_keys(Access()),
    # STS API reference: no permissions are required to call GetSessionToken.
    "GetSessionToken": Access(open=True),
    "GetFederationToken": Access(
        resources=_federated_user,
        context=lambda call, request: tag_context({tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}),
        further=_federation_further,
    ),
    "AssumeRole": Access(resources=_role, context=_assume_context, further=_assume_further),
}
