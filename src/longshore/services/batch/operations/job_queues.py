"""Job queues. What is asked for is written down; the scheduler takes it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from longshore.kit.operation import Request, Response, operation
from longshore.services.batch import news, rules, store, views
from longshore.services.batch.operations import pages
from longshore.services.batch.records import Environment, Queue, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longshore.kit.call import Call


@operation
def create_job_queue(call: Call, request: Request) -> Response:
    name = request["jobQueueName"]
    with rules.executing(call.request_id):
        rules.check_name(name, "Job queue")
        if not request.get("computeEnvironmentOrder") and not request.get("serviceEnvironmentOrder"):
            raise rules.Refused("computeEnvironmentOrder is required.")
        rules.check_job_queue(request)
        environments = _attached(call, request["computeEnvironmentOrder"])
    tags = rules.check_tags(request.get("tags"))
    if store.queue_named(call.transaction, call.account, call.region, name) is not None:
        raise rules.client_exception("Object already exists")
    queue = Queue(
        number=store.next_number(call.transaction, "queue"),
        account=call.account,
        region=call.region,
        name=name,
        arn=call.arn(f"job-queue/{name}"),
        state=request.get("state") or "ENABLED",
        status="CREATING",
        status_reason="",
        priority=request["priority"],
        environments=environments,
        time_limit_actions=tuple(request.get("jobStateTimeLimitActions") or ()),
        tags=tags,
    )
    store.insert_queue(call.transaction, queue)
    news.queue_changed(call, queue.number)
    return _answer(queue)


@operation
def describe_job_queues(call: Call, request: Request) -> Response:
    """Those that were named, where they are; without names, all, page by page in the order of their names."""
    named = request.get("jobQueues")
    rules.check_count(named, "job queues")
    tx = call.transaction
    token = None
    if named:
        each = (store.queue_named(tx, call.account, call.region, one) for one in dict.fromkeys(named))
        found = [one for one in each if one is not None]
    else:
        limit = pages.size(request, rules.IDS_MAX)
        found = store.queues_page(tx, call.account, call.region, pages.position(request) or "", limit + 1)
        if len(found) > limit:
            found = found[:limit]
            token = pages.token(request, found[-1].name)
    arns: dict[int, str] = {}
    for _, number in (pair for queue in found for pair in queue.environments):
        if number not in arns:
            environment = store.environment(tx, number)
            assert environment is not None  # Invariant: one that a queue names can't be deleted.
            arns[number] = environment.arn
    return {"jobQueues": [views.queue(queue, arns) for queue in found], "nextToken": token}


@operation
def update_job_queue(call: Call, request: Request) -> Response:
    queue = _existing(call, request["jobQueue"])
    if queue.status in ("CREATING", "UPDATING", "DELETING"):
        raise rules.client_exception("Cannot update, resource is being modified.")
    environments = queue.environments
    with rules.executing(call.request_id):
        rules.check_job_queue(request)
        if request.get("computeEnvironmentOrder") is not None:
            environments = _attached(call, request["computeEnvironmentOrder"], before=queue)
    actions = request.get("jobStateTimeLimitActions")
    priority = request.get("priority")
    updated = replace(
        queue,
        state=request.get("state") or queue.state,
        status="UPDATING",
        status_reason="",
        priority=queue.priority if priority is None else priority,
        environments=environments,
        time_limit_actions=queue.time_limit_actions if actions is None else tuple(actions),
    )
    store.save_queue(call.transaction, updated)
    news.queue_changed(call, queue.number)
    return _answer(updated)


@operation
def delete_job_queue(call: Call, request: Request) -> Response:
    """In status DELETING until its jobs have been ended."""
    queue = _existing(call, request["jobQueue"])
    if queue.status in ("CREATING", "UPDATING", "DELETING"):
        raise rules.client_exception("Cannot delete, resource is being modified.")
    if queue.state != "DISABLED":
        raise rules.client_exception("Cannot delete, state must be DISABLED")
    store.save_queue(call.transaction, replace(queue, status="DELETING", status_reason=""))
    news.queue_changed(call, queue.number)
    return {}


def _existing(call: Call, name_or_arn: str) -> Queue:
    """ClientException: there is no such job queue."""
    found = store.queue_named(call.transaction, call.account, call.region, name_or_arn)
    if found is None:
        arn = name_or_arn if name_or_arn.startswith("arn:") else call.arn(f"job-queue/{name_or_arn}")
        raise rules.client_exception(f"{arn} does not exist")
    return found


def _answer(queue: Queue) -> Response:
    return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}


def _attached(call: Call, order: Sequence[Wire], before: Queue | None = None) -> tuple[tuple[int, int], ...]:
    """(order, number of the compute environment), in order. What was attached may have become INVALID since."""
    kept = {number for _, number in before.environments} if before is not None else set()
    attached: list[tuple[int, int]] = []
    for entry in sorted(order, key=lambda each: int(each["order"])):
        environment = store.environment_named(call.transaction, call.account, call.region, entry["computeEnvironment"])
        if environment is None or not (_is_attachable(environment) or environment.number in kept):
            raise rules.Refused("Compute Environments must be created and valid before attaching them to a job queue")
        if any(number == environment.number for _, number in attached):
            raise rules.Refused("Duplicate ComputeEnvironment in computeEnvironmentOrder.")  # our words
        attached.append((entry["order"], environment.number))
    return tuple(attached)


def _is_attachable(environment: Environment) -> bool:
    """Being updated, it has been made and was valid."""
    return environment.status in ("VALID", "UPDATING")
