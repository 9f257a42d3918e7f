"""Checks that the model states only in prose, each with its source."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longshore.aws.errors import AwsError
from longshore.kit.operation import Request

_USER_DATA_BYTES = 16384  # API reference, RunInstances, UserData: 16 KB before it is encoded
_TAGS = 50
_HEX_ID = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{9})?")


def check_dry_run(request: Request) -> None:
    """DryRunOperation: the caller may do it (that was asked before), and did not mean it."""
    if request.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


def check_id(given: str, prefix: str, code: str) -> None:
    """`i-` and 8 or 17 hexadecimal digits. `InvalidInstanceID.Malformed` and its like."""
    head, dash, digits = given.partition("-")
    if head != prefix or not dash or not _HEX_ID.fullmatch(digits):
        raise AwsError(f"{code}.Malformed", f'Invalid id: "{given}"')


def check_instance_ids(given: Sequence[str]) -> None:
    for instance_id in given:
        check_id(instance_id, "i", "InvalidInstanceID")


def not_found(missing: Sequence[str]) -> AwsError:
    if len(missing) == 1:
        return AwsError("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
    return AwsError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")


def required(request: Request, member: str) -> Any:
    """MissingParameter: members that the operation's prose requires and its model does not."""
    value = request.get(member)
    if value in (None, ""):
        raise AwsError("MissingParameter", f"The request must contain the parameter {member}")
    return value


def check_user_data(encoded: str | None) -> None:
    """InvalidUserData.Malformed: no base64. InvalidParameterValue: more than 16 KB."""
    if not encoded:
        return
    try:
        plain = base64.b64decode(encoded, validate=False)
    except binascii.Error:
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(plain) > _USER_DATA_BYTES:
        raise AwsError("InvalidParameterValue", "User data is limited to 16384 bytes")


def check_counts(minimum: int, maximum: int) -> None:
    if minimum < 1:
        raise AwsError("InvalidParameterValue", f"Value ({minimum}) for parameter minCount is invalid. Minimum is 1.")
    if maximum < minimum:
        raise AwsError(
            "InvalidParameterCombination", f"The maximum count ({maximum}) is lower than the minimum ({minimum})."
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """EC2 user guide, "Tag restrictions"."""
    if len(tags) > _TAGS:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                f"Tag keys starting with 'aws:' are reserved for internal use: {key}",
            )
        if not key:
            raise AwsError("InvalidParameterValue", "Tag key must not be empty.")
        if len(key) > 127:
            raise AwsError("InvalidParameterValue", f"Tag key exceeds the maximum length of 127 characters: {key}")
        if len(value) > 255:
            raise AwsError("InvalidParameterValue", f"Tag value exceeds the maximum length of 255 characters: {value}")


def tag_map(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """AWS's list of Key and Value as a mapping. InvalidParameterValue: a key comes twice."""
    found: dict[str, str] = {}
    for tag in tags or ():
        key = tag.get("Key") or ""
        if key in found:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        found[key] = tag.get("Value") or ""
    return found


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specified_tags(request: Request, resource_type: str) -> dict[str, str]:
    """The tags that `TagSpecifications` names for new resources of that type."""
    for each in request.get("TagSpecifications") or ():
        if each.get("ResourceType") == resource_type:
            return tag_map(each.get("Tags"))
    return {}


def check_tag_specifications(request: Request, allowed: Sequence[str]) -> None:
    for each in request.get("TagSpecifications") or ():
        kind = each.get("ResourceType")
        if kind not in allowed:
            raise AwsError(
                "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
            )
        check_tags(tag_map(each.get("Tags")))


def digest(request: Request) -> str:
    """Tells requests apart under one client token: all but the token and DryRun."""
    kept = {name: value for name, value in request.items() if name not in ("ClientToken", "DryRun")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def idempotent_mismatch() -> AwsError:
    return AwsError(
        "IdempotentParameterMismatch",
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    )
