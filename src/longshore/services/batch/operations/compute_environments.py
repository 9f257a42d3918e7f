"""Compute environments. What is asked for is written down; `loops` and `effects` make it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.kit.operation import Request, Response, operation
from longshore.services.batch import environments, life, news, roles, rules, store, views
from longshore.services.batch.operations import pages
from longshore.services.batch.records import Environment, Wire
from longshore.services.batch.scheduling import capacity

if TYPE_CHECKING:
    from longshore.kit.call import Call

_UNSET_BY_EMPTY = frozenset({"ec2KeyPair", "imageId", "placementGroup", "launchTemplate", "ec2Configuration"})
_NOT_KEPT = frozenset({"updateToLatestImageVersion"})


@operation
def create_compute_environment(call: Call, request: Request) -> Response:
    """One in status CREATING; its cluster is made, and what it was given is tried, behind the answer."""
    name = request["computeEnvironmentName"]
    with rules.executing(call.request_id):
        rules.check_compute_environment(request)
        resources = _without_none(request.get("computeResources"))
        if resources is not None:
            _check_instance_types(call, resources["instanceTypes"])
            resources = _with_defaults(resources)
    tags = rules.check_tags(request.get("tags"))
    if store.environment_named(call.transaction, call.account, call.region, name) is not None:
        raise rules.client_exception("Object already exists")
    if not request.get("serviceRole"):
        roles.make_linked_role(call)
    environment = Environment(
        number=store.next_number(call.transaction, "environment"),
        account=call.account,
        region=call.region,
        name=name,
        arn=call.arn(f"compute-environment/{name}"),
        uuid=call.ids.uuid(),
        type=request["type"],
        state="ENABLED",
        status="CREATING",
        status_reason="",
        service_role=roles.service_role_arn(call, request.get("serviceRole")),
        resources=resources,
        unmanaged_vcpus=request.get("unmanagedvCpus"),
        ecs_settings=_without_none(request.get("ecsSettings")),
        context=request.get("context"),
        tags=tags,
    )
    store.insert_environment(call.transaction, environment)
    _prepare(call, environment)
    return _answer(environment)


@operation
def describe_compute_environments(call: Call, request: Request) -> Response:
    """Those that were named, where they are; without names, all, page by page in the order of their names."""
    named = request.get("computeEnvironments")
    rules.check_count(named, "compute environments")
    tx = call.transaction
    token = None
    if named:
        each = (store.environment_named(tx, call.account, call.region, one) for one in dict.fromkeys(named))
        found = [one for one in each if one is not None]
    else:
        limit = pages.size(request, rules.IDS_MAX)
        found = store.environments_page(tx, call.account, call.region, pages.position(request) or "", limit + 1)
        if len(found) > limit:
            found = found[:limit]
            token = pages.token(request, found[-1].name)
    return {
        "computeEnvironments": [
            views.environment(one, _desired_vcpus(call, one), environments.status_reason(call, one)) for one in found
        ],
        "nextToken": token,
    }


@operation
def update_compute_environment(call: Call, request: Request) -> Response:
    """One in status UPDATING. Where instances are to be others, those that there are take no new jobs."""
    environment = _existing(call, request["computeEnvironment"])
    if environment.status in ("CREATING", "UPDATING", "DELETING"):
        raise rules.client_exception("Cannot update, resource is being modified.")
    service_role = environment.service_role
    if request.get("serviceRole"):
        service_role = roles.service_role_arn(call, request["serviceRole"])
    changes = _without_none(request.get("computeResources"))
    resources = environment.resources
    with rules.executing(call.request_id):
        rules.check_compute_environment_update(
            dict(request) | ({} if changes is None else {"computeResources": changes}),
            managed=environment.type == "MANAGED",
            before=resources,
            desired=_desired_vcpus(call, environment),
            service_role=environment.service_role,
            new_service_role=service_role,
        )
        if changes is not None and resources is not None:
            resources = _changed(resources, changes)
            rules.check_compute_resources(resources)
            if "instanceTypes" in changes:
                _check_instance_types(call, resources["instanceTypes"])
    if changes and environment.resources and rules.replaces_instances(changes, environment.resources):
        _replace_instances(call, environment)
    updated = replace(
        environment,
        state=request.get("state") or environment.state,
        status="UPDATING",
        status_reason="",
        service_role=service_role,
        resources=resources,
        unmanaged_vcpus=_given(request, "unmanagedvCpus", environment.unmanaged_vcpus),
        update_policy=_without_none(request.get("updatePolicy")) or environment.update_policy,
        ecs_settings=_without_none(request.get("ecsSettings")) or environment.ecs_settings,
        context=_given(request, "context", environment.context),
        troubles=(),
        tries=0,
    )
    store.save_environment(call.transaction, updated)
    _prepare(call, updated)
    return _answer(updated)


@operation
def delete_compute_environment(call: Call, request: Request) -> Response:
    """In status DELETING until its instances and its cluster are gone."""
    environment = _existing(call, request["computeEnvironment"])
    if environment.status in ("CREATING", "UPDATING", "DELETING"):
        raise rules.client_exception("Cannot delete, resource is being modified.")
    if environment.state != "DISABLED":
        raise rules.client_exception("Cannot delete, state must be DISABLED")
    attached = {number for queue in store.all_queues(call.transaction) for _, number in queue.environments}
    if environment.number in attached:
        raise rules.client_exception("Cannot delete, found existing JobQueue relationship")
    store.save_environment(call.transaction, replace(environment, status="DELETING", status_reason=""))
    _drop_intents(call, environment, "prepare")
    life.intend(call, environment.account, environment.region, "dismantle", environment.number)
    news.environment_changed(call, environment.number)
    return {}


def _existing(call: Call, name_or_arn: str) -> Environment:
    """ClientException: there is no such compute environment."""
    found = store.environment_named(call.transaction, call.account, call.region, name_or_arn)
    if found is None:
        arn = name_or_arn if name_or_arn.startswith("arn:") else call.arn(f"compute-environment/{name_or_arn}")
        raise rules.client_exception(f"{arn} does not exist")
    return found


def _answer(environment: Environment) -> Response:
    return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}


def _prepare(call: Call, environment: Environment) -> None:
    """One preparation at a time: what was still to be done for the former wish is done for this one."""
    _drop_intents(call, environment, "prepare")
    life.intend(call, environment.account, environment.region, "prepare", environment.number)
    news.environment_changed(call, environment.number)


def _drop_intents(call: Call, environment: Environment, kind: str) -> None:
    for intent in store.intents_of(call.transaction, kind, environment.number):
        store.delete_intent(call.transaction, intent.number)


def _check_instance_types(call: Call, wanted: list[str]) -> None:
    """Against those that EC2 has, asked as batch.amazonaws.com."""
    offered: dict[str, str] = {}
    request: dict[str, Any] = {}
    while True:
        answer = call.peer("ec2", "DescribeInstanceTypes", request, as_=call.as_service())
        for kind in answer["InstanceTypes"]:
            offered[kind["InstanceType"]] = kind["ProcessorInfo"]["SupportedArchitectures"][0]
        if not answer.get("NextToken"):
            break
        request = {"NextToken": answer["NextToken"]}
    rules.check_instance_types(wanted, capacity.unknown(wanted, offered), offered)


def _with_defaults(resources: Wire) -> Wire:
    """What Describe shows though it was not given (wire-tested by Terraform): the images, and nothing else."""
    if resources.get("ec2Configuration"):
        return resources
    return {**resources, "ec2Configuration": [dict(image) for image in rules.DEFAULT_IMAGES]}


def _changed(resources: Wire, changes: Wire) -> Wire:
    """API reference, UpdateComputeEnvironment: an empty text or list takes back what was set."""
    changed = dict(resources)
    for member, value in changes.items():
        if member in _NOT_KEPT:
            continue
        if member in _UNSET_BY_EMPTY and not value:
            changed.pop(member, None)
        else:
            changed[member] = value
    if changed.get("desiredvCpus") is not None and "desiredvCpus" not in changes:
        # The sizes that are set move what was wished for by hand.
        changed["desiredvCpus"] = min(max(changed["desiredvCpus"], changed["minvCpus"]), changed["maxvCpus"])
    return _with_defaults(changed)


def _replace_instances(call: Call, environment: Environment) -> None:
    """Those without a job go at once, the others, and those that are only asked for, when they have none.

    User guide, "Updating compute environments": instances that are replaced take no new jobs.
    """
    now = milliseconds(call.now)
    for one in store.instances_of(call.transaction, environment.number):
        if one.phase == "retiring":
            continue
        jobs, _, _ = store.used_on_instance(call.transaction, one.number)
        if jobs or one.instance_id is None:
            store.save_instance(call.transaction, replace(one, outdated_at=now))
        else:
            store.save_instance(call.transaction, replace(one, phase="retiring", idle_since=now))
            life.intend(call, environment.account, environment.region, "terminate", one.number)


def _desired_vcpus(call: Call, environment: Environment) -> int:
    """What Batch wants to be up: the instances there are or that are coming, minvCpus at least, and what was asked for."""
    resources = environment.resources
    if resources is None:
        return 0
    instances = store.instances_of(call.transaction, environment.number)
    coming = sum(one.cpu // 1024 for one in instances if one.phase != "retiring")
    least = max(resources["minvCpus"], resources.get("desiredvCpus") or 0)
    return int(max(coming, least))


def _given(request: Request, member: str, otherwise: Any) -> Any:
    value = request.get(member)
    return otherwise if value is None else value


def _without_none(structure: Wire | None) -> Wire | None:
    return None if structure is None else {key: value for key, value in structure.items() if value is not None}
