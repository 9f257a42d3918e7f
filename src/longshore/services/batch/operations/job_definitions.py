"""Job definitions: revisions that never change, and can only be given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.kit.operation import Request, Response, operation
from longshore.services.batch import rules, store, views
from longshore.services.batch.operations import pages
from longshore.services.batch.records import Definition, Wire

if TYPE_CHECKING:
    from longshore.kit.call import Call

# Observed (Terraform's acceptance tests): what AWS adds to containerProperties, so that clients may index it unasked.
_EMPTY_LISTS = ("environment", "mountPoints", "resourceRequirements", "secrets", "ulimits", "volumes")
_ECHOED = ("schedulingPriority", "retryStrategy", "timeout", "propagateTags", "platformCapabilities")


@operation
def register_job_definition(call: Call, request: Request) -> Response:
    name = request["jobDefinitionName"]
    with rules.executing(call.request_id):
        rules.check_job_definition(request)
    tags = rules.check_tags(request.get("tags"))
    revision = store.last_revision(call.transaction, call.account, call.region, name) + 1
    definition = Definition(
        number=store.next_number(call.transaction, "definition"),
        account=call.account,
        region=call.region,
        name=name,
        arn=call.arn(f"job-definition/{name}:{revision}"),
        revision=revision,
        status="ACTIVE",
        detail=_detail(request),
        tags=tags,
    )
    store.insert_definition(call.transaction, definition)
    return {"jobDefinitionName": name, "jobDefinitionArn": definition.arn, "revision": revision}


def _detail(request: Request) -> Wire:
    """As DescribeJobDefinitions shows it. What it shows can be registered again."""
    properties = _stripped(request["containerProperties"])
    for member in _EMPTY_LISTS:
        properties.setdefault(member, [])
    detail: Wire = {"type": request["type"], "parameters": request.get("parameters") or {}}
    for member in _ECHOED:
        if request.get(member) is not None:
            detail[member] = _stripped(request[member])
    if "retryStrategy" in detail:
        detail["retryStrategy"] = retry_strategy(detail["retryStrategy"])
    detail["containerProperties"] = properties
    return detail


def retry_strategy(strategy: Wire) -> Wire:
    """As AWS shows it: actions in lower case."""
    if not strategy.get("evaluateOnExit"):
        return strategy
    conditions = [{**rule, "action": rule["action"].lower()} for rule in strategy["evaluateOnExit"]]
    return {**strategy, "evaluateOnExit": conditions}


def _stripped(value: Any) -> Any:
    """Without members that are None, all the way down."""
    if isinstance(value, dict):
        return {key: _stripped(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_stripped(each) for each in value]
    return value


@operation
def deregister_job_definition(call: Call, request: Request) -> Response:
    """Jobs that have been submitted are not concerned. One that is INACTIVE already stays so."""
    reference = request["jobDefinition"]
    named = reference.rpartition("/")[2]
    if ":" not in named:
        # API reference, DeregisterJobDefinition: name:revision, or an ARN. The words are ours.
        raise rules.client_exception(f"Job definition {reference} must be given with its revision.")
    definition = store.definition_named(call.transaction, call.account, call.region, reference)
    if definition is None:
        raise rules.client_exception(f"JobDefinition {reference} not found.")
    store.save_definition(call.transaction, replace(definition, status="INACTIVE"))
    return {}


@operation
def describe_job_definitions(call: Call, request: Request) -> Response:
    """By `name:revision` or ARN; or those of a name, or of a status, or all, in the order of their registration."""
    named = request.get("jobDefinitions")
    status = request.get("status")
    name = request.get("jobDefinitionName")
    if named and name:
        # API reference, DescribeJobDefinitions, jobDefinitions. The words are ours.
        raise rules.client_exception("jobDefinitions and jobDefinitionName can not be used together.")
    if status not in (None, "ACTIVE", "INACTIVE"):
        raise rules.client_exception(f"Job definition status must be ACTIVE or INACTIVE, got {status}.")  # our words
    rules.check_count(named, "job definitions")
    tx = call.transaction
    if named:
        # A bare name, without a revision, finds nothing here (boto/boto3#2908).
        each = [
            store.definition_named(tx, call.account, call.region, one)
            for one in dict.fromkeys(named)
            if ":" in one.rpartition("/")[2]
        ]
        found = [one for one in each if one is not None and status in (None, one.status)]
        return {"jobDefinitions": [views.definition(one) for one in found], "nextToken": None}
    limit = pages.size(request, rules.IDS_MAX)
    found = store.definitions_page(
        tx,
        call.account,
        call.region,
        name=name,
        status=status,
        after=pages.number(request) or 0,
        limit=limit + 1,
    )
    token = None
    if len(found) > limit:
        found = found[:limit]
        token = pages.token(request, str(found[-1].number))
    return {"jobDefinitions": [views.definition(one) for one in found], "nextToken": token}
