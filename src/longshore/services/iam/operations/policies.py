"""Managed policies: their versions, their tags, and who uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import entitlements, managed, rules, shown, store
from longshore.services.iam.operations import roles
from longshore.services.iam.records import Group, Policy, PolicyVersion, Role, User


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


class Uses:
    """Where the account's managed policies are used: policy ARN -> how often, counted in one walk."""

    def __init__(self, call: Call) -> None:
        self.roles = store.listed(call.transaction, Role, call.account)
        self.users = store.listed(call.transaction, User, call.account)
        self.groups = store.listed(call.transaction, Group, call.account)
        holders: list[Role | User | Group] = [*self.roles, *self.users, *self.groups]
        self.attached = Counter(arn for each in holders for arn in each.attached)
        bounded: list[Role | User] = [*self.roles, *self.users]
        self.boundaries = Counter(each.boundary_arn for each in bounded)

    def shown(self, policy: Policy, *, whole: bool = True) -> dict[str, Any]:
        answer = shown.policy(policy, self.attached[policy.arn], whole=whole)
        return {**answer, "PermissionsBoundaryUsageCount": self.boundaries[policy.arn]}

    def arns(self) -> set[str]:
        """Of all policies that are used."""
        return {arn for arn in (*self.attached, *self.boundaries) if arn is not None}

    def is_used(self, policy: Policy) -> bool:
        return bool(self.attached[policy.arn] or self.boundaries[policy.arn])


def uses_of(call: Call) -> Uses:
    """Counted once for all that ask on the same snapshot: in a large account it takes milliseconds."""
    key = Uses, call.account
    found: Uses | None = call.transaction.known.get(key)
    if found is None:
        found = call.transaction.known[key] = Uses(call)
    return found


def _tell_roles(call: Call, policy: Policy) -> None:
    for role in store.listed(call.transaction, Role, call.account):
        if policy.arn in role.attached or policy.arn == role.boundary_arn:
            roles.changed(call, role)


@operation
def create_policy(call: Call, request: Request) -> Response:
    name, path = request["PolicyName"], rules.path_of(request)
    rules.check_managed(call, request["PolicyDocument"])
    if store.find(call.transaction, Policy, call.account, name) is not None:
        raise rules.exists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    rules.check_quota(call, "PoliciesPerAccount", store.count(call.transaction, Policy, call.account))
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
        tags=rules.tags_of(call, request),
    )
    store.add(call.transaction, call.account, policy)
    answer = shown.policy(policy, 0)
    answer.pop("Description")  # Recorded from AWS: the description is not echoed.
    return {"Policy": answer}


@operation
def get_policy(call: Call, request: Request) -> Response:
    policy = existing(call, request["PolicyArn"])
    return {"Policy": {**uses_of(call).shown(policy), "Tags": shown.tag_list(policy.tags) or []}}


@operation
def list_policies(call: Call, request: Request) -> Response:
    scope, prefix = request.get("Scope") or "All", request.get("PathPrefix") or "/"
    found: list[Policy] = []
    if scope in ("All", "Local"):
        found += store.listed(call.transaction, Policy, call.account)
    if scope in ("All", "AWS"):
        found += managed.headers()
    uses = uses_of(call)
    counts = uses.boundaries if request.get("PolicyUsageFilter") == "PermissionsBoundary" else uses.attached
    only_used = bool(request.get("OnlyAttached") or request.get("PolicyUsageFilter"))
    found = [each for each in found if each.path.startswith(prefix) and (counts[each.arn] or not only_used)]
    return shown.page(call, request, "Policies", found, key=_order, show=lambda policy: uses.shown(policy, whole=False))


def _order(policy: Policy) -> str:
    """The account's own before AWS's, each by name."""
    return f"{int(managed.is_aws_managed(policy.arn))}{policy.name.lower()}"


@operation
def delete_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    if uses_of(call).is_used(policy):
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
    rules.check_managed(call, request["PolicyDocument"])
    limit = rules.quota(call, "VersionsPerPolicy")
    if len(policy.versions) >= limit:
        raise AwsError(
            "LimitExceeded",
            f"A managed policy can have up to {limit} versions. Before you create a new version, you must delete an "
            "existing version.",
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
    return shown.page(call, request, "Versions", versions)


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
    """Groups, then users, then roles; a page holds of all three. A group has no boundary."""
    arn = existing(call, request["PolicyArn"]).arn
    uses, prefix = uses_of(call), request.get("PathPrefix") or "/"
    kind, usage = request.get("EntityFilter"), request.get("PolicyUsageFilter")
    of_kinds: dict[str, Sequence[Role | User | Group]] = {"Group": uses.groups, "User": uses.users, "Role": uses.roles}

    def is_use(each: Role | User | Group) -> bool:
        as_policy = usage != "PermissionsBoundary" and arn in each.attached
        as_boundary = usage != "PermissionsPolicy" and not isinstance(each, Group) and each.boundary_arn == arn
        return each.path.startswith(prefix) and (as_policy or as_boundary)

    holders = [each for name, held in of_kinds.items() if kind in (None, name) for each in held if is_use(each)]
    answer = shown.page(call, request, "Holders", holders)
    page = answer.pop("Holders")
    answer["PolicyGroups"] = [{"GroupName": it.name, "GroupId": it.group_id} for it in page if isinstance(it, Group)]
    answer["PolicyUsers"] = [{"UserName": it.name, "UserId": it.user_id} for it in page if isinstance(it, User)]
    answer["PolicyRoles"] = [{"RoleName": it.name, "RoleId": it.role_id} for it in page if isinstance(it, Role)]
    return answer


@operation
def tag_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    store.save(call.transaction, call.account, replace(policy, tags=rules.tags_of(call, request, policy.tags)))
    return {}


@operation
def untag_policy(call: Call, request: Request) -> Response:
    policy = _own(call, request["PolicyArn"])
    tags = rules.without_tags(policy.tags, request["TagKeys"])
    store.save(call.transaction, call.account, replace(policy, tags=tags))
    return {}


@operation
def list_policy_tags(call: Call, request: Request) -> Response:
    return shown.page(call, request, "Tags", shown.tag_list(existing(call, request["PolicyArn"]).tags) or [])
