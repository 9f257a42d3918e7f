"""Users and their access keys."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.aws.clock import EPOCH
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import boundaries, rules, shown, store
from longshore.services.iam.identities import PURPOSE
from longshore.services.iam.operations import roles
from longshore.services.iam.records import AccessKey, User


def existing(call: Call, name: str) -> User:
    """NoSuchEntity: there is no such user."""
    user = store.find(call.transaction, User, call.account, name)
    if user is None:
        raise rules.no_user(name)
    return user


def named(call: Call, request: Request) -> User:
    """The user of the request, or the caller itself where it names none."""
    name = request.get("UserName") or call.principal.user_name
    if name is None:
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials")
    return existing(call, name)


@operation
def create_user(call: Call, request: Request) -> Response:
    name, path = request["UserName"], rules.path_of(request)
    if store.find(call.transaction, User, call.account, name) is not None:
        raise rules.exists(f"User with name {name} already exists.")
    rules.check_quota(call, "UsersPerAccount", store.count(call.transaction, User, call.account))
    boundary = boundaries.checked(call, request.get("PermissionsBoundary"))
    user = User(
        name=name,
        path=path,
        user_id=call.ids.unique_id("AIDA"),
        arn=call.arn(f"user{path}{name}"),
        created_at=call.now,
        boundary_arn=boundary,
        tags=rules.tags_of(call, request),
    )
    store.add(call.transaction, call.account, user)
    roles.appear(call, user.user_id, user.arn)
    return {"User": shown.user(user)}


@operation
def get_user(call: Call, request: Request) -> Response:
    if call.principal.kind == "root" and not request.get("UserName"):
        return {"User": {"UserId": call.account, "Arn": call.principal.arn, "Path": "/", "CreateDate": EPOCH}}
    return {"User": shown.user(named(call, request))}


@operation
def list_users(call: Call, request: Request) -> Response:
    prefix = request.get("PathPrefix") or "/"
    users = [user for user in store.listed(call.transaction, User, call.account) if user.path.startswith(prefix)]
    return shown.page(call, request, "Users", users, key=store.folded, show=lambda user: shown.user(user, whole=False))


@operation
def update_user(call: Call, request: Request) -> Response:
    """Another name or path. Id, keys, policies and groups stay, and so do the roles that trust the user."""
    user = existing(call, request["UserName"])
    name = request.get("NewUserName") or user.name
    path = rules.path_of({"Path": request.get("NewPath") or user.path})
    holder = store.find(call.transaction, User, call.account, name)
    if holder is not None and holder.user_id != user.user_id:
        raise rules.exists(f"User with name {name} already exists.")
    moved = replace(user, name=name, path=path, arn=call.arn(f"user{path}{name}"))
    keys = store.keys_of(call.transaction, call.account, user.name)
    store.rename(call.transaction, call.account, user, moved)
    for key in keys:
        store.save_key(call.transaction, call.account, replace(key, user_name=name))
    roles.follow(call, user.user_id, user.arn, moved.arn)
    roles.appear(call, moved.user_id, moved.arn)
    return {}


@operation
def delete_user(call: Call, request: Request) -> Response:
    user = existing(call, request["UserName"])
    if store.keys_of(call.transaction, call.account, user.name):
        raise rules.conflict("Cannot delete entity, must delete access keys first.")
    if user.login is not None:
        raise rules.conflict("Cannot delete entity, must delete login profile first.")
    if store.groups_of(call.transaction, call.account, user):
        # Seen at AWS: the same sentence as for a group that has users.
        raise rules.conflict("Cannot delete entity, must remove users from group first.")
    rules.check_bare(user)
    store.drop(call.transaction, call.account, user)
    return {}


@operation
def tag_user(call: Call, request: Request) -> Response:
    user = existing(call, request["UserName"])
    store.save(call.transaction, call.account, replace(user, tags=rules.tags_of(call, request, user.tags)))
    return {}


@operation
def untag_user(call: Call, request: Request) -> Response:
    user = existing(call, request["UserName"])
    tags = rules.without_tags(user.tags, request["TagKeys"])
    store.save(call.transaction, call.account, replace(user, tags=tags))
    return {}


@operation
def list_user_tags(call: Call, request: Request) -> Response:
    return shown.page(call, request, "Tags", shown.tag_list(existing(call, request["UserName"]).tags) or [])


@operation
def put_user_permissions_boundary(call: Call, request: Request) -> Response:
    boundary = boundaries.checked(call, request["PermissionsBoundary"])
    user = existing(call, request["UserName"])
    store.save(call.transaction, call.account, replace(user, boundary_arn=boundary))
    return {}


@operation
def delete_user_permissions_boundary(call: Call, request: Request) -> Response:
    user = existing(call, request["UserName"])
    store.save(call.transaction, call.account, replace(user, boundary_arn=None))
    return {}


@operation
def create_access_key(call: Call, request: Request) -> Response:
    """The only answer that ever shows the secret."""
    user = named(call, request)
    rules.check_quota(call, "AccessKeysPerUser", len(store.keys_of(call.transaction, call.account, user.name)))
    secret = call.ids.secret()
    key = AccessKey(
        access_key_id=call.ids.access_key_id("AKIA", call.account),
        user_name=user.name,
        sealed_secret=call.house.sealer.seal(secret.encode(), PURPOSE),
        is_active=True,
        created_at=call.now,
    )
    store.add_key(call.transaction, call.account, key)
    return {
        "AccessKey": {
            "UserName": user.name,
            "AccessKeyId": key.access_key_id,
            "Status": "Active",
            "SecretAccessKey": secret,
            "CreateDate": shown.second(key.created_at),
        }
    }


@operation
def get_access_key_last_used(call: Call, request: Request) -> Response:
    """Told of a key that was never used, too."""
    found = store.find_key(call.transaction, request["AccessKeyId"])
    if found is None or found[0] != call.account:
        raise rules.missing(f"The Access Key with id {request['AccessKeyId']} cannot be found.")
    use = store.last_use_of_key(call.transaction, request["AccessKeyId"])
    last: Response = {"ServiceName": "N/A", "Region": "N/A"}
    if use is not None:
        last = {"LastUsedDate": shown.moment(use), "ServiceName": use.service, "Region": use.region}
    return {"UserName": found[1].user_name, "AccessKeyLastUsed": last}


@operation
def list_access_keys(call: Call, request: Request) -> Response:
    user = named(call, request)
    keys = [
        {
            "UserName": user.name,
            "AccessKeyId": key.access_key_id,
            "Status": "Active" if key.is_active else "Inactive",
            "CreateDate": shown.second(key.created_at),
        }
        for key in store.keys_of(call.transaction, call.account, user.name)
    ]
    return shown.page(call, request, "AccessKeyMetadata", keys)


def _own_key(call: Call, request: Request) -> AccessKey:
    user = named(call, request)
    for key in store.keys_of(call.transaction, call.account, user.name):
        if key.access_key_id == request["AccessKeyId"]:
            return key
    raise rules.missing(f"The Access Key with id {request['AccessKeyId']} cannot be found.")


@operation
def update_access_key(call: Call, request: Request) -> Response:
    key = _own_key(call, request)
    store.save_key(call.transaction, call.account, replace(key, is_active=request["Status"] == "Active"))
    return {}


@operation
def delete_access_key(call: Call, request: Request) -> Response:
    store.drop_key(call.transaction, call.account, _own_key(call, request))
    return {}
