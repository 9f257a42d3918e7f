"""Malformed documents, refused in AWS's words and in AWS's order.

Sources: IAM user guide, "Grammar of the IAM JSON policy language"; texts and their order as recorded against AWS in public
test suites. Sizes and whether a principal exists are looked at by the room that stores the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from longshore.aws.errors import AwsError
from longshore.policy import conditions
from longshore.policy.document import listed, texts
from longshore.policy.match import arn_parts

_SYNTAX = "Syntax errors in policy."
_LEGACY = "The policy failed legacy parsing"
_VERSIONS = ("2008-10-17", "2012-10-17")
_TOP = frozenset(("Version", "Id", "Statement"))
_STATEMENT = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_IAM_PATHS = (
    "user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
    "sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
)  # fmt: skip
# Service authorization reference, Amazon S3: the resources whose ARN has a region.
_S3_REGIONAL = ("accesspoint/", "access-grants/", "async-request/", "job/", "storage-lens/", "storage-lens-group/")
_PARTITIONS = frozenset(("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "*"))
_VENDOR = re.compile(r"[A-Za-z0-9\-.]+")
_SID = re.compile(r"[A-Za-z0-9]*")
_SERVICE = re.compile(r"[a-z0-9\-.]+\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)")
_ACCOUNT = re.compile(r"\d{12}")
_UNIQUE_ID = re.compile(r"A(IDA|ROA)[A-Z0-9]{12,}")
_PRINCIPAL_ARN = re.compile(
    r"arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)/[\w+=,.@/-]+)"
    r"|sts::\d{12}:(assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+))",
    re.ASCII,
)
_TRUST_ACTIONS = frozenset(("sts:tagsession", "sts:setsourceidentity", "sts:setcontext"))


def malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocument", message)


def check_identity(text: str, *, managed: bool) -> None:
    """A policy for a user, a role or a boundary. MalformedPolicyDocument with the first fault, in AWS's order."""
    document = _read(text, _SYNTAX)
    statements = _check_syntax(document)
    if managed and document.get("Version") != "2012-10-17":
        raise malformed("Policy document must be version 2012-10-17 or greater.")
    for check in _IDENTITY_CHECKS:
        check(statements)


def check_trust(text: str) -> None:
    """A role's trust policy. MalformedPolicyDocument; principals are looked at for their form only."""
    document = _read(text, "This policy contains invalid Json")
    statements = _check_syntax(document)
    _check_legacy_effects(statements)
    for statement in statements:
        for field in ("Resource", "NotResource", "NotPrincipal"):
            if field in statement:
                raise malformed(f"Has prohibited field {field}")
        if "Principal" not in statement:
            raise malformed("Missing required field Principal")
    _check_sids(statements)
    _check_actions_present(statements)
    _check_conditions(statements)
    for statement in statements:
        if not all(_is_trust_action(action) for action in _actions(statement)):
            raise malformed("AssumeRole policy may only specify STS AssumeRole actions.")
        _check_trust_principals(statement["Principal"])


def check_simulated(text: str) -> None:
    """A policy handed to the simulator, of either version."""
    check_identity(text, managed=False)


def check_resource_policy(text: str) -> None:
    """A policy of a resource, such as a bucket's, or a role's trust policy: whom it speaks of must be said in it."""
    statements = _check_syntax(_read(text, _SYNTAX))
    _check_legacy_effects(statements)
    for statement in statements:
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise malformed("Missing required field Principal")
        # IAM user guide, NotPrincipal: with Deny alone. The text is ours.
        if "NotPrincipal" in statement and statement["Effect"] == "Allow":
            raise malformed("Has prohibited field NotPrincipal")
        _check_principals(statement.get("Principal", statement.get("NotPrincipal")))
    _check_sids(statements)
    _check_actions_present(statements)
    _check_conditions(statements)
    _check_arn_lengths(statements)
    _check_resource_form(statements)
    _check_action_form(statements)


def size(text: str) -> int:
    """What counts against the size limits: white space is left out."""
    return sum(1 for character in text if not character.isspace())


# Form -------------------------------------------------------------------------------------------------------------


def _read(text: str, refusal: str) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(refusal) from error
    if not isinstance(document, dict):
        raise malformed(_SYNTAX)
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_syntax(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a document whose form is right: fields, types, operators."""
    right = (
        document.keys() <= _TOP
        and document.get("Version", "2008-10-17") in _VERSIONS
        and isinstance(document.get("Id", ""), str)
        and isinstance(document.get("Statement"), (dict, list))
        and document["Statement"] != []
    )
    if not right:
        raise malformed(_SYNTAX)
    statements = listed(document["Statement"])
    if not all(isinstance(statement, dict) and _is_statement(statement) for statement in statements):
        raise malformed(_SYNTAX)
    return statements


def _is_statement(statement: dict[str, Any]) -> bool:
    effect = statement.get("Effect")
    return (
        statement.keys() <= _STATEMENT
        and isinstance(statement.get("Sid", ""), str)
        and isinstance(effect, str)
        and effect.lower() in ("allow", "deny")
        and all(_is_strings(statement.get(key, [])) for key in ("Action", "NotAction", "Resource", "NotResource"))
        and not any(
            one in statement and other in statement
            for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal"))
        )
        and all(_is_principal(statement[key]) for key in ("Principal", "NotPrincipal") if key in statement)
        and _is_condition(statement.get("Condition", {}))
    )


def _is_strings(value: Any) -> bool:
    return all(isinstance(each, str) for each in listed(value))


def _is_principal(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, dict)
        and bool(value)
        and value.keys() <= {"AWS", "Service", "Federated", "CanonicalUser"}
        and all(_is_strings(each) for each in value.values())
    )


def _is_condition(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for operator, keys in value.items():
        if not isinstance(keys, dict):
            return False
        for key, values in keys.items():
            if not all(isinstance(each, (str, bool, int, float)) for each in listed(values)):
                return False
            try:
                conditions.condition(operator, key, texts(values), variables=True)
            except (KeyError, conditions.MalformedBinary):
                return False
            except conditions.MalformedValue:
                pass  # Said later, in other words.
    return True


# Content, in AWS's order ------------------------------------------------------------------------------------------


def _check_legacy_effects(statements: Iterable[dict[str, Any]]) -> None:
    for statement in statements:
        if statement["Effect"] not in ("Allow", "Deny"):
            raise malformed(_LEGACY)


def _check_conditions(statements: Iterable[dict[str, Any]]) -> None:
    for statement in statements:
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                try:
                    conditions.condition(operator, key, texts(values), variables=True)
                except conditions.MalformedValue as error:
                    raise malformed(_LEGACY) from error


def _check_arn_lengths(statements: Iterable[dict[str, Any]]) -> None:
    """Seen at AWS: `arn:aws:x` passes, four or five parts do not, nor does an empty service."""
    for statement in statements:
        for resource in _resources(statement):
            parts = arn_parts(resource)
            if len(parts) < 4 or parts[1] not in _PARTITIONS:
                continue
            if len(parts) < 6 or not parts[2]:
                raise malformed(_LEGACY)


def _check_no_principal(statements: Iterable[dict[str, Any]]) -> None:
    if any("Principal" in statement or "NotPrincipal" in statement for statement in statements):
        raise malformed("Policy document should not specify a principal.")


def _check_sids(statements: Iterable[dict[str, Any]]) -> None:
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(set(sids)) < len(sids):
        raise malformed("Statement IDs (SID) in a single policy must be unique.")
    if not all(_SID.fullmatch(sid) for sid in sids):
        raise malformed("Statement IDs (SID) must be alpha-numeric")


def _check_actions_present(statements: Iterable[dict[str, Any]]) -> None:
    if not all(_actions(statement) for statement in statements):
        raise malformed("Policy statement must contain actions.")


def _check_resource_form(statements: Iterable[dict[str, Any]]) -> None:
    for statement in statements:
        for resource in _resources(statement):
            _check_resource(resource)


def _check_resource(resource: str) -> None:
    if resource and not resource.strip("*"):
        return
    parts = arn_parts(resource)
    if len(parts) < 2:
        raise malformed(f'Resource {resource} must be in ARN format or "*".')
    full = ":".join(["arn", *parts[1:], *["*"] * (6 - len(parts))])
    if parts[1] not in _PARTITIONS:
        raise malformed(f'Partition "{parts[1]}" is not valid for resource "{full}".')
    if len(parts) < 3 or "*" in parts[2] or "?" in parts[2]:
        raise malformed("Resource vendor must be fully qualified and cannot contain regexes.")


def _check_action_form(statements: Iterable[dict[str, Any]]) -> None:
    for statement in statements:
        for action in _actions(statement):
            _check_action(action)


def _check_action(action: str) -> None:
    if action and not action.strip("*"):
        return
    vendor, colon, name = action.partition(":")
    if not colon or not vendor:
        raise malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if ":" in name:
        raise malformed("Actions/Condition can contain only one colon.")
    if "*" in vendor or "?" in vendor:
        raise malformed("Action vendors (e.g., aws, ec2, etc.) must not contain wildcards.")
    if not _VENDOR.fullmatch(vendor):
        raise malformed(f"Vendor {vendor} is not valid")


def _check_resources_present(statements: Iterable[dict[str, Any]]) -> None:
    if not all(_resources(statement) for statement in statements):
        raise malformed("Policy statement must contain resources.")


def _check_regions(statements: Iterable[dict[str, Any]]) -> None:
    for statement in statements:
        for resource in _resources(statement):
            parts = arn_parts(resource)
            if len(parts) < 6:
                continue
            _, _, service, region, _, path = parts
            if service == "iam":
                if region:
                    raise malformed(f"IAM resource {resource} cannot contain region information.")
                if path != "*" and not path.startswith(_IAM_PATHS) and not _may_become_path(path):
                    allowed = ", ".join(_IAM_PATHS)
                    raise malformed(f'IAM resource path must either be "*" or start with {allowed}.')
            elif service == "s3" and region and region != "*" and not path.startswith(_S3_REGIONAL):
                raise malformed(f"Resource {resource} can not contain region information.")


def _may_become_path(path: str) -> bool:
    """`root`, `${...}` and names cut short by a wildcard, as in `u*`, are let pass."""
    start = re.split(r"[*?$]", path, maxsplit=1)[0]
    return path == "root" or (start != path and any(each.startswith(start) for each in _IAM_PATHS))


_IDENTITY_CHECKS: tuple[Callable[[list[dict[str, Any]]], None], ...] = (
    _check_legacy_effects,
    _check_conditions,
    _check_arn_lengths,
    _check_no_principal,
    _check_sids,
    _check_actions_present,
    _check_resource_form,
    _check_action_form,
    _check_resources_present,
    _check_regions,
)


def _actions(statement: dict[str, Any]) -> list[str]:
    return listed(statement.get("Action", statement.get("NotAction", [])))


def _resources(statement: dict[str, Any]) -> list[str]:
    return listed(statement.get("Resource", statement.get("NotResource", [])))


# Trust ------------------------------------------------------------------------------------------------------------


def _is_trust_action(action: str) -> bool:
    lower = action.lower()
    return lower.startswith("sts:assumerole") or lower in _TRUST_ACTIONS


def _check_trust_principals(principal: Any) -> None:
    if isinstance(principal, str):
        raise malformed(f'AssumeRolepolicy contained an invalid principal: "STAR":"{principal}"')
    _check_principals(principal)


def _check_principals(principal: Any) -> None:
    if principal == "*":
        return
    if isinstance(principal, str):
        raise malformed(f'Invalid principal in policy: "STAR":"{principal}"')
    for kind, names in principal.items():
        for name in listed(names):
            if not _is_principal_name(kind, name):
                label = "AWS" if kind == "AWS" else kind.upper()
                raise malformed(f'Invalid principal in policy: "{label}":"{name}"')


def _is_principal_name(kind: str, name: str) -> bool:
    if kind == "AWS":
        if name == "*" or _ACCOUNT.fullmatch(name) or _UNIQUE_ID.fullmatch(name):
            return True
        return _PRINCIPAL_ARN.fullmatch(name) is not None
    if kind == "Service":
        return _SERVICE.fullmatch(name) is not None
    return kind == "Federated" and bool(name)
