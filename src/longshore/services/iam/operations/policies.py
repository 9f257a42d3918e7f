"""Policies: managed ones with their versions, attached or not, and those that are written into a role or a user."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import entitlements, managed, rules, shown, store
from longshore.services.iam.operations import roles, users
from longshore.services.iam.records import Policy, PolicyVersion, Role, User

Holder = TypeVar("Holder", Role, User)


def existing(call: Call, policy_arn: str, refusal: str = "was not found.") -> Policy:
    """ValidationError: no ARN. NoSuchEntity: an ARN of nothing."""
    rules.check_policy_arn(policy_arn)
    found = entitlements.find_policy(call.transaction, call.account, policy_arn)
    if found is None:
        raise rules.missing(f"Policy {policy_arn} {refusal}")
    return found


def _own(call: Call, policy_arn: str) -> Policy:
    """AccessDenied: AWS's own policies are not the account's to change."""
    policy = existing(call, policy_arn)
    if managed.is_aws_managed(policy_arn):
        raise AwsError("AccessDenied", f"{policy_arn} is a policy of AWS and cannot be changed", status=403)
    return policy


class _Uses:
    """Where the account's managed policies are used: policy ARN -> how often, counted in one walk."""

    def __init__(self, call: Call) -> None:
        self.roles = store.listed(call.transaction, Role, call.account)
        self.users = store.listed(call.transaction, User, call.account)
        everyone: list[Role | User] = [*self.roles, *self.users]
        self.attached = Counter(arn for each in everyone for arn in each.attached)
        self.boundaries = Counter(each.boundary_arn for each in everyone)

    def shown(self, policy: Policy, *, whole: bool = True) -> dict[str, Any]:
        answer = shown.policy(policy, self.attached[policy.arn], whole=whole)
        return {**answer, "PermissionsBoundaryUsageCount": self.boundaries[policy.arn]}

    def is_used(self, policy: Policy) -> bool:
        return bool(self.attached[policy.arn] or self.boundaries[policy.arn])


def _tell_roles(call: Call, policy: Policy) -> None:
    for role in store.listed(call.transaction, Role, call.account):
        if policy.arn in role.attached or policy.arn == role.boundary_arn:
            roles.changed(call, role)


@operation
def create_policy(call: Call, request: Request) -> Response:
    name, path = request["PolicyName"], rules.path_of(request)
    rules.check_managed(request["PolicyDocument"])
    if store.find(call.transaction, Policy, call.account, name) is not None:
        raise rules.exists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    rules.check_count(store.count(call.transaction, Policy, call.account), "Policies")
    policy = Policy(
        name=name,
        path=path,
        policy_id=call.ids.unique_id("ANPA"),
        arn=call.arn(f"policy{path}{name}"),
        created_at=call.now,
        updated_at=call.now,
        versions=(PolicyVersion(number=1, document=request["PolicyDocument"], created_at=call.now),),
        default_number=1,
        description=request.get("Description"),
        tags=rules.tags_of(request),
    )
    store.add(call.transaction, call.account, policy)
    answer = shown.policy(policy, 0)
    answer.pop("Description")  # Recorded from AWS: the description is not echoed.
    return {"Policy": answer}


@operation
def get_policy(call: Call, request: Request) -> Response:
    policy = existing(call, request["PolicyArn"])
    return {"Policy": {**_Uses(call).shown(policy), "Tags": shown.tag_list(policy.tags) or []}}


@operation
def list_policies(call: Call, request: Request) -> Response:
    scope, prefix = request.get("Scope") or "All", request.get("PathPrefix") or "/"
    found: list[Policy] = []
    if scope in ("All", "Local"):
        found += store.listed(call.transaction, Policy, call.account)
    if scope in ("All", "AWS"):
        found += managed.listed()
    uses = _Uses(call)
    counts = uses.boundaries if request.get("PolicyUsageFilter") == "PermissionsBoundary" else uses.attached
    only_used = bool(request.get("OnlyAttached") or request.get("PolicyUsageFilter"))
    found = [each for each in found if each.path.startswith(prefix) and (counts[each.arn] or not only_used)]
    return shown.page(request, "Policies", found, key=_order, show=lambda policy: uses.shown(policy, whole=False))


def _order(policy: Policy) -> str:
    """The account's own before AWS's, each by name."""
    return f"{int(managed.is_aws_managed(policy.arn))}{policy.name.lower()}"


@operation
def delete_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    if _Uses(call).is_used(policy):
        raise rules.conflict("Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        raise rules.conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
    store.drop(call.transaction, call.account, policy)
    return {}


@operation
def create_policy_version(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    rules.check_managed(request["PolicyDocument"])
    if len(policy.versions) >= rules.VERSIONS_MAX:
        raise AwsError(
            "LimitExceeded",
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
            "version.",
            status=409,
        )
    made = PolicyVersion(number=policy.next_number, document=request["PolicyDocument"], created_at=call.now)
    policy = replace(
        policy,
        versions=(*policy.versions, made),
        next_number=policy.next_number + 1,
        default_number=made.number if request.get("SetAsDefault") else policy.default_number,
        updated_at=call.now,
    )
    store.save(call.transaction, call.account, policy)
    _tell_roles(call, policy)
    return {"PolicyVersion": shown.policy_version(made, policy.default_number)}


def _version(policy: Policy, version_id: str) -> PolicyVersion:
    found = policy.version(version_id)
    if found is None:
        raise rules.missing(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")
    return found


@operation
def get_policy_version(call: Call, request: Request) -> Response:
    policy = existing(call, request["PolicyArn"])
    version = _version(policy, request["VersionId"])
    return {"PolicyVersion": shown.policy_version(version, policy.default_number, document=True)}


@operation
def list_policy_versions(call: Call, request: Request) -> Response:
    policy = existing(call, request["PolicyArn"])
    versions = [shown.policy_version(each, policy.default_number) for each in reversed(policy.versions)]
    return shown.page(request, "Versions", versions)


@operation
def set_default_policy_version(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    version = _version(policy, request["VersionId"])
    policy = replace(policy, default_number=version.number, updated_at=call.now)
    store.save(call.transaction, call.account, policy)
    _tell_roles(call, policy)
    return {}


@operation
def delete_policy_version(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    version = _version(policy, request["VersionId"])
    if version.number == policy.default_number:
        raise rules.conflict("Cannot delete the default version of a policy.")
    kept = tuple(each for each in policy.versions if each is not version)
    store.save(call.transaction, call.account, replace(policy, versions=kept))
    return {}


@operation
def list_entities_for_policy(call: Call, request: Request) -> Response:
    """Roles first, then users; a page holds both. Groups there are none."""
    arn = existing(call, request["PolicyArn"]).arn
    uses, prefix = _Uses(call), request.get("PathPrefix") or "/"
    as_boundary = request.get("PolicyUsageFilter") == "PermissionsBoundary"
    kind = request.get("EntityFilter")
    holders: list[Role | User] = []
    if kind in (None, "Role"):
        holders += uses.roles
    if kind in (None, "User"):
        holders += uses.users
    holders = [
        each
        for each in holders
        if each.path.startswith(prefix) and (each.boundary_arn == arn if as_boundary else arn in each.attached)
    ]
    answer = shown.page(request, "Holders", holders)
    page = answer.pop("Holders")
    answer["PolicyGroups"] = []
    answer["PolicyUsers"] = [{"UserName": it.name, "UserId": it.user_id} for it in page if isinstance(it, User)]
    answer["PolicyRoles"] = [{"RoleName": it.name, "RoleId": it.role_id} for it in page if isinstance(it, Role)]
    return answer


@operation
def tag_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    store.save(call.transaction, call.account, replace(policy, tags=rules.tags_of(request, policy.tags)))
    return {}


@operation
def untag_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    tags = rules.without_tags(policy.tags, request["TagKeys"])
    store.save(call.transaction, call.account, replace(policy, tags=tags))
    return {}


@operation
def list_policy_tags(call: Call, request: Request) -> Response:
    return shown.page(request, "Tags", shown.tag_list(existing(call, request["PolicyArn"]).tags) or [])


def _attach(call: Call, kind: str, holder: Holder, policy_arn: str) -> Holder:
    """The holder with the policy; attaching twice changes nothing."""
    existing(call, policy_arn, "does not exist or is not attachable.")
    if policy_arn in holder.attached:
        return holder
    limit = rules.ATTACHED_MAX[kind]
    if len(holder.attached) >= limit:
        raise rules.over(f"PoliciesPer{kind.capitalize()}: {limit}")
    return replace(holder, attached=(*holder.attached, policy_arn))


def _detach(call: Call, holder: Holder, policy_arn: str) -> Holder:
    rules.check_policy_arn(policy_arn)
    if policy_arn not in holder.attached:
        raise rules.missing(f"Policy {policy_arn} was not found.")
    return replace(holder, attached=tuple(each for each in holder.attached if each != policy_arn))


def _attachments(request: Request, holder: Role | User) -> Response:
    prefix = request.get("PathPrefix") or "/"
    attached = [
        {"PolicyName": arn.rsplit("/", 1)[-1], "PolicyArn": arn}
        for arn in holder.attached
        if arn.partition(":policy")[2].startswith(prefix)
    ]
    return shown.page(request, "AttachedPolicies", attached)


@operation
def attach_role_policy(call: Call, request: Request) -> Response:
    role = roles.changeable(call, request["RoleName"])
    attached = _attach(call, "role", role, request["PolicyArn"])
    if attached is not role:
        roles.save(call, attached)
    return {}


@operation
def detach_role_policy(call: Call, request: Request) -> Response:
    roles.save(call, _detach(call, roles.changeable(call, request["RoleName"]), request["PolicyArn"]))
    return {}


@operation
def list_attached_role_policies(call: Call, request: Request) -> Response:
    return _attachments(request, roles.existing(call, request["RoleName"]))


@operation
def attach_user_policy(call: Call, request: Request) -> Response:
    user = _attach(call, "user", users.existing(call, request["UserName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, user)
    return {}


@operation
def detach_user_policy(call: Call, request: Request) -> Response:
    user = _detach(call, users.existing(call, request["UserName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, user)
    return {}


@operation
def list_attached_user_policies(call: Call, request: Request) -> Response:
    return _attachments(request, users.existing(call, request["UserName"]))


def _put(kind: str, holder: Holder, request: Request) -> Holder:
    inline = {**holder.inline, request["PolicyName"]: request["PolicyDocument"]}
    rules.check_inline(kind, holder.name, inline, request["PolicyDocument"])
    return replace(holder, inline=inline)


def _taken(kind: str, holder: Role | User, name: str) -> str:
    if name not in holder.inline:
        raise rules.missing(f"The {kind} policy with name {name} cannot be found.")
    return holder.inline[name]


@operation
def put_role_policy(call: Call, request: Request) -> Response:
    roles.save(call, _put("role", roles.changeable(call, request["RoleName"]), request))
    return {}


@operation
def get_role_policy(call: Call, request: Request) -> Response:
    role = roles.existing(call, request["RoleName"])
    document = _taken("role", role, request["PolicyName"])
    return {"RoleName": role.name, "PolicyName": request["PolicyName"], "PolicyDocument": shown.encoded(document)}


@operation
def list_role_policies(call: Call, request: Request) -> Response:
    return shown.page(request, "PolicyNames", sorted(roles.existing(call, request["RoleName"]).inline))


@operation
def delete_role_policy(call: Call, request: Request) -> Response:
    role = roles.changeable(call, request["RoleName"])
    _taken("role", role, request["PolicyName"])
    kept = {name: text for name, text in role.inline.items() if name != request["PolicyName"]}
    roles.save(call, replace(role, inline=kept))
    return {}


@operation
def put_user_policy(call: Call, request: Request) -> Response:
    user = _put("user", users.existing(call, request["UserName"]), request)
    store.save(call.transaction, call.account, user)
    return {}


@operation
def get_user_policy(call: Call, request: Request) -> Response:
    user = users.existing(call, request["UserName"])
    document = _taken("user", user, request["PolicyName"])
    return {"UserName": user.name, "PolicyName": request["PolicyName"], "PolicyDocument": shown.encoded(document)}


@operation
def list_user_policies(call: Call, request: Request) -> Response:
    return shown.page(request, "PolicyNames", sorted(users.existing(call, request["UserName"]).inline))


@operation
def delete_user_policy(call: Call, request: Request) -> Response:
    user = users.existing(call, request["UserName"])
    _taken("user", user, request["PolicyName"])
    kept = {name: text for name, text in user.inline.items() if name != request["PolicyName"]}
    store.save(call.transaction, call.account, replace(user, inline=kept))
    return {}
