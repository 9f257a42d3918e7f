"""Permissions boundaries: a managed policy that limits a role or a user, whatever else it is given.

Source: IAM user guide, "Permissions boundaries for IAM entities".
"""

from __future__ import annotations

from longshore.kit.call import Call
from longshore.services.iam import entitlements, rules


def checked(call: Call, policy_arn: str | None) -> str | None:
    """The boundary that was asked for. ValidationError: no ARN. NoSuchEntity: no such policy."""
    if not policy_arn:
        return None
    rules.check_policy_arn(policy_arn)
    if entitlements.find_policy(call.transaction, call.account, policy_arn) is None:
        raise rules.missing(f"Scope ARN: {policy_arn} does not exist or is not attachable.")
    return policy_arn
