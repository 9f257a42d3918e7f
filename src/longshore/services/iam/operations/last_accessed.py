"""Which services a user, a group, a role or a policy could reach, and when they really were reached.

A report is made at once, and kept for seven days under its job's id. What was called is known from `last_used`; at AWS a
report looks back 400 days, here as long as the caller exists.

Source: IAM API reference, GenerateServiceLastAccessedDetails; IAM user guide, "Refining permissions in AWS using last
accessed information".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import entitlements, reference, rules, shown, sources, store
from longshore.services.iam.operations import policies
from longshore.services.iam.records import Group, Policy, Role, Use, User

Entity = User | Role


class _Accessed(Struct, frozen=True):
    """That an entity called a service, or one action of it."""

    arn: str
    name: str
    kind: str  # USER, ROLE
    entity_id: str
    path: str
    at: int  # epoch milliseconds
    region: str
    action: str


class _Report(Struct, frozen=True, kw_only=True):
    created_at: datetime
    by_action: bool
    services: dict[str, tuple[_Accessed, ...]]  # namespace -> calls; of each entity and action the last


_DECODER = msgspec.json.Decoder(_Report)


@operation
def generate_service_last_accessed_details(call: Call, request: Request) -> Response:
    documents, entities = _subject(call, request["Arn"])
    reached = _granted(documents)
    services: dict[str, list[_Accessed]] = {namespace: [] for namespace in sorted(reached)}
    for entity in entities:
        for use in store.uses_of(call.transaction, call.account, _id(entity)):
            if use.service in services:
                services[use.service].append(_accessed(entity, use))
    report = _Report(
        created_at=call.now,
        by_action=request.get("Granularity") == "ACTION_LEVEL",
        services={namespace: tuple(calls) for namespace, calls in services.items()},
    )
    job_id = call.ids.uuid()
    store.add_task(call.transaction, call.account, job_id, milliseconds(call.now), msgspec.json.encode(report))
    return {"JobId": job_id}


def _id(entity: Entity) -> str:
    return entity.user_id if isinstance(entity, User) else entity.role_id


def _accessed(entity: Entity, use: Use) -> _Accessed:
    kind = "USER" if isinstance(entity, User) else "ROLE"
    return _Accessed(entity.arn, entity.name, kind, _id(entity), entity.path, use.at, use.region, use.action)


@operation
def get_service_last_accessed_details(call: Call, request: Request) -> Response:
    report = _report(call, request)
    names = reference.service_names()

    def show(namespace: str) -> dict[str, Any]:
        calls = report.services[namespace]
        answer: dict[str, Any] = {
            "ServiceName": names.get(namespace, namespace),
            "ServiceNamespace": namespace,
            "TotalAuthenticatedEntities": len({each.entity_id for each in calls}),
        }
        if calls:
            last = max(calls, key=lambda each: each.at)
            answer["LastAuthenticated"] = shown.second(from_milliseconds(last.at))
            answer["LastAuthenticatedEntity"] = last.arn
            answer["LastAuthenticatedRegion"] = last.region
        if report.by_action:
            answer["TrackedActionsLastAccessed"] = [_tracked(each) for each in _newest(calls)]
        return answer

    page = shown.page(call, request, "ServicesLastAccessed", sorted(report.services), key=str, show=show)
    return {**_status(report), "JobType": "ACTION_LEVEL" if report.by_action else "SERVICE_LEVEL", **page}


def _newest(calls: Iterable[_Accessed]) -> Iterator[_Accessed]:
    """Of each action the last call, by name. Those that were never called are not told of."""
    last: dict[str, _Accessed] = {}
    for each in sorted(calls, key=lambda each: (each.action, each.at)):
        last[each.action] = each
    yield from last.values()


def _tracked(call: _Accessed) -> dict[str, Any]:
    return {
        "ActionName": call.action,
        "LastAccessedEntity": call.arn,
        "LastAccessedTime": shown.second(from_milliseconds(call.at)),
        "LastAccessedRegion": call.region,
    }


@operation
def get_service_last_accessed_details_with_entities(call: Call, request: Request) -> Response:
    report, namespace = _report(call, request), request["ServiceNamespace"]
    if namespace not in report.services:
        raise rules.missing(f"The service namespace {namespace} is not in the report.")
    last: dict[str, _Accessed] = {}
    for each in sorted(report.services[namespace], key=lambda each: each.at):
        last[each.entity_id] = each

    def show(each: _Accessed) -> dict[str, Any]:
        info = {"Arn": each.arn, "Name": each.name, "Type": each.kind, "Id": each.entity_id, "Path": each.path}
        return {"EntityInfo": info, "LastAuthenticated": shown.second(from_milliseconds(each.at))}

    entities = sorted(last.values(), key=lambda each: each.arn)
    page = shown.page(call, request, "EntityDetailsList", entities, key=lambda each: each.arn, show=show)
    return {**_status(report), **page}


def _report(call: Call, request: Request) -> _Report:
    """NoSuchEntity: no report of that id, or no longer."""
    document = store.find_task(call.transaction, call.account, request["JobId"])
    if document is None:
        raise rules.missing(f"The job with id {request['JobId']} cannot be found.")
    return _DECODER.decode(document)


def _status(report: _Report) -> dict[str, Any]:
    moment = shown.second(report.created_at)
    return {"JobStatus": "COMPLETED", "JobCreationDate": moment, "JobCompletionDate": moment}


@operation
def list_policies_granting_service_access(call: Call, request: Request) -> Response:
    """Of a user its groups' policies too."""
    holder = _holder(call, request["Arn"])
    if isinstance(holder, Policy):
        raise AwsError("InvalidInput", "The ARN must be that of a user, a group or a role.")
    found = sources.identity(call.transaction, call.account, holder)

    def show(namespace: str) -> dict[str, Any]:
        granting = [each for each in found if namespace in _granted([each.source.text])]
        return {"ServiceNamespace": namespace, "Policies": [_policy(each) for each in granting]}

    return shown.page(call, request, "PoliciesGrantingServiceAccess", request["ServiceNamespaces"], show=show)


def _policy(found: sources.Attached) -> dict[str, str]:
    if found.arn is not None:
        return {"PolicyName": found.name, "PolicyType": "MANAGED", "PolicyArn": found.arn}
    return {
        "PolicyName": found.name,
        "PolicyType": "INLINE",
        "EntityType": found.holder_kind.upper(),
        "EntityName": found.holder_name,
    }


# Whom a report is about -------------------------------------------------------------------------------------------


def _holder(call: Call, arn: str) -> User | Group | Role | Policy:
    """InvalidInput: no such ARN can be. NoSuchEntity: there is nobody of it."""
    parts = arn.split(":", 5)
    kind, _, name = parts[-1].partition("/")
    if len(parts) != 6 or parts[2] != "iam" or kind not in ("user", "group", "role", "policy"):
        raise AwsError("InvalidInput", f"Invalid ARN: {arn}")
    found: User | Group | Role | Policy | None
    if kind == "policy":
        found = entitlements.find_policy(call.transaction, call.account, arn)
    else:
        found = sources.find(call.transaction, call.account, kind, name.rsplit("/", 1)[-1])
    if found is None or found.arn != arn:
        raise rules.missing(f"The entity with ARN {arn} cannot be found.")
    return found


def _subject(call: Call, arn: str) -> tuple[Sequence[str], Sequence[Entity]]:
    """(the documents that count, the users and roles that use them)."""
    holder = _holder(call, arn)
    if isinstance(holder, Policy):
        uses = policies.uses_of(call)
        holders: list[Entity] = [*uses.roles, *uses.users]
        entities = {each.arn: each for each in holders if arn in each.attached}
        for group in uses.groups:
            if arn in group.attached:
                entities.update({each.arn: each for each in store.members_of(call.transaction, call.account, group)})
        return [holder.default_document], list(entities.values())
    documents = [each.source.text for each in sources.identity(call.transaction, call.account, holder)]
    if isinstance(holder, Group):
        return documents, store.members_of(call.transaction, call.account, holder)
    return documents, [holder]


def _granted(documents: Iterable[str]) -> set[str]:
    """The namespaces of which a statement allows anything, on whatever conditions; what is denied is not taken off.

    Source: IAM user guide, "Things to know about last accessed information": reports do not look at denials.
    """
    found: set[str] = set()
    for text in documents:
        statements = msgspec.json.decode(text)["Statement"]
        for statement in statements if isinstance(statements, list) else [statements]:
            if statement["Effect"] == "Allow":
                found |= _spoken_of(statement)
    return found


def _spoken_of(statement: dict[str, Any]) -> set[str]:
    if "NotAction" in statement:
        left_out = {action[:-2].lower() for action in _list(statement["NotAction"]) if action.endswith(":*")}
        return set(reference.service_names()) - left_out
    actions = _list(statement.get("Action", []))
    if any(not action.strip("*") for action in actions):
        return set(reference.service_names())
    return {action.partition(":")[0].lower() for action in actions}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value
