"""Instance profiles as EC2 meets them: looked up in IAM, as ec2.amazonaws.com."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.kit.call import Call


class Found(Struct, frozen=True, kw_only=True):
    """An instance profile as IAM has it now."""

    arn: str
    profile_id: str  # AIPA...
    role_name: str | None  # None: it holds no role
    role_arn: str | None


def find(call: Call, name: str) -> Found | None:
    """The profile of that name in the call's account. None: there is none."""
    try:
        answer = call.peer(
            "iam", "GetInstanceProfile", {"InstanceProfileName": name}, as_=call.as_service("ec2.amazonaws.com")
        )
    except AwsError as error:
        if error.code in ("NoSuchEntity", "ValidationError"):
            return None
        raise
    profile = answer["InstanceProfile"]
    roles = profile.get("Roles") or []
    return Found(
        arn=profile["Arn"],
        profile_id=profile["InstanceProfileId"],
        role_name=roles[0]["RoleName"] if roles else None,
        role_arn=roles[0]["Arn"] if roles else None,
    )


def given(call: Call, specification: Mapping[str, Any]) -> Found | None:
    """The profile that a request names, by name or by ARN. None: there is none such."""
    arn, name = specification.get("Arn"), specification.get("Name")
    if arn:
        found = find(call, arn.rsplit("/", 1)[-1]) if ":instance-profile/" in arn else None
        return found if found is not None and found.arn == arn else None
    return find(call, name) if name else None


def usable(call: Call, specification: Mapping[str, Any]) -> Found:
    """The profile that a launch names, with a role inside.

    InvalidParameterValue: it does not exist, or holds no role. The texts are those that users quote.
    """
    arn, name = specification.get("Arn"), specification.get("Name")
    if arn and name:
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
        )
    found = given(call, specification)
    if found is None:
        member, value, words = ("arn", arn, "ARN") if arn else ("name", name or "", "name")
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({value}) for parameter iamInstanceProfile.{member} is invalid. "
            f"Invalid IAM Instance Profile {words}",
        )
    if found.role_arn is None:
        raise AwsError("InvalidParameterValue", f'IAM Instance Profile "{found.arn}" has no associated IAM Roles')
    return found
