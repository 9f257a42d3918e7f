"""What mends a broken link of the chain: the policy that would allow what was refused, and the `aws` command that gives it.

The commands are made from what IAM holds now, so that each takes away or adds no more than the refused action needs: a
document that is changed keeps all its other statements. They are proposals; whoever runs them decides. And they are told to
those alone who may read in IAM what they are made from: who may describe jobs may not for that read policies.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.policy import change
from longshore.policy.document import listed, parse
from longshore.services.batch.chain import EC2, ECS_TASKS, Broken, Of
from longshore.services.batch.roles import LINKED_ROLE, SERVICE

if TYPE_CHECKING:
    from longshore.kit.call import Call

_AWS = "arn:aws:iam::aws:policy"
VERSIONS_MAX = 5  # IAM user guide, "IAM and AWS STS quotas": versions of a managed policy
# Who takes the role, and the managed policy that AWS has for it.
_TAKEN_BY: dict[Of, str] = {
    "service role": SERVICE,
    "instance role": EC2,
    "execution role": ECS_TASKS,
    "job role": ECS_TASKS,
}
_MANAGED: dict[Of, str | None] = {
    "service role": f"{_AWS}/service-role/AWSBatchServiceRole",
    "instance role": f"{_AWS}/service-role/AmazonEC2ContainerServiceforEC2Role",
    "execution role": f"{_AWS}/service-role/AmazonECSTaskExecutionRolePolicy",
    "job role": None,  # What a job may do is its owner's to say.
}


class Mend(Struct, frozen=True):
    """`allows`: the ARN of the managed policy, or the statement, that would allow it. `command`: one line for a shell.

    None where nobody but AWS can change the role, or where it is not sure that anything is broken. `withheld`: what the
    asker would have to be allowed to be told; None: nothing is withheld.
    """

    allows: str | None = None
    command: str | None = None
    withheld: str | None = None


class _Withheld(Exception):
    """The asker may not do this, and so not see what it gives."""


def mend(call: Call, broken: Broken) -> Mend:
    """`call` is the asker's, in the account and region of the broken link."""
    if broken.unsure:
        return Mend()
    try:
        return _mend(call, broken)
    except _Withheld as withheld:
        return Mend(withheld=str(withheld))


def _mend(call: Call, broken: Broken) -> Mend:
    match broken.link:
        case "profile":
            return Mend(None, _mend_profile(call, broken))
        case "role" if broken.of == "instance role":
            return Mend(None, _fill_profile(call, broken.name, broken.name))
        case "role":
            return Mend(None, _make_role(broken.of, broken.name))
        case "trust":
            return _mend_trust(call, broken)
        case "policy":
            return _mend_policy(call, broken)


# --- profiles and roles that are missing ---


def _mend_profile(call: Call, broken: Broken) -> str | None:
    if broken.association is not None:
        return _associate_anew(call, broken.association, broken.name)
    made = _command("iam", "create-instance-profile", instance_profile_name=broken.name)
    return f"{made} && {_fill_profile(call, broken.name, broken.name)}"


def _fill_profile(call: Call, profile: str, role: str) -> str:
    """Puts the role of the profile's own name into it, as the console names them; made first where there is none."""
    filled = _command("iam", "add-role-to-instance-profile", instance_profile_name=profile, role_name=role)
    if _role(call, role) is not None:
        return filled
    return f"{_make_role('instance role', role)} && {filled}"


def _make_role(of: Of, name: str) -> str:
    if name == LINKED_ROLE:
        return _command("iam", "create-service-linked-role", aws_service_name=SERVICE)
    trust = {"Version": "2012-10-17", "Statement": [change.trust_statement(_TAKEN_BY[of])]}
    made = _command("iam", "create-role", role_name=name, assume_role_policy_document=_json(trust))
    managed = _MANAGED[of]
    if managed is None:
        return made
    return f"{made} && {_command('iam', 'attach-role-policy', role_name=name, policy_arn=managed)}"


def _associate_anew(call: Call, instance_id: str, profile: str) -> str | None:
    """The instance's association with a profile that is no more is replaced by one with the profile of that name."""
    request = {"Filters": [{"Name": "instance-id", "Values": [instance_id]}]}
    found = _read(call, "ec2", "DescribeIamInstanceProfileAssociations", request, "*")
    associations = found["IamInstanceProfileAssociations"]
    if not associations:
        return None
    return _command(
        "ec2",
        "replace-iam-instance-profile-association",
        association_id=associations[0]["AssociationId"],
        iam_instance_profile=f"Name={profile}",
    )


# --- trust policies ---


def _mend_trust(call: Call, broken: Broken) -> Mend:
    role = _role(call, broken.name)
    if role is None or _is_aws_own(role):
        return Mend()
    service = _TAKEN_BY[broken.of]
    mended = change.trusting(json.loads(unquote(role["AssumeRolePolicyDocument"])), service)
    command = _command("iam", "update-assume-role-policy", role_name=broken.name, policy_document=_json(mended))
    return Mend(_json(change.trust_statement(service)), command)


# --- permissions ---


class _Held(Struct, frozen=True):
    """A policy that a role holds."""

    kind: Literal["inline", "attached", "boundary"]
    name: str  # or the ARN
    document: dict[str, Any]


def _mend_policy(call: Call, broken: Broken) -> Mend:
    role = _role(call, broken.name)
    if role is None or _is_aws_own(role):
        return Mend()
    action, resource = broken.action or "", broken.resource or "*"
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    if "with an explicit deny" in broken.text:
        denier = _denier(call, role, action, resource, in_boundary="in a permissions boundary" in broken.text)
        return Mend(None, None if denier is None else _without_denial(call, broken.name, denier, action, resource))
    if "because no permissions boundary allows" in broken.text:
        boundary = _boundary(call, role)
        return Mend(_json(statement), None if boundary is None else _widened(call, broken.name, boundary, statement))
    managed = _MANAGED[broken.of]
    if managed is not None and _allows(call, managed, action, resource):
        return Mend(managed, _command("iam", "attach-role-policy", role_name=broken.name, policy_arn=managed))
    name = f"allow-{action.partition(':')[2]}"
    there = next((each for each in _identity(call, role) if (each.kind, each.name) == ("inline", name)), None)
    before = listed(there.document["Statement"]) if there is not None else []
    document = {"Version": "2012-10-17", "Statement": [*before, statement]}
    command = _command(
        "iam", "put-role-policy", role_name=broken.name, policy_name=name, policy_document=_json(document)
    )
    return Mend(_json(statement), command)


def _denier(call: Call, role: dict[str, Any], action: str, resource: str, *, in_boundary: bool) -> _Held | None:
    held = [each for each in [_boundary(call, role)] if each is not None] if in_boundary else _identity(call, role)
    return next((each for each in held if change.denials(each.document, action, resource)), None)


def _without_denial(call: Call, role_name: str, denier: _Held, action: str, resource: str) -> str:
    left = change.without_denial(denier.document, action, resource)
    if left is None:
        if denier.kind == "inline":
            return _command("iam", "delete-role-policy", role_name=role_name, policy_name=denier.name)
        if denier.kind == "attached":
            return _command("iam", "detach-role-policy", role_name=role_name, policy_arn=denier.name)
        return _command("iam", "delete-role-permissions-boundary", role_name=role_name)
    return _replaced(call, role_name, denier, left)


def _widened(call: Call, role_name: str, boundary: _Held, statement: dict[str, Any]) -> str:
    return _replaced(call, role_name, boundary, change.with_statements(boundary.document, [statement]))


def _replaced(call: Call, role_name: str, held: _Held, document: dict[str, Any]) -> str:
    if held.kind == "inline":
        return _command(
            "iam", "put-role-policy", role_name=role_name, policy_name=held.name, policy_document=_json(document)
        )
    if held.name.startswith(f"{_AWS}/"):  # AWS's own can't be changed, only be given up.
        if held.kind == "attached":
            return _command("iam", "detach-role-policy", role_name=role_name, policy_arn=held.name)
        return _command("iam", "delete-role-permissions-boundary", role_name=role_name)
    made = _command(
        "iam", "create-policy-version", policy_arn=held.name, policy_document=_json(document), set_as_default=None
    )
    versions = _read(call, "iam", "ListPolicyVersions", {"PolicyArn": held.name}, held.name)["Versions"]
    if len(versions) < VERSIONS_MAX:
        return made
    oldest = min(
        (each for each in versions if not each["IsDefaultVersion"]), key=lambda each: int(each["VersionId"][1:])
    )
    gone = _command("iam", "delete-policy-version", policy_arn=held.name, version_id=oldest["VersionId"])
    return f"{gone} && {made}"


# --- what IAM holds ---


def _read(call: Call, service: str, operation: str, request: dict[str, Any], resource: str) -> dict[str, Any]:
    """As Batch, if the asker may do it too: a look is no call of his, and no refusal of it is one to be found in the trail."""
    action = f"{service}:{operation}"
    if not call.is_allowed(action, resource):
        raise _Withheld(action)
    return call.peer(service, operation, request, as_=call.as_service())


def _role(call: Call, name: str) -> dict[str, Any] | None:
    try:
        answer = _read(call, "iam", "GetRole", {"RoleName": name}, _role_arn(call, name))
    except AwsError as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    found: dict[str, Any] = answer["Role"]
    return found


def _role_arn(call: Call, name: str) -> str:
    """Its path is not known before it is read; IAM asks about one that is not there in the same way."""
    try:
        found: str = call.peer("iam", "GetRole", {"RoleName": name}, as_=call.as_service())["Role"]["Arn"]
    except AwsError:
        return call.arn(f"role/{name}", service="iam")
    return found


def _is_aws_own(role: dict[str, Any]) -> bool:
    """Service-linked: only the service itself changes it."""
    return bool(role["Path"].startswith("/aws-service-role/"))


def _identity(call: Call, role: dict[str, Any]) -> list[_Held]:
    name, arn = role["RoleName"], role["Arn"]
    asked = {"RoleName": name}
    held = []
    for policy_name in _read(call, "iam", "ListRolePolicies", asked, arn)["PolicyNames"]:
        found = _read(call, "iam", "GetRolePolicy", {**asked, "PolicyName": policy_name}, arn)
        held.append(_Held("inline", policy_name, json.loads(unquote(found["PolicyDocument"]))))
    for attached in _read(call, "iam", "ListAttachedRolePolicies", asked, arn)["AttachedPolicies"]:
        document = _managed_document(call, attached["PolicyArn"])
        if document is not None:
            held.append(_Held("attached", attached["PolicyArn"], document))
    return held


def _boundary(call: Call, role: dict[str, Any]) -> _Held | None:
    arn = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    document = _managed_document(call, arn) if arn else None
    return None if arn is None or document is None else _Held("boundary", arn, document)


def _managed_document(call: Call, arn: str) -> dict[str, Any] | None:
    """AWS's own policies are no secret."""
    as_whom = call.as_service()
    try:
        if arn.startswith(f"{_AWS}/"):
            version = call.peer("iam", "GetPolicy", {"PolicyArn": arn}, as_=as_whom)["Policy"]["DefaultVersionId"]
            request = {"PolicyArn": arn, "VersionId": version}
            found = call.peer("iam", "GetPolicyVersion", request, as_=as_whom)["PolicyVersion"]
        else:
            version = _read(call, "iam", "GetPolicy", {"PolicyArn": arn}, arn)["Policy"]["DefaultVersionId"]
            request = {"PolicyArn": arn, "VersionId": version}
            found = _read(call, "iam", "GetPolicyVersion", request, arn)["PolicyVersion"]
    except AwsError as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    document: dict[str, Any] = json.loads(unquote(found["Document"]))
    return document


def _allows(call: Call, policy_arn: str, action: str, resource: str) -> bool:
    """Whether the managed policy allows it without a condition that would have to hold."""
    document = _managed_document(call, policy_arn)
    if document is None:
        return False
    return any(statement.applies(resource, {}) for statement in parse(_json(document)).on(action)[1])


# --- commands ---


def _command(service: str, operation: str, **options: str | None) -> str:
    """For a shell: what has blanks or quotes is quoted. An option without a value is a switch."""
    words = ["aws", service, operation]
    for option, value in options.items():
        words.append(f"--{option.replace('_', '-')}")
        if value is not None:
            words.append(value)
    return shlex.join(words)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
