"""Custom attributes of container instances, for placement constraints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import changes, references, store
from longshore.services.ecs.records import Cluster, Standing
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call

_RESERVED = ("ecs.", "com.amazonaws.")


@operation
def put_attributes(call: Call, request: Request) -> Response:
    """API reference: 10 at most a call. Names of AWS's own are not for users."""
    cluster = references.find_cluster(call, request.get("cluster"))
    _check(request["attributes"])
    for attribute in request["attributes"]:
        standing = _target(call, cluster, attribute)
        given = {key: attribute[key] for key in ("name", "value") if attribute.get(key) is not None}
        others = [each for each in standing.instance.attributes if each["name"] != attribute["name"]]
        _keep(call, standing, [*others, given])
    return {"attributes": request["attributes"]}


@operation
def delete_attributes(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request.get("cluster"))
    _check(request["attributes"])
    for attribute in request["attributes"]:
        standing = _target(call, cluster, attribute)
        _keep(call, standing, [each for each in standing.instance.attributes if each["name"] != attribute["name"]])
    return {"attributes": request["attributes"]}


@operation
def list_attributes(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request.get("cluster"))
    start, size = references.position_of(request.get("nextToken")), references.page(request.get("maxResults"))
    found = list(_all(call, cluster, request.get("attributeName"), request.get("attributeValue")))
    more = len(found) > start + size
    return {"attributes": found[start : start + size], "nextToken": str(start + size) if more else None}


def _all(call: Call, cluster: Cluster, name: str | None, value: str | None) -> Iterable[dict[str, Any]]:
    for _, standing in store.instances_of_cluster(place(call), cluster.name):
        for attribute in standing.instance.attributes:
            if name in (None, attribute["name"]) and value in (None, attribute.get("value")):
                yield {**attribute, "targetType": "container-instance", "targetId": standing.instance.arn}


def _check(attributes: list[dict[str, Any]]) -> None:
    if not 1 <= len(attributes) <= 10:
        raise invalid("Between 1 and 10 attributes can be given.")
    for attribute in attributes:
        if attribute["name"].startswith(_RESERVED):
            raise invalid(f"Attribute name {attribute['name']} is reserved.")


def _target(call: Call, cluster: Cluster, attribute: dict[str, Any]) -> Standing:
    standing = references.find_instance(call, cluster, attribute.get("targetId") or "")
    if standing is None or standing.status == "INACTIVE":
        raise AwsError("TargetNotFoundException", "The specified target wasn't found.")
    return standing


def _keep(call: Call, standing: Standing, attributes: list[dict[str, Any]]) -> None:
    changes.change_instance(call, replace(standing, instance=replace(standing.instance, attributes=attributes)))
