"""Clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import references, rules, shapes, store
from longshore.services.ecs.records import Cluster
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call

_DEFAULT_SETTINGS = [{"name": "containerInsights", "value": "disabled"}]


@operation
def create_cluster(call: Call, request: Request) -> Response:
    """An ACTIVE cluster. Asked again for one that is there, answers with that one, unchanged."""
    name = request.get("clusterName") or "default"
    rules.check_cluster_name(name)
    tags = rules.check_tags(request.get("tags"))
    here = place(call)
    found = store.find_cluster(here, name)
    if found is None or found.status != "ACTIVE":
        found = Cluster(
            name=name,
            arn=call.arn(f"cluster/{name}"),
            tags=tags,
            settings=_merged([], request.get("settings") or _DEFAULT_SETTINGS),
            configuration=request.get("configuration"),
            capacity_providers=request.get("capacityProviders") or [],
            default_capacity_provider_strategy=request.get("defaultCapacityProviderStrategy") or [],
            service_connect_defaults=request.get("serviceConnectDefaults"),
        )
        store.put_cluster(here, found)
    return {"cluster": _shown(call, found, ("TAGS", "SETTINGS", "CONFIGURATIONS"))}


@operation
def describe_clusters(call: Call, request: Request) -> Response:
    include = request.get("include") or ()
    found, failures = [], []
    for reference in request.get("clusters") or ["default"]:
        name = references.cluster_name(reference)
        foreign = reference.startswith("arn:") and references.is_foreign(call, reference)
        cluster = None if foreign else store.find_cluster(place(call), name)
        if cluster is None:
            failures.append({"arn": references.cluster_arn(call, reference), "reason": "MISSING"})
        else:
            found.append(_shown(call, cluster, include))
    return {"clusters": found, "failures": failures}


@operation
def list_clusters(call: Call, request: Request) -> Response:
    size = references.page(request.get("maxResults"))
    names = store.list_clusters(place(call), request.get("nextToken") or "", size + 1)
    return {
        "clusterArns": [call.arn(f"cluster/{name}") for name in names[:size]],
        "nextToken": names[size - 1] if len(names) > size else None,
    }


@operation
def update_cluster(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request["cluster"])
    changed = replace(
        cluster,
        settings=_merged(cluster.settings, request.get("settings") or []),
        configuration=request.get("configuration") or cluster.configuration,
        service_connect_defaults=request.get("serviceConnectDefaults") or cluster.service_connect_defaults,
    )
    store.put_cluster(place(call), changed)
    return {"cluster": _shown(call, changed, ("SETTINGS", "CONFIGURATIONS"))}


@operation
def update_cluster_settings(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request["cluster"])
    changed = replace(cluster, settings=_merged(cluster.settings, request["settings"]))
    store.put_cluster(place(call), changed)
    return {"cluster": _shown(call, changed, ("SETTINGS",))}


@operation
def delete_cluster(call: Call, request: Request) -> Response:
    """The cluster becomes INACTIVE and stays describable; it must be empty."""
    cluster = references.find_cluster(call, request["cluster"])
    instances, running, pending = store.count_cluster(place(call), cluster.name)
    if instances:
        raise AwsError(
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        )
    if running or pending:
        raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
    gone = replace(cluster, status="INACTIVE")
    store.put_cluster(place(call), gone)
    return {"cluster": _shown(call, gone, ("SETTINGS", "CONFIGURATIONS"))}


def _shown(call: Call, cluster: Cluster, include: tuple[str, ...] | list[str]) -> Response:
    return shapes.cluster(cluster, store.count_cluster(place(call), cluster.name), include)


def _merged(settings: list[dict[str, str]], given: list[dict[str, str]]) -> list[dict[str, str]]:
    if not all(setting.get("name") for setting in given):
        raise rules.invalid("A setting's name should not be null or empty.")
    by_name = {setting["name"]: setting for setting in settings}
    by_name.update({setting["name"]: setting for setting in given})
    return list(by_name.values())
