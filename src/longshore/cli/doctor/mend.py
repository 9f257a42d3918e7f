"""What mends a finding: commands that anybody could type, as data. Pure.

They take away or add no more than is needed. They are proposals: `longshore doctor` prints them, `--fix` asks first.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from botocore import xform_name
from msgspec import Struct

from longshore.cli.doctor.account import (
    LINKED_ROLE,
    MANAGED,
    NOT_THERE_YET,
    TAKEN_BY,
    Account,
    Asked,
    Kind,
    Policy,
    Role,
    name_of,
)
from longshore.policy import change
from longshore.policy.document import compile_document

_AWS = "arn:aws:iam::aws:policy/"


class Do(Struct, frozen=True):
    """One operation of AWS: its parameters are texts, switches that are on, lists, and one level of names in them."""

    service: str
    operation: str  # "AttachRolePolicy"
    parameters: dict[str, Any]

    @property
    def command(self) -> str:
        words = ["aws", self.service, xform_name(self.operation, "-")]
        for name, value in self.parameters.items():
            words.append(f"--{xform_name(name, '-')}")
            if isinstance(value, dict):
                words.append(",".join(f"{key}={each}" for key, each in value.items()))
            elif isinstance(value, list):
                words.append(_json(value))
            elif value is not True:
                words.append(value)
        return shlex.join(words)


def line(todo: tuple[Do, ...]) -> str | None:
    """One line for a shell. None: there is nothing to do."""
    return " && ".join(each.command for each in todo) or None


# --- profiles ---


def make_profile(account: Account, name: str, role: str) -> tuple[Do, ...]:
    made = Do("iam", "CreateInstanceProfile", {"InstanceProfileName": name})
    return (made, *fill_profile(account, name, role))


def fill_profile(account: Account, name: str, role: str) -> tuple[Do, ...]:
    """With the role, which is made first where there is none."""
    filled = Do("iam", "AddRoleToInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
    return (filled,) if role in account.roles else (*make_role(account, "instance role", role), filled)


def swap_role(profile: str, out: str, into: str) -> tuple[Do, ...]:
    return (
        Do("iam", "RemoveRoleFromInstanceProfile", {"InstanceProfileName": profile, "RoleName": out}),
        Do("iam", "AddRoleToInstanceProfile", {"InstanceProfileName": profile, "RoleName": into}),
    )


def use_profile(environment: str, profile: str) -> tuple[Do, ...]:
    resources = {"computeEnvironment": environment, "computeResources": {"instanceRole": profile}}
    return (Do("batch", "UpdateComputeEnvironment", resources),)


def enable(environment: str) -> tuple[Do, ...]:
    return (Do("batch", "UpdateComputeEnvironment", {"computeEnvironment": environment, "state": "ENABLED"}),)


# --- roles ---


def make_role(account: Account, kind: Kind, name_or_arn: str) -> tuple[Do, ...]:
    name = name_of(name_or_arn)
    if name == LINKED_ROLE:
        return (Do("iam", "CreateServiceLinkedRole", {"AWSServiceName": TAKEN_BY[kind]}),)
    trust = {"Version": "2012-10-17", "Statement": [change.trust_statement(TAKEN_BY[kind])]}
    given = {"RoleName": name, "AssumeRolePolicyDocument": _json(trust)}
    path = name_or_arn.partition(":role")[2].removesuffix(name) if name_or_arn.startswith("arn:") else "/"
    if path != "/":
        given["Path"] = path
    made = Do("iam", "CreateRole", given)
    managed = MANAGED[kind]
    if managed is None or managed not in account.managed:
        return (made,)
    return made, Do("iam", "AttachRolePolicy", {"RoleName": name, "PolicyArn": managed})


def trust(role: Role, kind: Kind) -> tuple[Do, ...]:
    document = _json(change.trusting(role.trust, TAKEN_BY[kind]))
    return (Do("iam", "UpdateAssumeRolePolicy", {"RoleName": role.name, "PolicyDocument": document}),)


# --- permissions ---


def allow(account: Account, role: Role, kind: Kind, refused: Sequence[Asked]) -> tuple[Do, ...]:
    """What no policy of the role allows: by AWS's own policy for it, or by one with just that."""
    managed = MANAGED[kind]
    if managed is not None and managed in account.managed and gives(account.managed[managed], refused):
        return (Do("iam", "AttachRolePolicy", {"RoleName": role.name, "PolicyArn": managed}),)
    name = f"allow-{kind.replace(' ', '-')}"
    document = _json(_adding(role.policies, name, _statements(refused)))
    return (Do("iam", "PutRolePolicy", {"RoleName": role.name, "PolicyName": name, "PolicyDocument": document}),)


def gives(document: dict[str, Any], refused: Sequence[Asked]) -> bool:
    """Whether the policy allows all of it, under no condition but those that its context fulfils."""
    compiled = compile_document(document)
    return all(
        any(
            statement.applies(each.resource, {key.lower(): value for key, value in each.context})
            for statement in compiled.on(each.action)[1]
        )
        for each in refused
    )


def allow_passing(user: str, policies: tuple[Policy, ...], roles: list[str], to: str) -> tuple[Do, ...]:
    """To a user or a role, by its ARN."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": roles if len(roles) > 1 else roles[0],
        "Condition": {"StringEquals": {"iam:PassedToService": to}},
    }
    kind = "User" if ":user/" in user else "Role"
    name = f"pass-roles-to-{to.partition('.')[0]}"
    given = {
        f"{kind}Name": name_of(user),
        "PolicyName": name,
        "PolicyDocument": _json(_adding(policies, name, [statement])),
    }
    return (Do("iam", f"Put{kind}Policy", given),)


def deny_no_more(role: Role, action: str, resource: str) -> tuple[Do, ...]:
    """The first of the role's policies that denies it, without that. Empty: none does, or nobody but AWS can change it."""
    for policy in (*role.policies, *([role.boundary] if role.boundary is not None else ())):
        if policy.document is not None and change.denials(policy.document, action, resource):
            left = change.without_denial(policy.document, action, resource)
            return _replaced(role, policy, left)
    return ()


def widen_boundary(role: Role, refused: Sequence[Asked]) -> tuple[Do, ...]:
    boundary = role.boundary
    if boundary is None or boundary.document is None:
        return ()
    return _replaced(role, boundary, change.with_statements(boundary.document, _statements(refused)))


def _replaced(role: Role, policy: Policy, document: dict[str, Any] | None) -> tuple[Do, ...]:
    """`document` None: nothing is left of it, so the role need not hold it. AWS's own can only be given up."""
    of_role = {"RoleName": role.name}
    if document is None or policy.name.startswith(_AWS):
        match policy.held_as:
            case "inline":
                return (Do("iam", "DeleteRolePolicy", {**of_role, "PolicyName": policy.name}),)
            case "attached":
                return (Do("iam", "DetachRolePolicy", {**of_role, "PolicyArn": policy.name}),)
            case _:
                return (Do("iam", "DeleteRolePermissionsBoundary", of_role),)
    if policy.held_as == "inline":
        given = {**of_role, "PolicyName": policy.name, "PolicyDocument": _json(document)}
        return (Do("iam", "PutRolePolicy", given),)
    given = {"PolicyArn": policy.name, "PolicyDocument": _json(document)}
    made = Do("iam", "CreatePolicyVersion", {**given, "SetAsDefault": True})
    if policy.oldest is None:
        return (made,)
    return Do("iam", "DeletePolicyVersion", {"PolicyArn": policy.name, "VersionId": policy.oldest}), made


def _statements(refused: Sequence[Asked]) -> list[dict[str, Any]]:
    """As narrow as what was asked; where its id is not known yet, for all of its kind."""
    actions: dict[str, list[str]] = {}
    for each in refused:
        of = actions.setdefault(each.resource.replace(NOT_THERE_YET, "*"), [])
        if each.action not in of:
            of.append(each.action)
    resources: dict[tuple[str, ...], list[str]] = {}
    for resource, asked in actions.items():
        resources.setdefault(tuple(asked), []).append(resource)
    return [{"Effect": "Allow", "Action": _one(list(asked)), "Resource": _one(of)} for asked, of in resources.items()]


def _adding(policies: tuple[Policy, ...], name: str, statements: list[dict[str, Any]]) -> dict[str, Any]:
    """An inline policy of that name may be there already."""
    for policy in policies:
        if (policy.held_as, policy.name) == ("inline", name) and policy.document is not None:
            return change.with_statements(policy.document, statements)
    return {"Version": "2012-10-17", "Statement": statements}


def _one(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
