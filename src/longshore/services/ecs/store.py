"""Tables and queries; the only SQL of the room.

Tasks and container instances have an integer of their own (`position`) that orders lists and is the page token.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.services.ecs.records import Cluster, ContainerInstance, Occupancy, Standing, Task, TaskDefinition
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement, document

clusters = Table(
    "ecs_clusters",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
families = Table(
    "ecs_families",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("family", String, primary_key=True),
    Column("revision", Integer, nullable=False),  # the last that was given; never given again
)
definitions = Table(
    "ecs_task_definitions",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("family", String, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("status", String, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
instances = Table(
    "ecs_container_instances",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("id", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("ec2_instance_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("agent_connected", Integer, nullable=False),
    Column("connectivity_at", Integer),
    Column("gone_at", Integer),
    Column("version", Integer, nullable=False),
    Column("occupancy", LargeBinary, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("ecs_container_instances_id", "account", "region", "id", unique=True),
    Index("ecs_container_instances_cluster", "account", "region", "cluster", "status"),
    Index("ecs_container_instances_ec2", "account", "region", "ec2_instance_id"),
    sqlite_autoincrement=True,
)
tasks = Table(
    "ecs_tasks",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("id", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("container_instance", String, nullable=False),
    Column("family", String, nullable=False),
    Column("started_by", String, nullable=False),  # "": nobody said
    Column("last_status", String, nullable=False),
    Column("desired_status", String, nullable=False),
    Column("acknowledged", String, nullable=False),  # the desired status that the agent has acknowledged; "": none
    Column("stopped_at", Integer),
    Column("document", LargeBinary, nullable=False),
    Index("ecs_tasks_id", "account", "region", "id", unique=True),
    Index("ecs_tasks_cluster", "account", "region", "cluster", "desired_status"),
    Index("ecs_tasks_instance", "account", "region", "container_instance", "last_status"),
    Index("ecs_tasks_started_by", "account", "region", "started_by"),
    Index("ecs_tasks_stopped_at", "stopped_at"),
    sqlite_autoincrement=True,
)
client_tokens = Table(
    "ecs_client_tokens",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("token", String, primary_key=True),
    Column("asked", LargeBinary, nullable=False),  # the request, to know a repetition from a mistake
    Column("tasks", LargeBinary, nullable=False),  # the ids of its tasks
    Column("made_at", Integer, nullable=False),
    Index("ecs_client_tokens_made_at", "made_at"),
)
settings = Table(
    "ecs_account_settings",
    METADATA,
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),
    Column("principal", String, primary_key=True),  # an ARN; the account's root for its default
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


class Place:
    """The account and region in which rows are looked for."""

    __slots__ = ("account", "region", "tx")

    def __init__(self, tx: Transaction, account: str, region: str) -> None:
        self.tx = tx
        self.account = account
        self.region = region


def _here(table: Table) -> Any:
    return and_(table.c.account == bindparam("account"), table.c.region == bindparam("region"))


def _there(table: Table) -> Any:
    """The same for updates, whose parameters may not bear the names of columns."""
    return and_(table.c.account == bindparam("b_account"), table.c.region == bindparam("b_region"))


# Clusters

_CLUSTER = Statement(select(clusters.c.document).where(_here(clusters), clusters.c.name == bindparam("name")))
_CLUSTERS = Statement(
    select(clusters.c.name)
    .where(_here(clusters), clusters.c.status == "ACTIVE", clusters.c.name > bindparam("after"))
    .order_by(clusters.c.name)
    .limit(bindparam("limit"))
)
_PUT_CLUSTER = Statement(insert(clusters).prefix_with("OR REPLACE"))
_CLUSTER_OCCUPANCY = Statement(
    select(instances.c.occupancy).where(
        _here(instances), instances.c.cluster == bindparam("cluster"), instances.c.status != "INACTIVE"
    )
)
_cluster = msgspec.json.Decoder(Cluster)


def find_cluster(place: Place, name: str) -> Cluster | None:
    known: dict[Any, Cluster] = place.tx.known.setdefault(_CLUSTER, {})
    found = known.get((place.account, place.region, name))
    if found is None:
        row = place.tx.one(_CLUSTER, account=place.account, region=place.region, name=name)
        if row is not None:
            found = known[place.account, place.region, name] = _cluster.decode(row[0])
    return found


def list_clusters(place: Place, after: str, limit: int) -> list[str]:
    """Names of those that are ACTIVE, in their order."""
    rows = place.tx.all(_CLUSTERS, account=place.account, region=place.region, after=after, limit=limit)
    return [name for (name,) in rows]


def put_cluster(place: Place, cluster: Cluster) -> None:
    place.tx.known.pop(_CLUSTER, None)
    place.tx.run(
        _PUT_CLUSTER,
        account=place.account,
        region=place.region,
        name=cluster.name,
        status=cluster.status,
        document=document(cluster),
    )


def count_cluster(place: Place, name: str) -> tuple[int, int, int]:
    """Container instances, running tasks, pending tasks: each instance keeps count of its own."""
    rows = place.tx.all(_CLUSTER_OCCUPANCY, account=place.account, region=place.region, cluster=name)
    found = [_occupancy.decode(body) for (body,) in rows]
    return len(found), sum(each.running for each in found), sum(each.pending for each in found)


# Task definitions

_FAMILY = Statement(select(families.c.revision).where(_here(families), families.c.family == bindparam("family")))
_PUT_FAMILY = Statement(insert(families).prefix_with("OR REPLACE"))
_DEFINITION = Statement(
    select(definitions.c.document).where(
        _here(definitions),
        definitions.c.family == bindparam("family"),
        definitions.c.revision == bindparam("revision"),
    )
)
_LATEST_DEFINITION = Statement(
    select(definitions.c.document)
    .where(_here(definitions), definitions.c.family == bindparam("family"), definitions.c.status == "ACTIVE")
    .order_by(definitions.c.revision.desc())
    .limit(1)
)
_PUT_DEFINITION = Statement(insert(definitions).prefix_with("OR REPLACE"))
_DEFINITIONS = Statement(
    select(definitions.c.family, definitions.c.revision)
    .where(
        _here(definitions),
        definitions.c.status == bindparam("status"),
        or_(bindparam("family").is_(None), definitions.c.family == bindparam("family")),
    )
    .order_by(definitions.c.family, definitions.c.revision)
)
_FAMILIES = Statement(
    select(definitions.c.family, func.max(definitions.c.status == "ACTIVE"))
    .where(
        _here(definitions),
        definitions.c.family >= bindparam("prefix"),
        definitions.c.family < bindparam("beyond"),
    )
    .group_by(definitions.c.family)
    .order_by(definitions.c.family)
)
_definition = msgspec.json.Decoder(TaskDefinition)


def next_revision(place: Place, family: str) -> int:
    row = place.tx.one(_FAMILY, account=place.account, region=place.region, family=family)
    revision = 1 if row is None else int(row[0]) + 1
    place.tx.run(_PUT_FAMILY, account=place.account, region=place.region, family=family, revision=revision)
    return revision


def find_definition(place: Place, family: str, revision: int | None) -> TaskDefinition | None:
    """`revision` None: the newest that is ACTIVE."""
    if revision is None:
        row = place.tx.one(_LATEST_DEFINITION, account=place.account, region=place.region, family=family)
        return None if row is None else _definition.decode(row[0])
    known: dict[Any, TaskDefinition] = place.tx.known.setdefault(_DEFINITION, {})
    found = known.get((place.account, place.region, family, revision))
    if found is None:
        row = place.tx.one(_DEFINITION, account=place.account, region=place.region, family=family, revision=revision)
        if row is not None:
            found = known[place.account, place.region, family, revision] = _definition.decode(row[0])
    return found


def put_definition(place: Place, definition: TaskDefinition) -> None:
    place.tx.known.pop(_DEFINITION, None)
    place.tx.run(
        _PUT_DEFINITION,
        account=place.account,
        region=place.region,
        family=definition.family,
        revision=definition.revision,
        status=definition.status,
        document=document(definition),
    )


def list_definitions(place: Place, family: str | None, status: str) -> list[tuple[str, int]]:
    """Family and revision, in their order."""
    return place.tx.all(_DEFINITIONS, account=place.account, region=place.region, family=family, status=status)


def list_families(place: Place, prefix: str) -> list[tuple[str, bool]]:
    """Families whose name begins so, and whether any revision is ACTIVE."""
    rows = place.tx.all(_FAMILIES, account=place.account, region=place.region, prefix=prefix, beyond=prefix + "\uffff")
    return [(family, bool(active)) for family, active in rows]


# Container instances

_STANDING = (
    instances.c.document,
    instances.c.occupancy,
    instances.c.status,
    instances.c.agent_connected,
    instances.c.connectivity_at,
    instances.c.version,
)
_INSTANCE = Statement(select(*_STANDING).where(_here(instances), instances.c.id == bindparam("id")))
_INSTANCES_OF_EC2 = Statement(
    select(*_STANDING)
    .where(
        _here(instances),
        instances.c.ec2_instance_id == bindparam("ec2_instance_id"),
        instances.c.status != "INACTIVE",
    )
    .order_by(instances.c.position)
)
_INSTANCES_OF_CLUSTER = Statement(
    select(instances.c.position, *_STANDING)
    .where(
        _here(instances),
        instances.c.cluster == bindparam("cluster"),
        instances.c.status != "INACTIVE",
        or_(bindparam("status").is_(None), instances.c.status == bindparam("status")),
        instances.c.position > bindparam("after"),
    )
    .order_by(instances.c.position)
)
_INSERT_INSTANCE = Statement(
    insert(instances).values({c.name: bindparam(c.name) for c in instances.c if c.name != "position"})
)
_UPDATE_INSTANCE = Statement(
    update(instances)
    .where(_there(instances), instances.c.id == bindparam("b_id"))
    .values(
        {
            name: bindparam(name)
            for name in (
                "status",
                "agent_connected",
                "connectivity_at",
                "gone_at",
                "version",
                "occupancy",
                "document",
            )
        }
    )
)
_UPDATE_OCCUPANCY = Statement(
    update(instances)
    .where(_there(instances), instances.c.id == bindparam("b_id"))
    .values(occupancy=bindparam("occupancy"), version=bindparam("version"))
)
_CONNECTIVITY = Statement(
    select(instances.c.agent_connected, instances.c.connectivity_at).where(
        _here(instances), instances.c.id == bindparam("id")
    )
)
_STATUS = Statement(select(instances.c.status).where(_here(instances), instances.c.id == bindparam("id")))
_CONNECTED = Statement(
    select(instances.c.account, instances.c.region, instances.c.id).where(instances.c.agent_connected == 1)
)
_FORGET_INSTANCES = Statement(delete(instances).where(instances.c.gone_at < bindparam("before")))
_instance = msgspec.json.Decoder(ContainerInstance)
_occupancy = msgspec.json.Decoder(Occupancy)


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_milliseconds(value)


def _when(value: datetime | None) -> int | None:
    return None if value is None else milliseconds(value)


def _standing(row: tuple[Any, ...]) -> Standing:
    return Standing(
        instance=_instance.decode(row[0]),
        occupancy=_occupancy.decode(row[1]),
        status=row[2],
        agent_connected=bool(row[3]),
        connectivity_at=_moment(row[4]),
        version=row[5],
    )


def find_instance(place: Place, instance_id: str) -> Standing | None:
    known = _known_instances(place)
    found = known.get((place.account, place.region, instance_id))
    if found is None:
        row = place.tx.one(_INSTANCE, account=place.account, region=place.region, id=instance_id)
        if row is not None:
            found = known[place.account, place.region, instance_id] = _standing(row)
    return found


def _known_instances(place: Place) -> dict[tuple[str, str, str], Standing]:
    """Those that were read in this transaction or snapshot, as they are now: the tasks of one commit share few instances."""
    known: dict[tuple[str, str, str], Standing] = place.tx.known.setdefault(_INSTANCE, {})
    return known


def instances_of_ec2(place: Place, ec2_instance_id: str) -> list[Standing]:
    """The container instances that an EC2 instance is, INACTIVE ones left out."""
    rows = place.tx.all(_INSTANCES_OF_EC2, account=place.account, region=place.region, ec2_instance_id=ec2_instance_id)
    return [_standing(row) for row in rows]


def instances_of_cluster(
    place: Place, cluster: str, *, status: str | None = None, after: int = 0
) -> list[tuple[int, Standing]]:
    """Position and instance, oldest first; INACTIVE ones are left out."""
    rows = place.tx.all(
        _INSTANCES_OF_CLUSTER,
        account=place.account,
        region=place.region,
        cluster=cluster,
        status=status,
        after=after,
    )
    return [(row[0], _standing(row[1:])) for row in rows]


def insert_instance(place: Place, standing: Standing) -> None:
    instance = standing.instance
    place.tx.run(
        _INSERT_INSTANCE,
        account=place.account,
        region=place.region,
        id=instance.id,
        cluster=instance.cluster,
        ec2_instance_id=instance.ec2_instance_id,
        **_instance_columns(standing),
    )


def update_instance(place: Place, standing: Standing) -> None:
    _known_instances(place)[place.account, place.region, standing.instance.id] = standing
    place.tx.run(
        _UPDATE_INSTANCE,
        b_account=place.account,
        b_region=place.region,
        b_id=standing.instance.id,
        **_instance_columns(standing),
    )


def _instance_columns(standing: Standing) -> dict[str, Any]:
    return {
        "status": standing.status,
        "agent_connected": int(standing.agent_connected),
        "connectivity_at": _when(standing.connectivity_at),
        "gone_at": _when(standing.instance.gone_at),
        "version": standing.version,
        "occupancy": document(standing.occupancy),
        "document": document(standing.instance),
    }


def update_occupancy(place: Place, standing: Standing) -> None:
    _known_instances(place)[place.account, place.region, standing.instance.id] = standing
    place.tx.run(
        _UPDATE_OCCUPANCY,
        b_account=place.account,
        b_region=place.region,
        b_id=standing.instance.id,
        occupancy=document(standing.occupancy),
        version=standing.version,
    )


def connectivity(place: Place, instance_id: str) -> tuple[bool, datetime | None]:
    known = _known_instances(place).get((place.account, place.region, instance_id))
    if known is not None:
        return known.agent_connected, known.connectivity_at
    row = place.tx.one(_CONNECTIVITY, account=place.account, region=place.region, id=instance_id)
    return (False, None) if row is None else (bool(row[0]), _moment(row[1]))


def instance_status(place: Place, instance_id: str) -> str | None:
    row = place.tx.one(_STATUS, account=place.account, region=place.region, id=instance_id)
    return None if row is None else row[0]


def all_connected(tx: Transaction) -> list[tuple[str, str, str]]:
    """Account, region and id of all instances whose agent is said to be connected."""
    return tx.all(_CONNECTED)


# Tasks

_TASK = Statement(select(tasks.c.document).where(_here(tasks), tasks.c.id == bindparam("id")))
_INSERT_TASK = Statement(insert(tasks).values({c.name: bindparam(c.name) for c in tasks.c if c.name != "position"}))
_UPDATE_TASK = Statement(
    update(tasks)
    .where(_there(tasks), tasks.c.id == bindparam("b_id"))
    .values(
        last_status=bindparam("last_status"),
        desired_status=bindparam("desired_status"),
        stopped_at=bindparam("stopped_at"),
        document=bindparam("document"),
    )
)
_LIVE_TASKS = Statement(
    select(tasks.c.document, tasks.c.acknowledged)
    .where(
        _here(tasks),
        tasks.c.container_instance == bindparam("container_instance"),
        tasks.c.last_status.in_(("PENDING", "RUNNING")),
    )
    .order_by(tasks.c.position)
)
_UNDELIVERED_TASKS = Statement(
    select(tasks.c.document)
    .where(
        _here(tasks),
        tasks.c.container_instance == bindparam("container_instance"),
        tasks.c.last_status.in_(("PENDING", "RUNNING")),
        tasks.c.acknowledged != tasks.c.desired_status,
        # What runs is known to its agent, though its acknowledgement was lost.
        or_(tasks.c.last_status == "PENDING", tasks.c.desired_status == "STOPPED"),
    )
    .order_by(tasks.c.position)
)
_ACKNOWLEDGE = Statement(
    update(tasks)
    .where(_there(tasks), tasks.c.id == bindparam("b_id"), tasks.c.acknowledged != "STOPPED")
    .values(acknowledged=bindparam("status"))
)
_FORGET_TASKS = Statement(delete(tasks).where(tasks.c.stopped_at < bindparam("before")))


def _page(*narrowed: Any) -> Statement:
    return Statement(
        select(tasks.c.position, tasks.c.cluster, tasks.c.id)
        .where(
            _here(tasks),
            # Narrowed further, the narrower index serves: the plus keeps SQLite from taking that of the cluster.
            (literal_column("+ecs_tasks.cluster") if narrowed else tasks.c.cluster) == bindparam("cluster"),
            tasks.c.desired_status == bindparam("desired_status"),
            or_(bindparam("family").is_(None), tasks.c.family == bindparam("family")),
            tasks.c.position > bindparam("after"),
            *narrowed,
        )
        .order_by(tasks.c.position)
        .limit(bindparam("limit"))
    )


_TASKS = _page()
_TASKS_STARTED_BY = _page(tasks.c.started_by == bindparam("started_by"))
_TASKS_ON_INSTANCE = _page(
    tasks.c.container_instance == bindparam("container_instance"),
    or_(bindparam("started_by").is_(None), tasks.c.started_by == bindparam("started_by")),
)
_task = msgspec.json.Decoder(Task)


def find_task(place: Place, task_id: str) -> Task | None:
    row = place.tx.one(_TASK, account=place.account, region=place.region, id=task_id)
    return None if row is None else _task.decode(row[0])


def insert_task(place: Place, task: Task) -> None:
    place.tx.run(
        _INSERT_TASK,
        account=place.account,
        region=place.region,
        id=task.id,
        cluster=task.cluster,
        container_instance=task.container_instance_id,
        family=task.family,
        started_by=task.started_by or "",
        last_status=task.last_status,
        desired_status=task.desired_status,
        acknowledged="",
        stopped_at=None,
        document=document(task),
    )


def update_task(place: Place, task: Task) -> None:
    place.tx.run(
        _UPDATE_TASK,
        b_account=place.account,
        b_region=place.region,
        b_id=task.id,
        last_status=task.last_status,
        desired_status=task.desired_status,
        stopped_at=_when(task.stopped_at),
        document=document(task),
    )


def live_tasks(place: Place, instance_id: str) -> list[tuple[Task, str]]:
    """The tasks of an instance that have not stopped, and the desired status that its agent acknowledged."""
    rows = place.tx.all(_LIVE_TASKS, account=place.account, region=place.region, container_instance=instance_id)
    return [(_task.decode(row[0]), row[1]) for row in rows]


def undelivered_tasks(place: Place, instance_id: str) -> list[Task]:
    """Those of them whose desired status the agent has not acknowledged, oldest first."""
    rows = place.tx.all(_UNDELIVERED_TASKS, account=place.account, region=place.region, container_instance=instance_id)
    return [_task.decode(body) for (body,) in rows]


def acknowledge(place: Place, delivered: list[tuple[str, str]]) -> None:
    """Task id and the desired status that its agent now knows; a STOPPED once acknowledged stays."""
    place.tx.many(
        _ACKNOWLEDGE,
        [
            {"b_account": place.account, "b_region": place.region, "b_id": task_id, "status": status}
            for task_id, status in delivered
        ],
    )


def list_tasks(
    place: Place,
    *,
    cluster: str,
    desired_status: str,
    family: str | None,
    container_instance: str | None,
    started_by: str | None,
    after: int,
    limit: int,
) -> list[tuple[int, str, str]]:
    """Position, cluster and id, oldest first."""
    statement = _TASKS
    narrowed: dict[str, Any] = {}
    if container_instance is not None:
        statement = _TASKS_ON_INSTANCE
        narrowed = {"container_instance": container_instance, "started_by": started_by}
    elif started_by is not None:
        statement = _TASKS_STARTED_BY
        narrowed = {"started_by": started_by}
    return place.tx.all(
        statement,
        account=place.account,
        region=place.region,
        cluster=cluster,
        desired_status=desired_status,
        family=family,
        after=after,
        limit=limit,
        **narrowed,
    )


# Client tokens, account settings, and what is forgotten

_TOKEN = Statement(
    select(client_tokens.c.asked, client_tokens.c.tasks).where(
        _here(client_tokens), client_tokens.c.token == bindparam("token")
    )
)
_PUT_TOKEN = Statement(insert(client_tokens))
_FORGET_TOKENS = Statement(delete(client_tokens).where(client_tokens.c.made_at < bindparam("before")))
_SETTINGS = Statement(
    select(settings.c.name, settings.c.value).where(_here(settings), settings.c.principal == bindparam("principal"))
)
_PUT_SETTING = Statement(insert(settings).prefix_with("OR REPLACE"))
_DELETE_SETTING = Statement(
    delete(settings).where(
        _here(settings), settings.c.principal == bindparam("principal"), settings.c.name == bindparam("name")
    )
)


def find_token(place: Place, token: str) -> tuple[bytes, list[str]] | None:
    """The request that came with the token, and its tasks."""
    row = place.tx.one(_TOKEN, account=place.account, region=place.region, token=token)
    return None if row is None else (bytes(row[0]), msgspec.json.decode(row[1], type=list[str]))


def put_token(place: Place, token: str, asked: bytes, task_ids: list[str], now: datetime) -> None:
    place.tx.run(
        _PUT_TOKEN,
        account=place.account,
        region=place.region,
        token=token,
        asked=asked,
        tasks=document(task_ids),
        made_at=milliseconds(now),
    )


def account_settings(place: Place, principal: str) -> dict[str, str]:
    return dict(place.tx.all(_SETTINGS, account=place.account, region=place.region, principal=principal))


def put_setting(place: Place, principal: str, name: str, value: str) -> None:
    place.tx.run(_PUT_SETTING, account=place.account, region=place.region, principal=principal, name=name, value=value)


def delete_setting(place: Place, principal: str, name: str) -> None:
    place.tx.run(_DELETE_SETTING, account=place.account, region=place.region, principal=principal, name=name)


def forget(tx: Transaction, *, stopped_before: datetime, tokens_before: datetime) -> None:
    """Deletes tasks and instances that ended, and client tokens, of long ago."""
    tx.run(_FORGET_TASKS, before=milliseconds(stopped_before))
    tx.known.pop(_INSTANCE, None)
    tx.run(_FORGET_INSTANCES, before=milliseconds(stopped_before))
    tx.run(_FORGET_TOKENS, before=milliseconds(tokens_before))
