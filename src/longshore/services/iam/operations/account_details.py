"""The whole account in one list: users, groups, roles and policies, with all that hangs on them.

Source: IAM API reference, GetAccountAuthorizationDetails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import managed, shown, store
from longshore.services.iam.operations import instance_profiles, policies, roles
from longshore.services.iam.records import Group, InstanceProfile, Policy, Role, User

_LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
_ALL = ("User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy")


class _Row(Struct, frozen=True):
    """One thing of the account. `place`: where it stands in the whole list. `show` is asked for those of a page alone."""

    place: str
    member: str  # of the answer
    show: Callable[[], dict[str, Any]]


@operation
def get_account_authorization_details(call: Call, request: Request) -> Response:
    """A page runs over the four lists: users first, then groups, roles, policies, each by name.

    Of AWS's own policies those that the account uses are in it.
    """
    wanted = frozenset(request.get("Filter") or _ALL)
    rows = list(_rows(call, wanted))
    page = shown.page(call, request, "Rows", rows, key=lambda row: row.place, show=lambda row: (row.member, row.show()))
    details = page.pop("Rows")
    return {**page, **{member: [each for its, each in details if its == member] for member in _LISTS}}


def _rows(call: Call, wanted: frozenset[str]) -> Iterator[_Row]:
    if "User" in wanted:
        groups = {store.folded(each): each.name for each in store.listed(call.transaction, Group, call.account)}
        memberships = store.memberships(call.transaction, call.account)
        for user in store.listed(call.transaction, User, call.account):
            names = [groups[each] for each in memberships.get(store.folded(user), ())]
            yield _Row(f"0{store.folded(user)}", "UserDetailList", partial(_user, user, names))
    if "Group" in wanted:
        for group in store.listed(call.transaction, Group, call.account):
            yield _Row(f"1{store.folded(group)}", "GroupDetailList", partial(_group, group))
    if "Role" in wanted:
        holding: dict[str | None, list[InstanceProfile]] = {}
        for profile in store.listed(call.transaction, InstanceProfile, call.account):
            holding.setdefault(profile.role_name, []).append(profile)
        for role in store.listed(call.transaction, Role, call.account):
            yield _Row(
                f"2{store.folded(role)}", "RoleDetailList", partial(_role, call, role, holding.get(role.name, ()))
            )
    if wanted & {"LocalManagedPolicy", "AWSManagedPolicy"}:
        yield from _policies(call, wanted)


def _policies(call: Call, wanted: frozenset[str]) -> Iterator[_Row]:
    uses = policies.uses_of(call)
    if "LocalManagedPolicy" in wanted:
        for policy in store.listed(call.transaction, Policy, call.account):
            yield _Row(f"3{store.folded(policy)}", "Policies", partial(_policy, policy, uses))
    if "AWSManagedPolicy" in wanted:
        found = [managed.find(arn) for arn in uses.arns()]
        used = [policy for policy in found if policy is not None]
        for policy in sorted(used, key=store.folded):
            yield _Row(f"4{store.folded(policy)}", "Policies", partial(_policy, policy, uses))


def _inline(documents: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"PolicyName": name, "PolicyDocument": shown.encoded(documents[name])} for name in sorted(documents)]


def _user(user: User, groups: Sequence[str]) -> dict[str, Any]:
    return {
        **shown.user(user),
        "UserPolicyList": _inline(user.inline),
        "GroupList": list(groups),
        "AttachedManagedPolicies": shown.attached(user.attached),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        **shown.group(group),
        "GroupPolicyList": _inline(group.inline),
        "AttachedManagedPolicies": shown.attached(group.attached),
    }


def _role(call: Call, role: Role, profiles: Sequence[InstanceProfile]) -> dict[str, Any]:
    answer = shown.role(role, roles.trust_of(call, role), last_used=roles.last_used(call, role))
    return {
        **{name: value for name, value in answer.items() if name not in ("Description", "MaxSessionDuration")},
        "InstanceProfileList": [instance_profiles.details(call, each) for each in profiles],
        "RolePolicyList": _inline(role.inline),
        "AttachedManagedPolicies": shown.attached(role.attached),
    }


def _policy(policy: Policy, uses: policies.Uses) -> dict[str, Any]:
    answer = uses.shown(policy)
    answer.pop("Tags")
    versions = [shown.policy_version(each, policy.default_number, document=True) for each in reversed(policy.versions)]
    return {**answer, "PolicyVersionList": versions}
