"""Container instances: how an agent brings its machine into a cluster, and what is then said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import agents, changes, cluster_query, references, resources, rules, shapes, store
from longshore.services.ecs.records import Cluster, ContainerInstance, Occupancy, Standing
from longshore.services.ecs.references import place
from longshore.services.ecs.rules import client_error, invalid

if TYPE_CHECKING:
    from longshore.kit.call import Call


class _Identity(msgspec.Struct, frozen=True, rename="camel"):
    """Of the instance identity document (EC2 user guide, "Instance identity documents") what is of use here."""

    instance_id: str
    account_id: str
    region: str
    availability_zone: str | None = None
    instance_type: str | None = None
    image_id: str | None = None


@operation
def register_container_instance(call: Call, request: Request) -> Response:
    """The machine joins its cluster, ACTIVE; its agent is connected when it opens its stream.

    Document and signature prove which instance it is; the caller's session must be that instance's own.
    Every attribute that was sent comes back as it was: the original agent ends when one is missing.
    """
    identity = _identity(call, request)
    agents.must_be_instance(
        call.principal,
        instance_id=identity.instance_id,
        account=identity.account_id,
        region=identity.region,
    )
    if identity.region != call.region:
        raise client_error(f"The instance is in {identity.region}, and can't join a cluster in {call.region}.")
    cluster = references.find_cluster(call, request.get("cluster"))
    known = _registered_before(call, cluster, identity, request.get("containerInstanceArn"))
    if known is None:
        standing = _new(call, cluster, identity, request)
        store.insert_instance(place(call), standing)
        changes.announce_instance(call, standing)
    else:
        standing = changes.change_instance(call, _again(known, identity, request))
    return {"containerInstance": shapes.container_instance(standing)}


def _identity(call: Call, request: Request) -> _Identity:
    document = request.get("instanceIdentityDocument") or ""
    signature = request.get("instanceIdentityDocumentSignature") or ""
    if not document or not signature:
        raise client_error("The instance identity document and its signature are required.")
    if not call.house.identity_documents.verify(document, signature):
        raise client_error("The instance identity document does not match its signature.")
    try:
        return msgspec.json.decode(document, type=_Identity)
    except msgspec.MsgspecError as error:
        raise client_error("The instance identity document can't be read.") from error


def _registered_before(call: Call, cluster: Cluster, identity: _Identity, arn: str | None) -> Standing | None:
    """What the instance is already: by the ARN that its agent kept, or because an answer to it was lost."""
    if arn:
        found = references.find_instance(call, cluster, arn)
        if found is None:
            raise client_error("The referenced container instance was not found in the cluster.")
        if found.instance.ec2_instance_id != identity.instance_id:
            raise agents.refused(call.principal, f"container instance {arn}")
        if found.status == "INACTIVE":
            raise client_error("The referenced container instance was inactive.")
        kept = _value(found, "ecs.instance-type")
        if kept is not None and identity.instance_type not in (None, kept):
            raise client_error("Container instance type changes are not supported.")
        return found
    for standing in store.instances_of_ec2(place(call), identity.instance_id):
        if standing.instance.cluster == cluster.name and standing.connectivity_at is None:
            return standing  # Its agent never came: the answer to its first registration was lost on the way.
    return None


def _value(standing: Standing, name: str) -> str | None:
    for attribute in standing.instance.attributes:
        if attribute["name"] == name:
            value: str | None = attribute.get("value")
            return value
    return None


def _new(call: Call, cluster: Cluster, identity: _Identity, request: Request) -> Standing:
    instance_id = call.ids.hex(32)
    totals = resources.registered(request.get("totalResources") or ())
    instance = ContainerInstance(
        id=instance_id,
        arn=call.arn(f"container-instance/{cluster.name}/{instance_id}"),
        cluster=cluster.name,
        cluster_arn=cluster.arn,
        ec2_instance_id=identity.instance_id,
        registered=totals,
        attributes=_attributes(request.get("attributes") or [], [], identity),
        registered_at=call.now,
        tags=rules.check_tags(request.get("tags")),
        version_info=request.get("versionInfo") or {},
    )
    return Standing(
        instance=instance,
        occupancy=Occupancy(remaining=totals),
        status="ACTIVE",
        agent_connected=False,
        connectivity_at=None,
        version=1,
    )


def _again(known: Standing, identity: _Identity, request: Request) -> Standing:
    """The agent has started anew. What it does not say again (custom attributes, tags) stays."""
    before = known.instance
    totals = resources.registered(request.get("totalResources") or ())
    instance = replace(
        before,
        registered=totals,
        attributes=_attributes(request.get("attributes") or [], before.attributes, identity),
        tags={**before.tags, **rules.check_tags(request.get("tags"))},
        version_info=request.get("versionInfo") or before.version_info,
    )
    remaining = resources.reregistered(before.registered, known.occupancy.remaining, totals)
    return replace(known, instance=instance, occupancy=replace(known.occupancy, remaining=remaining))


def _attributes(sent: list[dict[str, Any]], kept: list[dict[str, Any]], identity: _Identity) -> list[dict[str, Any]]:
    """Those sent, in their order, then those that were there before, then what the server knows of the machine."""
    found = {attribute["name"]: attribute for attribute in sent}
    for attribute in kept:
        found.setdefault(attribute["name"], attribute)
    for name, value in (
        ("ecs.availability-zone", identity.availability_zone),
        ("ecs.instance-type", identity.instance_type),
        ("ecs.ami-id", identity.image_id),
    ):
        if value is not None:
            found.setdefault(name, {"name": name, "value": value})
    return list(found.values())


@operation
def deregister_container_instance(call: Call, request: Request) -> Response:
    """The instance becomes INACTIVE. With tasks on it only by `force`, and then they end."""
    standing = _find(call, request)
    agents.may_manage(call, standing.instance)
    if standing.status != "INACTIVE":
        occupancy = standing.occupancy
        if occupancy.running + occupancy.pending > 0 and not request.get("force"):
            raise invalid("Found running tasks on the instance.")
        standing = changes.instance_gone(call, standing)
    return {"containerInstance": shapes.container_instance(standing)}


def _find(call: Call, request: Request) -> Standing:
    cluster = references.find_cluster(call, request.get("cluster"))
    standing = references.find_instance(call, cluster, request["containerInstance"])
    if standing is None:
        raise invalid("Referenced container instance not found.")
    return standing


@operation
def describe_container_instances(call: Call, request: Request) -> Response:
    include = request.get("include") or ()
    found, failures = _each(call, request, lambda standing: shapes.container_instance(standing, include))
    return {"containerInstances": found, "failures": failures}


@operation
def update_container_instances_state(call: Call, request: Request) -> Response:
    """ACTIVE again, or DRAINING: no new tasks, those that run go on."""
    status = request["status"]
    if status not in ("ACTIVE", "DRAINING"):
        raise invalid("The container instance status should be one of [ACTIVE, DRAINING].")

    def update(standing: Standing) -> Response:
        agents.may_manage(call, standing.instance)
        if standing.status not in (status, "INACTIVE"):
            standing = changes.change_instance(call, replace(standing, status=status))
        return shapes.container_instance(standing)

    found, failures = _each(call, request, update)
    return {"containerInstances": found, "failures": failures}


def _each(call: Call, request: Request, show: Callable[[Standing], Response]) -> tuple[list[Response], list[Response]]:
    """The instances asked for, and those that are not there (MISSING)."""
    cluster = references.find_cluster(call, request.get("cluster"))
    asked = request["containerInstances"]
    if not asked:
        raise invalid("Container instance cannot be empty.")
    if len(asked) > 100:
        raise invalid("Container instances can have at most 100 items.")
    found, failures = [], []
    for reference in asked:
        standing = references.find_instance(call, cluster, reference)
        if standing is None:
            arn = references.container_instance_arn(call, cluster.name, reference)
            failures.append({"arn": arn, "reason": "MISSING"})
        else:
            found.append(show(standing))
    return found, failures


@operation
def list_container_instances(call: Call, request: Request) -> Response:
    """ARNs, oldest first. Without a status, those ACTIVE and those DRAINING."""
    cluster = references.find_cluster(call, request.get("cluster"))
    size = references.page(request.get("maxResults"))
    matches = cluster_query.parse(request["filter"]) if request.get("filter") else None
    rows = store.instances_of_cluster(
        place(call),
        cluster.name,
        status=request.get("status"),
        after=references.position_of(request.get("nextToken")),
    )
    if matches is not None:
        rows = [(position, standing) for position, standing in rows if matches(cluster_query.facts(standing))]
    return {
        "containerInstanceArns": [standing.instance.arn for _, standing in rows[:size]],
        "nextToken": str(rows[size - 1][0]) if len(rows) > size else None,
    }


@operation
def discover_poll_endpoint(call: Call, request: Request) -> Response:
    """Where the agent finds its streams: on the way by which it reached us. It adds `/ws`, and makes ws of http."""
    arn = request.get("containerInstance")
    if arn:
        standing = store.find_instance(place(call), references.last_part(arn))
        if standing is not None:
            agents.may_report(call, standing.instance.ec2_instance_id, arn)
    return {"endpoint": f"{call.endpoint}/acs", "telemetryEndpoint": f"{call.endpoint}/tcs"}


@operation
def update_container_agent(call: Call, request: Request) -> Response:
    """Agents here are updated with their machines, so there is never an update to offer."""
    _find(call, request)
    raise AwsError("NoUpdateAvailableException", "There is no update available for your container agent.")
