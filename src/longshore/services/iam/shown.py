"""IAM's things as its answers show them."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from longshore.aws.clock import from_milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.services.iam.records import Group, InstanceProfile, Policy, PolicyVersion, Role, Use, User

T = TypeVar("T")
_PAGE = 100


@lru_cache(4096)
def encoded(document: str) -> str:
    """Documents come back URL-encoded (RFC 3986)."""
    return quote(document, safe="")


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]] | None:
    """None where there are none: the member is then left out."""
    return [{"Key": key, "Value": value} for key, value in tags.items()] or None


def second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def moment(use: Use) -> datetime:
    return second(from_milliseconds(use.at))


def role(
    found: Role, trust: str, *, whole: bool = True, session: bool = True, last_used: dict[str, Any] | None = None
) -> dict[str, Any]:
    """`session`: with MaxSessionDuration, which CreateRole leaves out. `whole`: with tags and boundary.

    `last_used`: RoleLastUsed, empty for a role that never was; None: the answer does not tell it.
    """
    answer: dict[str, Any] = {
        "Path": found.path,
        "RoleName": found.name,
        "RoleId": found.role_id,
        "Arn": found.arn,
        "CreateDate": second(found.created_at),
        "AssumeRolePolicyDocument": encoded(trust),
        "Description": found.description,
    }
    if session:
        answer["MaxSessionDuration"] = found.max_session_seconds or 3600
    if whole:
        answer["PermissionsBoundary"] = boundary(found.boundary_arn)
        answer["Tags"] = tag_list(found.tags)
    if last_used is not None:
        answer["RoleLastUsed"] = last_used
    return answer


def boundary(arn: str | None) -> dict[str, str] | None:
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn} if arn else None


def user(found: User, *, whole: bool = True) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "Path": found.path,
        "UserName": found.name,
        "UserId": found.user_id,
        "Arn": found.arn,
        "CreateDate": second(found.created_at),
    }
    if whole:
        answer["PermissionsBoundary"] = boundary(found.boundary_arn)
        answer["Tags"] = tag_list(found.tags)
    return answer


def group(found: Group) -> dict[str, Any]:
    return {
        "Path": found.path,
        "GroupName": found.name,
        "GroupId": found.group_id,
        "Arn": found.arn,
        "CreateDate": second(found.created_at),
    }


def attached(arns: Sequence[str]) -> list[dict[str, str]]:
    return [{"PolicyName": arn.rsplit("/", 1)[-1], "PolicyArn": arn} for arn in arns]


def profile(found: InstanceProfile, roles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "Path": found.path,
        "InstanceProfileName": found.name,
        "InstanceProfileId": found.profile_id,
        "Arn": found.arn,
        "CreateDate": second(found.created_at),
        "Roles": list(roles),
        "Tags": tag_list(found.tags),
    }


def policy(found: Policy, attached: int, *, whole: bool = True) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "PolicyName": found.name,
        "PolicyId": found.policy_id,
        "Arn": found.arn,
        "Path": found.path,
        "DefaultVersionId": f"v{found.default_number}",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": second(found.created_at),
        "UpdateDate": second(found.updated_at),
    }
    if whole:
        answer["Description"] = found.description
        answer["Tags"] = tag_list(found.tags)
    return answer


def policy_version(found: PolicyVersion, default_number: int, *, document: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "VersionId": f"v{found.number}",
        "IsDefaultVersion": found.number == default_number,
        "CreateDate": second(found.created_at),
    }
    if document:
        answer["Document"] = encoded(found.document)
    return answer


def page(
    call: Call,
    request: Mapping[str, Any],
    member: str,
    items: Sequence[T],
    *,
    key: Callable[[T], str] | None = None,
    show: Callable[[T], Any] = lambda item: item,
) -> dict[str, Any]:
    """One page of a list: the marker names the operation, and the last item of the page before.

    `key` gives names in whose order the items are, so that nothing is skipped or shown twice while others write; None:
    a short list, in which places are numbered. `show` is asked for the items of the page alone.

    Source: IAM API reference, MaxItems: 100 by default. No Marker on the last page.
    """
    keys = [key(item) for item in items] if key is not None else [f"{number:06d}" for number in range(len(items))]
    marker = request.get("Marker")
    start = bisect_right(keys, _name_in(call, marker)) if marker else 0
    end = start + (request.get("MaxItems") or _PAGE)
    answer: dict[str, Any] = {member: [show(item) for item in items[start:end]], "IsTruncated": end < len(items)}
    if answer["IsTruncated"]:
        answer["Marker"] = base64.urlsafe_b64encode(f"{call.operation}:{keys[end - 1]}".encode()).decode()
    return answer


def _name_in(call: Call, marker: str) -> str:
    """ValidationError: it is no marker, or that of another list."""
    try:
        operation, colon, name = base64.urlsafe_b64decode(marker.encode()).decode().partition(":")
    except ValueError:
        operation, colon, name = "", "", ""
    if not colon or operation != call.operation:
        raise AwsError("ValidationError", "Invalid Marker.")
    return name
