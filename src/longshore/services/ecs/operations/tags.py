"""Tags of clusters, task definitions, container instances and tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import references, rules, shapes, store
from longshore.services.ecs.records import Tags
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call

Keep = Callable[[Tags], None]


@operation
def list_tags_for_resource(call: Call, request: Request) -> Response:
    tags, _ = _find(call, request["resourceArn"])
    return {"tags": shapes.tag_list(tags)}


@operation
def tag_resource(call: Call, request: Request) -> Response:
    tags, keep = _find(call, request["resourceArn"])
    merged = {**tags, **rules.check_tags(request["tags"])}
    rules.check_tag_count(merged)
    keep(merged)
    return {}


@operation
def untag_resource(call: Call, request: Request) -> Response:
    tags, keep = _find(call, request["resourceArn"])
    if any(rules.is_reserved(key) for key in request["tagKeys"]):
        raise invalid("Tag keys can not start with 'aws:'.")
    keep({key: value for key, value in tags.items() if key not in request["tagKeys"]})
    return {}


def tags_of(call: Call, arn: str) -> Tags:
    """aws:ResourceTag; none: there is no such resource, or it is one of those that have no tags."""
    try:
        return _find(call, arn)[0]
    except AwsError:
        return {}


def _find(call: Call, arn: str) -> tuple[Tags, Keep]:
    """The tags of the resource, and how others are kept in place of them."""
    if not arn.startswith("arn:aws:ecs:") or references.is_foreign(call, arn):
        raise invalid(f"Invalid resource ARN: {arn}")
    here = place(call)
    kind, _, name = arn.split(":", 5)[5].partition("/")
    if kind == "cluster":
        cluster = store.find_cluster(here, name)
        if cluster is not None and cluster.status == "ACTIVE":
            return cluster.tags, lambda tags: store.put_cluster(here, replace(cluster, tags=tags))
    elif kind == "task-definition":
        definition = store.find_definition(here, *references.family_and_revision(name))
        if definition is not None:
            return definition.tags, lambda tags: store.put_definition(here, replace(definition, tags=tags))
    elif kind == "container-instance":
        standing = store.find_instance(here, references.last_part(arn))
        if standing is not None:
            instance = standing.instance
            return instance.tags, lambda tags: store.update_instance(
                here, replace(standing, instance=replace(instance, tags=tags))
            )
    elif kind == "task":
        task = store.find_task(here, references.last_part(arn))
        if task is not None:
            return task.tags, lambda tags: store.update_task(here, replace(task, tags=tags))
    raise invalid("The specified resource is not found.")
