"""Checks that the model states only in prose, and the room's errors.

Sources: IAM API reference; IAM user guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.policy import validate
from longshore.services.iam.records import Group, Role, User
from longshore.settings import IAM_QUOTAS

_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")


def missing(what: str) -> AwsError:
    return AwsError("NoSuchEntity", what, status=404)


def no_role(name: str) -> AwsError:
    return missing(f"The role with name {name} cannot be found.")


def no_user(name: str) -> AwsError:
    return missing(f"The user with name {name} cannot be found.")


def no_group(name: str) -> AwsError:
    return missing(f"The group with name {name} cannot be found.")


def no_profile(name: str) -> AwsError:
    return missing(f"Instance Profile {name} cannot be found.")


def exists(what: str) -> AwsError:
    return AwsError("EntityAlreadyExists", what, status=409)


def conflict(what: str) -> AwsError:
    return AwsError("DeleteConflict", what, status=409)


def over(quota: str) -> AwsError:
    return AwsError("LimitExceeded", f"Cannot exceed quota for {quota}", status=409)


def path_of(request: Mapping[str, Any]) -> str:
    """The path that was asked for, `/` by default. ValidationError, InvalidInput: it is none, or a reserved one."""
    path: str = request.get("Path") or "/"
    if not _PATH.fullmatch(path):
        raise AwsError(
            "ValidationError",
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
            "characters and/or / characters.",
        )
    if path.startswith("/aws-service-role/"):
        raise AwsError(
            "InvalidInput", "Paths beginning with '/aws-service-role' are reserved for AWS Service Linked Roles"
        )
    return path


def quota(call: Call, name: str) -> int:
    return call.house.settings.iam_quotas.get(name, IAM_QUOTAS[name])


def check_quota(call: Call, name: str, count: int) -> None:
    """`count`: how many there are before one more is made. LimitExceeded: there is no room for it."""
    limit = quota(call, name)
    if count >= limit:
        raise over(f"{name}: {limit}")


def check_trust(call: Call, text: str) -> None:
    validate.check_trust(text)
    limit = quota(call, "ACLSizePerRole")
    if validate.size(text) > limit:
        raise over(f"ACLSizePerRole: {limit}")


def check_managed(call: Call, text: str) -> None:
    validate.check_identity(text, managed=True)
    limit = quota(call, "PolicySize")
    if validate.size(text) > limit:
        raise over(f"PolicySize: {limit}")


def check_inline(call: Call, kind: str, name: str, inline: Mapping[str, str], new: str) -> None:
    """`inline` of a Role, User or Group, with the new one in it; the limit is for all of them together."""
    validate.check_identity(new, managed=False)
    limit = quota(call, f"InlineSizePer{kind}")
    if sum(validate.size(each) for each in inline.values()) > limit:
        raise AwsError(
            "LimitExceeded", f"Maximum policy size of {limit} bytes exceeded for {kind.lower()} {name}", status=409
        )


def check_bare(holder: Role | User | Group) -> None:
    """DeleteConflict: policies hang on it still."""
    if holder.attached:
        raise conflict("Cannot delete entity, must detach all policies first.")
    if holder.inline:
        raise conflict("Cannot delete entity, must delete policies first.")


def check_policy_arn(text: str) -> None:
    if not _ARN.fullmatch(text):
        raise AwsError("ValidationError", "Invalid ARN:  Could not be parsed!")


def tags_of(call: Call, request: Mapping[str, Any], kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tags after the request's were put on. Keys differ by more than case, and none is one of AWS's own.

    InvalidInput. The text for those is what AWS says of such tags elsewhere (CloudFormation, CloudWatch); IAM's is not known.
    """
    given = request.get("Tags") or []
    folded = [tag["Key"].lower() for tag in given]
    if len(set(folded)) != len(folded):
        raise AwsError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in folded):
        raise AwsError("InvalidInput", "aws: prefixed tag key names are not allowed for external use.")
    tags = {key: value for key, value in (kept or {}).items() if key.lower() not in folded}
    tags.update({tag["Key"]: tag["Value"] for tag in given})
    check_quota(call, "TagsPerResource", len(tags) - 1)
    return tags


def without_tags(tags: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    dropped = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in dropped}


def aws_principals(trust: str) -> list[str]:
    """The ARNs of users and roles that a trust policy names."""
    return [each for each in _aws(trust) if ":iam::" in each and (":user/" in each or ":role/" in each)]


def bare_accounts(trust: str) -> list[str]:
    """The accounts that a trust policy names by number."""
    return [each for each in _aws(trust) if each.isdigit()]


def _aws(trust: str) -> list[str]:
    document = msgspec.json.decode(trust)
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    found: list[str] = []
    for statement in statements:
        principal = statement.get("Principal")
        if isinstance(principal, dict):
            named = principal.get("AWS") or []
            found += [named] if isinstance(named, str) else named
    return found
