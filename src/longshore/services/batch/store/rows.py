"""The row of a job, which a child of an array need not have. What the pages of jobs, of arrays and of children share."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update

from longshore.services.batch.records import ACTIVE, Job, Status
from longshore.services.batch.store.tables import jobs
from longshore.store.statement import Statement, document

JOB = msgspec.json.Decoder(Job)
JOB_SAVE = Statement(
    update(jobs)
    .where(jobs.c.number == bindparam("b_number"))
    .values(
        queue=bindparam("b_queue"), status=bindparam("b_status"), position=bindparam("b_position"),
        instance=bindparam("b_instance"), token=bindparam("b_token"), task_arn=bindparam("b_task_arn"),
        deadline=bindparam("b_deadline"), document=bindparam("b_document"), version=jobs.c.version + 1,
    )
)  # fmt: skip
JOB_BY_NUMBER = Statement(select(jobs.c.document).where(jobs.c.number == bindparam("number")))
OF_ID = (jobs.c.number == bindparam("number"), jobs.c.job_id == bindparam("job_id"))
JOB_BY_ID = Statement(select(jobs.c.document).where(*OF_ID))
RETRIES_BEFORE = 1 << 53  # by which a retry's position lies before its number


def moving(job: Job) -> dict[str, Any]:
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


def job_or_none(row: Any) -> Job | None:
    return None if row is None else JOB.decode(row[0])
