"""Groups: what their users may do besides, because they are in them."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import rules, shown, store
from longshore.services.iam.operations import users
from longshore.services.iam.records import Group


def existing(call: Call, name: str) -> Group:
    """NoSuchEntity: there is no such group."""
    group = store.find(call.transaction, Group, call.account, name)
    if group is None:
        raise rules.no_group(name)
    return group


@operation
def create_group(call: Call, request: Request) -> Response:
    name, path = request["GroupName"], rules.path_of(request)
    if store.find(call.transaction, Group, call.account, name) is not None:
        raise rules.exists(f"Group with name {name} already exists.")
    rules.check_quota(call, "GroupsPerAccount", store.count(call.transaction, Group, call.account))
    group = Group(
        name=name,
        path=path,
        group_id=call.ids.unique_id("AGPA"),
        arn=call.arn(f"group{path}{name}"),
        created_at=call.now,
    )
    store.add(call.transaction, call.account, group)
    return {"Group": shown.group(group)}


@operation
def get_group(call: Call, request: Request) -> Response:
    """The group, and a page of its users."""
    group = existing(call, request["GroupName"])
    members = store.members_of(call.transaction, call.account, group)
    page = shown.page(
        call, request, "Users", members, key=store.folded, show=lambda user: shown.user(user, whole=False)
    )
    return {"Group": shown.group(group), **page}


@operation
def list_groups(call: Call, request: Request) -> Response:
    prefix = request.get("PathPrefix") or "/"
    found = [each for each in store.listed(call.transaction, Group, call.account) if each.path.startswith(prefix)]
    return shown.page(call, request, "Groups", found, key=store.folded, show=shown.group)


@operation
def list_groups_for_user(call: Call, request: Request) -> Response:
    user = users.existing(call, request["UserName"])
    found = store.groups_of(call.transaction, call.account, user)
    return shown.page(call, request, "Groups", found, key=store.folded, show=shown.group)


@operation
def update_group(call: Call, request: Request) -> Response:
    """Another name or path. Its id, its users and its policies stay."""
    group = existing(call, request["GroupName"])
    name = request.get("NewGroupName") or group.name
    path = rules.path_of({"Path": request.get("NewPath") or group.path})
    holder = store.find(call.transaction, Group, call.account, name)
    if holder is not None and holder.group_id != group.group_id:
        raise rules.exists(f"Group with name {name} already exists.")
    moved = replace(group, name=name, path=path, arn=call.arn(f"group{path}{name}"))
    store.rename(call.transaction, call.account, group, moved)
    return {}


@operation
def delete_group(call: Call, request: Request) -> Response:
    group = existing(call, request["GroupName"])
    if store.has_members(call.transaction, call.account, group):
        raise rules.conflict("Cannot delete entity, must remove users from group first.")
    rules.check_bare(group)
    store.drop(call.transaction, call.account, group)
    return {}


@operation
def add_user_to_group(call: Call, request: Request) -> Response:
    """To add one who is in it already changes nothing."""
    group = existing(call, request["GroupName"])
    user = users.existing(call, request["UserName"])
    theirs = store.groups_of(call.transaction, call.account, user)
    if all(each.group_id != group.group_id for each in theirs):
        rules.check_quota(call, "GroupsPerUser", len(theirs))
        store.join(call.transaction, call.account, group, user)
    return {}


@operation
def remove_user_from_group(call: Call, request: Request) -> Response:
    group = existing(call, request["GroupName"])
    user = users.existing(call, request["UserName"])
    if not store.leave(call.transaction, call.account, group, user):
        raise rules.missing(f"The user with name {request['UserName']} cannot be found in the group.")
    return {}
