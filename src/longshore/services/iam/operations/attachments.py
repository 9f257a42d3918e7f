"""Managed policies attached to a role, a user or a group. Attaching twice changes nothing; detaching twice is refused."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import managed, rules, shown, store
from longshore.services.iam.operations import groups, policies, roles, users
from longshore.services.iam.records import Group, Holder, Policy, Role, User


def _attach(call: Call, holder: Holder, policy_arn: str) -> Holder:
    policies.existing(call, policy_arn, "does not exist or is not attachable.")
    if policy_arn in holder.attached:
        return holder
    rules.check_quota(call, f"PoliciesPer{type(holder).__name__}", len(holder.attached))
    _check_in_use(call, policy_arn)
    return replace(holder, attached=(*holder.attached, policy_arn))


def _check_in_use(call: Call, policy_arn: str) -> None:
    """LimitExceeded: as many policies are attached to anybody as may be, and this one to nobody.

    Who holds what is walked through, which in a large account takes milliseconds, only where there are so many policies.
    """
    there = store.count(call.transaction, Policy, call.account) + len(managed.headers())
    if there <= rules.quota(call, "PolicyVersionsInUse"):
        return
    in_use = policies.Uses(call).attached
    if policy_arn not in in_use:
        rules.check_quota(call, "PolicyVersionsInUse", len(in_use))


def _detach(holder: Holder, policy_arn: str) -> Holder:
    rules.check_policy_arn(policy_arn)
    if policy_arn not in holder.attached:
        raise rules.missing(f"Policy {policy_arn} was not found.")
    return replace(holder, attached=tuple(each for each in holder.attached if each != policy_arn))


def _listed(call: Call, request: Request, holder: Role | User | Group) -> Response:
    prefix = request.get("PathPrefix") or "/"
    attached = [
        each for each in shown.attached(holder.attached) if each["PolicyArn"].partition(":policy")[2].startswith(prefix)
    ]
    return shown.page(call, request, "AttachedPolicies", attached)


@operation
def attach_role_policy(call: Call, request: Request) -> Response:
    role = roles.changeable(call, request["RoleName"])
    attached = _attach(call, role, request["PolicyArn"])
    if attached is not role:
        roles.save(call, attached)
    return {}


@operation
def detach_role_policy(call: Call, request: Request) -> Response:
    roles.save(call, _detach(roles.changeable(call, request["RoleName"]), request["PolicyArn"]))
    return {}


@operation
def list_attached_role_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, roles.existing(call, request["RoleName"]))


@operation
def attach_user_policy(call: Call, request: Request) -> Response:
    user = _attach(call, users.existing(call, request["UserName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, user)
    return {}


@operation
def detach_user_policy(call: Call, request: Request) -> Response:
    user = _detach(users.existing(call, request["UserName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, user)
    return {}


@operation
def list_attached_user_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, users.existing(call, request["UserName"]))


@operation
def attach_group_policy(call: Call, request: Request) -> Response:
    group = _attach(call, groups.existing(call, request["GroupName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, group)
    return {}


@operation
def detach_group_policy(call: Call, request: Request) -> Response:
    group = _detach(groups.existing(call, request["GroupName"]), request["PolicyArn"])
    store.save(call.transaction, call.account, group)
    return {}


@operation
def list_attached_group_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, groups.existing(call, request["GroupName"]))
