"""Tags of whatever EC2 has."""

from __future__ import annotations

from msgspec import Struct

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import network, rules, store
from longshore.services.ec2.selection import Values, page, select

# The prefix of an id -> (type of the resource, what the codes of its errors begin with).
_KINDS = {
    "i": ("instance", "InvalidInstanceID"),
    "vpc": ("vpc", "InvalidVpcID"),
    "subnet": ("subnet", "InvalidSubnetID"),
    "sg": ("security-group", "InvalidGroup"),
    "eni": ("network-interface", "InvalidNetworkInterfaceID"),
}


class _Tag(Struct, frozen=True):
    resource_id: str
    key: str
    value: str


@operation
def create_tags(call: Call, request: Request) -> Response:
    """Adds, or writes over. All of them or, when a resource is unknown, none."""
    rules.check_dry_run(request)
    network.ensure_default(call)
    tags = rules.tag_map(request["Tags"])
    rules.check_tags(tags)
    for resource_id in request["Resources"]:
        _check_exists(call, resource_id)
        before = store.tags_of(call.transaction, call.account, call.region, resource_id)
        rules.check_tags({**before, **tags})
        store.put_tags(call.transaction, call.account, call.region, resource_id, tags)
    return {}


@operation
def delete_tags(call: Call, request: Request) -> Response:
    """Without tags: all of a resource's. A tag with a value goes only if it has that value."""
    rules.check_dry_run(request)
    given = request.get("Tags")
    rules.check_tags({tag.get("Key") or "": "" for tag in given or ()})
    for resource_id in request["Resources"]:
        _check_exists(call, resource_id)
        have = store.tags_of(call.transaction, call.account, call.region, resource_id)
        keys = None
        if given:
            keys = [tag.get("Key") or "" for tag in given if tag.get("Value") in (None, have.get(tag.get("Key") or ""))]
        store.drop_tags(call.transaction, call.account, call.region, resource_id, keys)
    return {}


@operation
def describe_tags(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    tags = [
        _Tag(resource_id, key, value)
        for resource_id, of in store.list_tags(call.transaction, call.account, call.region).items()
        for key, value in of.items()
    ]
    filters = [
        # `tag:k` is a filter here too, and here means the tag itself.
        each
        for each in request.get("Filters") or ()
        if not (each.get("Name") or "").startswith("tag:")
    ]
    for each in request.get("Filters") or ():
        if (each.get("Name") or "").startswith("tag:"):
            key = each["Name"][4:]
            values = {"value": lambda tag: [tag.value]}
            tags = select(
                [tag for tag in tags if tag.key == key], [{"Name": "value", "Values": each.get("Values")}], values
            )
    found = sorted(select(tags, filters, _FILTERS), key=_place)
    shown, next_token = page(found, request, _place)
    return {
        "Tags": [
            {"ResourceId": tag.resource_id, "ResourceType": kind(tag.resource_id), "Key": tag.key, "Value": tag.value}
            for tag in shown
        ],
        "NextToken": next_token,
    }


def kind(resource_id: str) -> str:
    """`i-...` -> `instance`."""
    return _KINDS.get(resource_id.partition("-")[0], ("resource", ""))[0]


def _place(tag: _Tag) -> str:
    return f"{tag.resource_id}\0{tag.key}"


def _check_exists(call: Call, resource_id: str) -> None:
    prefix = resource_id.partition("-")[0]
    if prefix not in _KINDS:
        raise AwsError("InvalidID", f"The ID '{resource_id}' is not valid")
    name, code = _KINDS[prefix]
    rules.check_id(resource_id, prefix, code)
    known: bool
    if name == "instance":
        if store.find_in(call.transaction, call.account, call.region, resource_id) is None:
            raise rules.not_found([resource_id])
        return
    if name == "vpc":
        known = any(vpc.vpc_id == resource_id for vpc in network.vpcs(call))
    elif name == "subnet":
        known = any(subnet.subnet_id == resource_id for subnet in network.subnets(call))
    elif name == "security-group":
        known = any(group.group_id == resource_id for group in network.security_groups(call))
    else:
        living = (each for _, each in store.list_all(call.transaction, call.account, call.region) if each.is_living)
        known = any(instance.network_interface_id == resource_id for instance in living)
    if not known:
        raise AwsError(f"{code}.NotFound", f"The {name} ID '{resource_id}' does not exist")


_FILTERS: Values[_Tag] = {
    "key": lambda tag: [tag.key],
    "value": lambda tag: [tag.value],
    "resource-id": lambda tag: [tag.resource_id],
    "resource-type": lambda tag: [kind(tag.resource_id)],
}
