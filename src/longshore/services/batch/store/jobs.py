"""Jobs, one at a time, and those whose time has come."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, func, select

from longshore.services.batch import job_ids
from longshore.services.batch.records import Job, Status
from longshore.services.batch.store.arrays import known_parents, without_row
from longshore.services.batch.store.rows import JOB, JOB_BY_ID, JOB_BY_NUMBER, JOB_SAVE, job_or_none, moving
from longshore.services.batch.store.tables import jobs
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_JOB_BY_TASK = Statement(select(jobs.c.document).where(jobs.c.task_arn == bindparam("task_arn")))
_JOB_BY_TOKEN = Statement(select(jobs.c.document).where(jobs.c.token == bindparam("token")))
_LAST_JOB = Statement(select(func.coalesce(func.max(jobs.c.number), 0)))
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


def next_job_number(tx: Transaction) -> int:
    return int(tx.one(_LAST_JOB)[0]) + 1  # Jobs outlive their numbers' use: the newest is never the one that expires.


def save_job(tx: Transaction, job: Job) -> None:
    assert job.array is None
    if job.size is not None:
        known_parents(tx).pop(job.number, None)
    tx.run(JOB_SAVE, b_number=job.number, **moving(job))


def job(tx: Transaction, number: int) -> Job | None:
    row = tx.one(JOB_BY_NUMBER, number=number)
    return without_row(tx, number) if row is None else JOB.decode(row[0])


def job_of_id(tx: Transaction, job_id: str) -> Job | None:
    of_child = job_ids.child(job_id)
    if of_child is not None:
        return child_of(tx, *of_child)
    number = job_ids.number_of(job_id)
    return None if number is None else job_or_none(tx.one(JOB_BY_ID, number=number, job_id=job_id))


def child_of(tx: Transaction, parent_id: str, index: int) -> Job | None:
    """None: there is no such array, or it has no such child."""
    number = job_ids.number_of(parent_id)
    if number is None:
        return None
    above = known_parents(tx).get(number) or job_or_none(tx.one(JOB_BY_ID, number=number, job_id=parent_id))
    if above is None or above.job_id != parent_id or above.size is None or index >= above.size:
        return None
    known_parents(tx)[number] = above
    return job(tx, number - above.size + index)


def job_of_task(tx: Transaction, task_arn: str) -> Job | None:
    return job_or_none(tx.one(_JOB_BY_TASK, task_arn=task_arn))


def job_of_token(tx: Transaction, token: str) -> Job | None:
    return job_or_none(tx.one(_JOB_BY_TOKEN, token=token))


def submitted_jobs(tx: Transaction, limit: int) -> list[Job]:
    return [JOB.decode(row[0]) for row in tx.all(_SUBMITTED, limit=limit)]


def overdue_jobs(tx: Transaction, now: int, limit: int) -> list[Job]:
    return [JOB.decode(row[0]) for row in tx.all(_OVERDUE, now=now, limit=limit)]


def next_deadline(tx: Transaction) -> int | None:
    return cast("int | None", tx.one(_NEXT_DEADLINE)[0])
