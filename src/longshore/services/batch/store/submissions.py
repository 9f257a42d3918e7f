"""Jobs with what they were submitted with: the body, which never changes, and the tags."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select

from longshore.services.batch import job_ids
from longshore.services.batch.records import Array, Body, Job
from longshore.services.batch.store.arrays import array
from longshore.services.batch.store.jobs import child_of, job
from longshore.services.batch.store.rows import JOB, OF_ID
from longshore.services.batch.store.tables import bodies, job_tags, jobs
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_BODY = msgspec.json.Decoder(Body)
_TAGS = msgspec.json.Decoder(dict[str, str])
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
_WHOLE_JOB = Statement(
    select(jobs.c.document, bodies.c.document, job_tags.c.document)
    .join(bodies, bodies.c.number == jobs.c.number)
    .outerjoin(job_tags, job_tags.c.number == jobs.c.number)
    .where(*OF_ID)
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
_JOB_TAGS = Statement(select(job_tags.c.document).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_DELETE = Statement(delete(job_tags).where(job_tags.c.number == bindparam("number")))
_JOB_TAGS_NEW = Statement(insert(job_tags))


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


def whole_job(tx: Transaction, job_id: str) -> tuple[Job, Body, dict[str, str], Array | None] | None:
    """The job, what it was submitted with, its tags, and, of an array's parent, its children; in one statement if it may be."""
    of_child = job_ids.child(job_id)
    if of_child is not None:
        one = child_of(tx, *of_child)
        return None if one is None else (one, *_submission(tx, one.submission), None)
    number = job_ids.number_of(job_id)
    row = None if number is None else tx.one(_WHOLE_JOB, number=number, job_id=job_id)
    if row is None:
        return None
    whole = JOB.decode(row[0])
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
    found = {number: (JOB.decode(row), _BODY.decode(of_row)) for number, row, of_row in rows}
    for number in numbers:
        child = job(tx, number) if number not in found else None
        if child is not None:
            found[number] = child, _submission(tx, child.submission)[0]
    return found


def body(tx: Transaction, number: int) -> Body:
    """What the job of that number was submitted with. A child's number will do: its parent's is the next that has a body."""
    return _BODY.decode(tx.one(_BODY_OF, number=number)[0])


def tags_of_job(tx: Transaction, number: int) -> dict[str, str]:
    row = tx.one(_JOB_TAGS, number=number)
    return {} if row is None else _TAGS.decode(row[0])


def save_tags_of_job(tx: Transaction, number: int, tags: dict[str, str]) -> None:
    tx.known.pop(_BODY_OF, None)
    tx.run(_JOB_TAGS_DELETE, number=number)
    if tags:
        tx.run(_JOB_TAGS_NEW, number=number, document=document(tags))
