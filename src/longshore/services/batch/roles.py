"""The roles that Batch is handed: looked up in IAM as batch.amazonaws.com, which may only look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longshore.aws.errors import AwsError

if TYPE_CHECKING:
    from longshore.aws.principal import Principal
    from longshore.kit.call import Call

SERVICE = "batch.amazonaws.com"
LINKED_ROLE = "AWSServiceRoleForBatch"


def role_arn(call: Call, name_or_arn: str) -> str:
    """API reference: a role may be named by its path and name in place of its ARN."""
    if name_or_arn.startswith("arn:"):
        return name_or_arn
    return call.arn(f"role/{name_or_arn.lstrip('/')}", service="iam")


def service_role_arn(call: Call, name_or_arn: str | None) -> str:
    """The role that a compute environment is served with. None or empty: the service-linked one (Terraform sends "")."""
    if not name_or_arn:
        return call.arn(f"role/aws-service-role/{SERVICE}/{LINKED_ROLE}", service="iam")
    return role_arn(call, name_or_arn)


def make_linked_role(call: Call) -> None:
    """Makes the service-linked role where there is none, as the caller, who must be allowed to.

    Source: Batch user guide, "Using service-linked roles": the first compute environment makes it.
    """
    if _look(call, "GetRole", {"RoleName": LINKED_ROLE}) is None:
        call.peer("iam", "CreateServiceLinkedRole", {"AWSServiceName": SERVICE}, as_=call.principal)


def find_profile(call: Call, name_or_arn: str, as_: Principal | None = None) -> dict[str, Any] | None:
    """The instance profile as IAM has it; None: there is none of that name, or of that ARN.

    `as_` None: Batch itself looks. Else AccessDenied, where that principal may not.
    """
    answer = _look(call, "GetInstanceProfile", {"InstanceProfileName": name_or_arn.rsplit("/", 1)[-1]}, as_)
    profile: dict[str, Any] | None = answer["InstanceProfile"] if answer else None
    if profile is None or (name_or_arn.startswith("arn:") and profile["Arn"] != name_or_arn):
        return None
    return profile


def role_in_profile(call: Call, name_or_arn: str) -> str | None:
    """ARN of the role inside an instance profile. None: there is no such profile, or it is empty."""
    profile = find_profile(call, name_or_arn)
    inside = profile["Roles"] if profile is not None else None
    return inside[0]["Arn"] if inside else None


def _look(call: Call, operation: str, request: dict[str, Any], as_: Principal | None = None) -> dict[str, Any] | None:
    try:
        return call.peer("iam", operation, request, as_=as_ or call.as_service())
    except AwsError as error:
        if error.code in ("NoSuchEntity", "ValidationError"):
            return None
        raise
