"""Policies that are written into a role, a user or a group, and live and die with it."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import rules, shown, store
from longshore.services.iam.operations import groups, roles, users
from longshore.services.iam.records import Group, Holder, Role, User


def _put(call: Call, holder: Holder, request: Request) -> Holder:
    """The holder with the policy in it. The limit is for all of its inline policies together."""
    inline = {**holder.inline, request["PolicyName"]: request["PolicyDocument"]}
    rules.check_inline(call, type(holder).__name__, holder.name, inline, request["PolicyDocument"])
    return replace(holder, inline=inline)


def _taken(holder: Role | User | Group, name: str) -> str:
    if name not in holder.inline:
        raise rules.missing(f"The {type(holder).__name__.lower()} policy with name {name} cannot be found.")
    return holder.inline[name]


def _without(holder: Holder, name: str) -> Holder:
    _taken(holder, name)
    return replace(holder, inline={each: text for each, text in holder.inline.items() if each != name})


def _shown(holder: Role | User | Group, name: str) -> Response:
    document = shown.encoded(_taken(holder, name))
    return {f"{type(holder).__name__}Name": holder.name, "PolicyName": name, "PolicyDocument": document}


def _listed(call: Call, request: Request, holder: Role | User | Group) -> Response:
    return shown.page(call, request, "PolicyNames", sorted(holder.inline), key=str)


@operation
def put_role_policy(call: Call, request: Request) -> Response:
    roles.save(call, _put(call, roles.changeable(call, request["RoleName"]), request))
    return {}


@operation
def get_role_policy(call: Call, request: Request) -> Response:
    return _shown(roles.existing(call, request["RoleName"]), request["PolicyName"])


@operation
def list_role_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, roles.existing(call, request["RoleName"]))


@operation
def delete_role_policy(call: Call, request: Request) -> Response:
    roles.save(call, _without(roles.changeable(call, request["RoleName"]), request["PolicyName"]))
    return {}


@operation
def put_user_policy(call: Call, request: Request) -> Response:
    user = _put(call, users.existing(call, request["UserName"]), request)
    store.save(call.transaction, call.account, user)
    return {}


@operation
def get_user_policy(call: Call, request: Request) -> Response:
    return _shown(users.existing(call, request["UserName"]), request["PolicyName"])


@operation
def list_user_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, users.existing(call, request["UserName"]))


@operation
def delete_user_policy(call: Call, request: Request) -> Response:
    user = _without(users.existing(call, request["UserName"]), request["PolicyName"])
    store.save(call.transaction, call.account, user)
    return {}


@operation
def put_group_policy(call: Call, request: Request) -> Response:
    group = _put(call, groups.existing(call, request["GroupName"]), request)
    store.save(call.transaction, call.account, group)
    return {}


@operation
def get_group_policy(call: Call, request: Request) -> Response:
    return _shown(groups.existing(call, request["GroupName"]), request["PolicyName"])


@operation
def list_group_policies(call: Call, request: Request) -> Response:
    return _listed(call, request, groups.existing(call, request["GroupName"]))


@operation
def delete_group_policy(call: Call, request: Request) -> Response:
    group = _without(groups.existing(call, request["GroupName"]), request["PolicyName"])
    store.save(call.transaction, call.account, group)
    return {}
