"""Tables and statements of the room.

Inside, everything is known by an integer; public names and ids are mapped once. A job's body, which never changes, has a
table of its own, so that moving a job through its life rewrites little.

A child of an array has a row like any job once something has befallen it alone; before that it is part of its array's
(`arrays`). Whoever reads a job by number or id gets either. In the index of the queues a child stands with its queue only while
it is RUNNABLE, else with its array (under the parent's number, negative): so one index answers for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, cast

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)  # fmt: skip

from longshore.services.batch import arrays as children
from longshore.services.batch import job_ids
from longshore.services.batch.records import (
    ACTIVE,
    TERMINAL,
    Array,
    Body,
    Definition,
    Environment,
    Instance,
    Intent,
    Job,
    Queue,
    Status,
)  # fmt: skip
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement, document

environments = Table(
    "batch_environments", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("cluster_arn", String, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name"),
)  # fmt: skip
queues = Table(
    "batch_queues", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name"),
)  # fmt: skip
definitions = Table(
    "batch_definitions", METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("task_definition_arn", String),  # None: not registered with ECS yet
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    UniqueConstraint("account", "region", "name", "revision"),
)  # fmt: skip
jobs = Table(
    "batch_jobs", METADATA,
    Column("number", Integer, primary_key=True),
    Column("job_id", String, nullable=False),  # tells the number (`job_ids`), so it needs no index
    Column("queue", Integer, nullable=False),  # of an array's child that is not RUNNABLE, its parent, negative
    Column("status", Integer, nullable=False),
    Column("position", Integer, nullable=False),  # the number; negative for a retry, which goes to the front
    Column("cpu", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("definition_arn", String, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("instance", Integer),
    Column("token", String),
    Column("task_arn", String),
    Column("deadline", Integer),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_jobs_in_queue", jobs.c.queue, jobs.c.status, jobs.c.position)
Index("batch_jobs_on_instance", jobs.c.instance, sqlite_where=jobs.c.instance.is_not(None))
Index("batch_jobs_by_task", jobs.c.task_arn, sqlite_where=jobs.c.task_arn.is_not(None))
Index("batch_jobs_by_token", jobs.c.token, sqlite_where=jobs.c.token.is_not(None))
Index("batch_jobs_by_deadline", jobs.c.deadline, sqlite_where=jobs.c.deadline.is_not(None))
Index("batch_jobs_submitted", jobs.c.number, sqlite_where=jobs.c.status == int(Status.SUBMITTED))
bodies = Table(
    "batch_job_bodies", METADATA,
    Column("number", Integer, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
job_tags = Table(
    "batch_job_tags", METADATA,
    Column("number", Integer, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
arrays = Table(  # array jobs: what is known of the children that have no row
    "batch_arrays", METADATA,
    Column("number", Integer, primary_key=True),  # the parent's
    Column("queue", Integer, nullable=False),
    Column("ready", Integer, nullable=False),  # how many are RUNNABLE and have no row
    Column("busy", Integer, nullable=False),  # whether its children are to be gone through
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_arrays_ready", arrays.c.queue, arrays.c.number, sqlite_where=arrays.c.ready > 0)
Index("batch_arrays_busy", arrays.c.number, sqlite_where=arrays.c.busy > 0)
array_links = Table(  # of two arrays (N_TO_N): each child waits for its counterpart
    "batch_array_links", METADATA,
    Column("waits_for", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, index=True),
)  # fmt: skip
child_releases = Table(  # ended children whose successors or counterparts have not all been told
    "batch_child_releases", METADATA,
    Column("number", Integer, primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("after", Integer, nullable=False),  # the arrays up to this number have been told
)  # fmt: skip
dependencies = Table(
    "batch_dependencies", METADATA,
    Column("waits_for", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, index=True),
)  # fmt: skip
releases = Table(  # ended jobs whose dependents have not all been told
    "batch_releases", METADATA,
    Column("number", Integer, primary_key=True),
    Column("succeeded", Integer, nullable=False),
)  # fmt: skip
instances = Table(
    "batch_instances", METADATA,
    Column("number", Integer, primary_key=True),
    Column("environment", Integer, nullable=False, index=True),
    Column("token", String, nullable=False, unique=True),
    Column("instance_id", String, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
intents = Table(
    "batch_intents", METADATA,
    Column("number", Integer, primary_key=True),
    Column("token", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("subject", Integer, nullable=False),
    Column("account", String, nullable=False),
    Column("due_at", Integer, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)  # fmt: skip
Index("batch_intents_by_subject", intents.c.kind, intents.c.subject)
sequences = Table(  # numbers are never given twice, though rows go
    "batch_sequences", METADATA,
    Column("name", String, primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip

_ENVIRONMENT = msgspec.json.Decoder(Environment)
_QUEUE = msgspec.json.Decoder(Queue)
_DEFINITION = msgspec.json.Decoder(Definition)
_JOB = msgspec.json.Decoder(Job)
_ARRAY = msgspec.json.Decoder(Array)
_BODY = msgspec.json.Decoder(Body)
_INSTANCE = msgspec.json.Decoder(Instance)
_INTENT = msgspec.json.Decoder(Intent)
_TAGS = msgspec.json.Decoder(dict[str, str])

# --- numbers ---

_NUMBER = Statement(select(sequences.c.value).where(sequences.c.name == bindparam("name")))
_FIRST_NUMBER = Statement(insert(sequences).values(name=bindparam("name"), value=bindparam("value")))
_NEXT_NUMBER = Statement(
    update(sequences).where(sequences.c.name == bindparam("b_name")).values(value=sequences.c.value + 1)
)


def next_number(tx: Transaction, name: str) -> int:
    """1, 2, 3 ...; a number that was given is never given again."""
    if not tx.run(_NEXT_NUMBER, b_name=name):
        tx.run(_FIRST_NUMBER, name=name, value=1)
    return int(tx.one(_NUMBER, name=name)[0])


# --- compute environments ---

_ENVIRONMENT_NEW = Statement(insert(environments))
_ENVIRONMENT_SAVE = Statement(
    update(environments)
    .where(environments.c.number == bindparam("b_number"))
    .values(
        cluster_arn=bindparam("b_cluster_arn"), document=bindparam("b_document"), version=environments.c.version + 1
    )
)
_ENVIRONMENT_DELETE = Statement(delete(environments).where(environments.c.number == bindparam("number")))
_ENVIRONMENT = msgspec.json.Decoder(Environment)
_ENVIRONMENT_BY_NUMBER = Statement(select(environments.c.document).where(environments.c.number == bindparam("number")))
_ENVIRONMENT_BY_NAME = Statement(
    select(environments.c.document).where(
        environments.c.account == bindparam("account"),
        environments.c.region == bindparam("region"),
        environments.c.name == bindparam("name"),
    )
)
_ENVIRONMENT_BY_CLUSTER = Statement(
    select(environments.c.document).where(environments.c.cluster_arn == bindparam("cluster_arn"))
)
_ENVIRONMENT_PAGE = Statement(
    select(environments.c.document)
    .where(
        environments.c.account == bindparam("account"),
        environments.c.region == bindparam("region"),
        environments.c.name > bindparam("after"),
    )
    .order_by(environments.c.name)
    .limit(bindparam("limit"))
)
_ENVIRONMENTS = Statement(select(environments.c.document).order_by(environments.c.number))
_ENVIRONMENTS_OF_ACCOUNT = Statement(
    select(environments.c.document).where(environments.c.account == bindparam("account"))
)


def insert_environment(tx: Transaction, environment: Environment) -> None:
    tx.run(
        _ENVIRONMENT_NEW,
        number=environment.number,
        account=environment.account,
        region=environment.region,
        name=environment.name,
        cluster_arn=environment.cluster_arn,
        version=1,
        document=document(environment),
    )


def save_environment(tx: Transaction, environment: Environment) -> None:
    tx.known.pop(_ENVIRONMENT_BY_NUMBER, None)
    tx.run(
        _ENVIRONMENT_SAVE,
        b_number=environment.number,
        b_cluster_arn=environment.cluster_arn,
        b_document=document(environment),
    )


def delete_environment(tx: Transaction, number: int) -> None:
    tx.known.pop(_ENVIRONMENT_BY_NUMBER, None)
    tx.run(_ENVIRONMENT_DELETE, number=number)


def environment(tx: Transaction, number: int) -> Environment | None:
    """Read once for all that happens in one commit."""
    known: dict[int, Environment] = tx.known.setdefault(_ENVIRONMENT_BY_NUMBER, {})
    found = known.get(number)
    if found is None:
        row = tx.one(_ENVIRONMENT_BY_NUMBER, number=number)
        if row is not None:
            found = known[number] = _ENVIRONMENT.decode(row[0])
    return found


def environment_named(tx: Transaction, account: str, region: str, name_or_arn: str) -> Environment | None:
    """By name or ARN, of this account and region."""
    name = _name_of(account, region, name_or_arn, "compute-environment")
    row = tx.one(_ENVIRONMENT_BY_NAME, account=account, region=region, name=name) if name else None
    return None if row is None else _ENVIRONMENT.decode(row[0])


def environment_of_cluster(tx: Transaction, cluster_arn: str) -> Environment | None:
    row = tx.one(_ENVIRONMENT_BY_CLUSTER, cluster_arn=cluster_arn)
    return None if row is None else _ENVIRONMENT.decode(row[0])


def environments_page(tx: Transaction, account: str, region: str, after: str, limit: int) -> list[Environment]:
    rows = tx.all(_ENVIRONMENT_PAGE, account=account, region=region, after=after, limit=limit)
    return [_ENVIRONMENT.decode(row[0]) for row in rows]


def all_environments(tx: Transaction) -> list[Environment]:
    return [_ENVIRONMENT.decode(row[0]) for row in tx.all(_ENVIRONMENTS)]


def environments_of_account(tx: Transaction, account: str) -> list[Environment]:
    return [_ENVIRONMENT.decode(row[0]) for row in tx.all(_ENVIRONMENTS_OF_ACCOUNT, account=account)]


# --- job queues ---

_QUEUE_NEW = Statement(insert(queues))
_QUEUE_SAVE = Statement(
    update(queues)
    .where(queues.c.number == bindparam("b_number"))
    .values(document=bindparam("b_document"), version=queues.c.version + 1)
)
_QUEUE_DELETE = Statement(delete(queues).where(queues.c.number == bindparam("number")))
_QUEUE_BY_NUMBER = Statement(select(queues.c.document).where(queues.c.number == bindparam("number")))
_QUEUE_BY_NAME = Statement(
    select(queues.c.document).where(
        queues.c.account == bindparam("account"),
        queues.c.region == bindparam("region"),
        queues.c.name == bindparam("name"),
    )
)
_QUEUE_PAGE = Statement(
    select(queues.c.document)
    .where(
        queues.c.account == bindparam("account"),
        queues.c.region == bindparam("region"),
        queues.c.name > bindparam("after"),
    )
    .order_by(queues.c.name)
    .limit(bindparam("limit"))
)
_QUEUES = Statement(select(queues.c.document).order_by(queues.c.number))


def insert_queue(tx: Transaction, queue: Queue) -> None:
    tx.run(
        _QUEUE_NEW,
        number=queue.number,
        account=queue.account,
        region=queue.region,
        name=queue.name,
        version=1,
        document=document(queue),
    )


def save_queue(tx: Transaction, queue: Queue) -> None:
    tx.known.pop(_QUEUE_BY_NAME, None)
    tx.run(_QUEUE_SAVE, b_number=queue.number, b_document=document(queue))


def delete_queue(tx: Transaction, number: int) -> None:
    tx.known.pop(_QUEUE_BY_NAME, None)
    tx.run(_QUEUE_DELETE, number=number)


def queue(tx: Transaction, number: int) -> Queue | None:
    row = tx.one(_QUEUE_BY_NUMBER, number=number)
    return None if row is None else _QUEUE.decode(row[0])


def queue_named(tx: Transaction, account: str, region: str, name_or_arn: str) -> Queue | None:
    """Read once for all submissions of one commit."""
    name = _name_of(account, region, name_or_arn, "job-queue")
    if not name:
        return None
    named: dict[Any, Queue] = tx.known.setdefault(_QUEUE_BY_NAME, {})
    found = named.get((account, region, name))
    if found is None:
        row = tx.one(_QUEUE_BY_NAME, account=account, region=region, name=name)
        if row is not None:
            found = named[account, region, name] = _QUEUE.decode(row[0])
    return found


def queues_page(tx: Transaction, account: str, region: str, after: str, limit: int) -> list[Queue]:
    rows = tx.all(_QUEUE_PAGE, account=account, region=region, after=after, limit=limit)
    return [_QUEUE.decode(row[0]) for row in rows]


def all_queues(tx: Transaction) -> list[Queue]:
    return [_QUEUE.decode(row[0]) for row in tx.all(_QUEUES)]


# --- job definitions ---

_DEFINITION_NEW = Statement(insert(definitions))
_DEFINITION_SAVE = Statement(
    update(definitions)
    .where(definitions.c.number == bindparam("b_number"))
    .values(status=bindparam("b_status"), document=bindparam("b_document"), version=definitions.c.version + 1)
)
_DEFINITION_BY_NUMBER = Statement(
    select(definitions.c.document, definitions.c.task_definition_arn).where(definitions.c.number == bindparam("number"))
)
_TASK_DEFINITION_SAVE = Statement(
    update(definitions)
    .where(definitions.c.number == bindparam("b_number"))
    .values(task_definition_arn=bindparam("b_task_definition_arn"))
)
_OF_NAME = (
    definitions.c.account == bindparam("account"),
    definitions.c.region == bindparam("region"),
    definitions.c.name == bindparam("name"),
)
_DEFINITION_REVISION = Statement(
    select(definitions.c.document).where(*_OF_NAME, definitions.c.revision == bindparam("revision"))
)
_DEFINITION_NEWEST = Statement(
    select(definitions.c.document)
    .where(*_OF_NAME, definitions.c.status == "ACTIVE")
    .order_by(definitions.c.revision.desc())
    .limit(1)
)
_DEFINITION_LAST_REVISION = Statement(select(func.coalesce(func.max(definitions.c.revision), 0)).where(*_OF_NAME))
_DEFINITION_PAGE = Statement(
    select(definitions.c.document)
    .where(
        definitions.c.account == bindparam("account"),
        definitions.c.region == bindparam("region"),
        definitions.c.number > bindparam("after"),
        definitions.c.status.like(bindparam("status")),
    )
    .order_by(definitions.c.number)
    .limit(bindparam("limit"))
)
_DEFINITION_PAGE_OF_NAME = Statement(
    select(definitions.c.document)
    .where(*_OF_NAME, definitions.c.number > bindparam("after"), definitions.c.status.like(bindparam("status")))
    .order_by(definitions.c.number)
    .limit(bindparam("limit"))
)


def insert_definition(tx: Transaction, definition: Definition) -> None:
    tx.known.pop(_DEFINITION_NEWEST, None)
    tx.run(
        _DEFINITION_NEW,
        number=definition.number,
        account=definition.account,
        region=definition.region,
        name=definition.name,
        revision=definition.revision,
        status=definition.status,
        task_definition_arn=None,
        version=1,
        document=document(definition),
    )


def save_definition(tx: Transaction, definition: Definition) -> None:
    tx.known.pop(_DEFINITION_NEWEST, None)
    tx.known.pop(_DEFINITION_BY_NUMBER, None)
    tx.run(
        _DEFINITION_SAVE,
        b_number=definition.number,
        b_status=definition.status,
        b_document=document(definition),
    )


def definition(tx: Transaction, number: int) -> tuple[Definition, str | None]:
    """The definition, and the ARN of the task definition that stands for it in ECS. None: not registered yet.

    Read once for all that happens in one commit.
    """
    known: dict[int, tuple[Definition, str | None]] = tx.known.setdefault(_DEFINITION_BY_NUMBER, {})
    if number not in known:
        row = tx.one(_DEFINITION_BY_NUMBER, number=number)
        known[number] = _DEFINITION.decode(row[0]), row[1]
    return known[number]


def save_task_definition(tx: Transaction, number: int, task_definition_arn: str) -> None:
    tx.known.pop(_DEFINITION_BY_NUMBER, None)
    tx.run(_TASK_DEFINITION_SAVE, b_number=number, b_task_definition_arn=task_definition_arn)


def definition_named(tx: Transaction, account: str, region: str, reference: str) -> Definition | None:
    """By `name:revision`, `name` (the newest active one), or an ARN of either form."""
    found = definition_document(tx, account, region, reference)
    return None if found is None else read_definition(found)


def definition_document(tx: Transaction, account: str, region: str, reference: str) -> bytes | None:
    """As `definition_named`, unread: what is made of a definition can be kept under its very bytes.

    Read once for all submissions of one commit.
    """
    named: dict[Any, bytes] = tx.known.setdefault(_DEFINITION_NEWEST, {})
    found = named.get((account, region, reference))
    if found is None:
        found = _definition_document(tx, account, region, reference)
        if found is not None:
            named[account, region, reference] = found
    return found


def _definition_document(tx: Transaction, account: str, region: str, reference: str) -> bytes | None:
    name = _name_of(account, region, reference, "job-definition")
    if not name:
        return None
    name, _, revision = name.partition(":")
    if not revision:
        row = tx.one(_DEFINITION_NEWEST, account=account, region=region, name=name)
    elif revision.isdecimal() and len(revision) < 10:
        row = tx.one(_DEFINITION_REVISION, account=account, region=region, name=name, revision=int(revision))
    else:
        row = None
    return None if row is None else cast("bytes", row[0])


def read_definition(found: bytes) -> Definition:
    return _DEFINITION.decode(found)


def last_revision(tx: Transaction, account: str, region: str, name: str) -> int:
    return int(tx.one(_DEFINITION_LAST_REVISION, account=account, region=region, name=name)[0])


def definitions_page(
    tx: Transaction, account: str, region: str, *, name: str | None, status: str | None, after: int, limit: int
) -> list[Definition]:
    found = {"account": account, "region": region, "status": status or "%", "after": after, "limit": limit}
    rows = tx.all(_DEFINITION_PAGE, **found) if name is None else tx.all(_DEFINITION_PAGE_OF_NAME, name=name, **found)
    return [_DEFINITION.decode(row[0]) for row in rows]


# --- jobs ---

_JOB_NEW = Statement(
    insert(jobs).values(
        {
            column.name: bindparam(column.name)
            for column in jobs.c
            if column.name not in ("instance", "token", "task_arn", "deadline")
        }
    )
)
_BODY_NEW = Statement(insert(bodies))
_JOB_SAVE = Statement(
    update(jobs)
    .where(jobs.c.number == bindparam("b_number"))
    .values(
        queue=bindparam("b_queue"), status=bindparam("b_status"), position=bindparam("b_position"),
        instance=bindparam("b_instance"), token=bindparam("b_token"), task_arn=bindparam("b_task_arn"),
        deadline=bindparam("b_deadline"), document=bindparam("b_document"), version=jobs.c.version + 1,
    )
)  # fmt: skip
_LAST_JOB = Statement(select(func.coalesce(func.max(jobs.c.number), 0)))
_JOB_BY_NUMBER = Statement(select(jobs.c.document).where(jobs.c.number == bindparam("number")))
_OF_ID = (jobs.c.number == bindparam("number"), jobs.c.job_id == bindparam("job_id"))
_JOB_BY_ID = Statement(select(jobs.c.document).where(*_OF_ID))
_JOB_BY_TASK = Statement(select(jobs.c.document).where(jobs.c.task_arn == bindparam("task_arn")))
_JOB_BY_TOKEN = Statement(select(jobs.c.document).where(jobs.c.token == bindparam("token")))
_WHOLE_JOB = Statement(
    select(jobs.c.document, bodies.c.document, job_tags.c.document)
    .join(bodies, bodies.c.number == jobs.c.number)
    .outerjoin(job_tags, job_tags.c.number == jobs.c.number)
    .where(*_OF_ID)
)
_AMONG = func.json_each(bindparam("numbers")).table_valued("value")
_JOBS_WITH_BODIES = Statement(
    select(jobs.c.number, jobs.c.document, bodies.c.document)
    .select_from(_AMONG)
    .join(jobs, jobs.c.number == _AMONG.c.value)
    .join(bodies, bodies.c.number == jobs.c.number)
)
_BODY_OF = Statement(
    select(bodies.c.document).where(bodies.c.number >= bindparam("number")).order_by(bodies.c.number).limit(1)
)
_SUBMITTED = Statement(
    select(jobs.c.document)
    .where(jobs.c.status == int(Status.SUBMITTED))
    .order_by(jobs.c.number)
    .limit(bindparam("limit"))
)
_OVERDUE = Statement(
    select(jobs.c.document)
    .where(jobs.c.deadline <= bindparam("now"))
    .order_by(jobs.c.deadline)
    .limit(bindparam("limit"))
)
_NEXT_DEADLINE = Statement(select(func.min(jobs.c.deadline)).where(jobs.c.deadline.is_not(None)))
_HEADS = Statement(
    select(jobs.c.position, jobs.c.number, jobs.c.cpu, jobs.c.memory_mib, jobs.c.gpus)
    .where(jobs.c.queue == bindparam("queue"), jobs.c.status == int(Status.RUNNABLE))
    .order_by(jobs.c.position)
    .limit(bindparam("limit"))
)
_AHEAD = Statement(
    select(func.count())
    .select_from(jobs)
    .where(
        jobs.c.queue == bindparam("queue"),
        jobs.c.status == int(Status.RUNNABLE),
        jobs.c.position < bindparam("position"),
    )
)
_ON_INSTANCE = Statement(select(jobs.c.document).where(jobs.c.instance == bindparam("instance")))
_USED = Statement(
    select(func.count(), func.sum(jobs.c.cpu), func.sum(jobs.c.memory_mib)).where(
        jobs.c.instance == bindparam("instance")
    )
)
_IS_USED = Statement(select(jobs.c.number).where(jobs.c.instance == bindparam("instance")).limit(1))
_USED_IN_ENVIRONMENT = Statement(
    select(jobs.c.instance, func.count(), func.sum(jobs.c.cpu), func.sum(jobs.c.memory_mib))
    .join(instances, instances.c.number == jobs.c.instance)
    .where(instances.c.environment == bindparam("environment"))
    .group_by(jobs.c.instance)
)
_UNENDED_OF_QUEUE = Statement(
    select(jobs.c.document)
    .where(jobs.c.queue == bindparam("queue"), jobs.c.status == bindparam("status"))
    .order_by(jobs.c.position)
    .limit(bindparam("limit"))
)
_IS_NO_CHILD = func.length(jobs.c.job_id) == job_ids.LENGTH
_PAGE_OF_STATUS = Statement(
    select(jobs.c.document, jobs.c.position)
    .where(
        jobs.c.queue == bindparam("queue"),
        jobs.c.status == bindparam("status"),
        jobs.c.position < bindparam("before"),
        _IS_NO_CHILD,
    )
    .order_by(jobs.c.position.desc())
    .limit(bindparam("limit"))
)
_FILTERED = (
    jobs.c.queue == bindparam("queue"), jobs.c.number < bindparam("before"), jobs.c.number > bindparam("after"),
    _IS_NO_CHILD,
)  # fmt: skip
_BY_NAME = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, func.lower(jobs.c.name).op("GLOB")(bindparam("value")))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_DEFINITION = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.definition_arn.op("GLOB")(bindparam("value")))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_CREATED_BEFORE = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.created_at < bindparam("value"))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)
_BY_CREATED_AFTER = Statement(
    select(jobs.c.document)
    .where(*_FILTERED, jobs.c.created_at > bindparam("value"))
    .order_by(jobs.c.number.desc())
    .limit(bindparam("limit"))
)


RETRIES_BEFORE = 1 << 53  # by which a retry's position lies before its number


def next_job_number(tx: Transaction) -> int:
    return int(tx.one(_LAST_JOB)[0]) + 1  # Jobs outlive their numbers' use: the newest is never the one that expires.


def insert_job(tx: Transaction, job: Job, body: Body) -> None:
    tx.run(
        _JOB_NEW,
        number=job.number,
        job_id=job.job_id,
        queue=job.queue,
        status=int(job.status),
        position=job.number,
        cpu=job.cpu,
        memory_mib=job.memory_mib,
        gpus=job.gpus,
        name=job.name,
        definition_arn=job.definition_arn,
        created_at=job.created_at,
        version=1,
        document=document(job),
    )
    tx.run(_BODY_NEW, number=job.number, document=document(body))


def save_job(tx: Transaction, job: Job) -> None:
    assert job.array is None
    if job.size is not None:
        _parents(tx).pop(job.number, None)
    tx.run(_JOB_SAVE, b_number=job.number, **_moving(job))


def _moving(job: Job) -> dict[str, Any]:
    """The columns that change in a job's life."""
    deadline = None
    if job.timeout_seconds is not None and job.status is Status.RUNNING and job.ending is None and job.started_at:
        deadline = job.started_at + 1000 * job.timeout_seconds
    is_active = job.status in ACTIVE
    return {
        "b_queue": job.queue if job.array is None or job.status is Status.RUNNABLE else -job.array,
        "b_status": int(job.status),
        "b_position": position(job),
        "b_instance": job.instance if is_active else None,
        "b_token": job.token if is_active else None,
        "b_task_arn": job.task_arn if is_active else None,
        "b_deadline": deadline,
        "b_document": document(job),
    }


def position(job: Job) -> int:
    """Where it stands in its queue. A retry goes before all that never ran, in the order of submission."""
    if job.status is Status.RUNNABLE and job.attempts:
        return job.number - RETRIES_BEFORE
    return job.number


def job(tx: Transaction, number: int) -> Job | None:
    row = tx.one(_JOB_BY_NUMBER, number=number)
    return _without_row(tx, number) if row is None else _JOB.decode(row[0])


def job_of_id(tx: Transaction, job_id: str) -> Job | None:
    of_child = job_ids.child(job_id)
    if of_child is not None:
        return _child(tx, *of_child)
    number = job_ids.number_of(job_id)
    return None if number is None else _job(tx.one(_JOB_BY_ID, number=number, job_id=job_id))


def job_of_task(tx: Transaction, task_arn: str) -> Job | None:
    return _job(tx.one(_JOB_BY_TASK, task_arn=task_arn))


def job_of_token(tx: Transaction, token: str) -> Job | None:
    return _job(tx.one(_JOB_BY_TOKEN, token=token))


def whole_job(tx: Transaction, job_id: str) -> tuple[Job, Body, dict[str, str], Array | None] | None:
    """The job, what it was submitted with, its tags, and, of an array's parent, its children; in one statement if it may be."""
    of_child = job_ids.child(job_id)
    if of_child is not None:
        one = _child(tx, *of_child)
        return None if one is None else (one, *_submission(tx, one.submission), None)
    number = job_ids.number_of(job_id)
    row = None if number is None else tx.one(_WHOLE_JOB, number=number, job_id=job_id)
    if row is None:
        return None
    whole = _JOB.decode(row[0])
    tags = _TAGS.decode(row[2]) if row[2] is not None else {}
    return whole, _BODY.decode(row[1]), tags, array(tx, whole.number) if whole.size is not None else None


def _submission(tx: Transaction, number: int) -> tuple[Body, dict[str, str]]:
    """What an array was submitted with. Read once for all its children that are shown at once."""
    known: dict[int, tuple[Body, dict[str, str]]] = tx.known.setdefault(_BODY_OF, {})
    if number not in known:
        known[number] = body(tx, number), tags_of_job(tx, number)
    return known[number]


def jobs_with_bodies(tx: Transaction, numbers: Sequence[int]) -> dict[int, tuple[Job, Body]]:
    """By number, read in one go. Those that are gone are left out."""
    rows = tx.all(_JOBS_WITH_BODIES, numbers=document(list(numbers)).decode())
    found = {number: (_JOB.decode(row), _BODY.decode(of_row)) for number, row, of_row in rows}
    for number in numbers:
        child = job(tx, number) if number not in found else None
        if child is not None:
            found[number] = child, _submission(tx, child.submission)[0]
    return found


def body(tx: Transaction, number: int) -> Body:
    """What the job of that number was submitted with. A child's number will do: its parent's is the next that has a body."""
    return _BODY.decode(tx.one(_BODY_OF, number=number)[0])


def submitted_jobs(tx: Transaction, limit: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_SUBMITTED, limit=limit)]


def overdue_jobs(tx: Transaction, now: int, limit: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_OVERDUE, now=now, limit=limit)]


def next_deadline(tx: Transaction) -> int | None:
    return cast("int | None", tx.one(_NEXT_DEADLINE)[0])


def heads(tx: Transaction, queue_number: int, limit: int) -> list[tuple[int, int, int, int]]:
    """(number, CPU units, memory in MiB, GPUs) of the first RUNNABLE jobs, in order; children that have no row, too."""
    rows = tx.all(_HEADS, queue=queue_number, limit=limit)
    return [row[1:] for row in islice(merge(rows, _heads_of_arrays(tx, queue_number)), limit)]


def _heads_of_arrays(tx: Transaction, queue_number: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The same with their positions before them. Read as far as they are asked for."""
    after = 0
    while rows := tx.all(_WITH_READY, queue=queue_number, after=after, limit=_ARRAYS_AT_ONCE):
        for found, cpu, memory_mib, gpus in rows:
            one = _ARRAY.decode(found)
            for index in children.members(children.bits(one.ready)):
                number = one.first + index
                yield number, number, cpu, memory_mib, gpus
            after = one.number


def count_ahead(tx: Transaction, one: Job) -> int:
    ahead = int(tx.one(_AHEAD, queue=one.queue, position=position(one))[0])
    if position(one) < 0:
        return ahead  # A retry. No child without a row is one.
    ahead += int(tx.one(_READY_AHEAD, queue=one.queue, number=one.number)[0])
    if one.array is not None and one.index is not None:
        siblings = array(tx, one.array)
        ahead += (children.bits(siblings.ready) & children.between(0, one.index)).bit_count()
    return ahead


def jobs_on_instance(tx: Transaction, instance_number: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_ON_INSTANCE, instance=instance_number)]


def used_on_instance(tx: Transaction, instance_number: int) -> tuple[int, int, int]:
    """(jobs, CPU units, memory in MiB) that have their place on the instance."""
    count, cpu, memory = tx.one(_USED, instance=instance_number)
    return int(count), int(cpu or 0), int(memory or 0)


def is_used(tx: Transaction, instance_number: int) -> bool:
    """Whether any job has its place on the instance."""
    return tx.one(_IS_USED, instance=instance_number) is not None


def used_in_environment(tx: Transaction, environment_number: int) -> dict[int, tuple[int, int, int]]:
    """Number of an instance of the environment -> the same; those without a job are left out."""
    rows = tx.all(_USED_IN_ENVIRONMENT, environment=environment_number)
    return {int(number): (int(count), int(cpu), int(memory)) for number, count, cpu, memory in rows}


def unended_jobs(tx: Transaction, queue_number: int, limit: int) -> list[Job]:
    """Jobs of the queue that have not ended, in the order of their lives."""
    found: list[Job] = []
    for status in Status:
        if status not in TERMINAL and len(found) < limit:
            rows = tx.all(_UNENDED_OF_QUEUE, queue=queue_number, status=int(status), limit=limit - len(found))
            found += [_JOB.decode(row[0]) for row in rows]
    return found


def jobs_page(tx: Transaction, queue_number: int, status: Status, before: int, limit: int) -> list[tuple[Job, int]]:
    """(job, where the next page goes on), newest first."""
    rows = tx.all(_PAGE_OF_STATUS, queue=queue_number, status=int(status), before=before, limit=limit)
    return [(_JOB.decode(row[0]), int(row[1])) for row in rows]


_FILTERS = {
    "JOB_NAME": _BY_NAME,
    "JOB_DEFINITION": _BY_DEFINITION,
    "BEFORE_CREATED_AT": _BY_CREATED_BEFORE,
    "AFTER_CREATED_AT": _BY_CREATED_AFTER,
}


def filtered_jobs(
    tx: Transaction, queue_number: int, filter_name: str, value: str | int, *, after: int, before: int, limit: int
) -> list[Job]:
    """Jobs whose number lies between the two, newest first."""
    rows = tx.all(_FILTERS[filter_name], queue=queue_number, value=value, after=after, before=before, limit=limit)
    return [_JOB.decode(row[0]) for row in rows]


def _job(row: Any) -> Job | None:
    return None if row is None else _JOB.decode(row[0])


# --- arrays ---

_ARRAYS_AT_ONCE = 8  # that are read to find the first RUNNABLE children of a queue; one alone may have enough

_CHILD_NEW = Statement(insert(jobs))
_ARRAY_NEW = Statement(insert(arrays))
_ARRAY_SAVE = Statement(
    update(arrays)
    .where(arrays.c.number == bindparam("b_number"))
    .values(
        ready=bindparam("b_ready"), busy=bindparam("b_busy"), document=bindparam("b_document"),
        version=arrays.c.version + 1,
    )
)  # fmt: skip
_ARRAY_BY_NUMBER = Statement(select(arrays.c.document).where(arrays.c.number == bindparam("number")))
_ARRAY_ABOVE = Statement(
    select(arrays.c.document).where(arrays.c.number > bindparam("number")).order_by(arrays.c.number).limit(1)
)
_BUSY_ARRAY = Statement(select(arrays.c.document).where(arrays.c.busy > 0).order_by(arrays.c.number).limit(1))
_WITH_READY = Statement(
    select(arrays.c.document, jobs.c.cpu, jobs.c.memory_mib, jobs.c.gpus)
    .join(jobs, jobs.c.number == arrays.c.number)
    .where(arrays.c.queue == bindparam("queue"), arrays.c.number > bindparam("after"), arrays.c.ready > 0)
    .order_by(arrays.c.number)
    .limit(bindparam("limit"))
)
_READY_AHEAD = Statement(
    select(func.coalesce(func.sum(arrays.c.ready), 0)).where(
        arrays.c.queue == bindparam("queue"), arrays.c.number < bindparam("number"), arrays.c.ready > 0
    )
)
_CHILDREN_UNENDED = Statement(
    select(jobs.c.document)
    .where(jobs.c.number >= bindparam("low"), jobs.c.number < bindparam("high"), jobs.c.status < int(Status.SUCCEEDED))
    .order_by(jobs.c.number)
    .limit(bindparam("limit"))
)
_PLACED_IN = (
    jobs.c.queue == bindparam("queue"), jobs.c.status == bindparam("status"),
    jobs.c.position >= bindparam("low"), jobs.c.position < bindparam("high"),
)  # fmt: skip
_CHILDREN_OF_STATUS = Statement(
    select(jobs.c.document).where(*_PLACED_IN).order_by(jobs.c.position).limit(bindparam("limit"))
)
_CHILD_NUMBERS_OF_STATUS = Statement(select(jobs.c.number).where(*_PLACED_IN).order_by(jobs.c.position))
_LINK_NEW = Statement(insert(array_links))
_LINKS_OF = Statement(
    select(array_links.c.waits_for).where(array_links.c.number == bindparam("number")).order_by(array_links.c.waits_for)
)
_LINKED = Statement(
    select(array_links.c.number)
    .where(array_links.c.waits_for == bindparam("waits_for"), array_links.c.number > bindparam("after"))
    .order_by(array_links.c.number)
    .limit(bindparam("limit"))
)
_LINKS_FORGET = Statement(delete(array_links).where(array_links.c.number == bindparam("number")))
_CHILD_RELEASE_NEW = Statement(insert(child_releases))
_CHILD_RELEASE_SAVE = Statement(
    update(child_releases).where(child_releases.c.number == bindparam("b_number")).values(after=bindparam("b_after"))
)
_CHILD_RELEASE_DELETE = Statement(delete(child_releases).where(child_releases.c.number == bindparam("number")))
_CHILD_RELEASES = Statement(
    select(child_releases.c.number, child_releases.c.succeeded, child_releases.c.after)
    .order_by(child_releases.c.number)
    .limit(1)
)


def insert_array(tx: Transaction, one: Array) -> None:
    tx.run(
        _ARRAY_NEW,
        number=one.number,
        queue=one.queue,
        ready=children.bits(one.ready).bit_count(),
        busy=int(one.is_busy),
        version=1,
        document=document(one),
    )


def save_array(tx: Transaction, one: Array) -> None:
    ready = children.bits(one.ready).bit_count()
    tx.run(_ARRAY_SAVE, b_number=one.number, b_ready=ready, b_busy=int(one.is_busy), b_document=document(one))
    _arrays(tx)[one.number] = one


def array(tx: Transaction, number: int) -> Array:
    """The children of the job of that number, which is an array's parent. Read once in a commit."""
    found = _arrays(tx).get(number)
    if found is None:
        found = _arrays(tx)[number] = _ARRAY.decode(tx.one(_ARRAY_BY_NUMBER, number=number)[0])
    return found


def parent(tx: Transaction, number: int) -> Job:
    """The parent of an array. Read once in a commit."""
    found = _parents(tx).get(number)
    if found is None:
        found = _parents(tx)[number] = _JOB.decode(tx.one(_JOB_BY_NUMBER, number=number)[0])
    return found


def _arrays(tx: Transaction) -> dict[int, Array]:
    found: dict[int, Array] = tx.known.setdefault(_ARRAY_BY_NUMBER, {})
    return found


def _parents(tx: Transaction) -> dict[int, Job]:
    found: dict[int, Job] = tx.known.setdefault(_JOB_BY_NUMBER, {})
    return found


def _without_row(tx: Transaction, number: int) -> Job | None:
    """The child of that number, which has no row. None: there is no such job."""
    siblings = next((each for each in _arrays(tx).values() if each.first <= number < each.number), None)
    if siblings is None:
        row = tx.one(_ARRAY_ABOVE, number=number)
        siblings = None if row is None else _ARRAY.decode(row[0])
        if siblings is None or number < siblings.first:
            return None
        _arrays(tx)[siblings.number] = siblings
    return children.child(parent(tx, siblings.number), siblings, number - siblings.first)


def _child(tx: Transaction, parent_id: str, index: int) -> Job | None:
    number = job_ids.number_of(parent_id)
    if number is None:
        return None
    above = _parents(tx).get(number) or _job(tx.one(_JOB_BY_ID, number=number, job_id=parent_id))
    if above is None or above.job_id != parent_id or above.size is None or index >= above.size:
        return None
    _parents(tx)[number] = above
    return job(tx, number - above.size + index)


def save_child(tx: Transaction, before: Job, after: Job, now: int) -> None:
    """A child after something has befallen it: it gets a row, unless it is still like its siblings."""
    assert before.array is not None
    moving = _moving(after)
    has_row = bool(tx.run(_JOB_SAVE, b_number=after.number, **moving))
    siblings = array(tx, before.array)
    if has_row:
        changed = children.moved(siblings, before.status, after.status, now)
    else:
        changed, needs_row = children.befallen(parent(tx, before.array), siblings, before, after, now)
    if changed is not siblings:
        save_array(tx, changed)
    if not has_row and needs_row:
        tx.run(
            _CHILD_NEW,
            number=after.number,
            job_id=after.job_id,
            cpu=after.cpu,
            memory_mib=after.memory_mib,
            gpus=after.gpus,
            name=after.name,
            definition_arn=after.definition_arn,
            created_at=after.created_at,
            version=1,
            **{name.removeprefix("b_"): value for name, value in moving.items()},
        )


def busy_array(tx: Transaction) -> Array | None:
    """One whose children are to be gone through."""
    row = tx.one(_BUSY_ARRAY)
    return None if row is None else _ARRAY.decode(row[0])


def unended_children(tx: Transaction, one: Array, low: int, high: int, limit: int) -> list[Job]:
    """Those from `low` on, before `high`, that have a row."""
    rows = tx.all(_CHILDREN_UNENDED, low=one.first + low, high=one.first + high, limit=limit)
    return [_JOB.decode(row[0]) for row in rows]


def children_in(tx: Transaction, one: Array, status: Status, low: int, high: int) -> int:
    """Those from `low` on, before `high`, that have a row and are in that status, which is not RUNNABLE. As a set."""
    rows = tx.all(
        _CHILD_NUMBERS_OF_STATUS, queue=-one.number, status=int(status), low=one.first + low, high=one.first + high
    )
    found = 0
    for (number,) in rows:
        found |= 1 << (number - one.first)
    return found


def children_page(tx: Transaction, above: Job, one: Array, status: Status, *, low: int, limit: int) -> list[Job]:
    """The first from `low` on that are in the status, by index."""
    here = {"status": int(status), "limit": limit}
    if status is Status.RUNNABLE:
        anew = RETRIES_BEFORE
        rows = tx.all(_CHILDREN_OF_STATUS, queue=one.queue, low=one.first + low, high=one.number, **here)
        rows += tx.all(_CHILDREN_OF_STATUS, queue=one.queue, low=one.first + low - anew, high=one.number - anew, **here)
    else:
        rows = tx.all(_CHILDREN_OF_STATUS, queue=-one.number, low=one.first + low, high=one.number, **here)
    found = [_JOB.decode(row[0]) for row in rows]
    for index in islice(children.members(children.status_sets(above, one, status), low), limit):
        without_row = children.child(above, one, index)
        assert without_row is not None
        found.append(without_row)
    return sorted(found, key=lambda each: each.number)[:limit]


def add_link(tx: Transaction, number: int, waits_for: int) -> None:
    """Each child of the one array waits for its counterpart in the other."""
    tx.run(_LINK_NEW, number=number, waits_for=waits_for)


def links_of(tx: Transaction, number: int) -> list[int]:
    """The arrays for whose children those of the array wait."""
    return [int(row[0]) for row in tx.all(_LINKS_OF, number=number)]


def linked(tx: Transaction, number: int, after: int, limit: int) -> list[int]:
    """The arrays whose children wait for those of the array."""
    return [int(row[0]) for row in tx.all(_LINKED, waits_for=number, after=after, limit=limit)]


def forget_links(tx: Transaction, number: int) -> None:
    tx.run(_LINKS_FORGET, number=number)


def add_child_release(tx: Transaction, one: Array, index: int, succeeded: bool) -> None:
    """Notes that who waits for the child is to be told of its end; nothing when nobody does."""
    if one.is_sequential or tx.one(_LINKED, waits_for=one.number, after=0, limit=1) is not None:
        tx.run(_CHILD_RELEASE_NEW, number=one.first + index, succeeded=int(succeeded), after=0)


def next_child_release(tx: Transaction) -> tuple[int, bool, int] | None:
    """(number of the child, whether it succeeded, the array up to which all have been told)"""
    row = tx.one(_CHILD_RELEASES)
    return None if row is None else (int(row[0]), bool(row[1]), int(row[2]))


def save_child_release(tx: Transaction, number: int, after: int) -> None:
    tx.run(_CHILD_RELEASE_SAVE, b_number=number, b_after=after)


def remove_child_release(tx: Transaction, number: int) -> None:
    tx.run(_CHILD_RELEASE_DELETE, number=number)


# --- tags of jobs ---

_JOB_TAGS = Statement(select(job_tags.c.document).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_DELETE = Statement(delete(job_tags).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_NEW = Statement(insert(job_tags))


def tags_of_job(tx: Transaction, number: int) -> dict[str, str]:
    row = tx.one(_JOB_TAGS, number=number)
    return {} if row is None else _TAGS.decode(row[0])


def save_tags_of_job(tx: Transaction, number: int, tags: dict[str, str]) -> None:
    tx.known.pop(_BODY_OF, None)
    tx.run(_JOB_TAGS_DELETE, number=number)
    if tags:
        tx.run(_JOB_TAGS_NEW, number=number, document=document(tags))


# --- dependencies ---

_DEPENDENCY_NEW = Statement(insert(dependencies))
_DEPENDENCY_COUNT = Statement(
    select(func.count()).select_from(dependencies).where(dependencies.c.number == bindparam("number"))
)
_DEPENDENTS = Statement(
    select(dependencies.c.number)
    .where(dependencies.c.waits_for == bindparam("waits_for"))
    .order_by(dependencies.c.number)
    .limit(bindparam("limit"))
)
_DEPENDENCY_DELETE = Statement(
    delete(dependencies).where(
        dependencies.c.waits_for == bindparam("waits_for"), dependencies.c.number == bindparam("number")
    )
)
_DEPENDENCIES_FORGET = Statement(delete(dependencies).where(dependencies.c.number == bindparam("number")))
_WAITED_FOR = Statement(
    select(dependencies.c.waits_for)
    .where(dependencies.c.waits_for >= bindparam("low"), dependencies.c.waits_for < bindparam("high"))
    .distinct()
)
_RELEASE_NEW = Statement(insert(releases))
_RELEASE_DELETE = Statement(delete(releases).where(releases.c.number == bindparam("number")))
_RELEASES = Statement(select(releases.c.number, releases.c.succeeded).order_by(releases.c.number).limit(1))


def add_dependency(tx: Transaction, number: int, waits_for: int) -> None:
    tx.run(_DEPENDENCY_NEW, number=number, waits_for=waits_for)


def count_dependencies(tx: Transaction, number: int) -> int:
    return int(tx.one(_DEPENDENCY_COUNT, number=number)[0])


def dependents(tx: Transaction, number: int, limit: int) -> list[int]:
    return [int(row[0]) for row in tx.all(_DEPENDENTS, waits_for=number, limit=limit)]


def waited_for(tx: Transaction, low: int, high: int) -> list[int]:
    """The jobs from number `low` on, before `high`, for which others wait."""
    return [int(row[0]) for row in tx.all(_WAITED_FOR, low=low, high=high)]


def remove_dependency(tx: Transaction, number: int, waits_for: int) -> None:
    tx.run(_DEPENDENCY_DELETE, number=number, waits_for=waits_for)


def forget_dependencies(tx: Transaction, number: int) -> None:
    tx.run(_DEPENDENCIES_FORGET, number=number)


def add_release(tx: Transaction, number: int, succeeded: bool) -> None:
    """Notes that the dependents of a job that has ended are to be told; nothing when it has none."""
    if tx.one(_DEPENDENTS, waits_for=number, limit=1) is not None:
        tx.run(_RELEASE_NEW, number=number, succeeded=int(succeeded))


def next_release(tx: Transaction) -> tuple[int, bool] | None:
    row = tx.one(_RELEASES)
    return None if row is None else (int(row[0]), bool(row[1]))


def remove_release(tx: Transaction, number: int) -> None:
    tx.run(_RELEASE_DELETE, number=number)


# --- instances ---

_INSTANCE_NEW = Statement(insert(instances))
_INSTANCE_SAVE = Statement(
    update(instances)
    .where(instances.c.number == bindparam("b_number"))
    .values(instance_id=bindparam("b_instance_id"), document=bindparam("b_document"), version=instances.c.version + 1)
)
_INSTANCE_DELETE = Statement(delete(instances).where(instances.c.number == bindparam("number")))
_INSTANCE_BY_NUMBER = Statement(select(instances.c.document).where(instances.c.number == bindparam("number")))
_INSTANCE_BY_ID = Statement(select(instances.c.document).where(instances.c.instance_id == bindparam("instance_id")))
_INSTANCES_OF = Statement(
    select(instances.c.document).where(instances.c.environment == bindparam("environment")).order_by(instances.c.number)
)


def insert_instance(tx: Transaction, one: Instance) -> None:
    tx.run(
        _INSTANCE_NEW,
        number=one.number,
        environment=one.environment,
        token=one.token,
        instance_id=one.instance_id,
        version=1,
        document=document(one),
    )


def save_instance(tx: Transaction, one: Instance) -> None:
    _known_instances(tx)[one.number] = one
    tx.run(_INSTANCE_SAVE, b_number=one.number, b_instance_id=one.instance_id, b_document=document(one))


def delete_instance(tx: Transaction, number: int) -> None:
    _known_instances(tx).pop(number, None)
    tx.run(_INSTANCE_DELETE, number=number)


def instance(tx: Transaction, number: int) -> Instance | None:
    known = _known_instances(tx)
    found = known.get(number)
    if found is None:
        row = tx.one(_INSTANCE_BY_NUMBER, number=number)
        if row is not None:
            found = known[number] = _INSTANCE.decode(row[0])
    return found


def _known_instances(tx: Transaction) -> dict[int, Instance]:
    """Those that were read in this transaction or snapshot, as they are now: the jobs of one commit share few."""
    known: dict[int, Instance] = tx.known.setdefault(_INSTANCE_BY_NUMBER, {})
    return known


def instance_of_id(tx: Transaction, instance_id: str) -> Instance | None:
    row = tx.one(_INSTANCE_BY_ID, instance_id=instance_id)
    return None if row is None else _INSTANCE.decode(row[0])


def instances_of(tx: Transaction, environment_number: int) -> list[Instance]:
    return [_INSTANCE.decode(row[0]) for row in tx.all(_INSTANCES_OF, environment=environment_number)]


# --- intents ---

_INTENT_NEW = Statement(insert(intents))
_INTENT_SAVE = Statement(
    update(intents)
    .where(intents.c.number == bindparam("b_number"))
    .values(due_at=bindparam("b_due_at"), document=bindparam("b_document"), version=intents.c.version + 1)
)
_INTENT_DELETE = Statement(delete(intents).where(intents.c.number == bindparam("number")))
_INTENTS_DUE = Statement(
    select(intents.c.document)
    .where(intents.c.due_at <= bindparam("now"))
    .order_by(intents.c.due_at, intents.c.number)
    .limit(bindparam("limit"))
)
_INTENT_NEXT = Statement(select(func.min(intents.c.due_at)))
_INTENT_LAST = Statement(select(func.coalesce(func.max(intents.c.number), 0)))
_INTENTS_OF = Statement(
    select(intents.c.document).where(intents.c.kind == bindparam("kind"), intents.c.subject == bindparam("subject"))
)
_INTENT_BY_NUMBER = Statement(select(intents.c.document).where(intents.c.number == bindparam("number")))
_INTENTS_HASTEN = Statement(
    update(intents)
    .where(intents.c.account == bindparam("b_account"), intents.c.due_at > bindparam("b_now"))
    .values(due_at=bindparam("b_due_at"))
)


def insert_intent(tx: Transaction, intent: Intent, due_at: int) -> None:
    tx.run(
        _INTENT_NEW,
        number=intent.number,
        token=intent.token,
        kind=intent.kind,
        subject=intent.subject,
        account=intent.account,
        due_at=due_at,
        version=1,
        document=document(intent),
    )


def postpone_intent(tx: Transaction, intent: Intent, due_at: int) -> None:
    tx.run(_INTENT_SAVE, b_number=intent.number, b_due_at=due_at, b_document=document(intent))


def delete_intent(tx: Transaction, number: int) -> None:
    tx.run(_INTENT_DELETE, number=number)


def due_intents(tx: Transaction, now: int, limit: int) -> list[Intent]:
    return [_INTENT.decode(row[0]) for row in tx.all(_INTENTS_DUE, now=now, limit=limit)]


def next_due(tx: Transaction) -> int | None:
    return cast("int | None", tx.one(_INTENT_NEXT)[0])


def last_intent(tx: Transaction) -> int:
    """The highest number of an intent that there is; 0: there is none."""
    return int(tx.one(_INTENT_LAST)[0])


def intents_of(tx: Transaction, kind: str, subject: int) -> list[Intent]:
    return [_INTENT.decode(row[0]) for row in tx.all(_INTENTS_OF, kind=kind, subject=subject)]


def intent_exists(tx: Transaction, number: int) -> bool:
    return tx.one(_INTENT_BY_NUMBER, number=number) is not None


def hasten_intents(tx: Transaction, account: str, now: int) -> int:
    """Makes due at once what waits for its next try; how many."""
    return tx.run(_INTENTS_HASTEN, b_account=account, b_now=now, b_due_at=now)


def _name_of(account: str, region: str, name_or_arn: str, kind: str) -> str | None:
    """The name in an ARN of this account and region, or the name itself. None: an ARN of elsewhere."""
    if not name_or_arn.startswith("arn:"):
        return name_or_arn
    parts = name_or_arn.split(":", 5)
    if len(parts) < 6 or parts[2:5] != ["batch", region, account] or not parts[5].startswith(kind + "/"):
        return None
    return parts[5][len(kind) + 1 :]
