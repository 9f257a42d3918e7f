"""Roles: who may be assumed, by whom, and what they may do."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import accounts, boundaries, entitlements, rules, shown, store
from longshore.services.iam.records import InstanceProfile, Role


def existing(call: Call, name: str) -> Role:
    """NoSuchEntity: there is no such role."""
    role = store.find(call.transaction, Role, call.account, name)
    if role is None:
        raise rules.no_role(name)
    return role


def changeable(call: Call, name: str) -> Role:
    """UnmodifiableEntity: the role is a service's own."""
    role = existing(call, name)
    if role.service is not None:
        raise AwsError(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{role.name}' - this role is only modifiable by AWS",
        )
    return role


def save(call: Call, role: Role) -> None:
    store.save(call.transaction, call.account, role)
    changed(call, role)


def changed(call: Call, role: Role) -> None:
    call.emit("IAM Role Changed", role.arn, {"roleName": role.name})


def checked_trust(call: Call, text: str) -> str:
    """The trust policy as it is kept: an account that was given by its number alone is shown by its ARN.

    Source: IAM user guide, "AWS JSON policy elements: Principal", AWS account principals.
    MalformedPolicyDocument, LimitExceeded.
    """
    rules.check_trust(call, text)
    accounts = rules.bare_accounts(text)
    if not accounts:
        return text
    return entitlements.trust_with(text, {account: f"arn:aws:iam::{account}:root" for account in accounts})


def trusted_ids(call: Call, trust: str) -> dict[str, str]:
    """ARN of each user or role that the trust policy names -> its unique id; of all accounts that are known here.

    MalformedPolicyDocument: one of them does not exist.
    """
    found = {}
    for arn in rules.aws_principals(trust):
        unique_id = entitlements.unique_id_of(call.transaction, arn)
        if unique_id is None:
            if not accounts.is_here(call, arn.split(":")[4]):
                continue  # Nobody of that account ever calls; the policy may be brought from where it is known.
            raise AwsError("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{arn}"')
        found[arn] = unique_id
    return found


def appear(call: Call, unique_id: str, arn: str) -> None:
    """Trust policies that named the ARN before its account came here hold from now on the id of who has it first.

    AWS knows all accounts and keeps the id when the policy is written; so who is made anew under the name is not trusted.
    """
    if call.account == call.house.settings.account:
        return  # It was always here: nobody is named who is not there.
    for account, role in store.roles_that_say(call.transaction, f":iam::{call.account}:"):
        if arn in rules.aws_principals(role.trust) and arn not in role.trusted_ids:
            # No event: nobody may more or less than before.
            store.save(call.transaction, account, replace(role, trusted_ids={**role.trusted_ids, arn: unique_id}))


def follow(call: Call, unique_id: str, old_arn: str, new_arn: str) -> None:
    """What trust policies hold is the unique id: who moves is trusted as before, in every account, and shown by the new ARN."""
    if old_arn == new_arn:
        return
    settings = call.house.settings
    for account in dict.fromkeys((settings.account, *(each.account for each in accounts.listed(call.transaction)))):
        for role in store.listed(call.transaction, Role, account):
            if role.trusted_ids.get(old_arn) != unique_id:
                continue
            trusted_ids = {arn: each for arn, each in role.trusted_ids.items() if arn != old_arn}
            trust = entitlements.trust_with(role.trust, {old_arn: new_arn})
            # No event: nobody may more or less than before.
            moved = replace(role, trust=trust, trusted_ids={**trusted_ids, new_arn: unique_id})
            store.save(call.transaction, account, moved)


def trust_of(call: Call, role: Role) -> str:
    return entitlements.trust_text(call.transaction, role)


def last_used(call: Call, role: Role) -> dict[str, Any]:
    """When and where a session of the role last called anything; empty: never."""
    use = store.last_use(call.transaction, call.account, role.role_id)
    return {"LastUsedDate": shown.moment(use), "Region": use.region} if use is not None else {}


@operation
def create_role(call: Call, request: Request) -> Response:
    name, path = request["RoleName"], rules.path_of(request)
    trust = checked_trust(call, request["AssumeRolePolicyDocument"])
    if store.find(call.transaction, Role, call.account, name) is not None:
        raise rules.exists(f"Role with name {name} already exists.")
    rules.check_quota(call, "RolesPerAccount", store.count(call.transaction, Role, call.account))
    boundary = boundaries.checked(call, request.get("PermissionsBoundary"))
    role = Role(
        name=name,
        path=path,
        role_id=call.ids.unique_id("AROA"),
        arn=call.arn(f"role{path}{name}"),
        created_at=call.now,
        trust=trust,
        trusted_ids=trusted_ids(call, trust),
        description=request.get("Description"),
        max_session_seconds=request.get("MaxSessionDuration"),
        boundary_arn=boundary,
        tags=rules.tags_of(call, request),
    )
    store.add(call.transaction, call.account, role)
    appear(call, role.role_id, role.arn)
    changed(call, role)
    # Recorded from AWS: the answer has neither MaxSessionDuration nor RoleLastUsed.
    return {"Role": shown.role(role, trust, session=False)}


@operation
def get_role(call: Call, request: Request) -> Response:
    role = existing(call, request["RoleName"])
    return {"Role": shown.role(role, trust_of(call, role), last_used=last_used(call, role))}


@operation
def list_roles(call: Call, request: Request) -> Response:
    prefix = request.get("PathPrefix") or "/"
    roles = [role for role in store.listed(call.transaction, Role, call.account) if role.path.startswith(prefix)]

    def show(role: Role) -> Response:
        return shown.role(role, trust_of(call, role), whole=False)

    return shown.page(call, request, "Roles", roles, key=store.folded, show=show)


@operation
def update_role(call: Call, request: Request) -> Response:
    """Of a service's own role nothing but the description (IAM user guide, "Edit a service-linked role description")."""
    description, seconds = request.get("Description"), request.get("MaxSessionDuration")
    is_description_alone = description is not None and seconds is None
    role = (existing if is_description_alone else changeable)(call, request["RoleName"])
    if description is not None:
        role = replace(role, description=description)
    if seconds is not None:
        role = replace(role, max_session_seconds=seconds)
    save(call, role)
    return {}


@operation
def update_role_description(call: Call, request: Request) -> Response:
    role = replace(existing(call, request["RoleName"]), description=request["Description"])
    save(call, role)
    return {"Role": shown.role(role, trust_of(call, role))}


@operation
def update_assume_role_policy(call: Call, request: Request) -> Response:
    role = changeable(call, request["RoleName"])
    trust = checked_trust(call, request["PolicyDocument"])
    save(call, replace(role, trust=trust, trusted_ids=trusted_ids(call, trust)))
    return {}


@operation
def delete_role(call: Call, request: Request) -> Response:
    role = changeable(call, request["RoleName"])
    profiles = store.listed(call.transaction, InstanceProfile, call.account)
    if any(profile.role_name == role.name for profile in profiles):
        raise rules.conflict("Cannot delete entity, must remove roles from instance profile first.")
    rules.check_bare(role)
    store.drop(call.transaction, call.account, role)
    changed(call, role)
    return {}


@operation
def tag_role(call: Call, request: Request) -> Response:
    role = changeable(call, request["RoleName"])
    save(call, replace(role, tags=rules.tags_of(call, request, role.tags)))
    return {}


@operation
def untag_role(call: Call, request: Request) -> Response:
    role = changeable(call, request["RoleName"])
    save(call, replace(role, tags=rules.without_tags(role.tags, request["TagKeys"])))
    return {}


@operation
def list_role_tags(call: Call, request: Request) -> Response:
    return shown.page(call, request, "Tags", shown.tag_list(existing(call, request["RoleName"]).tags) or [])


@operation
def put_role_permissions_boundary(call: Call, request: Request) -> Response:
    boundary = boundaries.checked(call, request["PermissionsBoundary"])
    role = changeable(call, request["RoleName"])
    save(call, replace(role, boundary_arn=boundary))
    return {}


@operation
def delete_role_permissions_boundary(call: Call, request: Request) -> Response:
    save(call, replace(changeable(call, request["RoleName"]), boundary_arn=None))
    return {}
