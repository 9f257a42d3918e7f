"""Tags of a session, and which of them go on along a chain of roles.

Source: IAM user guide, "Pass session tags in AWS STS"; texts recorded from AWS.
"""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.kit.operation import Request


def given(request: Request) -> dict[str, str]:
    """InvalidParameterValue: a key twice, whatever its case, or one of AWS's own."""
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    if len({key.lower() for key in tags}) != len(request.get("Tags") or ()):
        raise AwsError(
            "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    if any(key.lower().startswith("aws:") for key in tags):
        # IAM user guide, "Rules for tagging": the prefix is AWS's. The text is what other services say of it; STS's is unknown.
        raise AwsError("InvalidParameterValue", "aws: prefixed tag key names are not allowed for external use.")
    return tags


def inherited(caller: Principal) -> dict[str, str]:
    """What a session passes on along the chain."""
    passed_on = {key.lower() for key in caller.transitive_tag_keys}
    return {key: value for key, value in caller.session_tags if key.lower() in passed_on}


def of_role_session(caller: Principal, request: Request) -> tuple[dict[str, str], tuple[str, ...]]:
    """The tags of the new session, and the keys that are transitive from it on."""
    tags = given(request)
    folded = {key.lower() for key in tags}
    kept = inherited(caller)
    if folded & {key.lower() for key in kept}:
        raise AwsError(
            "InvalidParameterValue",
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
            "from the calling session.",
        )
    asked = tuple(request.get("TransitiveTagKeys") or ())
    if not {key.lower() for key in asked} <= folded:
        raise AwsError(
            "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags."
        )
    return {**kept, **tags}, (*asked, *caller.transitive_tag_keys)
