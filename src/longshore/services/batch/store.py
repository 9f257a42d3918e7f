"""Tables and statements of the room.

Inside, everything is known by an integer; public names and ids are mapped once. A job's body, which never changes, has a
table of its own, so that moving a job through its life rewrites little.
"""

from __future__ import annotations

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

from longshore.services.batch import job_ids
from longshore.services.batch.records import (
    ACTIVE,
    TERMINAL,
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
    Column("queue", Integer, nullable=False),
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
    tx.run(
        _ENVIRONMENT_SAVE,
        b_number=environment.number,
        b_cluster_arn=environment.cluster_arn,
        b_document=document(environment),
    )


def delete_environment(tx: Transaction, number: int) -> None:
    tx.run(_ENVIRONMENT_DELETE, number=number)


def environment(tx: Transaction, number: int) -> Environment | None:
    row = tx.one(_ENVIRONMENT_BY_NUMBER, number=number)
    return None if row is None else _ENVIRONMENT.decode(row[0])


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
    tx.run(
        _DEFINITION_SAVE,
        b_number=definition.number,
        b_status=definition.status,
        b_document=document(definition),
    )


def definition(tx: Transaction, number: int) -> tuple[Definition, str | None]:
    """The definition, and the ARN of the task definition that stands for it in ECS. None: not registered yet."""
    row = tx.one(_DEFINITION_BY_NUMBER, number=number)
    return _DEFINITION.decode(row[0]), row[1]


def save_task_definition(tx: Transaction, number: int, task_definition_arn: str) -> None:
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
        status=bindparam("b_status"), position=bindparam("b_position"), instance=bindparam("b_instance"),
        token=bindparam("b_token"), task_arn=bindparam("b_task_arn"), deadline=bindparam("b_deadline"),
        document=bindparam("b_document"), version=jobs.c.version + 1,
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
_BODY_OF = Statement(select(bodies.c.document).where(bodies.c.number == bindparam("number")))
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
    select(jobs.c.number, jobs.c.cpu, jobs.c.memory_mib, jobs.c.gpus)
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
_PAGE_OF_STATUS = Statement(
    select(jobs.c.document, jobs.c.position)
    .where(
        jobs.c.queue == bindparam("queue"), jobs.c.status == bindparam("status"), jobs.c.position < bindparam("before")
    )
    .order_by(jobs.c.position.desc())
    .limit(bindparam("limit"))
)
_FILTERED = (
    jobs.c.queue == bindparam("queue"), jobs.c.number < bindparam("before"), jobs.c.number > bindparam("after"),
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
    deadline = None
    if job.timeout_seconds is not None and job.status is Status.RUNNING and job.ending is None and job.started_at:
        deadline = job.started_at + 1000 * job.timeout_seconds
    tx.run(
        _JOB_SAVE,
        b_number=job.number,
        b_status=int(job.status),
        b_position=position(job),
        b_instance=job.instance if job.status in ACTIVE else None,
        b_token=job.token if job.status in ACTIVE else None,
        b_task_arn=job.task_arn if job.status in ACTIVE else None,
        b_deadline=deadline,
        b_document=document(job),
    )


def position(job: Job) -> int:
    """Where it stands in its queue. A retry goes before all that never ran, in the order of submission."""
    if job.status is Status.RUNNABLE and job.attempts:
        return job.number - (1 << 53)
    return job.number


def job(tx: Transaction, number: int) -> Job | None:
    return _job(tx.one(_JOB_BY_NUMBER, number=number))


def job_of_id(tx: Transaction, job_id: str) -> Job | None:
    number = job_ids.number_of(job_id)
    return None if number is None else _job(tx.one(_JOB_BY_ID, number=number, job_id=job_id))


def job_of_task(tx: Transaction, task_arn: str) -> Job | None:
    return _job(tx.one(_JOB_BY_TASK, task_arn=task_arn))


def job_of_token(tx: Transaction, token: str) -> Job | None:
    return _job(tx.one(_JOB_BY_TOKEN, token=token))


def whole_job(tx: Transaction, job_id: str) -> tuple[Job, Body, dict[str, str]] | None:
    """The job, what it was submitted with, and its tags, in one statement."""
    number = job_ids.number_of(job_id)
    row = None if number is None else tx.one(_WHOLE_JOB, number=number, job_id=job_id)
    if row is None:
        return None
    return _JOB.decode(row[0]), _BODY.decode(row[1]), _TAGS.decode(row[2]) if row[2] is not None else {}


def body(tx: Transaction, number: int) -> Body:
    return _BODY.decode(tx.one(_BODY_OF, number=number)[0])


def submitted_jobs(tx: Transaction, limit: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_SUBMITTED, limit=limit)]


def overdue_jobs(tx: Transaction, now: int, limit: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_OVERDUE, now=now, limit=limit)]


def next_deadline(tx: Transaction) -> int | None:
    return cast("int | None", tx.one(_NEXT_DEADLINE)[0])


def heads(tx: Transaction, queue_number: int, limit: int) -> list[tuple[int, int, int, int]]:
    """(number, CPU units, memory in MiB, GPUs) of the first RUNNABLE jobs, in order."""
    return tx.all(_HEADS, queue=queue_number, limit=limit)


def count_ahead(tx: Transaction, one: Job) -> int:
    return int(tx.one(_AHEAD, queue=one.queue, position=position(one))[0])


def jobs_on_instance(tx: Transaction, instance_number: int) -> list[Job]:
    return [_JOB.decode(row[0]) for row in tx.all(_ON_INSTANCE, instance=instance_number)]


def used_on_instance(tx: Transaction, instance_number: int) -> tuple[int, int, int]:
    """(jobs, CPU units, memory in MiB) that have their place on the instance."""
    count, cpu, memory = tx.one(_USED, instance=instance_number)
    return int(count), int(cpu or 0), int(memory or 0)


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


# --- tags of jobs ---

_JOB_TAGS = Statement(select(job_tags.c.document).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_DELETE = Statement(delete(job_tags).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_NEW = Statement(insert(job_tags))


def tags_of_job(tx: Transaction, number: int) -> dict[str, str]:
    row = tx.one(_JOB_TAGS, number=number)
    return {} if row is None else _TAGS.decode(row[0])


def save_tags_of_job(tx: Transaction, number: int, tags: dict[str, str]) -> None:
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
_RELEASE_NEW = Statement(insert(releases))
_RELEASE_DELETE = Statement(delete(releases).where(releases.c.number == bindparam("number")))
_RELEASES = Statement(select(releases.c.number, releases.c.succeeded).order_by(releases.c.number).limit(1))


def add_dependency(tx: Transaction, number: int, waits_for: int) -> None:
    tx.run(_DEPENDENCY_NEW, number=number, waits_for=waits_for)


def count_dependencies(tx: Transaction, number: int) -> int:
    return int(tx.one(_DEPENDENCY_COUNT, number=number)[0])


def dependents(tx: Transaction, number: int, limit: int) -> list[int]:
    return [int(row[0]) for row in tx.all(_DEPENDENTS, waits_for=number, limit=limit)]


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
    tx.run(_INSTANCE_SAVE, b_number=one.number, b_instance_id=one.instance_id, b_document=document(one))


def delete_instance(tx: Transaction, number: int) -> None:
    tx.run(_INSTANCE_DELETE, number=number)


def instance(tx: Transaction, number: int) -> Instance | None:
    row = tx.one(_INSTANCE_BY_NUMBER, number=number)
    return None if row is None else _INSTANCE.decode(row[0])


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
