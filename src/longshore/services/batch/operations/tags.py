"""Tags of compute environments, job queues, job definitions and jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.kit.operation import Request, Response, operation
from longshore.services.batch import rules, store

if TYPE_CHECKING:
    from longshore.kit.call import Call

Tags = dict[str, str]
_KINDS = ("compute-environment", "job-queue", "job-definition", "job")


@operation
def list_tags_for_resource(call: Call, request: Request) -> Response:
    tags, _ = _find(call, request["resourceArn"])
    return {"tags": tags}


@operation
def tag_resource(call: Call, request: Request) -> Response:
    tags, keep = _find(call, request["resourceArn"])
    keep(rules.check_tags(request["tags"], tags))
    return {}


@operation
def untag_resource(call: Call, request: Request) -> Response:
    tags, keep = _find(call, request["resourceArn"])
    keep({key: value for key, value in tags.items() if key not in request["tagKeys"]})
    return {}


def tags_of(call: Call, arn: str) -> Tags:
    """For the access table: none, where there is no such resource."""
    found = _seek(call, arn)
    return found[0] if found is not None else {}


def _find(call: Call, arn: str) -> tuple[Tags, Callable[[Tags], None]]:
    """The tags, and how others are kept in their place. ClientException: there is no such resource (our words)."""
    if not arn.startswith("arn:aws:batch:") or arn.count(":") < 5:
        raise rules.client_exception(f"Invalid resource ARN: {arn}")
    found = _seek(call, arn)
    if found is None:
        raise rules.client_exception(f"{arn} does not exist")
    return found


def _seek(call: Call, arn: str) -> tuple[Tags, Callable[[Tags], None]] | None:
    parts = arn.split(":", 5)
    kind, _, name = parts[5].partition("/") if len(parts) == 6 else ("", "", "")
    if kind not in _KINDS or not name or parts[2:5] != ["batch", call.region, call.account]:
        return None
    tx = call.transaction
    if kind == "compute-environment":
        environment = store.environment_named(tx, call.account, call.region, name)
        if environment is not None:
            return environment.tags, lambda tags: store.save_environment(tx, replace(environment, tags=tags))
    elif kind == "job-queue":
        queue = store.queue_named(tx, call.account, call.region, name)
        if queue is not None:
            return queue.tags, lambda tags: store.save_queue(tx, replace(queue, tags=tags))
    elif kind == "job-definition":
        definition = store.definition_named(tx, call.account, call.region, name) if ":" in name else None
        if definition is not None:
            return definition.tags, lambda tags: store.save_definition(tx, replace(definition, tags=tags))
    else:
        job = store.job_of_id(tx, name)
        if job is not None and job.array is None and (job.account, job.region) == (call.account, call.region):
            return store.tags_of_job(tx, job.number), lambda tags: store.save_tags_of_job(tx, job.number, tags)
    return None
