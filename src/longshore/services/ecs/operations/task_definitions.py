"""Task definitions: families of revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import references, rules, shapes, store
from longshore.services.ecs.records import TaskDefinition
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import client_error

if TYPE_CHECKING:
    from longshore.kit.call import Call


@operation
def register_task_definition(call: Call, request: Request) -> Response:
    """The family's next revision, ACTIVE. Numbers are never given twice."""
    body = rules.check_task_definition(request)
    tags = rules.check_tags(request.get("tags"))
    here = place(call)
    family = body["family"]
    revision = store.next_revision(here, family)
    definition = TaskDefinition(
        arn=call.arn(f"task-definition/{family}:{revision}"),
        family=family,
        revision=revision,
        status="ACTIVE",
        registered_at=call.now,
        registered_by=call.principal.arn,
        body=body,
        requires_attributes=rules.required_attributes(body),
        tags=tags,
    )
    store.put_definition(here, definition)
    return {"taskDefinition": shapes.task_definition(definition), "tags": shapes.tag_list(tags)}


@operation
def describe_task_definition(call: Call, request: Request) -> Response:
    definition = references.find_definition(call, request["taskDefinition"])
    if definition is None:
        raise client_error("Unable to describe task definition.")
    return {
        "taskDefinition": shapes.task_definition(definition),
        "tags": shapes.tag_list(definition.tags) if "TAGS" in (request.get("include") or ()) else None,
    }


@operation
def deregister_task_definition(call: Call, request: Request) -> Response:
    """The revision becomes INACTIVE: tasks of it go on, new ones are refused."""
    _, revision = references.family_and_revision(request["taskDefinition"])
    if revision is None:
        raise client_error("Please specify a revision.")
    found = references.find_definition(call, request["taskDefinition"])
    if found is None:
        raise client_error("The specified task definition does not exist.")
    if found.status == "ACTIVE":
        found = replace(found, status="INACTIVE", deregistered_at=call.now)
        store.put_definition(place(call), found)
    return {"taskDefinition": shapes.task_definition(found)}


@operation
def list_task_definitions(call: Call, request: Request) -> Response:
    """ARNs by family and revision. `familyPrefix` is a whole family's name here, as the API reference says."""
    rows = store.list_definitions(place(call), request.get("familyPrefix"), request.get("status") or "ACTIVE")
    if request.get("sort") == "DESC":
        rows.reverse()
    arns = [call.arn(f"task-definition/{family}:{revision}") for family, revision in rows]
    return _page("taskDefinitionArns", arns, request)


@operation
def list_task_definition_families(call: Call, request: Request) -> Response:
    """Names. ACTIVE: families with an ACTIVE revision; INACTIVE: those with none; default: all."""
    wanted = request.get("status") or "ALL"
    rows = store.list_families(place(call), request.get("familyPrefix") or "")
    names = [family for family, active in rows if wanted == "ALL" or active == (wanted == "ACTIVE")]
    return _page("families", names, request)


def _page(member: str, values: list[str], request: Request) -> dict[str, Any]:
    start, size = references.position_of(request.get("nextToken")), references.page(request.get("maxResults"))
    more = len(values) > start + size
    return {member: values[start : start + size], "nextToken": str(start + size) if more else None}
